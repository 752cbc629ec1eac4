//! A TURN client as small as a measurement needs: allocates, binds one channel, sends and takes ChannelData.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;

use super::codec::*;
use super::socket::{Batch, Datagrams};
use super::stream::{self, Stream};
use super::{Target, Way};

/// The one channel of each client.
pub(crate) const CHANNEL: u16 = 0x4000;
/// A request over UDP is repeated after this.
const REPEAT: Duration = Duration::from_millis(500);
const REPEATS_MAX: usize = 10;
/// Longer than any measurement.
const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(3_600);

pub(crate) enum Leg {
    Udp(Datagrams),
    Stream(Box<Stream>),
}

/// A client with an allocation and a channel to one peer.
pub(crate) struct Client {
    pub(crate) leg: Leg,
    pub(crate) relayed: SocketAddr,
    /// The message being sent.
    outgoing: Vec<u8>,
}

/// What clients are made with.
pub(crate) struct Maker<'t> {
    target: &'t Target,
    tls: Option<Arc<ClientConfig>>,
    /// Receive buffer of streams; 0: the system's.
    pub(crate) stream_buffer_bytes: usize,
}

impl<'t> Maker<'t> {
    pub(crate) fn new(target: &'t Target) -> io::Result<Self> {
        let tls = target.ca.as_deref().map(stream::tls_config).transpose()?;
        Ok(Self { target, tls, stream_buffer_bytes: 0 })
    }

    /// A client of a name of its own, so that no quota of a user is met, with a channel to `peer`.
    pub(crate) fn make(&self, number: usize, peer: SocketAddr) -> io::Result<Client> {
        let line = match self.target.transport {
            Way::Udp => {
                let socket = UdpSocket::bind(SocketAddr::new(self.target.from, 0))?;
                socket.connect(self.target.server)?;
                socket.set_read_timeout(Some(REPEAT))?;
                Line::Udp(socket)
            }
            Way::Tcp | Way::Tls => Line::Stream(Box::new(Stream::open(
                self.target,
                self.tls.as_ref(),
                self.stream_buffer_bytes,
            )?)),
        };
        let mut session = Login { line, transaction: (number as u64) << 32, key: [0; 16], proof: Vec::new() };
        let relayed = session.allocate(&self.target.secret, number)?;
        session.bind(peer)?;
        Ok(Client { leg: session.line.ready()?, relayed, outgoing: Vec::new() })
    }
}

/// A line that waits for its answers.
enum Line {
    Udp(UdpSocket),
    Stream(Box<Stream>),
}

/// A client that is not ready yet.
struct Login {
    line: Line,
    transaction: u64,
    key: [u8; 16],
    /// User name, realm and nonce, as every request shows them.
    proof: Vec<(u16, Vec<u8>)>,
}

impl Line {
    fn ready(self) -> io::Result<Leg> {
        match self {
            Self::Udp(socket) => Ok(Leg::Udp(Datagrams::of(socket)?)),
            Self::Stream(stream) => {
                stream.socket.set_nonblocking(true)?;
                Ok(Leg::Stream(stream))
            }
        }
    }

    /// The answer to a request, which is repeated over UDP until it comes.
    fn ask(&mut self, request: &[u8]) -> io::Result<Stun> {
        match self {
            Self::Udp(socket) => ask_udp(socket, request),
            Self::Stream(stream) => {
                stream.write(request)?;
                let mut answer = None;
                while answer.is_none() {
                    stream.read(16 << 10)?;
                    stream.take_messages(|message| {
                        answer = answer.take().or_else(|| answer_to(request, message));
                    });
                }
                answer.ok_or_else(|| ErrorKind::UnexpectedEof.into())
            }
        }
    }
}

fn ask_udp(socket: &UdpSocket, request: &[u8]) -> io::Result<Stun> {
    let mut buffer = [0; 2_048];
    for _ in 0..REPEATS_MAX {
        socket.send(request)?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                if let Some(answer) = answer_to(request, &buffer[..length]) {
                    return Ok(answer);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::TimedOut, "the relay does not answer"))
}

/// Responses have the bit 0x0100; the transaction is the request's.
fn answer_to(request: &[u8], message: &[u8]) -> Option<Stun> {
    (message.len() >= 20 && message[0] & 1 == 1 && message[8..20] == request[8..20])
        .then(|| Stun::decode(message))
}

impl Login {
    fn request(&mut self, method: u16) -> Stun {
        self.transaction += 1;
        let mut transaction = [0x6c; 12];
        transaction[4..].copy_from_slice(&self.transaction.to_be_bytes());
        Stun::new(method, transaction)
    }

    fn signed(&mut self, request: Stun) -> io::Result<Stun> {
        let request =
            self.proof.iter().fold(request, |request, (kind, value)| request.with(*kind, value.clone()));
        let answer = self.line.ask(&request.sign(&self.key))?;
        match answer.code() {
            0 => Ok(answer),
            code => Err(io::Error::other(format!("{:#06x} was refused with {code}", answer.kind))),
        }
    }

    /// RFC 8656, 7.1: once without credentials, for realm and nonce, and once with.
    fn allocate(&mut self, secret: &str, number: usize) -> io::Result<SocketAddr> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let username = format!("{}:load{number}", (since + CREDENTIAL_LIFETIME).as_secs());
        let bare = self.request(ALLOCATE).with(REQUESTED_TRANSPORT, [17, 0, 0, 0]);
        let challenge = self.line.ask(&bare.encode())?;
        let told = |kind| {
            challenge.attribute(kind).map(<[u8]>::to_vec).ok_or_else(|| io::Error::other("no challenge"))
        };
        let (realm, nonce) = (told(REALM)?, told(NONCE)?);
        let password = rest_password(secret, &username);
        self.key = long_term_key(&username, &String::from_utf8_lossy(&realm), &password);
        self.proof = vec![(USERNAME, username.into_bytes()), (REALM, realm), (NONCE, nonce)];
        let request = self.request(ALLOCATE).with(REQUESTED_TRANSPORT, [17, 0, 0, 0]);
        let answer = self.signed(request)?;
        let relayed = answer.addresses(XOR_RELAYED_ADDRESS).first().copied();
        relayed.ok_or_else(|| io::Error::other("no relayed address"))
    }

    fn bind(&mut self, peer: SocketAddr) -> io::Result<()> {
        let request = self.request(CHANNEL_BIND);
        let masked = mask(peer, request.transaction);
        let [high, low] = CHANNEL.to_be_bytes();
        self.signed(request.with(CHANNEL_NUMBER, [high, low, 0, 0]).with(XOR_PEER_ADDRESS, masked))?;
        Ok(())
    }
}

impl Client {
    /// Sends payloads on the channel, each with a call of its own, as browsers do.
    pub(crate) fn send(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        for payload in payloads {
            self.outgoing.clear();
            self.outgoing.extend_from_slice(&CHANNEL.to_be_bytes());
            self.outgoing.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            self.outgoing.extend_from_slice(payload);
            match &mut self.leg {
                Leg::Udp(datagrams) => {
                    // Lost if the kernel does not take it; counted by the echo that is missing.
                    let _ = datagrams.socket.send(&self.outgoing);
                }
                Leg::Stream(stream) => {
                    self.outgoing.resize(self.outgoing.len().next_multiple_of(4), 0);
                    stream.write(&self.outgoing)?;
                }
            }
        }
        Ok(())
    }

    /// Hands over the payload of every ChannelData that is there.
    pub(crate) fn receive(&mut self, batch: &mut Batch, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut take_channel = |message: &[u8]| {
            if let Some(payload) = payload_of(message) {
                take(payload);
            }
        };
        match &mut self.leg {
            Leg::Udp(datagrams) => {
                datagrams.receive(batch, |_, train, each| train.chunks(each).for_each(&mut take_channel))
            }
            Leg::Stream(stream) => {
                stream.flush()?;
                while stream.read(64 << 10)? {
                    stream.take_messages(&mut take_channel);
                }
                Ok(())
            }
        }
    }
}

/// The payload of a ChannelData on our channel.
pub(crate) fn payload_of(message: &[u8]) -> Option<&[u8]> {
    let header = message.get(..4)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    (header[..2] == CHANNEL.to_be_bytes()).then(|| message.get(4..4 + length)).flatten()
}

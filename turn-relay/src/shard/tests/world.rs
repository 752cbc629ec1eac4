//! A running shard with real sockets, and clients and peers around it. What clients write and read is by another codec
//! than the relay's.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;
use tokio::sync::{mpsc, oneshot};
use wire::settings::Secret;

use super::codec::*;
use crate::engine::auth::credentials::Credentials;
use crate::engine::policy::rules::PeerPolicy;
use crate::engine::policy::settings::PolicySettings;
use crate::engine::ports::{
    ChannelNumbers, ClientPath, EngineSettings, ExpiryCheck, RelayAddress, Transport,
};
use crate::engine::quota::Limits;
use crate::engine::views::AllocationRecord;
use crate::shard::ports::{ShardCommand, ShardHandle, ShardParts, ShardStats};
use crate::shard::spawn;
use crate::stream::NewStream;
use crate::udp::UdpListener;

const DOMAIN: &str = "passerelle";
const SECRET: &str = "a shared secret of more than 32 bytes";
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Longer than anything here takes on a busy machine; nothing waits for it to pass.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct World {
    pub(super) shard: ShardHandle,
    thread: Option<JoinHandle<()>>,
    pub(super) listen: SocketAddr,
    listen_v6: SocketAddr,
    pub(super) ended: mpsc::Receiver<AllocationRecord>,
}

/// Which peers the relay reaches: these ports of this host.
pub(super) fn policy(peers: &[SocketAddr]) -> Arc<PeerPolicy> {
    let allow = peers.iter().map(|peer| peer.to_string().parse().unwrap()).collect();
    Arc::new(PeerPolicy::new(PolicySettings { allow, ..PolicySettings::default() }).unwrap())
}

/// Somebody to relay to.
pub(super) fn peer() -> (UdpSocket, SocketAddr) {
    peer_at(LOCALHOST.into())
}

/// Somebody on another of this host's addresses.
pub(super) fn peer_at(ip: IpAddr) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((ip, 0)).expect("these tests need loopback of both families");
    roomy(&socket);
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// With room for a burst, and not waiting for ever.
fn roomy(socket: &UdpSocket) {
    if set_socket_recv_buffer_size_force(socket, BURST_BYTES).is_err() {
        SockRef::from(socket).set_recv_buffer_size(BURST_BYTES).unwrap();
    }
    let granted = SockRef::from(socket).recv_buffer_size().unwrap();
    assert!(granted >= BURST_BYTES, "these tests need root, or net.core.rmem_max of {BURST_BYTES}");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
}

impl World {
    pub(super) fn new(peers: &[SocketAddr]) -> Self {
        Self::with(peers, |_| {})
    }

    pub(super) fn with(peers: &[SocketAddr], change: impl FnOnce(&mut EngineSettings)) -> Self {
        let listener = UdpListener::bind((Ipv4Addr::UNSPECIFIED, 0).into(), true).unwrap();
        let listen = SocketAddr::from((LOCALHOST, listener.local_addr().port()));
        let listener_v6 = UdpListener::bind((Ipv6Addr::UNSPECIFIED, 0).into(), true).unwrap();
        let listen_v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, listener_v6.local_addr().port()));
        let relay = |ip| RelayAddress { bind: ip, announced: ip };
        let mut engine = EngineSettings {
            realm: DOMAIN.to_owned(),
            relays: vec![relay(LOCALHOST.into()), relay(Ipv6Addr::LOCALHOST.into())],
            ports: 20_000..=60_000,
            listen: vec![listen, listen_v6],
            credentials: Arc::new(Credentials::new(&[Secret::from(SECRET.to_owned())], [])),
            policy: policy(peers),
            limits: Limits { packets_per_s: 0, bits_per_s: 0, user_bits_per_s: 0, ..Limits::default() },
            lifetime_max: Duration::from_secs(3_600),
            nonce_lifetime: Duration::from_secs(600),
            expiry: ExpiryCheck::AllocateOnly,
            channel_numbers: ChannelNumbers::Deployed,
            binding: true,
            dont_fragment: true,
            seed: rand::random(),
        };
        change(&mut engine);
        let (ended, ended_taken) = mpsc::channel(64);
        let parts = ShardParts {
            index: 0,
            listeners: vec![listener, listener_v6],
            engine,
            relay_buffer_bytes: 4 << 20,
            ended,
            processor: None,
        };
        let (shard, thread) = spawn(parts).unwrap();
        Self { shard, thread: Some(thread), listen, listen_v6, ended: ended_taken }
    }

    /// Asks the shard and waits for its answer.
    pub(super) fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> ShardCommand) -> T {
        let (done, answer) = oneshot::channel();
        self.shard.send(command(done)).unwrap();
        answer.blocking_recv().unwrap()
    }

    pub(super) fn send(&self, command: ShardCommand) {
        self.shard.send(command).unwrap();
    }

    /// The first published numbers for which `is_so`.
    pub(super) fn stats_when(&self, is_so: impl Fn(&ShardStats) -> bool) -> ShardStats {
        let before = Instant::now();
        loop {
            let stats = self.shard.stats();
            if is_so(&stats) {
                return stats;
            }
            assert!(before.elapsed() < PATIENCE, "never so: {stats:?}");
            std::thread::yield_now();
        }
    }

    pub(super) fn stop(&mut self) {
        // It may have been stopped before.
        let _ = self.shard.send(ShardCommand::Stop);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// A client over UDP that asks at `ip`, where the shard listens as well.
    pub(super) fn client_at(&self, ip: [u8; 4]) -> Client {
        let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::from(ip), self.listen.port())).unwrap();
        roomy(&socket);
        Client::new(Link::Datagrams(socket))
    }

    /// A client over UDP and IPv6.
    pub(super) fn client_v6(&self) -> Client {
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        socket.connect(self.listen_v6).unwrap();
        roomy(&socket);
        Client::new(Link::Datagrams(socket))
    }

    pub(super) fn client(&self) -> Client {
        self.client_at([127, 0, 0, 1])
    }

    /// A client over a plain stream.
    pub(super) fn tcp_client(&self) -> Client {
        self.stream_client(Transport::Tcp)
    }

    /// A client over TLS.
    pub(super) fn tls_client(&self) -> Client {
        self.stream_client(Transport::Tls)
    }

    /// A client over a stream, handed to the shard as the front does it.
    fn stream_client(&self, transport: Transport) -> Client {
        let listener = TcpListener::bind((LOCALHOST, 0)).unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let (served, client) = listener.accept().unwrap();
        let (tls, stream): (_, Box<dyn Stream>) = match transport {
            Transport::Tls => {
                let (server, client) = handshake(&served, socket.try_clone().unwrap());
                (Some(Box::new(server)), Box::new(client))
            }
            _ => (None, Box::new(socket.try_clone().unwrap())),
        };
        served.set_nonblocking(true).unwrap();
        let path = ClientPath { transport, client, local: served.local_addr().unwrap(), connection: 0 };
        let new = NewStream { path, socket: served, tls, early: Vec::new(), seat: Box::new(()) };
        self.send(ShardCommand::Stream(Box::new(new)));
        Client::new(Link::Stream(socket, stream))
    }
}

/// What TLS makes of both ends of a connection.
fn handshake(
    served: &TcpStream,
    mut socket: TcpStream,
) -> (ServerConnection, StreamOwned<ClientConnection, TcpStream>) {
    let mut server = ServerConnection::new(Arc::clone(&TLS.0)).unwrap();
    let mut served = served.try_clone().unwrap();
    let serving = std::thread::spawn(move || {
        while server.is_handshaking() {
            server.complete_io(&mut served).unwrap();
        }
        server
    });
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(&TLS.1), name).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut socket).unwrap();
    }
    (serving.join().unwrap(), StreamOwned::new(client, socket))
}

/// A server, and clients that trust it.
static TLS: LazyLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = LazyLock::new(|| {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let provider = Arc::new(default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (
        Arc::new(server.with_single_cert(vec![own.cert.der().clone()], key).unwrap()),
        Arc::new(client.with_root_certificates(roots).with_no_client_auth()),
    )
});

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) enum Link {
    Datagrams(UdpSocket),
    /// The connection, and what is read and written over it.
    Stream(TcpStream, Box<dyn Stream>),
}

pub(super) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

pub(super) struct Client {
    pub(super) link: Link,
    username: String,
    nonce: Vec<u8>,
    transaction: u64,
    /// Messages that came while something else was waited for.
    pending: VecDeque<Vec<u8>>,
}

impl Client {
    fn new(link: Link) -> Self {
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let number: u32 = rand::random();
        let username = format!("{}:user{number}", unix_s + 3_600);
        Self { link, username, nonce: Vec::new(), transaction: number.into(), pending: VecDeque::new() }
    }

    /// Who it is, as the relay names it.
    pub(super) fn user(&self) -> String {
        self.username.split_once(':').unwrap().1.to_owned()
    }

    fn key(&self) -> [u8; 16] {
        long_term_key(&self.username, DOMAIN, &rest_password(SECRET, &self.username))
    }

    pub(super) fn bare(&mut self, method: u16) -> Stun {
        self.transaction += 1;
        let mut transaction = [0xab; 12];
        transaction[4..].copy_from_slice(&self.transaction.to_be_bytes());
        Stun::new(method, transaction)
    }

    pub(super) fn sign(&self, request: Stun) -> Vec<u8> {
        request
            .with(USERNAME, self.username.as_bytes())
            .with(REALM, DOMAIN.as_bytes())
            .with(NONCE, self.nonce.as_slice())
            .sign(&self.key())
    }

    /// Sends bytes as they are; on a stream padded, if they are channel data.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        match &mut self.link {
            Link::Datagrams(socket) => {
                socket.send(bytes).unwrap();
            }
            Link::Stream(_, stream) => {
                let padding = bytes.len().next_multiple_of(4) - bytes.len();
                stream.write_all(&[bytes, &[0; 3][..padding]].concat()).unwrap();
                stream.flush().unwrap();
            }
        }
    }

    /// The next message, padding included on a stream.
    pub(super) fn receive(&mut self) -> Vec<u8> {
        if let Some(message) = self.pending.pop_front() {
            return message;
        }
        match &mut self.link {
            Link::Datagrams(socket) => {
                let mut buffer = vec![0; 65_536];
                let length = socket.recv(&mut buffer).expect("a datagram");
                buffer.truncate(length);
                buffer
            }
            Link::Stream(_, stream) => {
                let mut message = vec![0; 4];
                stream.read_exact(&mut message).expect("a message");
                let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
                let rest = if message[0] < 4 { 16 + length } else { length.next_multiple_of(4) };
                message.resize(4 + rest, 0);
                stream.read_exact(&mut message[4..]).expect("the rest of it");
                message
            }
        }
    }

    /// Sends a request and reads its reply; what comes in between is kept.
    pub(super) fn ask(&mut self, bytes: &[u8]) -> Stun {
        self.send(bytes);
        let mut kept = Vec::new();
        loop {
            let message = self.receive();
            if message[0] < 4 && message[8..20] == bytes[8..20] {
                self.pending.extend(kept);
                return Stun::decode(&message);
            }
            kept.push(message);
        }
    }

    /// A signed request, with another nonce if the relay wants one.
    pub(super) fn request(&mut self, request: &Stun) -> Stun {
        let reply = self.ask(&self.sign(request.clone()));
        if !matches!(reply.code(), 401 | 438) {
            return reply;
        }
        self.nonce = reply.attribute(NONCE).unwrap().to_vec();
        self.ask(&self.sign(request.clone()))
    }

    /// Allocates; the relayed address.
    pub(super) fn allocate(&mut self) -> SocketAddr {
        let request = self.bare(ALLOCATE).with(REQUESTED_TRANSPORT, [17, 0, 0, 0]);
        let reply = self.request(&request);
        assert_eq!((reply.kind, reply.code()), (ALLOCATE | SUCCESS, 0));
        reply.addresses(XOR_RELAYED_ADDRESS)[0]
    }

    /// Allocates an address of IPv6.
    pub(super) fn allocate_v6(&mut self) -> SocketAddr {
        let request = self.bare(ALLOCATE).with(REQUESTED_TRANSPORT, [17, 0, 0, 0]);
        let reply = self.request(&request.with(REQUESTED_ADDRESS_FAMILY, [2, 0, 0, 0]));
        assert_eq!((reply.kind, reply.code()), (ALLOCATE | SUCCESS, 0));
        reply.addresses(XOR_RELAYED_ADDRESS)[0]
    }

    /// The code of the answer; 0 is success.
    pub(super) fn permit(&mut self, peer: SocketAddr) -> u16 {
        let request = self.bare(CREATE_PERMISSION);
        let masked = mask(peer, request.transaction);
        self.request(&request.with(XOR_PEER_ADDRESS, masked)).code()
    }

    /// The code of the answer; 0 is success.
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr) -> u16 {
        let request = self.bare(CHANNEL_BIND);
        let masked = mask(peer, request.transaction);
        let [high, low] = number.to_be_bytes();
        let request = request.with(CHANNEL_NUMBER, [high, low, 0, 0]).with(XOR_PEER_ADDRESS, masked);
        self.request(&request).code()
    }

    /// Gives the allocation back.
    pub(super) fn release(&mut self) -> u16 {
        let request = self.bare(REFRESH).with(LIFETIME, 0u32.to_be_bytes());
        self.request(&request).code()
    }

    /// An allocation with a channel to `peer`; its relayed address.
    pub(super) fn connected_to(mut self, peer: SocketAddr) -> (Self, SocketAddr) {
        let relayed = self.allocate();
        assert_eq!(self.bind(CHANNEL, peer), 0);
        (self, relayed)
    }

    /// Sends over the channel.
    pub(super) fn say(&mut self, payload: &[u8]) {
        self.send(&channel_data(CHANNEL, payload));
    }

    /// The next payload of the channel.
    pub(super) fn hear(&mut self) -> Vec<u8> {
        let message = self.receive();
        assert_eq!(message[..2], CHANNEL.to_be_bytes(), "channel data of the channel");
        let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
        message[4..4 + length].to_vec()
    }
}

/// 800 datagrams of 1200 bytes with the kernel's book-keeping.
const BURST_BYTES: usize = 4 << 20;

/// The channel that clients bind.
pub(super) const CHANNEL: u16 = 0x4000;

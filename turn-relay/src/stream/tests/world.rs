//! One stream inside a shard and the client at its other end, over loopback.

use std::any::Any;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::super::NewStream;
use super::super::client::{CloseReason, FlushOutcome, ReadOutcome, StreamClient, StreamLimits};
use crate::engine::ports::{ClientPath, Transport};

/// What a stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Tls12,
    Tls13,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Tcp, Self::Tls12, Self::Tls13];
    pub(super) const TLS: [Self; 2] = [Self::Tls12, Self::Tls13];
}

/// The client's end.
pub(super) enum Far {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Far {
    /// The connection beneath TLS.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Says goodbye.
    pub(super) fn close(mut self) {
        if let Self::Tls(stream) = &mut self {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
    }

    /// Reads until `bytes` have come.
    pub(super) fn read_bytes(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.read_exact(&mut read).unwrap();
        read
    }
}

impl Read for Far {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Far {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The shard's end, with the shard's clock.
pub(super) struct World {
    pub(super) client: StreamClient,
    pub(super) now: Instant,
    poll: Poll,
    scratch: Vec<u8>,
}

impl World {
    pub(super) fn new(kind: Kind) -> (Self, Far) {
        let (new, far) = accept(kind, None);
        (Self::of(new), far)
    }

    /// With a client whose system takes little more than `buffer_bytes` that it has not read.
    pub(super) fn with_small_buffer(kind: Kind, buffer_bytes: usize) -> (Self, Far) {
        let (new, far) = accept(kind, Some(buffer_bytes));
        (Self::of(new), far)
    }

    pub(super) fn of(new: NewStream) -> Self {
        let now = Instant::now();
        let mut client = StreamClient::new(new, now, StreamLimits::default());
        let poll = Poll::new().unwrap();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(client.source(), Token(0), interest).unwrap();
        Self { client, now, poll, scratch: vec![0; 64 * 1024] }
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Reads until this many messages have come or the stream is over.
    pub(super) fn read(&mut self, count: usize) -> (Vec<Vec<u8>>, Option<CloseReason>) {
        let mut messages = Vec::new();
        loop {
            match self.client.read(self.now, &mut self.scratch, &mut |each| messages.push(each.to_vec())) {
                ReadOutcome::Closed(reason) => return (messages, Some(reason)),
                ReadOutcome::Idle if messages.len() >= count => return (messages, None),
                ReadOutcome::Idle => self.poll(),
                ReadOutcome::More => {}
            }
        }
    }

    /// Reads until the stream is over.
    pub(super) fn read_to_end(&mut self) -> (Vec<Vec<u8>>, CloseReason) {
        let (messages, reason) = self.read(usize::MAX);
        (messages, reason.unwrap())
    }

    /// Flushes until nothing waits or the stream is over.
    pub(super) fn flush(&mut self) -> Option<CloseReason> {
        loop {
            match self.client.flush(self.now) {
                FlushOutcome::Done => return None,
                FlushOutcome::Blocked => self.poll(),
                FlushOutcome::Closed(reason) => return Some(reason),
            }
        }
    }

    /// A datagram of `len` bytes that begins with `number`, from a peer with a channel.
    pub(super) fn push_datagram(&mut self, number: u32, len: usize) {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(len, number as u8);
        let head = wire::stun::ChannelData::header(0x4000, len as u16);
        self.client.push_datagram(self.now, &head, &payload);
    }

    fn poll(&mut self) {
        let mut events = Events::with_capacity(4);
        self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "the other end does nothing");
    }
}

/// A stream as the front would hand it over, and its other end.
pub(super) fn accept(kind: Kind, buffer_bytes: Option<usize>) -> (NewStream, Far) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(bytes) = buffer_bytes {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    socket.connect(&local.into()).unwrap();
    let far = TcpStream::from(socket);
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    far.set_nodelay(true).unwrap();
    let (socket, client) = listener.accept().unwrap();
    let transport = if kind == Kind::Tcp { Transport::Tcp } else { Transport::Tls };
    let path = ClientPath { transport, client, local, connection: 1 };
    let (tls, far) = match kind {
        Kind::Tcp => (None, Far::Tcp(far)),
        Kind::Tls12 | Kind::Tls13 => {
            let (tls, far) = handshake(kind, &socket, far);
            (Some(Box::new(tls)), Far::Tls(Box::new(far)))
        }
    };
    let seat: Box<dyn Any + Send> = Box::new(());
    (NewStream { path, socket, tls, early: Vec::new(), seat }, far)
}

fn handshake(
    kind: Kind,
    socket: &TcpStream,
    mut far: TcpStream,
) -> (ServerConnection, StreamOwned<ClientConnection, TcpStream>) {
    let version = if kind == Kind::Tls12 { &TLS12 } else { &TLS13 };
    let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(CERTIFICATE.roots.clone())
        .with_no_client_auth();
    let mut server = server_connection();
    let mut socket = socket.try_clone().unwrap();
    let served = thread::spawn(move || {
        while server.is_handshaking() {
            server.complete_io(&mut socket).unwrap();
        }
        server
    });
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(client), name).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut far).unwrap();
    }
    (served.join().unwrap(), StreamOwned::new(connection, far))
}

/// A server's end that has seen nothing of its client.
pub(super) fn server_connection() -> ServerConnection {
    ServerConnection::new(Arc::clone(&CERTIFICATE.server)).unwrap()
}

/// The relay's certificate and who trusts it.
struct Certificate {
    server: Arc<ServerConfig>,
    roots: RootCertStore,
}

static CERTIFICATE: LazyLock<Certificate> = LazyLock::new(|| {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS12, &TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    Certificate { server: Arc::new(server), roots }
});

/// How long one end waits for the other before the test fails: long for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

//! A front on a port of its own, clients for it, and what a shard would do with a stream.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::front::certificates::{CertificateFiles, Certificates};
use crate::front::connection::run;
use crate::front::ports::{FrontLimits, FrontSettings, Web};
use crate::front::stats::{FrontStats, Refusal};
use crate::front::{Front, serve};
use crate::stream::NewStream;

/// An Allocate without attributes: enough for a front.
pub(super) const ALLOCATE: &[u8] = b"\x00\x03\x00\x00\x21\x12\xa4\x42abcdefghijkl";

pub(super) struct World {
    pub(super) address: SocketAddr,
    front: Arc<Front>,
    streams: mpsc::UnboundedReceiver<NewStream>,
    pub(super) stop: watch::Sender<bool>,
}

pub(super) fn settings() -> FrontSettings {
    FrontSettings {
        tls: None,
        trusted_proxies: Vec::new(),
        passthrough: Vec::new(),
        passthrough_proxy_protocol: false,
        https_backend_proxy_protocol: false,
        limits: FrontLimits::default(),
    }
}

impl World {
    pub(super) async fn start(settings: FrontSettings, web: Web) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to_shard, streams) = mpsc::unbounded_channel();
        let front = Front::new(settings, web, move |stream| to_shard.send(stream).map_err(drop)).unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, Arc::clone(&front), stopped));
        Self { address, front, streams, stop }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// All of 127.0.0.0/8 is ours.
    pub(super) async fn connect_from(&self, ip: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Connects, sends, and says what comes back until the front closes.
    pub(super) async fn answer_to(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_close(&mut stream).await
    }

    /// What a shard gets.
    pub(super) async fn stream(&mut self) -> NewStream {
        self.streams.recv().await.unwrap()
    }

    /// No shard takes anything any more.
    pub(super) fn drop_shard(&mut self) {
        self.streams.close();
    }

    /// Bytes of what the runtime holds for one connection, whatever it is doing; buffers come on top.
    pub(super) async fn bytes_of_a_connection(&self) -> usize {
        let socket = self.connect().await;
        let arrival = self.front.admit(socket, self.address).unwrap();
        size_of_val(&run(Arc::clone(&self.front), arrival, self.stop.subscribe()))
    }

    pub(super) fn stats(&self) -> FrontStats {
        self.front.stats()
    }

    pub(super) fn refused(&self, refusal: Refusal) -> u64 {
        self.stats().refused.of(refusal)
    }

    /// Waits, by the runtime's clock, until the front has come so far.
    pub(super) async fn until(&self, is_so: impl Fn(&FrontStats) -> bool) {
        while !is_so(&self.stats()) {
            tokio::task::yield_now().await;
        }
    }
}

/// What comes until the other side closes, or resets.
pub(super) async fn read_to_close<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

/// Whether it took the ten seconds that a connection has to become something.
pub(super) fn is_ten_seconds(since: Instant) -> bool {
    (Duration::from_secs(10)..Duration::from_millis(10_100)).contains(&since.elapsed())
}

/// Signs certificates that its clients trust.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Writes a certificate for `names` and its key into `folder`.
    pub(super) fn files(&self, folder: &Path, names: &[&str]) -> CertificateFiles {
        self.files_of(folder, names[0], &CertificateParams::new(owned(names)).unwrap())
    }

    pub(super) fn files_of(
        &self,
        folder: &Path,
        file_name: &str,
        params: &CertificateParams,
    ) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = CertificateFiles {
            certificate: folder.join(format!("{file_name}.pem")),
            key: folder.join(format!("{file_name}.key")),
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    pub(super) fn certificates(&self, names: &[&str]) -> Arc<Certificates> {
        let folder = tempfile::tempdir().unwrap();
        Arc::new(Certificates::load(&[self.files(folder.path(), names)]).unwrap())
    }

    pub(super) fn client_config(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub(super) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A TLS client of `relay.example`.
pub(super) async fn secure(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    secure_to("relay.example", stream, config).await
}

pub(super) async fn secure_to(
    name: &'static str,
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(config).connect(ServerName::try_from(name).unwrap(), stream).await
}

/// A stream as a shard has it.
pub(super) struct Served {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    got: Vec<u8>,
}

impl Served {
    pub(super) fn new(stream: NewStream) -> Self {
        let socket = TcpStream::from_std(stream.socket).unwrap();
        Self { socket, tls: stream.tls, got: stream.early }
    }

    /// All that was read so far, once it is `bytes` long.
    pub(super) async fn read(&mut self, bytes: usize) -> &[u8] {
        while self.got.len() < bytes {
            let mut buffer = vec![0; 4096];
            let read = self.socket.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "closed after {} of {bytes} bytes", self.got.len());
            match &mut self.tls {
                None => self.got.extend(&buffer[..read]),
                Some(tls) => {
                    let mut records = &buffer[..read];
                    while !records.is_empty() {
                        tls.read_tls(&mut records).unwrap();
                        tls.process_new_packets().unwrap();
                    }
                    let _ = tls.reader().read_to_end(&mut self.got);
                }
            }
        }
        &self.got
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let mut records = Vec::new();
        match &mut self.tls {
            None => records.extend(bytes),
            Some(tls) => {
                tls.writer().write_all(bytes).unwrap();
                while tls.wants_write() {
                    tls.write_tls(&mut records).unwrap();
                }
            }
        }
        self.socket.write_all(&records).await.unwrap();
    }
}

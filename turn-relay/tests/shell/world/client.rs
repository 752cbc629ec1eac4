//! A TURN client over UDP, TCP or TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

use super::codec::*;
use super::{SECRET, soon};

/// How a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Udp,
    Tcp,
    Tls,
}

pub(crate) const WAYS: [Way; 3] = [Way::Udp, Way::Tcp, Way::Tls];

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

enum Leg {
    Datagrams(UdpSocket),
    Stream(Box<dyn Stream>),
}

pub(crate) struct Client {
    leg: Leg,
    username: String,
    password: String,
    realm: String,
    nonce: Vec<u8>,
    transaction: u64,
}

impl Client {
    /// With credentials that `SECRET` signs, for `user`.
    pub(crate) async fn connect(server: SocketAddr, way: Way, user: &str) -> Self {
        let leg = match way {
            Way::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.connect(server).await.unwrap();
                Leg::Datagrams(socket)
            }
            Way::Tcp => Leg::Stream(Box::new(soon(TcpStream::connect(server)).await.unwrap())),
            Way::Tls => Leg::Stream(Box::new(tls(server).await)),
        };
        let username = format!("4102444800:{user}");
        let password = rest_password(SECRET, &username);
        Self { leg, username, password, realm: String::new(), nonce: Vec::new(), transaction: 0 }
    }

    /// With an allocation.
    pub(crate) async fn allocated(server: SocketAddr, way: Way, user: &str) -> Self {
        let mut client = Self::connect(server, way, user).await;
        let answer = client.allocate().await;
        assert_eq!(answer.code(), 0, "{answer:?}");
        client
    }

    pub(crate) fn bare(&mut self, method: u16) -> Stun {
        self.transaction += 1;
        let mut transaction = [0xcd; 12];
        transaction[4..].copy_from_slice(&self.transaction.to_be_bytes());
        Stun::new(method, transaction)
    }

    pub(crate) async fn allocate(&mut self) -> Stun {
        self.ask(ALLOCATE, |request| request.with(REQUESTED_TRANSPORT, [17, 0, 0, 0])).await
    }

    pub(crate) async fn refresh(&mut self, lifetime_s: u32) -> Stun {
        self.ask(REFRESH, |request| request.with(LIFETIME, lifetime_s.to_be_bytes())).await
    }

    pub(crate) async fn permit(&mut self, peer: SocketAddr) -> Stun {
        self.ask(CREATE_PERMISSION, |request| {
            let masked = mask(peer, request.transaction);
            request.with(XOR_PEER_ADDRESS, masked)
        })
        .await
    }

    pub(crate) async fn bind_channel(&mut self, number: u16, peer: SocketAddr) -> Stun {
        let [high, low] = number.to_be_bytes();
        self.ask(CHANNEL_BIND, |request| {
            let masked = mask(peer, request.transaction);
            request.with(CHANNEL_NUMBER, [high, low, 0, 0]).with(XOR_PEER_ADDRESS, masked)
        })
        .await
    }

    /// Sends on a channel, padded where that is due.
    pub(crate) async fn send_channel(&mut self, number: u16, payload: &[u8]) {
        let mut bytes = channel_data(number, payload);
        if matches!(self.leg, Leg::Stream(_)) {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.send(&bytes).await;
    }

    /// The payload of the next message on a channel.
    pub(crate) async fn receive_channel(&mut self, number: u16) -> Vec<u8> {
        let message = self.receive().await;
        assert_eq!(message[..2], number.to_be_bytes(), "another message");
        let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
        message[4..4 + length].to_vec()
    }

    /// Asks, and once more with what a 401 or a 438 says.
    async fn ask(&mut self, method: u16, fill: impl Fn(Stun) -> Stun) -> Stun {
        for _ in 0..3 {
            let request = fill(self.bare(method));
            let bytes = if self.nonce.is_empty() { request.encode() } else { self.sign(request.clone()) };
            self.send(&bytes).await;
            let answer = Stun::decode(&self.receive().await);
            assert_eq!(answer.transaction, request.transaction, "an answer to something else");
            let (realm, nonce) = (answer.attribute(REALM), answer.attribute(NONCE));
            if !matches!(answer.code(), 401 | 438) || nonce == Some(&self.nonce) {
                return answer;
            }
            self.realm = String::from_utf8(realm.unwrap().to_vec()).unwrap();
            self.nonce = nonce.unwrap().to_vec();
        }
        panic!("the relay goes on asking for credentials");
    }

    fn sign(&self, request: Stun) -> Vec<u8> {
        request
            .with(USERNAME, self.username.as_bytes())
            .with(REALM, self.realm.as_bytes())
            .with(NONCE, self.nonce.as_slice())
            .sign(&long_term_key(&self.username, &self.realm, &self.password))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        match &mut self.leg {
            Leg::Datagrams(socket) => drop(socket.send(bytes).await.unwrap()),
            Leg::Stream(stream) => {
                soon(stream.write_all(bytes)).await.unwrap();
                soon(stream.flush()).await.unwrap();
            }
        }
    }

    /// One whole message, without padding.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        match &mut self.leg {
            Leg::Datagrams(socket) => {
                let mut datagram = vec![0; 65_536];
                let length = soon(socket.recv(&mut datagram)).await.unwrap();
                datagram.truncate(length);
                datagram
            }
            Leg::Stream(stream) => {
                let mut message = vec![0; 4];
                soon(stream.read_exact(&mut message)).await.unwrap();
                let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
                let whole = if message[0] < 4 { 20 + length } else { 4 + length };
                message.resize(whole.next_multiple_of(4), 0);
                soon(stream.read_exact(&mut message[4..])).await.unwrap();
                message.truncate(whole);
                message
            }
        }
    }
}

/// A TLS stream that takes any certificate: what is tested is not whose it is.
pub(crate) async fn tls(server: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let stream = soon(TcpStream::connect(server)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

//! TLS until it is known who is meant: by server name, then by ALPN, then by the first decrypted bytes.

use std::io::{self, Read as _};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::Acceptor;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Front;
use super::certificates::Certificates;
use super::connection::{Deadline, Established, first_decision};
use super::first_bytes::Decision;
use super::replay::Replay;
use super::stats::Refusal;

/// Both versions that are safe, session tickets, and whatever certificates are current.
///
/// # Errors
/// The system has no randomness to make keys of tickets from.
pub(crate) fn server_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // A browser that reconnects after a change of network saves a round trip's worth of keys.
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

/// From the ClientHello in `stream` to what it is about.
pub(crate) async fn establish(
    front: &Front,
    mut stream: Replay<TcpStream>,
    deadline: Deadline,
) -> Result<Established, Refusal> {
    if front.tls.is_none() && front.passthrough.is_empty() {
        return Err(Refusal::TlsOff);
    }
    stream.keep();
    let hello = async {
        let started = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
        started.map_err(|error| Refusal::of_handshake(&error))
    };
    let mut started = deadline.bound(Refusal::TlsSlow, hello).await?;
    let backend = started.client_hello().server_name().and_then(|name| front.passthrough_of(name));
    if let Some(backend) = backend {
        let mut stream = started.io;
        stream.rewind();
        return Ok(Established::Passthrough { stream, backend });
    }
    let Some(config) = front.tls.clone() else { return Err(Refusal::TlsOff) };
    started.io.stop_keeping();
    let handshake = async {
        let accepted = started.into_stream(config).await;
        accepted.map_err(|error| Refusal::of_handshake(&error))
    };
    let stream = deadline.bound(Refusal::TlsSlow, handshake).await?;
    front.ledger.open().handshakes += 1;
    deadline.bound(Refusal::SlowPlaintext, by_protocol(stream)).await
}

/// Browsers name no protocol for TURN, and programs none for HTTP: then the first bytes tell.
async fn by_protocol(stream: TlsStream<Replay<TcpStream>>) -> Result<Established, Refusal> {
    let protocol = stream.get_ref().1.alpn_protocol();
    let is_turn = protocol.is_some_and(|protocol| TURN_PROTOCOLS.contains(&protocol));
    if is_turn {
        return take_apart(stream, Vec::new()).await;
    }
    let is_web = protocol.is_some();
    let mut stream = Replay::new(stream);
    if is_web {
        return Ok(Established::SecureWeb(Box::new(stream)));
    }
    match first_decision(&mut stream).await? {
        Decision::Http => Ok(Established::SecureWeb(Box::new(stream))),
        Decision::Turn => {
            let (stream, early) = stream.into_parts();
            take_apart(stream, early).await
        }
        Decision::Refuse(refusal) => Err(refusal),
        Decision::Tls | Decision::ProxyV2 | Decision::NeedMore => Err(Refusal::UnknownProtocol),
    }
}

/// Socket and TLS state, for a thread that has no tokio. `early` gets what is decrypted already.
async fn take_apart(
    mut stream: TlsStream<Replay<TcpStream>>,
    mut early: Vec<u8>,
) -> Result<Established, Refusal> {
    // Tickets may still wait to be sent.
    stream.flush().await.map_err(|_| Refusal::TlsClosed)?;
    let (stream, mut tls) = stream.into_inner();
    read_decrypted(&mut tls, &mut early).map_err(|_| Refusal::TlsClosed)?;
    let (socket, encrypted) = stream.into_parts();
    // Invariant: nothing waits. It was read before our ServerHello was sent, and the client's last message of the
    // handshake, which answers that, has been read after it.
    if !encrypted.is_empty() {
        return Err(Refusal::TlsMalformed);
    }
    Ok(Established::Turn { socket, tls: Some(Box::new(tls)), early })
}

fn read_decrypted(tls: &mut ServerConnection, early: &mut Vec<u8>) -> io::Result<()> {
    match tls.reader().read_to_end(early) {
        // The usual end: there is no more for now.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        // At the end of the stream; whoever reads next sees that too.
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// RFC 7443.
const TURN_PROTOCOLS: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// In our order of preference. No h2: the web sides that there are speak HTTP/1.1.
const PROTOCOLS: [&[u8]; 3] = [TURN_PROTOCOLS[0], TURN_PROTOCOLS[1], b"http/1.1"];

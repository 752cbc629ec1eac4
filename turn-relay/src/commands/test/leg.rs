//! One way to a server: datagrams, a stream, or a stream inside TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wire::stun::HEADER_BYTES;

/// A way on which requests are answered.
pub(super) enum Leg {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>),
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Leg {
    pub(super) async fn udp(server: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        Ok(Self::Udp(socket))
    }

    pub(super) async fn tcp(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Stream(Box::new(stream)))
    }

    pub(super) async fn tls(server: SocketAddr, host: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Stream(Box::new(TlsConnector::from(config).connect(name, stream).await?)))
    }

    /// Sends a request and gives what comes back: over UDP repeatedly (RFC 8489, 6.2.1), until something does.
    pub(super) async fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                let mut answer = vec![0; DATAGRAM_BYTES_MAX];
                let mut wait = RETRY_FIRST;
                loop {
                    socket.send(request).await?;
                    match timeout(wait, socket.recv(&mut answer)).await {
                        Ok(received) => {
                            answer.truncate(received?);
                            return Ok(answer);
                        }
                        Err(_) => wait *= 2,
                    }
                }
            }
            Self::Stream(stream) => {
                stream.write_all(request).await?;
                stream.flush().await?;
                let mut answer = vec![0; HEADER_BYTES];
                stream.read_exact(&mut answer).await?;
                let length = u16::from_be_bytes([answer[2], answer[3]]);
                answer.resize(HEADER_BYTES + usize::from(length), 0);
                stream.read_exact(&mut answer[HEADER_BYTES..]).await?;
                Ok(answer)
            }
        }
    }
}

const DATAGRAM_BYTES_MAX: usize = 2048;

/// RFC 8489, 6.2.1: RTO. The caller's time limit ends the repetition.
const RETRY_FIRST: Duration = Duration::from_millis(500);

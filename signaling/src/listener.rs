//! Serves HTTP on one TCP listener, and on connections that somebody else accepted, with the limits that a library's
//! default server leaves open: connections in all and of one address, size and time of headers, life of a connection
//! that is not a WebSocket.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use crate::gate::{Gate, Seat};

/// A slow-loris holds a connection this long.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// Request line and headers; hyper answers 431 above.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Our requests have a dozen headers, a proxy adds a few.
const HEADERS_MAX: usize = 64;
/// One page load takes seconds; a WebSocket is upgraded and does not count.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(120);
/// The largest message, and the page's files in a few round trips.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// To finish the request under way.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);
/// Waits for file descriptors without using the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that somebody else accepted and, where it came with TLS, decrypted: the web's part of a port that a
/// relay shares with us. It speaks HTTP/1.1; whoever hands it over has set `TCP_NODELAY` and does not offer `h2`.
pub struct WebConnection {
    /// Plaintext in both directions, from the first byte of the first request.
    pub stream: Box<dyn WebStream>,
    /// Who is at the other end, as a proxy in front has said: limits are counted for this address.
    pub client: SocketAddr,
    /// It came with TLS. Then only pages of `https` are ours.
    pub secure: bool,
}

impl std::fmt::Debug for WebConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebConnection").field("secure", &self.secure).finish_non_exhaustive()
    }
}

/// What HTTP can be spoken over.
pub trait WebStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> WebStream for T {}

/// Who is at the other end of a request's connection.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) address: SocketAddr,
    /// The connection has TLS, and it ends in this process.
    pub(crate) is_secure: bool,
    /// Its place among the sockets of its address: whoever keeps a socket open beyond the request keeps it.
    pub(crate) seat: Arc<Option<Seat>>,
}

/// What every connection is served with, whoever accepted it.
#[derive(Clone)]
pub(crate) struct Server {
    router: Router,
    gate: Option<Arc<Gate>>,
    slots: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Server {
    /// With `gate`, one address has as many connections as it may.
    pub(crate) fn new(
        router: Router,
        gate: Option<Arc<Gate>>,
        connections_max: usize,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { router, gate, slots: Arc::new(Semaphore::new(connections_max)), stop }
    }

    /// Accepts and serves until it is to stop.
    pub(crate) async fn listen(mut self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.stop.changed() => return,
            };
            let Ok((stream, address)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            prepare(&stream);
            self.admit(stream, address, false);
        }
    }

    /// Serves what others have accepted until it is to stop, or until all of them are gone.
    pub(crate) async fn take_over(mut self, mut accepted: mpsc::Receiver<WebConnection>) {
        loop {
            let connection = tokio::select! {
                connection = accepted.recv() => connection,
                _ = self.stop.changed() => return,
            };
            let Some(WebConnection { stream, client, secure }) = connection else { return };
            self.admit(stream, client, secure);
        }
    }

    /// Serves a connection if there is room. One too many is closed at once: an answer would cost what the limit is
    /// there to save.
    fn admit(&self, stream: impl WebStream + 'static, address: SocketAddr, is_secure: bool) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        let seat = match &self.gate {
            Some(gate) if !gate.is_proxy(address) => {
                let Some(seat) = gate.sit(address.ip()) else { return };
                seat
            }
            _ => None,
        };
        let remote = Remote { address, is_secure, seat: Arc::new(seat) };
        let (router, stop) = (self.router.clone(), self.stop.clone());
        tokio::spawn(async move {
            serve_connection(stream, router, remote, stop).await;
            drop(slot);
        });
    }
}

fn prepare(stream: &TcpStream) {
    // Small messages at once; without it they merely come later.
    let _ = stream.set_nodelay(true);
    // Otherwise the kernel keeps megabytes for a stranger who does not read; refused, it is as it was.
    let _ = SockRef::from(stream).set_send_buffer_size(SEND_BUFFER_BYTES);
}

async fn serve_connection(
    stream: impl WebStream + 'static,
    router: Router,
    remote: Remote,
    mut stop: watch::Receiver<bool>,
) {
    let service = router.map_request(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(remote.clone());
        request
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX);
    server.max_buf_size(HEADER_BYTES_MAX).max_headers(HEADERS_MAX);
    let connection =
        server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        // How a stranger's connection ends is the stranger's affair.
        _ = connection.as_mut() => return,
        () = sleep(CONNECTION_AGE_MAX) => {}
        _ = stop.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FINISH_TIME_MAX, connection).await;
}

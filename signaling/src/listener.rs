//! Serves HTTP on one TCP listener with the limits that a library's default server leaves open: connections in all and
//! of one address, size and time of headers, life of a connection that is not a WebSocket.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
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

/// Who is at the other end of a request's connection.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) address: SocketAddr,
    /// Its place among the sockets of its address: whoever keeps a socket open beyond the request keeps it.
    pub(crate) seat: Arc<Option<Seat>>,
}

/// Accepts and serves until `stop` changes. With `gate`, one address has as many connections as it may.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    gate: Option<Arc<Gate>>,
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let Ok((stream, address)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // One too many is closed at once: an answer would cost what the limit is there to save.
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let seat = match &gate {
            Some(gate) if !gate.is_proxy(address) => {
                let Some(seat) = gate.sit(address.ip()) else { continue };
                seat
            }
            _ => None,
        };
        let remote = Remote { address, seat: Arc::new(seat) };
        let (router, stop) = (router.clone(), stop.clone());
        tokio::spawn(async move {
            serve_connection(stream, router, remote, stop).await;
            drop(slot);
        });
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    remote: Remote,
    mut stop: watch::Receiver<bool>,
) {
    // Small messages at once; without it they merely come later.
    let _ = stream.set_nodelay(true);
    // Otherwise the kernel keeps megabytes for a stranger who does not read; refused, it is as it was.
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES);
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

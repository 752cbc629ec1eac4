//! Serves HTTP on one TCP listener with limits that a library's default server leaves open: connections, header size
//! and time, and how long one connection may live.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// What a listener's connections may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Open at the same time; the next is closed at once. Upgraded ones no longer count.
    pub(crate) connections_max: usize,
    /// Life of a connection that is not upgraded; then it may finish its request.
    pub(crate) age_max: Duration,
}

/// Accepts and serves until `stop` changes.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors: those who wait are served when others have gone.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let (router, stop) = (router.clone(), stop.clone());
        tokio::spawn(async move {
            serve_connection(stream, router, limits.age_max, stop).await;
            drop(slot);
        });
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    age_max: Duration,
    mut stop: watch::Receiver<bool>,
) {
    // Small messages at once; without it they merely come later.
    let _ = stream.set_nodelay(true);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).max_buf_size(HEADER_BYTES_MAX);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        // How a connection of a stranger ends is the stranger's affair.
        _ = connection.as_mut() => return,
        () = sleep(age_max) => {}
        _ = stop.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(FINISH_TIME_MAX, connection).await;
}

/// A slow-loris holds a connection this long.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// Request line and headers; hyper answers 431 above.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// To finish the request under way.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);

/// Waits for file descriptors without using the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

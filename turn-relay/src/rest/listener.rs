//! Serves HTTP on one TCP listener with limits that a library's default server leaves open: connections, header size
//! and time, and how long one connection may live.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// What a listener's connections may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Open at the same time; the next is closed at once.
    pub(crate) connections_max: usize,
    /// Life of a connection; then it may finish its request.
    pub(crate) age_max: Duration,
}

/// Accepts and serves until `stop` changes.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
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
    // Otherwise the kernel lets a stranger who does not read keep megabytes; refused, it is as it was.
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).max_buf_size(HEADER_BYTES_MAX);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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

/// A few round trips of what a scraper is sent.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// To finish the request under way.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);

/// Waits for file descriptors without using the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LIMITS: Limits = Limits { connections_max: 1, age_max: Duration::from_secs(30) };

    /// The clock is the runtime's own, which runs as soon as there is nothing else to do.
    async fn serving() -> (std::net::SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, Router::new().route("/", get(|| async { "here" })), LIMITS, stopped));
        (address, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_never_ends_and_a_connection_that_idles_are_closed() {
        let (address, _stop) = serving().await;
        for (part, is_answered) in [
            ("", false),
            ("GET / HTTP/1.1\r\nHost: x\r\nX: ", false),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", true),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(part.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // However it ends: with the server's close.
            let _ = stream.read_to_string(&mut answer).await;
            assert_eq!(answer.ends_with("here"), is_answered, "{part:?}: {answer}");
        }
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_at_once() {
        let (address, _stop) = serving().await;
        let _held = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(!matches!(second.read(&mut [0; 1]).await, Ok(1..)));
    }
}

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
    /// Open at the same time; the next is closed at once. Upgraded ones no longer count.
    pub(crate) connections_max: usize,
    /// Life of a connection that is not upgraded; then it may finish its request.
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
    let connection =
        server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades();
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

/// A few round trips of what a channel or a scraper is sent.
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

    const LIMITS: Limits = Limits { connections_max: 2, age_max: Duration::from_secs(30) };

    /// The clock is the runtime's own, which runs as soon as there is nothing else to do.
    async fn connect(limits: Limits) -> (std::net::SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let router = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(serve(listener, router, limits, stopped));
        (address, stop)
    }

    async fn answer_to(stream: &mut TcpStream, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // However it ends: with the server's close.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_never_ends_is_hung_up_on() {
        let (address, _stop) = connect(LIMITS).await;
        for part in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX: "] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let answer = answer_to(&mut stream, part).await;
            assert!(!answer.contains("here"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed() {
        let (address, _stop) = connect(LIMITS).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let answer = answer_to(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.ends_with("here"), "{answer}");
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_at_once_and_has_room_when_another_has_gone() {
        let (address, _stop) = connect(LIMITS).await;
        let held = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let mut third = TcpStream::connect(address).await.unwrap();
        assert!(!matches!(third.read(&mut [0; 1]).await, Ok(1..)));
        drop(held);
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if stream.write_all(request.as_bytes()).await.is_ok() {
                let mut answer = String::new();
                if stream.read_to_string(&mut answer).await.is_ok() && answer.ends_with("here") {
                    return;
                }
            }
        }
    }

    #[tokio::test]
    async fn stopping_closes_the_listener_and_idle_connections() {
        let (address, stop) = connect(LIMITS).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 1];
        idle.read_exact(&mut first).await.unwrap();
        stop.send(true).unwrap();
        let mut rest = String::new();
        idle.read_to_string(&mut rest).await.unwrap();
        while TcpStream::connect(address).await.is_ok() {}
    }
}

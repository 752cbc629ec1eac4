//! What becomes of connections that are not TURN's: an answer, another server, or the web side of this process.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional, sink,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{sleep, timeout};

use super::Front;
use super::connection::Ends;
use super::ports::{Web, WebConnection, WebStream};
use super::proxy_protocol;
use super::replay::Replay;
use super::stats::Refusal;

/// What is left to do with a connection after it has been counted.
pub(crate) enum Rest {
    /// Somebody else has it.
    Done,
    /// Say this and close.
    Answer(Box<dyn WebStream>, &'static str),
    /// Carry bytes between the client and a server.
    Splice(Box<dyn WebStream>, TcpStream),
}

impl Rest {
    /// Ends when the connection does.
    pub(crate) async fn carry_on(self, idle: Duration) {
        match self {
            Self::Done => {}
            Self::Answer(stream, text) => answer(stream, text).await,
            Self::Splice(client, backend) => splice(client, backend, idle).await,
        }
    }
}

/// Gives HTTP to whoever answers it.
pub(crate) async fn hand_over(
    front: &Front,
    stream: Box<dyn WebStream>,
    ends: Ends,
    secure: bool,
) -> Result<Rest, Refusal> {
    let stream = match &front.web {
        Web::None => {
            front.ledger.open().web += 1;
            return Ok(Rest::Answer(stream, NOT_FOUND));
        }
        Web::Backend(backend) => {
            let header = front.https_backend_proxy_protocol.then_some(ends);
            let Ok(backend) = connect(*backend, header).await else {
                front.ledger.refuse(Refusal::BackendUnreachable);
                return Ok(Rest::Answer(stream, BAD_GATEWAY));
            };
            front.ledger.open().web += 1;
            return Ok(Rest::Splice(stream, backend));
        }
        Web::Channel(channel) => {
            match channel.try_send(WebConnection { stream, client: ends.client, secure }) {
                Ok(()) => {
                    front.ledger.open().web += 1;
                    return Ok(Rest::Done);
                }
                Err(TrySendError::Full(back) | TrySendError::Closed(back)) => back.stream,
            }
        }
    };
    front.ledger.refuse(Refusal::WebBusy);
    Ok(Rest::Answer(stream, UNAVAILABLE))
}

/// Gives a TLS connection to the server that it names, as it came.
pub(crate) async fn pass_through(
    front: &Front,
    stream: Replay<TcpStream>,
    ends: Ends,
    backend: SocketAddr,
) -> Result<Rest, Refusal> {
    let backend = connect(backend, front.passthrough_proxy_protocol.then_some(ends)).await?;
    front.ledger.open().passed_through += 1;
    Ok(Rest::Splice(Box::new(stream), backend))
}

/// Connects to a server, and tells it who the client is if it is to know.
async fn connect(backend: SocketAddr, told: Option<Ends>) -> Result<TcpStream, Refusal> {
    let connected = timeout(CONNECT_TIME_MAX, async {
        let mut stream = TcpStream::connect(backend).await?;
        // Small messages at once; without it they merely come later.
        let _ = stream.set_nodelay(true);
        if let Some(ends) = told {
            stream.write_all(&proxy_protocol::write(ends.client, ends.local)).await?;
        }
        io::Result::Ok(stream)
    });
    match connected.await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) | Err(_) => Err(Refusal::BackendUnreachable),
    }
}

/// How the client takes it is the client's affair.
async fn answer(mut stream: Box<dyn WebStream>, text: &'static str) {
    let _ = timeout(ANSWER_TIME_MAX, async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would reset the connection, and the answer would be lost on its way.
        tokio::io::copy(&mut stream.take(REQUEST_BYTES_MAX), &mut sink()).await
    })
    .await;
}

/// Until both have finished, or nothing moves any more.
async fn splice(client: Box<dyn WebStream>, mut backend: TcpStream, idle: Duration) {
    let moved = AtomicU64::new(0);
    let mut client = Metered { stream: client, moved: &moved };
    let unmoved = async {
        let mut before = 0;
        loop {
            sleep(idle).await;
            match moved.load(Ordering::Relaxed) {
                now if now == before => return,
                now => before = now,
            }
        }
    };
    tokio::select! {
        // However it ends, both sides are closed.
        _ = copy_bidirectional(&mut client, &mut backend) => {}
        () = unmoved => {}
    }
}

/// Counts the times that something moved.
struct Metered<'a> {
    stream: Box<dyn WebStream>,
    moved: &'a AtomicU64,
}

impl AsyncRead for Metered<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.moved.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.moved.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A server beside us answers at once, or does not run.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// A client that does not take some two hundred bytes in this time does not want them.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// What a client may still send after its first bytes; more than the headers of any browser.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 43\r\nconnection: close\r\n\r\nThis is a TURN server; it has no web page.\n";

const BAD_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 43\r\nconnection: close\r\n\r\nThe web server behind this one is not here\n";

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    retry-after: 5\r\ncontent-length: 33\r\nconnection: close\r\n\r\nToo busy; come again in a moment\n";

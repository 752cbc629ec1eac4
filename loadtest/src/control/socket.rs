//! WebSockets, plain and over TLS, small enough for thousands in one process.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt as _};
use reqwest::Url;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderMap, Uri, header};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Error, Message, Utf8Bytes};

use super::failure::{Failure, Refusal, one_line};

/// Bytes both ways, encrypted or not. Boxed, because a TLS stream is large and most are plain.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Socket = WebSocketStream<Box<dyn Stream>>;
type Names = HashMap<(String, u16), (Instant, Vec<SocketAddr>)>;
type Opening = Pin<Box<dyn Future<Output = Result<Socket, Failure>> + Send>>;

/// Opens connections; clones share what they know.
#[derive(Clone)]
pub(super) struct Dialer {
    tls: TlsConnector,
    /// Addresses by host and port: a thousand joins are not a thousand questions to the resolver.
    names: Arc<Mutex<Names>>,
}

impl Dialer {
    pub(super) fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self { tls: TlsConnector::from(tls), names: Arc::default() }
    }

    /// A connection to the host of `url`; over TLS with `https` and `wss`.
    pub(super) async fn dial(&self, url: &Url) -> Result<Box<dyn Stream>, Failure> {
        let what = shown(url);
        let host =
            url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_secure = matches!(url.scheme(), "https" | "wss");
        let port = url.port_or_known_default().unwrap_or(if is_secure { 443 } else { 80 });
        let stream = self.connect(host.clone(), port, &what).await?;
        // Small messages that wait for nothing: as browsers do.
        stream.set_nodelay(true).map_err(|error| Failure::of_io(&error, &what))?;
        if !is_secure {
            return Ok(Box::new(stream));
        }
        let Ok(name) = ServerName::try_from(host) else {
            return Err(Failure::lasting("tls", format!("{what}: no name that a certificate can have")));
        };
        let stream = self.tls.connect(name, stream).await.map_err(|error| Failure::of_io(&error, &what))?;
        Ok(Box::new(stream))
    }

    /// A WebSocket; `protocol` is asked for, and must be granted.
    pub(super) async fn open(&self, url: Url, protocol: Option<&'static str>) -> Result<Socket, Failure> {
        let what = shown(&url);
        let bad_url = |why: String| Failure::lasting("bad_url", format!("{what}: {why}"));
        let uri: Uri = url.as_str().parse().map_err(|error| bad_url(format!("{error}")))?;
        let mut builder = ClientRequestBuilder::new(uri);
        if let Some(protocol) = protocol {
            builder = builder.with_sub_protocol(protocol);
        }
        let request = builder.into_client_request().map_err(|error| bad_url(error.to_string()))?;
        let stream = self.dial(&url).await?;
        match tokio_tungstenite::client_async_with_config(request, stream, Some(limits())).await {
            Ok((socket, _)) => Ok(socket),
            Err(error) => Err(refused(error, &what)),
        }
    }

    /// The first of the name's addresses that answers.
    async fn connect(&self, host: String, port: u16, what: &str) -> Result<TcpStream, Failure> {
        let addresses = self.addresses(host, port, what).await?;
        let mut last = Failure::passing("name_unknown", format!("{what}: the name has no address"));
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Failure::of_io(&error, what),
            }
        }
        Err(last)
    }

    /// What the name stands for, asked for once in a while.
    async fn addresses(&self, host: String, port: u16, what: &str) -> Result<Vec<SocketAddr>, Failure> {
        let key = (host, port);
        if let Some((at, known)) = self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && at.elapsed() < NAME_LIFETIME
        {
            return Ok(known.clone());
        }
        let found = lookup_host((key.0.as_str(), port)).await;
        let found: Vec<SocketAddr> =
            found.map_err(|error| Failure::passing("name_unknown", format!("{what}: {error}")))?.collect();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(key, (Instant::now(), found.clone()));
        Ok(found)
    }
}

/// A socket through its life. All methods may be dropped half-way.
pub(super) enum Line {
    Down,
    Opening(Opening),
    Up(Box<Socket>),
}

/// What a line brings.
#[derive(Debug)]
pub(super) enum News {
    Opened,
    Text(Utf8Bytes),
    /// Something that is no text.
    Strange,
    /// It could not be opened, or has ended.
    Closed(Failure),
}

impl Line {
    /// Begins to open.
    pub(super) fn open(dialer: &Dialer, url: Url, protocol: Option<&'static str>) -> Self {
        let dialer = dialer.clone();
        Self::Opening(Box::pin(async move { dialer.open(url, protocol).await }))
    }

    /// The next that happens; nothing ever, while it is down.
    pub(super) async fn next(&mut self) -> News {
        match self {
            Self::Down => pending().await,
            Self::Opening(opening) => match opening.await {
                Ok(socket) => {
                    *self = Self::Up(Box::new(socket));
                    News::Opened
                }
                Err(failure) => {
                    *self = Self::Down;
                    News::Closed(failure)
                }
            },
            Self::Up(socket) => {
                let news = heard(socket).await;
                if matches!(news, News::Closed(_)) {
                    *self = Self::Down;
                }
                news
            }
        }
    }

    /// Sends a text. Returns false when the line does not take it; then it is down.
    pub(super) async fn send(&mut self, text: String) -> bool {
        let Self::Up(socket) = self else { return false };
        let is_sent = matches!(timeout(WRITE_TIME_MAX, socket.send(Message::text(text))).await, Ok(Ok(())));
        if !is_sent {
            *self = Self::Down;
        }
        is_sent
    }

    /// Ends it in order, as a page that is closed does: what was sent before arrives.
    pub(super) async fn close(&mut self) {
        let Self::Up(mut socket) = std::mem::replace(self, Self::Down) else { return };
        let closing = async {
            if SinkExt::close(socket.as_mut()).await.is_ok() {
                while let Some(Ok(_)) = socket.next().await {}
            }
        };
        // A server that does not answer is left standing.
        let _ = timeout(CLOSE_TIME_MAX, closing).await;
    }

    /// It has been asked for and is not there yet.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self, Self::Opening(_))
    }
}

/// The next that is no ping or pong, which the library answers by itself.
async fn heard(socket: &mut Socket) -> News {
    loop {
        return match socket.next().await {
            Some(Ok(Message::Text(text))) => News::Text(text),
            Some(Ok(Message::Binary(_))) => News::Strange,
            Some(Ok(Message::Close(frame))) => News::Closed(closed(frame.as_ref())),
            Some(Ok(_)) => continue,
            Some(Err(error)) => News::Closed(Failure::passing(
                "line_broken",
                format!("the line to the server broke: {error}"),
            )),
            None => News::Closed(closed(None)),
        };
    }
}

/// The server's close, with its code and word.
fn closed(frame: Option<&CloseFrame>) -> Failure {
    let why =
        frame.map_or_else(String::new, |frame| format!(" ({} {})", u16::from(frame.code), frame.reason));
    Failure::passing("line_closed", format!("the server closed the line{why}"))
}

/// The answer to the upgrade was no.
fn refused(error: Error, what: &str) -> Failure {
    match error {
        Error::Io(error) => Failure::of_io(&error, what),
        Error::Http(answer) => Failure::of_refusal(&Refusal {
            status: answer.status().as_u16(),
            retry_after: text_of(answer.headers(), &header::RETRY_AFTER),
            body: answer.body().as_deref().unwrap_or_default(),
            what,
        }),
        other => Failure::passing("not_websocket", format!("{what} does not speak WebSocket: {other}")),
    }
}

fn text_of<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A URL without what may be secret in it.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    one_line(&format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path()))
}

/// Thousands of these are in one process; the library's own default is 128 KiB each.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// Most updates are smaller.
const READ_BUFFER_BYTES: usize = 2 << 10;
/// An offer of many slots is about 100 KiB; servers take 64.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// A snapshot of 10,000 participants with the longest names.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// A server that reads nothing for so long is gone.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// A round trip, for the server's close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// As browsers keep them.
const NAME_LIFETIME: Duration = Duration::from_secs(60);

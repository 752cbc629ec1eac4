//! The callers' HTTP client: what it sends, when it was sent, and refusals as [`Failure`]s.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};

use super::ControlError;
use super::failure::{Failure, Refusal};

/// One client for all callers: connections are kept and used again, as one browser does towards one server.
pub(super) fn client(tls: &Arc<rustls::ClientConfig>) -> Result<Client, ControlError> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls.as_ref().clone())
        .connect_timeout(CONNECT_TIME_MAX)
        // WHIP's redirects keep method and body and are followed by hand; others are not for programs.
        .redirect(Policy::none())
        // What a test machine's environment says of proxies is not what browsers of visitors do.
        .no_proxy()
        .user_agent(concat!("passerelle-loadtest/", env!("CARGO_PKG_VERSION")));
    builder.build().map_err(|error| ControlError::Http(error.to_string()))
}

/// A text that notes when it was fetched, which is when its connection stood.
pub(super) struct TimedText {
    text: Option<Bytes>,
    sent: Arc<OnceLock<Instant>>,
}

impl TimedText {
    /// `sent` keeps the first instant.
    pub(super) fn new(text: String, sent: &Arc<OnceLock<Instant>>) -> Self {
        Self { text: Some(text.into()), sent: Arc::clone(sent) }
    }
}

impl Body for TimedText {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.sent.get_or_init(Instant::now);
        Poll::Ready(self.text.take().map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none()
    }

    /// Exact, so that no server has to understand chunks.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.as_ref().map_or(0, |text| text.len() as u64))
    }
}

/// The whole body of the answer to a `GET`. A server may close a connection that it had kept in the very moment in which
/// it is used again; RFC 9110, 9.2.2 lets a client then ask once more, as browsers do.
pub(super) async fn get(request: RequestBuilder, what: &str) -> Result<Bytes, Failure> {
    let again = request.try_clone();
    let response = match (request.send().await, again) {
        (Err(error), Some(again)) if is_cut(&error) => again.send().await,
        (sent, _) => sent,
    };
    accepted(response.map_err(|error| Failure::of_http(&error, what))?, what).await
}

/// The connection stood, and ended without an answer.
fn is_cut(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

/// The whole body of an answer that is not a refusal.
pub(super) async fn accepted(response: Response, what: &str) -> Result<Bytes, Failure> {
    let status = response.status();
    let retry_after = response.headers().get(reqwest::header::RETRY_AFTER).cloned();
    let body = whole(response, what).await;
    if status.is_success() {
        return body;
    }
    let retry_after = retry_after.as_ref().and_then(|value| value.to_str().ok());
    // A refusal whose body is broken is still that refusal.
    let body = body.unwrap_or_default();
    Err(Failure::of_refusal(&Refusal { status: status.as_u16(), retry_after, body: &body, what }))
}

/// The body of any answer, up to a limit.
async fn whole(mut response: Response, what: &str) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of_http(&error, what))? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Failure::lasting("too_long", format!("{what}: the answer is longer than 8 MiB")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// A server that is there answers a SYN and TLS much sooner, even in a storm.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Statistics of a large bridge are 100 KiB; an answer to a page of slots as much.
const BODY_BYTES_MAX: usize = 8 << 20;

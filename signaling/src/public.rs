//! The public listener: which path leads where, and what every answer carries.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, get};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::settings::Secret;

use crate::engine::ports::{HttpProtocol, MESSAGE_BYTES_MAX};
use crate::gate::{Gate, Seat};
use crate::hub::Hub;
use crate::listener::Remote;
use crate::problem::Problem;
use crate::relays::{self, Relays};
use crate::{channel, link, meeting, page, whip};

/// What the public handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Public {
    pub(crate) hub: Hub,
    pub(crate) gate: Arc<Gate>,
    pub(crate) link_key: Arc<Secret>,
    pub(crate) sockets: Arc<Semaphore>,
    pub(crate) relays: Option<Arc<Relays>>,
}

impl Public {
    /// Keeps the client's place for as long as a WebSocket is open: that of its connection, or, behind a proxy, one of
    /// its own. `None`: it has as many as it may.
    pub(crate) fn seat_of(&self, remote: &Remote, client: std::net::IpAddr) -> Option<Arc<Option<Seat>>> {
        if self.gate.is_proxy(remote.address) {
            return self.gate.sit(client).map(Arc::new);
        }
        Some(Arc::clone(&remote.seat))
    }

    /// Counts a join, or what costs as much, of the browser behind this request.
    pub(crate) fn check_rate(&self, remote: &Remote, headers: &HeaderMap) -> Result<(), Problem> {
        let client = self.gate.client_of(remote.address, headers);
        if self.gate.may_join(Instant::now(), client) { Ok(()) } else { Err(Problem::TOO_MANY) }
    }

    /// A place among all WebSockets. `None`: there are as many as there may be.
    pub(crate) fn take_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sockets).try_acquire_owned().ok()
    }
}

/// All public routes.
pub(crate) fn router(public: Public) -> Router {
    let collection = |protocol| any(move |state, request| whip::collection(protocol, state, request));
    let resource = |protocol| any(move |state, request| whip::resource(protocol, state, request));
    Router::new()
        .route("/ws", get(meeting::open))
        .route("/bridge-link", get(link::open))
        .route("/api/turn-credentials", get(relays::credentials))
        .route("/colibri-ws/{bridge}/{conference}/{endpoint}", get(channel::open))
        .route("/whip/{conference}", collection(HttpProtocol::Whip))
        .route("/whep/{conference}", collection(HttpProtocol::Whep))
        .route("/whip/{conference}/{resource}", resource(HttpProtocol::Whip))
        .route("/whep/{conference}/{resource}", resource(HttpProtocol::Whep))
        .route("/", get(page::home))
        .route("/{conference}", get(page::conference_or_file))
        .route("/assets/{*file}", get(page::asset))
        .fallback(|| async { Problem::NOT_FOUND })
        .method_not_allowed_fallback(|| async { Problem::METHOD_NOT_ALLOWED })
        .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
        .layer(middleware::from_fn(strict))
        .with_state(public)
}

/// What no answer is without: the page runs its own scripts only, talks to its own origin only, is framed by nobody, and
/// tells nobody where its visitors come from.
async fn strict(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in STRICT_HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// `mediastream:` is how some browsers call a camera's picture in a video element.
const STRICT_HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' wss:; \
         media-src blob: mediastream:; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; \
         form-action 'self'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(self), microphone=(self), display-capture=(self), autoplay=(self), fullscreen=(self), \
         geolocation=(), payment=(), usb=(), serial=(), bluetooth=()",
    ),
];

/// Gives a handler its state without naming the type twice.
pub(crate) type SharedState = State<Public>;

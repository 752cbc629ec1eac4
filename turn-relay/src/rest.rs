//! The private REST interface: what an operator, an exporter or a prober asks.
//!
//! | path | answers |
//! |---|---|
//! | `/stats` | the flat JSON of `stats` |
//! | `/metrics` | Prometheus' text |
//! | `/livez` | whether every shard goes round |
//! | `/readyz` | whether new clients should come here |
//! | `/version` | what this is |
//! | `/allocations` | who relays where; users as they stand in the log |
//! | `/explain?peer=203.0.113.4:10000` | whether clients reach a peer, and which rule decides |
//! | `/drain`, `POST …/enable`, `…/disable` | whether new allocations are refused |
//! | `POST /revoke?user=` | ends a user's allocations |
//!
//! It has no authentication and therefore listens on loopback. A web page must not reach it either: no CORS header is
//! ever sent, a host name that is not ours is refused, and so is whatever says that a page sent it.

mod host;
pub(crate) mod listener;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use self::host::Hosts;
use crate::control::Control;
use crate::engine::policy::rules::Decision;
use crate::engine::views::AllocationView;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// What the handlers share.
#[derive(Clone)]
struct Rest {
    control: Arc<Control>,
    metrics: Arc<Metrics>,
    hosts: Arc<Hosts>,
}

/// The interface's routes. `hosts` are the names it may be asked by.
pub(crate) fn router(control: Arc<Control>, hosts: &[String]) -> Result<Router, prometheus::Error> {
    let metrics = Arc::new(Metrics::new(Arc::clone(&control))?);
    let rest = Rest { control, metrics, hosts: Arc::new(Hosts::new(hosts)) };
    Ok(Router::new()
        .route("/stats", get(flat_stats))
        .route("/metrics", get(prometheus_text))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route("/allocations", get(allocations))
        .route("/explain", get(explain))
        .route("/drain", get(drain))
        .route("/drain/enable", post(drain_enable))
        .route("/drain/disable", post(drain_disable))
        .route("/revoke", post(revoke))
        .fallback(|| async { Problem::NOT_FOUND })
        .method_not_allowed_fallback(|| async { Problem::METHOD_NOT_ALLOWED })
        .layer(middleware::from_fn_with_state(rest.clone(), no_page))
        .with_state(rest))
}

async fn no_page(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // HTTP/1.0 may leave it out; a browser cannot.
    if !host.is_none_or(|host| rest.hosts.are_ours(host)) {
        return FOREIGN_HOST.into_response();
    }
    // A browser adds it to each POST of a page, which would be obeyed even if its answer is not shown to the page.
    if request.headers().contains_key(header::ORIGIN) {
        return FROM_A_PAGE.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn flat_stats(State(rest): State<Rest>) -> Json<Value> {
    Json(rest.control.sample().flat(rest.control.is_draining()))
}

async fn prometheus_text(State(rest): State<Rest>) -> Response {
    match rest.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            METRICS_BROKEN.into_response()
        }
    }
}

async fn live(State(rest): State<Rest>) -> Response {
    if rest.control.is_alive().await { Json(json!({})).into_response() } else { HUNG.into_response() }
}

async fn ready(State(rest): State<Rest>) -> Response {
    if !rest.control.is_alive().await {
        return HUNG.into_response();
    }
    if rest.control.is_draining() {
        return DRAINING.into_response();
    }
    if rest.control.certificates.expires_at() <= SystemTime::now() {
        return CERTIFICATE_EXPIRED.into_response();
    }
    Json(json!({ "ready": true })).into_response()
}

async fn version() -> Json<Value> {
    Json(json!({ "name": NAME, "version": env!("CARGO_PKG_VERSION"), "os": std::env::consts::OS }))
}

async fn allocations(State(rest): State<Rest>) -> Response {
    let Some(views) = rest.control.allocations().await else { return HUNG.into_response() };
    let now = Instant::now();
    let all: Vec<Value> = views.iter().map(|view| allocation(view, &rest, now)).collect();
    Json(json!(all)).into_response()
}

fn allocation(view: &AllocationView, rest: &Rest, now: Instant) -> Value {
    let traffic = &view.traffic;
    let channels = view.channels.iter().map(|(number, peer)| json!({ "number": number, "peer": peer }));
    json!({
        "user": rest.control.ended.log_id(&view.user).to_string(),
        "transport": view.path.transport.as_str(),
        "client": view.path.client,
        "relayed": view.relayed,
        "age_s": now.saturating_duration_since(view.since).as_secs(),
        "expires_in_s": view.expires_at.saturating_duration_since(now).as_secs(),
        "permissions": view.permissions,
        "channels": channels.collect::<Vec<_>>(),
        "packets": { "to_peer": traffic.to_peer_packets, "to_client": traffic.to_client_packets },
        "bytes": { "to_peer": traffic.to_peer_bytes, "to_client": traffic.to_client_bytes },
        "dropped": traffic.dropped,
    })
}

#[derive(Deserialize)]
struct ExplainQuery {
    peer: String,
}

async fn explain(State(rest): State<Rest>, query: Result<Query<ExplainQuery>, QueryRejection>) -> Response {
    let Some(peer) = query.ok().and_then(|Query(query)| peer_of(&query.peer)) else {
        return BAD_PEER.into_response();
    };
    let Some(explanation) = rest.control.explain(peer).await else { return HUNG.into_response() };
    let is_allowed = matches!(explanation.decision, Decision::Allowed(_));
    let body = json!({
        "allowed": is_allowed,
        "rule": explanation.id,
        "text": explanation.text,
        "reached_at": explanation.real,
    });
    Json(body).into_response()
}

/// An address, or an address and a port; port 0 asks about the address.
fn peer_of(text: &str) -> Option<SocketAddr> {
    let with_port = text.parse::<SocketAddr>().ok().filter(|peer| peer.port() != 0);
    with_port.or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0)))
}

async fn drain(State(rest): State<Rest>) -> Json<Value> {
    Json(json!({ "drain": rest.control.is_draining() }))
}

async fn drain_enable(State(rest): State<Rest>) -> Json<Value> {
    set_draining(&rest, true)
}

async fn drain_disable(State(rest): State<Rest>) -> Json<Value> {
    set_draining(&rest, false)
}

fn set_draining(rest: &Rest, is_draining: bool) -> Json<Value> {
    rest.control.set_draining(is_draining);
    tracing::info!(is_draining, "draining was set");
    Json(json!({ "drain": is_draining }))
}

#[derive(Deserialize)]
struct RevokeQuery {
    user: String,
}

async fn revoke(State(rest): State<Rest>, query: Result<Query<RevokeQuery>, QueryRejection>) -> Response {
    let Some(user) = query.ok().map(|Query(query)| query.user).filter(|user| !user.is_empty()) else {
        return NO_USER.into_response();
    };
    let Some(ended) = rest.control.revoke(&user).await else { return HUNG.into_response() };
    tracing::info!(user = %rest.control.ended.log_id(&user), ended, "a user was revoked");
    Json(json!({ "ended": ended })).into_response()
}

const NAME: &str = "Passerelle turn-relay";

const FOREIGN_HOST: Problem = Problem::new(
    StatusCode::MISDIRECTED_REQUEST,
    "foreign_host",
    "asked by a host name that is not configured in turn-relay.rest_hosts",
);

const FROM_A_PAGE: Problem =
    Problem::new(StatusCode::FORBIDDEN, "from_a_page", "this interface is not for web pages");

const HUNG: Problem =
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "hung", "a shard has not gone round for 2 s");

const DRAINING: Problem =
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "new allocations are refused");

const CERTIFICATE_EXPIRED: Problem = Problem::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "certificate_expired",
    "TLS clients refuse the certificate",
);

const BAD_PEER: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "bad_peer",
    "peer= wants an IP address, or one with a port such as 203.0.113.4:10000 or [2001:db8::1]:10000",
);

const NO_USER: Problem = Problem::new(
    StatusCode::BAD_REQUEST,
    "no_user",
    "user= wants the participant of a credential, or a user name",
);

const METRICS_BROKEN: Problem = Problem::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "the metrics cannot be written; the log says why",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_address_with_or_without_a_port() {
        for (text, peer) in [
            ("203.0.113.4", "203.0.113.4:0"),
            ("203.0.113.4:10000", "203.0.113.4:10000"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
        ] {
            assert_eq!(peer_of(text), Some(peer.parse().unwrap()), "{text}");
        }
        for text in
            ["", "meet.example", "203.0.113.4:0", "203.0.113.4:", "203.0.113.4:65536", "[2001:db8::1]"]
        {
            assert_eq!(peer_of(text), None, "{text}");
        }
    }
}

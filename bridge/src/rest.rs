//! The private REST interface: what an operator, an exporter or a prober asks.
//!
//! | path | answers |
//! |---|---|
//! | `/stats`, `/colibri/stats` | the flat JSON of `stats::flat` |
//! | `/metrics` | Prometheus' text |
//! | `/livez`, `/about/health` | whether every worker goes round |
//! | `/readyz` | whether new conferences should come here |
//! | `/version`, `/about/version` | what this is |
//! | `/debug`, `/debug/{conference}` | the state tree |
//! | `/colibri/drain`, `POST …/enable`, `…/disable` | whether signaling is asked to choose other bridges |
//!
//! It has no authentication and therefore listens on loopback. A web page must not reach it either: no CORS header is
//! ever sent, and a host name that is not ours is refused.

mod host;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use self::host::Hosts;
use crate::control::Control;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::stats::{self, Facts};

/// What the handlers share.
#[derive(Clone)]
struct Rest {
    control: Arc<Control>,
    metrics: Arc<Metrics>,
    region: Option<String>,
    hosts: Arc<Hosts>,
    links: usize,
}

/// The interface's routes. `hosts` are the names it may be asked by, `links` the signaling services there should be.
pub(crate) fn router(
    control: Arc<Control>,
    region: Option<String>,
    hosts: &[String],
    links: usize,
) -> Result<Router, prometheus::Error> {
    let metrics = Arc::new(Metrics::new(Arc::clone(&control))?);
    let hosts = Arc::new(Hosts::new(hosts));
    let rest = Rest { control, metrics, region, hosts, links };
    Ok(Router::new()
        .route("/stats", get(flat_stats))
        .route("/colibri/stats", get(flat_stats))
        .route("/metrics", get(prometheus_text))
        .route("/livez", get(live))
        .route("/about/health", get(live))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route("/about/version", get(version))
        .route("/debug", get(debug))
        .route("/debug/{conference}", get(debug_conference))
        .route("/colibri/drain", get(drain))
        .route("/colibri/drain/enable", post(drain_enable))
        .route("/colibri/drain/disable", post(drain_disable))
        .fallback(|| async { Problem::NOT_FOUND })
        .method_not_allowed_fallback(|| async { Problem::METHOD_NOT_ALLOWED })
        .layer(middleware::from_fn_with_state(rest.clone(), only_our_names))
        .with_state(rest))
}

async fn only_our_names(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // HTTP/1.0 may leave it out; a browser cannot.
    if !host.is_none_or(|host| rest.hosts.are_ours(host)) {
        return FOREIGN_HOST.into_response();
    }
    let mut response = next.run(request).await;
    let nosniff = header::HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

async fn flat_stats(State(rest): State<Rest>) -> Json<Value> {
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION"),
        region: rest.region,
        is_draining: rest.control.is_draining(),
        is_healthy: rest.control.is_alive(Instant::now()),
        unix_ms: unix_ms(),
    };
    Json(stats::flat(&rest.control.stats(), &facts))
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
    if rest.control.is_alive(Instant::now()) { Json(json!({})).into_response() } else { HUNG.into_response() }
}

async fn ready(State(rest): State<Rest>) -> Response {
    if !rest.control.is_alive(Instant::now()) {
        return HUNG.into_response();
    }
    if rest.control.is_draining() {
        return DRAINING.into_response();
    }
    if rest.links > 0 && rest.control.links_up() == 0 {
        return UNCONNECTED.into_response();
    }
    Json(json!({ "ready": true })).into_response()
}

async fn version() -> Json<Value> {
    Json(json!({ "name": NAME, "version": env!("CARGO_PKG_VERSION"), "os": std::env::consts::OS }))
}

async fn debug(State(rest): State<Rest>) -> Json<Value> {
    Json(json!({ "workers": rest.control.debug().await }))
}

async fn debug_conference(State(rest): State<Rest>, Path(conference): Path<String>) -> Response {
    let trees = rest.control.debug().await;
    let found = trees.iter().find_map(|tree| tree.get("conferences")?.get(&conference));
    found.map_or_else(|| NO_CONFERENCE.into_response(), |tree| Json(tree).into_response())
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

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const NAME: &str = "Passerelle bridge";

const FOREIGN_HOST: Problem = Problem::new(
    StatusCode::MISDIRECTED_REQUEST,
    "foreign_host",
    "asked by a host name that is not configured in bridge.rest_hosts",
);

const HUNG: Problem =
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "hung", "a worker has not gone round for 2 s");

const DRAINING: Problem =
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "signaling is asked to choose other bridges");

const UNCONNECTED: Problem =
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unconnected", "no signaling service is connected");

const NO_CONFERENCE: Problem =
    Problem::new(StatusCode::NOT_FOUND, "unknown_conference", "no conference of this id is here");

const METRICS_BROKEN: Problem = Problem::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "the metrics cannot be written; the log says why",
);

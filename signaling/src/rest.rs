//! The private REST interface: what an operator, an exporter or a prober asks.
//!
//! | path | answers |
//! |---|---|
//! | `/stats` | Jicofo's keys that mean something here, and ours |
//! | `/metrics` | Prometheus' text |
//! | `/livez`, `/about/health` | whether the engine goes round |
//! | `/readyz` | whether browsers should come here |
//! | `/version`, `/about/version` | what this is |
//! | `/api/bridges`, `/api/conferences` | who carries what; `media` of a bridge is what a relay lets its clients reach |
//!
//! It has no authentication and therefore listens on loopback. A web page must not reach it either: no CORS header is
//! ever sent, and a host name that is not ours is refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::engine::ports::{BridgeView, ConferenceView};
use crate::engine::stats::Stats;
use crate::hub::Hub;
use crate::metrics;
use crate::problem::Problem;

/// An engine that does not answer within this is stuck.
const LOOK_TIME_MAX: Duration = Duration::from_secs(2);

const HUNG: Problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "hung", "the engine does not answer");
const METRICS_BROKEN: Problem =
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "metrics cannot be written");

#[derive(Debug, Clone)]
struct Rest {
    hub: Hub,
    /// Lower case.
    hosts: Arc<Vec<String>>,
}

/// The interface's routes. `hosts` are the names it may be asked by.
pub(crate) fn router(hub: Hub, hosts: &[String]) -> Router {
    let hosts = Arc::new(hosts.iter().map(|name| name.to_ascii_lowercase()).collect());
    let rest = Rest { hub, hosts };
    Router::new()
        .route("/stats", get(stats))
        .route("/metrics", get(prometheus_text))
        .route("/livez", get(live))
        .route("/about/health", get(live))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route("/about/version", get(version))
        .route("/api/bridges", get(bridges))
        .route("/api/conferences", get(conferences))
        .fallback(|| async { Problem::NOT_FOUND })
        .method_not_allowed_fallback(|| async { Problem::METHOD_NOT_ALLOWED })
        .layer(middleware::from_fn_with_state(rest.clone(), only_our_names))
        .with_state(rest)
}

/// DNS rebinding: a page can make its own name lead to 127.0.0.1, but the browser then says that name.
async fn only_our_names(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // HTTP/1.0 may leave it out; a browser cannot.
    if !host.is_none_or(|host| is_ours(host, &rest.hosts)) {
        return Problem::FOREIGN_HOST.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An IP address, `localhost`, or a configured name, with any port.
fn is_ours(host: &str, names: &[String]) -> bool {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let host = host.to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    bare.parse::<IpAddr>().is_ok() || host == "localhost" || names.contains(&host)
}

async fn look<T: Send + 'static>(
    hub: &Hub,
    look: impl FnOnce(&crate::engine::Focus, std::time::Instant) -> T + Send + 'static,
) -> Result<T, Problem> {
    timeout(LOOK_TIME_MAX, hub.look(look)).await.ok().flatten().ok_or(HUNG)
}

async fn stats(State(rest): State<Rest>) -> Result<Json<Value>, Problem> {
    let stats = look(&rest.hub, |focus, _| focus.stats()).await?;
    Ok(Json(flat(&stats)))
}

/// INTERFACES: the names that boards of Jicofo read, then ours.
fn flat(stats: &Stats) -> Value {
    let counters = &stats.counters;
    let count = |state: &str| stats.bridges.iter().filter(|bridge| bridge.state == state).count();
    let mut versions: Vec<&str> = stats.bridges.iter().map(|bridge| bridge.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    json!({
        "conferences": stats.conferences,
        "participants": stats.participants + stats.viewers,
        "visitors": stats.viewers,
        "largest_conference": stats.largest_conference,
        "conference_sizes": stats.conference_sizes,
        "total_participants": counters.participants_joined,
        "total_conferences_created": counters.conferences_created,
        "bridge_failures": {
            "bridges_removed": counters.bridges_lost,
            "participants_moved": counters.participants_moved,
        },
        "bridge_selector": {
            "bridge_count": stats.bridges.len(),
            "operational_bridge_count": stats.fit_bridges,
            "in_shutdown_bridge_count": count("draining"),
            "lost_bridges": counters.bridges_lost,
            "bridge_version_count": versions.len(),
        },
        "participant_notifications": {
            "ice_failed": counters.endpoints_failed,
            "request_restart": counters.restarts_requested,
        },
        "version": env!("CARGO_PKG_VERSION"),
        // As Jicofo means it: a bridge could be given a conference.
        "healthy": stats.fit_bridges > 0,
        "waiting_conferences": stats.waiting_conferences,
        "wanting_conferences": stats.wanting_conferences,
        "websockets": stats.connections,
        "join_ms": {
            "p50": counters.join_ms(50.0),
            "p95": counters.join_ms(95.0),
            "p99": counters.join_ms(99.0),
        },
        "bridges": stats.bridges.iter().map(bridge).collect::<Vec<Value>>(),
    })
}

fn bridge(view: &BridgeView) -> Value {
    json!({
        "id": view.id,
        "region": view.region,
        "version": view.version,
        "stress": view.stress,
        "corrected_stress": view.corrected_stress,
        "state": view.state,
        "conferences": view.conferences,
        "endpoints": view.endpoints,
        "media": view.media,
    })
}

async fn bridges(State(rest): State<Rest>) -> Result<Json<Vec<Value>>, Problem> {
    let bridges = look(&rest.hub, |focus, _| focus.bridges()).await?;
    Ok(Json(bridges.iter().map(bridge).collect()))
}

async fn conferences(State(rest): State<Rest>) -> Result<Json<Vec<Value>>, Problem> {
    let conferences = look(&rest.hub, crate::engine::Focus::conferences).await?;
    let now_ms = unix_ms();
    let view = |conference: &ConferenceView| {
        let age_ms = u64::try_from(conference.age.as_millis()).unwrap_or(u64::MAX);
        json!({
            "conference": conference.name,
            "id": conference.id,
            "log_id": conference.log_id,
            "participants": conference.participants,
            "viewers": conference.viewers,
            "bridge": conference.bridge,
            "epoch": conference.epoch,
            "since": now_ms.saturating_sub(age_ms) / 1000,
        })
    };
    Ok(Json(conferences.iter().map(view).collect()))
}

async fn prometheus_text(State(rest): State<Rest>) -> Result<Response, Problem> {
    let stats = look(&rest.hub, |focus, _| focus.stats()).await?;
    let text = metrics::text(&stats).map_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
        METRICS_BROKEN
    })?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

async fn live(State(rest): State<Rest>) -> Result<Json<Value>, Problem> {
    look(&rest.hub, |_, _| ()).await?;
    Ok(Json(json!({})))
}

/// Ready even without a bridge: bridges reach us through what asks for this.
async fn ready(State(rest): State<Rest>) -> Result<Json<Value>, Problem> {
    let fit = look(&rest.hub, |focus, _| focus.stats().fit_bridges).await?;
    Ok(Json(json!({ "ready": true, "fit_bridges": fit })))
}

async fn version() -> Json<Value> {
    Json(json!({
        "name": "Passerelle signaling",
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
    }))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::stats::Counters;

    #[test]
    fn without_a_fit_bridge_stats_say_unhealthy() {
        let mut stats = Stats::new(Counters::default());
        assert_eq!(flat(&stats)["healthy"], json!(false));
        stats.fit_bridges = 1;
        assert_eq!(flat(&stats)["healthy"], json!(true));
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_ours() {
        let names = ["signaling.internal".to_owned()];
        for host in
            ["127.0.0.1:8888", "[::1]:8888", "[::1]", "localhost", "LOCALHOST:1", "signaling.internal:1"]
        {
            assert!(is_ours(host, &names), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", ":80"] {
            assert!(!is_ours(host, &names), "{host}");
        }
    }
}

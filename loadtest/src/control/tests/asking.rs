//! Asking servers: for their statistics, and as the baseline of polling.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::*;
use super::world::{control, nobody, serve, soon, until};
use crate::scenario::Poll;

/// As a bridge with two workers answers, in the middle of a meeting.
const BRIDGE_STATS: &str = include_str!("bridge_stats.json");
/// Its process, as Prometheus reads it.
const BRIDGE_METRICS: &str = include_str!("bridge_metrics.txt");
/// As signaling answers.
const SIGNALING_STATS: &str = include_str!("signaling_stats.json");

async fn sample(router: Router, path: &str) -> ServerSample {
    let url = format!("http://{}{path}", serve(router).await);
    let control = control(&url, 1.0, |_| ());
    let mut reader = ServerReader::new(&control, &[url]);
    reader.sample().await.remove(0)
}

#[tokio::test]
async fn a_bridge_is_read_with_its_process() {
    for path in ["/stats", "/colibri/stats"] {
        let router = Router::new()
            .route(path, get(async || BRIDGE_STATS))
            .route("/metrics", get(async || BRIDGE_METRICS));
        let found = sample(router, path).await;
        insta::assert_debug_snapshot!("bridge", ServerSample { url: String::new(), ..found });
    }
}

#[tokio::test]
async fn signaling_is_read_without_what_it_has_not() {
    let found = sample(Router::new().route("/stats", get(async || SIGNALING_STATS)), "/stats").await;
    insta::assert_debug_snapshot!("signaling", ServerSample { url: String::new(), ..found });
}

#[tokio::test]
async fn what_is_no_server_of_ours_says_so_in_one_line() {
    for (status, body, expected) in [
        (StatusCode::OK, "<html>", "no statistics of ours"),
        (StatusCode::OK, "[1, 2]", "no statistics of ours"),
        (StatusCode::NOT_FOUND, "", "404"),
    ] {
        let found = sample(Router::new().route("/stats", get(async move || (status, body))), "/stats").await;
        let why = found.failure.unwrap();
        assert!(why.contains(expected) && !why.contains('\n'), "{why}");
    }
}

#[tokio::test]
async fn a_key_of_another_shape_does_not_hide_the_others() {
    let body = r#"{"workers": "none", "forwarding_latency_us": 7, "total_packets_sent": 12, "used_memory": null,
        "dropped_packets": {"a": 0, "b": 3}}"#;
    let found = sample(Router::new().route("/stats", get(async move || body)), "/stats").await;
    assert_eq!((found.failure, found.packets_sent, found.busy), (None, 12, 0.0));
    assert_eq!(found.dropped.into_iter().collect::<Vec<_>>(), [("b".to_owned(), 3)]);
}

#[tokio::test]
async fn a_server_that_is_gone_or_hangs_does_not_hold_up_the_others() {
    let dead = format!("http://{}/stats", nobody().await);
    let hanging = serve(Router::new().fallback(get(std::future::pending::<&str>))).await;
    let hanging = format!("http://{hanging}/stats");
    let live =
        format!("http://{}/stats", serve(Router::new().route("/stats", get(async || SIGNALING_STATS))).await);
    let control = control(&live, 1.0, |_| ());
    let urls = [dead, hanging, live, "no url".to_owned()];
    let found = soon("an answer of each", ServerReader::new(&control, &urls).sample()).await;
    let has_failed: Vec<bool> = found.iter().map(|sample| sample.failure.is_some()).collect();
    assert_eq!(has_failed, [true, true, false, true], "{found:?}");
}

#[tokio::test]
async fn polling_callers_learn_what_is_half_an_interval_old() {
    let url =
        format!("http://{}/state", serve(Router::new().route("/state", get(async || "0123456789"))).await);
    let plan = Poll { url: url.clone(), interval_s: 0.1, callers: 5 };
    let control = control(&url, 1.0, |scenario| scenario.target.poll = Some(plan));
    let found = || control.signaling().unwrap().polling.unwrap_or_default();
    let enough = until("questions", || found().requests >= 20);
    poll(Arc::clone(&control), enough).await;
    let found = found();
    assert_eq!((found.callers, found.interval_s, found.failed.len()), (5, 0.1, 0));
    assert_eq!(found.bytes_received, 10 * found.requests);
    let (age, request) = (found.age.mean(), found.request.mean());
    assert!((age - request - 50_000.0).abs() < 1_000.0, "{age} {request}");
}

#[tokio::test]
async fn polling_in_vain_is_counted_and_does_not_become_a_flood() {
    let url = format!("http://{}/state", nobody().await);
    let plan = Poll { url: url.clone(), interval_s: 0.0, callers: 2 };
    let control = control(&url, 1.0, |scenario| scenario.target.poll = Some(plan));
    poll(Arc::clone(&control), tokio::time::sleep(Duration::from_millis(500))).await;
    let found = control.signaling().unwrap().polling.unwrap();
    assert_eq!(found.failed.keys().collect::<Vec<_>>(), ["unreachable"]);
    assert!((1..=22).contains(&found.requests), "{}", found.requests);
}

/// A server that answers one question on each connection, keeps it, and closes it when it is used again.
async fn forgetful(connections: Arc<AtomicUsize>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut question = [0; 1_024];
                let _ = stream.read(&mut question).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                let _ = stream.read(&mut question).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_under_a_question_is_no_failure() {
    let connections = Arc::<AtomicUsize>::default();
    let url = format!("http://{}/state", forgetful(Arc::clone(&connections)).await);
    let plan = Poll { url: url.clone(), interval_s: 0.05, callers: 1 };
    let control = control(&url, 1.0, |scenario| scenario.target.poll = Some(plan));
    let found = || control.signaling().unwrap().polling.unwrap_or_default();
    poll(Arc::clone(&control), until("questions", || found().requests >= 6)).await;
    let found = found();
    assert!(found.failed.is_empty(), "{found:?}");
    assert!(connections.load(Ordering::Relaxed) > 1, "connections were closed");
}

#[tokio::test]
async fn who_answers_nothing_is_asked_twice_and_then_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/stats", listener.local_addr().unwrap());
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1_024]).await;
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let request = control(&url, 1.0, |_| ()).http.get(&url);
    let failure = soon("an end", http::get(request, "GET /stats")).await.unwrap_err();
    assert_eq!((&*failure.reason, asked.load(Ordering::Relaxed)), ("http_broken", 2), "{failure}");
}

#[tokio::test]
async fn a_server_cannot_make_up_reasons_without_end() {
    let reasons: Vec<String> = (0..5_000).map(|number| format!("\"reason-{number}\": 1")).collect();
    let body = format!("{{\"dropped_packets\": {{{}}}}}", reasons.join(","));
    let found = sample(Router::new().route("/stats", get(async move || body)), "/stats").await;
    assert_eq!(found.dropped.len(), 100);
}

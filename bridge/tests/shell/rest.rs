//! What an operator sees, and what a stranger does not.

use std::collections::BTreeSet;

use crate::world::browser::{Browser, parameters};
use crate::world::{World, conference, endpoint, http, until};

#[tokio::test]
async fn statistics_are_flat_and_true() {
    let (world, mut link) = World::start().await;
    let rest = world.bound.rest;
    assert_eq!(http::get(rest, "/stats").await.json()["endpoints"], 0);
    for number in [1, 2] {
        let id = endpoint(number);
        let transport = link.set_endpoint(&conference('a'), &id, parameters(&id)).await;
        Browser::open(&transport).await.check().await;
    }
    until(|| async { http::get(rest, "/stats").await.json()["total_ice_succeeded"] == 2 }).await;
    let stats = http::get(rest, "/colibri/stats").await.json();
    for (key, value) in
        [("endpoints", 2), ("conferences", 1), ("largest_conference", 2), ("total_participants", 2)]
    {
        assert_eq!(stats[key], value, "{key}");
    }
    assert_eq!(stats["conference_sizes"][2], 1);
    assert_eq!(stats["workers"].as_array().unwrap().len(), 2);
    assert_eq!((stats["healthy"].as_bool(), stats["drain"].as_bool()), (Some(true), Some(false)));
    assert!(stats["threads"].as_u64().unwrap() > 3);
    world.stop().await;
}

#[tokio::test]
async fn metrics_have_a_fixed_set_of_series() {
    let (world, mut link) = World::start().await;
    let rest = world.bound.rest;
    let series = async || -> BTreeSet<String> {
        let answer = http::get(rest, "/metrics").await;
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
        let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
    };
    until(|| async { series().await.iter().any(|line| line.contains(r#"worker="1""#)) }).await;
    let before = series().await;
    let is_named = |series: &String| series.starts_with("bridge_") || series.starts_with("process_");
    assert!(before.iter().all(is_named), "{before:?}");
    for name in
        ["bridge_stress", "bridge_forward_latency_seconds_count", r#"bridge_packets_total{direction="sent"}"#]
    {
        assert!(before.contains(name), "{name} is not in {before:?}");
    }
    for number in 1..20 {
        let id = endpoint(number);
        link.set_endpoint(&conference(if number % 2 == 0 { 'a' } else { 'b' }), &id, parameters(&id)).await;
    }
    until(|| async { http::get(rest, "/metrics").await.body.contains("\nbridge_endpoints 19\n") }).await;
    assert_eq!(series().await, before);
    world.stop().await;
}

#[tokio::test]
async fn the_process_tells_its_processor_time_and_its_memory_under_their_usual_names() {
    let (world, _link) = World::start().await;
    let value = async |name: &str| -> f64 {
        let answer = http::get(world.bound.rest, "/metrics").await;
        let found = answer.body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("{name} is not in {}", answer.body))
    };
    let before = value("process_cpu_seconds_total").await;
    assert!(before > 0.0 && before < 3600.0, "{before}");
    assert!(value("process_resident_memory_bytes").await > 1e6);
    // A scrape costs time itself, and the clock counts nanoseconds.
    assert!(value("process_cpu_seconds_total").await > before);
    world.stop().await;
}

#[tokio::test]
async fn a_healthy_bridge_says_so_at_every_probe() {
    let (world, _link) = World::start().await;
    let rest = world.bound.rest;
    for path in ["/livez", "/readyz", "/about/health"] {
        assert_eq!(http::get(rest, path).await.status, 200, "{path}");
    }
    for path in ["/version", "/about/version"] {
        let version = http::get(rest, path).await.json();
        assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
        assert!(version["name"].is_string() && version["os"].is_string());
    }
    world.stop().await;
}

#[tokio::test]
async fn a_bridge_that_signaling_does_not_know_is_alive_but_not_ready() {
    let (world, link) = World::start().await;
    let rest = world.bound.rest;
    assert_eq!(http::get(rest, "/readyz").await.status, 200);
    let World { signaling, .. } = world;
    drop((link, signaling));
    until(|| async { http::get(rest, "/readyz").await.status == 503 }).await;
    assert_eq!(http::get(rest, "/readyz").await.error(), "unconnected");
    assert_eq!(http::get(rest, "/livez").await.status, 200);
}

#[tokio::test]
async fn draining_is_turned_on_and_off_by_post_alone() {
    let (world, _link) = World::start().await;
    let rest = world.bound.rest;
    let state = async || http::get(rest, "/colibri/drain").await.json()["drain"].as_bool().unwrap();
    for path in ["/colibri/drain/enable", "/colibri/drain/disable"] {
        let answer = http::get(rest, path).await;
        assert_eq!((answer.status, answer.error().as_str()), (405, "method_not_allowed"));
    }
    assert!(!state().await);
    http::request(rest, "POST", "/colibri/drain/enable", &[]).await;
    assert!(state().await);
    assert_eq!(http::get(rest, "/stats").await.json()["drain"], true);
    http::request(rest, "POST", "/colibri/drain/disable", &[]).await;
    assert!(!state().await);
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_json() {
    let (world, _link) = World::start().await;
    let rest = world.bound.rest;
    for path in
        ["/", "/colibri", "/%00", "/..%2f..%2fetc/passwd", "/debug/none", &format!("/{}", "x".repeat(4000))]
    {
        assert_eq!(http::get(rest, path).await.status, 404, "{path}");
    }
    assert_eq!(http::get(rest, "/nothing").await.error(), "not_found");
    for method in ["PUT", "DELETE", "PATCH", "POST"] {
        let answer = http::request(rest, method, "/stats", &[("X-HTTP-Method-Override", "GET")]).await;
        assert_eq!((answer.status, answer.error().as_str()), (405, "method_not_allowed"), "{method}");
    }
    world.stop().await;
}

#[tokio::test]
async fn no_web_page_gets_an_answer() {
    let (world, _link) =
        World::start_with(|settings| settings.rest_hosts = vec!["bridge.internal".to_owned()]).await;
    let rest = world.bound.rest;
    let rebound = http::request(rest, "GET", "/stats", &[("Host", "evil.example:8080")]).await;
    assert_eq!((rebound.status, rebound.error().as_str()), (421, "foreign_host"));
    let named = http::request(rest, "GET", "/stats", &[("Host", "bridge.internal")]).await;
    assert_eq!(named.status, 200);
    let foreign = http::request(rest, "GET", "/stats", &[("Origin", "https://evil.example")]).await;
    assert!(!foreign.head.contains("access-control-allow"), "{}", foreign.head);
    world.stop().await;
}

#[tokio::test]
async fn hostile_http_is_refused_and_the_next_request_is_served() {
    let (world, _link) = World::start().await;
    let rest = world.bound.rest;
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20));
    let long_headers = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    for bytes in
        [long_line, long_headers, many_headers, "\0\0\0\0\r\n\r\n".to_owned(), "GET\r\n\r\n".to_owned()]
    {
        let answer = http::raw(rest, bytes.as_bytes()).await;
        assert!(matches!(answer.status, 0 | 400 | 414 | 431), "{} {}", answer.status, answer.head);
    }
    assert_eq!(http::get(rest, "/livez").await.status, 200);
    world.stop().await;
}

#[tokio::test]
async fn the_state_tree_shows_conferences_without_secrets() {
    let (world, mut link) = World::start().await;
    let rest = world.bound.rest;
    let transport = link.set_endpoint(&conference('a'), &endpoint(1), parameters(&endpoint(1))).await;
    let whole = http::get(rest, "/debug").await;
    assert_eq!(whole.json()["workers"].as_array().unwrap().len(), 2);
    let one = http::get(rest, &format!("/debug/{}", conference('a'))).await;
    assert_eq!(one.status, 200, "{}", one.body);
    let password = transport.channel_path.split("pwd=").nth(1).unwrap();
    for answer in [&whole, &one] {
        for secret in [password, &transport.ice.pwd] {
            assert!(!answer.body.contains(secret), "{}", answer.body);
        }
    }
    assert_eq!(http::get(rest, &format!("/debug/{}", conference('b'))).await.status, 404);
    world.stop().await;
}

//! What an operator sees, and what a stranger does not.

use std::collections::BTreeSet;

use crate::world::client::{Client, Way};
use crate::world::{Echo, World, http, until};

#[tokio::test]
async fn statistics_have_every_key_and_follow_a_running_call() {
    let echo = Echo::start().await;
    let world = World::start(&[echo.address]).await;
    let rest = world.bound.rest;
    let before = http::get(rest, "/stats").await.json();
    for key in [
        "allocations",
        "permissions",
        "channels",
        "relayed_bytes",
        "relayed_packets",
        "drops",
        "auth_failures",
        "egress_queue_age_ms",
        "receive_buffer_overflows",
        "denied_peers",
        "quota_rejects",
        "draining",
    ] {
        assert!(!before[key].is_null(), "{key} is not in {before}");
    }
    let mut client = Client::allocated(world.turn(), Way::Tls, "anna").await;
    client.bind_channel(0x4000, echo.address).await;
    client.send_channel(0x4000, &[1; 100]).await;
    client.receive_channel(0x4000).await;
    client.permit("10.0.0.1:10000".parse().unwrap()).await;
    // The call goes on: nothing of it is told only at its end.
    until(async || http::get(rest, "/stats").await.json()["relayed_bytes"]["to_client"] == 100).await;
    let during = http::get(rest, "/stats").await.json();
    assert_eq!(during["allocations"], serde_json::json!({ "udp": 0, "tcp": 0, "tls": 1 }));
    assert_eq!((&during["channels"], &during["relayed_packets"]["to_peer"]), (&1.into(), &1.into()));
    assert_eq!(during["auth_failures"]["no_credentials"], 1);
    until(async || http::get(rest, "/stats").await.json()["denied_peers"]["private"] == 1).await;
    world.stop().await;
}

/// All series of `/metrics`, without their values.
async fn series(rest: std::net::SocketAddr) -> BTreeSet<String> {
    let answer = http::get(rest, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

#[tokio::test]
async fn metrics_have_a_fixed_set_of_series() {
    let echo = Echo::start().await;
    let world = World::start(&[echo.address]).await;
    let rest = world.bound.rest;
    let before = series(rest).await;
    insta::assert_snapshot!(before.iter().cloned().collect::<Vec<_>>().join("\n"));
    for (number, way) in [Way::Udp, Way::Tcp, Way::Tls, Way::Udp].into_iter().enumerate() {
        let mut client = Client::allocated(world.turn(), way, &format!("user{number}")).await;
        client.bind_channel(0x4000, echo.address).await;
    }
    until(async || http::get(rest, "/stats").await.json()["allocations_created"] == 4).await;
    assert_eq!(series(rest).await, before);
    world.stop().await;
}

#[tokio::test]
async fn the_process_tells_its_processor_time_and_its_memory_under_their_usual_names() {
    let world = World::start(&[]).await;
    let value = async |name: &str| -> f64 {
        let answer = http::get(world.bound.rest, "/metrics").await;
        let found = answer.body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("{name} is not in {}", answer.body))
    };
    assert!(value("process_cpu_seconds_total").await > 0.0);
    assert!(value("process_resident_memory_bytes").await > 1e6);
    assert!(value("process_open_fds").await > 3.0);
    assert!(value("turn_relay_certificate_expiry_timestamp_seconds").await > 1.7e9);
    world.stop().await;
}

#[tokio::test]
async fn allocations_are_listed_without_the_names_of_their_users() {
    let echo = Echo::start().await;
    let world = World::start(&[echo.address]).await;
    let rest = world.bound.rest;
    assert_eq!(http::get(rest, "/allocations").await.json(), serde_json::json!([]));
    let mut client = Client::allocated(world.turn(), Way::Udp, "anna-the-admin").await;
    client.bind_channel(0x4000, echo.address).await;
    let answer = http::get(rest, "/allocations").await;
    let all = answer.json();
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!((&all[0]["transport"], &all[0]["channels"][0]["number"]), (&"udp".into(), &0x4000.into()));
    assert_eq!(all[0]["user"].as_str().unwrap().len(), 16);
    assert!(!answer.body.contains("anna"), "{}", answer.body);
    world.stop().await;
}

#[tokio::test]
async fn explain_names_the_rule_that_decides() {
    let world = World::start_with(|settings| {
        settings.policy.allow = vec!["203.0.113.0/24".to_owned()];
        settings.policy.deny = vec!["203.0.113.9".to_owned()];
        settings.policy.bridges = vec!["127.0.0.1:10000".to_owned()];
    })
    .await;
    let turn = world.turn();
    let own = format!("127.0.0.1:{}", turn.port());
    for (peer, is_allowed, rule) in [
        ("203.0.113.4:10000", true, "allow_list"),
        ("203.0.113.4", true, "allow_list"),
        ("203.0.113.4:80", false, "port"),
        ("203.0.113.9:10000", false, "deny_list"),
        ("127.0.0.1:10000", true, "bridge"),
        ("127.0.0.1:10001", false, "port"),
        (own.as_str(), false, "own_listener"),
        ("198.18.0.1:10000", false, "private"),
        ("%5B::ffff:203.0.113.4%5D:10000", false, "disguised_ipv4"),
        ("2002:cb00:7104::1", false, "tunnel"),
    ] {
        let answer = http::get(world.bound.rest, &format!("/explain?peer={peer}")).await;
        assert_eq!(answer.status, 200, "{peer}");
        let json = answer.json();
        assert_eq!((&json["allowed"], &json["rule"]), (&is_allowed.into(), &rule.into()), "{peer}: {json}");
        assert!(json["text"].as_str().unwrap().len() > 20, "{json}");
    }
    for query in
        ["", "?peer=", "?peer=meet.example", "?peer=1.2.3.4:0", "?peer=1.2.3.4&peer=1.2.3.5", "?pear=1"]
    {
        let answer = http::get(world.bound.rest, &format!("/explain{query}")).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "bad_peer"), "{query}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_revoked_user_is_out_and_others_stay() {
    let world = World::start(&[]).await;
    let rest = world.bound.rest;
    let mut out = Client::allocated(world.turn(), Way::Udp, "anna").await;
    let mut stays = Client::allocated(world.turn(), Way::Tcp, "ben").await;
    let answer = http::request(rest, "POST", "/revoke?user=anna", &[]).await;
    assert_eq!(answer.json(), serde_json::json!({ "ended": 1 }));
    assert_eq!(out.refresh(600).await.code(), 437);
    assert_eq!(stays.refresh(600).await.code(), 0);
    assert_eq!(http::request(rest, "POST", "/revoke", &[]).await.error(), "no_user");
    assert_eq!(http::get(rest, "/revoke?user=ben").await.status, 405);
    until(async || http::get(rest, "/metrics").await.body.contains("ended_total{cause=\"revoked\"} 1")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_healthy_relay_says_so_at_every_probe() {
    let world = World::start(&[]).await;
    let rest = world.bound.rest;
    for path in ["/livez", "/readyz"] {
        assert_eq!(http::get(rest, path).await.status, 200, "{path}");
    }
    let version = http::get(rest, "/version").await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_json() {
    let world = World::start(&[]).await;
    let rest = world.bound.rest;
    for path in ["/", "/stats/", "/%00", "/..%2f..%2fetc/passwd", &format!("/{}", "x".repeat(4000))] {
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
async fn no_web_page_gets_an_answer_or_is_obeyed() {
    let world = World::start_with(|settings| settings.rest_hosts = vec!["relay.internal".to_owned()]).await;
    let rest = world.bound.rest;
    let rebound = http::request(rest, "GET", "/stats", &[("Host", "evil.example:8090")]).await;
    assert_eq!((rebound.status, rebound.error().as_str()), (421, "foreign_host"));
    assert_eq!(http::request(rest, "GET", "/stats", &[("Host", "relay.internal")]).await.status, 200);
    let page = http::request(rest, "POST", "/drain/enable", &[("Origin", "https://evil.example")]).await;
    assert_eq!((page.status, page.error().as_str()), (403, "from_a_page"));
    assert_eq!(http::get(rest, "/drain").await.json()["drain"], false);
    world.stop().await;
}

#[tokio::test]
async fn hostile_http_is_refused_and_the_next_request_is_served() {
    let world = World::start(&[]).await;
    let rest = world.bound.rest;
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    for bytes in [long_line, many_headers, "\0\0\0\0\r\n\r\n".to_owned(), "GET\r\n\r\n".to_owned()] {
        let answer = http::raw(rest, bytes.as_bytes()).await;
        assert!(matches!(answer.status, 0 | 400 | 414 | 431), "{} {}", answer.status, answer.head);
    }
    assert_eq!(http::get(rest, "/livez").await.status, 200);
    world.stop().await;
}

//! Bridges' links, channels and the private interface against a real signaling.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test, also outside of test functions")]

mod world;

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};
use world::{Bridge, KEY, World, close_code, dial, http};

async fn refused_with(result: Result<Bridge, tungstenite::Error>) -> u16 {
    match result {
        Err(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("let in"),
    }
}

#[tokio::test]
async fn a_link_needs_the_key() {
    let world = World::new().await;
    for key in ["", "wrong", &KEY[1..], &KEY.to_uppercase()] {
        assert_eq!(refused_with(Bridge::dial(world.public, "rogue", key).await).await, 401);
    }
    assert!(world.ask("/api/bridges").await.as_array().unwrap().is_empty());
    let _bridge = world.bridge("a").await;
}

#[tokio::test]
async fn without_a_key_only_programs_on_this_machine_may_dial() {
    let world = World::with(|settings| settings.link_key = wire::settings::Secret::default()).await;
    let _bridge = world.bridge("a").await;
    for header in
        [("Origin", format!("http://{}", world.public)), ("X-Forwarded-For", "192.0.2.1".to_owned())]
    {
        let request =
            world.socket_request("/bridge-link", "passerelle-link.v1").with_header(header.0, header.1);
        assert_eq!(world.refusal(request).await, 401);
    }
}

#[tokio::test]
async fn a_link_that_does_not_say_hello_is_closed_and_unreadable_messages_are_skipped() {
    let world = World::new().await;
    let request = || {
        let request = world.socket_request("/bridge-link", "passerelle-link.v1");
        request.with_header("Authorization", format!("Bearer {KEY}"))
    };
    let mut link = dial(world.public, request()).await.unwrap();
    link.send(Message::text(r#"{"type":"heartbeat"}"#)).await.unwrap();
    assert_eq!(close_code(&mut link).await, 1008);

    let mut link = dial(world.public, request()).await.unwrap();
    let hello = json!({
        "type": "hello", "bridge": "a", "boot": "x", "version": "9", "channel": "http://127.0.0.1:1", "endpoints_max": 5,
    });
    let absurd =
        r#"{"type":"load","stress":-1,"conferences":9223372036854775808,"endpoints":0,"packets_per_s":0}"#;
    let load =
        r#"{"type":"load","stress":0.5,"conferences":1,"endpoints":2,"packets_per_s":3,"moon":"full"}"#;
    for text in ["garbage", &hello.to_string(), absurd, r#"{"type":"load","stress":null}"#, load] {
        link.send(Message::text(text)).await.unwrap();
    }
    let bridges = world.ask_until("/api/bridges", |bridges| bridges[0]["state"] == "operational").await;
    assert_eq!(bridges[0]["stress"], 0.5);
    link.send(Message::text("x".repeat(1024 * 1024 + 1))).await.unwrap();
    assert_eq!(close_code(&mut link).await, 1009);
}

#[tokio::test]
async fn two_bridges_carry_ten_conferences_five_and_five() {
    let world = World::new().await;
    let _bridges = [world.bridge("a").await, world.bridge("b").await];
    let mut browsers = Vec::new();
    for number in 0..10 {
        for name in ["Anna", "Bert"] {
            browsers.push(world.join(&format!("meeting-{number}"), name).await);
        }
    }
    let conferences = world.ask("/api/conferences").await;
    let on = |id: &str| conferences.as_array().unwrap().iter().filter(|it| it["bridge"] == id).count();
    assert_eq!((on("a"), on("b")), (5, 5), "{conferences}");
}

#[tokio::test]
async fn a_channel_leads_to_the_bridge_that_has_the_endpoint() {
    let world = World::new().await;
    let _bridges = [world.bridge("a").await, world.bridge("b").await];
    let mut anna = world.join("daily", "Anna").await;
    let _bert = world.join("daily", "Bert").await;
    anna.hear("assigned").await;
    let path = anna.offer(1).await["channel_url"].as_str().unwrap().to_owned();
    let uri = format!("ws://{}{path}", world.public).parse().unwrap();
    let mut channel = dial(world.public, tungstenite::ClientRequestBuilder::new(uri)).await.unwrap();
    for text in ["hello", "close"] {
        channel.send(Message::text(text)).await.unwrap();
    }
    let mut heard = Vec::new();
    let code = loop {
        match world::patiently(futures_util::StreamExt::next(&mut channel)).await {
            Some(Ok(Message::Text(text))) => heard.push(text.to_string()),
            Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(heard[0].contains("ServerHello"), "{heard:?}");
    assert!(heard[0].contains(anna.joined["participant"].as_str().unwrap()), "{heard:?}");
    assert_eq!(heard[1], "hello");
    assert_eq!(code, 4429, "the bridge's own close code");
}

#[tokio::test]
async fn a_channel_has_our_limits_and_the_bridges_refusals() {
    let world = World::new().await;
    let bridge = world.bridge("a").await;
    let path = format!("/colibri-ws/a/{}/0a1b2c3d", "a".repeat(26));
    let request = |path: &str| {
        tungstenite::ClientRequestBuilder::new(format!("ws://{}{path}", world.public).parse().unwrap())
    };
    assert_eq!(world.refusal(request(&format!("{path}?pwd=wrong"))).await, 403);
    assert_eq!(world.refusal(request(&format!("{path}?pwd=right").replace("/a/", "/b/"))).await, 404);
    assert_eq!(world.refusal(request("/colibri-ws/a/x/y?pwd=right")).await, 404);
    assert_eq!(world.refusal(request("/colibri-ws/a/%ff/y?pwd=right")).await, 404);
    let foreign = request(&format!("{path}?pwd=right")).with_header("Origin", "http://evil.example");
    assert_eq!(world.refusal(foreign).await, 403);

    for (message, code) in
        [(Message::binary(vec![0]), 1003), (Message::text("x".repeat(64 * 1024 + 1)), 1009)]
    {
        let mut channel = dial(world.public, request(&format!("{path}?pwd=right"))).await.unwrap();
        channel.send(message).await.unwrap();
        assert_eq!(close_code(&mut channel).await, code);
    }
    let mut channel = dial(world.public, request(&format!("{path}?pwd=right"))).await.unwrap();
    bridge.kill();
    assert_eq!(close_code(&mut channel).await, 1011);
}

#[tokio::test]
async fn a_bridge_whose_channel_cannot_be_reached_is_a_502() {
    let world = World::new().await;
    let request = world.socket_request("/bridge-link", "passerelle-link.v1");
    let mut link =
        dial(world.public, request.with_header("Authorization", format!("Bearer {KEY}"))).await.unwrap();
    // A port that nobody listens on: bound and let go.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hello = json!({
        "type": "hello", "bridge": "a", "boot": "x", "version": "9", "channel": format!("http://{free}"), "endpoints_max": 5,
    });
    link.send(Message::text(hello.to_string())).await.unwrap();
    world.ask_until("/api/bridges", |bridges| bridges[0]["id"] == "a").await;
    let path = format!("/colibri-ws/a/{}/0a1b2c3d?pwd=right", "a".repeat(26));
    let request =
        tungstenite::ClientRequestBuilder::new(format!("ws://{}{path}", world.public).parse().unwrap());
    assert_eq!(world.refusal(request).await, 502);
}

#[tokio::test]
async fn the_private_interface_answers_its_own_name_only() {
    let world = World::new().await;
    for path in ["/stats", "/metrics", "/livez", "/readyz", "/version", "/api/bridges", "/api/conferences"] {
        let answer = http(world.rest, &format!("GET {path} HTTP/1.1"), "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        let rebound = http(world.rest, &format!("GET {path} HTTP/1.1\nHost: evil.example"), "").await;
        assert_eq!((rebound.status, rebound.error().as_str()), (403, "foreign_host"), "{path}");
        let written = http(world.rest, &format!("POST {path} HTTP/1.1"), "{}").await;
        assert_eq!((written.status, written.error().as_str()), (405, "method_not_allowed"), "{path}");
        let public = world.http(&format!("GET {path} HTTP/1.1"), "").await;
        assert!(!public.body.contains("signaling_") && !public.body.contains("\"conferences\""), "{path}");
    }
    let unknown = http(world.rest, "GET /nothing HTTP/1.1", "").await;
    assert_eq!((unknown.status, unknown.error().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn statistics_have_the_keys_that_boards_read() {
    let world = World::new().await;
    let stats = world.ask("/stats").await;
    let mut keys: Vec<&String> = stats.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "bridge_failures",
            "bridge_selector",
            "bridges",
            "conference_sizes",
            "conferences",
            "healthy",
            "join_ms",
            "largest_conference",
            "participant_notifications",
            "participants",
            "total_conferences_created",
            "total_participants",
            "version",
            "visitors",
            "waiting_conferences",
            "wanting_conferences",
            "websockets",
        ]
    );
    assert_eq!(stats["conference_sizes"].as_array().unwrap().len(), 22);
}

#[tokio::test]
async fn the_number_of_series_does_not_grow_with_conferences_and_no_name_is_in_them() {
    let world = World::new().await;
    let _bridge = world.bridge("a").await;
    let series = |page: &Value| page.as_str().unwrap().lines().filter(|line| !line.starts_with('#')).count();
    let mut browsers = vec![world.join("canary-conference", "canary-name").await];
    browsers[0].say(&json!({ "type": "join", "name": "again" })).await;
    browsers[0].hear("error").await;
    let before = world.ask("/metrics").await;
    for number in 0..100 {
        browsers.push(world.join(&format!("canary-{number}"), "canary-name").await);
    }
    let after = world.ask("/metrics").await;
    assert_eq!(series(&before), series(&after));
    assert!(after.as_str().unwrap().contains("signaling_conferences 101\n"), "{after}");
    assert!(!after.as_str().unwrap().contains("canary"));
}

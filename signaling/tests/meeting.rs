//! Browsers' WebSockets against a real signaling.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test, also outside of test functions")]

mod world;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use world::{World, patiently};

#[tokio::test]
async fn two_browsers_meet_and_talk() {
    let world = World::new().await;
    let _bridge = world.bridge("a").await;
    let mut anna = world.join("daily", "Anna").await;
    anna.hear("waiting").await;
    let waiting = world.ask("/api/conferences").await;
    assert_eq!(waiting[0]["conference"], "daily");
    assert_eq!((&waiting[0]["bridge"], &waiting[0]["participants"]), (&Value::Null, &json!(1)));

    let mut bert = world.join("daily", "Bert").await;
    for browser in [&mut anna, &mut bert] {
        assert_eq!(browser.hear("assigned").await["reason"], "started");
        let answer = browser.offer(7).await;
        assert_eq!(answer["rev"], 7);
        assert!(answer["sdp"].as_str().unwrap().contains("a=ice-lite"));
        assert!(answer["channel_url"].as_str().unwrap().starts_with("/colibri-ws/a/"));
    }
    assert_eq!(world.ask("/api/conferences").await[0]["bridge"], "a");

    anna.say(&json!({ "type": "chat", "text": "<b>hello</b>" })).await;
    let line = bert.hear("chat").await;
    assert_eq!((&line["text"], &line["name"]), (&json!("<b>hello</b>"), &json!("Anna")));
    anna.say(&json!({ "type": "set", "muted_audio": true })).await;
    patiently(async {
        // A newcomer's state comes whole with its arrival, later changes by themselves.
        let is_muted = |delta: &Value| {
            let shown = ["joined", "changed"].into_iter().filter_map(|key| delta[key].as_array()).flatten();
            shown.clone().any(|it| it["id"] == anna.joined["participant"] && it["muted_audio"] == true)
        };
        while !is_muted(&bert.hear("delta").await) {}
    })
    .await;
    anna.say(&json!({ "type": "leave" })).await;
    assert_eq!(anna.hear("bye").await["reason"], "left");
    assert_eq!(anna.close_code().await, 1000);
    assert_eq!(bert.hear("delta").await["left"][0], anna.joined["participant"]);
    let stats = world.ask("/stats").await;
    assert_eq!((&stats["participants"], &stats["total_participants"]), (&json!(1), &json!(2)));
    assert!(stats["join_ms"]["p95"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn a_bridge_that_dies_is_replaced_without_a_new_connection() {
    let world = World::new().await;
    let [first, second] = [world.bridge("a").await, world.bridge("b").await];
    let mut browsers = [world.join("daily", "Anna").await, world.join("daily", "Bert").await];
    for browser in &mut browsers {
        browser.hear("assigned").await;
        browser.offer(1).await;
    }
    let conference = world.ask("/api/conferences").await[0].clone();
    let (holder, _survivor) = if conference["bridge"] == "a" { (first, second) } else { (second, first) };
    holder.kill();
    for browser in &mut browsers {
        let assigned = browser.hear("assigned").await;
        assert_eq!(assigned["reason"], "moved");
        assert!(assigned["epoch"].as_u64() > conference["epoch"].as_u64());
        browser.offer(2).await;
    }
    assert_ne!(world.ask("/api/conferences").await[0]["bridge"], conference["bridge"]);
}

#[tokio::test]
async fn a_broken_socket_resumes_and_the_other_one_is_told_that_it_was_replaced() {
    let world = World::new().await;
    let mut anna = world.join("daily", "Anna").await;
    let mut again = world.open("daily").await;
    again.say(&json!({ "type": "join", "name": "Anna", "resume": anna.joined["resume"] })).await;
    assert_eq!(again.hear("joined").await["participant"], anna.joined["participant"]);
    assert_eq!(anna.hear("bye").await["reason"], "replaced");
    assert_eq!(anna.close_code().await, 1000);
}

#[tokio::test]
async fn a_message_over_64_kib_ends_the_connection_with_1009() {
    let world = World::new().await;
    let mut anna = world.join("daily", "Anna").await;
    let text = |length: usize| {
        let frame = json!({ "type": "chat", "text": "" }).to_string();
        let padding = "x".repeat(length - frame.len());
        Message::text(json!({ "type": "chat", "text": padding }).to_string())
    };
    anna.send(text(64 * 1024)).await;
    assert_eq!(anna.hear("error").await["id"], "too_long");
    anna.send(text(64 * 1024 + 1)).await;
    assert_eq!(anna.close_code().await, 1009);
}

#[tokio::test]
async fn what_is_no_request_is_an_error_and_the_connection_stays() {
    let world = World::new().await;
    let mut anna = world.join("daily", "Anna").await;
    let nested = "[".repeat(10_000);
    let hostile = [
        "",
        "garbage",
        "{}",
        "null",
        "[]",
        r#"{"type":"fly"}"#,
        r#"{"type":"chat"}"#,
        r#"{"type":"chat","text":null}"#,
        r#"{"type":"chat","text":"a","text":"b"}"#,
        r#"{"type":"offer","sdp":"x","rev":-1}"#,
        r#"{"type":"offer","sdp":"x","rev":1e999}"#,
        r#"{"type":"set","muted_audio":"yes"}"#,
        r#"{"type":"ping"} trailing"#,
        &nested,
    ];
    for text in hostile {
        anna.send(Message::text(text)).await;
        assert_eq!(anna.hear("error").await["id"], "bad_message", "{text:.40}");
    }
    anna.say(&json!({ "type": "ping" })).await;
    anna.hear("pong").await;
}

#[tokio::test]
async fn forged_senders_are_overwritten() {
    let world = World::new().await;
    let mut anna = world.join("daily", "Anna").await;
    anna.say(&json!({ "type": "chat", "text": "hi", "from": "00000000", "name": "Root" })).await;
    let line = anna.hear("chat").await;
    assert_eq!((&line["from"], &line["name"]), (&anna.joined["participant"], &json!("Anna")));
}

#[tokio::test]
async fn binary_is_not_our_language() {
    let world = World::new().await;
    let mut anna = world.join("daily", "Anna").await;
    anna.send(Message::binary(vec![0; 10])).await;
    assert_eq!(anna.close_code().await, 1003);
}

#[tokio::test]
async fn frames_that_break_the_rules_end_the_connection_with_1002() {
    let world = World::new().await;
    for frame in [&b"\x81\x02hi"[..], &b"\xf1\x80\0\0\0\0"[..], &b"\x80\x80\0\0\0\0"[..]] {
        let mut stream = TcpStream::connect(world.public).await.unwrap();
        let request = format!(
            "GET /ws?conference=daily HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: passerelle.v1\r\n\r\n",
            world.public
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(frame).await.unwrap();
        let mut answer = Vec::new();
        patiently(stream.read_to_end(&mut answer)).await.unwrap();
        // A close frame of the server: 0x88, a length below 126, the code.
        let code =
            answer.windows(4).rposition(|part| part[0] == 0x88 && part[1] < 126 && part[2..] == [0x03, 0xea]);
        assert!(code.is_some(), "{frame:?}: {answer:?}");
    }
}

#[tokio::test]
async fn too_many_messages_are_an_error_and_then_the_end() {
    let world = World::new().await;
    let mut anna = world.join("daily", "Anna").await;
    for _ in 0..1000 {
        if futures_util::SinkExt::send(&mut anna.socket, Message::Ping(Default::default())).await.is_err() {
            break;
        }
    }
    assert_eq!(anna.hear("error").await["id"], "rate_limited");
    assert_eq!(anna.hear("bye").await["reason"], "overload");
    assert_eq!(anna.close_code().await, 1008);
}

#[tokio::test]
async fn an_upgrade_needs_the_subprotocol_and_our_own_origin() {
    let world = World::new().await;
    let request = world.socket_request("/ws?conference=daily", "another.v1");
    assert_eq!(world.refusal(request).await, 400);
    let request = world.socket_request("/ws?conference=daily", "passerelle.v1");
    assert_eq!(world.refusal(request.with_header("Origin", "http://evil.example")).await, 403);
    let request = world.socket_request("/ws?conference=daily", "passerelle.v1");
    let ours = request.with_header("Origin", format!("http://{}", world.public));
    assert!(world::dial(world.public, ours).await.is_ok());
    assert_eq!(world.http("GET /ws?conference=daily HTTP/1.1", "").await.status, 426);
}

#[tokio::test]
async fn a_bad_name_of_a_conference_is_said_on_the_socket() {
    let world = World::new().await;
    let long = "x".repeat(1000);
    for name in ["", "%00", "..%2f..", long.as_str()] {
        let mut browser = world.open(name).await;
        assert_eq!(browser.hear("error").await["id"], "bad_conference", "{name:.20}");
        assert_eq!(browser.close_code().await, 1008);
    }
    assert!(world.ask("/api/conferences").await.as_array().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_join_is_told_and_closed() {
    let world = World::new().await;
    let mut silent = world.open("daily").await;
    assert_eq!(silent.hear("bye").await["reason"], "join_timeout");
    assert_eq!(silent.close_code().await, 1008);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_gone_without_a_word_is_noticed() {
    let world = World::new().await;
    let anna = world.join("daily", "Anna").await;
    // Its socket stays open and nobody reads it any more: no answer to a ping ever comes.
    let gone = |conferences: &Value| conferences.as_array().unwrap().is_empty();
    loop {
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        if gone(&world.ask("/api/conferences").await) {
            break;
        }
    }
    drop(anna);
}

#[tokio::test]
async fn one_address_joins_so_fast_and_has_so_many_sockets() {
    let world = World::with(|settings| {
        settings.limit_loopback = true;
        settings.joins_per_address_burst = 3;
        settings.joins_per_address_per_s = 1;
    })
    .await;
    let _held = [world.open("a").await, world.open("b").await, world.open("c").await];
    let request = world.socket_request("/ws?conference=d", "passerelle.v1");
    assert_eq!(world.refusal(request).await, 429);

    let world = World::with(|settings| {
        settings.limit_loopback = true;
        settings.sockets_per_address_max = 2;
    })
    .await;
    let _held = [world.open("a").await, world.open("b").await];
    let mut third = TcpStream::connect(world.public).await.unwrap();
    assert!(!matches!(patiently(third.read(&mut [0; 1])).await, Ok(1..)), "closed at once");
}

#[tokio::test]
async fn a_browser_that_does_not_read_loses_its_own_connection_only() {
    let world = World::new().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(world.public).await.unwrap();
    let request = world.socket_request("/ws?conference=daily", "passerelle.v1");
    let (mut deaf, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let join = json!({ "type": "join", "name": "Deaf" }).to_string();
    futures_util::SinkExt::send(&mut deaf, Message::text(join)).await.unwrap();
    patiently(deaf.next()).await.unwrap().unwrap();
    let mut others = Vec::new();
    // So many that each stays within its rate.
    for _ in 0..24 {
        others.push(world.join("daily", "Reader").await);
    }
    for number in 0..240 {
        others[number % 24].say(&json!({ "type": "chat", "text": "x".repeat(2000) })).await;
        for other in &mut others {
            other.hear("chat").await;
        }
    }
    let stats = world.ask("/stats").await;
    assert_eq!(stats["websockets"], 24, "all but the deaf one: {stats}");
}

#[tokio::test]
async fn everybody_is_told_when_the_server_stops() {
    let mut world = World::new().await;
    let mut anna = world.join("daily", "Anna").await;
    let told = async {
        assert_eq!(anna.hear("bye").await["reason"], "shutdown");
        assert_eq!(anna.close_code().await, 1012);
    };
    tokio::join!(world.stop(), told);
    assert!(TcpStream::connect(world.public).await.is_err(), "the port is free");
}

//! The channel as browsers and strangers find it.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use wire::messages::link::{CommandBody, Outcome};

use crate::world::browser::parameters;
use crate::world::signaling::Link;
use crate::world::{World, conference, endpoint, http, soon, until};

type Socket = WebSocketStream<TcpStream>;

async fn channel_path(link: &mut Link, number: u32) -> String {
    let id = endpoint(number);
    link.set_endpoint(&conference('a'), &id, parameters(&id)).await.channel_path
}

async fn open(world: &World, path: &str) -> Result<Socket, Error> {
    let stream = TcpStream::connect(world.bound.channel).await.unwrap();
    let url = format!("ws://{}{path}", world.bound.channel);
    soon(tokio_tungstenite::client_async(url, stream)).await.map(|(socket, _)| socket)
}

async fn refusal(world: &World, path: &str) -> (u16, String) {
    match open(world, path).await {
        Err(Error::Http(answer)) => {
            (answer.status().as_u16(), String::from_utf8(answer.into_body().unwrap_or_default()).unwrap())
        }
        other => panic!("{path}: {other:?}"),
    }
}

async fn next_text(socket: &mut Socket) -> String {
    loop {
        match soon(socket.next()).await.expect("the bridge hung up").unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Reads up to the bridge's close.
async fn close_of(socket: &mut Socket) -> Option<CloseFrame> {
    loop {
        match soon(socket.next()).await {
            Some(Ok(Message::Close(frame))) => return frame,
            Some(Ok(_)) => {}
            other => panic!("no close came: {other:?}"),
        }
    }
}

async fn close_code(socket: &mut Socket) -> u16 {
    close_of(socket).await.unwrap().code.into()
}

#[tokio::test]
async fn whoever_shows_the_ticket_is_greeted() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    let mut socket = open(&world, &path).await.unwrap();
    assert!(next_text(&mut socket).await.contains("ServerHello"));
    world.stop().await;
}

#[tokio::test]
async fn every_wrong_ticket_gets_the_same_answer() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    let other_endpoint = path.replace(endpoint(1).as_str(), endpoint(2).as_str());
    let other_conference = path.replace(conference('a').as_str(), conference('b').as_str());
    let (no_password, _) = path.split_once('?').unwrap();
    let short = &path[..path.len() - 1];
    let mut texts = Vec::new();
    for wrong in
        [&other_endpoint, &other_conference, no_password, short, &format!("{no_password}?pwd=%ff&pwd=")]
    {
        let (status, text) = refusal(&world, wrong).await;
        assert_eq!(status, 403, "{wrong}");
        texts.push(text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("authentication_failed"));
    world.stop().await;
}

#[tokio::test]
async fn another_bridges_path_is_not_found() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    for wrong in [path.replace("bridge-1", "bridge-2"), "/".to_owned(), "/colibri-ws/bridge-1".to_owned()] {
        assert_eq!(refusal(&world, &wrong).await.0, 404, "{wrong}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_request_that_is_no_websocket_is_refused_after_its_ticket() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    let answer = http::get(world.bound.channel, &path).await;
    assert!((400..500).contains(&answer.status), "{}", answer.status);
    assert_eq!(answer.error(), "upgrade_required");
    assert_eq!(
        http::get(world.bound.channel, "/colibri-ws/bridge-1/a/b").await.error(),
        "authentication_failed"
    );
    assert_eq!(http::request(world.bound.channel, "POST", &path, &[]).await.error(), "method_not_allowed");
    world.stop().await;
}

#[tokio::test]
async fn a_newer_socket_replaces_the_older() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    let mut older = open(&world, &path).await.unwrap();
    next_text(&mut older).await;
    let mut newer = open(&world, &path).await.unwrap();
    let close = close_of(&mut older).await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1000, "replaced"));
    assert!(next_text(&mut newer).await.contains("ServerHello"));
    // The newer one is really the endpoint's: the engine answers on it.
    newer.send(Message::text(r#"{"colibriClass":"ClientHello"}"#)).await.unwrap();
    while !next_text(&mut newer).await.contains("ServerHello") {}
    world.stop().await;
}

#[tokio::test]
async fn a_message_too_long_closes_with_1009() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    let mut socket = open(&world, &path).await.unwrap();
    socket.send(Message::text("x".repeat(64 * 1024 + 1))).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1009);
    world.stop().await;
}

#[tokio::test]
async fn a_binary_message_closes_with_1003() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    let mut socket = open(&world, &path).await.unwrap();
    socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1003);
    world.stop().await;
}

#[tokio::test]
async fn a_message_that_is_no_message_leaves_the_channel_open() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    let mut socket = open(&world, &path).await.unwrap();
    assert!(next_text(&mut socket).await.contains("ServerHello"));
    for text in ["", "{", "[]", r#"{"colibriClass":"Nonsense"}"#, r#"{"lastN":1e999}"#, &"[".repeat(10_000)] {
        socket.send(Message::text(text.to_owned())).await.unwrap();
    }
    socket.send(Message::text(r#"{"colibriClass":"ClientHello"}"#)).await.unwrap();
    while !next_text(&mut socket).await.contains("ServerHello") {}
    world.stop().await;
}

#[tokio::test]
async fn a_browser_that_writes_without_end_is_let_go() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    let (mut write, mut read) = open(&world, &path).await.unwrap().split();
    let flood = tokio::spawn(async move {
        while write.send(Message::text(r#"{"colibriClass":"Nonsense"}"#)).await.is_ok() {}
    });
    let code = soon(async {
        loop {
            if let Message::Close(frame) = read.next().await.unwrap().unwrap() {
                return u16::from(frame.unwrap().code);
            }
        }
    })
    .await;
    assert_eq!(code, 4429);
    flood.abort();
    world.stop().await;
}

#[tokio::test]
async fn a_browser_that_does_not_read_is_let_go_and_the_others_are_not() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    // A small window, so that what it does not read waits on the bridge's side.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.set_recv_buffer_size(4096).unwrap();
    let deaf = deaf.connect(world.bound.channel).await.unwrap();
    let url = format!("ws://{}{path}", world.bound.channel);
    let (_deaf, _) = soon(tokio_tungstenite::client_async(url, deaf)).await.unwrap();
    let mut talkers = Vec::new();
    for number in 2..8 {
        let path = channel_path(&mut link, number).await;
        let (mut write, mut read) = open(&world, &path).await.unwrap().split();
        let message =
            json!({ "colibriClass": "EndpointMessage", "to": endpoint(1).as_str(), "x": "x".repeat(20_000) });
        talkers.push(tokio::spawn(async move {
            // Below what one browser may write in a second; together more than a browser may leave unread.
            for _ in 0..6 {
                write.send(Message::text(message.to_string())).await.unwrap();
            }
            while let Some(Ok(message)) = read.next().await {
                assert!(!message.is_close());
            }
        }));
    }
    let overload = r#"bridge_channels_closed_total{reason="overload"} 1"#;
    until(|| async { http::get(world.bound.rest, "/metrics").await.body.contains(overload) }).await;
    until(|| async { http::get(world.bound.rest, "/metrics").await.body.contains("\nbridge_channels 6\n") })
        .await;
    for talker in talkers {
        assert!(!talker.is_finished());
        talker.abort();
    }
    world.stop().await;
}

#[tokio::test]
async fn the_end_of_an_endpoint_closes_its_channel_and_its_ticket() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    let mut socket = open(&world, &path).await.unwrap();
    next_text(&mut socket).await;
    let remove = CommandBody::RemoveEndpoint { endpoint: endpoint(1) };
    assert_eq!(link.command(&conference('a'), 1, remove).await, Outcome::Done);
    assert_eq!(close_code(&mut socket).await, 1000);
    until(|| async { refusal(&world, &path).await.0 == 403 }).await;
    world.stop().await;
}

#[tokio::test]
async fn many_channels_come_and_go_without_a_trace() {
    let (world, mut link) = World::start().await;
    let path = channel_path(&mut link, 1).await;
    for _ in 0..50 {
        let mut socket = open(&world, &path).await.unwrap();
        // What the engine said on the channel before may still be on its way, and comes first.
        while !next_text(&mut socket).await.contains("ServerHello") {}
    }
    let open_channels = "\nbridge_channels 0\n";
    until(|| async { http::get(world.bound.rest, "/metrics").await.body.contains(open_channels) }).await;
    world.stop().await;
}

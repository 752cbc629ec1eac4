//! A real signaling on free ports, with bridges and browsers that speak its protocols over real sockets.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test, though not inside of a test function")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message as Served, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use signaling::WebConnection;
use signaling::settings::SignalingSettings;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message};
use wire::settings::Secret;

/// Shared by signaling and its bridges.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Shared by signaling and its relays.
pub const TURN_SECRET: &str = "canary-fedcba9876543210fedcba9876543210";

/// Where the relays are.
pub const TURN_URIS: [&str; 3] = [
    "turn:relay.example:443?transport=udp",
    "turn:relay.example:443?transport=tcp",
    "turns:relay.example:443?transport=tcp",
];

/// No answer within this is a failure; nothing here takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub public: SocketAddr,
    pub rest: SocketAddr,
    /// Takes connections that somebody else has accepted.
    pub web_connections: mpsc::Sender<WebConnection>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut SignalingSettings)) -> Self {
        let mut settings = SignalingSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            rest_listen: "127.0.0.1:0".parse().unwrap(),
            link_key: Secret::from(KEY.to_owned()),
            ..SignalingSettings::default()
        };
        change(&mut settings);
        let signaling = signaling::start(&settings).await.unwrap();
        let (bound, web_connections) = (signaling.bound(), signaling.web_connections());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(signaling.run_until(async { drop(stopped.await) }));
        let (public, rest) = (bound.public, bound.rest);
        Self { public, rest, web_connections, stop: Some(stop), task: Some(task) }
    }

    /// One with relays.
    pub async fn with_relays(change: impl FnOnce(&mut SignalingSettings)) -> Self {
        Self::with(|settings| {
            settings.turn_secret = Secret::from(TURN_SECRET.to_owned());
            settings.turn_uris = TURN_URIS.map(str::to_owned).to_vec();
            change(settings);
        })
        .await
    }

    /// Stops it as SIGTERM does, and waits for its end.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        patiently(self.task.take().unwrap()).await.unwrap();
    }

    /// A browser's socket, joined.
    pub async fn join(&self, conference: &str, name: &str) -> Browser {
        let mut browser = self.open(conference).await;
        browser.say(&json!({ "type": "join", "name": name })).await;
        browser.joined = browser.hear("joined").await;
        browser
    }

    pub async fn open(&self, conference: &str) -> Browser {
        let request = self.socket_request(&format!("/ws?conference={conference}"), "passerelle.v1");
        Browser { socket: dial(self.public, request).await.unwrap(), joined: Value::Null }
    }

    pub fn socket_request(&self, path: &str, subprotocol: &str) -> ClientRequestBuilder {
        let uri = format!("ws://{}{path}", self.public).parse().unwrap();
        ClientRequestBuilder::new(uri).with_sub_protocol(subprotocol)
    }

    /// The status with which an upgrade is refused.
    pub async fn refusal(&self, request: ClientRequestBuilder) -> u16 {
        match dial(self.public, request).await {
            Err(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// One HTTP request on the public listener.
    pub async fn http(&self, request: &str, body: &str) -> Answer {
        http(self.public, request, body).await
    }

    /// A private REST path, as JSON.
    pub async fn ask(&self, path: &str) -> Value {
        let answer = http(self.rest, &format!("GET {path} HTTP/1.1"), "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body))
    }

    /// Asks until the answer is as wanted: for what happens after the last message that a test can see.
    pub async fn ask_until(&self, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        patiently(async {
            loop {
                let answer = self.ask(path).await;
                if is_wanted(&answer) {
                    return answer;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// A bridge that is connected and ready for conferences.
    pub async fn bridge(&self, id: &str) -> Bridge {
        let bridge = Bridge::dial(self.public, id, KEY).await.unwrap();
        let is_ready = |bridges: &Value| {
            let mut all = bridges.as_array().unwrap().iter();
            all.any(|bridge| bridge["id"] == id && bridge["state"] == "operational")
        };
        self.ask_until("/api/bridges", is_ready).await;
        bridge
    }
}

pub type Socket = WebSocketStream<TcpStream>;

pub async fn dial(to: SocketAddr, request: ClientRequestBuilder) -> Result<Socket, tungstenite::Error> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (socket, _) = patiently(tokio_tungstenite::client_async(request, stream)).await?;
    Ok(socket)
}

pub async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("nothing came")
}

/// A page, as far as signaling sees it.
pub struct Browser {
    pub socket: Socket,
    pub joined: Value,
}

impl Browser {
    pub async fn say(&mut self, request: &Value) {
        self.send(Message::text(request.to_string())).await;
    }

    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// The next update of this type; others before it are passed over.
    pub async fn hear(&mut self, kind: &str) -> Value {
        patiently(async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let update: Value = serde_json::from_str(&text).unwrap();
                        if update["type"] == kind {
                            return update;
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("{other:?} where {kind} is due"),
                }
            }
        })
        .await
    }

    /// The code with which the server ends the socket; what it says before is passed over.
    pub async fn close_code(&mut self) -> u16 {
        close_code(&mut self.socket).await
    }

    pub async fn offer(&mut self, rev: u64) -> Value {
        self.say(&json!({ "type": "offer", "sdp": offer(&[("audio", "sendonly"), ("audio", "recvonly")]), "rev": rev }))
            .await;
        self.hear("answer").await
    }
}

pub async fn close_code(socket: &mut Socket) -> u16 {
    patiently(async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Close(None))) => return 1005,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return 1006,
            }
        }
    })
    .await
}

/// A bridge's link and channel listener. It takes every endpoint and answers with fixed parameters.
pub struct Bridge {
    alive: watch::Sender<()>,
}

impl Bridge {
    pub async fn dial(to: SocketAddr, id: &str, key: &str) -> Result<Self, tungstenite::Error> {
        let uri = format!("ws://{to}/bridge-link").parse().unwrap();
        let request = ClientRequestBuilder::new(uri)
            .with_sub_protocol("passerelle-link.v1")
            .with_header("Authorization", format!("Bearer {key}"));
        let socket = dial(to, request).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let channel = format!("http://{}", listener.local_addr()?);
        let id = id.to_owned();
        let (alive, mut dead) = watch::channel(());
        let router = channels(dead.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = serve_link(socket, &id, &channel) => {}
                _ = async { axum::serve(listener, router).await } => {}
                _ = dead.changed() => {}
            }
        });
        Ok(Self { alive })
    }

    /// kill -9: all its sockets are gone.
    pub fn kill(self) {
        drop(self.alive);
    }
}

async fn serve_link(mut socket: Socket, id: &str, channel: &str) {
    let hello = json!({
        "type": "hello", "bridge": id, "boot": format!("boot of {id}"), "version": env!("CARGO_PKG_VERSION"),
        "channel": channel, "endpoints_max": 1000, "conferences": [],
    });
    let load = json!({ "type": "load", "stress": 0.0, "conferences": 0, "endpoints": 0, "packets_per_s": 0 });
    // From a newer version: to be skipped.
    let news = json!({ "type": "weather", "sunny": true });
    for message in [hello, load, news] {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
    let mut beat = tokio::time::interval(Duration::from_millis(250));
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = beat.tick() => {
                if socket.send(Message::text(r#"{"type":"heartbeat"}"#)).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(Ok(message)) = message else { return };
        let Message::Text(text) = message else { continue };
        let command: Value = serde_json::from_str(&text).unwrap();
        let reply = json!({ "type": "reply", "id": command["id"], "outcome": outcome(id, &command) });
        socket.send(Message::text(reply.to_string())).await.unwrap();
    }
}

fn outcome(id: &str, command: &Value) -> Value {
    let body = &command["body"];
    if body["type"] != "set_endpoint" {
        return json!({ "type": "done" });
    }
    let medias = body["parameters"]["medias"].as_array().unwrap().iter();
    let slots: Vec<Value> = medias
        .filter(|media| media["role"]["role"] == "slot")
        .map(|media| json!({ "mid": media["mid"], "ssrc": 1001 }))
        .collect();
    json!({
        "type": "transport",
        "ice": { "ufrag": "brdg", "pwd": "p".repeat(24) },
        "fingerprint": { "algorithm": "sha-256", "value": "AB:".repeat(31) + "AB" },
        "candidates": [{ "priority": 1, "address": "192.0.2.1:10000" }],
        "slots": slots,
        "channel_path": format!(
            "/colibri-ws/{id}/{}/{}?pwd=right",
            command["conference"].as_str().unwrap(),
            body["endpoint"].as_str().unwrap(),
        ),
    })
}

/// The bridge's channel listener: echoes, and closes with a code of its own when told.
fn channels(dead: watch::Receiver<()>) -> Router {
    let open = async |Path((_, _, endpoint)): Path<(String, String, String)>,
                      RawQuery(query): RawQuery,
                      State(mut dead): State<watch::Receiver<()>>,
                      upgrade: WebSocketUpgrade|
           -> Response {
        if query.as_deref() != Some("pwd=right") {
            return StatusCode::FORBIDDEN.into_response();
        }
        upgrade.on_upgrade(async move |socket| {
            tokio::select! {
                () = echo(socket, &endpoint) => {}
                _ = dead.changed() => {}
            }
        })
    };
    Router::new().route("/colibri-ws/{bridge}/{conference}/{endpoint}", get(open)).with_state(dead)
}

async fn echo(mut socket: WebSocket, endpoint: &str) {
    let hello = json!({ "colibriClass": "ServerHello", "version": endpoint }).to_string();
    let _ = socket.send(Served::text(hello)).await;
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Served::Text(text) if text == "close" => {
                let frame = CloseFrame { code: 4429, reason: "writes too much".into() };
                let _ = socket.send(Served::Close(Some(frame))).await;
            }
            Served::Text(text) => drop(socket.send(Served::Text(text)).await),
            _ => {}
        }
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The stable id of a refusal.
    pub fn error(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert!(body["message"].is_string(), "{body}");
        body["error"].as_str().unwrap().to_owned()
    }
}

/// Sends `request` (first line and headers, lines divided by `\n`) and reads the answer to its end.
pub async fn http(to: SocketAddr, request: &str, body: &str) -> Answer {
    http_over(TcpStream::connect(to).await.unwrap(), &to.to_string(), request, body).await
}

/// The same on a connection that stands; `to` is whom it names as its host.
pub async fn http_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    to: &str,
    request: &str,
    body: &str,
) -> Answer {
    let host = if request.contains("Host:") { String::new() } else { format!("Host: {to}\r\n") };
    let head = request.replace('\n', "\r\n");
    let text = format!("{head}\r\n{host}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // A server that refuses early may not read everything.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = patiently(stream.read_to_end(&mut answer)).await;
    parse(&String::from_utf8(answer).unwrap())
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.unwrap_or(0),
        headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: body.to_owned(),
    }
}

/// An offer with these m-lines: kind and direction of each.
pub fn offer(medias: &[(&str, &str)]) -> String {
    let mids: Vec<String> = (0..medias.len()).map(|mid| mid.to_string()).collect();
    let mut sdp =
        format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n", mids.join(" "));
    for (mid, (kind, direction)) in medias.iter().enumerate() {
        let (number, payload) = if *kind == "audio" { (111, "opus/48000/2") } else { (96, "VP8/90000") };
        sdp += &format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF {number}\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:{mid}\r\n\
             a={direction}\r\na=ice-ufrag:EsAw\r\na=ice-pwd:0123456789abcdefghijkl\r\na=setup:actpass\r\n\
             a=fingerprint:sha-256 {}\r\na=rtpmap:{number} {payload}\r\n",
            ["CD"; 32].join(":"),
        );
    }
    sdp
}

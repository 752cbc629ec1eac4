//! As much of signaling as a bridge can see.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use wire::messages::ids::{ConferenceId, EndpointId, Epoch};
use wire::messages::link::{
    Command, CommandBody, FromBridge, Hello, Load, Notice, Outcome, Reply, SUBPROTOCOL,
};
use wire::messages::media::{EndpointParameters, TransportParameters};

use super::{KEY, soon};

/// Accepts `/bridge-link` connections that show the key.
pub(crate) struct Signaling {
    address: SocketAddr,
    links: mpsc::Receiver<WebSocket>,
}

/// One connection of the bridge, after its `hello`.
pub(crate) struct Link {
    socket: WebSocket,
    pub(crate) hello: Hello,
    /// Notices that came while something else was waited for.
    pub(crate) notices: Vec<Notice>,
}

impl Signaling {
    pub(crate) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, links) = mpsc::channel(8);
        let router = Router::new().route("/bridge-link", get(accept)).with_state(accepted);
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { address, links }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next connection, up to its `hello`.
    pub(crate) async fn next_link(&mut self) -> Link {
        let mut socket = soon(self.links.recv()).await.unwrap();
        let FromBridge::Hello(hello) = receive(&mut socket).await else { panic!("no hello first") };
        Link { socket, hello, notices: Vec::new() }
    }
}

async fn accept(
    State(accepted): State<mpsc::Sender<WebSocket>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    if authorization != Some(&format!("Bearer {KEY}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    upgrade.protocols([SUBPROTOCOL]).on_upgrade(|socket| async move {
        assert_eq!(socket.protocol().unwrap(), SUBPROTOCOL);
        accepted.send(socket).await.unwrap();
    })
}

impl Link {
    /// Whatever the bridge says next.
    pub(crate) async fn next(&mut self) -> FromBridge {
        receive(&mut self.socket).await
    }

    pub(crate) async fn next_load(&mut self) -> Load {
        loop {
            if let FromBridge::Load(load) = self.next().await {
                return load;
            }
        }
    }

    pub(crate) async fn next_notice(&mut self) -> Notice {
        loop {
            if let Some(notice) = self.notices.pop() {
                return notice;
            }
            if let FromBridge::Notice(notice) = self.next().await {
                return notice;
            }
        }
    }

    /// Sends a frame as it is.
    pub(crate) async fn send_text(&mut self, text: &str) {
        soon(self.socket.send(Message::text(text.to_owned()))).await.unwrap();
    }

    /// The reply with this id, whatever else comes before.
    pub(crate) async fn reply_to(&mut self, id: u64) -> Reply {
        loop {
            match self.next().await {
                FromBridge::Reply(reply) if reply.id == id => return reply,
                FromBridge::Notice(notice) => self.notices.push(notice),
                _ => {}
            }
        }
    }

    /// Sends a command and waits for its outcome.
    pub(crate) async fn command(
        &mut self,
        conference: &ConferenceId,
        epoch: u64,
        body: CommandBody,
    ) -> Outcome {
        static NEXT: AtomicU64 = AtomicU64::new(1_000);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let command = Command { id, conference: conference.clone(), epoch: Epoch(epoch), body };
        self.send_text(&serde_json::to_string(&command).unwrap()).await;
        self.reply_to(id).await.outcome
    }

    pub(crate) async fn set_endpoint(
        &mut self,
        conference: &ConferenceId,
        endpoint: &EndpointId,
        parameters: EndpointParameters,
    ) -> TransportParameters {
        let body = CommandBody::SetEndpoint { endpoint: endpoint.clone(), parameters, pins: Vec::new() };
        match self.command(conference, 1, body).await {
            Outcome::Transport(transport) => transport,
            other => panic!("{other:?}"),
        }
    }
}

async fn receive(socket: &mut WebSocket) -> FromBridge {
    loop {
        match soon(socket.recv()).await.expect("the bridge hung up").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

//! `/ws`: a browser's WebSocket. Parses what comes, writes what the engine says, and ends when one side has enough.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use wire::messages::meeting::{ByeReason, ErrorId, Request, SUBPROTOCOL, Update};
use wire::messages::parse_json;

use crate::engine::limits::{Rate, TokenBucket};
use crate::engine::ports::{ConferenceName, ConnectionId, MESSAGE_BYTES_MAX};
use crate::hub::Hub;
use crate::listener::Remote;
use crate::outbox::{self, Close, Inbox};
use crate::problem::Problem;
use crate::public::Public;
use crate::socket::{self, End};

/// A page sends a ping every 5 s and little else.
const MESSAGE_RATE: Rate = Rate { per_s: 50.0, burst: 100.0 };
/// Messages beyond the rate that are dropped with patience; then the connection ends.
const DROPPED_MAX: u32 = 500;
/// Four pings of ours without any sign.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Proxies on the way see traffic, and a page that sends nothing is heard.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// One message, or all that are left at the end; a browser on the slowest network that carries media takes 300 KiB in
/// this time, a snapshot of 500 participants with the longest names.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(crate) struct Where {
    conference: String,
}

/// `GET /ws?conference=<name>`.
pub(crate) async fn open(
    State(public): State<Public>,
    Extension(remote): Extension<Remote>,
    place: Result<Query<Where>, QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if !public.gate.is_our_page(&remote, &headers) {
        return Problem::FOREIGN_ORIGIN.into_response();
    }
    let Ok(upgrade) = upgrade else { return Problem::NOT_A_WEBSOCKET.into_response() };
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Problem::WRONG_SUBPROTOCOL.into_response();
    }
    let client = public.gate.client_of(remote.address, &headers);
    if !public.gate.may_join(Instant::now(), client) {
        return Problem::TOO_MANY.into_response();
    }
    let Some(seat) = public.seat_of(&remote, client) else { return Problem::TOO_MANY.into_response() };
    let Some(slot) = public.take_slot() else { return Problem::FULL.into_response() };
    let name = place.ok().and_then(|Query(place)| ConferenceName::parse(&place.conference));
    socket::limited(upgrade, MESSAGE_BYTES_MAX).on_upgrade(move |mut socket| async move {
        let end = match name {
            Some(name) => run(&public.hub, &mut socket, name).await,
            // Said on the socket, because a page cannot read why an upgrade failed.
            None => refuse_name(&mut socket).await,
        };
        socket::close(socket, end).await;
        drop((seat, slot));
    })
}

async fn refuse_name(socket: &mut WebSocket) -> End {
    let message = "a conference's name has 1 to 64 characters and no control characters".to_owned();
    let _ = socket.send(text_of(&Update::Error { id: ErrorId::BadConference, message })).await;
    End::ours(Close::Policy.code(), "bad conference")
}

async fn run(hub: &Hub, socket: &mut WebSocket, name: ConferenceName) -> End {
    let (outbox, inbox) = outbox::pair();
    let Some(connection) = hub.open_connection(name, outbox).await else {
        return End::ours(Close::Shutdown.code(), "stopping");
    };
    let conversation = Conversation { hub, socket, inbox, connection, dropped: 0 };
    let end = conversation.hold().await;
    hub.close_connection(connection).await;
    end
}

/// One open socket.
struct Conversation<'a> {
    hub: &'a Hub,
    socket: &'a mut WebSocket,
    inbox: Inbox,
    connection: ConnectionId,
    /// Messages beyond the rate.
    dropped: u32,
}

impl Conversation<'_> {
    async fn hold(mut self) -> End {
        let mut heard = tokio::time::Instant::now();
        let mut bucket = TokenBucket::full(heard.into_std(), MESSAGE_RATE);
        let mut ping = interval_at(heard + PING_INTERVAL, PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                close = &mut self.inbox.close => return self.finish(close.unwrap_or(Close::Shutdown)).await,
                Some(text) = self.inbox.messages.recv() => {
                    let length = text.len();
                    if let Some(end) = self.write(Message::Text(text)).await {
                        return end;
                    }
                    self.inbox.written(length);
                }
                message = self.socket.recv() => {
                    heard = tokio::time::Instant::now();
                    if let Some(end) = self.read(message, bucket.take(heard.into_std(), MESSAGE_RATE)).await {
                        return end;
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() >= IDLE_MAX {
                        return End::ours(1001, "silent");
                    }
                    if let Some(end) = self.write(Message::Ping(Default::default())).await {
                        return end;
                    }
                }
            }
        }
    }

    /// One message of the browser. Gives the socket's end, if this is it.
    async fn read(&mut self, message: Option<Result<Message, axum::Error>>, is_in_rate: bool) -> Option<End> {
        let text = match message {
            None | Some(Ok(Message::Close(_))) => return Some(End::Theirs),
            Some(Err(error)) => return Some(End::of_error(error)),
            Some(Ok(Message::Binary(_))) => return Some(End::ours(1003, "text only")),
            // Pings cost an answer and count like everything else.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) if is_in_rate => return None,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return self.drop_message().await,
            Some(Ok(Message::Text(_))) if !is_in_rate => return self.drop_message().await,
            Some(Ok(Message::Text(text))) => text,
        };
        match parse_json::<Request>(&text) {
            Ok(request) => {
                self.hub.browser(self.connection, request).await;
                None
            }
            Err(error) => {
                let message = error.to_string();
                self.write(text_of(&Update::Error { id: ErrorId::BadMessage, message })).await
            }
        }
    }

    /// Beyond the rate: told once, then silently dropped, then enough.
    async fn drop_message(&mut self) -> Option<End> {
        self.dropped += 1;
        match self.dropped {
            1 => {
                let message = "more than 50 messages a second".to_owned();
                self.write(text_of(&Update::Error { id: ErrorId::RateLimited, message })).await
            }
            DROPPED_MAX.. => {
                let _ = self.write(text_of(&Update::Bye { reason: ByeReason::Overload })).await;
                Some(End::ours(Close::Policy.code(), "too many messages"))
            }
            _ => None,
        }
    }

    /// The engine has closed the connection: what it said before is written first, unless reading is the problem.
    async fn finish(&mut self, close: Close) -> End {
        if close != Close::Overload {
            let writing = async {
                while let Ok(text) = self.inbox.messages.try_recv() {
                    self.socket.send(Message::Text(text)).await?;
                }
                Ok::<_, axum::Error>(())
            };
            match timeout(WRITE_TIME_MAX, writing).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return End::Theirs,
                Err(_) => return End::ours(Close::Overload.code(), "reads too slowly"),
            }
        }
        End::ours(close.code(), "")
    }

    /// Writes one message; gives the socket's end when that cannot be done in time.
    async fn write(&mut self, message: Message) -> Option<End> {
        match timeout(WRITE_TIME_MAX, self.socket.send(message)).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some(End::Theirs),
            Err(_) => Some(End::ours(Close::Overload.code(), "reads too slowly")),
        }
    }
}

fn text_of(update: &Update) -> Message {
    // Invariant: an update has no map with keys that are not text, the only thing JSON cannot write.
    Message::Text(Utf8Bytes::from(serde_json::to_string(update).unwrap_or_default()))
}

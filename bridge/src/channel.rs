//! The channel listener: browsers' WebSockets `/colibri-ws/<bridge>/<conference>/<endpoint>?pwd=…`, usually proxied by
//! signaling. Carries text between a browser and its endpoint's engine, and understands none of it.
//!
//! Who may open one is decided before the upgrade, with one answer for every way to be wrong. A newer socket replaces the
//! older one. A browser that reads too slowly (1013), or of which the engine says that it writes too much (4429), loses its
//! channel, never its media.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite;

use crate::control::Control;
use crate::control::channels::{ChannelReceiver, CloseReason, Owner};
use crate::problem::Problem;

/// The listener's routes; at most `sockets_max` channels are open at the same time.
pub(crate) fn router(control: Arc<Control>, sockets_max: usize) -> Router {
    let sockets = Arc::new(Semaphore::new(sockets_max));
    Router::new()
        .route("/colibri-ws/{server}/{conference}/{endpoint}", get(open))
        .fallback(|| async { Problem::NOT_FOUND })
        .method_not_allowed_fallback(|| async { Problem::METHOD_NOT_ALLOWED })
        .with_state(Listener { control, sockets })
}

#[derive(Clone)]
struct Listener {
    control: Arc<Control>,
    sockets: Arc<Semaphore>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Login {
    pwd: String,
}

async fn open(
    State(listener): State<Listener>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    login: Result<Query<Login>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(Path((server, conference, endpoint))) = path else { return Problem::NOT_FOUND.into_response() };
    let control = listener.control;
    if server != control.bridge.as_str() {
        return WRONG_SERVER.into_response();
    }
    let password = login.map(|Query(login)| login.pwd).unwrap_or_default();
    let Some(owner) = control.admit(&conference, &endpoint, &password) else {
        control.shell_counts.channels_refused.fetch_add(1, Ordering::Relaxed);
        return FORBIDDEN.into_response();
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Problem { status: rejection.status(), ..NOT_A_WEBSOCKET }.into_response(),
    };
    let Ok(slot) = listener.sockets.try_acquire_owned() else { return FULL.into_response() };
    upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(BUFFER_BYTES + 2 * MESSAGE_BYTES_MAX)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| run(control, socket, owner, slot))
}

/// How a channel ends.
enum End {
    /// We close it, with this code and word.
    Ours(u16, &'static str),
    /// The browser closed it, or it broke.
    Theirs,
}

impl End {
    fn of(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Replaced => Self::Ours(1000, "replaced"),
            CloseReason::EndpointGone => Self::Ours(1000, "endpoint gone"),
            CloseReason::Overload => Self::Ours(1013, "reads too slowly"),
            CloseReason::OverRate => Self::Ours(4429, "writes too much"),
        }
    }
}

async fn run(control: Arc<Control>, mut socket: WebSocket, owner: Owner, _slot: OwnedSemaphorePermit) {
    let Some(mut channel) = control.open_channel(owner).await else {
        return close(socket, End::of(CloseReason::EndpointGone)).await;
    };
    let end = converse(&control, &mut socket, &mut channel.receiver, owner).await;
    control.close_channel(channel).await;
    close(socket, end).await;
}

async fn converse(
    control: &Control,
    socket: &mut WebSocket,
    receiver: &mut ChannelReceiver,
    owner: Owner,
) -> End {
    let mut heard_at = Instant::now();
    let mut ping = interval_at(heard_at + PING_INTERVAL, PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            biased;
            reason = closed(&mut receiver.close) => return End::of(reason),
            Some(text) = receiver.messages.recv() => {
                let length = text.len();
                if let Some(end) = write(socket, receiver, Message::text(text)).await {
                    return end;
                }
                receiver.written(length);
                continue;
            }
            message = socket.recv() => message,
            _ = ping.tick() => {
                if heard_at.elapsed() >= IDLE_MAX {
                    return End::Ours(1001, "silent");
                }
                if let Some(end) = write(socket, receiver, Message::Ping(Default::default())).await {
                    return end;
                }
                continue;
            }
        };
        heard_at = Instant::now();
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Binary(_))) => return End::Ours(1003, "text only"),
            Some(Err(error)) => return of_error(error),
            Some(Ok(Message::Close(_))) | None => return End::Theirs,
        };
        control.channel_text(owner, text.to_string()).await;
    }
}

/// Waits until the control plane wants the channel closed.
async fn closed(close: &mut tokio::sync::watch::Receiver<Option<CloseReason>>) -> CloseReason {
    match close.wait_for(Option::is_some).await.map(|reason| *reason) {
        Ok(Some(reason)) => reason,
        // The table is gone, and the endpoint with it.
        _ => CloseReason::EndpointGone,
    }
}

/// Writes one message; gives the channel's end when that cannot be done in time.
async fn write(socket: &mut WebSocket, receiver: &mut ChannelReceiver, message: Message) -> Option<End> {
    tokio::select! {
        biased;
        sent = timeout(WRITE_TIME_MAX, socket.send(message)) => match sent {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some(End::Theirs),
            Err(_) => Some(End::of(CloseReason::Overload)),
        },
        reason = closed(&mut receiver.close) => Some(End::of(reason)),
    }
}

fn of_error(error: axum::Error) -> End {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => End::Ours(1009, "message too long"),
        Some(tungstenite::Error::Utf8(_)) => End::Ours(1007, "not UTF-8"),
        Some(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )) => End::Theirs,
        Some(tungstenite::Error::Protocol(_)) => End::Ours(1002, "protocol error"),
        _ => End::Theirs,
    }
}

async fn close(mut socket: WebSocket, end: End) {
    let End::Ours(code, reason) = end else { return };
    let frame = CloseFrame { code, reason: reason.into() };
    // A browser that does not even take this is gone.
    let _ = timeout(CLOSE_TIME_MAX, async {
        socket.send(Message::Close(Some(frame))).await?;
        // The browser's own close comes back; hanging up before it could take ours away from it.
        while let Some(Ok(_)) = socket.recv().await {}
        Ok::<_, axum::Error>(())
    })
    .await;
}

const WRONG_SERVER: Problem = Problem::new(StatusCode::NOT_FOUND, "not_found", "server ID mismatch");

/// The same for an unknown conference, an unknown endpoint and a wrong password: nobody learns which exist.
const FORBIDDEN: Problem =
    Problem::new(StatusCode::FORBIDDEN, "authentication_failed", "authentication failed");

const NOT_A_WEBSOCKET: Problem =
    Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", "this path is for WebSockets");

const FULL: Problem =
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "full", "this bridge has as many channels as it may");

/// Jitsi's clients send at most a few KiB at once.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Memory of an idle channel is a promise; the library's own default is 128 KiB each.
const BUFFER_BYTES: usize = 4 * 1024;

/// As Jitsi's bridge: proxies on the way see traffic.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// Four pings without an answer.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// One message; a browser on the slowest network that carries media takes 64 KiB in this time.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

/// A round trip.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

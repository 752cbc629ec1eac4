//! `/bridge-link`: a bridge's WebSocket. Whoever shows the key may dial; without a key only programs on this machine may.

use std::net::IpAddr;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use wire::messages::link::{FromBridge, SUBPROTOCOL};
use wire::messages::parse_json;

use crate::engine::ports::{LinkFault, LinkId};
use crate::hub::{Hub, LinkQueue};
use crate::listener::Remote;
use crate::problem::Problem;
use crate::public::Public;
use crate::socket::{self, End};

/// A `hello` with ten thousand conferences.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// A bridge beats four times a second; the engine has given up on it long before.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A command; the bridge is on the same network or it is of no use.
const WRITE_TIME_MAX: Duration = Duration::from_secs(3);
/// What cannot be read is skipped, in case the bridge is newer; not for ever.
const UNREADABLE_MAX: u32 = 1000;

const UNAUTHORIZED: Problem =
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "the key of this link is missing or wrong");

/// `GET /bridge-link`.
pub(crate) async fn open(
    State(public): State<Public>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if !is_authorized(&public, &remote, &headers) {
        return ([(header::WWW_AUTHENTICATE, "Bearer")], UNAUTHORIZED).into_response();
    }
    let Ok(upgrade) = upgrade else { return Problem::NOT_A_WEBSOCKET.into_response() };
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Problem::WRONG_SUBPROTOCOL.into_response();
    }
    let bridge = public.gate.client_of(remote.address, &headers);
    socket::limited(upgrade, MESSAGE_BYTES_MAX).on_upgrade(move |mut socket| async move {
        let end = run(&public.hub, &mut socket, bridge).await;
        socket::close(socket, end).await;
        drop(remote);
    })
}

fn is_authorized(public: &Public, remote: &Remote, headers: &HeaderMap) -> bool {
    if public.link_key.is_empty() {
        // A page in a browser on this machine reaches loopback too; it names its origin, a bridge does not.
        return remote.address.ip().to_canonical().is_loopback()
            && !headers.contains_key(header::ORIGIN)
            && !headers.contains_key("x-forwarded-for");
    }
    let shown = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let key = shown.strip_prefix(b"Bearer ").or_else(|| shown.strip_prefix(b"bearer "));
    key.is_some_and(|key| public.link_key.matches(key))
}

async fn run(hub: &Hub, socket: &mut WebSocket, bridge: IpAddr) -> End {
    let Some((link, queue)) = hub.open_link().await else { return End::ours(1012, "stopping") };
    let end = serve(hub, socket, (link, queue), bridge).await;
    hub.close_link(link).await;
    end
}

async fn serve(
    hub: &Hub,
    socket: &mut WebSocket,
    (link, mut queue): (LinkId, LinkQueue),
    bridge: IpAddr,
) -> End {
    let mut unreadable = 0;
    loop {
        let message = tokio::select! {
            biased;
            fault = &mut queue.fault => return end_of(fault.ok()),
            command = queue.commands.recv() => {
                let Some(command) = command else { return end_of(queue.fault.await.ok()) };
                // Invariant: a command has no map with keys that are not text, the only thing JSON cannot write.
                let text = Utf8Bytes::from(serde_json::to_string(&command).unwrap_or_default());
                match timeout(WRITE_TIME_MAX, socket.send(Message::Text(text))).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => return End::Theirs,
                    Err(_) => return End::ours(1013, "reads too slowly"),
                }
            }
            message = timeout(SILENCE_MAX, socket.recv()) => message,
        };
        let text = match message {
            Err(_) => return End::ours(1001, "silent"),
            Ok(None | Some(Ok(Message::Close(_)))) => return End::Theirs,
            Ok(Some(Err(error))) => return End::of_error(error),
            Ok(Some(Ok(Message::Text(text)))) => text,
            Ok(Some(Ok(Message::Binary(_)))) => return End::ours(1003, "text only"),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
        };
        match parse_json::<FromBridge>(&text) {
            Ok(message) => hub.bridge(link, as_seen_from_here(message, bridge)).await,
            Err(error) => {
                unreadable += 1;
                if unreadable > UNREADABLE_MAX {
                    return End::ours(1008, "too many unreadable messages");
                }
                tracing::debug!(%error, "a bridge's message is skipped");
            }
        }
    }
}

/// Loopback is whoever says it: a bridge on another machine does not mean our relays' hosts, and could not be let have
/// them either.
fn as_seen_from_here(mut message: FromBridge, bridge: IpAddr) -> FromBridge {
    if let FromBridge::Hello(hello) = &mut message
        && !bridge.is_loopback()
    {
        hello.media.retain(|address| !address.ip().to_canonical().is_loopback());
    }
    message
}

fn end_of(fault: Option<LinkFault>) -> End {
    match fault {
        Some(LinkFault::IdInUse) => End::ours(1008, "another bridge has this id"),
        Some(LinkFault::Replaced) => End::ours(1000, "replaced"),
        Some(LinkFault::HelloMissing) => End::ours(1008, "hello is due first"),
        Some(LinkFault::SecondHello) => End::ours(1008, "hello was said before"),
        Some(LinkFault::BadMedia) => End::ours(1008, "media has too many or impossible addresses"),
        Some(LinkFault::BadChannel) => End::ours(1008, "channel is no http:// URL"),
        // The queue overflowed, or the server stops: either way the bridge dials again.
        None => End::ours(1013, "try again later"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_loopback_of_another_machine_is_not_ours() {
        let media = ["203.0.113.4:10000", "127.0.0.1:10000", "[::1]:10000", "[::ffff:127.0.0.1]:22"];
        let seen_from = |bridge: &str| {
            let hello = json!({
                "type": "hello", "bridge": "a", "boot": "x", "version": "9", "channel": "http://a", "endpoints_max": 5,
                "media": media,
            });
            let message = parse_json(&hello.to_string()).unwrap();
            let FromBridge::Hello(hello) = as_seen_from_here(message, bridge.parse().unwrap()) else {
                panic!("still a hello")
            };
            hello.media.len()
        };
        assert_eq!(seen_from("203.0.113.4"), 1);
        assert_eq!(seen_from("127.0.0.1"), 4);
    }
}

//! `/colibri-ws/<bridge>/<conference>/<endpoint>?pwd=…`: carries a browser's channel to the bridge that has its endpoint,
//! so that nobody edits a proxy when a bridge is added. The bridge decides who may open it and what may be said.

use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message as Theirs};
use wire::messages::ids::{BridgeId, ConferenceId, EndpointId};

use crate::engine::ports::MESSAGE_BYTES_MAX;
use crate::listener::Remote;
use crate::problem::Problem;
use crate::public::Public;
use crate::socket::{self, End};

/// A bridge is near, or it is of no use.
const DIAL_TIME_MAX: Duration = Duration::from_secs(3);
/// One message, either way.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// The bridge's pings end here, so the browser is asked from here.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Four pings without an answer.
const IDLE_MAX: Duration = Duration::from_secs(60);

const NO_BRIDGE: Problem = Problem::new(StatusCode::NOT_FOUND, "not_found", "no such bridge is connected");
const UNREACHABLE: Problem =
    Problem::new(StatusCode::BAD_GATEWAY, "bridge_unreachable", "the bridge's channel does not answer");
const FORBIDDEN: Problem =
    Problem::new(StatusCode::FORBIDDEN, "authentication_failed", "authentication failed");

type Upstream = WebSocketStream<TcpStream>;

/// `GET /colibri-ws/…`.
pub(crate) async fn open(
    State(public): State<Public>,
    Extension(remote): Extension<Remote>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    Parts { headers, uri, .. }: Parts,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if !public.gate.is_our_page(&remote, &headers) {
        return Problem::FOREIGN_ORIGIN.into_response();
    }
    let Ok(Path((bridge, conference, endpoint))) = path else { return Problem::NOT_FOUND.into_response() };
    // Checked before they stand in another URL.
    let (Ok(bridge), Ok(conference), Ok(endpoint)) =
        (BridgeId::parse(bridge), ConferenceId::parse(conference), EndpointId::parse(endpoint))
    else {
        return Problem::NOT_FOUND.into_response();
    };
    let Ok(upgrade) = upgrade else { return Problem::NOT_A_WEBSOCKET.into_response() };
    let client = public.gate.client_of(remote.address, &headers);
    let Some(seat) = public.seat_of(&remote, client) else { return Problem::TOO_MANY.into_response() };
    let Some(slot) = public.take_slot() else { return Problem::FULL.into_response() };
    let Some(base) = public.hub.channel_of(bridge.clone()).await else { return NO_BRIDGE.into_response() };
    let path = format!("/colibri-ws/{bridge}/{conference}/{endpoint}?{}", uri.query().unwrap_or_default());
    let upstream = match timeout(DIAL_TIME_MAX, dial(&base, &path)).await {
        Ok(Ok(upstream)) => upstream,
        Ok(Err(tungstenite::Error::Http(answer))) => return refused(answer.status()).into_response(),
        Ok(Err(_)) | Err(_) => return UNREACHABLE.into_response(),
    };
    socket::limited(upgrade, MESSAGE_BYTES_MAX).on_upgrade(move |socket| async move {
        pump(socket, upstream).await;
        drop((seat, slot));
    })
}

/// The bridge's refusal, in our words.
fn refused(status: StatusCode) -> Problem {
    match status {
        StatusCode::FORBIDDEN => FORBIDDEN,
        StatusCode::NOT_FOUND => Problem::NOT_FOUND,
        StatusCode::SERVICE_UNAVAILABLE => Problem::FULL,
        _ => UNREACHABLE,
    }
}

async fn dial(base: &str, path: &str) -> Result<Upstream, tungstenite::Error> {
    let authority = base.strip_prefix("http://").unwrap_or_default().trim_end_matches('/');
    let uri: tungstenite::http::Uri =
        format!("ws://{authority}{path}").parse().map_err(tungstenite::Error::from)?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(80);
    let request: Request =
        tungstenite::client::IntoClientRequest::into_client_request(ClientRequestBuilder::new(uri))?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(4 * 1024)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let (upstream, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
    Ok(upstream)
}

/// Carries both ways until one side ends, then tells the other why.
async fn pump(browser: WebSocket, bridge: Upstream) {
    let (mut to_browser, mut from_browser) = browser.split();
    let (mut to_bridge, mut from_bridge) = bridge.split();
    // Two walks at once: a browser that does not read must not keep the bridge from hearing it.
    let end = tokio::select! {
        end = upwards(&mut from_browser, &mut to_bridge) => end,
        end = downwards(&mut from_bridge, &mut to_browser) => end,
    };
    let close = match &end {
        End::Ours(code, reason) => Some((*code, reason.clone())),
        End::Theirs => None,
    };
    let frame = close
        .map(|(code, reason)| tungstenite::protocol::CloseFrame { code: code.into(), reason: reason.into() });
    let _ = timeout(WRITE_TIME_MAX, to_bridge.send(Theirs::Close(frame))).await;
    if let (Ok(socket), End::Ours(..)) = (to_browser.reunite(from_browser), &end) {
        socket::close(socket, end).await;
    }
}

/// Browser → bridge. The rate is the bridge's affair: it closes with 4429.
async fn upwards(from: &mut SplitStream<WebSocket>, to: &mut SplitSink<Upstream, Theirs>) -> End {
    loop {
        // The browser's answers to our pings count as signs of life.
        let Ok(message) = timeout(IDLE_MAX, from.next()).await else { return End::ours(1001, "silent") };
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Binary(_))) => return End::ours(1003, "text only"),
            Some(Ok(Message::Close(_))) | None => return End::Theirs,
            Some(Err(error)) => return End::of_error(error),
        };
        if !sent(to.send(Theirs::text(text.as_str()))).await {
            return End::ours(1011, "the bridge does not read");
        }
    }
}

/// Bridge → browser.
async fn downwards(from: &mut SplitStream<Upstream>, to: &mut SplitSink<WebSocket, Message>) -> End {
    let mut ping = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let message = tokio::select! {
            message = from.next() => message,
            _ = ping.tick() => {
                if heard.elapsed() >= IDLE_MAX {
                    return End::ours(1011, "the bridge is silent");
                }
                if !sent(to.send(Message::Ping(Default::default()))).await {
                    return End::Theirs;
                }
                continue;
            }
        };
        heard = Instant::now();
        let text = match message {
            Some(Ok(Theirs::Text(text))) => text,
            Some(Ok(Theirs::Close(frame))) => return end_of(frame),
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => return End::ours(1011, "the bridge is gone"),
        };
        if !sent(to.send(Message::Text(text.as_str().into()))).await {
            return End::ours(1013, "reads too slowly");
        }
    }
}

/// The bridge's close, passed on.
fn end_of(frame: Option<tungstenite::protocol::CloseFrame>) -> End {
    let frame =
        frame.map(|frame| CloseFrame { code: frame.code.into(), reason: frame.reason.as_str().into() });
    // 1005 and its like say that there was no code, and may not stand in a frame (RFC 6455, 7.4.1).
    let code = frame.as_ref().map_or(1000, |frame| frame.code);
    let code = if matches!(code, 1005 | 1006 | 1015) { 1000 } else { code };
    End::Ours(code, frame.map(|frame| frame.reason.to_string()).unwrap_or_default())
}

async fn sent<E>(sending: impl Future<Output = Result<(), E>>) -> bool {
    matches!(timeout(WRITE_TIME_MAX, sending).await, Ok(Ok(())))
}

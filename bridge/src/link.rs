//! The link to one signaling service: a WebSocket that this bridge dials and keeps dialling.
//!
//! ```text
//! dial ─▶ hello (who, what it carries) ─▶ load each second, heart-beat each 250 ms, answers, notices
//!                                      ◀─ commands
//! ```
//!
//! Media does not depend on it: while it is down, conferences go on, and the next `hello` says which. Heart-beats stop
//! when a worker hangs, so that signaling moves its conferences to a bridge that works.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use wire::messages::link::{Command, FromBridge, Hello, Outcome, Refusal, Reply, SUBPROTOCOL};
use wire::messages::parse_json;
use wire::settings::Secret;

use crate::control::{Connection, Control};

/// Whom to dial, and what to say first.
#[derive(Clone)]
pub(crate) struct LinkSettings {
    /// Its place among the links.
    pub(crate) index: usize,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) key: Secret,
    /// Its conferences are filled in at each dialling.
    pub(crate) hello: Hello,
}

type Socket = WebSocketStream<TcpStream>;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{0}")]
    Socket(#[from] tokio_tungstenite::tungstenite::Error),
    #[error("{0}")]
    Os(#[from] std::io::Error),
    #[error("no answer in time")]
    Silent,
    #[error("closed by signaling")]
    Closed,
    #[error("signaling reads too slowly")]
    TooSlow,
}

/// Dials, serves and dials again, for ever: dropped when the bridge stops.
pub(crate) async fn run(settings: LinkSettings, control: Arc<Control>) {
    let mut failures = 0;
    loop {
        let dialled_at = Instant::now();
        let error = match dial(&settings).await {
            Err(error) => error,
            Ok(socket) => {
                tracing::info!(host = settings.host, port = settings.port, "signaling is connected");
                let error = serve(socket, &settings, &control).await;
                control.link_down(settings.index);
                error
            }
        };
        // Accepted and thrown out at once is a failure like any other.
        let is_first = failures == 0 || dialled_at.elapsed() >= STABLE_AFTER;
        if is_first {
            failures = 0;
            tracing::warn!(host = settings.host, port = settings.port, %error, "signaling is not connected");
        } else {
            tracing::debug!(host = settings.host, port = settings.port, %error, failures, "still not connected");
        }
        sleep(backoff(failures, rand::random())).await;
        failures += 1;
    }
}

async fn dial(settings: &LinkSettings) -> Result<Socket, LinkError> {
    in_time(DIAL_TIME_MAX, async {
        let uri = format!("ws://{}:{}/bridge-link", settings.host, settings.port);
        let uri = uri.parse().map_err(tokio_tungstenite::tungstenite::Error::from)?;
        let request = ClientRequestBuilder::new(uri)
            .with_sub_protocol(SUBPROTOCOL)
            .with_header("Authorization", format!("Bearer {}", settings.key.expose()));
        // Brackets are a URL's way to write IPv6, not a resolver's.
        let host = settings.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, settings.port)).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        Ok::<_, LinkError>(socket)
    })
    .await
}

/// Serves an open link until it ends.
async fn serve(socket: Socket, settings: &LinkSettings, control: &Control) -> LinkError {
    let (connection, conferences, outgoing) = control.link_up(settings.index);
    let hello = FromBridge::Hello(Hello { conferences, ..settings.hello.clone() });
    let (sink, stream) = socket.split();
    // Reading may wait for a worker; heart-beats must not wait with it.
    let ended = tokio::select! {
        ended = write(sink, &hello, outgoing, control) => ended,
        ended = read(stream, connection, control) => ended,
    };
    ended.err().unwrap_or(LinkError::Closed)
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    hello: &FromBridge,
    mut outgoing: mpsc::Receiver<FromBridge>,
    control: &Control,
) -> Result<(), LinkError> {
    send(&mut sink, hello).await?;
    let mut heartbeat = interval(HEARTBEAT_INTERVAL);
    let mut load = interval(LOAD_INTERVAL);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    load.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = heartbeat.tick() => {
                if control.is_alive(Instant::now()) {
                    send(&mut sink, &FromBridge::Heartbeat).await?;
                }
            }
            _ = load.tick() => {
                send(&mut sink, &FromBridge::Load(control.load())).await?;
                in_time(WRITE_TIME_MAX, sink.send(Message::Ping(Default::default()))).await?;
            }
            message = outgoing.recv() => {
                let Some(message) = message else { return Err(LinkError::TooSlow) };
                send(&mut sink, &message).await?;
            }
        }
    }
}

async fn read(
    mut stream: SplitStream<Socket>,
    connection: Connection,
    control: &Control,
) -> Result<(), LinkError> {
    loop {
        // Signaling answers our pings at least; a link that says nothing is a link that is cut.
        let Ok(message) = timeout(SILENCE_MAX, stream.next()).await else { return Err(LinkError::Silent) };
        match message.ok_or(LinkError::Closed)?? {
            Message::Text(text) => handle_text(&text, connection, control).await,
            Message::Close(_) => return Err(LinkError::Closed),
            _ => {}
        }
    }
}

async fn handle_text(text: &str, connection: Connection, control: &Control) {
    match parse_json::<Command>(text) {
        Ok(command) => control.command(connection, command).await,
        Err(error) => {
            control.shell_counts.link_messages_unreadable.fetch_add(1, Ordering::Relaxed);
            // What has an id is answered, so that nobody waits for it. What has none is a newer version's affair.
            let Ok(Numbered { id }) = parse_json::<Numbered>(text) else { return };
            let outcome = Outcome::Refused { error: Refusal::BadParameters, message: error.to_string() };
            control.tell(connection, FromBridge::Reply(Reply { id, outcome }));
        }
    }
}

/// The part of a command that every version has.
#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

async fn send(sink: &mut SplitSink<Socket, Message>, message: &FromBridge) -> Result<(), LinkError> {
    // Invariant: the message types have no map with keys that are not text, the only thing JSON cannot write.
    let text = serde_json::to_string(message).unwrap_or_default();
    in_time(WRITE_TIME_MAX, sink.send(Message::text(text))).await
}

async fn in_time<T, E>(time_max: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, LinkError>
where
    LinkError: From<E>,
{
    timeout(time_max, work).await.map_err(|_| LinkError::Silent)?.map_err(LinkError::from)
}

/// Full jitter: anything up to a bound that doubles, so that many bridges do not come back in step. `random` is 0.0 to 1.0.
fn backoff(failures: u32, random: f64) -> Duration {
    let bound = BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_MAX);
    bound.mul_f64(random.clamp(0.0, 1.0))
}

/// Signaling takes a bridge for hung after four of these.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(250);

const LOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Three pings without an answer.
const SILENCE_MAX: Duration = Duration::from_secs(3);

const WRITE_TIME_MAX: Duration = Duration::from_secs(3);

/// Connection and upgrade on a slow continent-to-continent path.
const DIAL_TIME_MAX: Duration = Duration::from_secs(5);

/// A link that lasted this long was a good one.
const STABLE_AFTER: Duration = Duration::from_secs(5);

const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Media goes on meanwhile, but newcomers wait.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The largest command is an endpoint with every m-line an offer of 64 KiB can have.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redialling_spreads_over_a_bound_that_doubles_up_to_two_seconds() {
        let bounds: Vec<_> = (0..7).map(|failures| backoff(failures, 1.0).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff(3, 0.5), Duration::from_millis(400));
        assert_eq!(backoff(u32::MAX, 0.0), Duration::ZERO);
    }
}

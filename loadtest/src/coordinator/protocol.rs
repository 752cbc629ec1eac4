//! What machines of one run say to each other.

use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::outcome::{FORMAT, Outcome, Second};
use crate::scenario::Scenario;

/// A machine to its leader.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Report {
    /// The first message: who comes.
    Hello {
        /// [`version`].
        version: String,
    },
    /// Its callers are in, or have failed.
    Settled,
    /// Another second of its callers.
    Second {
        /// Boxed: the other messages are small.
        second: Box<Second>,
    },
    /// The last message: everything it found.
    Done {
        /// Its part.
        outcome: Box<Outcome>,
        /// RTP datagrams that reached its callers in the whole run.
        datagrams_received: u64,
    },
}

/// The leader to a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Order {
    /// It belongs to the run.
    Welcome {
        /// What is run; hooks, thresholds and servers' numbers are the leader's.
        scenario: Box<Scenario>,
        /// Its place, from 1; the leader is 0.
        index: u32,
        /// Machines in the run.
        of: u32,
    },
    /// It does not.
    Refused {
        /// One line.
        why: String,
    },
    /// Everybody is there: the run starts in so many milliseconds.
    Begin {
        /// Long enough for the message to reach everybody.
        in_ms: u64,
    },
    /// Everybody's callers are in: warm up, then measure.
    Measure,
    /// The run ends early; what was found so far is wanted.
    Stop,
}

/// Machines of another version count, or draw, something else.
pub(super) fn version() -> String {
    format!("{}/{FORMAT}", env!("CARGO_PKG_VERSION"))
}

/// A report of a long run with many groups is some MiB.
pub(super) fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

/// Sends one message; false when the line is gone.
pub(super) async fn send<T, S>(line: &mut S, message: &T) -> bool
where
    T: Serialize,
    S: Sink<Message, Error = Error> + Unpin,
{
    let Ok(text) = serde_json::to_string(message) else { return false };
    let sent = tokio::time::timeout(SEND_PATIENCE, line.send(Message::text(text)));
    matches!(sent.await, Ok(Ok(())))
}

/// The next message; none when the line is gone, says nothing for too long, or says what no machine would.
pub(super) async fn receive<T, S>(line: &mut S, patience: Duration) -> Option<T>
where
    T: DeserializeOwned,
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    loop {
        match tokio::time::timeout(patience, line.next()).await.ok()??.ok()? {
            Message::Text(text) => return serde_json::from_str(&text).ok(),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) | Message::Close(_) | Message::Frame(_) => return None,
        }
    }
}

/// What carries the key.
pub(super) const KEY_HEADER: &str = "x-loadtest-key";
/// A day of seconds, with room.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// A machine that takes nothing for so long is gone.
const SEND_PATIENCE: Duration = Duration::from_secs(10);

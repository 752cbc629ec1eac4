//! What a shard does with an established TURN stream: messages out of bytes, and datagrams into records.
//!
//! ```text
//!            ┌──────────────────────── client ────────────────────────┐
//! socket ──▶ │ tls: records ─▶ plaintext ─▶ framer ─▶ one message each │ ──▶ engine
//!        ◀── │ tls: one record ◀─ 16 KiB ◀─ egress: queue of datagrams │ ◀── replies, relayed datagrams
//!            └─────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariants: a client gets whole datagrams or none; it always gets its replies, in their order. What waits for a client
//! waits in `egress`, where its age and size are limited, and not in the kernel or in TLS. A message is handed on where it
//! was read unless it came in pieces. An idle stream holds no buffer of ours. Each way to end has a [`CloseReason`]. No
//! bytes of a client's make this panic. Knows nothing about what messages mean.
//!
//! [`CloseReason`]: close_reason::CloseReason

use std::any::Any;
use std::fmt;
use std::net::TcpStream;

use rustls::ServerConnection;

use crate::engine::ports::ClientPath;

pub(crate) mod client;
pub(crate) mod close_reason;
mod deadlines;
mod egress;
mod framer;
mod limits;
mod tls;

#[cfg(test)]
mod tests;

/// A TURN stream as the front hands it to a shard: accepted, decided upon, with TLS established.
pub(crate) struct NewStream {
    /// Whose it is. The shard numbers the connection.
    pub(crate) path: ClientPath,
    /// Non-blocking, and in nobody's poll.
    pub(crate) socket: TcpStream,
    /// Its TLS, handshake done; none for plain TCP.
    pub(crate) tls: Option<Box<ServerConnection>>,
    /// Plaintext that was read already.
    pub(crate) early: Vec<u8>,
    /// Dropped when the stream ends: gives back its place among those of its address.
    pub(crate) seat: Box<dyn Any + Send>,
}

impl fmt::Debug for NewStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewStream({}, {} bytes early)", self.path.transport.as_str(), self.early.len())
    }
}

//! What every WebSocket of ours has in common: buffers, limits, and how it ends.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::settings::PARTICIPANTS_MAX;

/// Memory of an idle participant is a promise; the library's own default is 128 KiB each.
const BUFFER_BYTES: usize = 4 * 1024;
/// One participant in a snapshot: a name of 512 bytes, of which 64 may need an escape, and the keys around it.
pub(crate) const PARTICIPANT_BYTES_MAX: usize = 700;
/// The largest message we write, a snapshot of as many participants as may be set; memory only while it is written.
const WRITE_BYTES_MAX: usize = PARTICIPANTS_MAX * PARTICIPANT_BYTES_MAX;
/// A round trip, for the other side's close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// How a socket ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// We close it, with this code and word.
    Ours(u16, String),
    /// The other side closed it, or it broke.
    Theirs,
}

impl End {
    /// Our close.
    pub(crate) fn ours(code: u16, reason: &str) -> Self {
        Self::Ours(code, reason.to_owned())
    }

    /// RFC 6455, 7.4.1: what the other side is told about its mistake.
    pub(crate) fn of_error(error: axum::Error) -> Self {
        match error.into_inner().downcast_ref::<Error>() {
            Some(Error::Capacity(_)) => Self::ours(1009, "message too long"),
            Some(Error::Utf8(_)) => Self::ours(1007, "not UTF-8"),
            Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Self::Theirs,
            Some(Error::Protocol(_)) => Self::ours(1002, "protocol error"),
            _ => Self::Theirs,
        }
    }
}

/// Sets the limits of a socket before it is opened.
pub(crate) fn limited(upgrade: WebSocketUpgrade, message_bytes_max: usize) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(BUFFER_BYTES + WRITE_BYTES_MAX)
        .max_message_size(message_bytes_max)
        .max_frame_size(message_bytes_max)
}

/// Ends a socket in order, if it is ours to end.
pub(crate) async fn close(mut socket: WebSocket, end: End) {
    let End::Ours(code, reason) = end else { return };
    let frame = CloseFrame { code, reason: reason.into() };
    // A browser that does not even take this is gone.
    let _ = timeout(CLOSE_TIME_MAX, async {
        socket.send(Message::Close(Some(frame))).await?;
        if UNREADABLE.contains(&code) {
            // What it sends cannot be read any further. Hanging up with bytes of it unread would reset the connection and
            // could take our close away from it.
            std::future::pending::<()>().await;
        }
        // Its own close comes back.
        while let Some(Ok(_)) = socket.recv().await {}
        Ok::<_, axum::Error>(())
    })
    .await;
}

/// The codes that say that a message could not be read: the end of reading.
const UNREADABLE: [u16; 3] = [1002, 1007, 1009];

//! The bounded queue of one browser's socket: a browser that does not read loses its connection and slows nobody down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{mpsc, oneshot};

/// Updates that wait for one browser: a minute of a lively conference.
const MESSAGES_MAX: usize = 256;
/// Their bytes, by weight: one snapshot of any size, and a chat's history and a minute of deltas behind it.
const BYTES_MAX: usize = 256 * 1024;
/// A message weighs no more: the largest snapshot may wait between `joined` and what follows, two of them may not.
const WEIGHT_MAX: usize = BYTES_MAX / 2;

/// Why a socket is closed, as its close code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// 1000: it is over.
    Normal,
    /// 1008: the other side broke a rule.
    Policy,
    /// 1013: it reads too slowly.
    Overload,
    /// 1012: the server stops.
    Shutdown,
}

impl Close {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Policy => 1008,
            Self::Overload => 1013,
            Self::Shutdown => 1012,
        }
    }
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<Utf8Bytes>,
    close: oneshot::Sender<Close>,
    bytes: Arc<AtomicUsize>,
}

/// The socket's end.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// What to write. Ends after the engine closed the connection.
    pub(crate) messages: mpsc::Receiver<Utf8Bytes>,
    /// When to stop, and why.
    pub(crate) close: oneshot::Receiver<Close>,
    bytes: Arc<AtomicUsize>,
}

/// A queue for one socket.
pub(crate) fn pair() -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
    let (close, closed) = oneshot::channel();
    let bytes = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox { messages: sender, close, bytes: Arc::clone(&bytes) };
    (outbox, Inbox { messages: receiver, close: closed, bytes })
}

impl Outbox {
    /// Queues a message. `false`: the queue is full, and the connection has to end.
    pub(crate) fn push(&mut self, text: Utf8Bytes) -> bool {
        let weight = text.len().min(WEIGHT_MAX);
        if self.bytes.load(Ordering::Relaxed) + weight > BYTES_MAX {
            return false;
        }
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        match self.messages.try_send(text) {
            Ok(()) => true,
            // The socket is gone already and will say so.
            Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
        }
    }

    /// Nothing more will come.
    pub(crate) fn close(self, close: Close) {
        let _ = self.close.send(close);
    }
}

impl Inbox {
    /// A message of so many bytes has been written.
    pub(crate) fn written(&self, length: usize) {
        self.bytes.fetch_sub(length.min(WEIGHT_MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use wire::messages::ids::EndpointId;
    use wire::messages::meeting::{Participant, Snapshot, Update};

    use super::*;
    use crate::socket::PARTICIPANT_BYTES_MAX;

    /// A snapshot with the longest names, 64 graphemes of which JSON has to escape.
    fn snapshot(participants: usize) -> String {
        let name = format!("{}{}", "\"".repeat(64), "x".repeat(wire::text::NAME_BYTES_MAX - 64));
        let shown = |number: usize| Participant {
            id: EndpointId::parse(format!("{number:08x}")).unwrap(),
            name: name.clone(),
            muted_audio: false,
            muted_video: false,
            screen: false,
            hand: false,
        };
        let snapshot = Snapshot { participants: (0..participants).map(shown).collect() };
        serde_json::to_string(&Update::State { seq: u64::MAX, snapshot }).unwrap()
    }

    #[test]
    fn the_largest_snapshot_passes_between_the_joined_and_what_follows() {
        let text = snapshot(500);
        assert!(text.len() > BYTES_MAX && text.len() <= 500 * PARTICIPANT_BYTES_MAX, "{}", text.len());
        let (mut outbox, mut inbox) = pair();
        let (joined, assigned) = ("x".repeat(500), "x".repeat(100));
        let history = (0..16).map(|_| "x".repeat(2500));
        for message in [joined, text.clone(), assigned].into_iter().chain(history) {
            assert!(outbox.push(message.into()));
        }
        assert!(!outbox.push(text.into()), "a second one may not wait");
        while let Ok(text) = inbox.messages.try_recv() {
            inbox.written(text.len());
        }
        assert_eq!(inbox.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_queue_takes_so_many_messages_and_so_many_bytes() {
        let (mut outbox, mut inbox) = pair();
        let pushed = (0..1000).take_while(|_| outbox.push("x".into())).count();
        assert_eq!(pushed, MESSAGES_MAX);
        let text = inbox.messages.try_recv().unwrap();
        inbox.written(text.len());

        let (mut outbox, _inbox) = pair();
        let big = Utf8Bytes::from("x".repeat(100_000));
        assert_eq!((0..10).take_while(|_| outbox.push(big.clone())).count(), 2);
    }
}

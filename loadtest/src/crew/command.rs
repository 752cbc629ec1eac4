//! What the async side tells a crew's thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use mio::Waker;
use tokio::sync::{mpsc as notes, oneshot};

use super::CrewLoad;
use super::relay::RelayPlan;
use crate::engine::caller::Caller;
use crate::engine::ports::Note;
use crate::engine::results::Results;
use crate::phone::PhoneError;
use crate::scenario::Link;

/// One request; answered, if at all, over what it brings along.
pub(super) enum Command {
    /// A seat, and with a relay the way up to it.
    Open(Box<Opening>, oneshot::Sender<Lease>),
    /// The caller takes its seat: from now on it is served.
    Connect(SeatKey, Connecting, oneshot::Sender<Result<(), PhoneError>>),
    /// Close, and forget the seat. Its results count.
    HangUp(SeatKey),
    /// What was measured since the last time.
    TakeResults(mpsc::Sender<Share>),
    /// Hang everybody up and end.
    Stop,
}

/// A seat of one thread; a key that is too old finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeatKey {
    pub(super) index: usize,
    pub(super) generation: u64,
}

/// Holds a seat; dropped, wherever that happens, it gives the seat back.
pub(super) struct Lease {
    pub(super) key: SeatKey,
    pub(super) line: Line,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.line.tell(Command::HangUp(self.key));
    }
}

/// What a seat is made from.
pub(super) struct Opening {
    /// Back to the thread it is sent to.
    pub(super) line: Line,
    pub(super) group: usize,
    pub(super) seed: u64,
    pub(super) link: Option<Link>,
    pub(super) relay: Option<RelayPlan>,
    pub(super) notes: notes::Sender<(Instant, Note)>,
}

/// A caller with an answer.
pub(super) struct Connecting {
    pub(super) caller: Box<Caller>,
    /// Where its server may be reached, best first; at least one.
    pub(super) candidates: Vec<SocketAddr>,
}

/// One thread's part of a sample.
#[derive(Default)]
pub(super) struct Share {
    pub(super) groups: Vec<(usize, Results)>,
    pub(super) load: CrewLoad,
    /// Ports of its UDP sockets, to find them in the kernel's table.
    pub(super) ports: Vec<u16>,
}

/// The way to one thread.
#[derive(Clone)]
pub(super) struct Line {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
}

impl Line {
    pub(super) fn new(commands: mpsc::Sender<Command>, waker: Arc<Waker>) -> Self {
        Self { commands, waker }
    }

    /// Says it and wakes the thread. A thread that has ended drops what it is told; who waits for an answer sees that.
    pub(super) fn tell(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }

    /// Asks for a [`Share`].
    pub(super) fn ask_for_results(&self) -> mpsc::Receiver<Share> {
        let (sender, receiver) = mpsc::channel();
        self.tell(Command::TakeResults(sender));
        receiver
    }
}

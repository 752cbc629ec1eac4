//! The DTLS thread: runs every endpoint's [`Handshake`], so that no worker ever does public-key arithmetic.
//!
//! ```text
//! workers ── Start, Datagram, Stop ──▶ one bounded queue ──▶ Handshake of the endpoint ──▶ reports to its worker
//!            (each endpoint a lane of a few)                  timers
//! ```
//!
//! The thread runs below the workers' priority. A datagram without room is dropped, since DTLS repeats it; a beginning
//! or an end never is. A panic in one handshake fails that handshake alone.

mod counts;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

pub(crate) use self::counts::{FAILURES, HandshakeCounts, HandshakeTotals};
use self::thread::DtlsThread;
use crate::engine::ports::{EndpointKey, HandshakeCommand};
use crate::handshake::Identity;
use crate::worker::{FromWorker, ReportSender};

/// Whose handshake: the worker's index and the endpoint on that worker.
pub(crate) type Owner = (usize, EndpointKey);

/// The workers' end of the DTLS thread.
#[derive(Clone)]
pub(crate) struct Handshakes {
    inbox: SyncSender<Message>,
    depth: Arc<AtomicUsize>,
    counts: Arc<HandshakeCounts>,
    #[cfg(test)]
    unattended: Arc<std::sync::Mutex<Option<Receiver<Message>>>>,
}

/// One endpoint's share of the queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    queued: Arc<AtomicU32>,
}

/// There was no room.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) HandshakeCommand);

/// The receiving end, until the thread takes it.
pub(crate) struct Inbox {
    messages: Receiver<Message>,
    depth: Arc<AtomicUsize>,
    counts: Arc<HandshakeCounts>,
}

struct Message {
    owner: Owner,
    command: HandshakeCommand,
    lane: Lane,
}

impl Handshakes {
    /// The two ends of the queue.
    pub(crate) fn queue() -> (Self, Inbox) {
        Self::queue_of(QUEUE_MAX)
    }

    fn queue_of(length_max: usize) -> (Self, Inbox) {
        let (inbox, messages) = sync_channel(length_max);
        let (depth, counts) = (Arc::new(AtomicUsize::new(0)), Arc::new(HandshakeCounts::default()));
        let handshakes = Self {
            inbox,
            depth: Arc::clone(&depth),
            counts: Arc::clone(&counts),
            #[cfg(test)]
            unattended: Arc::default(),
        };
        (handshakes, Inbox { messages, depth, counts })
    }

    /// Queues a command without waiting.
    ///
    /// # Errors
    /// Gives the command back when the queue is full, or when a datagram finds its endpoint's lane or the datagrams' part of
    /// the queue full.
    pub(crate) fn offer(&self, owner: Owner, command: HandshakeCommand, lane: &Lane) -> Result<(), Refused> {
        let is_datagram = matches!(command, HandshakeCommand::Datagram(_));
        let is_over =
            self.depth() >= DATAGRAMS_MAX || lane.queued.load(Ordering::Relaxed) >= LANE_DATAGRAMS_MAX;
        if is_datagram && is_over {
            return Err(Refused(command));
        }
        // Counted before it is queued, so that the thread never takes away what was not added.
        self.depth.fetch_add(1, Ordering::Relaxed);
        lane.queued.fetch_add(1, Ordering::Relaxed);
        match self.inbox.try_send(Message { owner, command, lane: lane.clone() }) {
            Err(TrySendError::Full(message)) => {
                message.forget(&self.depth);
                Err(Refused(message.command))
            }
            // Taken; or the thread is gone, and with it the process.
            _ => Ok(()),
        }
    }

    /// Commands that wait.
    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// How handshakes ended, since the start.
    pub(crate) fn totals(&self) -> HandshakeTotals {
        self.counts.totals()
    }
}

impl Message {
    fn forget(&self, depth: &AtomicUsize) {
        depth.fetch_sub(1, Ordering::Relaxed);
        self.lane.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inbox {
    /// Starts the thread; it ends when the last `Handshakes` is gone. `reports` are by worker index.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn spawn(
        self,
        identity: Identity,
        reports: Vec<ReportSender>,
        control: mpsc::Sender<FromWorker>,
    ) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("dtls".to_owned()).spawn(move || {
            crate::udp::yield_priority();
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                DtlsThread::new(identity, reports, Arc::clone(&self.counts)).run(&self);
            }));
            if let Err(panic) = ran {
                let why = crate::worker::panic_message(&*panic);
                let _ = control.blocking_send(FromWorker::Failed(format!("dtls thread: {why}")));
            }
        })
    }
}

#[cfg(test)]
impl Handshakes {
    /// A queue that no thread empties.
    pub(crate) fn unattended(length_max: usize) -> Self {
        let (handshakes, inbox) = Self::queue_of(length_max);
        *handshakes.unattended.lock().unwrap() = Some(inbox.messages);
        handshakes
    }

    /// What lies in the queue nobody empties.
    pub(crate) fn take_unattended(&self) -> Vec<(EndpointKey, &'static str)> {
        let unattended = self.unattended.lock().unwrap();
        let messages = unattended.as_ref().unwrap();
        std::iter::from_fn(|| messages.try_recv().ok())
            .map(|message| {
                message.forget(&self.depth);
                let name = match message.command {
                    HandshakeCommand::Start(_) => "start",
                    HandshakeCommand::Datagram(_) => "datagram",
                    HandshakeCommand::Stop => "stop",
                };
                (message.owner.1, name)
            })
            .collect()
    }
}

/// Beginnings and ends of a join storm of 5,000 with their datagrams; 0.6 MiB.
const QUEUE_MAX: usize = 8192;

/// About 50 ms of the thread's work: what waits longer is repeated by the browser anyway.
const DATAGRAMS_MAX: usize = 1024;

/// A browser's largest flight is 4 datagrams, and it repeats one at most every 50 ms.
const LANE_DATAGRAMS_MAX: u32 = 16;

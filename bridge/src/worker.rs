//! A worker: one thread, pinned to one processor, with one socket and one engine. With other workers it only shares rings
//! through which conferences that are too large for one of them cross.
//!
//! ```text
//!            ┌── commands ── channel events ── handshake reports ──┐  bounded queues + eventfd
//!            ▼                                                     │
//! socket ─▶ turn: receive a batch ─▶ engine ─▶ send ring ─▶ socket │
//!            │                         ▲ └──▶ outbox ─▶ control plane (replies, notices, channels), DTLS thread
//!            └─────────────── parts ◀──┴──▶ rings of other workers
//! ```
//!
//! A turn reads the clock once for all it received, hands over a bounded number of everything else, and sends what the
//! engine wrote: at once, or a little later when the worker is busy (`hold`). The worker never waits for another thread: what another thread has no room for stays in the outbox.

mod hold;
pub(crate) mod meter;
mod outbox;
mod parts;
mod ring;
#[cfg(test)]
mod ring_tests;
mod turn;
pub(crate) mod waker;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use wire::messages::ids::{ConferenceId, Epoch};
use wire::messages::link::Command;

use self::meter::{LatencyTotals, empty_histogram};
pub(crate) use self::parts::Door;
use self::ring::RingReceiver;
use self::turn::Turns;
use self::waker::Waker;
use crate::engine::ports::{ChannelEvent, EndpointKey, EngineSettings, HandshakeReport, Output, PartId};
use crate::engine::stats::EngineStats;
use crate::handshakes::Handshakes;
use crate::udp::{MediaSocket, SendCounts};

/// What the control plane asks of a worker.
#[derive(Debug)]
pub(crate) enum WorkerCommand {
    /// Signaling's.
    Link {
        command: Command,
        /// Other workers that hold parts of the conference, or will.
        others: Vec<PartId>,
    },
    /// Another worker holds the conference under a newer epoch.
    EndStale(ConferenceId, Epoch),
    /// The operator wants the state tree.
    Debug(oneshot::Sender<Value>),
    /// The process ends.
    Stop,
}

/// What a worker tells the control plane.
#[derive(Debug)]
pub(crate) enum FromWorker {
    /// Something the engine wants done; never a handshake command.
    Output(usize, Output),
    /// A thread is gone that the bridge cannot be without: which, and why.
    Failed(String),
}

/// The control plane's end of a worker.
pub(crate) struct Worker {
    commands: mpsc::Sender<WorkerCommand>,
    channel_events: mpsc::Sender<(EndpointKey, ChannelEvent)>,
    waker: Arc<Waker>,
    snapshot: watch::Receiver<Arc<WorkerSnapshot>>,
    clock: TickClock,
}

/// Where the DTLS thread leaves what it has for a worker.
#[derive(Clone)]
pub(crate) struct ReportSender {
    reports: mpsc::Sender<(EndpointKey, HandshakeReport)>,
    waker: Arc<Waker>,
}

/// Everything a worker thread takes with it.
pub(crate) struct WorkerParts {
    pub(crate) index: usize,
    pub(crate) socket: MediaSocket,
    pub(crate) engine: EngineSettings,
    pub(crate) mailbox: Mailbox,
    /// Of all workers, by index.
    pub(crate) doors: Arc<[Door]>,
    pub(crate) handshakes: Handshakes,
    pub(crate) control: mpsc::Sender<FromWorker>,
    /// The processor to stay on.
    pub(crate) processor: Option<usize>,
    /// How long a busy worker may keep a datagram back for others to the same receiver.
    pub(crate) send_hold_max: Duration,
}

/// The two ends of a queue.
type Queue<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

/// A worker's queues, made before its thread so that others can be given their ends.
pub(crate) struct Mailbox {
    waker: Arc<Waker>,
    commands: Queue<WorkerCommand>,
    channel_events: Queue<(EndpointKey, ChannelEvent)>,
    reports: Queue<(EndpointKey, HandshakeReport)>,
    door: Door,
    rings: mpsc::Receiver<(PartId, RingReceiver)>,
}

/// One worker's numbers as of its last full second.
#[derive(Debug, Clone)]
pub(crate) struct WorkerSnapshot {
    /// When it was taken.
    pub(crate) at: Instant,
    /// The engine's.
    pub(crate) engine: EngineStats,
    /// Share of the last second in which the worker did not wait.
    pub(crate) busy: f64,
    /// RTP packets of the last second, received and sent.
    pub(crate) packets_per_s: u64,
    /// Forwarding latency of the last seconds, microseconds.
    pub(crate) latency: Histogram<u32>,
    /// Forwarding latency since the start.
    pub(crate) latency_totals: LatencyTotals,
    /// What became of datagrams sent.
    pub(crate) sends: SendCounts,
    /// Datagrams the socket gave.
    pub(crate) datagrams_received: u64,
    /// Datagrams longer than any browser's.
    pub(crate) truncated: u64,
    /// Datagrams the kernel dropped because the worker was late.
    pub(crate) overflowed: u64,
    /// Handshake datagrams over an endpoint's share, or with the DTLS thread's queue full.
    pub(crate) handshakes_refused: u64,
    /// Channel messages dropped because the control plane was far behind.
    pub(crate) channel_messages_dropped: u64,
}

impl WorkerSnapshot {
    pub(crate) fn empty(now: Instant) -> Self {
        Self {
            at: now,
            engine: EngineStats::default(),
            busy: 0.0,
            packets_per_s: 0,
            latency: empty_histogram(),
            latency_totals: LatencyTotals::default(),
            sends: SendCounts::default(),
            datagrams_received: 0,
            truncated: 0,
            overflowed: 0,
            handshakes_refused: 0,
            channel_messages_dropped: 0,
        }
    }
}

impl Mailbox {
    /// The queues of one of so many workers.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub(crate) fn new(workers: usize) -> std::io::Result<Self> {
        let waker = Arc::new(Waker::new()?);
        let (door, rings) = Door::new(workers, Arc::clone(&waker));
        Ok(Self {
            waker,
            door,
            rings,
            commands: mpsc::channel(COMMANDS_MAX),
            channel_events: mpsc::channel(CHANNEL_EVENTS_MAX),
            reports: mpsc::channel(REPORTS_MAX),
        })
    }

    /// What the DTLS thread has left, for tests without a worker.
    #[cfg(test)]
    pub(crate) fn take_reports(&mut self) -> Vec<(EndpointKey, HandshakeReport)> {
        std::iter::from_fn(|| self.reports.1.try_recv().ok()).collect()
    }

    /// The other workers' end.
    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// The DTLS thread's end.
    pub(crate) fn report_sender(&self) -> ReportSender {
        ReportSender { reports: self.reports.0.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl ReportSender {
    /// Leaves a report that must arrive; waits for room, which a live worker makes within a turn.
    pub(crate) fn send(&self, endpoint: EndpointKey, report: HandshakeReport) {
        // A worker that is gone needs no reports.
        let _ = self.reports.blocking_send((endpoint, report));
        self.waker.wake();
    }

    /// Leaves a datagram, unless there is no room: DTLS repeats what was lost.
    pub(crate) fn send_datagram(&self, endpoint: EndpointKey, datagram: Vec<u8>) {
        let _ = self.reports.try_send((endpoint, HandshakeReport::Transmit(datagram)));
        self.waker.wake();
    }
}

impl Worker {
    /// Starts the thread. It ends by `Stop`, or when the `Worker` is dropped.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn spawn(parts: WorkerParts) -> std::io::Result<(Self, JoinHandle<()>)> {
        let now = Instant::now();
        let (publish, snapshot) = watch::channel(Arc::new(WorkerSnapshot::empty(now)));
        let clock = TickClock::new(now);
        let worker = Self {
            commands: parts.mailbox.commands.0.clone(),
            channel_events: parts.mailbox.channel_events.0.clone(),
            waker: Arc::clone(&parts.mailbox.waker),
            snapshot,
            clock: clock.clone(),
        };
        let (index, control) = (parts.index, parts.control.clone());
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            // Contained only to be told: a worker without its engine cannot go on, and the process ends by this report.
            let ended = catch_unwind(AssertUnwindSafe(|| Turns::new(parts, publish, clock).run()));
            let why = match ended {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("media socket: {error}"),
                Err(panic) => panic_message(&*panic),
            };
            let _ = control.blocking_send(FromWorker::Failed(format!("worker {index}: {why}")));
        })?;
        Ok((worker, thread))
    }

    /// Hands over a command; waits while the worker has enough of them.
    pub(crate) async fn command(&self, command: WorkerCommand) {
        // A worker that is gone ends the process; nobody waits for an answer then.
        let _ = self.commands.send(command).await;
        self.waker.wake();
    }

    /// Room for one channel event; waits while the worker has enough of them. None when the worker is gone.
    pub(crate) async fn reserve_channel_event(&self) -> Option<ChannelEventPermit<'_>> {
        let permit = self.channel_events.reserve().await.ok()?;
        Some(ChannelEventPermit { permit, waker: &self.waker })
    }

    /// Its last full second.
    pub(crate) fn snapshot(&self) -> Arc<WorkerSnapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// How long ago it last went round.
    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        self.clock.silent_for(now)
    }
}

/// Room in a worker's queue, so that an event can be queued without waiting: for order under a lock.
pub(crate) struct ChannelEventPermit<'a> {
    permit: mpsc::Permit<'a, (EndpointKey, ChannelEvent)>,
    waker: &'a Waker,
}

impl ChannelEventPermit<'_> {
    pub(crate) fn send(self, endpoint: EndpointKey, event: ChannelEvent) {
        self.permit.send((endpoint, event));
        self.waker.wake();
    }
}

/// When a worker last went round, readable from any thread.
#[derive(Clone)]
struct TickClock {
    start: Instant,
    ticked_ms: Arc<AtomicU64>,
}

impl TickClock {
    fn new(start: Instant) -> Self {
        Self { start, ticked_ms: Arc::new(AtomicU64::new(0)) }
    }

    fn tick(&self, now: Instant) {
        self.ticked_ms.store(self.ms(now), Ordering::Relaxed);
    }

    fn silent_for(&self, now: Instant) -> Duration {
        Duration::from_millis(self.ms(now).saturating_sub(self.ticked_ms.load(Ordering::Relaxed)))
    }

    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// Signaling's commands are answered in the order they came; more than this in flight wait on signaling's own socket.
const COMMANDS_MAX: usize = 256;

/// One event from each of that many channels, or a burst of them.
const CHANNEL_EVENTS_MAX: usize = 4096;

/// A join storm's flights; the DTLS thread makes about 5 reports a millisecond at most.
const REPORTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_goes_round_is_not_silent() {
        let start = Instant::now();
        let clock = TickClock::new(start);
        let later = start + Duration::from_secs(3);
        assert_eq!(clock.silent_for(later), Duration::from_secs(3));
        clock.tick(later);
        assert_eq!(clock.silent_for(later + Duration::from_millis(20)), Duration::from_millis(20));
    }

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        for (panic, text) in [
            (catch_unwind(|| panic!("plain")).unwrap_err(), "plain"),
            (catch_unwind(|| panic!("{}", "formatted")).unwrap_err(), "formatted"),
            (catch_unwind(|| std::panic::panic_any(7)).unwrap_err(), "a panic without a message"),
        ] {
            assert_eq!(panic_message(&*panic), text);
        }
    }
}

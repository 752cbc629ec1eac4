//! Crews: threads that own light callers, with a socket each.
//!
//! ```text
//!   control (async)                                      crew thread
//!   CrewPhone ──offer: Caller::new                ┌──────────────────────────────────────────────┐
//!      │  └─────answer: handle_answer             │ epoll ─► seat ─► leg ─► (link) ─► Caller      │
//!      ├──Command::Open, Connect, HangUp─────────►│ timers ─► seat ─► Caller ─► (link) ─► leg     │
//!      ◄──notes───────────────────────────────────│ results by group, taken each second           │
//!                                                 └──────────────────────────────────────────────┘
//! ```
//!
//! One datagram, a straight walk: epoll says that a seat's socket has something; the leg reads all of it (recvmmsg with
//! GRO, or a stream) and unwraps TURN; the link, if there is one, delays or drops; the caller takes it with the instant at
//! which the kernel got it; what the caller wants sent goes the same way back, equal datagrams as one GSO message.
//!
//! Invariants: a caller stays on its thread; no lock and no wait on the way of a packet; a stream that does not move has a
//! bounded queue and costs nobody else anything; a datagram that could not be sent is counted.
//!
//! Knows nothing about conferences, SDP or what the packets carry.

mod command;
mod drops;
mod leg;
mod limits;
mod phone;
mod relay;
mod seat;
mod thread;
mod timers;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::command::{Command, Line};
use self::drops::KernelDrops;
use self::relay::TrustStore;
use crate::engine::caller::Identity;
use crate::engine::ports::CallerPlan;
use crate::engine::results::Results;
use crate::scenario::{Link, MediaPath, TurnServer};

pub use self::phone::CrewPhone;
pub(crate) use self::relay::credentials;

/// How crews are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrewSettings {
    /// Threads; at least one. More than processors help nobody.
    pub threads: usize,
}

/// The way of one caller's media.
#[derive(Debug, Clone)]
pub struct PathPlan {
    /// What carries it.
    pub path: MediaPath,
    /// The relay; none: what signaling names.
    pub turn: Option<TurnServer>,
    /// What the way does to datagrams. Above a relay's stream whole datagrams are dropped or delayed, too.
    pub link: Option<Link>,
    /// Certificates to trust beside the system's, PEM, for relays over TLS.
    pub ca: Option<PathBuf>,
}

/// Direct, and nothing on the way.
impl Default for PathPlan {
    fn default() -> Self {
        Self { path: MediaPath::Direct, turn: None, link: None, ca: None }
    }
}

/// What the crews had to do since the last sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CrewLoad {
    /// Share of time in which the busiest thread was not waiting for something to do, 0.0 to 1.0.
    pub busy: f64,
    /// Datagrams that the kernel dropped because nobody fetched them in time.
    pub kernel_drops: u64,
    /// Datagrams that callers wanted to send and that were not sent: full socket buffers, streams that do not move.
    pub unsent: u64,
    /// Callers with a connection.
    pub callers: usize,
    /// The longest that anything waited for its thread: a timer behind its time, a datagram in its socket; microseconds.
    /// Delays are measured by the kernel's arrival time and do not contain it.
    pub late_us_max: u64,
    /// The smallest receive buffer that the kernel has granted; bytes, as the kernel counts. None without callers.
    pub receive_buffer_bytes: Option<usize>,
}

/// What happened since the last sample.
#[derive(Debug, Default)]
pub struct CrewSample {
    /// By group, ascending; groups that never had a caller are left out.
    pub groups: Vec<(usize, Results)>,
    /// What it cost.
    pub load: CrewLoad,
}

/// All threads with light callers of this process.
pub struct Crews {
    lines: Vec<Line>,
    threads: Vec<JoinHandle<()>>,
    next: AtomicUsize,
    identity: Arc<Identity>,
    trust: Arc<TrustStore>,
    /// Never locked on a packet's way: only samples do.
    drops: Mutex<KernelDrops>,
}

impl Crews {
    /// Starts the threads, and raises the limit of open files as far as the system allows.
    pub fn start(settings: CrewSettings) -> io::Result<Self> {
        limits::raise_open_files();
        let identity = Identity::generate().map_err(|error| io::Error::other(error.to_string()))?;
        let mut crews = Self {
            lines: Vec::new(),
            threads: Vec::new(),
            next: AtomicUsize::new(0),
            identity: Arc::new(identity),
            trust: Arc::new(TrustStore::default()),
            drops: Mutex::default(),
        };
        for number in 0..settings.threads.max(1) {
            let (line, thread) = thread::start(number)?;
            crews.lines.push(line);
            crews.threads.push(thread);
        }
        Ok(crews)
    }

    /// A phone for one caller; the threads take turns. `group` is the index under which its results are summed.
    pub fn phone(&self, plan: CallerPlan, path: PathPlan, group: usize) -> CrewPhone {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.lines.len();
        let shared = phone::Shared {
            line: self.lines[number].clone(),
            identity: Arc::clone(&self.identity),
            trust: Arc::clone(&self.trust),
        };
        CrewPhone::new(shared, plan, path, group)
    }

    /// Takes what was measured since the last sample. Waits for the threads: a few milliseconds at most, unless one is
    /// stuck, which is given up after a second and counts as wholly busy; what it has measured, and what the kernel has
    /// dropped, is in the next sample then.
    pub fn sample(&self) -> CrewSample {
        let answers: Vec<_> = self.lines.iter().map(Line::ask_for_results).collect();
        let mut sample = CrewSample::default();
        let (mut ports, mut is_whole) = (Vec::new(), true);
        for answer in answers {
            let Ok(share) = answer.recv_timeout(SAMPLE_PATIENCE) else {
                (sample.load.busy, is_whole) = (1.0, false);
                continue;
            };
            sample.load.add(&share.load);
            ports.extend(share.ports);
            for (group, results) in share.groups {
                match sample.groups.binary_search_by_key(&group, |(index, _)| *index) {
                    Ok(at) => sample.groups[at].1.add(&results),
                    Err(at) => sample.groups.insert(at, (group, results)),
                }
            }
        }
        // Sockets that are left out once would count anew, with all that they ever dropped.
        if is_whole {
            sample.load.kernel_drops =
                self.drops.lock().unwrap_or_else(PoisonError::into_inner).since_last(&ports);
        }
        sample
    }

    /// Hangs everybody up and ends the threads.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Crews {
    fn drop(&mut self) {
        for line in &self.lines {
            line.tell(Command::Stop);
        }
        for thread in self.threads.drain(..) {
            // A thread that has panicked has said so on stderr; there is nothing left to end.
            let _ = thread.join();
        }
    }
}

impl CrewLoad {
    /// Two threads side by side: their sums, and the worse of their extremes.
    fn add(&mut self, other: &Self) {
        self.busy = self.busy.max(other.busy);
        self.kernel_drops += other.kernel_drops;
        self.unsent += other.unsent;
        self.callers += other.callers;
        self.late_us_max = self.late_us_max.max(other.late_us_max);
        let smaller = self.receive_buffer_bytes.into_iter().chain(other.receive_buffer_bytes).min();
        self.receive_buffer_bytes = smaller;
    }
}

/// A thread answers between two batches, which take milliseconds.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(1);

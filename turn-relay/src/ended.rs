//! One line of log for each allocation that has ended, within a budget: thousands that end together are a few lines and
//! a number.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::engine::views::{AllocationRecord, EndCause};

/// What is remembered of allocations that have ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    log_ids: LogIds,
    /// Indexed by the cause, as declared.
    counts: [AtomicU64; CAUSES.len()],
}

impl Ended {
    /// How many ended, by cause.
    pub(crate) fn counts(&self) -> [(&'static str, u64); CAUSES.len()] {
        CAUSES.map(|cause| (cause.as_str(), self.counts[cause as usize].load(Ordering::Relaxed)))
    }

    /// What stands for a user wherever an operator looks.
    pub(crate) fn log_id(&self, user: &str) -> LogId {
        self.log_ids.of(user)
    }

    /// Writes the lines until nobody has anything to say any more.
    pub(crate) async fn write(self: Arc<Self>, mut records: mpsc::Receiver<AllocationRecord>) {
        let mut budget = Budget::new(Instant::now());
        while let Some(record) = records.recv().await {
            self.counts[record.cause as usize].fetch_add(1, Ordering::Relaxed);
            match budget.spend(Instant::now()) {
                Spent::Line => self.line(&record),
                Spent::LineAfter(suppressed) => {
                    tracing::info!(suppressed, "allocations ended, too many for a line each");
                    self.line(&record);
                }
                Spent::Nothing => {}
            }
        }
    }

    fn line(&self, record: &AllocationRecord) {
        let traffic = &record.traffic;
        tracing::info!(
            user = %self.log_id(&record.user),
            transport = record.transport.as_str(),
            cause = record.cause.as_str(),
            lived_s = record.lived.as_secs(),
            to_peer_packets = traffic.to_peer_packets,
            to_peer_bytes = traffic.to_peer_bytes,
            to_client_packets = traffic.to_client_packets,
            to_client_bytes = traffic.to_client_bytes,
            dropped = traffic.dropped,
            "an allocation ended"
        );
    }
}

/// Users as they are shown: the same all through a process, and telling nothing to somebody who has only the log, not
/// even when guessing names.
#[derive(Debug, Default)]
struct LogIds {
    key: RandomState,
}

/// Sixteen hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogId(u64);

impl LogIds {
    fn of(&self, user: &str) -> LogId {
        LogId(self.key.hash_one(user))
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Lines of the current second.
#[derive(Debug)]
struct Budget {
    second_began: Instant,
    left: u32,
    suppressed: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Spent {
    Line,
    /// After so many that got none.
    LineAfter(u64),
    Nothing,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { second_began: now, left: LINES_PER_S, suppressed: 0 }
    }

    fn spend(&mut self, now: Instant) -> Spent {
        if now.saturating_duration_since(self.second_began) >= Duration::from_secs(1) {
            (self.second_began, self.left) = (now, LINES_PER_S);
        }
        if self.left == 0 {
            self.suppressed += 1;
            return Spent::Nothing;
        }
        self.left -= 1;
        match std::mem::take(&mut self.suppressed) {
            0 => Spent::Line,
            suppressed => Spent::LineAfter(suppressed),
        }
    }
}

/// In the order of their declaration.
const CAUSES: [EndCause; 6] = [
    EndCause::Expired,
    EndCause::Released,
    EndCause::ClientGone,
    EndCause::SocketLost,
    EndCause::Revoked,
    EndCause::Stopped,
];

const _: () = assert!(EndCause::Stopped as usize == CAUSES.len() - 1, "each cause has its place");

/// Leaves room for everything else below the fifty lines a second that a process may write.
const LINES_PER_S: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_ends_is_a_few_lines_and_a_number() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let lines = (0..1000).filter(|_| budget.spend(start) != Spent::Nothing).count();
        assert_eq!(lines, LINES_PER_S as usize);
        let later = start + Duration::from_secs(1);
        assert_eq!(budget.spend(later), Spent::LineAfter(1000 - u64::from(LINES_PER_S)));
        assert_eq!(budget.spend(later), Spent::Line);
    }

    #[test]
    fn every_cause_is_counted_under_its_own_name() {
        for (place, cause) in CAUSES.into_iter().enumerate() {
            assert_eq!(cause as usize, place);
        }
    }

    #[test]
    fn a_user_is_the_same_in_one_process_and_another_in_the_next() {
        let (one, other) = (Ended::default(), Ended::default());
        assert_eq!(one.log_id("anna"), one.log_id("anna"));
        assert_ne!(one.log_id("anna"), one.log_id("ben"));
        assert_ne!(one.log_id("anna"), other.log_id("anna"));
    }
}

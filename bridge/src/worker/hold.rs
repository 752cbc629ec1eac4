//! How long what is written may wait to be sent, so that several packets for one receiver travel as one message.
//!
//! ```text
//! load      0 ───────── HOLD_FROM ───────── HOLD_FULLY ───── 1
//! may wait  0 ───────── 0 ─────── rising ── hold_max ─────── hold_max
//! ```
//!
//! A worker with time to spare sends at once: nothing is gained by being late. A busy one waits a little with what it has,
//! without looking at its socket meanwhile; then it takes all that has come in one go, and each receiver's packets out of
//! several frames leave together. That makes a packet cheaper just when packets are many.

use std::time::{Duration, Instant};

/// What waits in the send ring: since when, and how much.
pub(crate) struct Hold {
    /// The longest that a datagram waits for others.
    max: Duration,
    /// When the causes of what waits were received, oldest first, and how many datagrams each instant's are.
    waiting: Vec<(Instant, u64)>,
    /// Sum of these.
    counted: usize,
}

impl Hold {
    /// Nothing waits.
    pub(crate) fn new(max: Duration) -> Self {
        Self { max, waiting: Vec::with_capacity(TURNS_FIRST), counted: 0 }
    }

    /// The ring holds `datagrams` by now; what is new of them was caused by what was received at `received_at`.
    pub(crate) fn note(&mut self, received_at: Instant, datagrams: usize) {
        let new = datagrams.saturating_sub(self.counted);
        if new == 0 {
            return;
        }
        self.counted = datagrams;
        match self.waiting.last_mut() {
            Some((at, count)) if *at == received_at => *count += new as u64,
            _ => self.waiting.push((received_at, new as u64)),
        }
    }

    /// Until when what waits may go on waiting, at this load; none when nothing does.
    pub(crate) fn deadline(&self, load: f64) -> Option<Instant> {
        let (oldest, _) = self.waiting.first()?;
        Some(*oldest + self.allowed(load))
    }

    /// Until when it may wait while there is still something to take from the socket: that is no idle waiting.
    pub(crate) fn deadline_at_work(&self, load: f64) -> Option<Instant> {
        let (oldest, _) = self.waiting.first()?;
        Some(*oldest + self.allowed(load).max(AT_WORK))
    }

    /// It was sent: says when each part's cause was received, and how many datagrams it was.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (Instant, u64)> + '_ {
        self.counted = 0;
        self.waiting.drain(..)
    }

    fn allowed(&self, load: f64) -> Duration {
        self.max.mul_f64(((load - HOLD_FROM) / (HOLD_FULLY - HOLD_FROM)).clamp(0.0, 1.0))
    }
}

/// Below this share of its time a worker has nothing to gain.
const HOLD_FROM: f64 = 0.4;

/// From here on every saved system call is a packet more that it can carry.
const HOLD_FULLY: f64 = 0.7;

/// The packets of a burst arrive while its first one is being sealed for everybody. Looking for them before sending makes
/// them one message for each receiver, and delays the first by no more than their own sealing.
const AT_WORK: Duration = Duration::from_micros(250);

/// A few turns are held together; more make room once.
const TURNS_FIRST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn a_worker_with_time_to_spare_sends_at_once_and_a_busy_one_up_to_its_bound_later() {
        let start = Instant::now();
        let mut hold = Hold::new(us(1_000));
        assert_eq!((hold.deadline(1.0), hold.deadline_at_work(1.0)), (None, None));
        hold.note(start, 3);
        for (load, allowed) in [(0.0, 0), (0.4, 0), (0.55, 500), (0.7, 1_000), (1.0, 1_000)] {
            let deadline = hold.deadline(load).unwrap();
            assert!(deadline.duration_since(start).abs_diff(us(allowed)) < us(1), "{load}");
        }
        assert_eq!(hold.deadline_at_work(0.0), Some(start + us(250)));
        assert_eq!(hold.deadline_at_work(0.9), Some(start + us(1_000)));
    }

    #[test]
    fn the_bound_counts_from_the_oldest_and_each_part_from_its_own() {
        let start = Instant::now();
        let mut hold = Hold::new(us(1_000));
        hold.note(start, 2);
        hold.note(start + us(300), 2);
        hold.note(start + us(400), 7);
        hold.note(start + us(400), 8);
        assert_eq!(hold.deadline(1.0), Some(start + us(1_000)));
        assert_eq!(hold.take().collect::<Vec<_>>(), [(start, 2), (start + us(400), 6)]);
        assert_eq!(hold.deadline(1.0), None);
        hold.note(start + us(900), 1);
        assert_eq!(hold.deadline(1.0), Some(start + us(1_900)));
    }

    #[test]
    fn without_a_bound_nothing_waits_for_others() {
        let start = Instant::now();
        let mut hold = Hold::new(Duration::ZERO);
        hold.note(start, 1);
        assert_eq!(hold.deadline(1.0), Some(start));
    }
}

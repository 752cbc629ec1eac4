//! Which packets of a received stream are missing, and when to ask the sender for them again.
//!
//! Invariants: at most `MISSING_MAX` sequence numbers are held, in ascending order; each is asked for at most
//! `TRIES_MAX` times and forgotten `GIVE_UP` after it was missed; whenever something is forgotten unrepaired the caller
//! is told, because then only a key frame helps.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a packet's arrival meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one, or the first.
    InOrder,
    /// Newer than the next one: those between are missing from now on.
    Gap,
    /// One that was missing.
    Recovered,
    /// Neither new nor missing: a duplicate, or given up before.
    Late,
    /// So far ahead that asking again is hopeless: begin anew, with a key frame.
    Reset,
}

/// The losses of one received stream.
#[derive(Debug, Default)]
pub(crate) struct LossTracker {
    newest: Option<u64>,
    /// Ascending by sequence number, and therefore by `since`.
    missing: VecDeque<Missing>,
    /// The earliest `due` among them.
    next_due: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    ext_seq: u64,
    since: Instant,
    due: Instant,
    tries: u32,
}

impl LossTracker {
    /// Notes that packet `ext_seq` arrived, directly or as a retransmission.
    pub(crate) fn handle_packet(&mut self, now: Instant, ext_seq: u64) -> Arrival {
        let Some(newest) = self.newest else {
            self.newest = Some(ext_seq);
            return Arrival::InOrder;
        };
        if ext_seq <= newest {
            return self.fill(ext_seq);
        }
        self.newest = Some(ext_seq);
        if ext_seq == newest + 1 {
            return Arrival::InOrder;
        }
        let lost = ext_seq - newest - 1;
        if lost > (MISSING_MAX - self.missing.len()) as u64 {
            self.missing.clear();
            self.next_due = None;
            return Arrival::Reset;
        }
        let due = now + REORDER_WAIT;
        self.missing.extend((newest + 1..ext_seq).map(|ext_seq| Missing {
            ext_seq,
            since: now,
            due,
            tries: 0,
        }));
        self.next_due = self.next_due.min(Some(due)).or(Some(due));
        Arrival::Gap
    }

    /// Appends to `out` the sequence numbers that are to be asked for now, ascending. `round_trip` paces repetitions.
    /// True when at least one was given up instead: ask for a key frame.
    pub(crate) fn nacks(&mut self, now: Instant, round_trip: Duration, out: &mut Vec<u16>) -> bool {
        if self.next_due.is_none_or(|due| now < due) {
            return false;
        }
        let pause = round_trip.clamp(RETRY_PAUSE_MIN, RETRY_PAUSE_MAX);
        let before = self.missing.len();
        self.missing.retain(|missing| missing.tries < TRIES_MAX && now < missing.since + GIVE_UP);
        for missing in self.missing.iter_mut().filter(|missing| missing.due <= now) {
            out.push(missing.ext_seq as u16);
            missing.tries += 1;
            // The last try, too, is given its time before the packet is given up.
            missing.due = (now + pause).min(missing.since + GIVE_UP);
        }
        self.next_due = self.missing.iter().map(|missing| missing.due).min();
        self.missing.len() < before
    }

    /// When `nacks` has something to do. A peek.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.next_due
    }

    /// How many packets are missing and not yet given up.
    #[cfg(test)]
    fn missing(&self) -> usize {
        self.missing.len()
    }

    fn fill(&mut self, ext_seq: u64) -> Arrival {
        let Ok(index) = self.missing.binary_search_by_key(&ext_seq, |missing| missing.ext_seq) else {
            return Arrival::Late;
        };
        self.missing.remove(index);
        if self.missing.is_empty() {
            self.next_due = None;
        }
        Arrival::Recovered
    }
}

/// More losses than this in a row are an outage: the retransmissions would come too late and choke what follows.
const MISSING_MAX: usize = 256;

/// A packet overtaken by its neighbour arrives within this time; asking at once would fetch it twice.
const REORDER_WAIT: Duration = Duration::from_millis(5);

/// An answer takes a round trip; below this the sender would see one request twice in its own pacing interval.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);

/// A round-trip time above this is congestion or a lie: wait no longer, only `TRIES_MAX` requests are made anyway.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// A browser keeps what it sent for about this long, and a receiver does not wait longer for a picture.
const GIVE_UP: Duration = Duration::from_secs(1);

/// A packet lost so often will not come; each request costs upstream bandwidth.
const TRIES_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn asked(tracker: &mut LossTracker, now: Instant) -> Vec<u16> {
        let mut out = Vec::new();
        tracker.nacks(now, RTT, &mut out);
        out
    }

    #[test]
    fn a_gap_is_asked_for_once_per_round_trip() {
        let (start, mut tracker) = (Instant::now(), LossTracker::default());
        assert_eq!(tracker.handle_packet(start, 10), Arrival::InOrder);
        assert_eq!(tracker.handle_packet(start, 13), Arrival::Gap);
        assert_eq!(tracker.next_timeout(), Some(start + ms(5)));
        assert_eq!(asked(&mut tracker, start + ms(4)), [0; 0]);
        assert_eq!(asked(&mut tracker, start + ms(5)), [11, 12]);
        assert_eq!(asked(&mut tracker, start + ms(54)), [0; 0]);
        assert_eq!(tracker.handle_packet(start + ms(54), 11), Arrival::Recovered);
        assert_eq!(asked(&mut tracker, start + ms(55)), [12]);
    }

    #[test]
    fn an_overtaken_packet_is_never_asked_for() {
        let (start, mut tracker) = (Instant::now(), LossTracker::default());
        tracker.handle_packet(start, 10);
        tracker.handle_packet(start, 12);
        assert_eq!(tracker.handle_packet(start + ms(2), 11), Arrival::Recovered);
        assert_eq!((tracker.next_timeout(), tracker.missing()), (None, 0));
        assert_eq!(tracker.handle_packet(start + ms(3), 11), Arrival::Late);
    }

    #[test]
    fn a_packet_that_never_comes_is_given_up_after_a_second_with_a_word() {
        let (start, mut tracker) = (Instant::now(), LossTracker::default());
        tracker.handle_packet(start, 10);
        tracker.handle_packet(start, 12);
        let (mut out, mut given_up_at) = (Vec::new(), None);
        while let Some(due) = tracker.next_timeout() {
            if tracker.nacks(due, ms(0), &mut out) {
                given_up_at = Some(due);
            }
        }
        assert_eq!(out.len(), TRIES_MAX as usize);
        assert!(given_up_at.unwrap() <= start + GIVE_UP);
        assert_eq!(tracker.missing(), 0);
    }

    #[test]
    fn a_slow_round_trip_still_ends_within_a_second() {
        let (start, mut tracker) = (Instant::now(), LossTracker::default());
        tracker.handle_packet(start, 10);
        tracker.handle_packet(start, 12);
        let (mut out, mut last) = (Vec::new(), start);
        while let Some(due) = tracker.next_timeout() {
            tracker.nacks(due, Duration::from_secs(3_600), &mut out);
            last = due;
        }
        assert_eq!((out.as_slice(), last), ([11, 11].as_slice(), start + GIVE_UP));
    }

    #[test]
    fn a_jump_by_half_the_sequence_space_resets_instead_of_asking() {
        let (start, mut tracker) = (Instant::now(), LossTracker::default());
        tracker.handle_packet(start, 10);
        tracker.handle_packet(start, 12);
        assert_eq!(tracker.handle_packet(start, 12 + 32_767), Arrival::Reset);
        assert_eq!((tracker.missing(), tracker.next_timeout()), (0, None));
        assert_eq!(tracker.handle_packet(start, 12 + 32_768), Arrival::InOrder);
    }

    #[test]
    fn losses_across_the_wrap_are_asked_for_by_their_16_bits() {
        let (start, mut tracker) = (Instant::now(), LossTracker::default());
        tracker.handle_packet(start, 65_534);
        tracker.handle_packet(start, 65_537);
        assert_eq!(asked(&mut tracker, start + ms(5)), [65_535, 0]);
    }

    proptest! {
        #[test]
        fn memory_and_requests_stay_bounded(steps in prop::collection::vec((0_u64..3_000, 0_u64..30), 1..300)) {
            let (mut now, mut tracker, mut out) = (Instant::now(), LossTracker::default(), Vec::new());
            for (ext_seq, wait) in steps {
                now += ms(wait);
                tracker.handle_packet(now, ext_seq);
                prop_assert!(tracker.missing() <= MISSING_MAX);
                prop_assert_eq!(tracker.next_timeout().is_some(), tracker.missing() > 0);
                out.clear();
                tracker.nacks(now, RTT, &mut out);
                prop_assert!(out.len() <= MISSING_MAX);
            }
        }
    }
}

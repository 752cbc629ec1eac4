//! Transport-wide congestion control as a browser takes part in it (draft-holmer-rmcat-transport-wide-cc-extensions-01):
//! numbers in what is sent, and what arrived when.
//!
//! Invariants: every arrival is told once as such; a number is called missing only when one behind it has arrived and it
//! has not been told before; at most [`WAITING_MAX`] arrivals wait.

use std::time::{Duration, Instant};

use wire::rtcp::{Arrival, FeedbackTarget, TransportFeedback};
use wire::rtp::{SequenceExtender, Ssrc};

/// Arrivals of one caller's transport, until they are told.
#[derive(Debug)]
pub(crate) struct Arrivals {
    epoch: Instant,
    extender: SequenceExtender,
    /// Ascending by number, each once.
    waiting: Vec<Noted>,
    /// The furthest number told.
    told: Option<Noted>,
    due: Option<Instant>,
    feedback_count: u8,
    /// Any stream of the transport: the last heard.
    media: Ssrc,
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    number: u64,
    at_us: i64,
}

impl Arrivals {
    /// Nothing has arrived. Times are told as from `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            extender: SequenceExtender::new(),
            waiting: Vec::new(),
            told: None,
            due: None,
            feedback_count: 0,
            media: Ssrc(0),
        }
    }

    /// Notes a packet of `media` with this number.
    pub(crate) fn take(&mut self, now: Instant, media: Ssrc, sequence: u16) {
        if self.waiting.len() == WAITING_MAX {
            return;
        }
        self.media = media;
        let number = self.extender.extend(sequence);
        let at_us = now.saturating_duration_since(self.epoch).as_micros() as i64;
        // Nearly every packet comes behind all others.
        let place = match self.waiting.last() {
            Some(last) if last.number >= number => {
                self.waiting.binary_search_by_key(&number, |noted| noted.number)
            }
            _ => Err(self.waiting.len()),
        };
        // A number that waits already was used twice by the server: the first arrival is the one to tell.
        if let Err(place) = place {
            self.waiting.insert(place, Noted { number, at_us });
            let due = if self.waiting.len() == WAITING_MAX { now } else { now + INTERVAL };
            self.due = Some(self.due.map_or(due, |before| before.min(due)));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Appends the feedback that is due, in as many packets as it needs, and says how many those are.
    pub(crate) fn write_due(&mut self, now: Instant, sender: Ssrc, out: &mut Vec<u8>) -> u64 {
        if self.due.is_none_or(|due| now < due) {
            return 0;
        }
        self.due = None;
        let mut packets = 0;
        while !self.waiting.is_empty() {
            let late = self.late_run();
            let before = if late == 0 { self.told_before_hole() } else { None };
            let end = if late == 0 { self.waiting.len().min(PACKET_ARRIVALS_MAX) } else { late };
            let run: Vec<Arrival> =
                before.iter().chain(&self.waiting[..end]).map(|noted| noted.arrival()).collect();
            let target = FeedbackTarget { sender, media: self.media, feedback_count: self.feedback_count };
            let written = TransportFeedback::write_arrivals(out, target, &run);
            self.feedback_count = self.feedback_count.wrapping_add(1);
            packets += 1;
            // The first of `run` always fits; if it was only there to show a hole, and nothing else fitted, the next one
            // goes without the hole.
            let fresh = written - usize::from(before.is_some());
            let last = self.waiting.drain(..fresh).next_back();
            if late == 0 {
                self.told = last;
            }
        }
        packets
    }

    /// How many waiting arrivals, one directly behind the other, lie before the furthest told: between them is nothing that
    /// has not been told, so each run gets a packet of its own.
    fn late_run(&self) -> usize {
        let Some((told, first)) = self.told.zip(self.waiting.first()) else { return 0 };
        let row = self.waiting.iter().zip(first.number..told.number.max(first.number));
        row.take_while(|(noted, expected)| noted.number == *expected).count()
    }

    /// The furthest told, to show that what lies between it and the first waiting one is missing; not where a server has
    /// jumped, or where the time between cannot be told.
    fn told_before_hole(&self) -> Option<Noted> {
        let first = self.waiting.first()?;
        self.told.filter(|told| {
            let missing = first.number.saturating_sub(told.number + 1);
            (1..=HOLE_MAX).contains(&missing) && first.at_us - told.at_us < HOLE_US_MAX
        })
    }
}

impl Noted {
    fn arrival(self) -> Arrival {
        Arrival { sequence: self.number as u16, at_us: self.at_us }
    }
}

/// Chromium's interval at ordinary rates.
const INTERVAL: Duration = Duration::from_millis(100);

/// More than any server sends to one caller in 100 ms. Beyond it feedback is due at once, and what comes before it is
/// told is left out, which looks like loss to a server that is far too fast.
const WAITING_MAX: usize = 512;

/// Fit a packet with a hole before each of them.
const PACKET_ARRIVALS_MAX: usize = 128;

/// A longer hole is a server that has jumped.
const HOLE_MAX: u64 = 1_000;

/// The wire can tell 8.19 s from one arrival to the next.
const HOLE_US_MAX: i64 = 8_000_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use wire::rtcp::{Packet, packets};

    use super::*;

    /// First number, numbers told of, and (number, ms) of what arrived.
    type Told = (u16, u16, Vec<(u16, i64)>);

    struct World {
        start: Instant,
        arrivals: Arrivals,
    }

    impl World {
        fn new() -> Self {
            let start = Instant::now();
            Self { start, arrivals: Arrivals::new(start) }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn take(&mut self, ms: u64, sequences: &[u16]) {
            let now = self.at(ms);
            sequences.iter().for_each(|sequence| self.arrivals.take(now, Ssrc(7), *sequence));
        }

        fn told(&mut self, ms: u64) -> Vec<Told> {
            let mut out = Vec::new();
            let count = self.arrivals.write_due(self.at(ms), Ssrc(1), &mut out);
            let told: Vec<Told> = packets(&out)
                .map(|packet| match packet {
                    Ok(Packet::TransportFeedback(feedback)) => {
                        let list = feedback.received().map(|it| (it.sequence, it.at_us / 1_000)).collect();
                        (feedback.base_sequence, feedback.status_count, list)
                    }
                    other => unreachable!("{other:?}"),
                })
                .collect();
            assert_eq!(told.len() as u64, count);
            told
        }
    }

    #[test]
    fn arrivals_are_told_once_each_100_ms() {
        let mut world = World::new();
        assert_eq!(world.arrivals.next_timeout(), None);
        world.take(0, &[65_534, 65_535]);
        world.take(40, &[1]);
        assert_eq!(world.arrivals.next_timeout(), Some(world.at(100)));
        assert_eq!(world.told(99), []);
        assert_eq!(world.told(100), [(65_534, 4, vec![(65_534, 0), (65_535, 0), (1, 40)])]);
        assert_eq!((world.arrivals.next_timeout(), world.told(300)), (None, vec![]));
    }

    #[test]
    fn a_hole_between_two_packets_of_feedback_is_told() {
        let mut world = World::new();
        world.take(0, &[10]);
        world.told(100);
        world.take(110, &[13]);
        assert_eq!(world.told(210), [(10, 4, vec![(10, 0), (13, 110)])]);
    }

    #[test]
    fn what_comes_late_unsays_nothing() {
        let mut world = World::new();
        world.take(0, &[10, 11, 14, 16]);
        world.told(100);
        world.take(120, &[15, 12, 17, 13]);
        let told: Vec<_> = world.told(220).into_iter().map(|(base, count, _)| (base, count)).collect();
        assert_eq!(told, [(12, 2), (15, 1), (17, 1)]);
    }

    #[test]
    fn a_number_used_twice_is_told_once() {
        let mut world = World::new();
        world.take(0, &[5, 5, 6, 5]);
        assert_eq!(world.told(100), [(5, 2, vec![(5, 0), (6, 0)])]);
    }

    #[test]
    fn a_flood_is_told_at_once_and_takes_no_more_memory() {
        let mut world = World::new();
        let flood: Vec<u16> = (0..60_000).collect();
        world.take(3, &flood);
        assert_eq!(world.arrivals.next_timeout(), Some(world.at(3)));
        assert_eq!(world.told(3).iter().map(|told| told.2.len()).sum::<usize>(), WAITING_MAX);
    }

    #[test]
    fn a_pause_of_minutes_and_a_jump_are_no_losses() {
        let mut world = World::new();
        world.take(0, &[10]);
        world.told(100);
        world.take(200_000, &[12]);
        assert_eq!(world.told(200_100), [(12, 1, vec![(12, 200_000)])]);
        world.take(200_200, &[20_000]);
        assert_eq!(world.told(200_300), [(20_000, 1, vec![(20_000, 200_200)])]);
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_told_and_nothing_else(
            steps in prop::collection::vec((any::<u16>(), 0_u64..9_000, 0_u8..5), 1..200),
        ) {
            let (mut world, mut ms, mut sequence) = (World::new(), 0, 0_u16);
            let (mut arrived, mut told) = (BTreeSet::new(), BTreeSet::new());
            for (number, wait, kind) in steps {
                ms += if kind == 1 { wait } else { wait % 30 };
                sequence = match kind {
                    0 => number,
                    1 | 2 => sequence.wrapping_sub(number % 8),
                    _ => sequence.wrapping_add(number % 8),
                };
                world.take(ms, &[sequence]);
                arrived.insert(sequence);
                told.extend(world.told(ms).into_iter().flat_map(|(_, _, list)| list).map(|(sequence, _)| sequence));
            }
            told.extend(world.told(ms + 100).into_iter().flat_map(|(_, _, list)| list).map(|(sequence, _)| sequence));
            prop_assert_eq!(arrived, told);
        }
    }
}

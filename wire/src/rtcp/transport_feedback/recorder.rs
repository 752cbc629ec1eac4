//! When the packets of one transport arrived, and the feedback that tells their sender
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). The sender's congestion control works on nothing else.
//!
//! Invariants: at most `ARRIVALS_MAX` arrivals wait to be told, none longer than `INTERVAL`. Every number between two
//! told arrivals is told as well, as missing; to show such a hole, the arrival before it is told a second time.

use std::time::{Duration, Instant};

use super::{Arrival, FeedbackTarget, TransportFeedback};
use crate::rtp::{SequenceExtender, Ssrc};

/// The arrivals of one transport.
#[derive(Debug)]
pub struct ArrivalRecorder {
    started: Instant,
    extender: SequenceExtender,
    /// Not yet told, ascending, without duplicates.
    waiting: Vec<Noted>,
    /// The furthest arrival told.
    told: Option<Noted>,
    due: Option<Instant>,
    feedback_count: u8,
}

#[derive(Debug, Clone, Copy)]
struct Noted {
    ext_seq: u64,
    at_us: i64,
}

impl ArrivalRecorder {
    /// Nothing has arrived. Arrival times count from `now`.
    pub fn new(now: Instant) -> Self {
        let (extender, waiting) = (SequenceExtender::new(), Vec::new());
        Self { started: now, extender, waiting, told: None, due: None, feedback_count: 0 }
    }

    /// Notes the arrival of the packet with this transport-wide number. Beyond `ARRIVALS_MAX` it is not noted, which
    /// looks like loss to a sender that is far too fast.
    pub fn handle_packet(&mut self, now: Instant, sequence: u16) {
        if self.waiting.len() == ARRIVALS_MAX {
            return;
        }
        let ext_seq = self.extender.extend(sequence);
        // Nearly every packet comes behind all others. A number that waits already was used twice: the first arrival counts.
        let place = match self.waiting.last() {
            Some(last) if last.ext_seq >= ext_seq => {
                self.waiting.binary_search_by_key(&ext_seq, |noted| noted.ext_seq)
            }
            _ => Err(self.waiting.len()),
        };
        let Err(place) = place else { return };
        let at_us = now.saturating_duration_since(self.started).as_micros() as i64;
        self.waiting.insert(place, Noted { ext_seq, at_us });
        self.due.get_or_insert(now + INTERVAL);
        if self.waiting.len() == ARRIVALS_MAX {
            self.due = Some(now);
        }
    }

    /// Appends one feedback packet to `out` if one is due. Call it until it is false: each packet fits a datagram of its
    /// own. `sender` is who reports, `media` any stream of the transport.
    pub fn feedback(&mut self, now: Instant, sender: Ssrc, media: Ssrc, out: &mut Vec<u8>) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        let late = self.late_run();
        let hole = if late == 0 { self.before_hole() } else { None };
        let fresh = if late == 0 { self.waiting.len().min(PACKET_ARRIVALS_MAX) } else { late };
        let run = hole.iter().chain(&self.waiting[..fresh]);
        let arrivals: Vec<_> = run.map(|noted| noted.arrival()).collect();

        let target = FeedbackTarget { sender, media, feedback_count: self.feedback_count };
        self.feedback_count = self.feedback_count.wrapping_add(1);
        let written = TransportFeedback::write_arrivals(out, target, &arrivals);
        // Every packet tells at least one that was not told before: `before_hole` leaves out what would not fit.
        let newly_told = written.saturating_sub(usize::from(hole.is_some())).clamp(1, fresh);
        let last = self.waiting.drain(..newly_told).next_back();
        if late == 0 {
            self.told = last;
        }
        if self.waiting.is_empty() {
            self.due = None;
        }
        true
    }

    /// When feedback is due. A peek.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// How many waiting arrivals, one directly behind the other, are too late for the packet they belonged to. What lies
    /// between them and the furthest told has been told already and must not be called missing now.
    fn late_run(&self) -> usize {
        let Some((told, first)) = self.told.zip(self.waiting.first()) else { return 0 };
        let in_a_row = self.waiting.iter().zip(first.ext_seq..told.ext_seq);
        in_a_row.take_while(|(noted, expected)| noted.ext_seq == *expected).count()
    }

    /// The furthest arrival told, if packets between it and the first waiting one are missing and few enough to matter.
    fn before_hole(&self) -> Option<Noted> {
        let first = self.waiting.first()?;
        self.told.filter(|told| {
            let missing = first.ext_seq.saturating_sub(told.ext_seq + 1);
            (1..=HOLE_MAX).contains(&missing) && first.at_us.abs_diff(told.at_us) < HOLE_US_MAX
        })
    }
}

impl Noted {
    fn arrival(self) -> Arrival {
        Arrival { sequence: self.ext_seq as u16, at_us: self.at_us }
    }
}

/// Ten reports a second are what senders expect; more cost bandwidth, fewer blind them.
const INTERVAL: Duration = Duration::from_millis(100);

/// 5,000 packets a second: more than any browser sends, or a bridge sends it.
const ARRIVALS_MAX: usize = 512;

/// Even with a hole between any two of them, this many fit a datagram.
const PACKET_ARRIVALS_MAX: usize = 128;

/// A longer hole is a sender that jumped, or an outage it knows about.
const HOLE_MAX: u64 = 1_000;

/// An arrival can be told at most 8.19 s after the one before it, or before it.
const HOLE_US_MAX: u64 = 8_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Packet, packets};
    use proptest::prelude::*;

    /// A packet's first number, how many numbers it is about, and (number, ms) of each arrival.
    type Told = (u16, u16, Vec<(u16, i64)>);

    struct World {
        start: Instant,
        recorder: ArrivalRecorder,
    }

    impl World {
        fn new() -> Self {
            let start = Instant::now();
            Self { start, recorder: ArrivalRecorder::new(start) }
        }

        fn arrive(&mut self, ms: u64, sequence: u16) {
            self.recorder.handle_packet(self.start + Duration::from_millis(ms), sequence);
        }

        /// What each due packet says.
        fn feedback(&mut self, ms: u64) -> Vec<Told> {
            let (now, mut told) = (self.start + Duration::from_millis(ms), Vec::new());
            let mut out = Vec::new();
            while self.recorder.feedback(now, Ssrc(1), Ssrc(2), &mut out) {
                assert!(out.len() < 1_200, "{} bytes", out.len());
                let Packet::TransportFeedback(feedback) = packets(&out).next().unwrap().unwrap() else {
                    unreachable!()
                };
                let arrivals = feedback.received().map(|arrival| (arrival.sequence, arrival.at_us / 1_000));
                told.push((feedback.base_sequence, feedback.status_count, arrivals.collect()));
                out.clear();
            }
            told
        }
    }

    #[test]
    fn arrivals_are_told_within_100_ms_and_once() {
        let mut world = World::new();
        assert_eq!(world.recorder.next_timeout(), None);
        world.arrive(10, 7);
        world.arrive(20, 8);
        assert_eq!(world.recorder.next_timeout(), Some(world.start + Duration::from_millis(110)));
        assert_eq!(world.feedback(109), []);
        assert_eq!(world.feedback(110), [(7, 2, vec![(7, 10), (8, 20)])]);
        assert_eq!(world.recorder.next_timeout(), None);
        assert_eq!(world.feedback(500), []);
    }

    #[test]
    fn a_loss_within_a_report_is_a_hole_in_it() {
        let mut world = World::new();
        for sequence in [65_534, 65_535, 1, 2] {
            world.arrive(4, sequence);
        }
        assert_eq!(world.feedback(104), [(65_534, 5, vec![(65_534, 4), (65_535, 4), (1, 4), (2, 4)])]);
    }

    #[test]
    fn a_loss_between_two_reports_is_told_with_the_second() {
        let mut world = World::new();
        world.arrive(0, 10);
        world.feedback(100);
        world.arrive(120, 13);
        assert_eq!(world.feedback(220), [(10, 4, vec![(10, 0), (13, 120)])]);
    }

    #[test]
    fn a_late_packet_does_not_unsay_what_was_told() {
        let mut world = World::new();
        for sequence in [10, 11, 14, 16] {
            world.arrive(0, sequence);
        }
        world.feedback(100);
        for sequence in [13, 12, 15, 17] {
            world.arrive(120, sequence);
        }
        let told = world.feedback(220);
        assert_eq!(told[0], (12, 2, vec![(12, 120), (13, 120)]));
        assert_eq!(told[1], (15, 1, vec![(15, 120)]));
        assert_eq!(told[2], (17, 1, vec![(17, 120)]));
    }

    #[test]
    fn an_overtaken_packet_is_told_in_order() {
        let mut world = World::new();
        world.arrive(5, 11);
        world.arrive(8, 10);
        assert_eq!(world.feedback(105), [(10, 2, vec![(10, 8), (11, 5)])]);
    }

    #[test]
    fn a_jump_of_the_sequence_is_not_told_as_loss() {
        let mut world = World::new();
        world.arrive(0, 10);
        world.feedback(100);
        world.arrive(120, 10 + 32_767);
        assert_eq!(world.feedback(220), [(32_777, 1, vec![(32_777, 120)])]);
        world.arrive(240, 5);
        assert_eq!(world.feedback(340), [(5, 1, vec![(5, 240)])], "and neither is a jump back");
    }

    #[test]
    fn a_pause_of_a_minute_is_told_in_a_packet_of_its_own() {
        let mut world = World::new();
        world.arrive(0, 10);
        world.feedback(100);
        world.arrive(60_000, 12);
        assert_eq!(world.feedback(60_100), [(12, 1, vec![(12, 60_000)])]);
    }

    #[test]
    fn a_packet_that_was_overtaken_by_seconds_takes_none_with_it() {
        let mut world = World::new();
        world.arrive(0, 6);
        world.arrive(8_200, 4);
        let told: Vec<_> = world.feedback(8_200).into_iter().map(|(_, _, arrivals)| arrivals).collect();
        assert_eq!(told, [vec![(4, 8_200)], vec![(6, 0)]]);
    }

    #[test]
    fn a_number_used_twice_is_told_once() {
        let mut world = World::new();
        for sequence in [5, 5, 6, 5] {
            world.arrive(0, sequence);
        }
        assert_eq!(world.feedback(100), [(5, 2, vec![(5, 0), (6, 0)])]);
    }

    #[test]
    fn a_flood_makes_feedback_due_at_once_and_takes_no_more_memory() {
        let mut world = World::new();
        for sequence in 0..60_000 {
            world.arrive(1, sequence);
        }
        assert_eq!(world.recorder.next_timeout(), Some(world.start + Duration::from_millis(1)));
        let told: usize = world.feedback(1).iter().map(|(_, _, arrivals)| arrivals.len()).sum();
        assert_eq!(told, ARRIVALS_MAX);
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_told_and_nothing_else(
            steps in prop::collection::vec((any::<u16>(), 0_u64..9_000, 0_u8..5), 1..200),
        ) {
            let (mut world, mut ms, mut sequence) = (World::new(), 0, 100_u16);
            let (mut arrived, mut told) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
            for (number, wait, kind) in steps {
                ms += if kind == 1 { wait } else { wait % 200 };
                sequence = match kind {
                    0 => number,
                    1 | 2 => sequence.wrapping_sub(number % 8),
                    _ => sequence.wrapping_add(number % 8),
                };
                world.arrive(ms, sequence);
                arrived.insert(sequence);
                for (_, _, arrivals) in world.feedback(ms) {
                    told.extend(arrivals.into_iter().map(|(sequence, _)| sequence));
                }
            }
            for (_, _, arrivals) in world.feedback(ms + 1_000) {
                told.extend(arrivals.into_iter().map(|(sequence, _)| sequence));
            }
            prop_assert_eq!(arrived, told);
        }
    }
}

//! The packets of one slot's stream: which came, in which order, which never did.

use wire::rtp::SequenceExtender;

use super::nack::{Gaps, Mending, Seen};

/// One slot's stream of media, as its receiver numbers it. Retransmissions count under their original numbers.
#[derive(Debug)]
pub(super) struct Stream {
    extender: SequenceExtender,
    /// The lowest number that came.
    first: u64,
    seen: Seen,
    gaps: Gaps,
    /// Packets that came on the stream itself, each counted once.
    received: u64,
}

/// What a packet's arrival meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is the newest; `skipped` numbers before it had not come.
    Newest { skipped: u64 },
    /// It had been passed over.
    Filled,
    /// It had been passed over and counted as lost.
    FilledTooLate,
    /// It had come before, or is so old that nobody knows.
    Duplicate,
}

/// How a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// In the stream itself.
    Stream,
    /// As a retransmission.
    Rtx,
}

/// What a report tells of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    /// Rounds and sequence number of the newest packet.
    pub(super) highest: u64,
    /// Numbers from the first to the newest.
    pub(super) expected: u64,
    /// Of these, those that came without being sent again.
    pub(super) received: u64,
}

impl Stream {
    pub(super) fn new(mending: Mending) -> Self {
        Self {
            extender: SequenceExtender::new(),
            first: 0,
            seen: Seen::new(),
            gaps: Gaps::new(mending),
            received: 0,
        }
    }

    /// Notes a packet. Returns its extended number, what that meant, and packets that are lost by it.
    pub(super) fn handle_packet(&mut self, now_us: u64, sequence: u16, way: Way) -> (u64, Arrival, u64) {
        let Some(highest) = self.extender.highest() else {
            // A round is put below the first number, so that what it overtook has a place.
            let number = ROUND + u64::from(sequence);
            self.extender.commit(number);
            self.first = number;
            self.seen.insert(number);
            self.received += u64::from(way == Way::Stream);
            return (number, Arrival::Newest { skipped: 0 }, 0);
        };
        let number = self.extender.guess(sequence);
        if number > highest {
            self.received += u64::from(way == Way::Stream);
            return self.move_up(now_us, highest, number);
        }
        if highest - number >= Seen::WINDOW || self.seen.contains(number) {
            return (number, Arrival::Duplicate, 0);
        }
        self.seen.insert(number);
        self.received += u64::from(way == Way::Stream);
        if number < self.first {
            let (opened, end) = (number + 1, self.first);
            self.first = number;
            let lost = if opened < end { self.gaps.open_before(now_us, opened, end) } else { 0 };
            return (number, Arrival::Filled, lost);
        }
        let arrival = if self.gaps.fill(number) { Arrival::Filled } else { Arrival::FilledTooLate };
        (number, arrival, 0)
    }

    fn move_up(&mut self, now_us: u64, highest: u64, number: u64) -> (u64, Arrival, u64) {
        self.seen.move_up(highest, number);
        self.seen.insert(number);
        self.extender.commit(number);
        let skipped = number - highest - 1;
        let known = (number + 1).saturating_sub(Seen::WINDOW);
        let mut lost = self.gaps.forget_before(known);
        if skipped > 0 {
            let opened = (highest + 1).max(known);
            lost += opened - (highest + 1);
            lost += self.gaps.open(now_us, opened, number);
        }
        (number, Arrival::Newest { skipped }, lost)
    }

    /// What is missing.
    pub(super) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// See [`Gaps::handle_timeout`].
    pub(super) fn handle_timeout(&mut self, now_us: u64, round_trip_us: u64, asked: &mut Vec<u16>) -> u64 {
        self.gaps.handle_timeout(now_us, round_trip_us, &self.seen, asked)
    }

    /// Nothing that is missing is waited for any longer; how many packets that loses.
    pub(super) fn give_up(&mut self) -> u64 {
        self.gaps.forget_before(u64::MAX)
    }

    /// Nothing before the first packet.
    pub(super) fn totals(&self) -> Option<Totals> {
        let highest = self.extender.highest()?;
        let expected = highest + 1 - self.first;
        Some(Totals { highest: highest - ROUND.min(highest), expected, received: self.received })
    }
}

/// All sequence numbers once.
const ROUND: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP_US: u64 = 100_000;

    fn arrivals(sequences: &[u16]) -> Vec<Arrival> {
        let mut stream = Stream::new(Mending::Asks);
        sequences.iter().map(|sequence| stream.handle_packet(0, *sequence, Way::Stream).1).collect()
    }

    #[test]
    fn each_arrival_is_named() {
        use Arrival::{Duplicate, Filled, Newest};
        assert_eq!(
            arrivals(&[65_534, 65_535, 2, 0, 0, 2, 3]),
            [
                Newest { skipped: 0 },
                Newest { skipped: 0 },
                Newest { skipped: 2 },
                Filled,
                Duplicate,
                Duplicate,
                Newest { skipped: 0 }
            ]
        );
    }

    #[test]
    fn what_the_first_packet_overtook_is_no_leap() {
        assert_eq!(arrivals(&[1, 65_534])[1], Arrival::Filled);
        let mut stream = Stream::new(Mending::Asks);
        stream.handle_packet(0, 1, Way::Stream);
        stream.handle_packet(0, 65_534, Way::Stream);
        let mut asked = Vec::new();
        stream.handle_timeout(0, ROUND_TRIP_US, &mut asked);
        assert_eq!(asked, [65_535, 0], "and what lies between is missing");
    }

    #[test]
    fn a_packet_that_comes_after_it_was_given_up_is_told_from_others() {
        let mut stream = Stream::new(Mending::Asks);
        stream.handle_packet(0, 10, Way::Stream);
        stream.handle_packet(0, 12, Way::Stream);
        assert_eq!(stream.handle_timeout(1_000_000, ROUND_TRIP_US, &mut Vec::new()), 1);
        assert_eq!(stream.handle_packet(1_000_001, 11, Way::Stream).1, Arrival::FilledTooLate);
        assert_eq!(stream.handle_packet(1_000_002, 11, Way::Stream).1, Arrival::Duplicate);
    }

    #[test]
    fn a_leap_beyond_the_window_loses_what_it_cannot_remember_at_once() {
        let mut stream = Stream::new(Mending::Asks);
        stream.handle_packet(0, 0, Way::Stream);
        stream.handle_packet(0, 2, Way::Stream);
        let (_, _, lost) = stream.handle_packet(0, 10_000, Way::Stream);
        let given_up = stream.handle_timeout(1_000_000, ROUND_TRIP_US, &mut Vec::new());
        assert_eq!(lost + given_up, 1 + 9_997);
        assert_eq!(stream.handle_packet(0, 1, Way::Stream).1, Arrival::Duplicate, "too old to be known");
    }

    #[test]
    fn a_report_counts_what_was_sent_again_as_missing() {
        let mut stream = Stream::new(Mending::Asks);
        assert_eq!(stream.totals(), None);
        for (sequence, way) in [(65_535, Way::Stream), (1, Way::Stream), (0, Way::Rtx)] {
            stream.handle_packet(0, sequence, way);
        }
        assert_eq!(stream.totals(), Some(Totals { highest: 65_537, expected: 3, received: 2 }));
    }
}

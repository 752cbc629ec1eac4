//! Gaps in a stream's sequence numbers: what is asked for again, and what is lost for good.

use std::collections::VecDeque;

/// Which of the newest numbers have come. A ring of bits, indexed by number modulo its size.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    bits: [u64; (Self::WINDOW / 64) as usize],
}

impl Seen {
    /// Numbers remembered: four seconds of the densest video, a page of 500 KB; 512 bytes.
    pub(super) const WINDOW: u64 = 4_096;

    pub(super) fn new() -> Self {
        Self { bits: [0; (Self::WINDOW / 64) as usize] }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.bits[word(number)] & bit(number) != 0
    }

    pub(super) fn insert(&mut self, number: u64) {
        self.bits[word(number)] |= bit(number);
    }

    /// Makes room for the numbers behind `highest` up to `new`.
    pub(super) fn move_up(&mut self, highest: u64, new: u64) {
        if new - highest >= Self::WINDOW {
            self.bits.fill(0);
            return;
        }
        for number in highest + 1..=new {
            self.bits[word(number)] &= !bit(number);
        }
    }
}

fn word(number: u64) -> usize {
    (number % Seen::WINDOW / 64) as usize
}

fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

/// Neighbouring numbers that were passed over at one time.
#[derive(Debug, Clone, Copy)]
struct Gap {
    first: u64,
    length: u32,
    /// Of them, still missing.
    left: u32,
    since_us: u64,
    /// When to ask again; `u64::MAX`: never.
    due_us: u64,
    /// How often they were asked for.
    tries: u8,
}

impl Gap {
    fn end(&self) -> u64 {
        self.first + u64::from(self.length)
    }

    fn lost_at_us(&self) -> u64 {
        self.since_us + GIVE_UP_US
    }
}

/// Whether missing packets are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mending {
    /// As browsers do for pictures.
    Asks,
    /// As browsers do for voices: what is lost is lost.
    Waits,
}

/// All gaps of one stream that are younger than a second.
#[derive(Debug)]
pub(super) struct Gaps {
    mending: Mending,
    /// By `first`, ascending; without holes that are filled.
    gaps: VecDeque<Gap>,
    /// Never later than the earliest deadline.
    next_us: u64,
}

impl Gaps {
    /// What the queue takes at most.
    #[cfg(test)]
    pub(super) const BYTES_MAX: usize = GAPS_MAX * size_of::<Gap>();

    pub(super) fn new(mending: Mending) -> Self {
        Self { mending, gaps: VecDeque::new(), next_us: u64::MAX }
    }

    /// Numbers from `first` to before `end` were passed over. Returns packets given up to make room.
    pub(super) fn open(&mut self, now_us: u64, first: u64, end: u64) -> u64 {
        let lost = if self.gaps.len() == GAPS_MAX { self.gaps.pop_front() } else { None };
        let gap = self.gap(now_us, first, end);
        self.next_us = self.next_us.min(gap.due_us).min(gap.lost_at_us());
        self.gaps.push_back(gap);
        lost.map_or(0, |gap| u64::from(gap.left))
    }

    /// The same for numbers before all others: the stream began earlier than it seemed.
    pub(super) fn open_before(&mut self, now_us: u64, first: u64, end: u64) -> u64 {
        let gap = self.gap(now_us, first, end);
        if self.gaps.len() == GAPS_MAX {
            return u64::from(gap.left);
        }
        self.next_us = self.next_us.min(gap.due_us).min(gap.lost_at_us());
        self.gaps.push_front(gap);
        0
    }

    fn gap(&self, now_us: u64, first: u64, end: u64) -> Gap {
        // Invariant: the caller keeps gaps within the window, so that a length fits.
        let length = (end - first) as u32;
        let is_asked_for = self.mending == Mending::Asks && length <= ASKED_MAX;
        let due_us = if is_asked_for { now_us } else { u64::MAX };
        Gap { first, length, left: length, since_us: now_us, due_us, tries: 0 }
    }

    /// A gap so long is not asked for: a new picture is cheaper.
    pub(super) fn is_beyond_mending(length: u64) -> bool {
        length > u64::from(ASKED_MAX)
    }

    /// A missing number came. False: it had been given up.
    pub(super) fn fill(&mut self, number: u64) -> bool {
        let Some(place) = self.gaps.partition_point(|gap| gap.first <= number).checked_sub(1) else {
            return false;
        };
        let gap = &mut self.gaps[place];
        if number >= gap.end() {
            return false;
        }
        gap.left -= 1;
        if gap.left == 0 {
            self.gaps.remove(place);
        }
        if self.gaps.is_empty() {
            self.next_us = u64::MAX;
        }
        true
    }

    /// Gives up what lies before `number`, wholly or in part; how many.
    pub(super) fn forget_before(&mut self, number: u64) -> u64 {
        let mut lost = 0;
        while self.gaps.front().is_some_and(|gap| gap.first < number) {
            lost += self.gaps.pop_front().map_or(0, |gap| u64::from(gap.left));
        }
        lost
    }

    /// Something before `number` may still come.
    pub(super) fn is_open_before(&self, number: u64) -> bool {
        self.gaps.front().is_some_and(|gap| gap.first < number)
    }

    /// When [`Self::handle_timeout`] has something to do. A peek.
    pub(super) fn next_timeout(&self) -> u64 {
        self.next_us
    }

    /// Gives up what is a second old; how many. Appends to `asked` what is to be asked for now (RFC 4585, 6.2.1), ascending:
    /// at once, and again after each round trip. What one datagram cannot carry stays due.
    pub(super) fn handle_timeout(
        &mut self,
        now_us: u64,
        round_trip_us: u64,
        seen: &Seen,
        asked: &mut Vec<u16>,
    ) -> u64 {
        let mut lost = 0;
        if now_us < self.next_us {
            return lost;
        }
        self.gaps.retain(|gap| {
            let is_lost = gap.lost_at_us() <= now_us;
            lost += if is_lost { u64::from(gap.left) } else { 0 };
            !is_lost
        });
        let pause_us = round_trip_us.min(GIVE_UP_US) + RETRY_SLACK_US;
        let mut room = PAIRS_MAX;
        for gap in self.gaps.iter_mut().filter(|gap| gap.due_us <= now_us) {
            let pairs = gap.length.div_ceil(NUMBERS_A_PAIR);
            if pairs > room {
                break;
            }
            room -= pairs;
            asked.extend((gap.first..gap.end()).filter(|number| !seen.contains(*number)).map(|it| it as u16));
            gap.tries += 1;
            gap.due_us = if gap.tries < TRIES_MAX { now_us + pause_us } else { u64::MAX };
        }
        self.next_us = self.gaps.iter().map(|gap| gap.due_us.min(gap.lost_at_us())).min().unwrap_or(u64::MAX);
        lost
    }
}

/// One lost packet in four of a 720p picture opens as many in a second. More gaps are an outage: the oldest is given up.
const GAPS_MAX: usize = 64;

/// More than this in a row would come too late and choke what follows.
const ASKED_MAX: u32 = 256;

/// Chromium's round trip where none was measured.
pub(super) const ROUND_TRIP_DEFAULT_US: u64 = 100_000;

/// Chromium looks this often whether a round trip is over. An answer that takes a little longer is not fetched twice.
const RETRY_SLACK_US: u64 = 20_000;

/// Chromium asks for a packet no more often.
const TRIES_MAX: u8 = 10;

/// Nobody waits longer for a picture, and senders keep about as much.
const GIVE_UP_US: u64 = 1_000_000;

/// RFC 4585, 6.2.1: a number and sixteen bits.
const NUMBERS_A_PAIR: u32 = 17;

/// 256 bytes: requests for several slots fit into one datagram.
const PAIRS_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP_US: u64 = 60_000;

    fn asked(gaps: &mut Gaps, now_us: u64, seen: &Seen) -> (Vec<u16>, u64) {
        let mut asked = Vec::new();
        let lost = gaps.handle_timeout(now_us, ROUND_TRIP_US, seen, &mut asked);
        (asked, lost)
    }

    /// When a gap of two packets that never come is asked for.
    fn times_asked(round_trip_us: u64) -> Vec<u64> {
        let (mut gaps, seen) = (Gaps::new(Mending::Asks), Seen::new());
        gaps.open(7, 65_535, 65_537);
        let (mut times, mut lost) = (Vec::new(), 0);
        while gaps.next_timeout() != u64::MAX {
            let (now_us, mut numbers) = (gaps.next_timeout(), Vec::new());
            lost += gaps.handle_timeout(now_us, round_trip_us, &seen, &mut numbers);
            if lost == 0 {
                assert_eq!(numbers, [65_535, 0]);
                times.push(now_us);
            }
        }
        assert_eq!(lost, 2);
        times
    }

    #[test]
    fn a_gap_is_asked_for_at_once_and_after_each_round_trip() {
        assert_eq!(times_asked(300_000), [7, 320_007, 640_007, 960_007]);
        assert_eq!(times_asked(u64::MAX), [7], "then it is given up");
    }

    #[test]
    fn a_packet_is_asked_for_ten_times_at_most_and_not_without_a_pause() {
        let times: Vec<u64> = (0..10).map(|time| 7 + 20_150 * time).collect();
        assert_eq!(times_asked(150), times);
        assert_eq!(times_asked(ROUND_TRIP_DEFAULT_US).len(), 9);
    }

    #[test]
    fn what_has_come_is_not_asked_for() {
        let (mut gaps, mut seen) = (Gaps::new(Mending::Asks), Seen::new());
        gaps.open(0, 10, 13);
        seen.insert(11);
        assert!(gaps.fill(11));
        assert_eq!(asked(&mut gaps, 0, &seen).0, [10, 12]);
        assert!(gaps.fill(10) && gaps.fill(12));
        assert_eq!((gaps.next_timeout(), gaps.fill(12)), (u64::MAX, false));
    }

    #[test]
    fn a_voice_is_never_asked_for() {
        let (mut gaps, seen) = (Gaps::new(Mending::Waits), Seen::new());
        gaps.open(0, 10, 12);
        assert_eq!(gaps.next_timeout(), 1_000_000);
        assert_eq!(asked(&mut gaps, 1_000_000, &seen), (vec![], 2));
    }

    #[test]
    fn an_outage_is_lost_without_being_asked_for() {
        let (mut gaps, seen) = (Gaps::new(Mending::Asks), Seen::new());
        gaps.open(0, 10, 10 + 257);
        assert!(Gaps::is_beyond_mending(257) && !Gaps::is_beyond_mending(256));
        assert_eq!(asked(&mut gaps, 1_000_000, &seen), (vec![], 257));
    }

    #[test]
    fn more_gaps_than_a_datagram_carries_are_asked_for_in_turns() {
        let (mut gaps, seen) = (Gaps::new(Mending::Asks), Seen::new());
        for gap in 0..60 {
            gaps.open(0, gap * 100, gap * 100 + 34);
        }
        assert_eq!(asked(&mut gaps, 0, &seen).0.len(), 32 * 34);
        assert_eq!(gaps.next_timeout(), 0, "the rest at once");
        assert_eq!(asked(&mut gaps, 0, &seen).0.len(), 28 * 34);
        assert_eq!(gaps.next_timeout(), ROUND_TRIP_US + RETRY_SLACK_US);
    }

    #[test]
    fn too_many_gaps_give_up_the_oldest() {
        let mut gaps = Gaps::new(Mending::Asks);
        let lost: u64 = (0..70).map(|gap| gaps.open(0, gap * 10, gap * 10 + 3)).sum();
        assert_eq!((lost, gaps.gaps.len()), (18, GAPS_MAX));
    }

    #[test]
    fn the_window_forgets_what_it_moves_over() {
        let mut seen = Seen::new();
        seen.insert(5);
        seen.move_up(5, 5 + Seen::WINDOW - 1);
        assert!(seen.contains(5));
        seen.move_up(5 + Seen::WINDOW - 1, 5 + Seen::WINDOW);
        assert!(!seen.contains(5 + Seen::WINDOW));
        seen.insert(9);
        seen.move_up(9, 1 << 40);
        assert!((0..Seen::WINDOW).all(|number| !seen.contains(number)));
    }
}

//! A slot's pictures put together from packets, and shown as a decoder could: a key frame any time, every other only
//! behind the one before it.

use std::collections::VecDeque;

use super::freezes::Lane;
use super::nack::Gaps;
use crate::engine::stamp::Stamp;

/// A picture of which something came.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Number of its first packet in the slot's stream.
    first: u64,
    lane: Lane,
    number: u32,
    parts: u16,
    received: u16,
    is_key: bool,
    /// When something of it first came.
    since_us: u64,
    /// When all of it had come.
    whole_us: Option<u64>,
}

/// A picture of which nothing more is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// Whole, and a decoder can show it.
    Shown {
        /// Its source and stream.
        lane: Lane,
        /// It is a key frame.
        is_key: bool,
    },
    /// It stayed incomplete, or nothing whole precedes it.
    Broken,
}

/// Pictures that are not settled, and what the decoder knows.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// By `first`, ascending.
    open: VecDeque<Frame>,
    /// Packets of pictures that begin before this number come too late.
    settled: u64,
    /// The picture shown last; none when the next one has to be a key frame.
    shown: Option<(Lane, u32)>,
    /// Whole key frames among the open ones.
    whole_keys: usize,
    /// Pictures dropped because there were too many.
    overflown: u64,
}

impl Frames {
    /// What the queue takes at most.
    #[cfg(test)]
    pub(super) const BYTES_MAX: usize = FRAMES_MAX * size_of::<Frame>();

    /// A stamped packet with this number in the slot's stream, which had not come before. True: its picture is whole by it.
    pub(super) fn handle_packet(&mut self, now_us: u64, number: u64, stamp: &Stamp) -> bool {
        let Some(first) = number.checked_sub(u64::from(stamp.part)).filter(|first| *first >= self.settled)
        else {
            return false;
        };
        let lane = (stamp.source, stamp.stream);
        let known = self.open.iter().rposition(|frame| frame.number == stamp.frame && frame.lane == lane);
        let place = known.unwrap_or_else(|| {
            let frame = Frame {
                first,
                lane,
                number: stamp.frame,
                parts: stamp.parts,
                received: 0,
                is_key: stamp.is_key,
                since_us: now_us,
                whole_us: None,
            };
            self.insert(frame)
        });
        let Some(frame) = self.open.get_mut(place) else { return false };
        frame.received = frame.received.saturating_add(1);
        let is_whole = frame.whole_us.is_none() && frame.received == frame.parts;
        if is_whole {
            frame.whole_us = Some(now_us);
            self.whole_keys += usize::from(frame.is_key);
        }
        is_whole
    }

    fn insert(&mut self, frame: Frame) -> usize {
        if self.open.len() == FRAMES_MAX {
            self.pop();
            self.overflown += 1;
            self.shown = None;
        }
        let place =
            self.open.iter().rposition(|each| each.first <= frame.first).map_or(0, |before| before + 1);
        self.open.insert(place, frame);
        place
    }

    /// The next picture that is settled at `now_us`, in order; call until there is none.
    pub(super) fn settle(&mut self, now_us: u64, gaps: &Gaps) -> Option<Settled> {
        if self.overflown > 0 {
            self.overflown -= 1;
            return Some(Settled::Broken);
        }
        let front = *self.open.front()?;
        if front.whole_us.is_some() {
            if front.is_key || self.shown == Some((front.lane, front.number.wrapping_sub(1))) {
                self.pop();
                self.shown = Some((front.lane, front.number));
                return Some(Settled::Shown { lane: front.lane, is_key: front.is_key });
            }
            if !gaps.is_open_before(front.first) {
                return Some(self.give_up());
            }
        }
        if self.give_up_us(&front) <= now_us {
            return Some(self.give_up());
        }
        None
    }

    /// When the front is given up: it has waited long enough, or a whole key frame behind it makes it useless.
    fn give_up_us(&self, front: &Frame) -> u64 {
        let waited_us = front.since_us + GIVE_UP_US;
        if self.whole_keys == 0 {
            return waited_us;
        }
        let key = self.open.iter().skip(1).find(|frame| frame.is_key && frame.whole_us.is_some());
        key.and_then(|key| key.whole_us).map_or(waited_us, |whole| waited_us.min(whole + OVERTAKE_WAIT_US))
    }

    fn give_up(&mut self) -> Settled {
        self.pop();
        self.shown = None;
        Settled::Broken
    }

    fn pop(&mut self) {
        if let Some(frame) = self.open.pop_front() {
            self.settled = frame.first + 1;
            self.whole_keys -= usize::from(frame.is_key && frame.whole_us.is_some());
        }
    }

    /// When [`Self::settle`] may have something that no packet brings. Costs next to nothing while pictures come whole.
    pub(super) fn next_timeout(&self) -> u64 {
        self.open.front().map_or(u64::MAX, |front| self.give_up_us(front))
    }

    /// Pictures of which something came and nothing became yet.
    pub(super) fn unsettled(&self) -> u64 {
        self.open.len() as u64 + self.overflown
    }

    /// Nothing can be shown before a key frame comes.
    pub(super) fn needs_key_frame(&self) -> bool {
        self.shown.is_none()
    }
}

/// Nobody waits longer for a picture.
const GIVE_UP_US: u64 = 1_000_000;

/// What a browser's jitter buffer holds at least: a packet overtaken by a key frame's may come within it.
const OVERTAKE_WAIT_US: u64 = 20_000;

/// A second of 60 pictures; 4 KiB at most.
const FRAMES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::nack::Mending;
    use super::*;

    fn part(frame: u32, part: u16, parts: u16, is_key: bool) -> Stamp {
        Stamp { clock: 1, source: 1, stream: 1, is_key, packet: 0, frame, part, parts, sent_us: 0 }
    }

    fn settled(frames: &mut Frames, now_us: u64, gaps: &Gaps) -> Vec<Settled> {
        std::iter::from_fn(|| frames.settle(now_us, gaps)).collect()
    }

    fn shown(is_key: bool) -> Settled {
        Settled::Shown { lane: (1, 1), is_key }
    }

    #[test]
    fn a_picture_is_shown_when_its_last_packet_comes_in_any_order() {
        let (mut frames, gaps) = (Frames::default(), Gaps::new(Mending::Asks));
        assert!(!frames.handle_packet(0, 102, &part(1, 2, 3, true)));
        assert!(!frames.handle_packet(0, 100, &part(1, 0, 3, true)));
        assert_eq!(settled(&mut frames, 0, &gaps), []);
        assert!(frames.handle_packet(0, 101, &part(1, 1, 3, true)));
        assert_eq!(settled(&mut frames, 0, &gaps), [shown(true)]);
    }

    #[test]
    fn a_whole_picture_waits_for_the_one_before_it() {
        let (mut frames, mut gaps) = (Frames::default(), Gaps::new(Mending::Asks));
        frames.handle_packet(0, 100, &part(1, 0, 1, true));
        assert_eq!(settled(&mut frames, 0, &gaps), [shown(true)]);
        gaps.open(0, 101, 102);
        frames.handle_packet(0, 102, &part(3, 0, 1, false));
        assert_eq!(settled(&mut frames, 0, &gaps), []);
        gaps.fill(101);
        frames.handle_packet(9, 101, &part(2, 0, 1, false));
        assert_eq!(settled(&mut frames, 9, &gaps), [shown(false), shown(false)]);
    }

    #[test]
    fn behind_a_picture_that_never_came_all_is_broken_up_to_a_key_frame() {
        let (mut frames, mut gaps) = (Frames::default(), Gaps::new(Mending::Asks));
        frames.handle_packet(0, 100, &part(1, 0, 1, true));
        assert_eq!(settled(&mut frames, 0, &gaps), [shown(true)]);
        gaps.open(0, 101, 102);
        frames.handle_packet(0, 102, &part(3, 0, 1, false));
        gaps.forget_before(102);
        frames.handle_packet(0, 103, &part(4, 0, 1, false));
        assert_eq!(settled(&mut frames, 0, &gaps), [Settled::Broken; 2]);
        assert!(frames.needs_key_frame());
        frames.handle_packet(0, 104, &part(5, 0, 1, true));
        frames.handle_packet(0, 105, &part(6, 0, 1, false));
        assert_eq!(settled(&mut frames, 0, &gaps), [shown(true), shown(false)]);
    }

    #[test]
    fn an_incomplete_picture_is_broken_after_a_second() {
        let (mut frames, mut gaps) = (Frames::default(), Gaps::new(Mending::Asks));
        frames.handle_packet(0, 100, &part(1, 0, 2, true));
        gaps.open(0, 101, 102);
        assert_eq!(frames.next_timeout(), 1_000_000);
        assert_eq!(settled(&mut frames, 999_999, &gaps), []);
        assert_eq!(settled(&mut frames, 1_000_000, &gaps), [Settled::Broken]);
        assert!(!frames.handle_packet(1_000_001, 101, &part(1, 1, 2, true)), "too late");
        assert_eq!(settled(&mut frames, 1_000_001, &gaps), []);
    }

    #[test]
    fn a_whole_key_frame_overtakes_what_is_incomplete() {
        let (mut frames, mut gaps) = (Frames::default(), Gaps::new(Mending::Asks));
        frames.handle_packet(0, 100, &part(1, 0, 2, true));
        gaps.open(0, 101, 102);
        frames.handle_packet(0, 102, &part(2, 0, 1, true));
        assert_eq!((frames.next_timeout(), settled(&mut frames, 0, &gaps)), (20_000, vec![]));
        assert_eq!(settled(&mut frames, 20_000, &gaps), [Settled::Broken, shown(true)]);
    }

    #[test]
    fn another_layer_needs_its_own_key_frame() {
        let (mut frames, gaps) = (Frames::default(), Gaps::new(Mending::Asks));
        frames.handle_packet(0, 100, &part(1, 0, 1, true));
        frames.handle_packet(0, 101, &Stamp { stream: 2, ..part(2, 0, 1, false) });
        assert_eq!(settled(&mut frames, 0, &gaps), [shown(true), Settled::Broken]);
        frames.handle_packet(0, 102, &Stamp { stream: 2, ..part(9, 0, 1, true) });
        assert_eq!(settled(&mut frames, 0, &gaps), [Settled::Shown { lane: (1, 2), is_key: true }]);
    }

    #[test]
    fn a_picture_shown_again_by_the_servers_memory_counts_again() {
        let (mut frames, gaps) = (Frames::default(), Gaps::new(Mending::Asks));
        for number in [100, 101] {
            frames.handle_packet(0, number, &part(1, 0, 1, true));
            assert_eq!(settled(&mut frames, 0, &gaps), [shown(true)]);
        }
    }

    #[test]
    fn open_pictures_are_bounded_and_each_is_settled_once() {
        let (mut frames, gaps) = (Frames::default(), Gaps::new(Mending::Asks));
        for frame in 0..1_000 {
            frames.handle_packet(0, u64::from(frame) * 2, &part(frame, 0, 2, false));
            assert!(frames.open.len() <= FRAMES_MAX);
        }
        assert_eq!(settled(&mut frames, 1_000_000, &gaps), [Settled::Broken; 1_000]);
    }

    #[test]
    fn more_packets_than_a_picture_can_have_make_it_whole_once() {
        let (mut frames, parts) = (Frames::default(), u16::MAX);
        let is_whole = |number| frames.handle_packet(0, number, &part(1, 0, parts, true));
        assert_eq!((100..200_000).map(is_whole).filter(|is_whole| *is_whole).count(), 1);
        assert_eq!(frames.whole_keys, 1);
    }

    #[test]
    fn a_stamp_that_lies_about_its_place_is_left_out() {
        let (mut frames, gaps) = (Frames::default(), Gaps::new(Mending::Asks));
        assert!(!frames.handle_packet(0, 5, &part(1, 6, 9, true)));
        assert_eq!(settled(&mut frames, u64::MAX, &gaps), []);
    }
}

//! What was sent of a stream, so that it can be sent again. Payloads are not kept: they are written anew from these
//! numbers, byte for byte, and a second of 720p costs 2 KiB instead of 250.

use std::collections::VecDeque;

/// A frame as it was sent. Its packets have neighbouring numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentFrame {
    /// SRTP index of its first packet.
    pub(super) first_index: u64,
    /// On the stream's clock.
    pub(super) timestamp: u32,
    /// [`super::super::stamp::Stamp::frame`].
    pub(super) frame: u32,
    /// [`super::super::stamp::Stamp::packet`] of its first packet.
    pub(super) first_packet: u32,
    /// [`super::super::stamp::Stamp::sent_us`].
    pub(super) sent_us: u64,
    /// Payload of all its packets.
    pub(super) bytes: u32,
    /// Packets.
    pub(super) parts: u16,
    /// Key frame.
    pub(super) is_key: bool,
}

/// The newest frames of one stream.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By `first_index`, ascending.
    frames: VecDeque<SentFrame>,
    /// Index and time (microseconds) of what was sent again lately, oldest first.
    resent: VecDeque<(u64, u64)>,
}

impl History {
    /// Notes a frame.
    pub(super) fn push(&mut self, frame: SentFrame) {
        if self.frames.len() == FRAMES_MAX {
            self.frames.pop_front();
        }
        self.frames.push_back(frame);
    }

    /// The packet that went out as `sequence`: its frame and which part of it. None: too old, never sent, or sent again
    /// less than [`RESEND_PAUSE_US`] before `now_us`. Otherwise it is taken to be sent again now.
    pub(super) fn take_for_resend(&mut self, sequence: u16, now_us: u64) -> Option<(SentFrame, u16)> {
        let newest = self.frames.back()?;
        let newest = newest.first_index + u64::from(newest.parts) - 1;
        let index = newest.checked_sub(u64::from((newest as u16).wrapping_sub(sequence)))?;
        let place = self.frames.partition_point(|frame| frame.first_index <= index).checked_sub(1)?;
        let frame = self.frames[place];
        // Invariant: at least the partition point's condition holds, so this does not underflow.
        let part = (index - frame.first_index) as u16;
        if part >= frame.parts {
            return None;
        }
        while self.resent.front().is_some_and(|(_, at)| at + RESEND_PAUSE_US <= now_us) {
            self.resent.pop_front();
        }
        if self.resent.iter().any(|(each, _)| *each == index) {
            return None;
        }
        if self.resent.len() == RESENT_MAX {
            self.resent.pop_front();
        }
        self.resent.push_back((index, now_us));
        Some((frame, part))
    }
}

/// A receiver gives up after a second: 64 frames are two seconds of a camera, one of a fast screen, and 3 KiB.
const FRAMES_MAX: usize = 64;

/// About a round trip on a good path: a second request within it was sent before the answer to the first could come.
const RESEND_PAUSE_US: u64 = 20_000;

/// More requests than this within a pause are a storm, in which a packet may be sent twice.
const RESENT_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first_index: u64, parts: u16) -> SentFrame {
        SentFrame {
            first_index,
            timestamp: 0,
            frame: first_index as u32,
            first_packet: 0,
            sent_us: 0,
            bytes: 1_000,
            parts,
            is_key: false,
        }
    }

    #[test]
    fn a_packet_is_found_by_its_sequence_number_across_the_wrap() {
        let mut history = History::default();
        history.push(frame(65_530, 3));
        history.push(frame(65_533, 10));
        for (sequence, first_index, part) in [(65_530, 65_530, 0), (65_535, 65_533, 2), (6, 65_533, 9)] {
            let found = history.take_for_resend(sequence, 0).map(|(frame, part)| (frame.first_index, part));
            assert_eq!(found, Some((first_index, part)), "{sequence}");
        }
        assert_eq!(history.take_for_resend(65_529, 0), None, "before the first");
        assert_eq!(history.take_for_resend(7, 0), None, "not yet sent");
    }

    #[test]
    fn a_packet_is_not_sent_twice_within_a_round_trip() {
        let mut history = History::default();
        history.push(frame(10, 3));
        assert!(history.take_for_resend(11, 1_000).is_some());
        assert!(history.take_for_resend(11, 20_999).is_none());
        assert!(history.take_for_resend(12, 20_999).is_some(), "another one is");
        assert!(history.take_for_resend(11, 21_000).is_some());
    }

    #[test]
    fn nothing_sent_is_nothing_to_send_again() {
        assert_eq!(History::default().take_for_resend(0, 0), None);
    }

    proptest! {
        #[test]
        fn memory_stays_bounded_and_answers_are_true(
            frames in prop::collection::vec(1_u16..200, 1..200),
            asked in prop::collection::vec((any::<u16>(), 0_u64..100), 0..600),
        ) {
            let (mut history, mut index) = (History::default(), 0);
            for parts in frames {
                history.push(frame(index, parts));
                index += u64::from(parts);
            }
            let mut now_us = 0;
            for (sequence, wait) in asked {
                now_us += wait;
                if let Some((frame, part)) = history.take_for_resend(sequence, now_us) {
                    prop_assert_eq!((frame.first_index + u64::from(part)) as u16, sequence);
                }
                prop_assert!(history.frames.len() <= FRAMES_MAX && history.resent.len() <= RESENT_MAX);
            }
        }
    }
}

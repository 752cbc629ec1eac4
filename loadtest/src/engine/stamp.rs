//! The stamp that each payload carries: whose it is, where it belongs, when it was sent. Any server forwards it, because
//! to a server it is media; light and full callers write and read the same.
//!
//! ```text
//! magic 4 | clock 4 | source 4 | packet 4 | frame 4 | part 2 | parts 2 | stream 1 | flags 1 | sent_us 8
//! ```

use std::time::{Duration, Instant};

use wire::messages::media::MediaKind;

use super::send::{picture_stamp, voice_stamp};

/// A process' clock: stamps of one clock can be subtracted from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Tells the processes of a run apart; drawn at random by each.
    pub number: u32,
    /// Where its microseconds start; the same for all callers of the process.
    pub epoch: Instant,
}

impl Clock {
    /// Microseconds from the epoch to `now`; 0 before it.
    pub fn us(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64
    }

    /// The instant `us` microseconds after the epoch; the epoch itself beyond what an instant can hold.
    pub fn instant(&self, us: u64) -> Instant {
        self.epoch.checked_add(Duration::from_micros(us)).unwrap_or(self.epoch)
    }
}

/// What is known of one packet by its payload alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// [`Clock::number`] of the sender.
    pub clock: u32,
    /// [`super::ports::CallerPlan::number`] of the sender.
    pub source: u32,
    /// The sender's stream: 0 voice, 1 to 4 the camera's layers from the smallest, 8 the screen.
    pub stream: u8,
    /// It belongs to a key frame.
    pub is_key: bool,
    /// Counts the stream's packets.
    pub packet: u32,
    /// Counts the stream's pictures; of a voice, its packets.
    pub frame: u32,
    /// Which packet of the frame, from 0.
    pub part: u16,
    /// Packets of the frame, at least 1.
    pub parts: u16,
    /// When the frame was sent, [`Clock::us`] of the sender; the same in all its packets.
    pub sent_us: u64,
}

impl Stamp {
    /// Bytes in the payload.
    pub const BYTES: usize = 34;

    /// The stamp in a payload of opus or VP8. None: not from a caller.
    pub fn of_payload(kind: MediaKind, payload: &[u8]) -> Option<Self> {
        match kind {
            MediaKind::Audio => voice_stamp(payload),
            MediaKind::Video => picture_stamp(payload),
        }
    }

    /// It is the frame's first packet.
    pub fn is_first(&self) -> bool {
        self.part == 0
    }

    /// It is the frame's last packet.
    pub fn is_last(&self) -> bool {
        self.part + 1 == self.parts
    }

    /// The stamp's bytes.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        let words = [self.clock, self.source, self.packet, self.frame];
        for (room, word) in bytes[4..20].as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *room = word.to_be_bytes();
        }
        bytes[20..22].copy_from_slice(&self.part.to_be_bytes());
        bytes[22..24].copy_from_slice(&self.parts.to_be_bytes());
        bytes[24] = self.stream;
        bytes[25] = u8::from(self.is_key);
        bytes[26..].copy_from_slice(&self.sent_us.to_be_bytes());
        bytes
    }

    /// Reads the stamp that `bytes` begin with. None: there is none, or one that no sender writes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (bytes, _) = bytes.split_first_chunk::<{ Self::BYTES }>()?;
        let rest = bytes.strip_prefix(&MAGIC)?;
        let word = |at: usize| u32::from_be_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let half = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
        let stamp = Self {
            clock: word(0),
            source: word(4),
            packet: word(8),
            frame: word(12),
            part: half(16),
            parts: half(18),
            stream: rest[20],
            is_key: rest[21] & 1 != 0,
            sent_us: u64::from(word(22)) << 32 | u64::from(word(26)),
        };
        (stamp.part < stamp.parts && rest[21] <= 1).then_some(stamp)
    }
}

/// A payload that was cut, shifted, encrypted or mixed up does not show it.
const MAGIC: [u8; 4] = *b"PLT1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            clock: 1,
            source: 0x0203_0405,
            stream: 8,
            is_key: true,
            packet: 6,
            frame: 7,
            part: 8,
            parts: 9,
            sent_us: 0x0102_0304_0506_0708,
        }
    }

    #[test]
    fn a_stamp_reads_back() {
        let mut bytes = stamp().to_bytes().to_vec();
        assert_eq!(Stamp::parse(&bytes), Some(stamp()));
        bytes.extend_from_slice(b"media");
        assert_eq!(Stamp::parse(&bytes), Some(stamp()), "media may follow");
        assert!(stamp().is_last() && !stamp().is_first());
    }

    #[test]
    fn a_stamp_cut_short_is_none() {
        let bytes = stamp().to_bytes();
        assert!((0..bytes.len()).all(|length| Stamp::parse(&bytes[..length]).is_none()));
    }

    #[test]
    fn a_part_beyond_the_frame_is_refused() {
        for (part, parts) in [(0, 0), (1, 1), (9, 8), (u16::MAX, u16::MAX)] {
            assert_eq!(Stamp::parse(&Stamp { part, parts, ..stamp() }.to_bytes()), None, "{part} of {parts}");
        }
    }

    #[test]
    fn a_clock_never_runs_before_its_epoch() {
        let epoch = Instant::now() + Duration::from_secs(1);
        let clock = Clock { number: 1, epoch };
        assert_eq!(
            (clock.us(epoch - Duration::from_secs(1)), clock.us(epoch + Duration::from_micros(5))),
            (0, 5)
        );
        assert_eq!(clock.instant(5), epoch + Duration::from_micros(5));
        assert_eq!(
            clock.instant(u64::MAX).saturating_duration_since(epoch).as_micros() % u128::from(u64::MAX),
            0
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_stamp_that_writes_itself_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = bytes;
            if bytes.len() > 4 {
                bytes[..4].copy_from_slice(&MAGIC);
            }
            if let Some(stamp) = Stamp::parse(&bytes) {
                prop_assert_eq!(&stamp.to_bytes()[..], &bytes[..Stamp::BYTES]);
            }
        }
    }
}

//! Values of the header extensions a bridge reads or writes. Each parses from an element's bytes and gives its bytes;
//! a value of another length than its definition says is none.

use std::time::Duration;

/// How loud a packet of audio is (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// The sender believes that it holds speech.
    pub voice: bool,
    /// Decibels below the loudest possible, 0 to 127: 0 is loudest, 127 silence.
    pub level_dbov: u8,
}

impl AudioLevel {
    /// What the loudest silence says.
    pub const SILENCE: Self = Self { voice: false, level_dbov: 127 };

    /// Reads an element.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let &[byte] = value else { return None };
        Some(Self { voice: byte & 0x80 != 0, level_dbov: byte & 0x7f })
    }

    /// The element's value.
    pub fn to_bytes(self) -> [u8; 1] {
        [(u8::from(self.voice) << 7) | self.level_dbov.min(127)]
    }
}

/// When a packet left its sender: 24 bits, of which the upper 6 are seconds (modulo 64) and the lower 18 their
/// fraction (`abs-send-time` of webrtc.org).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    /// The time `since` any fixed instant; it wraps every 64 s.
    pub fn from_duration(since: Duration) -> Self {
        let seconds = since.as_secs() & 0x3f;
        let fraction = (u64::from(since.subsec_nanos()) << 18) / 1_000_000_000;
        Self(((seconds << 18) | fraction) as u32)
    }

    /// The 24 bits.
    pub fn ticks(self) -> u32 {
        self.0
    }

    /// How long after `earlier` this is, when less than 32 s lie between them.
    pub fn since(self, earlier: Self) -> Duration {
        let ticks = u64::from(self.0.wrapping_sub(earlier.0) & 0x00ff_ffff);
        Duration::from_nanos((ticks * 1_000_000_000) >> 18)
    }

    /// Reads an element.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let &[high, middle, low] = value else { return None };
        Some(Self(u32::from_be_bytes([0, high, middle, low])))
    }

    /// The element's value.
    pub fn to_bytes(self) -> [u8; 3] {
        let [_, high, middle, low] = self.0.to_be_bytes();
        [high, middle, low]
    }
}

/// A packet's number on its transport, over all streams (`transport-wide-cc` of webrtc.org).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportSequence(pub u16);

impl TransportSequence {
    /// Reads an element. Version 2 of the extension may append two bytes that ask for feedback; they are skipped.
    pub fn parse(value: &[u8]) -> Option<Self> {
        match value {
            &[high, low] | &[high, low, _, _] => Some(Self(u16::from_be_bytes([high, low]))),
            _ => None,
        }
    }

    /// The element's value.
    pub fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// Reads the element of a MID (RFC 9143), a RID or a repaired RID (RFC 8852): 1 to 16 characters of ASCII that show.
pub fn parse_text(value: &[u8]) -> Option<&str> {
    let is_text = (1..=TEXT_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    if is_text { std::str::from_utf8(value).ok() } else { None }
}

/// What the one-byte form can carry, and the longest tag a [`crate::messages::ids::Mid`] holds.
const TEXT_BYTES_MAX: usize = 16;

/// How a picture has to be turned before it is shown (3GPP TS 26.114, 7.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoOrientation {
    /// The camera looks away from its owner.
    pub is_back_camera: bool,
    /// Mirrored.
    pub is_flipped: bool,
    /// Quarter turns, 0 to 3.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    /// Reads an element.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let &[byte] = value else { return None };
        Some(Self {
            is_back_camera: byte & 0x08 != 0,
            is_flipped: byte & 0x04 != 0,
            quarter_turns: byte & 0x03,
        })
    }

    /// The element's value.
    pub fn to_bytes(self) -> [u8; 1] {
        [(u8::from(self.is_back_camera) << 3)
            | (u8::from(self.is_flipped) << 2)
            | (self.quarter_turns & 0x03)]
    }
}

/// How long a receiver may hold a frame before it shows it (`playout-delay` of webrtc.org).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// At least, in units of 10 ms, 12 bits.
    pub min_10_ms: u16,
    /// At most, in units of 10 ms, 12 bits.
    pub max_10_ms: u16,
}

impl PlayoutDelay {
    /// Reads an element.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let &[high, middle, low] = value else { return None };
        let bits = u32::from_be_bytes([0, high, middle, low]);
        Some(Self { min_10_ms: (bits >> 12) as u16, max_10_ms: (bits & 0x0fff) as u16 })
    }

    /// The element's value.
    pub fn to_bytes(self) -> [u8; 3] {
        let bits = (u32::from(self.min_10_ms.min(0x0fff)) << 12) | u32::from(self.max_10_ms.min(0x0fff));
        let [_, high, middle, low] = bits.to_be_bytes();
        [high, middle, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No value, and values of 1 to 20 bytes except those of the permitted lengths.
    fn wrong_lengths(permitted: &[usize]) -> impl Iterator<Item = Vec<u8>> {
        let permitted = permitted.to_vec();
        (0..20).filter(move |length| !permitted.contains(length)).map(|length| vec![1; length])
    }

    #[test]
    fn every_audio_level_reads_back() {
        for byte in 0..=255u8 {
            let level = AudioLevel::parse(&[byte]).unwrap();
            assert_eq!(level.voice, byte >= 0x80);
            assert_eq!(level.to_bytes(), [byte]);
        }
        assert!(wrong_lengths(&[1]).all(|value| AudioLevel::parse(&value).is_none()));
        assert_eq!(AudioLevel { voice: false, level_dbov: 200 }.to_bytes(), AudioLevel::SILENCE.to_bytes());
    }

    #[test]
    fn a_send_time_wraps_every_64_seconds() {
        let before = AbsSendTime::from_duration(Duration::from_millis(63_900));
        let after = AbsSendTime::from_duration(Duration::from_millis(64_100));
        let between = after.since(before).as_micros();
        assert!((199_990..=200_010).contains(&between), "{between} us");
        assert_eq!(AbsSendTime::from_duration(Duration::from_millis(500)).to_bytes(), [0x02, 0x00, 0x00]);
        assert_eq!(AbsSendTime::parse(&before.to_bytes()), Some(before));
        assert!(wrong_lengths(&[3]).all(|value| AbsSendTime::parse(&value).is_none()));
    }

    #[test]
    fn a_transport_sequence_may_carry_a_request_for_feedback() {
        assert_eq!(TransportSequence::parse(&[0x12, 0x34]), Some(TransportSequence(0x1234)));
        assert_eq!(TransportSequence::parse(&[0x12, 0x34, 0x80, 0x01]), Some(TransportSequence(0x1234)));
        assert_eq!(TransportSequence(0x1234).to_bytes(), [0x12, 0x34]);
        assert!(wrong_lengths(&[2, 4]).all(|value| TransportSequence::parse(&value).is_none()));
    }

    #[test]
    fn text_is_short_and_shows() {
        assert_eq!(parse_text(b"0"), Some("0"));
        assert_eq!(parse_text(&[b'a'; 16]), Some("aaaaaaaaaaaaaaaa"));
        for hostile in [&b""[..], &[b'a'; 17], b"a b", b"a\0", b"\xff", "é".as_bytes()] {
            assert_eq!(parse_text(hostile), None, "{hostile:?}");
        }
    }

    #[test]
    fn every_orientation_reads_back() {
        for byte in 0..16 {
            assert_eq!(VideoOrientation::parse(&[byte]).unwrap().to_bytes(), [byte]);
        }
        let back = VideoOrientation { is_back_camera: true, is_flipped: false, quarter_turns: 3 };
        assert_eq!(VideoOrientation::parse(&[0xfb]), Some(back), "the upper bits are reserved");
        assert!(wrong_lengths(&[1]).all(|value| VideoOrientation::parse(&value).is_none()));
    }

    #[test]
    fn a_playout_delay_has_twelve_bits_each_way() {
        let delay = PlayoutDelay { min_10_ms: 0x123, max_10_ms: 0xfff };
        assert_eq!(delay.to_bytes(), [0x12, 0x3f, 0xff]);
        assert_eq!(PlayoutDelay::parse(&[0x12, 0x3f, 0xff]), Some(delay));
        let far = PlayoutDelay { min_10_ms: 0x1000, max_10_ms: u16::MAX };
        assert_eq!(far.to_bytes(), [0xff, 0xff, 0xff], "clamped, never spilled into the other half");
        assert!(wrong_lengths(&[3]).all(|value| PlayoutDelay::parse(&value).is_none()));
    }
}

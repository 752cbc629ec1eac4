//! What a datagram is, told by its first bytes (RFC 7983, 7; RFC 9443). One UDP port carries everything, so this is
//! the first question asked of each datagram, and it looks at no more than two bytes.

/// The protocol a datagram claims to be. Only a claim: the parser of that protocol still has to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatagramKind {
    /// First byte 0 to 3: [`crate::stun`].
    Stun,
    /// First byte 20 to 63.
    Dtls,
    /// First byte 64 to 79: TURN channel data, [`crate::stun::ChannelData`].
    Turn,
    /// First byte 128 to 191 and a second one that is no RTCP packet type: RTP or SRTP, [`crate::rtp`].
    Rtp,
    /// First byte 128 to 191 and an RTCP packet type: RTCP or SRTCP, [`crate::rtcp`].
    Rtcp,
    /// Everything else, and what is too short to tell.
    Unknown,
}

/// Tells what `datagram` claims to be.
pub fn classify(datagram: &[u8]) -> DatagramKind {
    match datagram {
        [0..=3, ..] => DatagramKind::Stun,
        [20..=63, ..] => DatagramKind::Dtls,
        [64..=79, ..] => DatagramKind::Turn,
        [128..=191, second, ..] if is_rtcp(*second) => DatagramKind::Rtcp,
        [128..=191, _, ..] => DatagramKind::Rtp,
        _ => DatagramKind::Unknown,
    }
}

/// RFC 5761, 4: RTCP packet types 192 to 223 look like RTP payload types 64 to 95 with the marker bit in front, so
/// those payload types are never used for RTP on a shared port.
fn is_rtcp(second: u8) -> bool {
    matches!(second & 0x7f, 64..=95)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_has_the_kind_of_rfc_7983() {
        for first in 0..=255u8 {
            let expected = match first {
                0..=3 => DatagramKind::Stun,
                20..=63 => DatagramKind::Dtls,
                64..=79 => DatagramKind::Turn,
                128..=191 => DatagramKind::Rtp,
                _ => DatagramKind::Unknown,
            };
            assert_eq!(classify(&[first, 96, 0, 0]), expected, "first byte {first}");
        }
    }

    #[test]
    fn only_the_payload_types_64_to_95_are_rtcp() {
        for second in 0..=255u8 {
            let is_rtcp = (64..=95).contains(&(second & 0x7f));
            let expected = if is_rtcp { DatagramKind::Rtcp } else { DatagramKind::Rtp };
            assert_eq!(classify(&[0x80, second]), expected, "second byte {second}");
        }
    }

    #[test]
    fn what_is_too_short_to_tell_is_unknown() {
        assert_eq!(classify(&[]), DatagramKind::Unknown);
        assert_eq!(classify(&[0x80]), DatagramKind::Unknown);
        assert_eq!(classify(&[0xbf]), DatagramKind::Unknown);
    }
}

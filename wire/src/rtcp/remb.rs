//! Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb, 2.2).

use super::{PAYLOAD_FEEDBACK, Raw, append_feedback, entries};
use crate::rtp::Ssrc;

/// The feedback format: application layer feedback, which others use too.
pub(super) const FORMAT: u8 = 15;

/// Tells this application layer feedback from any other.
const IDENTIFIER: [u8; 4] = *b"REMB";

/// Where the identifier stands: behind the two streams of every feedback message.
const IDENTIFIER_AT: std::ops::Range<usize> = 8..12;

/// The mantissa has 18 bits.
const MANTISSA_BITS: u32 = 18;

/// How much a receiver believes it can take, over some streams together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remb<'a> {
    /// Who says so.
    pub sender: Ssrc,
    /// Bits a second, all headers included. The wire holds 18 significant bits; what exceeds 64 bits is `u64::MAX`.
    pub bitrate_bps: u64,
    /// The streams, at most 255, as their wire bytes.
    pub ssrcs: &'a [[u8; 4]],
}

/// The body of an application layer feedback is a REMB's.
pub(super) fn is_remb(body: &[u8]) -> bool {
    body.get(IDENTIFIER_AT) == Some(&IDENTIFIER)
}

impl<'a> Remb<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Option<Self> {
        let (sender, _, rest) = raw.feedback()?;
        let (&[count, high, middle, low], rest) = rest.get(IDENTIFIER.len()..)?.split_first_chunk()?;
        let mantissa = u128::from(u32::from_be_bytes([0, high & 0x03, middle, low]));
        // At most 18 bits shifted by 63: 128 bits hold that.
        let bitrate_bps = u64::try_from(mantissa << (high >> 2)).unwrap_or(u64::MAX);
        let ssrcs = entries(rest, usize::from(count))?;
        Some(Self { sender, bitrate_bps, ssrcs })
    }

    /// The streams.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        self.ssrcs.iter().map(|ssrc| Ssrc(u32::from_be_bytes(*ssrc)))
    }

    /// Appends the packet; the bitrate is rounded down to 18 significant bits, streams beyond the 255th are left out.
    pub fn write(&self, out: &mut Vec<u8>) {
        let ssrcs = &self.ssrcs[..self.ssrcs.len().min(usize::from(u8::MAX))];
        let exponent = (u64::BITS - self.bitrate_bps.leading_zeros()).saturating_sub(MANTISSA_BITS);
        let [_, high, middle, low] = ((self.bitrate_bps >> exponent) as u32).to_be_bytes();
        append_feedback(out, (PAYLOAD_FEEDBACK, FORMAT), (self.sender, Ssrc(0)), |out| {
            out.extend_from_slice(&IDENTIFIER);
            out.extend_from_slice(&[ssrcs.len() as u8, (exponent as u8) << 2 | high, middle, low]);
            out.extend_from_slice(ssrcs.as_flattened());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RtcpError, packets};
    use super::*;

    fn read_back(bitrate_bps: u64) -> u64 {
        let mut out = Vec::new();
        Remb { sender: Ssrc(1), bitrate_bps, ssrcs: &[[0, 0, 0, 9]] }.write(&mut out);
        match packets(&out).next() {
            Some(Ok(Packet::Remb(remb))) => {
                assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [Ssrc(9)]);
                remb.bitrate_bps
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rate_reads_back_with_18_significant_bits() {
        for exact in [0, 1, 262_143, 262_144, 2_500_000 / 32 * 32, 1 << 63] {
            assert_eq!(read_back(exact), exact);
        }
        assert_eq!(read_back(262_145), 262_144, "rounded down");
        assert_eq!(read_back(u64::MAX), 0x3_ffff << 46);
    }

    #[test]
    fn a_rate_beyond_64_bits_is_the_largest() {
        let mut bytes = b"\x8f\xce\0\x04\0\0\0\x01\0\0\0\0REMB\0\xff\xff\xff".to_vec();
        match packets(&bytes).next() {
            Some(Ok(Packet::Remb(remb))) => assert_eq!(remb.bitrate_bps, u64::MAX),
            other => panic!("{other:?}"),
        }
        // No mantissa, whatever the exponent: no bandwidth at all.
        bytes[17..].copy_from_slice(&[0xfc, 0, 0]);
        match packets(&bytes).next() {
            Some(Ok(Packet::Remb(remb))) => assert_eq!(remb.bitrate_bps, 0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn other_application_feedback_is_unknown_and_a_short_remb_malformed() {
        assert_eq!(
            packets(b"\x8f\xce\0\x03\0\0\0\x01\0\0\0\0RTFM").next(),
            Some(Ok(Packet::Unknown { packet_type: 206, count: 15 }))
        );
        for short in
            [&b"\x8f\xce\0\x03\0\0\0\x01\0\0\0\0REMB"[..], b"\x8f\xce\0\x04\0\0\0\x01\0\0\0\0REMB\x01\0\0\0"]
        {
            assert_eq!(packets(short).next(), Some(Err(RtcpError::Malformed(206))));
        }
    }
}

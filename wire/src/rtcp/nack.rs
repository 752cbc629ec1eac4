//! Generic NACK (RFC 4585, 6.2.1).

use super::{ENTRIES_MAX, Raw, TRANSPORT_FEEDBACK, append_feedback, whole_entries};
use crate::rtp::Ssrc;

/// The feedback format.
pub(super) const FORMAT: u8 = 1;

/// Packets that a receiver misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nack<'a> {
    /// Who misses them.
    pub sender: Ssrc,
    /// The stream they belong to.
    pub media: Ssrc,
    /// A sequence number, then a bit for each of the 16 that follow it; not empty.
    pub pairs: &'a [[u8; 4]],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Option<Self> {
        let (sender, media, rest) = raw.feedback()?;
        let pairs = whole_entries(rest).filter(|pairs| !pairs.is_empty())?;
        Some(Self { sender, media, pairs })
    }

    /// The missing sequence numbers, in the packet's order, at most 17 for each pair.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.pairs.iter().flat_map(|&[first_high, first_low, bits_high, bits_low]| {
            let first = u16::from_be_bytes([first_high, first_low]);
            let bits = u32::from(u16::from_be_bytes([bits_high, bits_low])) << 1 | 1;
            (0..17u16).filter(move |step| bits >> step & 1 == 1).map(move |step| first.wrapping_add(step))
        })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        append_feedback(out, (TRANSPORT_FEEDBACK, FORMAT), (self.sender, self.media), |out| {
            out.extend_from_slice(self.pairs.as_flattened());
        });
    }

    /// Appends as many packets as `missing` needs, none when it is empty. Ascending numbers (modulo 2^16) give the
    /// fewest pairs.
    pub fn write_sequences(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc, missing: &[u16]) {
        let mut missing = missing;
        while !missing.is_empty() {
            append_feedback(out, (TRANSPORT_FEEDBACK, FORMAT), (sender, media), |out| {
                for _ in 0..ENTRIES_MAX {
                    let Some((pair, rest)) = first_pair(missing) else { break };
                    out.extend_from_slice(&pair);
                    missing = rest;
                }
            });
        }
    }
}

/// The pair that starts with the first number, and the numbers it does not cover.
fn first_pair(missing: &[u16]) -> Option<([u8; 4], &[u16])> {
    let (&first, mut rest) = missing.split_first()?;
    let mut bits = 0u16;
    while let [next, after @ ..] = rest {
        match next.wrapping_sub(first) {
            0 => {}
            step @ 1..=16 => bits |= 1 << (step - 1),
            _ => break,
        }
        rest = after;
    }
    let [first_high, first_low] = first.to_be_bytes();
    let [bits_high, bits_low] = bits.to_be_bytes();
    Some(([first_high, first_low, bits_high, bits_low], rest))
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RtcpError, packets};
    use super::*;

    fn sequences(bytes: &[u8]) -> Vec<u16> {
        packets(bytes)
            .flat_map(|packet| match packet {
                Ok(Packet::Nack(nack)) => nack.sequences().collect::<Vec<_>>(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_pair_names_seventeen_packets() {
        let bytes = b"\x81\xcd\0\x03\0\0\0\x01\0\0\0\x02\xff\xfe\x80\x05";
        assert_eq!(sequences(bytes), [0xfffe, 0xffff, 1, 14]);
        let mut out = Vec::new();
        Nack::write_sequences(&mut out, Ssrc(1), Ssrc(2), &[0xfffe, 0xffff, 1, 14]);
        assert_eq!(out, bytes);
    }

    #[test]
    fn nothing_missing_is_no_packet() {
        let mut out = Vec::new();
        Nack::write_sequences(&mut out, Ssrc(1), Ssrc(2), &[]);
        assert!(out.is_empty());
    }

    #[test]
    fn many_missing_packets_take_several_nacks() {
        let missing: Vec<u16> = (0..=u16::MAX).step_by(17).collect();
        let mut out = Vec::new();
        Nack::write_sequences(&mut out, Ssrc(1), Ssrc(2), &missing);
        assert_eq!(sequences(&out), missing);
        assert!(packets(&out).count() > 1);
    }

    #[test]
    fn a_nack_that_names_nothing_or_half_a_pair_is_malformed() {
        assert_eq!(
            packets(b"\x81\xcd\0\x02\0\0\0\x01\0\0\0\x02").next(),
            Some(Err(RtcpError::Malformed(205)))
        );
        assert_eq!(packets(b"\x81\xcd\0\x01\0\0\0\x01").next(), Some(Err(RtcpError::Malformed(205))));
    }
}

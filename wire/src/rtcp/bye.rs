//! Goodbye (RFC 3550, 6.6).

use super::{BYE, COUNT_MAX, Raw, append, entries};
use crate::rtp::Ssrc;

/// Streams that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bye<'a> {
    /// The streams, at most 31, as their wire bytes.
    pub ssrcs: &'a [[u8; 4]],
    /// Why, for a person; hardly ever there.
    pub reason: Option<&'a [u8]>,
}

impl<'a> Bye<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Option<Self> {
        let ssrcs = entries(raw.body, usize::from(raw.count))?;
        let reason = match &raw.body[ssrcs.as_flattened().len()..] {
            [] => None,
            [length, rest @ ..] => Some(rest.get(..usize::from(*length))?),
        };
        Some(Self { ssrcs, reason })
    }

    /// The streams.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        self.ssrcs.iter().map(|ssrc| Ssrc(u32::from_be_bytes(*ssrc)))
    }

    /// Appends the packet; streams beyond the 31st and a reason's bytes beyond the 255th are left out.
    pub fn write(&self, out: &mut Vec<u8>) {
        let ssrcs = &self.ssrcs[..self.ssrcs.len().min(COUNT_MAX)];
        append(out, BYE, ssrcs.len() as u8, |out| {
            out.extend_from_slice(ssrcs.as_flattened());
            if let Some(reason) = self.reason {
                let reason = &reason[..reason.len().min(usize::from(u8::MAX))];
                out.push(reason.len() as u8);
                out.extend_from_slice(reason);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RtcpError, packets};
    use super::*;

    #[test]
    fn streams_and_reason_read_back() {
        for reason in [None, Some(&b""[..]), Some(b"bye"), Some(&[b'x'; 255])] {
            let bye = Bye { ssrcs: &[[0, 0, 0, 1], [0, 0, 0, 2]], reason };
            let mut out = Vec::new();
            bye.write(&mut out);
            assert_eq!(packets(&out).next(), Some(Ok(Packet::Bye(bye))), "{reason:?}");
        }
    }

    #[test]
    fn more_than_fits_is_left_out() {
        let ssrcs = [[7; 4]; 40];
        let mut out = Vec::new();
        Bye { ssrcs: &ssrcs, reason: Some(&[b'x'; 300]) }.write(&mut out);
        let expected = Bye { ssrcs: &ssrcs[..31], reason: Some(&[b'x'; 255]) };
        assert_eq!(packets(&out).next(), Some(Ok(Packet::Bye(expected))));
    }

    #[test]
    fn streams_or_a_reason_that_are_not_there_are_malformed() {
        for bytes in [&b"\x82\xcb\0\x01\0\0\0\x01"[..], b"\x81\xcb\0\x02\0\0\0\x01\x04bye"] {
            assert_eq!(packets(bytes).next(), Some(Err(RtcpError::Malformed(203))));
        }
        let nobody = Bye { ssrcs: &[], reason: None };
        assert_eq!(packets(b"\x80\xcb\0\0").next(), Some(Ok(Packet::Bye(nobody))));
    }
}

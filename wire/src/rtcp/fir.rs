//! Full intra request (RFC 5104, 4.3.1).

use super::{ENTRIES_MAX, PAYLOAD_FEEDBACK, Raw, append_feedback, whole_entries};
use crate::rtp::Ssrc;

/// The feedback format.
pub(super) const FORMAT: u8 = 4;

/// Asks for key frames, of several streams perhaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender: Ssrc,
    /// See [`FirEntry::from_bytes`]; not empty.
    pub entries: &'a [[u8; FirEntry::BYTES]],
}

/// One stream of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirEntry {
    /// The stream.
    pub media: Ssrc,
    /// Counts the requests of this sender for this stream: the same number again is the same request.
    pub command: u8,
}

impl FirEntry {
    /// Bytes on the wire.
    pub const BYTES: usize = 8;

    /// Reads an entry; all bytes are possible.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let [media @ .., command, _, _, _] = *bytes;
        Self { media: Ssrc(u32::from_be_bytes(media)), command }
    }

    /// The entry's bytes.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.media.0.to_be_bytes();
        [a, b, c, d, self.command, 0, 0, 0]
    }
}

impl<'a> Fir<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Option<Self> {
        // 4.3.1.2: the header's own media field is unused, the entries name the streams.
        let (sender, _, rest) = raw.feedback()?;
        let entries = whole_entries(rest).filter(|entries| !entries.is_empty())?;
        Some(Self { sender, entries })
    }

    /// The streams asked for.
    pub fn entries(&self) -> impl Iterator<Item = FirEntry> + use<'a> {
        self.entries.iter().map(FirEntry::from_bytes)
    }

    /// Appends the packet; entries beyond the 128th are left out.
    pub fn write(&self, out: &mut Vec<u8>) {
        let entries = &self.entries[..self.entries.len().min(ENTRIES_MAX / 2)];
        append_feedback(out, (PAYLOAD_FEEDBACK, FORMAT), (self.sender, Ssrc(0)), |out| {
            out.extend_from_slice(entries.as_flattened());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RtcpError, packets};
    use super::*;

    #[test]
    fn a_request_names_its_streams() {
        let entries = [
            FirEntry { media: Ssrc(0x0102_0304), command: 255 }.to_bytes(),
            FirEntry { media: Ssrc(5), command: 0 }.to_bytes(),
        ];
        let fir = Fir { sender: Ssrc(9), entries: &entries };
        let mut out = Vec::new();
        fir.write(&mut out);
        assert_eq!(out[..20], *b"\x84\xce\0\x06\0\0\0\x09\0\0\0\0\x01\x02\x03\x04\xff\0\0\0");
        assert_eq!(packets(&out).next(), Some(Ok(Packet::Fir(fir))));
        assert_eq!(fir.entries().map(|entry| entry.media.0).collect::<Vec<_>>(), [0x0102_0304, 5]);
    }

    #[test]
    fn a_request_for_nothing_or_half_a_stream_is_malformed() {
        for bytes in [&b"\x84\xce\0\x02\0\0\0\x09\0\0\0\0"[..], b"\x84\xce\0\x03\0\0\0\x09\0\0\0\0\0\0\0\x01"]
        {
            assert_eq!(packets(bytes).next(), Some(Err(RtcpError::Malformed(206))));
        }
    }
}

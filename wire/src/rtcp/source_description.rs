//! Source description (RFC 3550, 6.5).

use super::{Raw, SOURCE_DESCRIPTION, append, split_ssrc};
use crate::rtp::Ssrc;

/// Names of streams. Browsers send one chunk with one CNAME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceDescription<'a> {
    /// How many chunks, at most 31.
    count: u8,
    /// The chunks, checked by `parse`.
    chunks: &'a [u8],
}

impl<'a> SourceDescription<'a> {
    /// The item that streams of one sender share, so that a receiver may play them in step (RFC 3550, 6.5.1).
    pub const CNAME: u8 = 1;

    pub(super) fn parse(raw: Raw<'a>) -> Option<Self> {
        let mut rest = raw.body;
        for _ in 0..raw.count {
            rest = skip_chunk(rest)?;
        }
        Some(Self { count: raw.count, chunks: &raw.body[..raw.body.len() - rest.len()] })
    }

    /// All items, as (stream, kind, value).
    pub fn items(&self) -> Items<'a> {
        Items { bytes: self.chunks, position: 0, ssrc: None }
    }

    /// Each stream with its CNAME.
    pub fn cnames(&self) -> impl Iterator<Item = (Ssrc, &'a [u8])> + use<'a> {
        self.items().filter(|(_, kind, _)| *kind == Self::CNAME).map(|(ssrc, _, value)| (ssrc, value))
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        append(out, SOURCE_DESCRIPTION, self.count, |out| out.extend_from_slice(self.chunks));
    }

    /// Appends a packet that names one stream; at most 255 bytes of the name.
    pub fn write_cname(out: &mut Vec<u8>, ssrc: Ssrc, cname: &str) {
        let cname = &cname.as_bytes()[..cname.len().min(usize::from(u8::MAX))];
        append(out, SOURCE_DESCRIPTION, 1, |out| {
            out.extend_from_slice(&ssrc.0.to_be_bytes());
            out.extend_from_slice(&[Self::CNAME, cname.len() as u8]);
            out.extend_from_slice(cname);
            // At least one zero ends the chunk; `append` adds the rest of them.
            out.push(0);
        });
    }
}

/// What follows the first chunk of `bytes`, if that is whole.
fn skip_chunk(bytes: &[u8]) -> Option<&[u8]> {
    let (_, mut rest) = split_ssrc(bytes)?;
    loop {
        match rest {
            [0, ..] => break,
            [_, length, after @ ..] => rest = after.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
    // The zero that ended the chunk, and more up to a multiple of four from the packet's start.
    bytes.get((bytes.len() - rest.len() + 1).next_multiple_of(4)..)
}

/// See [`SourceDescription::items`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The chunk that `position` is in, if it is in one.
    ssrc: Option<Ssrc>,
}

impl<'a> Iterator for Items<'a> {
    type Item = (Ssrc, u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.bytes.get(self.position..)?;
            let Some(ssrc) = self.ssrc else {
                let (ssrc, _) = split_ssrc(rest)?;
                self.ssrc = Some(ssrc);
                self.position += 4;
                continue;
            };
            match rest {
                [0, ..] => {
                    self.ssrc = None;
                    self.position = (self.position + 1).next_multiple_of(4);
                }
                [kind, length, rest @ ..] => {
                    let value = rest.get(..usize::from(*length))?;
                    self.position += 2 + value.len();
                    return Some((ssrc, *kind, value));
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RtcpError, packets};
    use super::*;

    fn parse(bytes: &[u8]) -> SourceDescription<'_> {
        match packets(bytes).next() {
            Some(Ok(Packet::SourceDescription(description))) => description,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_of_any_length_reads_back() {
        for length in 0..=256 {
            let cname = "c".repeat(length);
            let mut out = Vec::new();
            SourceDescription::write_cname(&mut out, Ssrc(7), &cname);
            let read: Vec<_> = parse(&out).cnames().collect();
            assert_eq!(read, [(Ssrc(7), &cname.as_bytes()[..length.min(255)])]);
        }
    }

    #[test]
    fn chunks_and_items_read_in_order() {
        let bytes = b"\x83\xca\0\x0a\0\0\0\x01\x01\x02ab\x0c\x01r\0\0\0\0\x02\0\0\0\0\
            \0\0\0\x03\x06\0\x01\x01z\0\0\0\0\0\0\0";
        let bytes = &bytes[..bytes.len() - 4];
        let mut bytes = bytes.to_vec();
        bytes[3] = ((bytes.len() - 4) / 4) as u8;
        let description = parse(&bytes);
        let items: Vec<_> = description.items().collect();
        assert_eq!(
            items,
            [(Ssrc(1), 1, &b"ab"[..]), (Ssrc(1), 12, b"r"), (Ssrc(3), 6, b""), (Ssrc(3), 1, b"z"),]
        );
        assert_eq!(description.cnames().count(), 2);
        let mut again = Vec::new();
        description.write(&mut again);
        assert_eq!(again, bytes);
    }

    #[test]
    fn a_chunk_without_an_end_is_malformed() {
        for bytes in [
            &b"\x81\xca\0\x01\0\0\0\x01"[..],
            b"\x81\xca\0\x02\0\0\0\x01\x01\x02ab",
            b"\x81\xca\0\x02\0\0\0\x01\x01\x03ab",
            b"\x81\xca\0\x02\0\0\0\x01\x01\x01a\x01",
            b"\x82\xca\0\x02\0\0\0\x01\x01\0\0\0",
        ] {
            assert_eq!(packets(bytes).next(), Some(Err(RtcpError::Malformed(202))), "{bytes:?}");
        }
    }
}

//! DTLS 1.2 records as they lie in a datagram (RFC 6347, 4.1).

use super::Ignored;

/// One record of a datagram. Several may follow each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) content_type: ContentType,
    pub(super) epoch: u16,
    pub(super) payload: &'a [u8],
    /// Header and payload, as received.
    pub(super) bytes: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentType {
    ChangeCipherSpec = 20,
    Alert = 21,
    Handshake = 22,
    ApplicationData = 23,
}

/// The records of a datagram in order; the first malformed one ends it.
pub(super) fn split(datagram: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Ignored>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = parse(rest);
        rest = record.as_ref().map_or(&[][..], |record| &rest[record.bytes.len()..]);
        Some(record.ok_or(Ignored::Malformed))
    })
}

/// A plaintext record with our own sequence number, for the library's replay window, which forgeries must not move.
pub(super) fn build(content_type: ContentType, sequence: u32, payload: &[&[u8]]) -> Vec<u8> {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    // Invariant: callers build from messages of at most 9 KiB.
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    let mut record = vec![content_type as u8, VERSION_MAJOR, VERSION_MINOR_1_2, 0, 0, 0, 0];
    record.extend_from_slice(&sequence.to_be_bytes());
    record.extend_from_slice(&length.to_be_bytes());
    payload.iter().for_each(|part| record.extend_from_slice(part));
    record
}

fn parse(bytes: &[u8]) -> Option<Record<'_>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let content_type = match header[0] {
        20 => ContentType::ChangeCipherSpec,
        21 => ContentType::Alert,
        22 => ContentType::Handshake,
        23 => ContentType::ApplicationData,
        _ => return None,
    };
    // 4.2.1: a first ClientHello may carry DTLS 1.0 in its record header.
    if header[1] != VERSION_MAJOR || ![VERSION_MINOR_1_0, VERSION_MINOR_1_2].contains(&header[2]) {
        return None;
    }
    let epoch = u16::from_be_bytes([header[3], header[4]]);
    let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
    let payload = rest.get(..length)?;
    Some(Record { content_type, epoch, payload, bytes: &bytes[..HEADER_BYTES + length] })
}

const HEADER_BYTES: usize = 13;

/// DTLS versions count down: 1.0 is 254.255, 1.2 is 254.253.
const VERSION_MAJOR: u8 = 254;
const VERSION_MINOR_1_0: u8 = 255;
const VERSION_MINOR_1_2: u8 = 253;

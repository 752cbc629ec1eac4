//! Handshake messages out of their fragments, within bounds (RFC 6347, 4.2.3).
//!
//! Fragments may repeat, overlap and come in any order. Two that disagree about their message's type or length belong to
//! different messages, so that a forged fragment cannot spoil a real message; a wrong message is simply not the last.

use super::identity::u24;
use super::{Ignored, MESSAGE_BYTES_MAX};

/// A part of a message, as it stands in a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'a> {
    pub(super) kind: u8,
    /// Length of the whole message's body.
    pub(super) length: usize,
    sequence: u16,
    offset: usize,
    part: &'a [u8],
}

/// A whole message: its twelve-byte header, as if it had never been fragmented, and its body.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) sequence: u16,
    pub(super) bytes: Vec<u8>,
}

/// The unfinished messages of one peer, oldest first.
#[derive(Default)]
pub(super) struct Reassembly {
    partials: Vec<Partial>,
}

struct Partial {
    message: Message,
    /// For each byte of the body, whether it has come.
    has: Vec<bool>,
    missing: usize,
}

impl Message {
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }
}

impl Reassembly {
    /// Adds a fragment and gives the message it completes.
    pub(super) fn push(&mut self, fragment: &Fragment<'_>) -> Result<Option<Message>, Ignored> {
        if fragment.length > MESSAGE_BYTES_MAX || fragment.sequence > SEQUENCE_MAX {
            return Err(Ignored::TooLarge);
        }
        if fragment.part.len() == fragment.length {
            self.partials.retain(|partial| !partial.is_of(fragment));
            return Ok(Some(Partial::new(fragment).filled(fragment)));
        }
        if fragment.part.is_empty() {
            return Err(Ignored::BadFragment);
        }
        let at = self.partials.iter().position(|partial| partial.is_of(fragment)).unwrap_or_else(|| {
            self.make_room(fragment.length);
            self.partials.push(Partial::new(fragment));
            self.partials.len() - 1
        });
        self.partials[at].fill(fragment);
        if self.partials[at].missing > 0 {
            return Ok(None);
        }
        Ok(Some(self.partials.remove(at).message))
    }

    /// What the unfinished messages take.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.partials.iter().map(|partial| cost(partial.has.len())).sum()
    }

    /// Forgets the oldest unfinished messages until one more of this length fits.
    fn make_room(&mut self, length: usize) {
        while !self.partials.is_empty() && self.buffered_bytes() + cost(length) > BUFFERED_BYTES_MAX {
            self.partials.remove(0);
        }
    }
}

impl Partial {
    fn new(fragment: &Fragment<'_>) -> Self {
        // Invariant: a length of at most MESSAGE_BYTES_MAX fits 24 bits.
        let [.., high, middle, low] = fragment.length.to_be_bytes();
        let [sequence_high, sequence_low] = fragment.sequence.to_be_bytes();
        let mut bytes = vec![fragment.kind, high, middle, low, sequence_high, sequence_low];
        bytes.extend_from_slice(&[0, 0, 0, high, middle, low]);
        bytes.resize(HEADER_BYTES + fragment.length, 0);
        Self {
            message: Message { kind: fragment.kind, sequence: fragment.sequence, bytes },
            has: vec![false; fragment.length],
            missing: fragment.length,
        }
    }

    fn is_of(&self, fragment: &Fragment<'_>) -> bool {
        let message = &self.message;
        (message.sequence, message.kind, self.has.len())
            == (fragment.sequence, fragment.kind, fragment.length)
    }

    fn fill(&mut self, fragment: &Fragment<'_>) {
        let range = fragment.offset..fragment.offset + fragment.part.len();
        self.message.bytes[HEADER_BYTES..][range.clone()].copy_from_slice(fragment.part);
        for has in &mut self.has[range] {
            self.missing -= usize::from(!*has);
            *has = true;
        }
    }

    fn filled(mut self, fragment: &Fragment<'_>) -> Message {
        self.fill(fragment);
        self.message
    }
}

/// A message of this length in memory: each byte, and whether it has come.
fn cost(length: usize) -> usize {
    2 * length + PARTIAL_OVERHEAD_BYTES
}

/// The first fragment of a record's payload, and what follows it.
pub(super) fn parse_fragment(payload: &[u8]) -> Result<(Fragment<'_>, &[u8]), Ignored> {
    let (header, rest) = payload.split_first_chunk::<HEADER_BYTES>().ok_or(Ignored::BadFragment)?;
    let [kind, l0, l1, l2, s0, s1, o0, o1, o2, p0, p1, p2] = *header;
    let (length, offset) = (u24([l0, l1, l2]), u24([o0, o1, o2]));
    let (part, after) = rest.split_at_checked(u24([p0, p1, p2])).ok_or(Ignored::BadFragment)?;
    if offset + part.len() > length {
        return Err(Ignored::BadFragment);
    }
    Ok((Fragment { kind, length, sequence: u16::from_be_bytes([s0, s1]), offset, part }, after))
}

const HEADER_BYTES: usize = 12;

/// A client sends two hellos, Certificate, ClientKeyExchange, CertificateVerify and Finished: 0 to 5.
const SEQUENCE_MAX: u16 = 7;

/// Our share of an endpoint's 64 KiB: one Certificate of the largest size in fragments, and a hello beside it.
const BUFFERED_BYTES_MAX: usize = 24 * 1024;

/// About what a Partial takes besides its two vectors' contents.
const PARTIAL_OVERHEAD_BYTES: usize = 128;

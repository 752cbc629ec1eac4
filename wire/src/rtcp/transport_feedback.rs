//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).
//!
//! ```text
//! | sender ssrc | media ssrc |
//! | base sequence    | status count       |
//! | reference time (24) | feedback count  |
//! | chunk | chunk | ...  one status a packet: missing, small delta, large delta
//! | delta | delta | ...  one or two bytes for each packet that arrived
//! ```

use super::{Raw, split_u32};
use crate::rtp::Ssrc;

mod recorder;
mod write;

pub use recorder::ArrivalRecorder;
pub use write::FeedbackTarget;

/// The feedback format.
pub(super) const FORMAT: u8 = 15;

/// Arrival times are told in steps of this many microseconds.
pub const TICK_US: i64 = 250;

/// The reference time counts 64 ms.
const TICKS_PER_REFERENCE: i64 = 64_000 / TICK_US;

/// A two-bit status.
const MISSING: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

/// A packet that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its number on the transport, modulo 2^16.
    pub sequence: u16,
    /// Microseconds since an instant the receiver chose. On the wire a multiple of 250, modulo 12 days.
    pub at_us: i64,
}

/// When the packets of one transport arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportFeedback<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// Any stream of the reported transport.
    pub media: Ssrc,
    /// The first packet reported.
    pub base_sequence: u16,
    /// How many packets are reported, from the first on: those that [`TransportFeedback::received`] leaves out are
    /// missing. Never 0; up to 65,535 whatever the packet's size.
    pub status_count: u16,
    /// Counts the feedback packets.
    pub feedback_count: u8,
    /// In 64 ms, 24 bits with sign.
    reference: i32,
    /// Covers at least `status_count`; checked by `parse`.
    chunks: &'a [[u8; 2]],
    /// Exactly the bytes the chunks ask for; checked by `parse`.
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Option<Self> {
        let (sender, media, rest) = raw.feedback()?;
        let (numbers, rest) = split_u32(rest)?;
        let (times, rest) = split_u32(rest)?;
        let status_count = numbers as u16;
        if status_count == 0 {
            return None;
        }
        let (chunks_len, deltas_len) = measure(rest, status_count)?;
        let (chunks, rest) = rest.split_at(chunks_len);
        Some(Self {
            sender,
            media,
            base_sequence: (numbers >> 16) as u16,
            status_count,
            feedback_count: times as u8,
            reference: times as i32 >> 8,
            chunks: chunks.as_chunks().0,
            deltas: rest.get(..deltas_len)?,
        })
    }

    /// The packets that arrived, ascending (modulo 2^16) from the base. The work is bounded by the bytes of the packet,
    /// not by `status_count`.
    pub fn received(&self) -> Received<'a> {
        Received {
            chunks: self.chunks,
            chunk: Chunk::EMPTY,
            deltas: self.deltas,
            sequence: self.base_sequence,
            left: usize::from(self.status_count),
            ticks: i64::from(self.reference) * TICKS_PER_REFERENCE,
        }
    }
}

/// Lengths in bytes of the chunks that `status_count` statuses need and of the deltas that these ask for.
fn measure(bytes: &[u8], status_count: u16) -> Option<(usize, usize)> {
    let mut left = usize::from(status_count);
    let mut deltas_len = 0;
    let chunks = bytes.as_chunks::<2>().0;
    for (index, chunk) in chunks.iter().enumerate() {
        let chunk = Chunk::from_bytes(*chunk)?;
        let count = chunk.count.min(left);
        deltas_len += chunk.delta_bytes(count)?;
        left -= count;
        if left == 0 {
            return Some(((index + 1) * 2, deltas_len));
        }
    }
    None
}

/// Statuses not yet looked at, in one of the wire's three forms.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    /// How many.
    count: usize,
    /// The statuses of a vector, the next one topmost; of a run, the one status.
    bits: u16,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Run,
    OneBit,
    TwoBits,
}

impl Chunk {
    const EMPTY: Self = Self { count: 0, bits: 0, form: Form::Run };

    /// 3.1.3 and 3.1.4. A run of the reserved status 3 is refused.
    fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        let word = u16::from_be_bytes(bytes);
        match word >> 14 {
            0b10 => Some(Self { count: 14, bits: word << 2, form: Form::OneBit }),
            0b11 => Some(Self { count: 7, bits: word << 2, form: Form::TwoBits }),
            _ => {
                let status = word >> 13;
                (status != 3).then_some(Self {
                    count: usize::from(word & 0x1fff),
                    bits: status,
                    form: Form::Run,
                })
            }
        }
    }

    /// The next status.
    fn pop(&mut self) -> u8 {
        self.count = self.count.saturating_sub(1);
        match self.form {
            Form::Run => self.bits as u8,
            Form::OneBit => {
                let status = (self.bits >> 15) as u8;
                self.bits <<= 1;
                status
            }
            Form::TwoBits => {
                let status = (self.bits >> 14) as u8;
                self.bits <<= 2;
                status
            }
        }
    }

    /// Bytes of deltas that the first `count` statuses ask for; `None` when one of them is the reserved 3.
    fn delta_bytes(mut self, count: usize) -> Option<usize> {
        if self.form == Form::Run {
            return Some(count * usize::from(self.bits));
        }
        let mut sum = 0;
        for _ in 0..count {
            let status = self.pop();
            if status > LARGE_DELTA {
                return None;
            }
            sum += usize::from(status);
        }
        Some(sum)
    }
}

/// See [`TransportFeedback::received`].
#[derive(Debug, Clone)]
pub struct Received<'a> {
    chunks: &'a [[u8; 2]],
    chunk: Chunk,
    deltas: &'a [u8],
    /// Of the next status.
    sequence: u16,
    /// Statuses still to come.
    left: usize,
    /// Of the last arrival.
    ticks: i64,
}

impl Iterator for Received<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        while self.left > 0 {
            if self.chunk.count == 0 {
                let (chunk, rest) = self.chunks.split_first()?;
                self.chunk = Chunk::from_bytes(*chunk)?;
                self.chunks = rest;
                self.skip_missing_run();
                continue;
            }
            let sequence = self.sequence;
            let status = self.chunk.pop();
            self.sequence = sequence.wrapping_add(1);
            self.left -= 1;
            if status != MISSING {
                self.ticks += self.next_delta(status)?;
                return Some(Arrival { sequence, at_us: self.ticks * TICK_US });
            }
        }
        None
    }
}

impl Received<'_> {
    /// Steps over a run of missing packets at once: 16 bytes can claim 65,535 of them.
    fn skip_missing_run(&mut self) {
        if self.chunk.form == Form::Run && self.chunk.bits == u16::from(MISSING) {
            let count = self.chunk.count.min(self.left);
            self.sequence = self.sequence.wrapping_add(count as u16);
            self.left -= count;
            self.chunk = Chunk::EMPTY;
        }
    }

    fn next_delta(&mut self, status: u8) -> Option<i64> {
        if status == SMALL_DELTA {
            let (delta, rest) = self.deltas.split_first()?;
            self.deltas = rest;
            return Some(i64::from(*delta));
        }
        let (delta, rest) = self.deltas.split_first_chunk()?;
        self.deltas = rest;
        Some(i64::from(i16::from_be_bytes(*delta)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RtcpError, TRANSPORT_FEEDBACK, append_feedback, packets};
    use super::*;

    /// A packet with the given fields behind the two streams.
    fn packet(base: u16, status_count: u16, reference: u32, rest: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append_feedback(&mut out, (TRANSPORT_FEEDBACK, FORMAT), (Ssrc(1), Ssrc(2)), |out| {
            out.extend_from_slice(&base.to_be_bytes());
            out.extend_from_slice(&status_count.to_be_bytes());
            out.extend_from_slice(&(reference << 8 | 7).to_be_bytes());
            out.extend_from_slice(rest);
        });
        out
    }

    fn parse(bytes: &[u8]) -> Result<TransportFeedback<'_>, RtcpError> {
        match packets(bytes).next().unwrap()? {
            Packet::TransportFeedback(feedback) => Ok(feedback),
            other => panic!("{other:?}"),
        }
    }

    fn received(bytes: &[u8]) -> Vec<(u16, i64)> {
        parse(bytes).unwrap().received().map(|arrival| (arrival.sequence, arrival.at_us)).collect()
    }

    #[test]
    fn a_run_a_one_bit_vector_and_a_two_bit_vector_read_in_order() {
        // Two small deltas; then missing, small, and 12 missing; then large, missing, and 5 that are not counted.
        let rest = b"\x20\x02\x90\x00\xe0\x00\x04\x08\x0c\xff\xfc";
        assert_eq!(
            received(&packet(100, 18, 1, rest)),
            [(100, 65_000), (101, 67_000), (103, 70_000), (116, 69_000)]
        );
    }

    #[test]
    fn numbers_wrap_and_the_reference_has_a_sign() {
        assert_eq!(
            received(&packet(65_535, 2, 0xff_ffff, b"\x20\x02\x00\x01")),
            [(65_535, -64_000), (0, -63_750)]
        );
    }

    #[test]
    fn what_a_chunk_tells_beyond_the_count_is_not_counted() {
        // A run of 8,191 small deltas of which one is counted, and so needs one byte of delta.
        assert_eq!(received(&packet(5, 1, 0, b"\x3f\xff\x01")), [(5, 250)]);
    }

    #[test]
    fn sixty_five_thousand_missing_packets_cost_nothing() {
        // Eight runs of 8,191 missing packets; one small delta and six more missing, of a vector of 14.
        let runs = [0x1f, 0xff].repeat(8);
        let bytes = packet(0, u16::MAX, 0, &[&runs[..], &[0xa0, 0x00, 0x03]].concat());
        assert_eq!(parse(&bytes).unwrap().status_count, u16::MAX);
        assert_eq!(received(&bytes), [(65_528, 750)]);
        assert!(parse(&packet(0, u16::MAX, 0, &runs)).is_err(), "the runs alone are 7 too few");
    }

    #[test]
    fn sums_of_extreme_deltas_stay_in_range() {
        let mut rest = vec![0x44, 0x00];
        for _ in 0..1_024 {
            rest.extend_from_slice(&i16::MIN.to_be_bytes());
        }
        let read = received(&packet(0, 1_024, 0x80_0000, &rest));
        assert_eq!(read.len(), 1_024);
        assert_eq!(read[1_023].1, -0x80_0000 * 64_000 - 1_024 * 32_768 * TICK_US);
    }

    #[test]
    fn missing_chunks_missing_deltas_and_the_reserved_status_are_malformed() {
        for (what, status_count, rest) in [
            ("no statuses", 0, &b"\x20\x01\x00\x00"[..]),
            ("no chunks", 1, b""),
            ("too few chunks", 15, b"\x80\x00"),
            ("chunks of no length", 1, b"\x00\x00\x00\x00"),
            ("too few small deltas", 3, b"\x20\x03\x01\x01"),
            ("too few large deltas", 2, b"\xe8\x00\x00\x01"),
            ("a run of the reserved status", 1, b"\x60\x01\x00\x00"),
            ("the reserved status in a vector", 1, b"\xf0\x00\x00\x00"),
        ] {
            assert_eq!(parse(&packet(0, status_count, 0, rest)), Err(RtcpError::Malformed(205)), "{what}");
        }
        // Behind what is counted the reserved status means nothing.
        assert_eq!(received(&packet(9, 1, 0, b"\xdc\x00\x01\x00")), [(9, 250)]);
    }
}

//! Writing transport feedback: from a list of arrivals, or as it was read.

use super::super::{TRANSPORT_FEEDBACK, append_feedback};
use super::{
    Arrival, FORMAT, LARGE_DELTA, MISSING, SMALL_DELTA, TICK_US, TICKS_PER_REFERENCE, TransportFeedback,
};
use crate::rtp::Ssrc;

/// What one run-length chunk can hold. A longer gap in the numbers is not worth telling.
const STATUSES_MAX: usize = 8_191;

/// Chunks and deltas of one packet: with SRTCP's trailer around it, it stays below any path's MTU.
const BODY_BYTES_MAX: usize = 1_100;

/// The fixed fields of a feedback packet about to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackTarget {
    /// Who reports.
    pub sender: Ssrc,
    /// Any stream of the reported transport.
    pub media: Ssrc,
    /// Counts the feedback packets.
    pub feedback_count: u8,
}

impl TransportFeedback<'_> {
    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        let target =
            FeedbackTarget { sender: self.sender, media: self.media, feedback_count: self.feedback_count };
        let span = Span {
            base_sequence: self.base_sequence,
            status_count: self.status_count,
            reference: self.reference,
        };
        append_body(out, target, &span, |out| {
            out.extend_from_slice(self.chunks.as_flattened());
            out.extend_from_slice(self.deltas);
        });
    }

    /// Appends one packet that reports `arrivals`, which ascend by sequence number (modulo 2^16), and says how many of
    /// them it holds: at least one unless there are none. The rest, which lies too far ahead in number or in time, needs
    /// a packet of its own.
    pub fn write_arrivals(out: &mut Vec<u8>, target: FeedbackTarget, arrivals: &[Arrival]) -> usize {
        let Some(first) = arrivals.first() else { return 0 };
        let reference = first.at_us.div_euclid(TICK_US * TICKS_PER_REFERENCE);
        let plan = Plan::of(arrivals, reference * TICKS_PER_REFERENCE);
        let span = Span {
            base_sequence: first.sequence,
            status_count: plan.statuses.len() as u16,
            reference: reference as i32,
        };
        append_body(out, target, &span, |out| {
            append_chunks(out, &plan.statuses);
            out.extend_from_slice(&plan.deltas);
        });
        plan.taken
    }
}

/// What one packet will say of some arrivals.
struct Plan {
    statuses: Vec<u8>,
    deltas: Vec<u8>,
    /// How many arrivals that is.
    taken: usize,
}

impl Plan {
    /// Takes arrivals as long as their numbers and times can be told, the first of them `ticks` after a multiple of 64
    /// ms, which always can.
    fn of(arrivals: &[Arrival], mut ticks: i64) -> Self {
        let mut plan = Self { statuses: Vec::new(), deltas: Vec::new(), taken: 0 };
        let mut expected = arrivals.first().map_or(0, |first| first.sequence);
        let mut body_bytes = 0;
        for arrival in arrivals {
            let missing = usize::from(arrival.sequence.wrapping_sub(expected));
            let at = arrival.at_us.div_euclid(TICK_US);
            let Ok(delta) = i16::try_from(at.saturating_sub(ticks)) else { break };
            body_bytes += bytes_at_most(missing);
            if plan.statuses.len() + missing >= STATUSES_MAX || body_bytes > BODY_BYTES_MAX {
                break;
            }
            plan.statuses.resize(plan.statuses.len() + missing, MISSING);
            if let Ok(small) = u8::try_from(delta) {
                plan.statuses.push(SMALL_DELTA);
                plan.deltas.push(small);
            } else {
                plan.statuses.push(LARGE_DELTA);
                plan.deltas.extend_from_slice(&delta.to_be_bytes());
            }
            plan.taken += 1;
            ticks = at;
            expected = arrival.sequence.wrapping_add(1);
        }
        plan
    }
}

/// What an arrival behind `missing` packets takes at most: its delta, and one chunk, or two when the packets missing before
/// it need a run of their own.
fn bytes_at_most(missing: usize) -> usize {
    if missing < 7 { 2 + 2 } else { 2 + 4 }
}

/// What a packet reports on, and from which time on.
struct Span {
    base_sequence: u16,
    status_count: u16,
    /// In 64 ms; the wire has its lower 24 bits.
    reference: i32,
}

/// Appends the packet, `write` its chunks and deltas.
fn append_body(out: &mut Vec<u8>, target: FeedbackTarget, span: &Span, write: impl FnOnce(&mut Vec<u8>)) {
    append_feedback(out, (TRANSPORT_FEEDBACK, FORMAT), (target.sender, target.media), |out| {
        out.extend_from_slice(&span.base_sequence.to_be_bytes());
        out.extend_from_slice(&span.status_count.to_be_bytes());
        let times = ((span.reference as u32) << 8) | u32::from(target.feedback_count);
        out.extend_from_slice(&times.to_be_bytes());
        write(out);
    });
}

/// Tells `statuses` in chunks, each in the form that holds most of what is left.
fn append_chunks(out: &mut Vec<u8>, mut statuses: &[u8]) {
    while let Some(&first) = statuses.first() {
        let run = statuses.iter().take_while(|status| **status == first).count();
        let window = &statuses[..statuses.len().min(14)];
        let is_one_bit = !window.contains(&LARGE_DELTA);
        let vector_len = if is_one_bit { window.len() } else { window.len().min(7) };
        let (word, count) = if run >= vector_len {
            ((u16::from(first) << 13) | run as u16, run)
        } else if is_one_bit {
            (vector(0b10, 1, window), vector_len)
        } else {
            (vector(0b11, 2, &window[..vector_len]), vector_len)
        };
        out.extend_from_slice(&word.to_be_bytes());
        statuses = &statuses[count..];
    }
}

/// A vector chunk of at most 14 bits, the first status topmost.
fn vector(prefix: u16, bits_each: u32, statuses: &[u8]) -> u16 {
    let bits = statuses.iter().fold(0, |bits, status| bits << bits_each | u16::from(*status));
    prefix << 14 | bits << (14 - bits_each * statuses.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Packet, packets};
    use super::*;

    const TARGET: FeedbackTarget = FeedbackTarget { sender: Ssrc(1), media: Ssrc(2), feedback_count: 7 };

    fn parse(bytes: &[u8]) -> TransportFeedback<'_> {
        match packets(bytes).next() {
            Some(Ok(Packet::TransportFeedback(feedback))) => feedback,
            other => panic!("{other:?}"),
        }
    }

    fn arrivals(list: &[(u16, i64)]) -> Vec<Arrival> {
        list.iter().map(|&(sequence, at_us)| Arrival { sequence, at_us }).collect()
    }

    #[test]
    fn arrivals_read_back_at_the_precision_of_the_wire() {
        let list = arrivals(&[
            (65_533, 1_000_000),
            (65_534, 1_000_249),
            (65_535, 1_000_250),
            (2, 1_100_000),
            (3, 1_099_000),
            (40, 1_163_750),
        ]);
        let mut bytes = Vec::new();
        assert_eq!(TransportFeedback::write_arrivals(&mut bytes, TARGET, &list), 6);
        let feedback = parse(&bytes);
        assert_eq!((feedback.sender, feedback.media, feedback.feedback_count), (Ssrc(1), Ssrc(2), 7));
        assert_eq!((feedback.base_sequence, feedback.status_count), (65_533, 44));
        assert_eq!(
            feedback.received().map(|arrival| (arrival.sequence, arrival.at_us)).collect::<Vec<_>>(),
            [
                (65_533, 1_000_000),
                (65_534, 1_000_000),
                (65_535, 1_000_250),
                (2, 1_100_000),
                (3, 1_099_000),
                (40, 1_163_750),
            ]
        );
        let mut again = Vec::new();
        feedback.write(&mut again);
        assert_eq!(again, bytes);
    }

    #[test]
    fn what_cannot_be_told_in_one_packet_is_left_for_the_next() {
        let mut out = Vec::new();
        assert_eq!(TransportFeedback::write_arrivals(&mut out, TARGET, &[]), 0);
        assert!(out.is_empty());
        for (what, second) in [
            ("9 s later", (1, 9_000_000)),
            ("9 s earlier", (1, -9_000_000)),
            ("9,000 numbers later", (9_000, 0)),
            ("a number before", (u16::MAX, 0)),
            ("the same number", (0, 0)),
        ] {
            let list = arrivals(&[(0, 0), second]);
            assert_eq!(TransportFeedback::write_arrivals(&mut out, TARGET, &list), 1, "{what}");
            assert_eq!(TransportFeedback::write_arrivals(&mut out, TARGET, &list[1..]), 1, "{what}");
        }
    }

    #[test]
    fn a_packet_of_ours_fits_any_path() {
        // Every delta large and the statuses as irregular as can be.
        let list: Vec<Arrival> = (0..5_000u16)
            .map(|index| Arrival { sequence: index * 3, at_us: i64::from(index % 2) * 1_000_000 })
            .collect();
        let mut out = Vec::new();
        let taken = TransportFeedback::write_arrivals(&mut out, TARGET, &list);
        assert!(taken >= 250 && out.len() <= 1_120, "{taken} arrivals in {} bytes", out.len());
    }
}

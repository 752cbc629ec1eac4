//! Packets on their way to other parts of their conference: written once by the engine, copied by the shell into each
//! part's ring, and forgotten.

use std::time::Instant;

use crate::engine::packet::{LayerRef, Notes};
use crate::engine::ports::PartId;
use crate::engine::source::SourceId;

/// What crosses of one packet besides its bytes. The shell carries it unread.
#[derive(Debug, Clone, Copy)]
pub struct Crossing {
    /// Whose packet it is. Known to both sides under the same name.
    pub(crate) source: SourceId,
    pub(crate) carried: Carried,
    received_at: Instant,
    length: u16,
}

/// What a crossing is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Carried {
    /// A whole packet, for those who are shown its source.
    Packet(CrossingPacket),
    /// How loud a packet was that nobody there is to hear: for the part that ranks the voices.
    Level(u8),
}

/// What was noted of a packet that crosses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CrossingPacket {
    /// The stream it belongs to.
    pub layer: LayerRef,
    /// Its sequence number beyond 16 bits.
    pub ext_seq: u64,
    /// What was found in it when it was opened.
    pub notes: Notes,
    /// The layer that slots should show.
    pub wanted: u8,
}

impl Crossing {
    /// A packet of `length` bytes.
    pub(crate) fn packet(
        received_at: Instant,
        source: SourceId,
        packet: CrossingPacket,
        length: usize,
    ) -> Self {
        // Invariant: no cached packet is longer than an Ethernet frame.
        Self { source, carried: Carried::Packet(packet), received_at, length: length as u16 }
    }

    /// How loud a packet was, 0 loudest and 127 silent.
    pub(crate) fn level(received_at: Instant, source: SourceId, level_dbov: u8) -> Self {
        Self { source, carried: Carried::Level(level_dbov), received_at, length: 0 }
    }

    /// Any packet of so many bytes, for tests of what carries it.
    #[cfg(test)]
    pub(crate) fn sample(received_at: Instant, length: usize) -> Self {
        let layer = LayerRef { index: 0, generation: 1 };
        let packet = CrossingPacket { layer, ext_seq: 7, notes: Notes::default(), wanted: 0 };
        Self::packet(received_at, SourceId(1), packet, length)
    }

    /// How many bytes belong to it.
    pub fn length(&self) -> usize {
        self.length.into()
    }

    /// When the packet came to the part that it crosses from: forwarding latency counts from there.
    pub fn received_at(&self) -> Instant {
        self.received_at
    }
}

/// What waits to be carried across. The shell empties it after every `handle_*`.
#[derive(Debug, Default)]
pub struct Crossings {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    part: PartId,
    crossing: Crossing,
    /// Where its bytes begin; parts that get the same packet share them.
    start: u32,
}

impl Crossings {
    /// Queues one crossing for each of `parts`. False when there is no room.
    pub(crate) fn push(&mut self, parts: &[PartId], crossing: Crossing, bytes: &[u8]) -> bool {
        if self.bytes.len() + bytes.len() > BYTES_MAX || self.entries.len() + parts.len() > ENTRIES_MAX {
            return false;
        }
        // Invariant: below the limit, which fits.
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        self.entries.extend(parts.iter().map(|part| Entry { part: *part, crossing, start }));
        true
    }

    /// In the order they were written, each with the part it is for and its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (PartId, &Crossing, &[u8])> {
        self.entries.iter().map(|entry| {
            let start = entry.start as usize;
            (entry.part, &entry.crossing, &self.bytes[start..start + entry.crossing.length()])
        })
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets them all; the memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}

/// What one call into the engine can bring about is a packet or two; a batch of them is far below this.
const BYTES_MAX: usize = 1024 * 1024;

/// The same, for a conference with a part on each of a few dozen workers.
const ENTRIES_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(length: usize) -> Crossing {
        Crossing::sample(Instant::now(), length)
    }

    #[test]
    fn a_packet_for_two_parts_is_written_once() {
        let (mut crossings, one, other) = (Crossings::default(), PartId(1), PartId(2));
        assert!(crossings.push(&[one, other], sample(3), &[1, 2, 3]));
        assert!(crossings.push(&[other], sample(2), &[4, 5]));
        let seen: Vec<_> = crossings.iter().map(|(part, _, bytes)| (part, bytes.to_vec())).collect();
        assert_eq!(seen, [(one, vec![1, 2, 3]), (other, vec![1, 2, 3]), (other, vec![4, 5])]);
        assert_eq!(crossings.bytes.len(), 5);
        crossings.clear();
        assert!(crossings.is_empty() && crossings.iter().next().is_none());
    }

    #[test]
    fn what_nobody_carries_away_does_not_grow_without_end() {
        let mut crossings = Crossings::default();
        let taken = (0..10_000).filter(|_| crossings.push(&[PartId(1)], sample(1_000), &[0; 1_000])).count();
        assert_eq!(taken, BYTES_MAX / 1_000);
        crossings.clear();
        let taken = (0..100_000).filter(|_| crossings.push(&[PartId(1)], sample(0), &[])).count();
        assert_eq!(taken, ENTRIES_MAX);
    }
}

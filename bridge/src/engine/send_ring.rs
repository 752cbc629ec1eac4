//! The datagrams to send, in the order they were written. The engine seals straight into it; the shell drains it after
//! every `handle_*` with as few system calls as it can.
//!
//! ```text
//! bytes    | header ciphertext tag | header ciphertext tag | ...          one arena, warm after the first bursts
//! entries  | path, start, length   | path, start, length   | ...          the same order
//! ```
//!
//! Invariant: entries lie in `bytes` one behind the other without gaps, so equal-sized neighbours of one path are one
//! GSO message as they stand.

use super::ports::Path;

/// A queue of datagrams in one piece of memory.
#[derive(Debug, Default)]
pub struct SendRing {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    used: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    path: Path,
    start: usize,
    length: usize,
}

impl SendRing {
    /// Lets `write` fill a datagram of at most `length_max` bytes for `path`; it returns how many bytes it wrote, or
    /// none to write nothing. False when the ring is full or nothing was written.
    pub(crate) fn write_with(
        &mut self,
        path: Path,
        length_max: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let end = self.used + length_max;
        if end > BYTES_MAX || self.entries.len() == DATAGRAMS_MAX {
            return false;
        }
        if end > self.bytes.len() {
            // Doubling: a steady load stops growing it after its first bursts.
            self.bytes.resize(end.next_power_of_two().max(BYTES_FIRST), 0);
        }
        let Some(length) = write(&mut self.bytes[self.used..end]) else { return false };
        debug_assert!(length <= length_max);
        self.entries.push(Entry { path, start: self.used, length });
        self.used += length;
        true
    }

    /// Queues a copy of `datagram`. False when the ring is full.
    pub(crate) fn push(&mut self, path: Path, datagram: &[u8]) -> bool {
        self.write_with(path, datagram.len(), |out| {
            out.copy_from_slice(datagram);
            Some(datagram.len())
        })
    }

    /// The datagrams, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Path, &[u8])> {
        self.entries.iter().map(|entry| (entry.path, &self.bytes[entry.start..entry.start + entry.length]))
    }

    /// How many datagrams wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets them all; the memory stays.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.used = 0;
    }
}

/// One fan-out to 5,000 receivers, twice: drained after each datagram it never fills.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// As many as `BYTES_MAX` holds of the smallest common datagram, a 100-byte opus packet with its tag.
const DATAGRAMS_MAX: usize = BYTES_MAX / 128;

/// A burst to fifty receivers.
const BYTES_FIRST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path { remote: ([192, 0, 2, 1], port).into(), local: [192, 0, 2, 254].into() }
    }

    #[test]
    fn datagrams_come_out_in_the_order_they_went_in() {
        let mut ring = SendRing::default();
        assert!(ring.push(path(1), b"one"));
        assert!(ring.write_with(path(2), 100, |out| {
            out[..3].copy_from_slice(b"two");
            Some(3)
        }));
        assert!(!ring.write_with(path(3), 100, |_| None));
        let seen: Vec<_> = ring.iter().collect();
        assert_eq!(seen, [(path(1), b"one".as_slice()), (path(2), b"two".as_slice())]);
        ring.clear();
        assert!(ring.is_empty());
    }

    #[test]
    fn a_full_ring_takes_nothing_more() {
        let mut ring = SendRing::default();
        let datagram = vec![0; 64 * 1024];
        let taken = (0..1_000).take_while(|_| ring.push(path(1), &datagram)).count();
        assert_eq!(taken, BYTES_MAX / datagram.len());
    }
}

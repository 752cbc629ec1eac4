//! The datagrams to send. The engine seals straight into it; the shell drains it with as few system calls as it can, at
//! once or a little later.
//!
//! ```text
//! bytes    | header ciphertext tag | header ciphertext tag | ...     one arena, warm after the first bursts
//! entries  | start, length, next ──┼─────────────┐         | ...     in the order they were written
//!                                   another's     └▶ the same receiver's next one
//! trains   | path, first entry | path, first entry | ...             in the order they were begun
//! ```
//!
//! A fan-out writes packet by packet, one datagram for each receiver; what leaves in one system call's message is one
//! receiver's datagrams, packet after packet. So each receiver holds a `Tail`, the place of its last datagram, and a new
//! one is linked behind that: a train costs no look-up and no sorting.
//!
//! Invariants: a train has one path; one receiver's datagrams leave in the order they were written, because a receiver
//! that changes its path begins a new train behind its old one. A `Tail` of an earlier round is no longer one.

use super::ports::Path;

/// A queue of datagrams in one piece of memory.
#[derive(Debug)]
pub struct SendRing {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    trains: Vec<Train>,
    used: usize,
    /// Counts how often the ring was emptied; the first is 1.
    round: u64,
}

/// Where a receiver's last datagram is, so that the next one is linked behind it. The default is nowhere.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tail {
    /// The ring's round in which it was written.
    round: u64,
    train: u32,
    entry: u32,
}

/// One datagram.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    length: u32,
    /// The same train's next datagram; `NONE` at its end.
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct Train {
    path: Path,
    first: u32,
}

impl Default for SendRing {
    fn default() -> Self {
        Self { bytes: Vec::new(), entries: Vec::new(), trains: Vec::new(), used: 0, round: 1 }
    }
}

impl SendRing {
    /// Lets `write` fill a datagram of at most `length_max` bytes for `path`, to leave behind the one at `tail`; it returns
    /// how many bytes it wrote, or none to write nothing. False when the ring is full or nothing was written.
    pub(crate) fn write_with(
        &mut self,
        (path, tail): (Path, &mut Tail),
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
        // Invariant: both counts are below their limits, which fit.
        self.link(path, tail, Entry { start: self.used as u32, length: length as u32, next: NONE });
        self.used += length;
        true
    }

    /// Queues a copy of `datagram`, alone. False when the ring is full.
    pub(crate) fn push(&mut self, path: Path, datagram: &[u8]) -> bool {
        self.write_with((path, &mut Tail::default()), datagram.len(), |out| {
            out.copy_from_slice(datagram);
            Some(datagram.len())
        })
    }

    /// Puts an entry behind its receiver's last one, or at the head of a new train.
    fn link(&mut self, path: Path, tail: &mut Tail, entry: Entry) {
        let place = self.entries.len() as u32;
        self.entries.push(entry);
        if tail.round == self.round && self.trains[tail.train as usize].path == path {
            self.entries[tail.entry as usize].next = place;
            tail.entry = place;
            return;
        }
        *tail = Tail { round: self.round, train: self.trains.len() as u32, entry: place };
        self.trains.push(Train { path, first: place });
    }

    /// The datagrams, receiver by receiver: each with its path, one receiver's in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.trains().flat_map(|(path, datagrams)| datagrams.map(move |datagram| (path, datagram)))
    }

    /// The trains in the order they were begun.
    pub(crate) fn trains(&self) -> impl Iterator<Item = (Path, Datagrams<'_>)> {
        self.trains.iter().map(|train| (train.path, Datagrams { ring: self, next: train.first }))
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
        self.trains.clear();
        self.used = 0;
        self.round += 1;
    }
}

/// One train's datagrams, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Datagrams<'a> {
    ring: &'a SendRing,
    next: u32,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // `NONE` is no place of an entry.
        let entry = self.ring.entries.get(self.next as usize)?;
        self.next = entry.next;
        let start = entry.start as usize;
        Some(&self.ring.bytes[start..start + entry.length as usize])
    }
}

const NONE: u32 = u32::MAX;

/// One fan-out to 5,000 receivers, twice: drained after each datagram it never fills.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// As many as `BYTES_MAX` holds of the smallest common datagram, a 100-byte opus packet with its tag.
const DATAGRAMS_MAX: usize = BYTES_MAX / 128;

/// A burst to fifty receivers.
const BYTES_FIRST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(port: u16) -> Path {
        Path { remote: ([192, 0, 2, 1], port).into(), local: [192, 0, 2, 254].into() }
    }

    fn write(ring: &mut SendRing, to: u16, tail: &mut Tail, text: &[u8]) -> bool {
        ring.write_with((path(to), tail), 100, |out| {
            out[..text.len()].copy_from_slice(text);
            Some(text.len())
        })
    }

    fn seen(ring: &SendRing) -> Vec<(u16, Vec<&[u8]>)> {
        ring.trains().map(|(path, datagrams)| (path.remote.port(), datagrams.collect())).collect()
    }

    #[test]
    fn a_fan_out_packet_by_packet_comes_out_receiver_by_receiver() {
        let (mut ring, mut ada, mut ben) = (SendRing::default(), Tail::default(), Tail::default());
        for (to_ada, to_ben) in [(b"a1", b"b1"), (b"a2", b"b2"), (b"a3", b"b3")] {
            assert!(write(&mut ring, 1, &mut ada, to_ada));
            assert!(write(&mut ring, 2, &mut ben, to_ben));
        }
        assert!(ring.push(path(1), b"a check's answer"));
        assert!(!ring.write_with((path(1), &mut ada), 100, |_| None));
        let expected: [(u16, Vec<&[u8]>); 3] =
            [(1, vec![b"a1", b"a2", b"a3"]), (2, vec![b"b1", b"b2", b"b3"]), (1, vec![b"a check's answer"])];
        assert_eq!(seen(&ring), expected);
        assert_eq!((ring.len(), ring.iter().count()), (7, 7));
    }

    #[test]
    fn a_place_from_before_the_ring_was_emptied_is_none() {
        let (mut ring, mut tail) = (SendRing::default(), Tail::default());
        assert!(ring.push(path(9), b"other") && write(&mut ring, 1, &mut tail, b"old"));
        ring.clear();
        assert!(ring.is_empty());
        assert!(ring.push(path(9), b"other") && write(&mut ring, 1, &mut tail, b"new"));
        let expected: [(u16, Vec<&[u8]>); 2] = [(9, vec![b"other"]), (1, vec![b"new"])];
        assert_eq!(seen(&ring), expected);
    }

    #[test]
    fn a_receiver_that_moves_gets_what_was_written_before_at_its_old_path() {
        let (mut ring, mut tail) = (SendRing::default(), Tail::default());
        for (to, text) in [(1, b"1"), (2, b"2"), (2, b"3")] {
            assert!(write(&mut ring, to, &mut tail, text));
        }
        let expected: [(u16, Vec<&[u8]>); 2] = [(1, vec![b"1"]), (2, vec![b"2", b"3"])];
        assert_eq!(seen(&ring), expected);
    }

    #[test]
    fn a_full_ring_takes_nothing_more() {
        let mut ring = SendRing::default();
        let datagram = vec![0; 64 * 1024];
        let taken = (0..1_000).take_while(|_| ring.push(path(1), &datagram)).count();
        assert_eq!(taken, BYTES_MAX / datagram.len());
    }

    proptest! {
        #[test]
        fn whatever_is_written_comes_out_once_and_each_receivers_in_order(
            steps in prop::collection::vec((0_u16..5, any::<bool>()), 1..200),
        ) {
            let (mut ring, mut tails) = (SendRing::default(), [Tail::default(); 5]);
            let mut written = vec![Vec::new(); 5];
            for (number, (receiver, is_last)) in steps.into_iter().enumerate() {
                let text = (number as u16).to_be_bytes().to_vec();
                prop_assert!(write(&mut ring, receiver, &mut tails[usize::from(receiver)], &text));
                written[usize::from(receiver)].push(text);
                if is_last {
                    let mut left = vec![Vec::new(); 5];
                    for (path, bytes) in ring.iter() {
                        left[usize::from(path.remote.port())].push(bytes.to_vec());
                    }
                    prop_assert_eq!(&left, &written);
                    ring.clear();
                    written.iter_mut().for_each(Vec::clear);
                }
            }
        }
    }
}

//! The way from one worker's engine to another's: a ring of entries beside a ring of bytes, so that an audio packet takes
//! the room of an audio packet.
//!
//! ```text
//! entries  | packet, 1,100 bytes | message | packet, 90 bytes |          the last few are for messages only
//! bytes    | .................... 1,100 ..| 90 |
//! ```
//!
//! Invariants: bytes are written before the entry that says how many they are, so whoever sees the entry sees them. What
//! is full refuses; nobody waits.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::engine::cascade::{Crossing, PartMessage};

/// The writing end.
pub(crate) struct RingSender {
    entries: Producer<Entry>,
    bytes: Producer<u8>,
}

/// The reading end.
pub(crate) struct RingReceiver {
    entries: Consumer<Entry>,
    bytes: Consumer<u8>,
}

enum Entry {
    Packet(Crossing),
    Message(Box<PartMessage>),
}

/// What came out of a ring.
pub(crate) enum Received<'a> {
    /// With its bytes, whose second piece begins where the ring does.
    Packet(&'a Crossing, (&'a [u8], &'a [u8])),
    Message(Box<PartMessage>),
}

/// An empty ring. Its memory is touched only as it is used.
pub(crate) fn ring() -> (RingSender, RingReceiver) {
    let (write_entries, entries) = RingBuffer::new(ENTRIES_MAX);
    let (write_bytes, bytes) = RingBuffer::new(BYTES_MAX);
    (RingSender { entries: write_entries, bytes: write_bytes }, RingReceiver { entries, bytes })
}

impl RingSender {
    /// Writes a packet. False when there is no room: the reader is far behind.
    pub(crate) fn push_packet(&mut self, crossing: &Crossing, bytes: &[u8]) -> bool {
        let is_narrow = |free: usize| free <= MESSAGES_RESERVED;
        if is_narrow(self.entries.cached_slots()) && is_narrow(self.entries.slots()) {
            return false;
        }
        self.bytes.push_entire_slice(bytes).is_ok() && self.entries.push(Entry::Packet(*crossing)).is_ok()
    }

    /// Writes a message, or gives it back when there is no room even for that.
    pub(crate) fn push_message(&mut self, message: Box<PartMessage>) -> Result<(), Box<PartMessage>> {
        if self.entries.is_full() {
            return Err(message);
        }
        // Invariant: only this end writes, so there still is room.
        let _ = self.entries.push(Entry::Message(message));
        Ok(())
    }
}

impl RingReceiver {
    /// Lets `take` have the oldest entry. False when there is none.
    pub(crate) fn receive(&mut self, take: impl FnOnce(Received<'_>)) -> bool {
        match self.entries.pop() {
            Ok(Entry::Packet(crossing)) => {
                // Invariant: its bytes were written before it.
                if let Ok(chunk) = self.bytes.read_chunk(crossing.length()) {
                    take(Received::Packet(&crossing, chunk.as_slices()));
                    chunk.commit_all();
                }
                true
            }
            Ok(Entry::Message(message)) => {
                take(Received::Message(message));
                true
            }
            Err(_) => false,
        }
    }
}

/// A reader with 200 receivers needs 50 µs for a packet: what lies here then keeps it busy for as long as a packet is
/// worth sending.
pub(super) const ENTRIES_MAX: usize = 1_024;

/// The same in packets of a picture.
pub(super) const BYTES_MAX: usize = 512 * 1024;

/// A part that begins says so and names its sources; the rest waits with the writer.
pub(super) const MESSAGES_RESERVED: usize = 128;

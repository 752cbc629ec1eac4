//! What a video slot has sent lately, so that a packet asked for again is numbered as it was the first time.

use std::time::{Duration, Instant};

use super::codecs::vp8::Numbers;

/// The last packets of one slot, indexed by the slot's sequence number modulo its length.
#[derive(Debug, Default)]
pub(crate) struct SentPackets {
    /// Empty until the slot shows something: most slots of a small conference never do.
    ring: Box<[Entry]>,
    /// Times count from here.
    started: Option<Instant>,
}

/// A packet that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SentPacket {
    /// The numbers of its frame, if it is VP8.
    pub numbers: Numbers,
    /// How long ago it was last sent again, to the millisecond; none when it never was.
    pub repaired: Option<Duration>,
}

/// Eight bytes: a viewer of twenty pictures has 6,400 of them.
#[derive(Debug, Clone, Copy)]
struct Entry {
    numbers: Numbers,
    /// Which round of the ring its packet belongs to, and two flags: so that no unused entry looks like a sent packet,
    /// and whether it was sent again.
    tag: u16,
    /// When it was last sent again, in milliseconds since the first that was. Wraps after a minute; nobody asks again for
    /// what is so old.
    repaired_ms: u16,
}

impl SentPackets {
    /// Makes room, once.
    pub(crate) fn prepare(&mut self) {
        if self.ring.is_empty() {
            let unused = Entry { numbers: Numbers::default(), tag: UNUSED, repaired_ms: 0 };
            self.ring = vec![unused; PACKETS].into_boxed_slice();
        }
    }

    /// Notes a packet of the slot and, if it is VP8, the numbers of its frame.
    pub(crate) fn note(&mut self, ext_seq: u64, numbers: Numbers) {
        if let Some(entry) = self.ring.get_mut(place(ext_seq)) {
            *entry = Entry { numbers, tag: tag(ext_seq), repaired_ms: 0 };
        }
    }

    /// Notes that a packet was sent again.
    pub(crate) fn note_repaired(&mut self, now: Instant, ext_seq: u64) {
        let repaired_ms = self.ms(now);
        let entry = self.ring.get_mut(place(ext_seq));
        if let Some(entry) = entry.filter(|entry| entry.tag & !REPAIRED == tag(ext_seq)) {
            (entry.tag, entry.repaired_ms) = (entry.tag | REPAIRED, repaired_ms);
        }
    }

    /// The packet, if it was sent and is not too old.
    pub(crate) fn packet(&mut self, now: Instant, ext_seq: u64) -> Option<SentPacket> {
        let now_ms = self.ms(now);
        let entry = self.ring.get(place(ext_seq)).filter(|entry| entry.tag & !REPAIRED == tag(ext_seq))?;
        let age = Duration::from_millis(now_ms.wrapping_sub(entry.repaired_ms).into());
        let repaired = (entry.tag & REPAIRED != 0).then_some(age);
        Some(SentPacket { numbers: entry.numbers, repaired })
    }

    /// Were the packet sent, `packet` would know: it is not too old, seen from `highest`, the newest.
    pub(crate) fn covers(&self, ext_seq: u64, highest: u64) -> bool {
        !self.ring.is_empty() && ext_seq <= highest && highest - ext_seq < PACKETS as u64
    }

    fn ms(&mut self, now: Instant) -> u16 {
        let started = *self.started.get_or_insert(now);
        now.saturating_duration_since(started).as_millis() as u16
    }
}

fn place(ext_seq: u64) -> usize {
    ext_seq as usize % PACKETS
}

/// 14 bits of the round: it comes again after five million packets, when the ring has long been written over.
fn tag(ext_seq: u64) -> u16 {
    (ext_seq / PACKETS as u64) as u16 & !(UNUSED | REPAIRED)
}

const UNUSED: u16 = 1 << 15;
const REPAIRED: u16 = 1 << 14;

/// As many as the source's cache holds of a full picture layer, in packets of 1 KiB: what is older cannot be sent again
/// anyway.
const PACKETS: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the place of packet 5.
    const NEXT: u64 = 5 + PACKETS as u64;

    #[test]
    fn only_what_was_sent_lately_is_known() {
        let (start, numbers) = (Instant::now(), Numbers { picture_id: 7, ..Numbers::default() });
        let later = start + Duration::from_millis(30);
        let mut sent = SentPackets::default();
        sent.note(5, numbers);
        assert_eq!((sent.packet(start, 5), sent.covers(5, 5)), (None, false), "not prepared");
        sent.prepare();
        assert_eq!((sent.packet(start, 0), sent.packet(start, 5)), (None, None));
        sent.note(5, numbers);
        assert_eq!(sent.packet(later, 5), Some(SentPacket { numbers, repaired: None }));
        sent.note_repaired(start, 5);
        sent.note_repaired(later, NEXT);
        let repaired = Some(Duration::from_millis(30));
        assert_eq!(sent.packet(later, 5), Some(SentPacket { numbers, repaired }));
        assert_eq!((sent.packet(later, 4), sent.packet(later, NEXT)), (None, None));
        assert_eq!(size_of::<Entry>(), 8);
        sent.note(NEXT, numbers);
        assert_eq!(sent.packet(later, 5), None);
        assert!(sent.covers(6, NEXT) && !sent.covers(5, NEXT) && !sent.covers(600, NEXT));
    }
}

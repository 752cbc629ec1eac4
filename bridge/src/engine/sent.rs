//! What a video slot has sent lately, so that a packet asked for again is numbered as it was the first time.

use super::codecs::vp8::Numbers;

/// The last packets of one slot, indexed by the slot's sequence number modulo its length.
#[derive(Debug, Default)]
pub(crate) struct SentPackets {
    /// Empty until the slot shows something: most slots of a small conference never do.
    ring: Box<[Entry]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Low bits of the sequence number and a flag, so that no zeroed entry looks like a sent packet.
    tag: u32,
    numbers: Numbers,
}

impl SentPackets {
    /// Makes room, once.
    pub(crate) fn prepare(&mut self) {
        if self.ring.is_empty() {
            let unused = Entry { tag: UNUSED, numbers: Numbers::default() };
            self.ring = vec![unused; PACKETS].into_boxed_slice();
        }
    }

    /// Notes a packet of the slot and, if it is VP8, the numbers of its frame.
    pub(crate) fn note(&mut self, ext_seq: u64, numbers: Numbers) {
        if let Some(entry) = self.ring.get_mut(place(ext_seq)) {
            *entry = Entry { tag: tag(ext_seq), numbers };
        }
    }

    /// The numbers of a packet, if it was sent and is not too old.
    pub(crate) fn numbers(&self, ext_seq: u64) -> Option<Numbers> {
        self.ring.get(place(ext_seq)).filter(|entry| entry.tag == tag(ext_seq)).map(|entry| entry.numbers)
    }
}

fn place(ext_seq: u64) -> usize {
    ext_seq as usize % PACKETS
}

/// 31 bits: a number comes again after 2^31 packets, when the ring has long been written over.
fn tag(ext_seq: u64) -> u32 {
    ext_seq as u32 & !UNUSED
}

const UNUSED: u32 = 1 << 31;

/// As many as the source's cache holds of a full picture layer: what is older cannot be sent again anyway.
const PACKETS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_lately_has_numbers() {
        let numbers = Numbers { picture_id: 7, ..Numbers::default() };
        let mut sent = SentPackets::default();
        sent.note(5, numbers);
        assert_eq!(sent.numbers(5), None, "not prepared");
        sent.prepare();
        assert_eq!((sent.numbers(0), sent.numbers(5)), (None, None));
        sent.note(5, numbers);
        assert_eq!((sent.numbers(5), sent.numbers(4), sent.numbers(5 + 512)), (Some(numbers), None, None));
        sent.note(5 + 512, numbers);
        assert_eq!(sent.numbers(5), None);
    }
}

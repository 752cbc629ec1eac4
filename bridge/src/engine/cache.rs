//! The last packets of one received stream. A packet is decrypted straight into the place where it stays: the receive
//! slot is the retransmission cache.
//!
//! ```text
//! arena  | ... seq 70 | seq 72 | seq 71 | <- head: here the next one is written, over the oldest ...
//! index  | 70 | 71 | 72 | ...             by sequence number modulo its length
//! ```
//!
//! Invariants: nothing is allocated after construction. An entry is found only while no byte of its packet has been
//! written over. A packet that could not be opened costs at most the room of its own datagram in the oldest packets.

use super::drop_reason::DropReason;

/// How much of one stream is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheSize {
    /// Packets; a power of two.
    pub(crate) packets: usize,
    /// Bytes of all packets together.
    pub(crate) bytes: usize,
}

impl CacheSize {
    /// Of a shadow that nobody has been shown yet.
    pub(crate) const NOTHING_YET: Self = Self { packets: 1, bytes: PACKET_BYTES_MAX };
    /// Opus is not asked for again, its redundancy repairs it: this is the receive slot and a little reordering.
    pub(crate) const AUDIO: Self = Self { packets: 16, bytes: 4 * 1024 };
    /// The lowest of three layers, about 150 kbit/s: 2.5 s of it.
    pub(crate) const VIDEO_LOW: Self = Self { packets: 128, bytes: 48 * 1024 };
    /// The middle of three layers, about 500 kbit/s: 1.5 s of it.
    pub(crate) const VIDEO_MIDDLE: Self = Self { packets: 128, bytes: 96 * 1024 };
    /// The highest or only layer, about 2.5 Mbit/s: 1 s of it, and a receiver asks again within that second. The three
    /// layers together stay below the 600 KiB that one 720p sender may cost.
    pub(crate) const VIDEO_HIGH: Self = Self { packets: 512, bytes: 320 * 1024 };

    /// For layer `index` (0 is the lowest) of `count` simulcast layers.
    pub(crate) fn video_layer(index: usize, count: usize) -> Self {
        match count.saturating_sub(index) {
            0 | 1 => Self::VIDEO_HIGH,
            2 => Self::VIDEO_MIDDLE,
            _ => Self::VIDEO_LOW,
        }
    }
}

/// The last packets of one stream, each with an `M` that its reader found out about it.
#[derive(Debug)]
pub(crate) struct PacketCache<M> {
    arena: Box<[u8]>,
    /// Indexed by extended sequence number modulo the length, a power of two.
    index: Box<[Entry<M>]>,
    /// Bytes ever laid down, gaps at the arena's end included; modulo the arena it is where the next packet goes.
    head: u64,
    /// The furthest byte ever lent out, in the same count. What lies a whole arena before it is gone.
    touched: u64,
    newest: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry<M> {
    ext_seq: u64,
    position: u64,
    /// Zero: there was never a packet here.
    length: usize,
    meta: M,
}

/// A packet in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CachedPacket<'a, M> {
    /// The plaintext, header included.
    pub(crate) bytes: &'a [u8],
    /// What is known about it.
    pub(crate) meta: M,
}

impl<M: Copy + Default> PacketCache<M> {
    /// An empty cache. The memory is taken now and touched only as packets come.
    pub(crate) fn new(size: CacheSize) -> Self {
        assert!(size.packets.is_power_of_two() && size.bytes >= PACKET_BYTES_MAX, "{size:?}");
        let index = vec![Entry::default(); size.packets].into_boxed_slice();
        Self { arena: vec![0; size.bytes].into_boxed_slice(), index, head: 0, touched: 0, newest: None }
    }

    /// Lets `open` write packet `ext_seq` into its place. `room` is what `open` may write, at most: the datagram's
    /// length. `open` gives back the packet's length and what is known about it.
    ///
    /// # Errors
    /// `TooLarge`, `SrtpTooOld` (its place is taken by a newer packet) and `Duplicate` before `open` is called;
    /// whatever `open` fails with, and then nothing is kept.
    pub(crate) fn write(
        &mut self,
        ext_seq: u64,
        room: usize,
        open: impl FnOnce(&mut [u8]) -> Result<(usize, M), DropReason>,
    ) -> Result<CachedPacket<'_, M>, DropReason> {
        self.admit(ext_seq, room)?;
        let position = self.next_position(room);
        // Even if `open` fails: behind a break, what it has touched must stay less than an arena ahead of the head.
        self.head = position;
        let start = self.offset(position);
        self.touched = self.touched.max(position + room as u64);
        let (length, meta) = open(&mut self.arena[start..start + room])?;
        let length = length.min(room);

        self.head = position + length as u64;
        let place = self.place(ext_seq);
        self.index[place] = Entry { ext_seq, position, length, meta };
        self.newest = self.newest.max(Some(ext_seq));
        Ok(CachedPacket { bytes: &self.arena[start..start + length], meta })
    }

    /// The packet, if it is still here.
    pub(crate) fn packet(&self, ext_seq: u64) -> Option<CachedPacket<'_, M>> {
        let entry = &self.index[self.place(ext_seq)];
        if entry.length == 0 || entry.ext_seq != ext_seq || !self.is_intact(entry) {
            return None;
        }
        let start = self.offset(entry.position);
        Some(CachedPacket { bytes: &self.arena[start..start + entry.length], meta: entry.meta })
    }

    /// Memory held, bytes.
    #[cfg(test)]
    fn memory_bytes(&self) -> usize {
        self.arena.len() + size_of_val(&*self.index)
    }

    fn admit(&self, ext_seq: u64, room: usize) -> Result<(), DropReason> {
        if room > PACKET_BYTES_MAX {
            return Err(DropReason::TooLarge);
        }
        if self.newest.is_some_and(|newest| ext_seq + self.index.len() as u64 <= newest) {
            return Err(DropReason::SrtpTooOld);
        }
        if self.packet(ext_seq).is_some() {
            return Err(DropReason::Duplicate);
        }
        Ok(())
    }

    /// Where `room` bytes fit without a break: here, or at the arena's next beginning.
    fn next_position(&self, room: usize) -> u64 {
        let left = self.arena.len() - self.offset(self.head);
        if room <= left { self.head } else { self.head + left as u64 }
    }

    fn is_intact(&self, entry: &Entry<M>) -> bool {
        self.touched <= entry.position + self.arena.len() as u64
    }

    fn offset(&self, position: u64) -> usize {
        (position % self.arena.len() as u64) as usize
    }

    fn place(&self, ext_seq: u64) -> usize {
        ext_seq as usize & (self.index.len() - 1)
    }
}

/// No browser sends more in one datagram than an Ethernet frame carries.
pub(crate) const PACKET_BYTES_MAX: usize = 1_500;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(byte: u8, length: usize) -> impl FnOnce(&mut [u8]) -> Result<(usize, u8), DropReason> {
        move |out| {
            out[..length].fill(byte);
            Ok((length, byte))
        }
    }

    fn small() -> PacketCache<u8> {
        PacketCache::new(CacheSize { packets: 8, bytes: PACKET_BYTES_MAX })
    }

    #[test]
    fn a_written_packet_is_found_by_its_sequence_number() {
        let mut cache = small();
        let written = cache.write(7, 120, fill(9, 100)).unwrap();
        assert_eq!((written.bytes, written.meta), ([9; 100].as_slice(), 9));
        assert_eq!(cache.packet(7).unwrap().bytes, [9; 100]);
        assert_eq!((cache.packet(6), cache.packet(7 + 8)), (None, None));
    }

    #[test]
    fn packets_may_come_out_of_order() {
        let mut cache = small();
        for ext_seq in [5, 3, 4, 1] {
            cache.write(ext_seq, 100, fill(ext_seq as u8, 50)).unwrap();
        }
        for ext_seq in [1, 3, 4, 5] {
            assert_eq!(cache.packet(ext_seq).unwrap().bytes, [ext_seq as u8; 50]);
        }
        assert_eq!((cache.packet(2), cache.newest), (None, Some(5)));
    }

    #[test]
    fn the_oldest_bytes_go_first() {
        let mut cache = small();
        for ext_seq in 0..4 {
            cache.write(ext_seq, 500, fill(ext_seq as u8, 500)).unwrap();
        }
        assert_eq!(cache.packet(0), None);
        assert!((1..4).all(|ext_seq| cache.packet(ext_seq).unwrap().bytes == [ext_seq as u8; 500]));
    }

    #[test]
    fn a_packet_as_old_as_the_index_is_refused_before_it_is_opened() {
        let mut cache = small();
        cache.write(100, 10, fill(1, 10)).unwrap();
        let untouched = |_: &mut [u8]| -> Result<(usize, u8), DropReason> { unreachable!() };
        assert_eq!(cache.write(92, 10, untouched), Err(DropReason::SrtpTooOld));
        assert_eq!(cache.write(100, 10, untouched), Err(DropReason::Duplicate));
        assert_eq!(cache.write(101, PACKET_BYTES_MAX + 1, untouched), Err(DropReason::TooLarge));
        assert!(cache.write(93, 10, fill(2, 10)).is_ok());
    }

    #[test]
    fn a_million_forged_packets_destroy_no_more_than_one() {
        let mut cache = small();
        for ext_seq in 0..4 {
            cache.write(ext_seq, 300, fill(ext_seq as u8, 300)).unwrap();
        }
        for forged in 0..1_000_000 {
            let refused = cache.write(4 + forged, 400, |out| {
                out.fill(0xff);
                Err(DropReason::SrtpBadTag)
            });
            assert_eq!(refused, Err(DropReason::SrtpBadTag));
        }
        // 1,200 of 1,500 bytes are used: 400 do not fit behind them and fall on packets 0 and 1.
        assert_eq!((cache.packet(0), cache.packet(1), cache.newest), (None, None, Some(3)));
        assert!((2..4).all(|ext_seq| cache.packet(ext_seq).unwrap().bytes == [ext_seq as u8; 300]));
    }

    #[test]
    fn a_forged_packet_across_the_end_does_not_hide_the_next_true_one() {
        let mut cache = small();
        cache.write(0, 498, fill(1, 498)).unwrap();
        cache.write(1, 1_003, |_| Err(DropReason::SrtpBadTag)).unwrap_err();
        cache.write(2, 1, fill(2, 1)).unwrap();
        assert_eq!(cache.packet(2).unwrap().bytes, [2]);
    }

    #[test]
    fn a_720p_sender_with_three_layers_costs_less_than_600_kib() {
        let layers = (0..3).map(|index| PacketCache::<[u64; 4]>::new(CacheSize::video_layer(index, 3)));
        let bytes: usize = layers.map(|cache| cache.memory_bytes()).sum();
        assert!(bytes <= 600 * 1024, "{bytes}");
    }

    #[test]
    fn a_lone_stream_gets_the_largest_cache() {
        assert_eq!(CacheSize::video_layer(0, 1), CacheSize::VIDEO_HIGH);
        assert_eq!(CacheSize::video_layer(0, 2), CacheSize::VIDEO_MIDDLE);
        assert_eq!(CacheSize::video_layer(0, 3), CacheSize::VIDEO_LOW);
        assert_eq!(CacheSize::video_layer(9, 3), CacheSize::VIDEO_HIGH);
    }

    proptest! {
        #[test]
        fn whatever_is_found_is_what_was_written(
            steps in prop::collection::vec((0_u64..40, 1_usize..=PACKET_BYTES_MAX, any::<bool>()), 1..200),
        ) {
            let mut cache = small();
            let mut written = std::collections::HashMap::new();
            for (step, (ext_seq, length, is_forged)) in steps.into_iter().enumerate() {
                let byte = step as u8;
                let result = cache.write(ext_seq, length, |out| {
                    out.fill(byte);
                    if is_forged { Err(DropReason::SrtpBadTag) } else { Ok((length, byte)) }
                });
                if result.is_ok() {
                    prop_assert!(cache.packet(ext_seq).is_some());
                    written.insert(ext_seq, (byte, length));
                }
                for (&ext_seq, &(byte, length)) in &written {
                    let Some(found) = cache.packet(ext_seq) else { continue };
                    prop_assert!(found.bytes.len() == length && found.bytes.iter().all(|&other| other == byte));
                }
            }
        }
    }
}

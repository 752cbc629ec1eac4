//! What waits for a client: whole datagrams that may grow too old, and replies that may not be lost.
//!
//! Two rings. `owed` holds what must be written: replies, and the rest of a datagram whose beginning has been written.
//! `datagrams` holds whole ones, the oldest first; those may go without trace. `owed` is written first: a datagram only
//! begins when nothing is owed, so its rest is at the front of `owed` and replies queue up behind it.
//!
//! Time stands beside each datagram as microseconds since the queue was made, modulo 2^32: 71 minutes, and nothing waits
//! for more than the seconds after which a stalled client is cut.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// How much may wait, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct EgressLimits {
    /// Age above which a datagram is dropped.
    pub(super) age: Duration,
    /// Bytes of waiting datagrams, bookkeeping included, above which the oldest are dropped.
    pub(super) bytes: usize,
}

/// The egress queue of one stream.
#[derive(Debug)]
pub(super) struct Egress {
    limits: EgressLimits,
    start: Instant,
    /// Must be written, in this order, before any datagram.
    owed: VecDeque<u8>,
    /// The datagrams' bytes, one behind the other.
    datagrams: VecDeque<u8>,
    /// Where they begin and since when they wait, in the same order.
    entries: VecDeque<Entry>,
    /// The most that has been held since the rings were looked at last.
    peak: usize,
    counts: DropCounts,
    /// Ages of datagrams written since they were asked for: in microseconds, and how many were that old.
    ages: Vec<(u32, u32)>,
}

/// One datagram in the ring.
#[derive(Debug, Clone, Copy)]
struct Entry {
    since_us: u32,
    len: u32,
}

/// What a queue has dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DropCounts {
    /// Too old.
    pub(super) by_age: u64,
    /// Too many bytes behind it.
    pub(super) by_bytes: u64,
}

impl Egress {
    /// An empty queue, without memory.
    pub(super) fn new(now: Instant, limits: EgressLimits) -> Self {
        Self {
            limits,
            start: now,
            owed: VecDeque::new(),
            datagrams: VecDeque::new(),
            entries: VecDeque::new(),
            peak: 0,
            counts: DropCounts::default(),
            ages: Vec::new(),
        }
    }

    /// Queues a reply. It is refused when so many wait that the client cannot be reading them.
    pub(super) fn push_reply(&mut self, message: &[u8]) -> Result<(), RepliesFull> {
        if self.owed.len() + message.len() > OWED_BYTES_MAX {
            return Err(RepliesFull);
        }
        self.owed.extend(message);
        self.note_peak();
        Ok(())
    }

    /// Queues a datagram with zeros behind it up to a multiple of four, and drops older ones that are too old or too many.
    pub(super) fn push_datagram(&mut self, now: Instant, head: &[u8], payload: &[u8]) {
        self.drop_aged(now);
        let len = (head.len() + payload.len()).next_multiple_of(PADDING.len() + 1);
        if len + ENTRY_BYTES > self.limits.bytes {
            self.counts.by_bytes += 1;
            return;
        }
        while self.held() + len + ENTRY_BYTES > self.limits.bytes {
            self.drop_oldest();
            self.counts.by_bytes += 1;
        }
        self.grow(len);
        self.datagrams.extend(head);
        self.datagrams.extend(payload);
        self.datagrams.extend(&PADDING[..len - head.len() - payload.len()]);
        self.entries.push_back(Entry { since_us: self.stamp(now), len: len as u32 });
        self.note_peak();
    }

    /// Offers `write` up to `bytes_max` bytes: what is owed, then as many whole datagrams as fit. What it takes is gone from
    /// the queue. Offers nothing and says 0 when nothing waits.
    pub(super) fn write(
        &mut self,
        now: Instant,
        bytes_max: usize,
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.drop_aged(now);
        let owed = self.owed.len().min(bytes_max);
        let whole = self.whole_datagrams(bytes_max - owed);
        // A datagram longer than that is written in parts, when nothing stands before it.
        let datagrams = if owed == 0 && whole == 0 { self.datagrams.len().min(bytes_max) } else { whole };
        if owed + datagrams == 0 {
            return Ok(0);
        }
        let [owed_front, owed_back] = front(&self.owed, owed);
        let [datagrams_front, datagrams_back] = front(&self.datagrams, datagrams);
        let mut slices = [IoSlice::new(&[]); 4];
        let mut used = 0;
        for part in [owed_front, owed_back, datagrams_front, datagrams_back] {
            if !part.is_empty() {
                slices[used] = IoSlice::new(part);
                used += 1;
            }
        }
        let written = write(&slices[..used])?;
        self.consume(now, written);
        Ok(written)
    }

    /// Gives back memory that has not been needed since the last call; says whether any is still held.
    pub(super) fn trim(&mut self) -> bool {
        if self.peak < self.capacity() / 2 {
            self.owed.shrink_to_fit();
            self.datagrams.shrink_to(self.peak);
            self.entries.shrink_to_fit();
        }
        self.peak = self.held() + self.owed.len();
        self.capacity() > 0
    }

    /// What has been dropped since the last call.
    pub(super) fn take_drops(&mut self) -> DropCounts {
        std::mem::take(&mut self.counts)
    }

    /// Adds the ages, in microseconds, of the datagrams written since the last call.
    pub(super) fn take_ages(&mut self, into: &mut Histogram<u64>) {
        for (age_us, datagrams) in std::mem::take(&mut self.ages) {
            into.saturating_record_n(u64::from(age_us), u64::from(datagrams));
        }
    }

    /// Bytes of memory the rings hold.
    pub(super) fn capacity(&self) -> usize {
        self.owed.capacity() + self.datagrams.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Drops datagrams that have waited too long. Those whose beginning has been written are no longer among them.
    fn drop_aged(&mut self, now: Instant) {
        let (stamp, limit_us) = (self.stamp(now), self.limits.age.as_micros() as u64);
        while let Some(entry) = self.entries.front()
            && u64::from(stamp.wrapping_sub(entry.since_us)) > limit_us
        {
            self.drop_oldest();
            self.counts.by_age += 1;
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.datagrams.drain(..entry.len as usize);
        }
    }

    /// Bytes of as many whole datagrams as fit.
    fn whole_datagrams(&self, bytes_max: usize) -> usize {
        let mut total = 0;
        for entry in &self.entries {
            if total + entry.len as usize > bytes_max {
                break;
            }
            total += entry.len as usize;
        }
        total
    }

    /// Forgets what has been written. The rest of a datagram begun is owed from now on.
    fn consume(&mut self, now: Instant, written: usize) {
        let owed = written.min(self.owed.len());
        self.owed.drain(..owed);
        let mut left = written - owed;
        while left > 0
            && let Some(entry) = self.entries.pop_front()
        {
            self.note_age(self.stamp(now).wrapping_sub(entry.since_us));
            let len = entry.len as usize;
            let gone = len.min(left);
            self.datagrams.drain(..gone);
            left -= gone;
            // Invariant: nothing is owed here, because what is owed is written first.
            for part in front(&self.datagrams, len - gone) {
                self.owed.extend(part);
            }
            self.datagrams.drain(..len - gone);
        }
    }

    fn note_age(&mut self, age_us: u32) {
        let is_full = self.ages.len() == AGES_MAX;
        match self.ages.last_mut() {
            Some((last_us, datagrams)) if *last_us == age_us || is_full => {
                *last_us = age_us.max(*last_us);
                *datagrams += 1;
            }
            _ => self.ages.push((age_us, 1)),
        }
    }

    /// Makes room as a ring does, by doubling, but never beyond the limit.
    fn grow(&mut self, len: usize) {
        let needed = self.datagrams.len() + len;
        if needed > self.datagrams.capacity() {
            let doubled = (self.datagrams.capacity() * 2).max(RING_BYTES_MIN).min(self.limits.bytes);
            self.datagrams.reserve_exact(doubled.max(needed) - self.datagrams.len());
        }
    }

    /// What the datagrams count against the limit.
    fn held(&self) -> usize {
        self.datagrams.len() + self.entries.len() * ENTRY_BYTES
    }

    fn note_peak(&mut self) {
        self.peak = self.peak.max(self.held() + self.owed.len());
    }

    fn stamp(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.start).as_micros() as u32
    }
}

/// More replies wait than a client that reads can have asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RepliesFull;

/// The first `bytes` of a ring, in its two pieces.
fn front(ring: &VecDeque<u8>, bytes: usize) -> [&[u8]; 2] {
    let (first, second) = ring.as_slices();
    let in_first = bytes.min(first.len());
    [&first[..in_first], &second[..bytes - in_first]]
}

/// What makes a message's length on a stream a multiple of four (RFC 8656, 12.5).
const PADDING: [u8; 3] = [0; 3];

/// What a datagram costs beside its bytes: a million empty ones must not cost more than a few full ones.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// Replies are some 100 bytes each, and a browser waits for one before it asks again. The rest of a datagram begun, up to
/// 64 KiB, has room beside 64 KiB of them.
const OWED_BYTES_MAX: usize = 128 * 1024;

/// A datagram or two: smaller steps would only mean more of them.
const RING_BYTES_MIN: usize = 4096;

/// Runs of equal age kept between two questions. Datagrams of one batch have one age, and a shard asks after each flush:
/// those beyond are counted with the oldest of the last run.
const AGES_MAX: usize = 128;

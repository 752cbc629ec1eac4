//! Keeps a slot one continuous stream, whatever source it shows: sequence numbers without a gap at the seam, timestamps
//! that go on as time does.
//!
//! Between two seams the mapping is one offset each way, so a packet's old number is found from its new one without any
//! table: out = source + offset. What the source's sender lost is a gap in the slot as well, and is repaired as one.

use std::time::{Duration, Instant};

/// A packet's place in the slot's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutPosition {
    /// Rollover counter and sequence number: the SRTP index.
    pub ext_seq: u64,
    /// On the slot's own clock.
    pub timestamp: u32,
}

/// The mapping of one slot.
#[derive(Debug)]
pub(crate) struct Continuity {
    /// The newest written; before the first packet, the one before the first.
    highest: u64,
    /// Of the newest packet.
    timestamp: u32,
    /// When the newest packet was written; none before the first.
    sent_at: Option<Instant>,
    /// The source's number at the last seam. What is older belongs to before it.
    source_start: u64,
    /// The slot's number at the last seam.
    out_start: u64,
    timestamp_offset: u32,
}

impl Continuity {
    /// A stream that begins behind sequence number `start`, below 2^15, so that the receiver can tell a first packet
    /// from a rollover (RFC 3711, 3.3.1), and at `timestamp`.
    pub(crate) fn new(start: u16, timestamp: u32) -> Self {
        Self {
            highest: u64::from(start & 0x7fff),
            timestamp,
            sent_at: None,
            source_start: u64::MAX,
            out_start: u64::MAX,
            timestamp_offset: 0,
        }
    }

    /// A seam: the packet with these numbers of a source is the next one shown. Its timestamp is as much later than the
    /// newest one's as the clock says, and at least `STEP_MIN`.
    pub(crate) fn begin(&mut self, now: Instant, ext_seq: u64, timestamp: u32, clock_rate_hz: u32) {
        let elapsed = self.sent_at.map_or(STEP_MIN, |at| now.saturating_duration_since(at).max(STEP_MIN));
        let ticks = elapsed.as_micros() * u128::from(clock_rate_hz) / 1_000_000;
        // The clock wraps, as RTP's does.
        let begins_at = self.timestamp.wrapping_add(ticks as u32);
        self.timestamp_offset = begins_at.wrapping_sub(timestamp);
        self.source_start = ext_seq;
        self.out_start = self.highest + 1;
    }

    /// Where a packet of the shown source belongs; none when it is older than the last seam.
    pub(crate) fn position(&self, ext_seq: u64, timestamp: u32) -> Option<OutPosition> {
        let since_seam = ext_seq.checked_sub(self.source_start)?;
        let timestamp = timestamp.wrapping_add(self.timestamp_offset);
        Some(OutPosition { ext_seq: self.out_start.checked_add(since_seam)?, timestamp })
    }

    /// The source's numbers have leapt so far ahead that the receiver could mistake it for a rollover (HOSTILE U38).
    pub(crate) fn is_leap(&self, ext_seq: u64) -> bool {
        ext_seq
            .checked_sub(self.source_start)
            .is_some_and(|since| self.out_start + since > self.highest + LEAP)
    }

    /// Notes what was written.
    pub(crate) fn note_sent(&mut self, now: Instant, position: OutPosition) {
        if position.ext_seq > self.highest {
            self.highest = position.ext_seq;
            self.timestamp = position.timestamp;
            self.sent_at = Some(now);
        }
    }

    /// The packet is the first behind a seam.
    pub(crate) fn is_first(&self, position: OutPosition) -> bool {
        position.ext_seq == self.out_start
    }

    /// The shown source's number of the packet that the receiver knows as `sequence`; none if that lies before the last
    /// seam or in the future.
    pub(crate) fn source_of(&self, sequence: u16) -> Option<u64> {
        let age = u64::from((self.highest as u16).wrapping_sub(sequence));
        let ext_seq = self.highest.checked_sub(age)?;
        if ext_seq < self.out_start {
            return None;
        }
        Some(self.source_start + (ext_seq - self.out_start))
    }

    /// What to add to the shown source's timestamps.
    pub(crate) fn timestamp_offset(&self) -> u32 {
        self.timestamp_offset
    }

    /// When the newest packet was written.
    pub(crate) fn sent_at(&self) -> Option<Instant> {
        self.sent_at
    }

    /// The newest packet's timestamp.
    pub(crate) fn newest_timestamp(&self) -> u32 {
        self.timestamp
    }

    /// The newest packet's sequence number, 16 bits of it.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }
}

/// One opus packet, or less than one frame of video: two packets at a seam must never share a timestamp.
const STEP_MIN: Duration = Duration::from_millis(20);

/// Ten seconds of the densest video; far below 2^15, where a receiver's guess of the rollover turns (RFC 3711, 3.3.1).
const LEAP: u64 = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seam_leaves_no_gap_and_time_goes_on() {
        let start = Instant::now();
        let mut slot = Continuity::new(1_000, 5_000);
        slot.begin(start, 70_000, 111, 90_000);
        let first = slot.position(70_000, 111).unwrap();
        assert_eq!((first.ext_seq, first.timestamp), (1_001, 5_000 + 1_800));
        slot.note_sent(start, first);
        let later = start + Duration::from_millis(500);
        slot.begin(later, 9, u32::MAX, 90_000);
        let second = slot.position(9, u32::MAX).unwrap();
        assert_eq!((second.ext_seq, second.timestamp), (1_002, first.timestamp + 45_000));
        let third = slot.position(10, 2_999).unwrap();
        assert_eq!((third.ext_seq, third.timestamp), (1_003, second.timestamp + 3_000));
    }

    #[test]
    fn what_is_older_than_the_seam_has_no_place() {
        let start = Instant::now();
        let mut slot = Continuity::new(0, 0);
        assert_eq!(slot.position(5, 0), None, "nothing is shown yet");
        slot.begin(start, 5, 0, 90_000);
        assert_eq!(slot.position(4, 0), None);
        assert!(slot.position(5, 0).is_some());
    }

    #[test]
    fn a_number_of_the_slot_leads_back_to_the_sources() {
        let start = Instant::now();
        let mut slot = Continuity::new(0x7fff, 0);
        slot.begin(start, 500, 0, 90_000);
        for ext_seq in 500..40_500 {
            slot.note_sent(start, slot.position(ext_seq, 0).unwrap());
        }
        let newest = slot.position(40_499, 0).unwrap();
        assert!(newest.ext_seq > 0xffff, "the slot's numbers have wrapped");
        for back in [0, 1, 100, 30_000] {
            assert_eq!(slot.source_of((newest.ext_seq - back) as u16), Some(40_499 - back));
        }
        assert_eq!(slot.source_of((newest.ext_seq + 1) as u16), None, "the future");
        slot.begin(start, 7, 0, 90_000);
        assert_eq!(slot.source_of(newest.ext_seq as u16), None, "before the seam");
    }
}

//! Sender and receiver reports (RFC 3550, 6.4): what was received, what was sent, how far away the other side is, and
//! which instant each RTP timestamp stands for.
//!
//! Lip sync: an endpoint's audio and video carry times of the endpoint's own clock. `SenderClock` holds, for the whole
//! endpoint, how that clock stands to ours; `StreamClock` holds, for each of its streams, the last sender report. A slot
//! then says "now, on our clock, is this timestamp" for whatever it shows, and all slots speak of one clock: what belongs
//! together stays together, whoever is shown.
//!
//! ```text
//! our now --SenderClock--> the endpoint's now --StreamClock--> its timestamp now --slot's offset--> ours
//! ```

use std::time::{Duration, Instant};

use wire::rtcp::{NtpTime, ReportBlock, SenderReport};
use wire::rtp::Ssrc;

/// The bridge's clock as reports carry it. It runs from an arbitrary beginning: receivers compare its times among
/// themselves, never with a clock on the wall.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BridgeClock {
    started: Instant,
}

impl BridgeClock {
    /// A clock that begins at `started`.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started }
    }

    /// `now` on this clock; never zero, which would mean "no clock".
    pub(crate) fn ntp(&self, now: Instant) -> NtpTime {
        NtpTime::from_unix(now.saturating_duration_since(self.started))
    }
}

/// Reception of one stream (RFC 3550, A.1, A.3, A.8).
#[derive(Debug)]
pub(crate) struct ReceptionStats {
    clock_rate_hz: u32,
    /// Arrivals are measured from here.
    started: Option<Instant>,
    /// The first and the last number that count as expected.
    base: u64,
    highest: u64,
    received: u64,
    /// As of the last report.
    expected_before: u64,
    received_before: u64,
    /// Transit time and timestamp of the last packet that began a new timestamp, in clock ticks.
    last_transit: Option<(u32, u32)>,
    /// 16 times the jitter, as A.8 keeps it.
    jitter_x16: u64,
    /// The sender report seen last, and when.
    last_report: Option<(NtpTime, Instant)>,
}

impl ReceptionStats {
    /// Nothing received yet. `clock_rate_hz` is that of the stream's codec.
    pub(crate) fn new(clock_rate_hz: u32) -> Self {
        Self {
            clock_rate_hz,
            started: None,
            base: 0,
            highest: 0,
            received: 0,
            expected_before: 0,
            received_before: 0,
            last_transit: None,
            jitter_x16: 0,
            last_report: None,
        }
    }

    /// Counts a packet that came on the stream itself. Retransmissions that came by RTX do not count: the sender is to
    /// see its losses.
    pub(crate) fn handle_packet(&mut self, now: Instant, ext_seq: u64, timestamp: u32) {
        self.received += 1;
        let Some(started) = self.started else {
            self.started = Some(now);
            (self.base, self.highest) = (ext_seq, ext_seq);
            self.last_transit = Some((0_u32.wrapping_sub(timestamp), timestamp));
            return;
        };
        if ext_seq <= self.highest {
            self.base = self.base.min(ext_seq.max(self.highest.saturating_sub(DROPOUT_MAX)));
            return;
        }
        let skipped = ext_seq - self.highest - 1;
        if skipped > DROPOUT_MAX {
            // A.1: the sender began anew; the jump is not loss.
            self.base += skipped;
        }
        self.highest = ext_seq;
        self.measure_jitter(now.saturating_duration_since(started), timestamp);
    }

    /// Notes a sender report of the stream.
    pub(crate) fn handle_sender_report(&mut self, now: Instant, ntp: NtpTime) {
        self.last_report = Some((ntp, now));
    }

    /// What to report of the stream; `None` before its first packet.
    pub(crate) fn report_block(&mut self, now: Instant, ssrc: Ssrc) -> Option<ReportBlock> {
        self.started?;
        let (expected, received) = (self.expected(), self.received);
        // A.3: both may be negative, by duplicates and by packets that came after their report.
        let expected_since = expected.saturating_sub(self.expected_before);
        let lost_since = expected_since.saturating_sub(received - self.received_before);
        (self.expected_before, self.received_before) = (expected, received);
        let fraction_lost = (lost_since * 256).checked_div(expected_since).unwrap_or(0).min(255);
        let lost = (expected as i64 - received as i64).clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        let (last_sr, delay) = match self.last_report {
            Some((ntp, at)) => (ntp.middle(), ticks(now.saturating_duration_since(at), 65_536)),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost: fraction_lost as u8,
            lost: lost as i32,
            highest_sequence: self.highest as u32,
            jitter: (self.jitter_x16 / 16) as u32,
            last_sr,
            delay_since_last_sr: delay.min(u64::from(u32::MAX)) as u32,
        })
    }

    /// How many packets should have arrived by now.
    pub(crate) fn expected(&self) -> u64 {
        self.started.map_or(0, |_| self.highest - self.base + 1)
    }

    /// How many of them did not; duplicates are taken for the packets they repeat.
    pub(crate) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// A.8. Packets of one picture share their timestamp and are paced on purpose: only the first of them is measured.
    fn measure_jitter(&mut self, arrival: Duration, timestamp: u32) {
        let Some((last_transit, last_timestamp)) = self.last_transit else { return };
        if timestamp == last_timestamp {
            return;
        }
        let arrival = ticks(arrival, self.clock_rate_hz) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        let deviation = u64::from((transit.wrapping_sub(last_transit) as i32).unsigned_abs());
        self.jitter_x16 = self.jitter_x16 + deviation - (self.jitter_x16 + 8) / 16;
        self.last_transit = Some((transit, timestamp));
    }
}

/// How an endpoint's clock stands to ours. One for each endpoint, fed by the sender reports of all its streams.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SenderClock {
    /// Ours minus theirs, in 2^-32 s.
    offset: Option<i64>,
    /// Another offset that reports have named since, and how often in a row.
    rival: Option<(i64, u32)>,
}

impl SenderClock {
    /// Takes the time of a sender report that arrived at `ours`. False when it is absurd: zero, or far from
    /// what the endpoint's reports said so far. Such a report must not be used; a clock that was really set is believed
    /// after a few reports.
    pub(crate) fn handle_sender_report(&mut self, ours: NtpTime, theirs: NtpTime) -> bool {
        if theirs.0 == 0 {
            return false;
        }
        let named = ours.0.wrapping_sub(theirs.0) as i64;
        let Some(offset) = self.offset else {
            self.offset = Some(named);
            return true;
        };
        if named.abs_diff(offset) <= CLOCK_STEP_MAX {
            self.rival = None;
            return true;
        }
        let times = match self.rival {
            Some((rival, times)) if named.abs_diff(rival) <= CLOCK_STEP_MAX => times + 1,
            _ => 1,
        };
        self.rival = Some((named, times));
        if times < CLOCK_STEP_REPORTS {
            return false;
        }
        *self = Self { offset: Some(named), rival: None };
        true
    }

    /// The same clock against another of ours: at one instant the one it was measured by shows `before`, and that one
    /// `ours`.
    pub(crate) fn seen_from(&self, ours: NtpTime, before: NtpTime) -> Self {
        let step = ours.0.wrapping_sub(before.0) as i64;
        Self { offset: self.offset.map(|offset| offset.wrapping_add(step)), rival: None }
    }

    /// What the endpoint's clock shows when ours shows `ours`; `None` before its first report.
    pub(crate) fn theirs(&self, ours: NtpTime) -> Option<NtpTime> {
        self.offset.map(|offset| NtpTime(ours.0.wrapping_sub(offset as u64)))
    }
}

/// Which timestamp of one stream belongs to which time of its endpoint's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamClock {
    clock_rate_hz: u32,
    last_report: Option<(NtpTime, u32)>,
}

impl StreamClock {
    /// Nothing is known yet. `clock_rate_hz` is that of the stream's codec.
    pub(crate) fn new(clock_rate_hz: u32) -> Self {
        Self { clock_rate_hz, last_report: None }
    }

    /// Takes a sender report that the endpoint's `SenderClock` found credible.
    pub(crate) fn handle_sender_report(&mut self, theirs: NtpTime, timestamp: u32) {
        self.last_report = Some((theirs, timestamp));
    }

    /// The stream's timestamp when the endpoint's clock shows `theirs`; `None` before the first report, or when the last
    /// one is so far away that it says nothing any more. A slot adds the offset it has given to timestamps.
    pub(crate) fn timestamp_at(&self, theirs: NtpTime) -> Option<u32> {
        let (at, timestamp) = self.last_report?;
        let elapsed = theirs.0.wrapping_sub(at.0) as i64;
        if elapsed.unsigned_abs() > REPORT_AGE_MAX {
            return None;
        }
        let ticks = (i128::from(elapsed) * i128::from(self.clock_rate_hz)) >> 32;
        Some(timestamp.wrapping_add(ticks as u32))
    }
}

/// What was sent on one stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SendStats {
    packets: u32,
    octets: u32,
}

impl SendStats {
    /// Counts a sent packet and its payload.
    pub(crate) fn handle_sent(&mut self, payload_bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_bytes as u32);
    }

    /// The report of stream `ssrc` at `ntp`, when its timestamp is `timestamp`.
    pub(crate) fn sender_report(&self, ssrc: Ssrc, ntp: NtpTime, timestamp: u32) -> SenderReport<'static> {
        let (packets, octets) = (self.packets, self.octets);
        SenderReport { ssrc, ntp, rtp_timestamp: timestamp, packets, octets, reports: &[] }
    }
}

/// The round-trip time a report block shows when it arrives at `now` (RFC 3550, 6.4.1). `None` when it names no report
/// of ours or nonsense.
pub(crate) fn round_trip(now: NtpTime, block: &ReportBlock) -> Option<Duration> {
    if block.last_sr == 0 {
        return None;
    }
    let trip = now.middle().wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_last_sr);
    let trip = Duration::from_secs(u64::from(trip)) / 65_536;
    (trip <= ROUND_TRIP_MAX).then_some(trip)
}

/// `time` in ticks of `rate_hz`.
fn ticks(time: Duration, rate_hz: u32) -> u64 {
    (time.as_nanos() * u128::from(rate_hz) / 1_000_000_000) as u64
}

/// RFC 3550, A.1: a larger gap is a sender that began anew.
const DROPOUT_MAX: u64 = 3_000;

/// 5 s in 2^-32 s: no network holds a report back for so long.
const CLOCK_STEP_MAX: u64 = 5 << 32;

/// Reports in a row that make a new offset credible.
const CLOCK_STEP_REPORTS: u32 = 3;

/// Ten minutes in 2^-32 s: a clock that drifts by 100 ppm is wrong by 60 ms then, which is still in sync.
const REPORT_AGE_MAX: u64 = 600 << 32;

/// More is a wrong report, or a connection that nobody talks over.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
#[path = "reports_tests.rs"]
mod tests;

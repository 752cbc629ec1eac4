//! What a receiver tells the server of one stream (RFC 3550, 6.4.1 and appendix A).

use wire::rtcp::{NtpTime, ReportBlock};
use wire::rtp::Ssrc;

use super::stream::Totals;

/// What a report needs beside the stream's totals.
#[derive(Debug)]
pub(super) struct Reports {
    clock_hz: u64,
    /// In sixteenths of a tick, as RFC 3550, A.8 keeps it.
    jitter: u64,
    /// Arrival less timestamp of the newest packet, in ticks.
    transit: Option<u32>,
    /// Expected and received at the report before.
    before: (u64, u64),
    /// The newest sender report, and when it came.
    sender: Option<(NtpTime, u64)>,
}

impl Reports {
    pub(super) fn new(clock_hz: u64) -> Self {
        Self { clock_hz, jitter: 0, transit: None, before: (0, 0), sender: None }
    }

    /// A packet that is the newest of its stream (RFC 3550, A.8).
    pub(super) fn handle_packet(&mut self, now_us: u64, timestamp: u32) {
        let arrival = (now_us.wrapping_mul(self.clock_hz) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let step = u64::from((transit.wrapping_sub(before) as i32).unsigned_abs());
            // A change of sources is no jitter: more than a second of it is not believed.
            if step < self.clock_hz {
                self.jitter = self.jitter - self.jitter.div_ceil(16) + step;
            }
        }
    }

    pub(super) fn handle_sender_report(&mut self, now_us: u64, ntp: NtpTime) {
        self.sender = Some((ntp, now_us));
    }

    /// The block for `ssrc`; what is lost since the last call counts as this interval's.
    pub(super) fn block(&mut self, now_us: u64, ssrc: Ssrc, totals: Totals) -> [u8; ReportBlock::BYTES] {
        let Totals { highest, expected, received } = totals;
        let expected_now = expected.saturating_sub(self.before.0);
        let lost_now = expected_now.saturating_sub(received.saturating_sub(self.before.1));
        self.before = (expected, received);
        let fraction_lost =
            (lost_now * 256).checked_div(expected_now).map_or(0, |share| share.min(255) as u8);
        let (last_sr, delay_since_last_sr) = self.sender.map_or((0, 0), |(ntp, at_us)| {
            let delay = u128::from(now_us.saturating_sub(at_us)) * 65_536 / 1_000_000;
            (ntp.middle(), delay as u32)
        });
        let block = ReportBlock {
            ssrc,
            fraction_lost,
            lost: expected.saturating_sub(received).min(i32::MAX as u64) as i32,
            highest_sequence: highest as u32,
            jitter: (self.jitter / 16) as u32,
            last_sr,
            delay_since_last_sr,
        };
        block.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(reports: &mut Reports, now_us: u64, expected: u64, received: u64) -> ReportBlock {
        let totals = Totals { highest: 65_536 + expected, expected, received };
        ReportBlock::from_bytes(&reports.block(now_us, Ssrc(7), totals))
    }

    #[test]
    fn losses_are_told_in_all_and_since_the_last_report() {
        let mut reports = Reports::new(90_000);
        let first = block(&mut reports, 0, 100, 75);
        assert_eq!((first.fraction_lost, first.lost, first.highest_sequence), (64, 25, 65_636));
        let second = block(&mut reports, 0, 200, 175);
        assert_eq!((second.fraction_lost, second.lost), (0, 25));
        assert_eq!(block(&mut reports, 0, 200, 175).fraction_lost, 0, "nothing was expected");
        assert_eq!(block(&mut reports, 0, 300, 175).fraction_lost, 255, "all was lost");
    }

    #[test]
    fn a_steady_stream_has_no_jitter_and_an_uneven_one_has() {
        let mut reports = Reports::new(48_000);
        for packet in 0..50_u32 {
            reports.handle_packet(u64::from(packet) * 20_000, packet * 960);
        }
        assert_eq!(block(&mut reports, 0, 1, 1).jitter, 0);
        for packet in 50..250_u32 {
            let late_us = u64::from(packet % 2) * 5_000;
            reports.handle_packet(u64::from(packet) * 20_000 + late_us, packet * 960);
        }
        let jitter = block(&mut reports, 0, 1, 1).jitter;
        assert!((220..=240).contains(&jitter), "5 ms are 240 ticks: {jitter}");
    }

    #[test]
    fn a_sender_report_is_named_with_its_age() {
        let mut reports = Reports::new(90_000);
        assert_eq!(block(&mut reports, 0, 1, 1).last_sr, 0);
        reports.handle_sender_report(1_000_000, NtpTime(0x1122_3344_5566_7788));
        let told = block(&mut reports, 1_500_000, 1, 1);
        assert_eq!((told.last_sr, told.delay_since_last_sr), (0x3344_5566, 32_768));
    }
}

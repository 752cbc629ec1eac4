//! Sender report (RFC 3550, 6.4.1).

use super::{COUNT_MAX, NtpTime, Raw, ReportBlock, SENDER_REPORT, append, entries, split_ssrc, split_u32};
use crate::rtp::Ssrc;

/// What a stream's sender has sent, and at which wall-clock time which RTP timestamp was due: this is what lip sync
/// hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport<'a> {
    /// The stream.
    pub ssrc: Ssrc,
    /// When the report was sent.
    pub ntp: NtpTime,
    /// The same instant on the stream's clock.
    pub rtp_timestamp: u32,
    /// Packets sent since the start.
    pub packets: u32,
    /// Bytes of payload sent since the start.
    pub octets: u32,
    /// Reception of other streams, at most 31; see [`ReportBlock::from_bytes`].
    pub reports: &'a [[u8; ReportBlock::BYTES]],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Option<Self> {
        let (ssrc, rest) = split_ssrc(raw.body)?;
        let (ntp_seconds, rest) = split_u32(rest)?;
        let (ntp_fraction, rest) = split_u32(rest)?;
        let (rtp_timestamp, rest) = split_u32(rest)?;
        let (packets, rest) = split_u32(rest)?;
        let (octets, rest) = split_u32(rest)?;
        // What follows the blocks is a profile's extension (6.4.3), which we have none of.
        let reports = entries(rest, usize::from(raw.count))?;
        let ntp = NtpTime((u64::from(ntp_seconds) << 32) | u64::from(ntp_fraction));
        Some(Self { ssrc, ntp, rtp_timestamp, packets, octets, reports })
    }

    /// The reception reports.
    pub fn reports(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.reports.iter().map(ReportBlock::from_bytes)
    }

    /// Appends the packet; reports beyond the 31st are left out.
    pub fn write(&self, out: &mut Vec<u8>) {
        let reports = &self.reports[..self.reports.len().min(COUNT_MAX)];
        append(out, SENDER_REPORT, reports.len() as u8, |out| {
            out.extend_from_slice(&self.ssrc.0.to_be_bytes());
            out.extend_from_slice(&self.ntp.0.to_be_bytes());
            for word in [self.rtp_timestamp, self.packets, self.octets] {
                out.extend_from_slice(&word.to_be_bytes());
            }
            out.extend_from_slice(reports.as_flattened());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RtcpError, packets};
    use super::*;

    fn report(reports: &[[u8; ReportBlock::BYTES]]) -> SenderReport<'_> {
        SenderReport {
            ssrc: Ssrc(0x0102_0304),
            ntp: NtpTime(0x1122_3344_5566_7788),
            rtp_timestamp: 3,
            packets: 4,
            octets: 5,
            reports,
        }
    }

    #[test]
    fn the_bytes_are_those_of_rfc_3550() {
        let mut out = Vec::new();
        report(&[]).write(&mut out);
        assert_eq!(
            out,
            b"\x80\xc8\0\x06\x01\x02\x03\x04\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\x03\0\0\0\x04\0\0\0\x05"
        );
    }

    #[test]
    fn up_to_31_reports_read_back() {
        let blocks: Vec<_> = (0..40)
            .map(|index| ReportBlock { ssrc: Ssrc(index), ..ReportBlock::default() }.to_bytes())
            .collect();
        for count in [0, 1, 31, 40] {
            let mut out = Vec::new();
            report(&blocks[..count]).write(&mut out);
            let kept = count.min(31);
            let expected = report(&blocks[..kept]);
            assert_eq!(packets(&out).next(), Some(Ok(Packet::SenderReport(expected))));
            assert_eq!(
                expected.reports().map(|block| block.ssrc.0).sum::<u32>(),
                (0..kept as u32).sum::<u32>()
            );
        }
    }

    #[test]
    fn a_report_that_is_not_there_is_malformed_and_an_extension_is_skipped() {
        let mut out = Vec::new();
        report(&[]).write(&mut out);
        out[0] |= 1;
        assert_eq!(packets(&out).next(), Some(Err(RtcpError::Malformed(200))));
        out[0] &= !1;
        out.extend_from_slice(b"more");
        out[3] += 1;
        assert_eq!(packets(&out).next(), Some(Ok(Packet::SenderReport(report(&[])))));
        assert_eq!(packets(b"\x80\xc8\0\x01\0\0\0\x01").next(), Some(Err(RtcpError::Malformed(200))));
    }
}

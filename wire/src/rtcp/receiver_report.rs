//! Receiver report (RFC 3550, 6.4.2).

use super::{COUNT_MAX, RECEIVER_REPORT, Raw, ReportBlock, append, entries, split_ssrc};
use crate::rtp::Ssrc;

/// What a receiver tells of the streams it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// At most 31; see [`ReportBlock::from_bytes`].
    pub reports: &'a [[u8; ReportBlock::BYTES]],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Option<Self> {
        let (sender, rest) = split_ssrc(raw.body)?;
        let reports = entries(rest, usize::from(raw.count))?;
        Some(Self { sender, reports })
    }

    /// The reports.
    pub fn reports(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.reports.iter().map(ReportBlock::from_bytes)
    }

    /// Appends the packet; reports beyond the 31st are left out.
    pub fn write(&self, out: &mut Vec<u8>) {
        let reports = &self.reports[..self.reports.len().min(COUNT_MAX)];
        append(out, RECEIVER_REPORT, reports.len() as u8, |out| {
            out.extend_from_slice(&self.sender.0.to_be_bytes());
            out.extend_from_slice(reports.as_flattened());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, RtcpError, packets};
    use super::*;

    #[test]
    fn up_to_31_reports_read_back() {
        let block = ReportBlock {
            ssrc: Ssrc(2),
            fraction_lost: 3,
            lost: -4,
            highest_sequence: 5,
            jitter: 6,
            last_sr: 7,
            delay_since_last_sr: 8,
        };
        for count in [0, 1, 31, 32] {
            let blocks = vec![block.to_bytes(); count];
            let mut out = Vec::new();
            ReceiverReport { sender: Ssrc(1), reports: &blocks }.write(&mut out);
            let expected = ReceiverReport { sender: Ssrc(1), reports: &blocks[..count.min(31)] };
            assert_eq!(packets(&out).next(), Some(Ok(Packet::ReceiverReport(expected))));
            assert!(expected.reports().all(|each| each == block));
        }
    }

    #[test]
    fn a_report_that_is_not_there_is_malformed() {
        for bytes in [&b"\x81\xc9\0\x01\0\0\0\x01"[..], b"\x80\xc9\0\0"] {
            assert_eq!(packets(bytes).next(), Some(Err(RtcpError::Malformed(201))));
        }
    }
}

//! RTCP of one caller: what the server asks for and reports, and what goes out.

use std::time::{Duration, Instant};

use wire::rtcp::{self, Packet, ReportBlock};
use wire::srtp::SrtpError;

use super::{Caller, is_due};
use crate::engine::ports::Workspace;
use crate::engine::send::reporter_ssrc;

impl Caller {
    pub(super) fn handle_rtcp(&mut self, now: Instant, datagram: &[u8], workspace: &mut Workspace) {
        let mut plain = std::mem::take(&mut workspace.plain);
        match self.protection.as_mut().map(|it| it.open_rtcp(datagram, &mut plain)) {
            Some(Ok(())) => self.handle_compound(now, &plain, workspace),
            // The link, or the server, has doubled it: media is counted then, a report is not.
            Some(Err(SrtpError::Replayed)) => {}
            Some(Err(_)) | None => self.counts.packets_strange += 1,
        }
        workspace.plain = plain;
    }

    fn handle_compound(&mut self, now: Instant, compound: &[u8], workspace: &mut Workspace) {
        self.viewer.handle_sign_of_life(now);
        for packet in rtcp::packets(compound) {
            match packet {
                Ok(packet) => self.handle_rtcp_packet(now, &packet, workspace),
                Err(_) => self.counts.packets_strange += 1,
            }
        }
    }

    fn handle_rtcp_packet(&mut self, now: Instant, packet: &Packet<'_>, workspace: &mut Workspace) {
        match packet {
            Packet::Nack(nack) => {
                let Self { protection: Some(protection), publisher, outgoing, counts, .. } = self else {
                    return;
                };
                // Without RTX agreed on there is nothing that could be sent again.
                if !outgoing.repairs(nack.media) {
                    counts.nacks_received += nack.sequences().count() as u64;
                    return;
                }
                publisher.handle_nack(now, nack.media, nack.sequences(), &mut |packet| {
                    outgoing.send(&packet, protection, &mut workspace.transmits, counts);
                });
            }
            Packet::Pli(pli) => self.publisher.handle_key_frame_request(now, pli.media),
            Packet::Fir(fir) => {
                for entry in fir.entries() {
                    if self.outgoing.is_new_command(entry) {
                        self.publisher.handle_key_frame_request(now, entry.media);
                    }
                }
            }
            Packet::SenderReport(report) => {
                self.viewer.handle_sender_report(now, report.ssrc, report.ntp);
                self.take_report_blocks(report.reports());
            }
            Packet::ReceiverReport(report) => self.take_report_blocks(report.reports()),
            // What is sent does not follow the server's estimate: a scenario says how much it is.
            _ => {}
        }
    }

    fn take_report_blocks(&mut self, blocks: impl Iterator<Item = ReportBlock>) {
        blocks.for_each(|block| self.outgoing.acknowledge(block.ssrc));
    }

    /// Writes what is due into as few datagrams as it fits.
    pub(super) fn send_reports(&mut self, now: Instant, workspace: &mut Workspace) {
        let Some(protection) = &mut self.protection else { return };
        let rtcp = &mut workspace.plain;
        rtcp.clear();
        if is_due(self.viewer.next_timeout(), now) {
            self.viewer.handle_timeout(now, rtcp);
        }
        if is_due(self.next_report, now) {
            self.next_report = Some(now + REPORT_INTERVAL);
            self.publisher.write_sender_reports(now, rtcp);
        }
        let reporter = reporter_ssrc(self.plan.number);
        while self.arrivals.feedback(now, reporter, self.heard, rtcp) {
            self.counts.feedback_sent += 1;
        }
        if !rtcp.is_empty() {
            protection.seal_rtcp(rtcp, &mut workspace.transmits);
        }
    }
}

/// Chromium's interval of video; audio's would be longer.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

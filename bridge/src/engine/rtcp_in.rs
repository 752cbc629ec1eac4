//! What a browser says over RTCP. Nobody is believed about a stream that is not theirs to speak about, and every number
//! is bounded before it is used.

use std::time::Instant;

use wire::rtcp::{self, Nack, Packet, ReportBlock, SenderReport};
use wire::rtp::Ssrc;

use super::conference::Conference;
use super::drop_reason::DropReason;
use super::effects::Effects;
use super::reports;
use super::slot::Outlet;
use super::streams::Binding;

impl Conference {
    /// Takes one RTCP datagram of the endpoint at `place`, whose path ICE has authenticated.
    pub(crate) fn handle_rtcp(
        &mut self,
        now: Instant,
        place: usize,
        datagram: &[u8],
        fx: &mut Effects,
    ) -> bool {
        // Taken out for the time of the walk: handlers write answers through the same effects.
        let mut plain = std::mem::take(&mut fx.scratch.rtcp_received);
        let opened = self.endpoints[place].up.open_rtcp(now, datagram, &mut plain);
        match opened {
            Ok(()) => {
                for packet in rtcp::packets(&plain) {
                    match packet {
                        Ok(packet) => self.handle_rtcp_packet(now, place, &packet, fx),
                        Err(_) => fx.drop(DropReason::RtcpMalformed),
                    }
                }
            }
            Err(reason) => fx.drop(reason),
        }
        fx.scratch.rtcp_received = plain;
        opened.is_ok()
    }

    /// One packet of a compound. Order does not matter: none depends on another.
    fn handle_rtcp_packet(&mut self, now: Instant, place: usize, packet: &Packet<'_>, fx: &mut Effects) {
        match packet {
            Packet::SenderReport(report) => {
                self.handle_sender_report(now, place, report, fx);
                report.reports().for_each(|block| self.handle_report_block(now, place, &block, fx));
            }
            Packet::ReceiverReport(report) => {
                report.reports().for_each(|block| self.handle_report_block(now, place, &block, fx));
            }
            Packet::Nack(nack) => self.handle_nack(now, place, nack, fx),
            Packet::Pli(pli) => self.handle_picture_loss(now, place, pli.media, fx),
            Packet::Fir(fir) => {
                // Browsers name one stream; each further one costs a look-up.
                fir.entries().take(FIR_ENTRIES_MAX).for_each(|entry| {
                    self.handle_picture_loss(now, place, entry.media, fx);
                });
            }
            Packet::Remb(remb) => {
                let estimate = remb.bitrate_bps.clamp(ESTIMATE_BPS_MIN, ESTIMATE_BPS_MAX);
                self.endpoints[place].estimate_bps = Some(estimate);
            }
            Packet::Bye(bye) => bye.ssrcs().for_each(|ssrc| self.handle_bye(place, ssrc, fx)),
            // Nothing here decides by it yet; it has been parsed and authenticated all the same.
            Packet::TransportFeedback(_) | Packet::SourceDescription(_) | Packet::Unknown { .. } => {}
        }
    }

    /// RFC 3550, 6.4.1: which timestamp of a stream belongs to which time of its sender.
    fn handle_sender_report(
        &mut self,
        now: Instant,
        place: usize,
        report: &SenderReport<'_>,
        fx: &mut Effects,
    ) {
        let up = &mut self.endpoints[place].up;
        let Some(Binding::Media { source, layer }) = up.streams.binding(report.ssrc.0) else {
            // Browsers report on streams that have not sent yet; they only must not be somebody else's.
            if !up.streams.owns(report.ssrc.0) {
                fx.drop(DropReason::RtcpUnknownSsrc);
            }
            return;
        };
        let Some(layer) = self.sources.get_mut(source).and_then(|it| it.layers.get_mut(usize::from(layer)))
        else {
            return;
        };
        layer.reception.handle_sender_report(now, report.ntp);
        if up.clock.handle_sender_report(fx.clock.ntp(now), report.ntp) {
            layer.clock.handle_sender_report(report.ntp, report.rtp_timestamp);
            self.tell_clocks(source, fx);
        }
    }

    /// RFC 3550, 6.4.1: what the browser missed of one slot.
    fn handle_report_block(&mut self, now: Instant, place: usize, block: &ReportBlock, fx: &mut Effects) {
        let endpoint = &mut self.endpoints[place];
        let Some(slot) = endpoint.slot_of(block.ssrc) else { return fx.drop(DropReason::RtcpUnknownSsrc) };
        let slot = &mut endpoint.slots[slot];
        if slot.ssrc == block.ssrc {
            let (expected, lost) = slot.note_report(block);
            fx.counters.packets_reported += expected;
            fx.counters.packets_reported_lost += lost;
        }
        if let Some(measured) = reports::round_trip(fx.clock.ntp(now), block) {
            endpoint.note_round_trip(measured);
        }
    }

    /// RFC 4585, 6.2.1: sends again what the cache still has, within the slot's share.
    fn handle_nack(&mut self, now: Instant, place: usize, nack: &Nack<'_>, fx: &mut Effects) {
        let endpoint = &mut self.endpoints[place];
        let Some(slot) = endpoint.slot_of(nack.media) else { return fx.drop(DropReason::RtcpUnknownSsrc) };
        let slot = &mut endpoint.slots[slot];
        let source = slot.filling.as_ref().and_then(|filling| self.sources.get(filling.source.place));
        for sequence in nack.sequences() {
            fx.counters.nacks_received += 1;
            let Some(source) = source else {
                fx.drop(DropReason::NotInCache);
                continue;
            };
            let mut outlet = Outlet { now, down: &mut endpoint.down, fx };
            match slot.resend(sequence, source, &mut outlet) {
                Ok(bytes) => {
                    fx.counters.packets_sent += 1;
                    fx.counters.retransmissions_sent += 1;
                    fx.counters.bytes_sent += bytes as u64;
                }
                Err(reason) => fx.drop(reason),
            }
        }
    }

    /// RFC 4585, 6.3.1; RFC 5104, 4.3.1: the browser cannot go on without a key frame.
    fn handle_picture_loss(&mut self, now: Instant, place: usize, media: Ssrc, fx: &mut Effects) {
        let endpoint = &self.endpoints[place];
        let Some(slot) = endpoint.slot_of(media) else { return fx.drop(DropReason::RtcpUnknownSsrc) };
        if let Some(filling) = &endpoint.slots[slot].filling {
            self.ask_key_frame(now, filling.source.place, fx);
        }
    }

    /// RFC 3550, 6.6: a stream ends. Its layer counts as silent from now on; another's is none of the browser's business
    /// (HOSTILE U49).
    fn handle_bye(&mut self, place: usize, ssrc: Ssrc, fx: &mut Effects) {
        match self.endpoints[place].up.streams.binding(ssrc.0) {
            Some(Binding::Media { source, layer }) => {
                if let Some(layer) =
                    self.sources.get_mut(source).and_then(|it| it.layers.get_mut(usize::from(layer)))
                {
                    layer.heard_at = None;
                }
            }
            Some(_) => {}
            None => fx.drop(DropReason::RtcpUnknownSsrc),
        }
    }
}

/// A browser asks for one stream's key frame at a time; slots have at most this many m-lines.
const FIR_ENTRIES_MAX: usize = 64;

/// Below this not even audio fits (HOSTILE U48).
const ESTIMATE_BPS_MIN: u64 = 30_000;

/// Above this nobody's line is what holds a meeting back.
const ESTIMATE_BPS_MAX: u64 = 1_000_000_000;

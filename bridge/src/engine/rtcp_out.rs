//! What the bridge says over RTCP: how each slot's time runs, what arrived, what is missing, that a picture is wanted.
//!
//! Every datagram is a compound that begins with a report and names its sender (RFC 3550, 6.1), so that it does not
//! matter whether the browser agreed to reduced size.

use std::time::{Duration, Instant};

use slab::Slab;
use wire::messages::media::MediaKind;
use wire::rtcp::{Nack, Pli, ReceiverReport, ReportBlock, SourceDescription};
use wire::rtp::Ssrc;

use super::conference::Conference;
use super::effects::Effects;
use super::endpoint::Endpoint;
use super::slot::Slot;
use super::source::Source;

impl Endpoint {
    /// Asks the browser for a key frame of one of its streams (RFC 4585, 6.3.1).
    pub(crate) fn send_pli(&mut self, media: u32, fx: &mut Effects) {
        self.begin_feedback(fx);
        Pli { sender: self.reporter, media: Ssrc(media) }.write(&mut fx.scratch.rtcp);
        if self.flush(fx) {
            fx.counters.key_frame_requests_sent += 1;
        }
    }

    /// Asks the browser for what is missing of its videos. The place of each source of which something was given up is
    /// appended to `lost`: only a key frame helps it.
    pub(crate) fn send_nacks(
        &mut self,
        now: Instant,
        sources: &mut Slab<Source>,
        lost: &mut Vec<usize>,
        fx: &mut Effects,
    ) {
        let round_trip = self.round_trip.unwrap_or(ROUND_TRIP_UNKNOWN);
        let mut next = None;
        self.begin_feedback(fx);
        let empty_len = fx.scratch.rtcp.len();
        for place in &self.up.sources {
            let Some(source) = sources.get_mut(*place).filter(|source| source.is_shown()) else {
                continue;
            };
            // Of the layers only the one that is shown is worth repairing.
            let wanted = source.wanted.filter(|_| source.kind == MediaKind::Video);
            let Some(layer) = wanted.map(|index| &mut source.layers[usize::from(index)]) else { continue };
            fx.scratch.sequences.clear();
            if layer.losses.nacks(now, round_trip, &mut fx.scratch.sequences) {
                lost.push(*place);
            }
            fx.counters.nacks_sent += fx.scratch.sequences.len() as u64;
            let media = Ssrc(layer.ssrc.unwrap_or_default());
            Nack::write_sequences(&mut fx.scratch.rtcp, self.reporter, media, &fx.scratch.sequences);
            next = next.into_iter().chain(layer.losses.next_timeout()).min();
        }
        if fx.scratch.rtcp.len() > empty_len {
            self.flush(fx);
        }
        self.arm_nack(next, fx);
    }

    /// Tells the browser when its packets arrived (transport-wide congestion control).
    pub(crate) fn send_transport_feedback(&mut self, now: Instant, sources: &Slab<Source>, fx: &mut Effects) {
        let own = self.up.sources.iter().filter_map(|place| sources.get(*place));
        let media = own.flat_map(|source| &source.layers).find_map(|layer| layer.ssrc).unwrap_or_default();
        for _ in 0..FEEDBACK_DATAGRAMS_MAX {
            self.begin_feedback(fx);
            if !self.up.arrivals.feedback(now, self.reporter, Ssrc(media), &mut fx.scratch.rtcp) {
                break;
            }
            self.flush(fx);
        }
        self.arm_feedback(fx);
    }

    /// Reports how the browser's streams arrived since `before` (RFC 3550, 6.4.2). True when any did.
    fn send_receiver_reports(
        &mut self,
        now: Instant,
        sources: &mut Slab<Source>,
        before: Option<Instant>,
        fx: &mut Effects,
    ) -> bool {
        let mut blocks = Vec::new();
        for place in &self.up.sources {
            let Some(source) = sources.get_mut(*place) else { continue };
            for layer in source.layers.iter_mut().filter(|layer| is_since(layer.heard_at, before)) {
                if source.kind == MediaKind::Video {
                    let since = before.map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
                    fx.counters.video_stream_ms += since.as_millis() as u64;
                }
                let block = layer.ssrc.and_then(|ssrc| layer.reception.report_block(now, Ssrc(ssrc)));
                blocks.extend(block.map(|block| block.to_bytes()));
            }
        }
        for chunk in blocks.chunks(BLOCKS_MAX) {
            self.begin(chunk, fx);
            self.flush(fx);
        }
        !blocks.is_empty()
    }

    /// Reports each slot in `timestamps`, with the timestamp it has now (RFC 3550, 6.4.1).
    fn send_sender_reports(&mut self, now: Instant, timestamps: &[(usize, u32)], fx: &mut Effects) {
        let ntp = fx.clock.ntp(now);
        for chunk in timestamps.chunks(SENDER_REPORTS_MAX) {
            fx.scratch.rtcp.clear();
            for (place, timestamp) in chunk {
                let slot = &self.slots[*place];
                slot.sent.sender_report(slot.ssrc, ntp, *timestamp).write(&mut fx.scratch.rtcp);
                SourceDescription::write_cname(&mut fx.scratch.rtcp, slot.ssrc, &self.cname);
            }
            self.flush(fx);
        }
    }

    fn begin_feedback(&self, fx: &mut Effects) {
        self.begin(&[], fx);
    }

    fn begin(&self, blocks: &[[u8; ReportBlock::BYTES]], fx: &mut Effects) {
        fx.scratch.rtcp.clear();
        ReceiverReport { sender: self.reporter, reports: blocks }.write(&mut fx.scratch.rtcp);
        SourceDescription::write_cname(&mut fx.scratch.rtcp, self.reporter, &self.cname);
    }

    fn flush(&mut self, fx: &mut Effects) -> bool {
        self.down.seal_rtcp(&fx.scratch.rtcp, &mut fx.ring)
    }
}

impl Conference {
    /// Sends an endpoint the reports that are due: how each active slot's time runs, how each of its streams arrived.
    /// While nothing flows there is nothing to report, and nothing to wake up for.
    pub(crate) fn send_reports(&mut self, now: Instant, place: usize, fx: &mut Effects) {
        let before = self.endpoints[place].begin_report(now);
        let timestamps = self.slot_timestamps(now, place, before, fx);
        let endpoint = &mut self.endpoints[place];
        endpoint.send_sender_reports(now, &timestamps, fx);
        let is_received = endpoint.send_receiver_reports(now, &mut self.sources, before, fx);
        if is_received || !timestamps.is_empty() {
            endpoint.continue_reports(now, fx);
        }
    }

    /// Asks an endpoint for what is missing of its videos, and for a picture where that is hopeless.
    pub(crate) fn send_nacks(&mut self, now: Instant, place: usize, fx: &mut Effects) {
        let mut lost = Vec::new();
        self.endpoints[place].send_nacks(now, &mut self.sources, &mut lost, fx);
        for source in lost {
            self.ask_key_frame(now, source, fx);
        }
    }

    /// The slots that have sent something since `before`, each with its timestamp at `now`.
    fn slot_timestamps(
        &self,
        now: Instant,
        place: usize,
        before: Option<Instant>,
        fx: &Effects,
    ) -> Vec<(usize, u32)> {
        let slots = self.endpoints[place].slots.iter();
        let active = slots.filter(|(_, slot)| is_since(slot.newest().map(|(_, at)| at), before));
        active.map(|(place, slot)| (place, self.slot_timestamp(now, slot, fx))).collect()
    }

    /// What the slot's clock shows now. As the shown source's own reports have it, on the clock that all of its owner's
    /// sources share: that is what keeps lips and voice together. Before its first report, as time has gone by.
    fn slot_timestamp(&self, now: Instant, slot: &Slot, fx: &Effects) -> u32 {
        let reported = || {
            let filling = slot.filling.as_ref()?;
            let source = self.sources.get(filling.source.place)?;
            let layer = source.layers.get(usize::from(filling.shown?.index))?;
            let theirs = self.sender_clock(source.owner)?.theirs(fx.clock.ntp(now))?;
            layer.clock.timestamp_at(theirs).map(|timestamp| slot.timestamp_of(timestamp))
        };
        reported().unwrap_or_else(|| {
            let Some((timestamp, at)) = slot.newest() else { return 0 };
            let elapsed = now.saturating_duration_since(at).as_micros();
            timestamp.wrapping_add((elapsed * u128::from(slot.clock_rate_hz()) / 1_000_000) as u32)
        })
    }
}

fn is_since(at: Option<Instant>, before: Option<Instant>) -> bool {
    at.is_some_and(|at| before.is_none_or(|before| at > before))
}

/// Before anything was measured: a browser in the same country.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(100);

/// 100 ms of arrivals are one or two datagrams; more are told at the next timeout.
const FEEDBACK_DATAGRAMS_MAX: usize = 4;

/// The count field has 5 bits (RFC 3550, 6.4.2).
const BLOCKS_MAX: usize = 31;

/// Report and name take 64 bytes: together below 1,200.
const SENDER_REPORTS_MAX: usize = 16;

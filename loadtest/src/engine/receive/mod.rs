//! Everything one caller is shown: which packets came, which pictures were whole, how late, how still.
//!
//! ```text
//! datagram ─ Viewer::stream ─ (SRTP, the caller's) ─ Viewer::handle_packet
//!              └ Slot ─ Stream: numbers, gaps ─┬─ Reports: what the server is told
//!                                              ├─ Frames: whole? shown? ─ Watch: frozen?
//!                                              └─ Tally: counts, delays ─▶ Results
//! ```
//! One packet costs no allocation, once the slot's queues have grown to what its loss needs; a slot holds at most 8 KiB.

mod delays;
mod frames;
mod freezes;
mod nack;
mod reports;
mod slot;
mod stream;
mod tally;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use wire::messages::media::MediaKind;
use wire::rtcp::{NtpTime, ReceiverReport};
use wire::rtp::extensions::parse_text;
use wire::rtp::{RtpView, Ssrc};
use wire::srtp::ReplayWindow;

use super::ports::{CallerPlan, Note};
use super::results::Results;
use super::send::reporter_ssrc;
use super::stamp::Clock;
use slot::{Arrived, Desk, Slot};
use stream::Way;
use tally::Tally;

/// What one caller is shown.
#[derive(Debug)]
pub struct Viewer {
    clock: Clock,
    reporter: Ssrc,
    slots: Vec<Slot>,
    /// Streams that are known, by SSRC, ascending.
    streams: Vec<(Ssrc, StreamKey)>,
    /// Of a stream whose first packet is not authentic yet.
    new_window: ReplayWindow,
    tally: Tally,
    /// Microseconds of the clock; all `u64::MAX` before they are due for the first time.
    report_us: u64,
    /// Never later than the earliest deadline of a slot.
    slots_us: u64,
    /// The newest sign that the server is there.
    life_us: u64,
    /// To the server and back.
    round_trip_us: u64,
    /// The caller sends something.
    sends: bool,
    /// When the slots' rates were taken; none before the first results.
    rated_us: Option<u64>,
    has_packet: bool,
    has_told_picture: bool,
    asked: Vec<u16>,
}

/// A receive position as an answer describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotIds {
    /// Its m-line.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// Its stream; none where the server does not say: learned from the first packet, by mid or payload type.
    pub ssrc: Option<Ssrc>,
    /// Its retransmissions.
    pub rtx_ssrc: Option<Ssrc>,
    /// Of its media.
    pub payload_type: u8,
    /// Of its retransmissions; none where there are none.
    pub rtx_payload_type: Option<u8>,
}

/// A stream of a slot: good until the next call of [`Viewer::stream`] or [`Viewer::take_slots`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamKey {
    slot: u16,
    is_rtx: bool,
    /// Its SSRC is not known yet.
    is_new: bool,
}

impl Viewer {
    /// Nothing to be shown yet.
    pub fn new(plan: &CallerPlan) -> Self {
        Self {
            clock: plan.clock,
            reporter: reporter_ssrc(plan.number),
            slots: Vec::new(),
            streams: Vec::new(),
            new_window: ReplayWindow::new(),
            tally: Tally::new(plan.clock.number),
            report_us: u64::MAX,
            slots_us: u64::MAX,
            life_us: 0,
            round_trip_us: nack::ROUND_TRIP_DEFAULT_US,
            sends: plan.voice.is_some() || plan.camera.is_some() || plan.screen.is_some(),
            rated_us: None,
            has_packet: false,
            has_told_picture: false,
            asked: Vec::new(),
        }
    }

    /// What the answer said; replaces what was there. Slots beyond the 1,024th are left out.
    pub fn take_slots(&mut self, slots: &[SlotIds]) {
        let slots = &slots[..slots.len().min(SLOTS_MAX)];
        self.slots = slots.iter().cloned().map(Slot::new).collect();
        self.streams.clear();
        for (place, slot) in slots.iter().enumerate() {
            // Invariant: `SLOTS_MAX` keeps the place within 16 bits.
            let key = StreamKey { slot: place as u16, is_rtx: false, is_new: false };
            self.streams.extend(slot.ssrc.map(|ssrc| (ssrc, key)));
            self.streams.extend(slot.rtx_ssrc.map(|ssrc| (ssrc, StreamKey { is_rtx: true, ..key })));
        }
        self.streams.sort_by_key(|(ssrc, _)| *ssrc);
    }

    /// Which stream a packet belongs to, by its header, which need not be authentic. `mid_id`: the mid extension's id, if
    /// negotiated. None: it belongs to no slot.
    pub fn stream(&mut self, header: &RtpView<'_>, mid_id: Option<u8>) -> Option<StreamKey> {
        if let Some(place) = self.place_of(header.ssrc()) {
            return Some(self.streams[place].1);
        }
        let key = self.learn(header, mid_id)?;
        self.new_window = ReplayWindow::new();
        Some(key)
    }

    fn place_of(&self, ssrc: Ssrc) -> Option<usize> {
        self.streams.binary_search_by_key(&ssrc, |(known, _)| *known).ok()
    }

    /// The slot of a stream that the answer did not name: by mid (RFC 9143, 9.2), or else the first that still misses a
    /// stream of this payload type.
    fn learn(&self, header: &RtpView<'_>, mid_id: Option<u8>) -> Option<StreamKey> {
        let payload_type = header.payload_type().number();
        let mid = mid_id.and_then(|id| header.extension(id)).and_then(parse_text);
        let mut slots = self.slots.iter().enumerate();
        let (place, is_rtx) = slots
            .find_map(|(place, slot)| slot.may_learn(payload_type, mid).map(|is_rtx| (place, is_rtx)))?;
        Some(StreamKey { slot: place as u16, is_rtx, is_new: true })
    }

    /// The replay window of a stream.
    pub fn window(&mut self, key: StreamKey) -> &mut ReplayWindow {
        match self.slots.get_mut(usize::from(key.slot)) {
            Some(slot) if !key.is_new => slot.window(key.is_rtx),
            _ => &mut self.new_window,
        }
    }

    /// One authentic packet, in plaintext. `datagram_bytes`: what it was on the wire.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        key: StreamKey,
        (packet, datagram_bytes): (&RtpView<'_>, usize),
        notes: &mut Vec<Note>,
    ) {
        if key.is_new {
            self.adopt(key, packet.ssrc());
        }
        let now_us = self.count_datagram(now, key, datagram_bytes);
        if !self.has_packet {
            self.has_packet = true;
            self.report_us = now_us + REPORT_INTERVAL_US;
            notes.push(Note::FirstPacket);
        }
        let Some(slot) = self.slots.get_mut(usize::from(key.slot)) else { return };
        let mut arrived = Arrived {
            now_us,
            life_us: self.life_us,
            sequence: packet.sequence(),
            timestamp: packet.timestamp(),
            way: Way::Stream,
            payload: packet.payload(),
        };
        if key.is_rtx {
            // RFC 4588, 4: the original sequence number, then the original payload; without them it only probes.
            let Some((original, payload)) = packet.payload().split_first_chunk() else { return };
            (arrived.sequence, arrived.payload) = (u16::from_be_bytes(*original), payload);
            arrived.way = Way::Rtx;
        }
        slot.handle_packet(&arrived, &mut self.tally);
        self.slots_us = self.slots_us.min(slot.next_timeout());
        if self.tally.has_picture && !self.has_told_picture {
            self.has_told_picture = true;
            notes.push(Note::FirstPicture);
        }
    }

    /// A datagram whose SRTP index had come before: the link, or the server, has doubled it.
    pub fn handle_replayed(&mut self, now: Instant, key: StreamKey, datagram_bytes: usize) {
        self.count_datagram(now, key, datagram_bytes);
        self.tally.counts.packets_duplicate += 1;
    }

    fn count_datagram(&mut self, now: Instant, key: StreamKey, datagram_bytes: usize) -> u64 {
        self.tally.counts.packets_received += 1;
        self.tally.counts.bytes_received += datagram_bytes as u64;
        if let Some(slot) = self.slots.get_mut(usize::from(key.slot)) {
            slot.handle_datagram(datagram_bytes);
        }
        self.clock.us(now)
    }

    fn adopt(&mut self, key: StreamKey, ssrc: Ssrc) {
        let Some(slot) = self.slots.get_mut(usize::from(key.slot)) else { return };
        let key = StreamKey { is_new: false, ..key };
        slot.adopt((ssrc, key.is_rtx), std::mem::take(&mut self.new_window), &mut self.tally);
        self.streams.retain(|(_, known)| *known != key);
        let place = self.streams.partition_point(|(known, _)| *known < ssrc);
        self.streams.insert(place, (ssrc, key));
    }

    /// The server is there, though it may have nothing to show: an answered check, authentic RTCP. Without such a sign a
    /// slot in which nothing comes any more stands still; with it, the slot is empty.
    pub fn handle_sign_of_life(&mut self, now: Instant) {
        self.life_us = self.clock.us(now);
    }

    /// How long the server takes to answer: what is missing is asked for again a little later. 100 ms until then, and at
    /// least as long for a caller that sends nothing: browsers learn it from reports on what they send.
    pub fn handle_round_trip(&mut self, round_trip: Duration) {
        let measured_us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.round_trip_us =
            if self.sends { measured_us } else { measured_us.max(nack::ROUND_TRIP_DEFAULT_US) };
    }

    /// An authentic sender report (RFC 3550, 6.4.1).
    pub fn handle_sender_report(&mut self, now: Instant, ssrc: Ssrc, ntp: NtpTime) {
        let Some(place) = self.place_of(ssrc) else { return };
        let key = self.streams[place].1;
        let now_us = self.clock.us(now);
        if let Some(slot) = self.slots.get_mut(usize::from(key.slot)).filter(|_| !key.is_rtx) {
            slot.handle_sender_report(now_us, ntp);
        }
    }

    /// When something is due. A peek.
    pub fn next_timeout(&self) -> Option<Instant> {
        let next_us = self.report_us.min(self.slots_us);
        (next_us != u64::MAX).then(|| self.clock.instant(next_us))
    }

    /// Appends what is due: a receiver report each second (RFC 3550, 6.4.2), requests for packets (RFC 4585, 6.2.1) and for
    /// key frames (6.3.1). One datagram's worth: if there is more, it is due at once. Reports come first; without one it is
    /// a packet of reduced size (RFC 5506).
    pub fn handle_timeout(&mut self, now: Instant, rtcp: &mut Vec<u8>) {
        let now_us = self.clock.us(now);
        let start = rtcp.len();
        if self.report_us <= now_us {
            self.report_us = now_us + REPORT_INTERVAL_US;
            self.write_reports(now_us, rtcp);
        }
        if self.slots_us > now_us {
            return;
        }
        let Self { slots, tally, reporter, asked, round_trip_us, .. } = self;
        for slot in slots.iter_mut().filter(|slot| slot.next_timeout() <= now_us) {
            if rtcp.len() - start > RTCP_BYTES_FULL {
                break;
            }
            let (round_trip_us, reporter) = (*round_trip_us, *reporter);
            slot.handle_timeout(&mut Desk { now_us, round_trip_us, reporter, rtcp, asked }, tally);
        }
        self.slots_us = self.slots.iter().map(Slot::next_timeout).min().unwrap_or(u64::MAX);
    }

    fn write_reports(&mut self, now_us: u64, rtcp: &mut Vec<u8>) {
        // A report carries 31 blocks; the slots behind them are told of no more. No page shows as many.
        let mut blocks = [[0; _]; 31];
        let mut count = 0;
        let told = self.slots.iter_mut().filter_map(|slot| slot.report(now_us));
        for (room, block) in blocks.iter_mut().zip(told) {
            *room = block;
            count += 1;
        }
        ReceiverReport { sender: self.reporter, reports: &blocks[..count] }.write(rtcp);
    }

    /// Adds what was counted since the last call, and forgets it.
    pub fn take_results(&mut self, now: Instant, results: &mut Results) {
        let now_us = self.clock.us(now);
        for slot in &mut self.slots {
            slot.handle_time(now_us, self.life_us, &mut self.tally);
        }
        self.tally.drain_into(results);
        self.take_rates(now_us, results);
    }

    /// Results may be taken twice within a frame: what came in between would be a rate of nothing, or of a burst.
    fn take_rates(&mut self, now_us: u64, results: &mut Results) {
        let elapsed_us = self.rated_us.map_or(0, |rated| now_us.saturating_sub(rated));
        if self.rated_us.is_some() && elapsed_us < RATE_WINDOW_US {
            return;
        }
        self.rated_us = Some(now_us);
        for slot in &mut self.slots {
            // Bits a millisecond are kilobits a second. Before the first results nobody knows since when.
            if let Some(rate) = slot.take_bytes().and_then(|bytes| (bytes * 8_000).checked_div(elapsed_us)) {
                results.video_slot_kbps.take(rate);
            }
        }
    }
}

/// Far more than a page shows.
const SLOTS_MAX: usize = 1_024;

/// RFC 3550, 6.2 wants five; browsers report of pictures each second.
const REPORT_INTERVAL_US: u64 = 1_000_000;

/// A second, less what a reading each second may come early.
const RATE_WINDOW_US: u64 = 900_000;

/// Together with one slot's requests, which are at most 300 bytes, below what every path carries.
const RTCP_BYTES_FULL: usize = 800;

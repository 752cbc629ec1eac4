//! One receive position: its streams, its packets, its pictures.

use wire::messages::media::MediaKind;
use wire::rtcp::{Nack, NtpTime, Pli, ReportBlock};
use wire::rtp::Ssrc;
use wire::srtp::ReplayWindow;

use super::SlotIds;
use super::frames::{Frames, Settled};
use super::freezes::{Lane, Signs, Watch};
use super::nack::{Gaps, Mending};
use super::reports::Reports;
use super::stream::{Arrival, Stream, Way};
use super::tally::Tally;
use crate::engine::stamp::Stamp;

/// A receive position.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) ids: SlotIds,
    /// The answer named its SSRC; otherwise it is learned from packets and may change.
    is_named: bool,
    /// The same of its retransmissions.
    is_rtx_named: bool,
    window: ReplayWindow,
    rtx_window: ReplayWindow,
    stream: Stream,
    reports: Reports,
    /// None of a voice.
    picture: Option<Picture>,
    /// Whose packets come, and since when.
    lane: Option<(Lane, u64)>,
    packet_us: Option<u64>,
    /// Bytes since the last reading.
    bytes: u64,
}

/// What a video slot has beside its packets.
#[derive(Debug)]
struct Picture {
    frames: Frames,
    watch: Watch,
    /// Something was shown, ever.
    has_shown: bool,
    /// When to ask for a key frame; `u64::MAX`: none is needed, or nothing comes.
    ask_us: u64,
    asked_us: Option<u64>,
}

/// One packet of media, out of its RTX wrapping if it had one.
pub(super) struct Arrived<'a> {
    pub(super) now_us: u64,
    pub(super) life_us: u64,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) way: Way,
    pub(super) payload: &'a [u8],
}

/// Where requests go.
pub(super) struct Desk<'a> {
    pub(super) now_us: u64,
    pub(super) round_trip_us: u64,
    pub(super) reporter: Ssrc,
    pub(super) rtcp: &'a mut Vec<u8>,
    pub(super) asked: &'a mut Vec<u16>,
}

impl Slot {
    pub(super) fn new(ids: SlotIds) -> Self {
        let is_video = ids.kind == MediaKind::Video;
        Self {
            is_named: ids.ssrc.is_some(),
            is_rtx_named: ids.rtx_ssrc.is_some(),
            ids,
            window: ReplayWindow::new(),
            rtx_window: ReplayWindow::new(),
            stream: Stream::new(if is_video { Mending::Asks } else { Mending::Waits }),
            reports: Reports::new(if is_video { PICTURE_CLOCK_HZ } else { VOICE_CLOCK_HZ }),
            picture: is_video.then(Picture::new),
            lane: None,
            packet_us: None,
            bytes: 0,
        }
    }

    pub(super) fn window(&mut self, is_rtx: bool) -> &mut ReplayWindow {
        if is_rtx { &mut self.rtx_window } else { &mut self.window }
    }

    /// Whether a stream that the answer did not name may be this slot's, by payload type and mid; and if so, whether it
    /// would be its retransmissions.
    pub(super) fn may_learn(&self, payload_type: u8, mid: Option<&str>) -> Option<bool> {
        let is_rtx = self.ids.rtx_payload_type == Some(payload_type);
        if !is_rtx && self.ids.payload_type != payload_type {
            return None;
        }
        let (is_named, known) = match is_rtx {
            true => (self.is_rtx_named, self.ids.rtx_ssrc),
            false => (self.is_named, self.ids.ssrc),
        };
        let is_here = mid.map_or(known.is_none(), |mid| mid == self.ids.mid);
        (is_here && !is_named).then_some(is_rtx)
    }

    /// Another stream begins, of those that are learned. What the one before it still misses will not come.
    pub(super) fn adopt(&mut self, (ssrc, is_rtx): (Ssrc, bool), window: ReplayWindow, tally: &mut Tally) {
        *self.window(is_rtx) = window;
        if is_rtx {
            self.ids.rtx_ssrc = Some(ssrc);
            return;
        }
        self.ids.ssrc = Some(ssrc);
        tally.counts.packets_lost += self.stream.give_up();
        let fresh = Self::new(self.ids.clone());
        (self.stream, self.reports, self.lane) = (fresh.stream, fresh.reports, None);
        if let Some(picture) = &mut self.picture {
            tally.counts.frames_broken += std::mem::take(&mut picture.frames).unsettled();
        }
    }

    pub(super) fn handle_datagram(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn handle_packet(&mut self, arrived: &Arrived<'_>, tally: &mut Tally) {
        let Arrived { now_us, sequence, way, .. } = *arrived;
        self.wake(arrived, tally);
        let (number, arrival, lost) = self.stream.handle_packet(now_us, sequence, way);
        tally.counts.packets_lost += lost;
        match arrival {
            Arrival::Duplicate => {
                tally.counts.packets_duplicate += 1;
                return;
            }
            Arrival::Newest { skipped } => self.handle_newest(arrived, skipped),
            Arrival::Filled | Arrival::FilledTooLate => {
                tally.counts.packets_recovered += u64::from(way == Way::Rtx);
                tally.counts.packets_late += u64::from(way == Way::Stream);
                tally.forgiven += u64::from(arrival == Arrival::FilledTooLate);
            }
        }
        // A payload without a byte pads the stream; it belongs to nobody.
        if !arrived.payload.is_empty() {
            self.handle_payload((number, arrival), arrived, tally);
        }
        // Even padding may have been what a whole picture waited for.
        if let Some(picture) = &mut self.picture {
            picture.settle(now_us, self.stream.gaps(), tally);
        }
    }

    /// Something comes again: what the silence was has to be told before it is forgotten.
    fn wake(&mut self, arrived: &Arrived<'_>, tally: &mut Tally) {
        let now_us = arrived.now_us;
        let before = self.packet_us.replace(now_us);
        let Some(picture) = &mut self.picture else { return };
        let Some(before) = before else {
            picture.ask_us = now_us + FIRST_PICTURE_WAIT_US;
            return;
        };
        if now_us.saturating_sub(before) >= SILENCE_US {
            let signs = Signs { packet_us: before, life_us: arrived.life_us };
            picture.watch.handle_time(now_us, signs, &mut tally.counts);
            picture.need_key_frame(now_us);
        }
    }

    /// The newest packet of all: only its timing says something of the path, and only it can leave a gap behind.
    fn handle_newest(&mut self, arrived: &Arrived<'_>, skipped: u64) {
        if arrived.way == Way::Stream {
            self.reports.handle_packet(arrived.now_us, arrived.timestamp);
        }
        if let Some(picture) = self.picture.as_mut().filter(|_| Gaps::is_beyond_mending(skipped)) {
            picture.ask_at(arrived.now_us);
        }
    }

    /// What the stamp tells: whose packet it is, how long it took, which picture it belongs to.
    fn handle_payload(
        &mut self,
        (number, arrival): (u64, Arrival),
        arrived: &Arrived<'_>,
        tally: &mut Tally,
    ) {
        let now_us = arrived.now_us;
        let Some(stamp) = Stamp::of_payload(self.ids.kind, arrived.payload) else {
            tally.counts.packets_unstamped += 1;
            return;
        };
        let lane = (stamp.source, stamp.stream);
        if matches!(arrival, Arrival::Newest { .. }) && self.lane.is_none_or(|(known, _)| known != lane) {
            self.lane = Some((lane, now_us));
        }
        // What was sent before the slot showed this lane came out of the server's memory and tells nothing of the path.
        let is_live = self.lane.is_some_and(|(known, since_us)| known == lane && stamp.sent_us >= since_us);
        let delay_us = (is_live && stamp.clock == tally.clock).then(|| now_us.saturating_sub(stamp.sent_us));
        if let Some(delay_us) = delay_us.filter(|_| arrived.way == Way::Stream) {
            tally.delays(self.ids.kind).take(delay_us);
        }
        let Some(picture) = &mut self.picture else { return };
        let is_whole = picture.frames.handle_packet(now_us, number, &stamp);
        if let Some(delay_us) = delay_us.filter(|_| is_whole) {
            tally.frame_delays.take(delay_us);
        }
    }

    pub(super) fn handle_sender_report(&mut self, now_us: u64, ntp: NtpTime) {
        self.reports.handle_sender_report(now_us, ntp);
    }

    /// None before the first packet.
    pub(super) fn report(&mut self, now_us: u64) -> Option<[u8; ReportBlock::BYTES]> {
        Some(self.reports.block(now_us, self.ids.ssrc?, self.stream.totals()?))
    }

    /// Microseconds of the clock; `u64::MAX`: nothing. A peek.
    pub(super) fn next_timeout(&self) -> u64 {
        let gaps_us = self.stream.gaps().next_timeout();
        self.picture
            .as_ref()
            .map_or(gaps_us, |picture| gaps_us.min(picture.ask_us).min(picture.frames.next_timeout()))
    }

    /// Gives up what is lost, and asks for what is missing. Both kinds of requests name the slot's stream, never that of its
    /// retransmissions (RFC 4588, 6.3).
    pub(super) fn handle_timeout(&mut self, desk: &mut Desk<'_>, tally: &mut Tally) {
        let now_us = desk.now_us;
        desk.asked.clear();
        tally.counts.packets_lost += self.stream.handle_timeout(now_us, desk.round_trip_us, desk.asked);
        if let Some(picture) = &mut self.picture {
            picture.settle(now_us, self.stream.gaps(), tally);
        }
        let Some(media) = self.ids.ssrc else { return };
        tally.counts.nacks_sent += desk.asked.len() as u64;
        Nack::write_sequences(desk.rtcp, desk.reporter, media, desk.asked);
        let packet_us = self.packet_us.unwrap_or(0);
        if self.picture.as_mut().is_some_and(|picture| picture.takes_request(now_us, packet_us)) {
            tally.counts.key_frame_requests_sent += 1;
            Pli { sender: desk.reporter, media }.write(desk.rtcp);
        }
    }

    /// Counts the time up to now.
    pub(super) fn handle_time(&mut self, now_us: u64, life_us: u64, tally: &mut Tally) {
        if let Some((picture, packet_us)) = self.picture.as_mut().zip(self.packet_us) {
            picture.watch.handle_time(now_us, Signs { packet_us, life_us }, &mut tally.counts);
        }
    }

    /// The bytes since the last call; none in an audio slot, or when nothing came.
    pub(super) fn take_bytes(&mut self) -> Option<u64> {
        let bytes = std::mem::take(&mut self.bytes);
        (self.picture.is_some() && bytes > 0).then_some(bytes)
    }
}

impl Picture {
    fn new() -> Self {
        Self {
            frames: Frames::default(),
            watch: Watch::new(),
            has_shown: false,
            ask_us: u64::MAX,
            asked_us: None,
        }
    }

    fn settle(&mut self, now_us: u64, gaps: &Gaps, tally: &mut Tally) {
        while let Some(settled) = self.frames.settle(now_us, gaps) {
            match settled {
                Settled::Shown { lane, is_key } => {
                    tally.counts.frames_complete += 1;
                    tally.counts.key_frames_complete += u64::from(is_key);
                    tally.has_picture = true;
                    self.has_shown = true;
                    // Whatever was asked for is no longer needed: the decoder goes on.
                    self.ask_us = u64::MAX;
                    self.watch.handle_picture(now_us, lane, &mut tally.counts);
                }
                Settled::Broken => {
                    tally.counts.frames_broken += 1;
                    self.need_key_frame(now_us);
                }
            }
        }
    }

    /// Asks for a key frame if nothing can be shown without. Before the first picture only the first packet's wait counts:
    /// whoever joins is shown a key frame without asking.
    fn need_key_frame(&mut self, now_us: u64) {
        if !self.frames.needs_key_frame() {
            return;
        }
        if self.has_shown {
            return self.ask_at(now_us);
        }
        self.ask_us = self.ask_us.min(now_us + FIRST_PICTURE_WAIT_US);
    }

    /// Not sooner than the sender could have answered the request before.
    fn ask_at(&mut self, now_us: u64) {
        let allowed_us = self.asked_us.map_or(0, |asked| asked + ASK_PAUSE_US);
        self.ask_us = self.ask_us.min(now_us.max(allowed_us));
    }

    /// A request is due, and counts as made.
    fn takes_request(&mut self, now_us: u64, packet_us: u64) -> bool {
        if self.ask_us > now_us {
            return false;
        }
        // Where nothing comes, nothing would come of asking; the next packet asks again.
        if now_us.saturating_sub(packet_us) >= SILENCE_US {
            self.ask_us = u64::MAX;
            return false;
        }
        self.asked_us = Some(now_us);
        self.ask_us = now_us + ASK_PAUSE_US;
        true
    }
}

/// RFC 7741, 4.1 and RFC 7587, 4.1.
const PICTURE_CLOCK_HZ: u64 = 90_000;
const VOICE_CLOCK_HZ: u64 = 48_000;

/// Within it a joiner's key frame comes by itself, or something went wrong.
const FIRST_PICTURE_WAIT_US: u64 = 1_000_000;

/// A sender's encoder answers within some frames and a round trip; browsers wait about as long.
const ASK_PAUSE_US: u64 = 500_000;

/// Longer than any pause between two packets of something that is shown.
const SILENCE_US: u64 = 1_000_000;

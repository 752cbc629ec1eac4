//! One participant's browser as the bridge holds it: its transport, what it sends, what it can be shown.

use std::time::{Duration, Instant};

use slab::Slab;
use wire::messages::ids::EndpointId;
use wire::messages::link::SlotPin;
use wire::messages::media::{EndpointParameters, Media, MediaKind, MediaRole};
use wire::rtp::Ssrc;
use wire::srtp::{Opener, Profile, Sealer, SessionKeys};

use super::channel::Channel;
use super::downlink::Downlink;
use super::effects::Effects;
use super::ice::IceLite;
use super::ports::EndpointKey;
use super::rate::TokenBucket;
use super::slot::Slot;
use super::timers::Timer;
use super::uplink::Uplink;
use super::wishes::Wishes;

/// A browser.
pub(crate) struct Endpoint {
    pub key: EndpointKey,
    pub id: EndpointId,
    /// What signaling last asked for, so that asking twice changes nothing.
    pub parameters: EndpointParameters,
    pub pins: Vec<SlotPin>,
    /// Opens its channel.
    pub password: String,
    pub created: Instant,
    pub ice: IceLite,
    pub phase: Phase,
    pub up: Uplink,
    pub down: Downlink,
    /// Indexed by the place that sources' receiver lists name.
    pub slots: Slab<Slot>,
    pub channel: Channel,
    pub wishes: Wishes,
    /// Our SSRC in what we say about the browser's streams.
    pub reporter: Ssrc,
    /// The name our streams share (RFC 7022). One for all slots: which of them belong to one person changes with what
    /// fills them, so a browser pairs them by what the channel says, and reports keep each slot true by itself.
    pub cname: String,
    /// Smoothed, from the browser's reports.
    pub round_trip: Option<Duration>,
    /// What the browser believes its line can take (REMB).
    pub estimate_bps: Option<u64>,
    /// DTLS datagrams it may still send us.
    pub handshake_allowance: TokenBucket,
    /// Slots whose m-line is off. Their streams are fixed for the endpoint's life and go on where they stopped: no SRTP
    /// index is ever used twice.
    pub parked: Vec<Slot>,
    /// When reports were last sent; none while nothing flows.
    reported_at: Option<Instant>,
    is_reporting: bool,
    nack_at: Option<Instant>,
    feedback_at: Option<Instant>,
}

/// How far the transport has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// ICE has not authenticated any path.
    Waiting,
    /// DTLS is under way.
    Handshaking,
    /// There are keys.
    Connected,
}

impl Endpoint {
    /// An endpoint without media; `parameters` have been checked.
    pub(crate) fn new(
        now: Instant,
        id: EndpointId,
        parameters: EndpointParameters,
        ice: IceLite,
        fx: &mut Effects,
    ) -> Self {
        Self {
            key: EndpointKey(fx.next_key()),
            id,
            parameters,
            pins: Vec::new(),
            password: fx.random_text(PASSWORD_CHARACTERS),
            created: now,
            ice,
            phase: Phase::Waiting,
            up: Uplink::new(now),
            down: Downlink::default(),
            slots: Slab::new(),
            channel: Channel::new(now),
            wishes: Wishes::default(),
            reporter: fx.next_ssrc(),
            cname: fx.random_text(CNAME_CHARACTERS),
            round_trip: None,
            estimate_bps: None,
            handshake_allowance: TokenBucket::new(now, HANDSHAKE_PER_SECOND, HANDSHAKE_BURST),
            parked: Vec::new(),
            reported_at: None,
            is_reporting: false,
            nack_at: None,
            feedback_at: None,
        }
    }

    /// The handshake is done.
    pub(crate) fn set_keys(&mut self, profile: Profile, keys: &SessionKeys) {
        self.up.set_opener(Opener::new(profile, &keys.receive));
        self.down.set_sealer(Sealer::new(profile, &keys.send));
        self.phase = Phase::Connected;
        self.ice.handle_keys();
    }

    /// Makes a slot for an m-line that has none, or takes up the one it had.
    pub(crate) fn add_slot(&mut self, media: &Media, fx: &mut Effects) -> usize {
        let is_same = |slot: &Slot| slot.mid == media.mid && slot.kind == media.kind;
        if let Some(parked) = self.parked.iter().position(is_same) {
            let mut slot = self.parked.swap_remove(parked);
            slot.renew(media);
            return self.slots.insert(slot);
        }
        let ssrc = fx.next_ssrc();
        let rtx_ssrc = (media.kind == MediaKind::Video).then(|| fx.next_ssrc());
        self.slots.insert(Slot::new(media, (ssrc, rtx_ssrc), &mut fx.random))
    }

    /// Whether it has not used up its streams: what is a slot, or was one and is parked, needs no new ones.
    pub(crate) fn has_streams_for(&self, medias: &[Media]) -> bool {
        let ever = || self.slots.iter().map(|(_, slot)| slot).chain(&self.parked);
        let is_known = |media: &Media| ever().any(|slot| slot.mid == media.mid && slot.kind == media.kind);
        let new = medias.iter().filter(|media| media.role == MediaRole::Slot && !is_known(media)).count();
        ever().count() + new <= SLOTS_EVER_MAX
    }

    /// The place of the slot whose media or retransmission stream this is.
    pub(crate) fn slot_of(&self, ssrc: Ssrc) -> Option<usize> {
        self.slots
            .iter()
            .find(|(_, slot)| slot.ssrc == ssrc || slot.rtx_ssrc == Some(ssrc))
            .map(|(place, _)| place)
    }

    /// The slots of one kind, in the order of their m-lines.
    pub(crate) fn slots_of(&self, kind: MediaKind) -> Vec<usize> {
        let mut places: Vec<usize> =
            self.slots.iter().filter(|(_, slot)| slot.kind == kind).map(|(place, _)| place).collect();
        places.sort_by_key(|place| self.slots[*place].line);
        places
    }

    /// Something flows to or from the browser: reports begin, if they have stopped.
    pub(crate) fn wake_reports(&mut self, now: Instant, fx: &mut Effects) {
        if !self.is_reporting {
            self.is_reporting = true;
            fx.timers.set(self.key.0, Timer::Report, now + REPORT_FIRST);
        }
    }

    /// The report timer has fired: the instant of the reports before, if there were any.
    pub(crate) fn begin_report(&mut self, now: Instant) -> Option<Instant> {
        self.is_reporting = false;
        self.reported_at.replace(now)
    }

    /// Something was reported, so there will be more to report.
    pub(crate) fn continue_reports(&mut self, now: Instant, fx: &mut Effects) {
        self.is_reporting = true;
        fx.timers.set(self.key.0, Timer::Report, now + REPORT_INTERVAL);
    }

    /// Makes sure that losses are asked for at `at`.
    pub(crate) fn arm_nack(&mut self, at: Option<Instant>, fx: &mut Effects) {
        if let Some(at) = at.filter(|at| self.nack_at.is_none_or(|armed| *at < armed)) {
            self.nack_at = Some(at);
            fx.timers.set(self.key.0, Timer::Nack, at);
        }
    }

    /// Makes sure that arrivals are told when that is due.
    pub(crate) fn arm_feedback(&mut self, fx: &mut Effects) {
        let due = self.up.arrivals.next_timeout();
        if let Some(at) = due.filter(|at| self.feedback_at.is_none_or(|armed| *at < armed)) {
            self.feedback_at = Some(at);
            fx.timers.set(self.key.0, Timer::TransportFeedback, at);
        }
    }

    /// A timer has fired and is no longer set.
    pub(crate) fn disarm(&mut self, timer: Timer) {
        match timer {
            Timer::Nack => self.nack_at = None,
            Timer::TransportFeedback => self.feedback_at = None,
            _ => {}
        }
    }

    /// Takes a measured round trip into the smoothed one (RFC 6298, 2.3).
    pub(crate) fn note_round_trip(&mut self, measured: Duration) {
        let smoothed = self.round_trip.map_or(measured, |before| (before * 7 + measured) / 8);
        self.round_trip = Some(smoothed);
        // A quarter of it is left for jitter; a receiver that reports absurd trips only waits longer itself.
        self.down.resend_pause = (smoothed * 3 / 4).min(RESEND_PAUSE_MAX);
    }

    /// The worst loss the browser reports about any of its slots, in 256ths.
    pub(crate) fn fraction_lost(&self) -> u8 {
        self.slots.iter().map(|(_, slot)| slot.fraction_lost).max().unwrap_or(0)
    }
}

/// Twice as many as a description has m-lines: a browser that keeps making new ones has to come anew.
const SLOTS_EVER_MAX: usize = 128;

/// What the channel's contract says.
const PASSWORD_CHARACTERS: usize = 24;

/// RFC 7022, 4.2: 96 bits.
const CNAME_CHARACTERS: usize = 16;

/// A handshake has about ten datagrams, repeated a few times on a bad line.
const HANDSHAKE_PER_SECOND: u32 = 50;
const HANDSHAKE_BURST: u32 = 100;

/// A picture is waited for no longer than this.
const RESEND_PAUSE_MAX: Duration = Duration::from_millis(200);

/// Soon, so that lips and voice meet early.
const REPORT_FIRST: Duration = Duration::from_millis(200);

/// Browsers report once a second as well.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

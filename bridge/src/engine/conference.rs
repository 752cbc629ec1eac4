//! One conference on this worker: its endpoints, their sources, who is shown what. Endpoints and sources live in slabs,
//! so that one source's packet reaches many endpoints' slots by place.

use std::time::Instant;

use slab::Slab;
use wire::messages::ids::{ConferenceId, EndpointId, Epoch};
use wire::messages::media::MediaKind;
use wire::rtp::RtpView;

use super::cascade::{Cascade, PartBody};
use super::drop_reason::DropReason;
use super::effects::Effects;
use super::endpoint::Endpoint;
use super::fan_out::fan_out;
use super::nack::Arrival;
use super::source::{Owner, Receiver, Source, SourceId, SourceRef};
use super::speakers::Speakers;
use super::uplink::Arrived;

/// A conference.
pub(crate) struct Conference {
    pub id: ConferenceId,
    /// The assignment under which it is served.
    pub epoch: Epoch,
    pub created: Instant,
    /// Indexed by place; `order` says who came first.
    pub endpoints: Slab<Endpoint>,
    /// Indexed by place; `began` says who came first.
    pub sources: Slab<Source>,
    pub speakers: Speakers<SourceRef>,
    /// The other parts, if more workers than this one hold some of it.
    pub cascade: Option<Box<Cascade>>,
    /// Another part has counted it as completed.
    pub is_counted_elsewhere: bool,
}

impl Conference {
    /// An empty conference.
    pub(crate) fn new(now: Instant, id: ConferenceId, epoch: Epoch) -> Self {
        let speakers = Speakers::new(SPEAKERS_RANKED);
        Self {
            id,
            epoch,
            created: now,
            endpoints: Slab::new(),
            sources: Slab::new(),
            speakers,
            cascade: None,
            is_counted_elsewhere: false,
        }
    }

    /// The place of an endpoint.
    pub(crate) fn place_of(&self, id: &EndpointId) -> Option<usize> {
        self.endpoints.iter().find(|(_, endpoint)| endpoint.id == *id).map(|(place, _)| place)
    }

    /// Takes one RTP packet of the endpoint at `place`, whose path ICE has authenticated. True when it was genuine and new.
    pub(crate) fn handle_rtp(
        &mut self,
        now: Instant,
        place: usize,
        view: &RtpView<'_>,
        fx: &mut Effects,
    ) -> bool {
        let arrived = self.receive(now, place, view, fx);
        let endpoint = &mut self.endpoints[place];
        endpoint.arm_feedback(fx);
        // A browser that probes its line with copies has sent them, and its line has carried them.
        if matches!(arrived, Ok(_) | Err(DropReason::RtxUnusable)) {
            fx.counters.packets_received += 1;
            fx.counters.bytes_received += view.packet().len() as u64;
        }
        match arrived {
            Ok(arrived) => {
                endpoint.wake_reports(now, fx);
                fx.counters.packets_recovered += u64::from(arrived.arrival == Arrival::Recovered);
                self.forward(now, arrived, fx);
                true
            }
            Err(reason) => {
                fx.drop(reason);
                false
            }
        }
    }

    /// The way up: opened once, into the cache of its layer.
    fn receive(
        &mut self,
        now: Instant,
        place: usize,
        view: &RtpView<'_>,
        fx: &mut Effects,
    ) -> Result<Arrived, DropReason> {
        let ssrc = view.ssrc().0;
        let up = &mut self.endpoints[place].up;
        if let Some(position) = up.streams.position(ssrc) {
            return up.receive(now, (view, position), &mut self.sources, &mut fx.scratch);
        }
        // Opened aside first: a forged packet must not get as far as a table or a cache.
        let first = up.open_first(now, view, &self.sources, &mut fx.scratch)?;
        // Only for a genuine packet is it worth asking everybody.
        if self.is_foreign(place, ssrc) {
            return Err(DropReason::SsrcViolation);
        }
        self.endpoints[place].up.take_up(now, first, &mut self.sources, &fx.scratch)
    }

    /// The stream belongs to another endpoint, or is one of our own (HOSTILE U34).
    pub(crate) fn is_foreign(&self, place: usize, ssrc: u32) -> bool {
        self.endpoints.iter().any(|(other, endpoint)| {
            let is_ours = endpoint.slot_of(wire::rtp::Ssrc(ssrc)).is_some();
            is_ours || (other != place && endpoint.up.streams.owns(ssrc))
        })
    }

    /// The way down, and what a packet's arrival means besides.
    fn forward(&mut self, now: Instant, arrived: Arrived, fx: &mut Effects) {
        let source = &mut self.sources[arrived.source];
        let is_first_choice = source.wanted.is_none();
        let is_layer_changed = source.choose_layer(now, arrived.layer, arrived.timestamp);
        fx.counters.layer_changes += u64::from(is_layer_changed && !is_first_choice);
        if !source.shown_at.is_empty() {
            self.cross(now, arrived, fx);
        }
        let source = &self.sources[arrived.source];
        // Invariant: it was put into the cache just now.
        let Some(packet) = source.packet(arrived.layer, arrived.ext_seq) else {
            return fx.drop(DropReason::NotInCache);
        };
        let is_video = source.kind == MediaKind::Video;
        let level = packet.notes.level_dbov();
        fx.counters.key_frames_received += u64::from(is_video && packet.notes.is_key_frame);
        // Counted once; with receivers, each slot counts what it drops.
        if !source.is_shown() {
            fx.drop(if is_video { DropReason::NoSlot } else { DropReason::NotLoudEnough });
        }
        let is_waited_for = fan_out(now, &packet, &source.receivers, &mut self.endpoints, fx);
        if is_video {
            let is_lost = arrived.arrival == Arrival::Reset;
            self.look_after_video(now, arrived, (is_layer_changed || is_lost, is_waited_for), fx);
        } else {
            self.handle_level(now, arrived.source, level.unwrap_or(LEVEL_UNKNOWN), fx);
        }
    }

    /// Asks for what the receivers of a video miss: packets, or a picture to begin with.
    fn look_after_video(
        &mut self,
        now: Instant,
        arrived: Arrived,
        (is_picture_lost, is_waited_for): (bool, bool),
        fx: &mut Effects,
    ) {
        let source = &self.sources[arrived.source];
        let Owner::Here(owner) = source.owner else { return };
        if !source.is_shown() || source.wanted != Some(arrived.layer) {
            return;
        }
        let next_nack = source.layers[usize::from(arrived.layer)].losses.next_timeout();
        self.endpoints[owner].arm_nack(next_nack, fx);
        if is_picture_lost {
            self.ask_key_frame(now, arrived.source, fx);
        } else if is_waited_for {
            self.ask_key_frame_again(now, arrived.source, fx);
        }
    }

    /// Takes how loud a voice is. Most packets change nothing; the few that do move everybody's seats.
    pub(crate) fn handle_level(&mut self, now: Instant, place: usize, level_dbov: u8, fx: &mut Effects) {
        if let Some(coordinator) = self.coordinator_elsewhere() {
            return self.pass_level(now, (place, level_dbov), coordinator, fx);
        }
        let key = SourceRef { id: self.sources[place].id, place };
        let change = self.speakers.handle_level(now, key, level_dbov);
        if change.is_loudest_changed {
            self.seat_everyone(now, MediaKind::Audio, fx);
        }
        if change.is_dominant_changed {
            fx.counters.dominant_speaker_changes += 1;
            self.tell_dominant_speaker(now, fx);
            self.seat_everyone(now, MediaKind::Video, fx);
        }
        if change.is_loudest_changed || change.is_dominant_changed {
            self.tell_ranking(fx);
        }
    }

    /// Some receiver has lost the picture of a source, or begins to be shown it.
    pub(crate) fn ask_key_frame(&mut self, now: Instant, place: usize, fx: &mut Effects) {
        let Some(source) = self.sources.get_mut(place) else { return };
        let Some(layer) = source.wanted.map(|index| &mut source.layers[usize::from(index)]) else { return };
        if !layer.key_frames.ask(now) {
            fx.counters.key_frame_requests_merged += 1;
            return;
        }
        self.ask_sender(place, PartBody::PictureLost, fx);
    }

    /// The endpoint at `place` can receive from now on: asks for pictures that its slots can begin with.
    pub(crate) fn begin_showing(&mut self, now: Instant, place: usize, fx: &mut Effects) {
        let slots = self.endpoints[place].slots.iter().filter(|(_, slot)| slot.kind == MediaKind::Video);
        let filled: Vec<usize> =
            slots.filter_map(|(_, slot)| Some(slot.filling.as_ref()?.source.place)).collect();
        for source in filled {
            self.ask_key_frame(now, source, fx);
        }
    }

    /// Some receiver still waits for a picture of a source.
    pub(crate) fn ask_key_frame_again(&mut self, now: Instant, place: usize, fx: &mut Effects) {
        let Some(source) = self.sources.get_mut(place) else { return };
        let Some(layer) = source.wanted.map(|index| &mut source.layers[usize::from(index)]) else { return };
        if layer.key_frames.ask_again(now) {
            self.ask_sender(place, PartBody::PictureAwaited, fx);
        }
    }

    /// Asks who sends a source for a picture of it, or the part where that is.
    fn ask_sender(&mut self, place: usize, ask: fn(SourceId) -> PartBody, fx: &mut Effects) {
        let Some(source) = self.sources.get(place) else { return };
        let layer = source.wanted.map(|index| &source.layers[usize::from(index)]);
        match source.owner {
            Owner::Here(owner) => {
                if let Some(ssrc) = layer.and_then(|layer| layer.ssrc) {
                    self.endpoints[owner].send_pli(ssrc, fx);
                }
            }
            Owner::Elsewhere(_) => self.tell_owner(source.owner, ask(source.id), fx),
        }
    }

    /// Takes a source away from everybody. What shows it shows nothing until it is seated anew.
    pub(crate) fn remove_source(&mut self, place: usize, fx: &mut Effects) {
        let Some(source) = self.sources.try_remove(place) else { return };
        for layer in &source.layers {
            fx.counters.packets_expected += layer.reception.expected();
            fx.counters.packets_lost += layer.reception.lost();
        }
        for receiver in &source.receivers {
            if let Some(slot) =
                self.endpoints.get_mut(receiver.endpoint).and_then(|it| it.slots.get_mut(receiver.slot))
            {
                slot.clear();
            }
        }
        if let Owner::Here(owner) = source.owner
            && let Some(owner) = self.endpoints.get_mut(owner)
        {
            owner.up.sources.retain(|each| *each != place);
            owner.up.streams.end_source(place);
        }
        // Who was dominant before is not told anew: nobody speaks until somebody does.
        self.speakers.remove(SourceRef { id: source.id, place });
        self.retire(&source, fx);
    }

    /// Takes a slot out of use; its streams are kept for when it comes back.
    pub(crate) fn park_slot(&mut self, endpoint: usize, slot: usize, fx: &mut Effects) {
        self.empty_slot(Receiver { endpoint, slot }, fx);
        let endpoint = &mut self.endpoints[endpoint];
        let slot = endpoint.slots.remove(slot);
        endpoint.parked.push(slot);
    }

    /// Shows nothing in a slot.
    pub(crate) fn empty_slot(&mut self, receiver: Receiver, fx: &mut Effects) {
        let Some(slot) = self.endpoints[receiver.endpoint].slots.get_mut(receiver.slot) else { return };
        let shown = slot.filling.as_ref().map(|filling| filling.source.place);
        slot.clear();
        let Some(place) = shown else { return };
        if let Some(source) = self.sources.get_mut(place) {
            source.remove_receiver(receiver);
        }
        self.note_shown(place, fx);
    }

    /// Takes an endpoint with all it publishes and is shown out of the conference. The others are seated anew.
    pub(crate) fn remove_endpoint(
        &mut self,
        now: Instant,
        place: usize,
        fx: &mut Effects,
    ) -> Option<Endpoint> {
        let endpoint = self.endpoints.get(place)?;
        let has_published = !endpoint.up.sources.is_empty();
        let sources = endpoint.up.sources.clone();
        let slots: Vec<usize> = endpoint.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.empty_slot(Receiver { endpoint: place, slot }, fx);
        }
        for source in sources {
            self.remove_source(source, fx);
        }
        let endpoint = self.endpoints.remove(place);
        self.tell_size(fx);
        fx.timers.cancel_all(endpoint.key.0);
        // Who only watched leaves no seat that others look at.
        if has_published {
            self.seat_everyone(now, MediaKind::Audio, fx);
            self.seat_everyone(now, MediaKind::Video, fx);
        }
        Some(endpoint)
    }
}

/// Three voices for everybody, and a fourth so that each of the loudest three hears three others.
const SPEAKERS_RANKED: usize = 4;

/// A publisher that does not say how loud it is (WHIP encoders): above silence, below any voice that says so.
pub(crate) const LEVEL_UNKNOWN: u8 = 60;

//! Sources that are shown in another part than their sender's: here as a shadow, there as a source whose packets cross.

use std::time::Instant;

use serde_json::{Map, Value};
use wire::messages::channel::{EndpointMessage, FromBridge, SourceVideoType};
use wire::messages::ids::EndpointId;
use wire::messages::media::{MediaKind, MediaRole};

use super::RemoteOwner;
use super::crossings::{Carried, Crossing, CrossingPacket};
use super::message::{Clocks, PartBody, SourceState};
use crate::engine::bridge::Bridge;
use crate::engine::conference::{Conference, LEVEL_UNKNOWN};
use crate::engine::drop_reason::DropReason;
use crate::engine::effects::Effects;
use crate::engine::fan_out::fan_out;
use crate::engine::ports::PartId;
use crate::engine::reports::SenderClock;
use crate::engine::source::{Owner, Source, SourceId};
use crate::engine::uplink::Arrived;

/// Where a shadow is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShadowPlace {
    conference: usize,
    source: usize,
}

impl Bridge {
    /// Takes what has crossed from another part, with its bytes in two pieces: the shell's ring has an end.
    pub fn handle_crossing(&mut self, now: Instant, crossing: &Crossing, bytes: (&[u8], &[u8])) {
        let Some(place) = self.fx.shadows.get(&crossing.source).copied() else {
            // It has ended, or its part has not been heard yet.
            return self.fx.drop(DropReason::CascadeUnknownSource);
        };
        let conference = &mut self.conferences[place.conference];
        match &crossing.carried {
            Carried::Packet(packet) => {
                conference.handle_crossing(now, place.source, (packet, bytes), &mut self.fx);
            }
            Carried::Level(level) => {
                conference.sources[place.source].note_heard_elsewhere(now);
                conference.handle_level(now, place.source, *level, &mut self.fx);
            }
        }
    }

    /// The shell had no room for a crossing.
    pub fn note_crossing_lost(&mut self, crossing: &Crossing) {
        self.fx.note_crossing_lost(crossing.source);
    }
}

impl Conference {
    /// A packet of a shadow: kept for repairs, and shown to everybody here. Sequence, loss and layers have been looked
    /// after where it came from.
    fn handle_crossing(
        &mut self,
        now: Instant,
        place: usize,
        (packet, bytes): (&CrossingPacket, (&[u8], &[u8])),
        fx: &mut Effects,
    ) {
        let source = &mut self.sources[place];
        if let Err(reason) = source.take_crossing(now, packet, bytes) {
            return fx.drop(reason);
        }
        // Invariant: it was put into the cache just now.
        let Some(shared) = source.packet(packet.layer.index, packet.ext_seq) else {
            return fx.drop(DropReason::NotInCache);
        };
        let is_video = source.kind == MediaKind::Video;
        if source.receivers.is_empty() {
            fx.drop(if is_video { DropReason::NoSlot } else { DropReason::NotLoudEnough });
        }
        let is_waited_for = fan_out(now, &shared, &source.receivers, &mut self.endpoints, fx);
        if !is_video {
            self.handle_level(now, place, packet.notes.level_dbov().unwrap_or(LEVEL_UNKNOWN), fx);
        } else if is_waited_for {
            self.ask_key_frame_again(now, place, fx);
        }
    }

    /// Sends a packet across to every part where somebody is shown its source.
    pub(crate) fn cross(&mut self, now: Instant, arrived: Arrived, fx: &mut Effects) {
        let source = &mut self.sources[arrived.source];
        let Some(packet) = source.packet(arrived.layer, arrived.ext_seq) else { return };
        let Some(wanted) = source.wanted else { return };
        if !source.is_crossing(arrived.layer) {
            return fx.drop(DropReason::LayerNotWanted);
        }
        let noted =
            CrossingPacket { layer: packet.layer, ext_seq: packet.ext_seq, notes: packet.notes, wanted };
        let crossing = Crossing::packet(now, source.id, noted, packet.bytes.len());
        let (id, is_video) = (source.id, source.kind == MediaKind::Video);
        if !fx.crossings.push(&source.shown_at, crossing, packet.bytes) {
            fx.note_crossing_lost(id);
        } else if packet.is_wanted && packet.notes.is_key_frame {
            // Should the shell have no room for it, it says so later, and another one is asked for.
            source.end_crossing_of_others(wanted);
            fx.crossings_lost.retain(|lost| *lost != id);
        }
        if is_video && fx.crossings_lost.contains(&id) {
            self.ask_key_frame_again(now, arrived.source, fx);
        }
    }

    /// Somebody in part `from` is shown a source of this one.
    pub(super) fn begin_crossing(&mut self, now: Instant, (from, id): (PartId, SourceId), fx: &mut Effects) {
        let Some(place) = self.own_source(id) else { return };
        let source = &mut self.sources[place];
        if !source.shown_at.contains(&from) {
            source.shown_at.push(from);
        }
        let is_video = source.kind == MediaKind::Video;
        self.tell_clocks(place, fx);
        if is_video {
            self.ask_key_frame(now, place, fx);
        }
    }

    pub(super) fn end_crossing(&mut self, from: PartId, id: SourceId) {
        if let Some(place) = self.own_source(id) {
            self.sources[place].shown_at.retain(|part| *part != from);
        }
    }

    /// Tells a shadow's part whether anybody here is shown it, whenever that changes.
    pub(crate) fn note_shown(&mut self, place: usize, fx: &mut Effects) {
        let Some(source) = self.sources.get_mut(place) else { return };
        let is_shown = !source.receivers.is_empty();
        if matches!(source.owner, Owner::Here(_)) || source.is_wanted_here == is_shown {
            return;
        }
        source.is_wanted_here = is_shown;
        let (id, owner) = (source.id, source.owner);
        let body = if is_shown { PartBody::Shown(id) } else { PartBody::NotShown(id) };
        self.tell_owner(owner, body, fx);
    }

    /// Tells the part of a shadow something.
    pub(crate) fn tell_owner(&self, owner: Owner, body: PartBody, fx: &mut Effects) {
        if let Some(part) = self.part_of(owner) {
            self.tell_part(part, body, fx);
        }
    }

    /// A source that is at home here, as other parts must know it.
    pub(super) fn state_of(&self, place: usize) -> Option<SourceState> {
        let source = self.sources.get(place)?;
        let Owner::Here(owner) = source.owner else { return None };
        let endpoint = self.endpoints.get(owner)?;
        let media = endpoint.parameters.medias.iter().find(|media| media.mid == source.mid)?.clone();
        let owner = endpoint.id.clone();
        let Source { id, began, video_type, .. } = *source;
        Some(SourceState { id, began, owner, media, video_type })
    }

    /// Tells the other parts about a source that is new here, or is something else than before.
    pub(crate) fn publish(&self, place: usize, fx: &mut Effects) {
        if self.cascade.is_some()
            && let Some(state) = self.state_of(place)
        {
            self.tell_parts(&PartBody::Source(state), fx);
        }
    }

    /// Makes a shadow what its part says it is.
    pub(super) fn take_source(&mut self, from: PartId, state: SourceState, fx: &mut Effects) {
        let SourceState { id, began, owner, media, video_type } = state;
        let MediaRole::Source(parameters) = &media.role else { return };
        let Some(found) = self.sources.iter().find(|(_, source)| source.id == id).map(|(place, _)| place)
        else {
            let Some((conference, owner)) = self.remote_owner(from, owner) else { return };
            let mut source = Source::shadow((id, began), owner, &media, parameters);
            source.set_video_type(video_type);
            let source = self.sources.insert(source);
            fx.shadows.insert(id, ShadowPlace { conference, source });
            return;
        };
        let source = &mut self.sources[found];
        if source.video_type == video_type && source.is_described_by(&media, parameters) {
            return;
        }
        let is_another_picture = source.video_type != video_type;
        source.continue_with(&media, parameters);
        source.set_video_type(video_type);
        let source_name = source.name.clone();
        self.remap_receivers(found, fx);
        if is_another_picture {
            let change = SourceVideoType { source_name, video_type, endpoint_id: Some(owner) };
            self.tell_those(|_| true, &FromBridge::SourceVideoTypeMessage(change), fx);
        }
    }

    /// This conference's own place, and whose shadow it is.
    fn remote_owner(&mut self, part: PartId, id: EndpointId) -> Option<(usize, Owner)> {
        let cascade = self.cascade.as_mut()?;
        let found = cascade.owners.iter().find(|(_, owner)| owner.part == part && owner.id == id);
        let found = found.map(|(place, _)| place);
        let new = || RemoteOwner { id, part, clock: SenderClock::default() };
        let owner = found.unwrap_or_else(|| cascade.owners.insert(new()));
        Some((cascade.place, Owner::Elsewhere(owner)))
    }

    /// A source of part `from` has ended.
    pub(super) fn drop_shadow(&mut self, now: Instant, (from, id): (PartId, SourceId), fx: &mut Effects) {
        let mut found = self.sources.iter().filter(|(_, source)| source.id == id);
        let found = found.find(|(_, source)| self.part_of(source.owner) == Some(from));
        let Some((place, kind)) = found.map(|(place, source)| (place, source.kind)) else { return };
        self.remove_source(place, fx);
        self.seat_everyone(now, kind, fx);
    }

    /// What a source leaves behind with the other parts when it ends. It is already out of `sources`.
    pub(crate) fn retire(&mut self, source: &Source, fx: &mut Effects) {
        match source.owner {
            Owner::Here(_) => {
                fx.crossings_lost.retain(|lost| *lost != source.id);
                self.tell_parts(&PartBody::SourceGone(source.id), fx);
            }
            Owner::Elsewhere(owner) => {
                fx.shadows.remove(&source.id);
                let is_last = self.sources.iter().all(|(_, other)| other.owner != source.owner);
                if let Some(cascade) = self.cascade.as_mut().filter(|_| is_last) {
                    cascade.owners.try_remove(owner);
                }
            }
        }
    }

    /// Tells the parts that show a source how its time runs, so that lips and voice meet there as well.
    pub(crate) fn tell_clocks(&self, place: usize, fx: &mut Effects) {
        let source = &self.sources[place];
        if source.shown_at.is_empty() {
            return;
        }
        let Some(sender) = self.sender_clock(source.owner).copied() else { return };
        let streams = source.layers.iter().map(|layer| layer.clock).collect();
        let clocks = Clocks { source: source.id, sender, bridge: fx.clock, streams };
        for part in &source.shown_at {
            self.tell_part(*part, PartBody::Clocks(clocks.clone()), fx);
        }
    }

    pub(super) fn take_clocks(&mut self, now: Instant, clocks: &Clocks, fx: &Effects) {
        let Some(shadow) = fx.shadows.get(&clocks.source) else { return };
        let source = &mut self.sources[shadow.source];
        for (layer, clock) in source.layers.iter_mut().zip(&clocks.streams) {
            layer.clock = *clock;
        }
        let Owner::Elsewhere(owner) = source.owner else { return };
        if let Some(owner) = self.cascade.as_mut().and_then(|cascade| cascade.owners.get_mut(owner)) {
            owner.clock = clocks.sender.seen_from(fx.clock.ntp(now), clocks.bridge.ntp(now));
        }
    }

    /// A message of another part's browser.
    pub(super) fn hand_out(&self, message: EndpointMessage, fx: &mut Effects) {
        let to = message.to.clone();
        let is_receiver = |place: usize| to.is_empty() || self.endpoints[place].id.as_str() == to;
        self.tell_those(is_receiver, &FromBridge::EndpointMessage(message), fx);
    }

    /// Statistics of another part's browser.
    pub(super) fn hand_out_stats(&self, from: &EndpointId, stats: Map<String, Value>, fx: &mut Effects) {
        let is_receiver = |place: usize| self.is_shown_picture_of(place, from);
        self.tell_those(is_receiver, &FromBridge::EndpointStats(stats), fx);
    }
}

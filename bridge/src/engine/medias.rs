//! An endpoint's m-lines: makes its sources and slots what the description says. What stays the same goes on
//! undisturbed, so that a browser which adds a screen does not interrupt its camera.

use std::time::Instant;

use wire::messages::link::SlotPin;
use wire::messages::media::{EndpointParameters, Media, MediaKind, MediaRole, SourceParameters};

use super::conference::Conference;
use super::effects::Effects;
use super::extension_ids::ExtensionIds;
use super::slot::Slot;
use super::source::Source;

impl Conference {
    /// Makes the endpoint at `place` what `parameters` say, which have been checked and for which it has streams.
    pub(crate) fn set_medias(
        &mut self,
        now: Instant,
        place: usize,
        (parameters, pins): (EndpointParameters, Vec<SlotPin>),
        fx: &mut Effects,
    ) {
        let endpoint = &mut self.endpoints[place];
        let before = std::mem::replace(&mut endpoint.parameters, parameters.clone());
        endpoint.pins.clone_from(&pins);
        let mut is_publishing_changed = self.remove_departed(place, &parameters.medias, fx);
        for (line, media) in parameters.medias.iter().enumerate() {
            let is_unchanged = before.medias.contains(media);
            match &media.role {
                MediaRole::Source(source) if !is_unchanged => {
                    is_publishing_changed = true;
                    self.set_source(now, place, (media, source), fx);
                }
                MediaRole::Slot => {
                    let slot = self.set_slot(place, media, is_unchanged, fx);
                    let pin = pins.iter().find(|pin| pin.mid == media.mid);
                    let slot = &mut self.endpoints[place].slots[slot];
                    slot.pin = pin.map(|pin| pin.source.clone());
                    slot.line = line;
                }
                _ => {}
            }
        }
        self.announce_streams(place, &parameters.medias);
        if is_publishing_changed {
            self.seat_everyone(now, MediaKind::Audio, fx);
            self.seat_everyone(now, MediaKind::Video, fx);
        } else {
            // A thousand viewers may come at once: each looks for its own seats only.
            self.seat_one(now, place, fx);
        }
    }

    /// Takes away the sources and slots that the description no longer has, or has differently. True when a source went.
    fn remove_departed(&mut self, place: usize, medias: &[Media], fx: &mut Effects) -> bool {
        let endpoint = &self.endpoints[place];
        let is_source_kept = |source: &Source| {
            medias.iter().any(|media| match &media.role {
                MediaRole::Source(parameters) => {
                    media.mid == source.mid && source.is_continued_by(media, parameters)
                }
                _ => false,
            })
        };
        let is_slot_kept = |slot: &Slot| {
            let same = |media: &&Media| media.mid == slot.mid && media.kind == slot.kind;
            medias.iter().filter(same).any(|media| media.role == MediaRole::Slot)
        };
        let sources = endpoint.up.sources.iter().copied();
        let sources: Vec<usize> = sources.filter(|source| !is_source_kept(&self.sources[*source])).collect();
        let slots = endpoint.slots.iter().filter(|(_, slot)| !is_slot_kept(slot));
        let slots: Vec<usize> = slots.map(|(slot, _)| slot).collect();
        let is_source_gone = !sources.is_empty();
        for source in sources {
            self.remove_source(source, fx);
        }
        for slot in slots {
            self.park_slot(place, slot, fx);
        }
        is_source_gone
    }

    /// A new track, or the same one with other payload types or another picture.
    fn set_source(
        &mut self,
        now: Instant,
        place: usize,
        (media, parameters): (&Media, &SourceParameters),
        fx: &mut Effects,
    ) {
        let own = &self.endpoints[place].up.sources;
        let Some(found) = own.iter().copied().find(|each| self.sources[*each].mid == media.mid) else {
            let name = (fx.next_source(), now);
            let source = self.sources.insert(Source::new(name, place, media, parameters));
            self.endpoints[place].up.sources.push(source);
            return self.publish(source, fx);
        };
        self.sources[found].continue_with(media, parameters);
        self.remap_receivers(found, fx);
        self.publish(found, fx);
    }

    /// A source has become another thing to those who are shown it: other payload types, another picture.
    pub(crate) fn remap_receivers(&mut self, place: usize, fx: &mut Effects) {
        let source = &self.sources[place];
        for receiver in &source.receivers {
            self.endpoints[receiver.endpoint].slots[receiver.slot].remap(source);
        }
        for receiver in &source.receivers {
            self.tell_sources(receiver.endpoint, source.kind, fx);
        }
    }

    /// The place of the slot on an m-line.
    fn set_slot(&mut self, place: usize, media: &Media, is_unchanged: bool, fx: &mut Effects) -> usize {
        let endpoint = &mut self.endpoints[place];
        let found = endpoint.slots.iter().find(|(_, slot)| slot.mid == media.mid).map(|(slot, _)| slot);
        let Some(found) = found else { return endpoint.add_slot(media, fx) };
        if !is_unchanged {
            let slot = &mut endpoint.slots[found];
            slot.renew(media);
            if let Some(source) =
                slot.filling.as_ref().and_then(|filling| self.sources.get(filling.source.place))
            {
                slot.remap(source);
            }
        }
        found
    }

    /// Tells the endpoint's sending side what its description announces. An SSRC that is already somebody else's stays
    /// theirs (HOSTILE U34).
    fn announce_streams(&mut self, place: usize, medias: &[Media]) {
        let own = self.endpoints[place].up.sources.iter();
        let announced = own.flat_map(|source| self.sources[*source].announced(*source));
        let announced = announced.filter(|(ssrc, _)| !self.is_foreign(place, *ssrc)).collect();
        let mut ids = ExtensionIds::default();
        for media in medias.iter().filter(|media| matches!(media.role, MediaRole::Source(_))) {
            ids.add(&media.extensions);
        }
        let up = &mut self.endpoints[place].up;
        up.streams.announce(announced);
        up.ids = ids;
    }
}

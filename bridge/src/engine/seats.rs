//! Who is shown what: fills every receiver's slots. A source that is shown stays in its slot as long as it is wanted at
//! all, so that pictures do not jump and streams do not begin anew.
//!
//! Audio: the loudest first. Video: what the slot is bound to; what the browser put on its stage or selected; shared
//! screens; who speaks or spoke last; who came first.

use std::time::Instant;

use wire::messages::media::{MediaKind, VideoType};

use super::conference::Conference;
use super::effects::Effects;
use super::source::{Owner, Receiver, Source};

impl Conference {
    /// Fills the slots of one kind of every endpoint.
    pub(crate) fn seat_everyone(&mut self, now: Instant, kind: MediaKind, fx: &mut Effects) {
        let order = self.order_of(kind);
        let places: Vec<usize> = self.endpoints.iter().map(|(place, _)| place).collect();
        for place in places {
            self.seat(now, place, (kind, &order), fx);
        }
    }

    /// Fills all slots of one endpoint.
    pub(crate) fn seat_one(&mut self, now: Instant, place: usize, fx: &mut Effects) {
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let order = self.order_of(kind);
            self.seat(now, place, (kind, &order), fx);
        }
    }

    /// All sources of a kind, most wanted first, as far as that is the same for everybody.
    fn order_of(&self, kind: MediaKind) -> Vec<usize> {
        let sources = self.sources.iter().filter(|(_, source)| source.kind == kind);
        let mut places: Vec<usize> = sources.map(|(place, _)| place).collect();
        match kind {
            MediaKind::Audio => {
                let ranked = self.speakers.loudest(usize::MAX);
                let rank =
                    |place: &usize| ranked.iter().position(|each| each.place == *place).unwrap_or(usize::MAX);
                places.sort_by_cached_key(|place| {
                    let source = &self.sources[*place];
                    (rank(place), source.began, source.id)
                });
            }
            MediaKind::Video => {
                places.retain(|place| self.sources[*place].video_type != VideoType::None);
                places.sort_by_cached_key(|place| {
                    let source = &self.sources[*place];
                    (!is_screen(source), self.speech_rank(source.owner), source.began, source.id)
                });
            }
        }
        places
    }

    /// How lately an endpoint has spoken: 0 speaks now.
    fn speech_rank(&self, owner: Owner) -> usize {
        let spoken = self.speakers.dominant().into_iter().chain(self.speakers.previous().iter().copied());
        let mut owners = spoken.map(|speaker| self.sources.get(speaker.place).map(|source| source.owner));
        owners.position(|each| each == Some(owner)).unwrap_or(usize::MAX)
    }

    /// Fills the slots of one kind of one endpoint, and tells it if they show something else than it was told last.
    fn seat(&mut self, now: Instant, place: usize, (kind, order): (MediaKind, &[usize]), fx: &mut Effects) {
        let slots = self.endpoints[place].slots_of(kind);
        if slots.is_empty() {
            return;
        }
        let (bound, free): (Vec<usize>, Vec<usize>) =
            slots.into_iter().partition(|slot| self.endpoints[place].slots[*slot].pin.is_some());
        let mut bound_sources = Vec::new();
        for slot in bound {
            let source = self.bound_source(place, slot);
            bound_sources.extend(source);
            self.show(now, Receiver { endpoint: place, slot }, source, fx);
        }
        let order: Vec<usize> =
            order.iter().copied().filter(|source| !bound_sources.contains(source)).collect();
        let mut wanted = self.wanted(place, kind, &order, free.len());
        // What is shown and still wanted stays where it is.
        let mut empty = Vec::new();
        for slot in free {
            let shown = self.shown(place, slot);
            match wanted.iter().position(|source| Some(*source) == shown) {
                Some(found) => drop(wanted.remove(found)),
                None => empty.push(slot),
            }
        }
        // What is newly wanted takes the places that are left, as far as codecs allow.
        for slot in empty {
            let fitting = wanted.iter().position(|source| self.fits(place, slot, *source));
            let source = fitting.map(|found| wanted.remove(found));
            self.show(now, Receiver { endpoint: place, slot }, source, fx);
        }
        let mut is_changed = false;
        for (_, slot) in self.endpoints[place].slots.iter_mut().filter(|(_, slot)| slot.kind == kind) {
            is_changed |= std::mem::take(&mut slot.is_untold);
        }
        if is_changed {
            self.tell_sources(place, kind, fx);
        }
    }

    /// The sources that the free slots of a receiver should show, most wanted first; at most `slots`.
    fn wanted(&self, place: usize, kind: MediaKind, order: &[usize], slots: usize) -> Vec<usize> {
        let receiver = &self.endpoints[place];
        let is_eligible = |source: &Source| {
            source.owner != Owner::Here(place)
                && (kind == MediaKind::Audio || receiver.wishes.wants(&source.name))
        };
        let limit = if kind == MediaKind::Video { slots.min(receiver.wishes.videos_max()) } else { slots };
        let mut wanted = Vec::with_capacity(limit);
        if kind == MediaKind::Video {
            for name in receiver.wishes.first() {
                let named = order.iter().find(|source| self.sources[**source].name == *name);
                let named =
                    named.filter(|source| !wanted.contains(*source) && is_eligible(&self.sources[**source]));
                wanted.extend(named);
            }
        }
        for source in order {
            if wanted.len() >= limit {
                break;
            }
            let is_new = !wanted.contains(source) && is_eligible(&self.sources[*source]);
            if is_new && receiver.slots.iter().any(|(_, slot)| slot.can_show(&self.sources[*source])) {
                wanted.push(*source);
            }
        }
        wanted.truncate(limit);
        wanted
    }

    /// The source that a slot is bound to, if it is there.
    fn bound_source(&self, place: usize, slot: usize) -> Option<usize> {
        let slot = &self.endpoints[place].slots[slot];
        let name = slot.pin.as_ref()?;
        let mut named =
            self.sources.iter().filter(|(_, source)| source.name == *name && source.kind == slot.kind);
        named.next().map(|(source, _)| source)
    }

    fn shown(&self, place: usize, slot: usize) -> Option<usize> {
        self.endpoints[place].slots[slot].filling.as_ref().map(|filling| filling.source.place)
    }

    fn fits(&self, place: usize, slot: usize, source: usize) -> bool {
        self.endpoints[place].slots[slot].can_show(&self.sources[source])
    }

    /// Makes a slot show `source`, or nothing.
    fn show(&mut self, now: Instant, receiver: Receiver, source: Option<usize>, fx: &mut Effects) {
        if self.shown(receiver.endpoint, receiver.slot) == source {
            return;
        }
        self.empty_slot(receiver, fx);
        let Some(place) = source else { return };
        let source = &mut self.sources[place];
        source.receivers.push(receiver);
        self.endpoints[receiver.endpoint].slots[receiver.slot].fill(place, source);
        let kind = source.kind;
        self.note_shown(place, fx);
        if kind == MediaKind::Video {
            self.ask_key_frame(now, place, fx);
        }
    }
}

/// A shared screen is what a meeting looks at.
fn is_screen(source: &Source) -> bool {
    matches!(source.video_type, VideoType::Desktop | VideoType::DesktopHighFps)
}

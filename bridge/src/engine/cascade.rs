//! A conference over several workers. Each of them holds a *part*: the endpoints whose 5-tuples arrive there, and for each
//! source of another part a *shadow* that is fed with that part's packets.
//!
//! ```text
//!   part 0                                    part 1
//!   sender ─▶ source ─▶ fan_out ─▶ slots
//!                └── crossings, opened ─────▶ shadow ─▶ fan_out ─▶ slots
//!                ◀── Shown, PictureLost ─────   └ cache: repairs what its receivers miss
//! ```
//!
//! To a slot a shadow is a source like any other. What a packet costs grows with the parts in which somebody is shown its
//! source, not with all; in a conference of one part nothing of this exists.
//!
//! The parts agree without a master: each tells the others what it holds, first when it begins and then whenever that
//! changes. A part that begins says `Hello`, and whoever hears it answers with its state; so it does not matter who began
//! first, or that one began before another knew of it. Voices are compared in one place, the coordinator: the part
//! that lives longest. It tells the others who is loud and who speaks.
//!
//! Invariants: a source's name is the same in all parts. Its layer is chosen, its losses are repaired and its key frames
//! are asked for where its sender is. A conference and everything in it is counted once, by one part. Whatever is said
//! about another epoch, another life of a part, or a source that has ended, changes nothing.

mod crossings;
mod message;
mod shadow;
mod voices;

use std::time::Instant;

use slab::Slab;
use wire::messages::ids::EndpointId;
use wire::messages::media::MediaKind;

pub(super) use self::crossings::CrossingPacket;
pub use self::crossings::{Crossing, Crossings};
pub(super) use self::message::PartBody;
pub use self::message::PartMessage;
use self::message::{Life, Ranking};
pub(crate) use self::shadow::ShadowPlace;
use super::bridge::Bridge;
use super::conference::Conference;
use super::effects::Effects;
use super::ports::{Output, PartId};
use super::reports::SenderClock;
use super::source::{Owner, SourceId};

/// What a part knows of the others.
pub(crate) struct Cascade {
    /// This conference's place among the engine's.
    place: usize,
    life: Life,
    others: Vec<Part>,
    /// The part that ranks the voices; none when it is this one.
    coordinator: Option<PartId>,
    /// Whose the shadows are. Indexed by the place that `Owner::Elsewhere` names.
    owners: Slab<RemoteOwner>,
    /// The coordinator's last word.
    ranking: Ranking,
}

/// Another part.
struct Part {
    id: PartId,
    /// None while it has not been heard of, or has ended.
    life: Option<Life>,
    endpoints: usize,
}

/// An endpoint of another part that publishes something.
struct RemoteOwner {
    id: EndpointId,
    part: PartId,
    /// Its clock against ours.
    clock: SenderClock,
}

impl Cascade {
    fn part(&mut self, id: PartId) -> &mut Part {
        let found = self.others.iter().position(|part| part.id == id);
        let place = found.unwrap_or_else(|| {
            self.others.push(Part { id, life: None, endpoints: 0 });
            self.others.len() - 1
        });
        &mut self.others[place]
    }

    fn is_known(&self, id: PartId) -> bool {
        self.others.iter().any(|part| part.id == id)
    }

    fn alive(&self) -> impl Iterator<Item = &Part> {
        self.others.iter().filter(|part| part.life.is_some())
    }

    /// Some part has begun or ended: of those alive the oldest ranks the voices.
    fn choose_coordinator(&mut self, here: PartId) {
        let others = self.others.iter().filter_map(|part| Some((part.life?.born, part.id)));
        self.coordinator = others.filter(|other| *other < (self.life.born, here)).min().map(|(_, id)| id);
    }
}

impl Bridge {
    /// Takes what another part of a conference says.
    pub fn handle_part(&mut self, now: Instant, from: PartId, message: PartMessage) {
        let PartMessage { conference, epoch, body } = message;
        // Not held here yet, or no more: a part that begins asks everybody for their state.
        let Some(place) = self.by_id.get(&conference).copied() else { return };
        let conference = &mut self.conferences[place];
        if conference.epoch == epoch {
            conference.handle_part(now, (place, from), body, &mut self.fx);
        }
    }

    /// Packets to carry to other parts; empty and clear it after every `handle_*`.
    pub fn crossings(&mut self) -> &mut Crossings {
        &mut self.fx.crossings
    }
}

impl Conference {
    /// Other workers hold parts of this conference, or will.
    pub(crate) fn join_parts(&mut self, place: usize, others: &[PartId], fx: &mut Effects) {
        let here = fx.part;
        for other in others.iter().copied().filter(|other| *other != here) {
            let cascade = self.ensure_cascade(place, fx);
            if cascade.is_known(other) {
                continue;
            }
            cascade.part(other);
            let life = cascade.life;
            self.tell_part(other, PartBody::Hello(life), fx);
            self.tell_state(other, fx);
        }
    }

    fn ensure_cascade(&mut self, place: usize, fx: &mut Effects) -> &mut Cascade {
        let began = self.created;
        self.cascade.get_or_insert_with(|| {
            Box::new(Cascade {
                place,
                life: Life { incarnation: fx.next_key(), born: began, began },
                others: Vec::new(),
                coordinator: None,
                owners: Slab::new(),
                ranking: Ranking::default(),
            })
        })
    }

    /// Takes what the part `from` says. `place` is this conference's own.
    fn handle_part(
        &mut self,
        now: Instant,
        (place, from): (usize, PartId),
        body: PartBody,
        fx: &mut Effects,
    ) {
        // Whatever else it has said so far is in its state, which it tells as soon as it is asked.
        let is_introduction = matches!(body, PartBody::Hello(_) | PartBody::State { .. });
        if !is_introduction && !self.is_alive(from) {
            return;
        }
        self.ensure_cascade(place, fx);
        match body {
            PartBody::Hello(life) => {
                self.note_life(now, from, life, fx);
                self.tell_state(from, fx);
                self.tell_ranking_to(from, fx);
            }
            PartBody::State { life, endpoints, sources } => {
                self.note_life(now, from, life, fx);
                self.note_size(from, endpoints);
                let is_over = |id: SourceId| sources.iter().all(|source| source.id != id);
                self.remove_shadows(from, is_over, fx);
                for source in sources {
                    self.take_source(from, source, fx);
                }
                self.apply_ranking();
                self.seat_everyone(now, MediaKind::Audio, fx);
                self.seat_everyone(now, MediaKind::Video, fx);
            }
            PartBody::Bye(life) => self.forget_part(now, (from, life), fx),
            PartBody::Over(life) => {
                self.is_counted_elsewhere = true;
                self.forget_part(now, (from, life), fx);
            }
            PartBody::Endpoints(endpoints) => self.note_size(from, endpoints),
            PartBody::Source(source) => {
                let kind = source.media.kind;
                self.take_source(from, source, fx);
                self.apply_ranking();
                self.seat_everyone(now, kind, fx);
            }
            PartBody::SourceGone(id) => self.drop_shadow(now, (from, id), fx),
            PartBody::Shown(id) => self.begin_crossing(now, (from, id), fx),
            PartBody::NotShown(id) => self.end_crossing(from, id),
            PartBody::PictureLost(id) => {
                if let Some(source) = self.own_source(id) {
                    self.ask_key_frame(now, source, fx);
                }
            }
            PartBody::PictureAwaited(id) => {
                if let Some(source) = self.own_source(id) {
                    self.ask_key_frame_again(now, source, fx);
                }
            }
            PartBody::Clocks(clocks) => self.take_clocks(now, &clocks, fx),
            PartBody::Ranking(ranking) => self.take_ranking(now, from, ranking, fx),
            PartBody::Say(message) => self.hand_out(message, fx),
            PartBody::Stats { from, stats } => self.hand_out_stats(&from, stats, fx),
        }
    }

    /// The part `from` lives this life. Of another one that it lived before, nothing is left.
    fn note_life(&mut self, now: Instant, from: PartId, life: Life, fx: &mut Effects) {
        self.created = self.created.min(life.began);
        let Some(cascade) = &mut self.cascade else { return };
        if cascade.part(from).life.is_some_and(|known| known.incarnation == life.incarnation) {
            return;
        }
        self.drop_part(now, from, fx);
        let Some(cascade) = &mut self.cascade else { return };
        cascade.part(from).life = Some(life);
        cascade.choose_coordinator(fx.part);
    }

    fn is_alive(&self, part: PartId) -> bool {
        self.cascade.iter().flat_map(|cascade| cascade.alive()).any(|alive| alive.id == part)
    }

    fn note_size(&mut self, from: PartId, endpoints: usize) {
        if let Some(cascade) = &mut self.cascade {
            cascade.part(from).endpoints = endpoints;
        }
    }

    /// A part has ended: its sources go, and what it wanted.
    fn drop_part(&mut self, now: Instant, from: PartId, fx: &mut Effects) {
        let Some(cascade) = &mut self.cascade else { return };
        (cascade.part(from).life, cascade.part(from).endpoints) = (None, 0);
        cascade.choose_coordinator(fx.part);
        for (_, source) in &mut self.sources {
            source.shown_at.retain(|part| *part != from);
        }
        if self.remove_shadows(from, |_| true, fx) {
            self.seat_everyone(now, MediaKind::Audio, fx);
            self.seat_everyone(now, MediaKind::Video, fx);
        }
    }

    /// Removes those of a part's sources that are over. True when there were any: seats are to be given anew.
    fn remove_shadows(&mut self, from: PartId, is_over: impl Fn(SourceId) -> bool, fx: &mut Effects) -> bool {
        let of_part = self.sources.iter().filter(|(_, source)| self.part_of(source.owner) == Some(from));
        let over: Vec<usize> =
            of_part.filter(|(_, source)| is_over(source.id)).map(|(place, _)| place).collect();
        for shadow in &over {
            self.remove_source(*shadow, fx);
        }
        !over.is_empty()
    }

    /// A part has said that it ends. Whoever is left alone is a conference like any other again.
    fn forget_part(&mut self, now: Instant, (from, life): (PartId, Life), fx: &mut Effects) {
        let known = self.cascade.as_mut().and_then(|cascade| cascade.part(from).life);
        if known.is_none_or(|known| known.incarnation != life.incarnation) {
            // An earlier life than the one that is known, or is being asked for.
            return;
        }
        self.drop_part(now, from, fx);
        let Some(cascade) = &mut self.cascade else { return };
        cascade.others.retain(|part| part.id != from);
        if cascade.others.is_empty() {
            self.cascade = None;
        }
    }

    /// This part ends, and with it the conference: true when it is this part that counts it.
    pub(crate) fn end_parts(&self, fx: &mut Effects) -> bool {
        let is_counting = self.coordinator_elsewhere().is_none() && !self.is_counted_elsewhere;
        self.leave_parts(if is_counting { PartBody::Over } else { PartBody::Bye }, fx);
        is_counting
    }

    /// This part ends. Its last word, before it is forgotten.
    pub(crate) fn leave_parts(&self, word: fn(Life) -> PartBody, fx: &mut Effects) {
        let Some(cascade) = &self.cascade else { return };
        self.tell_parts(&word(cascade.life), fx);
        for (_, source) in &self.sources {
            fx.shadows.remove(&source.id);
        }
    }

    /// No other part is alive.
    pub(crate) fn is_last_part(&self) -> bool {
        self.cascade.as_ref().is_none_or(|cascade| cascade.alive().next().is_none())
    }

    /// The part that ranks the voices and by which the conference is counted, if that is another one.
    pub(crate) fn coordinator_elsewhere(&self) -> Option<PartId> {
        self.cascade.as_ref().and_then(|cascade| cascade.coordinator)
    }

    /// Endpoints of all parts.
    pub(crate) fn size(&self) -> usize {
        let others = self.cascade.iter().flat_map(|cascade| cascade.alive()).map(|part| part.endpoints);
        self.endpoints.len() + others.sum::<usize>()
    }

    /// How many other parts are alive, and how many shadows there are.
    pub(crate) fn parts_elsewhere(&self) -> (usize, usize) {
        let parts = self.cascade.as_ref().map_or(0, |cascade| cascade.alive().count());
        (parts, self.sources.iter().filter(|(_, source)| self.part_of(source.owner).is_some()).count())
    }

    /// Who publishes a source.
    pub(crate) fn owner_id(&self, owner: Owner) -> Option<&EndpointId> {
        match owner {
            Owner::Here(place) => self.endpoints.get(place).map(|endpoint| &endpoint.id),
            Owner::Elsewhere(place) => Some(&self.cascade.as_ref()?.owners.get(place)?.id),
        }
    }

    /// A source's owner's clock against ours.
    pub(crate) fn sender_clock(&self, owner: Owner) -> Option<&SenderClock> {
        match owner {
            Owner::Here(place) => self.endpoints.get(place).map(|endpoint| &endpoint.up.clock),
            Owner::Elsewhere(place) => Some(&self.cascade.as_ref()?.owners.get(place)?.clock),
        }
    }

    /// The part of a source that is a shadow here.
    fn part_of(&self, owner: Owner) -> Option<PartId> {
        match owner {
            Owner::Here(_) => None,
            Owner::Elsewhere(place) => Some(self.cascade.as_ref()?.owners.get(place)?.part),
        }
    }

    /// Tells all other parts, alive or not yet: whoever begins asks again.
    pub(crate) fn tell_parts(&self, body: &PartBody, fx: &mut Effects) {
        for part in self.cascade.iter().flat_map(|cascade| &cascade.others) {
            self.tell_part(part.id, body.clone(), fx);
        }
    }

    fn tell_part(&self, part: PartId, body: PartBody, fx: &mut Effects) {
        let message = PartMessage { conference: self.id.clone(), epoch: self.epoch, body };
        fx.outputs.push_back(Output::Part(part, Box::new(message)));
    }

    /// Tells a part all that this one holds.
    fn tell_state(&self, part: PartId, fx: &mut Effects) {
        let Some(cascade) = &self.cascade else { return };
        let life = Life { began: self.created, ..cascade.life };
        let sources = self.sources.iter().filter_map(|(place, _)| self.state_of(place)).collect();
        self.tell_part(part, PartBody::State { life, endpoints: self.endpoints.len(), sources }, fx);
    }

    /// Tells the others how many endpoints there are here now.
    pub(crate) fn tell_size(&self, fx: &mut Effects) {
        self.tell_parts(&PartBody::Endpoints(self.endpoints.len()), fx);
    }

    /// The place of a source that is at home here.
    fn own_source(&self, id: SourceId) -> Option<usize> {
        let mut found = self.sources.iter().filter(|(_, source)| source.id == id);
        found.find(|(_, source)| matches!(source.owner, Owner::Here(_))).map(|(place, _)| place)
    }
}

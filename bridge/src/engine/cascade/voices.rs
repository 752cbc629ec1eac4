//! Voices are compared in one part, the coordinator. The others let it know how loud theirs are, and do as it says.

use std::time::Instant;

use wire::messages::media::MediaKind;

use super::crossings::Crossing;
use super::message::{PartBody, Ranking};
use crate::engine::conference::Conference;
use crate::engine::drop_reason::DropReason;
use crate::engine::effects::Effects;
use crate::engine::ports::PartId;
use crate::engine::source::{Owner, SourceId, SourceRef};

impl Conference {
    /// Lets the coordinator know how loud a voice of this part is. A packet that crosses there says so itself.
    pub(crate) fn pass_level(
        &mut self,
        now: Instant,
        (place, level_dbov): (usize, u8),
        coordinator: PartId,
        fx: &mut Effects,
    ) {
        self.speakers.note_speech(now, level_dbov);
        let source = &self.sources[place];
        let is_own = matches!(source.owner, Owner::Here(_));
        if is_own && !source.shown_at.contains(&coordinator) {
            let crossing = Crossing::level(now, source.id, level_dbov);
            if !fx.crossings.push(&[coordinator], crossing, &[]) {
                fx.drop(DropReason::CascadeFull);
            }
        }
    }

    /// Tells the others who is loud and who speaks, as this part has found.
    pub(crate) fn tell_ranking(&self, fx: &mut Effects) {
        if self.cascade.is_some() && self.coordinator_elsewhere().is_none() {
            self.tell_parts(&PartBody::Ranking(self.ranking()), fx);
        }
    }

    pub(super) fn tell_ranking_to(&self, part: PartId, fx: &mut Effects) {
        if self.coordinator_elsewhere().is_none() {
            self.tell_part(part, PartBody::Ranking(self.ranking()), fx);
        }
    }

    fn ranking(&self) -> Ranking {
        let ids = |speakers: &[SourceRef]| speakers.iter().map(|speaker| speaker.id).collect();
        Ranking {
            loudest: ids(self.speakers.loudest(usize::MAX)),
            dominant: self.speakers.dominant().map(|speaker| speaker.id),
            previous: ids(self.speakers.previous()),
        }
    }

    /// Takes the coordinator's word; nobody else's.
    pub(super) fn take_ranking(&mut self, now: Instant, from: PartId, ranking: Ranking, fx: &mut Effects) {
        if self.coordinator_elsewhere() != Some(from) {
            return;
        }
        let before = (self.ranking().loudest, self.speakers.dominant());
        if let Some(cascade) = &mut self.cascade {
            cascade.ranking = ranking;
        }
        self.apply_ranking();
        if self.ranking().loudest != before.0 {
            self.seat_everyone(now, MediaKind::Audio, fx);
        }
        if self.speakers.dominant() != before.1 {
            self.tell_dominant_speaker(now, fx);
            self.seat_everyone(now, MediaKind::Video, fx);
        }
    }

    /// Ranks the sources known here as the coordinator does. It may have named some before their own part did.
    pub(super) fn apply_ranking(&mut self) {
        if self.coordinator_elsewhere().is_none() {
            return;
        }
        let Some(cascade) = &self.cascade else { return };
        let found = |id: &SourceId| {
            let source = self.sources.iter().find(|(_, source)| source.id == *id);
            source.map(|(place, _)| SourceRef { id: *id, place })
        };
        let Ranking { loudest, dominant, previous } = &cascade.ranking;
        let loudest = loudest.iter().filter_map(found).collect();
        let previous = previous.iter().filter_map(found).collect();
        self.speakers.adopt(loudest, dominant.as_ref().and_then(found), previous);
    }
}

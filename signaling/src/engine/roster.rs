//! What everybody sees of a conference: a snapshot for the newcomer, then numbered deltas for all, batched so that a
//! hundred joins in one moment are one message to each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wire::messages::ids::EndpointId;
use wire::messages::meeting::{Participant, Update};

/// Long enough that a storm becomes four messages a second, short enough that a raised hand is seen at once.
const BATCH: Duration = Duration::from_millis(250);

/// The changes that nobody has been told yet.
///
/// Invariant: a snapshot plus all later deltas gives the state that is. A snapshot is taken from the live state, so
/// the delta after it may repeat what it had: deltas carry whole states, which makes that harmless.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    seq: u64,
    joined: Vec<EndpointId>,
    left: Vec<EndpointId>,
    changed: BTreeSet<EndpointId>,
    due: Option<Instant>,
}

impl Roster {
    /// Number of the latest delta.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Somebody came. Returns when the batch is due, if this opened one.
    pub(crate) fn note_joined(&mut self, now: Instant, who: &EndpointId) -> Option<Instant> {
        self.joined.push(who.clone());
        self.open_batch(now)
    }

    /// Somebody went: told even when the coming was not, because a snapshot may have shown them.
    pub(crate) fn note_left(&mut self, now: Instant, who: &EndpointId) -> Option<Instant> {
        self.joined.retain(|joined| joined != who);
        self.changed.remove(who);
        self.left.push(who.clone());
        self.open_batch(now)
    }

    /// Somebody is shown differently; any number of changes in one batch is one.
    pub(crate) fn note_changed(&mut self, now: Instant, who: &EndpointId) -> Option<Instant> {
        if self.joined.contains(who) {
            return None;
        }
        self.changed.insert(who.clone());
        self.open_batch(now)
    }

    /// Closes the batch. `look` finds the present state of those that changed.
    pub(crate) fn delta(&mut self, look: impl Fn(&EndpointId) -> Option<Participant>) -> Option<Update> {
        self.due.take()?;
        self.seq += 1;
        let joined = self.joined.drain(..).filter_map(|who| look(&who)).collect();
        let changed = std::mem::take(&mut self.changed).iter().filter_map(look).collect();
        Some(Update::Delta { seq: self.seq, joined, left: std::mem::take(&mut self.left), changed })
    }

    fn open_batch(&mut self, now: Instant) -> Option<Instant> {
        if self.due.is_some() {
            return None;
        }
        self.due = Some(now + BATCH);
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> EndpointId {
        EndpointId::parse(format!("{number:08x}")).unwrap()
    }

    fn shown(who: &EndpointId) -> Option<Participant> {
        Some(Participant {
            id: who.clone(),
            name: String::new(),
            muted_audio: false,
            muted_video: false,
            screen: false,
            hand: false,
        })
    }

    #[test]
    fn a_storm_is_one_delta() {
        let start = Instant::now();
        let mut roster = Roster::default();
        assert_eq!(roster.note_joined(start, &id(0)), Some(start + BATCH));
        for number in 1..100 {
            assert_eq!(roster.note_joined(start, &id(number)), None);
        }
        let Some(Update::Delta { seq: 1, joined, .. }) = roster.delta(shown) else { panic!("no delta") };
        assert_eq!(joined.len(), 100);
        assert!(roster.delta(shown).is_none(), "nothing changed since");
    }

    #[test]
    fn who_came_and_went_within_one_batch_is_told_as_gone() {
        let start = Instant::now();
        let mut roster = Roster::default();
        roster.note_joined(start, &id(1));
        roster.note_left(start, &id(1));
        let Some(Update::Delta { joined, left, .. }) = roster.delta(shown) else { panic!("no delta") };
        assert!(joined.is_empty());
        assert_eq!(left, [id(1)]);
    }

    #[test]
    fn a_thousand_changes_of_one_participant_are_one() {
        let start = Instant::now();
        let mut roster = Roster::default();
        for _ in 0..1000 {
            roster.note_changed(start, &id(1));
        }
        let Some(Update::Delta { changed, .. }) = roster.delta(shown) else { panic!("no delta") };
        assert_eq!(changed.len(), 1);
    }
}

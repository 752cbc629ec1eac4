//! One conference: who is in it, what they see and say, and which bridge carries it.

use std::collections::HashMap;
use std::time::Instant;

use wire::messages::ids::{BridgeId, EndpointId, Epoch};
use wire::messages::meeting::{Participant as Shown, Snapshot, Update};

use super::chat::History;
use super::participant::Participant;
use super::ports::{ConferenceName, ConnectionId};
use super::roster::Roster;

/// With so many participants a conference has somebody to talk to, and needs a bridge.
const PARTICIPANTS_FOR_BRIDGE: usize = 2;

/// A conference that somebody is in.
#[derive(Debug)]
pub(crate) struct Conference {
    pub(crate) name: ConferenceName,
    pub(crate) since: Instant,
    pub(crate) assignment: Assignment,
    /// Of the latest assignment, over or not.
    pub(crate) epoch: Epoch,
    pub(crate) roster: Roster,
    pub(crate) history: History,
    /// By id.
    participants: HashMap<EndpointId, Participant>,
    joins: u64,
    viewers: usize,
    publishers: usize,
}

/// Which bridge carries a conference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Assignment {
    /// None, and none is needed.
    Waiting,
    /// None is fit; the first that is gets it.
    Wanted {
        /// The participants have been told.
        is_told: bool,
    },
    /// This one.
    Held(Holder),
    /// This one was lost and no other is fit. It continues if it comes back as the process it was.
    Stranded {
        /// The lost one.
        holder: Holder,
        /// The participants have been told.
        is_told: bool,
    },
}

/// A bridge that carries a conference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) bridge: BridgeId,
    /// The process that was given the conference.
    pub(crate) boot: String,
    /// When it is given back unless somebody joins.
    pub(crate) release: Option<Instant>,
}

impl Conference {
    /// A conference without anybody.
    pub(crate) fn new(now: Instant, name: ConferenceName, epoch: Epoch) -> Self {
        Self {
            name,
            since: now,
            assignment: Assignment::Waiting,
            epoch,
            roster: Roster::default(),
            history: History::default(),
            participants: HashMap::new(),
            joins: 0,
            viewers: 0,
            publishers: 0,
        }
    }

    /// Lets somebody in. Limits and a fresh id are the caller's.
    pub(crate) fn insert(&mut self, mut participant: Participant) {
        self.joins += 1;
        participant.order = self.joins;
        participant.has_history = self.history.is_empty();
        self.viewers += usize::from(participant.is_viewer());
        self.publishers += usize::from(participant.http().is_some() && !participant.is_viewer());
        self.participants.insert(participant.id.clone(), participant);
    }

    /// Lets somebody out.
    pub(crate) fn remove(&mut self, who: &EndpointId) -> Option<Participant> {
        let participant = self.participants.remove(who)?;
        self.viewers -= usize::from(participant.is_viewer());
        self.publishers -= usize::from(participant.http().is_some() && !participant.is_viewer());
        Some(participant)
    }

    /// Somebody in it.
    pub(crate) fn participant(&self, who: &EndpointId) -> Option<&Participant> {
        self.participants.get(who)
    }

    /// The same, to change.
    pub(crate) fn participant_mut(&mut self, who: &EndpointId) -> Option<&mut Participant> {
        self.participants.get_mut(who)
    }

    /// All in it, in no order.
    pub(crate) fn participants(&self) -> impl Iterator<Item = &Participant> {
        self.participants.values()
    }

    /// The same, to change.
    pub(crate) fn participants_mut(&mut self) -> impl Iterator<Item = &mut Participant> {
        self.participants.values_mut()
    }

    /// Those that others see.
    pub(crate) fn members(&self) -> usize {
        self.participants.len() - self.viewers
    }

    /// Those that only receive.
    pub(crate) fn viewers(&self) -> usize {
        self.viewers
    }

    /// Endpoints that its bridge has to carry.
    pub(crate) fn endpoints(&self) -> u32 {
        u32::try_from(self.participants.len()).unwrap_or(u32::MAX)
    }

    /// Nobody is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }

    /// Two people need a bridge; a publisher or viewer by HTTP cannot wait for the second.
    pub(crate) fn needs_bridge(&self) -> bool {
        self.members() >= PARTICIPANTS_FOR_BRIDGE || self.viewers > 0 || self.publishers > 0
    }

    /// The bridge that carries it and can be reached.
    pub(crate) fn holder(&self) -> Option<&Holder> {
        if let Assignment::Held(holder) = &self.assignment { Some(holder) } else { None }
    }

    /// All sockets of its participants.
    pub(crate) fn connections(&self) -> Vec<ConnectionId> {
        let mut connections: Vec<ConnectionId> =
            self.participants.values().filter_map(Participant::connection).collect();
        connections.sort_unstable();
        connections
    }

    /// The same, with whose each is.
    pub(crate) fn connected(&self) -> Vec<(ConnectionId, EndpointId)> {
        let by_socket = |participant: &Participant| Some((participant.connection()?, participant.id.clone()));
        let mut connected: Vec<_> = self.participants.values().filter_map(by_socket).collect();
        connected.sort_unstable();
        connected
    }

    /// The sockets of those who hear what is said now.
    pub(crate) fn listeners(&self) -> Vec<ConnectionId> {
        let hears = self.participants.values().filter(|participant| participant.has_history);
        let mut connections: Vec<ConnectionId> = hears.filter_map(Participant::connection).collect();
        connections.sort_unstable();
        connections
    }

    /// Everything there is to see.
    pub(crate) fn state(&self) -> Update {
        let mut seen: Vec<&Participant> =
            self.participants.values().filter(|participant| !participant.is_viewer()).collect();
        seen.sort_unstable_by_key(|participant| participant.order);
        let participants = seen.into_iter().map(|participant| participant.shown.clone()).collect();
        Update::State { seq: self.roster.seq(), snapshot: Snapshot { participants } }
    }

    /// The batched changes.
    pub(crate) fn delta(&mut self) -> Option<Update> {
        let participants = &self.participants;
        let look =
            |who: &EndpointId| -> Option<Shown> { participants.get(who).map(|found| found.shown.clone()) };
        self.roster.delta(look)
    }
}

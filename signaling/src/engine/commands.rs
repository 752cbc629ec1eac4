//! Commands that wait for a bridge's reply.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use wire::messages::ids::{BridgeId, ConferenceId, EndpointId};
use wire::messages::link::Command;
use wire::messages::media::IceCredentials;

use super::focus::Place;
use super::negotiate::Offer;
use super::ports::{ConnectionId, HttpId};

/// A bridge answers within milliseconds; after this it is stuck, or the command was lost with its link.
pub(crate) const COMMAND_TIME: Duration = Duration::from_secs(5);

/// A command on its way.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) command: Command,
    /// Who must answer.
    pub(crate) bridge: BridgeId,
    /// Whom it is about.
    pub(crate) place: Place,
    pub(crate) purpose: Purpose,
    pub(crate) deadline: Instant,
    /// It was sent twice already.
    pub(crate) is_repeated: bool,
}

/// What its answer is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// A browser's offer.
    Offer {
        /// The socket that offered: another one has another negotiation.
        connection: ConnectionId,
        rev: u64,
        offer: Box<Offer>,
    },
    /// A WHIP or WHEP `POST`.
    Create { http: HttpId, offer: Box<Offer> },
    /// A WHIP or WHEP `PATCH`.
    Restart {
        http: HttpId,
        /// The credentials that hold once the bridge has taken them.
        ice: IceCredentials,
    },
}

impl Purpose {
    /// The request that waits for it.
    pub(crate) fn http(&self) -> Option<HttpId> {
        match self {
            Self::Create { http, .. } | Self::Restart { http, .. } => Some(*http),
            Self::Offer { .. } => None,
        }
    }
}

/// All of them, by command id.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    pending: HashMap<u64, Pending>,
    last_id: u64,
}

impl Commands {
    /// A number that no command had.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Waits for the answer to this.
    pub(crate) fn insert(&mut self, pending: Pending) {
        self.pending.insert(pending.command.id, pending);
    }

    /// The answer came, or never will.
    pub(crate) fn take(&mut self, id: u64) -> Option<Pending> {
        self.pending.remove(&id)
    }

    /// Waits on.
    pub(crate) fn pending(&self, id: u64) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// Is an answer for this endpoint on its way?
    pub(crate) fn is_waiting_for(&self, who: &EndpointId) -> bool {
        self.pending.values().any(|pending| pending.place.who == *who)
    }

    /// Takes all that concern a conference.
    pub(crate) fn take_conference(&mut self, conference: &ConferenceId) -> Vec<Pending> {
        let mut ids: Vec<u64> = self
            .pending
            .values()
            .filter(|pending| pending.place.conference == *conference)
            .map(|pending| pending.command.id)
            .collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.pending.remove(&id)).collect()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }
}

//! What the engine counts. Names, labels and help texts live in the shell.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use wire::messages::meeting::ErrorId;

use super::ports::BridgeView;

/// Jicofo's `conference_sizes`: conferences of 0, 1, … 20 participants, and the larger ones.
pub const SIZES: usize = 22;
/// A join that takes longer than this is a failed one; milliseconds.
const JOIN_MS_MAX: u64 = 60_000;
/// Two digits are what a percentile of joins can mean.
const JOIN_DIGITS: u8 = 2;

/// Counters since the process started.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Messages of browsers.
    pub requests: u64,
    /// Participants that ever joined, WHIP and WHEP among them.
    pub participants_joined: u64,
    /// Connections that continued a participant.
    pub resumed: u64,
    /// Conferences ever.
    pub conferences_created: u64,
    /// Bridges given to conferences.
    pub assignments: u64,
    /// Bridges given back after one participant was alone.
    pub releases: u64,
    /// Times that a conference was told that no bridge is fit.
    pub unavailable: u64,
    /// Bridges that were lost.
    pub bridges_lost: u64,
    /// Participants that had to connect to another bridge.
    pub participants_moved: u64,
    /// Bridges whose `hello` was refused.
    pub links_refused: u64,
    /// Commands that were not answered in time.
    pub commands_unanswered: u64,
    /// Commands that bridges refused.
    pub commands_refused: u64,
    /// Commands that were refused as stale.
    pub epoch_rejects: u64,
    /// Offers answered.
    pub answers: u64,
    /// Endpoints whose media came to flow.
    pub endpoints_connected: u64,
    /// Endpoints that a bridge gave up.
    pub endpoints_failed: u64,
    /// Browsers invited to connect again.
    pub restarts_requested: u64,
    /// Lines of chat.
    pub chat_lines: u64,
    /// Requests refused, by the error's stable id.
    pub refused: BTreeMap<String, u64>,
    /// From the moment a browser may connect (its join, or the assignment if that is later) to its first answer.
    join_ms: Option<Histogram<u64>>,
}

impl Counters {
    /// A request was refused.
    pub(crate) fn note_refused(&mut self, id: ErrorId) {
        // The ids are a fixed set of an enum, so the map cannot grow beyond it.
        let name = serde_json::to_value(id).ok().and_then(|value| value.as_str().map(str::to_owned));
        *self.refused.entry(name.unwrap_or_default()).or_default() += 1;
    }

    /// A browser got its first answer after this long.
    pub(crate) fn note_join(&mut self, milliseconds: u64) {
        if self.join_ms.is_none() {
            self.join_ms = Histogram::new_with_bounds(1, JOIN_MS_MAX, JOIN_DIGITS).ok();
        }
        if let Some(histogram) = &mut self.join_ms {
            histogram.saturating_record(milliseconds.max(1));
        }
    }

    /// A percentile of the joins in milliseconds; 0 before the first.
    pub fn join_ms(&self, percentile: f64) -> u64 {
        self.join_ms.as_ref().map_or(0, |histogram| histogram.value_at_percentile(percentile))
    }

    /// Joins measured.
    pub fn joins(&self) -> u64 {
        self.join_ms.as_ref().map_or(0, Histogram::len)
    }
}

/// Counters, and what is now.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Since the process started.
    pub counters: Counters,
    /// Conferences now.
    pub conferences: usize,
    /// Of them, those with one participant and without a bridge.
    pub waiting_conferences: usize,
    /// Of them, those that need a bridge and have none that works.
    pub wanting_conferences: usize,
    /// Participants now, viewers not among them.
    pub participants: usize,
    /// Viewers now.
    pub viewers: usize,
    /// Participants of the largest conference, viewers among them.
    pub largest_conference: usize,
    /// Conferences by their number of participants.
    pub conference_sizes: [u64; SIZES],
    /// Browsers' sockets now.
    pub connections: usize,
    /// Bridges that can be given conferences.
    pub fit_bridges: usize,
    /// Commands that wait for their reply.
    pub commands_pending: usize,
    /// All bridges.
    pub bridges: Vec<BridgeView>,
}

impl Stats {
    pub(crate) fn new(counters: Counters) -> Self {
        Self {
            counters,
            conferences: 0,
            waiting_conferences: 0,
            wanting_conferences: 0,
            participants: 0,
            viewers: 0,
            largest_conference: 0,
            conference_sizes: [0; SIZES],
            connections: 0,
            fit_bridges: 0,
            commands_pending: 0,
            bridges: Vec::new(),
        }
    }

    pub(crate) fn add_conference(&mut self, members: usize, viewers: usize) {
        self.conferences += 1;
        self.participants += members;
        self.viewers += viewers;
        self.largest_conference = self.largest_conference.max(members + viewers);
        self.conference_sizes[(members + viewers).min(SIZES - 1)] += 1;
    }
}

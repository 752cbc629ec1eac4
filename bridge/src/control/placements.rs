//! Which workers have which conference, and what a command may do before any worker sees it. Pure: no clock, no queue.
//!
//! A conference stays on its worker while it has endpoints or commands in flight. When it outgrows that, further endpoints
//! go to other workers, each of which then holds a part of it. An endpoint stays where it is; the conference's epoch is
//! remembered for a while after its end, so that a late command of an older assignment is refused even when its workers
//! have forgotten it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};
use wire::messages::ids::{ConferenceId, EndpointId, Epoch};
use wire::messages::link::{Command, CommandBody, LiveConference, Refusal};

/// Conferences by their workers.
pub(crate) struct Placements {
    conferences: HashMap<ConferenceId, Placement>,
    /// Endpoints held and commands in flight, by worker.
    loads: Vec<usize>,
    limits: PlacementLimits,
}

/// What may be where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacementLimits {
    /// Endpoints of the whole bridge.
    pub(crate) endpoints_max: usize,
    /// Endpoints of one conference on one worker, as long as another worker has room.
    pub(crate) spread_above: usize,
}

struct Placement {
    epoch: Epoch,
    /// The workers that hold some of it, or will; the first is where it began, or what is left of that. A quiet one's is
    /// kept, to be told of what ends it.
    parts: Vec<Part>,
    endpoints: BTreeMap<EndpointId, Seat>,
    /// Commands that its workers have not answered yet.
    in_flight: usize,
    /// When the last endpoint went or the last answer came.
    quiet_since: Instant,
}

struct Part {
    worker: usize,
    /// Seats there.
    endpoints: usize,
}

/// Where an endpoint is, or is being made.
struct Seat {
    worker: usize,
    is_held: bool,
    /// Commands about it that are not answered yet.
    in_flight: usize,
}

/// What becomes of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// These workers', the same for all of them; `answered` is to be called for each.
    Workers {
        /// Never empty. More than one only for the end of a conference.
        workers: Vec<usize>,
        /// All that hold parts of the conference, or will.
        parts: Vec<usize>,
        /// Workers that hold it under an older epoch, which is over.
        stale: Vec<usize>,
    },
    /// There is nothing left to do.
    Done,
    /// Not to be done.
    Refused(Refusal, &'static str),
}

/// What a worker has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) conference: ConferenceId,
    pub(crate) epoch: Epoch,
    /// The endpoint that the command was about, if it was about one.
    pub(crate) endpoint: Option<EndpointId>,
}

impl Placement {
    fn is_quiet(&self) -> bool {
        self.in_flight == 0 && !self.endpoints.values().any(|seat| seat.is_held)
    }

    fn workers(&self) -> Vec<usize> {
        self.parts.iter().map(|part| part.worker).collect()
    }

    fn forget_idle_seat(&mut self, endpoint: &EndpointId) {
        let Some(seat) = self.endpoints.get(endpoint).filter(|seat| !seat.is_held && seat.in_flight == 0)
        else {
            return;
        };
        if let Some(place) = self.parts.iter().position(|part| part.worker == seat.worker) {
            self.parts[place].endpoints -= 1;
            // With its last endpoint a part ends; the conference only with the last of all.
            if self.parts[place].endpoints == 0 && self.parts.len() > 1 {
                self.parts.remove(place);
            }
        }
        self.endpoints.remove(endpoint);
    }
}

impl Placements {
    pub(crate) fn new(workers: usize, limits: PlacementLimits) -> Self {
        Self { conferences: HashMap::new(), loads: vec![0; workers], limits }
    }

    /// Decides where `command` goes, and counts it as in flight there.
    pub(crate) fn route(&mut self, now: Instant, command: &Command) -> Route {
        let known = self.conferences.get(&command.conference);
        if known.is_some_and(|placement| command.epoch < placement.epoch) {
            return Route::Refused(Refusal::StaleEpoch, "a newer assignment of this conference is known");
        }
        match &command.body {
            CommandBody::Unknown => Route::Refused(Refusal::UnknownCommand, "not known to this version"),
            CommandBody::SetEndpoint { endpoint, .. } => {
                let seat = known.and_then(|placement| placement.endpoints.get(endpoint));
                let is_held = seat.is_some_and(|seat| seat.is_held);
                if !is_held && self.loads.iter().sum::<usize>() >= self.limits.endpoints_max {
                    return Route::Refused(Refusal::Full, "this bridge holds as many endpoints as it may");
                }
                self.remember(now, command);
                self.forget_parts_if_quiet(&command.conference);
                let stale = self.begin_epoch(command);
                let worker = self.place(&command.conference, endpoint);
                self.take_off(vec![worker], command, Some(endpoint), stale)
            }
            CommandBody::RemoveEndpoint { endpoint } => {
                let Some(first) = self.first_worker(now, command) else { return Route::Done };
                let stale = self.begin_epoch(command);
                let seat =
                    self.conferences.get(&command.conference).and_then(|it| it.endpoints.get(endpoint));
                let worker = seat.map_or(first, |seat| seat.worker);
                self.take_off(vec![worker], command, Some(endpoint), stale)
            }
            CommandBody::EndConference => {
                if self.first_worker(now, command).is_none() {
                    return Route::Done;
                }
                let stale = self.begin_epoch(command);
                let workers = self.conferences.get(&command.conference).map(Placement::workers);
                self.take_off(workers.unwrap_or_default(), command, None, stale)
            }
        }
    }

    /// `worker` has answered a routed command.
    pub(crate) fn answered(&mut self, now: Instant, worker: usize, answered: &Answered) {
        self.loads[worker] = self.loads[worker].saturating_sub(1);
        let Some(placement) = self.conferences.get_mut(&answered.conference) else { return };
        placement.in_flight = placement.in_flight.saturating_sub(1);
        placement.quiet_since = now;
        let Some(endpoint) = answered.endpoint.as_ref().filter(|_| placement.epoch == answered.epoch) else {
            return;
        };
        if let Some(seat) = placement.endpoints.get_mut(endpoint) {
            seat.in_flight = seat.in_flight.saturating_sub(1);
            placement.forget_idle_seat(endpoint);
        }
    }

    /// `worker` now holds `endpoint`.
    pub(crate) fn endpoint_added(&mut self, worker: usize, conference: &ConferenceId, endpoint: &EndpointId) {
        let Some(placement) = self.conferences.get_mut(conference) else { return };
        let Some(seat) = placement.endpoints.get_mut(endpoint).filter(|seat| seat.worker == worker) else {
            return;
        };
        if !std::mem::replace(&mut seat.is_held, true) {
            self.loads[worker] += 1;
        }
    }

    /// `worker` no longer holds `endpoint`.
    pub(crate) fn endpoint_gone(
        &mut self,
        now: Instant,
        worker: usize,
        (conference, endpoint): (&ConferenceId, &EndpointId),
    ) {
        let Some(placement) = self.conferences.get_mut(conference) else { return };
        let Some(seat) = placement.endpoints.get_mut(endpoint).filter(|seat| seat.worker == worker) else {
            return;
        };
        if std::mem::take(&mut seat.is_held) {
            placement.quiet_since = now;
            self.loads[worker] -= 1;
        }
        placement.forget_idle_seat(endpoint);
    }

    /// Conferences with endpoints.
    pub(crate) fn live(&self) -> Vec<LiveConference> {
        let live = self.conferences.iter().map(|(conference, placement)| {
            let held = placement.endpoints.iter().filter(|(_, seat)| seat.is_held);
            LiveConference {
                conference: conference.clone(),
                epoch: placement.epoch,
                endpoints: held.map(|(endpoint, _)| endpoint.clone()).collect(),
            }
        });
        live.filter(|conference| !conference.endpoints.is_empty()).collect()
    }

    /// Forgets what has been quiet for `REMEMBERED`; the oldest first when there is too much to remember.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.conferences
            .retain(|_, placement| !placement.is_quiet() || now < placement.quiet_since + REMEMBERED);
        let mut quiet: Vec<_> = (self.conferences.iter())
            .filter(|(_, placement)| placement.is_quiet())
            .map(|(conference, placement)| (placement.quiet_since, conference.clone()))
            .collect();
        quiet.sort_unstable();
        let excess = quiet.len().saturating_sub(REMEMBERED_MAX);
        for (_, conference) in quiet.drain(..excess) {
            self.conferences.remove(&conference);
        }
    }

    /// Where an endpoint is, or shall be: the first of its conference's workers with room for it, or else the worker with
    /// least to do that has nothing of the conference yet, or else the part with the fewest endpoints.
    fn place(&mut self, conference: &ConferenceId, endpoint: &EndpointId) -> usize {
        let Self { conferences, loads, limits } = self;
        let Some(placement) = conferences.get_mut(conference) else { return 0 };
        if let Some(seat) = placement.endpoints.get(endpoint) {
            return seat.worker;
        }
        let Placement { parts, .. } = placement;
        let roomy = parts.iter().position(|part| part.endpoints < limits.spread_above);
        let part = roomy.unwrap_or_else(|| {
            let others = (0..loads.len()).filter(|worker| !parts.iter().any(|part| part.worker == *worker));
            match others.min_by_key(|worker| loads[*worker]) {
                Some(worker) => {
                    parts.push(Part { worker, endpoints: 0 });
                    parts.len() - 1
                }
                None => (0..parts.len()).min_by_key(|part| parts[*part].endpoints).unwrap_or(0),
            }
        });
        parts[part].endpoints += 1;
        let worker = parts[part].worker;
        let seat = Seat { worker, is_held: false, in_flight: 0 };
        placement.endpoints.insert(endpoint.clone(), seat);
        worker
    }

    /// The conference's first worker. One that is not known has nothing to take away; its epoch is.
    fn first_worker(&mut self, now: Instant, command: &Command) -> Option<usize> {
        self.remember(now, command);
        let placement = self.conferences.get_mut(&command.conference)?;
        let first = placement.parts.first().map(|part| part.worker);
        if first.is_none() {
            placement.epoch = placement.epoch.max(command.epoch);
        }
        first
    }

    /// With nobody in it, a conference is as good anywhere.
    fn forget_parts_if_quiet(&mut self, conference: &ConferenceId) {
        if let Some(placement) = self.conferences.get_mut(conference).filter(|known| known.is_quiet()) {
            placement.parts.clear();
        }
    }

    fn remember(&mut self, now: Instant, command: &Command) {
        self.conferences.entry(command.conference.clone()).or_insert_with(|| Placement {
            epoch: command.epoch,
            parts: Vec::new(),
            endpoints: BTreeMap::new(),
            in_flight: 0,
            quiet_since: now,
        });
    }

    /// With a newer epoch nothing of the older one counts any more. The workers that have something of it besides the
    /// first, which hears of the epoch by the command itself.
    fn begin_epoch(&mut self, command: &Command) -> Vec<usize> {
        let Some(placement) = self.conferences.get_mut(&command.conference) else { return Vec::new() };
        if placement.epoch >= command.epoch {
            return Vec::new();
        }
        placement.epoch = command.epoch;
        for seat in std::mem::take(&mut placement.endpoints).into_values().filter(|seat| seat.is_held) {
            self.loads[seat.worker] -= 1;
        }
        placement.parts.iter_mut().for_each(|part| part.endpoints = 0);
        let stale = placement.parts.split_off(placement.parts.len().min(1));
        stale.into_iter().map(|part| part.worker).collect()
    }

    fn take_off(
        &mut self,
        workers: Vec<usize>,
        command: &Command,
        endpoint: Option<&EndpointId>,
        stale: Vec<usize>,
    ) -> Route {
        let Some(placement) = self.conferences.get_mut(&command.conference) else { return Route::Done };
        for worker in &workers {
            placement.in_flight += 1;
            self.loads[*worker] += 1;
        }
        if let Some(seat) = endpoint.and_then(|endpoint| placement.endpoints.get_mut(endpoint)) {
            seat.in_flight += 1;
        }
        Route::Workers { workers, parts: placement.workers(), stale }
    }
}

/// Longer than any command can be under way: signaling gives one up after seconds.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// About 10 MiB.
const REMEMBERED_MAX: usize = 65_536;

#[cfg(test)]
#[path = "placements_tests.rs"]
mod tests;

//! Which worker has which conference, and what a command may do before any worker sees it. Pure: no clock, no queue.
//!
//! A conference stays on its worker while it has endpoints or commands in flight. Its epoch is remembered for a while
//! after that, so that a late command of an older assignment is refused even when its worker has forgotten it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};
use wire::messages::ids::{ConferenceId, EndpointId, Epoch};
use wire::messages::link::{Command, CommandBody, LiveConference, Refusal};

/// Conferences by their worker.
pub(crate) struct Placements {
    conferences: HashMap<ConferenceId, Placement>,
    /// Endpoints held and commands in flight, by worker.
    loads: Vec<usize>,
    endpoints_max: usize,
}

struct Placement {
    epoch: Epoch,
    worker: usize,
    endpoints: BTreeSet<EndpointId>,
    /// Commands that its worker has not answered yet.
    in_flight: usize,
    /// When the last endpoint went or the last answer came.
    quiet_since: Instant,
}

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// This worker's; `answered` is to be called for it.
    Worker(usize),
    /// There is nothing left to do.
    Done,
    /// Not to be done.
    Refused(Refusal, &'static str),
}

impl Placement {
    fn is_quiet(&self) -> bool {
        self.endpoints.is_empty() && self.in_flight == 0
    }
}

impl Placements {
    pub(crate) fn new(workers: usize, endpoints_max: usize) -> Self {
        Self { conferences: HashMap::new(), loads: vec![0; workers], endpoints_max }
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
                let is_held = known.is_some_and(|placement| placement.endpoints.contains(endpoint));
                if !is_held && self.loads.iter().sum::<usize>() >= self.endpoints_max {
                    return Route::Refused(Refusal::Full, "this bridge holds as many endpoints as it may");
                }
                let worker = self.place(now, command);
                self.take_off(worker, command)
            }
            CommandBody::RemoveEndpoint { .. } | CommandBody::EndConference => {
                let Some(placement) = self.conferences.get(&command.conference) else {
                    self.remember(now, command);
                    return Route::Done;
                };
                let worker = placement.worker;
                self.take_off(worker, command)
            }
        }
    }

    /// A routed command has been answered.
    pub(crate) fn answered(&mut self, now: Instant, conference: &ConferenceId) {
        let Some(placement) = self.conferences.get_mut(conference) else { return };
        if placement.in_flight > 0 {
            placement.in_flight -= 1;
            placement.quiet_since = now;
            self.loads[placement.worker] -= 1;
        }
    }

    /// `worker` now holds `endpoint`.
    pub(crate) fn endpoint_added(&mut self, conference: &ConferenceId, endpoint: EndpointId) {
        let Some(placement) = self.conferences.get_mut(conference) else { return };
        if placement.endpoints.insert(endpoint) {
            self.loads[placement.worker] += 1;
        }
    }

    /// No worker holds `endpoint` any more.
    pub(crate) fn endpoint_gone(&mut self, now: Instant, conference: &ConferenceId, endpoint: &EndpointId) {
        let Some(placement) = self.conferences.get_mut(conference) else { return };
        if placement.endpoints.remove(endpoint) {
            placement.quiet_since = now;
            self.loads[placement.worker] -= 1;
        }
    }

    /// Conferences with endpoints.
    pub(crate) fn live(&self) -> Vec<LiveConference> {
        let held = self.conferences.iter().filter(|(_, placement)| !placement.endpoints.is_empty());
        held.map(|(conference, placement)| LiveConference {
            conference: conference.clone(),
            epoch: placement.epoch,
            endpoints: placement.endpoints.iter().cloned().collect(),
        })
        .collect()
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

    /// The conference's worker, or the one with least to do for a conference that has none.
    fn place(&mut self, now: Instant, command: &Command) -> usize {
        if let Some(placement) = self.conferences.get(&command.conference).filter(|known| !known.is_quiet()) {
            return placement.worker;
        }
        let least = self.loads.iter().enumerate().min_by_key(|(_, load)| **load);
        let worker = least.map_or(0, |(worker, _)| worker);
        self.remember(now, command);
        if let Some(placement) = self.conferences.get_mut(&command.conference) {
            placement.worker = worker;
        }
        worker
    }

    fn remember(&mut self, now: Instant, command: &Command) {
        self.conferences.entry(command.conference.clone()).or_insert_with(|| Placement {
            epoch: command.epoch,
            worker: 0,
            endpoints: BTreeSet::new(),
            in_flight: 0,
            quiet_since: now,
        });
    }

    fn take_off(&mut self, worker: usize, command: &Command) -> Route {
        if let Some(placement) = self.conferences.get_mut(&command.conference) {
            placement.epoch = placement.epoch.max(command.epoch);
            placement.in_flight += 1;
            self.loads[worker] += 1;
        }
        Route::Worker(worker)
    }
}

/// Longer than any command can be under way: signaling gives one up after seconds.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// About 10 MiB.
const REMEMBERED_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use wire::messages::media::{EndpointParameters, IceCredentials};

    use super::*;

    fn conference(letter: char) -> ConferenceId {
        ConferenceId::parse(letter.to_string().repeat(26)).unwrap()
    }

    fn endpoint(number: u32) -> EndpointId {
        EndpointId::parse(format!("{number:08x}")).unwrap()
    }

    fn command(letter: char, epoch: u64, body: CommandBody) -> Command {
        Command { id: 1, conference: conference(letter), epoch: Epoch(epoch), body }
    }

    fn set(letter: char, epoch: u64, number: u32) -> Command {
        let ice = IceCredentials { ufrag: "abcd".to_owned(), pwd: "p".repeat(22) };
        let parameters = EndpointParameters { ice, fingerprints: Vec::new(), medias: Vec::new() };
        let body = CommandBody::SetEndpoint { endpoint: endpoint(number), parameters, pins: Vec::new() };
        command(letter, epoch, body)
    }

    /// Routes and completes the creation of an endpoint.
    fn add(placements: &mut Placements, now: Instant, letter: char, number: u32) -> usize {
        let Route::Worker(worker) = placements.route(now, &set(letter, 1, number)) else { panic!("refused") };
        placements.endpoint_added(&conference(letter), endpoint(number));
        placements.answered(now, &conference(letter));
        worker
    }

    #[test]
    fn conferences_spread_and_their_endpoints_stay_together() {
        let (mut placements, now) = (Placements::new(2, 100), Instant::now());
        let first = add(&mut placements, now, 'a', 1);
        let second = add(&mut placements, now, 'b', 2);
        assert_ne!(first, second);
        for number in 3..9 {
            assert_eq!(add(&mut placements, now, 'a', number), first);
        }
        assert_eq!(add(&mut placements, now, 'c', 9), second);
    }

    #[test]
    fn a_burst_of_first_commands_is_spread_before_any_is_answered() {
        let (mut placements, now) = (Placements::new(2, 100), Instant::now());
        let routes: Vec<_> =
            ['a', 'b', 'c', 'd'].iter().map(|&letter| placements.route(now, &set(letter, 1, 1))).collect();
        assert_eq!(routes.iter().filter(|route| **route == Route::Worker(0)).count(), 2);
        // A second endpoint of a conference whose first is still being made goes to the same worker.
        assert_eq!(placements.route(now, &set('b', 1, 2)), routes[1]);
    }

    #[test]
    fn an_older_epoch_is_refused_even_after_the_conference_has_ended() {
        let (mut placements, now) = (Placements::new(2, 100), Instant::now());
        assert!(matches!(placements.route(now, &set('a', 7, 1)), Route::Worker(_)));
        placements.answered(now, &conference('a'));
        let stale = Route::Refused(Refusal::StaleEpoch, "a newer assignment of this conference is known");
        assert_eq!(placements.route(now, &set('a', 6, 1)), stale);
        assert_eq!(placements.route(now, &command('b', 9, CommandBody::EndConference)), Route::Done);
        assert_eq!(placements.route(now, &set('b', 8, 1)), stale);
        placements.sweep(now + REMEMBERED);
        assert!(matches!(placements.route(now, &set('a', 6, 1)), Route::Worker(_)));
    }

    #[test]
    fn a_full_bridge_refuses_newcomers_but_not_those_inside() {
        let (mut placements, now) = (Placements::new(1, 2), Instant::now());
        add(&mut placements, now, 'a', 1);
        add(&mut placements, now, 'a', 2);
        assert!(matches!(placements.route(now, &set('a', 1, 3)), Route::Refused(Refusal::Full, _)));
        assert_eq!(placements.route(now, &set('a', 1, 2)), Route::Worker(0));
        placements.answered(now, &conference('a'));
        placements.endpoint_gone(now, &conference('a'), &endpoint(1));
        assert_eq!(placements.route(now, &set('a', 1, 3)), Route::Worker(0));
    }

    #[test]
    fn a_command_of_a_newer_version_is_refused_as_unknown() {
        let (mut placements, now) = (Placements::new(1, 2), Instant::now());
        let route = placements.route(now, &command('a', 1, CommandBody::Unknown));
        assert!(matches!(route, Route::Refused(Refusal::UnknownCommand, _)));
    }

    #[test]
    fn only_conferences_with_endpoints_are_live() {
        let (mut placements, now) = (Placements::new(1, 100), Instant::now());
        add(&mut placements, now, 'a', 1);
        add(&mut placements, now, 'b', 2);
        placements.endpoint_gone(now, &conference('b'), &endpoint(2));
        let live = placements.live();
        assert_eq!(live.len(), 1);
        assert_eq!((&live[0].conference, &live[0].endpoints[..]), (&conference('a'), &[endpoint(1)][..]));
    }
}

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

fn placements(workers: usize, endpoints_max: usize) -> Placements {
    Placements::new(workers, PlacementLimits { endpoints_max, spread_above: 1_000 })
}

/// The one worker to which a command goes.
fn routed(placements: &mut Placements, now: Instant, command: &Command) -> usize {
    let Route::Workers { workers, .. } = placements.route(now, command) else { panic!("not routed") };
    assert_eq!(workers.len(), 1);
    workers[0]
}

fn answer(placements: &mut Placements, now: Instant, worker: usize, command: &Command) {
    let endpoint = match &command.body {
        CommandBody::SetEndpoint { endpoint, .. } | CommandBody::RemoveEndpoint { endpoint } => {
            Some(endpoint.clone())
        }
        _ => None,
    };
    let answered = Answered { conference: command.conference.clone(), epoch: command.epoch, endpoint };
    placements.answered(now, worker, &answered);
}

/// Routes and completes the creation of an endpoint.
fn add(placements: &mut Placements, now: Instant, letter: char, number: u32) -> usize {
    let command = set(letter, 1, number);
    let worker = routed(placements, now, &command);
    placements.endpoint_added(worker, &conference(letter), &endpoint(number));
    answer(placements, now, worker, &command);
    worker
}

fn gone(placements: &mut Placements, now: Instant, worker: usize, letter: char, number: u32) {
    placements.endpoint_gone(now, worker, (&conference(letter), &endpoint(number)));
}

#[test]
fn conferences_spread_and_their_endpoints_stay_together() {
    let (mut placements, now) = (placements(2, 100), Instant::now());
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
    let (mut placements, now) = (placements(2, 100), Instant::now());
    let workers = ['a', 'b', 'c', 'd'].map(|letter| routed(&mut placements, now, &set(letter, 1, 1)));
    assert_eq!(workers.iter().filter(|worker| **worker == 0).count(), 2);
    // A second endpoint of a conference whose first is still being made goes to the same worker.
    assert_eq!(routed(&mut placements, now, &set('b', 1, 2)), workers[1]);
}

#[test]
fn an_older_epoch_is_refused_even_after_the_conference_has_ended() {
    let (mut placements, now) = (placements(2, 100), Instant::now());
    let worker = routed(&mut placements, now, &set('a', 7, 1));
    answer(&mut placements, now, worker, &set('a', 7, 1));
    let stale = Route::Refused(Refusal::StaleEpoch, "a newer assignment of this conference is known");
    assert_eq!(placements.route(now, &set('a', 6, 1)), stale);
    assert_eq!(placements.route(now, &command('b', 9, CommandBody::EndConference)), Route::Done);
    assert_eq!(placements.route(now, &set('b', 8, 1)), stale);
    placements.sweep(now + REMEMBERED);
    routed(&mut placements, now, &set('a', 6, 1));
}

#[test]
fn a_full_bridge_refuses_newcomers_but_not_those_inside() {
    let (mut placements, now) = (placements(1, 2), Instant::now());
    add(&mut placements, now, 'a', 1);
    add(&mut placements, now, 'a', 2);
    assert!(matches!(placements.route(now, &set('a', 1, 3)), Route::Refused(Refusal::Full, _)));
    assert_eq!(routed(&mut placements, now, &set('a', 1, 2)), 0);
    answer(&mut placements, now, 0, &set('a', 1, 2));
    gone(&mut placements, now, 0, 'a', 1);
    assert_eq!(routed(&mut placements, now, &set('a', 1, 3)), 0);
}

#[test]
fn a_command_of_a_newer_version_is_refused_as_unknown() {
    let (mut placements, now) = (placements(1, 2), Instant::now());
    let route = placements.route(now, &command('a', 1, CommandBody::Unknown));
    assert!(matches!(route, Route::Refused(Refusal::UnknownCommand, _)));
}

#[test]
fn only_conferences_with_endpoints_are_live() {
    let (mut placements, now) = (placements(1, 100), Instant::now());
    add(&mut placements, now, 'a', 1);
    add(&mut placements, now, 'b', 2);
    gone(&mut placements, now, 0, 'b', 2);
    let live = placements.live();
    assert_eq!(live.len(), 1);
    assert_eq!((&live[0].conference, &live[0].endpoints[..]), (&conference('a'), &[endpoint(1)][..]));
}

fn spreading(workers: usize) -> Placements {
    Placements::new(workers, PlacementLimits { endpoints_max: 1_000, spread_above: 2 })
}

fn parts(placements: &mut Placements, now: Instant, command: &Command) -> Vec<usize> {
    let Route::Workers { parts, workers, .. } = placements.route(now, command) else { panic!("not routed") };
    answer(placements, now, workers[0], command);
    parts
}

#[test]
fn a_conference_that_outgrows_its_worker_goes_on_with_the_next_and_its_endpoints_stay() {
    let (mut placements, now) = (spreading(3), Instant::now());
    let workers: Vec<usize> = (1..=6).map(|number| add(&mut placements, now, 'a', number)).collect();
    assert_eq!(workers, [0, 0, 1, 1, 2, 2]);
    // Every part has as many as it should: the rest is spread evenly.
    assert_eq!((7..=9).map(|number| add(&mut placements, now, 'a', number)).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(add(&mut placements, now, 'a', 3), 1, "an endpoint stays where it is");
    assert_eq!(parts(&mut placements, now, &set('a', 1, 5)), [0, 1, 2]);
    for number in [1, 2] {
        gone(&mut placements, now, 0, 'a', number);
    }
    gone(&mut placements, now, 0, 'a', 7);
    assert_eq!(parts(&mut placements, now, &set('a', 1, 5)), [1, 2], "that part has ended");
    assert_eq!(add(&mut placements, now, 'a', 10), 0, "the worker with least to do");
}

#[test]
fn a_burst_of_endpoints_is_spread_before_any_is_made() {
    let (mut placements, now) = (spreading(2), Instant::now());
    let workers = [1, 2, 3, 4].map(|number| routed(&mut placements, now, &set('a', 1, number)));
    assert_eq!(workers, [0, 0, 1, 1]);
    // None of them came to be: nothing is left of them.
    for (number, worker) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
        answer(&mut placements, now, worker, &set('a', 1, number));
    }
    assert_eq!(placements.loads, [0, 0]);
    assert!(placements.conferences[&conference('a')].is_quiet());
}

#[test]
fn one_worker_holds_a_conference_of_any_size() {
    let (mut placements, now) = (spreading(1), Instant::now());
    assert!((1..50).all(|number| add(&mut placements, now, 'a', number) == 0));
    assert_eq!(parts(&mut placements, now, &set('a', 1, 1)), [0]);
}

#[test]
fn the_end_of_a_conference_goes_to_all_its_workers_and_of_an_endpoint_to_its_own() {
    let (mut placements, now) = (spreading(2), Instant::now());
    for number in 1..=4 {
        add(&mut placements, now, 'a', number);
    }
    let remove = command('a', 1, CommandBody::RemoveEndpoint { endpoint: endpoint(3) });
    assert_eq!(routed(&mut placements, now, &remove), 1);
    let unknown = command('a', 1, CommandBody::RemoveEndpoint { endpoint: endpoint(99) });
    assert_eq!(routed(&mut placements, now, &unknown), 0);
    let end = command('a', 1, CommandBody::EndConference);
    let Route::Workers { workers, .. } = placements.route(now, &end) else { panic!("not routed") };
    assert_eq!(workers, [0, 1]);
    for (worker, command) in [(1, &remove), (0, &unknown), (0, &end), (1, &end)] {
        answer(&mut placements, now, worker, command);
    }
    for (number, worker) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
        gone(&mut placements, now, worker, 'a', number);
    }
    assert_eq!(placements.loads, [0, 0]);
}

#[test]
fn a_newer_epoch_begins_where_the_older_began_and_ends_it_elsewhere() {
    let (mut placements, now) = (spreading(2), Instant::now());
    for number in 1..=4 {
        add(&mut placements, now, 'a', number);
    }
    let newer = set('a', 2, 3);
    let route = placements.route(now, &newer);
    assert_eq!(route, Route::Workers { workers: vec![0], parts: vec![0], stale: vec![1] });
    // The late end of the older endpoint, elsewhere and here.
    gone(&mut placements, now, 1, 'a', 3);
    gone(&mut placements, now, 0, 'a', 1);
    placements.endpoint_added(0, &conference('a'), &endpoint(3));
    answer(&mut placements, now, 0, &newer);
    assert_eq!((placements.loads.as_slice(), placements.live()[0].endpoints.len()), (&[1, 0][..], 1));
}

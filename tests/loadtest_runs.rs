//! Whole runs of loadtest against a whole server: its numbers are the bridge's numbers, on one machine and on two, and a
//! server that dies is told.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod server;

use std::net::TcpListener;
use std::thread;

use loadtest::coordinator::{self, Lead};
use loadtest::outcome::{End, Outcome};
use loadtest::run::{RunOptions, run};
use loadtest::scenario::{Hook, Scenario, parse};
use server::{Server, until};
use tokio::runtime::Runtime;
use wire::settings::Secret;

/// Two meetings of three, small enough for a build without optimisation.
const MEETINGS: &str = "
name = \"meetings\"
conferences = 2
duration_s = 3
warm_up_s = 1
joins_per_s = 20

[[groups]]
per_conference = 3
voice = { speaks = 0.5 }
camera = { layers = [
    { height = 180, rate_kbps = 150, frames_per_s = 15 },
    { height = 360, rate_kbps = 500, frames_per_s = 15 },
] }

[thresholds]
failed_joins_max = 0
loss_max = 0.01
";

/// Both count the same packets; what is under way when a caller hangs up may differ.
const DIFFERENCE_MAX: f64 = 0.01;

fn meetings(server: &Server) -> Scenario {
    let mut scenario = parse(MEETINGS, "meetings.toml").unwrap();
    scenario.target.url = format!("http://{}", server.public);
    let bridge = server.bridge_rest.unwrap();
    scenario.target.stats = vec![format!("http://{bridge}/stats"), format!("http://{}/stats", server.rest)];
    scenario
}

fn counted_the_same(outcome: &Outcome) {
    assert_eq!(outcome.end, End::Complete);
    assert!(outcome.verdicts.iter().all(|verdict| verdict.holds), "{:?}", outcome.verdicts);
    let agreement = outcome.agreement.expect("the bridge tells its totals");
    assert!(agreement.received_by_callers > 1_000, "{agreement:?}");
    assert!(agreement.difference.abs() < DIFFERENCE_MAX, "{agreement:?}");
}

#[test]
fn what_callers_received_is_what_the_bridge_says_it_sent() {
    let server = Server::start();
    let outcome = Runtime::new().unwrap().block_on(run(&meetings(&server), &RunOptions::default()));
    counted_the_same(&outcome);
    assert_eq!((outcome.joins.begun, outcome.joins.succeeded), (6, 6));
    let measured_s = outcome.measured.to_s - outcome.measured.from_s;
    assert!(measured_s > 2.99, "{measured_s} s, not 3 or a little more");
    assert!(outcome.delays.video.count() > 0 && outcome.counts.frames_complete > 0);
    assert!(outcome.servers.iter().all(|server| server.answers > 0), "{:?}", outcome.servers);
    until("everybody is gone", || server.bridge_stats()["endpoints"] == 0);
}

#[test]
fn two_machines_measure_as_one() {
    let server = Server::start();
    let scenario = meetings(&server);
    // Free a moment ago; whoever joins asks again until the leader is there.
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let key = Secret::from("a key of more than thirty-two bytes for tests".to_owned());
    let lead = Lead { listen, machines: 2, key: key.clone() };
    let leader = thread::spawn(move || {
        let options = RunOptions::default();
        Runtime::new().unwrap().block_on(coordinator::lead(&scenario, &options, &lead)).unwrap()
    });
    let runtime = Runtime::new().unwrap();
    let mut part = None;
    until("the leader takes a machine in", || {
        part = runtime.block_on(coordinator::join(&listen.to_string(), &RunOptions::default(), &key)).ok();
        part.is_some()
    });
    let (part, whole) = (part.unwrap(), leader.join().unwrap());
    counted_the_same(&whole);
    assert_eq!((part.groups[0].callers, whole.groups[0].callers, whole.joins.succeeded), (3, 6, 6));
    assert!(part.delays.video.count() > 0 && whole.delays.video.count() > part.delays.video.count());
    assert_eq!((part.end, whole.machine.processes), (End::Complete, 2));
}

#[test]
fn a_server_that_dies_in_the_middle_ends_the_run_with_a_line() {
    let server = Server::start();
    let scenario = Scenario { duration_s: 600.0, ..meetings(&server) };
    let url = scenario.target.url.clone();
    let running = thread::spawn(move || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(run(&scenario, &RunOptions::default()))
    });
    until("media flows", || {
        server.bridge_stats()["total_packets_sent"].as_u64().is_some_and(|sent| sent > 500)
    });
    drop(server);
    let outcome = running.join().unwrap();
    is_told_gone(&outcome, &url);
    let End::Failed { at_s, .. } = &outcome.end else { panic!("{:?}", outcome.end) };
    assert!(*at_s < 600.0, "{at_s} s: the rest is not waited for");
    assert!(outcome.agreement.is_none(), "a server that is gone agrees with nobody");
}

#[test]
fn a_server_that_dies_shortly_before_the_end_is_told_too() {
    let server = Server::start();
    let begun = std::env::temp_dir().join(format!("passerelle-measured-{}", std::process::id()));
    let mut scenario = meetings(&server);
    let url = scenario.target.url.clone();
    // Shorter than the time after which a run gives up by itself, longer than a server takes to stop.
    scenario.duration_s = 9.0;
    scenario.hooks = vec![Hook { at_s: 0.0, command: format!("touch '{}'", begun.display()) }];
    let running =
        thread::spawn(move || Runtime::new().unwrap().block_on(run(&scenario, &RunOptions::default())));
    until("the measured part begins", || begun.exists());
    std::fs::remove_file(&begun).unwrap();
    drop(server);
    let outcome = running.join().unwrap();
    is_told_gone(&outcome, &url);
    assert!(outcome.counts.packets_sent > 0, "what was measured until then is kept");
}

fn is_told_gone(outcome: &Outcome, url: &str) {
    let End::Failed { why, .. } = &outcome.end else { panic!("{:?}", outcome.end) };
    assert!(why.starts_with(&format!("{url} is gone: ")) && !why.contains('\n'), "{why}");
    assert!(outcome.joins.succeeded > 0);
    let blamed = outcome.tool.limits.iter().find(|limit| limit.contains("not taken"));
    assert_eq!(blamed, None, "what nobody could send to is no limit of loadtest");
}

//! Light callers and full ones in one conference: what another project's ICE, DTLS, SRTP and RTCP see, ours see too.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod server;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use loadtest::control::{self, Control, Ledger, attend};
use loadtest::engine::ports::Note;
use loadtest::engine::results::Results;
use loadtest::scenario::{Entry, Kind, MediaPath, Receive, Scenario, Target};
use server::lossy::{LOST_ONE_IN, LossyPath};
use server::seat::{Callers, Role, Seat};
use server::{Server, until};
use tokio::sync::watch;

/// Groups of results.
const LIGHT_PUBLISHER: usize = 0;
const FULL_PUBLISHER: usize = 1;
const LIGHT_VIEWERS: usize = 2;
const FULL_VIEWERS: usize = 3;

const VIEWERS_OF_A_KIND: u32 = 2;

/// One slot of each kind for each publisher.
const VIEWER: Role = Role::Viewer(2);

/// The tests measure time: one at a time, or they measure each other.
static ALONE: Mutex<()> = Mutex::new(());

const MEASURED: Duration = Duration::from_secs(8);

#[test]
fn light_and_full_callers_count_the_same() {
    let results = measured(|answer| (None, answer.to_owned()));
    for group in [LIGHT_VIEWERS, FULL_VIEWERS] {
        saw_everything(&results[group]);
    }
    same_sent(&results[LIGHT_PUBLISHER], &results[FULL_PUBLISHER]);
    same_seen(&results[LIGHT_VIEWERS], &results[FULL_VIEWERS]);
    let sent = results[LIGHT_PUBLISHER].counts.packets_sent + results[FULL_PUBLISHER].counts.packets_sent;
    for group in [LIGHT_VIEWERS, FULL_VIEWERS] {
        let seen = results[group].counts.packets_received;
        is_near("packets seen for those sent", seen, u64::from(VIEWERS_OF_A_KIND) * sent);
    }
}

#[test]
fn light_and_full_callers_mend_the_same_losses() {
    let results = measured(|answer| {
        let (path, answer) = LossyPath::into(answer);
        (Some(path), answer)
    });
    for group in [LIGHT_PUBLISHER, FULL_PUBLISHER] {
        let counts = &results[group].counts;
        assert!(counts.nacks_received > 0 && counts.retransmissions_sent > 0, "{counts:?}");
    }
    for group in [LIGHT_VIEWERS, FULL_VIEWERS] {
        let counts = &results[group].counts;
        // One in fifty is lost on the last hop, of which only pictures are repaired.
        let pictures = results[group].delays.video.count();
        let recovered = counts.packets_recovered as f64 / pictures as f64 * f64::from(LOST_ONE_IN);
        assert!((0.7..1.4).contains(&recovered), "{recovered} of those lost came back: {counts:?}");
        // A packet is asked for again only where an answer is late.
        assert!(counts.packets_duplicate <= counts.packets_recovered, "{counts:?}");
        assert_eq!(counts.packets_strange, 0, "{counts:?}");
        // What is missing for good is voice, which nobody repairs: one in fifty of the last hop and of the first, give or
        // take how voices and pictures fall on the path's count.
        let voices = results[group].delays.audio.count();
        assert!(counts.packets_lost <= voices / 10, "{counts:?}");
    }
    let [light, full] = [LIGHT_VIEWERS, FULL_VIEWERS].map(|group| results[group].counts);
    is_near("frames complete", light.frames_complete, full.frames_complete);
}

#[test]
fn light_and_full_callers_meet_by_the_way_the_page_goes() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start();
    let mut callers = Callers::start(1);
    let target = Target { url: format!("http://{}", server.public), ..Target::default() };
    let control = Arc::new(Control::new(&Scenario { target, ..Scenario::default() }).unwrap());
    let ledgers = [Ledger::default(), Ledger::default()];
    let (stop, stopped) = watch::channel(false);
    let tasks: Vec<_> = (1..=4)
        .map(|number| {
            let group = number as usize % 2;
            let kind = if group == 0 { Kind::Light } else { Kind::Full };
            let phone = callers.phone(kind, (Role::Publisher, number), group);
            let mut stopped = stopped.clone();
            let leave = async move { drop(stopped.wait_for(|is_stopped| *is_stopped).await) };
            let attend =
                attend(Arc::clone(&control), seat(number, group), phone, ledgers[group].clone(), leave);
            callers.runtime.spawn(attend)
        })
        .collect();
    until("everybody is in", || ledgers.iter().all(|ledger| ledger.standing().up == 2));
    thread::sleep(Duration::from_secs(2));
    callers.sample(&mut vec![Results::default(); 2]);
    let mut results = vec![Results::default(); 2];
    thread::sleep(MEASURED);
    callers.sample(&mut results);
    stop.send(true).unwrap();
    callers.runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    results.iter().for_each(saw_everything);
    same_sent(&results[0], &results[1]);
    same_seen(&results[0], &results[1]);
    // Four people, each of whom sees and hears the three others.
    let sent = results[0].counts.packets_sent + results[1].counts.packets_sent;
    is_near("packets of three others", results[0].counts.packets_received * 2, 3 * sent);
    until("nobody is left", || server.bridge_stats()["endpoints"] == 0);
}

fn seat(number: u32, group: usize) -> control::Seat {
    control::Seat {
        conference: "demo".to_owned(),
        name: format!("caller {number}"),
        group,
        seed: number.into(),
        entry: Entry::Meeting,
        sends: true,
        awaits_media: true,
        receive: Receive { height: Some(720), ..Receive::default() },
        path: MediaPath::Direct,
        channel: true,
        chat_per_minute: 0.0,
    }
}

/// One publisher and two viewers of each kind, all of them on a path through what `lead` makes of their answers.
fn measured(lead: impl Fn(&str) -> (Option<LossyPath>, String)) -> Vec<Results> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start();
    let mut callers = Callers::start(1);
    let mut paths = Vec::new();
    let mut number = 0;
    let mut seat = |role, (kind, group)| {
        number += 1;
        let phone = callers.phone(kind, (role, number), group);
        let lead = |answer: &str| {
            let (path, answer) = lead(answer);
            paths.push(path);
            answer
        };
        callers.seat_with(server.public, "demo", (role, phone), (str::to_owned, lead))
    };
    let mut viewers: Vec<Seat> = Vec::new();
    for kind in [(Kind::Light, LIGHT_VIEWERS), (Kind::Full, FULL_VIEWERS)] {
        viewers.extend((0..VIEWERS_OF_A_KIND).map(|_| seat(VIEWER, kind)));
    }
    let kinds = [(Kind::Light, LIGHT_PUBLISHER), (Kind::Full, FULL_PUBLISHER)];
    let mut publishers: Vec<Seat> = kinds.map(|kind| seat(Role::Publisher, kind)).into();
    callers.until_noted(&mut publishers, &Note::DtlsConnected);
    callers.until_noted(&mut viewers, &Note::FirstPicture);
    // What was asked for again while everybody came together is no part of the comparison.
    thread::sleep(Duration::from_secs(2));
    callers.sample(&mut vec![Results::default(); 4]);
    let mut results = vec![Results::default(); 4];
    thread::sleep(MEASURED);
    callers.sample(&mut results);
    for group in &results {
        println!("{:?}", group.counts);
    }
    callers.hang_up(&mut publishers);
    callers.hang_up(&mut viewers);
    results
}

/// Nothing was strange, and hardly anything lost, doubled or broken: a machine that stands still for a while overflows
/// sockets, whoever has written the callers. Whether a picture stood still is printed.
fn saw_everything(group: &Results) {
    let counts = &group.counts;
    let strange = [counts.packets_strange, counts.packets_unstamped, counts.packets_not_opened];
    assert_eq!(strange, [0; 3], "{counts:?}");
    let broken = counts.packets_lost + counts.packets_duplicate + counts.frames_broken;
    assert!(broken <= counts.packets_received / 100, "{counts:?}");
    println!("frozen {} times, {} us of {} us", counts.freezes, counts.frozen_us, counts.watched_us);
    assert!(counts.feedback_sent > 0, "transport-cc feedback is sent: {counts:?}");
}

/// Both publishers follow the same plan with other dice.
fn same_sent(light: &Results, full: &Results) {
    let (light, full) = (&light.counts, &full.counts);
    is_near("frames sent", light.frames_sent, full.frames_sent);
    is_near("packets sent", light.packets_sent, full.packets_sent);
    is_near("bytes sent", light.bytes_sent, full.bytes_sent);
    for sender in [light, full] {
        assert!(sender.nacks_received <= sender.packets_sent / 100, "{sender:?}");
    }
}

/// Both kinds of viewers look at the same two publishers.
fn same_seen(light: &Results, full: &Results) {
    let (few, many) = (&light.counts, &full.counts);
    is_near("packets received", few.packets_received, many.packets_received);
    is_near("bytes received", few.bytes_received, many.bytes_received);
    is_near("frames complete", few.frames_complete, many.frames_complete);
    is_near("time watched", few.watched_us, many.watched_us);
    for (what, light, full) in [
        ("audio", &light.delays.audio, &full.delays.audio),
        ("video", &light.delays.video, &full.delays.video),
        ("frames", &light.delays.frames, &full.delays.frames),
    ] {
        let [light_us, full_us] = [light.quantile(0.5), full.quantile(0.5)];
        println!("{what}: median delay light {light_us} us, full {full_us} us");
        is_near("packets with a delay", light.count(), full.count());
    }
}

/// Within 5 %: what was on its way when the measurement began or ended, and the 400 ms of it by which a busy machine may
/// keep one kind waiting.
fn is_near(what: &str, one: u64, other: u64) {
    let difference = one.abs_diff(other) as f64 / one.max(other).max(1) as f64;
    assert!(difference <= 0.05, "{what}: {one} and {other}");
}

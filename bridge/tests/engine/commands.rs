//! What signaling commands, and when it is refused.

use bridge::engine::bridge::Bridge;
use wire::messages::ids::{EndpointId, Epoch, Mid, SourceName};
use wire::messages::link::{CommandBody, Outcome, Refusal};
use wire::messages::media::{EndpointParameters, MediaRole, SourceSsrc};

use crate::world::browser::Browser;
use crate::world::{World, conference_id, secs, settings};

fn refusal(outcome: &Outcome) -> Option<Refusal> {
    match outcome {
        Outcome::Refused { error, .. } => Some(*error),
        _ => None,
    }
}

fn set(browser: &Browser) -> CommandBody {
    set_with(browser, browser.parameters())
}

fn set_with(browser: &Browser, parameters: EndpointParameters) -> CommandBody {
    CommandBody::SetEndpoint { endpoint: browser.id.clone(), parameters, pins: Vec::new() }
}

#[test]
fn a_command_done_twice_changes_nothing() {
    let mut world = World::new();
    let (one, other) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    let first = world.set_endpoint(one);
    let second = world.set_endpoint(one);
    assert_eq!(first, second);
    world.run(secs(1));
    let video = world.browsers[one].video();
    world.browsers[other].slot_showing(&video).unwrap().assert_continuous();
    assert_eq!(world.stats().counters.endpoints_created, 2);
}

#[test]
fn the_answer_names_every_slot_with_streams_of_its_own() {
    let mut world = World::new();
    let mut seen = std::collections::BTreeSet::new();
    for number in 1..=20 {
        let place = world.join(Browser::talker(number).with_slots(3, 5));
        let transport = world.set_endpoint(place);
        assert_eq!(transport.slots.len(), 8);
        assert_eq!(transport.slots.iter().filter(|slot| slot.rtx_ssrc.is_some()).count(), 5);
        for slot in &transport.slots {
            assert!(seen.insert(slot.ssrc), "an SSRC twice");
            assert!(slot.rtx_ssrc.is_none_or(|rtx| seen.insert(rtx)), "an SSRC twice");
        }
        let id = &world.browsers[place].id;
        let (path, password) = transport.channel_path.split_once("?pwd=").unwrap();
        assert_eq!(path, format!("/colibri-ws/bridge-1/{}/{id}", world.conference));
        assert!(
            password.len() == 24 && password.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{password}"
        );
        assert_eq!(transport.candidates.len(), 1);
    }
}

#[test]
fn an_older_epoch_is_refused_and_a_newer_one_ends_what_was() {
    let mut world = World::new();
    world.epoch = Epoch(5);
    world.join(Browser::talker(1));
    world.run(secs(1));
    let late = Browser::talker(2);
    let conference = world.conference.clone();
    let outcome = world.command_in(conference.clone(), Epoch(4), set(&late));
    assert_eq!(refusal(&outcome), Some(Refusal::StaleEpoch));
    let outcome = world.command_in(conference.clone(), Epoch(4), CommandBody::EndConference);
    assert_eq!(refusal(&outcome), Some(Refusal::StaleEpoch));
    assert_eq!(world.stats().endpoints, 1);
    let outcome = world.command_in(conference, Epoch(6), set(&late));
    assert!(matches!(outcome, Outcome::Transport(_)));
    let live = &world.bridge.debug(world.now)["conferences"][world.conference.as_str()];
    assert_eq!(live["epoch"], 6);
    assert_eq!(live["endpoints"].as_object().unwrap().keys().collect::<Vec<_>>(), [late.id.as_str()]);
}

#[test]
fn the_epoch_of_an_ended_conference_is_remembered() {
    let mut world = World::new();
    world.epoch = Epoch(9);
    world.join(Browser::talker(1));
    world.command(CommandBody::EndConference);
    assert_eq!((world.stats().conferences, world.stats().counters.conferences_completed), (0, 1));
    let outcome = world.command_in(conference_id('a'), Epoch(8), set(&Browser::talker(2)));
    assert_eq!(refusal(&outcome), Some(Refusal::StaleEpoch));
    world.run(secs(3_700));
    // Another conference's command lets time pass in the memory as well.
    world.command_in(conference_id('b'), Epoch(1), CommandBody::EndConference);
    let outcome = world.command_in(conference_id('a'), Epoch(8), set(&Browser::talker(2)));
    assert!(matches!(outcome, Outcome::Transport(_)), "after an hour nobody speaks of it any more");
}

#[test]
fn the_epoch_of_a_long_conference_is_remembered_from_its_end() {
    let mut world = World::new();
    world.epoch = Epoch(9);
    world.join(Browser::watcher(1));
    world.run(secs(3_700));
    assert_eq!(world.stats().endpoints_connected, 1);
    world.command(CommandBody::EndConference);
    world.browsers.clear();
    for wait in [1, 3_500] {
        world.run(secs(wait));
        // Each other conference lets time pass in the memory as well.
        let letter = if wait == 1 { 'b' } else { 'c' };
        world.command_in(conference_id(letter), Epoch(1), CommandBody::EndConference);
        let outcome = world.command_in(conference_id('a'), Epoch(8), set(&Browser::talker(2)));
        assert_eq!(refusal(&outcome), Some(Refusal::StaleEpoch), "after {wait} s");
    }
    world.run(secs(200));
    world.command_in(conference_id('d'), Epoch(1), CommandBody::EndConference);
    let outcome = world.command_in(conference_id('a'), Epoch(8), set(&Browser::talker(2)));
    assert!(matches!(outcome, Outcome::Transport(_)), "an hour after its end nobody speaks of it any more");
}

#[test]
fn a_newer_epoch_elsewhere_stops_the_conference_here() {
    let mut world = World::new();
    world.join(Browser::talker(1));
    world.run(secs(1));
    let (now, conference) = (world.now, world.conference.clone());
    world.bridge.end_stale(now, &conference, Epoch(1));
    assert_eq!(world.stats().conferences, 1, "the same epoch is no reason");
    world.bridge.end_stale(now, &conference, Epoch(2));
    world.drain();
    assert_eq!((world.stats().conferences, world.stats().endpoints), (0, 0));
}

#[test]
fn a_full_worker_refuses_and_takes_again_when_there_is_room() {
    let mut world = World::new();
    world.bridge = Bridge::new(settings(2), world.now);
    world.join(Browser::talker(1));
    world.join(Browser::talker(2));
    let outcome = world.command(set(&Browser::talker(3)));
    assert_eq!(refusal(&outcome), Some(Refusal::Full));
    let id = EndpointId::parse("00000001").unwrap();
    assert_eq!(world.command(CommandBody::RemoveEndpoint { endpoint: id }), Outcome::Done);
    assert!(matches!(world.command(set(&Browser::talker(3))), Outcome::Transport(_)));
    let outcome = world.command_in(conference_id('b'), Epoch(1), set(&Browser::talker(4)));
    assert_eq!(refusal(&outcome), Some(Refusal::Full), "full for every conference");
    assert_eq!(world.stats().counters.conferences_created, 1);
    assert_eq!(refusal(&world.command(CommandBody::Unknown)), Some(Refusal::UnknownCommand));
}

type Breaks = Box<dyn Fn(&mut EndpointParameters)>;

#[test]
fn parameters_that_contradict_themselves_are_refused_and_leave_nothing() {
    let browser = Browser::talker(1);
    let good = browser.parameters();
    let broken: Vec<Breaks> = vec![
        Box::new(|it| it.fingerprints.clear()),
        Box::new(|it| it.ice.ufrag = "abc".to_owned()),
        Box::new(|it| it.ice.pwd = "short".to_owned()),
        Box::new(|it| it.medias[1].mid = it.medias[0].mid.clone()),
        Box::new(|it| it.medias[0].codecs.clear()),
        Box::new(|it| it.medias[0].codecs[0].payload_type = 200),
        Box::new(|it| it.medias[0].codecs[0].clock_rate_hz = 0),
        Box::new(|it| it.medias[1].codecs[0].rtx_payload_type = Some(it.medias[1].codecs[0].payload_type)),
        Box::new(|it| it.medias[1].extensions[0].id = it.medias[1].extensions[1].id),
        Box::new(|it| it.medias[1].extensions.swap(0, 1)),
        Box::new(|it| {
            let (first, second) = (it.medias[1].extensions[0].id, it.medias[1].extensions[1].id);
            (it.medias[1].extensions[0].id, it.medias[1].extensions[1].id) = (second, first);
        }),
        Box::new(|it| {
            let MediaRole::Source(source) = &mut it.medias[1].role else { panic!("a source") };
            source.name = SourceName::parse("ffffffff-v0").unwrap();
        }),
        Box::new(|it| {
            let MediaRole::Source(source) = &mut it.medias[1].role else { panic!("a source") };
            source.ssrcs = (0..40).map(|number| SourceSsrc { media: number, rtx: None }).collect();
        }),
        Box::new(|it| {
            let slot = it.medias.last().unwrap().clone();
            it.medias.extend((0..70).map(|number| {
                let mid = Mid::parse(format!("m{number}")).unwrap();
                wire::messages::media::Media { mid, ..slot.clone() }
            }));
        }),
    ];
    for (index, breaks) in broken.iter().enumerate() {
        let mut world = World::new();
        let mut parameters = good.clone();
        breaks(&mut parameters);
        // Swapping whole elements only changes their order, which means nothing.
        if index == 9 {
            assert!(matches!(world.command(set_with(&browser, parameters)), Outcome::Transport(_)));
            continue;
        }
        let outcome = world.command(set_with(&browser, parameters));
        assert_eq!(refusal(&outcome), Some(Refusal::BadParameters), "{index}: {outcome:?}");
        assert_eq!((world.stats().conferences, world.bridge.next_timeout()), (0, None), "{index}");
    }
}

#[test]
fn a_removed_endpoint_leaves_nothing_behind() {
    let mut world = World::new();
    let (one, other) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    for place in [one, other] {
        let endpoint = world.browsers[place].id.clone();
        assert_eq!(world.command(CommandBody::RemoveEndpoint { endpoint: endpoint.clone() }), Outcome::Done);
        assert_eq!(world.command(CommandBody::RemoveEndpoint { endpoint }), Outcome::Done, "and again");
    }
    let stats = world.stats();
    assert_eq!((stats.endpoints, stats.conferences, stats.counters.conferences_completed), (0, 0, 1));
    assert_eq!(world.bridge.next_timeout(), None);
    world.run(secs(1));
    assert_eq!(world.bridge.debug(world.now)["conferences"], serde_json::json!({}));
}

#[test]
fn an_m_line_that_goes_off_and_on_again_keeps_its_stream() {
    let mut world = World::new();
    let (sender, receiver) =
        (world.join(Browser::talker(1)), world.join(Browser::watcher(2).with_slots(1, 2)));
    world.run(secs(2));
    let before = world.set_endpoint(receiver).slots;
    world.browsers[receiver].video_slots = 0;
    world.set_endpoint(receiver);
    world.run(secs(1));
    world.browsers[receiver].video_slots = 2;
    assert_eq!(world.set_endpoint(receiver).slots, before);
    world.run(secs(2));
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).unwrap();
    slot.assert_continuous();
    assert!(slot.frames().len() > 80);
}

#[test]
fn a_browser_that_adds_a_camera_interrupts_nothing() {
    let mut world = World::new();
    let (sender, receiver) = (world.join(Browser::watcher(1).with_audio()), world.join(Browser::watcher(2)));
    world.run(secs(1));
    let mut with_camera = Browser::talker(1);
    let mut camera = with_camera.streams.pop().unwrap();
    camera.next_at = world.now;
    world.browsers[sender].streams.push(camera);
    world.set_endpoint(sender);
    world.run(secs(2));
    let (audio, video) = (world.browsers[sender].audio(), world.browsers[sender].video());
    assert!(world.browsers[receiver].frames_of(&video) > 30);
    assert!(world.browsers[receiver].frames_of(&audio) > 130);
    world.browsers[receiver].slots.values().for_each(|slot| slot.assert_continuous());
}

#[test]
fn a_reloaded_page_takes_its_endpoints_place() {
    let mut world = World::new();
    let (old, other) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    let mut reloaded = Browser::talker(1);
    reloaded.fingerprint = "FP:another".to_owned();
    reloaded.path.remote.set_port(2_222);
    world.browsers[old].streams.clear();
    world.browsers[old].sends_checks = false;
    let reloaded = world.join(reloaded);
    world.run(secs(3));
    assert_eq!(world.stats().endpoints, 2);
    let video = world.browsers[other].video();
    assert!(world.browsers[reloaded].frames_of(&video) > 50);
}

/// The browser's own m-lines without its slots, and `count` slots whose mids begin with `prefix`.
fn with_slots_called(browser: &Browser, prefix: &str, count: usize) -> EndpointParameters {
    let mut parameters = browser.parameters();
    let slot = parameters.medias.last().unwrap().clone();
    parameters.medias.retain(|media| media.role != MediaRole::Slot);
    parameters.medias.extend((0..count).map(|number| {
        let mid = Mid::parse(format!("{prefix}{number}")).unwrap();
        wire::messages::media::Media { mid, ..slot.clone() }
    }));
    parameters
}

#[test]
fn who_makes_ever_new_slots_is_refused_and_goes_on_as_before() {
    let mut world = World::new();
    let (one, other) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    let before = world.set_endpoint(one);
    for prefix in ["a", "b"] {
        let parameters = with_slots_called(&world.browsers[one], prefix, 60);
        let outcome = world.command(set_with(&Browser::talker(1), parameters));
        assert!(matches!(outcome, Outcome::Transport(_)), "{outcome:?}");
    }
    for prefix in ["c", "d", "e"] {
        let mut parameters = with_slots_called(&world.browsers[one], prefix, 60);
        parameters.ice.ufrag = format!("restarted-{prefix}");
        let outcome = world.command(set_with(&Browser::talker(1), parameters));
        assert_eq!(refusal(&outcome), Some(Refusal::BadParameters));
    }
    assert_eq!(world.set_endpoint(one), before, "its first slots and its ICE are what they were");
    let video = world.browsers[one].video();
    let frames = world.browsers[other].frames_of(&video);
    world.run(secs(40));
    let after = world.browsers[other].frames_of(&video);
    assert!(after - frames > 900, "{frames} {after}");
    assert_eq!((world.stats().endpoints, world.stats().counters.ice_restarts), (2, 0));
}

#[test]
fn many_parked_slots_do_not_keep_a_browser_from_negotiating() {
    let mut world = World::new();
    let browser = Browser::talker(1);
    for (prefix, count) in [("parked", 23), ("live", 53)] {
        let outcome = world.command(set_with(&browser, with_slots_called(&browser, prefix, count)));
        assert!(matches!(outcome, Outcome::Transport(_)), "{outcome:?}");
    }
    for restart in 0..10 {
        let mut parameters = with_slots_called(&browser, "live", 53);
        parameters.ice.ufrag = format!("restart-{restart}");
        let outcome = world.command(set_with(&browser, parameters));
        assert!(matches!(outcome, Outcome::Transport(_)), "{outcome:?}");
    }
}

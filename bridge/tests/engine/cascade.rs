//! A conference whose endpoints are on several engines, as on several workers of one bridge.

use bridge::engine::drop_reason::DropReason;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::messages::ids::Epoch;
use wire::messages::link::CommandBody;
use wire::messages::media::VideoType;

use crate::world::browser::Browser;
use crate::world::{Line, World, ms, secs};

fn talker_at(world: &mut World, number: u32, part: usize) -> usize {
    world.join(Browser::talker(number).at(part))
}

fn counters(world: &mut World, part: usize) -> bridge::engine::stats::Counters {
    let now = world.now;
    world.engine(part).stats(now).counters
}

fn frames(world: &World, receiver: usize, sender: usize) -> (usize, usize) {
    let (video, audio) = (world.browsers[sender].video(), world.browsers[sender].audio());
    (world.browsers[receiver].frames_of(&video), world.browsers[receiver].frames_of(&audio))
}

/// The sources a browser has got packets of within the last `time`.
fn got_lately(world: &World, place: usize, time: std::time::Duration) -> Vec<String> {
    let since = world.now - time;
    let packets = world.browsers[place].slots.values().flat_map(|slot| slot.packets.values());
    let mut got: Vec<String> =
        packets.filter(|packet| packet.at > since).map(|packet| packet.tag.source.clone()).collect();
    got.sort();
    got.dedup();
    got
}

#[test]
fn participants_on_three_workers_see_and_hear_each_other() {
    let mut world = World::with_parts(3);
    let all: Vec<usize> =
        (0..5).map(|number| talker_at(&mut world, number + 1, number as usize % 3)).collect();
    all.iter().for_each(|place| world.browsers[*place].microphone().level_dbov = 60);
    world.run(secs(5));
    for receiver in &all {
        for sender in all.iter().filter(|sender| *sender != receiver) {
            let (seen, _) = frames(&world, *receiver, *sender);
            assert!(seen > 100, "{receiver} sees {seen} frames of {sender} in 5 s");
        }
        let heard = all.iter().filter(|sender| frames(&world, *receiver, **sender).1 > 200).count();
        assert_eq!(heard, 3, "{receiver} hears the three loudest");
        assert_eq!(frames(&world, *receiver, *receiver), (0, 0));
        world.browsers[*receiver].slots.values().for_each(|slot| slot.assert_continuous());
    }
    for part in 0..3 {
        assert_eq!(counters(&mut world, part).dropped.of(DropReason::CascadeUnknownSource), 0);
    }
}

#[test]
fn a_packet_crosses_once_for_all_receivers_of_a_worker_and_not_at_all_for_none() {
    let mut world = World::with_parts(2);
    let sender = world.join(Browser::watcher(1).with_video(1).with_slots(0, 0));
    let watchers: Vec<usize> =
        (2..12).map(|number| world.join(Browser::watcher(number).at(1).with_slots(0, 1))).collect();
    world.run(secs(3));
    let sent = u64::from(world.browsers[sender].camera().packets_sent);
    assert!(world.crossed <= sent && world.crossed * 10 > sent * 9, "{} of {sent}", world.crossed);
    assert!(watchers.iter().all(|place| frames_seen(&world, *place, sender) > 50));
    watchers.iter().for_each(|place| world.leave(*place));
    let before = world.crossed;
    world.run(secs(1));
    assert_eq!(world.crossed, before);
    assert!(world.dropped(DropReason::NoSlot) > 50, "nobody is left to see it");
}

fn frames_seen(world: &World, place: usize, sender: usize) -> usize {
    world.browsers[place].frames_of(&world.browsers[sender].video())
}

#[test]
fn what_a_receiver_misses_is_repaired_from_the_shadow_and_nobody_else_hears_of_it() {
    let mut world = World::with_parts(2);
    let (sender, receiver) = (talker_at(&mut world, 1, 0), talker_at(&mut world, 2, 1));
    world.run(secs(1));
    let crossed_before = world.crossed;
    world.browsers[receiver].line_down = Line { loss: 0.05, ..Line::GOOD };
    world.run(secs(5));
    world.browsers[receiver].line_down = Line::GOOD;
    world.run(secs(1));
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).expect("shown");
    slot.assert_continuous();
    let repaired = slot.packets.values().filter(|shown| shown.is_repaired).count();
    assert!((10..60).contains(&repaired), "{repaired} packets came back");
    assert_eq!(world.browsers[sender].camera().nacked, [0; 0]);
    assert_eq!(counters(&mut world, 0).retransmissions_sent, 0);
    assert!(counters(&mut world, 1).retransmissions_sent >= repaired as u64);
    // Six seconds of both, each way: nothing crossed twice.
    assert!(world.crossed - crossed_before <= 2 * 6 * (75 + 50 + 2), "{}", world.crossed - crossed_before);
}

#[test]
fn what_is_lost_on_the_way_up_is_asked_for_where_the_sender_is_even_if_only_others_see_it() {
    let mut world = World::with_parts(2);
    let sender = world.join(Browser::talker(1).with_slots(0, 0));
    let receiver = world.join(Browser::watcher(2).at(1));
    world.run(secs(1));
    let camera = world.browsers[sender].camera();
    let lost = (camera.next_index as u16).wrapping_add(7);
    camera.swallowed = vec![lost];
    world.run(secs(2));
    assert_eq!(world.browsers[sender].camera().nacked, [lost]);
    let video = world.browsers[sender].video();
    world.browsers[receiver].slot_showing(&video).expect("shown").assert_continuous();
}

#[test]
fn who_came_first_is_shown_first_wherever_it_is() {
    let mut world = World::with_parts(2);
    for number in 1..=6 {
        let video = Browser::watcher(number).with_video(1).with_slots(0, 0);
        world.join(video.at(usize::from(number > 3)));
        world.run(ms(100));
    }
    for part in [0, 1] {
        let watcher = world.join(Browser::watcher(90 + part as u32).at(part).with_slots(0, 4));
        world.run(secs(2));
        let expected: Vec<String> = (0..4).map(|place| world.browsers[place].video()).collect();
        assert_eq!(got_lately(&world, watcher, secs(1)), expected);
    }
}

#[test]
fn a_key_frame_is_asked_for_once_for_all_who_come_to_another_worker() {
    let mut world = World::with_parts(2);
    let sender = talker_at(&mut world, 1, 0);
    world.join(Browser::watcher(2));
    world.run(secs(2));
    let before = world.browsers[sender].camera().key_frame_requests.len();
    let watchers: Vec<usize> = (3..30).map(|number| world.join(Browser::watcher(number).at(1))).collect();
    world.run(secs(2));
    let asked = world.browsers[sender].camera().key_frame_requests.len() - before;
    // Once when they are seated, once when they can receive.
    assert!((1..=2).contains(&asked), "asked {asked} times");
    for watcher in watchers {
        assert!(frames_seen(&world, watcher, sender) > 30);
    }
    // Somebody there has lost the picture.
    world.run(secs(1));
    let before = world.browsers[sender].camera().key_frame_requests.len();
    let slot = world.browsers[2].slots.iter().find(|(_, slot)| slot.is_video && !slot.packets.is_empty());
    let ssrc = *slot.expect("shown").0;
    for _ in 0..5 {
        let datagram = world.browsers[2].pli(ssrc).expect("connected");
        world.inject(world.browsers[2].path, datagram);
    }
    world.run(ms(100));
    assert_eq!(world.browsers[sender].camera().key_frame_requests.len() - before, 1);
}

#[test]
fn another_worker_gets_the_layer_that_is_shown_and_changes_with_it() {
    let mut world = World::with_parts(2);
    let sender = world.join(Browser::watcher(1).with_video(3).with_slots(0, 0));
    let receiver = world.join(Browser::watcher(2).at(1));
    world.run(secs(4));
    let layers = |world: &World| {
        let slots = world.browsers[receiver].slots.values().filter(|slot| slot.is_video);
        let mut layers: Vec<u8> =
            slots.flat_map(|slot| slot.packets.values().map(|shown| shown.tag.layer)).collect();
        layers.dedup();
        layers
    };
    assert_eq!(layers(&world).last(), Some(&1));
    let (crossed, sent) = (world.crossed, world.browsers[sender].layer(1).packets_sent);
    world.run(secs(2));
    assert_eq!(world.crossed - crossed, u64::from(world.browsers[sender].layer(1).packets_sent - sent));
    for layer in [1, 2] {
        world.browsers[sender].layer(layer).is_on = false;
    }
    world.run(secs(4));
    assert_eq!(layers(&world).last(), Some(&0));
    world.browsers[sender].layer(1).is_on = true;
    world.run(secs(3));
    assert_eq!(layers(&world).last(), Some(&1), "and it comes back");
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).expect("shown");
    slot.assert_continuous();
    assert!(slot.frames().len() > 150, "{}", slot.frames().len());
}

#[test]
fn a_source_that_begins_changes_and_ends_does_so_on_every_worker() {
    let mut world = World::with_parts(2);
    let receiver = world.join(Browser::watcher(9).at(1).with_slots(3, 1));
    let camera = talker_at(&mut world, 1, 0);
    world.run(secs(2));
    assert_eq!(
        got_lately(&world, receiver, secs(1)),
        [world.browsers[camera].audio(), world.browsers[camera].video()]
    );
    let mut screen = Browser::watcher(2).with_video(1);
    screen.video_type = VideoType::Desktop;
    let screen = world.join(screen);
    world.run(secs(2));
    let (audio, shared) = (world.browsers[camera].audio(), world.browsers[screen].video());
    assert_eq!(got_lately(&world, receiver, secs(1)), [audio.clone(), shared.clone()]);
    let none =
        format!(r#"{{"colibriClass":"SourceVideoTypeMessage","videoType":"NONE","sourceName":"{shared}"}}"#);
    world.say(screen, &none);
    assert_eq!(world.told(receiver, "SourceVideoTypeMessage").len(), 1);
    world.run(secs(2));
    let video = world.browsers[camera].video();
    assert_eq!(got_lately(&world, receiver, secs(1)), [audio, video.clone()]);
    // Another stream under the same name: the browser has made its encoder anew.
    let stream = world.browsers[camera].camera();
    stream.ssrc += 50;
    stream.rtx_ssrc += 50;
    (stream.next_index, stream.timestamp_base) = (9, stream.timestamp_base.wrapping_add(0x7000_0000));
    world.set_endpoint(camera);
    world.run(secs(2));
    world.browsers[receiver].slots.values().for_each(|slot| slot.assert_continuous());
    assert_eq!(got_lately(&world, receiver, secs(1)).len(), 2);
    world.leave(camera);
    world.run(secs(1));
    assert_eq!(got_lately(&world, receiver, ms(500)), [""; 0]);
    let maps = world.told(receiver, "VideoSourcesMap");
    assert_eq!(maps.last().expect("told")["mappedSources"].as_array().map(Vec::len), Some(0));
}

#[test]
fn it_does_not_matter_who_begins_first_and_what_is_heard_late() {
    for is_late in [false, true] {
        let mut world = World::with_parts(2);
        world.holds_messages = is_late;
        let (one, other) = (talker_at(&mut world, 1, 0), talker_at(&mut world, 2, 1));
        world.run(secs(1));
        assert_eq!(world.between.is_empty(), !is_late);
        world.release_messages();
        world.run(secs(3));
        for (receiver, sender) in [(one, other), (other, one)] {
            assert!(frames(&world, receiver, sender).0 > 50, "late: {is_late}");
        }
    }
}

#[test]
fn a_part_that_has_not_said_hello_is_not_listened_to() {
    let mut world = World::with_parts(2);
    let one = talker_at(&mut world, 1, 0);
    world.holds_messages = true;
    let other = talker_at(&mut world, 2, 1);
    assert!(world.between.len() > 3);
    // The introduction is lost, which no ring does.
    world.between.drain(..2);
    world.release_messages();
    world.run(secs(1));
    let now = world.now;
    assert_eq!(world.engine(0).stats(now).largest_conference, 1);
    assert_eq!((frames(&world, one, other), frames(&world, other, one)), ((0, 0), (0, 0)));
}

#[test]
fn a_part_that_ends_and_begins_again_finds_everybody() {
    let mut world = World::with_parts(2);
    let (home, guest) = (talker_at(&mut world, 1, 0), talker_at(&mut world, 2, 1));
    world.run(secs(2));
    for turn in 0..2 {
        let gone = if turn == 0 { guest } else { home };
        let part = world.browsers[gone].part;
        world.leave(gone);
        world.run(secs(1));
        assert_eq!(
            world.engine(part).debug(std::time::Instant::now())["conferences"].as_object().unwrap().len(),
            0
        );
        let again = talker_at(&mut world, 3 + turn, part);
        world.run(secs(3));
        let stays = if turn == 0 { home } else { guest + 1 };
        assert!(frames(&world, again, stays).0 > 50 && frames(&world, stays, again).0 > 50, "turn {turn}");
        world.browsers[again].slots.values().for_each(|slot| slot.assert_continuous());
    }
}

#[test]
fn whoever_comes_and_goes_in_whatever_order_in_the_end_everybody_sees_everybody() {
    for seed in 1..=4 {
        let (mut world, mut random) = (World::with_parts(3), StdRng::seed_from_u64(seed));
        for number in 1..=40 {
            let present: Vec<usize> =
                (0..world.browsers.len()).filter(|place| !world.browsers[*place].has_left).collect();
            if present.len() < 6 && random.random_bool(0.6) {
                let video = Browser::watcher(number).with_video(1).with_slots(0, 6);
                world.join(video.at(random.random_range(0..3)));
            } else if let Some(place) = present.get(random.random_range(0..8)) {
                world.leave(*place);
            }
            world.is_ring_full = random.random_bool(0.1);
            if random.random_bool(0.5) {
                world.release_messages();
            }
            world.holds_messages = random.random_bool(0.3);
            world.run(ms(random.random_range(0..300)));
        }
        world.is_ring_full = false;
        world.release_messages();
        world.run(secs(3));
        let present: Vec<usize> =
            (0..world.browsers.len()).filter(|place| !world.browsers[*place].has_left).collect();
        for receiver in &present {
            let others = present.iter().filter(|other| *other != receiver);
            let expected: Vec<String> = others.map(|other| world.browsers[*other].video()).collect();
            let mut got = got_lately(&world, *receiver, secs(1));
            got.sort();
            assert_eq!(got, expected, "seed {seed}");
        }
        let now = world.now;
        let held: Vec<u64> = (0..3).map(|part| world.engine(part).stats(now).endpoints).collect();
        assert_eq!(held.iter().sum::<u64>(), present.len() as u64, "seed {seed}");
        let counted: u64 = (0..3).map(|part| world.engine(part).stats(now).conferences).sum();
        assert_eq!(counted, u64::from(!present.is_empty()), "seed {seed}");
    }
}

#[test]
fn a_full_ring_only_loses_packets_and_the_picture_comes_back() {
    let mut world = World::with_parts(2);
    let (sender, receiver) = (talker_at(&mut world, 1, 0), world.join(Browser::watcher(2).at(1)));
    let local = world.join(Browser::watcher(3));
    world.run(secs(2));
    world.is_ring_full = true;
    world.run(secs(2));
    assert!(world.dropped(DropReason::CascadeFull) > 150);
    assert_eq!(got_lately(&world, receiver, secs(1)), [""; 0]);
    world.is_ring_full = false;
    world.run(secs(3));
    let video = world.browsers[sender].video();
    assert!(got_lately(&world, receiver, ms(500)).contains(&video));
    let frames = world.browsers[receiver].slot_showing(&video).expect("shown").frames();
    assert!(frames.last().expect("some").1.at + ms(200) > world.now, "it can be decoded again");
    world.browsers[local].slots.values().for_each(|slot| slot.assert_continuous());
}

#[test]
fn a_packet_that_crosses_twice_or_after_its_source_has_ended_is_dropped_and_counted() {
    let mut world = World::with_parts(2);
    let sender = world.join(Browser::watcher(1).with_video(1).with_slots(0, 0));
    let receiver = world.join(Browser::watcher(2).at(1));
    world.run(secs(2));
    let (to, crossing, bytes) = world.last_crossing.clone().expect("something has crossed");
    assert_eq!(to.0, 1);
    let now = world.now;
    world.engine(1).handle_crossing(now, &crossing, (&bytes, &[]));
    assert_eq!(counters(&mut world, 1).dropped.of(DropReason::Duplicate), 1);
    // Too short for what was noted of it, or too long for any packet.
    world.run(secs(1));
    let (_, crossing, _) = world.last_crossing.clone().expect("something has crossed");
    world.engine(1).handle_crossing(now, &crossing, (&bytes[..3], &[]));
    world.engine(1).handle_crossing(now, &crossing, (&[0; 5_000], &[]));
    world.drain();
    world.leave(sender);
    world.engine(1).handle_crossing(now, &crossing, (&bytes, &[]));
    assert_eq!(counters(&mut world, 1).dropped.of(DropReason::CascadeUnknownSource), 1);
    world.run(secs(1));
    world.browsers[receiver].slots.values().for_each(|slot| slot.assert_continuous());
}

#[test]
fn a_part_that_is_left_alone_is_a_conference_like_any_other() {
    let mut world = World::with_parts(2);
    let (stays, goes) = (talker_at(&mut world, 1, 0), talker_at(&mut world, 2, 1));
    let watcher = world.join(Browser::watcher(3));
    world.run(secs(2));
    world.leave(goes);
    (world.holds_messages, world.is_ring_full) = (true, true);
    world.set_endpoint(watcher);
    world.run(secs(2));
    let video = world.browsers[stays].video();
    assert!(world.browsers[watcher].slot_showing(&video).is_some());
    assert!(world.between.is_empty());
    assert_eq!(world.dropped(DropReason::CascadeFull), 0, "nothing crosses");
}

#[test]
fn a_slot_that_is_bound_to_a_source_of_another_worker_shows_it() {
    let mut world = World::with_parts(2);
    let (first, second) = (talker_at(&mut world, 1, 0), talker_at(&mut world, 2, 0));
    let viewer = world.join(Browser::watcher(9).at(1).with_slots(0, 2));
    let (bound, free) = (world.browsers[second].video(), world.browsers[first].video());
    world.pin(viewer, "30", &bound);
    world.set_endpoint(viewer);
    world.run(secs(2));
    let shown = world.browsers[viewer].slot_showing(&bound).expect("shown");
    assert_eq!(shown.mid, "30");
    assert!(world.browsers[viewer].slot_showing(&free).is_some());
}

#[test]
fn the_loudest_are_the_same_on_every_worker_and_everybody_is_told_who_speaks() {
    let mut world = World::with_parts(3);
    let watchers: Vec<usize> =
        (0..3).map(|part| world.join(Browser::watcher(90 + part as u32).at(part).with_slots(3, 1))).collect();
    let talkers: Vec<usize> =
        (0..6).map(|number| talker_at(&mut world, number + 1, number as usize % 3)).collect();
    for (talker, level) in talkers.iter().zip([127, 20, 127, 25, 40, 127]) {
        world.browsers[*talker].microphone().level_dbov = level;
    }
    world.run(secs(5));
    let audio = |number: usize| world.browsers[talkers[number]].audio();
    for watcher in &watchers {
        let mut heard = got_lately(&world, *watcher, secs(1));
        heard.retain(|source| source.contains("-a"));
        assert_eq!(heard, [audio(1), audio(3), audio(4)], "{watcher}");
        let told = world.told(*watcher, "DominantSpeakerEndpointChangeEvent");
        assert_eq!(told.last().expect("told")["dominantSpeakerEndpoint"], "00000002");
        assert!(got_lately(&world, *watcher, secs(1)).contains(&world.browsers[talkers[1]].video()));
    }
    // Another one speaks, on another worker.
    world.browsers[talkers[1]].microphone().level_dbov = 127;
    world.browsers[talkers[2]].microphone().level_dbov = 15;
    world.run(secs(4));
    for watcher in &watchers {
        let told = world.told(*watcher, "DominantSpeakerEndpointChangeEvent");
        assert_eq!(told.last().expect("told")["dominantSpeakerEndpoint"], "00000003");
        assert_eq!(told.last().expect("told")["silence"], false);
    }
    let changes: Vec<u64> = (0..3).map(|part| counters(&mut world, part).dominant_speaker_changes).collect();
    assert!(changes[0] >= 2 && changes[1..] == [0, 0], "counted once: {changes:?}");
}

#[test]
fn when_the_part_that_ranks_voices_ends_another_goes_on_ranking() {
    let mut world = World::with_parts(2);
    let first = talker_at(&mut world, 1, 1);
    let (watcher, ada, ben) = (
        world.join(Browser::watcher(9).with_slots(1, 1)),
        talker_at(&mut world, 2, 0),
        talker_at(&mut world, 3, 0),
    );
    world.run(secs(2));
    world.leave(first);
    for (loud, quiet) in [(ada, ben), (ben, ada)] {
        world.browsers[loud].microphone().level_dbov = 15;
        world.browsers[quiet].microphone().level_dbov = 127;
        world.run(secs(4));
        let told = world.told(watcher, "DominantSpeakerEndpointChangeEvent");
        assert_eq!(told.last().expect("told")["dominantSpeakerEndpoint"], world.browsers[loud].id.as_str());
    }
}

#[test]
fn browsers_on_different_workers_can_write_to_each_other() {
    let mut world = World::with_parts(3);
    let all: Vec<usize> =
        (0..4).map(|number| talker_at(&mut world, number + 1, number as usize % 3)).collect();
    world.run(secs(1));
    world.say(all[0], r#"{"colibriClass":"EndpointMessage","to":"","msgPayload":{"text":"all"}}"#);
    world.say(all[0], r#"{"colibriClass":"EndpointMessage","to":"00000002","msgPayload":{"text":"one"}}"#);
    world.say(all[0], r#"{"colibriClass":"EndpointStats","bitrate":7}"#);
    let counts: Vec<usize> = all.iter().map(|place| world.told(*place, "EndpointMessage").len()).collect();
    assert_eq!(counts, [0, 2, 1, 1]);
    let told = world.told(all[1], "EndpointMessage");
    assert_eq!(
        (told[1]["from"].as_str(), told[1]["msgPayload"]["text"].as_str()),
        (Some("00000001"), Some("one"))
    );
    let counts: Vec<usize> = all.iter().map(|place| world.told(*place, "EndpointStats").len()).collect();
    assert_eq!(counts, [0, 1, 1, 1]);
}

#[test]
fn the_conference_is_counted_once_and_its_endpoints_where_they_are() {
    let mut world = World::with_parts(2);
    for number in 0..6 {
        talker_at(&mut world, number + 1, usize::from(number >= 4));
    }
    world.run(secs(2));
    let now = world.now;
    let (home, other) = (world.engine(0).stats(now), world.engine(1).stats(now));
    assert_eq!((home.conferences, other.conferences), (1, 0));
    assert_eq!((home.endpoints, other.endpoints), (4, 2));
    assert_eq!((home.largest_conference, home.conference_sizes[6]), (6, 1));
    assert_eq!((home.active_endpoints, other.active_endpoints), (4, 2));
    assert_eq!((home.endpoints_sending_video, other.endpoints_sending_video), (4, 2));
    let lost = |stats: &bridge::engine::stats::EngineStats| stats.counters.packets_lost;
    assert_eq!((lost(&home), lost(&other)), (0, 0));
    for part in [0, 1] {
        world.command_part(part, CommandBody::EndConference);
    }
    let (home, other) = (counters(&mut world, 0), counters(&mut world, 1));
    assert_eq!((home.conferences_created + other.conferences_created, home.conferences_completed), (1, 1));
    assert_eq!(other.conferences_completed, 0);
    assert_eq!(home.conference_seconds + other.conference_seconds, 2);
}

#[test]
fn a_conference_that_empties_part_by_part_is_counted_by_the_last_from_its_beginning() {
    let mut world = World::with_parts(2);
    let home = talker_at(&mut world, 1, 0);
    world.run(secs(5));
    let guest = talker_at(&mut world, 2, 1);
    world.run(secs(1));
    world.leave(home);
    assert_eq!(counters(&mut world, 0).conferences_completed, 0);
    let now = world.now;
    assert_eq!(world.engine(1).stats(now).conferences, 1, "now it stands for the conference");
    world.run(secs(1));
    world.leave(guest);
    let last = counters(&mut world, 1);
    assert_eq!((last.conferences_completed, last.conference_seconds), (1, 7));
}

#[test]
fn what_is_said_about_another_epoch_changes_nothing() {
    let mut world = World::with_parts(2);
    world.holds_messages = true;
    let old = talker_at(&mut world, 1, 0);
    world.browsers[old].streams.clear();
    world.epoch = Epoch(2);
    let new = talker_at(&mut world, 2, 1);
    world.release_messages();
    world.run(secs(2));
    let now = world.now;
    let debug = world.engine(1).debug(now);
    let conference = debug["conferences"].as_object().unwrap().values().next().unwrap();
    assert_eq!((&conference["parts_elsewhere"], &conference["sources_elsewhere"]), (&0.into(), &0.into()));
    assert_eq!(got_lately(&world, new, secs(1)), [""; 0]);
}

#[test]
fn lips_and_voices_of_another_worker_stay_together() {
    let mut world = World::with_parts(2);
    let sender = talker_at(&mut world, 1, 0);
    let receiver = world.join(Browser::watcher(2).at(1));
    world.run(secs(6));
    // Both slots speak of one clock: a voice packet and a picture sampled at one instant get the same NTP time.
    let mut instants = Vec::new();
    for source in [world.browsers[sender].video(), world.browsers[sender].audio()] {
        let slot = world.browsers[receiver].slot_showing(&source).expect("shown");
        let (_, ntp, timestamp) = *slot.reports.last().expect("reported");
        let rate = if slot.is_video { 90_000.0 } else { 48_000.0 };
        // Of the newest packet: when it was sampled by the report's clock, against when it came.
        let newest = slot.packets.values().next_back().expect("packets");
        let since = f64::from(newest.timestamp.wrapping_sub(timestamp) as i32) / rate;
        let sampled = ntp as f64 / 4_294_967_296.0 + since;
        instants.push(sampled - newest.at.duration_since(world.browsers[sender].born).as_secs_f64());
    }
    assert!((instants[0] - instants[1]).abs() < 0.002, "{instants:?}");
}

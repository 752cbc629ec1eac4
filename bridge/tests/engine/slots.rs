//! Who is shown what.

use bridge::engine::drop_reason::DropReason;
use wire::messages::media::{Codec, VideoType};

use crate::world::browser::Browser;
use crate::world::{World, ms, secs};

/// The sources a browser was shown in its video slots within the last `time`.
fn shown_lately(world: &World, place: usize, time: std::time::Duration) -> Vec<String> {
    let since = world.now - time;
    let mut shown: Vec<String> = Vec::new();
    for slot in world.browsers[place].slots.values().filter(|slot| slot.is_video) {
        shown.extend(
            slot.packets.values().filter(|packet| packet.at > since).map(|packet| packet.tag.source.clone()),
        );
    }
    shown.sort();
    shown.dedup();
    shown
}

fn heard_lately(world: &World, place: usize, time: std::time::Duration) -> Vec<String> {
    let since = world.now - time;
    let mut heard: Vec<String> = Vec::new();
    for slot in world.browsers[place].slots.values().filter(|slot| !slot.is_video) {
        heard.extend(
            slot.packets.values().filter(|packet| packet.at > since).map(|packet| packet.tag.source.clone()),
        );
    }
    heard.sort();
    heard.dedup();
    heard
}

#[test]
fn the_loudest_three_of_five_are_heard() {
    let mut world = World::new();
    let watcher = world.join(Browser::watcher(9));
    let talkers: Vec<usize> = (1..=5).map(|number| world.join(Browser::talker(number))).collect();
    for (talker, level) in talkers.iter().zip([127, 20, 127, 25, 30]) {
        world.browsers[*talker].microphone().level_dbov = level;
    }
    world.run(secs(4));
    let audio = |number: usize| world.browsers[talkers[number]].audio();
    assert_eq!(heard_lately(&world, watcher, secs(1)), [audio(1), audio(3), audio(4)]);
    // One of the loud hears the two others, and somebody fills the third slot; never itself.
    let heard = heard_lately(&world, talkers[1], secs(1));
    assert!(
        heard.contains(&audio(3)) && heard.contains(&audio(4)) && !heard.contains(&audio(1)),
        "{heard:?}"
    );
    world.browsers[watcher].slots.values().for_each(|slot| slot.assert_continuous());
    assert!(world.dropped(DropReason::NotLoudEnough) > 100);
}

#[test]
fn who_falls_silent_gives_the_place_to_who_speaks() {
    let mut world = World::new();
    let watcher = world.join(Browser::watcher(9));
    let talkers: Vec<usize> = (1..=5).map(|number| world.join(Browser::talker(number))).collect();
    for (talker, level) in talkers.iter().zip([20, 20, 20, 127, 127]) {
        world.browsers[*talker].microphone().level_dbov = level;
    }
    world.run(secs(3));
    world.browsers[talkers[0]].microphone().level_dbov = 127;
    world.browsers[talkers[4]].microphone().level_dbov = 20;
    world.run(secs(4));
    let audio = |number: usize| world.browsers[talkers[number]].audio();
    assert_eq!(heard_lately(&world, watcher, secs(1)), [audio(1), audio(2), audio(4)]);
    world.browsers[watcher].slots.values().for_each(|slot| slot.assert_continuous());
}

#[test]
fn a_slot_that_shows_nothing_is_silent() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    let receiver = world.join(Browser::watcher(2).with_slots(3, 4));
    world.run(secs(2));
    let busy = world.browsers[receiver].slots.values().filter(|slot| !slot.packets.is_empty()).count();
    assert_eq!(busy, 2, "one voice, one picture");
    world.browsers[sender].streams.iter_mut().for_each(|stream| stream.is_on = false);
    world.run(ms(100));
    let before: usize = world.browsers[receiver].slots.values().map(|slot| slot.packets.len()).sum();
    world.run(secs(3));
    let after: usize = world.browsers[receiver].slots.values().map(|slot| slot.packets.len()).sum();
    assert_eq!(after, before, "a muted source's slot says nothing");
}

#[test]
fn a_slot_that_changes_its_source_stays_one_continuous_stream() {
    let mut world = World::new();
    let receiver = world.join(Browser::watcher(9).with_slots(1, 1));
    let (ada, ben) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    let sources = (world.browsers[ada].video(), world.browsers[ben].video());
    for turn in 0..6 {
        let (loud, quiet) = if turn % 2 == 0 { (ada, ben) } else { (ben, ada) };
        world.browsers[loud].microphone().level_dbov = 15;
        world.browsers[quiet].microphone().level_dbov = 127;
        world.run(secs(4));
        let expected = if turn % 2 == 0 { &sources.0 } else { &sources.1 };
        assert_eq!(&shown_lately(&world, receiver, ms(500)), std::slice::from_ref(expected), "turn {turn}");
    }
    for slot in world.browsers[receiver].slots.values() {
        slot.assert_continuous();
        assert!(slot.sources().len() >= 5, "{:?} in {}", slot.sources(), slot.mid);
    }
    assert!(world.stats().counters.dominant_speaker_changes >= 5);
}

#[test]
fn joining_and_leaving_moves_nobody_elses_picture() {
    let mut world = World::new();
    let receiver = world.join(Browser::watcher(9).with_slots(3, 4));
    let stays: Vec<usize> = (1..=2).map(|number| world.join(Browser::talker(number))).collect();
    world.run(secs(2));
    let guests: Vec<usize> = (3..=6).map(|number| world.join(Browser::talker(number))).collect();
    world.run(secs(3));
    for guest in guests {
        let endpoint = world.browsers[guest].id.clone();
        world.browsers[guest].streams.clear();
        world.command(wire::messages::link::CommandBody::RemoveEndpoint { endpoint });
        world.run(secs(1));
    }
    for stay in stays {
        let video = world.browsers[stay].video();
        let slot = world.browsers[receiver].slot_showing(&video).expect("still shown");
        assert_eq!(slot.sources(), [video]);
        slot.assert_continuous();
    }
}

#[test]
fn a_source_that_ends_is_told_to_those_who_saw_it() {
    let mut world = World::new();
    let receiver = world.join(Browser::watcher(9).with_slots(3, 4));
    let (stays, goes) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    let endpoint = world.browsers[goes].id.clone();
    world.browsers[goes].streams.clear();
    world.command(wire::messages::link::CommandBody::RemoveEndpoint { endpoint });
    world.run(secs(1));
    for (class, source) in [
        ("VideoSourcesMap", world.browsers[stays].video()),
        ("AudioSourcesMap", world.browsers[stays].audio()),
    ] {
        let maps = world.told(receiver, class);
        let mapped = maps.last().unwrap()["mappedSources"].as_array().unwrap();
        let sources: Vec<&str> = mapped.iter().map(|each| each["source"].as_str().unwrap()).collect();
        assert_eq!(sources, [source], "{class}");
    }
}

#[test]
fn a_source_that_comes_back_under_its_old_ssrc_is_asked_for_a_key_frame_and_shown_to_a_newcomer() {
    let mut world = World::new();
    let (sender, watcher) = (world.join(Browser::talker(1)), world.join(Browser::watcher(2)));
    world.run(secs(2));
    let video = world.browsers[sender].video();
    for turn in 0..2 {
        let camera = world.browsers[sender].streams.pop().expect("a camera");
        world.set_endpoint(sender);
        world.run(secs(2));
        world.browsers[sender].streams.push(camera);
        world.set_endpoint(sender);
        let asked_before = world.browsers[sender].camera().key_frame_requests.len();
        world.run(secs(2));
        assert!(world.browsers[sender].camera().key_frame_requests.len() > asked_before, "turn {turn}");
        assert_eq!(shown_lately(&world, watcher, secs(1)), std::slice::from_ref(&video), "turn {turn}");
    }
    let newcomer = world.join(Browser::watcher(3));
    world.run(secs(2));
    assert!(world.browsers[newcomer].frames_of(&video) > 30);
    world.browsers[newcomer].slots.values().for_each(|slot| slot.assert_continuous());
}

#[test]
fn a_shared_screen_comes_before_cameras() {
    let mut world = World::new();
    let receiver = world.join(Browser::watcher(9).with_slots(1, 1));
    let camera = world.join(Browser::talker(1));
    world.run(secs(2));
    assert_eq!(shown_lately(&world, receiver, secs(1)), [world.browsers[camera].video()]);
    let mut screen = Browser::watcher(2).with_video(1);
    screen.video_type = VideoType::Desktop;
    let screen = world.join(screen);
    world.run(secs(2));
    assert_eq!(shown_lately(&world, receiver, secs(1)), [world.browsers[screen].video()]);
    let none = format!(
        r#"{{"colibriClass":"SourceVideoTypeMessage","videoType":"NONE","sourceName":"{}"}}"#,
        world.browsers[screen].video()
    );
    world.say(screen, &none);
    world.run(secs(2));
    assert_eq!(shown_lately(&world, receiver, secs(1)), [world.browsers[camera].video()]);
}

#[test]
fn last_n_and_a_height_of_zero_are_honoured() {
    let mut world = World::new();
    let receiver = world.join(Browser::watcher(9).with_slots(1, 4));
    let all: Vec<usize> = (1..=3).map(|number| world.join(Browser::talker(number))).collect();
    world.run(secs(2));
    assert_eq!(shown_lately(&world, receiver, secs(1)).len(), 3);
    world.say(receiver, r#"{"colibriClass":"LastNChangedEvent","lastN":1}"#);
    world.run(secs(2));
    assert_eq!(shown_lately(&world, receiver, secs(1)).len(), 1);
    let never = world.browsers[all[1]].video();
    let wish = format!(
        r#"{{"colibriClass":"ReceiverVideoConstraints","lastN":-1,"constraints":{{"{never}":{{"maxHeight":0}}}}}}"#
    );
    world.say(receiver, &wish);
    world.run(secs(2));
    let shown = shown_lately(&world, receiver, secs(1));
    assert!(shown.len() == 2 && !shown.contains(&never), "{shown:?}");
    world.say(receiver, r#"{"colibriClass":"ReceiverVideoConstraints","lastN":0}"#);
    world.run(secs(2));
    assert_eq!(shown_lately(&world, receiver, secs(1)), [""; 0]);
}

#[test]
fn what_a_browser_puts_on_its_stage_comes_before_who_speaks() {
    let mut world = World::new();
    let receiver = world.join(Browser::watcher(9).with_slots(1, 1));
    let all: Vec<usize> = (1..=3).map(|number| world.join(Browser::talker(number))).collect();
    world.browsers[all[0]].microphone().level_dbov = 10;
    world.run(secs(3));
    let wanted = world.browsers[all[2]].video();
    world.say(
        receiver,
        &format!(r#"{{"colibriClass":"ReceiverVideoConstraints","onStageSources":["{wanted}"]}}"#),
    );
    world.run(secs(2));
    assert_eq!(shown_lately(&world, receiver, secs(1)), [wanted]);
}

#[test]
fn a_bound_slot_shows_its_source_and_nothing_else() {
    let mut world = World::new();
    let mut viewer = Browser::watcher(9).with_slots(0, 1);
    viewer.place = 0;
    world.browsers.clear();
    let late = Browser::talker(2);
    let wanted = late.video();
    let pin = wire::messages::link::SlotPin {
        mid: wire::messages::ids::Mid::parse("30").unwrap(),
        source: wire::messages::ids::SourceName::parse(wanted.clone()).unwrap(),
    };
    viewer.pins = vec![pin];
    let viewer = world.join(viewer);
    world.join(Browser::talker(1));
    world.run(secs(2));
    assert_eq!(shown_lately(&world, viewer, secs(1)), [""; 0], "its source is not there yet");
    world.join(late);
    world.run(secs(2));
    assert_eq!(shown_lately(&world, viewer, secs(1)), [wanted]);
}

#[test]
fn the_receivers_own_numbers_are_on_every_packet() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    let receiver = world.join(Browser::watcher(2));
    world.run(secs(2));
    let numbering = world.browsers[receiver].numbering;
    assert_ne!(numbering, world.browsers[sender].numbering, "else nothing is proven");
    for slot in world.browsers[receiver].slots.values() {
        for shown in slot.packets.values() {
            let value =
                |usual: u8| shown.elements.iter().find(|(id, _)| *id == usual + numbering).map(|(_, it)| it);
            assert_eq!(value(1).map(Vec::as_slice), Some(slot.mid.as_bytes()), "MID of the slot");
            assert_eq!(value(2).map(Vec::len), Some(3), "a send time of our own");
            assert_eq!(
                value(4).map(Vec::as_slice),
                if slot.is_video { None } else { Some(&[0x80 | 30][..]) }
            );
            assert_eq!(value(5), None, "no RID: the slot is one stream");
        }
    }
    let mut numbers = world.browsers[receiver].transport_sequences.clone();
    numbers.sort_unstable();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "one count for all streams, without a gap"
    );
}

#[test]
fn a_codec_that_the_receiver_has_not_agreed_to_is_never_shown() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    let mut other = Browser::watcher(2).with_slots(1, 2);
    other.video_codec = Codec::H264;
    let other = world.join(other);
    // Bound to it, a slot shows it as soon as both agree, and until then nothing.
    let mut bound = Browser::watcher(3).with_slots(0, 1);
    bound.video_codec = Codec::H264;
    let bound = world.join(bound);
    let video = world.browsers[sender].video();
    world.pin(bound, "30", &video);
    world.set_endpoint(bound);
    world.run(secs(2));
    assert_eq!(world.browsers[other].frames_of(&video) + world.browsers[bound].frames_of(&video), 0);
    assert!(world.browsers[other].frames_of(&world.browsers[sender].audio()) > 50, "voices go on");
    assert!(world.dropped(DropReason::CodecMismatch) > 100);
    world.browsers[bound].video_codec = Codec::Vp8;
    world.set_endpoint(bound);
    world.run(secs(2));
    assert!(world.browsers[bound].frames_of(&video) > 30);
}

#[test]
fn who_does_not_say_how_loud_it_is_is_heard_where_there_is_room() {
    let mut world = World::new();
    let mut encoder = Browser::talker(1);
    encoder.says_level = false;
    let encoder = world.join(encoder);
    let receiver = world.join(Browser::watcher(2));
    world.run(secs(2));
    let audio = world.browsers[encoder].audio();
    assert!(world.browsers[receiver].frames_of(&audio) > 60);
}

//! What participants see of each other.

use proptest::prelude::*;
use wire::messages::meeting::{ByeReason, Changes, Request, Update};

use super::world::World;
use super::{BATCH, seconds};

#[test]
fn the_first_waits_and_the_second_starts_the_conference() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let anna = world.join("daily", "Anna");
    assert!(world.seen(anna).is_waiting());
    assert_eq!(world.focus.conferences(world.now)[0].bridge, None);
    assert_eq!(world.focus.stats().waiting_conferences, 1);
    let bert = world.join("daily", "Bert");
    for browser in [anna, bert] {
        assert!(!world.seen(browser).is_waiting());
        world.offer(browser);
        assert_eq!(world.seen(browser).answers(), [1]);
    }
    assert_eq!(world.model(bridge).endpoints().len(), 2);
    let conference = &world.focus.conferences(world.now)[0];
    assert_eq!((conference.bridge.as_deref(), conference.participants), (Some("a"), 2));
}

#[test]
fn a_newcomer_hears_who_it_is_then_what_there_is_then_what_to_do() {
    let mut world = World::new();
    world.bridge("a");
    world.join("daily", "Anna");
    let bert = world.join("daily", "Bert");
    let [Update::Joined { conference, slots, .. }, Update::State { snapshot, .. }, Update::Assigned { .. }] =
        world.seen(bert).updates.as_slice()
    else {
        panic!("{:?}", world.seen(bert).updates)
    };
    assert_eq!((conference.as_str(), slots.audio), ("daily", 3));
    let names: Vec<&str> =
        snapshot.participants.iter().map(|participant| participant.name.as_str()).collect();
    assert_eq!(names, ["Anna", "Bert"]);
}

#[test]
fn an_answer_names_the_channel_on_our_own_origin() {
    let mut world = World::new();
    world.bridge("a");
    let anna = world.join("daily", "Anna");
    world.join("daily", "Bert");
    world.offer(anna);
    let answer = world.seen(anna).updates.iter().find_map(|update| match update {
        Update::Answer { sdp, channel_url, .. } => Some((sdp.clone(), channel_url.clone())),
        _ => None,
    });
    let (sdp, channel_url) = answer.unwrap();
    assert!(sdp.contains("a=ice-lite") && sdp.contains("192.0.2.1"), "{sdp}");
    assert!(channel_url.starts_with("/colibri-ws/a/"), "{channel_url}");
}

#[test]
fn a_storm_of_joins_is_batched() {
    let mut world = World::new();
    world.bridge("a");
    let anna = world.join("daily", "Anna");
    world.run(BATCH);
    world.forget(anna);
    for number in 0..100 {
        world.join("daily", &format!("Number {number}"));
    }
    world.run(BATCH);
    let deltas = world.seen(anna).updates.iter().filter(|update| matches!(update, Update::Delta { .. }));
    assert_eq!(deltas.count(), 1);
}

#[test]
fn a_mute_and_a_new_name_are_seen_by_the_others() {
    let mut world = World::new();
    world.bridge("a");
    let anna = world.join("daily", "Anna");
    let bert = world.join("daily", "Bert");
    let changes =
        Changes { muted_audio: Some(true), name: Some("  Anna B. ".to_owned()), ..Changes::default() };
    world.request(anna, Request::Set(changes));
    world.run(BATCH);
    let roster = world.seen(bert).roster();
    let anna = &roster[&world.seen(anna).id()];
    assert_eq!((anna.name.as_str(), anna.muted_audio, anna.muted_video), ("Anna B.", true, false));
}

#[test]
fn who_leaves_is_gone_for_the_others_and_for_the_bridge() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let browsers = ["Anna", "Bert", "Cleo"].map(|name| world.join("daily", name));
    for browser in browsers {
        world.offer(browser);
    }
    let gone = world.seen(browsers[0]).id();
    world.request(browsers[0], Request::Leave);
    world.run(BATCH);
    assert_eq!(world.seen(browsers[0]).closed, Some(ByeReason::Left));
    assert!(!world.seen(browsers[1]).roster().contains_key(&gone));
    assert!(!world.model(bridge).endpoints().contains(&gone));
}

#[test]
fn chat_history_comes_after_the_media_and_in_order() {
    let mut world = World::new();
    world.bridge("a");
    let anna = world.join("daily", "Anna");
    for number in 0..60 {
        world.request(anna, Request::Chat { text: format!("line {number}") });
        world.run(seconds(1));
    }
    let bert = world.join("daily", "Bert");
    world.request(anna, Request::Chat { text: "welcome".to_owned() });
    assert!(world.seen(bert).chat().is_empty(), "not before its media");
    world.offer(bert);
    world.request(anna, Request::Chat { text: "again".to_owned() });
    let heard = world.seen(bert).chat();
    let numbers: Vec<u64> = heard.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (12..=62).collect::<Vec<u64>>(), "50 lines of history, then what is said");
    assert_eq!(heard.last().unwrap().1, "again");
    assert_eq!(world.seen(anna).chat().len(), 62);
}

#[test]
fn chat_history_does_not_wait_for_media_that_never_comes() {
    let mut world = World::new();
    let anna = world.join("daily", "Anna");
    world.request(anna, Request::Chat { text: "hello".to_owned() });
    let bert = world.join("daily", "Bert");
    world.run(seconds(6));
    assert_eq!(world.seen(bert).chat(), [(1, "hello".to_owned())]);
}

#[test]
fn everybody_is_told_when_the_server_stops() {
    let mut world = World::new();
    let anna = world.join("daily", "Anna");
    let unjoined = world.open("daily");
    world.focus.handle_shutdown();
    world.run(BATCH);
    for browser in [anna, unjoined] {
        assert_eq!(world.seen(browser).byes(), [ByeReason::Shutdown]);
        assert_eq!(world.seen(browser).closed, Some(ByeReason::Shutdown));
    }
}

/// One step of a meeting.
#[derive(Debug, Clone)]
enum Step {
    Join,
    Leave(usize),
    Mute(usize, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Join),
        (0..8usize).prop_map(Step::Leave),
        (0..8usize, any::<bool>()).prop_map(|(who, is_muted)| Step::Mute(who, is_muted)),
        (1..400u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn snapshot_and_deltas_give_everybody_the_same_roster(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        world.bridge("a");
        let mut here = vec![world.join("daily", "First")];
        for step in steps {
            match step {
                Step::Join => here.push(world.join("daily", "Name")),
                Step::Leave(who) if who < here.len() && here.len() > 1 => {
                    let connection = here.remove(who);
                    world.request(connection, Request::Leave);
                }
                Step::Mute(who, is_muted) if who < here.len() => {
                    let changes = Changes { muted_audio: Some(is_muted), ..Changes::default() };
                    world.request(here[who], Request::Set(changes));
                }
                Step::Wait(milliseconds) => world.run(std::time::Duration::from_millis(milliseconds)),
                Step::Leave(_) | Step::Mute(..) => {}
            }
        }
        world.run(BATCH);
        let expected = world.seen(here[0]).roster();
        prop_assert_eq!(expected.len(), here.len());
        for browser in here {
            prop_assert_eq!(&world.seen(browser).roster(), &expected);
        }
    }
}

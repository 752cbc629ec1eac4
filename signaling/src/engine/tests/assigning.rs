//! Which bridge gets which conference.

use std::collections::BTreeMap;
use std::time::Duration;

use wire::messages::ids::Epoch;
use wire::messages::link::Load;
use wire::messages::meeting::{AssignReason, ErrorId, Request};

use super::seconds;
use super::world::{World, conference_id, hello};
use crate::engine::ports::FocusSettings;

/// Two people meet in each of `count` conferences; how many conferences each bridge got.
fn meet(world: &mut World, count: usize, pause: Duration) -> BTreeMap<String, usize> {
    for number in 0..count {
        for name in ["Anna", "Bert"] {
            let browser = world.join(&format!("meeting {number}"), name);
            world.run(pause);
            if !world.seen(browser).is_waiting() {
                world.offer(browser);
            }
        }
    }
    let mut spread = BTreeMap::new();
    for conference in world.focus.conferences(world.now) {
        *spread.entry(conference.bridge.unwrap()).or_default() += 1;
    }
    spread
}

#[test]
fn ten_conferences_on_two_bridges_are_five_and_five() {
    for pause in [0, 40, 700, 3_000] {
        let mut world = World::new();
        world.bridge("a");
        world.bridge("b");
        let spread = meet(&mut world, 10, Duration::from_millis(pause));
        assert_eq!(spread, BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 5)]), "pause {pause} ms");
    }
}

#[test]
fn a_storm_of_a_thousand_conferences_is_spread_over_ten_bridges() {
    let mut world = World::new();
    for number in 0..10 {
        world.bridge(&format!("bridge-{number}"));
    }
    let spread = meet(&mut world, 1000, Duration::from_millis(1));
    let most = spread.values().max().copied().unwrap();
    assert!(most <= 120, "at most 1.2 times the mean: {spread:?}");
}

#[test]
fn the_least_stressed_bridge_is_chosen() {
    let mut world = World::new();
    let busy = world.bridge("a");
    world.bridge("b");
    world.report(busy, Load { stress: 0.5, ..Load::default() });
    let spread = meet(&mut world, 5, Duration::ZERO);
    assert_eq!(spread, BTreeMap::from([("b".to_owned(), 5)]));
}

#[test]
fn assignments_count_before_the_next_report() {
    let mut world = World::new();
    let busy = world.bridge("a");
    let idle = world.bridge("b");
    world.report(busy, Load { stress: 0.30, ..Load::default() });
    world.report(idle, Load { stress: 0.20, ..Load::default() });
    let spread = meet(&mut world, 40, Duration::ZERO);
    let (a, b) = (spread["a"], spread["b"]);
    assert!(b > a && a >= 10, "0.01 an endpoint makes both alike after some conferences: {spread:?}");
    let views = world.focus.bridges();
    assert!(views[1].corrected_stress > 0.5, "{views:?}");
}

#[test]
fn a_draining_a_full_and_a_liar_get_nothing() {
    let mut world = World::new();
    let draining = world.bridge("a");
    world.report(draining, Load { draining: true, ..Load::default() });
    let full = world.bridge("b");
    world.report(full, Load { endpoints: 1000, ..Load::default() });
    for (name, stress) in [("c", f64::NAN), ("d", -1.0), ("e", 1e300)] {
        let liar = world.bridge(name);
        world.report(liar, Load { stress, ..Load::default() });
    }
    world.bridge("f");
    let spread = meet(&mut world, 8, Duration::ZERO);
    assert_eq!(spread, BTreeMap::from([("f".to_owned(), 8)]));
}

#[test]
fn a_bridge_that_has_not_reported_yet_gets_nothing() {
    let mut world = World::new();
    let link = world.bridge("a");
    world.kill(link);
    let link = crate::engine::ports::LinkId(77);
    world.focus.handle_link_opened(world.now, link);
    let message = wire::messages::link::FromBridge::Hello(hello("b", "boot-1"));
    world.focus.handle_bridge(world.now, link, message);
    world.join("daily", "Anna");
    world.join("daily", "Bert");
    assert_eq!(world.focus.conferences(world.now)[0].bridge, None);
    assert_eq!(world.focus.bridges()[0].state, "starting");
}

#[test]
fn region_and_version_are_preferred_until_they_are_overloaded() {
    let settings = FocusSettings { region: Some("north".to_owned()), ..FocusSettings::default() };
    let mut world = World::with(settings);
    world.bridge_as(hello("far", "boot-1"));
    let mut near = hello("near", "boot-1");
    near.region = Some("north".to_owned());
    let near_link = world.bridge_as(near.clone());
    near.bridge = wire::messages::ids::BridgeId::parse("old").unwrap();
    near.version = "0.0.0".to_owned();
    world.bridge_as(near);
    world.report(near_link, Load { stress: 0.5, ..Load::default() });
    assert_eq!(meet(&mut world, 1, Duration::ZERO), BTreeMap::from([("near".to_owned(), 1)]));
    world.report(near_link, Load { stress: 0.95, ..Load::default() });
    world.join("other", "Anna");
    world.join("other", "Bert");
    assert_eq!(world.focus.conferences(world.now)[1].bridge.as_deref(), Some("far"));
}

#[test]
fn one_alone_keeps_the_bridge_for_the_grace_and_then_waits() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let anna = world.join("daily", "Anna");
    let bert = world.join("daily", "Bert");
    world.offer(anna);
    world.offer(bert);
    world.request(bert, Request::Leave);
    world.run(seconds(19));
    assert!(!world.seen(anna).is_waiting());
    assert!(world.model(bridge).ended().is_empty());
    world.run(seconds(2));
    assert!(world.seen(anna).is_waiting());
    assert_eq!(world.model(bridge).ended(), [(conference_id("daily"), Epoch(1))]);
    assert_eq!(world.focus.stats().waiting_conferences, 1);
}

#[test]
fn a_third_within_the_grace_finds_the_conference_running() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let anna = world.join("daily", "Anna");
    let bert = world.join("daily", "Bert");
    world.offer(anna);
    world.request(bert, Request::Leave);
    world.run(seconds(15));
    let cleo = world.join("daily", "Cleo");
    world.run(seconds(30));
    assert_eq!(world.seen(cleo).assigned(), [(AssignReason::Started, Epoch(1))]);
    assert_eq!(world.seen(anna).assigned().len(), 1, "nothing changed for her");
    assert!(world.model(bridge).ended().is_empty());
}

#[test]
fn each_assignment_has_a_higher_epoch_than_every_one_before() {
    let mut world = World::new();
    world.bridge("a");
    for expected in 1..4 {
        let anna = world.join("daily", "Anna");
        let bert = world.join("daily", "Bert");
        assert_eq!(world.seen(anna).epoch(), Some(Epoch(expected)));
        world.request(anna, Request::Leave);
        world.request(bert, Request::Leave);
        assert!(world.focus.conferences(world.now).is_empty(), "nobody is there, nothing is kept");
    }
}

#[test]
fn without_a_bridge_everybody_is_told_within_two_seconds_and_it_starts_by_itself() {
    let mut world = World::new();
    let anna = world.join("daily", "Anna");
    let bert = world.join("daily", "Bert");
    world.run(seconds(2));
    assert_eq!(world.seen(anna).errors(), [ErrorId::Unavailable]);
    assert_eq!(world.seen(bert).errors(), [ErrorId::Unavailable]);
    let cleo = world.join("daily", "Cleo");
    assert_eq!(world.seen(cleo).errors(), [ErrorId::Unavailable], "a newcomer at once");
    world.offer(cleo);
    assert_eq!(world.seen(cleo).errors().len(), 2, "and there is nothing to offer to");
    world.bridge("a");
    for browser in [anna, bert, cleo] {
        assert_eq!(world.seen(browser).assigned(), [(AssignReason::Started, Epoch(1))]);
    }
}

#[test]
fn a_bridge_that_is_just_connecting_is_waited_for() {
    let mut world = World::new();
    let anna = world.join("daily", "Anna");
    world.join("daily", "Bert");
    world.run(seconds(1));
    world.bridge("a");
    world.run(seconds(5));
    assert!(world.seen(anna).errors().is_empty());
}

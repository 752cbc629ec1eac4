//! Bridges that die, hang, restart, refuse, or only seem to.

use std::time::Duration;

use wire::messages::ids::Epoch;
use wire::messages::link::{FromBridge, Refusal};
use wire::messages::meeting::{AssignReason, ErrorId, Request};

use super::seconds;
use super::world::{World, conference_id, hello, live};
use crate::engine::ports::{ConnectionId, LinkFault, LinkId};

/// Two people in `daily`, both connected.
fn meeting(world: &mut World) -> [ConnectionId; 2] {
    let browsers = ["Anna", "Bert"].map(|name| world.join("daily", name));
    for browser in browsers {
        world.offer(browser);
    }
    browsers
}

fn bridge_of(world: &World) -> Option<String> {
    world.focus.conferences(world.now)[0].bridge.clone()
}

/// The link of the bridge that has the conference, and the other one.
fn holder_first(world: &World, links: [LinkId; 2]) -> [LinkId; 2] {
    let holder = bridge_of(world).unwrap();
    let [one, two] = links;
    if world.bridges[&one].hello.bridge.as_str() == holder { [one, two] } else { [two, one] }
}

#[test]
fn a_dead_bridge_moves_all_its_conferences_and_epochs_rise() {
    let mut world = World::new();
    let links = [world.bridge("a"), world.bridge("b")];
    let browsers = meeting(&mut world);
    let [holder, other] = holder_first(&world, links);
    world.kill(holder);
    world.run(super::BATCH);
    for browser in browsers {
        let assigned = world.seen(browser).assigned();
        assert_eq!(assigned, [(AssignReason::Started, Epoch(1)), (AssignReason::Moved, Epoch(2))]);
        world.offer(browser);
        assert_eq!(world.seen(browser).answers(), [1, 2]);
        assert!(world.seen(browser).byes().is_empty());
        assert_eq!(world.seen(browser).roster().len(), 2, "nobody has left");
    }
    assert_eq!(world.model(other).endpoints().len(), 2);
    assert_eq!(world.focus.stats().counters.participants_moved, 2);
}

#[test]
fn credentials_for_the_relays_follow_a_conference_to_its_new_bridge() {
    let mut world = World::new();
    let links = [world.bridge("a"), world.bridge("b")];
    let browsers = meeting(&mut world);
    let [holder, other] = holder_first(&world, links).map(|link| world.bridges[&link].hello.bridge.clone());
    let carried = |world: &World| browsers.map(|browser| world.seen(browser).bridge.clone());
    assert_eq!(carried(&world), [Some(holder.clone()), Some(holder)]);
    let [link, _] = holder_first(&world, links);
    world.kill(link);
    assert_eq!(carried(&world), [Some(other.clone()), Some(other.clone())]);

    let secret = world.seen(browsers[0]).resume();
    assert_eq!(world.focus.participant_of(&secret), Some((world.seen(browsers[0]).id(), Some(other))));
    assert_eq!(world.focus.participant_of(""), None);
    world.request(browsers[0], Request::Leave);
    assert_eq!(world.focus.participant_of(&secret), None, "the secret of one who left is nobody's");
}

#[test]
fn a_hung_bridge_is_seen_after_one_second() {
    let mut world = World::new();
    let links = [world.bridge("a"), world.bridge("b")];
    let [anna, _] = meeting(&mut world);
    let [holder, other] = holder_first(&world, links);
    world.run(seconds(3));
    world.model(holder).is_beating = false;
    world.run(Duration::from_millis(700));
    assert_eq!(world.seen(anna).assigned().len(), 1);
    world.run(Duration::from_millis(600));
    assert_eq!(world.seen(anna).epoch(), Some(Epoch(2)));
    world.offer(anna);
    assert_eq!(world.model(other).endpoints().len(), 1);
}

#[test]
fn a_bridge_that_was_only_asleep_is_fenced_when_it_wakes() {
    let mut world = World::new();
    let links = [world.bridge("a"), world.bridge("b")];
    meeting(&mut world);
    let [holder, _] = holder_first(&world, links);
    world.model(holder).is_beating = false;
    world.run(seconds(20));
    assert!(world.model(holder).ended().is_empty());
    world.model(holder).is_beating = true;
    world.run(seconds(1));
    assert_eq!(world.model(holder).ended(), [(conference_id("daily"), Epoch(2))]);
    assert_eq!(world.focus.stats().fit_bridges, 2);
}

#[test]
fn when_most_bridges_fall_silent_together_nothing_moves() {
    let mut world = World::new();
    let links = ["a", "b", "c"].map(|name| world.bridge(name));
    let [anna, _] = meeting(&mut world);
    let holder = bridge_of(&world).unwrap();
    world.run(seconds(2));
    let survivor =
        links.into_iter().find(|link| world.bridges[link].hello.bridge.as_str() != holder).unwrap();
    for link in links.into_iter().filter(|link| *link != survivor) {
        world.model(link).is_beating = false;
    }
    world.run(seconds(5));
    assert_eq!(world.seen(anna).assigned().len(), 1, "our own link is suspected, not two bridges");
    assert_eq!(world.focus.bridges().iter().filter(|bridge| bridge.state == "silent").count(), 2);
    for link in links {
        world.model(link).is_beating = true;
    }
    world.run(seconds(30));
    assert_eq!(world.seen(anna).assigned().len(), 1);
    assert_eq!(world.focus.stats().fit_bridges, 3);
}

#[test]
fn suspects_that_stay_silent_while_another_is_heard_are_lost_after_all() {
    let mut world = World::new();
    let links = ["a", "b", "c"].map(|name| world.bridge(name));
    let [anna, _] = meeting(&mut world);
    let holder = bridge_of(&world).unwrap();
    let survivor =
        links.into_iter().find(|link| world.bridges[link].hello.bridge.as_str() != holder).unwrap();
    for link in links.into_iter().filter(|link| *link != survivor) {
        world.model(link).is_beating = false;
    }
    world.run(seconds(15));
    assert_eq!(world.seen(anna).epoch(), Some(Epoch(2)));
    assert_eq!(bridge_of(&world), Some(world.bridges[&survivor].hello.bridge.to_string()));
}

#[test]
fn our_own_stall_is_not_a_bridges_silence() {
    let mut world = World::new();
    let links = [world.bridge("a"), world.bridge("b")];
    let [anna, _] = meeting(&mut world);
    world.run(seconds(3));
    // Five seconds in which this process did nothing at all: one wake, then the heart-beats that had queued up.
    world.now += seconds(5);
    world.focus.handle_timeout(world.now);
    for link in links {
        world.bridge_says(link, FromBridge::Heartbeat);
    }
    world.run(Duration::from_millis(100));
    assert_eq!(world.seen(anna).assigned().len(), 1);
}

#[test]
fn the_only_bridge_may_lose_its_link_and_come_back_without_anybody_noticing() {
    let mut world = World::new();
    let link = world.bridge("a");
    let [anna, bert] = meeting(&mut world);
    world.kill(link);
    let mut again = hello("a", "boot-1");
    again.conferences = vec![live("daily", Epoch(1))];
    world.run(Duration::from_millis(800));
    world.bridge_as(again);
    world.run(seconds(5));
    for browser in [anna, bert] {
        assert_eq!(world.seen(browser).assigned().len(), 1);
        assert!(world.seen(browser).errors().is_empty());
    }
    assert_eq!(bridge_of(&world).as_deref(), Some("a"));
}

#[test]
fn the_only_bridge_that_restarts_gets_its_conferences_back_under_a_new_epoch() {
    let mut world = World::new();
    let link = world.bridge("a");
    let browsers = meeting(&mut world);
    world.kill(link);
    world.run(seconds(2));
    let again = world.bridge_as(hello("a", "boot-2"));
    for browser in browsers {
        assert_eq!(world.seen(browser).errors(), [ErrorId::Unavailable], "told after 1.5 s");
        assert_eq!(world.seen(browser).assigned()[1], (AssignReason::Moved, Epoch(2)));
        world.offer(browser);
    }
    assert_eq!(world.model(again).endpoints().len(), 2);
}

#[test]
fn a_bridge_that_restarts_before_its_old_link_breaks_is_a_new_one() {
    let mut world = World::new();
    let old = world.bridge("a");
    let [anna, _] = meeting(&mut world);
    world.model(old).is_beating = false;
    world.run(Duration::from_millis(1100));
    world.bridge_as(hello("a", "boot-2"));
    assert_eq!(world.model(old).closed, Some(LinkFault::Replaced));
    assert_eq!(world.seen(anna).epoch(), Some(Epoch(2)));
}

#[test]
fn a_second_bridge_of_the_same_name_is_refused_while_the_first_lives() {
    let mut world = World::new();
    let first = world.bridge("a");
    meeting(&mut world);
    let rogue = world.bridge_as(hello("a", "boot-of-somebody-else"));
    assert_eq!(world.model(rogue).closed, Some(LinkFault::IdInUse));
    assert_eq!(world.model(first).closed, None);
    assert_eq!(bridge_of(&world).as_deref(), Some("a"));
}

#[test]
fn the_same_process_dialling_again_replaces_its_link_and_keeps_its_conferences() {
    let mut world = World::new();
    let old = world.bridge("a");
    let [anna, bert] = meeting(&mut world);
    let new = world.bridge_as(hello("a", "boot-1"));
    assert_eq!(world.model(old).closed, Some(LinkFault::Replaced));
    world.offer(anna);
    assert_eq!(world.seen(bert).assigned().len(), 1);
    assert_eq!(world.model(new).endpoints().len(), 1);
}

#[test]
fn a_bridge_that_carries_what_another_has_by_now_is_told_to_end_it() {
    let mut world = World::new();
    let links = [world.bridge("a"), world.bridge("b")];
    meeting(&mut world);
    let [holder, _] = holder_first(&world, links);
    let name = bridge_of(&world).unwrap();
    world.kill(holder);
    let mut again = hello(&name, "boot-1");
    again.conferences = vec![live("daily", Epoch(1))];
    let back = world.bridge_as(again);
    assert_eq!(world.model(back).ended(), [(conference_id("daily"), Epoch(2))]);
}

#[test]
fn a_stranger_with_a_newer_epoch_is_ended_and_everybody_is_assigned_above_it() {
    let mut world = World::new();
    let holder = world.bridge("a");
    let browsers = meeting(&mut world);
    let mut stranger = hello("b", "boot-1");
    stranger.conferences = vec![live("daily", Epoch(50))];
    let stranger = world.bridge_as(stranger);
    assert_eq!(world.model(stranger).ended(), [(conference_id("daily"), Epoch(50))]);
    for browser in browsers {
        assert_eq!(world.seen(browser).assigned()[1..], [(AssignReason::Moved, Epoch(51))]);
        world.offer(browser);
        assert_eq!(world.seen(browser).answers(), [1, 2]);
    }
    assert_eq!(world.model(holder).endpoints().len(), 2);
    let mut absurd = hello("c", "boot-1");
    absurd.conferences = vec![live("daily", Epoch(u64::MAX)), live("other", Epoch((1 << 53) + 1))];
    world.bridge_as(absurd);
    assert_eq!(world.seen(browsers[0]).epoch(), Some(Epoch(51)));
    assert_eq!(world.focus.epoch_floor, Epoch(0));
}

#[test]
fn a_restarted_signaling_starts_above_the_epochs_that_bridges_report() {
    let mut world = World::new();
    let mut carrying = hello("a", "boot-1");
    carrying.conferences = vec![live("daily", Epoch(41))];
    world.bridge_as(carrying);
    let [anna, _] = meeting(&mut world);
    assert_eq!(world.seen(anna).epoch(), Some(Epoch(42)));
}

#[test]
fn a_bridge_that_knows_a_newer_epoch_is_overtaken() {
    let mut world = World::new();
    let link = world.bridge("a");
    world.model(link).refusal = Some(Refusal::StaleEpoch);
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.offer(anna);
    assert_eq!(world.seen(anna).errors(), [ErrorId::Unavailable]);
    let (reason, epoch) = *world.seen(anna).assigned().last().unwrap();
    assert!(reason == AssignReason::Moved && epoch > Epoch(1_000_000), "{epoch:?}");
    world.model(link).refusal = None;
    world.offer(anna);
    assert_eq!(world.seen(anna).answers(), [2]);
}

#[test]
fn a_command_without_a_reply_is_repeated_and_then_the_conference_moves() {
    let mut world = World::new();
    let links = [world.bridge("a"), world.bridge("b")];
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    let [holder, other] = holder_first(&world, links);
    world.model(holder).is_answering = false;
    world.offer(anna);
    world.run(Duration::from_millis(5_100));
    assert!(world.seen(anna).errors().is_empty(), "its offer is still on its way");
    assert_eq!(world.model(holder).commands.len(), 2, "the same command once more");
    let commands = world.model(holder).commands.clone();
    assert_eq!(commands[0], commands[1]);
    world.run(seconds(5));
    assert_eq!(world.seen(anna).errors(), [ErrorId::Unavailable]);
    assert_eq!(world.seen(anna).epoch(), Some(Epoch(2)));
    world.offer(anna);
    assert_eq!(world.model(other).endpoints().len(), 1);
}

#[test]
fn a_late_reply_within_the_second_chance_is_an_answer() {
    let mut world = World::new();
    let link = world.bridge("a");
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.model(link).is_answering = false;
    world.offer(anna);
    world.run(Duration::from_millis(4_900));
    world.model(link).is_answering = true;
    world.run(seconds(1));
    assert_eq!(world.seen(anna).answers(), [1]);
    assert!(world.seen(anna).errors().is_empty());
}

#[test]
fn a_full_bridge_passes_the_conference_on() {
    let mut world = World::new();
    let links = [world.bridge("a"), world.bridge("b")];
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    let [holder, other] = holder_first(&world, links);
    world.model(holder).refusal = Some(Refusal::Full);
    world.offer(anna);
    world.offer(anna);
    assert_eq!(world.seen(anna).answers(), [2]);
    assert_eq!(world.model(other).endpoints().len(), 1);
}

#[test]
fn a_lost_bridge_without_participants_left_is_forgotten() {
    let mut world = World::new();
    let link = world.bridge("a");
    let browsers = meeting(&mut world);
    world.kill(link);
    for browser in browsers {
        world.request(browser, Request::Leave);
    }
    world.bridge("a");
    let stats = world.focus.stats();
    assert_eq!((stats.conferences, stats.wanting_conferences, stats.commands_pending), (0, 0, 0));
}

//! Broken connections, and those who come back.

use wire::messages::ids::Epoch;
use wire::messages::link::EndpointEvent;
use wire::messages::meeting::{AssignReason, ByeReason, ErrorId, Request, Update};

use super::world::{World, join};
use super::{BATCH, seconds};

#[test]
fn a_broken_connection_is_no_leave_and_its_media_goes_on() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let (anna, bert) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.offer(anna);
    world.offer(bert);
    let (id, secret) = (world.seen(anna).id(), world.seen(anna).resume());
    world.cut(anna);
    world.run(seconds(29));
    assert!(world.seen(bert).roster().contains_key(&id), "nobody is told within the grace");
    let again = world.resume("daily", &secret);
    assert_eq!(world.seen(again).id(), id);
    assert!(world.seen(again).assigned().is_empty(), "its media stands: nothing to connect anew");
    assert!(world.seen(again).roster().len() == 2);
    world.run(seconds(60));
    assert_eq!(world.model(bridge).endpoints().len(), 2);
}

#[test]
fn after_the_grace_a_participant_is_gone_and_its_secret_is_void() {
    let mut world = World::new();
    world.bridge("a");
    let (anna, bert) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    let (id, secret) = (world.seen(anna).id(), world.seen(anna).resume());
    world.cut(anna);
    world.run(seconds(31));
    assert!(!world.seen(bert).roster().contains_key(&id));
    let again = world.resume("daily", &secret);
    assert_eq!(world.seen(again).errors(), [ErrorId::BadResume]);
    world.request(again, join("Anna", None));
    assert_ne!(world.seen(again).id(), id, "it may join anew on the same connection");
}

#[test]
fn the_same_participant_on_a_second_socket_ends_the_first() {
    let mut world = World::new();
    let anna = world.join("daily", "Anna");
    let again = world.resume("daily", &world.seen(anna).resume());
    assert_eq!(world.seen(anna).byes(), [ByeReason::Replaced]);
    assert_eq!(world.seen(anna).closed, Some(ByeReason::Replaced));
    world.cut(anna);
    world.run(seconds(60));
    assert_eq!(
        world.seen(again).roster().len(),
        1,
        "no ghost, and the late close of the first changes nothing"
    );
}

#[test]
fn the_same_secret_twice_is_accepted_because_its_successor_may_never_have_arrived() {
    let mut world = World::new();
    let anna = world.join("daily", "Anna");
    let first = world.seen(anna).resume();
    world.cut(anna);
    let lost = world.resume("daily", &first);
    let again = world.resume("daily", &first);
    assert_eq!(world.seen(lost).byes(), [ByeReason::Replaced]);
    assert_eq!(world.seen(again).id(), world.seen(anna).id());
    let newest = world.seen(again).resume();
    let third = world.resume("daily", &newest);
    assert_eq!(world.seen(third).id(), world.seen(anna).id());
    let too_old = world.resume("daily", &first);
    assert_eq!(world.seen(too_old).errors(), [ErrorId::BadResume], "only the latest two are known");
}

#[test]
fn a_secret_is_bound_to_its_conference_and_ends_with_the_leave() {
    let mut world = World::new();
    let anna = world.join("daily", "Anna");
    let secret = world.seen(anna).resume();
    let elsewhere = world.resume("other", &secret);
    assert_eq!(world.seen(elsewhere).errors(), [ErrorId::BadResume]);
    world.request(anna, Request::Leave);
    let replayed = world.resume("daily", &secret);
    assert_eq!(world.seen(replayed).errors(), [ErrorId::BadResume]);
}

#[test]
fn who_comes_back_after_a_move_is_told_to_connect_anew() {
    let mut world = World::new();
    let first = world.bridge("a");
    let (anna, bert) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.offer(anna);
    world.offer(bert);
    world.cut(anna);
    world.bridge("b");
    world.kill(first);
    let again = world.resume("daily", &world.seen(anna).resume());
    assert_eq!(world.seen(again).assigned(), [(AssignReason::Moved, Epoch(2))]);
}

#[test]
fn chat_said_while_away_is_there_on_return() {
    let mut world = World::new();
    world.bridge("a");
    let (anna, bert) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.offer(anna);
    world.cut(anna);
    world.request(bert, Request::Chat { text: "still there?".to_owned() });
    let again = world.resume("daily", &world.seen(anna).resume());
    assert_eq!(world.seen(again).chat(), [(1, "still there?".to_owned())]);
}

#[test]
fn an_answer_goes_only_to_the_socket_that_offered() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.model(bridge).is_answering = false;
    world.offer(anna);
    let again = world.resume("daily", &world.seen(anna).resume());
    assert_eq!(world.seen(again).assigned(), [(AssignReason::Moved, Epoch(1))], "it has to offer again");
    world.model(bridge).is_answering = true;
    world.offer(again);
    assert_eq!(world.seen(again).answers(), [1]);
    assert!(world.seen(anna).answers().is_empty());
}

#[test]
fn a_lost_endpoint_is_invited_again_under_the_same_epoch() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.offer(anna);
    world.notice(bridge, anna, EndpointEvent::Connected);
    world.notice(bridge, anna, EndpointEvent::ConsentLost);
    assert_eq!(
        world.seen(anna).assigned(),
        [(AssignReason::Started, Epoch(1)), (AssignReason::Moved, Epoch(1))]
    );
    world.offer(anna);
    assert_eq!(world.seen(anna).answers(), [1, 2]);
}

#[test]
fn a_browser_that_never_connects_is_invited_ever_more_rarely() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    let mut invitations = 1;
    for _ in 0..60 {
        if world.seen(anna).assigned().len() == invitations {
            world.offer(anna);
            world.notice(bridge, anna, EndpointEvent::HandshakeFailed);
            invitations += 1;
        }
        world.run(seconds(1));
    }
    assert!((3..=8).contains(&invitations), "{invitations} in a minute");
}

#[test]
fn a_browser_that_replaces_its_connection_itself_is_not_disturbed() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.offer(anna);
    world.notice(bridge, anna, EndpointEvent::Closed);
    world.offer(anna);
    world.run(seconds(5));
    assert_eq!(world.seen(anna).assigned().len(), 1);
}

#[test]
fn a_closed_page_is_gone_sooner_than_a_lost_connection() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let (anna, bert) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.offer(anna);
    world.cut(anna);
    world.notice(bridge, anna, EndpointEvent::Closed);
    world.run(seconds(6));
    assert_eq!(world.seen(bert).roster().len(), 1);
}

#[test]
fn a_notice_of_an_older_assignment_changes_nothing() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let (anna, bert) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.offer(anna);
    let other = world.bridge("b");
    world.notice(other, anna, EndpointEvent::ConsentLost);
    world.request(bert, Request::Leave);
    world.run(seconds(21));
    world.notice(bridge, anna, EndpointEvent::ConsentLost);
    world.run(BATCH);
    assert_eq!(world.seen(anna).assigned().len(), 1);
    assert!(matches!(world.seen(anna).updates.last(), Some(Update::Waiting)));
}

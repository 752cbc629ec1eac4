//! WHIP and WHEP.

use std::time::Duration;

use wire::messages::ids::SourceName;
use wire::messages::link::{CommandBody, EndpointEvent, FromBridge, Notice, Refusal, Reply};
use wire::messages::media::IceCredentials;
use wire::messages::meeting::Request;

use super::world::{World, conference_id, publishing, viewing};
use super::{BATCH, seconds};
use crate::engine::ports::{
    ConferenceName, FocusSettings, HttpAnswer, HttpId, HttpProtocol, HttpRefusal, HttpRequest,
};

fn post(world: &mut World, protocol: HttpProtocol, sdp: String) -> HttpId {
    let conference = ConferenceName::parse("demo").unwrap();
    world.http(HttpRequest::Create { conference, protocol, sdp, pin: None })
}

fn created(world: &World, http: HttpId) -> (String, String) {
    match &world.answers[&http] {
        HttpAnswer::Created { resource, sdp, .. } => (resource.clone(), sdp.clone()),
        other => panic!("{other:?}"),
    }
}

fn refused(world: &World, http: HttpId) -> HttpRefusal {
    match &world.answers[&http] {
        HttpAnswer::Refused(refusal, _) => *refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_publisher_is_assigned_at_once_and_is_seen_by_the_others() {
    let mut world = World::new();
    world.bridge("a");
    let http = post(&mut world, HttpProtocol::Whip, publishing());
    let (_, sdp) = created(&world, http);
    assert!(sdp.contains("a=recvonly"), "{sdp}");
    assert_eq!(world.focus.conferences(world.now)[0].bridge.as_deref(), Some("a"));
    let anna = world.join("demo", "Anna");
    assert!(!world.seen(anna).is_waiting(), "a publisher counts as a participant");
    assert_eq!(world.seen(anna).roster().len(), 2);
}

#[test]
fn a_viewer_is_counted_and_not_seen() {
    let mut world = World::new();
    world.bridge("a");
    let anna = world.join("demo", "Anna");
    let http = post(&mut world, HttpProtocol::Whep, viewing());
    let (_, sdp) = created(&world, http);
    assert!(sdp.contains("a=sendonly"), "{sdp}");
    assert!(world.seen(anna).epoch().is_some(), "a viewer cannot wait for the second participant");
    world.run(BATCH);
    assert_eq!(world.seen(anna).roster().len(), 1);
    let conference = &world.focus.conferences(world.now)[0];
    assert_eq!((conference.participants, conference.viewers), (1, 1));
}

#[test]
fn a_pin_binds_the_slots_of_its_kind() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let source = SourceName::parse("0a1b2c3d-v1").unwrap();
    world.http(HttpRequest::Create {
        conference: ConferenceName::parse("demo").unwrap(),
        protocol: HttpProtocol::Whep,
        sdp: viewing(),
        pin: Some(source.clone()),
    });
    let CommandBody::SetEndpoint { pins, .. } = &world.model(bridge).commands[0].body else { panic!() };
    assert_eq!(pins.len(), 1);
    assert_eq!((pins[0].mid.as_str(), &pins[0].source), ("1", &source));
}

#[test]
fn an_ice_restart_keeps_the_pin_and_a_refused_one_keeps_the_credentials() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let protocol = HttpProtocol::Whep;
    let http = world.http(HttpRequest::Create {
        conference: ConferenceName::parse("demo").unwrap(),
        protocol,
        sdp: viewing(),
        pin: Some(SourceName::parse("0a1b2c3d-v1").unwrap()),
    });
    let (resource, _) = created(&world, http);
    let ice = IceCredentials { ufrag: "new1".to_owned(), pwd: "n".repeat(24) };
    world.model(bridge).refusal = Some(Refusal::BadParameters);
    let http = world.http(HttpRequest::Restart { resource: resource.clone(), protocol, ice: ice.clone() });
    assert_eq!(refused(&world, http), HttpRefusal::BadSdp);
    let place = world.focus.resources[&resource].clone();
    let held = |world: &World| {
        let participant = world.focus.conferences[&place.conference].participant(&place.who).unwrap();
        participant.http().unwrap().parameters.ice.ufrag.clone()
    };
    assert_eq!(held(&world), "EsAw");
    world.model(bridge).refusal = None;
    world.http(HttpRequest::Restart { resource, protocol, ice });
    assert_eq!(held(&world), "new1");
    let commands = &world.model(bridge).commands;
    let pins = |index: usize| match &commands[index].body {
        CommandBody::SetEndpoint { pins, .. } => pins.clone(),
        other => panic!("{other:?}"),
    };
    assert!(pins(0).len() == 1 && pins(1) == pins(0) && pins(2) == pins(0));
}

#[test]
fn a_loop_of_ice_restarts_is_limited() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let http = post(&mut world, HttpProtocol::Whip, publishing());
    let (resource, _) = created(&world, http);
    let protocol = HttpProtocol::Whip;
    let ice = IceCredentials { ufrag: "new1".to_owned(), pwd: "n".repeat(24) };
    let mut restart = || {
        let (resource, ice) = (resource.clone(), ice.clone());
        world.http(HttpRequest::Restart { resource, protocol, ice })
    };
    let answers: Vec<HttpId> = (0..100).map(|_| restart()).collect();
    assert!(matches!(world.answers[&answers[9]], HttpAnswer::Restarted { .. }));
    assert!(answers[10..].iter().all(|http| refused(&world, *http) == HttpRefusal::RateLimited));
    assert_eq!(world.model(bridge).commands.len(), 11);
}

#[test]
fn deleting_the_resource_ends_the_participant_and_a_wrong_one_does_not() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let http = post(&mut world, HttpProtocol::Whip, publishing());
    let (resource, _) = created(&world, http);
    let (protocol, wrong) = (HttpProtocol::Whip, "0".repeat(32));
    let http = world.http(HttpRequest::End { resource: wrong, protocol });
    assert_eq!(refused(&world, http), HttpRefusal::NotFound);
    let http = world.http(HttpRequest::End { resource: resource.clone(), protocol: HttpProtocol::Whep });
    assert_eq!(refused(&world, http), HttpRefusal::NotFound);
    let http = world.http(HttpRequest::End { resource: resource.clone(), protocol });
    assert_eq!(world.answers[&http], HttpAnswer::Ended);
    assert!(world.model(bridge).endpoints().is_empty());
    assert!(world.focus.conferences(world.now).is_empty());
    let http = world.http(HttpRequest::End { resource, protocol });
    assert_eq!(refused(&world, http), HttpRefusal::NotFound);
}

#[test]
fn an_ice_restart_changes_the_credentials_and_the_tag() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let http = post(&mut world, HttpProtocol::Whip, publishing());
    let (resource, _) = created(&world, http);
    let protocol = HttpProtocol::Whip;
    let trickle =
        |tag: &str| HttpRequest::Trickle { resource: resource.clone(), protocol, tag: tag.to_owned() };
    let http = world.http(trickle("ice-0"));
    assert_eq!(world.answers[&http], HttpAnswer::Accepted);
    let ice = IceCredentials { ufrag: "new1".to_owned(), pwd: "n".repeat(24) };
    let http = world.http(HttpRequest::Restart { resource: resource.clone(), protocol, ice: ice.clone() });
    let HttpAnswer::Restarted { fragment, tag } = &world.answers[&http] else { panic!() };
    assert!(fragment.contains("a=ice-ufrag:brdg\r\n") && tag == "ice-1", "{fragment}");
    let CommandBody::SetEndpoint { parameters, .. } = &world.model(bridge).commands[1].body else { panic!() };
    assert_eq!(parameters.ice, ice);
    let http = world.http(trickle("ice-0"));
    assert_eq!(refused(&world, http), HttpRefusal::WrongTag);
}

#[test]
fn every_request_is_answered_even_when_its_participant_ends_meanwhile() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let http = post(&mut world, HttpProtocol::Whip, publishing());
    let (resource, _) = created(&world, http);
    world.join("demo", "Anna");
    world.model(bridge).is_answering = false;
    let protocol = HttpProtocol::Whip;
    let ice = IceCredentials { ufrag: "new1".to_owned(), pwd: "n".repeat(24) };
    let restart = world.http(HttpRequest::Restart { resource: resource.clone(), protocol, ice });
    world.http(HttpRequest::End { resource, protocol });
    let command = world.model(bridge).commands[1].clone();
    let outcome = world.model(bridge).outcome_of(&command);
    world.bridge_says(bridge, FromBridge::Reply(Reply { id: command.id, outcome }));
    assert_eq!(refused(&world, restart), HttpRefusal::NotFound);
}

#[test]
fn without_a_bridge_a_post_is_refused_and_leaves_nothing() {
    let mut world = World::new();
    let http = post(&mut world, HttpProtocol::Whip, publishing());
    assert_eq!(refused(&world, http), HttpRefusal::Unavailable);
    assert!(world.focus.conferences(world.now).is_empty());
}

#[test]
fn a_bridge_that_does_not_answer_or_refuses_is_a_503_and_leaves_nothing() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    world.model(bridge).is_answering = false;
    let http = post(&mut world, HttpProtocol::Whep, viewing());
    world.run(Duration::from_millis(5_100));
    assert_eq!(refused(&world, http), HttpRefusal::Unavailable);
    assert!(world.focus.conferences(world.now).is_empty());
    world.model(bridge).is_answering = true;
    world.model(bridge).refusal = Some(Refusal::Full);
    let http = post(&mut world, HttpProtocol::Whep, viewing());
    assert_eq!(refused(&world, http), HttpRefusal::Unavailable);
    assert!(world.focus.conferences(world.now).is_empty());
}

#[test]
fn an_offer_in_the_wrong_direction_is_a_bad_request() {
    let mut world = World::new();
    world.bridge("a");
    for (protocol, sdp) in [
        (HttpProtocol::Whip, viewing()),
        (HttpProtocol::Whep, publishing()),
        (HttpProtocol::Whip, "garbage".to_owned()),
    ] {
        let http = post(&mut world, protocol, sdp);
        assert_eq!(refused(&world, http), HttpRefusal::BadSdp);
    }
    assert!(world.focus.conferences(world.now).is_empty());
}

#[test]
fn a_conference_holds_as_many_viewers_as_it_may() {
    let mut world = World::with(FocusSettings { viewers_max: 2, ..FocusSettings::default() });
    world.bridge("a");
    let answers = [0, 1, 2].map(|_| post(&mut world, HttpProtocol::Whep, viewing()));
    assert_eq!(refused(&world, answers[2]), HttpRefusal::ConferenceFull);
    assert_eq!(world.focus.stats().viewers, 2);
}

#[test]
fn a_publisher_whose_media_is_lost_is_gone() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let http = post(&mut world, HttpProtocol::Whip, publishing());
    created(&world, http);
    let endpoint = world.model(bridge).endpoints()[0].clone();
    let epoch = world.focus.conferences(world.now)[0].epoch;
    let event = EndpointEvent::ConsentLost;
    let notice = Notice { conference: conference_id("demo"), epoch, endpoint, event };
    world.bridge_says(bridge, FromBridge::Notice(notice));
    assert!(world.focus.conferences(world.now).is_empty());
}

#[test]
fn publishers_end_with_their_bridge_and_browsers_move() {
    let mut world = World::new();
    let first = world.bridge("a");
    post(&mut world, HttpProtocol::Whip, publishing());
    let (anna, bert) = (world.join("demo", "Anna"), world.join("demo", "Bert"));
    let second = world.bridge("b");
    world.kill(first);
    world.run(BATCH);
    assert_eq!(world.seen(anna).roster().len(), 2, "the publisher posts again by itself");
    world.offer(bert);
    assert_eq!(world.model(second).endpoints().len(), 1);
    world.request(bert, Request::Leave);
    world.run(seconds(21));
    assert!(world.seen(anna).is_waiting());
}

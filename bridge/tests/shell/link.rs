//! What signaling sees.

use std::time::{Duration, Instant};

use wire::messages::ids::Epoch;
use wire::messages::link::{CommandBody, FromBridge, Outcome, Refusal};

use crate::world::browser::{Browser, parameters};
use crate::world::{World, conference, endpoint, http, soon, until};

#[tokio::test]
async fn a_bridge_introduces_itself_and_then_shows_that_it_lives() {
    let (world, mut link) = World::start_with(|settings| settings.region = Some("eu".to_owned())).await;
    assert_eq!(link.hello.bridge.as_str(), "bridge-1");
    assert_eq!(link.hello.region.as_deref(), Some("eu"));
    assert_eq!(link.hello.channel, format!("http://{}", world.bound.channel));
    assert_eq!(link.hello.boot.len(), 32);
    assert!(link.hello.conferences.is_empty());

    let began = Instant::now();
    let (mut heartbeats, mut loads) = (0, 0);
    while heartbeats < 8 || loads < 2 {
        match link.next().await {
            FromBridge::Heartbeat => heartbeats += 1,
            FromBridge::Load(load) => {
                loads += 1;
                assert!((0.0..=1.0).contains(&load.stress));
                assert!(!load.draining);
            }
            other => panic!("{other:?}"),
        }
    }
    // Eight heart-beats are seven intervals of 250 ms; a slow machine may be late, none may be early.
    assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn an_endpoint_is_answered_with_everything_its_browser_needs() {
    let (world, mut link) = World::start().await;
    let transport = link.set_endpoint(&conference('a'), &endpoint(1), parameters(&endpoint(1))).await;
    assert!(transport.ice.ufrag.len() >= 4 && transport.ice.pwd.len() >= 22);
    assert_eq!(transport.fingerprint.algorithm, "sha-256");
    assert_eq!(transport.candidates.len(), 1);
    assert!(world.bound.media_ports.contains(&transport.candidates[0].address.port()));
    assert!(link.hello.media.contains(&transport.candidates[0].address), "a relay has to let it through");
    let path = format!("/colibri-ws/bridge-1/{}/{}?pwd=", conference('a'), endpoint(1));
    let password = transport.channel_path.strip_prefix(&path).unwrap();
    assert_eq!(password.len(), 24);
    world.stop().await;
}

#[tokio::test]
async fn conferences_spread_over_the_workers_and_stay_whole() {
    let (world, mut link) = World::start().await;
    let mut ports = Vec::new();
    for (letter, number) in [('a', 1), ('b', 2), ('a', 3), ('b', 4)] {
        let id = endpoint(number);
        let transport = link.set_endpoint(&conference(letter), &id, parameters(&id)).await;
        ports.push(transport.candidates[0].address.port());
    }
    assert_ne!(ports[0], ports[1]);
    assert_eq!(ports[..2], ports[2..]);
    world.stop().await;
}

#[tokio::test]
async fn a_command_that_cannot_be_done_is_answered_and_the_link_stays() {
    let (world, mut link) = World::start().await;
    let letter = conference('a');
    let id = letter.as_str();
    for (text, expected) in [
        (
            r#"{"id":1,"conference":"../etc","epoch":1,"body":{"type":"end_conference"}}"#.to_owned(),
            Refusal::BadParameters,
        ),
        (
            format!(
                r#"{{"id":1,"conference":"{id}","epoch":1,"body":{{"type":"set_endpoint","endpoint":"x"}}}}"#
            ),
            Refusal::BadParameters,
        ),
        (
            format!(
                r#"{{"id":1,"conference":"{id}","epoch":1,"body":{{"type":"from_the_future","x":[1]}}}}"#
            ),
            Refusal::UnknownCommand,
        ),
    ] {
        link.send_text(&text).await;
        match link.reply_to(1).await.outcome {
            Outcome::Refused { error, .. } => assert_eq!(error, expected, "{text}"),
            other => panic!("{other:?}"),
        }
    }
    // What has no id is nobody's question.
    for text in ["", "{", "[]", "null", r#"{"type":"announcement"}"#, r#"{"id":-1}"#, &"[".repeat(5000)] {
        link.send_text(text).await;
    }
    assert_eq!(link.command(&letter, 1, CommandBody::EndConference).await, Outcome::Done);
    world.stop().await;
}

#[tokio::test]
async fn an_older_assignment_is_refused() {
    let (world, mut link) = World::start().await;
    let set = |parameters| CommandBody::SetEndpoint { endpoint: endpoint(1), parameters, pins: Vec::new() };
    let first = link.command(&conference('a'), 5, set(parameters(&endpoint(1)))).await;
    assert!(matches!(first, Outcome::Transport(_)), "{first:?}");
    match link.command(&conference('a'), 4, set(parameters(&endpoint(1)))).await {
        Outcome::Refused { error, .. } => assert_eq!(error, Refusal::StaleEpoch),
        other => panic!("{other:?}"),
    }
    assert_eq!(link.command(&conference('a'), 5, CommandBody::EndConference).await, Outcome::Done);
    match link.command(&conference('a'), 4, set(parameters(&endpoint(1)))).await {
        Outcome::Refused { error, .. } => assert_eq!(error, Refusal::StaleEpoch),
        other => panic!("{other:?}"),
    }
    world.stop().await;
}

#[tokio::test]
async fn doing_a_command_twice_changes_nothing() {
    let (world, mut link) = World::start().await;
    let first = link.set_endpoint(&conference('a'), &endpoint(1), parameters(&endpoint(1))).await;
    let second = link.set_endpoint(&conference('a'), &endpoint(1), parameters(&endpoint(1))).await;
    assert_eq!(first, second);
    for _ in 0..2 {
        let remove = CommandBody::RemoveEndpoint { endpoint: endpoint(1) };
        assert_eq!(link.command(&conference('a'), 1, remove).await, Outcome::Done);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_full_bridge_refuses_the_next_endpoint_over_all_workers() {
    let (world, mut link) = World::start_with(|settings| settings.endpoints_max = 2).await;
    for (letter, number) in [('a', 1), ('b', 2)] {
        let id = endpoint(number);
        link.set_endpoint(&conference(letter), &id, parameters(&id)).await;
    }
    let third = |parameters| CommandBody::SetEndpoint { endpoint: endpoint(3), parameters, pins: Vec::new() };
    match link.command(&conference('c'), 1, third(parameters(&endpoint(3)))).await {
        Outcome::Refused { error, .. } => assert_eq!(error, Refusal::Full),
        other => panic!("{other:?}"),
    }
    assert_eq!(link.command(&conference('a'), 1, CommandBody::EndConference).await, Outcome::Done);
    link.set_endpoint(&conference('c'), &endpoint(3), parameters(&endpoint(3))).await;
    world.stop().await;
}

#[tokio::test]
async fn media_goes_on_while_the_link_is_down_and_the_next_hello_says_what_is_carried() {
    let (mut world, mut link) = World::start().await;
    let transport = link.set_endpoint(&conference('a'), &endpoint(1), parameters(&endpoint(1))).await;
    let mut browser = Browser::open(&transport).await;
    browser.check().await;
    let boot = link.hello.boot.clone();
    drop(link);
    browser.check().await;

    let mut link = world.signaling.next_link().await;
    assert_eq!(link.hello.boot, boot);
    assert_eq!(link.hello.conferences.len(), 1);
    let live = &link.hello.conferences[0];
    assert_eq!((&live.conference, live.epoch), (&conference('a'), Epoch(1)));
    assert_eq!(live.endpoints, [endpoint(1)]);
    let again = link.set_endpoint(&conference('a'), &endpoint(1), parameters(&endpoint(1))).await;
    assert_eq!(again, transport);
    world.stop().await;
}

#[tokio::test]
async fn a_link_that_says_nothing_is_dialled_anew() {
    let (mut world, link) = World::start().await;
    // Not read from and not answered, as behind a cut cable: no pong ever comes.
    let began = Instant::now();
    let second = soon(world.signaling.next_link()).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(second.hello.boot, link.hello.boot);
    world.stop().await;
}

#[tokio::test]
async fn the_load_says_what_is_carried_and_that_the_bridge_drains() {
    let (world, mut link) = World::start().await;
    link.set_endpoint(&conference('a'), &endpoint(1), parameters(&endpoint(1))).await;
    loop {
        let load = link.next_load().await;
        if (load.conferences, load.endpoints) == (1, 1) {
            break;
        }
    }
    let answer = http::request(world.bound.rest, "POST", "/colibri/drain/enable", &[]).await;
    assert_eq!((answer.status, answer.json()["drain"].as_bool()), (200, Some(true)));
    while !link.next_load().await.draining {}
    until(|| async { http::get(world.bound.rest, "/readyz").await.status == 503 }).await;
    world.stop().await;
}

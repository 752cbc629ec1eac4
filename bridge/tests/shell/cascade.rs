//! A conference that is too large for one worker, on a bridge that has two.

use std::collections::BTreeSet;

use serde_json::Value;
use wire::messages::ids::EndpointId;
use wire::messages::link::{CommandBody, EndpointEvent, Outcome};
use wire::messages::media::MediaKind;

use crate::world::browser::{
    AUDIO_PAYLOAD_TYPE, Browser, Certified, VIDEO_PAYLOAD_TYPE, parameters_with, ssrc_of,
};
use crate::world::signaling::Link;
use crate::world::{World, conference, endpoint, http, until};

/// A connected browser, the worker's port it talks to, and the SSRCs of its slots.
struct Joined {
    id: EndpointId,
    browser: Browser,
    port: u16,
    voice_slot: u32,
    picture_slot: u32,
}

async fn join(link: &mut Link, number: u32) -> Joined {
    let (id, certified) = (endpoint(number), Certified::new());
    let parameters = parameters_with(&id, certified.fingerprint.clone());
    let transport = link.set_endpoint(&conference('a'), &id, parameters).await;
    let mut browser = Browser::open(&transport).await;
    browser.connect(certified).await;
    let notice = link.next_notice().await;
    assert_eq!((&notice.endpoint, notice.event), (&id, EndpointEvent::Connected));
    let port = transport.candidates[0].address.port();
    Joined { id, browser, port, voice_slot: transport.slots[0].ssrc, picture_slot: transport.slots[1].ssrc }
}

async fn meeting(people: u32) -> (World, Link, Vec<Joined>) {
    let (world, mut link) = World::start_with(|settings| settings.spread_above = 2).await;
    let mut joined = Vec::new();
    for number in 1..=people {
        joined.push(join(&mut link, number).await);
    }
    (world, link, joined)
}

/// Publishes until everybody else has heard the voice and seen the picture.
async fn is_heard_and_seen_by_all(sender: &Joined, receivers: &[&Joined]) {
    let picture =
        [&[0x10, 0x00, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00][..], &[7; 900]].concat();
    let mut missing: BTreeSet<(usize, bool)> =
        (0..receivers.len()).flat_map(|place| [(place, false), (place, true)]).collect();
    for sequence in 1..2_000 {
        let (voice, video) = (ssrc_of(&sender.id, MediaKind::Audio), ssrc_of(&sender.id, MediaKind::Video));
        sender.browser.publish(voice, AUDIO_PAYLOAD_TYPE, sequence, b"a voice").await;
        sender.browser.publish(video, VIDEO_PAYLOAD_TYPE, sequence, &picture).await;
        let (place, _) = *missing.first().expect("somebody is missing");
        let (ssrc, payload) = receivers[place].browser.next_media().await;
        if ssrc == receivers[place].voice_slot {
            assert_eq!(payload, b"a voice");
            missing.remove(&(place, false));
        } else {
            assert_eq!(ssrc, receivers[place].picture_slot);
            assert!(payload.ends_with(&[7; 900]));
            missing.remove(&(place, true));
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("not reached: {missing:?}");
}

async fn stats(world: &World) -> Value {
    http::get(world.bound.rest, "/stats").await.json()
}

#[tokio::test]
async fn more_than_one_worker_takes_still_hear_and_see_each_other() {
    let (world, mut link, joined) = meeting(4).await;
    let ports: Vec<u16> = joined.iter().map(|each| each.port).collect();
    assert_eq!(ports[0], ports[1]);
    assert_eq!(ports[2], ports[3]);
    assert_ne!(ports[1], ports[2], "two on each worker");
    // One slot each: the sender that came last is seen by those who see nobody yet.
    let others: Vec<&Joined> = joined[1..].iter().collect();
    is_heard_and_seen_by_all(&joined[0], &others).await;
    until(|| async {
        let stats = stats(&world).await;
        (stats["conferences"].as_u64(), stats["endpoints"].as_u64()) == (Some(1), Some(4))
            && stats["largest_conference"] == 4
            && stats["conference_sizes"][4] == 1
            && stats["total_conferences_created"] == 1
    })
    .await;
    let rows = stats(&world).await["workers"].as_array().unwrap().clone();
    assert!(rows.iter().all(|row| row["endpoints"] == 2), "{rows:?}");
    assert_eq!(link.command(&conference('a'), 1, CommandBody::EndConference).await, Outcome::Done);
    until(|| async { stats(&world).await["endpoints"] == 0 }).await;
    world.stop().await;
}

#[tokio::test]
async fn who_leaves_makes_room_and_who_stays_goes_on() {
    let (world, mut link, mut joined) = meeting(3).await;
    let gone = joined.remove(2);
    let remove = CommandBody::RemoveEndpoint { endpoint: gone.id.clone() };
    assert_eq!(link.command(&conference('a'), 1, remove).await, Outcome::Done);
    until(|| async { stats(&world).await["endpoints"] == 2 }).await;
    let again = join(&mut link, 4).await;
    assert_eq!(again.port, gone.port);
    is_heard_and_seen_by_all(&joined[0], &[&joined[1], &again]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_newer_epoch_ends_the_older_one_on_every_worker() {
    let (world, mut link, joined) = meeting(4).await;
    let id = joined[3].id.clone();
    let parameters = parameters_with(&id, Certified::new().fingerprint);
    let body = CommandBody::SetEndpoint { endpoint: id, parameters, pins: Vec::new() };
    let outcome = link.command(&conference('a'), 2, body).await;
    let Outcome::Transport(transport) = outcome else { panic!("{outcome:?}") };
    assert_eq!(transport.candidates[0].address.port(), joined[0].port, "where it began");
    until(|| async { stats(&world).await["endpoints"] == 1 }).await;
    world.stop().await;
}

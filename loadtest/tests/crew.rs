//! Crews and their phones over loopback.
#![allow(clippy::unwrap_used, clippy::panic)]

mod model;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use loadtest::crew::{CrewSettings, Crews, PathPlan};
use loadtest::engine::ports::Note;
use loadtest::phone::{Phone, PhoneError};
use loadtest::scenario::Link;

use self::model::{ModelServer, SLOTS, answer, listener, next_note};

fn crews(threads: usize) -> Crews {
    Crews::start(CrewSettings { threads }).unwrap()
}

fn phone(crews: &Crews, number: u32, path: PathPlan, group: usize) -> Phone {
    Phone::Light(crews.phone(listener(number), path, group))
}

/// A port that nobody listens on.
fn deserted() -> SocketAddr {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_caller_reaches_its_server_and_hangs_up() {
    let (crews, server) = (crews(1), ModelServer::start());
    let mut phone = phone(&crews, 1, PathPlan::default(), 3);
    assert_eq!(phone.note().await, None, "there is no connection yet");
    let offer = phone.offer(SLOTS, None).await.unwrap();
    assert!(offer.contains("m=audio"));
    phone.answer(&answer(&[server.address])).await.unwrap();
    assert_eq!(next_note(&mut phone).await, Some(Note::IceConnected));
    server.wait_until("a handshake begins", |seen| seen.hellos > 0);

    let sample = crews.sample();
    assert_eq!((sample.load.callers, sample.groups.len(), sample.groups[0].0), (1, 1, 3));
    assert!(
        sample.load.busy < 1.0 && sample.load.receive_buffer_bytes.unwrap() > 100_000,
        "{:?}",
        sample.load
    );
    phone.hang_up().await;
    assert_eq!(phone.note().await, None);
    assert_eq!(crews.sample().load.callers, 0);
}

#[tokio::test]
async fn a_new_offer_ends_the_connection_before() {
    let (crews, server) = (crews(1), ModelServer::start());
    let mut phone = phone(&crews, 1, PathPlan::default(), 0);
    for sources in 1..=3 {
        phone.offer(SLOTS, None).await.unwrap();
        phone.answer(&answer(&[server.address])).await.unwrap();
        assert_eq!(next_note(&mut phone).await, Some(Note::IceConnected));
        assert_eq!(crews.sample().load.callers, 1);
        assert_eq!(server.seen().sources.len(), sources, "each connection has its own port");
    }
    drop(phone);
    assert_eq!(crews.sample().load.callers, 0, "a phone that is dropped hangs up");
}

#[tokio::test]
async fn a_candidate_where_nobody_listens_is_passed_over() {
    let (crews, server) = (crews(1), ModelServer::start());
    let mut phone = phone(&crews, 1, PathPlan::default(), 0);
    phone.offer(SLOTS, None).await.unwrap();
    phone.answer(&answer(&[deserted(), server.address])).await.unwrap();
    assert_eq!(next_note(&mut phone).await, Some(Note::IceConnected));
}

#[tokio::test]
async fn an_answer_that_leads_nowhere_is_one_clear_line() {
    let crews = crews(1);
    let mut phone = phone(&crews, 1, PathPlan::default(), 0);
    assert_eq!(phone.answer("v=0").await, Err(PhoneError::NoOffer));
    phone.offer(SLOTS, None).await.unwrap();
    assert!(matches!(phone.answer("nonsense").await, Err(PhoneError::BadAnswer(_))));
}

#[tokio::test]
async fn a_link_delays_both_ways() {
    let (crews, server) = (crews(1), ModelServer::start());
    let link = Link { delay_ms: 150.0, ..Link::default() };
    let mut phone = phone(&crews, 1, PathPlan { link: Some(link), ..PathPlan::default() }, 0);
    phone.offer(SLOTS, None).await.unwrap();
    let start = Instant::now();
    phone.answer(&answer(&[server.address])).await.unwrap();
    let (at, note) = tokio::time::timeout(model::PATIENCE, phone.note()).await.unwrap().unwrap();
    assert_eq!(note, Note::IceConnected);
    assert!(at - start >= Duration::from_millis(300), "{:?}", at - start);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_callers_on_two_threads_all_get_through() {
    let (crews, server) = (crews(2), ModelServer::start());
    let mut phones = Vec::new();
    for number in 0..300 {
        let mut phone = phone(&crews, number, PathPlan::default(), (number % 2) as usize);
        phone.offer(SLOTS, None).await.unwrap();
        phone.answer(&answer(&[server.address])).await.unwrap();
        phones.push(phone);
    }
    for phone in &mut phones {
        assert_eq!(next_note(phone).await, Some(Note::IceConnected));
    }
    let sample = crews.sample();
    assert_eq!((sample.load.callers, sample.load.unsent), (300, 0));
    assert_eq!(sample.groups.iter().map(|(group, _)| *group).collect::<Vec<_>>(), [0, 1]);
    crews.stop();
    let ended = tokio::time::timeout(model::PATIENCE, phones[0].note()).await.unwrap();
    assert_eq!(ended, None, "a crew that has ended says nothing more");
    assert_eq!(phones[1].offer(SLOTS, None).await, Err(PhoneError::CrewEnded));
}

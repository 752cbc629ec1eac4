//! Requests and messages that are wrong, and what they get.

use std::net::SocketAddr;
use std::time::Duration;

use wire::messages::ids::{ConferenceId, EndpointId, Epoch};
use wire::messages::link::{FromBridge, Hello, Load, Notice, Outcome, Reply};
use wire::messages::meeting::{ByeReason, Changes, ErrorId, Request, Update};

use super::seconds;
use super::world::{World, hello, join};
use crate::engine::ports::{ConferenceName, ConnectionId, FocusSettings, LinkFault, LinkId};

#[test]
fn nothing_but_ping_is_answered_before_the_join() {
    let mut world = World::new();
    let connection = world.open("daily");
    world.request(connection, Request::Ping);
    assert!(matches!(world.seen(connection).updates.as_slice(), [Update::Pong]));
    let early = [
        Request::Offer { sdp: "v=0".to_owned(), rev: 1 },
        Request::Leave,
        Request::Chat { text: "hi".to_owned() },
        Request::Set(Changes::default()),
    ];
    for request in early {
        world.request(connection, request);
    }
    assert_eq!(world.seen(connection).errors(), [ErrorId::BadOrder; 4]);
    world.request(connection, join("Anna", None));
    world.request(connection, join("Anna", None));
    assert_eq!(world.seen(connection).errors().last(), Some(&ErrorId::BadOrder), "a second join");
    assert_eq!(world.seen(connection).roster().len(), 1);
}

#[test]
fn who_does_not_join_is_closed_after_five_seconds() {
    let mut world = World::new();
    let silent = world.open("daily");
    let joined = world.join("daily", "Anna");
    world.run(seconds(4));
    assert_eq!(world.seen(silent).closed, None);
    world.run(seconds(2));
    assert_eq!(world.seen(silent).byes(), [ByeReason::JoinTimeout]);
    assert_eq!(world.seen(joined).closed, None);
}

#[test]
fn secrets_that_are_tried_again_and_again_keep_no_socket_open() {
    let mut world = World::new();
    let guessing = world.open("daily");
    for _ in 0..2 {
        world.run(seconds(4));
        assert_eq!(world.seen(guessing).closed, None);
        world.request(guessing, join("Anna", Some("guess")));
    }
    assert_eq!(world.seen(guessing).errors(), [ErrorId::BadResume; 2]);
    world.run(seconds(2));
    assert_eq!(
        world.seen(guessing).byes(),
        [ByeReason::JoinTimeout],
        "one more chance, not one more each time"
    );
}

#[test]
fn names_are_normalised_or_refused() {
    let mut world = World::new();
    for bad in ["", "   ", "\u{200b}", "a\0b", "a\u{1b}[31m"] {
        let connection = world.join("daily", bad);
        assert_eq!(world.seen(connection).errors(), [ErrorId::BadName], "{bad:?}");
    }
    let long = world.join("daily", &"x".repeat(10_000));
    assert_eq!(world.seen(long).roster().values().next().map(|shown| shown.name.len()), Some(64));
    for bad in ["", " ", "\0", "../../etc", "..", &"x".repeat(1_000_000)] {
        assert_eq!(ConferenceName::parse(bad), None);
    }
    let one = ConferenceName::parse("Cafe\u{301}").unwrap();
    let other = ConferenceName::parse("Caf\u{e9}").unwrap();
    assert_eq!(one, other, "the same to a reader is the same conference");
    for odd in ["a.*.>", "${jndi:x}", "<img src=x>"] {
        let name = ConferenceName::parse(odd).unwrap();
        assert!(ConferenceId::parse(name.id.as_str()).is_ok(), "nothing of the name in the id");
    }
}

#[test]
fn a_bad_offer_is_a_typed_error_and_the_connection_stays() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    let no_ice = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
                  m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n";
    for sdp in ["", "not SDP", no_ice] {
        world.request(anna, Request::Offer { sdp: sdp.to_owned(), rev: 1 });
    }
    assert_eq!(world.seen(anna).errors(), [ErrorId::BadSdp; 3]);
    assert!(world.model(bridge).commands.is_empty());
    world.offer(anna);
    assert_eq!(world.seen(anna).answers(), [1]);
}

#[test]
fn a_loop_of_offers_is_limited() {
    let mut world = World::new();
    let bridge = world.bridge("a");
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    for _ in 0..1000 {
        world.offer(anna);
        world.run(Duration::from_millis(10));
    }
    let commands = world.model(bridge).commands.len();
    assert!((50..=62).contains(&commands), "{commands} offers in ten seconds");
    assert!(world.seen(anna).errors().iter().all(|id| *id == ErrorId::RateLimited));
}

#[test]
fn an_offer_while_waiting_is_refused() {
    let mut world = World::new();
    world.bridge("a");
    let anna = world.join("daily", "Anna");
    world.offer(anna);
    assert_eq!(world.seen(anna).errors(), [ErrorId::NotAssigned]);
}

#[test]
fn chat_at_the_limit_passes_and_over_it_is_refused() {
    let mut world = World::new();
    let anna = world.join("daily", "Anna");
    for text in ["x".repeat(2048), "x".repeat(2049), " \u{202e}".to_owned(), "<b>👩‍🚀</b>".to_owned()]
    {
        world.request(anna, Request::Chat { text });
    }
    assert_eq!(world.seen(anna).errors(), [ErrorId::TooLong, ErrorId::BadMessage]);
    assert_eq!(world.seen(anna).chat().len(), 2);
}

#[test]
fn a_flood_of_chat_is_refused_and_ends_nobody() {
    let mut world = World::new();
    let (anna, bert) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    let say = |world: &mut World| world.request(anna, Request::Chat { text: "hi".to_owned() });
    for _ in 0..300 {
        say(&mut world);
    }
    assert_eq!(world.seen(anna).errors(), [ErrorId::RateLimited; 290]);
    assert_eq!(world.seen(bert).chat().len(), 10);
    assert!(world.seen(bert).errors().is_empty());
    world.request(bert, Request::Chat { text: "one at a time".to_owned() });
    world.run(seconds(1));
    for _ in 0..10 {
        say(&mut world);
    }
    assert_eq!(world.seen(bert).chat().len(), 13, "two more after a second, and the other's own");
    assert!(world.browsers.values().all(|browser| browser.closed.is_none()));
}

#[test]
fn a_conference_holds_as_many_as_it_may() {
    let mut world = World::with(FocusSettings { participants_max: 3, ..FocusSettings::default() });
    let browsers = ["1", "2", "3", "4"].map(|name| world.join("daily", name));
    assert_eq!(world.seen(browsers[3]).errors(), [ErrorId::ConferenceFull]);
    world.request(browsers[0], Request::Leave);
    world.request(browsers[3], join("4", None));
    assert_eq!(world.seen(browsers[3]).roster().len(), 3);
}

#[test]
fn a_snapshot_holds_nothing_but_what_is_to_be_seen() {
    let mut world = World::new();
    world.join("daily", "Anna");
    let bert = world.join("daily", "Bert");
    let state =
        world.seen(bert).updates.iter().find(|update| matches!(update, Update::State { .. })).unwrap();
    let json = serde_json::to_value(state).unwrap();
    for participant in json["snapshot"]["participants"].as_array().unwrap() {
        let keys: Vec<&String> = participant.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["hand", "id", "muted_audio", "muted_video", "name", "screen"]);
    }
}

#[test]
fn requests_of_a_connection_that_is_gone_do_nothing() {
    let mut world = World::new();
    let anna = world.join("daily", "Anna");
    world.request(anna, Request::Leave);
    world.focus.handle_browser(world.now, anna, Request::Chat { text: "ghost".to_owned() });
    world.focus.handle_browser(world.now, ConnectionId(999), Request::Ping);
    world.focus.handle_connection_closed(world.now, ConnectionId(999));
    assert!(world.focus.poll_output().is_none());
    assert!(world.focus.conferences(world.now).is_empty());
}

// Links

#[test]
fn a_link_without_hello_is_closed_and_leaves_nothing() {
    let mut world = World::new();
    let silent = world.bridge("a");
    world.kill(silent);
    let link = LinkId(500);
    let template = hello("b", "boot-1");
    world.bridges.insert(link, super::world::Bridge::silent(template));
    world.focus.handle_link_opened(world.now, link);
    world.bridge_says(link, FromBridge::Heartbeat);
    assert_eq!(world.model(link).closed, Some(LinkFault::HelloMissing));
    let late = LinkId(501);
    world.bridges.insert(late, super::world::Bridge::silent(hello("c", "boot-1")));
    world.focus.handle_link_opened(world.now, late);
    world.run(seconds(6));
    assert_eq!(world.model(late).closed, Some(LinkFault::HelloMissing));
    assert!(world.focus.bridges().is_empty());
}

#[test]
fn a_second_hello_on_a_link_closes_it() {
    let mut world = World::new();
    let link = world.bridge("a");
    world.bridge_says(link, FromBridge::Hello(hello("b", "boot-1")));
    assert_eq!(world.model(link).closed, Some(LinkFault::SecondHello));
    assert!(world.focus.bridges().is_empty(), "neither of the two names stays");
}

#[test]
fn a_channel_that_is_no_http_url_is_refused() {
    let mut world = World::new();
    for channel in ["", "file:///etc/passwd", "gopher://a", "//a", "https://a"] {
        let link = world.bridge_as(Hello { channel: channel.to_owned(), ..hello("a", "boot-1") });
        assert_eq!(world.model(link).closed, Some(LinkFault::BadChannel), "{channel:?}");
    }
}

#[test]
fn media_addresses_that_are_nobodys_or_too_many_are_refused() {
    let mut world = World::new();
    let with = |media: &[SocketAddr]| Hello { media: media.to_vec(), ..hello("a", "boot-1") };
    for hostile in [
        "0.0.0.0:10000",
        "[::]:10000",
        "[::ffff:0.0.0.0]:10000",
        "224.0.0.1:10000",
        "[::ffff:239.1.2.3]:10000",
        "[ff02::1]:10000",
        "255.255.255.255:10000",
        "192.0.2.1:0",
    ] {
        let link = world.bridge_as(with(&["192.0.2.1:10000".parse().unwrap(), hostile.parse().unwrap()]));
        assert_eq!(world.model(link).closed, Some(LinkFault::BadMedia), "{hostile}");
    }
    let many: Vec<SocketAddr> = (1..=257).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
    let link = world.bridge_as(with(&many));
    assert_eq!(world.model(link).closed, Some(LinkFault::BadMedia));
    assert!(world.focus.bridges().is_empty());
    world.bridge_as(with(&many[..256]));
    assert_eq!(world.focus.bridges()[0].media, many[..256]);
}

#[test]
fn replies_and_notices_about_nothing_change_nothing() {
    let mut world = World::new();
    let link = world.bridge("a");
    let other = world.bridge("b");
    world.model(link).is_answering = false;
    world.model(other).is_answering = false;
    let (anna, _) = (world.join("daily", "Anna"), world.join("daily", "Bert"));
    world.offer(anna);
    let asked = if world.bridges[&link].commands.is_empty() { other } else { link };
    let stranger = if asked == link { other } else { link };
    let id = world.model(asked).commands[0].id;
    // Another bridge answers in its place; then ids that nobody asked for, twice.
    for id in [id, 999, 999] {
        world.bridge_says(stranger, FromBridge::Reply(Reply { id, outcome: Outcome::Done }));
    }
    let notice = Notice {
        conference: ConferenceName::parse("nowhere").unwrap().id,
        epoch: Epoch(u64::MAX),
        endpoint: EndpointId::parse("00000000").unwrap(),
        event: wire::messages::link::EndpointEvent::Closed,
    };
    world.bridge_says(link, FromBridge::Notice(notice));
    world.bridge_says(link, FromBridge::Unknown);
    assert!(world.seen(anna).errors().is_empty() && world.seen(anna).answers().is_empty());
    assert_eq!(world.focus.stats().commands_pending, 1);
}

#[test]
fn a_hello_with_ten_thousand_conferences_costs_no_memory() {
    let mut world = World::new();
    let many = (0..10_000).map(|number| super::world::live(&format!("c{number}"), Epoch(number))).collect();
    world.bridge_as(Hello { conferences: many, ..hello("a", "boot-1") });
    assert!(world.focus.conferences(world.now).is_empty());
    let (anna, _) = (world.join("c5", "Anna"), world.join("c5", "Bert"));
    assert!(world.seen(anna).epoch() > Some(Epoch(9_999)));
}

#[test]
fn absurd_loads_are_shown_as_overload() {
    let mut world = World::new();
    let link = world.bridge("a");
    for stress in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        world.report(link, Load { stress, ..Load::default() });
        assert!((world.focus.bridges()[0].stress - 10.0).abs() < f64::EPSILON);
    }
}

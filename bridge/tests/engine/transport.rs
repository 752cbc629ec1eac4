//! Paths, keys, consent: nothing goes to an address, and nothing is believed from one, before ICE has seen it.

use bridge::engine::drop_reason::DropReason;
use bridge::engine::ports::{HandshakeCommand, HandshakeReport, Path};
use wire::messages::link::EndpointEvent;

use crate::world::browser::Browser;
use crate::world::{BRIDGE_IP, World, ms, secs};

fn stranger() -> Path {
    Path { remote: ([203, 0, 113, 66], 6_666).into(), local: BRIDGE_IP }
}

#[test]
fn a_stranger_gets_no_answer_to_anything() {
    let mut world = World::new();
    let known = world.join(Browser::talker(1));
    world.run(secs(1));
    let sent = world.sent_datagrams;
    let mut wrong = Browser::watcher(7);
    let mut transport = world.set_endpoint(known);
    world.run(ms(0));
    transport.ice.pwd = "not-the-password-of-this-bridge".to_owned();
    wrong.take_transport(&transport);
    wrong.ice = world.browsers[known].ice.clone();
    let bad_password = wrong.check(true).unwrap();
    transport.ice.ufrag = "nobody".to_owned();
    wrong.take_transport(&transport);
    let bad_ufrag = wrong.check(true).unwrap();
    for datagram in
        [bad_password, bad_ufrag, vec![22, 254, 253, 0, 0], vec![0x80, 96, 0, 1], vec![0x80, 200, 0, 1]]
    {
        world.inject(stranger(), datagram);
    }
    assert_eq!(world.sent_datagrams, sent);
    assert_eq!(world.dropped(DropReason::StunBadIntegrity), 1);
    assert_eq!(world.dropped(DropReason::UnknownUfrag), 1);
    assert_eq!(world.dropped(DropReason::UnknownSource), 3);
}

#[test]
fn a_handshake_begins_with_a_check_and_not_before() {
    let mut world = World::new();
    world.completes_handshakes = false;
    let mut browser = Browser::talker(1);
    browser.sends_checks = false;
    let place = world.join(browser);
    let (path, hello) = (world.browsers[place].path, vec![22, 254, 253, 1, 2, 3]);
    world.inject(path, hello.clone());
    assert!(world.browsers[place].handshake_commands.is_empty());
    let check = world.browsers[place].check(true).into_iter().collect();
    world.send_all(place, check);
    world.run(ms(50));
    world.inject(path, hello.clone());
    let commands = &world.browsers[place].handshake_commands;
    let [HandshakeCommand::Start(fingerprints), HandshakeCommand::Datagram(datagram)] = commands.as_slice()
    else {
        panic!("{commands:?}");
    };
    assert_eq!((fingerprints[0].value.as_str(), datagram), ("FP:1", &hello));
    let report = HandshakeReport::Transmit(vec![22, 9, 9]);
    let sent = world.sent_datagrams;
    world.bridge.handle_handshake(world.now, world.browsers[place].key.unwrap(), report);
    world.drain();
    assert_eq!(world.sent_datagrams, sent + 1, "its answers go to the checked path");
}

#[test]
fn a_flood_of_handshake_datagrams_is_bounded() {
    let mut world = World::new();
    world.completes_handshakes = false;
    let place = world.join(Browser::talker(1));
    world.run(ms(100));
    let path = world.browsers[place].path;
    (0..10_000).for_each(|_| world.inject(path, vec![22, 254, 253, 0]));
    assert!(world.browsers[place].handshake_commands.len() <= 101);
    assert!(world.dropped(DropReason::DtlsUnexpected) >= 9_900);
}

#[test]
fn media_before_keys_is_dropped() {
    let mut world = World::new();
    world.completes_handshakes = false;
    let place = world.join(Browser::talker(1));
    world.run(ms(100));
    let path = world.browsers[place].path;
    world.inject(path, [&[0x80, 96, 0, 1][..], &[0; 60]].concat());
    world.inject(path, [&[0x80, 200, 0, 1][..], &[0; 60]].concat());
    assert_eq!(world.dropped(DropReason::NoKeys), 2);
}

#[test]
fn an_endpoint_that_falls_silent_is_removed_after_30_s() {
    let mut world = World::new();
    let (stays, leaves) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    world.browsers[leaves].sends_checks = false;
    world.browsers[leaves].streams.clear();
    // Its reports stop as well: the line is cut.
    world.browsers[leaves].line_up.loss = 1.0;
    world.run(secs(29));
    assert_eq!(world.stats().endpoints, 2);
    world.run(secs(2));
    let last = world.notices.last().unwrap();
    assert_eq!((last.event, &last.endpoint), (EndpointEvent::ConsentLost, &world.browsers[leaves].id));
    assert_eq!((world.stats().endpoints, world.stats().counters.consents_lost), (1, 1));
    world.run(secs(60));
    assert_eq!(world.stats().endpoints, 1, "who is heard stays");
    assert!(world.browsers[stays].frames_of(&world.browsers[leaves].video()) > 0);
}

#[test]
fn nothing_is_sent_to_who_gave_no_consent_for_30_s() {
    let mut world = World::new();
    let (_, leaves) = (world.join(Browser::talker(1)), world.join(Browser::watcher(2)));
    world.run(secs(2));
    world.browsers[leaves].line_up.loss = 1.0;
    world.run(secs(31));
    let count =
        |world: &World| world.browsers[leaves].slots.values().map(|slot| slot.packets.len()).sum::<usize>();
    let before = count(&world);
    world.run(secs(5));
    assert_eq!(count(&world), before);
}

#[test]
fn who_never_connects_is_removed_after_30_s() {
    let mut world = World::new();
    let mut browser = Browser::talker(1);
    browser.sends_checks = false;
    world.join(browser);
    world.run(secs(31));
    assert_eq!(world.notices.last().unwrap().event, EndpointEvent::ConnectTimeout);
    assert_eq!(world.stats().counters.ice_failed, 1);
    world.completes_handshakes = false;
    world.join(Browser::talker(2));
    world.run(secs(31));
    assert_eq!(world.notices.last().unwrap().event, EndpointEvent::ConnectTimeout);
    assert_eq!((world.stats().counters.dtls_failed, world.stats().endpoints), (1, 0));
}

#[test]
fn a_failed_or_closed_handshake_removes_the_endpoint() {
    for (report, event) in [
        (HandshakeReport::Failed, EndpointEvent::HandshakeFailed),
        (HandshakeReport::Closed, EndpointEvent::Closed),
    ] {
        let mut world = World::new();
        let place = world.join(Browser::talker(1));
        world.run(ms(200));
        let key = world.browsers[place].key.unwrap();
        world.bridge.handle_handshake(world.now, key, report);
        world.drain();
        assert_eq!(world.notices.last().unwrap().event, event);
        assert_eq!(world.stats().endpoints, 0);
        // A late word about it finds nobody.
        world.bridge.handle_handshake(world.now, key, HandshakeReport::Failed);
        assert!(world.bridge.poll_output().is_none());
    }
}

#[test]
fn an_ice_restart_moves_the_browser_and_its_streams_go_on() {
    let mut world = World::new();
    let (mover, other) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    let old_ufrag = world.set_endpoint(mover).ice.ufrag;
    world.browsers[mover].ice.ufrag = "restarted".to_owned();
    let transport = world.set_endpoint(mover);
    assert_ne!(transport.ice.ufrag, old_ufrag, "new credentials of ours as well");
    world.browsers[mover].path.remote = ([198, 51, 100, 200], 50_000).into();
    let check = world.browsers[mover].check(true).into_iter().collect();
    world.send_all(mover, check);
    let before = world.browsers[mover].frames_of(&world.browsers[other].video());
    world.run(secs(3));
    let after = world.browsers[mover].frames_of(&world.browsers[other].video());
    assert!(after - before > 60, "{} frames at the new place", after - before);
    let video = world.browsers[mover].video();
    let slot = world.browsers[other].slot_showing(&video).unwrap();
    assert!(slot.frames().len() > 100 && slot.sources() == [video]);
    assert_eq!(world.stats().counters.ice_restarts, 1);
}

#[test]
fn a_browser_whose_port_changes_goes_on_after_its_next_check() {
    let mut world = World::new();
    let (mover, other) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    world.browsers[mover].path.remote.set_port(1_234);
    let before = world.browsers[mover].frames_of(&world.browsers[other].video());
    world.run(secs(5));
    let after = world.browsers[mover].frames_of(&world.browsers[other].video());
    assert!(after - before > 50, "{}", after - before);
}

#[test]
fn a_copied_check_from_elsewhere_moves_no_media() {
    let mut world = World::new();
    let (victim, _) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    let copied = world.browsers[victim].check(true).unwrap();
    world.inject(world.browsers[victim].path, copied.clone());
    let sent = world.sent_datagrams;
    world.inject(stranger(), copied);
    assert_eq!((world.sent_datagrams, world.dropped(DropReason::StunReplayed)), (sent, 1));
    // From now on the world would find a datagram for the stranger's address.
    world.run(secs(2));
}

#[test]
fn nobody_takes_a_living_endpoints_address() {
    let mut world = World::new();
    let (victim, thief) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    let check = world.browsers[thief].check(true).unwrap();
    world.inject(world.browsers[victim].path, check);
    assert_eq!(world.dropped(DropReason::PathTaken), 1);
    let before = world.stats().counters.packets_received;
    world.run(secs(1));
    assert!(world.stats().counters.packets_received - before > 200);
    assert_eq!(world.dropped(DropReason::SrtpBadTag), 0);
}

/// From another address at once, with a check of it.
fn move_to(world: &mut World, place: usize, path: Path) {
    world.browsers[place].path = path;
    let check = world.browsers[place].check(true).into_iter().collect();
    world.send_all(place, check);
}

#[test]
fn a_path_that_was_left_serves_another_and_then_its_first_endpoint_again() {
    let mut world = World::new();
    let (mover, other) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    let shared = world.browsers[mover].path;
    move_to(&mut world, mover, Path { remote: ([198, 51, 100, 1], 1_234).into(), ..shared });
    world.run(secs(20));
    let mut newcomer = Browser::talker(3);
    newcomer.path = shared;
    let newcomer = world.join(newcomer);
    world.run(secs(3));
    let videos = [mover, other, newcomer].map(|place| world.browsers[place].video());
    let frames = |world: &World, place: usize, video: usize| world.browsers[place].frames_of(&videos[video]);
    assert_eq!(world.dropped(DropReason::PathTaken), 0);
    assert!(frames(&world, newcomer, 1) > 50 && frames(&world, other, 2) > 50);
    assert!(frames(&world, mover, 1) > 600, "the first one lives on where it is");
    move_to(&mut world, newcomer, Path { remote: ([198, 51, 100, 3], 2_345).into(), ..shared });
    world.run(secs(20));
    move_to(&mut world, mover, shared);
    world.run(secs(3));
    let before = (frames(&world, other, 0), frames(&world, mover, 1), frames(&world, newcomer, 1));
    world.run(secs(3));
    let after = (frames(&world, other, 0), frames(&world, mover, 1), frames(&world, newcomer, 1));
    assert!(
        after.0 - before.0 > 50 && after.1 - before.1 > 50 && after.2 - before.2 > 50,
        "{before:?} {after:?}"
    );
    assert_eq!(world.dropped(DropReason::SrtpBadTag), 0, "each packet found its own endpoint");
}

#[test]
fn both_profiles_carry_a_meeting() {
    let mut world = World::new();
    world.profile = wire::srtp::Profile::Aes128CmSha1_80;
    let (one, other) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    assert!(world.browsers[one].frames_of(&world.browsers[other].video()) > 30);
    assert!(world.browsers[other].frames_of(&world.browsers[one].audio()) > 60);
}

#[test]
fn idle_endpoints_are_only_woken_for_consent() {
    let mut world = World::new();
    for number in 1..=100 {
        world.join(Browser::watcher(number));
    }
    world.run(secs(5));
    let before = world.wakeups;
    world.run(secs(60));
    let wakeups = world.wakeups - before;
    assert!(wakeups <= 100 * 3, "{wakeups} in a minute");
    assert_eq!(world.stats().endpoints_connected, 100);
}

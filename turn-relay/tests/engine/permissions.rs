//! Permissions and channels: who gets them, and for how long.

use turn_relay::engine::drop_reason::DropReason;
use turn_relay::engine::policy::settings::PolicySettings;
use turn_relay::engine::ports::ChannelNumbers;

use crate::world::client::Client;
use crate::world::codec::*;
use crate::world::{Received, World, addr, policy, secs};

const PEER: &str = "203.0.113.1:1234";

#[test]
fn case_25_a_permission_needs_an_allocation_and_a_peer_of_its_family() {
    let mut world = World::new();
    let mut stranger = Client::new(9);
    assert_eq!(world.permit(&mut stranger, &[PEER]), 437);
    let (mut client, _) = world.allocated(1);
    assert_eq!(world.permit(&mut client, &[]), 400);
    assert_eq!(world.permit(&mut client, &["[2001:db8:1::1]:9"]), 443);
    let (mut client_v6, _) = world.allocated_family(2, 2);
    assert_eq!(world.permit(&mut client_v6, &[PEER]), 443);
    assert_eq!(world.permit(&mut client_v6, &["[2001:db8:1::1]:9"]), 0);
    let garbled = client.bare(CREATE_PERMISSION).with(XOR_PEER_ADDRESS, [0, 1, 2]);
    assert_eq!(world.request(&mut client, &garbled).code(), 400);
    let family = client.bare(CREATE_PERMISSION).with(XOR_PEER_ADDRESS, [0, 3, 0, 0, 1, 2, 3, 4]);
    assert_eq!(world.request(&mut client, &family).code(), 400);
}

#[test]
fn case_25_all_peers_of_a_request_are_let_in_or_none() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    let can_send = |world: &mut World, peer: &str| world.peer_sends(peer, relayed, b"x").is_some();
    assert_eq!(world.permit(&mut client, &["203.0.113.1:9", "10.0.0.1:9"]), 403);
    assert_eq!(world.permit(&mut client, &["203.0.113.1:9", "[2001:db8:1::1]:9"]), 443);
    let mut request = client.create_permission(&[addr("203.0.113.1:9")]);
    request = request.with(XOR_PEER_ADDRESS, [0; 3]);
    assert_eq!(world.request(&mut client, &request).code(), 400);
    assert!(!can_send(&mut world, "203.0.113.1:9"));
    assert_eq!(world.permit(&mut client, &["203.0.113.1:9", "203.0.113.2:9"]), 0);
    assert!(can_send(&mut world, "203.0.113.1:9") && can_send(&mut world, "203.0.113.2:9"));
    assert!(can_send(&mut world, "203.0.113.1:4711"), "a permission is for an address, not for a port");
    assert!(!can_send(&mut world, "203.0.113.3:9"));
}

#[test]
fn case_27_deployed_clients_numbers_pass_and_no_others() {
    let mut world = World::new();
    let (mut client, _) = world.allocated(1);
    for (place, (number, code)) in [
        (0x3fff, 400),
        (0x8000, 400),
        (0, 400),
        (0xffff, 400),
        (0x4000, 0),
        (0x4fff, 0),
        (0x5000, 0),
        (0x7fff, 0),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(world.bind(&mut client, number, &format!("203.0.113.{place}:1234")), code, "{number:#x}");
    }
    let mut strict = World::with(|setup| setup.engine.channel_numbers = ChannelNumbers::Strict);
    let (mut client, _) = strict.allocated(1);
    for (number, code) in [(0x3fff, 400), (0x4000, 0), (0x5000, 400), (0x7fff, 400)] {
        assert_eq!(strict.bind(&mut client, number, PEER), code, "{number:#x}");
    }
}

#[test]
fn case_27_a_number_is_one_peers_and_a_peer_has_one_number() {
    let mut world = World::new();
    let mut stranger = Client::new(9);
    assert_eq!(world.bind(&mut stranger, 0x4000, PEER), 437);
    let (mut client, _) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.2:1234"), 400);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.1:1235"), 400, "a channel is for a port as well");
    assert_eq!(world.bind(&mut client, 0x4001, PEER), 400);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0, "the same again is a refresh");
    assert_eq!(world.bind(&mut client, 0x4001, "203.0.113.1:1235"), 0);
    assert_eq!(world.bind(&mut client, 0x4002, "10.0.0.1:1234"), 403);
    assert_eq!(world.bind(&mut client, 0x4002, "[2001:db8:1::1]:1234"), 443);
    let no_number = client.bare(CHANNEL_BIND).with(XOR_PEER_ADDRESS, mask(addr(PEER), [0; 12]));
    assert_eq!(world.request(&mut client, &no_number).code(), 400);
    let no_peer = client.bare(CHANNEL_BIND).with(CHANNEL_NUMBER, [0x40, 5, 0, 0]);
    assert_eq!(world.request(&mut client, &no_peer).code(), 400);
    let garbled = client.bare(CHANNEL_BIND).with(CHANNEL_NUMBER, [0x40, 5]).with(XOR_PEER_ADDRESS, []);
    assert_eq!(world.request(&mut client, &garbled).code(), 400);
}

/// Keeps the allocation alive while time passes.
fn wait(world: &mut World, client: &mut Client, seconds: u64) {
    for _ in 0..seconds / 100 {
        world.run(secs(100));
        assert_eq!(world.refresh(client, 600).code(), 0);
    }
    world.run(secs(seconds % 100));
}

#[test]
fn case_27_an_expired_number_waits_five_minutes_before_it_is_anothers() {
    let mut world = World::new();
    let (mut client, _) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    // Other things of the allocation end meanwhile, and take no channel along.
    wait(&mut world, &mut client, 350);
    assert_eq!(world.permit(&mut client, &["203.0.113.9:1"]), 0);
    wait(&mut world, &mut client, 301);
    assert_eq!(world.deliver(&client, &channel_data(0x4000, b"x")), None);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.2:1234"), 400);
    assert_eq!(world.bind(&mut client, 0x4001, PEER), 400);
    wait(&mut world, &mut client, 250);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.2:1234"), 0);
    assert_eq!(world.bind(&mut client, 0x4001, PEER), 0);
}

#[test]
fn case_27_an_expired_number_is_its_own_peers_at_any_time() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    wait(&mut world, &mut client, 650);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    assert!(world.deliver(&client, &channel_data(0x4000, b"x")).is_some());
    let (_, received) = world.peer_sends(PEER, relayed, b"y").unwrap();
    assert_eq!(received, Received::Channel(0x4000, b"y".to_vec()));
}

#[test]
fn case_31_a_permission_lasts_300_s_and_no_traffic_prolongs_it() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.permit(&mut client, &[PEER]), 0);
    for _ in 0..299 {
        world.run(secs(1));
        assert!(world.peer_sends(PEER, relayed, b"x").is_some());
        assert!(world.send(&mut client, PEER, b"x").is_some());
    }
    assert_eq!(world.relay.stats().permissions, 1);
    world.run(secs(1));
    assert!(world.peer_sends(PEER, relayed, b"x").is_none());
    assert!(world.send(&mut client, PEER, b"x").is_none());
    assert_eq!(world.relay.stats().permissions, 0);
    assert_eq!(world.dropped(DropReason::PeerWithoutPermission), 1);
    assert_eq!(world.dropped(DropReason::NoPermission), 1);
}

#[test]
fn case_31_a_channel_lasts_600_s_and_no_traffic_prolongs_it() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.refresh(&mut client, 3_600).code(), 0);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    let up = channel_data(0x4000, b"x");
    for second in 0..600 {
        assert!(world.deliver(&client, &up).is_some(), "second {second}");
        let comes_back = world.peer_sends(PEER, relayed, b"y").is_some();
        assert_eq!(comes_back, second < 300, "the permission that came with it ends earlier");
        world.run(secs(1));
    }
    assert_eq!(world.deliver(&client, &up), None);
    assert_eq!(world.dropped(DropReason::ChannelUnbound), 1);
}

#[test]
fn a_shell_that_wakes_the_relay_late_lets_nothing_pass_that_has_ended() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.refresh(&mut client, 3_600).code(), 0);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    world.now += secs(300);
    assert!(world.peer_sends(PEER, relayed, b"x").is_none());
    assert!(world.send(&mut client, PEER, b"x").is_none());
    world.now += secs(300);
    assert!(world.deliver(&client, &channel_data(0x4000, b"x")).is_none());
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    world.now += secs(3_000);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    assert!(world.deliver(&client, &channel_data(0x4000, b"x")).is_none(), "the allocation itself has ended");
    assert!(world.peer_sends(PEER, relayed, b"x").is_none());
}

#[test]
fn binding_again_prolongs_channel_and_permission() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    for _ in 0..20 {
        assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
        wait(&mut world, &mut client, 299);
        assert!(world.peer_sends(PEER, relayed, b"y").is_some());
    }
}

#[test]
fn case_32_a_new_policy_takes_back_what_it_does_not_allow_at_once() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    let (stays, goes) = ("203.0.113.1:1234", "203.0.113.200:1234");
    assert_eq!(world.bind(&mut client, 0x4000, stays), 0);
    assert_eq!(world.bind(&mut client, 0x4001, goes), 0);
    let line = "203.0.113.0/25".parse().unwrap();
    world.relay.set_policy(policy(PolicySettings { allow: vec![line], ..PolicySettings::default() }));
    assert!(world.deliver(&client, &channel_data(0x4000, b"x")).is_some());
    assert!(world.peer_sends(stays, relayed, b"x").is_some());
    assert_eq!(world.deliver(&client, &channel_data(0x4001, b"x")), None);
    assert!(world.peer_sends(goes, relayed, b"x").is_none());
    assert!(world.send(&mut client, goes, b"x").is_none());
    assert_eq!(world.bind(&mut client, 0x4001, goes), 403);
    assert_eq!(world.relay.stats().revoked, 2);
}

#[test]
fn case_32_a_port_that_a_new_policy_closes_is_closed_for_channels() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.1:2000"), 0);
    assert_eq!(world.bind(&mut client, 0x4001, "203.0.113.1:3000"), 0);
    let line = "203.0.113.1:3000".parse().unwrap();
    world.relay.set_policy(policy(PolicySettings { allow: vec![line], ..PolicySettings::default() }));
    assert_eq!(world.deliver(&client, &channel_data(0x4000, b"x")), None);
    assert!(world.send(&mut client, "203.0.113.1:2000", b"x").is_none());
    assert!(world.deliver(&client, &channel_data(0x4001, b"x")).is_some());
    let (_, received) = world.peer_sends("203.0.113.1:3000", relayed, b"y").unwrap();
    assert_eq!(received, Received::Channel(0x4001, b"y".to_vec()));
}

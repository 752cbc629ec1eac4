//! How much one may have.

use turn_relay::engine::drop_reason::DropReason;
use turn_relay::engine::ports::Transport;
use turn_relay::engine::quota::Limits;
use turn_relay::engine::stats::QuotaKind;

use crate::world::client::Client;
use crate::world::codec::*;
use crate::world::{World, secs};

const PEER: &str = "203.0.113.1:1234";

fn with_limits(change: impl FnOnce(&mut Limits)) -> World {
    World::with(|setup| change(&mut setup.engine.limits))
}

#[test]
fn one_allocation_sends_and_receives_within_its_rates() {
    for limits in [
        Limits { packets_per_s: 100, ..Limits::default() },
        Limits { bits_per_s: 100 * 8 * 1_000, ..Limits::default() },
    ] {
        let mut world = with_limits(|each| *each = limits);
        let (mut client, relayed) = world.allocated(1);
        assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
        let up = channel_data(0x4000, &[0; 1_000]);
        let sent = (0..1_000).filter(|_| world.deliver(&client, &up).is_some()).count();
        assert_eq!(sent, 100, "a second's worth at once");
        let received = (0..1_000).filter(|_| world.peer_sends(PEER, relayed, &[0; 1_000]).is_some()).count();
        assert_eq!(received, 100, "the other direction has its own");
        assert_eq!(world.dropped(DropReason::OverRate), 1_800);
        world.run(secs(10));
        assert_eq!((0..1_000).filter(|_| world.deliver(&client, &up).is_some()).count(), 100);
        let (_, ben_relayed) = world.allocated(2);
        assert_ne!(ben_relayed, relayed);
    }
}

#[test]
fn all_allocations_of_a_user_share_a_rate_and_a_credential_can_lower_it() {
    let mut world = with_limits(|limits| limits.user_bits_per_s = 100 * 8 * 1_000);
    let mut clients: Vec<Client> =
        (1..=3).map(|number| Client::new(number).login("1900000000:ada")).collect();
    for client in &mut clients {
        world.allocate(client);
        assert_eq!(world.bind(client, 0x4000, PEER), 0);
    }
    let up = channel_data(0x4000, &[0; 1_000]);
    let mut sent = 0;
    for _ in 0..100 {
        sent += clients.iter().filter(|client| world.deliver(client, &up).is_some()).count();
    }
    assert_eq!(sent, 100);
    assert_eq!(world.dropped(DropReason::UserOverRate), 200);
    let mut slow = Client::new(9).login("1900000000:ben;r=80");
    world.allocate(&mut slow);
    assert_eq!(world.bind(&mut slow, 0x4000, PEER), 0);
    assert_eq!(
        (0..100).filter(|_| world.deliver(&slow, &up).is_some()).count(),
        10,
        "80 kbit are 10 of these"
    );
}

#[test]
fn a_credential_can_allow_fewer_allocations() {
    let mut world = World::new();
    for (number, code) in [(1, 0), (2, 0), (3, 486)] {
        let mut client = Client::new(number).login("1900000000:ada;q=2");
        let request = client.allocate();
        assert_eq!(world.request(&mut client, &request).code(), code);
    }
}

#[test]
fn one_address_has_its_share_of_allocations_and_the_relay_its_own() {
    let mut world = with_limits(|limits| {
        limits.allocations_per_prefix_max = 2;
        limits.allocations_max = 3;
    });
    let client = |host: &str, port: u16| Client::at(Transport::Udp, &format!("{host}:{port}"));
    for (host, port, code) in [
        ("[2001:db8:2::1]", 4_001, 0),
        ("[2001:db8:2::2]", 4_002, 0),
        ("[2001:db8:2::3]", 4_003, 486),
        ("198.51.100.1", 4_004, 0),
        ("198.51.100.2", 4_005, 508),
    ] {
        let mut client = client(host, port);
        let request = client.allocate();
        assert_eq!(world.request(&mut client, &request).code(), code, "{host}");
    }
    let rejects = world.relay.stats().quota_rejects;
    assert_eq!((rejects.of(QuotaKind::PrefixAllocations), rejects.of(QuotaKind::Allocations)), (1, 1));
}

#[test]
fn an_allocation_has_its_share_of_permissions_and_channels() {
    let mut world = with_limits(|limits| {
        limits.permissions_max = 4;
        limits.channels_max = 2;
    });
    let (mut client, _) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.1:2000"), 0);
    assert_eq!(world.bind(&mut client, 0x4001, "203.0.113.2:2000"), 0);
    assert_eq!(world.bind(&mut client, 0x4002, "203.0.113.3:2000"), 508);
    assert_eq!(world.permit(&mut client, &["203.0.113.3:1", "203.0.113.4:1", "203.0.113.5:1"]), 508);
    assert_eq!(world.permit(&mut client, &["203.0.113.3:1", "203.0.113.4:1", "203.0.113.4:2"]), 0);
    assert_eq!(world.permit(&mut client, &["203.0.113.1:1", "203.0.113.4:1"]), 0, "known ones are refreshed");
    assert_eq!(world.permit(&mut client, &["203.0.113.5:1"]), 508);
    let stats = world.relay.stats();
    assert_eq!((stats.permissions, stats.channels), (4, 2));
    let rejects = &stats.quota_rejects;
    assert_eq!((rejects.of(QuotaKind::Channels), rejects.of(QuotaKind::Permissions)), (1, 2));
}

#[test]
fn new_peers_come_as_fast_as_an_ice_agent_names_them_and_no_faster() {
    let mut world = World::new();
    let (mut client, _) = world.allocated(1);
    let mut codes = Vec::new();
    for peer in 0..40 {
        codes.push(world.permit(&mut client, &[&format!("203.0.113.{peer}:1")]));
    }
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 20);
    assert!(codes[20..].iter().all(|code| *code == 508));
    world.run(secs(1));
    let more =
        (100..140).filter(|peer| world.permit(&mut client, &[&format!("203.0.113.{peer}:1")]) == 0).count();
    assert_eq!(more, 5);
    assert_eq!(world.permit(&mut client, &["203.0.113.0:1"]), 0, "a refresh is nothing new");
}

#[test]
fn new_limits_hold_for_what_comes() {
    let mut world = World::new();
    let (mut client, _) = world.allocated(1);
    world.relay.set_limits(world.now, Limits { allocations_max: 1, channels_max: 1, ..Limits::default() });
    let mut newcomer = Client::new(2);
    let request = newcomer.allocate();
    assert_eq!(world.request(&mut newcomer, &request).code(), 508);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.1:2000"), 0);
    assert_eq!(world.bind(&mut client, 0x4001, "203.0.113.2:2000"), 508);
}

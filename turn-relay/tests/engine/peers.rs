//! Which peers are reached: the policy, as clients meet it.

use std::net::IpAddr;

use turn_relay::engine::drop_reason::DropReason;
use turn_relay::engine::policy::peer_map::PeerMap;
use turn_relay::engine::policy::rules::Denial;
use turn_relay::engine::policy::settings::{BridgePeers, PolicyMode};

use crate::world::client::Client;
use crate::world::codec::*;
use crate::world::{Received, Setup, World, addr};

/// Inside some range that nobody on the Internet may be reached in.
const SPECIAL_V4: [&str; 30] = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.200",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "192.175.48.1",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "254.255.255.255",
    "255.255.255.255",
];

const SPECIAL_V6: [&str; 31] = [
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:127.0.0.2",
    "::ffff:0.0.0.0",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:0:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1:ffff::1",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:0:c000:201::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "3fff:fff::1",
    "5f00::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "2a00:1450::5efe:a00:1",
];

/// Just outside one.
const PUBLIC_V4: [&str; 26] = [
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.31.195.255",
    "192.31.197.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
];

const PUBLIC_V6: [&str; 16] = [
    "64:ff9a:ffff::",
    "64:ff9b:2::",
    "ff:ffff::",
    "100:0:0:2::",
    "2000:ffff::1",
    "2001:200::",
    "2001:db7:ffff::",
    "2001:db9::",
    "2001:ffff::1",
    "2003::",
    "3ffe:ffff::",
    "3fff:1000::",
    "5eff:ffff::",
    "5f01::",
    "fbff:ffff::",
    "fe00::",
];

fn public(setup: &mut Setup) {
    setup.policy.mode = PolicyMode::Public;
    setup.policy.allow.clear();
    setup.engine.limits.new_peers_per_s = 0;
    setup.engine.limits.permissions_max = 1_000;
}

/// The answers of all three ways to a peer: permission, channel, Send under a permission that is not there.
fn codes(world: &mut World, client: &mut Client, ip: &str, number: u16) -> (u16, u16) {
    let peer = std::net::SocketAddr::new(ip.parse().unwrap(), 10_000).to_string();
    let permitted = world.permit(client, &[&peer]);
    let bound = world.bind(client, number, &peer);
    if permitted != 0 {
        assert_eq!(world.send(client, &peer, b"x"), None, "{ip}");
        assert_eq!(world.deliver(client, &channel_data(number, b"x")), None, "{ip}");
    }
    (permitted, bound)
}

#[test]
fn case_26_no_special_purpose_range_is_reached_in_any_form() {
    let mut world = World::with(public);
    let mut v4 = world.allocated_family(1, 1).0;
    let mut v6 = world.allocated_family(2, 2).0;
    for ip in SPECIAL_V4 {
        assert_eq!(codes(&mut world, &mut v4, ip, 0x4000), (403, 403), "{ip}");
    }
    for ip in SPECIAL_V6 {
        assert_eq!(codes(&mut world, &mut v6, ip, 0x4000), (403, 403), "{ip}");
    }
    let denied = world.relay.stats().denied_peers;
    assert_eq!(denied.total(), 2 * (SPECIAL_V4.len() + SPECIAL_V6.len()) as u64);
    assert!(
        denied.of(Denial::Loopback) > 0
            && denied.of(Denial::DisguisedIpv4) > 0
            && denied.of(Denial::Tunnel) > 0
    );
}

#[test]
fn case_26_what_lies_just_outside_is_reached_in_public_mode() {
    let mut world = World::with(|setup| {
        public(setup);
        setup.engine.limits.channels_max = 1_000;
    });
    let mut v4 = world.allocated_family(1, 1).0;
    let mut v6 = world.allocated_family(2, 2).0;
    for (place, ip) in PUBLIC_V4.iter().enumerate() {
        assert_eq!(codes(&mut world, &mut v4, ip, 0x4000 + place as u16), (0, 0), "{ip}");
    }
    for (place, ip) in PUBLIC_V6.iter().enumerate() {
        assert_eq!(codes(&mut world, &mut v6, ip, 0x4000 + place as u16), (0, 0), "{ip}");
    }
}

#[test]
fn case_26_an_empty_policy_reaches_nobody_at_all() {
    let mut world = World::with(|setup| setup.policy = Default::default());
    let mut v4 = world.allocated_family(1, 1).0;
    let mut v6 = world.allocated_family(2, 2).0;
    for ip in SPECIAL_V4.iter().chain(&PUBLIC_V4) {
        assert_eq!(codes(&mut world, &mut v4, ip, 0x4000), (403, 403), "{ip}");
    }
    for ip in SPECIAL_V6.iter().chain(&PUBLIC_V6) {
        assert_eq!(codes(&mut world, &mut v6, ip, 0x4000), (403, 403), "{ip}");
    }
}

#[test]
fn case_26_the_relay_itself_is_no_peer() {
    for mode in [PolicyMode::Allow, PolicyMode::Public] {
        let mut world = World::with(|setup| {
            setup.policy.mode = mode;
            setup.policy.allow = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
            setup.policy.own_addresses = vec!["93.184.216.34".parse().unwrap(), "192.0.2.1".parse().unwrap()];
            setup.policy.own_listeners = vec![addr("0.0.0.0:3478")];
        });
        let (mut client, relayed) = world.allocated(1);
        let other = world.allocated(2).1.to_string();
        for peer in ["93.184.216.34:3478", "93.184.216.34:443", "192.0.2.1:3478", "127.0.0.1:8090", &other] {
            assert_eq!(world.bind(&mut client, 0x4000, peer), 403, "{peer}");
        }
        assert_eq!(world.bind(&mut client, 0x4000, &relayed.to_string()), 403, "itself");
        assert_eq!(world.permit(&mut client, &["93.184.216.34:0"]), 403);
        assert_eq!(world.bind(&mut client, 0x4000, "93.184.216.35:3478"), 0);
    }
}

/// A relay whose only peers are two bridges: one beside it, one behind loopback.
fn with_bridges(setup: &mut Setup) {
    setup.policy.allow.clear();
    let bridge = |name: &str, addresses: &[&str]| BridgePeers {
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| addr(address)).collect(),
    };
    setup.policy.bridges =
        vec![bridge("one", &["10.0.0.5:10000", "10.0.0.5:10001"]), bridge("home", &["127.0.0.1:10000"])];
}

#[test]
fn case_26_a_registered_bridge_is_reached_at_its_media_ports_only() {
    let mut world = World::with(with_bridges);
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.permit(&mut client, &["10.0.0.5:10000", "127.0.0.1:10000"]), 0);
    assert_eq!(world.bind(&mut client, 0x4000, "10.0.0.5:10000"), 0);
    assert_eq!(world.bind(&mut client, 0x4001, "127.0.0.1:10000"), 0);
    for peer in ["10.0.0.5:8080", "10.0.0.5:10002", "127.0.0.1:8090", "127.0.0.1:10001", "10.0.0.6:10000"] {
        assert_eq!(world.bind(&mut client, 0x4002, peer), 403, "{peer}");
        assert_eq!(world.send(&mut client, peer, b"x"), None, "{peer}");
    }
    assert!(world.send(&mut client, "10.0.0.5:10001", b"x").is_some());
    let (_, received) = world.peer_sends("10.0.0.5:10000", relayed, b"x").unwrap();
    assert_eq!(received, Received::Channel(0x4000, b"x".to_vec()));
}

#[test]
fn a_credential_for_one_bridge_reaches_no_other() {
    let mut world = World::with(|setup| {
        with_bridges(setup);
        setup.policy.allow = vec!["203.0.113.0/24".parse().unwrap()];
    });
    let mut client = Client::new(1).login("1900000000:ada;b=one");
    world.allocate(&mut client);
    assert_eq!(world.bind(&mut client, 0x4000, "10.0.0.5:10000"), 0);
    assert_eq!(world.bind(&mut client, 0x4001, "127.0.0.1:10000"), 403);
    assert_eq!(world.bind(&mut client, 0x4001, "203.0.113.1:10000"), 403);
    assert_eq!(world.permit(&mut client, &["203.0.113.1:10000"]), 403);
    assert_eq!(world.relay.stats().denied_peers.of(Denial::OutOfScope), 3);
    let mut nowhere = Client::new(2).login("1900000000:ada;b=gone");
    world.allocate(&mut nowhere);
    assert_eq!(world.permit(&mut nowhere, &["10.0.0.5:10000"]), 403);
}

#[test]
fn the_deny_list_beats_every_rule() {
    let mut world = World::with(|setup| {
        with_bridges(setup);
        setup.policy.mode = PolicyMode::Public;
        setup.policy.allow = vec!["10.0.0.0/8".parse().unwrap()];
        setup.policy.deny = vec!["10.0.0.5".parse().unwrap(), "8.8.8.0-8.8.8.7".parse().unwrap()];
    });
    let (mut client, _) = world.allocated(1);
    for (peer, code) in
        [("10.0.0.5:10000", 403), ("10.0.0.6:10000", 0), ("8.8.8.7:10000", 403), ("8.8.8.8:10000", 0)]
    {
        assert_eq!(world.permit(&mut client, &[peer]), code, "{peer}");
    }
}

#[test]
fn a_mapped_bridge_is_reached_inside_and_seen_outside() {
    let pair = ("203.0.113.4".parse::<IpAddr>().unwrap(), "10.0.0.5".parse::<IpAddr>().unwrap());
    let mut world = World::with(|setup| setup.policy.peer_map = PeerMap::new([pair]).unwrap());
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.permit(&mut client, &["203.0.113.4:10000"]), 0);
    assert_eq!(world.send(&mut client, "203.0.113.4:10000", b"x").unwrap().to, addr("10.0.0.5:10000"));
    let (_, received) = world.peer_sends("10.0.0.5:10000", relayed, b"y").unwrap();
    assert_eq!(received, Received::Data(addr("203.0.113.4:10000"), b"y".to_vec()));
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.4:10000"), 0);
    assert_eq!(world.deliver(&client, &channel_data(0x4000, b"x")).unwrap().to, addr("10.0.0.5:10000"));
    let (_, received) = world.peer_sends("10.0.0.5:10000", relayed, b"y").unwrap();
    assert_eq!(received, Received::Channel(0x4000, b"y".to_vec()));
    assert_eq!(world.permit(&mut client, &["10.0.0.5:10000"]), 403, "its inner address is nobody's to name");
}

#[test]
fn data_of_a_peer_without_a_permission_is_dropped_whatever_others_have() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.permit(&mut client, &["203.0.113.1:9"]), 0);
    for peer in ["203.0.113.2:9", "10.0.0.1:9", "127.0.0.1:9", "0.0.0.0:0"] {
        assert!(world.peer_sends(peer, relayed, b"x").is_none(), "{peer}");
    }
    assert_eq!(world.dropped(DropReason::PeerWithoutPermission), 4);
}

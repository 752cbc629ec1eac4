//! Datagrams on their way to peers and back.

use turn_relay::engine::drop_reason::DropReason;
use turn_relay::engine::ports::{RelayAddress, RelaySocketKey, ToClient};

use crate::world::codec::*;
use crate::world::{Arrived, Received, World, addr, secs};

const PEER: &str = "203.0.113.1:1234";

#[test]
fn case_28_without_a_permission_nothing_is_sent() {
    let mut world = World::new();
    let (mut client, _) = world.allocated(1);
    assert_eq!(world.send(&mut client, PEER, b"hello"), None);
    assert_eq!(world.dropped(DropReason::NoPermission), 1);
    let mut stranger = crate::world::client::Client::new(9);
    assert_eq!(world.send(&mut stranger, PEER, b"hello"), None);
    assert_eq!(world.deliver(&stranger, &channel_data(0x4000, b"x")), None);
    assert_eq!(world.dropped(DropReason::NoAllocation), 2);
}

#[test]
fn case_28_with_a_permission_every_port_that_the_policy_leaves_open_is_reached() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.permit(&mut client, &["203.0.113.1:0"]), 0, "ports do not count in a permission");
    for (port, reached) in
        [(1_024, true), (65_535, true), (1_023, false), (443, false), (53, false), (0, false)]
    {
        let peer = format!("203.0.113.1:{port}");
        let arrived = world.send(&mut client, &peer, b"hello");
        let expected =
            Arrived { from: relayed, to: addr(&peer), payload: b"hello".to_vec(), dont_fragment: false };
        assert_eq!(arrived, reached.then_some(expected), "port {port}");
    }
    assert_eq!(world.dropped(DropReason::PeerDenied), 4);
}

#[test]
fn case_28_of_two_peers_in_one_indication_the_first_counts() {
    let mut world = World::new();
    let (mut client, _) = world.allocated(1);
    assert_eq!(world.permit(&mut client, &["203.0.113.1:9", "203.0.113.2:9"]), 0);
    let send = client.send(addr("203.0.113.1:2000"), b"x");
    let second = mask(addr("203.0.113.2:2000"), send.transaction);
    let arrived = world.deliver(&client, &send.with(XOR_PEER_ADDRESS, second).encode()).unwrap();
    assert_eq!(arrived.to, addr("203.0.113.1:2000"));
}

#[test]
fn an_indication_that_is_not_whole_is_dropped() {
    let mut world = World::new();
    let (mut client, _) = world.allocated(1);
    assert_eq!(world.permit(&mut client, &[PEER]), 0);
    let peer = |indication: Stun| {
        let masked = mask(addr(PEER), indication.transaction);
        indication.with(XOR_PEER_ADDRESS, masked)
    };
    let wrong = [
        client.bare(SEND_INDICATION).with(DATA, *b"x"),
        peer(client.bare(SEND_INDICATION)),
        client.bare(SEND_INDICATION).with(XOR_PEER_ADDRESS, [1]).with(DATA, *b"x"),
        peer(client.bare(SEND_INDICATION)).with(DATA, *b"x").with(0x7f01, []),
    ];
    for indication in wrong {
        assert_eq!(world.deliver(&client, &indication.encode()), None, "{indication:?}");
    }
    assert_eq!(world.dropped(DropReason::SendMalformed), 4);
    assert_eq!(world.send(&mut client, PEER, b"").unwrap().payload, b"", "an empty datagram is one");
}

#[test]
fn case_29_a_peer_needs_a_permission_and_arrives_by_its_channel_if_it_has_one() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert!(world.peer_sends(PEER, relayed, b"x").is_none());
    assert_eq!(world.dropped(DropReason::PeerWithoutPermission), 1);
    assert_eq!(world.permit(&mut client, &[PEER]), 0);
    let data = |payload: &[u8]| (client.path, Received::Data(addr(PEER), payload.to_vec()));
    for length in 0..9 {
        let payload = vec![7; length];
        assert_eq!(world.peer_sends(PEER, relayed, &payload), Some(data(&payload)));
    }
    assert_eq!(world.bind(&mut client.clone(), 0x4abc, PEER), 0);
    let (path, received) = world.peer_sends(PEER, relayed, b"x").unwrap();
    assert_eq!((path, received), (client.path, Received::Channel(0x4abc, b"x".to_vec())));
    let (_, received) = world.peer_sends("203.0.113.1:99", relayed, b"x").unwrap();
    assert_eq!(
        received,
        Received::Data(addr("203.0.113.1:99"), b"x".to_vec()),
        "another port has no channel"
    );
}

#[test]
fn an_ipv6_peer_arrives_whole() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated_family(1, 2);
    let peer = "[2001:db8:1::77]:1234";
    assert_eq!(world.permit(&mut client, &[peer]), 0);
    let (_, received) = world.peer_sends(peer, relayed, b"hello").unwrap();
    assert_eq!(received, Received::Data(addr(peer), b"hello".to_vec()));
    assert_eq!(world.send(&mut client, peer, b"hello").unwrap().to, addr(peer));
    assert_eq!(world.bind(&mut client, 0x4000, peer), 0);
    assert_eq!(world.deliver(&client, &channel_data(0x4000, b"y")).unwrap().from, relayed);
}

#[test]
fn case_30_channel_data_is_as_long_as_it_says() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    let payload_of =
        |world: &mut World, bytes: &[u8]| world.deliver(&client, bytes).map(|arrived| arrived.payload);
    assert_eq!(payload_of(&mut world, &channel_data(0x4000, b"abc")), Some(b"abc".to_vec()));
    let mut padded = channel_data(0x4000, b"abc");
    padded.push(0);
    assert_eq!(payload_of(&mut world, &padded), Some(b"abc".to_vec()));
    padded.extend(b"what stands behind is ignored");
    assert_eq!(payload_of(&mut world, &padded), Some(b"abc".to_vec()));
    assert_eq!(payload_of(&mut world, &channel_data(0x4000, b"")), Some(Vec::new()));
    let mut lying = channel_data(0x4000, b"abc");
    for declared in [4u16, 100, 65_535] {
        lying[2..4].copy_from_slice(&declared.to_be_bytes());
        assert_eq!(payload_of(&mut world, &lying), None);
    }
    for length in 0..4 {
        assert_eq!(payload_of(&mut world, &channel_data(0x4000, b"")[..length]), None);
    }
    assert_eq!(payload_of(&mut world, &channel_data(0x4001, b"abc")), None);
    assert_eq!(
        world.dropped(DropReason::ChannelMalformed),
        6,
        "and the one without a byte is nothing at all"
    );
    assert_eq!(world.dropped(DropReason::ChannelUnbound), 1);
    let largest = vec![1; 65_507 - 4];
    assert_eq!(payload_of(&mut world, &channel_data(0x4000, &largest)).unwrap().len(), largest.len());
    assert!(world.peer_sends(PEER, relayed, &vec![1; 65_507]).is_none());
    assert_eq!(world.dropped(DropReason::TooLarge), 1);
}

#[test]
fn case_33_bursts_of_a_key_frame_pass_the_engine_whole() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    for burst in [60, 200, 800] {
        world.run(secs(1));
        let payload = vec![9; 1_200];
        let passed = (0..burst).filter(|_| world.peer_sends(PEER, relayed, &payload).is_some()).count();
        assert_eq!(passed, burst);
    }
}

#[test]
fn case_41_two_clients_reach_one_peer_each_from_its_own_address() {
    let mut world = World::new();
    let ((mut ada, of_ada), (mut ben, of_ben)) = (world.allocated(1), world.allocated(2));
    for client in [&mut ada, &mut ben] {
        assert_eq!(world.bind(client, 0x4000, PEER), 0);
    }
    let up = channel_data(0x4000, b"x");
    assert_eq!(world.deliver(&ada, &up).unwrap().from, of_ada);
    assert_eq!(world.deliver(&ben, &up).unwrap().from, of_ben);
    assert_eq!(world.peer_sends(PEER, of_ada, b"y").unwrap().0, ada.path);
    assert_eq!(world.peer_sends(PEER, of_ben, b"y").unwrap().0, ben.path);
}

#[test]
fn case_40_an_allocation_survives_what_the_engine_never_hears_of_and_ends_with_its_socket() {
    let mut world = World::new();
    let (_, relayed) = world.allocated(1);
    let key = *world.sockets.iter().find(|(_, local)| **local == relayed).unwrap().0;
    world.relay.handle_socket_lost(world.now, RelaySocketKey(key.0 ^ 1 << 32));
    assert_eq!(world.relay.allocations().len(), 1, "a socket of long ago");
    world.relay.handle_socket_lost(world.now, key);
    world.carry_out();
    assert!(world.relay.is_empty());
    assert_eq!(world.ended[0].cause, turn_relay::engine::views::EndCause::SocketLost);
}

#[test]
fn a_datagram_on_a_socket_of_long_ago_reaches_nobody() {
    let mut world = World::with(|setup| setup.engine.ports = 50_000..=50_000);
    let (mut before, relayed) = world.allocated(1);
    let old = *world.sockets.keys().next().unwrap();
    assert_eq!(world.permit(&mut before, &[PEER]), 0);
    assert_eq!(world.refresh(&mut before, 0).code(), 0);
    let (mut after, again) = world.allocated(2);
    assert_eq!(relayed, again);
    assert_eq!(world.permit(&mut after, &[PEER]), 0);
    assert_eq!(world.relay.handle_peer(world.now, old, addr(PEER), 3), ToClient::Drop);
    assert_eq!(world.dropped(DropReason::UnknownSocket), 1);
    assert_eq!(world.peer_sends(PEER, relayed, b"x").unwrap().0, after.path);
}

#[test]
fn what_passed_is_counted_live_and_written_down_at_the_end() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    for _ in 0..3 {
        world.deliver(&client, &channel_data(0x4000, &[1; 100]));
        world.peer_sends(PEER, relayed, &[1; 10]);
    }
    world.peer_sends("203.0.113.99:1", relayed, b"x");
    let traffic = world.relay.stats().traffic;
    assert_eq!((traffic.to_peer_packets, traffic.to_peer_bytes), (3, 300));
    assert_eq!((traffic.to_client_packets, traffic.to_client_bytes, traffic.dropped), (3, 30, 1));
    assert_eq!(world.relay.allocations()[0].traffic, traffic);
    world.refresh(&mut client, 0);
    assert_eq!(world.ended[0].traffic, traffic);
}

#[test]
fn behind_a_1_to_1_nat_the_public_address_is_told_and_the_private_one_is_bound() {
    let (bind, announced) = ("10.1.1.1".parse().unwrap(), "192.0.2.77".parse().unwrap());
    let mut world = World::with(|setup| setup.engine.relays = vec![RelayAddress { bind, announced }]);
    let (_, relayed) = world.allocated(1);
    assert_eq!(relayed.ip(), announced);
    assert_eq!(
        world.sockets.values().collect::<Vec<_>>(),
        [&std::net::SocketAddr::new(bind, relayed.port())]
    );
}

#[test]
fn a_flow_label_or_a_scope_makes_no_other_peer() {
    let mut world = World::new();
    let (mut client, _) = world.allocated_family(1, 2);
    let peer = "[2001:db8:1::77]:1234";
    assert_eq!(world.bind(&mut client, 0x4000, peer), 0);
    let key = *world.sockets.keys().next().unwrap();
    let std::net::SocketAddr::V6(mut labelled) = addr(peer) else { panic!("an IPv6 address") };
    labelled.set_flowinfo(7);
    labelled.set_scope_id(3);
    let to_client = world.relay.handle_peer(world.now, key, labelled.into(), 1);
    assert!(matches!(to_client, ToClient::Channel { header: [0x40, 0, 0, 1], .. }));
}

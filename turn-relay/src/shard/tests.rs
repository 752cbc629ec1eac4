//! A running shard, from outside: what clients and peers see on real sockets of this host.

#[allow(dead_code, reason = "the engine's tests use the rest")]
#[path = "../../tests/world/codec.rs"]
mod codec;
mod world;

use std::net::{Ipv6Addr, Shutdown, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use codec::*;
use world::*;

use crate::engine::drop_reason::DropReason;
use crate::engine::policy::rules::Decision;
use crate::engine::ports::{Drain, Transport};
use crate::engine::views::EndCause;
use crate::shard::ports::{RefusedReason, ShardCommand};
use crate::stream::close_reason::CloseReason;

/// The payloads of a burst: each says which one it is.
fn burst(count: u32, length: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| {
            let mut payload = vec![0xaa; length];
            payload[..4].copy_from_slice(&number.to_be_bytes());
            payload
        })
        .collect()
}

fn heard_by_peer(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = peer.recv_from(&mut buffer).expect("a datagram");
    buffer.truncate(length);
    (buffer, from)
}

/// Both directions between a connected client and its peer, `count` datagrams at once.
fn bursts_pass(client: &mut Client, (peer, relayed): (&UdpSocket, SocketAddr), count: u32) {
    let sent = burst(count, 1_200);
    for payload in &sent {
        peer.send_to(payload, relayed).unwrap();
    }
    for payload in &sent {
        assert_eq!(client.hear(), *payload);
    }
    for payload in &sent {
        client.say(payload);
    }
    for payload in &sent {
        assert_eq!(heard_by_peer(peer), (payload.clone(), relayed));
    }
}

#[test]
fn a_burst_passes_whole_and_in_order_between_a_udp_client_and_a_peer() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    let (mut client, relayed) = world.client().connected_to(address);
    for count in [200, 800] {
        bursts_pass(&mut client, (&peer, relayed), count);
    }
    let stats = world.stats_when(|stats| stats.relay.traffic.to_peer_packets == 1_000);
    assert_eq!(stats.relay.traffic.to_client_packets, 1_000);
    assert_eq!((stats.udp.overflowed, stats.udp.send_failures(), stats.relay.dropped.total()), (0, 0, 0));
    assert!(stats.udp.trains_sent > 0, "neighbours leave together");
    assert!(stats.udp.messages_sent < stats.udp.datagrams_sent / 2);
}

#[test]
fn a_burst_passes_whole_and_in_order_between_a_stream_client_and_a_peer() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    for (client, transport) in [(world.tcp_client(), Transport::Tcp), (world.tls_client(), Transport::Tls)] {
        let (mut client, relayed) = client.connected_to(address);
        for count in [60, 200, 200] {
            bursts_pass(&mut client, (&peer, relayed), count);
        }
        let stats = world.stats_when(|stats| {
            stats.streams.open[transport as usize] == 1 && stats.relay.traffic.to_peer_packets % 460 == 0
        });
        assert_eq!((stats.streams.dropped_by_age, stats.streams.dropped_by_bytes), (0, 0));
        assert!(stats.queue_age_us.len() >= 460 && stats.streams.bytes_sent > 460 * 1_204);
    }
}

#[test]
fn a_client_is_answered_from_the_address_it_asked() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    // Connected sockets: what came from any other address would not be heard.
    for ip in [[127, 0, 0, 1], [127, 0, 0, 2]] {
        let (mut client, relayed) = world.client_at(ip).connected_to(address);
        bursts_pass(&mut client, (&peer, relayed), 20);
    }
}

#[test]
fn clients_of_either_family_reach_peers_of_the_other() {
    let (v4, at_v4) = peer();
    let (v6, at_v6) = peer_at(Ipv6Addr::LOCALHOST.into());
    let world = World::new(&[at_v4, at_v6]);
    let (mut over_v6, relayed) = world.client_v6().connected_to(at_v4);
    assert!(relayed.is_ipv4());
    bursts_pass(&mut over_v6, (&v4, relayed), 50);
    for mut client in [world.client(), world.client_v6(), world.tcp_client()] {
        let relayed = client.allocate_v6();
        assert!(relayed.is_ipv6());
        assert_eq!((client.bind(CHANNEL, at_v6), client.bind(0x4001, at_v4)), (0, 443));
        bursts_pass(&mut client, (&v6, relayed), 50);
    }
}

#[test]
fn two_clients_talk_to_the_same_peer_each_from_its_own_address() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    let (mut ada, of_ada) = world.client().connected_to(address);
    let (mut ben, of_ben) = world.tcp_client().connected_to(address);
    assert_ne!(of_ada, of_ben);
    for _ in 0..20 {
        ada.say(b"ada");
        ben.say(b"ben");
        for _ in 0..2 {
            let (said, from) = heard_by_peer(&peer);
            assert_eq!(from, if said == b"ada" { of_ada } else { of_ben });
            peer.send_to(&said, from).unwrap();
        }
        assert_eq!((ada.hear(), ben.hear()), (b"ada".to_vec(), b"ben".to_vec()));
    }
}

#[test]
fn bursts_of_many_clients_at_once_all_arrive_in_order() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    let mut clients: Vec<_> = (0..32).map(|_| world.client().connected_to(address)).collect();
    let sent = burst(8, 1_000);
    for payload in &sent {
        for (client, _) in &mut clients {
            client.say(payload);
        }
    }
    for _ in 0..clients.len() * sent.len() {
        let (said, from) = heard_by_peer(&peer);
        peer.send_to(&said, from).unwrap();
    }
    for (client, _) in &mut clients {
        for payload in &sent {
            assert_eq!(client.hear(), *payload);
        }
    }
}

#[test]
fn the_shortest_and_the_longest_datagrams_pass() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    let (mut datagrams, by_datagrams) = world.client().connected_to(address);
    let (mut stream, by_stream) = world.tcp_client().connected_to(address);
    // To the peer: on a stream whatever is a datagram; over UDP the channel's header takes its part.
    for (client, relayed, longest) in
        [(&mut datagrams, by_datagrams, 65_503), (&mut stream, by_stream, 65_507)]
    {
        for length in [0, 1, longest] {
            let payload = vec![5; length];
            client.say(&payload);
            assert_eq!(heard_by_peer(&peer), (payload, relayed));
        }
        // To the client: what fits behind the longest head.
        for length in [0, 1, 65_507 - 48] {
            let payload = vec![6; length];
            peer.send_to(&payload, relayed).unwrap();
            assert_eq!(client.hear(), payload);
        }
        peer.send_to(&[7; 65_507], relayed).unwrap();
    }
    let stats = world.stats_when(|stats| stats.relay.dropped.of(DropReason::TooLarge) == 2);
    assert_eq!(stats.udp.send_failures(), 0);
}

#[test]
fn without_a_channel_datagrams_travel_in_indications() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    for mut client in [world.client(), world.tcp_client(), world.tls_client()] {
        let relayed = client.allocate();
        assert_eq!(client.permit(address), 0);
        for (payload, dont_fragment) in [(&b""[..], false), (b"a", true), (b"four", false), (b"fives", true)]
        {
            let indication = client.bare(SEND_INDICATION);
            let masked = mask(address, indication.transaction);
            let mut indication = indication.with(XOR_PEER_ADDRESS, masked).with(DATA, payload);
            if dont_fragment {
                indication = indication.with(DONT_FRAGMENT, []);
            }
            client.send(&indication.encode());
            assert_eq!(heard_by_peer(&peer), (payload.to_vec(), relayed));
            peer.send_to(payload, relayed).unwrap();
            let heard = Stun::decode(&client.receive());
            assert_eq!((heard.kind, heard.attribute(DATA)), (DATA_INDICATION, Some(payload)));
            assert_eq!(heard.addresses(XOR_PEER_ADDRESS), [address]);
        }
    }
}

#[test]
fn a_closed_port_that_answers_with_icmp_does_not_end_an_allocation() {
    let (peer, address) = peer();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::new(&[address, closed]);
    let (mut client, relayed) = world.client().connected_to(address);
    assert_eq!(client.bind(0x4001, closed), 0);
    for _ in 0..10 {
        client.send(&channel_data(0x4001, b"anybody?"));
        bursts_pass(&mut client, (&peer, relayed), 3);
    }
    assert_eq!(world.ask(ShardCommand::Allocations).len(), 1);
}

#[test]
fn the_end_of_a_stream_ends_its_allocation_once() {
    let (_peer, address) = peer();
    let mut world = World::new(&[address]);
    let (client, _) = world.tcp_client().connected_to(address);
    let Link::Stream(stream, _) = &client.link else { panic!("a stream's client") };
    stream.shutdown(Shutdown::Both).unwrap();
    let record = world.ended.blocking_recv().unwrap();
    assert_eq!((record.cause, record.transport), (EndCause::ClientGone, Transport::Tcp));
    let stats = world.stats_when(|stats| stats.streams.closed.total() == 1);
    assert_eq!(stats.streams.closed.of(CloseReason::ByClient), 1);
    assert_eq!((stats.live_peer_sockets, stats.streams.open), (0, [0; 3]));
    assert!(world.ask(ShardCommand::Allocations).is_empty() && world.ended.try_recv().is_err());
}

#[test]
fn streams_that_come_and_go_leave_nothing_behind() {
    let (peer, address) = peer();
    let mut world = World::new(&[address]);
    for _ in 0..50 {
        let (mut client, relayed) = world.tcp_client().connected_to(address);
        bursts_pass(&mut client, (&peer, relayed), 2);
        drop(client);
        assert_eq!(world.ended.blocking_recv().unwrap().cause, EndCause::ClientGone);
    }
    let stats = world.stats_when(|stats| stats.streams.closed.total() == 50);
    assert_eq!((stats.live_peer_sockets, stats.streams.open, stats.streams.accepted), (0, [0; 3], 50));
}

#[test]
fn two_requests_in_one_write_are_both_answered() {
    let (_peer, address) = peer();
    let world = World::new(&[address]);
    let mut client = world.tcp_client();
    client.allocate();
    let (first, second) = (client.bare(REFRESH), client.bare(CREATE_PERMISSION));
    let masked = mask(address, second.transaction);
    let transactions = [first.transaction, second.transaction];
    let both = [client.sign(first), client.sign(second.with(XOR_PEER_ADDRESS, masked))].concat();
    client.send(&both);
    let replies = [Stun::decode(&client.receive()), Stun::decode(&client.receive())];
    assert_eq!(replies.each_ref().map(|reply| reply.transaction), transactions);
    assert_eq!(replies.each_ref().map(Stun::code), [0, 0]);
}

#[test]
fn a_released_allocation_is_silent_and_its_place_serves_another_client() {
    let (peer, address) = peer();
    let mut world = World::new(&[address]);
    let (mut ada, of_ada) = world.client().connected_to(address);
    assert_eq!(ada.release(), 0);
    assert_eq!(world.ended.blocking_recv().unwrap().cause, EndCause::Released);
    let (mut ben, of_ben) = world.client().connected_to(address);
    peer.send_to(b"to ada", of_ada).unwrap();
    ada.say(b"nothing");
    bursts_pass(&mut ben, (&peer, of_ben), 5);
    let stats = world.stats_when(|stats| stats.relay.dropped.of(DropReason::NoAllocation) == 1);
    assert_eq!((stats.live_peer_sockets, stats.relay.traffic.to_client_packets), (1, 5));
}

/// What is said before a release leaves before the socket is closed, even when both are read at once.
#[test]
fn the_last_words_before_a_release_reach_the_peer() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    let (mut client, relayed) = world.tcp_client().connected_to(address);
    let release = client.bare(REFRESH).with(LIFETIME, 0u32.to_be_bytes());
    let words = channel_data(CHANNEL, b"bye!");
    let both = [words, client.sign(release)].concat();
    client.send(&both);
    assert_eq!(heard_by_peer(&peer), (b"bye!".to_vec(), relayed));
    assert_eq!(Stun::decode(&client.receive()).code(), 0);
}

#[test]
fn a_new_policy_stops_traffic_within_a_second() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    let (mut client, relayed) = world.client().connected_to(address);
    bursts_pass(&mut client, (&peer, relayed), 5);
    let before = Instant::now();
    world.send(ShardCommand::SetPolicy(policy(&[])));
    // Answered behind the policy: by now it is in force.
    let explained = world.ask(|done| ShardCommand::Explain { peer: address, done });
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(matches!(explained.decision, Decision::Denied(_)));
    peer.send_to(b"to the client", relayed).unwrap();
    client.say(b"to the peer");
    let stats = world.stats_when(|stats| stats.relay.dropped.total() == 2);
    assert_eq!((stats.relay.traffic.to_client_packets, stats.relay.traffic.to_peer_packets), (5, 5));
    assert_eq!(client.bind(CHANNEL, address), 403);
    world.send(ShardCommand::SetPolicy(policy(&[address])));
    assert_eq!(client.permit(address), 0);
}

#[test]
fn an_operator_lists_revokes_and_drains() {
    let (_peer, address) = peer();
    let mut world = World::new(&[address]);
    let (mut client, relayed) = world.client().connected_to(address);
    let listed = world.ask(ShardCommand::Allocations);
    assert_eq!((listed.len(), &*listed[0].user, &listed[0].relayed), (1, &*client.user(), &vec![relayed]));
    let user = client.user();
    assert_eq!(world.ask(|done| ShardCommand::RevokeUser { user, done }), 1);
    assert_eq!(world.ended.blocking_recv().unwrap().cause, EndCause::Revoked);
    world.send(ShardCommand::SetDrain(Drain::Refuse));
    let request = client.bare(ALLOCATE).with(REQUESTED_TRANSPORT, [17, 0, 0, 0]);
    assert_eq!(client.request(&request).code(), 508);
    assert!(world.stats_when(|stats| stats.relay.draining).relay.draining);
    world.send(ShardCommand::SetDrain(Drain::Off));
    client.allocate();
}

#[test]
fn a_client_that_does_not_read_costs_only_itself() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    let (_deaf, of_deaf) = world.tcp_client().connected_to(address);
    let (mut client, relayed) = world.client().connected_to(address);
    // Far more than its socket and its queue hold.
    for round in burst(40, 4) {
        for _ in 0..200 {
            peer.send_to(&[9; 1_200], of_deaf).unwrap();
        }
        peer.send_to(&round, relayed).unwrap();
        assert_eq!(client.hear(), round);
    }
    let stats = world.stats_when(|stats| stats.relay.traffic.to_client_packets >= 8_040);
    let dropped = stats.streams.dropped_by_age + stats.streams.dropped_by_bytes;
    assert!(dropped > 0, "{:?}", stats.streams);
    assert_eq!((stats.streams.closed.total(), stats.udp.overflowed), (0, 0));
}

#[test]
fn a_stream_of_nonsense_is_closed_and_nonsense_datagrams_close_nothing() {
    let (peer, address) = peer();
    let world = World::new(&[address]);
    let mut client = world.client();
    for length in 0..200 {
        client.send(&vec![length as u8; length]);
    }
    let mut nonsense = world.tcp_client();
    nonsense.send(&[0xff; 40]);
    let stats = world.stats_when(|stats| stats.streams.closed.total() == 1);
    assert_eq!(stats.streams.closed.of(CloseReason::NotTurn), 1);
    assert!(stats.relay.dropped.of(DropReason::NotClassified) > 0);
    let (mut client, relayed) = client.connected_to(address);
    bursts_pass(&mut client, (&peer, relayed), 5);
}

#[test]
fn a_stopped_shard_says_so_and_ends_its_streams_and_allocations() {
    let (_peer, address) = peer();
    let mut world = World::new(&[address]);
    let (client, _) = world.tcp_client().connected_to(address);
    let _datagrams = world.client().connected_to(address);
    world.stop();
    let Link::Stream(mut stream, _) = client.link else { panic!("a stream's client") };
    let read = std::io::Read::read(&mut stream, &mut [0; 8]);
    assert!(matches!(read, Ok(0)) || read.is_err());
    let refused = world.shard.send(ShardCommand::SetDrain(Drain::Off)).unwrap_err();
    assert_eq!(refused.reason, RefusedReason::Gone);
    assert_eq!(world.shard.stats().streams.closed.of(CloseReason::Stopped), 1);
    let ended = [world.ended.try_recv().unwrap(), world.ended.try_recv().unwrap()];
    assert!(ended.iter().all(|record| record.cause == EndCause::Stopped));
    assert_ne!(ended[0].transport, ended[1].transport);
    let stats = world.shard.stats();
    assert_eq!((stats.live_peer_sockets, stats.relay.allocations), (0, [0; 3]));
}

#[test]
fn records_that_nobody_takes_are_counted() {
    let (_peer, address) = peer();
    let mut world = World::new(&[address]);
    world.ended.close();
    let mut client = world.client();
    client.allocate();
    assert_eq!(client.release(), 0);
    assert_eq!(world.stats_when(|stats| stats.records_dropped == 1).relay.allocations_created, 1);
}

#[test]
fn a_shard_without_work_is_not_busy_and_looks_at_no_socket() {
    let world = World::new(&[]);
    let calls = |world: &World| world.shard.stats().udp.receive_calls;
    let mut client = world.client();
    client.allocate();
    let stats = world.stats_when(|stats| stats.relay.allocations_created == 1);
    assert_eq!(stats.relay.allocations, [1, 0, 0]);
    let stats = world.stats_when(|stats| stats.busy < 0.5);
    assert_eq!(stats.udp.receive_calls, calls(&world));
}

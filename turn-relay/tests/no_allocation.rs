//! A relayed datagram allocates nothing in either direction; neither does a stranger's that gets no answer; and what an
//! allocation costs is bounded.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../bridge/tests/counting_allocator/mod.rs"]
mod counting_allocator;
mod world;

use turn_relay::engine::ports::{Handled, ToClient};
use turn_relay::engine::quota::Limits;
use world::client::Client;
use world::codec::*;
use world::{UNIX_S, World, addr};

const PEER: &str = "203.0.113.1:2000";

/// Bytes of one allocation with one channel, everything counted: tables, timers, quota, name.
const ALLOCATION_BYTES_MAX: i64 = 2_048;

#[test]
fn a_relayed_datagram_allocates_nothing_in_either_direction() {
    let mut world = World::with(|setup| {
        setup.engine.limits =
            Limits { packets_per_s: 0, bits_per_s: 0, user_bits_per_s: 0, ..Limits::default() };
    });
    let (mut client, _) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    let key = *world.sockets.keys().next().unwrap();
    let (up, peer) = (channel_data(0x4000, &[7; 1_200]), addr(PEER));
    let before = counting_allocator::allocations();
    for _ in 0..10_000 {
        let handled = world.relay.handle_client(world.now, UNIX_S, &client.path, &up);
        assert!(matches!(handled, Handled::ToPeer { payload, .. } if payload.len() == 1_200));
        assert!(matches!(world.relay.handle_peer(world.now, key, peer, 1_200), ToClient::Channel { .. }));
        assert_eq!(world.relay.next_timeout().is_some(), world.relay.poll_output().is_none());
    }
    assert_eq!(counting_allocator::allocations(), before);
}

#[test]
fn a_flood_of_strangers_leaves_no_memory_behind() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let requests = [client.allocate().encode(), client.bare(BINDING).encode(), client.bare(REFRESH).encode()];
    world.challenge(&mut client);
    world.replies.shrink_to_fit();
    let before = counting_allocator::held_bytes();
    for number in 0..100_000u32 {
        let ip = std::net::Ipv4Addr::from(0x0800_0000 + number / 10);
        client.path.client = std::net::SocketAddr::new(ip.into(), 1_024 + (number % 60_000) as u16);
        for request in &requests {
            world.relay.handle_client(world.now, UNIX_S, &client.path, request);
            while world.relay.poll_output().is_some() {}
        }
    }
    let grown = counting_allocator::held_bytes() - before;
    assert!(grown < 4_096, "{grown} bytes after 300,000 requests from 100,000 ports");
}

#[test]
fn an_allocation_with_a_channel_costs_less_than_two_kilobytes() {
    let mut world = World::with(|setup| setup.engine.ports = 10_000..=20_000);
    // The world's own tables are not the relay's.
    let count = 2_000;
    world.sockets.reserve(2 * count);
    world.replies.reserve(16);
    let before = counting_allocator::held_bytes();
    for number in 0..count as u16 {
        let host = format!("198.51.{}.{}:40000", number / 250, number % 250 + 1);
        let mut client = Client::at(turn_relay::engine::ports::Transport::Udp, &host);
        let username = format!("1900000000:{number:08x}");
        client = client.login(&username);
        world.allocate(&mut client);
        assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
    }
    let each = (counting_allocator::held_bytes() - before) / count as i64;
    assert!(each < ALLOCATION_BYTES_MAX, "{each} bytes");
}

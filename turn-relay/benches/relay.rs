//! What a relayed datagram costs in each direction, by the number of clients' allocations around it, and what a stranger's
//! costs. That neither takes memory is a test, not a benchmark.

#[path = "../tests/world/mod.rs"]
mod world;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use turn_relay::engine::ports::{ClientPath, Handled, RelaySocketKey, ToClient};
use turn_relay::engine::quota::Limits;
use world::client::Client;
use world::codec::{BINDING, channel_data};
use world::{UNIX_S, World, addr};

const PEER: &str = "203.0.113.1:2000";

/// So many clients with a channel each, and rates on, but so high that no datagram of a benchmark meets them.
fn relay(allocations: u16) -> (World, Vec<(ClientPath, RelaySocketKey)>) {
    let mut world = World::with(|setup| {
        setup.engine.ports = 10_000..=60_000;
        let far = 100_000_000_000;
        setup.engine.limits =
            Limits { packets_per_s: 500_000_000, bits_per_s: far, user_bits_per_s: far, ..Limits::default() };
    });
    let clients = (0..allocations).map(|number| {
        let host = format!("198.{}.{}.{}:40000", number >> 12, number >> 6 & 63, number & 63);
        let mut client = Client::at(turn_relay::engine::ports::Transport::Udp, &host);
        client = client.login(&format!("1900000000:{number:08x}"));
        let relayed = world.allocate(&mut client);
        assert_eq!(world.bind(&mut client, 0x4000, PEER), 0);
        let key = world.sockets.iter().find(|(_, local)| **local == relayed).map(|(key, _)| *key);
        (client.path, key.expect("an open socket"))
    });
    let clients = clients.collect();
    (world, clients)
}

fn relayed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    group.throughput(Throughput::Elements(1));
    for allocations in [1u16, 100, 5_000] {
        let (mut world, clients) = relay(allocations);
        let (up, peer) = (channel_data(0x4000, &[7; 1_200]), addr(PEER));
        let mut next = clients.iter().cycle();
        let mut ended = 0u64;
        let mut relay_one = |to_peer: bool| {
            let Some((path, key)) = next.next() else { return };
            if to_peer {
                let handled = world.relay.handle_client(world.now, UNIX_S, black_box(path), black_box(&up));
                ended += u64::from(!matches!(handled, Handled::ToPeer { .. }));
            } else {
                let handled = world.relay.handle_peer(world.now, black_box(*key), black_box(peer), 1_200);
                ended += u64::from(!matches!(handled, ToClient::Channel { .. }));
            }
            world.now += std::time::Duration::from_nanos(100);
        };
        group.bench_function(BenchmarkId::new("to_peer", allocations), |bencher| {
            bencher.iter(|| relay_one(true));
        });
        group.bench_function(BenchmarkId::new("to_client", allocations), |bencher| {
            bencher.iter(|| relay_one(false));
        });
        assert_eq!(ended, 0, "every datagram was relayed");
    }
    group.finish();
}

fn strangers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stranger");
    group.throughput(Throughput::Elements(1));
    let (mut world, _) = relay(100);
    let mut client = Client::new(1);
    let forged = Client { nonce: vec![b'A'; 16], ..client.clone() };
    let kinds = [
        ("binding", client.bare(BINDING).encode()),
        ("allocate", client.allocate().encode()),
        ("forged_nonce", forged.sign(client.allocate())),
        ("channel_data", channel_data(0x4000, &[7; 1_200])),
        ("noise", vec![0xff; 200]),
    ];
    for (name, message) in kinds {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                world.relay.handle_client(world.now, UNIX_S, &client.path, black_box(&message));
                while world.relay.poll_output().is_some() {}
            });
        });
    }
    group.finish();
}

criterion_group!(benches, relayed, strangers);
criterion_main!(benches);

//! What a forwarded packet costs, in time and in allocations (none), by the number of its receivers; what a stranger's
//! datagram costs; and that idle endpoints cost the timer nothing.

#[path = "../tests/counting_allocator/mod.rs"]
mod counting_allocator;
#[path = "../tests/world/mod.rs"]
mod world;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use wire::stun::{AttributeKind, Builder, Class, Method, TransactionId};
use world::browser::Browser;
use world::media::Sent;
use world::{World, ms, secs};

/// One source of video, `receivers` watchers, everybody connected and shown it.
fn conference(receivers: u32) -> (World, usize) {
    let mut world = World::new();
    let sender = world.join(Browser::watcher(1).with_video(1).with_slots(0, 0));
    for number in 0..receivers {
        world.join(Browser::watcher(number + 2).with_slots(0, 1));
    }
    world.run(secs(1));
    world.browsers[sender].camera().is_on = false;
    world.run(ms(200));
    (world, sender)
}

/// The sender's next packet, 1,200 bytes of it payload.
fn next_packet(world: &mut World, sender: usize) -> Vec<u8> {
    let now = world.now;
    let elements = world.browsers[sender].elements(0, now, false);
    let elements: Vec<(u8, &[u8])> = elements.iter().map(|(id, value)| (*id, value.as_slice())).collect();
    let mut stream = world.browsers[sender].streams.remove(0);
    stream.frame += 1;
    let mut payload = vec![0x90, 0xc0, 0x80, 0, 0, 0x11];
    payload.resize(1_200, 0xaa);
    let timestamp = stream.timestamp_base.wrapping_add(stream.frame * 3_600);
    let sent = Sent { marker: true, timestamp, payload };
    let packet = stream.seal(world.browsers[sender].sealer(), sent, &elements).expect("nothing is swallowed");
    stream.history.clear();
    world.browsers[sender].streams.insert(0, stream);
    packet
}

/// Time and allocations of one packet on its way to all receivers.
fn forward_one(world: &mut World, sender: usize, receivers: u32) -> (Duration, u64) {
    // A millisecond apart: the sender stays below what one may send.
    world.now += ms(1);
    let path = world.browsers[sender].path;
    let mut packet = next_packet(world, sender);
    let allocations = counting_allocator::allocations();
    let start = std::time::Instant::now();
    world.bridge.handle_datagram(world.now, path, black_box(&mut packet));
    let spent = start.elapsed();
    let allocations = counting_allocator::allocations() - allocations;
    assert_eq!(world.bridge.send_ring().len(), receivers as usize);
    world.bridge.send_ring().clear();
    while world.bridge.poll_output().is_some() {}
    (spent, allocations)
}

/// More than the arrivals that wait to be told at most.
const WARM_UP_PACKETS: u32 = 600;

fn forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("forward");
    for receivers in [10, 100, 1_000] {
        let (mut world, sender) = conference(receivers);
        group.throughput(Throughput::Elements(receivers.into()));
        // The first packets make the ring and the list of arrivals as large as they stay. No timeout is ever handled: the
        // world's clock runs far ahead of what its browsers would need to be heard again.
        for _ in 0..WARM_UP_PACKETS {
            let _ = forward_one(&mut world, sender, receivers);
        }
        let mut allocated = 0;
        group.bench_function(BenchmarkId::new("receivers", receivers), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for _ in 0..iterations {
                    let (time, allocations) = forward_one(&mut world, sender, receivers);
                    spent += time;
                    allocated += allocations;
                }
                spent
            });
        });
        println!("forward/receivers/{receivers}: {allocated} allocations");
        assert_eq!(allocated, 0);
    }
    group.finish();
}

/// What is thrown away at a flood, each kind from an address that nobody has.
fn strangers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unknown");
    let (mut world, sender) = conference(100);
    let mut path = world.browsers[sender].path;
    path.remote.set_port(1);
    let rtp = next_packet(&mut world, sender);
    let check = Builder::new(Class::Request, Method::BINDING, TransactionId([7; 12]))
        .attribute(AttributeKind::USERNAME, b"nobody:here")
        .sign(b"a wrong password that is long enough")
        .fingerprint();
    let dtls = [&[22, 0xfe, 0xfd][..], &[0; 200]].concat();
    let noise = vec![0xff; 200];
    for (name, datagram) in [("rtp", rtp), ("check", check), ("dtls", dtls), ("noise", noise)] {
        let (mut datagram, before) = (datagram, world.stats().counters.dropped.total());
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| world.bridge.handle_datagram(world.now, path, black_box(&mut datagram)));
        });
        assert!(world.stats().counters.dropped.total() > before && world.bridge.send_ring().is_empty());
    }
    group.finish();
}

fn next_timeout(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("next_timeout");
    for idle in [10, 1_000] {
        let mut world = World::new();
        for number in 0..idle {
            world.join(Browser::watcher(number + 1).with_slots(3, 5));
        }
        world.run(ms(300));
        assert_eq!(world.stats().endpoints_connected, u64::from(idle));
        group.bench_function(BenchmarkId::new("idle_endpoints", idle), |bencher| {
            bencher.iter(|| black_box(world.bridge.next_timeout()));
        });
    }
    group.finish();
}

criterion_group!(benches, forward, strangers, next_timeout);
criterion_main!(benches);

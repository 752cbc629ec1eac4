//! A forwarded packet allocates nothing, and neither does a stranger's.

mod counting_allocator;
mod world;

use wire::stun::{AttributeKind, Builder, Class, Method, TransactionId};
use world::browser::Browser;
use world::{World, ms, secs};

/// Allocations of the engine while five seconds of an endpoint's packets are forwarded, and how many went out.
fn allocations(world: &mut World, place: usize) -> (u64, u64) {
    let path = world.browsers[place].path;
    let forwarded = world.stats().counters.packets_sent;
    let mut counted = 0;
    for _ in 0..250 {
        world.now += ms(20);
        let packets = world.browsers[place].handle_timeout(world.now);
        for mut packet in packets.into_iter().filter(|packet| packet[1] & 0x7f < 64 || packet[1] & 0x7f > 95)
        {
            if packet[0] < 128 {
                continue;
            }
            let before = counting_allocator::allocations();
            world.bridge.handle_datagram(world.now, path, &mut packet);
            counted += counting_allocator::allocations() - before;
        }
        // The shell sends what lies in the ring and wakes the engine when something is due.
        world.bridge.send_ring().clear();
        world.bridge.handle_timeout(world.now);
        world.bridge.send_ring().clear();
        while world.bridge.poll_output().is_some() {}
    }
    (counted, world.stats().counters.packets_sent - forwarded)
}

#[test]
fn a_forwarded_packet_allocates_nothing() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    for number in 2..=20 {
        world.join(Browser::watcher(number));
    }
    world.run(secs(3));
    // The first bursts make the ring as large as it stays.
    allocations(&mut world, sender);
    let (counted, forwarded) = allocations(&mut world, sender);
    assert!(forwarded > 10_000, "{forwarded}");
    assert_eq!(counted, 0, "while {forwarded} packets went out");
}

#[test]
fn a_packet_renumbered_after_a_switch_allocates_nothing() {
    let mut world = World::new();
    world.join(Browser::watcher(9).with_slots(1, 1));
    let (ada, ben) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    for (loud, quiet) in [(ada, ben), (ben, ada)] {
        world.browsers[loud].microphone().level_dbov = 15;
        world.browsers[quiet].microphone().level_dbov = 127;
        world.run(secs(4));
    }
    allocations(&mut world, ben);
    let (counted, forwarded) = allocations(&mut world, ben);
    assert!(forwarded > 500, "{forwarded}");
    assert_eq!(counted, 0, "while {forwarded} packets went out");
}

#[test]
fn a_packet_that_crosses_to_another_worker_allocates_nothing_on_either_side() {
    let mut world = World::with_parts(2);
    let sender = world.join(Browser::talker(1));
    for number in 2..=20 {
        world.join(Browser::watcher(number).at(usize::from(number > 10)));
    }
    world.run(secs(3));
    cross(&mut world, sender);
    let (counted, crossed) = cross(&mut world, sender);
    assert!(crossed > 500, "{crossed}");
    assert_eq!(counted, 0, "while {crossed} packets crossed");
}

/// Allocations of both engines while five seconds of an endpoint's packets cross, and how many did.
fn cross(world: &mut World, place: usize) -> (u64, u64) {
    let path = world.browsers[place].path;
    let (mut counted, mut crossed) = (0, 0);
    for _ in 0..250 {
        world.now += ms(20);
        for mut packet in world.browsers[place].handle_timeout(world.now) {
            let is_media = packet[0] >= 128 && !(64..96).contains(&(packet[1] & 0x7f));
            if !is_media {
                continue;
            }
            let before = counting_allocator::allocations();
            world.bridge.handle_datagram(world.now, path, &mut packet);
            for (_, crossing, bytes) in world.bridge.crossings().iter() {
                world.others[0].handle_crossing(world.now, crossing, (bytes, &[]));
                crossed += 1;
            }
            world.bridge.crossings().clear();
            counted += counting_allocator::allocations() - before;
        }
        for part in [0, 1] {
            let now = world.now;
            let engine = world.engine(part);
            engine.send_ring().clear();
            engine.handle_timeout(now);
            engine.send_ring().clear();
            while engine.poll_output().is_some() {}
        }
    }
    (counted, crossed)
}

#[test]
fn a_flood_from_strangers_allocates_nothing_and_is_answered_with_nothing() {
    let mut world = World::new();
    world.join(Browser::talker(1));
    world.run(secs(1));
    let (mut path, dropped) = (world.browsers[0].path, world.stats().counters.dropped.total());
    let check = Builder::new(Class::Request, Method::BINDING, TransactionId([7; 12]))
        .attribute(AttributeKind::USERNAME, b"nobody:here")
        .sign(b"a wrong password that is long enough")
        .fingerprint();
    let kinds =
        [vec![0x80; 1_200], vec![0x80, 200, 0, 1, 0, 0, 0, 1], vec![22; 300], check, vec![0xff; 64], vec![]];
    let before = counting_allocator::allocations();
    for port in 1..10_000 {
        path.remote.set_port(port);
        for kind in &kinds {
            let mut datagram = [0; 1_200];
            datagram[..kind.len()].copy_from_slice(kind);
            world.bridge.handle_datagram(world.now, path, &mut datagram[..kind.len()]);
        }
    }
    assert_eq!(counting_allocator::allocations(), before);
    assert!(world.bridge.send_ring().is_empty() && world.bridge.poll_output().is_none());
    assert_eq!(world.stats().counters.dropped.total() - dropped, 6 * 9_999);
}

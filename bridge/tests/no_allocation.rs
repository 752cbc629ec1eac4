//! A forwarded packet allocates nothing.

mod counting_allocator;
mod world;

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

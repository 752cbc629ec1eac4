//! A forwarded packet allocates nothing.

// A global allocator that counts can only be written with unsafe code; it hands everything on to the system's.
#![allow(unsafe_code)]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use world::browser::Browser;
use world::{World, ms, secs};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
            let before = ALLOCATIONS.get();
            world.bridge.handle_datagram(world.now, path, &mut packet);
            counted += ALLOCATIONS.get() - before;
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

//! What an endpoint costs the engine in memory: measured by giving the engine back.

mod counting_allocator;
mod world;

use world::browser::Browser;
use world::{World, secs};

/// Bytes that an engine holds after its browsers have met for a while.
fn engine_bytes(browsers: impl Iterator<Item = Browser>) -> i64 {
    let mut world = World::new();
    for browser in browsers {
        world.join(browser);
    }
    world.run(secs(3));
    let World { bridge, .. } = world;
    let before = counting_allocator::held_bytes();
    drop(bridge);
    before - counting_allocator::held_bytes()
}

const KIB: i64 = 1024;

#[test]
fn a_viewer_costs_less_than_100_kib() {
    let audience = |viewers: u32| {
        let viewers = (0..viewers).map(|number| Browser::watcher(number + 2).with_slots(3, 5));
        engine_bytes(std::iter::once(Browser::talker(1)).chain(viewers))
    };
    let each = (audience(60) - audience(20)) / 40;
    println!("{} KiB for each viewer", each / KIB);
    assert!(each <= 100 * KIB, "{each}");
}

#[test]
fn a_participant_of_a_meeting_who_is_shown_twenty_pictures_costs_less_than_600_kib() {
    let meeting =
        |people: u32| engine_bytes((0..people).map(|number| Browser::talker(number + 1).with_slots(3, 20)));
    let each = meeting(21) / 21;
    println!("{} KiB for each participant", each / KIB);
    assert!(each <= 600 * KIB, "{each}");
}

#[test]
fn a_participant_who_sends_three_layers_costs_less_than_600_kib() {
    let sender = |number: u32| Browser::watcher(number + 1).with_audio().with_video(3).with_slots(3, 9);
    let each = engine_bytes((0..10).map(sender)) / 10;
    println!("{} KiB for each sender of three layers", each / KIB);
    assert!(each <= 600 * KIB, "{each}");
}

#[test]
fn a_viewer_of_a_full_screen_of_pictures_costs_less_than_100_kib() {
    let stage = |viewers: u32| {
        let talkers = (0..20).map(|number| Browser::talker(number + 1).with_slots(3, 5));
        let viewers = (0..viewers).map(|number| Browser::watcher(number + 50).with_slots(3, 20));
        engine_bytes(talkers.chain(viewers))
    };
    let each = (stage(12) - stage(2)) / 10;
    println!("{} KiB for each viewer of twenty pictures", each / KIB);
    assert!(each <= 100 * KIB, "{each}");
}

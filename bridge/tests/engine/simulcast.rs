//! Several layers of one picture: the middle one is shown, and another one only while that is silent.

use bridge::engine::drop_reason::DropReason;

use crate::world::browser::Browser;
use crate::world::{Line, World, ms, secs};

fn layers_shown(world: &World, place: usize) -> Vec<u8> {
    let slots = world.browsers[place].slots.values().filter(|slot| slot.is_video);
    let mut layers: Vec<u8> =
        slots.flat_map(|slot| slot.packets.values().map(|shown| shown.tag.layer)).collect();
    layers.dedup();
    layers
}

fn meeting(layers: usize, announces_ssrcs: bool) -> (World, usize, usize) {
    let mut world = World::new();
    let sender = Browser::watcher(1).with_audio().with_video(layers);
    let sender = if announces_ssrcs { sender } else { sender.without_ssrcs() };
    let sender = world.join(sender);
    let receiver = world.join(Browser::watcher(2));
    (world, sender, receiver)
}

#[test]
fn the_middle_layer_of_three_is_shown() {
    for announces_ssrcs in [true, false] {
        let (mut world, sender, receiver) = meeting(3, announces_ssrcs);
        world.run(secs(4));
        assert_eq!(layers_shown(&world, receiver).last(), Some(&1));
        let video = world.browsers[sender].video();
        let slot = world.browsers[receiver].slot_showing(&video).unwrap();
        slot.assert_continuous();
        assert!(slot.frames().len() > 70, "{} frames", slot.frames().len());
        assert!(world.dropped(DropReason::LayerNotWanted) > 300, "the others stop here");
    }
}

#[test]
fn the_higher_layer_of_two_is_shown() {
    let (mut world, _, receiver) = meeting(2, true);
    world.run(secs(3));
    assert_eq!(layers_shown(&world, receiver).last(), Some(&1));
}

#[test]
fn while_the_middle_layer_is_silent_the_best_other_one_is_shown() {
    let (mut world, sender, receiver) = meeting(3, false);
    world.run(secs(3));
    world.browsers[sender].layer(1).is_on = false;
    world.browsers[sender].layer(2).is_on = false;
    world.run(secs(4));
    assert_eq!(layers_shown(&world, receiver).last(), Some(&0));
    world.browsers[sender].layer(1).is_on = true;
    world.run(secs(3));
    assert_eq!(layers_shown(&world, receiver).last(), Some(&1), "and it comes back");
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).unwrap();
    slot.assert_continuous();
    let longest =
        slot.packets.values().zip(slot.packets.values().skip(1)).map(|(a, b)| b.at - a.at).max().unwrap();
    assert!(longest < ms(1_500), "{longest:?} without a picture");
}

#[test]
fn a_layer_named_only_by_rid_is_repaired_by_repaired_rid() {
    let (mut world, sender, receiver) = meeting(3, false);
    world.run(secs(2));
    world.browsers[sender].line_up = Line { loss: 0.03, ..Line::GOOD };
    world.run(secs(4));
    world.browsers[sender].line_up = Line::GOOD;
    world.run(secs(1));
    assert!(world.stats().counters.packets_recovered > 5);
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).unwrap();
    assert_eq!(slot.missing().len(), 0);
}

#[test]
fn a_browser_that_begins_a_layer_anew_goes_on_in_the_same_slot() {
    let (mut world, sender, receiver) = meeting(1, false);
    world.run(secs(2));
    let camera = world.browsers[sender].camera();
    // Another SSRC with numbers of its own, as after a browser has made its encoder anew.
    camera.ssrc += 50;
    camera.rtx_ssrc += 50;
    camera.next_index = 9;
    camera.timestamp_base = camera.timestamp_base.wrapping_add(0x7000_0000);
    world.run(secs(3));
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).unwrap();
    assert_eq!(slot.missing().len(), 0);
    assert!(slot.frames().len() > 100, "{}", slot.frames().len());
}

#[test]
fn a_still_screen_keeps_its_layer_though_each_is_silent_for_a_second() {
    let (mut world, sender, receiver) = meeting(3, true);
    world.run(secs(2));
    world.browsers[sender].streams.iter_mut().for_each(|stream| stream.is_still = stream.is_video);
    let before = world.stats().counters;
    world.run(secs(20));
    let after = world.stats().counters;
    assert_eq!(after.layer_changes, before.layer_changes);
    assert_eq!(after.key_frame_requests_sent, before.key_frame_requests_sent);
    assert_eq!(layers_shown(&world, receiver).last(), Some(&1));
}

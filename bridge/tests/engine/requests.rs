//! Key-frame requests: enough of them, and never many.

use bridge::engine::drop_reason::DropReason;
use wire::rtcp::{Fir, FirEntry};
use wire::rtp::Ssrc;

use crate::world::browser::Browser;
use crate::world::{World, ms, secs};

#[test]
fn a_newcomer_sees_a_picture_within_a_round_trip() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    world.run(secs(5));
    let receiver = world.join(Browser::watcher(2));
    world.run(ms(400));
    let video = world.browsers[sender].video();
    assert!(world.browsers[receiver].frames_of(&video) > 2);
    let slot = world.browsers[receiver].slot_showing(&video).unwrap();
    let first = slot.packets.values().next().unwrap();
    assert!(first.tag.is_key && first.tag.part.0 == 0);
}

#[test]
fn a_flood_of_picture_loss_reaches_the_sender_five_times_a_second() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    let receivers: Vec<usize> = (2..=6).map(|number| world.join(Browser::watcher(number))).collect();
    world.run(secs(2));
    let before = world.browsers[sender].camera().key_frame_requests.len();
    for _ in 0..1_000 {
        for receiver in &receivers {
            let browser = &mut world.browsers[*receiver];
            let slot =
                *browser.slots.iter().find(|(_, slot)| slot.is_video && !slot.packets.is_empty()).unwrap().0;
            let (path, pli) = (browser.path, browser.pli(slot).unwrap());
            world.inject(path, pli);
        }
        world.run(ms(1));
    }
    world.run(ms(100));
    let requests = world.browsers[sender].camera().key_frame_requests.len() - before;
    assert!((3..=6).contains(&requests), "{requests} in one second");
    assert!(world.stats().counters.key_frame_requests_merged > 4_000);
}

#[test]
fn a_full_intra_request_asks_as_well_and_one_for_anothers_stream_does_not() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    let receiver = world.join(Browser::watcher(2));
    world.run(secs(2));
    let before = world.browsers[sender].camera().key_frame_requests.len();
    let browser = &mut world.browsers[receiver];
    let slot = *browser.slots.iter().find(|(_, slot)| slot.is_video && !slot.packets.is_empty()).unwrap().0;
    let (path, own_camera) = (browser.path, world.browsers[sender].camera().ssrc);
    for media in [own_camera, slot] {
        let mut compound = Vec::new();
        let entries = [FirEntry { media: Ssrc(media), command: 1 }.to_bytes()];
        Fir { sender: Ssrc(1), entries: &entries }.write(&mut compound);
        let datagram = world.browsers[receiver].seal_rtcp(&compound).unwrap();
        world.inject(path, datagram);
        world.run(ms(300));
    }
    assert_eq!(world.browsers[sender].camera().key_frame_requests.len() - before, 1);
    assert_eq!(world.dropped(DropReason::RtcpUnknownSsrc), 1);
}

#[test]
fn a_sender_that_makes_no_key_frame_is_asked_twice_a_second_and_not_more() {
    let mut world = World::new();
    let mut deaf = Browser::talker(1);
    deaf.camera().is_deaf = true;
    let sender = world.join(deaf);
    world.run(secs(2));
    let receiver = world.join(Browser::watcher(2));
    world.run(secs(10));
    let requests = world.browsers[sender].camera().key_frame_requests.len();
    assert!((15..=22).contains(&requests), "{requests} in ten seconds");
    let video = world.browsers[sender].video();
    assert_eq!(world.browsers[receiver].frames_of(&video), 0, "nothing is shown that cannot be decoded");
}

//! What is lost is asked for, on both sides, and comes back once.

use bridge::engine::drop_reason::DropReason;
use wire::messages::link::{CommandBody, Outcome};
use wire::messages::media::{Codec, CodecParameters, MediaKind};
use wire::rtcp::Nack;
use wire::rtp::Ssrc;

use crate::world::browser::Browser;
use crate::world::{Line, World, ms, secs};

fn speaker_and_watcher(world: &mut World) -> (usize, usize) {
    (world.join(Browser::talker(1)), world.join(Browser::watcher(2)))
}

#[test]
fn a_packet_lost_on_the_way_up_is_asked_for_once_and_comes_back_over_rtx() {
    let mut world = World::new();
    let (sender, receiver) = speaker_and_watcher(&mut world);
    world.run(secs(1));
    let camera = world.browsers[sender].camera();
    let next = camera.next_index as u16;
    let lost = [next.wrapping_add(7), next.wrapping_add(8), next.wrapping_add(40)];
    camera.swallowed = lost.to_vec();
    world.run(secs(2));
    assert_eq!(world.browsers[sender].camera().nacked, lost);
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).expect("shown");
    slot.assert_continuous();
    assert!(slot.packets.values().all(|shown| !shown.is_repaired), "the receiver never had to ask");
    assert_eq!(world.stats().counters.packets_recovered, 3);
    assert!(world.browsers[sender].camera().key_frame_requests.len() <= 2, "nobody lost the picture");
}

#[test]
fn a_packet_lost_on_the_way_down_is_answered_over_rtx_and_the_sender_hears_nothing_of_it() {
    let mut world = World::new();
    let (sender, receiver) = speaker_and_watcher(&mut world);
    world.browsers[receiver].line_down = Line { loss: 0.05, ..Line::GOOD };
    world.run(secs(5));
    world.browsers[receiver].line_down = Line::GOOD;
    world.run(secs(1));
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).expect("shown");
    slot.assert_continuous();
    let repaired = slot.packets.values().filter(|shown| shown.is_repaired).count();
    assert!((10..60).contains(&repaired), "{repaired} packets came back");
    assert_eq!(slot.duplicates, 0);
    assert_eq!(world.browsers[sender].camera().nacked, [0; 0]);
}

#[test]
fn without_rtx_a_packet_is_repeated_byte_for_byte() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    let mut receiver = Browser::watcher(2);
    receiver.has_rtx = false;
    let receiver = world.join(receiver);
    world.browsers[receiver].line_down = Line { loss: 0.05, ..Line::GOOD };
    world.run(secs(4));
    world.browsers[receiver].line_down = Line::GOOD;
    world.run(secs(1));
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).expect("shown");
    // A repeated packet of other bytes under the same index would not have opened.
    slot.assert_continuous();
    assert!(world.stats().counters.retransmissions_sent > 5);
}

#[test]
fn five_percent_loss_jitter_and_duplicates_both_ways_cost_no_frame() {
    for seed in 1..=3 {
        let mut world = World::seeded(seed);
        let all: Vec<usize> = (1..=3).map(|number| world.join(Browser::talker(number))).collect();
        world.run(secs(1));
        let bad = Line { delay: ms(25), jitter: ms(20), loss: 0.05, duplicates: 0.05 };
        all.iter().for_each(|place| {
            (world.browsers[*place].line_up, world.browsers[*place].line_down) = (bad, bad);
        });
        world.run(secs(8));
        all.iter().for_each(|place| {
            (world.browsers[*place].line_up, world.browsers[*place].line_down) = (Line::GOOD, Line::GOOD);
        });
        world.run(secs(2));
        for receiver in &all {
            for slot in world.browsers[*receiver]
                .slots
                .values()
                .filter(|slot| slot.is_video && !slot.packets.is_empty())
            {
                let packets = slot.packets.len();
                assert_eq!(
                    slot.missing().len(),
                    0,
                    "seed {seed}: of {packets} packets {:?}",
                    world.stats().counters
                );
                assert!(
                    slot.frames().len() * 3 + 6 >= packets,
                    "seed {seed}: {} frames",
                    slot.frames().len()
                );
            }
        }
    }
}

#[test]
fn a_packet_that_comes_late_takes_its_own_place() {
    let mut world = World::seeded(9);
    let (sender, receiver) = speaker_and_watcher(&mut world);
    world.browsers[sender].line_up = Line { jitter: ms(60), ..Line::GOOD };
    world.run(secs(4));
    world.browsers[sender].line_up = Line::GOOD;
    world.run(secs(1));
    let video = world.browsers[sender].video();
    let slot = world.browsers[receiver].slot_showing(&video).expect("shown");
    assert_eq!((slot.missing().len(), world.browsers[receiver].replayed), (0, 0));
    assert!(slot.frames().len() > 80);
}

#[test]
fn duplicates_are_never_forwarded_twice() {
    let mut world = World::new();
    let (sender, receiver) = speaker_and_watcher(&mut world);
    world.browsers[sender].line_up = Line { duplicates: 1.0, ..Line::GOOD };
    world.run(secs(2));
    // A browser also repeats what has arrived, over RTX, to probe its line.
    let (now, path) = (world.now, world.browsers[sender].path);
    let newest = world.browsers[sender].camera().next_index as u16;
    let index = world.browsers[sender].streams.iter().position(|stream| stream.is_video).unwrap();
    let sent_before = world.stats().counters.packets_sent;
    for age in 1..50 {
        let probe =
            world.browsers[sender].resend(now, index, newest.wrapping_sub(age)).expect("in its history");
        world.inject(path, probe);
    }
    assert_eq!(world.stats().counters.packets_sent, sent_before);
    assert_eq!(world.dropped(DropReason::RtxUnusable), 49);
    assert!(world.dropped(DropReason::SrtpReplayed) + world.dropped(DropReason::Duplicate) > 150);
    assert!(world.browsers[receiver].slots.values().all(|slot| slot.duplicates == 0));
    assert_eq!(world.browsers[receiver].replayed, 0);
}

#[test]
fn a_flood_of_nacks_gets_no_more_than_its_share() {
    let mut world = World::new();
    let (_, receiver) = speaker_and_watcher(&mut world);
    world.run(secs(4));
    let before = world.stats().counters;
    let slot = *world.browsers[receiver]
        .slots
        .iter()
        .find(|(_, slot)| slot.is_video && !slot.packets.is_empty())
        .unwrap()
        .0;
    let (path, everything) = (world.browsers[receiver].path, (0..=u16::MAX).collect::<Vec<_>>());
    for _ in 0..20 {
        for chunk in everything.chunks(256 * 17) {
            let mut compound = Vec::new();
            Nack::write_sequences(&mut compound, Ssrc(1), Ssrc(slot), chunk);
            let datagram = world.browsers[receiver].seal_rtcp(&compound).unwrap();
            world.inject(path, datagram);
        }
        world.run(ms(50));
    }
    let after = world.stats().counters;
    let resent = after.retransmissions_sent - before.retransmissions_sent;
    let nacks = after.nacks_received - before.nacks_received;
    // 64 KiB saved up and 1 Mbit/s, at 17 packets for four bytes; the rest, nearly half, is not even opened.
    assert!((600_000..850_000).contains(&nacks), "{nacks} sequence numbers were looked at");
    assert!(world.dropped(DropReason::OverRate) > 100);
    // Saved up 64 KiB, then a quarter of one second of three packets in 40 ms.
    assert!(resent < 80, "{resent} packets were sent again");
    assert!(world.dropped(DropReason::RetransmissionLimit) > 1_000);
}

#[test]
fn a_lost_repair_is_sent_again_a_round_trip_after_it_and_not_before() {
    let mut world = World::new();
    let (_, receiver) = speaker_and_watcher(&mut world);
    let far = Line { delay: ms(50), ..Line::GOOD };
    (world.browsers[receiver].line_up, world.browsers[receiver].line_down) = (far, far);
    world.run(secs(5));
    let slots = world.browsers[receiver].slots.iter();
    let (ssrc, slot) =
        slots.filter(|(_, slot)| slot.is_video).find(|(_, slot)| !slot.packets.is_empty()).unwrap();
    // Of what is on its way to it just now, the receiver has not got a packet.
    let (ssrc, on_its_way) = (*ssrc, (*slot.packets.keys().next_back().unwrap() + 1) as u16);
    let ask = |world: &mut World| {
        let before = world.stats().counters.retransmissions_sent;
        let mut compound = Vec::new();
        Nack::write_sequences(&mut compound, Ssrc(1), Ssrc(ssrc), &[on_its_way]);
        let datagram = world.browsers[receiver].seal_rtcp(&compound).unwrap();
        world.inject(world.browsers[receiver].path, datagram);
        world.stats().counters.retransmissions_sent - before
    };
    assert_eq!(ask(&mut world), 1, "the first time a receiver is believed");
    world.run(ms(60));
    assert_eq!((ask(&mut world), world.dropped(DropReason::AlreadyOnItsWay)), (0, 1));
    world.run(ms(40));
    assert_eq!(ask(&mut world), 1, "a round trip after the repair");
    world.run(ms(60));
    assert_eq!((ask(&mut world), world.dropped(DropReason::AlreadyOnItsWay)), (0, 2));
}

#[test]
fn a_flood_of_rtcp_takes_nothing_from_the_flooders_media() {
    let mut world = World::new();
    let (sender, receiver) = speaker_and_watcher(&mut world);
    world.run(secs(1));
    let path = world.browsers[sender].path;
    for _ in 0..3_000 {
        let mut compound = Vec::new();
        Nack::write_sequences(&mut compound, Ssrc(1), Ssrc(2), &(0..4_352).collect::<Vec<_>>());
        let datagram = world.browsers[sender].seal_rtcp(&compound).unwrap();
        world.inject(path, datagram);
    }
    assert!(world.dropped(DropReason::OverRate) > 2_900);
    let over_rate = world.dropped(DropReason::OverRate);
    world.run(ms(300));
    assert_eq!(world.dropped(DropReason::OverRate), over_rate);
    let video = world.browsers[sender].video();
    world.browsers[receiver].slot_showing(&video).expect("shown").assert_continuous();
}

#[test]
fn what_was_sent_before_a_codec_list_changed_is_not_sent_again_under_another_codecs_number() {
    for has_rtx in [true, false] {
        let mut world = World::new();
        let (sender, mut receiver) = (world.join(Browser::talker(1)), Browser::watcher(2));
        receiver.has_rtx = has_rtx;
        let receiver = world.join(receiver);
        set_codecs(&mut world, receiver, [Codec::Vp8, Codec::Vp9]);
        set_codecs(&mut world, sender, [Codec::Vp8, Codec::Vp9]);
        world.run(secs(2));
        let video = world.browsers[sender].video();
        let resent_of_newest = |world: &mut World| {
            let before = world.stats().counters.retransmissions_sent;
            let slot = world.browsers[receiver].slot_showing(&video).expect("shown");
            let newest = *slot.packets.keys().next_back().unwrap() as u16;
            let ssrc = *world.browsers[receiver].slots.iter().find(|(_, it)| it.mid == slot.mid).unwrap().0;
            let mut compound = Vec::new();
            Nack::write_sequences(&mut compound, Ssrc(1), Ssrc(ssrc), &[newest.wrapping_sub(20)]);
            let datagram = world.browsers[receiver].seal_rtcp(&compound).unwrap();
            world.inject(world.browsers[receiver].path, datagram);
            world.stats().counters.retransmissions_sent - before
        };
        assert_eq!(resent_of_newest(&mut world), 1);
        world.run(secs(1));
        set_codecs(&mut world, sender, [Codec::Vp9, Codec::Vp8]);
        assert_eq!(resent_of_newest(&mut world), 0, "with RTX: {has_rtx}");
        world.run(secs(1));
        assert_eq!(resent_of_newest(&mut world), 1, "what came since is noted by the new list");
        world.browsers[receiver].slot_showing(&video).unwrap().assert_continuous();
    }
}

/// Describes the browser with two video codecs: VP8 under its usual number, VP9 two above.
fn set_codecs(world: &mut World, place: usize, codecs: [Codec; 2]) {
    let mut parameters = world.browsers[place].parameters();
    for media in parameters.medias.iter_mut().filter(|media| media.kind == MediaKind::Video) {
        let vp8 = media.codecs[0].clone();
        media.codecs = codecs
            .map(|codec| match codec {
                Codec::Vp8 => vp8.clone(),
                _ => CodecParameters {
                    codec,
                    payload_type: vp8.payload_type + 2,
                    rtx_payload_type: vp8.rtx_payload_type.map(|rtx| rtx + 2),
                    ..vp8.clone()
                },
            })
            .to_vec();
    }
    let endpoint = world.browsers[place].id.clone();
    let outcome = world.command(CommandBody::SetEndpoint { endpoint, parameters, pins: Vec::new() });
    assert!(matches!(outcome, Outcome::Transport(_)), "{outcome:?}");
}

#[test]
fn totals_do_not_step_back_when_a_layer_goes_on_under_another_ssrc() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1).without_ssrcs());
    world.run(secs(1));
    let camera = world.browsers[sender].camera();
    camera.swallowed = vec![(camera.next_index as u16).wrapping_add(7)];
    world.run(secs(2));
    let before = world.stats().counters;
    assert!(before.packets_expected > 200 && before.packets_lost == 1, "{before:?}");
    let camera = world.browsers[sender].camera();
    (camera.ssrc, camera.rtx_ssrc) = (camera.ssrc + 50, camera.rtx_ssrc + 50);
    world.run(secs(1));
    let after = world.stats().counters;
    assert!(after.packets_expected > before.packets_expected + 50, "{before:?} {after:?}");
    assert_eq!(after.packets_lost, 1);
}

#[test]
fn what_the_sender_never_repeats_is_given_up_and_a_picture_asked_for() {
    let mut world = World::new();
    let (sender, receiver) = speaker_and_watcher(&mut world);
    world.run(secs(1));
    let camera = world.browsers[sender].camera();
    camera.answers_nacks = false;
    camera.swallowed = vec![(camera.next_index as u16).wrapping_add(20)];
    let asked_before = camera.key_frame_requests.len();
    world.run(secs(4));
    let camera = world.browsers[sender].camera();
    assert!(camera.nacked.len() <= 10, "asked {} times", camera.nacked.len());
    assert!(camera.key_frame_requests.len() > asked_before);
    let video = world.browsers[sender].video();
    assert!(world.browsers[receiver].slot_showing(&video).unwrap().frames().len() > 80);
}

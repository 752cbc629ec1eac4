//! Bytes from people who mean harm: no panic, no reply, nothing kept.

use bridge::engine::drop_reason::DropReason;
use bridge::engine::ports::Path;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::messages::media::MediaKind;
use wire::rtcp::{Bye, NtpTime, Remb, SenderReport};
use wire::rtp::{PayloadType, RtpHeader, Ssrc};

use crate::world::browser::Browser;
use crate::world::media::seal_packet;
use crate::world::{BRIDGE_IP, World, ms, secs};

fn header(payload_type: u8, sequence: u16, ssrc: u32) -> RtpHeader {
    let payload_type = PayloadType::new(payload_type).unwrap();
    RtpHeader { marker: false, payload_type, sequence, timestamp: 1, ssrc: Ssrc(ssrc) }
}

#[test]
fn random_bytes_of_every_length_from_anywhere_get_no_answer() {
    let mut world = World::new();
    let known = world.join(Browser::talker(1));
    world.join(Browser::talker(2));
    world.run(secs(1));
    let (sent, mut random) = (world.sent_datagrams, StdRng::seed_from_u64(3));
    let stranger = Path { remote: ([203, 0, 113, 9], 999).into(), local: BRIDGE_IP };
    for path in [stranger, world.browsers[known].path] {
        for length in (0..300).chain([1_200, 1_500, 1_501, 2_047, 2_048, 2_049, 9_000, 65_535]) {
            for first in [0, 1, 4, 20, 63, 64, 79, 80, 127, 128, 144, 191, 192, 255] {
                let mut bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
                if let Some(byte) = bytes.first_mut() {
                    *byte = first;
                }
                world.inject(path, bytes);
            }
        }
    }
    let stats = world.stats();
    assert_eq!(world.sent_datagrams, sent);
    assert!(stats.counters.dropped.total() > 4_000);
    world.run(secs(1));
    let video = world.browsers[known].video();
    assert!(world.browsers[1].frames_of(&video) > 40, "the meeting goes on");
}

#[test]
fn forged_srtp_creates_no_state_and_ends_no_call() {
    let mut world = World::new();
    let known = world.join(Browser::talker(1));
    world.join(Browser::watcher(2));
    world.run(secs(1));
    let before = world.bridge.debug(world.now)["conferences"].to_string();
    let path = world.browsers[known].path;
    let camera = world.browsers[known].camera();
    let (payload_type, own) = (camera.payload_type, camera.ssrc);
    for ssrc in (0..5_000u32).map(|number| if number % 2 == 0 { own } else { 0xdead_0000 + number }) {
        let mut bytes = vec![0x5a; 200];
        let mut head = [0; 12];
        wire::rtp::write_header(&mut head, &header(payload_type, ssrc as u16, ssrc), &[]).unwrap();
        bytes[..12].copy_from_slice(&head);
        world.inject(path, bytes);
    }
    let refused = world.dropped(DropReason::SrtpBadTag)
        + world.dropped(DropReason::Duplicate)
        + world.dropped(DropReason::SrtpTooOld)
        + world.dropped(DropReason::SrtpReplayed);
    assert_eq!(refused, 5_000);
    assert_eq!(world.bridge.debug(world.now)["conferences"].to_string(), before);
    world.run(secs(1));
    assert_eq!(world.stats().endpoints, 2);
}

#[test]
fn every_single_bit_turned_over_in_a_packet_stops_it() {
    let mut world = World::new();
    let known = world.join(Browser::talker(1));
    world.join(Browser::watcher(2));
    world.run(secs(1));
    let received = world.stats().counters.packets_received;
    let (path, now) = (world.browsers[known].path, world.now);
    let stream = world.browsers[known].streams.iter().position(|stream| !stream.is_video).unwrap();
    let elements = world.browsers[known].elements(stream, now, false);
    let elements: Vec<(u8, &[u8])> = elements.iter().map(|(id, value)| (*id, value.as_slice())).collect();
    let microphone = &world.browsers[known].streams[stream];
    let index = microphone.next_index;
    let header = header(microphone.payload_type, index as u16, microphone.ssrc);
    let good = seal_packet(world.browsers[known].sealer(), index, &header, &elements, &[1; 40]);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        world.inject(path, bytes);
    }
    assert_eq!(world.stats().counters.packets_received, received);
    world.inject(path, good);
    assert_eq!(world.stats().counters.packets_received, received + 1, "unchanged it passes");
}

#[test]
fn a_replayed_packet_is_never_forwarded() {
    let mut world = World::new();
    let known = world.join(Browser::talker(1));
    world.join(Browser::watcher(2));
    world.run(secs(1));
    let (path, stream) = (world.browsers[known].path, 0);
    let (ssrc, payload_type, index) = {
        let stream = &world.browsers[known].streams[stream];
        (stream.ssrc, stream.payload_type, stream.next_index)
    };
    let header = header(payload_type, index as u16, ssrc);
    let packet = seal_packet(world.browsers[known].sealer(), index, &header, &[], &[1; 40]);
    world.inject(path, packet.clone());
    let sent = world.stats().counters.packets_sent;
    (0..10_000).for_each(|_| world.inject(path, packet.clone()));
    assert_eq!(world.stats().counters.packets_sent, sent);
}

#[test]
fn anothers_stream_and_unknown_streams_and_types_are_dropped_by_name() {
    let mut world = World::new();
    let (thief, victim) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(1));
    let path = world.browsers[thief].path;
    let (own, stolen) = (world.browsers[thief].camera().ssrc, world.browsers[victim].camera().ssrc);
    let of_the_bridge = *world.browsers[victim].slots.keys().next().unwrap();
    let payload_type = world.browsers[thief].camera().payload_type;
    let next = world.browsers[thief].camera().next_index;
    for (ssrc, payload_type, index, reason) in [
        (stolen, payload_type, 1, DropReason::SsrcViolation),
        (of_the_bridge, payload_type, 1, DropReason::SsrcViolation),
        (0x7777_7777, payload_type, 1, DropReason::UnknownSsrc),
        (own, 35, next, DropReason::UnknownPayloadType),
    ] {
        let header = header(payload_type, index as u16, ssrc);
        let packet = seal_packet(world.browsers[thief].sealer(), index, &header, &[], &[0x10; 50]);
        let before = world.dropped(reason);
        world.inject(path, packet);
        assert_eq!(world.dropped(reason), before + 1, "{reason:?}");
    }
    world.run(secs(1));
    let video = world.browsers[victim].video();
    let slot = world.browsers[thief].slot_showing(&video).unwrap();
    slot.assert_continuous();
}

#[test]
fn no_more_than_64_streams_of_one_endpoint_are_tracked() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1).without_ssrcs());
    world.run(secs(1));
    let path = world.browsers[sender].path;
    let payload_type = world.browsers[sender].camera().payload_type;
    let mid = (1 + world.browsers[sender].numbering, &b"1"[..]);
    for ssrc in 0..200 {
        let header = header(payload_type, 1, 0x5000_0000 + ssrc);
        let packet = seal_packet(world.browsers[sender].sealer(), 1, &header, &[mid], &[0x10; 50]);
        world.inject(path, packet);
    }
    assert!(world.dropped(DropReason::UnknownSsrc) >= 200 - 64);
}

#[test]
fn a_flood_from_an_authenticated_sender_is_policed() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    world.run(secs(1));
    let path = world.browsers[sender].path;
    (0..20_000).for_each(|_| world.inject(path, [&[0x80, 96, 0, 1][..], &[0x11; 1_200]].concat()));
    assert!(world.dropped(DropReason::OverRate) > 15_000);
}

#[test]
fn strange_rtcp_under_the_right_keys_changes_nothing() {
    let mut world = World::new();
    let (rogue, victim) = (world.join(Browser::talker(1)), world.join(Browser::talker(2)));
    world.run(secs(2));
    let path = world.browsers[rogue].path;
    let stolen = world.browsers[victim].camera().ssrc;
    let own = world.browsers[rogue].camera().ssrc;
    let mut compounds: Vec<Vec<u8>> = Vec::new();
    let mut compound = Vec::new();
    Bye { ssrcs: &[stolen.to_be_bytes()], reason: None }.write(&mut compound);
    compounds.push(std::mem::take(&mut compound));
    for bitrate_bps in [0, 1, u64::MAX] {
        Remb { sender: Ssrc(1), bitrate_bps, ssrcs: &[] }.write(&mut compound);
        compounds.push(std::mem::take(&mut compound));
    }
    for ntp in [0, 1, u64::MAX, 1 << 63] {
        for ssrc in [own, stolen] {
            let ntp = NtpTime(ntp);
            SenderReport { ssrc: Ssrc(ssrc), ntp, rtp_timestamp: 9, packets: 0, octets: 0, reports: &[] }
                .write(&mut compound);
            compounds.push(std::mem::take(&mut compound));
        }
    }
    // Every first word over random bodies, and a thousand packets in one datagram.
    let mut random = StdRng::seed_from_u64(5);
    for packet_type in 192..=223u8 {
        for count in 0..32u8 {
            let words = random.random_range(1..40u16);
            let mut bytes = vec![0x80 | count, packet_type];
            bytes.extend_from_slice(&(words + random.random_range(0..2)).to_be_bytes());
            // A sender it has spoken as before: others would be refused as too many.
            bytes.extend_from_slice(&[0, 0, 0, 1]);
            bytes.extend((4..words * 4).map(|_| random.random::<u8>()));
            compounds.push(bytes);
        }
    }
    compounds.push([0x80, 201, 0, 1, 0, 0, 0, 1].repeat(180));
    for compound in &compounds {
        let datagram = world.browsers[rogue].seal_rtcp(compound).unwrap();
        world.inject(path, datagram);
    }
    let refused = (world.dropped(DropReason::RtcpMalformed), world.dropped(DropReason::RtcpUnknownSsrc));
    assert!(refused.0 > 100 && refused.1 > 10, "{refused:?} {:?}", world.stats().counters.dropped);
    let estimate =
        &world.bridge.debug(world.now)["conferences"][world.conference.as_str()]["endpoints"]["00000001"];
    assert!((30_000..=1_000_000_000).contains(&estimate["estimate_bps"].as_u64().unwrap()));
    world.run(secs(1));
    let video = world.browsers[victim].video();
    let slot = world.browsers[rogue].slot_showing(&video).unwrap();
    assert!(slot.frames().len() > 60 && slot.missing().is_empty());
}

#[test]
fn a_source_that_leaps_in_numbers_and_time_is_seen_again() {
    for leap in [100, 5_000, 30_000, 32_766] {
        let mut world = World::new();
        let (sender, receiver) = (world.join(Browser::talker(1)), world.join(Browser::watcher(2)));
        world.run(secs(2));
        let camera = world.browsers[sender].camera();
        camera.next_index += leap;
        camera.timestamp_base = camera.timestamp_base.wrapping_add(0x9000_0000);
        let seen = world.browsers[receiver].frames_of(&world.browsers[sender].source(MediaKind::Video));
        world.run(secs(4));
        let now_seen = world.browsers[receiver].frames_of(&world.browsers[sender].source(MediaKind::Video));
        assert!(now_seen > seen + 50, "after a leap of {leap}: {}", now_seen - seen);
    }
}

#[test]
fn a_call_survives_the_rollover_of_its_sequence_numbers() {
    let mut world = World::new();
    let mut sender = Browser::talker(1);
    sender.streams.iter_mut().for_each(|stream| stream.next_index = 65_500);
    let (sender, receiver) = (world.join(sender), world.join(Browser::watcher(2)));
    world.run(secs(4));
    assert!(world.browsers[sender].camera().next_index > 65_536);
    world.browsers[receiver].slots.values().for_each(|slot| slot.assert_continuous());
    assert!(world.browsers[receiver].frames_of(&world.browsers[sender].video()) > 80);
    world.run(ms(1));
}

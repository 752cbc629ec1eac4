//! Media and its repair, both ways.

use wire::rtcp::{Nack, Pli, ReportBlock, SenderReport};
use wire::rtp::Ssrc;

use super::*;

/// Payload types of what the server has opened.
fn payload_types(world: &World) -> Vec<u8> {
    world.server.rtp.iter().map(|packet| RtpView::parse(packet).unwrap().payload_type().number()).collect()
}

/// Of the camera.
fn camera_ssrc(world: &World) -> Ssrc {
    world.caller.publisher.tracks().nth(1).unwrap().streams[0].ssrc
}

fn echoed() -> World {
    let mut world = World::joined();
    world.echo = Some(Echo::default());
    world
}

#[test]
fn media_flows_to_the_server_with_numbers_over_all_streams() {
    let mut world = World::joined();
    world.run(2_000);
    let (mut numbers, mut levels) = (Vec::new(), 0);
    for packet in &world.server.rtp {
        let view = RtpView::parse(packet).unwrap();
        numbers.push(TransportSequence::parse(view.extension(3).unwrap()).unwrap().0);
        levels += usize::from(view.extension(1).is_some());
    }
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == index as u16));
    let types = payload_types(&world);
    let voices = types.iter().filter(|it| **it == 111).count();
    assert!(voices >= 90 && voices == levels, "{voices} voices, {levels} levels");
    assert!(types.iter().filter(|it| **it == 96).count() > 200);
    let counts = world.counts();
    assert_eq!(counts.packets_sent, types.len() as u64);
    assert!(counts.bytes_sent > 300_000, "{}", counts.bytes_sent);
}

#[test]
fn a_missed_packet_is_sent_again_over_rtx_and_counted_apart() {
    let mut world = World::joined();
    world.run(500);
    let camera = camera_ssrc(&world);
    let missed = world.server.rtp.iter().map(|it| RtpView::parse(it).unwrap()).find(|it| it.ssrc() == camera);
    let (sequence, payload) = missed.map(|it| (it.sequence(), it.payload().to_vec())).unwrap();
    world.server.say_rtcp(|out| Nack::write_sequences(out, Ssrc(5), camera, &[sequence]));
    world.exchange();
    let again = world.server.rtp.last().unwrap();
    let again = RtpView::parse(again).unwrap();
    assert_eq!(again.payload_type().number(), 97);
    assert_eq!(again.payload()[..2], sequence.to_be_bytes());
    assert_eq!(again.payload()[2..], payload);
    let counts = world.counts();
    assert_eq!((counts.retransmissions_sent, counts.nacks_received), (1, 1));
}

#[test]
fn a_server_without_rtx_gets_nothing_again_and_nothing_is_counted_as_sent() {
    let mut world = World::new(|now| plan(now, (0, 0)), Server::passive(Profile::AeadAes128Gcm));
    let mut answer = world.server.answer(&world.caller.offer());
    for section in &mut answer.medias {
        section.payloads.retain(|payload| !payload.is("rtx"));
    }
    world.caller.handle_answer(world.now, &answer.to_string()).unwrap();
    world.run(500);
    let camera = camera_ssrc(&world);
    let sequences = world.server.rtp.iter().map(|it| RtpView::parse(it).unwrap());
    let sequence = sequences.rev().find(|it| it.ssrc() == camera).unwrap().sequence();
    world.server.say_rtcp(|out| Nack::write_sequences(out, Ssrc(5), camera, &[sequence]));
    world.exchange();
    let counts = world.counts();
    assert_eq!((counts.retransmissions_sent, counts.nacks_received), (0, 1));
}

#[test]
fn a_request_for_a_key_frame_is_answered_with_one() {
    let mut world = World::joined();
    world.run(1_000);
    let before = world.counts();
    let camera = camera_ssrc(&world);
    world.server.say_rtcp(|out| Pli { sender: Ssrc(5), media: camera }.write(out));
    world.run(100);
    let after = world.counts();
    assert_eq!((before.key_frames_sent, after.key_frames_sent), (1, 1));
    assert_eq!(after.key_frame_requests_received, 1);
}

#[test]
fn a_full_intra_request_that_is_repeated_is_one_request() {
    let mut world = World::joined();
    let camera = camera_ssrc(&world);
    let entries = [wire::rtcp::FirEntry { media: camera, command: 3 }.to_bytes()];
    for _ in 0..3 {
        world.server.say_rtcp(|out| wire::rtcp::Fir { sender: Ssrc(5), entries: &entries }.write(out));
    }
    world.run(10);
    assert_eq!(world.counts().key_frame_requests_received, 1);
}

#[test]
fn streams_are_named_in_packets_until_the_server_has_reported_on_them() {
    let mut world = World::joined();
    world.run(500);
    let mids = |world: &World| {
        let views = world.server.rtp.iter().map(|packet| RtpView::parse(packet).unwrap());
        views.filter(|view| view.extension(4) == Some(b"1")).count()
    };
    assert!(mids(&world) > 10);
    let blocks = [ReportBlock { ssrc: camera_ssrc(&world), ..ReportBlock::default() }.to_bytes()];
    world.server.say_rtcp(|out| wire::rtcp::ReceiverReport { sender: Ssrc(5), reports: &blocks }.write(out));
    world.exchange();
    let before = mids(&world);
    world.run(500);
    assert_eq!(mids(&world), before);
}

#[test]
fn layers_go_out_under_their_names_and_without_ssrcs_in_the_offer() {
    let camera = Camera { layers: vec![layer(), layer(), layer()], ..Camera::default() };
    let plan = |now| CallerPlan { camera: Some(camera), ..plan(now, (0, 0)) };
    let mut world = World::new(plan, Server::passive(Profile::AeadAes128Gcm));
    let offer = world.caller.offer();
    let camera = offer.split("m=").nth(2).unwrap();
    assert!(camera.contains("a=simulcast:send q;h;f") && !camera.contains("a=ssrc"), "{camera}");
    world.answer();
    world.run(1_000);
    let views = || world.server.rtp.iter().map(|packet| RtpView::parse(packet).unwrap());
    for rid in [b"q", b"h", b"f"] {
        assert!(views().filter(|view| view.extension(10) == Some(rid)).count() > 20);
    }
    assert!(views().all(|view| view.extension(11).is_none()));
}

#[test]
fn sender_reports_go_out_each_second() {
    let mut world = World::joined();
    world.run(5_000);
    let (mut voices, mut cameras) = (0, 0);
    let camera = camera_ssrc(&world);
    world.each_rtcp(|packet| match packet {
        Packet::SenderReport(report) if report.ssrc == camera => cameras += 1,
        Packet::SenderReport(_) => voices += 1,
        _ => {}
    });
    assert_eq!((voices, cameras), (5, 5));
}

#[test]
fn what_is_shown_is_counted_and_noted_once() {
    let mut world = echoed();
    world.run(3_000);
    assert_eq!(world.notes[2..], [Note::FirstPacket, Note::FirstPicture]);
    let counts = world.counts();
    assert_eq!(counts.packets_received, counts.packets_sent);
    let lost =
        (counts.packets_lost, counts.packets_strange, counts.packets_unstamped, counts.packets_duplicate);
    assert_eq!((lost, counts.freezes), ((0, 0, 0, 0), 0));
    assert!((88..=93).contains(&counts.frames_complete), "{}", counts.frames_complete);
    assert_eq!(counts.frames_complete, counts.frames_sent);
}

#[test]
fn arrivals_are_fed_back_ten_times_a_second() {
    let mut world = echoed();
    world.run(3_000);
    let mut told = Vec::new();
    world.each_rtcp(|packet| {
        if let Packet::TransportFeedback(feedback) = packet {
            told.extend(feedback.received().map(|arrival| arrival.sequence));
        }
    });
    let sent = usize::from(world.server.transport_sequence);
    assert!(told.len() + 60 > sent && told.iter().enumerate().all(|(at, told)| usize::from(*told) == at));
    let feedback = world.counts().feedback_sent;
    assert!((25..=31).contains(&feedback), "{feedback}");
}

#[test]
fn a_lost_packet_is_asked_for_and_mended_by_rtx() {
    let mut world = echoed();
    world.echo = Some(Echo { lost: vec![60], ..Echo::default() });
    world.run(1_000);
    let mut asked = Vec::new();
    world.each_rtcp(|packet| {
        if let Packet::Nack(nack) = packet {
            asked.extend(nack.sequences());
        }
    });
    assert_eq!(asked.first(), Some(&60));
    let packet = world.echo.as_ref().unwrap().sent.iter().find(|(index, _)| *index == 60).unwrap().1.clone();
    let view = RtpView::parse(&packet).unwrap();
    let header = wire::rtp::RtpHeader {
        marker: view.marker(),
        payload_type: wire::rtp::PayloadType::new(97).unwrap(),
        sequence: 1,
        timestamp: view.timestamp(),
        ssrc: Ssrc(Server::slot_ssrc(3) + 1),
    };
    let payload = [&60_u16.to_be_bytes()[..], view.payload()].concat();
    let again = world.server.seal_as(&header, &payload, 1);
    world.server.says.push(again);
    world.run(2_000);
    let counts = world.counts();
    assert_eq!((counts.packets_recovered, counts.packets_lost, counts.packets_strange), (1, 0, 0));
}

#[test]
fn reports_on_slots_carry_the_servers_report_back() {
    let mut world = echoed();
    world.run(500);
    let ssrc = Ssrc(Server::slot_ssrc(3));
    let ntp = wire::rtcp::NtpTime(0x1122_3344_5566_7788);
    let report = SenderReport { ssrc, ntp, rtp_timestamp: 1, packets: 1, octets: 1, reports: &[] };
    world.server.say_rtcp(|out| report.write(out));
    world.run(1_500);
    let mut last = 0;
    world.each_rtcp(|packet| {
        if let Packet::ReceiverReport(report) = packet {
            last = report.reports().find(|block| block.ssrc == ssrc).map_or(last, |block| block.last_sr);
        }
    });
    assert_eq!(last, ntp.middle());
}

#[test]
fn a_counted_caller_opens_its_first_seconds_and_still_tells_arrivals() {
    let plan = |now| {
        let plan = plan(now, (1, 1));
        CallerPlan { receive: Receive { opened: 0.0, ..plan.receive.clone() }, ..plan }
    };
    let mut world = World::new(plan, Server::passive(Profile::AeadAes128Gcm));
    world.answer();
    world.echo = Some(Echo::default());
    world.run(4_900);
    let first = world.counts();
    assert!(first.packets_received > 1_000 && first.packets_not_opened == 0);
    world.run(2_000);
    world.counts();
    world.run(2_000);
    let later = world.counts();
    assert_eq!((later.packets_received, later.freezes, later.nacks_sent), (0, 0, 0));
    assert_eq!(later.packets_not_opened, later.packets_sent);
    assert!(later.feedback_sent >= 19, "{}", later.feedback_sent);
}

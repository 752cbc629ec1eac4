//! A publisher and a viewer with a path between them that a test bends: what the viewer counts is what happened.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use wire::messages::media::MediaKind;
use wire::rtcp::{Packet, ReportBlock, packets};
use wire::rtp::{PayloadType, RtpHeader, write_header};

use super::*;
use crate::engine::counts::Counts;
use crate::engine::send::{OutPacket, Publisher};
use crate::engine::stamp::Stamp;
use crate::scenario::{Camera, PictureLayer, Receive, Voice};

/// A packet on its way: when it arrives, and its bytes.
type Packets = Vec<(Duration, Vec<u8>)>;

const VOICE: Ssrc = Ssrc(10);
const PICTURE: Ssrc = Ssrc(20);
const PICTURE_RTX: Ssrc = Ssrc(21);
const VOICE_PT: u8 = 111;
const PICTURE_PT: u8 = 96;
const RTX_PT: u8 = 97;
const MID_ID: u8 = 4;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn plan(number: u32, clock: Clock) -> CallerPlan {
    CallerPlan {
        number,
        seed: 77 + u64::from(number),
        clock,
        voice: Some(Voice::default()),
        camera: Some(Camera {
            layers: vec![PictureLayer { height: 720, rate_kbps: 1_700, frames_per_s: 30.0 }],
            ..Camera::default()
        }),
        screen: None,
        receive: Receive { audio: Some(1), video: Some(1), ..Receive::default() },
    }
}

fn clock() -> Clock {
    Clock { number: 3, epoch: Instant::now() }
}

fn slots() -> Vec<SlotIds> {
    let slot = |mid: &str, kind, payload_type| SlotIds {
        mid: mid.to_owned(),
        kind,
        ssrc: Some(VOICE),
        rtx_ssrc: None,
        payload_type,
        rtx_payload_type: None,
    };
    let video = slot("1", MediaKind::Video, PICTURE_PT);
    vec![
        slot("0", MediaKind::Audio, VOICE_PT),
        SlotIds { ssrc: Some(PICTURE), rtx_ssrc: Some(PICTURE_RTX), rtx_payload_type: Some(RTX_PT), ..video },
    ]
}

fn rtp(payload_type: u8, index: u64, timestamp: u32, ssrc: Ssrc, payload: &[u8]) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        payload_type: PayloadType::new(payload_type).unwrap(),
        sequence: index as u16,
        timestamp,
        ssrc,
    };
    let mut packet = vec![0; 40 + payload.len()];
    let length = write_header(&mut packet, &header, &[(MID_ID, b"1")]).unwrap();
    packet[length..length + payload.len()].copy_from_slice(payload);
    packet.truncate(length + payload.len());
    packet
}

/// As a server would send it on.
fn forwarded(packet: OutPacket<'_>) -> Vec<u8> {
    let (payload_type, ssrc) = match (packet.track, packet.is_rtx) {
        (0, _) => (VOICE_PT, VOICE),
        (_, false) => (PICTURE_PT, PICTURE),
        (_, true) => (RTX_PT, PICTURE_RTX),
    };
    rtp(payload_type, packet.index, packet.timestamp, ssrc, packet.payload)
}

struct World {
    epoch: Instant,
    viewer: Viewer,
    publisher: Publisher,
    notes: Vec<Note>,
    results: Results,
    /// What the viewer asked for, in time.
    rtcp: Vec<(Duration, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let clock = clock();
        let mut viewer = Viewer::new(&plan(1, clock));
        viewer.take_slots(&slots());
        Self {
            epoch: clock.epoch,
            viewer,
            publisher: Publisher::new(&plan(2, clock)),
            notes: Vec::new(),
            results: Results::default(),
            rtcp: Vec::new(),
        }
    }

    /// What the publisher sends in `time`, on a path of 10 ms.
    fn sent(&mut self, time: Duration) -> Packets {
        let mut sent = Vec::new();
        self.publisher.start(self.epoch);
        while let Some(at) = self.publisher.next_timeout().filter(|at| *at < self.epoch + time) {
            let arrives = at - self.epoch + ms(10);
            self.publisher.handle_timeout(at, &mut |packet| sent.push((arrives, forwarded(packet))));
        }
        sent
    }

    /// Only the pictures of it.
    fn pictures(&mut self, time: Duration) -> Packets {
        let mut sent = self.sent(time);
        sent.retain(|(_, packet)| ssrc_of(packet) == PICTURE);
        sent
    }

    /// Delivers what was sent, in order of arrival, and wakes the viewer when it wants to be woken.
    fn deliver(&mut self, mut sent: Packets) {
        sent.sort_by_key(|(at, _)| *at);
        for (at, packet) in sent {
            self.wake_until(at);
            self.deliver_one(at, &packet);
        }
    }

    fn deliver_one(&mut self, at: Duration, packet: &[u8]) {
        let view = RtpView::parse(packet).unwrap();
        let key = self.viewer.stream(&view, Some(MID_ID)).unwrap();
        self.viewer.handle_packet(self.epoch + at, key, (&view, packet.len() + 44), &mut self.notes);
    }

    fn wake_until(&mut self, end: Duration) {
        let mut wakes = 0;
        while let Some(due) = self.viewer.next_timeout().filter(|due| *due <= self.epoch + end) {
            let mut rtcp = Vec::new();
            self.viewer.handle_timeout(due, &mut rtcp);
            if !rtcp.is_empty() {
                self.rtcp.push((due - self.epoch, rtcp));
            }
            wakes += 1;
            assert!(wakes < 100_000, "it never comes to rest");
        }
    }

    /// Waits a second and a half behind `end`, in which everything is settled.
    fn counts(&mut self, end: Duration) -> Counts {
        self.wake_until(end + ms(1_500));
        self.viewer.take_results(self.epoch + end, &mut self.results);
        self.results.counts
    }

    fn nacked(&self) -> Vec<u16> {
        let mut nacked = Vec::new();
        for (_, rtcp) in &self.rtcp {
            for packet in packets(rtcp) {
                if let Packet::Nack(nack) = packet.unwrap() {
                    assert_eq!(nack.media, PICTURE);
                    nacked.extend(nack.sequences());
                }
            }
        }
        nacked
    }

    fn asked_for_key_frames_at(&self) -> Vec<Duration> {
        self.asked_at(|packet| matches!(packet, Packet::Pli(_)))
    }

    fn asked_at(&self, is_wanted: fn(&Packet<'_>) -> bool) -> Vec<Duration> {
        let mut asked = Vec::new();
        for (at, rtcp) in &self.rtcp {
            asked.extend(packets(rtcp).filter(|packet| is_wanted(packet.as_ref().unwrap())).map(|_| *at));
        }
        asked
    }
}

fn ssrc_of(packet: &[u8]) -> Ssrc {
    RtpView::parse(packet).unwrap().ssrc()
}

fn sequence_of(packet: &[u8]) -> u16 {
    RtpView::parse(packet).unwrap().sequence()
}

fn stamp_of(packet: &[u8]) -> Stamp {
    let payload = RtpView::parse(packet).unwrap().payload();
    let wrapping = if ssrc_of(packet) == PICTURE_RTX { 2 } else { 0 };
    Stamp::of_payload(MediaKind::Video, &payload[wrapping..]).unwrap()
}

/// Wraps a lost packet as RFC 4588 says.
fn as_rtx(packet: &[u8], index: u64) -> Vec<u8> {
    let view = RtpView::parse(packet).unwrap();
    let payload = [&view.sequence().to_be_bytes()[..], view.payload()].concat();
    rtp(RTX_PT, index, view.timestamp(), PICTURE_RTX, &payload)
}

#[test]
fn a_perfect_path_loses_nothing_and_shows_everything() {
    let mut world = World::new();
    let sent = world.sent(ms(3_000));
    let (packets, bytes) = (sent.len() as u64, sent.iter().map(|(_, packet)| packet.len() as u64 + 44).sum());
    world.viewer.take_results(world.epoch, &mut Results::default());
    world.deliver(sent);
    let counts = world.counts(ms(3_000));
    let expected = Counts {
        packets_received: packets,
        bytes_received: bytes,
        frames_complete: 90,
        key_frames_complete: 1,
        watched_us: counts.watched_us,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
    assert!((2_900_000..3_000_000).contains(&counts.watched_us), "{}", counts.watched_us);
    assert_eq!(world.notes, [Note::FirstPacket, Note::FirstPicture]);
    let kbps = world.results.video_slot_kbps.quantile(0.5);
    assert!((1_700..1_850).contains(&kbps), "with headers: {kbps}");
}

#[test]
fn delays_are_those_of_the_path() {
    let mut world = World::new();
    let sent = world.sent(ms(2_000));
    world.deliver(sent);
    world.counts(ms(2_000));
    let delays = &world.results.delays;
    for (delays, count) in [(&delays.audio, 99), (&delays.video, 300), (&delays.frames, 58)] {
        assert!(delays.count() >= count, "{}", delays.count());
        assert!((9_990..=10_010).contains(&delays.quantile(0.5)) && delays.max() <= 10_010);
    }
}

#[test]
fn a_slots_rate_is_that_of_a_second_however_often_results_are_taken() {
    let mut world = World::new();
    for (at, packet) in world.pictures(ms(4_000)) {
        world.wake_until(at);
        world.deliver_one(at, &packet);
        world.viewer.take_results(world.epoch + at, &mut world.results);
    }
    let kbps = &world.results.video_slot_kbps;
    assert!((3..=4).contains(&kbps.count()), "{}", kbps.count());
    assert!((1_500..2_000).contains(&kbps.quantile(0.5)) && kbps.max() < 2_200, "{}", kbps.max());
}

#[test]
fn a_foreign_clock_gives_no_delay() {
    let mut world = World::new();
    let foreign = Clock { number: 4, ..world.viewer.clock };
    world.publisher = Publisher::new(&plan(2, foreign));
    let sent = world.sent(ms(1_000));
    world.deliver(sent);
    let counts = world.counts(ms(1_000));
    let delays = &world.results.delays;
    assert_eq!((delays.audio.count(), delays.video.count(), delays.frames.count()), (0, 0, 0));
    assert_eq!((counts.frames_complete, counts.packets_unstamped), (30, 0), "but it counts");
}

#[test]
fn a_lost_packet_is_lost_after_a_second_and_breaks_all_pictures_up_to_a_key_frame() {
    let mut world = World::new();
    let mut sent = world.pictures(ms(3_000));
    let lost = sent.iter().position(|(_, packet)| stamp_of(packet).frame == 30).unwrap();
    sent.remove(lost);
    world.deliver(sent);
    let counts = world.counts(ms(3_000));
    assert_eq!((counts.packets_lost, counts.packets_late), (1, 0));
    assert_eq!((counts.frames_complete, counts.frames_broken), (30, 60), "nobody makes a key frame here");
    assert!((1_900_000..2_100_000).contains(&counts.frozen_us) && counts.freezes == 1, "{counts:?}");
}

#[test]
fn a_lost_packet_is_asked_for_again_and_again_and_a_key_frame_behind_it() {
    let mut world = World::new();
    let mut sent = world.pictures(ms(3_000));
    let lost = sent.iter().position(|(_, packet)| stamp_of(packet).frame == 30).unwrap();
    let (_, packet) = sent.remove(lost);
    world.deliver(sent);
    let counts = world.counts(ms(3_000));
    assert_eq!(world.nacked(), [sequence_of(&packet); 9]);
    assert_eq!(counts.nacks_sent, 9);
    let asked = world.asked_for_key_frames_at();
    assert_eq!(counts.key_frame_requests_sent, asked.len() as u64);
    assert!((ms(2_000)..ms(2_100)).contains(&asked[0]), "a second behind the loss: {asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= ms(500)));
}

#[test]
fn a_lost_packet_is_asked_for_again_after_a_round_trip() {
    let mut world = World::new();
    world.viewer.handle_round_trip(ms(250));
    let mut sent = world.pictures(ms(1_500));
    let lost = sent.iter().position(|(_, packet)| stamp_of(packet).frame == 10).unwrap();
    let (_, packet) = sent.remove(lost);
    let known = sent[lost].0;
    world.deliver(sent);
    assert_eq!(world.counts(ms(1_500)).nacks_sent, 4);
    assert_eq!(world.nacked(), [sequence_of(&packet); 4]);
    let asked = world.asked_at(|packet| matches!(packet, Packet::Nack(_)));
    let waited: Vec<u128> = asked.iter().map(|at| at.as_micros() - known.as_micros()).collect();
    assert_eq!(waited, [0, 270_000, 540_000, 810_000]);
    let mut watcher = Viewer::new(&CallerPlan { voice: None, camera: None, ..plan(1, world.viewer.clock) });
    watcher.handle_round_trip(ms(1));
    assert_eq!(watcher.round_trip_us, 100_000, "who sends nothing is told nothing");
}

#[test]
fn an_rtx_packet_fills_its_gap_and_the_picture_is_shown_late() {
    let mut world = World::new();
    let mut sent = world.pictures(ms(2_000));
    let lost = sent.iter().position(|(_, packet)| stamp_of(packet).frame == 30).unwrap();
    let (at, packet) = sent.remove(lost);
    sent.push((at + ms(60), as_rtx(&packet, 5)));
    let count = sent.len() as u64;
    world.deliver(sent);
    let counts = world.counts(ms(2_000));
    assert_eq!((counts.packets_received, counts.packets_recovered, counts.packets_lost), (count, 1, 0));
    assert_eq!((counts.frames_complete, counts.frames_broken, counts.freezes), (60, 0, 0));
    assert_eq!((counts.packets_late, counts.packets_duplicate), (0, 0));
    let frames = &world.results.delays.frames;
    assert!((69_000..71_000).contains(&frames.max()), "repairs included: {}", frames.max());
    assert!(world.results.delays.video.max() <= 10_010, "but not in the delay of packets");
}

#[test]
fn an_rtx_packet_that_nobody_missed_is_a_duplicate() {
    let mut world = World::new();
    let sent = world.pictures(ms(1_000));
    let again = as_rtx(&sent[40].1, 5);
    world.deliver(sent);
    world.deliver_one(ms(1_100), &again);
    let counts = world.counts(ms(1_200));
    assert_eq!((counts.packets_duplicate, counts.packets_recovered, counts.frames_complete), (1, 0, 30));
}

#[test]
fn an_empty_rtx_packet_is_counted_and_nothing_else() {
    let mut world = World::new();
    let sent = world.pictures(ms(500));
    world.deliver(sent);
    let before = world.counts(ms(500));
    for payload in [&[][..], &[7], &[0, 1]] {
        world.deliver_one(ms(600), &rtp(RTX_PT, 9, 0, PICTURE_RTX, payload));
    }
    let counts = world.counts(ms(600));
    assert_eq!(counts.packets_received, before.packets_received + 3);
    assert_eq!((counts.packets_unstamped, counts.frames_broken, counts.packets_recovered), (0, 0, 0));
}

#[test]
fn padding_in_the_stream_is_no_picture_and_no_gap() {
    let mut world = World::new();
    let mut sent = world.pictures(ms(500));
    let (at, last) = sent.last().cloned().unwrap();
    let index = u64::from(sequence_of(&last).wrapping_add(1));
    sent.push((at, rtp(PICTURE_PT, index, 0, PICTURE, &[])));
    world.deliver(sent);
    let counts = world.counts(ms(500));
    assert_eq!((counts.frames_complete, counts.packets_lost, counts.packets_unstamped), (15, 0, 0));
}

#[test]
fn overtaking_is_late_and_harmless() {
    let mut world = World::new();
    let mut sent = world.pictures(ms(2_000));
    for (place, (at, _)) in sent.iter_mut().enumerate() {
        *at += if place % 5 == 2 { ms(3) } else { ms(0) };
    }
    world.deliver(sent);
    let counts = world.counts(ms(2_000));
    assert!(counts.packets_late > 50);
    assert_eq!((counts.packets_lost, counts.frames_complete, counts.frames_broken), (0, 60, 0));
    assert_eq!(counts.nacks_sent, counts.packets_late, "asked for once each, as browsers do, and in vain");
}

#[test]
fn a_packet_that_came_after_it_was_lost_is_taken_off_the_losses_to_come() {
    let mut world = World::new();
    let mut sent = world.pictures(ms(4_000));
    let (at, packet) = sent.remove(60);
    sent.push((at + ms(1_500), packet));
    sent.remove(400);
    world.deliver(sent);
    let counts = world.counts(ms(4_000));
    assert_eq!((counts.packets_lost, counts.packets_late), (1, 1));
}

#[test]
fn a_picture_that_stops_while_packets_come_is_frozen() {
    let mut world = World::new();
    let mut sent = world.pictures(ms(3_000));
    // The last packet of every picture is lost for a second, as on a link that is too narrow.
    sent.retain(|(_, packet)| {
        let stamp = stamp_of(packet);
        !(30..60).contains(&stamp.frame) || !stamp.is_last()
    });
    world.deliver(sent);
    let counts = world.counts(ms(3_000));
    assert_eq!((counts.packets_lost, counts.freezes, counts.frames_complete), (30, 1, 30));
    assert!(counts.frozen_us > 1_900_000, "{counts:?}");
}

#[test]
fn another_source_in_the_slot_goes_on_without_a_freeze() {
    let mut world = World::new();
    let clock = world.viewer.clock;
    let mut sent = world.pictures(ms(1_000));
    let next = u64::from(sequence_of(&sent.last().unwrap().1)) + 1;
    world.publisher = Publisher::new(&plan(5, clock));
    let second = world.pictures(ms(1_000));
    let first = sequence_of(&second[0].1);
    // A server numbers the slot on.
    sent.extend(second.into_iter().map(|(at, packet)| {
        let view = RtpView::parse(&packet).unwrap();
        let index = next + u64::from(view.sequence().wrapping_sub(first));
        (at + ms(1_000), rtp(PICTURE_PT, index, view.timestamp(), PICTURE, view.payload()))
    }));
    world.deliver(sent);
    let counts = world.counts(ms(2_000));
    assert_eq!((counts.frames_complete, counts.key_frames_complete), (60, 2));
    assert_eq!((counts.packets_lost, counts.freezes, counts.frames_broken), (0, 0, 0));
}

#[test]
fn what_the_server_kept_for_a_newcomer_tells_no_delay() {
    let mut world = World::new();
    let sent = world.pictures(ms(3_000));
    let kept: Packets = sent.into_iter().map(|(at, packet)| (at.max(ms(2_000)), packet)).collect();
    world.deliver(kept);
    world.counts(ms(3_000));
    let delays = &world.results.delays;
    assert!(delays.video.count() > 100 && delays.video.max() <= 10_010, "{}", delays.video.max());
    assert!(delays.frames.max() <= 10_010);
}

#[test]
fn a_newcomer_without_a_key_frame_asks_for_one_after_a_second() {
    let mut world = World::new();
    let mut sent = world.pictures(ms(4_000));
    sent.retain(|(_, packet)| stamp_of(packet).frame > 0);
    let first = sent[0].0;
    world.deliver(sent);
    let counts = world.counts(ms(4_000));
    assert_eq!((counts.frames_complete, counts.frames_broken, counts.freezes), (0, 119, 0));
    let asked = world.asked_for_key_frames_at();
    assert!((asked[0] - first).abs_diff(ms(1_000)) < ms(1), "{asked:?}");
    assert!(asked.len() >= 5, "and goes on asking");
    assert_eq!((counts.watched_us, world.notes.len()), (0, 1), "nothing was seen");
}

#[test]
fn an_outage_asks_for_a_key_frame_and_not_for_every_packet() {
    let mut world = World::new();
    let mut sent = world.pictures(ms(4_000));
    sent.retain(|(at, _)| !(ms(1_000)..ms(3_000)).contains(at));
    world.deliver(sent);
    let counts = world.counts(ms(4_000));
    assert!(counts.packets_lost > 256 && counts.nacks_sent == 0, "{counts:?}");
    let asked = world.asked_for_key_frames_at();
    assert!((ms(3_000)..ms(3_050)).contains(&asked[0]), "{asked:?}");
}

#[test]
fn a_viewer_reports_each_second_what_it_lost() {
    let mut world = World::new();
    let mut sent = world.sent(ms(3_500));
    let mut place = 0;
    sent.retain(|(_, packet)| {
        place += u64::from(ssrc_of(packet) == PICTURE);
        ssrc_of(packet) == VOICE || place % 10 != 5
    });
    world.deliver(sent);
    let mut reports: Vec<Vec<ReportBlock>> = Vec::new();
    for (_, rtcp) in &world.rtcp {
        if let Some(Ok(Packet::ReceiverReport(report))) = packets(rtcp).next() {
            reports.push(report.reports().collect());
        }
    }
    assert_eq!(reports.len(), 3);
    for blocks in &reports {
        let [voice, picture] = blocks[..] else { panic!("{blocks:?}") };
        assert_eq!((voice.ssrc, voice.lost, picture.ssrc), (VOICE, 0, PICTURE));
        assert!((22..=29).contains(&picture.fraction_lost), "a tenth: {}", picture.fraction_lost);
    }
}

#[test]
fn a_payload_without_a_stamp_is_counted_as_foreign() {
    let mut world = World::new();
    world.deliver_one(ms(1), &rtp(PICTURE_PT, 1, 0, PICTURE, &[0x90, 0x80, 0x01, 0x11]));
    world.deliver_one(ms(1), &rtp(VOICE_PT, 1, 0, VOICE, &[0x78, 1, 2, 3]));
    assert_eq!(world.counts(ms(2)).packets_unstamped, 2);
}

#[test]
fn a_replayed_datagram_is_a_duplicate() {
    let mut world = World::new();
    let sent = world.pictures(ms(100));
    let view = RtpView::parse(&sent[0].1).unwrap();
    world.deliver_one(ms(1), &sent[0].1);
    let key = world.viewer.stream(&view, None).unwrap();
    world.viewer.handle_replayed(world.epoch, key, 100);
    let counts = world.counts(ms(2));
    assert_eq!((counts.packets_received, counts.packets_duplicate), (2, 1));
    assert!((counts.loss() - 0.0).abs() < f64::EPSILON);
}

#[test]
fn streams_that_the_answer_did_not_name_are_learned_by_mid_and_payload_type() {
    let mut world = World::new();
    let unnamed = |ids: &SlotIds| SlotIds { ssrc: None, rtx_ssrc: None, ..ids.clone() };
    let mut unnamed: Vec<_> = slots().iter().map(unnamed).collect();
    unnamed.push(SlotIds { mid: "2".to_owned(), ..unnamed[1].clone() });
    world.viewer.take_slots(&unnamed);
    let view = |packet: &'static [u8]| RtpView::parse(packet).unwrap();
    let foreign = rtp(50, 1, 0, Ssrc(1), b"x").leak();
    assert_eq!(world.viewer.stream(&view(foreign), Some(MID_ID)), None, "of no slot");

    let forged = rtp(PICTURE_PT, 9_000, 0, Ssrc(666), b"x").leak();
    assert!(world.viewer.stream(&view(forged), Some(MID_ID)).is_some_and(|key| key.is_new));
    assert!(world.viewer.streams.is_empty(), "what is not authentic begins nothing");

    let sent = world.pictures(ms(1_000));
    world.deliver(sent);
    assert_eq!(world.viewer.streams.len(), 1);
    assert_eq!(world.viewer.slots[1].ids.ssrc, Some(PICTURE));
    let other = rtp(PICTURE_PT, 1, 0, Ssrc(99), b"x").leak();
    let key = world.viewer.stream(&view(other), None).unwrap();
    assert_eq!((key.slot, key.is_new), (2, true), "without a mid the first slot that has none");
    assert_eq!(world.counts(ms(1_000)).frames_complete, 30);
}

#[test]
fn a_stream_that_was_learned_may_change_its_ssrc() {
    let mut world = World::new();
    let mut unnamed = slots();
    unnamed.iter_mut().for_each(|ids| (ids.ssrc, ids.rtx_ssrc) = (None, None));
    world.viewer.take_slots(&unnamed);
    let sent = world.pictures(ms(1_000));
    let renamed: Packets = sent
        .iter()
        .map(|(at, packet)| {
            let view = RtpView::parse(packet).unwrap();
            let index = u64::from(view.sequence().wrapping_add(30_000));
            (*at + ms(1_000), rtp(PICTURE_PT, index, view.timestamp(), Ssrc(99), view.payload()))
        })
        .collect();
    world.deliver(sent);
    world.deliver(renamed);
    let counts = world.counts(ms(2_000));
    assert_eq!((counts.packets_lost, counts.frames_complete), (0, 60));
    assert_eq!(world.viewer.streams.len(), 1);
}

#[test]
fn what_a_stream_misses_when_another_takes_its_place_is_lost() {
    let mut world = World::new();
    let mut unnamed = slots();
    unnamed.iter_mut().for_each(|ids| (ids.ssrc, ids.rtx_ssrc) = (None, None));
    world.viewer.take_slots(&unnamed);
    let mut sent = world.pictures(ms(1_000));
    let renamed: Packets = sent
        .iter()
        .map(|(at, packet)| {
            let view = RtpView::parse(packet).unwrap();
            let (index, ssrc) = (u64::from(view.sequence()), Ssrc(99));
            (*at + ms(1_000), rtp(PICTURE_PT, index, view.timestamp(), ssrc, view.payload()))
        })
        .collect();
    sent.remove(sent.len() - 2);
    world.deliver(sent);
    world.deliver(renamed);
    let counts = world.counts(ms(2_000));
    assert_eq!((counts.packets_lost, counts.frames_complete, counts.frames_broken), (1, 59, 1));
}

#[test]
fn a_slot_takes_at_most_8_kib() {
    let most = size_of::<Slot>() + nack::Gaps::BYTES_MAX + frames::Frames::BYTES_MAX;
    assert!(most <= 8 * 1024, "{most}");
}

#[test]
fn a_viewer_with_nothing_to_see_wants_nothing() {
    let world = World::new();
    assert_eq!(world.viewer.next_timeout(), None);
}

/// What a path does to one packet.
#[derive(Debug, Clone, Copy)]
struct Fate {
    is_lost: bool,
    is_doubled: bool,
    delay_ms: u64,
    comes_again: bool,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (0_u8..10, 0_u8..10, prop_oneof![3 => Just(0_u64), 1 => 0_u64..900], any::<bool>());
    let fate = fate.prop_map(|(lost, doubled, delay_ms, comes_again)| Fate {
        is_lost: lost < 3,
        is_doubled: doubled == 0,
        delay_ms,
        comes_again,
    });
    prop::collection::vec(fate, 700)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the path does: each packet is received or lost, and a picture that is not whole is not shown.
    #[test]
    fn what_is_lost_and_what_is_received_is_what_was_sent(fates in fates(), loses in any::<bool>()) {
        let mut world = World::new();
        let sent = world.pictures(ms(2_000));
        let mut arriving = Packets::new();
        for (place, (at, packet)) in sent.iter().enumerate() {
            let fate = fates[place % fates.len()];
            // The first and the last one come, or else nobody knows that there was something before or behind.
            let is_end = place == 0 || place + 1 == sent.len();
            if is_end || !loses || !fate.is_lost {
                let delay = if is_end { ms(0) } else { ms(fate.delay_ms) };
                arriving.push((*at + delay, packet.clone()));
            } else if fate.comes_again {
                arriving.push((*at + ms(fate.delay_ms), as_rtx(packet, place as u64)));
            }
            if fate.is_doubled && !(loses && fate.is_lost) {
                arriving.push((*at + ms(fate.delay_ms / 2), packet.clone()));
            }
        }
        arriving.sort_by_key(|(at, _)| *at);
        let came: BTreeSet<u32> = arriving.iter().map(|(_, packet)| stamp_of(packet).packet).collect();
        let torn: BTreeSet<u32> = sent
            .iter()
            .map(|(_, packet)| stamp_of(packet))
            .filter(|stamp| !came.contains(&stamp.packet))
            .map(|stamp| stamp.frame)
            .collect();
        world.deliver(arriving);
        let counts = world.counts(ms(3_500));
        let unique = counts.packets_received - counts.packets_duplicate;
        prop_assert_eq!(unique + counts.packets_lost, sent.len() as u64);
        prop_assert!(counts.frames_complete + counts.frames_broken <= 60);
        prop_assert!(counts.frames_complete <= 60 - torn.len() as u64);
        prop_assert!(!torn.is_empty() || counts.frames_complete == 60);
        prop_assert!(counts.frozen_us <= counts.watched_us);
        prop_assert_eq!(world.nacked().len() as u64, counts.nacks_sent);
    }

    /// Authentic or not, it is somebody else's bytes.
    #[test]
    fn no_bytes_make_a_viewer_panic(
        datagrams in prop::collection::vec(
            (any::<u16>(), prop::collection::vec(any::<u8>(), 0..80), 0_u8..4, 0_u64..400),
            0..200,
        ),
    ) {
        let mut world = World::new();
        let template = world.pictures(ms(50))[0].1.clone();
        let mut now = ms(0);
        for (sequence, noise, kind, wait) in datagrams {
            now += ms(wait);
            let (number, ssrc) = [(VOICE_PT, VOICE), (PICTURE_PT, PICTURE), (RTX_PT, PICTURE_RTX)][usize::from(kind) % 3];
            let mut payload = noise.clone();
            if kind > 0 {
                // A stamp with noise in it gets further than noise alone.
                payload = RtpView::parse(&template).unwrap().payload().to_vec();
                noise.iter().enumerate().for_each(|(place, byte)| payload[4 * place % 54] ^= byte);
            }
            world.wake_until(now);
            world.deliver_one(now, &rtp(number, u64::from(sequence), u32::from(sequence), ssrc, &payload));
            prop_assert!(world.viewer.slots.iter().all(|slot| slot.ids.ssrc.is_some()));
        }
        let counts = world.counts(now);
        prop_assert!(counts.packets_duplicate <= counts.packets_received);
    }
}

//! A publisher seen from outside: its packets, and what it does when it is asked.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wire::rtcp::{Packet, packets};

use super::*;
use crate::engine::stamp::Stamp;
use crate::scenario::{PictureLayer, Receive};

/// A packet that was sent, kept.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    at: Duration,
    track: usize,
    stream: usize,
    is_rtx: bool,
    index: u64,
    timestamp: u32,
    marker: bool,
    audio_level: Option<AudioLevel>,
    payload: Vec<u8>,
}

impl Kept {
    fn stamp(&self, kind: MediaKind) -> Stamp {
        Stamp::of_payload(kind, &self.payload[if self.is_rtx { 2 } else { 0 }..]).unwrap()
    }
}

struct World {
    start: Instant,
    now: Instant,
    publisher: Publisher,
    sent: Vec<Kept>,
}

impl World {
    fn new(plan: &CallerPlan) -> Self {
        let start = plan.clock.epoch + Duration::from_secs(1);
        let mut publisher = Publisher::new(plan);
        publisher.start(start);
        Self { start, now: start, publisher, sent: Vec::new() }
    }

    /// Wakes the publisher when it wants to be woken.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.publisher.next_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.wake();
        }
        self.now = end;
    }

    fn wake(&mut self) {
        let (sent, at) = (&mut self.sent, self.now - self.start);
        self.publisher.handle_timeout(self.now, &mut |packet| sent.push(keep(at, packet)));
    }

    fn nack(&mut self, ssrc: Ssrc, sequences: &[u16]) -> Vec<Kept> {
        let (mut again, at) = (Vec::new(), self.now - self.start);
        self.publisher.handle_nack(self.now, ssrc, sequences.iter().copied(), &mut |packet| {
            again.push(keep(at, packet));
        });
        again
    }

    fn ssrc(&self, track: usize, stream: usize) -> Ssrc {
        self.publisher.tracks[track].streams[stream].ssrc
    }

    fn of(&self, track: usize, stream: usize) -> Vec<Kept> {
        self.sent.iter().filter(|kept| (kept.track, kept.stream) == (track, stream)).cloned().collect()
    }

    fn counts(&mut self) -> Counts {
        let mut counts = Counts::default();
        self.publisher.take_counts(&mut counts);
        counts
    }
}

fn keep(at: Duration, packet: OutPacket<'_>) -> Kept {
    Kept {
        at,
        track: packet.track,
        stream: packet.stream,
        is_rtx: packet.is_rtx,
        index: packet.index,
        timestamp: packet.timestamp,
        marker: packet.marker,
        audio_level: packet.audio_level,
        payload: packet.payload.to_vec(),
    }
}

fn plan(seed: u64) -> CallerPlan {
    CallerPlan {
        number: seed as u32,
        seed,
        clock: Clock { number: 9, epoch: Instant::now() },
        voice: None,
        camera: None,
        screen: None,
        receive: Receive::default(),
    }
}

fn with_voice(seed: u64, speaks: f64, dtx: bool) -> CallerPlan {
    CallerPlan { voice: Some(scenario::Voice { speaks, dtx, ..scenario::Voice::default() }), ..plan(seed) }
}

fn with_camera(seed: u64) -> CallerPlan {
    CallerPlan { camera: Some(scenario::Camera::default()), ..plan(seed) }
}

fn with_layers(layers: Vec<PictureLayer>) -> CallerPlan {
    CallerPlan { camera: Some(scenario::Camera { layers, ..scenario::Camera::default() }), ..plan(5) }
}

fn with_screen(screen: scenario::Screen) -> CallerPlan {
    CallerPlan { screen: Some(screen), ..plan(6) }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Packets of each frame, by frame number.
fn frames(packets: &[Kept]) -> BTreeMap<u32, Vec<Kept>> {
    let mut frames: BTreeMap<u32, Vec<Kept>> = BTreeMap::new();
    for packet in packets {
        frames.entry(packet.stamp(MediaKind::Video).frame).or_default().push(packet.clone());
    }
    frames
}

#[test]
fn tracks_are_named_in_the_order_of_their_lines() {
    let all = CallerPlan {
        voice: Some(scenario::Voice::default()),
        screen: Some(scenario::Screen::default()),
        ..with_camera(1)
    };
    let publisher = Publisher::new(&all);
    let contents: Vec<_> = publisher.tracks().map(|track| track.content).collect();
    assert_eq!(contents, [Content::Voice, Content::Camera, Content::Screen]);
    let rids: Vec<_> =
        publisher.tracks[1].streams.iter().map(|ids| ids.rid.as_ref().unwrap().as_str()).collect();
    assert_eq!(rids, ["q", "h", "f"]);
    assert!(
        publisher.tracks[2].streams[0].rid.is_none() && publisher.tracks[0].streams[0].rtx_ssrc.is_none()
    );
}

#[test]
fn no_two_streams_of_a_thousand_callers_share_an_ssrc() {
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..1_000 {
        for which in 0..SSRCS_A_CALLER {
            assert!(seen.insert(stream_ssrc(number, which)), "{number} {which}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_packets_and_another_one_others() {
    let run = |seed| {
        let epoch = with_camera(1).clock;
        let all = CallerPlan { clock: epoch, voice: with_voice(seed, 0.5, true).voice, ..with_camera(seed) };
        let mut world = World::new(&CallerPlan { number: 1, ..all });
        world.run(secs(5));
        world
            .sent
            .into_iter()
            .map(|kept| (kept.at, kept.index, kept.timestamp, kept.payload.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn callers_that_start_together_do_not_send_together() {
    let first: Vec<_> = (0..20)
        .map(|seed| {
            let mut world = World::new(&with_camera(seed));
            world.run(secs(1));
            world.sent[0].at
        })
        .collect();
    let spread = first.iter().max().unwrap().saturating_sub(*first.iter().min().unwrap());
    assert!(spread > Duration::from_millis(20), "{first:?}");
}

#[test]
fn every_layer_has_the_scenarios_rate_and_frames() {
    let mut world = World::new(&with_camera(3));
    world.run(secs(20));
    for (stream, kbps) in [(0, 150.0), (1, 500.0), (2, 1_700.0)] {
        let packets = world.of(0, stream);
        let bits: usize = packets.iter().map(|kept| kept.payload.len() * 8).sum();
        let found = bits as f64 / 20_000.0;
        assert!((found / kbps - 1.0).abs() < 0.05, "layer {stream}: {found} kbit/s");
        assert_eq!(frames(&packets).len(), 600);
    }
}

#[test]
fn key_frames_are_paid_back_so_that_the_rate_stays() {
    let mut often = with_camera(3);
    often.camera.as_mut().unwrap().key_frame_interval_s = 2.0;
    let mut world = World::new(&often);
    world.run(secs(20));
    let counts = world.counts();
    assert_eq!((counts.frames_sent, counts.key_frames_sent), (1_800, 30));
    let bits: usize = world.of(0, 2).iter().map(|kept| kept.payload.len() * 8).sum();
    assert!((bits as f64 / 20_000.0 / 1_700.0 - 1.0).abs() < 0.05, "{}", bits / 20_000);
}

#[test]
fn a_frame_is_one_burst_of_equally_large_packets_with_one_timestamp() {
    let mut world = World::new(&with_camera(3));
    world.run(secs(2));
    for (number, packets) in frames(&world.of(0, 2)) {
        let (first, last) = (&packets[0], packets.last().unwrap());
        assert!(packets.iter().all(|each| (each.at, each.timestamp) == (first.at, first.timestamp)));
        assert!(packets.iter().all(|each| each.marker == (each == last)), "frame {number}");
        let sizes = packets.iter().map(|each| each.payload.len());
        assert!(sizes.clone().max().unwrap() <= 1_100);
        assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        let parts: Vec<_> = packets.iter().map(|each| each.stamp(MediaKind::Video).part).collect();
        assert_eq!(parts, (0..packets.len() as u16).collect::<Vec<_>>());
    }
}

#[test]
fn layers_share_their_frame_times_and_nothing_else() {
    let mut world = World::new(&with_camera(3));
    world.run(secs(1));
    let times =
        |stream| frames(&world.of(0, stream)).into_values().map(|frame| frame[0].at).collect::<Vec<_>>();
    assert_eq!(times(0), times(2));
    let start = |stream: usize| (world.of(0, stream)[0].index, world.of(0, stream)[0].timestamp);
    assert!(start(0) != start(1) && start(1) != start(2));
}

#[test]
fn a_slower_layer_takes_every_other_frame_time() {
    let layer = |height, frames_per_s| PictureLayer { height, rate_kbps: 300, frames_per_s };
    let mut world = World::new(&with_layers(vec![layer(180, 10.0), layer(720, 30.0)]));
    world.run(secs(10));
    assert_eq!(frames(&world.of(0, 0)).len(), 100);
    assert_eq!(frames(&world.of(0, 1)).len(), 300);
}

#[test]
fn sequence_numbers_and_timestamps_run_on() {
    let mut world = World::new(&with_camera(3));
    world.run(secs(3));
    for stream in 0..3 {
        let packets = world.of(0, stream);
        assert!(packets[0].index < 0x8000);
        for pair in packets.windows(2) {
            assert_eq!(pair[1].index, pair[0].index + 1);
            let ticks = u128::from(pair[1].timestamp.wrapping_sub(pair[0].timestamp));
            let elapsed = (pair[1].at - pair[0].at).as_micros() * 9 / 100;
            assert!(ticks.abs_diff(elapsed) <= 1, "{ticks} {elapsed}");
        }
    }
}

#[test]
fn a_request_makes_a_key_frame_of_that_layer_only() {
    let mut world = World::new(&with_camera(3));
    world.run(secs(1));
    let before = world.sent.len();
    let ssrc = world.ssrc(0, 2);
    world.publisher.handle_key_frame_request(world.now, ssrc);
    world.run(Duration::from_millis(34));
    for kept in &world.sent[before..] {
        assert_eq!(kept.stamp(MediaKind::Video).is_key, kept.stream == 2);
    }
    let counts = world.counts();
    assert_eq!((counts.key_frames_sent, counts.key_frame_requests_received), (4, 1));
}

#[test]
fn a_storm_of_requests_makes_a_key_frame_each_300_ms() {
    let mut world = World::new(&with_camera(3));
    let ssrc = world.ssrc(0, 1);
    for _ in 0..300 {
        world.publisher.handle_key_frame_request(world.now, ssrc);
        world.run(Duration::from_millis(10));
    }
    let frames = frames(&world.of(0, 1));
    let keys: Vec<_> = frames.values().filter(|frame| frame[0].stamp(MediaKind::Video).is_key).collect();
    assert!((9..=10).contains(&keys.len()), "{}", keys.len());
    assert!(keys.windows(2).all(|pair| pair[1][0].at - pair[0][0].at >= Duration::from_millis(300)));
}

#[test]
fn a_request_for_a_stream_of_nobody_is_counted_and_does_nothing() {
    let mut world = World::new(&with_camera(3));
    world.run(secs(1));
    world.publisher.handle_key_frame_request(world.now, Ssrc(1));
    world.run(secs(1));
    let counts = world.counts();
    assert_eq!((counts.key_frames_sent, counts.key_frame_requests_received), (3, 1));
    assert!(world.nack(Ssrc(1), &[1, 2]).is_empty());
    assert_eq!(world.counts().nacks_received, 2);
}

#[test]
fn a_retransmission_is_the_packet_with_its_number_in_front() {
    let mut world = World::new(&with_camera(3));
    world.run(secs(2));
    let ssrc = world.ssrc(0, 2);
    let sent = world.of(0, 2);
    let wanted: Vec<_> = sent[sent.len() - 20..].to_vec();
    let sequences: Vec<u16> = wanted.iter().map(|kept| kept.index as u16).collect();
    let again = world.nack(ssrc, &sequences);
    assert_eq!(again.len(), 20);
    for (place, (original, resent)) in wanted.iter().zip(&again).enumerate() {
        assert_eq!(resent.payload[..2], (original.index as u16).to_be_bytes());
        assert_eq!(resent.payload[2..], original.payload);
        assert!(resent.is_rtx && (resent.timestamp, resent.marker) == (original.timestamp, original.marker));
        assert_eq!(resent.index, again[0].index + place as u64, "a number of its own");
    }
    assert!(world.nack(ssrc, &sequences).is_empty(), "not twice within a round trip");
    let counts = world.counts();
    assert_eq!((counts.retransmissions_sent, counts.nacks_received), (20, 40));
    assert_eq!(counts.packets_sent as usize, world.sent.len(), "retransmissions are not among them");
}

#[test]
fn what_was_sent_long_ago_is_not_sent_again() {
    let mut world = World::new(&with_camera(3));
    world.run(secs(4));
    let first = world.of(0, 2)[0].index as u16;
    assert!(world.nack(world.ssrc(0, 2), &[first]).is_empty());
}

#[test]
fn who_missed_his_time_leaves_frames_out() {
    let mut world = World::new(&CallerPlan { voice: with_voice(1, 1.0, true).voice, ..with_camera(3) });
    world.run(secs(1));
    let before = world.sent.len();
    world.now += secs(3);
    world.wake();
    let frames_of = |stream| {
        let late = &world.sent[before..];
        late.iter().filter(|kept| (kept.track, kept.stream, kept.marker) == (1, stream, true)).count()
    };
    assert_eq!((frames_of(0), frames_of(2)), (1, 1));
    let voice = world.of(0, 0);
    let step = voice[voice.len() - 1].timestamp.wrapping_sub(voice[voice.len() - 2].timestamp);
    assert!(step >= 3 * 48_000 - 960, "the time itself is not left out: {step}");
    world.run(secs(1));
    assert!((29..=31).contains(&(frames(&world.of(1, 0)).len() - 31)), "{}", frames(&world.of(1, 0)).len());
}

#[test]
fn a_lecturer_speaks_without_a_pause() {
    let mut world = World::new(&with_voice(1, 1.0, true));
    world.run(secs(10));
    assert_eq!(world.sent.len(), 500);
    for kept in &world.sent {
        assert_eq!(kept.payload.len(), 80, "32 kbit/s");
        let level = kept.audio_level.unwrap();
        assert!(level.voice && SPEECH.contains(&level.level_dbov));
        assert_eq!(kept.payload[0] >> 3, 15, "20 ms");
    }
    assert_eq!(world.sent.iter().filter(|kept| kept.marker).count(), 1);
}

const SPEECH: std::ops::RangeInclusive<u8> = 10..=40;

#[test]
fn who_never_speaks_sends_next_to_nothing() {
    let mut world = World::new(&with_voice(1, 0.0, true));
    world.run(secs(20));
    assert_eq!(world.sent.len(), 50);
    assert!(world.sent.iter().all(|kept| !kept.audio_level.unwrap().voice && kept.payload.len() < 40));
    let mut talkative = World::new(&with_voice(1, 0.0, false));
    talkative.run(secs(20));
    assert_eq!(talkative.sent.len(), 1_000, "without discontinuous transmission");
}

#[test]
fn talk_spurts_take_their_share_of_time() {
    let mut world = World::new(&with_voice(11, 0.3, true));
    world.run(secs(2_000));
    let spoken = world.sent.iter().filter(|kept| kept.audio_level.unwrap().voice).count();
    let share = spoken as f64 / 100_000.0;
    assert!((0.24..0.36).contains(&share), "{share}");
    let spurts = world.sent.iter().filter(|kept| kept.marker).count();
    let mean_s = spoken as f64 / 50.0 / spurts as f64;
    assert!((1.6..2.4).contains(&mean_s), "{mean_s} s a spurt");
    for pair in world.sent.windows(2) {
        let ticks = u128::from(pair[1].timestamp.wrapping_sub(pair[0].timestamp));
        assert_eq!(ticks, (pair[1].at - pair[0].at).as_micros() * 48 / 1_000, "time runs on in pauses");
    }
}

#[test]
fn a_screen_shows_pages_and_small_changes() {
    let mut world = World::new(&with_screen(scenario::Screen::default()));
    world.run(secs(400));
    let frames = frames(&world.sent);
    let bytes = |frame: &[Kept]| frame.iter().map(|kept| kept.payload.len()).sum::<usize>();
    let pages = frames.values().filter(|frame| bytes(frame) == 150_000).count();
    let changes = frames.values().filter(|frame| bytes(frame) == 600).count();
    assert_eq!(pages + changes, frames.len());
    assert!((30..=75).contains(&pages), "about one each eight seconds: {pages}");
    assert!((1_900..=2_100).contains(&frames.len()), "{}", frames.len());
    assert_eq!(world.counts().key_frames_sent, 1, "the first page; all others build on it");
}

#[test]
fn a_still_screen_answers_a_request_at_once() {
    let still = scenario::Screen { frames_per_s: 0.0, page_interval_s: 0.0, ..scenario::Screen::default() };
    let mut world = World::new(&with_screen(still));
    world.run(secs(60));
    assert_eq!((frames(&world.sent).len(), world.publisher.next_timeout()), (1, None));
    world.publisher.handle_key_frame_request(world.now, world.ssrc(0, 0));
    world.run(Duration::ZERO);
    let counts = world.counts();
    assert_eq!((counts.frames_sent, counts.key_frames_sent), (2, 2));
}

#[test]
fn reports_name_every_stream_that_has_sent() {
    let mut world = World::new(&CallerPlan { voice: with_voice(1, 1.0, true).voice, ..with_camera(3) });
    let mut compound = Vec::new();
    world.publisher.write_sender_reports(world.now, &mut compound);
    assert!(compound.is_empty(), "nothing was sent yet");
    world.run(secs(2));
    world.publisher.write_sender_reports(world.now, &mut compound);
    let mut told = Vec::new();
    let mut names = 0;
    for packet in packets(&compound) {
        match packet.unwrap() {
            Packet::SenderReport(report) => told.push((report.ssrc, report.packets, report.octets)),
            Packet::SourceDescription(description) => names += description.cnames().count(),
            other => panic!("{other:?}"),
        }
    }
    let mut expected = Vec::new();
    for (track, stream) in [(0, 0), (1, 0), (1, 1), (1, 2)] {
        let packets = world.of(track, stream);
        let octets: usize = packets.iter().map(|kept| kept.payload.len()).sum();
        expected.push((world.ssrc(track, stream), packets.len() as u32, octets as u32));
    }
    assert_eq!((told, names), (expected, 1));
}

#[test]
fn a_caller_that_sends_nothing_wants_nothing() {
    let mut world = World::new(&plan(1));
    world.run(secs(1));
    assert!(world.publisher.next_timeout().is_none() && world.sent.is_empty());
    assert!(World::new(&with_layers(Vec::new())).publisher.tracks.is_empty(), "a camera without layers");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_scenario_and_no_request_makes_a_publisher_panic_or_flood(
        rate_kbps in prop_oneof![0_u32..3_000, Just(u32::MAX)],
        frames_per_s in prop_oneof![-1.0_f64..300.0, Just(f64::MAX), Just(f64::NAN)],
        size in prop_oneof![-1.0_f64..20.0, Just(f64::MAX), Just(1e19), Just(f64::NAN)],
        page_bytes in prop_oneof![0_u32..500_000, Just(u32::MAX)],
        packet_ms in 0_u32..200,
        asked in prop::collection::vec(any::<u16>(), 0..50),
    ) {
        let layer = PictureLayer { height: page_bytes, rate_kbps, frames_per_s };
        let camera = scenario::Camera {
            layers: vec![layer.clone(), layer.clone(), layer.clone(), layer.clone(), layer],
            key_frame_interval_s: size,
            key_frame_size: size,
            size_jitter: size,
        };
        let screen = scenario::Screen { page_bytes, page_interval_s: size, frames_per_s, change_bytes: rate_kbps };
        let voice = scenario::Voice { rate_kbps, packet_ms, speaks: size / 10.0, dtx: packet_ms % 2 == 0 };
        let mut world = World::new(&CallerPlan {
            voice: Some(voice),
            camera: Some(camera),
            screen: Some(screen),
            ..plan(1)
        });
        let (mut wakes, end) = (0, world.now + Duration::from_millis(200));
        while let Some(at) = world.publisher.next_timeout().filter(|at| *at <= end) {
            world.now = at;
            world.wake();
            world.sent.clear();
            wakes += 1;
            prop_assert!(wakes < 500, "it never comes to rest");
        }
        for (track, stream) in [(0, 0), (1, 0), (2, 0)] {
            let ssrc = world.ssrc(track, stream);
            world.publisher.handle_key_frame_request(world.now, ssrc);
            prop_assert!(world.nack(ssrc, &asked).len() <= asked.len());
        }
    }
}

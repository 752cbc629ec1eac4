//! What one received packet costs a caller behind decryption: finding its slot, counting it, putting its picture together.
//! A thousand viewers of 300 packets a second leave 3 µs a packet for everything; this part has 150 ns of it.
#![allow(clippy::unwrap_used, reason = "constants of the benchmark's own; a benchmark may stop with them")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wire::messages::media::MediaKind;
use wire::rtp::{PayloadType, RtpHeader, RtpView, Ssrc, write_header};

use loadtest::engine::ports::CallerPlan;
use loadtest::engine::receive::{SlotIds, Viewer};
use loadtest::engine::results::Results;
use loadtest::engine::send::Publisher;
use loadtest::engine::stamp::Clock;
use loadtest::scenario::{Camera, PictureLayer, Receive, Voice};

/// Slots of each kind: a page's worth, so that the look-up is not trivial.
const SLOTS: u32 = 9;
const VOICE_PT: u8 = 111;
const PICTURE_PT: u8 = 96;

/// What of a packet is looked at, how long it was, and when it arrives. Decryption leaves the whole packet in the cache;
/// here only that much of ten seconds' packets fits.
type Packets = Vec<(Instant, usize, Vec<u8>)>;

/// RTP header, VP8 descriptor, frame header and stamp.
const LOOKED_AT: usize = 80;

fn plan(number: u32, clock: Clock) -> CallerPlan {
    let layer = PictureLayer { height: 720, rate_kbps: 2_000, frames_per_s: 30.0 };
    CallerPlan {
        number,
        seed: 1,
        clock,
        voice: Some(Voice::default()),
        camera: Some(Camera { layers: vec![layer], ..Camera::default() }),
        screen: None,
        receive: Receive::default(),
    }
}

fn slots() -> Vec<SlotIds> {
    let slot = |number: u32, kind, payload_type| SlotIds {
        mid: number.to_string(),
        kind,
        ssrc: Some(Ssrc(number)),
        rtx_ssrc: None,
        payload_type,
        rtx_payload_type: None,
    };
    let voices = (0..SLOTS).map(|number| slot(number, MediaKind::Audio, VOICE_PT));
    let pictures = (0..SLOTS).map(|number| slot(100 + number, MediaKind::Video, PICTURE_PT));
    voices.chain(pictures).collect()
}

/// Ten seconds of a lecturer in the middle slots.
fn packets(clock: Clock) -> Packets {
    let mut publisher = Publisher::new(&plan(2, clock));
    let mut packets = Packets::new();
    publisher.start(clock.epoch);
    while let Some(at) = publisher.next_timeout().filter(|at| *at < clock.epoch + Duration::from_secs(10)) {
        publisher.handle_timeout(at, &mut |packet| {
            let (payload_type, ssrc) =
                if packet.track == 0 { (VOICE_PT, SLOTS / 2) } else { (PICTURE_PT, 100 + SLOTS / 2) };
            let header = RtpHeader {
                marker: packet.marker,
                payload_type: PayloadType::new(payload_type).unwrap(),
                sequence: packet.index as u16,
                timestamp: packet.timestamp,
                ssrc: Ssrc(ssrc),
            };
            let mut datagram = vec![0; 12 + packet.payload.len()];
            write_header(&mut datagram, &header, &[]).unwrap();
            datagram[12..].copy_from_slice(packet.payload);
            let length = datagram.len();
            datagram.truncate(LOOKED_AT);
            datagram.shrink_to_fit();
            packets.push((at + Duration::from_millis(5), length, datagram));
        });
    }
    packets
}

/// Feeds all packets to a new viewer, and takes its results each second as a crew does.
fn watch(clock: Clock, packets: &Packets, results: &mut Results) -> Duration {
    let mut viewer = Viewer::new(&plan(1, clock));
    viewer.take_slots(&slots());
    let (mut notes, mut rtcp, mut taken) = (Vec::new(), Vec::new(), clock.epoch);
    let started = Instant::now();
    for (at, length, datagram) in packets {
        while viewer.next_timeout().is_some_and(|due| due <= *at) {
            rtcp.clear();
            viewer.handle_timeout(*at, &mut rtcp);
        }
        let Ok(view) = RtpView::parse(black_box(datagram)) else { continue };
        let Some(key) = viewer.stream(&view, Some(4)) else { continue };
        viewer.handle_packet(*at, key, (&view, *length + 16), &mut notes);
        if *at >= taken + Duration::from_secs(1) {
            taken = *at;
            viewer.take_results(*at, results);
        }
    }
    started.elapsed()
}

fn receive(criterion: &mut Criterion) {
    let clock = Clock { number: 1, epoch: Instant::now() };
    let whole = packets(clock);
    let lossy: Packets = whole
        .iter()
        .enumerate()
        .filter(|(place, _)| place % 50 != 7)
        .map(|(_, packet)| packet.clone())
        .collect();
    let mut group = criterion.benchmark_group("receive");
    for (name, packets) in [("whole", &whole), ("two_percent_lost", &lossy)] {
        let mut results = Results::default();
        group.throughput(Throughput::Elements(packets.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| watch(clock, packets, &mut results)).sum());
        });
        assert_eq!(results.counts.packets_unstamped, 0, "what is measured is what happens");
    }
    group.finish();
}

criterion_group!(benches, receive);
criterion_main!(benches);

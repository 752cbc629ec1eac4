//! What the bridge says over RTCP, as a browser would use it.

use wire::messages::media::MediaKind;

use crate::world::browser::Browser;
use crate::world::receiver::SlotView;
use crate::world::{Line, World, ms, secs};

/// When a slot's packet was captured, on the bridge's clock in seconds, as the slot's last sender report has it.
fn captured_s(slot: &SlotView, timestamp: u32, rate_hz: f64) -> f64 {
    let (_, ntp, reported) = *slot.reports.last().expect("a sender report");
    let ntp_s = ntp as f64 / 4_294_967_296.0;
    ntp_s + f64::from(timestamp.wrapping_sub(reported) as i32) / rate_hz
}

#[test]
fn lips_and_voice_stay_together_across_slots() {
    let mut world = World::new();
    let senders: Vec<usize> = (1..=3).map(|number| world.join(Browser::talker(number))).collect();
    let receiver = world.join(Browser::watcher(9));
    for sender in &senders {
        // Video comes 200 ms behind its voice on a slow line; reports must not care.
        world.browsers[*sender].line_up = Line { delay: ms(60 + *sender as u64 * 40), ..Line::GOOD };
    }
    world.run(secs(5));
    for sender in &senders {
        let (audio, video) = (world.browsers[*sender].audio(), world.browsers[*sender].video());
        let of = |source: &str, kind, rate_hz, interval_s: f64| {
            let slot = world.browsers[receiver].slot_showing(source).expect("shown");
            assert_eq!(slot.is_video, kind == MediaKind::Video);
            let last = slot.packets.values().next_back().unwrap();
            // All streams of a model browser begin at one instant.
            captured_s(slot, last.timestamp, rate_hz) - f64::from(last.tag.frame) * interval_s
        };
        let voice = of(&audio, MediaKind::Audio, 48_000.0, 0.02) + 0.02;
        let lips = of(&video, MediaKind::Video, 90_000.0, 0.04) + 0.04;
        assert!((voice - lips).abs() < 0.002, "{:.1} ms apart", (voice - lips) * 1_000.0);
    }
}

#[test]
fn every_active_slot_is_reported_each_second_and_an_idle_one_never() {
    let mut world = World::new();
    world.join(Browser::talker(1));
    let receiver = world.join(Browser::watcher(2));
    world.run(secs(5));
    for slot in world.browsers[receiver].slots.values() {
        let reports = slot.reports.len();
        let expected = if slot.packets.is_empty() { 0..=0 } else { 4..=7 };
        assert!(expected.contains(&reports), "{reports} reports on slot {}", slot.mid);
    }
}

#[test]
fn a_sender_learns_what_arrived_and_how() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    world.join(Browser::watcher(2));
    world.run(secs(2));
    world.browsers[sender].line_up = Line { loss: 0.1, ..Line::GOOD };
    world.run(secs(4));
    let browser = &mut world.browsers[sender];
    let camera = browser.camera().ssrc;
    let last = browser.reports.iter().rfind(|block| block.ssrc.0 == camera).expect("a report on the camera");
    let lost = f64::from(last.fraction_lost) / 256.0;
    assert!((0.02..0.25).contains(&lost), "{lost}");
    assert!(last.last_sr != 0 && last.delay_since_last_sr > 0, "the browser can measure its round trip");
}

#[test]
fn every_packet_that_arrived_is_told_within_a_tenth_of_a_second() {
    let mut world = World::new();
    let sender = world.join(Browser::talker(1));
    world.join(Browser::watcher(2));
    world.run(secs(3));
    let told = world.browsers[sender].feedback_received.len();
    let sent: u32 = world.browsers[sender].streams.iter().map(|stream| stream.packets_sent).sum();
    // Three packets in 40 ms and two of voice; 100 ms of them are on their way, and neighbours of a hole are told twice.
    assert!((sent as usize - 20..=sent as usize + 5).contains(&told), "{told} told of {sent}");
}

#[test]
fn round_trips_and_losses_are_measured() {
    let mut world = World::new();
    world.join(Browser::talker(1));
    let receiver = world.join(Browser::talker(2));
    world.browsers[receiver].line_down = Line { delay: ms(40), loss: 0.2, ..Line::GOOD };
    world.browsers[receiver].asks_for_missing = false;
    world.run(secs(8));
    let stats = world.stats();
    let mean = stats.rtt_ms_sum / stats.rtt_endpoints as f64;
    assert_eq!(stats.rtt_endpoints, 2);
    assert!((25.0..50.0).contains(&mean), "{mean} ms: one has 20, the other 50");
    let lost = stats.counters.packets_reported_lost as f64 / stats.counters.packets_reported as f64;
    assert!((0.04..0.2).contains(&lost), "{lost} of what both were sent");
    assert_eq!(stats.counters.packets_lost, 0);
}

#[test]
fn the_numbers_are_those_of_what_was_sent() {
    let mut world = World::new();
    let senders: Vec<usize> = (1..=2).map(|number| world.join(Browser::talker(number))).collect();
    world.join(Browser::watcher(3));
    world.run(secs(5));
    senders
        .iter()
        .for_each(|place| world.browsers[*place].streams.iter_mut().for_each(|stream| stream.is_on = false));
    world.run(ms(500));
    let stats = world.stats();
    let sent: u32 =
        world.browsers.iter().flat_map(|browser| &browser.streams).map(|stream| stream.packets_sent).sum();
    let shown: usize =
        world.browsers.iter().flat_map(|it| it.slots.values()).map(|slot| slot.packets.len()).sum();
    assert_eq!(stats.counters.packets_received, u64::from(sent));
    assert_eq!(stats.counters.packets_expected, u64::from(sent));
    assert_eq!(stats.counters.packets_sent, shown as u64);
    assert_eq!((stats.conferences, stats.endpoints, stats.endpoints_connected), (1, 3, 3));
    assert_eq!((stats.largest_conference, stats.conference_sizes[3]), (3, 1));
    assert_eq!((stats.receive_only_endpoints, stats.active_endpoints), (1, 3));
    assert_eq!((stats.endpoints_sending_audio, stats.endpoints_sending_video), (2, 2));
    assert!(stats.counters.key_frames_received >= 2 && stats.counters.video_stream_ms > 6_000);
    world.run(secs(10));
    let stats = world.stats();
    assert_eq!((stats.inactive_conferences, stats.endpoints_sending_audio), (1, 0));
}

//! The claims about reports and lip sync.

use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// `seconds` on some clock.
fn ntp(seconds: f64) -> NtpTime {
    NtpTime((seconds * 4_294_967_296.0) as u64)
}

/// Reception of `sequences`, one packet of 20 ms each.
fn reception(start: Instant, sequences: &[u64]) -> ReceptionStats {
    let mut stats = ReceptionStats::new(48_000);
    for &ext_seq in sequences {
        stats.handle_packet(start + ms(20 * ext_seq), ext_seq, 960 * ext_seq as u32);
    }
    stats
}

#[test]
fn nothing_is_reported_before_the_first_packet() {
    let start = Instant::now();
    assert_eq!(ReceptionStats::new(48_000).report_block(start, Ssrc(1)), None);
    assert_eq!((reception(start, &[]).expected(), reception(start, &[]).lost()), (0, 0));
}

#[test]
fn a_report_tells_the_loss_since_the_last_one_and_since_the_start() {
    let start = Instant::now();
    let mut stats = reception(start, &[10, 11, 13, 14, 17]);
    let block = stats.report_block(start, Ssrc(5)).unwrap();
    assert_eq!((block.ssrc, block.highest_sequence, block.lost), (Ssrc(5), 17, 3));
    assert_eq!(block.fraction_lost, 96, "3 of 8");
    stats.handle_packet(start + ms(400), 18, 960 * 18);
    let block = stats.report_block(start, Ssrc(5)).unwrap();
    assert_eq!((block.fraction_lost, block.lost), (0, 3));
    assert_eq!((stats.expected(), stats.lost()), (9, 3));
}

#[test]
fn an_overtaken_packet_is_no_loss() {
    let start = Instant::now();
    let block = reception(start, &[10, 12, 11, 9]).report_block(start, Ssrc(1)).unwrap();
    assert_eq!((block.fraction_lost, block.lost), (0, 0));
}

#[test]
fn duplicates_make_the_loss_negative_and_the_fraction_zero() {
    let start = Instant::now();
    let mut stats = reception(start, &[1, 2, 2, 2]);
    let block = stats.report_block(start, Ssrc(1)).unwrap();
    assert_eq!((block.fraction_lost, block.lost, stats.lost()), (0, -2, 0));
}

#[test]
fn a_jump_of_the_sequence_is_no_loss() {
    let start = Instant::now();
    let block = reception(start, &[10, 11, 11 + 32_767, 11 + 32_768]).report_block(start, Ssrc(1)).unwrap();
    assert_eq!((block.fraction_lost, block.lost), (0, 0));
}

#[test]
fn the_highest_sequence_carries_its_rounds() {
    let start = Instant::now();
    let block = reception(start, &[65_535, 65_536]).report_block(start, Ssrc(1)).unwrap();
    assert_eq!(block.highest_sequence, 0x1_0000);
}

#[test]
fn a_steady_stream_has_no_jitter_and_a_delayed_packet_has() {
    let start = Instant::now();
    let mut stats = reception(start, &[1, 2, 3, 4]);
    assert_eq!(stats.report_block(start, Ssrc(1)).unwrap().jitter, 0);
    stats.handle_packet(start + ms(20 * 5 + 10), 5, 960 * 5);
    // 10 ms are 480 ticks; A.8 takes a sixteenth of each deviation.
    assert_eq!(stats.report_block(start, Ssrc(1)).unwrap().jitter, 30);
}

#[test]
fn the_paced_packets_of_one_picture_are_no_jitter() {
    let (start, mut stats) = (Instant::now(), ReceptionStats::new(90_000));
    for (ext_seq, at, timestamp) in
        [(1, 0, 0), (2, 33, 2_970), (3, 45, 2_970), (4, 60, 2_970), (5, 66, 5_940)]
    {
        stats.handle_packet(start + ms(at), ext_seq, timestamp);
    }
    assert_eq!(stats.report_block(start, Ssrc(1)).unwrap().jitter, 0);
}

#[test]
fn a_report_block_names_the_last_sender_report_and_its_age() {
    let start = Instant::now();
    let mut stats = reception(start, &[1]);
    stats.handle_sender_report(start, NtpTime(0x1122_3344_5566_7788));
    let block = stats.report_block(start + ms(1_500), Ssrc(1)).unwrap();
    assert_eq!((block.last_sr, block.delay_since_last_sr), (0x3344_5566, 98_304));
}

#[test]
fn a_round_trip_is_what_the_receiver_did_not_wait() {
    let (clock, start) = (BridgeClock::new(Instant::now()), Instant::now() + ms(1_000));
    let last_sr = clock.ntp(start).middle();
    let block = ReportBlock { last_sr, delay_since_last_sr: 65_536, ..ReportBlock::default() };
    let trip = round_trip(clock.ntp(start + ms(1_080)), &block).unwrap();
    assert!(trip.abs_diff(ms(80)) < ms(1), "{trip:?}");
    assert_eq!(round_trip(clock.ntp(start + ms(900)), &block), None, "answered before it was asked");
    assert_eq!(round_trip(clock.ntp(start), &ReportBlock::default()), None, "names no report");
}

#[test]
fn audio_and_video_of_one_instant_keep_one_time() {
    let (mut clock, mut audio, mut video) =
        (SenderClock::default(), StreamClock::new(48_000), StreamClock::new(90_000));
    // The endpoint's clock is 1,000 s ahead of ours; its video report is 300 ms under way.
    assert!(clock.handle_sender_report(ntp(50.0), ntp(1_050.0)));
    audio.handle_sender_report(ntp(1_050.0), 480_000);
    assert!(clock.handle_sender_report(ntp(51.3), ntp(1_051.0)));
    video.handle_sender_report(ntp(1_051.0), 900_000);
    let theirs = clock.theirs(ntp(52.0)).unwrap();
    assert_eq!(audio.timestamp_at(theirs), Some(480_000 + 2 * 48_000));
    assert_eq!(video.timestamp_at(theirs), Some(900_000 + 90_000));
}

#[test]
fn timestamps_before_the_last_report_and_across_the_wrap_are_found() {
    let mut stream = StreamClock::new(90_000);
    stream.handle_sender_report(ntp(100.0), 45_000);
    assert_eq!(stream.timestamp_at(ntp(99.0)), Some(45_000_u32.wrapping_sub(90_000)));
    assert_eq!(StreamClock::new(90_000).timestamp_at(ntp(99.0)), None);
    assert_eq!(stream.timestamp_at(ntp(100.0 + 601.0)), None, "too old to say anything");
}

#[test]
fn an_absurd_time_is_not_believed_and_changes_nothing() {
    let mut clock = SenderClock::default();
    assert!(!clock.handle_sender_report(ntp(1.0), NtpTime(0)));
    assert_eq!(clock.theirs(ntp(1.0)), None);
    assert!(clock.handle_sender_report(ntp(50.0), ntp(1_050.0)));
    for absurd in [NtpTime(0), NtpTime(1), NtpTime(u64::MAX), ntp(1_000_000_000.0), NtpTime(1 << 63)] {
        assert!(!clock.handle_sender_report(ntp(51.0), absurd));
    }
    assert_eq!(clock.theirs(ntp(52.0)), Some(ntp(1_052.0)));
}

#[test]
fn a_clock_that_was_set_is_believed_after_three_reports_in_a_row() {
    let mut clock = SenderClock::default();
    clock.handle_sender_report(ntp(50.0), ntp(1_050.0));
    let set = |clock: &mut SenderClock, at: f64| clock.handle_sender_report(ntp(at), ntp(at + 5_000.0));
    assert_eq!((set(&mut clock, 51.0), set(&mut clock, 52.0)), (false, false));
    assert!(clock.handle_sender_report(ntp(53.0), ntp(1_053.0)), "the old clock still speaks");
    assert_eq!((set(&mut clock, 54.0), set(&mut clock, 55.0), set(&mut clock, 56.0)), (false, false, true));
    assert_eq!(clock.theirs(ntp(60.0)), Some(ntp(5_060.0)));
}

#[test]
fn a_sender_report_tells_what_was_sent() {
    let mut stats = SendStats::default();
    stats.handle_sent(100);
    stats.handle_sent(1_100);
    let report = stats.sender_report(Ssrc(3), ntp(9.0), 77);
    assert_eq!((report.ssrc, report.ntp, report.rtp_timestamp), (Ssrc(3), ntp(9.0), 77));
    assert_eq!((report.packets, report.octets), (2, 1_200));
}

proptest! {
    #[test]
    fn no_sequence_or_timestamp_overflows_a_report(
        steps in prop::collection::vec((any::<u32>(), any::<u32>(), 0_u64..10_000, any::<bool>()), 0..200),
    ) {
        let (mut now, mut stats) = (Instant::now(), ReceptionStats::new(90_000));
        for (ext_seq, timestamp, wait, is_report) in steps {
            now += ms(wait);
            stats.handle_packet(now, u64::from(ext_seq), timestamp);
            if is_report {
                stats.report_block(now, Ssrc(1)).unwrap();
            }
        }
    }

    #[test]
    fn no_time_overflows_a_clock(times in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 0..50)) {
        let (mut clock, mut stream) = (SenderClock::default(), StreamClock::new(90_000));
        for (ours, theirs, timestamp) in times {
            if clock.handle_sender_report(NtpTime(ours), NtpTime(theirs)) {
                stream.handle_sender_report(NtpTime(theirs), timestamp);
            }
            if let Some(theirs) = clock.theirs(NtpTime(ours)) {
                stream.timestamp_at(theirs);
            }
            round_trip(NtpTime(ours), &ReportBlock { last_sr: timestamp, ..ReportBlock::default() });
        }
    }
}

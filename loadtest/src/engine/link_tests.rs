//! What a link promises, with a clock that the tests turn.

use proptest::prelude::*;

use super::*;

/// One datagram each `interval`, all polled in time: number, when it went in, when it came out.
fn run(link: &Link, seed: u64, count: u32, interval: Duration) -> (Vec<(u32, Duration)>, LinkCounts) {
    let start = Instant::now();
    let mut impairment = Impairment::new(link, seed);
    let mut out = Vec::new();
    let mut bytes = Vec::new();
    for number in 0..count {
        let now = start + interval * number;
        drain(&mut impairment, now, start, interval, &mut out);
        bytes.clear();
        bytes.resize(1_000, 0);
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        impairment.handle_datagram(now, &bytes);
    }
    drain(&mut impairment, start + Duration::from_secs(3_600), start, interval, &mut out);
    assert_eq!(impairment.next_timeout(), None);
    (out, impairment.counts())
}

fn drain(
    impairment: &mut Impairment,
    now: Instant,
    start: Instant,
    interval: Duration,
    out: &mut Vec<(u32, Duration)>,
) {
    let mut datagram = Vec::new();
    while let Some(at) = impairment.poll(now, &mut datagram) {
        assert!(at <= now);
        assert_eq!(datagram.len(), 1_000);
        let number = u32::from_be_bytes(datagram[..4].try_into().unwrap());
        out.push((number, at.duration_since(start + interval * number)));
    }
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_link_without_faults_passes_everything_at_once() {
    let (out, counts) = run(&Link::default(), 1, 1_000, MS);
    assert!(out.iter().enumerate().all(|(at, (number, delay))| at as u32 == *number && delay.is_zero()));
    assert_eq!(counts, LinkCounts { taken: 1_000, ..LinkCounts::default() });
}

#[test]
fn a_link_that_loses_everything_passes_nothing() {
    let (out, counts) = run(&Link { loss: 1.0, ..Link::default() }, 1, 1_000, MS);
    assert!(out.is_empty());
    assert_eq!(counts.lost, 1_000);
}

#[test]
fn losses_come_in_runs_of_the_length_asked_for() {
    for (loss, burst) in [(0.02, 1.0), (0.02, 4.0), (0.1, 8.0), (0.6, 2.0)] {
        let (out, counts) = run(&Link { loss, loss_burst: burst, ..Link::default() }, 7, 400_000, MS);
        let share = counts.lost as f64 / counts.taken as f64;
        assert!((share / loss - 1.0).abs() < 0.08, "{loss} in runs of {burst}: {share}");
        let runs = out.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1).count();
        let mean = counts.lost as f64 / runs as f64;
        // Independent losses still follow each other now and then.
        let expected = burst.max(1.0 / (1.0 - loss));
        assert!((mean / expected - 1.0).abs() < 0.08, "{loss} in runs of {burst}: {mean}");
    }
}

#[test]
fn the_rate_is_kept_and_what_does_not_fit_into_the_queue_is_dropped() {
    // 1,000 bytes each millisecond are 8,000 kbit/s: twice what the link carries.
    let link = Link { rate_kbps: 4_000, queue_ms: 50.0, ..Link::default() };
    let (out, counts) = run(&link, 1, 2_000, MS);
    // What was queued at the end still comes.
    assert!((1_000..=1_030).contains(&out.len()), "{}", out.len());
    assert_eq!(counts.overflowed as usize, 2_000 - out.len());
    let longest = out.iter().map(|(_, delay)| *delay).max().unwrap();
    assert!(longest > 45 * MS && longest <= 52 * MS, "{longest:?}");
}

#[test]
fn a_rate_that_suffices_delays_by_the_time_on_the_wire_only() {
    let link = Link { rate_kbps: 16_000, queue_ms: 5.0, ..Link::default() };
    let (out, counts) = run(&link, 1, 1_000, MS);
    assert_eq!(counts.overflowed, 0);
    assert!(out.iter().all(|(_, delay)| *delay == Duration::from_micros(500)));
}

#[test]
fn some_overtake_and_the_others_keep_their_order() {
    let (out, counts) = run(&Link { reorder: 0.05, ..Link::default() }, 3, 100_000, MS);
    assert_eq!(out.len(), 100_000);
    let share = counts.overtaking as f64 / counts.taken as f64;
    assert!((share - 0.05).abs() < 0.005, "{share}");
    let kept: Vec<u32> =
        out.iter().filter(|(_, delay)| !delay.is_zero()).map(|(number, _)| *number).collect();
    assert!(kept.is_sorted());
    let backwards = out.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
    assert!(backwards > 2_000, "{backwards}");
}

#[test]
fn a_copy_follows_its_original() {
    let (out, counts) = run(&Link { duplicate: 0.1, delay_ms: 5.0, ..Link::default() }, 3, 10_000, MS);
    let pairs = out.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    assert_eq!(pairs, counts.doubled);
    assert!((pairs as f64 / 10_000.0 - 0.1).abs() < 0.02, "{pairs}");
}

#[test]
fn a_link_does_not_grow_without_end() {
    let mut impairment = Impairment::new(&Link { delay_ms: 60_000.0, ..Link::default() }, 1);
    let now = Instant::now();
    for _ in 0..HELD_MAX + 10 {
        impairment.handle_datagram(now, b"x");
    }
    assert_eq!((impairment.held.len(), impairment.counts().overflowed), (HELD_MAX, 10));
}

prop_compose! {
    fn links()(
        loss in -0.5..1.5f64, loss_burst in 0.0..10.0f64, delay_ms in -1.0..200.0f64, jitter_ms in 0.0..100.0f64,
        rate_kbps in 0u32..20_000, queue_ms in 0.0..200.0f64, reorder in 0.0..1.2f64, duplicate in 0.0..1.2f64,
    ) -> Link {
        Link { loss, loss_burst, delay_ms, jitter_ms, rate_kbps, queue_ms, reorder, duplicate }
    }
}

proptest! {
    #[test]
    fn the_same_seed_does_the_same(link in links(), seed in any::<u64>()) {
        prop_assert_eq!(run(&link, seed, 300, MS), run(&link, seed, 300, MS));
    }

    #[test]
    fn everything_is_accounted_for(link in links(), seed in any::<u64>()) {
        let (out, counts) = run(&link, seed, 300, MS);
        prop_assert_eq!(counts.taken, 300);
        prop_assert_eq!(out.len() as u64, counts.taken - counts.lost - counts.overflowed + counts.doubled);
    }

    #[test]
    fn jitter_keeps_the_order_and_its_bounds(delay_ms in 0.0..100.0f64, jitter_ms in 0.0..50.0f64, seed in any::<u64>()) {
        let link = Link { delay_ms, jitter_ms, ..Link::default() };
        let (out, _) = run(&link, seed, 300, MS);
        prop_assert!(out.is_sorted_by_key(|(number, _)| *number));
        let (least, most) = (milliseconds(delay_ms), milliseconds(delay_ms + jitter_ms) + MS);
        prop_assert!(out.iter().all(|(_, delay)| *delay >= least && *delay <= most));
    }
}

//! How busy a worker is and how long a datagram stays in it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Upper bounds of the latency buckets that `/metrics` shows, in microseconds; one more bucket has no bound.
pub(crate) const LATENCY_BOUNDS_US: [u64; 12] =
    [50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000];

/// The worker's own clockwork: told when it waits and what it sent, it says once a second how full it is.
pub(crate) struct Meter {
    second_began: Instant,
    idle: Duration,
    load: Load,
    latency: Latency,
    seconds: VecDeque<Histogram<u32>>,
}

/// From a datagram's arrival in the worker to the return of the call that sent what it caused.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatencyTotals {
    /// Datagrams by bucket: those of `LATENCY_BOUNDS_US` and the rest. Since the start.
    pub(crate) buckets: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// Sum over these datagrams. Since the start.
    pub(crate) sum_us: u64,
}

/// How busy the worker has just been.
struct Load {
    window_began: Instant,
    idle: Duration,
    /// Of the last whole window.
    busy: f64,
}

struct Latency {
    totals: LatencyTotals,
    second: Histogram<u32>,
}

/// One second's result.
pub(crate) struct Second {
    /// Share of the second in which the worker did not wait: 0.0 to 1.0.
    pub(crate) busy: f64,
    /// Latencies of the last `WINDOW_SECONDS`, in microseconds.
    pub(crate) latency: Histogram<u32>,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            second_began: now,
            idle: Duration::ZERO,
            load: Load { window_began: now, idle: Duration::ZERO, busy: 0.0 },
            latency: Latency { totals: LatencyTotals::default(), second: empty_histogram() },
            seconds: VecDeque::new(),
        }
    }

    /// The worker had nothing to do for so long.
    pub(crate) fn note_idle(&mut self, waited: Duration) {
        self.idle += waited;
        self.load.idle += waited;
    }

    /// The share of the last few hundredths of a second in which the worker did not wait: 0.0 to 1.0.
    pub(crate) fn load(&mut self, now: Instant) -> f64 {
        let load = &mut self.load;
        let lasted = now.saturating_duration_since(load.window_began);
        if lasted >= LOAD_WINDOW {
            load.busy = (1.0 - load.idle.as_secs_f64() / lasted.as_secs_f64()).clamp(0.0, 1.0);
            (load.window_began, load.idle) = (now, Duration::ZERO);
        }
        load.busy
    }

    /// `datagrams` left, `after` the arrival of what caused them.
    pub(crate) fn note_sent(&mut self, datagrams: u64, after: Duration) {
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).clamp(1, LATENCY_MAX_US);
        let count = u32::try_from(datagrams).unwrap_or(u32::MAX);
        self.latency.second.saturating_record_n(us, count);
        let bucket = LATENCY_BOUNDS_US.partition_point(|&bound| bound < us);
        self.latency.totals.buckets[bucket] += datagrams;
        self.latency.totals.sum_us += us * datagrams;
    }

    /// When the running second is over.
    pub(crate) fn next_second(&self) -> Instant {
        self.second_began + SECOND
    }

    /// Ends the running second if it is over.
    pub(crate) fn take_second(&mut self, now: Instant) -> Option<Second> {
        let lasted = now.saturating_duration_since(self.second_began);
        if lasted < SECOND {
            return None;
        }
        let idle = self.idle.as_secs_f64() / lasted.as_secs_f64();
        (self.second_began, self.idle) = (now, Duration::ZERO);
        if self.seconds.len() == WINDOW_SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(std::mem::replace(&mut self.latency.second, empty_histogram()));
        let mut latency = empty_histogram();
        for second in &self.seconds {
            // Invariant: all have the same bounds, the only way for an addition to fail.
            let _ = latency.add(second);
        }
        Some(Second { busy: (1.0 - idle).clamp(0.0, 1.0), latency })
    }

    /// Latencies since the start.
    pub(crate) fn latency_totals(&self) -> &LatencyTotals {
        &self.latency.totals
    }
}

/// A histogram from 1 µs to `LATENCY_MAX_US` in steps of at most 1 %.
pub(crate) fn empty_histogram() -> Histogram<u32> {
    // Invariant: these bounds satisfy the constructor's: 1 ≤ low, 2 × low ≤ high, digits ≤ 5.
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 2).unwrap_or_else(|_| unreachable!("constant bounds"))
}

const SECOND: Duration = Duration::from_secs(1);

/// One frame of a 30 Hz picture: long enough to be an average, short enough to notice a burst of joins.
const LOAD_WINDOW: Duration = Duration::from_millis(33);

/// A scrape each 5 s misses nothing.
const WINDOW_SECONDS: usize = 5;

/// Above a second there is nothing left to tell apart.
const LATENCY_MAX_US: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_waits_a_quarter_of_a_second_is_three_quarters_busy() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.note_idle(Duration::from_millis(250));
        assert!(meter.take_second(start + Duration::from_millis(999)).is_none());
        let second = meter.take_second(start + SECOND).unwrap();
        assert!((second.busy - 0.75).abs() < 1e-9);
        assert_eq!(meter.next_second(), start + 2 * SECOND);
    }

    #[test]
    fn the_load_is_that_of_the_last_hundredths_of_a_second() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut meter = Meter::new(start);
        assert!(meter.load(ms(10)) < 1e-9, "nothing is known yet");
        meter.note_idle(Duration::from_millis(10));
        assert!((meter.load(ms(40)) - 0.75).abs() < 1e-9);
        assert!((meter.load(ms(60)) - 0.75).abs() < 1e-9);
        assert!((meter.load(ms(80)) - 1.0).abs() < 1e-9, "it has not waited since");
        meter.note_idle(Duration::from_millis(50));
        assert!(meter.load(ms(120)) < 1e-9);
    }

    #[test]
    fn latency_covers_the_last_five_seconds_and_buckets_all_time() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.note_sent(3, Duration::from_micros(80));
        let mut now = start + SECOND;
        assert_eq!(meter.take_second(now).unwrap().latency.len(), 3);
        meter.note_sent(1, Duration::from_secs(9));
        for _ in 0..WINDOW_SECONDS {
            now += SECOND;
            assert!(meter.take_second(now).is_some());
        }
        now += SECOND;
        assert_eq!(meter.take_second(now).unwrap().latency.len(), 0);
        let totals = meter.latency_totals();
        assert_eq!((totals.buckets[1], totals.buckets[LATENCY_BOUNDS_US.len()]), (3, 1));
        assert_eq!(totals.sum_us, 3 * 80 + LATENCY_MAX_US);
    }

    #[test]
    fn a_latency_on_a_bound_belongs_below_it() {
        let mut meter = Meter::new(Instant::now());
        meter.note_sent(1, Duration::from_micros(50));
        assert_eq!(meter.latency_totals().buckets[0], 1);
    }
}

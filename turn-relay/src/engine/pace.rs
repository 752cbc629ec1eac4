//! How much of something passes a second, in eight bytes for each who is counted.
//!
//! A [`Pace`] holds the instant at which everything that was let through would have been, at exactly the rate. What would
//! move that instant further ahead of now than the burst is not let through.

use std::time::{Duration, Instant};

/// Nanoseconds in 64 parts, so that a byte at 10 Gbit/s still has a length; 64 bits of them are nine years.
const TICKS_PER_NANOSECOND: u64 = 64;
const TICKS_PER_SECOND: u64 = 1_000_000_000 * TICKS_PER_NANOSECOND;

/// An instant, as ticks since the engine began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticks(u64);

impl Ticks {
    pub(crate) fn between(start: Instant, now: Instant) -> Self {
        let elapsed: Duration = now.saturating_duration_since(start);
        let seconds = elapsed.as_secs().saturating_mul(TICKS_PER_SECOND);
        Self(seconds.saturating_add(u64::from(elapsed.subsec_nanos()) * TICKS_PER_NANOSECOND))
    }
}

/// A rate and the burst above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// 0: no limit.
    ticks_per_unit: u64,
    burst_ticks: u64,
}

impl Rate {
    /// `per_second` units each second, and a second's worth at once after silence. 0 is no limit.
    pub(crate) fn per_second(per_second: u64) -> Self {
        Self::with_burst(per_second, per_second)
    }

    /// `per_second` units each second, and `burst` at once after silence. A rate of 0 is no limit.
    pub(crate) fn with_burst(per_second: u64, burst: u64) -> Self {
        let ticks_per_unit = TICKS_PER_SECOND.checked_div(per_second).unwrap_or(0);
        Self { ticks_per_unit, burst_ticks: ticks_per_unit.saturating_mul(burst) }
    }

    /// Whether anything is held back at all.
    fn is_unlimited(&self) -> bool {
        self.ticks_per_unit == 0
    }
}

/// What one who is counted has had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pace(u64);

impl Pace {
    /// Lets `units` through if they are within the rate.
    pub(crate) fn take(&mut self, now: Ticks, units: u64, rate: &Rate) -> bool {
        if rate.is_unlimited() {
            return true;
        }
        let paid = self.0.max(now.0).saturating_add(units.saturating_mul(rate.ticks_per_unit));
        let is_within = paid - now.0 <= rate.burst_ticks;
        if is_within {
            self.0 = paid;
        }
        is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pace: &mut Pace, rate: &Rate, ms: impl Iterator<Item = u64>) -> usize {
        let start = Instant::now();
        ms.filter(|ms| pace.take(Ticks::between(start, start + Duration::from_millis(*ms)), 1, rate)).count()
    }

    #[test]
    fn a_pace_gives_its_burst_and_then_its_rate() {
        let (mut pace, rate) = (Pace::default(), Rate::with_burst(10, 5));
        assert_eq!(taken(&mut pace, &rate, (0..100).map(|_| 0)), 5);
        assert_eq!(taken(&mut pace, &rate, 1..=1_000), 10);
        assert_eq!(
            taken(&mut pace, &rate, (0..100).map(|_| 100_000)),
            5,
            "silence saves up a burst, no more"
        );
    }

    #[test]
    fn a_rate_of_nothing_is_no_limit() {
        let (mut pace, rate) = (Pace::default(), Rate::per_second(0));
        assert_eq!(taken(&mut pace, &rate, (0..100_000).map(|_| 0)), 100_000);
    }

    #[test]
    fn bits_at_ten_gigabit_are_still_told_apart() {
        let (start, mut pace, rate) = (Instant::now(), Pace::default(), Rate::per_second(10_000_000_000 / 8));
        let now = Ticks::between(start, start + Duration::from_secs(100_000_000));
        let datagrams = (0..2_000_000).filter(|_| pace.take(now, 1_200, &rate)).count();
        assert!((1_030_000..1_060_000).contains(&datagrams), "{datagrams}");
    }
}

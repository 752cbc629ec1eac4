//! How busy a shard is, and when its numbers are published: while something happens four times a second, and once more
//! after that; never while nothing does.

use std::time::{Duration, Instant};

/// A shard's clockwork.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    idle: Duration,
    /// Something has happened in this period.
    has_change: bool,
    /// Something had in the last one.
    had_change: bool,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        // The first numbers show what the shard begins with.
        Self { began: now, idle: Duration::ZERO, has_change: true, had_change: false }
    }

    /// The shard had nothing to do for so long.
    pub(super) fn note_idle(&mut self, waited: Duration) {
        self.idle += waited;
    }

    /// A number has changed.
    pub(super) fn note_change(&mut self) {
        self.has_change = true;
    }

    /// When the running period is over; `None`: not before something happens.
    pub(super) fn next_publish(&self) -> Option<Instant> {
        (self.has_change || self.had_change).then(|| self.began + PERIOD)
    }

    /// Ends the running period, if it is over; the share of it in which the shard did not wait.
    pub(super) fn take_period(&mut self, now: Instant) -> Option<f64> {
        if self.next_publish().is_none_or(|at| now < at) {
            return None;
        }
        let lasted = now.saturating_duration_since(self.began).as_secs_f64();
        let busy = (1.0 - self.idle.as_secs_f64() / lasted).clamp(0.0, 1.0);
        (self.began, self.idle) = (now, Duration::ZERO);
        self.had_change = std::mem::take(&mut self.has_change);
        Some(busy)
    }
}

/// A scrape each second never sees a number older than that.
const PERIOD: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_waits_a_fifth_of_the_time_is_four_fifths_busy() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.note_idle(Duration::from_millis(50));
        assert_eq!(meter.take_period(start + Duration::from_millis(249)), None);
        assert!((meter.take_period(start + PERIOD).unwrap() - 0.8).abs() < 1e-9);
    }

    #[test]
    fn a_quiet_shard_publishes_once_more_and_then_sleeps() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        assert!(meter.take_period(start + PERIOD).is_some());
        meter.note_idle(PERIOD);
        assert_eq!(meter.take_period(start + 2 * PERIOD), Some(0.0));
        assert_eq!((meter.next_publish(), meter.take_period(start + 9 * PERIOD)), (None, None));
        meter.note_change();
        assert_eq!(meter.next_publish(), Some(start + 3 * PERIOD), "at once, after a long silence");
    }
}

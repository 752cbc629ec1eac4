//! What a caller types.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The lines of one caller, at random times about an interval.
pub(super) struct Chat {
    interval: Duration,
    random: StdRng,
    due: Option<Instant>,
    lines: u64,
}

impl Chat {
    /// None for a caller that says nothing. `seed` keeps callers out of step.
    pub(super) fn new(per_minute: f64, seed: u64) -> Option<Self> {
        let interval = Duration::try_from_secs_f64(60.0 / per_minute).ok()?.max(CHAT_INTERVAL_MIN);
        Some(Self { interval, random: StdRng::seed_from_u64(seed), due: None, lines: 0 })
    }

    /// The next line comes half an interval to one and a half from now.
    pub(super) fn plan(&mut self, now: Instant) {
        self.due = Some(now + self.interval.mul_f64(self.random.random_range(0.5..1.5)));
    }

    /// When the next line is due; never before [`Self::plan`].
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The line that is due, if one is.
    pub(super) fn next(&mut self, now: Instant) -> Option<String> {
        self.due.filter(|due| *due <= now)?;
        self.plan(now);
        self.lines += 1;
        Some(format!("Line {}: I think we should look at the second point again.", self.lines))
    }
}

/// A server takes 50 messages a second.
const CHAT_INTERVAL_MIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_about_as_often_as_the_scenario_says() {
        let start = Instant::now();
        let mut chat = Chat::new(30.0, 1).unwrap();
        assert_eq!(chat.next(start), None, "not before the caller is in");
        chat.plan(start);
        let mut now = start;
        for _ in 0..100 {
            now = chat.next_timeout().unwrap();
            assert!(chat.next(now).is_some());
        }
        let seconds = (now - start).as_secs_f64();
        assert!((170.0..230.0).contains(&seconds), "100 lines at 30 a minute took {seconds} s");
    }

    #[test]
    fn no_number_makes_a_caller_a_flood() {
        for silent in [0.0, -1.0, f64::NAN] {
            assert!(Chat::new(silent, 1).is_none(), "{silent}");
        }
        assert_eq!(Chat::new(f64::INFINITY, 1).unwrap().interval, CHAT_INTERVAL_MIN);
    }
}

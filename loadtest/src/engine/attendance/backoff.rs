//! How long to wait before the next try of a connection: a random time up to a bound that doubles with each try, so that
//! a thousand callers that lost the same server do not come back in the same moment.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// The waits of one caller.
#[derive(Debug)]
pub struct Backoff {
    wait_max: Duration,
    random: StdRng,
    tries: u32,
    opened: Option<Instant>,
}

impl Backoff {
    /// Waits of up to `wait_max`, drawn from `seed`.
    pub fn new(wait_max: Duration, seed: u64) -> Self {
        Self { wait_max, random: StdRng::seed_from_u64(seed), tries: 0, opened: None }
    }

    /// The connection stands.
    pub fn note_opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// The wait after the break that just happened.
    pub fn next_wait(&mut self, now: Instant) -> Duration {
        if self.opened.take().is_some_and(|opened| now.saturating_duration_since(opened) >= STABLE) {
            self.tries = 0;
        }
        let bound = RETRY_MIN.saturating_mul(1 << self.tries.min(DOUBLINGS_MAX)).min(self.wait_max);
        self.tries = self.tries.saturating_add(1);
        bound.mul_f64(self.random.random())
    }
}

/// Bound of the first wait.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// A connection that stood for this long was a good one: after it, waits are short again. One that breaks at once is not.
const STABLE: Duration = Duration::from_secs(10);
/// 250 ms x 2^20 is beyond any bound.
const DOUBLINGS_MAX: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_bound_and_shrink_after_a_good_connection() {
        let start = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(10), 1);
        let mut bound = RETRY_MIN;
        for _ in 0..40 {
            assert!(backoff.next_wait(start) <= bound);
            bound = (bound * 2).min(Duration::from_secs(10));
        }
        backoff.note_opened(start);
        let _ = backoff.next_wait(start + STABLE - Duration::from_millis(1));
        assert!(backoff.tries > 40, "a connection that breaks soon was none");
        backoff.note_opened(start);
        assert!(backoff.next_wait(start + STABLE) <= RETRY_MIN);
    }

    #[test]
    fn a_thousand_callers_do_not_come_back_in_one_moment() {
        let start = Instant::now();
        let waits: std::collections::BTreeSet<Duration> =
            (0..1000).map(|seed| Backoff::new(Duration::from_secs(10), seed).next_wait(start)).collect();
        assert!(waits.len() > 990, "{}", waits.len());
        let late = waits.iter().filter(|wait| **wait > RETRY_MIN / 2).count();
        assert!((400..600).contains(&late), "{late}");
    }
}

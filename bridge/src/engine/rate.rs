//! A bound on how much one endpoint may ask of us a second.

use std::time::{Duration, Instant};

/// A bucket that fills steadily and is emptied by use.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens that gains `per_second`.
    pub(crate) fn new(now: Instant, per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.into(), burst: burst.into(), tokens: burst.into(), filled_at: now }
    }

    /// Takes `tokens` if there are as many.
    pub(crate) fn take(&mut self, now: Instant, tokens: usize) -> bool {
        let elapsed = now.saturating_duration_since(self.filled_at);
        // Small steps add up only when they are not lost to rounding: the instant moves with what was added.
        if elapsed >= FILL_STEP {
            self.tokens = (self.tokens + elapsed.as_secs_f64() * self.per_second).min(self.burst);
            self.filled_at = now;
        }
        let wanted = tokens as f64;
        let is_enough = self.tokens >= wanted;
        if is_enough {
            self.tokens -= wanted;
        }
        is_enough
    }
}

/// Filling more often than this only costs time.
const FILL_STEP: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start, 10, 5);
        assert_eq!((0..100).filter(|_| bucket.take(start, 1)).count(), 5);
        let taken = (0..1_000).filter(|ms| bucket.take(start + Duration::from_millis(*ms), 1)).count();
        assert!((9..=10).contains(&taken), "{taken}");
        assert!(!bucket.take(start + Duration::from_secs(100), 6), "never more than the burst at once");
        assert!(bucket.take(start + Duration::from_secs(100), 5));
    }
}

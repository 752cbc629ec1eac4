//! Token buckets: how fast something may happen on average, and how much of it at once.

use std::time::{Duration, Instant};

/// Refills with time, empties with use.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    tokens: f64,
    filled: Instant,
}

/// How a bucket refills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens a second.
    pub per_s: f64,
    /// Tokens at most.
    pub burst: f64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn full(now: Instant, rate: Rate) -> Self {
        Self { tokens: rate.burst, filled: now }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let elapsed = now.saturating_duration_since(self.filled);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * rate.per_s).min(rate.burst);
        self.filled = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// Is it full by `now`, and so nothing worth remembering?
    pub fn is_full(&self, now: Instant, rate: Rate) -> bool {
        let missing = Duration::from_secs_f64(((rate.burst - self.tokens) / rate.per_s).max(0.0));
        now.saturating_duration_since(self.filled) >= missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_s: 10.0, burst: 50.0 };

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(start, RATE);
        assert_eq!((0..100).filter(|_| bucket.take(start, RATE)).count(), 50);
        let later = start + Duration::from_secs(1);
        assert!(!bucket.is_full(later, RATE));
        assert_eq!((0..100).filter(|_| bucket.take(later, RATE)).count(), 10);
        assert!(bucket.is_full(later + Duration::from_secs(5), RATE));
    }
}

//! What a bad link does to datagrams, drawn from a seed: loss in runs, a rate with a queue, delay, jitter, overtaking,
//! copies. One direction of one caller each.
//!
//! ```text
//!   datagram ─► lost? (Gilbert) ─► queue and rate ─► delay + jitter, in order ─► out, once or twice
//!                                                  └► overtakes: no delay at all
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::scenario::Link;

/// One direction of a link.
#[derive(Debug)]
pub struct Impairment {
    random: StdRng,
    loss: Gilbert,
    delay: Duration,
    jitter: Duration,
    rate: Option<Rate>,
    reorder: f64,
    duplicate: f64,
    /// What is on its way, by when it comes out and then by when it came in.
    held: BinaryHeap<Reverse<Held>>,
    /// Room of datagrams that have come out.
    spare: Vec<Vec<u8>>,
    taken: u64,
    /// When the last datagram that keeps its place comes out.
    last_out: Option<Instant>,
    counts: LinkCounts,
}

/// What became of the datagrams so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Came in.
    pub taken: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// Found the queue full.
    pub overflowed: u64,
    /// Did not wait for those before them.
    pub overtaking: u64,
    /// Came out twice.
    pub doubled: u64,
}

/// One datagram on its way; ordered by its first two fields, which no other has.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    out_at: Instant,
    number: u64,
    bytes: Vec<u8>,
}

/// Gilbert's model: in the bad state everything is lost, in the good one nothing.
#[derive(Debug)]
struct Gilbert {
    is_bad: bool,
    turns_bad: f64,
    turns_good: f64,
}

/// A rate with a queue in front of it.
#[derive(Debug)]
struct Rate {
    bits_per_s: f64,
    queue: Duration,
    free_at: Option<Instant>,
}

impl Impairment {
    /// A link that has carried nothing yet. Shares outside 0 to 1 and times below 0 count as the nearest bound.
    pub fn new(link: &Link, seed: u64) -> Self {
        let reorder = share(link.reorder);
        let delay = milliseconds(link.delay_ms);
        Self {
            random: StdRng::seed_from_u64(seed),
            loss: Gilbert::new(share(link.loss), link.loss_burst),
            // Only what waits can be overtaken.
            delay: if reorder > 0.0 { delay.max(OVERTAKEN_MIN) } else { delay },
            jitter: milliseconds(link.jitter_ms),
            rate: (link.rate_kbps > 0).then(|| Rate {
                bits_per_s: f64::from(link.rate_kbps) * 1_000.0,
                queue: milliseconds(link.queue_ms),
                free_at: None,
            }),
            reorder,
            duplicate: share(link.duplicate),
            held: BinaryHeap::new(),
            spare: Vec::new(),
            taken: 0,
            last_out: None,
            counts: LinkCounts::default(),
        }
    }

    /// Takes a datagram; [`Impairment::poll`] gives it back when it has come through, if it does.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.counts.taken += 1;
        if self.loss.is_lost(&mut self.random) {
            self.counts.lost += 1;
            return;
        }
        let sent_at = match &mut self.rate {
            Some(rate) => rate.pass(now, datagram.len()),
            None => Some(now),
        };
        let Some(sent_at) = sent_at.filter(|_| self.held.len() < HELD_MAX) else {
            self.counts.overflowed += 1;
            return;
        };
        let out_at = self.out_at(sent_at);
        self.hold(out_at, datagram);
        if self.happens(self.duplicate) {
            self.counts.doubled += 1;
            self.hold(out_at, datagram);
        }
    }

    /// A datagram that has come through by `now`, and when it did.
    pub fn poll(&mut self, now: Instant, datagram: &mut Vec<u8>) -> Option<Instant> {
        if self.next_timeout()? > now {
            return None;
        }
        let Reverse(held) = self.held.pop()?;
        let emptied = std::mem::replace(datagram, held.bytes);
        if self.spare.len() < SPARE_MAX {
            self.spare.push(emptied);
        }
        Some(held.out_at)
    }

    /// When [`Impairment::poll`] has the next one.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.held.peek().map(|Reverse(held)| held.out_at)
    }

    /// The longest that it delays a datagram, but for its rate.
    pub fn delay_max(&self) -> Duration {
        self.delay + self.jitter
    }

    /// What it has done.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// In order, unless it overtakes.
    fn out_at(&mut self, sent_at: Instant) -> Instant {
        if self.happens(self.reorder) {
            self.counts.overtaking += 1;
            return sent_at;
        }
        let jitter = self.jitter.mul_f64(self.random.random::<f64>());
        let out_at = sent_at + self.delay + jitter;
        let out_at = self.last_out.map_or(out_at, |last| last.max(out_at));
        self.last_out = Some(out_at);
        out_at
    }

    fn hold(&mut self, out_at: Instant, datagram: &[u8]) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        self.taken += 1;
        self.held.push(Reverse(Held { out_at, number: self.taken, bytes }));
    }

    /// Draws nothing for what never or always happens, so that one setting does not change what others draw.
    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && (share >= 1.0 || self.random.random::<f64>() < share)
    }
}

impl Gilbert {
    /// Loses `share` of all datagrams, in runs of `burst` on average.
    fn new(share: f64, burst: f64) -> Self {
        if share >= 1.0 {
            return Self { is_bad: true, turns_bad: 1.0, turns_good: 0.0 };
        }
        // Losses that know nothing of each other come in runs of 1 / (1 - share); shorter ones there are none.
        let burst = burst.max(1.0 / (1.0 - share));
        // The share of time in the bad state is bad / (bad + good).
        let turns_good = 1.0 / burst;
        Self { is_bad: false, turns_bad: share / (1.0 - share) * turns_good, turns_good }
    }

    fn is_lost(&mut self, random: &mut StdRng) -> bool {
        let turns = if self.is_bad { self.turns_good } else { self.turns_bad };
        if turns > 0.0 && random.random::<f64>() < turns {
            self.is_bad = !self.is_bad;
        }
        self.is_bad
    }
}

impl Rate {
    /// When the last bit of so many bytes has been sent; none when the queue has no room for them.
    fn pass(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let begins = self.free_at.map_or(now, |free_at| free_at.max(now));
        if begins.duration_since(now) > self.queue {
            return None;
        }
        let ends = begins + Duration::from_secs_f64(bytes as f64 * 8.0 / self.bits_per_s);
        self.free_at = Some(ends);
        Some(ends)
    }
}

fn share(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

/// A minute at most: nobody would call that a link.
fn milliseconds(value: f64) -> Duration {
    if value.is_nan() {
        Duration::ZERO
    } else {
        Duration::from_secs_f64(value.clamp(0.0, 60_000.0) / 1_000.0)
    }
}

/// Three seconds of a 720p picture. A link that holds more is a leak.
const HELD_MAX: usize = 4_096;

/// A frame's datagrams; more room than that is not worth keeping.
const SPARE_MAX: usize = 16;

/// Two or three packets of a 720p picture lie in it.
const OVERTAKEN_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;

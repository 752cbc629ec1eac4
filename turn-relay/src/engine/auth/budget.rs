//! How often strangers are answered, by where they come from, in a memory that no stranger can make grow.
//!
//! The source's prefix (IPv4: the address, IPv6: /64) is hashed with a secret seed into a fixed table. Two prefixes in one
//! cell share what it allows; which ones they are nobody can arrange.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::time::Instant;

use foldhash::quality::FixedState;

/// A flood from 100,000 forged addresses a second leaves most cells room for an honest client.
const CELLS: usize = 1 << 15;

/// A tenth of a millisecond; a cell's 32 bits of them are five days.
const STEPS_PER_SECOND: u32 = 10_000;

/// Many clients behind one address begin at once when their meeting does.
const BURST_S: u32 = 5;

/// An allowance for each source prefix.
#[derive(Debug)]
pub(crate) struct Budget {
    /// When what was given out will have been earned, in steps since the start.
    cells: Box<[u32]>,
    hasher: FixedState,
    start: Instant,
    /// Between two replies; 0: as many as come.
    interval_steps: u32,
}

impl Budget {
    /// `replies_per_s` to each prefix, and five seconds' worth at once. 0 is no limit, and so is more than 10,000.
    pub(crate) fn new(now: Instant, replies_per_s: u32, seed: u64) -> Self {
        let interval_steps = STEPS_PER_SECOND.checked_div(replies_per_s).unwrap_or(0);
        let cells = if interval_steps == 0 { 0 } else { CELLS };
        let hasher = FixedState::with_seed(seed);
        Self { cells: vec![0; cells].into_boxed_slice(), hasher, start: now, interval_steps }
    }

    /// Whether one more reply may go to `source`.
    pub(crate) fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.interval_steps == 0 {
            return true;
        }
        let now = self.steps(now);
        let burst_steps = BURST_S * STEPS_PER_SECOND;
        let cell = &mut self.cells[cell_of(&self.hasher, source)];
        // Time wraps. A cell further ahead than anything ever gets is one from long ago.
        let ahead = Some(cell.wrapping_sub(now)).filter(|ahead| *ahead <= burst_steps).unwrap_or(0);
        let is_within = ahead + self.interval_steps <= burst_steps;
        if is_within {
            *cell = now.wrapping_add(ahead + self.interval_steps);
        }
        is_within
    }

    fn steps(&self, now: Instant) -> u32 {
        let steps_per_ms = u128::from(STEPS_PER_SECOND / 1_000);
        let micros = now.saturating_duration_since(self.start).as_micros();
        // The lower half is what wraps.
        (micros * steps_per_ms / 1_000) as u32
    }
}

/// What one customer has: an address, or the network of an IPv6 site.
pub(crate) fn prefix_of(source: IpAddr) -> u64 {
    match source {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        // No IPv6 prefix in use begins with 32 zeros, as the IPv4 ones here do.
        IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
    }
}

fn cell_of(hasher: &FixedState, source: IpAddr) -> usize {
    let mut hash = hasher.build_hasher();
    hash.write_u64(prefix_of(source));
    (hash.finish() % CELLS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(budget: &mut Budget, now: Instant, source: &str, tries: usize) -> usize {
        let source = source.parse().unwrap();
        (0..tries).filter(|_| budget.take(now, source)).count()
    }

    #[test]
    fn a_prefix_gets_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut budget = Budget::new(start, 10, 7);
        assert_eq!(taken(&mut budget, start, "192.0.2.1", 1_000), 50);
        assert_eq!(taken(&mut budget, start, "192.0.2.2", 1), 1, "another address is not touched");
        let second = |budget: &mut Budget, number: u64| {
            (0..1_000)
                .map(|ms| start + Duration::from_millis(number * 1_000 + ms))
                .map(|now| taken(budget, now, "192.0.2.1", 1))
                .sum::<usize>()
        };
        for number in 0..20 {
            assert!((9..=11).contains(&second(&mut budget, number)), "second {number}");
        }
    }

    #[test]
    fn an_ipv6_site_is_one_prefix() {
        let start = Instant::now();
        let mut budget = Budget::new(start, 10, 7);
        let site = (0..1_000)
            .map(|host| taken(&mut budget, start, &format!("2001:db8::{host:x}"), 1))
            .sum::<usize>();
        assert_eq!(site, 50);
        assert_eq!(taken(&mut budget, start, "2001:db8:0:1::1", 1), 1);
    }

    #[test]
    fn a_flood_from_everywhere_leaves_a_client_an_answer() {
        let start = Instant::now();
        let mut budget = Budget::new(start, 10, 7);
        for number in 0..1_000_000u32 {
            let now = start + Duration::from_micros(10 * u64::from(number));
            budget.take(now, IpAddr::V4(number.wrapping_mul(2_654_435_761).into()));
        }
        assert_eq!(taken(&mut budget, start + Duration::from_secs(10), "192.0.2.1", 1), 1);
        assert_eq!(budget.cells.len(), CELLS);
    }

    #[test]
    fn time_that_wraps_locks_nobody_out() {
        let start = Instant::now();
        let mut budget = Budget::new(start, 10, 7);
        for days in [0, 2, 4, 5, 30, 400] {
            let now = start + Duration::from_secs(days * 86_400);
            assert_eq!(taken(&mut budget, now, "192.0.2.1", 100), 50, "day {days}");
        }
    }

    #[test]
    fn no_limit_is_no_limit_and_no_memory() {
        let mut budget = Budget::new(Instant::now(), 0, 7);
        assert_eq!(taken(&mut budget, Instant::now(), "192.0.2.1", 100_000), 100_000);
        assert!(budget.cells.is_empty());
    }
}

//! Who joins when, and how long those stay who come and go: drawn from the scenario's seed, the same on every machine.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::scenario::{Churn, Scenario};

/// One caller's place in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// When it begins to join, after the run's start.
    pub(crate) at: Duration,
    /// Unique in the run, over all machines; from 0.
    pub(crate) number: u32,
    /// Index of its group in the scenario.
    pub(crate) group: usize,
    /// Index of its conference.
    pub(crate) conference: u32,
}

/// The part of a run that this process carries. Conferences are never split: delays are taken between callers of one
/// process only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Which of the processes this is, from 0.
    pub(crate) index: u32,
    /// How many there are.
    pub(crate) of: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

impl Share {
    /// Whether the conference with this index is this process'.
    pub(crate) fn has(self, conference: u32) -> bool {
        conference % self.of.max(1) == self.index
    }
}

/// All arrivals of this share, in the order of their instants.
pub(crate) fn schedule(scenario: &Scenario, share: Share) -> Vec<Arrival> {
    let mut waiting = everybody(scenario);
    // People do not come conference by conference. Everybody is shuffled before the share is taken, so that every machine
    // agrees on numbers and instants.
    waiting.shuffle(&mut StdRng::seed_from_u64(scenario.seed));
    let is_own_queue = |arrival: &Arrival| scenario.groups[arrival.group].joins_per_s.is_some();
    let (own, common): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_own_queue);
    let mut arrivals = one_queue(common, scenario.joins_per_s);
    for (index, group) in scenario.groups.iter().enumerate() {
        let Some(joins_per_s) = group.joins_per_s else { continue };
        let queue = own.iter().copied().filter(|arrival| arrival.group == index).collect();
        arrivals.extend(one_queue(queue, joins_per_s));
    }
    arrivals.retain(|arrival| share.has(arrival.conference));
    arrivals.sort_by_key(|arrival| (arrival.at, arrival.number));
    arrivals
}

/// Everybody at the earliest instant that their group allows.
fn everybody(scenario: &Scenario) -> Vec<Arrival> {
    let mut all = Vec::new();
    for conference in 0..scenario.conferences {
        for (group, plan) in scenario.groups.iter().enumerate() {
            for _ in 0..plan.per_conference.in_conference(conference) {
                let at = Duration::from_secs_f64(plan.join_after_s);
                all.push(Arrival { at, number: all.len() as u32, group, conference });
            }
        }
    }
    all
}

/// One after the other at this rate, those first who may come first.
fn one_queue(mut queue: Vec<Arrival>, joins_per_s: f64) -> Vec<Arrival> {
    queue.sort_by_key(|arrival| arrival.at);
    let gap = if joins_per_s > 0.0 { Duration::from_secs_f64(joins_per_s.recip()) } else { Duration::ZERO };
    let mut free_at = Duration::ZERO;
    for arrival in &mut queue {
        arrival.at = arrival.at.max(free_at);
        free_at = arrival.at + gap;
    }
    queue
}

/// The seed of one caller: neighbours in number are strangers in what is drawn (splitmix64's finisher).
pub(crate) fn caller_seed(seed: u64, number: u32) -> u64 {
    let mut mixed = seed ^ (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How long one caller, and whoever follows it, stays each time: leaving is equally likely at every instant.
pub(crate) struct Stays {
    random: StdRng,
    mean_s: f64,
}

impl Stays {
    /// None where nobody leaves.
    pub(crate) fn new(churn: &Churn, seed: u64) -> Option<Self> {
        let leaving_per_s = churn.per_minute_percent / 100.0 / 60.0;
        let random = StdRng::seed_from_u64(seed ^ CHURN_SEED);
        (leaving_per_s > 0.0).then(|| Self { random, mean_s: leaving_per_s.recip() })
    }

    /// The next stay.
    pub(crate) fn draw(&mut self) -> Duration {
        let left: f64 = self.random.random();
        Duration::from_secs_f64((-(1.0 - left).ln() * self.mean_s).min(STAY_S_MAX))
    }
}

/// Media and churn of one caller are drawn apart.
const CHURN_SEED: u64 = 0x6368_7572_6e21;
/// Longer than any run.
const STAY_S_MAX: f64 = 1e7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Group, PerConference};

    fn scenario(conferences: u32, groups: Vec<Group>) -> Scenario {
        Scenario { conferences, groups, joins_per_s: 10.0, ..Scenario::default() }
    }

    fn group(name: &str, callers: u32) -> Group {
        Group { name: name.to_owned(), per_conference: PerConference::Same(callers), ..Group::default() }
    }

    #[test]
    fn callers_come_one_after_the_other_over_all_conferences() {
        let arrivals = schedule(&scenario(3, vec![group("a", 4)]), Share::default());
        let at: Vec<_> = arrivals.iter().map(|arrival| arrival.at.as_millis()).collect();
        assert_eq!(at, (0..12).map(|index| index * 100).collect::<Vec<_>>());
    }

    #[test]
    fn the_same_seed_gives_the_same_order_and_another_gives_another() {
        let one = scenario(3, vec![group("a", 4)]);
        let other = Scenario { seed: 2, ..one.clone() };
        assert_eq!(schedule(&one, Share::default()), schedule(&one, Share::default()));
        assert_ne!(schedule(&one, Share::default()), schedule(&other, Share::default()));
    }

    #[test]
    fn a_storm_comes_at_once_beside_a_queue_that_goes_on() {
        let lecturer = group("lecturer", 2);
        let audience = Group { join_after_s: 3.0, joins_per_s: Some(0.0), ..group("audience", 50) };
        let arrivals = schedule(&scenario(1, vec![lecturer, audience]), Share::default());
        let storm: Vec<_> = arrivals.iter().filter(|arrival| arrival.group == 1).collect();
        assert!(storm.iter().all(|arrival| arrival.at == Duration::from_secs(3)));
        assert_eq!((storm.len(), arrivals[1].at), (50, Duration::from_millis(100)));
    }

    #[test]
    fn nobody_comes_before_the_group_may_come() {
        let late = Group { join_after_s: 2.0, ..group("late", 5) };
        let arrivals = schedule(&scenario(1, vec![late, group("early", 5)]), Share::default());
        let early: Vec<_> = arrivals.iter().filter(|arrival| arrival.group == 1).collect();
        assert!(early.iter().all(|arrival| arrival.at < Duration::from_secs(1)));
        assert!(
            arrivals.iter().filter(|arrival| arrival.group == 0).all(|arrival| arrival.at.as_secs() >= 2)
        );
    }

    #[test]
    fn shares_are_disjoint_whole_conferences_and_together_everything() {
        let scenario = scenario(7, vec![group("a", 3), group("b", 1)]);
        let shares: Vec<_> = (0..3).map(|index| schedule(&scenario, Share { index, of: 3 })).collect();
        let mut together = shares.concat();
        together.sort_by_key(|arrival| (arrival.at, arrival.number));
        assert_eq!(together, schedule(&scenario, Share::default()));
        for (index, share) in shares.iter().enumerate() {
            assert!(share.iter().all(|arrival| arrival.conference as usize % 3 == index));
        }
    }

    #[test]
    fn numbers_are_unique_and_seeds_of_neighbours_differ_in_half_their_bits() {
        let arrivals = schedule(&scenario(5, vec![group("a", 5)]), Share::default());
        let mut numbers: Vec<_> = arrivals.iter().map(|arrival| arrival.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..25).collect::<Vec<_>>());
        let apart = (caller_seed(1, 1) ^ caller_seed(1, 2)).count_ones();
        assert!((16..48).contains(&apart), "{apart}");
    }

    #[test]
    fn stays_last_as_long_as_the_scenario_says_on_average() {
        let churn = Churn { per_minute_percent: 50.0, pause_s: 1.0 };
        let mut stays = Stays::new(&churn, 3).unwrap();
        let mean = (0..10_000).map(|_| stays.draw().as_secs_f64()).sum::<f64>() / 10_000.0;
        assert!((114.0..126.0).contains(&mean), "{mean} s, not 120");
        assert!(Stays::new(&Churn::default(), 3).is_none());
    }
}

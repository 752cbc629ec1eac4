//! Sums up samples: by group, by second, and over the measured part.

use crate::engine::counts::Counts;
use crate::engine::results::Results;
use crate::outcome::{Delays, GroupOutcome, Second};
use crate::scenario::Scenario;

/// Everything that callers have measured so far.
pub(crate) struct Tally {
    groups: Vec<GroupOutcome>,
    /// Of the whole run, not of its measured part only.
    all: Counts,
    series: Vec<Second>,
}

/// One sample: what was measured since the one before.
#[derive(Default)]
pub(crate) struct Sample {
    /// By index of the group; a group may come more than once.
    pub(crate) groups: Vec<(usize, Results)>,
    /// What is not counted by callers is filled in.
    pub(crate) second: Second,
    /// Belongs to the measured part.
    pub(crate) is_measured: bool,
}

impl Tally {
    /// Nothing measured yet. `callers` are those of this process, by group.
    pub(crate) fn new(scenario: &Scenario, callers: &[u32]) -> Self {
        let named = scenario.groups.iter().zip(callers);
        let groups = named.map(|(group, callers)| GroupOutcome {
            name: group.name.clone(),
            callers: *callers,
            ..GroupOutcome::default()
        });
        Self { groups: groups.collect(), all: Counts::default(), series: Vec::new() }
    }

    /// Adds a sample and says what its second was.
    pub(crate) fn take(&mut self, sample: &Sample) -> &Second {
        let mut counts = Counts::default();
        let mut delays = Delays::default();
        for (group, results) in &sample.groups {
            counts += results.counts;
            delays.add(&results.delays);
            let Some(group) = self.groups.get_mut(*group).filter(|_| sample.is_measured) else { continue };
            group.counts += results.counts;
            group.delays.add(&results.delays);
            group.video_slot_kbps.add(&results.video_slot_kbps);
        }
        self.all += counts;
        let packets = delays.packets();
        let second = Second {
            packets_sent: counts.packets_sent,
            packets_received: counts.packets_received + counts.packets_not_opened,
            bytes_received: counts.bytes_received,
            packets_lost: counts.packets_lost,
            freezes: counts.freezes,
            delay_p50_us: packets.quantile(0.5),
            delay_p95_us: packets.quantile(0.95),
            delay_p99_us: packets.quantile(0.99),
            ..sample.second.clone()
        };
        self.series.push(second);
        &self.series[self.series.len() - 1]
    }

    /// RTP datagrams that reached callers in the whole run, however they were taken.
    pub(crate) fn datagrams_received(&self) -> u64 {
        self.all.packets_received + self.all.packets_not_opened + self.all.packets_strange
    }

    /// RTP packets that callers sent in the whole run.
    pub(crate) fn packets_sent(&self) -> u64 {
        self.all.packets_sent
    }

    /// RTP packets received in the last second.
    pub(crate) fn last_received(&self) -> Option<u64> {
        self.series.last().map(|second| second.packets_received)
    }

    /// The measured part's groups, and one second after the other.
    pub(crate) fn into_parts(self) -> (Vec<GroupOutcome>, Vec<Second>) {
        (self.groups, self.series)
    }
}

/// Sums over all groups.
pub(crate) fn over_groups(groups: &[GroupOutcome]) -> (Counts, Delays) {
    let mut sums = (Counts::default(), Delays::default());
    for group in groups {
        sums.0 += group.counts;
        sums.1.add(&group.delays);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Group;

    fn results(received: u64, delay_us: u64) -> Results {
        let mut results = Results::default();
        results.counts.packets_received = received;
        results.delays.video.take(delay_us);
        results
    }

    fn two_groups() -> Tally {
        let group = |name: &str| Group { name: name.to_owned(), ..Group::default() };
        Tally::new(&Scenario { groups: vec![group("a"), group("b")], ..Scenario::default() }, &[1, 2])
    }

    #[test]
    fn a_second_holds_all_groups_and_the_measured_part_each() {
        let mut tally = two_groups();
        let groups = vec![(0, results(3, 100)), (1, results(4, 900)), (1, results(5, 900))];
        let second = tally.take(&Sample { groups, is_measured: true, ..Sample::default() });
        assert_eq!((second.packets_received, second.delay_p50_us), (12, 900));
        let (groups, series) = tally.into_parts();
        assert_eq!((groups[0].counts.packets_received, groups[1].counts.packets_received), (3, 9));
        assert_eq!((groups[1].callers, series.len()), (2, 1));
        let (counts, delays) = over_groups(&groups);
        assert_eq!((counts.packets_received, delays.video.count()), (12, 3));
    }

    #[test]
    fn what_comes_before_the_measured_part_is_in_the_series_only() {
        let mut tally = two_groups();
        let _ = tally.take(&Sample { groups: vec![(0, results(3, 100))], ..Sample::default() });
        assert_eq!((tally.datagrams_received(), tally.last_received()), (3, Some(3)));
        let (groups, series) = tally.into_parts();
        assert_eq!((groups[0].counts, series[0].packets_received), (Counts::default(), 3));
    }

    #[test]
    fn packets_that_were_not_opened_have_come_all_the_same() {
        let mut tally = two_groups();
        let mut some = results(3, 100);
        some.counts.packets_not_opened = 7;
        let second = tally.take(&Sample { groups: vec![(0, some)], ..Sample::default() });
        assert_eq!(second.packets_received, 10);
        assert_eq!(tally.datagrams_received(), 10);
    }
}

//! The scenario's thresholds, judged. What was not measured does not hold.

use crate::engine::counts::Counts;
use crate::outcome::{Delays, Joins, ServerOutcome, Verdict};
use crate::scenario::Thresholds;

/// What thresholds are held against.
pub(crate) struct Found<'a> {
    pub(crate) joins: &'a Joins,
    pub(crate) counts: &'a Counts,
    pub(crate) delays: &'a Delays,
    pub(crate) servers: &'a [ServerOutcome],
}

/// One verdict for each threshold that the scenario asks for.
pub(crate) fn judge(thresholds: &Thresholds, found: &Found<'_>) -> Vec<Verdict> {
    let rows = [
        ("failed_joins_max", thresholds.failed_joins_max, found.failed_joins()),
        ("join_p95_ms_max", thresholds.join_p95_ms_max, found.join_p95_ms()),
        ("delay_p99_ms_max", thresholds.delay_p99_ms_max, found.delay_p99_ms()),
        ("loss_max", thresholds.loss_max, found.loss()),
        ("frozen_max", thresholds.frozen_max, found.frozen()),
        ("busy_max", thresholds.busy_max, found.busy()),
    ];
    rows.into_iter()
        .filter_map(|(key, limit, found)| {
            let limit = limit?;
            let holds = found.is_some_and(|found| found <= limit);
            Some(Verdict { key: key.to_owned(), limit, found, holds })
        })
        .collect()
}

impl Found<'_> {
    /// Who neither got in nor was refused, because the run ended, counts as neither; if that is everybody, nothing is known.
    fn failed_joins(&self) -> Option<f64> {
        let failed: u64 = self.joins.failed.values().sum();
        (self.joins.succeeded + failed > 0).then(|| failed as f64 / self.joins.begun.max(1) as f64)
    }

    fn join_p95_ms(&self) -> Option<f64> {
        (self.joins.total.count() > 0).then(|| self.joins.total.quantile(0.95) as f64 / 1_000.0)
    }

    fn delay_p99_ms(&self) -> Option<f64> {
        let packets = self.delays.packets();
        (packets.count() > 0).then(|| packets.quantile(0.99) as f64 / 1_000.0)
    }

    fn loss(&self) -> Option<f64> {
        (self.counts.packets_received + self.counts.packets_lost > 0).then(|| self.counts.loss())
    }

    fn frozen(&self) -> Option<f64> {
        (self.counts.watched_us > 0).then(|| self.counts.frozen())
    }

    fn busy(&self) -> Option<f64> {
        // Signaling answers and has no workers, which is no bridge that was idle.
        let told = self.servers.iter().map(|server| server.busy_max).filter(|busy| *busy > 0.0);
        told.max_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(limit: f64) -> Thresholds {
        Thresholds {
            failed_joins_max: Some(limit),
            join_p95_ms_max: Some(limit),
            delay_p99_ms_max: Some(limit),
            loss_max: Some(limit),
            frozen_max: Some(limit),
            busy_max: Some(limit),
        }
    }

    fn holds(thresholds: &Thresholds, found: &Found<'_>) -> Vec<(String, bool)> {
        judge(thresholds, found).into_iter().map(|verdict| (verdict.key, verdict.holds)).collect()
    }

    #[test]
    fn what_was_not_measured_holds_no_threshold() {
        let (joins, counts, delays) = Default::default();
        let signaling = [ServerOutcome { answers: 9, ..ServerOutcome::default() }];
        let nothing = Found { joins: &joins, counts: &counts, delays: &delays, servers: &signaling };
        let verdicts = judge(&all(1.0), &nothing);
        assert_eq!(verdicts.len(), 6);
        assert!(verdicts.iter().all(|verdict| !verdict.holds && verdict.found.is_none()), "{verdicts:?}");
    }

    #[test]
    fn what_is_not_asked_for_is_not_judged() {
        let (joins, counts, delays) = Default::default();
        let nothing = Found { joins: &joins, counts: &counts, delays: &delays, servers: &[] };
        assert!(judge(&Thresholds::default(), &nothing).is_empty());
    }

    #[test]
    fn each_threshold_is_held_against_its_own_number() {
        let mut joins = Joins { begun: 10, succeeded: 9, ..Joins::default() };
        joins.failed.insert("refused".to_owned(), 1);
        joins.total.take(500_000);
        let counts = Counts {
            packets_received: 98,
            packets_lost: 2,
            watched_us: 100,
            frozen_us: 30,
            ..Counts::default()
        };
        let mut delays = Delays::default();
        delays.video.take(40_000);
        let server = |busy_max| ServerOutcome { answers: 1, busy_max, ..ServerOutcome::default() };
        let servers = [server(0.4), server(0.6), ServerOutcome::default()];
        let found = Found { joins: &joins, counts: &counts, delays: &delays, servers: &servers };
        let limits = Thresholds {
            failed_joins_max: Some(0.1),
            join_p95_ms_max: Some(499.0),
            delay_p99_ms_max: Some(41.0),
            loss_max: Some(0.02),
            frozen_max: Some(0.29),
            busy_max: Some(0.5),
        };
        let expected = [
            ("failed_joins_max", true),
            ("join_p95_ms_max", false),
            ("delay_p99_ms_max", true),
            ("loss_max", true),
            ("frozen_max", false),
            ("busy_max", false),
        ];
        assert_eq!(holds(&limits, &found), expected.map(|(key, holds)| (key.to_owned(), holds)));
    }
}

//! Levels of load, each run as often as it takes to judge it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::slo::{Criterion, Readings, Slo, readings};
use super::{PlanOptions, Runner};
use crate::outcome::{End, Outcome};
use crate::report::figures::{bursts, figures, forwarded, measured_s, servers};
use crate::scenario::Scenario;

/// What one run at one level found; all that a plan keeps of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFound {
    /// What was run.
    pub kind: RunKind,
    /// The level: conferences, or callers of the growing group in each.
    pub level: u32,
    /// Callers of the whole run.
    pub callers: u64,
    /// Of them, those behind a relay.
    pub relayed: u64,
    /// The seed of this run.
    pub seed: u64,
    /// For the SLO.
    pub readings: Readings,
    /// Why loadtest itself was the limit; empty: it was not.
    pub tool_limits: Vec<String>,
    /// Why the run failed.
    pub failed: Option<String>,
    /// Length of the measured part, seconds.
    pub seconds: f64,
    /// Servers that forwarded media.
    pub bridges: u64,
    /// Processor time of those in the measured part, seconds.
    pub processor_s: Option<f64>,
    /// RTP packets they forwarded in it, as callers counted them, missing ones included.
    pub packets: f64,
    /// Bytes of those.
    pub bytes: f64,
    /// Bursts in which they came: pictures, and voice packets, each of which is one.
    pub bursts: f64,
    /// Callers that joined in it.
    pub joins: u64,
    /// Received by callers, Mbit/s.
    pub mbps: f64,
    /// Received by callers, packets a second.
    pub packets_per_s: f64,
    /// Memory of all servers before the first join, MiB.
    pub memory_before_mib: f64,
    /// Its largest value.
    pub memory_max_mib: f64,
    /// For which reason that means overload servers dropped most, and how many.
    pub dropped: Option<(String, u64)>,
    /// Processors that loadtest used.
    pub tool_processors: f64,
    /// Processors that the machine of loadtest has.
    pub processors: u64,
}

/// What a run was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// To judge a level.
    Level,
    /// For the cost model: the same callers without cameras and screens, so that packets and bytes come apart.
    Voices,
    /// For the cost model: the same callers with pictures of one packet each, so that packets and bursts come apart.
    LonePictures,
    /// For the cost model: callers come and go, so that the cost of a join shows.
    Churn,
}

/// One level, by the median of its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelFound {
    /// Conferences, or callers of the growing group in each.
    pub level: u32,
    /// Callers in all.
    pub callers: u64,
    /// Runs made.
    pub runs: usize,
    /// Median of each criterion over them; none where most runs did not measure it.
    pub median: Readings,
    /// What is not kept.
    pub broken: Vec<Criterion>,
    /// Whether loadtest was the limit in most of the runs.
    pub is_tool_limited: bool,
}

impl LevelFound {
    /// Everything is kept.
    pub fn holds(&self) -> bool {
        self.broken.is_empty()
    }
}

/// Why a search ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// By ctrl-c.
    Interrupted,
    /// The servers no longer carry even what they had carried.
    Failed {
        /// The largest level that had held; 0: none.
        holds: u32,
        /// One line.
        why: String,
    },
}

/// Runs levels and remembers what they found.
pub(super) struct Levels<'a> {
    scenario: &'a Scenario,
    slo: &'a Slo,
    options: &'a PlanOptions,
    runner: &'a mut dyn Runner,
    runs: Vec<RunFound>,
}

impl<'a> Levels<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        slo: &'a Slo,
        options: &'a PlanOptions,
        runner: &'a mut dyn Runner,
    ) -> Self {
        Self { scenario, slo, options, runner, runs: Vec::new() }
    }

    /// Whether a level holds, by one run when it does, by the median when that one did not: a level that is far below the
    /// knee costs one run, and one unlucky run does not end the staircase.
    pub(super) fn holds_once(&mut self, level: u32) -> Result<bool, Stop> {
        if self.runs_of(level).next().is_none() {
            self.run_once(level)?;
        }
        if self.runs_of(level).count() == 1 && self.found(level).holds() {
            return Ok(true);
        }
        self.holds(level)
    }

    /// Whether a level holds, by the median of three runs. The third is left out where it cannot change the median's side.
    pub(super) fn holds(&mut self, level: u32) -> Result<bool, Stop> {
        while !self.is_decided(level) {
            self.run_once(level)?;
        }
        Ok(self.found(level).holds())
    }

    /// All three runs, for a level whose figures are shown.
    pub(super) fn complete(&mut self, level: u32) -> Result<(), Stop> {
        while self.runs_of(level).count() < RUNS {
            self.run_once(level)?;
        }
        Ok(())
    }

    fn is_decided(&self, level: u32) -> bool {
        let broken: Vec<Vec<Criterion>> = self.runs_of(level).map(|run| self.broken(run)).collect();
        let breaks = |criterion| broken.iter().filter(|broken| broken.contains(&criterion)).count();
        let is_broken = self.slo.limits().any(|(criterion, _)| breaks(criterion) > RUNS / 2);
        let is_kept = self.slo.limits().all(|(criterion, _)| broken.len() - breaks(criterion) > RUNS / 2);
        broken.len() >= RUNS || is_broken || is_kept
    }

    /// Runs a level once more. A run that fails altogether is either too much for the servers or the end of them: the
    /// largest level that held tells which.
    fn run_once(&mut self, level: u32) -> Result<(), Stop> {
        let scenario = self.options.scale.at(self.scenario, level);
        let Some(why) = self.run(RunKind::Level, level, scenario)? else { return Ok(()) };
        let Some(below) = self.largest_kept_below(level) else {
            return Err(Stop::Failed { holds: 0, why });
        };
        let scenario = self.options.scale.at(self.scenario, below);
        match self.run(RunKind::Level, below, scenario)? {
            Some(why) => Err(Stop::Failed { holds: below, why }),
            None => Ok(()),
        }
    }

    /// Runs a scenario for the cost model.
    pub(super) fn run_for_costs(
        &mut self,
        kind: RunKind,
        level: u32,
        scenario: Scenario,
    ) -> Result<(), Stop> {
        self.run(kind, level, scenario).map(|_| ())
    }

    /// Why it failed, if it did.
    fn run(&mut self, kind: RunKind, level: u32, mut scenario: Scenario) -> Result<Option<String>, Stop> {
        if !self.runs.is_empty() {
            self.runner.settle(self.options.settle);
        }
        // Another seed each time: three runs of one seed would be one run with the servers' noise only.
        scenario.seed = scenario.seed.wrapping_add(self.runs.len() as u64);
        let outcome = self.runner.run(&scenario);
        if matches!(outcome.end, End::Interrupted { .. }) {
            return Err(Stop::Interrupted);
        }
        let found = RunFound::of(kind, level, &scenario, &outcome);
        let failed = found.failed.clone();
        self.runs.push(found);
        Ok(failed)
    }

    /// What is known of a level that was run.
    pub(super) fn found(&self, level: u32) -> LevelFound {
        let runs: Vec<&RunFound> = self.runs_of(level).collect();
        let median = medians(&runs);
        let limited = runs.iter().filter(|run| !run.tool_limits.is_empty()).count();
        LevelFound {
            level,
            callers: runs.first().map_or(0, |run| run.callers),
            runs: runs.len(),
            broken: self.slo.broken(&median),
            median,
            is_tool_limited: limited * 2 > runs.len(),
        }
    }

    /// All levels that were run, from the smallest.
    pub(super) fn all(&self) -> Vec<LevelFound> {
        let levels: BTreeMap<u32, ()> =
            self.runs.iter().filter(|run| run.kind == RunKind::Level).map(|run| (run.level, ())).collect();
        levels.into_keys().map(|level| self.found(level)).collect()
    }

    /// The largest level below this one that holds by what is known.
    pub(super) fn largest_kept_below(&self, level: u32) -> Option<u32> {
        self.all().iter().rev().find(|found| found.level < level && found.holds()).map(|found| found.level)
    }

    /// Why loadtest was the limit at a level, each reason once.
    pub(super) fn tool_limits(&self, level: u32) -> Vec<String> {
        let mut limits: Vec<String> = self.runs_of(level).flat_map(|run| run.tool_limits.clone()).collect();
        limits.sort();
        limits.dedup();
        limits
    }

    pub(super) fn into_runs(self) -> Vec<RunFound> {
        self.runs
    }

    pub(super) fn scenario_at(&self, level: u32) -> Scenario {
        self.options.scale.at(self.scenario, level)
    }

    fn runs_of(&self, level: u32) -> impl Iterator<Item = &RunFound> {
        self.runs.iter().filter(move |run| run.kind == RunKind::Level && run.level == level)
    }

    fn broken(&self, run: &RunFound) -> Vec<Criterion> {
        self.slo.broken(&run.readings)
    }
}

impl RunFound {
    fn of(kind: RunKind, level: u32, scenario: &Scenario, outcome: &Outcome) -> Self {
        let servers = servers(outcome);
        let found = figures(outcome);
        let (packets, bytes) = forwarded(outcome);
        let failed = match &outcome.end {
            End::Failed { why, .. } => Some(why.clone()),
            _ => None,
        };
        let is_relayed = |group: &&crate::scenario::Group| group.path != crate::scenario::MediaPath::Direct;
        let relayed = scenario
            .groups
            .iter()
            .filter(is_relayed)
            .map(|group| u64::from(group.callers(scenario.conferences)));
        let callers = u64::from(scenario.callers());
        let drops = outcome.servers.iter().flat_map(|server| &server.dropped);
        let drops = drops.filter(|(reason, _)| OVERLOAD.contains(&reason.as_str()));
        Self {
            kind,
            level,
            callers,
            relayed: relayed.sum(),
            seed: scenario.seed,
            readings: if failed.is_some() { Readings::new() } else { readings(outcome) },
            tool_limits: outcome.tool.limits.clone(),
            failed,
            seconds: measured_s(outcome),
            bridges: servers.bridges,
            processor_s: servers.processor_s,
            packets,
            bytes,
            bursts: bursts(outcome),
            // Only churn lets anybody join while it is measured; who began beside the first ones came by it.
            joins: scenario.churn.as_ref().map_or(0, |_| outcome.joins.begun.saturating_sub(callers)),
            mbps: found.received_mbps,
            packets_per_s: found.packets_per_s,
            memory_before_mib: outcome.servers.iter().map(|server| server.memory_mib_before).sum(),
            memory_max_mib: servers.memory_mib,
            dropped: drops.max_by_key(|(_, count)| **count).map(|(reason, count)| (reason.clone(), *count)),
            tool_processors: outcome.tool.processors_mean,
            processors: outcome.machine.processors as u64,
        }
    }
}

/// Median of each criterion; what was not measured is worse than anything.
fn medians(runs: &[&RunFound]) -> Readings {
    let median_of = |criterion: Criterion| {
        let reading =
            |run: &&RunFound| run.readings.get(&criterion).copied().flatten().unwrap_or(f64::INFINITY);
        Some(median(runs.iter().map(reading).collect())?).filter(|found| found.is_finite())
    };
    Criterion::ALL.into_iter().map(|criterion| (criterion, median_of(criterion))).collect()
}

/// The middle value, or the mean of the two in the middle; none of nothing.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (*values.get(values.len().checked_sub(1)? / 2)?, *values.get(values.len() / 2)?);
    Some(f64::midpoint(low, high))
}

/// Reasons for which a bridge drops because it cannot keep up; it drops far more by design, such as layers nobody wants.
const OVERLOAD: [&str; 4] =
    ["not_in_cache", "receive_buffer_overflow", "retransmission_limit", "send_ring_full"];
/// Near the knee one run is chance; three have a middle.
pub(super) const RUNS: usize = 3;

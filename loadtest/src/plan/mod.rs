//! How much a fleet carries: the largest level of a scenario at which an SLO holds, and what follows from it.
//!
//! ```text
//!   staircase: 1, 2, 4, 8 … until the SLO breaks ─▶ bisect: until 2.5 % are left ─▶ knee ─▶ fleet
//!        └───────────────── levels: run, settle, run …; median of three ──────────┘
//!                                   └─▶ extra runs: voices, lone pictures, churn ─▶ cost model, checked on others
//! ```
//!
//! What always holds:
//! - no knee is named where loadtest itself was the limit: then there is a lower bound;
//! - both sides of a named knee were judged by the median of three runs with three seeds;
//! - a run without a measurement for what is asked breaks the SLO.
//!
//! Runs are made by a [`Runner`], so that a model of a server can stand in for one.

mod bisect;
mod cost;
mod fleet;
mod html;
mod levels;
mod nonnegative;
mod slo;
mod staircase;
mod text;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::levels::{Levels, Stop};
use self::staircase::Bracket;
use crate::outcome::Outcome;
use crate::report::{ReportError, write};
use crate::scenario::{PerConference, Scenario};

pub use self::cost::{Check, CostModel};
pub use self::fleet::{Capacity, Fleet};
pub use self::levels::{LevelFound, RunFound, RunKind};
pub use self::slo::{Criterion, Readings, Slo, SloError};

/// Scale when a reader of older plans would misread a newer one.
pub const FORMAT: u32 = 1;

/// What a plan runs its levels with: the real one calls `run::run`, a test's is a model of a server.
pub trait Runner {
    /// One whole run. Never fails: what went wrong is in the outcome's end.
    fn run(&mut self, scenario: &Scenario) -> Outcome;
    /// Waits this long, so that servers forget the last run.
    fn settle(&mut self, pause: Duration);
}

/// What grows from level to level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The number of conferences.
    Conferences,
    /// The number of callers of one group in each conference; for one-to-many shapes.
    Group(String),
}

/// How to search.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanOptions {
    /// What grows. Default: conferences.
    pub scale: Scale,
    /// The first level. Default: 1.
    pub first_level: u32,
    /// Levels end where more callers than this would be needed. Default: 20,000.
    pub callers_max: u64,
    /// Between two runs. Default: 3 s.
    pub settle: Duration,
    /// Whether extra runs are made so that the cost model can tell its terms apart. Default: true.
    pub calibrate: bool,
    /// Fleets to work out, participants each. Default: 100, 1,000, 10,000.
    pub participants: Vec<u64>,
    /// Cores that the measured bridges have together. Default: as many as they were seen to use, rounded up.
    pub bridge_cores: Option<u32>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            scale: Scale::Conferences,
            first_level: 1,
            callers_max: 20_000,
            settle: Duration::from_secs(3),
            calibrate: true,
            participants: vec![100, 1_000, 10_000],
            bridge_cores: None,
        }
    }
}

/// Why there is no plan at all; one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(pub String);

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`FORMAT`].
    pub format: u32,
    /// loadtest's version.
    pub version: String,
    /// When the first run began, RFC 3339, UTC.
    pub started: String,
    /// What was run, at the level that it says itself; without secrets.
    pub scenario: Scenario,
    /// What was asked for.
    pub slo: Slo,
    /// What grew.
    pub scale: Scale,
    /// How the search ended.
    pub ending: Ending,
    /// All levels that were run, from the smallest.
    pub levels: Vec<LevelFound>,
    /// What the largest level that held carried.
    pub capacity: Option<Capacity>,
    /// What broke and what ran out, one sentence each.
    pub saturation: Vec<String>,
    /// What numbers of participants need.
    pub fleets: Vec<Fleet>,
    /// What the servers' processor time is made of.
    pub cost: Option<CostModel>,
    /// Why there is no cost model.
    pub cost_missing: Option<String>,
    /// All runs, in order.
    pub runs: Vec<RunFound>,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Ending {
    /// The knee lies between two levels.
    Knee {
        /// The largest that holds.
        holds: u32,
        /// The smallest that breaks, at most 2.5 % or one level above.
        breaks: u32,
    },
    /// loadtest itself was the limit where it broke: the knee is unknown and not below this.
    ToolLimited {
        /// The largest level that holds; 0: none.
        holds: u32,
        /// The level that broke.
        breaks: u32,
        /// Why loadtest was the limit.
        limits: Vec<String>,
    },
    /// Nothing broke as far as callers were allowed.
    NeverBroke {
        /// The largest level that was run.
        holds: u32,
    },
    /// Even the smallest level breaks.
    BreaksAtOnce {
        /// That level.
        breaks: u32,
    },
    /// By ctrl-c.
    Interrupted {
        /// The largest level that was seen to hold; 0: none.
        holds: u32,
    },
    /// The servers no longer carried even what they had carried.
    Failed {
        /// The largest level that was seen to hold; 0: none.
        holds: u32,
        /// One line.
        why: String,
    },
}

impl Ending {
    /// The largest level that was seen to hold; 0: none.
    pub fn holds(&self) -> u32 {
        match self {
            Self::Knee { holds, .. }
            | Self::ToolLimited { holds, .. }
            | Self::NeverBroke { holds }
            | Self::Interrupted { holds }
            | Self::Failed { holds, .. } => *holds,
            Self::BreaksAtOnce { .. } => 0,
        }
    }
}

impl Scale {
    /// Whether the scenario can grow by it.
    ///
    /// # Errors
    /// No such group, several of that name, or one of another size in each conference.
    pub fn check(&self, scenario: &Scenario) -> Result<(), PlanError> {
        let Self::Group(name) = self else { return Ok(()) };
        let named: Vec<_> = scenario.groups.iter().filter(|group| &group.name == name).collect();
        match named.as_slice() {
            [one] => match one.per_conference {
                PerConference::Same(_) => Ok(()),
                PerConference::Each(_) => Err(PlanError(format!(
                    "the group {name:?} has another size in each conference; a plan needs one number to grow"
                ))),
            },
            [] => {
                let names: Vec<String> =
                    scenario.groups.iter().map(|group| format!("{:?}", group.name)).collect();
                Err(PlanError(format!("the scenario has no group {name:?}; it has {}", names.join(", "))))
            }
            _ => Err(PlanError(format!("the scenario has {} groups named {name:?}", named.len()))),
        }
    }

    /// The scenario at a level.
    fn at(&self, scenario: &Scenario, level: u32) -> Scenario {
        let mut at = scenario.clone();
        match self {
            Self::Conferences => at.conferences = level,
            Self::Group(name) => {
                for group in at.groups.iter_mut().filter(|group| &group.name == name) {
                    group.per_conference = PerConference::Same(level);
                }
            }
        }
        at
    }

    /// The largest level with at most this many callers; at least 1.
    fn last_level(&self, scenario: &Scenario, callers_max: u64) -> u32 {
        let fits = |level: u32| u64::from(self.at(scenario, level).callers()) <= callers_max;
        let (mut low, mut high) = (1, LEVEL_MAX);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        low
    }
}

/// Finds the level at which `slo` breaks, and what follows from it.
///
/// # Errors
/// The options do not fit the scenario, or the very first run failed: one line.
pub fn plan(
    scenario: &Scenario,
    slo: &Slo,
    options: &PlanOptions,
    runner: &mut dyn Runner,
) -> Result<Plan, PlanError> {
    options.scale.check(scenario)?;
    let last = options.scale.last_level(scenario, options.callers_max);
    let mut watched = Watched { runner, started: None, version: String::new() };
    let mut levels = Levels::new(scenario, slo, options, &mut watched);
    let ending = search(&mut levels, options.first_level, last);
    let found = levels.all();
    if let (Ending::Failed { why, .. }, true) = (&ending, found.len() <= 1) {
        return Err(PlanError(format!("the first run failed: {why}")));
    }
    let ending = if options.calibrate { measure_costs(&mut levels, ending) } else { ending };
    let levels_found = levels.all();
    let runs = levels.into_runs();
    let Watched { started, version, .. } = watched;
    let mut plan = Plan {
        format: FORMAT,
        version,
        started: started.unwrap_or_default(),
        scenario: scenario.without_secrets(),
        slo: slo.clone(),
        scale: options.scale.clone(),
        ending,
        levels: levels_found,
        capacity: None,
        saturation: Vec::new(),
        fleets: Vec::new(),
        cost: None,
        cost_missing: None,
        runs,
    };
    plan.conclude(options);
    Ok(plan)
}

/// The search itself, and its judgement on itself.
fn search(levels: &mut Levels<'_>, first: u32, last: u32) -> Ending {
    let bracket = staircase::climb(levels, first, last).and_then(|bracket| bisect::narrow(levels, bracket));
    match bracket {
        Ok(Bracket { holds, breaks: None }) => Ending::NeverBroke { holds },
        Ok(Bracket { holds, breaks: Some(breaks) }) => {
            if levels.found(breaks).is_tool_limited {
                return Ending::ToolLimited { holds, breaks, limits: levels.tool_limits(breaks) };
            }
            if holds == 0 { Ending::BreaksAtOnce { breaks } } else { Ending::Knee { holds, breaks } }
        }
        Err(Stop::Interrupted) => {
            Ending::Interrupted { holds: levels.largest_kept_below(u32::MAX).unwrap_or(0) }
        }
        Err(Stop::Failed { holds, why }) => Ending::Failed { holds, why },
    }
}

/// Extra runs for the cost model where the search came to its end. That they are cut short changes nothing of what the
/// search has found.
fn measure_costs(levels: &mut Levels<'_>, ending: Ending) -> Ending {
    let is_over = matches!(ending, Ending::Interrupted { .. } | Ending::Failed { .. });
    if ending.holds() > 0 && !is_over {
        let _ = cost::calibrate(levels, ending.holds());
    }
    ending
}

impl Plan {
    /// Everything that follows from the runs.
    fn conclude(&mut self, options: &PlanOptions) {
        let level = |wanted: u32| self.levels.iter().find(|found| found.level == wanted);
        let holds = level(self.ending.holds()).cloned();
        let breaks = match self.ending {
            Ending::Knee { breaks, .. }
            | Ending::ToolLimited { breaks, .. }
            | Ending::BreaksAtOnce { breaks } => level(breaks).cloned(),
            _ => None,
        };
        self.capacity = holds.and_then(|holds| fleet::capacity(&holds, &self.runs, options));
        self.fleets = self
            .capacity
            .as_ref()
            .map_or_else(Vec::new, |capacity| fleet::fleets(capacity, &options.participants));
        self.saturation =
            breaks.map_or_else(Vec::new, |breaks| fleet::saturation(&breaks, &self.runs, &self.slo));
        match cost::fit(&self.runs) {
            Ok(model) => self.cost = Some(model),
            Err(why) => self.cost_missing = Some(why),
        }
    }

    /// For a terminal.
    pub fn table(&self) -> String {
        text::table(self)
    }

    /// As one HTML page that needs nothing else.
    pub fn html(&self) -> String {
        html::html(self)
    }

    /// Writes the plan as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<(), ReportError> {
        let text =
            serde_json::to_string_pretty(self).map_err(|error| ReportError::Unwritable(error.to_string()))?;
        write(path, &text)
    }

    /// Writes [`html`](Self::html).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_html(&self, path: &Path) -> Result<(), ReportError> {
        write(path, &self.html())
    }
}

/// The caller's runner, and what the first outcome says of itself.
struct Watched<'a> {
    runner: &'a mut dyn Runner,
    started: Option<String>,
    version: String,
}

impl Runner for Watched<'_> {
    fn run(&mut self, scenario: &Scenario) -> Outcome {
        let outcome = self.runner.run(scenario);
        if self.started.is_none() {
            self.started = Some(outcome.started.clone());
            self.version.clone_from(&outcome.version);
        }
        outcome
    }

    fn settle(&mut self, pause: Duration) {
        self.runner.settle(pause);
    }
}

/// More conferences, or callers in one, than any machine holds; keeps the search for the last level short.
const LEVEL_MAX: u32 = 1 << 20;

//! One run: who joins when, what is sampled each second, when it ends, and what was found.
//!
//! ```text
//!   schedule ─▶ callers (a task each) ─▶ control::attend ─▶ phone
//!                  │ each second                                   joining ─▶ warming up ─▶ measuring ─▶ leaving
//!   servers ───────┴──▶ tally, meter ─▶ progress                                              │ hooks
//!                                  └──▶ Outcome ◀── verdicts ◀── thresholds
//! ```
//!
//! Invariants: there is always an outcome, with whatever was found so far; the measured part begins and ends with a
//! sample; nothing is left running when the outcome is there.

mod callers;
mod company;
mod conduct;
mod hooks;
mod machine;
mod meter;
mod progress;
mod schedule;
mod servers;
mod tally;
mod verdicts;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::time::Instant;

use self::callers::Callers;
use self::conduct::{Conduct, Hopes, reach};
use self::hooks::Hooks;
use self::meter::{Meter, Setting};
use self::progress::Progress;
use self::schedule::{Arrival, schedule};
use self::servers::Servers;
use self::tally::{Tally, over_groups};
use crate::control::{Control, ServerReader};
use crate::engine::stamp::Clock;
use crate::outcome::{End, FORMAT, Joins, Outcome, Span};
use crate::scenario::Scenario;

pub(crate) use self::company::{Company, Word, together};
pub(crate) use self::schedule::Share;
pub(crate) use self::verdicts::{Found, judge};

/// How a run is made, beside what the scenario says.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Threads that carry light callers' media. Default: 1.
    pub threads: usize,
    /// Shows progress on stderr. Default: false.
    pub progress: bool,
    /// Ends the run early and cleanly once it says true. Default: never.
    pub stop: Option<watch::Receiver<bool>>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { threads: 1, progress: false, stop: None }
    }
}

/// Runs the scenario. There is always an outcome, even when nothing could be reached.
pub async fn run(scenario: &Scenario, options: &RunOptions) -> Outcome {
    run_in_company(scenario, options, Company::default()).await.outcome
}

/// What one process of a run has to tell.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    /// RTP datagrams that reached its callers, from the first join to the last leaving.
    pub(crate) datagrams_received: u64,
}

/// As [`run`], this process' share of it.
pub(crate) async fn run_in_company(scenario: &Scenario, options: &RunOptions, company: Company) -> Ran {
    let started = SystemTime::now();
    let arrivals = schedule(scenario, company.share);
    let mut outcome = blank(scenario, started, &arrivals, company.processes);
    let conduct = match Box::pin(prepare(scenario, options, company, &arrivals)).await {
        Ok(prepared) => prepared,
        Err(why) => {
            outcome.end = End::Failed { at_s: 0.0, why };
            return Ran { outcome: judged(outcome, scenario), datagrams_received: 0 };
        }
    };
    Box::pin(conducted(conduct, &arrivals, outcome)).await
}

/// From the first join to the last number.
async fn conducted(mut conduct: Conduct<'_>, arrivals: &[Arrival], mut outcome: Outcome) -> Ran {
    let (end, measured) = conduct.course(arrivals).await;
    conduct.part().await;
    let Conduct { scenario, control, start, callers, servers, tally, meter, threads, is_target_gone, .. } =
        conduct;
    let datagrams_received = tally.datagrams_received();
    (outcome.end, outcome.measured) = (end, measured);
    (outcome.servers, outcome.agreement) = servers.finish(start, measured, datagrams_received);
    let setting = Setting {
        threads,
        processors: outcome.machine.processors,
        received: datagrams_received,
        sent: tally.packets_sent(),
        is_target_gone,
    };
    outcome.tool = meter.finish(&setting);
    (outcome.groups, outcome.series) = tally.into_parts();
    for (group, joins) in outcome.groups.iter_mut().zip(callers.joins()) {
        group.joins = joins;
    }
    outcome.signaling = control.signaling();
    Ran { outcome: judged(outcome, scenario), datagrams_received }
}

/// Everything that must be there before the first caller comes.
async fn prepare<'a>(
    scenario: &'a Scenario,
    options: &RunOptions,
    company: Company,
    arrivals: &[Arrival],
) -> Result<Conduct<'a>, String> {
    let control = Arc::new(Control::new(scenario).map_err(|error| error.to_string())?);
    let url = &scenario.target.url;
    reach(&control).await.map_err(|why| format!("{url} cannot be reached: {why}"))?;
    let clock = Clock { number: rand::random(), epoch: std::time::Instant::now() };
    let callers = Callers::new(scenario, Arc::clone(&control), options.threads, clock)?;
    let reader = ServerReader::new(&control, &scenario.target.stats);
    let servers = Servers::watch(reader, &scenario.target.stats).await;
    let now = Instant::now();
    Ok(Conduct {
        scenario,
        control,
        start: now,
        callers,
        servers,
        tally: Tally::new(scenario, &callers_of(scenario, arrivals)),
        meter: Meter::new(now.into_std()),
        threads: options.threads,
        progress: Progress::new(options.progress),
        hooks: Hooks::default(),
        company,
        stop: options.stop.clone(),
        sampled: now,
        told: BTreeSet::new(),
        hopes: Hopes::new(scenario, arrivals),
        silent_since: None,
        is_target_gone: false,
    })
}

/// An outcome in which nothing has happened yet.
fn blank(scenario: &Scenario, started: SystemTime, arrivals: &[Arrival], processes: usize) -> Outcome {
    let callers = callers_of(scenario, arrivals);
    Outcome {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: machine::rfc3339(started),
        scenario: scenario.without_secrets(),
        machine: machine::machine(processes.max(1)),
        end: End::Complete,
        measured: Span::default(),
        counts: Default::default(),
        delays: Default::default(),
        joins: Joins::default(),
        groups: Tally::new(scenario, &callers).into_parts().0,
        series: Vec::new(),
        servers: Vec::new(),
        tool: Default::default(),
        verdicts: Vec::new(),
        agreement: None,
        signaling: None,
    }
}

/// Sums over the groups, and the verdicts on them.
pub(crate) fn judged(mut outcome: Outcome, scenario: &Scenario) -> Outcome {
    (outcome.counts, outcome.delays) = over_groups(&outcome.groups);
    outcome.joins = Joins::default();
    outcome.groups.iter().for_each(|group| outcome.joins.add(&group.joins));
    let found = Found {
        joins: &outcome.joins,
        counts: &outcome.counts,
        delays: &outcome.delays,
        servers: &outcome.servers,
    };
    outcome.verdicts = judge(&scenario.thresholds, &found);
    outcome
}

/// Callers of each group among these arrivals.
fn callers_of(scenario: &Scenario, arrivals: &[Arrival]) -> Vec<u32> {
    let mut callers = vec![0; scenario.groups.len()];
    arrivals.iter().for_each(|arrival| callers[arrival.group] += 1);
    callers
}

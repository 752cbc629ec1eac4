//! From a knee to a fleet: what one bridge carries, what saturates first, and how many are needed.

use serde::{Deserialize, Serialize};

use super::PlanOptions;
use super::levels::{LevelFound, RunFound, RunKind, median};
use super::slo::{Criterion, Slo};
use crate::report::words::{number, percent};

/// What was carried at the largest level that held, medians of its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Participants at the same time, all bridges.
    pub participants: u64,
    /// Bridges that carried them.
    pub bridges: u64,
    /// Cores that those bridges had, as given, or as many as they were seen to use, rounded up.
    pub bridge_cores: u64,
    /// Whether that number was given.
    pub cores_are_given: bool,
    /// Cores that they used, such as 0.8; none when they do not tell.
    pub cores_used: Option<f64>,
    /// Participants for each bridge.
    pub participants_per_bridge: f64,
    /// Participants for each core of a bridge.
    pub participants_per_core: f64,
    /// Forwarded to callers, packets a second.
    pub packets_per_s: f64,
    /// Forwarded to callers, Mbit/s.
    pub mbps: f64,
    /// Memory of the servers for each participant, KiB; none when they do not tell.
    pub memory_kib: Option<f64>,
    /// Participants behind a relay.
    pub relayed: u64,
}

/// What a number of participants needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// At the same time.
    pub participants: u64,
    /// Bridges like the measured one, one of them spare.
    pub bridges: u64,
    /// Relays like the measured one, one of them spare; 0 when nobody of the scenario takes a relay.
    pub relays: u64,
    /// Forwarded by all bridges, Mbit/s.
    pub mbps: f64,
    /// Forwarded by all bridges, packets a second.
    pub packets_per_s: f64,
    /// Memory that comes with the participants, MiB; none when servers do not tell.
    pub memory_mib: Option<f64>,
}

/// What the largest level that held carried; none when none did.
pub(super) fn capacity(level: &LevelFound, runs: &[RunFound], options: &PlanOptions) -> Option<Capacity> {
    let at_level: Vec<&RunFound> =
        runs.iter().filter(|run| run.kind == RunKind::Level && run.level == level.level).collect();
    let of = |value: fn(&RunFound) -> f64| median(at_level.iter().map(|run| value(run)).collect());
    let first = at_level.first()?;
    let cores = at_level
        .iter()
        .filter_map(|run| Some(run.processor_s? / run.seconds))
        .filter(|cores| cores.is_finite());
    let cores_used = median(cores.collect());
    let bridges = first.bridges.max(1);
    let seen = cores_used.map_or(0, |cores| cores.ceil() as u64);
    let bridge_cores = options.bridge_cores.map_or(seen, u64::from).max(bridges);
    // A server keeps the memory of earlier levels, so what was there before the first run counts.
    let before = runs.iter().map(|run| run.memory_before_mib).fold(f64::INFINITY, f64::min);
    let grown = of(|run| run.memory_max_mib).filter(|&most| most > 0.0).map(|most| (most - before).max(0.0));
    Some(Capacity {
        participants: first.callers,
        bridges,
        bridge_cores,
        cores_are_given: options.bridge_cores.is_some(),
        cores_used,
        participants_per_bridge: first.callers as f64 / bridges as f64,
        participants_per_core: first.callers as f64 / bridge_cores as f64,
        packets_per_s: of(|run| run.packets_per_s)?,
        mbps: of(|run| run.mbps)?,
        memory_kib: grown.map(|mib| mib * 1024.0 / first.callers.max(1) as f64),
        relayed: first.relayed,
    })
}

/// Works out a fleet for each number of participants.
pub(super) fn fleets(capacity: &Capacity, participants: &[u64]) -> Vec<Fleet> {
    let share = |wanted: u64| wanted as f64 / capacity.participants.max(1) as f64;
    let with_spare = |wanted: u64, each: f64| (wanted as f64 / each).ceil() as u64 + SPARE;
    let fleet = |&wanted: &u64| Fleet {
        participants: wanted,
        bridges: with_spare(wanted, capacity.participants_per_bridge),
        // The measured relay carried at least these; how much more it could is not known from this.
        relays: if capacity.relayed > 0 { with_spare(wanted, capacity.participants as f64) } else { 0 },
        mbps: capacity.mbps * share(wanted),
        packets_per_s: capacity.packets_per_s * share(wanted),
        memory_mib: capacity.memory_kib.map(|kib| kib * wanted as f64 / 1024.0),
    };
    participants.iter().map(fleet).collect()
}

/// Which criterion broke first and what ran out, in one sentence each, from the smallest level that broke.
pub(super) fn saturation(level: &LevelFound, runs: &[RunFound], slo: &Slo) -> Vec<String> {
    let at_level: Vec<&RunFound> =
        runs.iter().filter(|run| run.kind == RunKind::Level && run.level == level.level).collect();
    let mut lines: Vec<String> = level.broken.iter().map(|&criterion| broke(criterion, level, slo)).collect();
    lines.push(resource(level, &at_level));
    lines.extend(shared_machine(&at_level));
    let dropped = at_level.iter().filter_map(|run| run.dropped.as_ref()).max_by_key(|(_, count)| *count);
    lines.extend(dropped.map(|(reason, count)| {
        format!("Servers could not keep up and dropped packets: {reason} ({count}).")
    }));
    lines
}

fn broke(criterion: Criterion, level: &LevelFound, slo: &Slo) -> String {
    let limit = slo.limit(criterion).map_or_else(String::new, |limit| number(criterion.shown(limit)));
    match level.median.get(&criterion).copied().flatten() {
        Some(found) => {
            format!("{}: {} where {limit} is asked for.", criterion.name(), number(criterion.shown(found)))
        }
        None => format!("{}: not measured where {limit} is asked for.", criterion.name()),
    }
}

fn resource(level: &LevelFound, runs: &[&RunFound]) -> String {
    if let Some(why) = runs.iter().find_map(|run| run.failed.as_ref()) {
        return format!("Runs failed altogether: {why}.");
    }
    match level.median.get(&Criterion::Busy).copied().flatten() {
        Some(busy) if busy < SATURATED && level.broken.contains(&Criterion::Busy) => {
            format!(
                "The busiest server worker passed the limit that was set for it, at {}; it was not full.",
                percent(busy)
            )
        }
        Some(busy) if busy >= SATURATED => {
            format!(
                "The busiest server worker had no time left: {} busy. Another core or bridge helps.",
                percent(busy)
            )
        }
        Some(busy) => format!(
            "The busiest server worker was only {} busy: something else ran out, such as the network between, or its core was taken from it.",
            percent(busy)
        ),
        None => "No server told how busy it was: what ran out is not known.".to_owned(),
    }
}

/// Said where loadtest and the servers took all there was of one machine.
fn shared_machine(runs: &[&RunFound]) -> Option<String> {
    let used = |run: &&RunFound| Some(run.processor_s? / run.seconds + run.tool_processors);
    let used = median(runs.iter().filter_map(used).filter(|used| used.is_finite()).collect())?;
    let processors = runs.first()?.processors as f64;
    (processors > 0.0 && used >= SATURATED * processors).then(|| {
        format!(
            "Servers and loadtest together used {} processors, and loadtest's machine has {}: if they share it, they took them from each other.",
            number(used),
            number(processors)
        )
    })
}

/// One may fail, or be drained for an update, without anybody noticing.
const SPARE: u64 = 1;
/// A worker this busy has queues; the rest is what measuring it costs.
const SATURATED: f64 = 0.85;

//! What the servers' processor time is made of: bursts, packets, bytes, joins and time itself, fitted on some runs and checked on
//! others that the fit has not seen.

use serde::{Deserialize, Serialize};

use super::levels::{Levels, RunFound, RunKind, Stop, median};
use super::nonnegative;
use crate::scenario::{Churn, Entry, Scenario};

/// `processor seconds = burst · bursts + packet · packets + byte · bytes + join · joins + second · seconds`, all of them at
/// least 0. The packets of one picture are received, sent and woken up for together, so that a burst costs more than what
/// is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostModel {
    /// Microseconds for each burst that a bridge forwards to somebody: a picture, or a voice packet.
    pub burst_us: f64,
    /// Microseconds for each packet that a bridge forwards to somebody, whatever its size; receiving it is in here.
    pub packet_us: f64,
    /// Nanoseconds for each byte of them.
    pub byte_ns: f64,
    /// Milliseconds for each join; none when nobody joined while it was measured.
    pub join_ms: Option<f64>,
    /// Milliseconds each second for nothing at all.
    pub second_ms: f64,
    /// Runs that the model was fitted on.
    pub fitted_runs: usize,
    /// Runs that were held out, in the order in which they were made.
    pub checks: Vec<Check>,
    /// Median of the checks' errors, as a share of what was found.
    pub error_median: f64,
    /// The largest.
    pub error_max: f64,
}

/// One run that the fit has not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its kind.
    pub kind: RunKind,
    /// Its level.
    pub level: u32,
    /// Processor seconds as the model has it.
    pub predicted_s: f64,
    /// As the servers said.
    pub found_s: f64,
}

impl Check {
    /// How far off, as a share of what was found.
    pub fn error(&self) -> f64 {
        (self.predicted_s - self.found_s).abs() / self.found_s
    }
}

/// Extra runs that a model needs to tell its terms apart: in one scenario every burst is about as large as every other,
/// and nobody joins while it is measured. Each kind is run at the level, at half of it, and between: the third is held out.
pub(super) fn calibrate(levels: &mut Levels<'_>, level: u32) -> Result<(), Stop> {
    for share in [1.0, 0.5, 0.75] {
        let (at, churn) = (((f64::from(level) * share) as u32).max(1), CHURN_PERCENT * share);
        let scenario = levels.scenario_at(at);
        let voices = without_pictures(&scenario);
        if let Some(voices) = &voices {
            levels.run_for_costs(RunKind::Voices, at, voices.clone())?;
        }
        if let Some(lone) = with_lone_pictures(&scenario) {
            levels.run_for_costs(RunKind::LonePictures, at, lone)?;
        }
        // Joins stand out where little else is done.
        let quiet = voices.unwrap_or(scenario);
        if let Some(churning) = with_churn(quiet, churn) {
            levels.run_for_costs(RunKind::Churn, at, churning)?;
        }
    }
    Ok(())
}

/// The same callers without cameras and screens; none where that leaves nothing, or changes nothing.
fn without_pictures(scenario: &Scenario) -> Option<Scenario> {
    let has_voice = scenario.groups.iter().any(|group| group.voice.is_some());
    let has_picture = scenario.groups.iter().any(|group| group.camera.is_some() || group.screen.is_some());
    let mut voices = scenario.clone();
    for group in &mut voices.groups {
        (group.camera, group.screen) = (None, None);
    }
    (has_voice && has_picture).then_some(voices)
}

/// The same callers without voices, and with pictures so small that one packet holds them; none without cameras.
fn with_lone_pictures(scenario: &Scenario) -> Option<Scenario> {
    let mut lone = scenario.clone();
    for group in &mut lone.groups {
        (group.voice, group.screen) = (None, None);
        let Some(camera) = &mut group.camera else { continue };
        (camera.key_frame_size, camera.size_jitter) = (1.0, 0.0);
        for layer in &mut camera.layers {
            layer.rate_kbps = (layer.frames_per_s * LONE_PICTURE_BYTES * 8.0 / 1_000.0) as u32;
        }
    }
    lone.groups.iter().any(|group| group.camera.is_some()).then_some(lone)
}

/// The same with callers who come and go; none where the scenario has that already, or nobody is told of it.
fn with_churn(mut scenario: Scenario, per_minute_percent: f64) -> Option<Scenario> {
    if scenario.churn.is_some() || scenario.target.entry == Entry::Signaling {
        return None;
    }
    scenario.churn = Some(Churn { per_minute_percent, pause_s: 0.0 });
    Some(scenario)
}

/// Fits the model; none with one line of why where the runs do not allow it.
pub(super) fn fit(runs: &[RunFound]) -> Result<CostModel, String> {
    let usable: Vec<&RunFound> = runs.iter().filter(|run| is_usable(run)).collect();
    if usable.is_empty() {
        return Err("no server told its processor time and its packets".to_owned());
    }
    let (held_out, fitted): (Vec<_>, Vec<_>) =
        usable.iter().enumerate().partition(|&(index, run)| is_held_out(&usable[..index], run.kind));
    if fitted.len() < FITTED_MIN || held_out.is_empty() {
        return Err(format!("{} usable runs are too few to fit and check a model", usable.len()));
    }
    // Relative errors are made least: a planner asks whether a tenth is missing, not a second.
    let weighted = |run: &RunFound| {
        let found = run.processor_s.unwrap_or_default();
        (terms(run).map(|term| term / found), 1.0)
    };
    let rows: Vec<([f64; TERMS], f64)> = fitted.iter().map(|(_, run)| weighted(run)).collect();
    let coefficients = nonnegative::solve(&rows);
    let checks: Vec<Check> = held_out.iter().map(|(_, run)| check(run, &coefficients)).collect();
    let errors: Vec<f64> = checks.iter().map(Check::error).collect();
    let [burst, packet, byte, join, second] = coefficients;
    let has_joins = fitted.iter().any(|(_, run)| run.joins > 0);
    Ok(CostModel {
        burst_us: burst * 1e6,
        packet_us: packet * 1e6,
        byte_ns: byte * 1e9,
        join_ms: has_joins.then_some(join * 1e3),
        second_ms: second * 1e3,
        fitted_runs: fitted.len(),
        error_median: median(errors.clone()).unwrap_or_default(),
        error_max: errors.into_iter().fold(0.0, f64::max),
        checks,
    })
}

fn is_usable(run: &RunFound) -> bool {
    run.failed.is_none()
        && run.tool_limits.is_empty()
        && run.packets > 0.0
        && run.seconds > 0.0
        && run.processor_s.is_some_and(|used| used > 0.0)
}

/// Every third run of a kind; decided by what came before, never by what was found.
fn is_held_out(before: &[&RunFound], kind: RunKind) -> bool {
    before.iter().filter(|other| other.kind == kind).count() % 3 == 2
}

fn terms(run: &RunFound) -> [f64; TERMS] {
    [run.bursts, run.packets, run.bytes, run.joins as f64, run.seconds * run.bridges.max(1) as f64]
}

fn check(run: &RunFound, coefficients: &[f64; TERMS]) -> Check {
    let predicted_s = terms(run).iter().zip(coefficients).map(|(term, cost)| term * cost).sum();
    Check { kind: run.kind, level: run.level, predicted_s, found_s: run.processor_s.unwrap_or_default() }
}

/// Bursts, packets, bytes, joins, seconds.
const TERMS: usize = 5;
/// One more than there are terms: a fit through every point says nothing.
const FITTED_MIN: usize = TERMS + 1;
/// Below what one packet of a caller holds, headers not counted.
const LONE_PICTURE_BYTES: f64 = 900.0;
/// Everybody is replaced every five seconds: a fifth of the callers joins each second, which even a short run shows.
const CHURN_PERCENT: f64 = 1_200.0;

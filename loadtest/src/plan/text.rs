//! A plan on a terminal, and the tables that its page shares.

use super::cost::CostModel;
use super::levels::{LevelFound, RunKind};
use super::slo::Criterion;
use super::{Ending, Plan, Scale};
use crate::report::grid::Grid;
use crate::report::words::{NOTHING, count, number, percent, plain, plural, short};

/// The whole plan.
pub(super) fn table(plan: &Plan) -> String {
    let mut text =
        format!("\nPlan for {}: {}\n", plain(&plan.scenario.name), plain(&plan.scenario.description));
    text.push_str(&format!(
        "loadtest {}, {}, {}\n\n",
        plain(&plan.version),
        plain(&plan.started),
        plain(&meaning(plan))
    ));
    for grid in [levels(plan), capacity(plan), fleets(plan)].iter().filter(|grid| !grid.is_empty()) {
        text.push_str(&grid.text());
        text.push('\n');
    }
    for (is_good, line) in conclusions(plan) {
        text.push_str(&format!("{} {}\n", if is_good { ' ' } else { '!' }, plain(&line)));
    }
    text.push('\n');
    if let Some(cost) = &plan.cost {
        text.push_str(&format!("  Processor seconds of the bridges = {}\n\n", formula(cost)));
        text.push_str(&checks(cost).text());
        text.push_str(&format!("  {}\n", fit(cost)));
    }
    if let Some(why) = &plan.cost_missing {
        text.push_str(&format!("! No cost model: {}.\n", plain(why)));
    }
    text
}

/// What the levels are.
pub(super) fn meaning(plan: &Plan) -> String {
    match &plan.scale {
        Scale::Conferences => "a level is a number of conferences".to_owned(),
        Scale::Group(name) => format!("a level is the number of {} in each conference", short(name)),
    }
}

/// How the search ended and what that means; whether it is what a planner hoped for.
pub(super) fn conclusions(plan: &Plan) -> Vec<(bool, String)> {
    let callers =
        |level: u32| plan.levels.iter().find(|found| found.level == level).map_or(0, |found| found.callers);
    let at_least = |holds: u32| match holds {
        0 => "No level was seen to hold.".to_owned(),
        holds => format!(
            "At least level {holds} ({}) holds.",
            plural(callers(holds), "participant", "participants")
        ),
    };
    let mut lines = match &plan.ending {
        Ending::Knee { holds, breaks } => vec![(
            true,
            format!(
                "The knee: level {holds} ({}) holds, level {breaks} ({}) breaks.",
                plural(callers(*holds), "participant", "participants"),
                count(callers(*breaks))
            ),
        )],
        Ending::ToolLimited { holds, breaks, limits } => vec![
            (
                false,
                format!(
                    "No knee can be named: at level {breaks} loadtest itself was the limit: {}.",
                    limits.join("; ")
                ),
            ),
            (
                false,
                format!("{} More machines (--coordinator) or more --threads tell more.", at_least(*holds)),
            ),
        ],
        Ending::NeverBroke { holds } => vec![
            (
                false,
                "The SLO never broke: there is no knee up to the largest level that was allowed.".to_owned(),
            ),
            (false, at_least(*holds)),
        ],
        Ending::BreaksAtOnce { breaks } => {
            vec![(
                false,
                format!("Even the smallest level, {breaks}, breaks the SLO: this server carries none of it."),
            )]
        }
        Ending::Interrupted { holds } => {
            vec![(false, format!("Interrupted before the knee was found. {}", at_least(*holds)))]
        }
        Ending::Failed { holds, why } => vec![
            (false, format!("The servers failed and did not come back: {why}.")),
            (false, at_least(*holds)),
        ],
    };
    lines.extend(plan.saturation.iter().map(|line| (true, line.clone())));
    lines
}

/// One row for each level.
pub(super) fn levels(plan: &Plan) -> Grid {
    let asked: Vec<Criterion> = plan.slo.limits().map(|(criterion, _)| criterion).collect();
    let mut head = vec!["level", "participants", "runs"];
    head.extend(asked.iter().map(|criterion| criterion.name()));
    head.push("holds");
    let mut grid = Grid::new(&head);
    for found in &plan.levels {
        grid.row(level_row(found, &asked));
    }
    let limits = plan.slo.limits().map(|(criterion, limit)| number(criterion.shown(limit)));
    grid.row(["at most".to_owned(), String::new(), String::new()].into_iter().chain(limits));
    grid
}

fn level_row(found: &LevelFound, asked: &[Criterion]) -> Vec<String> {
    let mut row = vec![found.level.to_string(), count(found.callers), found.runs.to_string()];
    for criterion in asked {
        let reading = found.median.get(criterion).copied().flatten();
        let shown = reading.map_or_else(|| NOTHING.to_owned(), |value| number(criterion.shown(value)));
        row.push(if found.broken.contains(criterion) { format!("{shown} !") } else { shown });
    }
    let verdict = if found.holds() { "yes" } else { "NO" };
    row.push(if found.is_tool_limited { format!("{verdict}, loadtest limited") } else { verdict.to_owned() });
    row
}

/// What the largest level that held carried.
pub(super) fn capacity(plan: &Plan) -> Grid {
    let mut grid = Grid::new(&["carried at the largest level that holds", "found"]);
    let Some(found) = &plan.capacity else { return grid };
    let mut row = |name: &str, value: String| grid.row([name.to_owned(), value]);
    row("participants", count(found.participants));
    row("participants for each bridge", number(found.participants_per_bridge));
    let known = if found.cores_are_given { "as given" } else { "as many as were used, rounded up" };
    let cores = format!("participants for each bridge core ({}, {known})", found.bridge_cores);
    row(&cores, number(found.participants_per_core));
    row("cores used by the bridges", found.cores_used.map_or_else(|| NOTHING.to_owned(), number));
    row("forwarded, packets/s", number(found.packets_per_s));
    row("forwarded, Mbit/s", number(found.mbps));
    row(
        "server memory for each participant, KiB",
        found.memory_kib.map_or_else(|| NOTHING.to_owned(), number),
    );
    grid
}

/// What numbers of participants need.
pub(super) fn fleets(plan: &Plan) -> Grid {
    let mut grid = Grid::new(&["participants", "bridges", "relays", "Mbit/s", "packets/s", "memory, MiB"]);
    let has_relays = plan.capacity.as_ref().is_some_and(|capacity| capacity.relayed > 0);
    for fleet in &plan.fleets {
        grid.row([
            count(fleet.participants),
            format!("{} (1 spare)", count(fleet.bridges)),
            if has_relays {
                format!("{} (1 spare)", count(fleet.relays))
            } else {
                "none takes one".to_owned()
            },
            number(fleet.mbps),
            number(fleet.packets_per_s),
            fleet.memory_mib.map_or_else(|| NOTHING.to_owned(), number),
        ]);
    }
    grid
}

/// The cost model in words.
pub(super) fn formula(cost: &CostModel) -> String {
    let join = match cost.join_ms {
        Some(join_ms) => format!("{} ms × joins", number(join_ms)),
        None => "(joins: none while it was measured)".to_owned(),
    };
    format!(
        "{} µs × bursts + {} µs × packets + {} ns × bytes + {join} + {} ms × seconds",
        number(cost.burst_us),
        number(cost.packet_us),
        number(cost.byte_ns),
        number(cost.second_ms)
    )
}

/// Runs that the fit has not seen.
pub(super) fn checks(cost: &CostModel) -> Grid {
    let mut grid = Grid::new(&["held-out run", "level", "predicted, s", "found, s", "error"]);
    for check in &cost.checks {
        let kind = match check.kind {
            RunKind::Level => "as the scenario says",
            RunKind::Voices => "voices only",
            RunKind::LonePictures => "pictures of one packet",
            RunKind::Churn => "callers come and go",
        };
        grid.row([
            kind.to_owned(),
            check.level.to_string(),
            number(check.predicted_s),
            number(check.found_s),
            percent(check.error()),
        ]);
    }
    grid
}

/// How good the model is.
pub(super) fn fit(cost: &CostModel) -> String {
    format!(
        "Fitted on {}; on {} that it has not seen it is off by {} (median) and at most {}.",
        plural(cost.fitted_runs as u64, "run", "runs"),
        plural(cost.checks.len() as u64, "run", "runs"),
        percent(cost.error_median),
        percent(cost.error_max)
    )
}

/// One criterion by level.
pub(super) fn criterion(plan: &Plan, criterion: Criterion) -> Grid {
    let mut grid = Grid::new(&["participants", criterion.name(), "holds"]);
    for found in &plan.levels {
        let reading = found.median.get(&criterion).copied().flatten();
        let shown = reading.map_or_else(|| NOTHING.to_owned(), |value| number(criterion.shown(value)));
        let holds = if found.broken.contains(&criterion) { "NO" } else { "yes" };
        grid.row([count(found.callers), shown, holds.to_owned()]);
    }
    grid
}

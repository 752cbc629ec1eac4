//! Two outcomes side by side: how far apart each figure is, and whether that is within the noise of the runs themselves.
//!
//! The noise is estimated by batch means (Law, *Simulation Modeling and Analysis*, section 9.5): seconds that follow each
//! other resemble each other, so the measured part is cut into about ten stretches, and their means count as independent
//! values. Two sets of them are compared by Welch's test (Biometrika 34, 1947) with the two-sided 95 % quantile of
//! Student's t: a difference within `t · √(s²a/n + s²b/m)` is one that the same server would show by chance.
//!
//! What this cannot see is what changes from run to run and not within one: where conferences landed, what else the
//! machine did. Of twenty figures without any difference one will be called different.

mod noise;
mod series;

use serde::Serialize;

use self::noise::Noise;
use self::series::Measure;
use crate::outcome::{End, Outcome};
use crate::report::figures::{Figures, figures, servers};
use crate::report::grid::Grid;
use crate::report::words::{NOTHING, number, percent, plain, short};

/// Two outcomes, figure by figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The first outcome's scenario and time.
    pub a: String,
    /// The second's.
    pub b: String,
    /// What makes the two hard to compare, one line each: other scenarios, other machines, a run that was cut short.
    pub warnings: Vec<String>,
    /// The main figures.
    pub figures: Vec<Compared>,
}

/// One figure of two outcomes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// What it is, with its unit.
    pub name: String,
    /// In the first; none where it was not measured.
    pub a: Option<f64>,
    /// In the second.
    pub b: Option<f64>,
    /// The second without the first.
    pub difference: Option<f64>,
    /// Whether that means anything.
    pub judged: Judged,
}

/// What a difference means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Judged {
    /// The same runs could differ by as much.
    WithinNoise {
        /// By how much, in the figure's unit.
        noise: f64,
    },
    /// More than the same runs would differ by.
    Beyond {
        /// By how much they would, in the figure's unit.
        noise: f64,
    },
    /// There is one number a run only, or too few seconds: nothing tells how noisy it is.
    Shown,
}

/// Compares `b` with `a`.
pub fn compare(a: &Outcome, b: &Outcome) -> Comparison {
    let (in_a, in_b) = (figures(a), figures(b));
    let rows = rows(a, b);
    let judge = |row: &Row| {
        let (from, to) = ((row.value)(&in_a), (row.value)(&in_b));
        let difference = from.zip(to).map(|(from, to)| to - from);
        let judged = match (difference, row.measure) {
            (Some(difference), Some(measure)) => judge(difference, measure, a, b),
            _ => Judged::Shown,
        };
        Compared { name: row.name.to_owned(), a: from, b: to, difference, judged }
    };
    let label = |outcome: &Outcome| format!("{}, {}", outcome.scenario.name, outcome.started);
    let figures = rows.iter().map(judge).collect();
    Comparison { a: label(a), b: label(b), warnings: warnings(a, b), figures }
}

impl Comparison {
    /// For a terminal.
    pub fn table(&self) -> String {
        let mut grid = Grid::new(&["figure", "A", "B", "B - A", "change", "noise", "verdict"]);
        for figure in &self.figures {
            grid.row(figure.cells());
        }
        let mut text = format!(
            "\nA  {}\nB  {}\n\n{}\n",
            plain(&short_label(&self.a)),
            plain(&short_label(&self.b)),
            grid.text()
        );
        for warning in &self.warnings {
            text.push_str(&format!("! {}\n", plain(warning)));
        }
        text.push_str("  Noise: batch means of each run's seconds, Welch's t at 95 %; what differs from run to run is not in it.\n");
        text
    }

    /// Figures that differ by more than noise.
    pub fn beyond(&self) -> impl Iterator<Item = &Compared> {
        self.figures.iter().filter(|figure| matches!(figure.judged, Judged::Beyond { .. }))
    }
}

impl Compared {
    fn cells(&self) -> [String; 7] {
        let or_nothing = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), number);
        let signed = |value: f64| if value > 0.0 { format!("+{}", number(value)) } else { number(value) };
        let change =
            self.difference.zip(self.a).filter(|(_, from)| *from != 0.0).map(|(difference, from)| {
                let share = difference / from.abs();
                if share > 0.0 { format!("+{}", percent(share)) } else { percent(share) }
            });
        let (noise, verdict) = match self.judged {
            Judged::WithinNoise { noise } => (number(noise), "within noise"),
            Judged::Beyond { noise } => (number(noise), "DIFFERENT"),
            Judged::Shown => (NOTHING.to_owned(), "not judged"),
        };
        [
            self.name.clone(),
            or_nothing(self.a),
            or_nothing(self.b),
            self.difference.map_or_else(|| NOTHING.to_owned(), signed),
            change.unwrap_or_else(|| NOTHING.to_owned()),
            noise,
            verdict.to_owned(),
        ]
    }
}

fn short_label(label: &str) -> String {
    // The time stands at the end and must not be what is cut.
    match label.rsplit_once(", ") {
        Some((name, time)) => format!("{}, {}", short(name), short(time)),
        None => short(label),
    }
}

/// A main figure: its value, and what its noise is taken from.
struct Row {
    name: &'static str,
    value: fn(&Figures) -> Option<f64>,
    measure: Option<Measure>,
}

fn rows(a: &Outcome, b: &Outcome) -> [Row; 11] {
    let row = |name, value, measure| Row { name, value, measure };
    // Where processor time was reckoned from how busy the worker was, the seconds of that tell its noise.
    let is_told = servers(a).processor_is_told && servers(b).processor_is_told;
    let per_packet = if is_told { None } else { Some(Measure::BusyPerPacket) };
    [
        row(
            "lost for good, % of packets",
            |found| found.loss.map(|share| share * 100.0),
            Some(Measure::LossPercent),
        ),
        row("delay p50, ms", |found| found.delay_p50_ms, Some(Measure::DelayP50Ms)),
        row("delay p99, ms", |found| found.delay_p99_ms, Some(Measure::DelayP99Ms)),
        row("join p50, ms", |found| found.join_p50_ms, None),
        row("join p95, ms", |found| found.join_p95_ms, None),
        row("failed joins, %", |found| found.failed_joins.map(|share| share * 100.0), None),
        row("frozen, % of watched time", |found| found.frozen.map(|share| share * 100.0), None),
        row("received by callers, packets/s", |found| Some(found.packets_per_s), Some(Measure::PacketsPerS)),
        row(
            "server busy, % of busiest worker",
            |found| found.busy.map(|share| share * 100.0),
            Some(Measure::BusyPercent),
        ),
        row("processor of a packet, µs", |found| found.processor_us_per_packet, per_packet),
        row("memory of all servers, MiB", |found| found.memory_mib, None),
    ]
}

fn judge(difference: f64, measure: Measure, a: &Outcome, b: &Outcome) -> Judged {
    let (Some(noise_a), Some(noise_b)) = (Noise::of(measure, a), Noise::of(measure, b)) else {
        return Judged::Shown;
    };
    let noise = noise_a.between(noise_b);
    if difference.abs() <= noise { Judged::WithinNoise { noise } } else { Judged::Beyond { noise } }
}

fn warnings(a: &Outcome, b: &Outcome) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, outcome) in [("A", a), ("B", b)] {
        match &outcome.end {
            End::Complete => {}
            End::Interrupted { at_s } => {
                warnings.push(format!("{name} was interrupted after {} s.", number(*at_s)));
            }
            End::Failed { at_s, why } => {
                warnings.push(format!("{name} failed after {} s: {why}.", number(*at_s)));
            }
        }
        if !outcome.tool.limits.is_empty() {
            warnings.push(format!(
                "In {name} loadtest itself was the limit: {}.",
                outcome.tool.limits.join("; ")
            ));
        }
    }
    if a.scenario.name != b.scenario.name {
        warnings.push(format!(
            "The scenarios are {} and {}.",
            short(&a.scenario.name),
            short(&b.scenario.name)
        ));
    } else if !is_same_load(a, b) {
        warnings.push("The scenarios have one name and differ in what they do.".to_owned());
    }
    if a.machine.processor_name != b.machine.processor_name || a.machine.processors != b.machine.processors {
        warnings.push(format!(
            "The machines differ: {} × {} and {} × {}.",
            a.machine.processors,
            short(&a.machine.processor_name),
            b.machine.processors,
            short(&b.machine.processor_name)
        ));
    }
    warnings
}

/// Where they go, what must hold and how it is described may differ: that is what people compare.
fn is_same_load(a: &Outcome, b: &Outcome) -> bool {
    let mut other = b.scenario.clone();
    other.target = a.scenario.target.clone();
    other.thresholds = a.scenario.thresholds.clone();
    other.description.clone_from(&a.scenario.description);
    other == a.scenario
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{hostile, sample};

    fn judged(comparison: &Comparison, name: &str) -> Judged {
        comparison.figures.iter().find(|figure| figure.name.starts_with(name)).unwrap().judged
    }

    #[test]
    fn a_run_compared_with_itself_differs_in_nothing() {
        let comparison = compare(&sample(), &sample());
        assert_eq!((comparison.beyond().count(), comparison.warnings.len()), (0, 0));
        assert!(comparison.figures.iter().all(|figure| figure.difference == Some(0.0)), "{comparison:?}");
        assert!(matches!(judged(&comparison, "delay p99"), Judged::WithinNoise { .. }));
    }

    #[test]
    fn a_clear_difference_is_told_from_noise() {
        let mut slower = sample();
        for second in &mut slower.series {
            second.delay_p99_us += 5_000;
            second.packets_received += 1;
        }
        let late = crate::report::samples::spread(9_000, 3_000);
        slower.delays.video.add(&late);
        slower.counts.packets_received += 20;
        let comparison = compare(&sample(), &slower);
        assert!(matches!(judged(&comparison, "delay p99"), Judged::Beyond { .. }), "{comparison:?}");
        assert!(
            matches!(judged(&comparison, "received by callers"), Judged::WithinNoise { .. }),
            "{comparison:?}"
        );
        let table = comparison.table();
        assert!(
            table.lines().any(|line| line.contains("delay p99, ms") && line.ends_with("DIFFERENT")),
            "{table}"
        );
    }

    #[test]
    fn figures_without_a_series_are_shown_and_not_judged() {
        let mut b = sample();
        b.joins.total = crate::report::samples::spread(900_000, 8);
        b.servers[0].memory_mib_max = 400.0;
        let comparison = compare(&sample(), &b);
        for name in ["join p50", "join p95", "frozen", "memory", "processor of a packet"] {
            assert_eq!(judged(&comparison, name), Judged::Shown, "{name}");
        }
        assert_eq!(comparison.beyond().count(), 0);
    }

    #[test]
    fn a_run_of_one_second_judges_nothing() {
        let mut short = sample();
        short.measured.to_s = short.measured.from_s + 1.0;
        assert!(compare(&short, &sample()).figures.iter().all(|figure| figure.judged == Judged::Shown));
    }

    #[test]
    fn what_makes_two_runs_hard_to_compare_is_said() {
        let mut b = sample();
        b.scenario.conferences = 3;
        b.machine.processors = 64;
        b.end = End::Interrupted { at_s: 9.0 };
        b.tool.limits = vec!["a media thread was busy".to_owned()];
        let warnings = compare(&sample(), &b).warnings.join("\n");
        for text in [
            "B was interrupted after 9 s",
            "In B loadtest itself",
            "differ in what they do",
            "2 × Test and 64 × Test",
        ] {
            assert!(warnings.contains(text), "{text}: {warnings}");
        }
        let mut elsewhere = sample();
        elsewhere.scenario.target.url = "http://other".to_owned();
        assert!(compare(&sample(), &elsewhere).warnings.is_empty(), "another target is what one compares");
    }

    #[test]
    fn hostile_names_stay_text() {
        let table = compare(&hostile(), &sample()).table();
        assert!(!table.chars().any(|character| character.is_control() && character != '\n'), "{table:?}");
    }
}

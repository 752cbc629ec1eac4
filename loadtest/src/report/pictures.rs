//! Which charts a report has, and what is said beside each.

use super::charts::{Bar, BarChart, Line, LineChart, legend};
use super::grid::Grid;
use super::words::{NOTHING, escape, number};
use crate::outcome::{Distribution, Outcome, Second};

/// A chart with its heading, its legend and the same in figures.
pub(crate) struct Picture {
    heading: String,
    svg: String,
    legend: String,
    grid: Grid,
}

impl Picture {
    pub(crate) fn of_lines(heading: &str, chart: &LineChart, grid: Grid) -> Self {
        let legend = legend(chart.lines.iter().map(|line| line.name.as_str()));
        Self { heading: heading.to_owned(), svg: chart.svg(), legend, grid }
    }

    /// As `<figure>`.
    pub(crate) fn html(&self) -> String {
        format!(
            "<figure><h3>{}</h3>{}{}{}</figure>\n",
            escape(&self.heading),
            self.legend,
            self.svg,
            self.grid.html(&format!("{} in figures", self.heading))
        )
    }
}

/// All charts of an outcome that show something, in the order in which they are read.
pub(crate) fn pictures(outcome: &Outcome) -> Vec<Picture> {
    let mut all: Vec<Picture> = over_time().iter().map(|series| series.picture(outcome)).collect();
    all.push(delays(outcome));
    all.push(joins(outcome));
    all.retain(|picture| !picture.svg.is_empty());
    all
}

/// Lines over the seconds of a run.
struct Series {
    id: &'static str,
    heading: &'static str,
    y: &'static str,
    lines: &'static [(&'static str, Value)],
}

type Value = fn(&Second) -> f64;

fn over_time() -> [Series; 5] {
    [
        Series {
            id: "callers",
            heading: "Callers",
            y: "callers",
            lines: &[
                ("with media", |second| second.callers_up as f64),
                ("joining", |second| second.callers_joining as f64),
                ("failed so far", |second| second.joins_failed as f64),
            ],
        },
        Series {
            id: "packets",
            heading: "Packets",
            y: "packets/s",
            lines: &[
                ("received by callers", |second| second.packets_received as f64),
                ("sent by callers", |second| second.packets_sent as f64),
            ],
        },
        Series {
            id: "loss",
            heading: "Packets lost for good",
            y: "% of packets",
            lines: &[("lost", |second| {
                let expected = second.packets_received + second.packets_lost;
                second.packets_lost as f64 * 100.0 / expected.max(1) as f64
            })],
        },
        Series {
            id: "delay",
            heading: "One-way delay of packets",
            y: "ms",
            lines: &[
                ("p50", |second| second.delay_p50_us as f64 / 1e3),
                ("p95", |second| second.delay_p95_us as f64 / 1e3),
                ("p99", |second| second.delay_p99_us as f64 / 1e3),
            ],
        },
        Series {
            id: "busy",
            heading: "Who was busy",
            y: "% of a core",
            lines: &[
                ("busiest server worker", |second| second.server_busy * 100.0),
                ("busiest loadtest thread", |second| second.tool_busy * 100.0),
                ("all of loadtest", |second| second.tool_processors * 100.0),
            ],
        },
    ]
}

impl Series {
    fn picture(&self, outcome: &Outcome) -> Picture {
        let seconds: Vec<&Second> = whole(outcome).collect();
        let step = seconds.len().div_ceil(POINTS_MAX).max(1);
        let lines: Vec<Line> = self
            .lines
            .iter()
            .map(|(name, value)| Line { name: (*name).to_owned(), points: points(&seconds, *value, step) })
            .collect();
        let mean_of =
            if step > 1 { format!(" Each point is the mean of {step} seconds.") } else { String::new() };
        let names: Vec<&str> = self.lines.iter().map(|(name, _)| *name).collect();
        let chart = LineChart {
            id: self.id.to_owned(),
            title: format!("{} over the run", self.heading),
            description: format!(
                "{}, {}, second by second; the measured part is marked.{mean_of}",
                names.join(", "),
                self.y
            ),
            x: "seconds since the start",
            y: self.y,
            lines,
            marked: Some((outcome.measured.from_s, outcome.measured.to_s)),
            limit: None,
            is_log: false,
        };
        Picture::of_lines(self.heading, &chart, self.grid(outcome))
    }

    /// Least, mean and largest second of the measured part.
    fn grid(&self, outcome: &Outcome) -> Grid {
        let unit = self.y;
        let mut grid = Grid::new(&[&format!("measured part, {unit}"), "least", "mean", "most"]);
        for (name, value) in self.lines {
            let values: Vec<f64> = measured(outcome).map(value).collect();
            let shown = |found: f64| if values.is_empty() { NOTHING.to_owned() } else { number(found) };
            let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            grid.row([(*name).to_owned(), shown(least), shown(mean), shown(most)]);
        }
        grid
    }
}

/// The seconds of a run; what its last sample holds of a second that was cut short tells no rate.
fn whole(outcome: &Outcome) -> impl Iterator<Item = &Second> {
    let ends = outcome.series.iter().map(|second| second.at_s);
    let begins = std::iter::once(0.0).chain(ends);
    outcome
        .series
        .iter()
        .zip(begins)
        .filter(|(second, begin)| second.at_s - begin >= HALF)
        .map(|(second, _)| second)
}

/// The whole seconds of the measured part; a second is named by its end and belongs to the part in which most of it lies.
pub(crate) fn measured(outcome: &Outcome) -> impl Iterator<Item = &Second> {
    let (from, to) = (outcome.measured.from_s, outcome.measured.to_s);
    whole(outcome).filter(move |second| second.at_s > from + HALF && second.at_s < to + HALF)
}

fn points(series: &[&Second], value: Value, step: usize) -> Vec<(f64, f64)> {
    series
        .chunks(step)
        .filter_map(|chunk| {
            let mean = chunk.iter().map(|second| value(second)).sum::<f64>() / chunk.len() as f64;
            Some((chunk.last()?.at_s, mean))
        })
        .collect()
}

fn delays(outcome: &Outcome) -> Picture {
    let delays = &outcome.delays;
    let kinds = [
        ("audio packets", &delays.audio),
        ("video packets", &delays.video),
        ("whole pictures", &delays.frames),
    ];
    let chart = LineChart {
        id: "cdf".to_owned(),
        title: "Distribution of one-way delays".to_owned(),
        description: "Share of audio packets, video packets and whole pictures that took at most so long; the time is logarithmic.".to_owned(),
        x: "ms (logarithmic)",
        y: "% that took at most so long",
        lines: kinds.iter().map(|(name, distribution)| cumulative(name, distribution)).collect(),
        marked: None,
        limit: None,
        is_log: true,
    };
    Picture::of_lines("How long packets took", &chart, super::sections::delays(outcome))
}

/// Each percent, and the tail more finely: the last percent is what people hear.
fn cumulative(name: &str, distribution: &Distribution) -> Line {
    let shares = (0..=99).map(|percent| f64::from(percent) / 100.0);
    let tail = (1..=100).map(|step| 0.99 + f64::from(step) / 10_000.0);
    let point = |share: f64| (distribution.quantile(share).max(1) as f64 / 1e3, share * 100.0);
    let points = if distribution.count() == 0 { Vec::new() } else { shares.chain(tail).map(point).collect() };
    Line { name: name.to_owned(), points }
}

fn joins(outcome: &Outcome) -> Picture {
    let bar = |(stage, distribution): (&str, &Distribution)| Bar {
        name: stage.to_owned(),
        full: distribution.quantile(0.5) as f64 / 1e3,
        pale: distribution.quantile(0.95) as f64 / 1e3,
    };
    let chart = BarChart {
        id: "joins".to_owned(),
        title: "How long each step of joining took".to_owned(),
        description: "One bar for each step: the full part ends at the median, the pale part at the 95th percentile. The last is the whole, without waiting for a second participant.".to_owned(),
        x: "ms (full: median, pale: 95th percentile)",
        bars: outcome.joins.stages().into_iter().map(bar).collect(),
    };
    Picture {
        heading: "How long joining took".to_owned(),
        svg: chart.svg(),
        legend: String::new(),
        grid: super::sections::joins(outcome),
    }
}

/// More points than a picture has columns draw nothing more.
const POINTS_MAX: usize = 480;
/// Seconds are sampled a little early or late.
const HALF: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{sample, well_formed};

    #[test]
    fn every_picture_of_a_run_is_well_formed_and_has_a_name_a_description_and_figures() {
        let pictures = pictures(&sample());
        assert_eq!(pictures.len(), 7);
        for picture in pictures {
            well_formed(&picture.html());
            assert!(
                picture.svg.contains("<title") && picture.svg.contains("<desc") && !picture.grid.is_empty()
            );
        }
    }

    #[test]
    fn figures_beside_a_chart_are_of_the_measured_part_alone() {
        let mut outcome = sample();
        outcome.series[0].packets_received = 1_000_000;
        assert_eq!(
            measured(&outcome).map(|second| second.at_s).collect::<Vec<_>>(),
            (6..=25).map(f64::from).collect::<Vec<_>>()
        );
        let grid = over_time()[1].grid(&outcome).text();
        assert!(grid.contains("6,020") && !grid.contains("1,000,000"), "{grid}");
    }

    #[test]
    fn a_second_that_was_cut_short_is_neither_drawn_nor_counted() {
        let mut outcome = sample();
        outcome.series.push(Second { at_s: 25.02, packets_received: 3, ..Second::default() });
        assert_eq!((whole(&outcome).count(), measured(&outcome).count()), (25, 20));
        assert!(
            over_time()[1].grid(&outcome).text().contains("6,000"),
            "the least is that of a whole second"
        );
    }

    #[test]
    fn an_hour_is_drawn_with_as_many_points_as_fit() {
        let mut outcome = sample();
        let second = outcome.series[10].clone();
        outcome.series = (1..=3_600).map(|at| Second { at_s: f64::from(at), ..second.clone() }).collect();
        let picture = over_time()[0].picture(&outcome);
        assert!(picture.svg.contains("the mean of 8 seconds"));
        assert_eq!(points(&whole(&outcome).collect::<Vec<_>>(), |second| second.at_s, 8).len(), 450);
    }

    #[test]
    fn a_run_without_a_second_has_no_pictures() {
        let mut outcome = sample();
        outcome.series.clear();
        outcome.delays = Default::default();
        outcome.joins = Default::default();
        assert!(pictures(&outcome).is_empty());
    }
}

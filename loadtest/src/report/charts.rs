//! Charts as SVG in strings, by plotters. Colours are those of [`COLOURS`] in light; the page's style sheet maps the same
//! values to others in dark, and gives every line but the first a pattern of dashes for readers who see no colours.

use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::words::{escape, number};

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// For the legend.
    pub(crate) name: String,
    /// From left to right; negative values, and what no run measures, are left out.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines over one axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LineChart {
    /// Unique in its page, letters and underscores only: the title is referred to by it.
    pub(crate) id: String,
    /// What is shown, for readers who do not see it.
    pub(crate) title: String,
    /// What can be seen in it, in one sentence.
    pub(crate) description: String,
    /// With unit.
    pub(crate) x: &'static str,
    /// With unit.
    pub(crate) y: &'static str,
    /// Four at most.
    pub(crate) lines: Vec<Line>,
    /// A part of the x axis that is marked.
    pub(crate) marked: Option<(f64, f64)>,
    /// A horizontal limit.
    pub(crate) limit: Option<f64>,
    /// Whether x is logarithmic; then only positive values are shown.
    pub(crate) is_log: bool,
}

/// One horizontal bar: a full part and a pale one behind it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    /// Left of it.
    pub(crate) name: String,
    /// End of the full part.
    pub(crate) full: f64,
    /// End of the pale part.
    pub(crate) pale: f64,
}

/// Bars from top to bottom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BarChart {
    /// As in [`LineChart`].
    pub(crate) id: String,
    /// As in [`LineChart`].
    pub(crate) title: String,
    /// As in [`LineChart`].
    pub(crate) description: String,
    /// With unit.
    pub(crate) x: &'static str,
    /// At least one.
    pub(crate) bars: Vec<Bar>,
}

type Failed = DrawingAreaErrorKind<std::io::Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

impl LineChart {
    /// The chart as `<svg>`; empty where there is nothing to draw.
    pub(crate) fn svg(&self) -> String {
        let lines: Vec<Vec<(f64, f64)>> = self.lines.iter().map(|line| self.shown(line)).collect();
        let points = || lines.iter().flatten();
        let Some(mut xs) = range(points().map(|point| point.0)) else { return String::new() };
        if self.is_log {
            // Whole decades: those are what such an axis has names for.
            xs = 10_f64.powf(xs.start.log10().floor())..10_f64.powf(xs.end.log10().ceil());
        }
        let top = points().map(|point| point.1).chain(self.limit).fold(0.0, f64::max);
        // A line of zeros still needs an axis.
        let ys = 0.0..if top > 0.0 { top * 1.08 } else { 1.0 };
        let drawn = draw(|area| {
            if self.is_log {
                self.draw(area, (xs.start..xs.end).log_scale(), (&lines, &xs, ys.clone()))
            } else {
                self.draw(area, xs.clone(), (&lines, &xs, ys.clone()))
            }
        });
        framed(drawn.as_deref(), &self.id, &self.title, &self.description)
    }

    fn shown(&self, line: &Line) -> Vec<(f64, f64)> {
        let least = if self.is_log { 1.0 / DRAWN_MAX } else { 0.0 };
        let is_shown =
            |&&(x, y): &&(f64, f64)| (least..DRAWN_MAX).contains(&x) && (0.0..DRAWN_MAX).contains(&y);
        line.points.iter().filter(is_shown).copied().collect()
    }

    fn draw<X>(&self, area: &Area<'_>, x: X, (lines, xs, ys): Drawn<'_>) -> Result<(), Failed>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .x_label_area_size(X_LABELS)
            .y_label_area_size(Y_LABELS)
            .build_cartesian_2d(x, ys.clone())?;
        if let Some((from, to)) = self.marked {
            let corners = [(from.max(xs.start), 0.0), (to.min(xs.end), ys.end)];
            chart.draw_series([Rectangle::new(corners, MARKED.filled())])?;
        }
        let words = ("sans-serif", TEXT).into_font().color(&INK);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID.stroke_width(2))
            .x_labels(6)
            .y_labels(5)
            .x_label_formatter(&|value| axis_number(*value))
            .y_label_formatter(&|value| axis_number(*value))
            .x_desc(self.x)
            .y_desc(self.y)
            .label_style(words.clone())
            .axis_desc_style(words)
            .draw()?;
        if let Some(limit) = self.limit {
            chart.draw_series([PathElement::new(
                [(xs.start, limit), (xs.end, limit)],
                LIMIT.stroke_width(3),
            )])?;
        }
        for (points, colour) in lines.iter().zip(COLOURS) {
            let style = colour.stroke_width(STROKE);
            chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            if points.len() <= DOTS_MAX {
                chart.draw_series(points.iter().map(|&point| Circle::new(point, 6, colour.filled())))?;
            }
        }
        Ok(())
    }
}

/// Lines, what x spans, what y spans.
type Drawn<'a> = (&'a [Vec<(f64, f64)>], &'a Range<f64>, Range<f64>);

impl BarChart {
    /// The chart as `<svg>`; empty where there is nothing to draw.
    pub(crate) fn svg(&self) -> String {
        let longest = self.bars.iter().map(|bar| bar.pale.max(bar.full)).filter(|&end| end < DRAWN_MAX);
        let end = longest.fold(0.0, f64::max);
        if end <= 0.0 {
            return String::new();
        }
        let drawn = draw(|area| self.draw(area, end * 1.04));
        framed(drawn.as_deref(), &self.id, &self.title, &self.description)
    }

    fn draw(&self, area: &Area<'_>, end: f64) -> Result<(), Failed> {
        let rows = Rows(self.bars.len());
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .x_label_area_size(X_LABELS)
            .y_label_area_size(NAMES)
            .build_cartesian_2d(0.0..end, rows)?;
        let words = ("sans-serif", TEXT).into_font().color(&INK);
        let name =
            |row: &f64| self.bars.get(row.floor() as usize).map_or_else(String::new, |bar| bar.name.clone());
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID.stroke_width(2))
            .x_labels(6)
            .y_labels(self.bars.len())
            .x_label_formatter(&|value| axis_number(*value))
            .y_label_formatter(&name)
            .x_desc(self.x)
            .label_style(words.clone())
            .axis_desc_style(words)
            .draw()?;
        for (row, bar) in self.bars.iter().enumerate() {
            let span = |end: f64, inset: f64| [(0.0, row as f64 + inset), (end, (row + 1) as f64 - inset)];
            chart.draw_series([Rectangle::new(span(bar.pale, 0.22), PALE.filled())])?;
            chart.draw_series([Rectangle::new(span(bar.full, 0.22), COLOURS[0].filled())])?;
        }
        Ok(())
    }
}

/// Rows from top to bottom, one unit each, named in their middle.
#[derive(Debug, Clone, Copy)]
struct Rows(usize);

impl Ranged for Rows {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        // plotters gives the lower end of the picture first; the first row is at the upper one.
        high + ((value / self.0.max(1) as f64) * f64::from(low - high)).round() as i32
    }

    fn key_points<Hint: plotters::coord::ranged1d::KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        (0..self.0).map(|row| row as f64 + 0.5).collect()
    }

    fn range(&self) -> Range<f64> {
        0.0..self.0 as f64
    }
}

impl ValueFormatter<f64> for Rows {}

/// What the lines of a chart mean, as HTML: each name beside a piece of its line.
pub(crate) fn legend<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for (name, colour) in names.into_iter().zip(COLOURS) {
        let RGBColor(red, green, blue) = colour;
        html.push_str(&format!(
            "<li><svg viewBox=\"0 0 48 12\" aria-hidden=\"true\"><line x1=\"0\" y1=\"6\" x2=\"48\" y2=\"6\" \
             stroke=\"#{red:02X}{green:02X}{blue:02X}\" stroke-width=\"6\"/></svg>{}</li>",
            escape(name)
        ));
    }
    html.push_str("</ul>");
    html
}

fn draw(paint: impl FnOnce(&Area<'_>) -> Result<(), Failed>) -> Option<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let is_drawn = paint(&area).is_ok() && area.present().is_ok();
    drop(area);
    is_drawn.then_some(svg)
}

/// Gives the picture its name and its description, and lets the page choose its size.
fn framed(drawn: Option<&str>, id: &str, title: &str, description: &str) -> String {
    let Some((_, body)) = drawn.and_then(|svg| svg.split_once('>')) else { return String::new() };
    let (width, height) = SIZE;
    format!(
        "<svg role=\"img\" aria-labelledby=\"{id}-t {id}-d\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{body}",
        escape(title),
        escape(description)
    )
}

/// What the values span, never empty.
fn range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let ends = values.fold(None, |ends: Option<(f64, f64)>, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    });
    let (low, high) = ends?;
    // One point alone still needs an axis, also a logarithmic one.
    if high > low { Some(low..high) } else { Some(low..(low * 1.1).max(low + 1e-3)) }
}

/// Short enough for the edge of a chart: `0.5`, `20`, `1.5k`, `2M`.
fn axis_number(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 {
        return format!("{}M", number(value / 1e6));
    }
    if size >= 1e4 { format!("{}k", number(value / 1e3)) } else { number(value) }
}

/// Twice the size at which a desktop shows it: plotters has whole pixels only.
const SIZE: (u32, u32) = (960, 520);
/// Letters of 10 pixels remain of it where a phone shrinks the picture to 360 pixels.
const TEXT: u32 = 34;
const MARGIN: u32 = 14;
const X_LABELS: u32 = 84;
const Y_LABELS: u32 = 118;
/// The longest stage of joining.
const NAMES: u32 = 200;
const STROKE: u32 = 4;
/// plotters looks for round numbers on an axis step by step; with what no run measures it would look for ever.
const DRAWN_MAX: f64 = 1e12;
/// So few points are measurements that a reader wants to see one by one.
const DOTS_MAX: usize = 40;

/// Okabe and Ito's colours, told apart by people who see fewer.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
];
const INK: RGBColor = RGBColor(0x3A, 0x41, 0x4A);
const GRID: RGBColor = RGBColor(0xD5, 0xDA, 0xE1);
const MARKED: RGBColor = RGBColor(0xEE, 0xF3, 0xF9);
const PALE: RGBColor = RGBColor(0xA9, 0xCF, 0xE8);
const LIMIT: RGBColor = RGBColor(0xC0, 0x1C, 0x28);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::well_formed;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        LineChart {
            id: "test".to_owned(),
            title: "A & B".to_owned(),
            description: "<script>".to_owned(),
            x: "s",
            y: "ms",
            lines: vec![
                Line { name: "a".to_owned(), points: points.clone() },
                Line { name: "b".to_owned(), points },
            ],
            marked: Some((0.0, 5.0)),
            limit: None,
            is_log: false,
        }
    }

    /// The points of the first polyline of a colour.
    fn polyline(svg: &str, colour: &str) -> Vec<(f64, f64)> {
        let line = svg.lines().find(|line| line.starts_with("<polyline") && line.contains(colour)).unwrap();
        let points = line.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let number = |text: &str| text.parse::<f64>().unwrap();
        points
            .split_whitespace()
            .map(|pair| pair.split_once(',').unwrap())
            .map(|(x, y)| (number(x), number(y)))
            .collect()
    }

    #[test]
    fn a_line_carries_its_data_in_proportion() {
        let svg = chart(vec![(0.0, 0.0), (5.0, 100.0), (10.0, 50.0)]).svg();
        well_formed(&svg);
        let points = polyline(&svg, "#0072B2");
        assert_eq!(points.len(), 3);
        let (low, top, middle) = (points[0].1, points[1].1, points[2].1);
        assert!(((low - middle) / (low - top) - 0.5).abs() < 0.01, "{points:?}");
        assert!(((points[1].0 - points[0].0) / (points[2].0 - points[0].0) - 0.5).abs() < 0.01, "{points:?}");
        assert_eq!(polyline(&svg, "#D55E00"), points, "the second line too");
    }

    #[test]
    fn a_logarithmic_axis_gives_every_decade_the_same_room() {
        let mut log = chart(vec![(0.1, 1.0), (1.0, 2.0), (10.0, 3.0), (0.0, 9.0), (-1.0, 9.0)]);
        log.is_log = true;
        let points = polyline(&log.svg(), "#0072B2");
        assert_eq!(points.len(), 3, "what has no logarithm is left out");
        assert!(((points[1].0 - points[0].0) - (points[2].0 - points[1].0)).abs() <= 2.0, "{points:?}");
    }

    #[test]
    fn title_and_description_are_there_and_escaped() {
        let svg = chart(vec![(0.0, 1.0), (1.0, 2.0)]).svg();
        assert!(
            svg.contains("<title id=\"test-t\">A &amp; B</title><desc id=\"test-d\">&lt;script&gt;</desc>"),
            "{svg}"
        );
        assert!(svg.starts_with("<svg role=\"img\" aria-labelledby=\"test-t test-d\""), "{svg}");
    }

    #[test]
    fn odd_data_is_drawn_or_left_out_and_never_panics() {
        let odd = [
            vec![],
            vec![(f64::NAN, 1.0)],
            vec![(1.0, f64::INFINITY)],
            vec![(3.0, 0.0)],
            vec![(0.0, 0.0), (1.0, 0.0)],
            vec![(1e-300, 1e300), (1e300, 1e-300)],
            vec![(7.0, 7.0), (7.0, 9.0)],
            vec![(1e9, 5.0)],
        ];
        for points in odd {
            for is_log in [false, true] {
                let mut chart = chart(points.clone());
                chart.is_log = is_log;
                well_formed(&chart.svg());
            }
        }
        assert_eq!(chart(vec![]).svg(), "");
    }

    #[test]
    fn bars_are_as_long_as_their_values_and_stand_in_order() {
        let bar = |name: &str, full, pale| Bar { name: name.to_owned(), full, pale };
        let bars = vec![bar("first", 10.0, 20.0), bar("second", 20.0, 40.0)];
        let chart = BarChart { id: "bars".into(), title: "T".into(), description: "D".into(), x: "ms", bars };
        let svg = chart.svg();
        well_formed(&svg);
        let number = |line: &str, key: &str| -> f64 {
            line.split(&format!(" {key}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        };
        let full: Vec<&str> = svg.lines().filter(|line| line.contains("fill=\"#0072B2\"")).collect();
        let pale: Vec<&str> = svg.lines().filter(|line| line.contains("fill=\"#A9CFE8\"")).collect();
        let width = |line| number(line, "width");
        assert!(
            (width(full[1]) / width(full[0]) - 2.0).abs() < 0.02
                && (width(pale[0]) / width(full[0]) - 2.0).abs() < 0.02
        );
        assert!(number(full[0], "y") < number(full[1], "y"), "the first is the upper one");
        let (first, second) = (svg.find("first").unwrap(), svg.find("second").unwrap());
        assert!(first > 0 && second > 0);
    }
}

//! A plan as one HTML page.

use super::slo::{Criterion, key};
use super::{Plan, text};
use crate::report::words::{escape, number};
use crate::report::{Line, LineChart, Picture, marked, page};

/// The whole page.
pub(super) fn html(plan: &Plan) -> String {
    let mut body = header(plan);
    body.push_str("<section><h2>How many it carries</h2><ul class=\"statements\">");
    for (is_good, line) in text::conclusions(plan) {
        body.push_str(&marked(is_good, &line));
    }
    body.push_str("</ul>");
    let grids = [
        ("What was carried", text::capacity(plan)),
        ("What numbers of participants need, one bridge and one relay spare", text::fleets(plan)),
        ("Levels, median of their runs", text::levels(plan)),
    ];
    for (caption, grid) in grids.iter().filter(|(_, grid)| !grid.is_empty()) {
        body.push_str(&grid.html(caption));
    }
    body.push_str("</section>\n<section><h2>How it breaks</h2><div class=\"charts\">");
    for criterion in plan.slo.limits() {
        body.push_str(&picture(plan, criterion).html());
    }
    body.push_str("</div></section>\n");
    body.push_str(&costs(plan));
    page(&format!("{} – loadtest plan", plan.scenario.name), &body)
}

fn header(plan: &Plan) -> String {
    format!(
        "<header><p class=\"kind\">loadtest plan</p><h1>{}</h1><p>{}</p><p class=\"facts\">{} · loadtest {} · target {} · {}</p></header>\n",
        escape(&plan.scenario.name),
        escape(&plan.scenario.description),
        escape(&plan.started),
        escape(&plan.version),
        escape(&plan.scenario.target.url),
        escape(&text::meaning(plan))
    )
}

/// One criterion over the participants, its limit drawn across.
fn picture(plan: &Plan, (criterion, limit): (Criterion, f64)) -> Picture {
    let points = plan.levels.iter().filter_map(|found| {
        let reading = found.median.get(&criterion).copied().flatten()?;
        Some((found.callers as f64, criterion.shown(reading)))
    });
    let chart = LineChart {
        id: key(criterion),
        title: format!("{} by participants", criterion.name()),
        description: format!(
            "{} at each level that was run, median of its runs; the line across is the limit, {}.",
            criterion.name(),
            number(criterion.shown(limit))
        ),
        x: "participants",
        y: criterion.name(),
        lines: vec![Line { name: "median of the runs".to_owned(), points: points.collect() }],
        marked: None,
        limit: Some(criterion.shown(limit)),
        is_log: false,
    };
    Picture::of_lines(criterion.name(), &chart, text::criterion(plan, criterion))
}

fn costs(plan: &Plan) -> String {
    let mut html = String::from("<section><h2>What it costs</h2>");
    if let Some(cost) = &plan.cost {
        html.push_str(&format!(
            "<p>Processor seconds of the bridges = {}</p><p>{}</p>",
            escape(&text::formula(cost)),
            escape(&text::fit(cost))
        ));
        html.push_str(&text::checks(cost).html("Predicted and found, of runs that the fit has not seen"));
    }
    if let Some(why) = &plan.cost_missing {
        html.push_str(&format!("<p>No cost model: {}.</p>", escape(why)));
    }
    html.push_str("</section>\n");
    html
}

//! The report as one HTML file: no script, nothing fetched from anywhere, readable on a desk and on a phone, by day and by
//! night, and without seeing the charts.

use std::path::Path;

use super::json::{ReportError, write};
use super::words::{escape, number};
use super::{pictures, sections};
use crate::outcome::{End, Outcome};

/// The whole page.
pub fn html(outcome: &Outcome) -> String {
    let mut body = header(outcome);
    body.push_str(&headlines(outcome));
    body.push_str(&charts(outcome));
    body.push_str(&tables(outcome));
    body.push_str(&scenario(outcome));
    page(&format!("{} – loadtest", outcome.scenario.name), &body)
}

/// Writes [`html`].
///
/// # Errors
/// The file cannot be written.
pub fn write_html(outcome: &Outcome, path: &Path) -> Result<(), ReportError> {
    write(path, &html(outcome))
}

/// A page of ours around `body`. Its policy forbids every request and every script, should a name ever slip through.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta name=\"color-scheme\" content=\"light dark\"/><meta name=\"referrer\" content=\"no-referrer\"/>\
         <link rel=\"icon\" href=\"data:,\"/>\
         <title>{}</title>\n<style>{STYLE}</style></head>\n<body><main>\n{body}</main></body></html>\n",
        escape(title)
    )
}

fn header(outcome: &Outcome) -> String {
    let scenario = &outcome.scenario;
    let mut html =
        format!("<header><p class=\"kind\">loadtest report</p><h1>{}</h1>", escape(&scenario.name));
    if !scenario.description.is_empty() {
        html.push_str(&format!("<p>{}</p>", escape(&scenario.description)));
    }
    let ended = match outcome.end {
        End::Complete => "complete",
        End::Interrupted { .. } => "interrupted",
        End::Failed { .. } => "failed",
    };
    html.push_str(&format!(
        "<p class=\"facts\">{} · {ended} · loadtest {} · seed {} · target {}</p></header>\n",
        escape(&outcome.started),
        escape(&outcome.version),
        scenario.seed,
        escape(&scenario.target.url)
    ));
    html
}

fn headlines(outcome: &Outcome) -> String {
    let mut html = String::from("<section aria-label=\"Main figures\"><dl class=\"headlines\">");
    for [name, value, unit] in sections::headlines(outcome) {
        let [name, value, unit] = [name, value, unit].map(|text| escape(&text));
        html.push_str(&format!("<div><dt>{name}</dt><dd><b>{value}</b> <span>{unit}</span></dd></div>"));
    }
    html.push_str("</dl><ul class=\"statements\">");
    for statement in sections::statements(outcome) {
        html.push_str(&marked(statement.is_good, &statement.text));
    }
    html.push_str("</ul></section>\n");
    html
}

/// A statement with a mark that is read out, too.
pub(crate) fn marked(is_good: bool, text: &str) -> String {
    let (class, mark, word) = if is_good { ("good", "✓", "good: ") } else { ("bad", "!", "attention: ") };
    format!(
        "<li class=\"{class}\"><span class=\"mark\" aria-hidden=\"true\">{mark}</span><span><span class=\"spoken\">{word}</span>{}</span></li>",
        escape(text)
    )
}

fn charts(outcome: &Outcome) -> String {
    let figures: String = pictures::pictures(outcome).iter().map(pictures::Picture::html).collect();
    let shown = match figures.as_str() {
        "" => "<p>Nothing was measured that could be drawn.</p>".to_owned(),
        figures => format!("<div class=\"charts\">{figures}</div>"),
    };
    format!("<section><h2>What happened</h2>{shown}</section>\n")
}

fn tables(outcome: &Outcome) -> String {
    let grids = [
        ("Groups of callers", sections::groups(outcome)),
        ("Thresholds", sections::verdicts(outcome)),
        ("Signaling without media", sections::signaling(outcome)),
        ("Servers, as they say themselves", sections::server_grid(outcome)),
        (
            "What servers did not forward, much of it by design, or did not answer",
            sections::server_trouble(outcome),
        ),
        ("loadtest itself", sections::tool(outcome)),
    ];
    let mut html = String::from("<section><h2>In figures</h2>");
    for (caption, grid) in grids.iter().filter(|(_, grid)| !grid.is_empty()) {
        html.push_str(&grid.html(caption));
    }
    html.push_str("<details><summary>Every count</summary>");
    html.push_str(&sections::counts(outcome).html("Sums of the measured part"));
    html.push_str("</details></section>\n");
    html
}

fn scenario(outcome: &Outcome) -> String {
    let machine = &outcome.machine;
    let text = toml::to_string(&outcome.scenario).unwrap_or_default();
    format!(
        "<section><h2>How to run it again</h2><p>loadtest ran on {} × {}, Linux {}, {}. \
         The whole run took {} s.</p><details><summary>The scenario, with every default</summary>\
         <pre tabindex=\"0\">{}</pre></details></section>\n",
        machine.processors,
        escape(&machine.processor_name),
        escape(&machine.kernel),
        if machine.processes > 1 {
            format!("{} processes", machine.processes)
        } else {
            "one process".to_owned()
        },
        number(outcome.series.last().map_or(0.0, |second| second.at_s)),
        escape(&text)
    )
}

/// In a file of its own, so that an editor knows what it is.
const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{hostile, sample, well_formed};

    #[test]
    fn the_page_is_well_formed_and_says_what_matters() {
        let page = html(&sample());
        well_formed(&page);
        for text in [
            "two-meetings",
            "loadtest was not the limit",
            "packet counts agree",
            "Two meetings of four.",
            "whole pictures",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert_eq!(page.matches("<svg role=\"img\"").count(), 7);
    }

    #[test]
    fn no_name_becomes_markup() {
        let page = html(&hostile());
        well_formed(&page);
        for attack in ["<script", "<img", "onerror=alert(2)>"] {
            assert!(!page.contains(attack), "{attack}");
        }
        assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'));
        assert_eq!(page.matches("<title>").count(), 1);
    }

    #[test]
    fn nothing_is_fetched_and_nothing_runs() {
        let page = html(&sample());
        for fetch in ["<script", " src=", "@import", "url(", "<iframe", "<object", "<a ", "javascript:"] {
            assert!(!page.contains(fetch), "{fetch}");
        }
        assert_eq!(page.matches(" href=").count(), 1, "the empty icon");
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn a_page_is_written_and_a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        write_html(&sample(), &path).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("<!doctype html>"));
        let error = write_html(&sample(), &folder.path().join("gone/report.html")).unwrap_err().to_string();
        assert!(error.contains("gone/report.html: No such file"), "{error}");
    }
}

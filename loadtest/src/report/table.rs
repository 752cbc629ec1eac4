//! The report on a terminal.

use super::sections;
use super::words::plain;
use crate::outcome::Outcome;

/// The whole report as aligned text: first what was run and how it ended, then figures, then the statements that a reader
/// has to know before trusting them: whether loadtest was the limit, and whether the servers counted the same packets.
pub fn table(outcome: &Outcome) -> String {
    let scenario = &outcome.scenario;
    let mut text = format!("\n{}", plain(&scenario.name));
    if !scenario.description.is_empty() {
        text.push_str(&format!(": {}", plain(&scenario.description)));
    }
    text.push_str(&format!(
        "\nloadtest {}, {}, seed {}, target {}\n\n",
        plain(&outcome.version),
        plain(&outcome.started),
        scenario.seed,
        plain(&scenario.target.url)
    ));
    let grids = [
        sections::groups(outcome),
        sections::delays(outcome),
        sections::joins(outcome),
        sections::signaling(outcome),
        sections::server_grid(outcome),
        sections::server_trouble(outcome),
        sections::tool(outcome),
        sections::verdicts(outcome),
    ];
    for grid in grids.iter().filter(|grid| !grid.is_empty()) {
        text.push_str(&grid.text());
        text.push('\n');
    }
    for statement in sections::statements(outcome) {
        let mark = if statement.is_good { ' ' } else { '!' };
        text.push_str(&format!("{mark} {}\n", plain(&statement.text)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::End;
    use crate::report::samples::{hostile, sample};

    #[test]
    fn a_terminal_reads_whether_loadtest_was_the_limit_and_whether_the_counts_agree() {
        let good = table(&sample());
        assert!(good.contains("loadtest was not the limit"), "{good}");
        assert!(good.contains("packet counts agree"), "{good}");
        assert!(good.contains("All 2 thresholds hold"), "{good}");
        let mut outcome = sample();
        outcome.tool.limits = vec!["a media thread was 97 % busy".to_owned()];
        let mut agreement = outcome.agreement.unwrap();
        agreement.difference = 0.5;
        outcome.agreement = Some(agreement);
        outcome.verdicts[0].holds = false;
        let bad = table(&outcome);
        assert!(bad.contains("! loadtest itself was the limit"), "{bad}");
        assert!(bad.contains("! The servers' packet counts do not agree"), "{bad}");
        assert!(bad.contains("! 1 of 2 thresholds are broken: loss_max"), "{bad}");
    }

    #[test]
    fn a_run_that_failed_says_why_and_shows_what_there_is() {
        let mut outcome = sample();
        outcome.end = End::Failed { at_s: 1.5, why: "http://127.0.0.1:1 refused the connection".to_owned() };
        outcome.joins.failed.insert("connect".to_owned(), 3);
        outcome.servers[0].answers = 0;
        outcome.measured = Default::default();
        let text = table(&outcome);
        assert!(
            text.contains("! The run failed after 1.5 s: http://127.0.0.1:1 refused the connection."),
            "{text}"
        );
        assert!(text.contains("3 of 8 joins failed: connect (3)."), "{text}");
        assert!(text.contains("(no answer)"), "{text}");
    }

    #[test]
    fn no_name_moves_the_cursor() {
        let text = table(&hostile());
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text:?}");
    }

    #[test]
    fn lines_are_aligned_and_none_ends_in_spaces() {
        let text = table(&sample());
        assert!(text.lines().all(|line| line.trim_end() == line));
        let joining: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.contains("joining, ms"))
            .take_while(|line| !line.is_empty())
            .collect();
        assert_eq!(joining.len(), 9);
        let width = joining[0].chars().count();
        assert!(joining.iter().all(|line| line.chars().count() == width), "{}", joining.join("\n"));
    }
}

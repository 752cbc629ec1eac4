//! What a person sees while a run goes on: a few lines that are drawn again each second, or, where stderr is no
//! terminal, a plain line now and then.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::outcome::Second;

/// The display of one run.
pub(crate) struct Progress {
    face: Face,
    /// Whole seconds at which the last plain line was said.
    said_at_s: f64,
}

enum Face {
    Hidden,
    Drawn(ProgressBar),
    Plain,
}

/// What the run is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Phase {
    /// Callers join.
    Joining,
    /// Everybody is in; media gets going.
    WarmingUp,
    /// Seconds done, of how many.
    Measuring(f64, f64),
    /// Callers leave, servers' numbers settle.
    Leaving,
}

impl Progress {
    /// Hidden, unless somebody wants to see it.
    pub(crate) fn new(is_wanted: bool) -> Self {
        let face = match (is_wanted, io::stderr().is_terminal()) {
            (false, _) => Face::Hidden,
            (true, false) => Face::Plain,
            (true, true) => Face::Drawn(spinner()),
        };
        Self { face, said_at_s: f64::NEG_INFINITY }
    }

    /// Another second has passed.
    pub(crate) fn show(&mut self, phase: Phase, second: &Second) {
        match &self.face {
            Face::Hidden => {}
            Face::Drawn(bar) => bar.set_message(lines(phase, second).join("\n  ")),
            Face::Plain => {
                let is_due = second.at_s - self.said_at_s >= PLAIN_EVERY_S;
                if is_due {
                    self.said_at_s = second.at_s;
                    say(&format!("[{:>4.0} s] {}", second.at_s, lines(phase, second).join("; ")));
                }
            }
        }
    }

    /// Something that a person should know at once, whether progress is shown or not.
    pub(crate) fn tell(&self, line: &str) {
        match &self.face {
            Face::Drawn(bar) => bar.suspend(|| say(line)),
            Face::Hidden | Face::Plain => say(line),
        }
    }

    /// Wipes the lines, so that the report begins on an empty one.
    pub(crate) fn finish(&self) {
        if let Face::Drawn(bar) = &self.face {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // Invariant: the template is a constant that a test draws with.
    bar.set_style(style().unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn style() -> Result<ProgressStyle, indicatif::style::TemplateError> {
    ProgressStyle::with_template("{spinner} [{elapsed_precise}] {msg}")
}

fn lines(phase: Phase, second: &Second) -> [String; 4] {
    let ms = |us: u64| us as f64 / 1_000.0;
    let expected = second.packets_received + second.packets_lost;
    let loss = if expected == 0 { 0.0 } else { second.packets_lost as f64 / expected as f64 * 100.0 };
    let phase = match phase {
        Phase::Joining => "callers join".to_owned(),
        Phase::WarmingUp => "warming up".to_owned(),
        Phase::Measuring(done_s, of_s) => format!("measuring, {done_s:.0} of {of_s:.0} s"),
        Phase::Leaving => "callers leave".to_owned(),
    };
    [
        format!(
            "{phase}: {} up, {} joining, {} failed",
            second.callers_up, second.callers_joining, second.joins_failed
        ),
        format!("packets/s {} out, {} in, loss {loss:.2} %", second.packets_sent, second.packets_received),
        format!(
            "delay p50 {:.1}, p95 {:.1}, p99 {:.1} ms",
            ms(second.delay_p50_us),
            ms(second.delay_p95_us),
            ms(second.delay_p99_us)
        ),
        format!(
            "busy: servers {:.0} %, loadtest {:.0} % ({:.1} processors)",
            second.server_busy * 100.0,
            second.tool_busy * 100.0,
            second.tool_processors
        ),
    ]
}

fn say(line: &str) {
    // Nobody listening is no reason to end a run.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Seconds between plain lines: a log of an hour stays readable.
const PLAIN_EVERY_S: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_told_in_the_units_of_its_labels() {
        let second = Second {
            callers_up: 30,
            callers_joining: 2,
            packets_sent: 900,
            packets_received: 990,
            packets_lost: 10,
            delay_p99_us: 12_340,
            tool_busy: 0.5,
            tool_processors: 0.6,
            server_busy: 0.25,
            ..Second::default()
        };
        let text = lines(Phase::Measuring(7.0, 20.0), &second).join("\n");
        for word in ["measuring, 7 of 20 s: 30 up, 2 joining", "900 out, 990 in, loss 1.00 %", "p99 12.3 ms"]
        {
            assert!(text.contains(word), "{text}");
        }
        assert!(text.contains("servers 25 %, loadtest 50 % (0.6 processors)"), "{text}");
    }

    #[test]
    fn the_style_is_a_valid_one() {
        assert!(style().is_ok());
    }
}

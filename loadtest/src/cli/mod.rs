//! The command line.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | it ran, and every threshold of the scenario holds |
//! | 1 | it could not run, or not to its end |
//! | 2 | it ran, and a threshold is broken |
//! | 78 | the command line, the scenario or a setting is refused |

mod compare;
mod join;
mod plan;
mod run;
mod settings;
mod stop;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use loadtest::outcome::{End, Outcome};
use loadtest::report;
use loadtest::run::RunOptions;
use loadtest::scenario;
use tokio::runtime::Runtime;
use wire::program::{Failure, conclude};

/// Simulated browsers that tell what a fleet carries.
#[derive(Parser)]
#[command(version, about, after_help = AFTER_HELP)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a scenario and reports what was found
    Run(run::RunFlags),
    /// Joins the run of another machine (`loadtest run --coordinator`)
    Join(join::JoinFlags),
    /// Finds what a server carries, and says what to buy
    Plan(plan::PlanFlags),
    /// Compares two reports
    Compare(compare::CompareFlags),
    /// Checks a scenario and ends
    Check {
        /// A file, or the name of a bundled scenario
        scenario: PathBuf,
    },
}

/// Flags of everything that has callers.
#[derive(Args)]
struct MachineFlags {
    /// Threads that carry callers' media
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Shows no progress
    #[arg(long)]
    no_progress: bool,
}

/// Reads the command line, does what it says.
pub(crate) fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return refuse(&error),
    };
    let ended = match flags.command {
        Command::Run(flags) => run::begin(&flags),
        Command::Join(flags) => join::begin(&flags),
        Command::Plan(flags) => plan::begin(&flags),
        Command::Compare(flags) => compare::begin(&flags),
        Command::Check { scenario } => check(&scenario),
    };
    ended.unwrap_or_else(|failure| conclude("loadtest", Err(failure)))
}

/// clap ends with 2, which means a broken threshold here.
fn refuse(error: &clap::Error) -> ExitCode {
    // Nobody listening is no reason to panic.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(wire::settings::EXIT_CODE) } else { ExitCode::SUCCESS }
}

fn check(path: &Path) -> Result<ExitCode, Failure> {
    let scenario = scenario::load(path).map_err(Failure::settings)?;
    let (callers, conferences) = (scenario.callers(), scenario.conferences);
    say(&format!("{}: {callers} callers in {conferences} conferences", scenario.name));
    Ok(ExitCode::SUCCESS)
}

impl MachineFlags {
    fn options(&self) -> RunOptions {
        RunOptions { threads: self.threads.into(), progress: !self.no_progress, stop: None }
    }
}

/// The runtime of all callers' control.
fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::outside)
}

/// A folder to write to, made before there is anything to lose.
fn prepare_folder(folder: Option<&Path>) -> Result<(), Failure> {
    let Some(folder) = folder else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::settings(format!("--out {}: {error}", folder.display())))
}

/// The table on stdout, JSON and HTML in the folder, and the exit code.
fn tell(outcome: &Outcome, folder: Option<&Path>) -> Result<ExitCode, Failure> {
    say(&report::table(outcome));
    if let Some(folder) = folder {
        let (json, html) = (folder.join("report.json"), folder.join("report.html"));
        report::write_json(outcome, &json).map_err(Failure::outside)?;
        report::write_html(outcome, &html).map_err(Failure::outside)?;
        say(&format!("written: {}, {}", html.display(), json.display()));
    }
    if let End::Failed { why, .. } = &outcome.end {
        return Err(Failure::outside(why));
    }
    let is_broken = outcome.verdicts.iter().any(|verdict| !verdict.holds);
    Ok(if is_broken { ExitCode::from(BROKEN_THRESHOLD) } else { ExitCode::SUCCESS })
}

fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{}", line.trim_end());
}

const BROKEN_THRESHOLD: u8 = 2;

const AFTER_HELP: &str = "Exit codes: 0 every threshold holds, 1 the run failed, 2 a threshold is broken, 78 refused. \
    Bundled scenarios run by name, such as `loadtest run many-small-meetings`.";

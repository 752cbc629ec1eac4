//! `loadtest plan`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use loadtest::outcome::Outcome;
use loadtest::plan::{Ending, PlanOptions, Runner, Scale, Slo, plan};
use loadtest::run::RunOptions;
use loadtest::scenario::{self, Scenario};
use tokio::runtime::Runtime;
use wire::program::Failure;

use super::run::Changes;
use super::{MachineFlags, prepare_folder, runtime, say, stop};

#[derive(Args)]
pub(super) struct PlanFlags {
    /// A file, or the name of a bundled scenario
    scenario: PathBuf,
    /// What must hold at the level that is looked for: a TOML file
    #[arg(long)]
    slo: PathBuf,
    #[command(flatten)]
    changes: Changes,
    /// The group whose size grows, one-to-many; default: the number of conferences grows
    #[arg(long)]
    group: Option<String>,
    /// The level to begin with
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    first_level: u32,
    /// Fleets to work out, participants each; several, one flag each
    #[arg(long)]
    participants: Vec<u64>,
    /// Cores of the measured bridges together; default: as many as they are seen to use
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    bridge_cores: Option<u32>,
    /// Where plan.json and plan.html are written; default: nowhere
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineFlags,
}

/// Climbs until the SLO breaks, and says what that means.
pub(super) fn begin(flags: &PlanFlags) -> Result<ExitCode, Failure> {
    let scenario = flags.changes.applied_to(scenario::load(&flags.scenario).map_err(Failure::settings)?)?;
    let slo = Slo::load(&flags.slo).map_err(Failure::settings)?;
    prepare_folder(flags.out.as_deref())?;
    let mut options = PlanOptions { first_level: flags.first_level, ..PlanOptions::default() };
    options.bridge_cores = flags.bridge_cores;
    if let Some(group) = &flags.group {
        options.scale = Scale::Group(group.clone());
    }
    options.scale.check(&scenario).map_err(Failure::settings)?;
    if !flags.participants.is_empty() {
        options.participants.clone_from(&flags.participants);
    }
    let runtime = runtime()?;
    let mut run = flags.machine.options();
    run.stop = Some(runtime.block_on(async { stop::on_ctrl_c() }));
    let found = plan(&scenario, &slo, &options, &mut Real { runtime, options: run });
    let found = found.map_err(Failure::outside)?;
    say(&found.table());
    if let Some(folder) = &flags.out {
        let (json, html) = (folder.join("plan.json"), folder.join("plan.html"));
        found.write_json(&json).map_err(Failure::outside)?;
        found.write_html(&html).map_err(Failure::outside)?;
        say(&format!("written: {}, {}", html.display(), json.display()));
    }
    match found.ending {
        Ending::Failed { why, .. } => Err(Failure::outside(why)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Levels against real servers.
struct Real {
    runtime: Runtime,
    options: RunOptions,
}

impl Runner for Real {
    fn run(&mut self, scenario: &Scenario) -> Outcome {
        self.runtime.block_on(loadtest::run::run(scenario, &self.options))
    }

    fn settle(&mut self, pause: Duration) {
        // The timer belongs to the runtime, so it is made inside.
        self.runtime.block_on(async move { tokio::time::sleep(pause).await });
    }
}

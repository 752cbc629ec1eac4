//! `loadtest run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use loadtest::coordinator::{self, Lead};
use loadtest::scenario::{self, Scenario};
use wire::program::Failure;

use super::{MachineFlags, prepare_folder, runtime, settings, stop, tell};

#[derive(Args)]
pub(super) struct RunFlags {
    /// A file, or the name of a bundled scenario
    scenario: PathBuf,
    #[command(flatten)]
    changes: Changes,
    /// Where report.json and report.html are written; default: nowhere
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineFlags,
    /// Leads a run over several machines: listens here for `loadtest join`
    #[arg(long, requires = "machines", value_name = "ADDRESS:PORT")]
    coordinator: Option<SocketAddr>,
    /// Machines of that run, this one included
    #[arg(long, requires = "coordinator", value_parser = clap::value_parser!(u32).range(2..=1000))]
    machines: Option<u32>,
}

/// What the command line changes in a scenario.
#[derive(Args)]
pub(super) struct Changes {
    /// Everything random is drawn from it
    #[arg(long)]
    seed: Option<u64>,
    /// Signaling's public URL
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// A server's private `/stats`; several, one flag each
    #[arg(long, value_name = "URL")]
    stats: Vec<String>,
    /// Conferences at the same time
    #[arg(long)]
    conferences: Option<u32>,
    /// How long is measured, seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
}

/// Runs it and reports.
pub(super) fn begin(flags: &RunFlags) -> Result<ExitCode, Failure> {
    let scenario = flags.changes.applied_to(scenario::load(&flags.scenario).map_err(Failure::settings)?)?;
    prepare_folder(flags.out.as_deref())?;
    let lead = match (flags.coordinator, flags.machines) {
        (Some(listen), Some(machines)) => Some(Lead { listen, machines, key: settings::coordinator_key()? }),
        _ => None,
    };
    if let Some(lead) = &lead {
        lead.check(&scenario).map_err(Failure::settings)?;
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut options = flags.machine.options();
        options.stop = Some(stop::on_ctrl_c());
        match &lead {
            Some(lead) => coordinator::lead(&scenario, &options, lead).await.map_err(Failure::outside),
            None => Ok(loadtest::run::run(&scenario, &options).await),
        }
    })?;
    runtime.shutdown_background();
    tell(&outcome, flags.out.as_deref())
}

impl Changes {
    /// The scenario as the command line wants it.
    pub(super) fn applied_to(&self, mut scenario: Scenario) -> Result<Scenario, Failure> {
        if let Some(seed) = self.seed {
            scenario.seed = seed;
        }
        if let Some(target) = &self.target {
            scenario.target.url.clone_from(target);
        }
        if !self.stats.is_empty() {
            scenario.target.stats.clone_from(&self.stats);
        }
        if let Some(conferences) = self.conferences {
            scenario.conferences = conferences;
        }
        if let Some(duration_s) = self.duration {
            scenario.duration_s = duration_s;
        }
        let refused = |refusal: scenario::Refusal| {
            Failure::settings(format!("command line: {}: {}", refusal.key, refusal.reason))
        };
        scenario.check().map_err(refused)?;
        Ok(scenario)
    }
}

//! `loadtest join`.

use std::process::ExitCode;

use clap::Args;
use loadtest::coordinator;
use wire::program::Failure;

use super::{MachineFlags, runtime, settings, stop, tell};

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct JoinFlags {
    /// The leader's `host:port`
    leader: String,
    #[command(flatten)]
    machine: MachineFlags,
}

/// Carries a share of another machine's run and reports to it.
pub(super) fn begin(flags: &JoinFlags) -> Result<ExitCode, Failure> {
    let key = settings::coordinator_key()?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut options = flags.machine.options();
        options.stop = Some(stop::on_ctrl_c());
        coordinator::join(&flags.leader, &options, &key).await.map_err(Failure::outside)
    })?;
    runtime.shutdown_background();
    // The leader judges the whole; this machine's part is shown for whoever sits here.
    tell(&outcome, None)
}

const AFTER_HELP: &str =
    "Leader and machines need the same key of at least 32 bytes: PASSERELLE__LOADTEST__COORDINATOR_KEY.";

//! `loadtest compare`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use loadtest::compare::compare;
use loadtest::report::read_json;
use wire::program::Failure;

use super::say;

#[derive(Args)]
pub(super) struct CompareFlags {
    /// report.json of one run
    before: PathBuf,
    /// report.json of another
    after: PathBuf,
}

/// What differs, and whether it is within the noise.
pub(super) fn begin(flags: &CompareFlags) -> Result<ExitCode, Failure> {
    let before = read_json(&flags.before).map_err(Failure::settings)?;
    let after = read_json(&flags.after).map_err(Failure::settings)?;
    say(&compare(&before, &after).table());
    Ok(ExitCode::SUCCESS)
}

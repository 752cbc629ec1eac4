//! `loadtest`: runs scenarios, plans capacity, compares reports. See the library for how.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}

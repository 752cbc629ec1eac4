//! What the program does besides relaying: makes credentials, explains its settings, and tries TURN servers.

mod check;
mod credential;
mod test;

use std::process::ExitCode;

use crate::settings::RelaySettings;

/// A command of the `turn-relay` program; without one it relays.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Prints credentials as the JSON that a browser's RTCPeerConnection takes
    Credential(credential::Flags),
    /// Checks the settings and says in words what clients reach
    Check,
    /// Tries a TURN server over UDP, TCP and TLS and says which of them work
    Test(test::Flags),
}

impl Command {
    /// Does it, with checked settings, and prints to stdout what there is to say.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn run(&self, settings: &RelaySettings) -> Result<ExitCode, String> {
        match self {
            Self::Credential(flags) => credential::run(flags, settings).map(|()| ExitCode::SUCCESS),
            Self::Check => check::run(settings).map(|()| ExitCode::SUCCESS),
            Self::Test(flags) => test::run(flags, settings),
        }
    }
}

/// Prints a line; nobody listening is no reason to panic.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Seconds since 1970.
fn unix_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The first of the settings' secrets: the one to mint with.
fn secret(settings: &RelaySettings) -> Result<&wire::settings::Secret, String> {
    settings
        .secrets
        .first()
        .ok_or_else(|| "turn-relay.secrets: is empty, so there is nothing to sign with".to_owned())
}

//! The `turn-relay` program: reads its settings, starts a relay, says what it listens on, and drains on SIGTERM or SIGINT.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use turn_relay::commands::Command;
use turn_relay::settings::RelaySettings;
use turn_relay::{Bound, StartError, Web, start};
use wire::program::{CommonFlags, Failure, conclude, run, shutdown_signal};
use wire::settings::{LogSettings, Settings};

/// A TURN server for the browsers that a firewall keeps from UDP.
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    #[command(flatten)]
    common: CommonFlags,
    /// Addresses for clients, separated by commas (turn-relay.listen)
    #[arg(long)]
    listen: Option<String>,
    /// Address of the private REST interface (turn-relay.rest_listen)
    #[arg(long)]
    rest_listen: Option<String>,
    /// Addresses that allocations are made on, separated by commas (turn-relay.relay_addresses)
    #[arg(long)]
    relay_addresses: Option<String>,
    /// Threads that relay (turn-relay.shards)
    #[arg(long)]
    shards: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Flags {
    fn load(&self) -> Result<(Settings, RelaySettings), Failure> {
        let all = self.common.load(&[
            ("turn-relay.listen", &self.listen),
            ("turn-relay.rest_listen", &self.rest_listen),
            ("turn-relay.relay_addresses", &self.relay_addresses),
            ("turn-relay.shards", &self.shards),
        ])?;
        let settings: RelaySettings = all.section("turn-relay")?;
        settings.check().map_err(|error| all.refuse("turn-relay", error.key, &error.reason))?;
        Ok((all, settings))
    }

    fn load_to_relay(&self) -> Result<(Settings, RelaySettings), Failure> {
        let (all, settings) = self.load()?;
        settings.check_logins().map_err(|error| all.refuse("turn-relay", error.key, &error.reason))?;
        Ok((all, settings))
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(command) = &flags.command {
        let done = flags.load().and_then(|(_, settings)| command.run(&settings).map_err(Failure::outside));
        return done.unwrap_or_else(|failure| conclude("turn-relay", Err(failure)));
    }
    conclude("turn-relay", begin(&Arc::new(flags)))
}

fn begin(flags: &Arc<Flags>) -> Result<(), Failure> {
    let (all, settings) = flags.load_to_relay()?;
    let log: LogSettings = all.section("log")?;
    if flags.common.is_about_settings(&log, &[&("turn-relay", &settings)])? {
        return Ok(());
    }
    run(&log, async {
        let shutdown = shutdown_signal()?;
        let mut relay = start(&settings, Web::None).await.map_err(start_failure)?;
        let again = Arc::clone(flags);
        let read =
            move || again.load_to_relay().map(|(_, settings)| settings).map_err(|error| error.to_string());
        relay.reload_from(read).map_err(Failure::outside)?;
        flags.common.say_ready("turn-relay", relay.bound(), &for_a_person(relay.bound()));
        // The second signal: this waits for one that comes after the first has been seen.
        let at_once = async {
            match shutdown_signal() {
                Ok(again) => again.await,
                Err(_) => std::future::pending().await,
            }
        };
        relay.run_until(shutdown, at_once).await.map_err(Failure::outside)
    })
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Settings(error) => Failure::settings(error),
        error => Failure::outside(error),
    }
}

fn for_a_person(Bound { udp, tcp, rest, .. }: &Bound) -> String {
    format!("turn-relay is ready: UDP on {udp:?}, TCP and TLS on {tcp:?}, REST on http://{rest}")
}

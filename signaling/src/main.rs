//! The `signaling` program: reads its settings, starts signaling, says what it listens on, and stops on SIGTERM or SIGINT.

use std::process::ExitCode;

use clap::Parser;
use signaling::settings::SignalingSettings;
use signaling::{StartError, start};
use wire::program::{CommonFlags, Failure, conclude, run, shutdown_signal};
use wire::settings::LogSettings;

/// Conferences, assignment of bridges, negotiation, and the meeting page.
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    #[command(flatten)]
    common: CommonFlags,
    /// Address of the page, WebSockets and links (signaling.listen)
    #[arg(long)]
    listen: Option<String>,
    /// Address of the private REST interface (signaling.rest_listen)
    #[arg(long)]
    rest_listen: Option<String>,
}

fn main() -> ExitCode {
    conclude("signaling", begin(&Flags::parse()))
}

fn begin(flags: &Flags) -> Result<(), Failure> {
    let overrides = [("signaling.listen", &flags.listen), ("signaling.rest_listen", &flags.rest_listen)];
    let all = flags.common.load(&overrides)?;
    let settings: SignalingSettings = all.section("signaling")?;
    let log: LogSettings = all.section("log")?;
    settings.check().map_err(|error| all.refuse("signaling", error.key, &error.reason))?;
    if flags.common.is_about_settings(&log, &[&("signaling", &settings)])? {
        return Ok(());
    }
    run(&log, async {
        let shutdown = shutdown_signal()?;
        let signaling = start(&settings).await.map_err(start_failure)?;
        let bound = signaling.bound();
        let line = format!("signaling is ready: http://{}, REST on http://{}", bound.public, bound.rest);
        flags.common.say_ready("signaling", &bound, &line);
        signaling.run_until(shutdown).await;
        Ok(())
    })
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Settings(error) => Failure::settings(error),
        error => Failure::outside(error),
    }
}

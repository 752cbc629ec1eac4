//! The `bridge` program: reads its settings, starts a bridge, says what it listens on, and stops on SIGTERM or SIGINT.

use std::process::ExitCode;

use bridge::settings::BridgeSettings;
use bridge::{Bound, StartError, start};
use clap::Parser;
use wire::program::{CommonFlags, Failure, conclude, run, shutdown_signal};
use wire::settings::LogSettings;

/// Forwards the media of conferences between browsers.
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    #[command(flatten)]
    common: CommonFlags,
    /// This bridge's name (bridge.id)
    #[arg(long)]
    id: Option<String>,
    /// UDP port of the first worker (bridge.media_port)
    #[arg(long)]
    media_port: Option<String>,
    /// Worker threads (bridge.workers)
    #[arg(long)]
    workers: Option<String>,
    /// Address of the channel WebSockets (bridge.channel_listen)
    #[arg(long)]
    channel_listen: Option<String>,
    /// Address of the private REST interface (bridge.rest_listen)
    #[arg(long)]
    rest_listen: Option<String>,
    /// Signaling services, separated by commas (bridge.signaling)
    #[arg(long)]
    signaling: Option<String>,
    /// Addresses browsers are told, separated by commas (bridge.announced_addresses)
    #[arg(long)]
    announced_addresses: Option<String>,
}

impl Flags {
    fn overrides(&self) -> [(&str, &Option<String>); 7] {
        [
            ("bridge.id", &self.id),
            ("bridge.media_port", &self.media_port),
            ("bridge.workers", &self.workers),
            ("bridge.channel_listen", &self.channel_listen),
            ("bridge.rest_listen", &self.rest_listen),
            ("bridge.signaling", &self.signaling),
            ("bridge.announced_addresses", &self.announced_addresses),
        ]
    }
}

fn main() -> ExitCode {
    conclude("bridge", begin(&Flags::parse()))
}

fn begin(flags: &Flags) -> Result<(), Failure> {
    let all = flags.common.load(&flags.overrides())?;
    let settings: BridgeSettings = all.section("bridge")?;
    let log: LogSettings = all.section("log")?;
    settings.check().map_err(|error| all.refuse("bridge", error.key, &error.reason))?;
    if flags.common.is_about_settings(&log, &[&("bridge", &settings)])? {
        return Ok(());
    }
    run(&log, async {
        let shutdown = shutdown_signal()?;
        let bridge = start(&settings).await.map_err(start_failure)?;
        flags.common.say_ready("bridge", bridge.bound(), &for_a_person(bridge.bound()));
        bridge.run_until(shutdown).await.map_err(Failure::outside)
    })
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Settings(error) => Failure::settings(error),
        error => Failure::outside(error),
    }
}

fn for_a_person(bound: &Bound) -> String {
    let ports: Vec<String> = bound.media_ports.iter().map(u16::to_string).collect();
    let (id, channel, rest) = (&bound.bridge, bound.channel, bound.rest);
    format!(
        "bridge {id} is ready: media on UDP {}, channels on http://{channel}, REST on http://{rest}",
        ports.join(" ")
    )
}

//! `passerelle`: signaling and one bridge in one process, from one settings file. The bridge dials signaling as it would
//! from another machine; nothing is wired inside that is not wired between machines.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use bridge::settings::BridgeSettings;
use clap::Parser;
use serde_json::json;
use signaling::process::{begin_log, complain, say, shutdown_signal};
use signaling::settings::SignalingSettings;
use tokio::sync::oneshot;
use wire::settings::{EXIT_CODE, LogSettings, Settings, SettingsError, Sources, print};

/// A meeting server: signaling, the page, and one bridge.
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    /// The settings file; default: ./passerelle.toml, then /etc/passerelle/passerelle.toml, if there
    #[arg(long)]
    config: Option<PathBuf>,
    /// Checks the settings and ends
    #[arg(long)]
    check_config: bool,
    /// Prints the settings in force, secrets left out, and ends
    #[arg(long)]
    print_config: bool,
    /// Says what it listens on as JSON
    #[arg(long)]
    ready_json: bool,
}

/// What ends the program early: its exit code and one line.
struct Failure(u8, String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(1, error.to_string())
    }
}

fn main() -> ExitCode {
    let Err(Failure(code, line)) = begin(&Flags::parse()) else { return ExitCode::SUCCESS };
    complain(&format!("passerelle: {line}"));
    ExitCode::from(code)
}

fn begin(flags: &Flags) -> Result<(), Failure> {
    let refused = |error: SettingsError| Failure(EXIT_CODE, error.to_string());
    let all = Settings::load(&Sources::of_process(flags.config.clone(), Vec::new())).map_err(refused)?;
    let mut signaling: SignalingSettings = all.section("signaling").map_err(refused)?;
    let mut bridge: BridgeSettings = all.section("bridge").map_err(refused)?;
    let log: LogSettings = all.section("log").map_err(refused)?;
    // Without a key of the operator's the two agree on one; bridges on other machines need theirs set.
    if signaling.link_key.is_empty() {
        signaling.link_key = SignalingSettings::fresh_link_key();
    }
    bridge.link_key = signaling.link_key.clone();
    signaling.check().map_err(|error| refused(all.refuse("signaling", error.key, &error.reason)))?;
    bridge.check().map_err(|error| refused(all.refuse("bridge", error.key, &error.reason)))?;
    if flags.print_config {
        let sections = [print("signaling", &signaling), print("bridge", &bridge), print("log", &log)];
        sections.into_iter().try_for_each(|section| section.map(|text| say(&text))).map_err(refused)?;
    }
    if flags.print_config || flags.check_config {
        return Ok(());
    }
    begin_log(&log);
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(run(&signaling, bridge, flags.ready_json));
    // A thread that hangs must not keep the process.
    runtime.shutdown_background();
    ended
}

async fn run(signaling: &SignalingSettings, mut bridge: BridgeSettings, json: bool) -> Result<(), Failure> {
    let shutdown = shutdown_signal()?;
    let signaling = signaling::start(signaling).await?;
    let mut public = signaling.bound().public;
    if public.ip().is_unspecified() {
        public.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    bridge.signaling = vec![format!("http://{public}")];
    let bridge = bridge::start(&bridge).await?;
    let bound = json!({ "signaling": signaling.bound(), "bridge": bridge.bound() });
    let ready = json!({ "ready": "passerelle", "version": env!("CARGO_PKG_VERSION"), "bound": bound });
    let name = if public.ip().is_loopback() { "localhost".to_owned() } else { public.ip().to_string() };
    let where_to_go = format!("passerelle is ready: http://{name}:{}", public.port());
    say(&if json { ready.to_string() } else { where_to_go });
    // Browsers are told first; then the bridge stops carrying them. A bridge that ends by itself ends everything.
    let (stop, stopped) = oneshot::channel::<()>();
    let mut bridge = tokio::spawn(bridge.run_until(async { drop(stopped.await) }));
    let mut early = None;
    let shutdown = async {
        tokio::select! { () = shutdown => {}, ended = &mut bridge => early = Some(ended) }
    };
    signaling.run_until(shutdown).await;
    drop(stop);
    Ok(if let Some(ended) = early { ended } else { bridge.await }??)
}

//! The `bridge` program: reads its settings, starts a bridge, says what it listens on, and stops on SIGTERM or SIGINT.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bridge::settings::BridgeSettings;
use bridge::{Bound, StartError, start};
use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use wire::settings::{LogFormat, LogSettings, Settings, Sources};

/// Forwards the media of conferences between browsers.
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
    /// error, warn, info, debug or trace (log.level)
    #[arg(long)]
    log_level: Option<String>,
}

impl Flags {
    fn overrides(&self) -> Vec<(String, String)> {
        let flags = [
            ("bridge.id", &self.id),
            ("bridge.media_port", &self.media_port),
            ("bridge.workers", &self.workers),
            ("bridge.channel_listen", &self.channel_listen),
            ("bridge.rest_listen", &self.rest_listen),
            ("bridge.signaling", &self.signaling),
            ("bridge.announced_addresses", &self.announced_addresses),
            ("log.level", &self.log_level),
        ];
        flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect()
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let (settings, log) = match read_settings(&flags) {
        Ok(read) => read,
        Err(line) => return fail(wire::settings::EXIT_CODE, &line),
    };
    if flags.print_config {
        return print_config(&settings, &log);
    }
    if flags.check_config {
        return ExitCode::SUCCESS;
    }
    begin_log(&log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error.to_string()),
    };
    let code = runtime.block_on(run(&settings, flags.ready_json));
    // A worker that hangs must not keep the process.
    runtime.shutdown_background();
    code
}

fn read_settings(flags: &Flags) -> Result<(BridgeSettings, LogSettings), String> {
    let sources = Sources::of_process(flags.config.clone(), flags.overrides());
    let all = Settings::load(&sources).map_err(|error| error.to_string())?;
    let settings: BridgeSettings = all.section("bridge").map_err(|error| error.to_string())?;
    let log: LogSettings = all.section("log").map_err(|error| error.to_string())?;
    settings.check().map_err(|error| all.refuse("bridge", error.key, &error.reason).to_string())?;
    Ok((settings, log))
}

async fn run(settings: &BridgeSettings, ready_json: bool) -> ExitCode {
    let shutdown = match shutdown_signal() {
        Ok(shutdown) => shutdown,
        Err(error) => return fail(1, &error.to_string()),
    };
    let bridge = match start(settings).await {
        Ok(bridge) => bridge,
        Err(error @ StartError::Settings(_)) => return fail(wire::settings::EXIT_CODE, &error.to_string()),
        Err(error) => return fail(1, &error.to_string()),
    };
    say_ready(bridge.bound(), ready_json);
    match bridge.run_until(shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error.to_string()),
    }
}

fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// One line, when everything is bound: whoever started us reads the ports from it.
fn say_ready(bound: &Bound, ready_json: bool) {
    let line = if ready_json {
        json!({ "ready": "bridge", "version": env!("CARGO_PKG_VERSION"), "bound": bound }).to_string()
    } else {
        let ports: Vec<String> = bound.media_ports.iter().map(u16::to_string).collect();
        format!(
            "bridge {} is ready: media on UDP {}, channels on http://{}, REST on http://{}",
            bound.bridge,
            ports.join(" "),
            bound.channel,
            bound.rest
        )
    };
    say(&line);
}

fn print_config(settings: &BridgeSettings, log: &LogSettings) -> ExitCode {
    let printed = wire::settings::print("bridge", settings)
        .and_then(|bridge| Ok(format!("{bridge}\n{}", wire::settings::print("log", log)?)));
    match printed {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error.to_string()),
    }
}

/// The log goes to stderr; stdout is for whoever started us.
fn begin_log(settings: &LogSettings) {
    let filter = EnvFilter::new(settings.level.as_str());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match settings.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

fn say(line: &str) {
    // Nobody listening is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn fail(code: u8, line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "bridge: {line}");
    ExitCode::from(code)
}

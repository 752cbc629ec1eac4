//! The `signaling` program: reads its settings, starts signaling, says what it listens on, and stops on SIGTERM or SIGINT.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use signaling::process::{begin_log, complain, say, shutdown_signal};
use signaling::settings::SignalingSettings;
use signaling::{Bound, StartError, start};
use wire::settings::{LogSettings, Settings, Sources};

/// Conferences, assignment of bridges, negotiation, and the meeting page.
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
    /// Address of the page, WebSockets and links (signaling.listen)
    #[arg(long)]
    listen: Option<String>,
    /// Address of the private REST interface (signaling.rest_listen)
    #[arg(long)]
    rest_listen: Option<String>,
    /// error, warn, info, debug or trace (log.level)
    #[arg(long)]
    log_level: Option<String>,
}

impl Flags {
    fn overrides(&self) -> Vec<(String, String)> {
        let flags = [
            ("signaling.listen", &self.listen),
            ("signaling.rest_listen", &self.rest_listen),
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
    runtime.shutdown_background();
    code
}

fn read_settings(flags: &Flags) -> Result<(SignalingSettings, LogSettings), String> {
    let sources = Sources::of_process(flags.config.clone(), flags.overrides());
    let all = Settings::load(&sources).map_err(|error| error.to_string())?;
    let settings: SignalingSettings = all.section("signaling").map_err(|error| error.to_string())?;
    let log: LogSettings = all.section("log").map_err(|error| error.to_string())?;
    settings.check().map_err(|error| all.refuse("signaling", error.key, &error.reason).to_string())?;
    Ok((settings, log))
}

async fn run(settings: &SignalingSettings, ready_json: bool) -> ExitCode {
    let shutdown = match shutdown_signal() {
        Ok(shutdown) => shutdown,
        Err(error) => return fail(1, &error.to_string()),
    };
    let signaling = match start(settings).await {
        Ok(signaling) => signaling,
        Err(error @ StartError::Settings(_)) => return fail(wire::settings::EXIT_CODE, &error.to_string()),
        Err(error) => return fail(1, &error.to_string()),
    };
    say_ready(signaling.bound(), ready_json);
    signaling.run_until(shutdown).await;
    ExitCode::SUCCESS
}

/// One line, when everything is bound: whoever started us reads the ports from it.
fn say_ready(bound: Bound, ready_json: bool) {
    let line = if ready_json {
        json!({ "ready": "signaling", "version": env!("CARGO_PKG_VERSION"), "bound": bound }).to_string()
    } else {
        format!("signaling is ready: http://{}, REST on http://{}", bound.public, bound.rest)
    };
    say(&line);
}

fn print_config(settings: &SignalingSettings, log: &LogSettings) -> ExitCode {
    let printed = wire::settings::print("signaling", settings)
        .and_then(|signaling| Ok(format!("{signaling}\n{}", wire::settings::print("log", log)?)));
    match printed {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error.to_string()),
    }
}

fn fail(code: u8, line: &str) -> ExitCode {
    complain(&format!("signaling: {line}"));
    ExitCode::from(code)
}

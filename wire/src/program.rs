//! What every program shows the person or supervisor that starts it: the same flags, one line on stdout when it is
//! ready, a log on stderr, one line and an exit code when it cannot go on.
//!
//! ```text
//! main ─▶ flags ─▶ Settings ─▶ --print-config / --check-config ─▶ log ─▶ service ─▶ ready line ─▶ SIGTERM ─▶ exit code
//! ```

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::settings::{EXIT_CODE, LogFormat, LogSettings, Settings, SettingsError, Sources, print};

/// The flags of every program; a program adds its own beside them.
#[derive(Debug, clap::Args)]
pub struct CommonFlags {
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
    /// error, warn, info, debug or trace (log.level)
    #[arg(long)]
    log_level: Option<String>,
}

impl CommonFlags {
    /// Reads the settings. `overrides` are the program's own flags by the key they set; those not given are `None`.
    ///
    /// # Errors
    /// A line that names the key and where its value came from.
    pub fn load(&self, overrides: &[(&str, &Option<String>)]) -> Result<Settings, Failure> {
        let all = overrides.iter().copied().chain([("log.level", &self.log_level)]);
        let flags = all.filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect();
        Ok(Settings::load(&Sources::of_process(self.config.clone(), flags))?)
    }

    /// True when settings were all that was asked for: they have been checked, and printed if wanted.
    ///
    /// # Errors
    /// Never for settings that were read: they can be written, too.
    pub fn is_about_settings(&self, log: &LogSettings, sections: &[&dyn Printed]) -> Result<bool, Failure> {
        if self.print_config {
            for section in sections {
                say(&section.text()?);
            }
            say(&print("log", log)?);
        }
        Ok(self.print_config || self.check_config)
    }

    /// The one line on stdout, once everything is bound: for a person, or as JSON for whoever reads ports from it.
    pub fn say_ready(&self, program: &str, bound: &impl Serialize, for_a_person: &str) {
        if self.ready_json {
            let version = env!("CARGO_PKG_VERSION");
            say(&json!({ "ready": program, "version": version, "bound": bound }).to_string());
        } else {
            say(for_a_person);
        }
    }
}

/// A section of the settings that `--print-config` shows.
pub trait Printed {
    /// As TOML, secrets left out.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    fn text(&self) -> Result<String, SettingsError>;
}

impl<T: Serialize> Printed for (&str, &T) {
    fn text(&self) -> Result<String, SettingsError> {
        print(self.0, self.1)
    }
}

/// What ends a program early: its exit code and one line.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    /// The system or another program is in the way: exit code 1.
    pub fn outside(error: impl Display) -> Self {
        Self { code: 1, line: error.to_string() }
    }

    /// A setting is in the way: the exit code that tells a supervisor not to try again.
    pub fn settings(error: impl Display) -> Self {
        Self { code: EXIT_CODE, line: error.to_string() }
    }
}

impl std::fmt::Display for Failure {
    /// The line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::settings(error)
    }
}

/// A program's end: nothing more to say, or one line on stderr.
pub fn conclude(program: &str, ended: Result<(), Failure>) -> ExitCode {
    let Err(Failure { code, line }) = ended else { return ExitCode::SUCCESS };
    // Nobody listening is no reason to panic, here and below.
    let _ = writeln!(io::stderr(), "{program}: {line}");
    ExitCode::from(code)
}

/// Runs a service to its end on a runtime of its own. A thread that hangs must not keep the process.
///
/// # Errors
/// The service's, or that the system gives no threads.
pub fn run(log: &LogSettings, service: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    begin_log(log);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::outside)?;
    let ended = runtime.block_on(service);
    runtime.shutdown_background();
    ended
}

/// Done when the process is told to stop, by SIGTERM or SIGINT. From this call on neither ends it at once.
///
/// # Errors
/// When the system refuses the handlers.
pub fn shutdown_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::outside)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::outside)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Logs to stderr; stdout is for whoever started us.
fn begin_log(settings: &LogSettings) {
    // The DTLS library warns of every extension of every ClientHello that it does not know.
    let filter = EnvFilter::new(format!("{},rtc_dtls=error", settings.level.as_str()));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    match settings.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{}", line.trim_end());
}

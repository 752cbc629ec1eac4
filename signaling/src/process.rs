//! What a program does around its services: log, say one line, wait for its end.

use std::io::Write as _;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use wire::settings::{LogFormat, LogSettings};

/// Logs to stderr; stdout is for whoever started us.
pub fn begin_log(settings: &LogSettings) {
    let filter = EnvFilter::new(settings.level.as_str());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match settings.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Done when the process is told to stop, by SIGTERM or SIGINT. From this call on neither ends it at once.
///
/// # Errors
/// When the system refuses the handlers.
pub fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// One line on stdout.
pub fn say(line: &str) {
    // Nobody listening is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// One line on stderr.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

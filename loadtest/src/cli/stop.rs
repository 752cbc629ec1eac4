//! ctrl-c: the first ends what goes on and keeps what was found, the second ends everything at once.

use std::io::Write as _;

use tokio::sync::watch;

/// Says true at the first ctrl-c, or at SIGTERM. Called within the runtime.
pub(super) fn on_ctrl_c() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if told().await.is_err() {
            // Without handlers the signals end the process by themselves; only nobody must think they have come.
            return std::future::pending::<()>().await;
        }
        stop.send_replace(true);
        let _ = writeln!(std::io::stderr(), "\nending the run; once more ends at once, without a report");
        if told().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
        std::future::pending::<()>().await;
    });
    stopped
}

async fn told() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told,
        _ = terminate.recv() => Ok(()),
    }
}

/// 128 + SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

//! Several loadtest machines in one run.
//!
//! ```text
//!   loadtest join ──hello──────────────▶ loadtest run --coordinator ADDRESS --machines 3
//!                 ◀─welcome, or refused─   the scenario and a share of its conferences
//!                 ◀─begin────────────────  once everybody is there
//!                 ──second, settled─────▶
//!                 ◀─measure──────────────  once everybody's callers are in
//!                 ──done────────────────▶  what was found; sums and distributions add up
//! ```
//!
//! One WebSocket each, JSON, a shared key in its first request. The leader carries a share itself, runs the hooks (nobody
//! runs another's), reads the servers and judges. The scenario goes over the wire as it is, its tokens included: use a
//! network that you trust, or a tunnel.
//!
//! Invariants: a conference is never split, for delays are taken between callers of one process only; a machine that
//! vanishes is named and the run goes on; machines of two versions never measure together.

mod join;
mod lead;
mod machines;
mod merge;
mod protocol;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use tokio::sync::watch;
use wire::settings::Secret;

pub use self::join::join;
pub use self::lead::lead;
use crate::scenario::Scenario;

/// How a run is led.
#[derive(Debug, Clone)]
pub struct Lead {
    /// Where machines come to.
    pub listen: SocketAddr,
    /// How many there are, this one included; at least two.
    pub machines: u32,
    /// Shared by all of them.
    pub key: Secret,
}

impl Lead {
    /// Whether every machine gets something to do.
    ///
    /// # Errors
    /// There are more machines than conferences, which are never split.
    pub fn check(&self, scenario: &Scenario) -> Result<(), CoordinatorError> {
        let (machines, conferences) = (self.machines, scenario.conferences);
        let why = format!(
            "--machines {machines} are more than there are conferences ({conferences}), which are never split"
        );
        if machines > conferences { Err(CoordinatorError(why)) } else { Ok(()) }
    }
}

/// Why machines could not run together; one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CoordinatorError(pub String);

/// Done when somebody wants an end.
async fn told_to_stop(stop: Option<watch::Receiver<bool>>) {
    let Some(mut stop) = stop else { return std::future::pending().await };
    if stop.wait_for(|is_stopped| *is_stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

//! Callers' way in and out: sockets to signaling, WHIP and WHEP, the channel to a bridge, and what servers say of
//! themselves.
//!
//! ```text
//!            ┌ meeting ── engine::attendance ── socket (/ws)        ┌ channel (/colibri-ws)
//! attend() ──┤                                                      │
//!            └ visit ──── whip (WHIP, WHEP) or janus    Handset ────┘ offer / answer / notes
//! ```
//!
//! A caller is one task with at most two sockets. All that it finds goes to its group's [`Ledger`]: how long each step of
//! its join took, or the one reason for which it failed. It knows nothing of media and nothing of the schedule.

mod attend;
mod channel;
mod chat;
mod failure;
mod handset;
mod http;
mod janus;
mod join_clock;
mod ledger;
mod meeting;
mod poll;
mod relay;
mod servers;
mod signaling_only;
mod socket;
#[cfg(test)]
mod tests;
mod tls;
mod visit;
mod whip;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

pub use self::attend::attend;
pub use self::failure::Failure;
pub use self::handset::{Handset, NoMedia, Seat};
pub use self::join_clock::JoinClock;
pub use self::ledger::{Entered, JoinStage, Ledger, Standing};
pub use self::poll::poll;
pub use self::servers::{ServerReader, ServerSample};
use self::signaling_only::Tally;
use self::socket::Dialer;
use crate::outcome::SignalingOutcome;
use crate::scenario::{Entry, Scenario, Target};

/// What all callers of a process share.
pub struct Control {
    target: Target,
    origin: Url,
    http: reqwest::Client,
    dialer: Dialer,
    join_time_max: Duration,
    tally: Arc<Tally>,
}

/// Why callers cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// `target.url` is no URL of a server.
    #[error("target.url = {0:?}: {1}")]
    BadUrl(String, String),
    /// `target.ca_file` cannot be used.
    #[error("target.ca_file = {0:?}: {1}")]
    BadCaFile(String, String),
    /// The HTTP client cannot be made.
    #[error("no HTTP client: {0}")]
    Http(String),
}

impl Control {
    /// Checks the target and prepares TLS; opens nothing.
    pub fn new(scenario: &Scenario) -> Result<Self, ControlError> {
        let target = scenario.target.clone();
        let bad_url = |why: &str| ControlError::BadUrl(target.url.clone(), why.to_owned());
        let origin = Url::parse(&target.url).map_err(|error| bad_url(&error.to_string()))?;
        if !matches!(origin.scheme(), "http" | "https") || !origin.has_host() {
            return Err(bad_url("an http or https URL with a host is wanted"));
        }
        let tls = Arc::new(tls::config(target.ca_file.as_deref())?);
        let http = http::client(&tls)?;
        Ok(Self {
            dialer: Dialer::new(tls),
            origin,
            http,
            join_time_max: duration(scenario.join_timeout_s),
            tally: Arc::default(),
            target,
        })
    }

    /// Opens and closes one connection to the target, TLS included: an unreachable target is said once and at once,
    /// not by every caller after its patience.
    pub async fn reach(&self) -> Result<(), Failure> {
        self.dialer.dial(&self.origin).await.map(drop)
    }

    /// What signaling without media, or polling, has shown so far; none when the scenario has neither.
    pub fn signaling(&self) -> Option<SignalingOutcome> {
        let is_wanted = self.target.entry == Entry::Signaling || self.target.poll.is_some();
        is_wanted.then(|| self.tally.outcome())
    }
}

/// A scenario's seconds; nonsense was refused when it was read, and is a day here.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(DAY)
}

const DAY: Duration = Duration::from_secs(86_400);

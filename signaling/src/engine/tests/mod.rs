//! The engine on a fake clock.

mod assigning;
mod failing;
mod hostile;
mod meeting;
mod resuming;
mod web;
mod world;

use std::time::Duration;

/// Long enough for a batch of changes to go out.
const BATCH: Duration = Duration::from_millis(300);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

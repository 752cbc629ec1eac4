//! G5: what the relay's memory grows by for each allocation with one channel.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::Target;
use super::client::{Client, Maker};
use super::process::resident_bytes;

#[derive(clap::Args)]
pub(crate) struct Shape {
    #[arg(long, default_value_t = 4_000)]
    count: usize,
    /// Made before: what the first ones cost is the relay's own
    #[arg(long, default_value_t = 200)]
    first: usize,
    /// The peer's address; nobody needs to be there
    #[arg(long)]
    peer: SocketAddr,
}

/// Relays note some things a moment later.
const SETTLE: Duration = Duration::from_millis(1_500);

pub(crate) fn measure(target: &Target, shape: &Shape) -> io::Result<Value> {
    let maker = Maker::new(target)?;
    let make = |from: usize, count: usize| -> io::Result<Vec<Client>> {
        (from..from + count).map(|number| maker.make(number, shape.peer)).collect()
    };
    let first = make(0, shape.first)?;
    thread::sleep(SETTLE);
    let before = resident_bytes(target.pid)?;
    let rest = make(shape.first, shape.count)?;
    thread::sleep(SETTLE);
    let after = resident_bytes(target.pid)?;
    let each = before.zip(after).map(|(before, after)| (after - before) as f64 / shape.count.max(1) as f64);
    Ok(json!({ "allocations": first.len() + rest.len(), "bytes_per_allocation": each }))
}

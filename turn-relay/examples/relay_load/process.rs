//! What the kernel says of the process under test.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The unit of `/proc/PID/stat`, the same on every architecture that runs this.
const TICKS_PER_S: f64 = 100.0;

/// Processor time so far, user and system, in seconds. `None`: no process was named.
pub(crate) fn processor_s(pid: Option<u32>) -> io::Result<Option<f64>> {
    let Some(pid) = pid else { return Ok(None) };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; what follows it is fixed.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 =
        after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    Ok(Some(ticks / TICKS_PER_S))
}

/// Resident memory in bytes. `None`: no process was named.
pub(crate) fn resident_bytes(pid: Option<u32>) -> io::Result<Option<i64>> {
    let Some(pid) = pid else { return Ok(None) };
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: i64 = line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default();
    Ok(Some(kib * 1024))
}

/// A socket for each client.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Refused: then opening sockets fails, with its own words.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

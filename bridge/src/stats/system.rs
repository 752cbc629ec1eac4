//! What the machine says about itself and about this process, from `/proc`. Absent or unreadable is 0.

use std::fs;

/// Processor time of the whole machine, compared with the reading before.
#[derive(Debug, Default)]
pub(crate) struct Processors {
    before: Option<Ticks>,
}

/// Clock ticks since the machine started, over all processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

impl Processors {
    /// The share in use since the last call, 0.0 to 1.0.
    pub(crate) fn usage(&mut self) -> f64 {
        let Some(now) = fs::read_to_string("/proc/stat").ok().and_then(|text| parse_ticks(&text)) else {
            return 0.0;
        };
        let before = self.before.replace(now).unwrap_or(now);
        super::share(now.busy.saturating_sub(before.busy), now.all.saturating_sub(before.all))
    }
}

/// Memory in use on the machine, in megabytes (the unit boards know it by).
pub(crate) fn used_memory_mb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = field_kib(&text, "MemTotal:").saturating_sub(field_kib(&text, "MemAvailable:"));
    kib * 1024 / 1_000_000
}

/// This process's memory, in bytes.
pub(crate) fn resident_memory_bytes() -> u64 {
    1024 * field_kib(&fs::read_to_string("/proc/self/status").unwrap_or_default(), "VmRSS:")
}

/// This process's threads.
pub(crate) fn threads() -> u64 {
    field_kib(&fs::read_to_string("/proc/self/status").unwrap_or_default(), "Threads:")
}

/// The number after a name at the start of a line.
fn field_kib(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal guest guest_nice. The guests' time is
/// in user and nice already.
fn parse_ticks(text: &str) -> Option<Ticks> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let (idle, iowait) = (fields.get(3)?, fields.get(4).copied().unwrap_or(0));
    let all: u64 = fields.iter().sum();
    Some(Ticks { busy: all - idle - iowait, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_disk_is_not_work_and_stolen_time_is() {
        let text = "cpu  10 20 30 400 50 6 7 8 900 1000\ncpu0 1 2 3 4\n";
        assert_eq!(parse_ticks(text), Some(Ticks { busy: 10 + 20 + 30 + 6 + 7 + 8, all: 531 }));
        for broken in ["", "cpu", "cpu  1 2", "intr 5 6 7 8 9"] {
            assert_eq!(parse_ticks(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        let text = "Name:\tbridge\nVmRSS:\t    1234 kB\nThreads:\t7\n";
        assert_eq!(
            (field_kib(text, "VmRSS:"), field_kib(text, "Threads:"), field_kib(text, "Vm")),
            (1234, 7, 0)
        );
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        assert!(threads() > 0);
        assert!(resident_memory_bytes() > 0);
        assert!(used_memory_mb() > 0);
    }
}

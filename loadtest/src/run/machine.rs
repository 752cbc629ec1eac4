//! What the kernel says of this machine and of this process. Nothing here fails: what cannot be read is left out.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::outcome::Machine;

/// The machine's facts, for a run of this many loadtest processes.
pub(crate) fn machine(processes: usize) -> Machine {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    Machine {
        processors,
        processor_name: processor_name(&read("/proc/cpuinfo")),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        processes,
    }
}

/// Processor time of all threads so far.
pub(crate) fn processor_time() -> Duration {
    processor_time_of(&read("/proc/self/stat")).unwrap_or_default()
}

/// Resident memory, MiB.
pub(crate) fn resident_mib() -> f64 {
    resident_mib_of(&read("/proc/self/status")).unwrap_or_default()
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn processor_name(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':'))
        .map_or(std::env::consts::ARCH, |(_, name)| name.trim())
        .to_owned()
}

/// Fields 14 and 15 of `/proc/<pid>/stat` (proc(5)); the second field is a name that may hold anything.
fn processor_time_of(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * (1_000 / TICKS_PER_S)))
}

fn resident_mib_of(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1_024.0)
}

/// The Gregorian date of a day since 1970, counted in years that begin in March, so that the leap day is the last.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// `USER_HZ`, which Linux promises to programs on every architecture that this runs on.
const TICKS_PER_S: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_rfc_3339() {
        let text = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(text(4_102_444_799), "2099-12-31T23:59:59Z");
    }

    #[test]
    fn processor_time_is_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "77 (load) test (x) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0";
        assert_eq!(processor_time_of(stat), Some(Duration::from_millis(1_750)));
        assert_eq!(processor_time_of(""), None);
    }

    #[test]
    fn memory_is_in_mebibytes() {
        assert_eq!(resident_mib_of("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2.0));
        assert_eq!(resident_mib_of("Name:\tx\n"), None);
    }

    #[test]
    fn this_machine_has_a_processor_and_this_process_has_memory() {
        assert!(machine(1).processors > 0 && resident_mib() > 0.0);
    }
}

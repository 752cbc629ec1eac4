//! What loadtest itself costs, and whether it was what saturated.

use std::time::{Duration, Instant};

use super::machine;
use crate::crew::CrewLoad;
use crate::outcome::{Second, Tool};

/// Watches this process from sample to sample.
pub(crate) struct Meter {
    at: Instant,
    processor_time: Duration,
    measured: Measured,
    tool: Tool,
    unsent: u64,
    late_us_max: u64,
}

/// Sums over the measured part.
#[derive(Default)]
struct Measured {
    time: Duration,
    processor_time: Duration,
    busy_time_s: f64,
}

/// What the limits are judged by.
pub(crate) struct Setting {
    /// Threads for light callers' media.
    pub(crate) threads: usize,
    /// Processors that this process may use.
    pub(crate) processors: usize,
    /// Datagrams that reached callers in the whole run.
    pub(crate) received: u64,
    /// RTP packets that callers sent in the whole run.
    pub(crate) sent: u64,
    /// The servers went away: what could not be sent to them is no fault of this machine.
    pub(crate) is_target_gone: bool,
}

impl Meter {
    /// From now on.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            at: now,
            processor_time: machine::processor_time(),
            measured: Measured::default(),
            tool: Tool::default(),
            unsent: 0,
            late_us_max: 0,
        }
    }

    /// A sample was taken: fills in what it cost since the one before.
    pub(crate) fn take(&mut self, now: Instant, load: &CrewLoad, second: &mut Second, is_measured: bool) {
        let processor_time = machine::processor_time();
        let (passed, used) =
            (now.saturating_duration_since(self.at), processor_time.saturating_sub(self.processor_time));
        (self.at, self.processor_time) = (now, processor_time);
        second.tool_busy = load.busy;
        second.tool_processors = share(used.as_secs_f64(), passed.as_secs_f64());
        self.tool.kernel_drops += load.kernel_drops;
        self.tool.memory_mib_max = self.tool.memory_mib_max.max(machine::resident_mib());
        self.unsent += load.unsent;
        if is_measured {
            self.measured.time += passed;
            self.measured.processor_time += used;
            self.measured.busy_time_s += load.busy * passed.as_secs_f64();
            self.late_us_max = self.late_us_max.max(load.late_us_max);
        }
    }

    /// The whole, with every reason to doubt the numbers.
    pub(crate) fn finish(mut self, setting: &Setting) -> Tool {
        let seconds = self.measured.time.as_secs_f64();
        self.tool.processors_mean = share(self.measured.processor_time.as_secs_f64(), seconds);
        self.tool.busy_mean = share(self.measured.busy_time_s, seconds);
        self.tool.limits = self.limits(setting);
        self.tool
    }

    fn limits(&self, setting: &Setting) -> Vec<String> {
        let tool = &self.tool;
        let mut limits = Vec::new();
        if tool.busy_mean > BUSY_MAX {
            let (percent, threads) = (tool.busy_mean * 100.0, setting.threads);
            limits.push(format!(
                "the busiest of its media threads ({threads}) had work, or waited for a processor, for {percent:.0} % of the \
                 time: use --threads, or more machines"
            ));
        }
        if tool.kernel_drops as f64 > setting.received as f64 * DROPS_MAX {
            let drops = tool.kernel_drops;
            limits.push(format!("the kernel dropped {drops} datagrams that loadtest did not fetch in time"));
        }
        // A few who send stand beside many who watch; where nobody sends media, feedback is all there is.
        let wanted = if setting.sent > 0 { setting.sent } else { setting.received };
        if !setting.is_target_gone && self.unsent as f64 > wanted as f64 * DROPS_MAX {
            limits.push(format!("{} datagrams of callers were not taken by this machine", self.unsent));
        }
        if tool.processors_mean > setting.processors as f64 * PROCESSORS_MAX {
            limits.push(format!(
                "loadtest used {:.1} of this machine's {} processors",
                tool.processors_mean, setting.processors
            ));
        }
        if self.late_us_max > LATE_US_MAX {
            let ms = self.late_us_max / 1_000;
            limits.push(format!(
                "a media thread was {ms} ms late once: it had too much to do, or this machine no processor for it"
            ));
        }
        limits
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Above this a thread's queue grows by itself.
const BUSY_MAX: f64 = 0.9;
/// One in ten thousand is below what any threshold asks for.
const DROPS_MAX: f64 = 1e-4;
/// The rest of the machine needs some, and so does whoever else runs on it.
const PROCESSORS_MAX: f64 = 0.95;
/// Pictures that wait this long stand still.
const LATE_US_MAX: u64 = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(packets: u64) -> Setting {
        Setting { threads: 1, processors: 2, received: packets, sent: packets, is_target_gone: false }
    }

    fn finish(load: &CrewLoad, setting: &Setting) -> Tool {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let mut second = Second::default();
        // Hours in one step: whatever this test costs is nothing beside them.
        meter.take(start + Duration::from_secs(3_600), load, &mut second, true);
        assert_eq!(second.tool_busy, load.busy);
        meter.finish(setting)
    }

    #[test]
    fn a_tool_with_room_was_not_the_limit() {
        let tool = finish(&CrewLoad { busy: 0.5, kernel_drops: 1, ..CrewLoad::default() }, &setting(100_000));
        assert_eq!((tool.limits, tool.busy_mean, tool.kernel_drops), (vec![], 0.5, 1));
        assert!(tool.memory_mib_max > 0.0);
    }

    #[test]
    fn each_limit_of_the_tool_is_named() {
        let load = CrewLoad {
            busy: 0.97,
            kernel_drops: 11,
            unsent: 12,
            late_us_max: 300_000,
            ..CrewLoad::default()
        };
        let limits = finish(&load, &setting(100_000)).limits;
        assert_eq!(limits.len(), 4, "{limits:?}");
        for (limit, word) in limits.iter().zip(["97 %", "11 datagrams", "12 datagrams", "300 ms"]) {
            assert!(limit.contains(word), "{limit}");
        }
    }

    #[test]
    fn what_is_sent_to_a_server_that_is_gone_is_no_limit_of_the_tool() {
        let load = CrewLoad { unsent: 50, ..CrewLoad::default() };
        assert_eq!(finish(&load, &setting(100_000)).limits.len(), 1);
        let gone = Setting { is_target_gone: true, ..setting(100_000) };
        assert_eq!(finish(&load, &gone).limits, [""; 0]);
    }

    #[test]
    fn what_happens_before_the_measured_part_is_no_part_of_its_means() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let busy = CrewLoad { busy: 1.0, ..CrewLoad::default() };
        meter.take(start + Duration::from_secs(10), &busy, &mut Second::default(), false);
        meter.take(start + Duration::from_secs(20), &CrewLoad::default(), &mut Second::default(), true);
        let tool = meter.finish(&setting(1));
        assert_eq!((tool.busy_mean, tool.limits.len()), (0.0, 0));
    }
}

//! What a run found: the one form in which it is written as JSON, drawn, compared, merged over machines and fitted.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as HistogramReader, Serializer as _, V2Serializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::counts::Counts;
use crate::scenario::Scenario;

/// Grows when a reader of older files would misread a newer one.
pub const FORMAT: u32 = 1;

/// One run, whole or as far as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// [`FORMAT`].
    pub format: u32,
    /// loadtest's version.
    pub version: String,
    /// When it began, RFC 3339, UTC.
    pub started: String,
    /// What was run, with every default filled in. Tokens, passwords and secrets are left out.
    pub scenario: Scenario,
    /// Where it ran.
    pub machine: Machine,
    /// How it ended.
    pub end: End,
    /// The measured part of the run, seconds since its start.
    pub measured: Span,
    /// Sums of the measured part, all groups.
    pub counts: Counts,
    /// Distributions of the measured part, all groups.
    pub delays: Delays,
    /// Join stages of everybody who joined, whenever.
    pub joins: Joins,
    /// By group, in the scenario's order.
    pub groups: Vec<GroupOutcome>,
    /// One for each second of the whole run.
    pub series: Vec<Second>,
    /// What the servers said of themselves.
    pub servers: Vec<ServerOutcome>,
    /// What loadtest itself cost, and whether it was what saturated.
    pub tool: Tool,
    /// The scenario's thresholds, judged.
    pub verdicts: Vec<Verdict>,
    /// Whether callers and servers counted the same; none where the servers do not tell, or were started anew.
    #[serde(default)]
    pub agreement: Option<Agreement>,
    /// What callers without media found; none for a run with media only.
    #[serde(default)]
    pub signaling: Option<SignalingOutcome>,
}

/// Packets of the whole run as both ends counted them: from before the first join until everybody had left and the
/// servers' numbers stood still, so that it does not matter that those are up to two seconds old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// RTP packets that the servers say they sent, retransmissions among them.
    pub sent_by_servers: u64,
    /// RTP datagrams that reached callers.
    pub received_by_callers: u64,
    /// The first without the second, as a share of the first: what was lost on the way, or counted differently.
    pub difference: f64,
}

/// The machine loadtest ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that loadtest may use, all processes together.
    pub processors: usize,
    /// As the kernel names them.
    pub processor_name: String,
    /// The kernel's release.
    pub kernel: String,
    /// loadtest processes in this run.
    pub processes: usize,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum End {
    /// As the scenario says.
    Complete,
    /// By ctrl-c.
    Interrupted {
        /// Seconds since the start.
        at_s: f64,
    },
    /// Nobody could join, everybody was lost, or the target is gone.
    Failed {
        /// Seconds since the start.
        at_s: f64,
        /// One line for a person.
        why: String,
    },
}

/// A stretch of the run, seconds since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Its first instant.
    pub from_s: f64,
    /// Its last.
    pub to_s: f64,
}

/// One-way delay, by what was delayed; microseconds. Only between callers of one process, which share a clock.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Delays {
    /// Audio packets.
    pub audio: Distribution,
    /// Video packets.
    pub video: Distribution,
    /// Whole pictures: from the stamp of the frame to its last missing packet, repairs included.
    pub frames: Distribution,
}

impl Delays {
    /// Adds what another process, or another second, has found.
    pub fn add(&mut self, other: &Self) {
        self.audio.add(&other.audio);
        self.video.add(&other.video);
        self.frames.add(&other.frames);
    }

    /// Audio and video packets together.
    pub fn packets(&self) -> Distribution {
        let mut all = self.audio.clone();
        all.add(&self.video);
        all
    }
}

/// How long each step of joining took; microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Joins {
    /// Callers that began.
    pub begun: u64,
    /// Callers that got media.
    pub succeeded: u64,
    /// Why others failed: reason and count.
    pub failed: BTreeMap<String, u64>,
    /// Until the socket to signaling was open (HTTP: until the request was sent).
    pub connect: Distribution,
    /// From there to `joined`.
    pub joined: Distribution,
    /// From `assigned` to the answer (HTTP: from request to answer).
    pub answer: Distribution,
    /// From the answer to the first answered check.
    pub ice: Distribution,
    /// From there to keys.
    pub dtls: Distribution,
    /// From there to the first packet of media.
    pub first_packet: Distribution,
    /// From keys to the first whole key frame shown.
    pub first_picture: Distribution,
    /// From the beginning to the first packet of media, without the time spent alone in a conference that waits for a second.
    pub total: Distribution,
    /// No step of joining: from the moment in which a caller knew its media lost to having it again, after a move to another
    /// bridge or a broken path. Who did not come back is not in it.
    #[serde(default)]
    pub back: Distribution,
}

impl Joins {
    /// Adds another process' or group's.
    pub fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.succeeded += other.succeeded;
        for (reason, count) in &other.failed {
            *self.failed.entry(reason.clone()).or_default() += count;
        }
        for (mine, theirs) in self.stages_mut().into_iter().zip(other.stages()) {
            mine.add(theirs.1);
        }
        self.back.add(&other.back);
    }

    /// Name and distribution of each stage, in order; the last is the whole.
    pub fn stages(&self) -> [(&'static str, &Distribution); 8] {
        [
            ("connect", &self.connect),
            ("joined", &self.joined),
            ("answer", &self.answer),
            ("ice", &self.ice),
            ("dtls", &self.dtls),
            ("first packet", &self.first_packet),
            ("first picture", &self.first_picture),
            ("total", &self.total),
        ]
    }

    fn stages_mut(&mut self) -> [&mut Distribution; 8] {
        [
            &mut self.connect,
            &mut self.joined,
            &mut self.answer,
            &mut self.ice,
            &mut self.dtls,
            &mut self.first_packet,
            &mut self.first_picture,
            &mut self.total,
        ]
    }
}

/// One group of callers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GroupOutcome {
    /// Its name.
    pub name: String,
    /// Callers that there should be.
    pub callers: u32,
    /// Sums of the measured part.
    pub counts: Counts,
    /// Distributions of the measured part.
    pub delays: Delays,
    /// All its joins.
    pub joins: Joins,
    /// Received bit rate of each filled video slot, kbit/s, one value for each slot and second.
    pub video_slot_kbps: Distribution,
}

/// One second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Its end, seconds since the start.
    pub at_s: f64,
    /// Callers with media.
    pub callers_up: u64,
    /// Callers on their way in.
    pub callers_joining: u64,
    /// Joins that failed so far.
    pub joins_failed: u64,
    /// RTP packets sent by callers.
    pub packets_sent: u64,
    /// RTP packets received by callers.
    pub packets_received: u64,
    /// Bytes of them.
    pub bytes_received: u64,
    /// Packets found missing for good.
    pub packets_lost: u64,
    /// Freezes that began.
    pub freezes: u64,
    /// One-way delay of packets: median, microseconds. 0 when none came.
    pub delay_p50_us: u64,
    /// 95th percentile.
    pub delay_p95_us: u64,
    /// 99th percentile.
    pub delay_p99_us: u64,
    /// Processors that loadtest used, such as 0.8.
    pub tool_processors: f64,
    /// The busiest of loadtest's media threads, 0.0 to 1.0.
    pub tool_busy: f64,
    /// The busiest worker of any server, 0.0 to 1.0.
    pub server_busy: f64,
}

/// What one server said of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerOutcome {
    /// The URL its numbers were read from.
    pub url: String,
    /// Answers that could be read, of those asked for.
    pub answers: u64,
    /// Questions without a usable answer.
    pub failures: u64,
    /// Busiest worker, mean over the measured part, 0.0 to 1.0.
    pub busy_mean: f64,
    /// Its largest value.
    pub busy_max: f64,
    /// Processor time its process used in the measured part, seconds; none where it does not say.
    pub processor_s: Option<f64>,
    /// Largest resident memory, MiB.
    pub memory_mib_max: f64,
    /// Resident memory before the first join, MiB.
    pub memory_mib_before: f64,
    /// RTP packets it says it sent in the measured part.
    pub packets_sent: u64,
    /// RTP packets it says it received.
    pub packets_received: u64,
    /// Bytes it says it sent.
    pub bytes_sent: u64,
    /// Forwarding latency as it says, microseconds: p50, p99, p999 at the end.
    pub forwarding_latency_us: Option<[u64; 3]>,
    /// Datagrams it dropped in the measured part, by reason; zeros left out.
    pub dropped: BTreeMap<String, u64>,
}

/// loadtest's own cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Processors used on average in the measured part.
    pub processors_mean: f64,
    /// Busiest media thread, mean over the measured part: the share of time in which it was not waiting for something to
    /// do. Time in which it waited for a processor is in it.
    pub busy_mean: f64,
    /// Datagrams that the kernel dropped because loadtest did not fetch them in time.
    pub kernel_drops: u64,
    /// Largest resident memory, MiB; of several processes, the sum of each one's largest.
    pub memory_mib_max: f64,
    /// Why loadtest itself was the limit, one line each; empty: it was not.
    pub limits: Vec<String>,
}

/// One threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The threshold's key in the scenario.
    pub key: String,
    /// What was asked for.
    pub limit: f64,
    /// What was found; none when nothing was measured, which breaks the threshold too.
    pub found: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

/// Signaling without media, over the whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignalingOutcome {
    /// Callers that were taken in.
    pub callers: u64,
    /// Lines that broke and were joined again, or tried to be.
    pub breaks: u64,
    /// Hands raised or lowered by callers.
    pub hands: u64,
    /// From a caller's `set` to the moment in which another caller of its conference has read of it; microseconds. Only
    /// between callers of one process, which share a clock.
    pub push_delay: Distribution,
    /// WebSocket messages received.
    pub frames_received: u64,
    /// Bytes of them, without the framing of WebSocket, TLS and TCP.
    pub bytes_received: u64,
    /// Messages that were none of the protocol's updates.
    pub frames_strange: u64,
    /// Messages received by each caller while it attended.
    pub frames_per_caller: Distribution,
    /// Bytes received by each caller while it attended.
    pub bytes_per_caller: Distribution,
    /// The baseline.
    pub polling: Option<PollingOutcome>,
}

impl SignalingOutcome {
    /// Adds another process'.
    pub fn add(&mut self, other: &Self) {
        self.callers += other.callers;
        self.breaks += other.breaks;
        self.hands += other.hands;
        self.push_delay.add(&other.push_delay);
        self.frames_received += other.frames_received;
        self.bytes_received += other.bytes_received;
        self.frames_strange += other.frames_strange;
        self.frames_per_caller.add(&other.frames_per_caller);
        self.bytes_per_caller.add(&other.bytes_per_caller);
        match (&mut self.polling, &other.polling) {
            (Some(mine), Some(theirs)) => mine.add(theirs),
            (mine @ None, theirs) => mine.clone_from(theirs),
            (Some(_), None) => {}
        }
    }
}

/// Callers that ask each interval instead of being told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PollingOutcome {
    /// Callers that asked.
    pub callers: u64,
    /// Seconds between two questions of one caller.
    pub interval_s: f64,
    /// Questions asked.
    pub requests: u64,
    /// Those without a usable answer, by reason.
    pub failed: BTreeMap<String, u64>,
    /// From the question to the last byte of its answer; microseconds.
    pub request: Distribution,
    /// Bytes of the answers' bodies.
    pub bytes_received: u64,
    /// Mean age of what a caller knows: half an interval and the time of the request; microseconds.
    pub age: Distribution,
}

impl PollingOutcome {
    fn add(&mut self, other: &Self) {
        self.callers += other.callers;
        self.interval_s = other.interval_s;
        self.requests += other.requests;
        for (reason, count) in &other.failed {
            *self.failed.entry(reason.clone()).or_default() += count;
        }
        self.request.add(&other.request);
        self.bytes_received += other.bytes_received;
        self.age.add(&other.age);
    }
}

/// A distribution of whole numbers (microseconds, kbit/s), three digits exact; written as base64 of HdrHistogram's
/// compact form, so that reports can be merged and compared without loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution(Histogram<u64>);

impl Default for Distribution {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, VALUE_MAX, 3);
        // Invariant: these bounds are valid whatever happens.
        Self(histogram.unwrap_or_else(|_| unreachable!("constant bounds")))
    }
}

impl Distribution {
    /// Takes one value; one beyond the bounds counts as the bound.
    pub fn take(&mut self, value: u64) {
        self.0.saturating_record(value.min(VALUE_MAX));
    }

    /// Adds another's values.
    pub fn add(&mut self, other: &Self) {
        // Invariant: all have the same bounds, the only way for an addition to fail.
        let _ = self.0.add(&other.0);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Values taken.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value below which this share (0.0 to 1.0) lies; 0 of nothing.
    pub fn quantile(&self, share: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(share) }
    }

    /// 0 of nothing.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// 0 of nothing.
    pub fn max(&self) -> u64 {
        self.0.max()
    }
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.0, &mut bytes).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&BASE64.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text).map_err(serde::de::Error::custom)?;
        let read: Histogram<u64> =
            HistogramReader::new().deserialize(&mut bytes.as_slice()).map_err(serde::de::Error::custom)?;
        // A foreign file's bounds are brought to ours, so that additions cannot fail.
        let mut own = Self::default();
        for step in read.iter_recorded() {
            own.0.saturating_record_n(
                step.value_iterated_to().min(VALUE_MAX),
                step.count_since_last_iteration(),
            );
        }
        Ok(own)
    }
}

/// Ten minutes in microseconds: longer than any wait that is measured.
const VALUE_MAX: u64 = 600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_survives_its_text() {
        let mut distribution = Distribution::default();
        for value in [0, 1, 900, 1_000_000, u64::MAX] {
            distribution.take(value);
        }
        let text = serde_json::to_string(&distribution).unwrap();
        let read: Distribution = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read.count(), read.quantile(0.5), read.max()),
            (5, distribution.quantile(0.5), distribution.max())
        );
    }

    #[test]
    fn text_that_is_no_distribution_is_refused() {
        for text in ["\"\"", "\"####\"", "\"AAAA\"", "7"] {
            assert!(serde_json::from_str::<Distribution>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signaling_of_two_processes_adds_up_and_an_older_report_has_none() {
        let polling = PollingOutcome { requests: 2, interval_s: 1.0, ..PollingOutcome::default() };
        let one =
            SignalingOutcome { callers: 3, hands: 4, polling: Some(polling), ..SignalingOutcome::default() };
        let mut all = SignalingOutcome::default();
        all.add(&one);
        all.add(&SignalingOutcome::default());
        all.add(&one);
        let requests = all.polling.as_ref().map(|polling| (polling.requests, polling.interval_s));
        assert_eq!((all.callers, all.hands, requests), (6, 8, Some((4, 1.0))));
        assert_eq!(serde_json::from_str::<SignalingOutcome>("{}").unwrap(), SignalingOutcome::default());
    }
}

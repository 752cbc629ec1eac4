//! Figures that follow from an outcome: rates, shares, costs, and whether both sides counted the same.

use crate::engine::counts::Counts;
use crate::outcome::Outcome;

/// Length of the measured part, seconds.
pub(crate) fn measured_s(outcome: &Outcome) -> f64 {
    (outcome.measured.to_s - outcome.measured.from_s).max(0.0)
}

/// What all servers of a run say together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Servers {
    /// Those that forwarded media.
    pub(crate) bridges: u64,
    /// Processor seconds of those, in the measured part; as they say, or else the busiest worker's share times the time.
    pub(crate) processor_s: Option<f64>,
    /// Whether every one of those told its processor time itself.
    pub(crate) processor_is_told: bool,
    /// RTP packets sent.
    pub(crate) packets_sent: u64,
    /// RTP packets received.
    pub(crate) packets_received: u64,
    /// Busiest worker of any, mean over the measured part.
    pub(crate) busy: f64,
    /// Memory that came with the callers, MiB, all servers.
    pub(crate) memory_grown_mib: f64,
    /// Largest memory, MiB, all servers.
    pub(crate) memory_mib: f64,
}

/// Sums over the servers.
pub(crate) fn servers(outcome: &Outcome) -> Servers {
    let mut sum = Servers { processor_is_told: true, ..Servers::default() };
    let seconds = measured_s(outcome);
    for server in &outcome.servers {
        sum.busy = sum.busy.max(server.busy_mean);
        sum.memory_mib += server.memory_mib_max;
        sum.memory_grown_mib += (server.memory_mib_max - server.memory_mib_before).max(0.0);
        if server.packets_sent == 0 && server.packets_received == 0 {
            continue;
        }
        sum.bridges += 1;
        // What a server says of itself may be anything.
        sum.packets_sent = sum.packets_sent.saturating_add(server.packets_sent);
        sum.packets_received = sum.packets_received.saturating_add(server.packets_received);
        sum.processor_is_told &= server.processor_s.is_some();
        let used = server.processor_s.unwrap_or(server.busy_mean * seconds);
        sum.processor_s = Some(sum.processor_s.unwrap_or(0.0) + used);
    }
    sum
}

/// The figures that a run is judged and compared by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figures {
    /// RTP packets that callers received, a second.
    pub(crate) packets_per_s: f64,
    /// RTP packets that callers sent, a second.
    pub(crate) sent_per_s: f64,
    /// Received by callers, Mbit/s.
    pub(crate) received_mbps: f64,
    /// Packets that never came; none when nothing was expected.
    pub(crate) loss: Option<f64>,
    /// One-way delay of packets, median, milliseconds.
    pub(crate) delay_p50_ms: Option<f64>,
    /// 99th percentile.
    pub(crate) delay_p99_ms: Option<f64>,
    /// Joining, median, milliseconds.
    pub(crate) join_p50_ms: Option<f64>,
    /// 95th percentile.
    pub(crate) join_p95_ms: Option<f64>,
    /// Of those that began; none when nobody did.
    pub(crate) failed_joins: Option<f64>,
    /// Share of the watched time; none when nothing was watched.
    pub(crate) frozen: Option<f64>,
    /// Busiest worker of any server; none when no server told of one that did anything.
    pub(crate) busy: Option<f64>,
    /// Processor time of the bridges for each packet they forwarded, microseconds.
    pub(crate) processor_us_per_packet: Option<f64>,
    /// Memory of all servers, MiB.
    pub(crate) memory_mib: Option<f64>,
}

/// Reads the figures off an outcome.
pub(crate) fn figures(outcome: &Outcome) -> Figures {
    let seconds = measured_s(outcome);
    let rate = |sum: u64| if seconds > 0.0 { sum as f64 / seconds } else { 0.0 };
    let counts = &outcome.counts;
    let delays = outcome.delays.packets();
    let delay = |share| (delays.count() > 0).then(|| delays.quantile(share) as f64 / 1e3);
    let total = &outcome.joins.total;
    let join = |share| (total.count() > 0).then(|| total.quantile(share) as f64 / 1e3);
    let is_answered = outcome.servers.iter().any(|server| server.answers > 0);
    let servers = servers(outcome);
    let (forwarded, _) = forwarded(outcome);
    Figures {
        packets_per_s: rate(received(outcome)),
        sent_per_s: rate(counts.packets_sent),
        received_mbps: if seconds > 0.0 { bytes_received(counts) * 8.0 / 1e6 / seconds } else { 0.0 },
        loss: (counts.packets_received + counts.packets_lost > 0).then(|| counts.loss()),
        delay_p50_ms: delay(0.5),
        delay_p99_ms: delay(0.99),
        join_p50_ms: join(0.5),
        join_p95_ms: join(0.95),
        failed_joins: (outcome.joins.begun > 0)
            .then(|| failed_joins(outcome) as f64 / outcome.joins.begun as f64),
        frozen: (counts.watched_us > 0).then(|| counts.frozen()),
        busy: Some(servers.busy).filter(|busy| *busy > 0.0),
        processor_us_per_packet: servers
            .processor_s
            .filter(|_| forwarded > 0.0)
            .map(|used| used * 1e6 / forwarded),
        memory_mib: is_answered.then_some(servers.memory_mib),
    }
}

/// RTP packets that bridges forwarded in the measured part, and their bytes: those that callers received, and those they
/// miss. Servers say it too, but of a time that ends up to two seconds earlier, which is a tenth of a short run; both
/// ends' counts of the whole run are compared by [`agreed`].
pub(crate) fn forwarded(outcome: &Outcome) -> (f64, f64) {
    let came = received(outcome) as f64;
    let packets = came + outcome.counts.packets_lost as f64;
    let bytes = if came > 0.0 { bytes_received(&outcome.counts) * packets / came } else { 0.0 };
    (packets, bytes)
}

/// Bytes of all packets that came; those that were not opened are taken to be as large as the others.
pub(crate) fn bytes_received(counts: &Counts) -> f64 {
    let came = (counts.packets_received + counts.packets_not_opened) as f64;
    counts.bytes_received as f64 * came / counts.packets_received.max(1) as f64
}

/// Bursts that bridges forwarded in the measured part: pictures, each of which is some packets at once, and voice packets,
/// each of which comes alone. Callers that open a share of their packets tell for the others.
pub(crate) fn bursts(outcome: &Outcome) -> f64 {
    let (voices, pictures) = (outcome.delays.audio.count() as f64, outcome.delays.video.count() as f64);
    let frames = (outcome.counts.frames_complete + outcome.counts.frames_broken) as f64;
    if voices + pictures > 0.0 { forwarded(outcome).0 * (voices + frames) / (voices + pictures) } else { 0.0 }
}

/// Packets that came to callers, opened or not.
pub(crate) fn received(outcome: &Outcome) -> u64 {
    outcome.counts.packets_received + outcome.counts.packets_not_opened
}

/// Joins that failed, for whatever reason.
pub(crate) fn failed_joins(outcome: &Outcome) -> u64 {
    outcome.joins.failed.values().sum()
}

/// Whether the servers' count and the callers' are of the same packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreed {
    /// Within [`AGREEMENT`].
    Yes,
    /// Within it once the packets are added that callers found to be missing.
    WithLoss,
    /// Further apart.
    No,
}

/// Judges what the run counted; none where it could not.
pub(crate) fn agreed(outcome: &Outcome) -> Option<Agreed> {
    let found = outcome.agreement.filter(|found| found.sent_by_servers > 0)?;
    if found.difference.abs() <= AGREEMENT {
        return Some(Agreed::Yes);
    }
    // Only what callers miss is explained by it; nobody loses packets by receiving more than were sent.
    let lost = outcome.counts.packets_lost as f64 / found.sent_by_servers as f64;
    let is_explained = found.difference > 0.0 && (found.difference - lost).abs() <= AGREEMENT;
    Some(if is_explained { Agreed::WithLoss } else { Agreed::No })
}

/// Both ends count whole runs once everything has come to rest; further apart than this, one of them counts something else.
const AGREEMENT: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Agreement, ServerOutcome};
    use crate::report::samples::sample;

    #[test]
    fn processor_time_is_reckoned_from_the_busiest_worker_where_a_server_does_not_tell_it() {
        let mut outcome = sample();
        let told = servers(&outcome);
        assert_eq!((told.bridges, told.processor_s, told.processor_is_told), (1, Some(6.0), true));
        outcome.servers[0].processor_s = None;
        let reckoned = servers(&outcome);
        assert_eq!((reckoned.processor_s, reckoned.processor_is_told), (Some(0.25 * 20.0), false));
    }

    #[test]
    fn what_was_not_measured_is_absent_and_not_zero() {
        let mut outcome = sample();
        outcome.counts = Default::default();
        outcome.delays = Default::default();
        outcome.joins = Default::default();
        outcome.servers.clear();
        let none = figures(&outcome);
        let absent =
            [none.loss, none.delay_p99_ms, none.join_p95_ms, none.failed_joins, none.frozen, none.busy];
        assert_eq!(absent, [None; 6]);
    }

    #[test]
    fn servers_that_boast_break_nothing() {
        let mut outcome = sample();
        let boasting =
            ServerOutcome { packets_sent: u64::MAX, packets_received: u64::MAX, ..Default::default() };
        outcome.servers = vec![boasting.clone(), boasting];
        assert_eq!((servers(&outcome).bridges, servers(&outcome).packets_sent), (2, u64::MAX));
    }

    #[test]
    fn packets_that_were_not_opened_have_bytes_too() {
        let mut outcome = sample();
        let before = (figures(&outcome).received_mbps, forwarded(&outcome));
        outcome.counts.packets_not_opened = outcome.counts.packets_received;
        let (packets, bytes) = forwarded(&outcome);
        assert!((figures(&outcome).received_mbps / before.0 - 2.0).abs() < 1e-9);
        assert!((bytes / packets - before.1.1 / before.1.0).abs() < 1e-9, "a packet is as large as before");
    }

    #[test]
    fn counts_agree_within_one_percent_or_once_the_lost_are_added() {
        let agreed = |sent: u64, came: u64, lost| {
            let mut outcome = sample();
            outcome.counts.packets_lost = lost;
            let difference = (sent as f64 - came as f64) / sent as f64;
            outcome.agreement =
                Some(Agreement { sent_by_servers: sent, received_by_callers: came, difference });
            super::agreed(&outcome)
        };
        assert_eq!(agreed(1_000, 991, 0), Some(Agreed::Yes));
        assert_eq!(agreed(1_000, 900, 95), Some(Agreed::WithLoss));
        assert_eq!(agreed(1_000, 900, 20), Some(Agreed::No));
        assert_eq!(
            agreed(1_000, 1_100, 100),
            Some(Agreed::No),
            "more than was sent is not explained by loss"
        );
        assert_eq!(agreed(0, 0, 0), None);
    }
}

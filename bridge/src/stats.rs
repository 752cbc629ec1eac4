//! The bridge's numbers: the sum over its workers, and rates over the last seconds.

mod flat;
mod sum;
mod system;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub(crate) use self::flat::{Facts, flat};
use self::system::Processors;
pub(crate) use self::system::{resident_memory_bytes, threads, used_memory_mb};
use crate::engine::stats::{Counters, EngineStats};
use crate::udp::SendCounts;
use crate::worker::WorkerSnapshot;
use crate::worker::meter::{LatencyTotals, empty_histogram};

/// Turns the workers' snapshots into the bridge's numbers, once a second.
pub(crate) struct Sampler {
    /// The last samples' counters, oldest first.
    window: VecDeque<(Instant, Counters)>,
    stats: BridgeStats,
    processors: Processors,
}

/// Everything that is shown of the bridge, as of one instant.
#[derive(Debug, Clone)]
pub(crate) struct BridgeStats {
    /// Sum over the workers; the largest conference is the largest of any.
    pub(crate) totals: EngineStats,
    /// Over the last seconds.
    pub(crate) rates: Rates,
    /// 0.0 idle, 1.0 full: the busiest worker.
    pub(crate) stress: f64,
    /// Forwarding latency of the last seconds over all workers, microseconds.
    pub(crate) latency: Histogram<u32>,
    /// Forwarding latency since the start.
    pub(crate) latency_totals: LatencyTotals,
    /// What became of datagrams sent.
    pub(crate) sends: SendCounts,
    /// Datagrams the sockets gave.
    pub(crate) datagrams_received: u64,
    /// Datagrams the kernel dropped because a worker was late.
    overflowed: u64,
    /// Datagrams longer than any browser's.
    truncated: u64,
    /// Handshake datagrams without room.
    handshakes_refused: u64,
    /// Channel messages without room.
    channel_messages_dropped: u64,
    /// One for each worker.
    pub(crate) workers: Vec<WorkerRow>,
    /// Share of the machine's processor time in use during the last second.
    pub(crate) cpu_usage: f64,
}

/// Per second, or as a fraction, over the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) packets_received_per_s: u64,
    pub(crate) packets_sent_per_s: u64,
    pub(crate) received_bps: u64,
    pub(crate) sent_bps: u64,
    /// Of the packets browsers sent, the share that never came.
    pub(crate) incoming_loss: f64,
    /// Of the packets we sent, the share browsers report lost.
    pub(crate) outgoing_loss: f64,
    /// Both together.
    pub(crate) overall_loss: f64,
}

/// How one worker does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct WorkerRow {
    pub(crate) busy: f64,
    pub(crate) packets_per_s: u64,
    pub(crate) conferences: u64,
    pub(crate) endpoints: u64,
}

impl Default for BridgeStats {
    fn default() -> Self {
        Self {
            totals: EngineStats::default(),
            rates: Rates::default(),
            stress: 0.0,
            latency: empty_histogram(),
            latency_totals: LatencyTotals::default(),
            sends: SendCounts::default(),
            datagrams_received: 0,
            overflowed: 0,
            truncated: 0,
            handshakes_refused: 0,
            channel_messages_dropped: 0,
            workers: Vec::new(),
            cpu_usage: 0.0,
        }
    }
}

impl BridgeStats {
    /// Drops outside the engines, by reason; the kernel's are counted by the kernel.
    pub(crate) fn shell_drops(&self) -> [(&'static str, u64); 7] {
        [
            ("receive_buffer_overflow", self.overflowed),
            ("truncated", self.truncated),
            ("send_queue_full", self.sends.queue_full),
            ("send_too_large", self.sends.too_large),
            ("send_refused", self.sends.refused),
            ("handshake_queue_full", self.handshakes_refused),
            ("channel_queue_full", self.channel_messages_dropped),
        ]
    }

    fn add(&mut self, worker: &WorkerSnapshot) {
        sum::add_engine(&mut self.totals, &worker.engine);
        // Invariant: all histograms have the same bounds, the only way for an addition to fail.
        let _ = self.latency.add(&worker.latency);
        for (sum, count) in self.latency_totals.buckets.iter_mut().zip(worker.latency_totals.buckets) {
            *sum += count;
        }
        self.latency_totals.sum_us += worker.latency_totals.sum_us;
        self.sends.add(&worker.sends);
        self.datagrams_received += worker.datagrams_received;
        self.overflowed += worker.overflowed;
        self.truncated += worker.truncated;
        self.handshakes_refused += worker.handshakes_refused;
        self.channel_messages_dropped += worker.channel_messages_dropped;
        self.workers.push(WorkerRow {
            busy: worker.busy,
            packets_per_s: worker.packets_per_s,
            conferences: worker.engine.conferences,
            endpoints: worker.engine.endpoints,
        });
    }
}

impl Sampler {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            window: VecDeque::from([(now, Counters::default())]),
            stats: BridgeStats::default(),
            processors: Processors::default(),
        }
    }

    /// Takes one sample; `snapshots` are by worker index.
    pub(crate) fn take(&mut self, now: Instant, snapshots: &[Arc<WorkerSnapshot>]) {
        let mut stats = BridgeStats { cpu_usage: self.processors.usage(), ..BridgeStats::default() };
        snapshots.iter().for_each(|snapshot| stats.add(snapshot));
        self.window.push_back((now, stats.totals.counters.clone()));
        while self.window.len() > WINDOW_SAMPLES {
            self.window.pop_front();
        }
        if let (Some((from, before)), Some((to, after))) = (self.window.front(), self.window.back()) {
            stats.rates = Rates::between(before, after, to.saturating_duration_since(*from));
        }
        let busiest = stats.workers.iter().map(|worker| worker.busy).fold(0.0, f64::max);
        // A worker that loses datagrams is full, whatever its clock says.
        stats.stress = if stats.overflowed > self.stats.overflowed { busiest.max(1.0) } else { busiest };
        self.stats = stats;
    }

    /// As of the last sample.
    pub(crate) fn stats(&self) -> BridgeStats {
        self.stats.clone()
    }
}

impl Rates {
    fn between(before: &Counters, after: &Counters, lasted: Duration) -> Self {
        let seconds = lasted.as_secs_f64();
        if seconds <= 0.0 {
            return Self::default();
        }
        let step = |read: fn(&Counters) -> u64| read(after).saturating_sub(read(before));
        let per_second = |step: u64| (step as f64 / seconds).round() as u64;
        let (lost, expected) =
            (step(|counters| counters.packets_lost), step(|counters| counters.packets_expected));
        let reported_lost = step(|counters| counters.packets_reported_lost);
        let reported = step(|counters| counters.packets_reported);
        Self {
            packets_received_per_s: per_second(step(|counters| counters.packets_received)),
            packets_sent_per_s: per_second(step(|counters| counters.packets_sent)),
            received_bps: per_second(8 * step(|counters| counters.bytes_received)),
            sent_bps: per_second(8 * step(|counters| counters.bytes_sent)),
            incoming_loss: share(lost, expected),
            outgoing_loss: share(reported_lost, reported),
            overall_loss: share(lost + reported_lost, expected + reported),
        }
    }
}

/// `part` of `whole`, 0.0 to 1.0; none of nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) }
}

/// Five seconds between the first and the last.
const WINDOW_SAMPLES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(now: Instant, packets: u64) -> Arc<WorkerSnapshot> {
        let mut snapshot = WorkerSnapshot::empty(now);
        snapshot.engine.counters.packets_received = packets;
        snapshot.engine.counters.bytes_received = packets * 1000;
        snapshot.engine.counters.packets_expected = packets;
        snapshot.engine.counters.packets_lost = packets / 10;
        snapshot.engine.endpoints = 3;
        snapshot.engine.largest_conference = packets;
        snapshot.busy = packets as f64 / 1000.0;
        Arc::new(snapshot)
    }

    #[test]
    fn workers_add_up_and_the_busiest_is_the_stress() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let now = start + Duration::from_secs(1);
        sampler.take(now, &[snapshot(now, 100), snapshot(now, 300)]);
        let stats = sampler.stats();
        assert_eq!((stats.totals.endpoints, stats.totals.largest_conference), (6, 300));
        assert_eq!(stats.rates.packets_received_per_s, 400);
        assert_eq!(stats.rates.received_bps, 400 * 8000);
        assert!((stats.rates.incoming_loss - 0.1).abs() < 1e-9);
        assert!((stats.stress - 0.3).abs() < 1e-9);
    }

    #[test]
    fn rates_cover_five_seconds() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        for second in 1..=20 {
            let now = start + Duration::from_secs(second);
            // Nothing more arrives after the tenth second.
            sampler.take(now, &[snapshot(now, 100 * second.min(10))]);
            let expected = (15u64.saturating_sub(second)).min(5) * 20;
            assert_eq!(sampler.stats().rates.packets_received_per_s, expected, "second {second}");
        }
    }

    #[test]
    fn a_worker_that_loses_datagrams_is_full_until_it_loses_no_more() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let mut losing = (*snapshot(start, 10)).clone();
        losing.overflowed = 5;
        let losing = Arc::new(losing);
        for (second, stress) in [(1, 1.0), (2, 0.01)] {
            sampler.take(start + Duration::from_secs(second), std::slice::from_ref(&losing));
            assert!((sampler.stats().stress - stress).abs() < 1e-9);
        }
        assert_eq!(sampler.stats().shell_drops()[0], ("receive_buffer_overflow", 5));
    }
}

//! Names, help and labels of everything Prometheus sees; the numbers come from the last second's sample.
//!
//! Cardinality is fixed: no conference, endpoint or address is ever a label, only workers, directions and reasons.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, Registry, TextEncoder};

use crate::control::Control;
use crate::handshakes::FAILURES;
use crate::stats::{BridgeStats, resident_memory_bytes, threads};
use crate::udp::processor_time;
use crate::worker::meter::{LATENCY_BOUNDS_US, LatencyTotals};

/// The registry with the bridge's one collector.
pub(crate) struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// # Errors
    /// When two collectors have the same names.
    pub(crate) fn new(control: Arc<Control>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(BridgeCollector { control }))?;
        Ok(Self { registry })
    }

    /// Everything as Prometheus' text.
    pub(crate) fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

struct BridgeCollector {
    control: Arc<Control>,
}

impl Collector for BridgeCollector {
    /// None: the families are made anew at each gathering, and the registry has no other collector to confuse them with.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.control.stats();
        let mut families = Families::default();
        media(&mut families, &stats);
        quality(&mut families, &stats);
        lives(&mut families, &stats);
        drops(&mut families, &stats);
        self.control_plane(&mut families);
        load(&mut families, &stats);
        process(&mut families);
        families.0
    }
}

impl BridgeCollector {
    fn control_plane(&self, families: &mut Families) {
        let control = &self.control;
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let counts = &control.shell_counts;
        let channels = control.channel_counts();
        families.gauge("bridge_channels", "Channel WebSockets open.", channels.open as f64);
        families.counters(
            "bridge_channels_closed_total",
            "Channels this bridge closed or refused, by reason.",
            "reason",
            &[
                ("overload", channels.overflowed),
                ("over_rate", channels.over_rate),
                ("refused", count(&counts.channels_refused)),
            ],
        );
        families.counter(
            "bridge_epoch_rejects_total",
            "Commands refused for an older epoch.",
            count(&counts.stale_commands),
        );
        families.counter(
            "bridge_link_messages_unreadable_total",
            "Messages of signaling that this version cannot read.",
            count(&counts.link_messages_unreadable),
        );
        families.gauge("bridge_links", "Signaling services connected.", control.links_up() as f64);
        families.gauge(
            "bridge_draining",
            "Whether signaling is asked to choose other bridges.",
            f64::from(u8::from(control.is_draining())),
        );
        let handshakes = control.handshakes.totals();
        let mut ends = vec![("connected", handshakes.connected), ("closed", handshakes.closed)];
        ends.extend(FAILURES.into_iter().zip(handshakes.failed));
        families.counters(
            "bridge_dtls_handshakes_total",
            "DTLS handshakes, by how they ended.",
            "result",
            &ends,
        );
        families.counter(
            "bridge_dtls_datagrams_ignored_total",
            "DTLS datagrams that changed nothing: noise, forgeries, repetitions.",
            handshakes.ignored,
        );
        families.gauge(
            "bridge_queue_depth",
            "DTLS commands that wait for their thread.",
            control.handshakes.depth() as f64,
        );
        families.counter("bridge_panics_total", "Panics that were contained.", handshakes.panics);
    }
}

fn media(families: &mut Families, stats: &BridgeStats) {
    let counters = &stats.totals.counters;
    families.counters(
        "bridge_packets_total",
        "RTP packets, by direction.",
        "direction",
        &[("received", counters.packets_received), ("sent", counters.packets_sent)],
    );
    families.counters(
        "bridge_bytes_total",
        "Bytes of RTP datagrams, by direction.",
        "direction",
        &[("received", counters.bytes_received), ("sent", counters.bytes_sent)],
    );
    families.counters(
        "bridge_datagrams_total",
        "UDP datagrams of any kind, by direction.",
        "direction",
        &[("received", stats.datagrams_received), ("sent", stats.sends.sent)],
    );
    families.counter(
        "bridge_datagrams_in_trains_total",
        "UDP datagrams sent that shared a message with others to the same receiver (UDP_SEGMENT).",
        stats.sends.sent_in_trains,
    );
    families.counter(
        "bridge_send_messages_total",
        "Messages in which UDP datagrams were sent: trains and lone datagrams.",
        stats.sends.messages,
    );
    families.counter(
        "bridge_trains_refused_total",
        "Trains that the kernel refused; their datagrams went singly, as all to that receiver from then on.",
        stats.sends.trains_refused,
    );
    families.latency(
        "bridge_forward_latency_seconds",
        "From a datagram's receipt to the return of the call that sent what it caused.",
        &stats.latency_totals,
    );
}

fn quality(families: &mut Families, stats: &BridgeStats) {
    let counters = &stats.totals.counters;
    families.counters(
        "bridge_nack_total",
        "Sequence numbers asked for again, by direction.",
        "direction",
        &[("received", counters.nacks_received), ("sent", counters.nacks_sent)],
    );
    families.counter("bridge_rtx_total", "Packets sent again.", counters.retransmissions_sent);
    families.counter("bridge_recovered_total", "Lost packets that came back.", counters.packets_recovered);
    families.counters(
        "bridge_pli_total",
        "Key-frame requests: sent to senders, or merged into one sent shortly before.",
        "direction",
        &[("sent", counters.key_frame_requests_sent), ("merged", counters.key_frame_requests_merged)],
    );
    families.counter("bridge_key_frames_total", "Key frames received.", counters.key_frames_received);
    families.counters(
        "bridge_packets_lost_total",
        "Packets lost: on the way here, or reported lost by receivers.",
        "direction",
        &[("received", counters.packets_lost), ("sent", counters.packets_reported_lost)],
    );
    families.counters(
        "bridge_packets_expected_total",
        "Packets that should have arrived here, or that receivers' reports cover.",
        "direction",
        &[("received", counters.packets_expected), ("sent", counters.packets_reported)],
    );
    families.counter(
        "bridge_speaker_changes_total",
        "Changes of the dominant speaker.",
        counters.dominant_speaker_changes,
    );
}

fn lives(families: &mut Families, stats: &BridgeStats) {
    let (totals, counters) = (&stats.totals, &stats.totals.counters);
    families.gauge("bridge_conferences", "Conferences.", totals.conferences as f64);
    families.gauge("bridge_endpoints", "Endpoints.", totals.endpoints as f64);
    families.gauge("bridge_endpoints_connected", "Endpoints with keys.", totals.endpoints_connected as f64);
    families.gauges(
        "bridge_endpoints_sending",
        "Endpoints that send, by kind.",
        "kind",
        &[("audio", totals.endpoints_sending_audio as f64), ("video", totals.endpoints_sending_video as f64)],
    );
    families.gauge(
        "bridge_largest_conference",
        "Endpoints of the largest conference.",
        totals.largest_conference as f64,
    );
    families.counter("bridge_conferences_created_total", "Conferences begun.", counters.conferences_created);
    families.counter("bridge_endpoints_created_total", "Endpoints created.", counters.endpoints_created);
    families.counters(
        "bridge_ice_sessions_total",
        "Endpoints by how ICE went.",
        "result",
        &[
            ("succeeded", counters.ice_succeeded),
            ("failed", counters.ice_failed),
            ("restarted", counters.ice_restarts),
        ],
    );
    families.counter("bridge_consent_lost_total", "Endpoints that fell silent.", counters.consents_lost);
    families.counters(
        "bridge_channel_messages_total",
        "Channel messages, by direction.",
        "direction",
        &[("received", counters.channel_messages_received), ("sent", counters.channel_messages_sent)],
    );
}

fn drops(families: &mut Families, stats: &BridgeStats) {
    let engine = stats.totals.counters.dropped.iter().map(|(reason, count)| (reason.as_str(), count));
    let drops: Vec<_> = engine.chain(stats.shell_drops()).collect();
    families.counters(
        "bridge_packets_dropped_total",
        "Packets that stopped here, by reason.",
        "reason",
        &drops,
    );
    families.counter(
        "bridge_udp_rx_overflow_total",
        "Datagrams that found the kernel's receive buffer full.",
        stats.shell_drops()[0].1,
    );
}

fn load(families: &mut Families, stats: &BridgeStats) {
    families.gauge("bridge_stress", "0 idle, 1 full: the busiest worker.", stats.stress);
    let names: Vec<String> = (0..stats.workers.len()).map(|index| index.to_string()).collect();
    let busy: Vec<_> =
        names.iter().zip(&stats.workers).map(|(name, worker)| (name.as_str(), worker.busy)).collect();
    families.gauges("bridge_worker_busy", "Share of the last second that a worker worked.", "worker", &busy);
    let rtt = stats.totals.rtt_ms_sum / 1000.0 / (stats.totals.rtt_endpoints.max(1) as f64);
    families.gauge("bridge_rtt_seconds", "Mean round-trip time of the endpoints that have one.", rtt);
}

fn process(families: &mut Families) {
    families.gauges(
        "bridge_build_info",
        "1, with the version as its label.",
        "version",
        &[(env!("CARGO_PKG_VERSION"), 1.0)],
    );
    // The names that every Prometheus client library gives these two.
    families.seconds(
        "process_cpu_seconds_total",
        "Processor time of this process, user and system.",
        processor_time(),
    );
    families.gauge("process_resident_memory_bytes", "This process's memory.", resident_memory_bytes() as f64);
    families.gauge("bridge_process_threads", "This process's threads.", threads() as f64);
}

/// Families in the order they are written.
#[derive(Default)]
struct Families(Vec<MetricFamily>);

impl Families {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.push(name, help, MetricType::COUNTER, vec![counter(value)]);
    }

    fn seconds(&mut self, name: &str, help: &str, value: Duration) {
        let (mut counter, mut metric) = (Counter::default(), Metric::default());
        counter.set_value(value.as_secs_f64());
        metric.set_counter(counter);
        self.push(name, help, MetricType::COUNTER, vec![metric]);
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        let metrics = values.iter().map(|(of, value)| labelled(counter(*value), label, of)).collect();
        self.push(name, help, MetricType::COUNTER, metrics);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.push(name, help, MetricType::GAUGE, vec![gauge(value)]);
    }

    fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) {
        let metrics = values.iter().map(|(of, value)| labelled(gauge(*value), label, of)).collect();
        self.push(name, help, MetricType::GAUGE, metrics);
    }

    fn latency(&mut self, name: &str, help: &str, totals: &LatencyTotals) {
        let (mut histogram, mut buckets, mut below) = (Histogram::default(), Vec::new(), 0);
        for (bound_us, count) in LATENCY_BOUNDS_US.iter().zip(totals.buckets) {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound_us as f64 / 1e6);
            bucket.set_cumulative_count(below);
            buckets.push(bucket);
        }
        histogram.set_bucket(buckets);
        histogram.set_sample_count(totals.buckets.iter().sum());
        histogram.set_sample_sum(totals.sum_us as f64 / 1e6);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.push(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    fn push(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        // A family without a metric is an error to the encoder; that is a bridge without workers.
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn counter(value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn gauge(value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    metric
}

fn labelled(mut metric: Metric, label: &str, of: &str) -> Metric {
    let mut pair = LabelPair::default();
    pair.set_name(label.to_owned());
    pair.set_value(of.to_owned());
    metric.set_label(vec![pair]);
    metric
}

//! Names, help and labels of everything Prometheus sees; the numbers are a quarter of a second old at most.
//!
//! Cardinality is fixed: no user and no address is ever a label, only transports, directions, shards and reasons.

mod families;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, Registry, TextEncoder};
use rustix::time::{ClockId, clock_gettime};

use self::families::Families;
use crate::control::Control;
use crate::engine::ports::Transport;
use crate::front::stats::Refusal;
use crate::stats::RelaySample;
use crate::stream::client::CloseReason;

/// The registry with the relay's one collector.
pub(crate) struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// # Errors
    /// When two collectors have the same names.
    pub(crate) fn new(control: Arc<Control>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(RelayCollector { control }))?;
        Ok(Self { registry })
    }

    /// Everything as Prometheus' text.
    pub(crate) fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

struct RelayCollector {
    control: Arc<Control>,
}

impl Collector for RelayCollector {
    /// None: the families are made anew at each gathering, and the registry has no other collector to confuse them with.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let sample = self.control.sample();
        let mut families = Families::default();
        held(&mut families, &sample);
        relayed(&mut families, &sample);
        refused(&mut families, &sample);
        sockets(&mut families, &sample);
        streams(&mut families, &sample);
        connections(&mut families, &sample);
        self.control_plane(&mut families);
        process(&mut families);
        families.0
    }
}

impl RelayCollector {
    fn control_plane(&self, families: &mut Families) {
        let control = &self.control;
        families.counters(
            "turn_relay_allocations_ended_total",
            "Allocations that ended, by cause.",
            "cause",
            &control.ended.counts(),
        );
        families.gauge(
            "turn_relay_bridges",
            "Bridges that may be reached, those of the settings and those named since.",
            control.bridges() as f64,
        );
        families.gauge(
            "turn_relay_draining",
            "Whether new allocations are refused.",
            f64::from(u8::from(control.is_draining())),
        );
        let (applied, refused) = control.reloads();
        families.counters(
            "turn_relay_reloads_total",
            "Settings and certificates read anew while running, by what came of it.",
            "result",
            &[("applied", applied), ("refused", refused)],
        );
        let expires_at = control.certificates.expires_at().duration_since(UNIX_EPOCH).unwrap_or_default();
        families.gauge(
            "turn_relay_certificate_expiry_timestamp_seconds",
            "When the TLS certificate expires, in seconds since 1970.",
            expires_at.as_secs() as f64,
        );
    }
}

fn held(families: &mut Families, sample: &RelaySample) {
    let relay = &sample.total.relay;
    families.gauges_of(
        "turn_relay_allocations",
        "Allocations, by the client's transport.",
        "transport",
        &sample.allocations_by_transport(),
    );
    families.counter(
        "turn_relay_allocations_created_total",
        "Allocations ever made.",
        relay.allocations_created,
    );
    families.gauge("turn_relay_permissions", "Permissions.", relay.permissions as f64);
    families.gauge("turn_relay_channels", "Channels.", relay.channels as f64);
    families.gauge("turn_relay_relay_sockets", "Relay sockets open.", sample.total.live_peer_sockets as f64);
    families.counter(
        "turn_relay_relay_sockets_refused_total",
        "Relay sockets the system did not open, other than because their port was in use.",
        sample.total.sockets_refused,
    );
    families.counter(
        "turn_relay_revoked_total",
        "Permissions and channels that a new policy took back.",
        relay.revoked,
    );
}

fn relayed(families: &mut Families, sample: &RelaySample) {
    let traffic = &sample.total.relay.traffic;
    families.counters(
        "turn_relay_relayed_packets_total",
        "Datagrams relayed, by direction.",
        "direction",
        &[("to_peer", traffic.to_peer_packets), ("to_client", traffic.to_client_packets)],
    );
    families.counters(
        "turn_relay_relayed_bytes_total",
        "Payload relayed, by direction.",
        "direction",
        &[("to_peer", traffic.to_peer_bytes), ("to_client", traffic.to_client_bytes)],
    );
    families.counters(
        "turn_relay_packets_dropped_total",
        "Datagrams that stopped here, by reason.",
        "reason",
        &sample.drops(),
    );
}

fn refused(families: &mut Families, sample: &RelaySample) {
    families.counters(
        "turn_relay_auth_failures_total",
        "Requests that were not authenticated, by cause; each client's first one is.",
        "cause",
        &sample.auth_failures(),
    );
    families.counters(
        "turn_relay_denied_peers_total",
        "Peers the policy refused, by class.",
        "class",
        &sample.denied_peers(),
    );
    families.counters(
        "turn_relay_quota_rejects_total",
        "Requests that met a limit, by limit.",
        "limit",
        &sample.quota_rejects(),
    );
}

fn sockets(families: &mut Families, sample: &RelaySample) {
    let udp = &sample.total.udp;
    families.counters(
        "turn_relay_datagrams_total",
        "UDP datagrams of any kind, by direction.",
        "direction",
        &[("received", udp.datagrams_received), ("sent", udp.datagrams_sent)],
    );
    families.counter(
        "turn_relay_udp_rx_overflow_total",
        "Datagrams that found the kernel's receive buffer full.",
        udp.overflowed,
    );
    families.counter(
        "turn_relay_receive_calls_total",
        "System calls that looked for datagrams.",
        udp.receive_calls,
    );
    families.counter(
        "turn_relay_receive_errors_total",
        "Errors in place of datagrams: ICMP answers to what was sent before.",
        udp.receive_errors,
    );
    families.counters(
        "turn_relay_trains_total",
        "Messages of several datagrams (UDP_GRO, UDP_SEGMENT): received, sent, or refused and sent singly.",
        "direction",
        &[("received", udp.trains_received), ("sent", udp.trains_sent), ("refused", udp.trains_refused)],
    );
    families.counter(
        "turn_relay_send_messages_total",
        "Messages in which datagrams were sent.",
        udp.messages_sent,
    );
    let names: Vec<String> = (0..sample.shards.len()).map(|index| index.to_string()).collect();
    let busy: Vec<_> =
        names.iter().zip(&sample.shards).map(|(name, shard)| (name.as_str(), shard.busy)).collect();
    families.gauges(
        "turn_relay_shard_busy",
        "Share of the last quarter of a second that a shard worked.",
        "shard",
        &busy,
    );
}

fn streams(families: &mut Families, sample: &RelaySample) {
    let streams = &sample.total.streams;
    let open = Transport::ALL.iter().zip(streams.open).filter(|(transport, _)| transport.is_stream());
    let open: Vec<_> = open.map(|(transport, count)| (transport.as_str(), count)).collect();
    families.gauges_of("turn_relay_streams", "TURN streams open, by transport.", "transport", &open);
    let closed: Vec<_> =
        CloseReason::ALL.iter().map(|reason| (reason.as_str(), streams.closed.of(*reason))).collect();
    families.counters(
        "turn_relay_streams_closed_total",
        "TURN streams that ended, by reason.",
        "reason",
        &closed,
    );
    families.counters(
        "turn_relay_stream_bytes_total",
        "Bytes on TURN streams' sockets, by direction.",
        "direction",
        &[("received", streams.bytes_received), ("sent", streams.bytes_sent)],
    );
    families.ages(
        "turn_relay_queue_age_seconds",
        "How long datagrams waited for a client on TCP or TLS before they were written.",
        &sample.total.queue_age_us,
    );
    families.counter(
        "turn_relay_records_dropped_total",
        "Lines about ended allocations that were lost because too many came at once.",
        sample.total.records_dropped,
    );
}

fn connections(families: &mut Families, sample: &RelaySample) {
    let front = &sample.front;
    families.counter(
        "turn_relay_connections_accepted_total",
        "TCP connections taken from the system.",
        front.accepted,
    );
    families.counter(
        "turn_relay_accept_failures_total",
        "Times the system had no connection to give: no file descriptors, most often.",
        front.accept_failures,
    );
    families.counters(
        "turn_relay_connections_total",
        "TCP connections, by what they turned out to be.",
        "kind",
        &[("turn", front.turn), ("web", front.web), ("passed_through", front.passed_through)],
    );
    let refused: Vec<_> =
        Refusal::ALL.iter().map(|reason| (reason.as_str(), front.refused.of(*reason))).collect();
    families.counters(
        "turn_relay_connections_refused_total",
        "TCP connections closed before they were anything, by reason.",
        "reason",
        &refused,
    );
    let mut handshakes = vec![("done", front.handshakes)];
    handshakes.extend(front.handshakes_failed().map(|(reason, count)| (reason.as_str(), count)));
    families.counters(
        "turn_relay_tls_handshakes_total",
        "TLS handshakes, by how they ended.",
        "result",
        &handshakes,
    );
    families.gauges_of(
        "turn_relay_connections_open",
        "TCP connections now: all, and those that have not yet shown what they are.",
        "state",
        &[("all", front.open as u64), ("half_open", front.half_open as u64)],
    );
}

fn process(families: &mut Families) {
    families.gauges(
        "turn_relay_build_info",
        "1, with the version as its label.",
        "version",
        &[(env!("CARGO_PKG_VERSION"), 1.0)],
    );
    // The names that every Prometheus client library gives these.
    families.seconds(
        "process_cpu_seconds_total",
        "Processor time of this process, user and system.",
        processor_time(),
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    families.gauge(
        "process_resident_memory_bytes",
        "This process's memory.",
        (1024 * number_after(&status, "VmRSS:")) as f64,
    );
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    families.gauge("process_open_fds", "This process's file descriptors.", descriptors as f64);
    families.gauge("process_threads", "This process's threads.", number_after(&status, "Threads:") as f64);
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

/// The number after a name at the start of a line; absent or unreadable is 0.
fn number_after(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_name() {
        let text = "Name:\tturn-relay\nVmRSS:\t    1234 kB\nThreads:\t7\n";
        assert_eq!((number_after(text, "VmRSS:"), number_after(text, "Threads:")), (1234, 7));
        assert_eq!((number_after(text, "Vm"), number_after("", "VmRSS:")), (0, 0));
    }
}

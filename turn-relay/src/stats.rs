//! The numbers of all shards and the front, added up, and the JSON of `/stats`.

use serde_json::{Map, Value, json};

use crate::engine::auth::AuthFailure;
use crate::engine::drop_reason::DropReason;
use crate::engine::policy::rules::Denial;
use crate::engine::ports::Transport;
use crate::engine::stats::QuotaKind;
use crate::front::stats::FrontStats;
use crate::shard::ports::{ShardDrop, ShardStats};

/// One reading of everything.
pub(crate) struct RelaySample {
    /// One for each shard.
    pub(crate) shards: Vec<ShardStats>,
    /// Their sum.
    pub(crate) total: ShardStats,
    pub(crate) front: FrontStats,
}

impl RelaySample {
    pub(crate) fn new(shards: Vec<ShardStats>, front: FrontStats) -> Self {
        let mut total = ShardStats::new();
        shards.iter().for_each(|shard| total.add(shard));
        Self { shards, total, front }
    }

    /// Allocations on all transports.
    pub(crate) fn allocations(&self) -> u64 {
        self.total.relay.allocations.iter().sum()
    }

    /// Every datagram that stopped, by reason: in the engine, on the way to and from it, in the kernel, in the queue of a
    /// client that reads too slowly.
    pub(crate) fn drops(&self) -> Vec<(&'static str, u64)> {
        let total = &self.total;
        let engine = DropReason::ALL.iter().map(|reason| (reason.as_str(), total.relay.dropped.of(*reason)));
        let shell = ShardDrop::ALL.iter().map(|reason| (reason.as_str(), total.dropped.of(*reason)));
        let system = [
            ("receive_buffer_full", total.udp.overflowed),
            ("send_queue_full", total.udp.queue_full),
            ("send_too_large", total.udp.too_large),
            ("send_refused", total.udp.refused),
            ("egress_queue_age", total.streams.dropped_by_age),
            ("egress_queue_bytes", total.streams.dropped_by_bytes),
        ];
        engine.chain(shell).chain(system).collect()
    }

    pub(crate) fn auth_failures(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.total.relay.auth_failures;
        AuthFailure::ALL.iter().map(|cause| (cause.as_str(), counts.of(*cause))).collect()
    }

    pub(crate) fn denied_peers(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.total.relay.denied_peers;
        Denial::ALL.iter().map(|class| (class.as_str(), counts.of(*class))).collect()
    }

    pub(crate) fn quota_rejects(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.total.relay.quota_rejects;
        QuotaKind::ALL.iter().map(|limit| (limit.as_str(), counts.of(*limit))).collect()
    }

    /// Allocations now, by transport.
    pub(crate) fn allocations_by_transport(&self) -> Vec<(&'static str, u64)> {
        let counts = Transport::ALL.iter().zip(self.total.relay.allocations);
        counts.map(|(transport, count)| (transport.as_str(), count)).collect()
    }

    /// The object that `GET /stats` answers: counters since the start, gauges of the last quarter of a second.
    pub(crate) fn flat(&self, is_draining: bool) -> Value {
        let (relay, traffic) = (&self.total.relay, &self.total.relay.traffic);
        let age = &self.total.queue_age_us;
        let age_ms = |us: u64| us as f64 / 1000.0;
        json!({
            "allocations": object(&self.allocations_by_transport()),
            "allocations_created": relay.allocations_created,
            "permissions": relay.permissions,
            "channels": relay.channels,
            "relay_sockets": self.total.live_peer_sockets,
            "relayed_bytes": { "to_peer": traffic.to_peer_bytes, "to_client": traffic.to_client_bytes },
            "relayed_packets": { "to_peer": traffic.to_peer_packets, "to_client": traffic.to_client_packets },
            "drops": object(&self.drops()),
            "auth_failures": object(&self.auth_failures()),
            "egress_queue_age_ms": {
                "p50": age_ms(age.value_at_quantile(0.5)),
                "p99": age_ms(age.value_at_quantile(0.99)),
                "max": age_ms(age.max()),
            },
            "receive_buffer_overflows": self.total.udp.overflowed,
            "denied_peers": object(&self.denied_peers()),
            "quota_rejects": relay.quota_rejects.total(),
            "quota_rejects_by_limit": object(&self.quota_rejects()),
            "connections": { "open": self.front.open, "half_open": self.front.half_open },
            "shards": self.shards.iter().map(|shard| json!({ "busy": shard.busy })).collect::<Vec<_>>(),
            "draining": is_draining,
            "version": env!("CARGO_PKG_VERSION"),
        })
    }
}

fn object(values: &[(&'static str, u64)]) -> Value {
    Value::Object(
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect::<Map<_, _>>(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_reasons_of_a_drop_have_one_name() {
        let sample = RelaySample::new(Vec::new(), FrontStats::default());
        let names: BTreeSet<&str> = sample.drops().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), sample.drops().len());
    }

    #[test]
    fn shards_are_added_up() {
        let mut shard = ShardStats::new();
        shard.relay.allocations = [1, 2, 4];
        shard.udp.overflowed = 3;
        shard.queue_age_us.record(2_000).unwrap();
        let sample = RelaySample::new(vec![shard.clone(), shard], FrontStats::default());
        let flat = sample.flat(true);
        assert_eq!(sample.allocations(), 14);
        assert_eq!(flat["allocations"], json!({ "udp": 2, "tcp": 4, "tls": 8 }));
        assert_eq!(flat["receive_buffer_overflows"], 6);
        assert_eq!(flat["drops"]["receive_buffer_full"], 6);
        assert!((flat["egress_queue_age_ms"]["p50"].as_f64().unwrap() - 2.0).abs() < 0.1);
        assert_eq!(flat["draining"], true);
    }
}

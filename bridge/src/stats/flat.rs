//! The flat JSON of `/stats`: the keys, types and units that exporters and boards for Jitsi's bridge read, and ours.
//!
//! Keys about things this bridge does not have (bridges linked to bridges, SCTP channels, suspended sources) stay in with
//! the 0 they truly are, so that a board's sums go on working. Traps of the format: `bit_rate_*` are kbit/s, `octo_*_bitrate`
//! are bit/s, and download is what comes in.

use serde_json::{Map, Value, json};

use super::{BridgeStats, share, threads, used_memory_mb};

/// What is not counted.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) version: &'static str,
    pub(crate) region: Option<String>,
    pub(crate) is_draining: bool,
    pub(crate) is_healthy: bool,
    /// Milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

/// The object of `/stats`.
pub(crate) fn flat(stats: &BridgeStats, facts: &Facts) -> Value {
    let mut object = Map::new();
    object.extend(rates(stats));
    object.extend(endpoints(stats));
    object.extend(conferences(stats));
    object.extend(totals(stats));
    object.extend(absent());
    object.extend(ours(stats));
    object.extend(process(stats, facts));
    Value::Object(object)
}

fn rates(stats: &BridgeStats) -> Map<String, Value> {
    let rates = &stats.rates;
    object(json!({
        "bit_rate_download": rates.received_bps / 1000,
        "bit_rate_upload": rates.sent_bps / 1000,
        "packet_rate_download": rates.packets_received_per_s,
        "packet_rate_upload": rates.packets_sent_per_s,
        "incoming_loss": rates.incoming_loss,
        "outgoing_loss": rates.outgoing_loss,
        "overall_loss": rates.overall_loss,
        "rtt_aggregate": mean(stats.totals.rtt_ms_sum, stats.totals.rtt_endpoints),
        "stress_level": stats.stress,
        "average_participant_stress": AVERAGE_PARTICIPANT_STRESS,
    }))
}

fn endpoints(stats: &BridgeStats) -> Map<String, Value> {
    let totals = &stats.totals;
    object(json!({
        "endpoints": totals.endpoints,
        "participants": totals.endpoints,
        "local_endpoints": totals.endpoints,
        "local_active_endpoints": totals.active_endpoints,
        "inactive_endpoints": totals.inactive_endpoints,
        "receive_only_endpoints": totals.receive_only_endpoints,
        "endpoints_sending_audio": totals.endpoints_sending_audio,
        "endpoints_sending_video": totals.endpoints_sending_video,
        "endpoints_with_high_outgoing_loss": totals.endpoints_with_high_outgoing_loss,
        "num_eps_no_msg_transport_after_delay": totals.endpoints_without_channel,
    }))
}

fn conferences(stats: &BridgeStats) -> Map<String, Value> {
    let totals = &stats.totals;
    object(json!({
        "conferences": totals.conferences,
        "inactive_conferences": totals.inactive_conferences,
        "largest_conference": totals.largest_conference,
        "conference_sizes": totals.conference_sizes,
    }))
}

fn totals(stats: &BridgeStats) -> Map<String, Value> {
    let counters = &stats.totals.counters;
    object(json!({
        "total_conferences_created": counters.conferences_created,
        "total_conferences_completed": counters.conferences_completed,
        "total_conference_seconds": counters.conference_seconds,
        "total_participants": counters.endpoints_created,
        "total_bytes_received": counters.bytes_received,
        "total_bytes_sent": counters.bytes_sent,
        "total_packets_received": counters.packets_received,
        "total_packets_sent": counters.packets_sent,
        "total_keyframes_received": counters.key_frames_received,
        "total_layering_changes_received": counters.layer_changes,
        "total_video_stream_milliseconds_received": counters.video_stream_ms,
        "total_colibri_web_socket_messages_received": counters.channel_messages_received,
        "total_colibri_web_socket_messages_sent": counters.channel_messages_sent,
        "total_dominant_speaker_changes": counters.dominant_speaker_changes,
        "total_ice_succeeded": counters.ice_succeeded,
        "total_ice_failed": counters.ice_failed,
        "endpoints_ice_failed": counters.ice_failed,
        "dtls_failed_endpoints": counters.dtls_failed,
        "endpoints_disconnected": counters.consents_lost,
        "tcc_unmatched_feedback": counters.feedback_unmatched,
    }))
}

/// What this bridge has none of.
fn absent() -> Map<String, Value> {
    let keys = [
        "dtls_failed_relays",
        "endpoints_reconnected",
        "endpoints_with_spurious_remb",
        "endpoints_with_suspended_sources",
        "num_eps_oversending",
        "num_relays_no_msg_transport_after_delay",
        "octo_conferences",
        "octo_endpoints",
        "octo_receive_bitrate",
        "octo_receive_packet_rate",
        "octo_send_bitrate",
        "octo_send_packet_rate",
        "p2p_conferences",
        "preemptive_kfr_sent",
        "preemptive_kfr_suppressed",
        "relays_ice_failed",
        "total_bytes_received_octo",
        "total_bytes_sent_octo",
        "total_data_channel_messages_received",
        "total_data_channel_messages_sent",
        "total_failed_conferences",
        "total_ice_succeeded_relayed",
        "total_packets_received_octo",
        "total_packets_sent_octo",
        "total_partially_failed_conferences",
        "total_relays",
        "total_visitors",
        "visitors",
    ];
    keys.into_iter().map(|key| (key.to_owned(), Value::from(0))).collect()
}

fn ours(stats: &BridgeStats) -> Map<String, Value> {
    let engine = stats.totals.counters.dropped.iter().map(|(reason, count)| (reason.as_str(), count));
    let dropped: Map<String, Value> =
        engine.chain(stats.shell_drops()).map(|(reason, count)| (reason.to_owned(), count.into())).collect();
    let workers: Vec<Value> = (stats.workers.iter())
        .map(|worker| {
            json!({
                "busy": worker.busy,
                "packets_per_s": worker.packets_per_s,
                "conferences": worker.conferences,
                "endpoints": worker.endpoints,
            })
        })
        .collect();
    object(json!({
        "forwarding_latency_us": {
            "p50": stats.latency.value_at_quantile(0.5),
            "p99": stats.latency.value_at_quantile(0.99),
            "p999": stats.latency.value_at_quantile(0.999),
        },
        "dropped_packets": dropped,
        "workers": workers,
        // Of the datagrams sent, those that shared a system call's message with others to the same receiver.
        "gso_packets_ratio": share(stats.sends.sent_in_trains, stats.sends.sent),
    }))
}

fn process(stats: &BridgeStats, facts: &Facts) -> Map<String, Value> {
    let mut process = object(json!({
        "cpu_usage": stats.cpu_usage,
        "used_memory": used_memory_mb(),
        "threads": threads(),
        "current_timestamp": timestamp(facts.unix_ms),
        "version": facts.version,
        "healthy": facts.is_healthy,
        "drain": facts.is_draining,
        "graceful_shutdown": false,
        "shutting_down": false,
    }));
    if let Some(region) = &facts.region {
        process.insert("region".to_owned(), region.clone().into());
    }
    process
}

fn object(value: Value) -> Map<String, Value> {
    // Invariant: called with the object literals above only.
    if let Value::Object(object) = value { object } else { Map::new() }
}

fn mean(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// `yyyy-MM-dd HH:mm:ss.SSS` in UTC.
fn timestamp(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / DAY_MS, unix_ms % DAY_MS);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}", ms % 1000)
}

/// The Gregorian date so many days after 1970-01-01. Years are counted from March, so that a leap day is a year's last.
fn date(days: u64) -> (u64, u64, u64) {
    let from_march_0000 = days + 719_468;
    let (era, day_of_era) = (from_march_0000 / 146_097, from_march_0000 % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

const DAY_MS: u64 = 86_400_000;

/// What Jitsi's selection adds per new endpoint until the next report; its default, for those who read it.
const AVERAGE_PARTICIPANT_STRESS: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_that_boards_and_exporters_read() {
        let facts = Facts {
            version: "1.2.3",
            region: Some("eu".to_owned()),
            is_draining: false,
            is_healthy: true,
            unix_ms: 0,
        };
        let stats = BridgeStats { workers: vec![Default::default()], ..BridgeStats::default() };
        let flat = flat(&stats, &facts);
        let keys: Vec<String> = (flat.as_object().unwrap().iter())
            .map(|(key, value)| match value {
                Value::Number(number) if number.is_f64() => format!("{key}: fraction"),
                Value::Number(_) => format!("{key}: integer"),
                Value::Bool(_) => format!("{key}: boolean"),
                Value::String(_) => format!("{key}: text"),
                Value::Array(items) => format!("{key}: array of {}", items.len()),
                Value::Object(inner) if key == "dropped_packets" => {
                    format!("{key}: {}", if inner.is_empty() { "nothing" } else { "by reason" })
                }
                Value::Object(inner) => {
                    format!("{key}: {}", inner.keys().map(String::as_str).collect::<Vec<_>>().join(" "))
                }
                Value::Null => format!("{key}: null"),
            })
            .collect();
        insta::assert_snapshot!(keys.join("\n"));
    }

    #[test]
    fn rates_have_the_units_of_the_format() {
        let mut stats = BridgeStats::default();
        stats.rates.received_bps = 1_234_999;
        stats.totals.rtt_ms_sum = 90.0;
        stats.totals.rtt_endpoints = 2;
        let rates = rates(&stats);
        assert_eq!(rates["bit_rate_download"], 1234);
        assert_eq!(rates["rtt_aggregate"], 45.0);
    }

    #[test]
    fn a_timestamp_is_utc_with_milliseconds() {
        assert_eq!(timestamp(0), "1970-01-01 00:00:00.000");
        assert_eq!(timestamp(951_782_399_999), "2000-02-28 23:59:59.999");
        assert_eq!(timestamp(951_782_400_000), "2000-02-29 00:00:00.000");
        assert_eq!(timestamp(1_767_225_599_001), "2025-12-31 23:59:59.001");
        assert_eq!(timestamp(4_107_542_400_000), "2100-03-01 00:00:00.000");
    }
}

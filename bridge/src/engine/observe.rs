//! What can be seen of a worker from outside: its numbers once a second, its state as a tree when somebody asks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::messages::media::MediaKind;

use super::bridge::Bridge;
use super::conference::Conference;
use super::endpoint::{Endpoint, Phase};
use super::slot::Slot;
use super::source::{Owner, Source};
use super::stats::EngineStats;

impl Bridge {
    /// Counters and gauges as of `now`. Walks the conferences: for once a second.
    pub fn stats(&self, now: Instant) -> EngineStats {
        let mut stats = EngineStats { counters: self.fx.counters.clone(), ..EngineStats::default() };
        for (_, conference) in &self.conferences {
            conference.add_to(now, &mut stats);
        }
        stats
    }

    /// The state as a tree, for a person. Holds no address, name or secret.
    pub fn debug(&self, now: Instant) -> Value {
        let conferences = self.conferences.iter().map(|(_, conference)| {
            let endpoints = conference.endpoints.iter();
            let endpoints =
                endpoints.map(|(place, endpoint)| conference.debug_endpoint(now, (place, endpoint)));
            let (parts, shadows) = conference.parts_elsewhere();
            let value = json!({
                "epoch": conference.epoch.0,
                "age_s": seconds(now, conference.created),
                "parts_elsewhere": parts,
                "sources_elsewhere": shadows,
                "endpoints": endpoints.collect::<serde_json::Map<_, _>>(),
            });
            (conference.id.to_string(), value)
        });
        json!({
            "age_s": self.fx.age(now).as_secs(),
            "timers": self.fx.timers.next().map(|at| at.saturating_duration_since(now).as_millis() as u64),
            "conferences": conferences.collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl Conference {
    fn add_to(&self, now: Instant, stats: &mut EngineStats) {
        let (size, whole) = (self.endpoints.len() as u64, self.size());
        // Of several parts one stands for the conference; each has its own endpoints.
        let is_counted = self.coordinator_elsewhere().is_none();
        if is_counted {
            stats.conferences += 1;
            stats.largest_conference = stats.largest_conference.max(whole as u64);
            stats.conference_sizes[whole.min(stats.conference_sizes.len() - 1)] += 1;
        }
        stats.endpoints += size;
        let is_active = self.sources.iter().any(|(_, source)| source.is_sending(now));
        if is_active {
            stats.active_endpoints += size;
        } else {
            stats.inactive_conferences += u64::from(is_counted);
            stats.inactive_endpoints += size;
        }
        for (_, endpoint) in &self.endpoints {
            self.add_endpoint_to(now, endpoint, stats);
        }
        for layer in self.sources.iter().flat_map(|(_, source)| &source.layers) {
            stats.counters.packets_expected += layer.reception.expected();
            stats.counters.packets_lost += layer.reception.lost();
        }
    }

    fn add_endpoint_to(&self, now: Instant, endpoint: &Endpoint, stats: &mut EngineStats) {
        let own = || endpoint.up.sources.iter().filter_map(|place| self.sources.get(*place));
        let is_audible = own().any(|source| source.kind == MediaKind::Audio && source.is_audible(now));
        let is_seen = own().any(|source| source.kind == MediaKind::Video && source.is_sending(now));
        let is_connected = endpoint.phase == Phase::Connected;
        let is_settled = now.saturating_duration_since(endpoint.created) > CHANNEL_DELAY;
        stats.endpoints_connected += u64::from(is_connected);
        stats.receive_only_endpoints += u64::from(endpoint.up.sources.is_empty());
        stats.endpoints_sending_audio += u64::from(is_audible);
        stats.endpoints_sending_video += u64::from(is_seen);
        stats.endpoints_with_high_outgoing_loss += u64::from(endpoint.fraction_lost() > HIGH_LOSS);
        stats.endpoints_without_channel +=
            u64::from(is_connected && is_settled && !endpoint.channel.is_open());
        if let Some(round_trip) = endpoint.round_trip {
            stats.rtt_ms_sum += round_trip.as_secs_f64() * 1_000.0;
            stats.rtt_endpoints += 1;
        }
    }

    fn debug_endpoint(&self, now: Instant, (place, endpoint): (usize, &Endpoint)) -> (String, Value) {
        let sources = self.sources.iter().filter(|(_, source)| source.owner == Owner::Here(place));
        let sources = sources.map(|(_, source)| (source.name.to_string(), debug_source(now, source)));
        let slots = endpoint.slots.iter().map(|(_, slot)| (slot.mid.to_string(), self.debug_slot(slot)));
        let value = json!({
            "age_s": seconds(now, endpoint.created),
            "phase": format!("{:?}", endpoint.phase).to_lowercase(),
            "paths": endpoint.ice.paths().count(),
            "has_selected_path": endpoint.down.path.is_some(),
            "profile": endpoint.up.opener.as_ref().map(|opener| format!("{:?}", opener.profile())),
            "channel_open": endpoint.channel.is_open(),
            "rtt_ms": endpoint.round_trip.map(|round_trip| round_trip.as_secs_f64() * 1_000.0),
            "estimate_bps": endpoint.estimate_bps,
            "sources": sources.collect::<serde_json::Map<_, _>>(),
            "slots": slots.collect::<serde_json::Map<_, _>>(),
        });
        (endpoint.id.to_string(), value)
    }

    fn debug_slot(&self, slot: &Slot) -> Value {
        let filling = slot.filling.as_ref();
        let source = filling.and_then(|filling| self.sources.get(filling.source.place));
        json!({
            "ssrc": slot.ssrc.0,
            "source": source.map(|source| source.name.as_str()),
            "layer": filling.and_then(|filling| filling.shown).map(|shown| shown.index),
            "fraction_lost": f64::from(slot.fraction_lost) / 256.0,
        })
    }
}

fn debug_source(now: Instant, source: &Source) -> Value {
    let layers = source.layers.iter().enumerate().map(|(index, layer)| {
        json!({
            "rid": source.rids().get(index).map(|rid| rid.as_str()),
            "ssrc": layer.ssrc,
            "silent_ms": layer.heard_at.map(|at| now.saturating_duration_since(at).as_millis() as u64),
            "expected": layer.reception.expected(),
            "lost": layer.reception.lost(),
        })
    });
    json!({
        "video_type": (source.kind == MediaKind::Video).then_some(source.video_type),
        "receivers": source.receivers.len(),
        "shown_at_parts": source.shown_at.len(),
        "layer": source.wanted,
        "layers": layers.collect::<Vec<_>>(),
    })
}

fn seconds(now: Instant, since: Instant) -> u64 {
    now.saturating_duration_since(since).as_secs()
}

/// As Jitsi's bridge counts: a page that has no channel by now has a problem.
const CHANNEL_DELAY: Duration = Duration::from_secs(15);

/// 10 %, in 256ths.
const HIGH_LOSS: u8 = 26;

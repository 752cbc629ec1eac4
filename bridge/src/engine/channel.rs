//! The engine's side of the channels: what browsers say over them, and what they are told.
//!
//! A message is parsed strictly, typed, and written anew before anybody else sees it: no byte of one browser's text
//! reaches another as it came.

use std::time::Instant;

use serde_json::{Map, Value};
use wire::messages::channel::{
    AudioMapping, EndpointMessage, FromBridge, FromBrowser, SourceVideoType, VideoMapping,
};
use wire::messages::ids::{EndpointId, SourceName};
use wire::messages::media::MediaKind;
use wire::messages::parse_json;

use super::cascade::PartBody;
use super::conference::Conference;
use super::effects::Effects;
use super::ports::{ChannelCommand, ChannelEvent, Output};
use super::rate::TokenBucket;
use super::slot::Slot;

/// One endpoint's channel.
pub(crate) struct Channel {
    is_open: bool,
    messages: TokenBucket,
    bytes: TokenBucket,
    /// Changes of what its sources show.
    video_types: TokenBucket,
    /// Messages that came too fast since the last one that did not.
    refused: u32,
}

impl Channel {
    /// Closed, and owed a full burst.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            is_open: false,
            messages: TokenBucket::new(now, MESSAGES_PER_SECOND, MESSAGES_BURST),
            bytes: TokenBucket::new(now, BYTES_PER_SECOND, BYTES_BURST),
            video_types: TokenBucket::new(now, VIDEO_TYPES_PER_SECOND, VIDEO_TYPES_BURST),
            refused: 0,
        }
    }

    /// The browser can be told things.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// A message of so many bytes may be looked at.
    fn admit(&mut self, now: Instant, length: usize) -> bool {
        let is_admitted = self.messages.take(now, 1) && self.bytes.take(now, length);
        self.refused = if is_admitted { 0 } else { self.refused.saturating_add(1) };
        is_admitted
    }
}

impl Conference {
    /// Takes what the channel of the endpoint at `place` says.
    pub(crate) fn handle_channel(
        &mut self,
        now: Instant,
        place: usize,
        event: ChannelEvent,
        fx: &mut Effects,
    ) {
        match event {
            ChannelEvent::Opened => {
                self.endpoints[place].channel.is_open = true;
                self.greet(place, fx);
                self.tell_sources(place, MediaKind::Audio, fx);
                self.tell_sources(place, MediaKind::Video, fx);
                self.tell_dominant_speaker_to(now, place, fx);
            }
            ChannelEvent::Closed => self.endpoints[place].channel.is_open = false,
            ChannelEvent::Text(text) => self.handle_text(now, place, &text, fx),
        }
    }

    /// Nothing of a text is kept, and none of it is passed on as it came.
    fn handle_text(&mut self, now: Instant, place: usize, text: &str, fx: &mut Effects) {
        let endpoint = &mut self.endpoints[place];
        fx.counters.channel_messages_received += 1;
        if !endpoint.channel.admit(now, text.len()) {
            fx.counters.channel_messages_refused += 1;
            if endpoint.channel.refused == REFUSED_MAX {
                fx.outputs.push_back(Output::Channel(endpoint.key, ChannelCommand::CloseOverRate));
            }
            return;
        }
        let Ok(message) = parse_json::<FromBrowser>(text) else {
            fx.counters.channel_messages_refused += 1;
            return;
        };
        match message {
            FromBrowser::ClientHello {} => self.greet(place, fx),
            FromBrowser::EndpointMessage(message) => self.pass_message(place, message, fx),
            FromBrowser::EndpointStats(stats) => self.pass_stats(place, stats, fx),
            FromBrowser::LastNChangedEvent { last_n } => {
                endpoint.wishes.set_last_n(last_n);
                self.seat_one(now, place, fx);
            }
            FromBrowser::ReceiverVideoConstraints(constraints) => {
                if constraints.assumed_bandwidth_bps.is_some_and(|bps| bps > 0) {
                    endpoint.estimate_bps = constraints.assumed_bandwidth_bps.map(i64::unsigned_abs);
                }
                endpoint.wishes.take(constraints);
                self.seat_one(now, place, fx);
            }
            FromBrowser::SourceVideoTypeMessage(change) => self.change_video_type(now, place, change, fx),
        }
    }

    fn greet(&self, place: usize, fx: &mut Effects) {
        let version = Some(env!("CARGO_PKG_VERSION").to_owned());
        self.tell(place, &FromBridge::ServerHello { version }, fx);
    }

    /// To one endpoint of this conference, or to all others. Who sent it is the bridge's word (HOSTILE C02).
    fn pass_message(&self, place: usize, mut message: EndpointMessage, fx: &mut Effects) {
        self.endpoints[place].id.as_str().clone_into(&mut message.from);
        let to = message.to.clone();
        let is_here = || self.endpoints.iter().any(|(_, endpoint)| endpoint.id.as_str() == to);
        if self.cascade.is_some() && (to.is_empty() || !is_here()) {
            self.tell_parts(&PartBody::Say(message.clone()), fx);
        }
        let message = FromBridge::EndpointMessage(message);
        let is_receiver =
            |other: usize| other != place && (to.is_empty() || self.endpoints[other].id.as_str() == to);
        self.tell_those(is_receiver, &message, fx);
    }

    /// Statistics are for who looks at their sender; in a small conference that is everybody.
    fn pass_stats(&self, place: usize, mut stats: Map<String, Value>, fx: &mut Effects) {
        let sender = &self.endpoints[place];
        stats.insert("from".to_owned(), Value::String(sender.id.to_string()));
        if self.cascade.is_some() {
            self.tell_parts(&PartBody::Stats { from: sender.id.clone(), stats: stats.clone() }, fx);
        }
        let is_small = self.size() < STATS_FOR_ALL_BELOW;
        let is_receiver =
            |other: usize| other != place && (is_small || self.is_shown_picture_of(other, &sender.id));
        self.tell_those(is_receiver, &FromBridge::EndpointStats(stats), fx);
    }

    /// Some picture of the endpoint `id` is shown to the one at `place`.
    pub(crate) fn is_shown_picture_of(&self, place: usize, id: &EndpointId) -> bool {
        let shows = |slot: &Slot| {
            let shown = slot.filling.as_ref().and_then(|filling| self.sources.get(filling.source.place));
            slot.kind == MediaKind::Video
                && shown.is_some_and(|source| self.owner_id(source.owner) == Some(id))
        };
        self.endpoints[place].slots.iter().any(|(_, slot)| shows(slot))
    }

    /// An endpoint speaks only about its own video sources. Each change seats everybody anew, so they are rationed.
    fn change_video_type(&mut self, now: Instant, place: usize, change: SourceVideoType, fx: &mut Effects) {
        let is_meant = |source: &usize| {
            let source = &self.sources[*source];
            source.name == change.source_name && source.kind == MediaKind::Video
        };
        let endpoint = &mut self.endpoints[place];
        let Some(source) = endpoint.up.sources.iter().copied().find(is_meant) else {
            fx.counters.channel_messages_refused += 1;
            return;
        };
        if self.sources[source].video_type == change.video_type {
            return;
        }
        if !endpoint.channel.video_types.take(now, 1) {
            fx.counters.channel_messages_refused += 1;
            return;
        }
        self.sources[source].video_type = change.video_type;
        let endpoint_id = Some(self.endpoints[place].id.clone());
        let message = FromBridge::SourceVideoTypeMessage(SourceVideoType { endpoint_id, ..change });
        self.tell_those(|other| other != place, &message, fx);
        self.publish(source, fx);
        self.seat_everyone(now, MediaKind::Video, fx);
    }

    /// Tells a browser what fills its slots of one kind.
    pub(crate) fn tell_sources(&self, place: usize, kind: MediaKind, fx: &mut Effects) {
        let endpoint = &self.endpoints[place];
        if !endpoint.channel.is_open || !endpoint.slots.iter().any(|(_, slot)| slot.kind == kind) {
            return;
        }
        match kind {
            MediaKind::Audio => {
                let mapped_sources = self.filled(place, kind).map(|(slot, source, owner)| AudioMapping {
                    source,
                    owner,
                    ssrc: slot.ssrc.0,
                    mid: slot.mid.clone(),
                });
                let mapped_sources = mapped_sources.collect();
                self.tell(place, &FromBridge::AudioSourcesMap { mapped_sources }, fx);
            }
            MediaKind::Video => {
                let mapped_sources: Vec<_> = self.video_mappings(place).collect();
                let forwarded_sources = mapped_sources.iter().map(|mapping| mapping.source.clone()).collect();
                self.tell(place, &FromBridge::VideoSourcesMap { mapped_sources }, fx);
                self.tell(place, &FromBridge::ForwardedSources { forwarded_sources }, fx);
            }
        }
    }

    fn video_mappings(&self, place: usize) -> impl Iterator<Item = VideoMapping> + '_ {
        self.filled(place, MediaKind::Video).map(|(slot, source, owner)| {
            let shown = slot.filling.as_ref().and_then(|filling| self.sources.get(filling.source.place));
            VideoMapping {
                source,
                owner,
                ssrc: slot.ssrc.0,
                rtx: slot.rtx_ssrc.unwrap_or_default().0,
                video_type: shown.map_or(wire::messages::media::VideoType::None, |source| source.video_type),
                mid: slot.mid.clone(),
            }
        })
    }

    /// The filled slots of one kind in the order of their m-lines, each with its source and whose that is.
    fn filled(&self, place: usize, kind: MediaKind) -> impl Iterator<Item = (&Slot, SourceName, EndpointId)> {
        let endpoint = &self.endpoints[place];
        endpoint.slots_of(kind).into_iter().filter_map(move |slot| {
            let slot = &endpoint.slots[slot];
            let source = self.sources.get(slot.filling.as_ref()?.source.place)?;
            let owner = self.owner_id(source.owner)?.clone();
            Some((slot, source.name.clone(), owner))
        })
    }

    /// Tells everybody who speaks now.
    pub(crate) fn tell_dominant_speaker(&self, now: Instant, fx: &mut Effects) {
        if let Some(message) = self.dominant_speaker(now) {
            self.tell_those(|_| true, &message, fx);
        }
    }

    fn tell_dominant_speaker_to(&self, now: Instant, place: usize, fx: &mut Effects) {
        if let Some(message) = self.dominant_speaker(now) {
            self.tell(place, &message, fx);
        }
    }

    /// Who speaks and who did before; none until somebody has.
    fn dominant_speaker(&self, now: Instant) -> Option<FromBridge> {
        let owner = |place: usize| {
            let source = self.sources.get(place)?;
            self.owner_id(source.owner).cloned()
        };
        let dominant = owner(self.speakers.dominant()?.place)?;
        let previous = self.speakers.previous().iter().filter_map(|speaker| owner(speaker.place));
        Some(FromBridge::DominantSpeakerEndpointChangeEvent {
            previous_speakers: previous.filter(|each| *each != dominant).take(PREVIOUS_MAX).collect(),
            dominant_speaker_endpoint: dominant,
            silence: self.speakers.is_silence(now),
        })
    }

    fn tell(&self, place: usize, message: &FromBridge, fx: &mut Effects) {
        self.tell_those(|other| other == place, message, fx);
    }

    /// Writes a message once and queues it for every open channel of those.
    pub(crate) fn tell_those(
        &self,
        is_receiver: impl Fn(usize) -> bool,
        message: &FromBridge,
        fx: &mut Effects,
    ) {
        // Invariant: every message is made of strings and numbers, which JSON can always hold.
        let Ok(text) = serde_json::to_string(message) else { return };
        for (place, endpoint) in &self.endpoints {
            if endpoint.channel.is_open && is_receiver(place) {
                fx.send_channel(endpoint.key, text.clone());
            }
        }
    }
}

/// A page sends a few a second; one that resizes its tiles perhaps twenty.
const MESSAGES_PER_SECOND: u32 = 50;
const MESSAGES_BURST: u32 = 100;

/// A message for all goes out once for each participant: what one may say is bounded by bytes as well (HOSTILE C06).
const BYTES_PER_SECOND: u32 = 64 * 1024;

/// Two of the largest frames at once.
const BYTES_BURST: u32 = 128 * 1024;

/// A person starts or stops sharing; five at once are a page that sets up its tracks.
const VIDEO_TYPES_PER_SECOND: u32 = 1;
const VIDEO_TYPES_BURST: u32 = 5;

/// A browser that is refused so often in a row does not listen: its channel is closed (HOSTILE C04).
const REFUSED_MAX: u32 = 500;

/// As Jitsi's `stats-filter-threshold`.
const STATS_FOR_ALL_BELOW: usize = 20;

/// What the message's contract says.
const PREVIOUS_MAX: usize = 10;

//! One published track, the up side: its layers, what is missing of them, and who is shown it.

use std::time::{Duration, Instant};

use wire::messages::ids::{Mid, Rid, SourceName};
use wire::messages::media::{CodecParameters, Media, MediaKind, SourceParameters, VideoType};

use super::cache::CacheSize;
use super::cascade::CrossingPacket;
use super::drop_reason::DropReason;
use super::formats::{self, Format};
use super::layer::Layer;
use super::packet::{LayerRef, SharedPacket};
use super::ports::PartId;
use super::streams::Binding;

/// One source's name among all of a bridge's; never used again, so a stale reference finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SourceId(pub u64);

/// Who publishes a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The endpoint at this place of the conference.
    Here(usize),
    /// An endpoint of another part of the conference, at this place among those known. The source is a shadow.
    Elsewhere(usize),
}

/// A source's place in its conference, and its name, so that a stale reference is seen as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceRef {
    /// Its name.
    pub id: SourceId,
    /// Its place in the conference's sources.
    pub place: usize,
}

/// A slot that shows a source: the receiving endpoint's and the slot's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receiver {
    /// Place in the conference's endpoints.
    pub endpoint: usize,
    /// Place in the endpoint's slots.
    pub slot: usize,
}

/// A published track.
pub(crate) struct Source {
    pub id: SourceId,
    /// Since when it is published: who came first is shown first.
    pub began: Instant,
    pub name: SourceName,
    pub owner: Owner,
    pub kind: MediaKind,
    /// What the video shows now.
    pub video_type: VideoType,
    /// The m-line it comes in on.
    pub mid: Mid,
    /// In the order that `Notes::codec` counts.
    pub codecs: Vec<CodecParameters>,
    /// The same, as slots compare them.
    pub formats: Vec<Format>,
    /// Lowest first; never empty.
    pub layers: Vec<Layer>,
    /// Who is shown it. The one list that `fan_out` walks.
    pub receivers: Vec<Receiver>,
    /// The layer that slots should show; none until a packet has come.
    pub wanted: Option<u8>,
    /// Other parts of the conference in which somebody is shown it; for a shadow none.
    pub shown_at: Vec<PartId>,
    /// A shadow's part was told that somebody here is shown it.
    pub is_wanted_here: bool,
    /// The layers whose packets go there, one bit each.
    layers_crossing: u8,
    /// Frames of other layers since the wanted one was last heard.
    frames_elsewhere: u8,
    parameters: SourceParameters,
    payload_types: Box<[Carried; 128]>,
}

/// What a payload type carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// Nothing: it was not agreed.
    Nothing,
    /// Media, of the codec at this place.
    Media(u8),
    /// Retransmissions of the codec at this place.
    Retransmission(u8),
}

impl Source {
    /// The source of one m-line. `parameters` have been checked.
    pub(crate) fn new(
        (id, began): (SourceId, Instant),
        owner: usize,
        media: &Media,
        parameters: &SourceParameters,
    ) -> Self {
        let mut source = Self::without_layers((id, began), Owner::Here(owner), media, parameters);
        let layers = 0..layer_count(parameters);
        source.layers = layers.map(|index| Layer::new(&source.codecs, source.cache_size(index))).collect();
        source
    }

    /// The shadow of a source of another part. Its layers get their room with their first packets.
    pub(crate) fn shadow(
        (id, began): (SourceId, Instant),
        owner: Owner,
        media: &Media,
        parameters: &SourceParameters,
    ) -> Self {
        let mut source = Self::without_layers((id, began), owner, media, parameters);
        let layers = 0..layer_count(parameters);
        source.layers = layers.map(|_| Layer::new(&source.codecs, CacheSize::NOTHING_YET)).collect();
        source
    }

    fn without_layers(
        (id, began): (SourceId, Instant),
        owner: Owner,
        media: &Media,
        parameters: &SourceParameters,
    ) -> Self {
        let mut source = Self {
            id,
            began,
            name: parameters.name.clone(),
            owner,
            kind: media.kind,
            video_type: VideoType::Camera,
            mid: media.mid.clone(),
            codecs: Vec::new(),
            formats: Vec::new(),
            layers: Vec::new(),
            receivers: Vec::new(),
            wanted: None,
            shown_at: Vec::new(),
            is_wanted_here: false,
            layers_crossing: 0,
            frames_elsewhere: 0,
            parameters: parameters.clone(),
            payload_types: Box::new([Carried::Nothing; 128]),
        };
        source.set_codecs(&media.codecs);
        source.set_video_type(parameters.video_type.unwrap_or(VideoType::Camera));
        source
    }

    fn cache_size(&self, index: usize) -> CacheSize {
        match self.kind {
            MediaKind::Audio => CacheSize::AUDIO,
            MediaKind::Video => CacheSize::video_layer(index, layer_count(&self.parameters)),
        }
    }

    /// The same track as before: the streams go on.
    pub(crate) fn is_continued_by(&self, media: &Media, parameters: &SourceParameters) -> bool {
        let before = &self.parameters;
        self.kind == media.kind
            && before.name == parameters.name
            && before.rids == parameters.rids
            && before.ssrcs == parameters.ssrcs
    }

    /// Nothing has changed.
    pub(crate) fn is_described_by(&self, media: &Media, parameters: &SourceParameters) -> bool {
        self.parameters == *parameters && self.codecs == media.codecs
    }

    /// Takes over what may change while the track goes on.
    pub(crate) fn continue_with(&mut self, media: &Media, parameters: &SourceParameters) {
        if self.parameters.video_type != parameters.video_type {
            self.set_video_type(parameters.video_type.unwrap_or(VideoType::Camera));
        }
        self.parameters = parameters.clone();
        self.set_codecs(&media.codecs);
    }

    /// Says what the video shows from now on.
    pub(crate) fn set_video_type(&mut self, video_type: VideoType) {
        self.video_type = video_type;
    }

    fn set_codecs(&mut self, codecs: &[CodecParameters]) {
        self.codecs = codecs.to_vec();
        self.formats = formats::formats(codecs);
        self.payload_types.fill(Carried::Nothing);
        for (place, codec) in codecs.iter().enumerate() {
            if let Some(rtx) = codec.rtx_payload_type {
                self.payload_types[usize::from(rtx)] = Carried::Retransmission(place as u8);
            }
            self.payload_types[usize::from(codec.payload_type)] = Carried::Media(place as u8);
        }
    }

    /// What the description announces about its streams. `place` is the source's own.
    pub(crate) fn announced(&self, place: usize) -> impl Iterator<Item = (u32, Binding)> + '_ {
        self.parameters.ssrcs.iter().zip(0..).flat_map(move |(ssrcs, layer)| {
            let media = (ssrcs.media, Binding::Media { source: place, layer });
            let rtx = ssrcs.rtx.map(|rtx| (rtx, Binding::Retransmissions { source: place, layer }));
            [Some(media), rtx].into_iter().flatten()
        })
    }

    /// What a packet with this payload type carries.
    pub(crate) fn carried(&self, payload_type: u8) -> Carried {
        self.payload_types[usize::from(payload_type & 0x7f)]
    }

    /// The layer named `rid`; without a name, the only one.
    pub(crate) fn layer_of(&self, rid: Option<&str>) -> Option<u8> {
        match rid {
            None if self.layers.len() == 1 => Some(0),
            None => None,
            Some(rid) => {
                self.parameters.rids.iter().position(|each| each.as_str() == rid).map(|place| place as u8)
            }
        }
    }

    /// The simulcast layers' names, lowest first.
    pub(crate) fn rids(&self) -> &[Rid] {
        &self.parameters.rids
    }

    /// Which stream layer `index` is now.
    pub(crate) fn layer_ref(&self, index: u8) -> LayerRef {
        LayerRef { index, generation: self.layers[usize::from(index)].generation }
    }

    /// Another SSRC has taken over a layer: everything counted by sequence numbers begins anew.
    pub(crate) fn begin_stream(&mut self, index: u8, ssrc: u32) {
        let before = &self.layers[usize::from(index)];
        if before.ssrc == Some(ssrc) {
            return;
        }
        let mut layer = Layer::new(&self.codecs, self.cache_size(usize::from(index)));
        layer.reception.continue_totals(&before.reception);
        layer.generation = before.generation + 1;
        layer.ssrc = Some(ssrc);
        self.layers[usize::from(index)] = layer;
    }

    /// A packet in a layer's cache.
    pub(crate) fn packet(&self, index: u8, ext_seq: u64) -> Option<SharedPacket<'_>> {
        let cached = self.layers.get(usize::from(index))?.cache.packet(ext_seq)?;
        let (layer, is_wanted) = (self.layer_ref(index), self.wanted == Some(index));
        Some(SharedPacket { bytes: cached.bytes, notes: cached.meta, ext_seq, layer, is_wanted })
    }

    /// Chooses the layer that slots should show, now that a packet of layer `index` has come. True when it changed.
    ///
    /// The middle one of three, the higher one of two: enough for a tile, and nobody's line is asked for the full
    /// picture. While it is silent, the best that is not. A shared screen on which nothing moves sends all its layers
    /// once a second: a layer only counts as silent when others go on without it.
    pub(crate) fn choose_layer(&mut self, now: Instant, index: u8, timestamp: u32) -> bool {
        let preferred = (self.layers.len() / 2) as u8;
        let is_new_frame =
            self.layers[usize::from(index)].newest_timestamp.replace(timestamp) != Some(timestamp);
        let chosen = match self.wanted {
            Some(wanted) if wanted == index => {
                self.frames_elsewhere = 0;
                return false;
            }
            Some(wanted) if index != preferred => {
                self.frames_elsewhere = self.frames_elsewhere.saturating_add(u8::from(is_new_frame));
                if self.frames_elsewhere < FRAMES_ELSEWHERE || self.is_alive(now, wanted) {
                    return false;
                }
                (0..self.layers.len() as u8).rev().find(|each| self.is_alive(now, *each)).unwrap_or(index)
            }
            _ => index,
        };
        self.frames_elsewhere = 0;
        self.wanted = Some(chosen);
        self.layers_crossing |= 1 << chosen;
        true
    }

    /// Somebody is shown it, here or in another part.
    pub(crate) fn is_shown(&self) -> bool {
        !self.receivers.is_empty() || !self.shown_at.is_empty()
    }

    /// Packets of layer `index` are for the other parts as well: it is the wanted one, or slots still show it because no
    /// key frame of the wanted one has come.
    pub(crate) fn is_crossing(&self, index: u8) -> bool {
        self.layers_crossing & (1 << index) != 0
    }

    /// A key frame of layer `index` has gone across: every slot there changes to it.
    pub(crate) fn end_crossing_of_others(&mut self, index: u8) {
        self.layers_crossing = 1 << index;
    }

    /// Keeps a packet that has crossed to this shadow, whose bytes come in two pieces.
    pub(crate) fn take_crossing(
        &mut self,
        now: Instant,
        packet: &CrossingPacket,
        (head, tail): (&[u8], &[u8]),
    ) -> Result<(), DropReason> {
        let LayerRef { index, generation } = packet.layer;
        let Some(layer) = self.layers.get(usize::from(index)) else { return Err(DropReason::UnknownSsrc) };
        if layer.generation != generation {
            self.begin_shadow_stream(index, generation);
        }
        let layer = &mut self.layers[usize::from(index)];
        layer.cache.write(packet.ext_seq, head.len() + tail.len(), |out| {
            let (first, second) = out.split_at_mut(head.len());
            first.copy_from_slice(head);
            second.copy_from_slice(tail);
            Ok((head.len() + tail.len(), packet.notes))
        })?;
        layer.heard_at = Some(now);
        self.wanted = Some(packet.wanted).filter(|wanted| usize::from(*wanted) < self.layers.len());
        Ok(())
    }

    /// Another stream has taken over a layer where this shadow's source is.
    fn begin_shadow_stream(&mut self, index: u8, generation: u32) {
        let before = &self.layers[usize::from(index)];
        let clock = (before.generation == 0).then_some(before.clock);
        let mut layer = Layer::new(&self.codecs, self.cache_size(usize::from(index)));
        layer.generation = generation;
        // Its time may have been told before its first packet came.
        layer.clock = clock.unwrap_or(layer.clock);
        self.layers[usize::from(index)] = layer;
    }

    /// Its packets come, though only another part hears them.
    pub(crate) fn note_heard_elsewhere(&mut self, now: Instant) {
        self.layers.iter_mut().for_each(|layer| layer.heard_at = Some(now));
    }

    fn is_alive(&self, now: Instant, index: u8) -> bool {
        let heard = self.layers[usize::from(index)].heard_at;
        heard.is_some_and(|at| now.saturating_duration_since(at) <= LAYER_SILENCE)
    }

    /// Some layer's packets came within the last seconds.
    pub(crate) fn is_sending(&self, now: Instant) -> bool {
        let heard = self.layers.iter().filter_map(|layer| layer.heard_at).max();
        heard.is_some_and(|at| now.saturating_duration_since(at) <= SOURCE_SILENCE)
    }

    /// Some packet that was not silent came within the last seconds.
    pub(crate) fn is_audible(&self, now: Instant) -> bool {
        let audible = self.layers.iter().filter_map(|layer| layer.audible_at).max();
        audible.is_some_and(|at| now.saturating_duration_since(at) <= SOURCE_SILENCE)
    }

    /// No longer shows itself in this slot.
    pub(crate) fn remove_receiver(&mut self, receiver: Receiver) {
        self.receivers.retain(|each| *each != receiver);
    }
}

/// How many layers the description announces: by name, or by a list of SSRCs.
pub(crate) fn layer_count(parameters: &SourceParameters) -> usize {
    parameters.rids.len().max(parameters.ssrcs.len()).max(1)
}

/// A browser that lowers its rate switches a layer off for good; a gap this long is no pacing.
const LAYER_SILENCE: Duration = Duration::from_secs(1);

/// Two frames of each of three layers.
const FRAMES_ELSEWHERE: u8 = 6;

/// A track muted by its sender falls silent; opus in DTX still sends every 400 ms.
const SOURCE_SILENCE: Duration = Duration::from_secs(3);

//! One published track, the up side: its layers, what is missing of them, and who is shown it.

use std::time::{Duration, Instant};

use wire::messages::ids::{Mid, Rid, SourceName};
use wire::messages::media::{CodecParameters, Media, MediaKind, SourceParameters, VideoType};
use wire::rtcp::{NtpTime, ReportBlock};
use wire::rtp::{SequenceExtender, Ssrc};

use super::cache::{CacheSize, PacketCache};
use super::drop_reason::DropReason;
use super::formats::{self, Format};
use super::nack::{Arrival, LossTracker};
use super::packet::{LayerRef, Notes, SharedPacket};
use super::reports::{ReceptionStats, StreamClock};
use super::streams::Binding;

/// One source's name among a worker's; never used again, so a stale reference finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SourceId(pub u32);

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
    pub name: SourceName,
    /// Place of its endpoint in the conference.
    pub owner: usize,
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
    pub(crate) fn new(id: SourceId, owner: usize, media: &Media, parameters: &SourceParameters) -> Self {
        let count = layer_count(parameters);
        let mut source = Self {
            id,
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
            frames_elsewhere: 0,
            parameters: parameters.clone(),
            payload_types: Box::new([Carried::Nothing; 128]),
        };
        source.set_codecs(&media.codecs);
        source.set_video_type(parameters.video_type.unwrap_or(VideoType::Camera));
        source.layers = (0..count).map(|index| Layer::new(&source, index, count)).collect();
        source
    }

    /// The same track as before: the streams go on.
    pub(crate) fn is_continued_by(&self, media: &Media, parameters: &SourceParameters) -> bool {
        let before = &self.parameters;
        self.kind == media.kind
            && before.name == parameters.name
            && before.rids == parameters.rids
            && before.ssrcs == parameters.ssrcs
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
        let generation = before.generation + 1;
        let (expected, lost) = (before.reception.expected(), before.reception.lost());
        let mut layer = Layer::new(self, usize::from(index), self.layers.len());
        (layer.reception.expected_before, layer.reception.lost_before) = (expected, lost);
        layer.generation = generation;
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
        true
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

/// One stream of a source.
pub(crate) struct Layer {
    /// The stream's number, once it was heard.
    pub ssrc: Option<u32>,
    /// Counts the streams that were this layer.
    pub generation: u32,
    pub extender: SequenceExtender,
    pub cache: PacketCache<Notes>,
    pub losses: LossTracker,
    pub reception: Reception,
    pub clock: StreamClock,
    pub key_frames: KeyFrameRequests,
    /// When its last packet came.
    pub heard_at: Option<Instant>,
    /// When its last packet came that was not silent, or did not say.
    audible_at: Option<Instant>,
    newest_timestamp: Option<u32>,
}

impl Layer {
    fn new(source: &Source, index: usize, count: usize) -> Self {
        let size = match source.kind {
            MediaKind::Audio => CacheSize::AUDIO,
            MediaKind::Video => CacheSize::video_layer(index, count),
        };
        // All codecs of an m-line kind tick alike: 48 kHz for audio, 90 kHz for video.
        let clock_rate_hz = source.codecs.first().map_or(90_000, |codec| codec.clock_rate_hz);
        Self {
            ssrc: None,
            generation: 0,
            extender: SequenceExtender::new(),
            cache: PacketCache::new(size),
            losses: LossTracker::default(),
            reception: Reception::new(clock_rate_hz),
            clock: StreamClock::new(clock_rate_hz),
            key_frames: KeyFrameRequests::default(),
            heard_at: None,
            audible_at: None,
            newest_timestamp: None,
        }
    }

    /// Notes a media packet that was opened into the cache. The error says why it must not be forwarded.
    pub(crate) fn note_media(
        &mut self,
        now: Instant,
        ext_seq: u64,
        timestamp: u32,
    ) -> Result<Arrival, DropReason> {
        self.extender.commit(ext_seq);
        self.heard_at = Some(now);
        self.reception.handle_packet(now, ext_seq, timestamp);
        let level = self.cache.packet(ext_seq).and_then(|cached| cached.meta.level_dbov());
        if level.is_none_or(|level| level < SILENT_DBOV) {
            self.audible_at = Some(now);
        }
        match self.losses.handle_packet(now, ext_seq) {
            // Once forwarded, or given up for a key frame: neither is to be forwarded now.
            Arrival::Late => Err(DropReason::Duplicate),
            arrival => Ok(arrival),
        }
    }
}

/// What came of a layer. Reports speak of the stream it is now; the totals of all that were it, so that they only grow.
pub(crate) struct Reception {
    stream: ReceptionStats,
    expected_before: u64,
    lost_before: u64,
}

impl Reception {
    fn new(clock_rate_hz: u32) -> Self {
        Self { stream: ReceptionStats::new(clock_rate_hz), expected_before: 0, lost_before: 0 }
    }

    fn handle_packet(&mut self, now: Instant, ext_seq: u64, timestamp: u32) {
        self.stream.handle_packet(now, ext_seq, timestamp);
    }

    /// Notes a sender report of the stream.
    pub(crate) fn handle_sender_report(&mut self, now: Instant, ntp: NtpTime) {
        self.stream.handle_sender_report(now, ntp);
    }

    /// What to report of the stream; `None` before its first packet.
    pub(crate) fn report_block(&mut self, now: Instant, ssrc: Ssrc) -> Option<ReportBlock> {
        self.stream.report_block(now, ssrc)
    }

    /// How many packets should have arrived by now.
    pub(crate) fn expected(&self) -> u64 {
        self.expected_before + self.stream.expected()
    }

    /// How many of them did not.
    pub(crate) fn lost(&self) -> u64 {
        self.lost_before + self.stream.lost()
    }
}

/// When this layer's sender was last asked for a key frame.
#[derive(Debug, Default)]
pub(crate) struct KeyFrameRequests {
    sent_at: Option<Instant>,
}

impl KeyFrameRequests {
    /// Somebody has lost the picture. True when the sender is to be asked now; false when it was, just before
    /// (HOSTILE U47).
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        self.ask_after(now, REQUEST_PAUSE)
    }

    /// Somebody is still waiting for a picture. True when it is time to ask the sender again (HOSTILE U44).
    pub(crate) fn ask_again(&mut self, now: Instant) -> bool {
        self.ask_after(now, REPEAT_PAUSE)
    }

    fn ask_after(&mut self, now: Instant, pause: Duration) -> bool {
        let is_due = self.sent_at.is_none_or(|at| now.saturating_duration_since(at) >= pause);
        if is_due {
            self.sent_at = Some(now);
        }
        is_due
    }
}

/// A browser that lowers its rate switches a layer off for good; a gap this long is no pacing.
const LAYER_SILENCE: Duration = Duration::from_secs(1);

/// Two frames of each of three layers.
const FRAMES_ELSEWHERE: u8 = 6;

/// A track muted by its sender falls silent; opus in DTX still sends every 400 ms.
const SOURCE_SILENCE: Duration = Duration::from_secs(3);

/// RFC 6464, 3: digital silence, as of a muted microphone.
const SILENT_DBOV: u8 = 127;

/// A key frame takes a round trip to come: asking twice within one would only fetch two.
const REQUEST_PAUSE: Duration = Duration::from_millis(200);

/// A sender that does not answer must not be drowned in requests.
const REPEAT_PAUSE: Duration = Duration::from_millis(500);

//! What a model browser offers, typed as signaling would type it.

use wire::messages::ids::{Mid, Rid, SourceName};
use wire::messages::media::{
    Codec, CodecParameters, EndpointParameters, Extension, ExtensionParameters, Fingerprint, Media,
    MediaKind, MediaRole, SourceParameters, SourceSsrc,
};

use super::browser::Browser;
use super::media::Stream;

/// The MIDs of slots begin here.
const AUDIO: usize = 20;
const VIDEO: usize = 30;

impl Browser {
    /// The description that signaling would make of its offer.
    pub fn parameters(&self) -> EndpointParameters {
        let mut medias = Vec::new();
        if self.streams.iter().any(|stream| !stream.is_video) {
            medias.push(self.media("0", MediaKind::Audio, self.source_role(false)));
        }
        if self.streams.iter().any(|stream| stream.is_video) {
            medias.push(self.media("1", MediaKind::Video, self.source_role(true)));
        }
        for index in 0..self.audio_slots {
            medias.push(self.media(&(AUDIO + index).to_string(), MediaKind::Audio, MediaRole::Slot));
        }
        for index in 0..self.video_slots {
            medias.push(self.media(&(VIDEO + index).to_string(), MediaKind::Video, MediaRole::Slot));
        }
        let fingerprint = Fingerprint { algorithm: "sha-256".to_owned(), value: self.fingerprint.clone() };
        EndpointParameters { ice: self.ice.clone(), fingerprints: vec![fingerprint], medias }
    }

    fn source_role(&self, is_video: bool) -> MediaRole {
        let streams: Vec<&Stream> =
            self.streams.iter().filter(|stream| stream.is_video == is_video).collect();
        let rids = if streams.len() > 1 { ["q", "h", "f"][..streams.len()].to_vec() } else { Vec::new() };
        let announced = streams.iter().map(|stream| SourceSsrc {
            media: stream.ssrc,
            rtx: (is_video && self.has_rtx).then_some(stream.rtx_ssrc),
        });
        MediaRole::Source(SourceParameters {
            name: SourceName::parse(streams[0].source.clone()).unwrap(),
            video_type: is_video.then_some(self.video_type),
            rids: rids.into_iter().map(|rid| Rid::parse(rid).unwrap()).collect(),
            ssrcs: if self.announces_ssrcs { announced.collect() } else { Vec::new() },
        })
    }

    fn media(&self, mid: &str, kind: MediaKind, role: MediaRole) -> Media {
        let (payload_type, codec, clock_rate_hz) = match kind {
            MediaKind::Audio => (self.payload_type(111), Codec::Opus, 48_000),
            MediaKind::Video => (self.payload_type(96), self.video_codec, 90_000),
        };
        let rtx = (kind == MediaKind::Video && self.has_rtx).then(|| self.payload_type(100));
        let codec = CodecParameters {
            payload_type,
            codec,
            clock_rate_hz,
            format: String::new(),
            rtx_payload_type: rtx,
        };
        let extensions = [
            (1, Extension::Mid),
            (2, Extension::AbsSendTime),
            (3, Extension::TransportCc),
            (4, Extension::AudioLevel),
            (5, Extension::Rid),
            (6, Extension::RepairedRid),
            (7, Extension::VideoOrientation),
        ];
        let extensions =
            extensions.map(|(id, extension)| ExtensionParameters { id: self.extension_id(id), extension });
        Media {
            mid: Mid::parse(mid).unwrap(),
            kind,
            codecs: vec![codec],
            extensions: extensions.to_vec(),
            role,
        }
    }
}

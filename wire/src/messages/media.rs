//! What an SDP offer says about one endpoint, typed. Signaling's `negotiate` is the only place where SDP becomes
//! these types and back; a bridge sees nothing else.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize};

use super::ids::{Mid, Rid, SourceName};

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Opus.
    Audio,
    /// VP8, VP9, H264 or AV1.
    Video,
}

/// Everything a bridge needs to hold one browser: its half of ICE and DTLS, and its m-lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointParameters {
    /// The browser's ICE credentials (RFC 8839, 5.4).
    pub ice: IceCredentials,
    /// Digests of the browser's certificate (RFC 8122); never empty: an empty list is refused by signaling.
    pub fingerprints: Vec<Fingerprint>,
    /// One entry for each m-line in use, in the offer's order.
    pub medias: Vec<Media>,
}

/// A username fragment and password (RFC 8445, 5.3).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    /// 4 to 256 ice-chars.
    pub ufrag: String,
    /// 22 to 256 ice-chars.
    pub pwd: String,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceCredentials({})", self.ufrag)
    }
}

/// A certificate digest as SDP writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Hash function, lower case: `sha-256`.
    pub algorithm: String,
    /// Colon-separated upper-case hexadecimal bytes.
    pub value: String,
}

/// One m-line, from the bridge's side: either a source it receives or a slot it fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// The m-line's tag; unique within an endpoint.
    pub mid: Mid,
    /// Audio or video.
    pub kind: MediaKind,
    /// Payload types agreed for this m-line, most wanted first.
    pub codecs: Vec<CodecParameters>,
    /// Header extensions agreed for this m-line.
    pub extensions: Vec<ExtensionParameters>,
    /// Which way the media flows.
    pub role: MediaRole,
}

/// The direction of an m-line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum MediaRole {
    /// The browser publishes a source here.
    Source(SourceParameters),
    /// The browser can be shown something here; the bridge decides what.
    Slot,
    /// The m-line exists but carries nothing now.
    Inactive,
}

/// A published track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceParameters {
    /// `<endpoint>-a0`, `-v0`, `-v1`.
    pub name: SourceName,
    /// What the video shows; `None` for audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_type: Option<VideoType>,
    /// Simulcast layers by RID, lowest first; empty when the track is a single layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rids: Vec<Rid>,
    /// SSRCs announced in SDP; empty when the browser names streams by MID and RID only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssrcs: Vec<SourceSsrc>,
}

/// An announced stream and its retransmission stream (RFC 4588).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSsrc {
    /// The media stream.
    pub media: u32,
    /// Its retransmissions, when the browser pairs them by `a=ssrc-group:FID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx: Option<u32>,
}

/// What a video source shows; the words are Jitsi's, written in upper case and read in any, as its clients send both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VideoType {
    /// A camera.
    Camera,
    /// A shared screen.
    Desktop,
    /// A shared screen with motion.
    DesktopHighFps,
    /// Nothing for now.
    None,
}

impl<'de> Deserialize<'de> for VideoType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word.to_ascii_uppercase().as_str() {
            "CAMERA" => Ok(Self::Camera),
            "DESKTOP" => Ok(Self::Desktop),
            "DESKTOP_HIGH_FPS" => Ok(Self::DesktopHighFps),
            "NONE" => Ok(Self::None),
            _ => Err(serde::de::Error::custom("not a video type")),
        }
    }
}

/// The codecs a bridge forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// The AOM's AV1 RTP payload specification.
    Av1,
}

/// One payload type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecParameters {
    /// Dynamic payload type, 0 to 127.
    pub payload_type: u8,
    /// Which codec.
    pub codec: Codec,
    /// Ticks a second.
    pub clock_rate_hz: u32,
    /// The `a=fmtp` parameters as they were negotiated; two m-lines carry the same stream only when what
    /// distinguishes the codec's variants here (H264 profile and packetization mode, VP9 and AV1 profile) is equal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub format: String,
    /// Payload type of its retransmissions (RFC 4588), if agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx_payload_type: Option<u8>,
}

/// One RTP header extension (RFC 8285).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionParameters {
    /// Local identifier, 1 to 255.
    pub id: u8,
    /// What it carries.
    pub extension: Extension,
}

/// The header extensions a bridge understands or forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extension {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    Mid,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    Rid,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
    RepairedRid,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    AudioLevel,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    AbsSendTime,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    TransportCc,
    /// `urn:3gpp:video-orientation`.
    VideoOrientation,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`.
    DependencyDescriptor,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`.
    PlayoutDelay,
}

/// The bridge's half, from which signaling writes the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportParameters {
    /// The bridge's ICE credentials for this endpoint; it is always ICE-lite.
    pub ice: IceCredentials,
    /// Digest of the bridge's certificate.
    pub fingerprint: Fingerprint,
    /// Host candidates, most wanted first; never empty.
    pub candidates: Vec<Candidate>,
    /// SSRCs of each slot, in the order of the slots among `EndpointParameters::medias`.
    pub slots: Vec<SlotParameters>,
    /// Where the browser opens its channel, below signaling's own origin: `/colibri-ws/<bridge>/<conference>/<endpoint>?pwd=…`.
    pub channel_path: String,
}

/// A UDP host candidate (RFC 8839, 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// RFC 8445, 5.1.2.
    pub priority: u32,
    /// Where to send.
    pub address: SocketAddr,
}

/// The streams of one slot: fixed for the endpoint's life, whatever source fills it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotParameters {
    /// The slot's m-line.
    pub mid: Mid,
    /// Its media stream.
    pub ssrc: u32,
    /// Its retransmissions (RFC 4588); `None` for audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtx_ssrc: Option<u32>,
}

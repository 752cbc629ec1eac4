//! Browser ↔ bridge, over the channel WebSocket `/colibri-ws/…`: one JSON object a text frame, told apart by
//! `colibriClass`. Names and shapes are those of Jitsi's bridge channel, so that its clients keep working.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::{EndpointId, Mid, SourceName};
use super::media::VideoType;

/// Browser → bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "colibriClass")]
pub enum FromBrowser {
    /// Asks for a `ServerHello`.
    ClientHello {},
    /// A message for one endpoint or, with `to` empty, for all others. Further fields are kept.
    EndpointMessage(EndpointMessage),
    /// A browser's own statistics, passed on to the others.
    EndpointStats(Map<String, Value>),
    /// How many videos the browser wants at most; negative: no limit.
    LastNChangedEvent {
        /// The limit.
        #[serde(rename = "lastN")]
        last_n: i64,
    },
    /// What the browser wants to see, and how large.
    ReceiverVideoConstraints(ReceiverVideoConstraints),
    /// A source's video turned into something else.
    SourceVideoTypeMessage(SourceVideoType),
}

/// Bridge → browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "colibriClass")]
pub enum FromBridge {
    /// The channel is open.
    ServerHello {
        /// The bridge's version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// Another endpoint's message; `from` is the bridge's word, not the sender's.
    EndpointMessage(EndpointMessage),
    /// Another endpoint's statistics.
    EndpointStats(Map<String, Value>),
    /// Who speaks.
    #[serde(rename_all = "camelCase")]
    DominantSpeakerEndpointChangeEvent {
        /// The one who speaks now.
        dominant_speaker_endpoint: EndpointId,
        /// Those before, latest first; at most 10.
        previous_speakers: Vec<EndpointId>,
        /// Nobody has spoken for a while.
        silence: bool,
    },
    /// Which sources this browser receives now.
    #[serde(rename_all = "camelCase")]
    ForwardedSources {
        /// Their names.
        forwarded_sources: Vec<SourceName>,
    },
    /// Which source fills which video slot. A slot that is not listed is empty.
    #[serde(rename_all = "camelCase")]
    VideoSourcesMap {
        /// The filled slots.
        mapped_sources: Vec<VideoMapping>,
    },
    /// Which source fills which audio slot.
    #[serde(rename_all = "camelCase")]
    AudioSourcesMap {
        /// The filled slots.
        mapped_sources: Vec<AudioMapping>,
    },
    /// Another endpoint's video turned into something else.
    SourceVideoTypeMessage(SourceVideoType),
}

/// A message between browsers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointMessage {
    /// One endpoint, or empty for all others.
    #[serde(default)]
    pub to: String,
    /// Overwritten by the bridge with the sender's id.
    #[serde(default)]
    pub from: String,
    /// Everything else, `msgPayload` among it, kept as it came.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What a browser wants to see. An absent field stays as it was; a negative number is no limit; 0 is never.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReceiverVideoConstraints {
    /// Videos at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_n: Option<i64>,
    /// Sources that come before the speakers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_sources: Option<Vec<SourceName>>,
    /// Sources shown large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_stage_sources: Option<Vec<SourceName>>,
    /// For sources that `constraints` does not name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_constraints: Option<VideoConstraints>,
    /// By source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraints: Option<BTreeMap<String, VideoConstraints>>,
    /// Stands in for the bridge's own estimate, in bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assumed_bandwidth_bps: Option<i64>,
}

/// How large one video is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VideoConstraints {
    /// Height in pixels: negative no limit, 0 never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_height: Option<i64>,
    /// Frames a second: negative no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_frame_rate: Option<f64>,
}

/// What a source's video shows now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceVideoType {
    /// What it shows.
    pub video_type: VideoType,
    /// Whose.
    pub source_name: SourceName,
    /// The owner; filled by the bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<EndpointId>,
}

/// A filled video slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VideoMapping {
    /// What fills it.
    pub source: SourceName,
    /// Whose it is.
    pub owner: EndpointId,
    /// The slot's media stream.
    pub ssrc: u32,
    /// The slot's retransmissions.
    pub rtx: u32,
    /// Camera or screen.
    pub video_type: VideoType,
    /// The slot's m-line.
    pub mid: Mid,
}

/// A filled audio slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AudioMapping {
    /// What fills it.
    pub source: SourceName,
    /// Whose it is.
    pub owner: EndpointId,
    /// The slot's media stream.
    pub ssrc: u32,
    /// The slot's m-line.
    pub mid: Mid,
}

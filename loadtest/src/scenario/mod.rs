//! A scenario: who calls whom, over what, for how long, and what the answer must be. Written as TOML; every field has a
//! unit in its name and a default, and an unknown key is an error that names it.

mod bundled;
mod callers;
mod check;
mod defaults;
mod load;

pub use self::bundled::BUNDLED;
pub use self::check::Refusal;
pub use self::load::{ScenarioError, load, parse};

use serde::{Deserialize, Serialize};

/// A whole scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// What it is called in reports. Default: the file's name without its ending.
    pub name: String,
    /// One sentence for whoever reads the report.
    pub description: String,
    /// Everything random is drawn from it: the same seed gives the same media, losses and order. Default: 1.
    pub seed: u64,
    /// Conferences at the same time. Default: 1.
    pub conferences: u32,
    /// How long is measured, after everybody has joined and `warm_up_s` has passed; seconds. Default: 20.
    pub duration_s: f64,
    /// Time between the last join and the measurement; seconds. Default: 3.
    pub warm_up_s: f64,
    /// Callers that begin to join each second, over all conferences; 0: all at once, else at least 0.001. Default: 50.
    pub joins_per_s: f64,
    /// A caller that has no media after this has failed to join; seconds. Default: 20.
    pub join_timeout_s: f64,
    /// Where the callers go.
    pub target: Target,
    /// Kinds of callers; each conference has the same. At least one.
    pub groups: Vec<Group>,
    /// Callers that leave and are followed by others. Default: nobody.
    pub churn: Option<Churn>,
    /// Commands to run in the middle: a bridge killed, a link cut.
    pub hooks: Vec<Hook>,
    /// What must hold; a run that breaks one ends with exit code 2.
    pub thresholds: Thresholds,
}

/// Where callers go, and where the servers' own numbers are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// How callers get in. Default: `meeting`.
    pub entry: Entry,
    /// Signaling's public URL; `http`, or `https`. Default: `http://127.0.0.1:8000`.
    pub url: String,
    /// With `whip_whep`: path behind `url`, or a whole URL; `{conference}` is replaced. Default: `/whip/{conference}`.
    pub whip: String,
    /// The same for viewers. Default: `/whep/{conference}`.
    pub whep: String,
    /// Sent as bearer token (WHIP, WHEP) or in `join`. Default: none.
    pub token: Option<String>,
    /// Private REST of the servers, `.../stats` each, to read their load from. Default: the bridge and signaling of
    /// `cargo run --release`. An empty list: none.
    pub stats: Vec<String>,
    /// A file of certificates to trust beside the system's, for test servers. Default: none.
    pub ca_file: Option<std::path::PathBuf>,
    /// The relay for groups whose `path` is one. Default: the one that signaling names in `assigned.ice_servers`.
    pub turn: Option<TurnServer>,
    /// What polling callers, who come beside all others, ask for instead of being told. Default: nobody polls.
    pub poll: Option<Poll>,
}

/// How callers get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Through `/ws`, as the meeting page does: everybody may send and receive.
    Meeting,
    /// By WHIP (groups that send) and WHEP (groups that do not); any server that speaks them.
    WhipWhep,
    /// Through `/ws`, without media: sockets, storms, presence.
    Signaling,
    /// A Janus videoroom by its HTTP interface, for comparisons.
    Janus,
}

/// A TURN server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TurnServer {
    /// `host:port` of UDP and TCP.
    pub address: String,
    /// `host:port` of TLS; empty: `address`.
    pub tls_address: String,
    /// Long-term user name; empty with `secret`.
    pub username: String,
    /// Its password; empty with `secret`.
    pub password: String,
    /// The shared secret of TURN REST credentials: each caller gets its own, which lasts for the run.
    pub secret: String,
}

/// The baseline of signaling by polling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Poll {
    /// Whole URL that each polling caller gets.
    pub url: String,
    /// Seconds between two questions of one caller, at least 0.05. Default: 1.
    pub interval_s: f64,
    /// Polling callers. Default: 100.
    pub callers: u32,
}

/// Callers of one kind in each conference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// What it is called in reports. Default: "callers".
    pub name: String,
    /// How many in each conference. Default: 1. With a list, the n-th conference takes the n-th (repeating).
    pub per_conference: PerConference,
    /// `light`: real ICE, DTLS and SRTP, media that is shaped but not encoded. `full`: the PeerConnection of the `webrtc`
    /// crate on the same scenario, without a link and with relays over UDP only. Default: `light`.
    pub kind: Kind,
    /// Seconds after the scenario's start before the first of the group joins. Default: 0.
    pub join_after_s: f64,
    /// Joins of this group each second; overrides the scenario's. 0: all at once. Default: the scenario's.
    pub joins_per_s: Option<f64>,
    /// Opus. Default: none.
    pub voice: Option<Voice>,
    /// A camera. Default: none.
    pub camera: Option<Camera>,
    /// A shared screen. Default: none.
    pub screen: Option<Screen>,
    /// What is received. Default: as many slots as the server names.
    pub receive: Receive,
    /// The path of the media. Default: `direct`.
    pub path: MediaPath,
    /// What the caller's link does to datagrams. Default: nothing.
    pub link: Option<Link>,
    /// Opens the channel WebSocket and asks for what it sees, as the page does. Default: true with `meeting`.
    pub channel: bool,
    /// Chat lines a minute. Default: 0.
    pub chat_per_minute: f64,
}

/// A number for all conferences, or one for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerConference {
    /// The same in all.
    Same(u32),
    /// The n-th conference takes the n-th, repeating.
    Each(Vec<u32>),
}

/// How real a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Thousands on a core.
    Light,
    /// A hundred on a core.
    Full,
}

/// What a voice sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Voice {
    /// Bit rate of opus while speaking, kbit/s. Default: 32.
    pub rate_kbps: u32,
    /// Milliseconds a packet. Default: 20.
    pub packet_ms: u32,
    /// Share of time in which this caller speaks, 0.0 to 1.0; talk spurts of about 2 s. Default: 1 (a lecturer).
    pub speaks: f64,
    /// Discontinuous transmission: one packet each 400 ms while silent, instead of 50 a second. Default: true.
    pub dtx: bool,
}

/// What a camera sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Camera {
    /// Layers, smallest first. One: no simulcast. Default: 180p 150, 360p 500, 720p 1700 kbit/s, all 30 frames a second.
    pub layers: Vec<PictureLayer>,
    /// Seconds between key frames that nobody asked for; 0: never (browsers send one on request only). Default: 0.
    pub key_frame_interval_s: f64,
    /// A key frame is this many times an average frame. Default: 6.
    pub key_frame_size: f64,
    /// Frames vary by this share of their size, evenly. Default: 0.2.
    pub size_jitter: f64,
}

/// One resolution of a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureLayer {
    /// Pixels.
    pub height: u32,
    /// Bit rate, kbit/s.
    pub rate_kbps: u32,
    /// Frames a second.
    pub frames_per_s: f64,
}

/// What a shared screen sends: long stills, then a burst.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Screen {
    /// Bytes of a whole new page. Default: 150,000.
    pub page_bytes: u32,
    /// Seconds between new pages, on average. Default: 8.
    pub page_interval_s: f64,
    /// Small changes between pages (cursor, typing), frames a second. Default: 5.
    pub frames_per_s: f64,
    /// Bytes of each small change. Default: 600.
    pub change_bytes: u32,
}

/// What a caller takes in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receive {
    /// Audio slots to offer; none: as the server says (with WHEP: 1).
    pub audio: Option<usize>,
    /// Video slots to offer; none: as the server says (with WHEP: 1).
    pub video: Option<usize>,
    /// Height that each slot is asked for over the channel; pixels. Default: 720 for one video, 360 for up to four, else 180.
    pub height: Option<u32>,
    /// Share of received packets that are opened (authenticated) and looked into; the rest are counted as datagrams only
    /// and the report says so. 0.0 to 1.0. Default: 1.
    pub opened: f64,
}

/// What carries the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaPath {
    /// UDP to the bridge.
    Direct,
    /// TURN over UDP.
    RelayUdp,
    /// TURN over TCP.
    RelayTcp,
    /// TURN over TLS.
    RelayTls,
}

/// What a link does, by a generator seeded for each caller; both directions unless said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// Datagrams lost at random, 0.0 to 1.0.
    pub loss: f64,
    /// Mean length of a run of losses, datagrams; 1 or less: each on its own (Gilbert's model above).
    pub loss_burst: f64,
    /// One-way delay added, milliseconds.
    pub delay_ms: f64,
    /// Delay varies by up to this, milliseconds; order is kept unless `reorder` says otherwise.
    pub jitter_ms: f64,
    /// Rate of the link, kbit/s; 0: unlimited.
    pub rate_kbps: u32,
    /// Queue in front of that rate, milliseconds, more than 0 with a rate; what does not fit is dropped.
    pub queue_ms: f64,
    /// Datagrams that overtake those before them, 0.0 to 1.0.
    pub reorder: f64,
    /// Datagrams that come twice, 0.0 to 1.0.
    pub duplicate: f64,
}

/// Callers that come and go while it is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Churn {
    /// Callers that leave each minute, per hundred present; each is followed by a new one. Default: 0.
    pub per_minute_percent: f64,
    /// Seconds between leaving and the next one's join. Default: 1.
    pub pause_s: f64,
}

/// A command of the operator's, run by `sh -c`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Seconds after the measurement began.
    pub at_s: f64,
    /// What to run.
    pub command: String,
}

/// What must hold. Absent: not asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Callers that failed to join, share of all.
    pub failed_joins_max: Option<f64>,
    /// From the first step of joining to the first packet of media, 95th percentile, milliseconds.
    pub join_p95_ms_max: Option<f64>,
    /// One-way delay of media packets, 99th percentile, milliseconds.
    pub delay_p99_ms_max: Option<f64>,
    /// Packets that never came, share of those expected.
    pub loss_max: Option<f64>,
    /// Share of watched time in which a picture stood still.
    pub frozen_max: Option<f64>,
    /// Busiest worker of any server, in its busiest second, 0.0 to 1.0.
    pub busy_max: Option<f64>,
}

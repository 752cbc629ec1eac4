//! What goes into the engine and what comes out of it. The shell carries these between sockets and the engine; the
//! engine itself never touches a socket, a clock or a thread.

use std::net::SocketAddr;
use std::time::Duration;

use wire::messages::ids::{BridgeId, ConferenceId, EndpointId, Epoch, SourceName};
use wire::messages::link::Command;
use wire::messages::meeting::{AssignReason, ByeReason, SlotCounts, Update};

/// One message of a browser: an offer with all slots has about 40 KiB, everything else a few hundred bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// One browser's WebSocket. Never reused, so a late output finds nobody instead of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// One bridge's WebSocket. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// One WHIP or WHEP request that waits for its answer. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpId(pub u64);

/// What the engine wants done, in the order it was decided.
#[derive(Debug)]
pub enum Output {
    /// One update for one browser.
    Send(ConnectionId, Update),
    /// The same update for many browsers: to be written as text once.
    SendAll(Vec<ConnectionId>, Update),
    /// `assigned` for these browsers. Each with credentials of its own participant for the relays, which the shell has.
    Assign(Vec<(ConnectionId, EndpointId)>, Assigned),
    /// Close this browser's socket once everything sent before has gone; its `bye` is among that.
    Close(ConnectionId, ByeReason),
    /// A command for the bridge behind this link.
    Command(LinkId, Command),
    /// Close this link.
    CloseLink(LinkId, LinkFault),
    /// The answer to a WHIP or WHEP request.
    Answer(HttpId, HttpAnswer),
}

/// What all browsers of a conference are told of its bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// Which one; browsers are not told.
    pub bridge: BridgeId,
    /// Why.
    pub reason: AssignReason,
    /// Counts the assignments.
    pub epoch: Epoch,
}

/// Why a bridge's link is closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkFault {
    /// Another process with the same id is connected and alive: two bridges must not share a name.
    IdInUse,
    /// The same process dialled again: this is its older link.
    Replaced,
    /// Nothing, or something else, came where `hello` is due.
    HelloMissing,
    /// It has said hello on this link before.
    SecondHello,
    /// The channel URL of `hello` is not an `http://` URL.
    BadChannel,
    /// The media addresses of `hello` are too many, or one of them is nobody's.
    BadMedia,
}

/// A conference's name as it came and what machines call it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConferenceName {
    /// Normalised, for people.
    pub text: String,
    /// Hash of `text`.
    pub id: ConferenceId,
}

impl ConferenceName {
    /// Normalises and checks a name that came in a URL. `None`: empty, too long, or with control characters.
    pub fn parse(raw: &str) -> Option<Self> {
        let text = wire::text::conference_name(raw).ok()?;
        let id = wire::text::conference_id(&text);
        Some(Self { text, id })
    }
}

/// A WHIP (RFC 9725) or WHEP request, its HTTP part already checked.
#[derive(Debug)]
pub enum HttpRequest {
    /// `POST`: publish or view.
    Create {
        /// Where.
        conference: ConferenceName,
        /// Which of the two protocols.
        protocol: HttpProtocol,
        /// The offer.
        sdp: String,
        /// WHEP: every video slot shows this source, whoever speaks.
        pin: Option<SourceName>,
    },
    /// `PATCH` with new ICE credentials: an ICE restart.
    Restart {
        /// Which participant, by the secret in its URL.
        resource: String,
        /// Must be the protocol it was created with.
        protocol: HttpProtocol,
        /// The browser's new credentials.
        ice: wire::messages::media::IceCredentials,
    },
    /// `PATCH` with candidates only: nothing to do for a bridge that is ICE-lite, but the resource must exist.
    Trickle {
        /// Which participant.
        resource: String,
        /// Must be the protocol it was created with.
        protocol: HttpProtocol,
        /// `If-Match` without quotes: must be the tag of the ICE generation in use.
        tag: String,
    },
    /// `DELETE`.
    End {
        /// Which participant.
        resource: String,
        /// Must be the protocol it was created with.
        protocol: HttpProtocol,
    },
}

/// The two protocols that carry a whole negotiation in one HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpProtocol {
    /// Publishes; counts as a participant.
    Whip,
    /// Views; receives only and is not shown to the others.
    Whep,
}

impl HttpProtocol {
    /// The first segment of its paths.
    pub fn path(self) -> &'static str {
        match self {
            Self::Whip => "whip",
            Self::Whep => "whep",
        }
    }
}

/// The answer to an [`HttpRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAnswer {
    /// 201.
    Created {
        /// Last segment of the resource's URL: whoever has it may end the participant.
        resource: String,
        /// The answer.
        sdp: String,
        /// `ETag` of the ICE generation.
        tag: String,
        /// Whose credentials for the relays come with it.
        who: EndpointId,
    },
    /// 200 with the bridge's new credentials.
    Restarted {
        /// `application/trickle-ice-sdpfrag`.
        fragment: String,
        /// The new `ETag`.
        tag: String,
    },
    /// 204: nothing was needed.
    Accepted,
    /// 200: the participant is gone.
    Ended,
    /// 4xx or 5xx.
    Refused(HttpRefusal, String),
}

/// Why a WHIP or WHEP request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpRefusal {
    /// 400: the SDP cannot be used.
    BadSdp,
    /// 404: no such resource.
    NotFound,
    /// 412: `If-Match` names an ICE generation that is over.
    WrongTag,
    /// 429: more ICE restarts than a client needs.
    RateLimited,
    /// 503: the conference holds as many as it may.
    ConferenceFull,
    /// 503: no bridge is fit, or it did not answer.
    Unavailable,
}

/// The engine's numbers. Every one is checked before it gets here.
#[derive(Debug, Clone)]
pub struct FocusSettings {
    /// Secrets and ids come from a generator seeded with this: from the system in production, fixed in tests.
    pub seed: [u8; 32],
    /// The first assignment gets the next epoch. Milliseconds since 1970 in production, so that a restarted signaling
    /// starts above everything a bridge remembers; 0 in tests.
    pub epoch_floor: Epoch,
    /// Our version: bridges of the same one are preferred.
    pub version: String,
    /// Bridges of this region are preferred.
    pub region: Option<String>,
    /// Receive positions a browser is told to offer.
    pub slots: SlotCounts,
    /// Participants of one conference.
    pub participants_max: usize,
    /// Receive-only participants of one conference.
    pub viewers_max: usize,
    /// Conferences at one time.
    pub conferences_max: usize,
    /// How long a conference keeps its bridge after it fell back to one participant.
    pub release_grace: Duration,
    /// How long a participant whose connection broke is kept.
    pub resume_grace: Duration,
    /// How long a bridge may be silent before it counts as lost.
    pub bridge_silence: Duration,
}

impl Default for FocusSettings {
    fn default() -> Self {
        Self {
            seed: [0; 32],
            epoch_floor: Epoch(0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            region: None,
            slots: SlotCounts { audio: 3, video: 9 },
            participants_max: 500,
            viewers_max: 5_000,
            conferences_max: 20_000,
            release_grace: Duration::from_secs(20),
            resume_grace: Duration::from_secs(30),
            bridge_silence: Duration::from_secs(1),
        }
    }
}

/// A conference as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConferenceView {
    /// Its name.
    pub name: String,
    /// What machines call it.
    pub id: ConferenceId,
    /// How logs call it.
    pub log_id: String,
    /// Participants, WHIP publishers among them.
    pub participants: usize,
    /// WHEP viewers.
    pub viewers: usize,
    /// The bridge that carries it; `None` while it waits.
    pub bridge: Option<String>,
    /// The latest assignment.
    pub epoch: Epoch,
    /// How long it exists.
    pub age: Duration,
}

/// A bridge as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct BridgeView {
    /// Its name.
    pub id: String,
    /// Where it stands.
    pub region: Option<String>,
    /// Its software.
    pub version: String,
    /// As it reports.
    pub stress: f64,
    /// With what was assigned since.
    pub corrected_stress: f64,
    /// `starting`, `operational`, `draining` or `silent`.
    pub state: &'static str,
    /// Conferences it reports.
    pub conferences: u32,
    /// Endpoints it reports.
    pub endpoints: u32,
    /// Where its media arrives, as far as it said.
    pub media: Vec<SocketAddr>,
}

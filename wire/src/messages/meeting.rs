//! Browser ↔ signaling, over `GET /ws?conference=<name>` (`passerelle.v1`). The browser always offers, the server always
//! answers: no glare. State is a snapshot, then numbered deltas, batched every 250 ms.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::EndpointId;

/// The WebSocket subprotocol both ends name.
pub const SUBPROTOCOL: &str = "passerelle.v1";

/// Browser → signaling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// The first message of every connection.
    Join {
        /// Shown to the others; at most 64 graphemes.
        name: String,
        /// Proof of the right to join, where the deployment wants one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// The secret of `joined.resume`: continues the same participant after a broken connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
    },
    /// An SDP offer.
    Offer {
        /// The whole description, candidates not needed.
        sdp: String,
        /// Counted by the browser; the answer repeats it.
        rev: u64,
    },
    /// Goes for good.
    Leave,
    /// Says something to everybody; at most 2 KiB.
    Chat {
        /// Plain text.
        text: String,
    },
    /// Changes what the others see of this participant; an absent field stays as it is.
    Set(Changes),
    /// Is anybody there?
    Ping,
}

/// What the others see of a participant, as far as it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The microphone is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_audio: Option<bool>,
    /// The camera is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_video: Option<bool>,
    /// The screen is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<bool>,
    /// The hand is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand: Option<bool>,
    /// The name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Signaling → browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Update {
    /// The join succeeded.
    Joined {
        /// Who this browser is in the conference.
        participant: EndpointId,
        /// Secret for `join.resume`; a new one each time, valid for a while (`resume_grace_s`) after the
        /// connection broke.
        resume: String,
        /// The conference's name, normalised.
        conference: String,
        /// What the server will accept.
        limits: Limits,
        /// Receive positions to offer.
        slots: SlotCounts,
    },
    /// Nobody else is here yet: there is no bridge and nothing to offer.
    Waiting,
    /// A bridge has the conference: send an offer now (for another bridge than before: from a new connection).
    Assigned {
        /// `RTCIceServer` objects; empty while there is no relay.
        ice_servers: Vec<IceServer>,
        /// Why.
        reason: AssignReason,
        /// Counts the assignments.
        epoch: super::ids::Epoch,
    },
    /// The answer to an offer.
    Answer {
        /// The whole description.
        sdp: String,
        /// The offer's number.
        rev: u64,
        /// Path and query of this endpoint's channel below the page's own origin.
        channel_url: String,
    },
    /// Everything there is to see, as of `seq`.
    State {
        /// Deltas continue from here.
        seq: u64,
        /// The whole.
        snapshot: Snapshot,
    },
    /// What changed since `seq - 1`.
    Delta {
        /// One more than that of the state or delta before; a gap means: ask again by joining with `resume`.
        seq: u64,
        /// Newcomers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        joined: Vec<Participant>,
        /// Gone.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<EndpointId>,
        /// Whole new states of those that changed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<Participant>,
    },
    /// Somebody said something.
    Chat {
        /// Who.
        from: EndpointId,
        /// The name at that time, since the sender may have left.
        name: String,
        /// What: plain text, to be shown as text.
        text: String,
        /// Counts the conference's chat lines.
        seq: u64,
    },
    /// A request could not be carried out; the connection stays.
    Error {
        /// Stable identifier.
        id: ErrorId,
        /// For a person.
        message: String,
    },
    /// The connection ends now.
    Bye {
        /// Why.
        reason: ByeReason,
    },
    /// Somebody is there.
    Pong,
}

/// What everybody sees of the conference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// All that are present, oldest first.
    pub participants: Vec<Participant>,
}

/// What everybody sees of one participant. Never a secret, an address or a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Also the owner in the names of its sources.
    pub id: EndpointId,
    /// At most 64 graphemes; to be shown as text.
    pub name: String,
    /// The microphone is off.
    pub muted_audio: bool,
    /// The camera is off.
    pub muted_video: bool,
    /// The screen is shared.
    pub screen: bool,
    /// The hand is raised.
    pub hand: bool,
}

/// What the server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes_max: usize,
    /// Bytes of one chat text.
    pub chat_bytes_max: usize,
    /// Graphemes of a name.
    pub name_graphemes_max: usize,
    /// Participants of one conference.
    pub participants_max: usize,
}

/// How many receive positions a browser offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotCounts {
    /// Loudest speakers heard.
    pub audio: usize,
    /// Videos shown.
    pub video: usize,
}

/// As `RTCIceServer`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `turn:` and `turns:` URLs.
    pub urls: Vec<String>,
    /// `<expiry>[:<participant>]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// base64(HMAC-SHA1(secret, username)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceServer({:?})", self.urls)
    }
}

/// Why a conference has a (new) bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignReason {
    /// The second participant joined.
    Started,
    /// The bridge before was lost.
    Moved,
    /// The bridge before is being emptied.
    Drained,
}

/// Why a request failed. Stable: clients switch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorId {
    /// Not JSON, or not one of the requests.
    BadMessage,
    /// A request before `join`, or a second `join`.
    BadOrder,
    /// The conference's name is empty or too long.
    BadConference,
    /// The participant's name is empty or too long.
    BadName,
    /// The text is too long.
    TooLong,
    /// The SDP cannot be used; the message says which line.
    BadSdp,
    /// There is no bridge for this offer (any more); wait for `assigned`.
    NotAssigned,
    /// No bridge is fit; the conference starts by itself when one is.
    Unavailable,
    /// The conference holds as many as it may.
    ConferenceFull,
    /// Too many messages a second.
    RateLimited,
    /// The `resume` secret is unknown or too old: join anew.
    BadResume,
    /// The token is missing, expired or for something else.
    BadToken,
}

impl fmt::Display for ErrorId {
    /// As on the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// The browser asked.
    Left,
    /// The same participant came back on another connection.
    Replaced,
    /// No `join` in time.
    JoinTimeout,
    /// Too slow a reader or too fast a writer.
    Overload,
    /// The server stops.
    Shutdown,
}

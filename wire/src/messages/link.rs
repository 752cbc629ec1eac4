//! Signaling ↔ bridge, over the WebSocket `/bridge-link` (`passerelle-link.v1`). The bridge dials, says `hello`, then
//! `load` each second and `heartbeat` each 250 ms. Signaling sends commands; each is answered by its id and doing one
//! twice changes nothing. A message whose `type` is unknown is skipped, so that two versions can run side by side.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ids::{BridgeId, ConferenceId, EndpointId, Epoch, SourceName};
use super::media::{EndpointParameters, TransportParameters};

/// The WebSocket subprotocol both ends name.
pub const SUBPROTOCOL: &str = "passerelle-link.v1";

/// Media addresses of one bridge: 64 workers at four addresses. A relay lets its clients reach every one of them.
pub const MEDIA_ADDRESSES_MAX: usize = 256;

/// Bridge → signaling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromBridge {
    /// The first message of every connection.
    Hello(Hello),
    /// Once a second.
    Load(Load),
    /// Every 250 ms, so that a hung bridge is seen within 1 s.
    Heartbeat,
    /// The answer to one command.
    Reply(Reply),
    /// An endpoint the bridge gave up, or whose state a person should see.
    Notice(Notice),
    /// A newer bridge's message; skipped.
    #[serde(other)]
    Unknown,
}

/// Who is dialling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The operator's name for it, also the `<server-id>` of channel paths.
    pub bridge: BridgeId,
    /// Random per process: the same bridge with another `boot` is a restarted one and has lost its endpoints.
    pub boot: String,
    /// Software version.
    pub version: String,
    /// Where it stands, if the operator said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Base URL of its channel listener as signaling reaches it: `http://127.0.0.1:9090`.
    pub channel: String,
    /// Where its media arrives, the most wanted address first: what a relay must let through. At most
    /// [`MEDIA_ADDRESSES_MAX`]; empty from a bridge that does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<SocketAddr>,
    /// Endpoints it takes at most.
    pub endpoints_max: u32,
    /// What it is carrying now; empty at first start.
    #[serde(default)]
    pub conferences: Vec<LiveConference>,
}

/// A conference that a bridge carries when it dials (again).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConference {
    /// Which.
    pub conference: ConferenceId,
    /// Under which assignment.
    pub epoch: Epoch,
    /// Its endpoints.
    pub endpoints: Vec<EndpointId>,
}

/// How busy a bridge is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// 0.0 idle, 1.0 full: the busiest worker's share. Signaling clamps what is not a number in 0..=10.
    pub stress: f64,
    /// Conferences now.
    pub conferences: u32,
    /// Endpoints now.
    pub endpoints: u32,
    /// RTP packets a second, received and sent.
    pub packets_per_s: u64,
    /// Takes no new conference.
    #[serde(default)]
    pub draining: bool,
}

/// Signaling → bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Chosen by signaling; the reply repeats it.
    pub id: u64,
    /// The conference it concerns.
    pub conference: ConferenceId,
    /// The assignment it belongs to. Older than what the bridge has seen: refused as `stale_epoch`.
    pub epoch: Epoch,
    /// What to do.
    pub body: CommandBody,
}

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CommandBody {
    /// Hold this endpoint with exactly these parameters: creates it, changes it (m-lines added, direction turned, new
    /// ICE credentials = ICE restart), or finds it so already.
    SetEndpoint {
        /// Which.
        endpoint: EndpointId,
        /// The whole wanted state.
        parameters: EndpointParameters,
        /// Slots that show one given source for ever, by mid (`?source=` of WHEP); every other slot is the bridge's choice.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pins: Vec<SlotPin>,
    },
    /// Forget this endpoint.
    RemoveEndpoint {
        /// Which.
        endpoint: EndpointId,
    },
    /// Forget this conference and all its endpoints.
    EndConference,
    /// A newer signaling's command; answered as `unknown_command`.
    #[serde(other)]
    Unknown,
}

/// A slot bound to one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotPin {
    /// The slot's m-line.
    pub mid: super::ids::Mid,
    /// The source it shows.
    pub source: SourceName,
}

/// A command's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The command's id.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome {
    /// `SetEndpoint`: the endpoint is held; this is the bridge's half.
    Transport(TransportParameters),
    /// Done.
    Done,
    /// Not done.
    Refused {
        /// Why, as a stable identifier.
        error: Refusal,
        /// For a person.
        message: String,
    },
}

/// Why a bridge refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The epoch is older than one the bridge has seen for this conference.
    StaleEpoch,
    /// A limit (endpoints, slots, sources) is reached.
    Full,
    /// The parameters contradict themselves.
    BadParameters,
    /// Draining: no new conference.
    Draining,
    /// A command this version does not know.
    UnknownCommand,
}

/// What a bridge tells unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The conference it concerns.
    pub conference: ConferenceId,
    /// Under which assignment.
    pub epoch: Epoch,
    /// The endpoint it concerns.
    pub endpoint: EndpointId,
    /// What happened.
    pub event: EndpointEvent,
}

/// What can happen to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointEvent {
    /// ICE and DTLS are done: media flows.
    Connected,
    /// The browser showed no sign of life for 30 s (RFC 7675); the endpoint is removed.
    ConsentLost,
    /// ICE or DTLS did not complete in time; the endpoint is removed.
    ConnectTimeout,
    /// The browser's certificate is not the announced one, or no profile is common; the endpoint is removed.
    HandshakeFailed,
    /// The browser closed DTLS; the endpoint is removed.
    Closed,
}

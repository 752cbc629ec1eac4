//! What goes into the engine and what comes out of it. The shell carries these between threads and sockets; the
//! engine itself never touches either.

use std::net::{IpAddr, SocketAddr};

use wire::messages::ids::{BridgeId, ConferenceId, EndpointId};
use wire::messages::link::{Notice, Reply};
use wire::messages::media::Fingerprint;
use wire::srtp::{Profile, SessionKeys};

use super::cascade::PartMessage;

/// What one worker's engine is told once. Checked by the shell before a port is bound.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Our name in channel paths.
    pub bridge: BridgeId,
    /// Digest of the certificate every handshake shows.
    pub fingerprint: Fingerprint,
    /// Addresses of this worker's socket, most wanted first; never empty.
    pub candidates: Vec<SocketAddr>,
    /// Endpoints this worker holds at most; the next one is refused as `full`.
    pub endpoints_max: usize,
    /// 32 bytes of the system's randomness. Every password and SSRC of this worker comes from it, so it must be a
    /// secret and different for each worker; tests give a constant.
    pub seed: [u8; 32],
    /// This worker's part of conferences that several workers hold.
    pub part: PartId,
}

/// A worker among those of its bridge, and its part of any conference that they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartId(pub u16);

/// Where a datagram came from and which of our addresses it was sent to; the way back is the same path. With the one
/// port of a worker this is the 5-tuple. IPv4 is always written as IPv4, never mapped into IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The browser's side.
    pub remote: SocketAddr,
    /// Our side.
    pub local: IpAddr,
}

/// One endpoint's life on one worker. Never reused, so a late report about an endpoint that is gone finds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey(pub u64);

/// What the engine wants done, in the order it was decided. Datagrams to send are not here: they lie in the send ring.
#[derive(Debug)]
pub enum Output {
    /// Answers a command.
    Reply(Reply),
    /// Tells signaling what happened to an endpoint.
    Notice(Notice),
    /// For the thread that runs DTLS.
    Handshake(EndpointKey, HandshakeCommand),
    /// For the endpoint's channel.
    Channel(EndpointKey, ChannelCommand),
    /// A new endpoint: whoever shows this ticket may open its channel.
    ChannelOpenable(EndpointKey, ChannelTicket),
    /// The endpoint is gone: forget its ticket, its handshake and its channel.
    EndpointGone(EndpointKey),
    /// For another worker's engine, in this order.
    Part(PartId, Box<PartMessage>),
}

/// Engine → DTLS thread. Only endpoints whose 5-tuple ICE has authenticated ever get there.
#[derive(Debug)]
pub enum HandshakeCommand {
    /// A handshake may begin; the browser's certificate must match one of these.
    Start(Vec<Fingerprint>),
    /// A DTLS datagram of the browser.
    Datagram(Vec<u8>),
    /// The endpoint is gone.
    Stop,
}

/// DTLS thread → engine.
#[derive(Debug)]
pub enum HandshakeReport {
    /// Send this to the endpoint's address.
    Transmit(Vec<u8>),
    /// Media may flow under these keys.
    Connected {
        /// What was agreed.
        profile: Profile,
        /// Both directions.
        keys: SessionKeys,
    },
    /// The browser is not who its offer said, or nothing is common.
    Failed,
    /// The browser closed the association.
    Closed,
}

/// Engine → channel socket.
#[derive(Debug)]
pub enum ChannelCommand {
    /// One text frame.
    Send(String),
    /// Nothing more will come: close the socket.
    Close,
    /// The browser writes too much, although it was throttled: close the socket with code 4429.
    CloseOverRate,
}

/// Channel socket → engine.
#[derive(Debug)]
pub enum ChannelEvent {
    /// The browser opened its channel (again).
    Opened,
    /// One text frame, at most 64 KiB.
    Text(String),
    /// The socket is gone.
    Closed,
}

/// Who may open a channel: registered in the shell when the engine has made the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTicket {
    /// The conference in the path.
    pub conference: ConferenceId,
    /// The endpoint in the path.
    pub endpoint: EndpointId,
    /// The secret in the query: 24 characters of `[A-Za-z0-9]`, constant for the endpoint's life.
    pub password: String,
}

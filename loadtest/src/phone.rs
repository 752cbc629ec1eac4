//! A caller's media as signaling sees it: offer, answer, notes, hang up; the same for light and full callers.

use std::time::Instant;

use crate::crew::CrewPhone;
use crate::engine::ports::{BadAnswer, Note};
use crate::full::FullPhone;
use crate::scenario::TurnServer;

/// The media of one caller. It survives connections: each offer begins a new one and ends the one before.
pub enum Phone {
    /// Of a crew: real ICE, DTLS and SRTP, media that is shaped but not encoded.
    Light(CrewPhone),
    /// A PeerConnection of the `webrtc` crate on the same plan.
    Full(FullPhone),
}

/// Receive positions of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotCounts {
    /// Audio slots.
    pub audio: usize,
    /// Video slots.
    pub video: usize,
}

/// Why a connection did not come about. The texts name no address and no caller, so that equal failures count as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// The server's fault.
    #[error(transparent)]
    BadAnswer(#[from] BadAnswer),
    /// The answer names no address that this machine has a route to.
    #[error("no candidate of the answer can be reached from this machine: {0}")]
    Unreachable(String),
    /// The TURN server is not there, refuses, or is no TURN server.
    #[error("relay: {0}")]
    Relay(String),
    /// A path over a relay without a relay.
    #[error("relay: none is named, neither in the scenario (target.turn) nor by signaling")]
    NoRelay,
    /// The limit of open files, which sockets are.
    #[error("this process may not open more sockets: raise the limit of open files (ulimit -n)")]
    TooManySockets,
    /// This machine's fault.
    #[error("socket: {0}")]
    Socket(String),
    /// An answer without an offer, or a second one.
    #[error("there is no offer that waits for an answer")]
    NoOffer,
    /// The thread that owns the caller has ended.
    #[error("the crew has ended")]
    CrewEnded,
    /// What a full caller's library says.
    #[error("{0}")]
    Library(String),
}

impl Phone {
    /// A new connection with these slots and its offer, whole. The connection before is hung up. `turn` is what signaling
    /// has named; the scenario's own relay goes before it.
    pub async fn offer(&mut self, slots: SlotCounts, turn: Option<TurnServer>) -> Result<String, PhoneError> {
        match self {
            Self::Light(phone) => phone.offer(slots, turn).await,
            Self::Full(phone) => phone.offer(slots, turn).await,
        }
    }

    /// The server's answer; done once the way is open: at once if it is direct, when the relay has bound a channel if not.
    pub async fn answer(&mut self, sdp: &str) -> Result<(), PhoneError> {
        match self {
            Self::Light(phone) => phone.answer(sdp).await,
            Self::Full(phone) => phone.answer(sdp).await,
        }
    }

    /// What became true of the current connection, in order, and when; none when there is no connection (any more). Can
    /// be given up waiting for without losing a note.
    pub async fn note(&mut self) -> Option<(Instant, Note)> {
        match self {
            Self::Light(phone) => phone.note().await,
            Self::Full(phone) => phone.note().await,
        }
    }

    /// Ends the connection as a browser does that closes its page. Without one, nothing.
    pub async fn hang_up(&mut self) {
        match self {
            Self::Light(phone) => phone.hang_up().await,
            Self::Full(phone) => phone.hang_up().await,
        }
    }
}

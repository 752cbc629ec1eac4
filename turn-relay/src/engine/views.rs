//! What is told of an allocation: while it lives, and when it has ended.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::ports::{ClientPath, Transport};

/// Why an allocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndCause {
    /// It was not refreshed.
    Expired,
    /// The client asked for it.
    Released,
    /// The client's stream was closed.
    ClientGone,
    /// The relay socket failed.
    SocketLost,
    /// The operator took the user's credentials back.
    Revoked,
    /// The relay ended.
    Stopped,
}

impl EndCause {
    /// The stable label of logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Released => "released",
            Self::ClientGone => "client_gone",
            Self::SocketLost => "socket_lost",
            Self::Revoked => "revoked",
            Self::Stopped => "stopped",
        }
    }
}

/// Packets and bytes of payload in each direction, and what was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams handed to the shell for peers.
    pub to_peer_packets: u64,
    /// Their payload.
    pub to_peer_bytes: u64,
    /// Datagrams handed to the shell for the client.
    pub to_client_packets: u64,
    /// Their payload.
    pub to_client_bytes: u64,
    /// Datagrams of either side that stopped here.
    pub dropped: u64,
}

impl Traffic {
    /// Adds another's numbers.
    pub fn add(&mut self, other: &Self) {
        self.to_peer_packets += other.to_peer_packets;
        self.to_peer_bytes += other.to_peer_bytes;
        self.to_client_packets += other.to_client_packets;
        self.to_client_bytes += other.to_client_bytes;
        self.dropped += other.dropped;
    }
}

/// What is left of an allocation. Invariant of the shell: `user` is hashed before it is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationRecord {
    /// How the client came.
    pub transport: Transport,
    /// Whose it was: participant of the credential, or user name.
    pub user: Box<str>,
    /// How long it lived.
    pub lived: Duration,
    /// What it carried.
    pub traffic: Traffic,
    /// Why it ended.
    pub cause: EndCause,
}

/// An allocation as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationView {
    /// The client's side.
    pub path: ClientPath,
    /// Whose it is: participant of the credential, or user name.
    pub user: Box<str>,
    /// Relayed addresses: one, or one of each family.
    pub relayed: Vec<SocketAddr>,
    /// When it began.
    pub since: Instant,
    /// When it ends unless it is refreshed.
    pub expires_at: Instant,
    /// Peers that may send to it.
    pub permissions: Vec<IpAddr>,
    /// Channel numbers and their peers.
    pub channels: Vec<(u16, SocketAddr)>,
    /// What it has carried.
    pub traffic: Traffic,
}

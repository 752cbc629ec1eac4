//! What one shard has done and holds, as plain numbers. The shell adds shards up and knows the names they get.

use super::auth::AuthFailure;
use super::drop_reason::{Counters, DropCounters, labelled};
use super::policy::rules::Denial;
use super::ports::Transport;
use super::views::Traffic;

labelled! {
    /// Which limit a request met.
    QuotaKind {
        /// The relay is full.
        Allocations = "allocations",
        /// The user has as many allocations as one may have.
        UserAllocations = "user_allocations",
        /// The client's address has as many allocations as one may have.
        PrefixAllocations = "prefix_allocations",
        /// No port is free.
        Ports = "ports",
        /// The allocation has as many permissions as one may have.
        Permissions = "permissions",
        /// The allocation has as many channels as one may have.
        Channels = "channels",
        /// The allocation names new peers too fast.
        NewPeers = "new_peers",
    }
}

/// Counters since the start, and what is held now.
#[derive(Debug, Clone, Default)]
pub struct RelayStats {
    /// Allocations now, indexed by [`Transport`] as declared.
    pub allocations: [u64; Transport::ALL.len()],
    /// Permissions now.
    pub permissions: u64,
    /// Channels now, those that only wait until their number is free for another peer among them.
    pub channels: u64,
    /// Relay sockets now, those being opened among them.
    pub sockets: u64,
    /// Ports kept for the holders of reservation tokens.
    pub reservations: u64,
    /// Allocations ever made.
    pub allocations_created: u64,
    /// What was relayed since the start, and how much was dropped.
    pub traffic: Traffic,
    /// Everything that stopped, by reason.
    pub dropped: DropCounters,
    /// Requests that were not authenticated, by cause.
    pub auth_failures: Counters<AuthFailure, { AuthFailure::ALL.len() }>,
    /// Peers that the policy refused, by class.
    pub denied_peers: Counters<Denial, { Denial::ALL.len() }>,
    /// Requests that met a limit, by limit.
    pub quota_rejects: Counters<QuotaKind, { QuotaKind::ALL.len() }>,
    /// Permissions and channels that a new policy took back.
    pub revoked: u64,
    /// New allocations are refused.
    pub draining: bool,
}

impl RelayStats {
    /// Adds another shard's numbers.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.allocations.iter_mut().zip(&other.allocations) {
            *count += more;
        }
        self.permissions += other.permissions;
        self.channels += other.channels;
        self.sockets += other.sockets;
        self.reservations += other.reservations;
        self.allocations_created += other.allocations_created;
        self.traffic.add(&other.traffic);
        self.dropped.add(&other.dropped);
        self.auth_failures.add(&other.auth_failures);
        self.denied_peers.add(&other.denied_peers);
        self.quota_rejects.add(&other.quota_rejects);
        self.revoked += other.revoked;
        self.draining |= other.draining;
    }
}

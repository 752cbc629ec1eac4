//! `[turn-relay.limits]`: how much one user, one address, one allocation and the whole relay may have.

use serde::{Deserialize, Serialize};

use crate::engine::quota::Limits;
use crate::front::ports::FrontLimits;

/// `[turn-relay.limits]`: of each shard, unless it says otherwise. For rates, 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// Allocations, over all shards; each costs a socket, and a descriptor. Default 20000.
    pub allocations_max: usize,
    /// Allocations of one user. A browser makes one for each of its interfaces and for each transport. Default 12.
    pub allocations_per_user_max: u32,
    /// Allocations from one IPv4 address or IPv6 /64: a whole office can be behind it. Default 2000.
    pub allocations_per_prefix_max: u32,
    /// Permissions of one allocation. Default 64.
    pub permissions_max: usize,
    /// Channels of one allocation. Default 16.
    pub channels_max: usize,
    /// New peer addresses of one allocation a second. Default 5.
    pub new_peers_per_s: u32,
    /// Packets of one allocation a second, in each direction. Default 10000.
    pub packets_per_s: u32,
    /// Bits of one allocation a second, in each direction. Default 100000000.
    pub bits_per_s: u64,
    /// Bits of one user a second, all allocations and directions together. Default 200000000.
    pub user_bits_per_s: u64,
    /// Replies a second to requests without credentials over UDP, for each IPv4 address or IPv6 /64, over all shards: a
    /// victim whose address is forged does not care how many there are. Default 10.
    pub unauthenticated_replies_per_s: u32,
    /// The same over TCP and TLS, of each shard. Default 100.
    pub unauthenticated_stream_replies_per_s: u32,
    /// Replies a second to Binding requests, for each IPv4 address or IPv6 /64, over all shards. Default 50.
    pub binding_replies_per_s: u32,
    /// TCP connections, over all shards, web connections among them. Default 65536.
    pub connections_max: usize,
    /// TCP connections of one IPv4 address or IPv6 /64. Default 1024.
    pub connections_per_address_max: usize,
    /// TCP connections that have not yet shown what they are. Default 4096.
    pub half_open_max: usize,
    /// The same of one IPv4 address or IPv6 /64. Default 128.
    pub half_open_per_address_max: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        let (engine, front) = (Limits::default(), FrontLimits::default());
        Self {
            allocations_max: engine.allocations_max,
            allocations_per_user_max: engine.allocations_per_user_max,
            allocations_per_prefix_max: engine.allocations_per_prefix_max,
            permissions_max: engine.permissions_max,
            channels_max: engine.channels_max,
            new_peers_per_s: engine.new_peers_per_s,
            packets_per_s: engine.packets_per_s,
            bits_per_s: engine.bits_per_s,
            user_bits_per_s: engine.user_bits_per_s,
            unauthenticated_replies_per_s: engine.unauthenticated_replies_per_s,
            unauthenticated_stream_replies_per_s: engine.unauthenticated_stream_replies_per_s,
            binding_replies_per_s: engine.binding_replies_per_s,
            connections_max: front.connections_max,
            connections_per_address_max: front.connections_per_address_max,
            half_open_max: front.half_open_max,
            half_open_per_address_max: front.half_open_per_address_max,
        }
    }
}

impl LimitsSection {
    /// What one of `shards` engines enforces.
    pub(crate) fn of_shard(&self, shards: usize) -> Limits {
        // A forged source chooses its shard by its port, so each shard has its part. None stays none.
        let part = |rate: u32| rate.div_ceil(u32::try_from(shards.max(1)).unwrap_or(u32::MAX));
        Limits {
            allocations_max: self.allocations_max.div_ceil(shards.max(1)),
            allocations_per_user_max: self.allocations_per_user_max,
            allocations_per_prefix_max: self.allocations_per_prefix_max,
            permissions_max: self.permissions_max,
            channels_max: self.channels_max,
            new_peers_per_s: self.new_peers_per_s,
            packets_per_s: self.packets_per_s,
            bits_per_s: self.bits_per_s,
            user_bits_per_s: self.user_bits_per_s,
            unauthenticated_replies_per_s: part(self.unauthenticated_replies_per_s),
            unauthenticated_stream_replies_per_s: self.unauthenticated_stream_replies_per_s,
            binding_replies_per_s: part(self.binding_replies_per_s),
        }
    }

    /// What the front enforces.
    pub(crate) fn of_front(&self) -> FrontLimits {
        FrontLimits {
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            half_open_max: self.half_open_max,
            half_open_per_address_max: self.half_open_per_address_max,
            ..FrontLimits::default()
        }
    }
}

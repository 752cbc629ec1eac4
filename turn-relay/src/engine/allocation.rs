//! One client's allocation (RFC 8656, 5): its relayed addresses, who may use them, and what passed.

use std::net::SocketAddr;
use std::time::Instant;

use wire::stun::{ErrorCode, TransactionId};

use super::auth::Holder;
use super::auth::credentials::LongTermKey;
use super::channels::Channels;
use super::pace::{Pace, Ticks};
use super::permissions::Permissions;
use super::policy::rules::Scope;
use super::ports::{ClientPath, Family, RelaySocketKey};
use super::ports_pool::{Parity, RelayPort, Token};
use super::quota::{Rates, Share};
use super::views::{AllocationView, Traffic};

/// What was proven, and by whom.
#[derive(Debug)]
pub(crate) struct Owner {
    /// As the client wrote it: requests under any other name are not about this allocation.
    pub(crate) username: Box<str>,
    pub(crate) key: LongTermKey,
    pub(crate) epoch: u32,
    /// The only bridge its credential is for.
    pub(crate) bridge: Option<Box<str>>,
    pub(crate) share: Share,
}

/// An allocation, from the moment its sockets are being opened.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) path: ClientPath,
    pub(crate) owner: Owner,
    pub(crate) birth: Birth,
    pub(crate) since: Instant,
    /// Indexed by [`Family`] as declared.
    pub(crate) relays: [Option<Relayed>; 2],
    pub(crate) permissions: Permissions,
    pub(crate) channels: Channels,
    pub(crate) new_peers: Pace,
    pub(crate) traffic: Traffic,
    /// The timer that is set.
    pub(crate) wake_at: Option<Instant>,
    up: Flow,
    down: Flow,
}

/// What the reply to Allocate says, to be said again when the request is repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Birth {
    pub(crate) transaction: TransactionId,
    pub(crate) has_fingerprint: bool,
    pub(crate) lifetime_s: u32,
    pub(crate) token: Option<Token>,
    /// The family of a dual request that was not to be had, and why.
    pub(crate) missing: Option<(Family, ErrorCode)>,
    /// The reply has gone out.
    pub(crate) is_done: bool,
}

/// A relayed address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relayed {
    pub(crate) socket: RelaySocketKey,
    pub(crate) port: RelayPort,
    pub(crate) announced: SocketAddr,
    pub(crate) expires_at: Instant,
    /// While the socket is being opened: how often another port may still be tried, and which.
    pub(crate) opening: Option<(u8, Parity)>,
}

/// What passed in one direction.
#[derive(Debug, Default)]
struct Flow {
    packets: Pace,
    bytes: Pace,
}

impl Flow {
    fn pass(&mut self, now: Ticks, bytes: u64, rates: &Rates) -> bool {
        self.packets.take(now, 1, &rates.packets) && self.bytes.take(now, bytes, &rates.bytes)
    }
}

impl Allocation {
    pub(crate) fn new(now: Instant, path: ClientPath, owner: Owner, birth: Birth) -> Self {
        Self {
            path,
            owner,
            birth,
            since: now,
            relays: [None, None],
            permissions: Permissions::default(),
            channels: Channels::default(),
            new_peers: Pace::default(),
            traffic: Traffic::default(),
            wake_at: None,
            up: Flow::default(),
            down: Flow::default(),
        }
    }

    /// The relayed address of a family, once it is open and as long as it lasts.
    pub(crate) fn relay(&self, now: Instant, family: Family) -> Option<&Relayed> {
        self.relays[family as usize]
            .as_ref()
            .filter(|relay| relay.opening.is_none() && now < relay.expires_at)
    }

    /// Whether there is a relayed address of this family, for a request about it.
    pub(crate) fn has(&self, family: Family) -> bool {
        self.relays[family as usize].is_some()
    }

    pub(crate) fn relays(&self) -> impl Iterator<Item = &Relayed> {
        self.relays.iter().flatten()
    }

    /// Lets a datagram of the client's through.
    pub(crate) fn pass_up(&mut self, now: Ticks, bytes: u64, rates: &Rates) -> bool {
        self.up.pass(now, bytes, rates)
    }

    /// Lets a datagram of a peer's through.
    pub(crate) fn pass_down(&mut self, now: Ticks, bytes: u64, rates: &Rates) -> bool {
        self.down.pass(now, bytes, rates)
    }

    pub(crate) fn holder(&self) -> Holder<'_> {
        Holder { username: &self.owner.username, key: self.owner.key, epoch: self.owner.epoch }
    }

    /// Which peers its credential is for.
    pub(crate) fn scope(&self) -> Scope<'_> {
        self.owner.bridge.as_deref().map_or(Scope::Everywhere, Scope::Bridge)
    }

    /// When something of it ends next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let relays = self.relays().map(|relay| relay.expires_at);
        relays.chain(self.permissions.next_expiry()).chain(self.channels.next_expiry()).min()
    }

    pub(crate) fn view(&self, user: &str) -> AllocationView {
        AllocationView {
            path: self.path,
            user: user.into(),
            relayed: self.relays().map(|relay| relay.announced).collect(),
            since: self.since,
            expires_at: self.relays().map(|relay| relay.expires_at).max().unwrap_or(self.since),
            permissions: self.permissions.peers().collect(),
            channels: self.channels.iter().collect(),
            traffic: self.traffic,
        }
    }
}

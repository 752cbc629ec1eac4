//! One shard: finds the allocation of a datagram by its path or its socket, and sends it on its way.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use slab::Slab;
use wire::stun::{AttributeKind, Builder, ChannelData, Class, HEADER_BYTES, Method, TransactionId};

use super::allocation::Allocation;
use super::auth::Gate;
use super::auth::budget::Budget;
use super::auth::nonce::NonceMint;
use super::drop_reason::DropReason;
use super::lifecycle::{Reservation, Socket};
use super::pace::Ticks;
use super::policy::rules::PeerPolicy;
use super::ports::{
    ChannelNumbers, ClientPath, Drain, EngineSettings, Family, Handled, IndicationHead, Output,
    RelaySocketKey, ToClient,
};
use super::ports_pool::{PortsPool, Token};
use super::quota::{Limits, Quota, Rates};
use super::stats::RelayStats;
use super::timers::Timers;

/// A TURN server for the clients of one shard.
#[derive(Debug)]
pub struct Relay {
    pub(super) start: Instant,
    pub(super) fixed: Fixed,
    pub(super) limits: Limits,
    pub(super) rates: Rates,
    pub(super) drain: Drain,
    pub(super) policy: Arc<PeerPolicy>,
    pub(super) gate: Gate,
    pub(super) budgets: Budgets,
    pub(super) quota: Quota,
    pub(super) pool: PortsPool,
    /// Indexed by the client's 5-tuple.
    pub(super) by_path: HashMap<ClientPath, usize>,
    pub(super) allocations: Slab<Allocation>,
    /// Indexed by the lower half of a socket's key.
    pub(super) sockets: Slab<Socket>,
    /// The upper half of the next socket's key.
    pub(super) generation: u32,
    /// Ports kept for the holder of a token.
    pub(super) reservations: HashMap<Token, Reservation>,
    pub(super) timers: Timers,
    pub(super) outputs: VecDeque<Output>,
    /// Counters; what is held now is counted when it is asked for.
    pub(super) counters: RelayStats,
    pub(super) random: StdRng,
}

/// What stays as it was set.
#[derive(Debug)]
pub(super) struct Fixed {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) lifetime_max: Duration,
    pub(super) channel_numbers: ChannelNumbers,
    pub(super) binding: bool,
    pub(super) dont_fragment: bool,
}

/// How often strangers are answered.
#[derive(Debug)]
pub(super) struct Budgets {
    pub(super) datagrams: Budget,
    pub(super) streams: Budget,
    pub(super) bindings: Budget,
}

impl Budgets {
    pub(super) fn new(now: Instant, limits: &Limits, random: &mut StdRng) -> Self {
        let mut budget = |replies_per_s| Budget::new(now, replies_per_s, random.next_u64());
        Self {
            datagrams: budget(limits.unauthenticated_replies_per_s),
            streams: budget(limits.unauthenticated_stream_replies_per_s),
            bindings: budget(limits.binding_replies_per_s),
        }
    }
}

/// A datagram of a client's that has found its peer.
#[derive(Debug)]
pub(super) struct Outbound<'d> {
    pub(super) place: usize,
    pub(super) peer: SocketAddr,
    pub(super) payload: &'d [u8],
    pub(super) dont_fragment: bool,
}

impl Relay {
    /// A relay without allocations.
    pub fn new(settings: EngineSettings, now: Instant) -> Self {
        let mut random = StdRng::from_seed(settings.seed);
        let nonces = NonceMint::new(now, settings.nonce_lifetime, &mut random);
        Self {
            start: now,
            rates: Rates::new(&settings.limits),
            budgets: Budgets::new(now, &settings.limits, &mut random),
            limits: settings.limits,
            drain: Drain::Off,
            policy: settings.policy,
            gate: Gate::new(settings.realm, nonces, settings.credentials, settings.expiry),
            quota: Quota::default(),
            pool: PortsPool::new(&settings.relays, &settings.ports),
            by_path: HashMap::default(),
            allocations: Slab::new(),
            sockets: Slab::new(),
            generation: 0,
            reservations: HashMap::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            counters: RelayStats::default(),
            random,
            fixed: Fixed {
                listen: settings.listen,
                lifetime_max: settings.lifetime_max,
                channel_numbers: settings.channel_numbers,
                binding: settings.binding,
                dont_fragment: settings.dont_fragment,
            },
        }
    }

    /// Takes one whole message of a client. `unix_s` is only compared with the expiry of credentials.
    pub fn handle_client<'d>(
        &mut self,
        now: Instant,
        unix_s: u64,
        path: &ClientPath,
        datagram: &'d [u8],
    ) -> Handled<'d> {
        match datagram.first() {
            Some(0x40..=0x7f) => self.handle_channel_data(now, path, datagram),
            Some(0..=3) => self.handle_stun(now, unix_s, path, datagram),
            _ => self.drop(DropReason::NotClassified),
        }
    }

    /// RFC 8656, 12.6. A channel needs no permission on the way to its peer: binding it installed one, and the policy
    /// takes back both.
    fn handle_channel_data<'d>(
        &mut self,
        now: Instant,
        path: &ClientPath,
        datagram: &'d [u8],
    ) -> Handled<'d> {
        let Some((number, payload)) = parse_channel_data(datagram) else {
            return self.drop(DropReason::ChannelMalformed);
        };
        let Some(place) = self.by_path.get(path).copied() else {
            return self.drop(DropReason::NoAllocation);
        };
        let Some(peer) = self.allocations[place].channels.peer(now, number) else {
            return self.drop_of(place, DropReason::ChannelUnbound);
        };
        self.pass_to_peer(now, &Outbound { place, peer, payload, dont_fragment: false })
    }

    /// The last steps to a peer: a relayed address of its family, the rates, the peer's real address.
    pub(super) fn pass_to_peer<'d>(&mut self, now: Instant, outbound: &Outbound<'d>) -> Handled<'d> {
        let Outbound { place, peer, payload, dont_fragment } = *outbound;
        let (ticks, bytes) = (Ticks::between(self.start, now), payload.len() as u64);
        let allocation = &mut self.allocations[place];
        let Some(socket) = allocation.relay(now, Family::of(peer.ip())).map(|relay| relay.socket) else {
            return self.drop_of(place, DropReason::NoAllocation);
        };
        if !allocation.pass_up(ticks, bytes, &self.rates) {
            return self.drop_of(place, DropReason::OverRate);
        }
        if !self.quota.pass(allocation.owner.share.user, ticks, bytes) {
            return self.drop_of(place, DropReason::UserOverRate);
        }
        for traffic in [&mut allocation.traffic, &mut self.counters.traffic] {
            traffic.to_peer_packets += 1;
            traffic.to_peer_bytes += bytes;
        }
        let peer = self.policy.peer_map().to_real(peer);
        Handled::ToPeer { socket, peer, payload, dont_fragment }
    }

    /// Takes note of a peer's datagram of `payload_len` bytes and says how it reaches the client (RFC 8656, 11.3, 12.7).
    pub fn handle_peer(
        &mut self,
        now: Instant,
        socket: RelaySocketKey,
        peer: SocketAddr,
        payload_len: usize,
    ) -> ToClient {
        let Some(place) = self.allocation_of(socket) else {
            return self.drop_from_peer(None, DropReason::UnknownSocket);
        };
        // A scope or a flow label is no part of a peer's address.
        let peer = self.policy.peer_map().to_announced(SocketAddr::new(peer.ip(), peer.port()));
        let (ticks, bytes) = (Ticks::between(self.start, now), payload_len as u64);
        let allocation = &mut self.allocations[place];
        if allocation.relay(now, Family::of(peer.ip())).is_none() {
            return self.drop_from_peer(Some(place), DropReason::UnknownSocket);
        }
        // 11.3: without a permission, silence.
        if !allocation.permissions.allows(now, peer.ip()) {
            return self.drop_from_peer(Some(place), DropReason::PeerWithoutPermission);
        }
        if payload_len > PAYLOAD_BYTES_MAX {
            return self.drop_from_peer(Some(place), DropReason::TooLarge);
        }
        if !allocation.pass_down(ticks, bytes, &self.rates) {
            return self.drop_from_peer(Some(place), DropReason::OverRate);
        }
        if !self.quota.pass(allocation.owner.share.user, ticks, bytes) {
            return self.drop_from_peer(Some(place), DropReason::UserOverRate);
        }
        for traffic in [&mut allocation.traffic, &mut self.counters.traffic] {
            traffic.to_client_packets += 1;
            traffic.to_client_bytes += bytes;
        }
        let path = allocation.path;
        match allocation.channels.number(now, peer) {
            Some(number) => {
                ToClient::Channel { path, header: ChannelData::header(number, payload_len as u16) }
            }
            None => ToClient::Indication { path, head: self.indication_head(peer, payload_len) },
        }
    }

    /// A Data indication up to its payload.
    fn indication_head(&mut self, peer: SocketAddr, payload_len: usize) -> IndicationHead {
        let mut transaction = [0; 12];
        self.random.fill_bytes(&mut transaction);
        let mut head = Builder::new(Class::Indication, Method::DATA, TransactionId(transaction))
            .xor_address(AttributeKind::XOR_PEER_ADDRESS, peer)
            .attribute(AttributeKind::DATA, &[])
            .finish();
        let end = head.len();
        let length = end - HEADER_BYTES + payload_len.next_multiple_of(4);
        head[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        head[end - 2..].copy_from_slice(&(payload_len as u16).to_be_bytes());
        IndicationHead::new(&head)
    }

    /// Does what is due. Call it at `next_timeout`; calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            self.wake(now, timer);
        }
    }

    /// The next instant at which something is due. A peek.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Counts a client's datagram that stops before an allocation is found.
    pub(super) fn drop(&mut self, reason: DropReason) -> Handled<'static> {
        self.counters.dropped.count(reason);
        Handled::Nothing
    }

    /// Counts a client's datagram that stops at its allocation.
    pub(super) fn drop_of(&mut self, place: usize, reason: DropReason) -> Handled<'static> {
        self.allocations[place].traffic.dropped += 1;
        self.counters.traffic.dropped += 1;
        self.drop(reason)
    }

    fn drop_from_peer(&mut self, place: Option<usize>, reason: DropReason) -> ToClient {
        if let Some(place) = place {
            self.drop_of(place, reason);
        } else {
            self.drop(reason);
        }
        ToClient::Drop
    }
}

/// Channel number and payload. Padding behind the payload is allowed, and so, by the RFC's silence (12.4), is anything
/// else there. [`ChannelData::parse`] knows the numbers of RFC 8656 only; here those of its predecessor pass as well, and
/// what is bound was checked when it was.
fn parse_channel_data(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let [number_high, number_low, length_high, length_low, rest @ ..] = datagram else { return None };
    let payload = rest.get(..usize::from(u16::from_be_bytes([*length_high, *length_low])))?;
    Some((u16::from_be_bytes([*number_high, *number_low]), payload))
}

/// What fits a UDP datagram over IPv4 in front of which the longest head of ours still fits a STUN message.
const PAYLOAD_BYTES_MAX: usize = 65_507 - IndicationHead::BYTES_MAX;

const _: () = assert!(
    IndicationHead::BYTES_MAX + PAYLOAD_BYTES_MAX.next_multiple_of(4) <= u16::MAX as usize,
    "the length field of an indication holds every payload"
);

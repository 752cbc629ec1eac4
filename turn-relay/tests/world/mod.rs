//! A relay, its shell and its clients, without sockets, under a clock that only the tests move.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic; the benchmark that shares this is one, too"
)]

pub(crate) mod client;
pub(crate) mod codec;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use turn_relay::engine::auth::credentials::Credentials;
use turn_relay::engine::drop_reason::DropReason;
use turn_relay::engine::policy::rules::PeerPolicy;
use turn_relay::engine::policy::settings::PolicySettings;
use turn_relay::engine::ports::{
    ChannelNumbers, ClientPath, EngineSettings, ExpiryCheck, Handled, OpenFailure, Output, RelayAddress,
    RelaySocketKey, ToClient,
};
use turn_relay::engine::quota::Limits;
use turn_relay::engine::relay::Relay;
use turn_relay::engine::views::AllocationRecord;
use wire::settings::Secret;

use client::Client;
use codec::*;

pub(crate) const DOMAIN: &str = "passerelle";
pub(crate) const SECRET: &str = "a shared secret of more than 32 bytes";
/// Wall-clock seconds when a world begins.
pub(crate) const UNIX_S: u64 = 1_800_000_000;

/// What a world is made of.
pub(crate) struct Setup {
    pub(crate) engine: EngineSettings,
    pub(crate) policy: PolicySettings,
}

/// A datagram that reached a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
    pub(crate) dont_fragment: bool,
}

/// What a client received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Channel(u16, Vec<u8>),
    Data(SocketAddr, Vec<u8>),
}

pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    /// Replies that nobody has read yet.
    pub(crate) replies: VecDeque<(ClientPath, Vec<u8>)>,
    pub(crate) ended: Vec<AllocationRecord>,
    pub(crate) disconnected: Vec<ClientPath>,
    /// Open sockets and what they are bound to.
    pub(crate) sockets: HashMap<RelaySocketKey, SocketAddr>,
    /// Sockets that are asked for and not opened, while `opens` is false.
    pub(crate) asked: Vec<(RelaySocketKey, SocketAddr)>,
    pub(crate) opens: bool,
    /// Ports that another program holds.
    pub(crate) in_use: HashSet<u16>,
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn credentials(secrets: &[&str]) -> Arc<Credentials> {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::from((*secret).to_owned())).collect();
    Arc::new(Credentials::new(&secrets, [("ada".to_owned(), Secret::from("lovelace".to_owned()))]))
}

pub(crate) fn policy(settings: PolicySettings) -> Arc<PeerPolicy> {
    Arc::new(PeerPolicy::new(settings).unwrap())
}

/// Peers of 203.0.113.0/24 and 2001:db8:1::/48 are on the list, and nobody else.
fn listed() -> PolicySettings {
    PolicySettings {
        allow: ["203.0.113.0/24", "2001:db8:1::/48"].iter().map(|line| line.parse().unwrap()).collect(),
        own_addresses: ["192.0.2.1", "2001:db8:ffff::1"].iter().map(|ip| ip.parse().unwrap()).collect(),
        own_listeners: vec![addr("0.0.0.0:3478"), addr("[::]:3478")],
        ..PolicySettings::default()
    }
}

impl Setup {
    fn new() -> Self {
        let relay = |ip: &str| RelayAddress { bind: ip.parse().unwrap(), announced: ip.parse().unwrap() };
        let engine = EngineSettings {
            realm: DOMAIN.to_owned(),
            relays: vec![relay("192.0.2.1"), relay("2001:db8:ffff::1")],
            ports: 50_000..=50_999,
            listen: vec![addr("192.0.2.1:3478")],
            credentials: credentials(&[SECRET]),
            policy: policy(PolicySettings::default()),
            limits: Limits::default(),
            lifetime_max: secs(3_600),
            nonce_lifetime: secs(600),
            expiry: ExpiryCheck::AllocateOnly,
            channel_numbers: ChannelNumbers::Deployed,
            binding: true,
            dont_fragment: true,
            seed: [42; 32],
        };
        Self { engine, policy: listed() }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::new();
        change(&mut setup);
        setup.engine.policy = policy(setup.policy);
        let start = Instant::now();
        Self {
            relay: Relay::new(setup.engine, start),
            start,
            now: start,
            replies: VecDeque::new(),
            ended: Vec::new(),
            disconnected: Vec::new(),
            sockets: HashMap::new(),
            asked: Vec::new(),
            opens: true,
            in_use: HashSet::new(),
        }
    }

    pub(crate) fn unix_s(&self) -> u64 {
        UNIX_S + (self.now - self.start).as_secs()
    }

    /// Moves the clock, waking the relay whenever it wants to be woken.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.relay.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.relay.handle_timeout(self.now);
            self.carry_out();
        }
        self.now = end;
    }

    /// Does what the relay wants done.
    pub(crate) fn carry_out(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Reply { path, bytes } => self.replies.push_back((path, bytes)),
                Output::OpenSocket { key, local, .. } if self.opens => self.open(key, local),
                Output::OpenSocket { key, local, .. } => self.asked.push((key, local)),
                Output::CloseSocket { key } => {
                    self.sockets.remove(&key);
                    self.asked.retain(|(asked, _)| *asked != key);
                }
                Output::Disconnect { path } => self.disconnected.push(path),
                Output::AllocationEnded(record) => self.ended.push(record),
            }
        }
    }

    fn open(&mut self, key: RelaySocketKey, local: SocketAddr) {
        let is_taken =
            self.in_use.contains(&local.port()) || self.sockets.values().any(|open| *open == local);
        let outcome = if is_taken { Err(OpenFailure::PortInUse) } else { Ok(()) };
        if outcome.is_ok() {
            self.sockets.insert(key, local);
        }
        self.relay.handle_socket_opened(self.now, key, outcome);
    }

    /// Gives the relay a client's message; what reached a peer comes back.
    pub(crate) fn deliver(&mut self, client: &Client, bytes: &[u8]) -> Option<Arrived> {
        let unix_s = self.unix_s();
        let arrived = match self.relay.handle_client(self.now, unix_s, &client.path, bytes) {
            Handled::Nothing => None,
            Handled::ToPeer { socket, peer, payload, dont_fragment } => {
                let from = self.sockets[&socket];
                Some(Arrived { from, to: peer, payload: payload.to_vec(), dont_fragment })
            }
        };
        self.carry_out();
        arrived
    }

    /// Sends a message and reads the reply, if there is one.
    pub(crate) fn ask(&mut self, client: &Client, bytes: &[u8]) -> Option<Stun> {
        assert_eq!(self.deliver(client, bytes), None, "a request is no datagram");
        let (path, reply) = self.replies.pop_front()?;
        assert_eq!(path, client.path, "a reply goes where its request came from");
        assert!(self.replies.is_empty(), "one request, one reply");
        Some(Stun::decode(&reply))
    }

    /// Sends a signed request, with another nonce if the relay wants one, and checks the reply's signature.
    pub(crate) fn request(&mut self, client: &mut Client, request: &Stun) -> Stun {
        for _ in 0..2 {
            let bytes = client.sign(request.clone());
            let reply = self.ask(client, &bytes).expect("an answer");
            assert_eq!(reply.transaction, request.transaction);
            if matches!(reply.code(), 401 | 438) && client.nonce != reply.attribute(NONCE).unwrap_or_default()
            {
                client.nonce = reply.attribute(NONCE).unwrap().to_vec();
                continue;
            }
            if !matches!(reply.code(), 401 | 438) {
                assert!(reply.is_signed_by(&client.key()), "an answer to an authenticated request is signed");
            }
            return reply;
        }
        panic!("the relay is never content with a nonce");
    }

    /// Asks for a nonce, as each client's first request does.
    pub(crate) fn challenge(&mut self, client: &mut Client) {
        let request = client.allocate().encode();
        let reply = self.ask(client, &request).expect("a challenge");
        assert_eq!(reply.code(), 401);
        client.nonce = reply.attribute(NONCE).unwrap().to_vec();
    }

    /// Allocates and tells the relayed address.
    pub(crate) fn allocate(&mut self, client: &mut Client) -> SocketAddr {
        let request = client.allocate();
        let reply = self.request(client, &request);
        assert_eq!((reply.kind, reply.code()), (ALLOCATE | SUCCESS, 0));
        reply.addresses(XOR_RELAYED_ADDRESS)[0]
    }

    /// A client with an allocation.
    pub(crate) fn allocated(&mut self, number: u16) -> (Client, SocketAddr) {
        let mut client = Client::new(number);
        let relayed = self.allocate(&mut client);
        (client, relayed)
    }

    /// A client with an allocation of the family that is named.
    pub(crate) fn allocated_family(&mut self, number: u16, family: u8) -> (Client, SocketAddr) {
        let mut client = Client::new(number);
        let request = client.allocate().with(REQUESTED_ADDRESS_FAMILY, [family, 0, 0, 0]);
        let reply = self.request(&mut client, &request);
        assert_eq!(reply.code(), 0);
        let relayed = reply.addresses(XOR_RELAYED_ADDRESS)[0];
        (client, relayed)
    }

    /// The code of the answer to a CreatePermission; 0 is success.
    pub(crate) fn permit(&mut self, client: &mut Client, peers: &[&str]) -> u16 {
        let peers: Vec<SocketAddr> = peers.iter().map(|peer| addr(peer)).collect();
        let request = client.create_permission(&peers);
        self.request(client, &request).code()
    }

    /// The code of the answer to a ChannelBind; 0 is success.
    pub(crate) fn bind(&mut self, client: &mut Client, number: u16, peer: &str) -> u16 {
        let request = client.channel_bind(number, addr(peer));
        self.request(client, &request).code()
    }

    pub(crate) fn refresh(&mut self, client: &mut Client, lifetime_s: u32) -> Stun {
        let request = client.refresh(lifetime_s);
        self.request(client, &request)
    }

    pub(crate) fn send(&mut self, client: &mut Client, peer: &str, payload: &[u8]) -> Option<Arrived> {
        let bytes = client.send(addr(peer), payload).encode();
        self.deliver(client, &bytes)
    }

    /// A peer sends to a relayed address; what the client received comes back.
    pub(crate) fn peer_sends(
        &mut self,
        peer: &str,
        relayed: SocketAddr,
        payload: &[u8],
    ) -> Option<(ClientPath, Received)> {
        let key = *self.sockets.iter().find(|(_, local)| **local == relayed)?.0;
        match self.relay.handle_peer(self.now, key, addr(peer), payload.len()) {
            ToClient::Drop => None,
            ToClient::Channel { path, header } => {
                let length = u16::from_be_bytes([header[2], header[3]]);
                assert_eq!(usize::from(length), payload.len());
                Some((path, Received::Channel(u16::from_be_bytes([header[0], header[1]]), payload.to_vec())))
            }
            ToClient::Indication { path, head } => {
                let mut bytes = head.as_bytes().to_vec();
                bytes.extend(payload);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                let indication = Stun::decode(&bytes);
                assert_eq!(indication.kind, DATA_INDICATION);
                let from = indication.addresses(XOR_PEER_ADDRESS)[0];
                Some((path, Received::Data(from, indication.attribute(DATA).unwrap().to_vec())))
            }
        }
    }

    /// How many datagrams stopped for a reason.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.relay.stats().dropped.of(reason)
    }
}

//! The relay beside another TURN server, `turn-server-proto`: the same client does the same things to both, at random, and
//! must see the same.
//!
//! Where they differ on purpose the scenario keeps out of the way: the other server has no peer policy, obeys the part
//! of a CreatePermission that comes before a peer that it refuses, lets a number be bound to two peers, wants a
//! permission for channel data on the way to its peer, remembers a nonce for every stranger, and lets things live until
//! just after their end.

#![allow(clippy::unwrap_used, clippy::panic)]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use turn_server_proto::api::{TurnServerApi, TurnServerPollRet};
use turn_server_proto::server::TurnServer;
use turn_server_proto::stun::agent::Transmit;
use turn_server_proto::types::{Instant, TransportType};

use world::client::Client;
use world::codec::*;
use world::{DOMAIN, Received, World, addr};

/// What a client or a peer sees of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// Class, code, lifetime, how many relayed addresses.
    Reply(bool, u16, Option<u32>, usize),
    ToPeer(SocketAddr, Vec<u8>),
    Channel(u16, Vec<u8>),
    Data(SocketAddr, Vec<u8>),
}

/// The other server with a shell around it.
struct Other {
    server: TurnServer,
    now: Instant,
    client: Client,
    relayed: Option<SocketAddr>,
    next_port: u16,
}

impl Other {
    fn new(client: Client) -> Self {
        let mut server = TurnServer::new(TransportType::Udp, client.path.local, DOMAIN.to_owned());
        server.add_user("ada".to_owned(), "lovelace".to_owned());
        Self { server, now: Instant::ZERO + Duration::from_secs(1), client, relayed: None, next_port: 50_000 }
    }

    /// Gives the server a datagram; what it sends, and to whom.
    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let transmit = Transmit::new(bytes.to_vec(), TransportType::Udp, from, to);
        let direct = self.server.recv(transmit, self.now).map(|transmit| transmit.build());
        let direct = direct.map(|transmit| (transmit.to, transmit.data));
        while let TurnServerPollRet::AllocateSocket { transport, listen_addr, client_addr, family, .. } =
            self.server.poll(self.now)
        {
            self.next_port += 1;
            let relayed = SocketAddr::new("192.0.2.1".parse().unwrap(), self.next_port);
            self.relayed = Some(relayed);
            let (udp, now) = (TransportType::Udp, self.now);
            self.server.allocated_socket(transport, listen_addr, client_addr, udp, family, Ok(relayed), now);
        }
        let queued = self.server.poll_transmit(self.now).map(|transmit| (transmit.to, transmit.data));
        direct.or(queued)
    }

    /// Lets time pass. The server ends one thing at each call that it is woken with.
    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        while !matches!(self.server.poll(self.now), TurnServerPollRet::WaitUntil(at) if at > self.now) {}
    }

    fn request(&mut self, request: &Stun) -> Stun {
        for _ in 0..2 {
            let bytes = self.client.sign(request.clone());
            let path = self.client.path;
            let (_, reply) = self.deliver(path.client, path.local, &bytes).expect("an answer");
            let reply = Stun::decode(&reply);
            if matches!(reply.code(), 401 | 438) {
                self.client.nonce = reply.attribute(NONCE).unwrap().to_vec();
                continue;
            }
            return reply;
        }
        panic!("the other server is never content with a nonce");
    }
}

/// One step of a scenario.
#[derive(Debug, Clone)]
enum Step {
    Allocate(Option<u32>),
    Refresh(u32),
    Permit(Vec<usize>),
    Bind(usize),
    BindWrongly(u16),
    Send(usize, Vec<u8>),
    ChannelData(usize, Vec<u8>),
    FromPeer(usize, Vec<u8>),
    Wait(u64),
}

/// Two ports of one address, another address, and one of the other family.
const PEERS: [&str; 4] = ["203.0.113.1:2000", "203.0.113.1:3000", "203.0.113.2:2000", "[2001:db8:1::1]:2000"];

fn draw(random: &mut StdRng) -> Step {
    let peer = random.random_range(0..PEERS.len());
    let payload: Vec<u8> = (0..random.random_range(0..40)).map(|_| random.random()).collect();
    match random.random_range(0..20) {
        0 => Step::Allocate([None, Some(0), Some(700), Some(9_999)][random.random_range(0..4)]),
        1 => Step::Refresh([0, 1, 600, 1_800, 9_999][random.random_range(0..5)]),
        2 => Step::Permit((0..3).filter(|_| random.random_bool(0.4)).collect()),
        3 => Step::Permit(vec![peer]),
        4 | 5 => Step::Bind(peer),
        6 => Step::BindWrongly(random.random_range(0..0x4000)),
        7..=9 => Step::Send(peer, payload),
        10..=12 => Step::ChannelData(peer, payload),
        13..=16 => Step::FromPeer(peer, payload),
        _ => Step::Wait(random.random_range(1..200_000)),
    }
}

fn seen_reply(reply: &Stun) -> Seen {
    let lifetime = reply.attribute(LIFETIME).map(|_| reply.lifetime());
    Seen::Reply(reply.kind & ERROR == SUCCESS, reply.code(), lifetime, reply.all(XOR_RELAYED_ADDRESS).len())
}

fn number(peer: usize) -> u16 {
    0x4000 + peer as u16
}

/// Both servers and the client that each of them sees.
struct Both {
    ours: World,
    our_client: Client,
    our_relayed: Option<SocketAddr>,
    other: Other,
}

impl Both {
    fn new() -> Self {
        let client = Client::new(1);
        let client = Client { username: "ada".to_owned(), password: "lovelace".to_owned(), ..client };
        let ours = World::with(|setup| setup.engine.limits.new_peers_per_s = 0);
        Self { ours, our_client: client.clone(), our_relayed: None, other: Other::new(client) }
    }

    fn request(&mut self, request: &Stun) -> (Seen, Seen) {
        let ours = self.ours.request(&mut self.our_client, request);
        if let Some(relayed) = ours.addresses(XOR_RELAYED_ADDRESS).first() {
            self.our_relayed = Some(*relayed);
        }
        let other = self.other.request(request);
        if let Some(relayed) = other.addresses(XOR_RELAYED_ADDRESS).first() {
            self.other.relayed = Some(*relayed);
        }
        (seen_reply(&ours), seen_reply(&other))
    }

    fn client_sends(&mut self, bytes: &[u8]) -> (Seen, Seen) {
        let ours = self.ours.deliver(&self.our_client, bytes);
        let ours = ours.map_or(Seen::Nothing, |arrived| Seen::ToPeer(arrived.to, arrived.payload));
        let path = self.our_client.path;
        let other = self.other.deliver(path.client, path.local, bytes);
        (ours, other.map_or(Seen::Nothing, |(to, payload)| Seen::ToPeer(to, payload)))
    }

    fn peer_sends(&mut self, peer: usize, payload: &[u8]) -> (Seen, Seen) {
        let (Some(our_relayed), Some(other_relayed)) = (self.our_relayed, self.other.relayed) else {
            return (Seen::Nothing, Seen::Nothing);
        };
        let ours = match self.ours.peer_sends(PEERS[peer], our_relayed, payload) {
            None => Seen::Nothing,
            Some((_, Received::Channel(number, payload))) => Seen::Channel(number, payload),
            Some((_, Received::Data(from, payload))) => Seen::Data(from, payload),
        };
        let other = match self.other.deliver(addr(PEERS[peer]), other_relayed, payload) {
            None => Seen::Nothing,
            Some((_, bytes)) if bytes[0] < 4 => {
                let indication = Stun::decode(&bytes);
                let from = indication.addresses(XOR_PEER_ADDRESS)[0];
                Seen::Data(from, indication.attribute(DATA).unwrap().to_vec())
            }
            Some((_, bytes)) => {
                let number = u16::from_be_bytes([bytes[0], bytes[1]]);
                Seen::Channel(number, bytes[4..].to_vec())
            }
        };
        (ours, other)
    }

    fn permits(&self, peer: usize) -> bool {
        let views = self.ours.relay.allocations();
        views.iter().any(|view| view.permissions.contains(&addr(PEERS[peer]).ip()))
    }

    fn take(&mut self, step: &Step) -> (Seen, Seen) {
        let client = &mut self.our_client;
        match step {
            Step::Allocate(lifetime) => {
                let mut request = client.allocate();
                if let Some(lifetime) = lifetime {
                    request = request.with(LIFETIME, lifetime.to_be_bytes());
                }
                self.request(&request)
            }
            Step::Refresh(lifetime) => {
                let request = client.refresh(*lifetime);
                self.request(&request)
            }
            Step::Permit(peers) => {
                let peers: Vec<SocketAddr> = peers.iter().map(|peer| addr(PEERS[*peer])).collect();
                let request = client.create_permission(&peers);
                self.request(&request)
            }
            Step::Bind(peer) => {
                let request = client.channel_bind(number(*peer), addr(PEERS[*peer]));
                self.request(&request)
            }
            Step::BindWrongly(number) => {
                let request = client.channel_bind(*number, addr(PEERS[0]));
                self.request(&request)
            }
            Step::Send(peer, payload) => {
                let bytes = client.send(addr(PEERS[*peer]), payload).encode();
                self.client_sends(&bytes)
            }
            Step::ChannelData(peer, _) if !self.permits(*peer) => (Seen::Nothing, Seen::Nothing),
            Step::ChannelData(peer, payload) => self.client_sends(&channel_data(number(*peer), payload)),
            Step::FromPeer(peer, payload) => self.peer_sends(*peer, payload),
            Step::Wait(ms) => {
                self.ours.run(Duration::from_millis(*ms));
                self.other.wait(Duration::from_millis(*ms));
                (Seen::Nothing, Seen::Nothing)
            }
        }
    }
}

#[test]
fn a_client_sees_the_same_of_two_turn_servers() {
    let (mut steps, mut eventful) = (0, 0);
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut both = Both::new();
        let mut taken = vec![Step::Allocate(None)];
        taken.extend((0..200).map(|_| draw(&mut random)));
        for (place, step) in taken.iter().enumerate() {
            let (ours, other) = both.take(step);
            assert_eq!(
                ours,
                other,
                "ours and the other's, seed {seed}, step {place}: {step:?}\n{:?}",
                &taken[..place]
            );
            steps += 1;
            eventful += u32::from(!matches!(ours, Seen::Nothing | Seen::Reply(false, ..)));
        }
    }
    assert!(eventful > steps / 5, "{eventful} of {steps} steps led to something");
}

//! Clients with right credentials and no sense: random requests, rightly signed, among random bytes and random failures of
//! the host. Nothing may panic, and nothing may be left when they are gone.

use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{Rng, RngCore, SeedableRng};
use turn_relay::engine::ports::{OpenFailure, Transport};

use crate::world::client::Client;
use crate::world::codec::*;
use crate::world::{World, addr};

const KINDS: [u16; 18] = [
    USERNAME,
    REALM,
    NONCE,
    CHANNEL_NUMBER,
    LIFETIME,
    XOR_PEER_ADDRESS,
    DATA,
    REQUESTED_ADDRESS_FAMILY,
    EVEN_PORT,
    REQUESTED_TRANSPORT,
    DONT_FRAGMENT,
    RESERVATION_TOKEN,
    ADDITIONAL_ADDRESS_FAMILY,
    MESSAGE_INTEGRITY,
    FINGERPRINT,
    ERROR_CODE,
    0x7f01,
    0xff01,
];
const METHODS: [u16; 6] = [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND, SEND_INDICATION, BINDING];
const PEERS: [&str; 5] =
    ["203.0.113.1:2000", "203.0.113.2:80", "10.0.0.1:9", "[2001:db8:1::1]:2000", "[::ffff:127.0.0.1]:2000"];

/// A value that is often as it should be.
fn value(random: &mut StdRng, kind: u16, transaction: [u8; 12]) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..24)];
    random.fill_bytes(&mut bytes);
    if random.random_bool(0.2) {
        return bytes;
    }
    match kind {
        XOR_PEER_ADDRESS => mask(addr(PEERS.choose(random).unwrap()), transaction),
        CHANNEL_NUMBER => vec![0x40, random.random_range(0..4), 0, 0],
        LIFETIME => [0u32, 1, 600, 4_000_000_000].choose(random).unwrap().to_be_bytes().to_vec(),
        REQUESTED_TRANSPORT => vec![*[17, 17, 17, 6].choose(random).unwrap(), 0, 0, 0],
        REQUESTED_ADDRESS_FAMILY | ADDITIONAL_ADDRESS_FAMILY => vec![random.random_range(0..4), 0, 0, 0],
        EVEN_PORT => vec![*[0, 0x80].choose(random).unwrap()],
        DONT_FRAGMENT => Vec::new(),
        _ => bytes,
    }
}

fn message(random: &mut StdRng, client: &mut Client) -> Vec<u8> {
    let method = *METHODS.choose(random).unwrap();
    let mut request = client.bare(method);
    let usual: &[u16] = match method {
        ALLOCATE => &[REQUESTED_TRANSPORT],
        CREATE_PERMISSION => &[XOR_PEER_ADDRESS],
        CHANNEL_BIND => &[CHANNEL_NUMBER, XOR_PEER_ADDRESS],
        SEND_INDICATION => &[XOR_PEER_ADDRESS, DATA],
        _ => &[],
    };
    let others = (0..random.random_range(0..3)).map(|_| *KINDS.choose(random).unwrap());
    let others: Vec<u16> = others.collect();
    for kind in usual.iter().chain(&others) {
        let value = value(random, *kind, request.transaction);
        request = request.with(*kind, value);
    }
    let mut bytes = if method == SEND_INDICATION { request.encode() } else { client.sign(request) };
    if random.random_bool(0.1) {
        fingerprint(&mut bytes);
    }
    if random.random_bool(0.1) {
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 1 << random.random_range(0..8);
    }
    bytes
}

/// Half of the sockets open at once, some later, some never.
fn open_some(world: &mut World, random: &mut StdRng) {
    for (key, local) in std::mem::take(&mut world.asked) {
        let outcome = match random.random_range(0..8) {
            0 => Err(OpenFailure::PortInUse),
            1 => Err(OpenFailure::Exhausted),
            2 => {
                world.asked.push((key, local));
                continue;
            }
            _ => Ok(()),
        };
        if outcome.is_ok() {
            assert!(world.sockets.values().all(|open| *open != local), "a port has one holder");
            world.sockets.insert(key, local);
        }
        world.relay.handle_socket_opened(world.now, key, outcome);
    }
    world.carry_out();
}

#[test]
fn clients_without_sense_break_nothing_and_leave_nothing() {
    let (mut created, mut relayed) = (0, 0);
    for seed in 0..8 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::with(|setup| setup.engine.ports = 50_000..=50_015);
        world.opens = false;
        let mut clients: Vec<Client> = (1..=6).map(Client::new).collect();
        clients[5] = Client::at(Transport::Tls, "198.51.100.99:4000");
        for _ in 0..4_000 {
            let client = clients.choose_mut(&mut random).unwrap();
            let bytes = match random.random_range(0..10) {
                0 => channel_data(0x4000 + random.random_range(0..5), &[1; 50]),
                1 => (0..random.random_range(0..64)).map(|_| random.random()).collect(),
                _ => message(&mut random, client),
            };
            world.deliver(client, &bytes);
            if let Some((_, reply)) = world.replies.pop_front() {
                let reply = Stun::decode(&reply);
                client.nonce = reply.attribute(NONCE).map_or(client.nonce.clone(), <[u8]>::to_vec);
            }
            if random.random_bool(0.5) {
                open_some(&mut world, &mut random);
            }
            if let Some(relayed) = world.sockets.values().next().copied() {
                world.peer_sends(PEERS.choose(&mut random).unwrap(), relayed, &[2; 30]);
            }
            if random.random_bool(0.02) {
                world.relay.handle_client_gone(world.now, &client.path);
                world.carry_out();
            }
            world.run(std::time::Duration::from_millis(random.random_range(0..1_500)));
            let stats = world.relay.stats();
            assert_eq!(stats.sockets, (world.sockets.len() + world.asked.len()) as u64);
            assert!(stats.sockets + stats.reservations <= 32);
        }
        created += world.relay.stats().allocations_created;
        relayed += world.relay.stats().traffic.to_peer_packets;
        for client in &clients {
            world.relay.handle_client_gone(world.now, &client.path);
        }
        world.carry_out();
        world.run(crate::world::secs(31));
        let stats = world.relay.stats();
        assert_eq!((stats.sockets, stats.reservations, stats.permissions, stats.channels), (0, 0, 0, 0));
        assert!(world.relay.is_empty() && world.sockets.is_empty() && world.asked.is_empty());
        assert_eq!(world.relay.next_timeout(), None);
    }
    assert!(
        created > 200 && relayed > 60,
        "{created} allocations, {relayed} datagrams: some of it made sense"
    );
}

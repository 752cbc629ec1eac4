//! What is done with fuzzed bytes: one function for each way in, and what must hold whatever comes. The fuzz targets call
//! these, and `tests/fuzz_corpus.rs` includes this file, so that a replay runs the same code.

// What the tests share may panic as they do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod front;
mod stream;
#[path = "../../tests/world/mod.rs"]
mod world;

use std::time::Duration;

use rustls::server::Acceptor;
use turn_relay::engine::ports::Transport;
use wire::stun::{AttributeKind, Message};

use front::first_bytes::{self, Decision};
use front::proxy_protocol::{self, ProxyHeader};
use stream::frames;
use world::client::Client;
use world::codec::*;
use world::{Arrived, World, secs};

/// A message that the relay can read, a client reads in the same way.
pub fn stun(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    let copy = Stun::decode(bytes);
    assert_eq!(message.transaction_id().0, copy.transaction);
    let end = copy.attributes.iter().position(|(kind, _)| *kind == MESSAGE_INTEGRITY);
    let signed = &copy.attributes[..end.unwrap_or(copy.attributes.len())];
    for (kind, value) in signed {
        let first = signed.iter().find(|(each, _)| each == kind).map(|(_, value)| value.as_slice());
        assert_eq!(message.attribute(AttributeKind(*kind)), first);
        let is_address = matches!((value.len(), value.get(1)), (8, Some(1)) | (20, Some(2)));
        let read = message.xor_address(AttributeKind(*kind));
        if is_address && first == Some(value) {
            assert_eq!(read, Some(unmask(value, copy.transaction)));
        }
    }
    // A key that is not the signer's fits nothing that was not made with it.
    assert!(!message.verify_integrity(b"key of nobody"));
    let _ = (message.verify_fingerprint(), message.username(), message.error_code());
}

/// Strangers' datagrams: nothing is relayed, opened or remembered, and no reply is longer than its request and a challenge.
pub fn stranger(bytes: &[u8]) {
    let mut world = World::new();
    let clients = [Client::new(1), Client::new(2), Client::at(Transport::Tls, "198.51.100.9:4000")];
    for (choice, datagram) in chunks(bytes) {
        let client = &clients[usize::from(choice) % clients.len()];
        assert_eq!(world.deliver(client, datagram), None);
        while let Some((path, reply)) = world.replies.pop_front() {
            assert_eq!(path, client.path);
            assert!(reply.len() <= datagram.len() + CHALLENGE_BYTES_MAX, "{} bytes", reply.len());
            assert_ne!(Stun::decode(&reply).kind & 0x0110, 0, "a reply is a response");
        }
        world.run(Duration::from_millis(u64::from(choice)));
        assert!(world.relay.is_empty() && world.sockets.is_empty() && world.asked.is_empty());
        assert_eq!(world.relay.next_timeout(), None);
    }
}

/// One who has credentials and does with them whatever the bytes say: peers that are not listed hear nothing of it, every
/// socket is accounted for, and all of it ends.
pub fn client(bytes: &[u8]) {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    for (choice, step) in chunks(bytes) {
        let arrived = match choice % 8 {
            0 => world.deliver(&client, step),
            1..=3 => {
                let request = request(&mut client, choice, step);
                let signed = client.sign(request);
                world.deliver(&client, &signed)
            }
            4 => {
                let indication = request(&mut client, 5, step).encode();
                world.deliver(&client, &indication)
            }
            5 => {
                let peer = PEERS[usize::from(choice >> 3) % PEERS.len()];
                let _ = world.peer_sends(peer, relayed, step);
                None
            }
            6 => {
                world.run(Duration::from_secs(u64::from(choice >> 3)));
                None
            }
            _ => {
                world.opens = !world.opens;
                None
            }
        };
        assert!(arrived.is_none_or(|arrived| is_listed(&arrived)), "only listed peers are reached");
        while let Some((_, reply)) = world.replies.pop_front() {
            let reply = Stun::decode(&reply);
            client.nonce = reply.attribute(NONCE).map_or(client.nonce, <[u8]>::to_vec);
        }
        let stats = world.relay.stats();
        assert_eq!(stats.sockets, (world.sockets.len() + world.asked.len()) as u64);
    }
    world.relay.handle_client_gone(world.now, &client.path);
    world.carry_out();
    world.run(secs(31));
    assert!(world.relay.is_empty() && world.sockets.is_empty() && world.asked.is_empty());
    assert_eq!(world.relay.next_timeout(), None);
}

/// A method, then attributes: which, how long, value. A few likely kinds and values are one byte away.
fn request(client: &mut Client, choice: u8, step: &[u8]) -> Stun {
    let methods = [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND, BINDING, SEND_INDICATION];
    let (method, mut rest) = match step {
        _ if choice == 5 => (SEND_INDICATION, step),
        [method, rest @ ..] => (methods[usize::from(*method) % methods.len()], rest),
        [] => (ALLOCATE, step),
    };
    let mut request = client.bare(method);
    while let [kind, length, after @ ..] = rest {
        let (value, after) = after.split_at(after.len().min(usize::from(*length)));
        let kind = KINDS[usize::from(*kind) % KINDS.len()];
        // An address of one byte is one of the listed or unlisted peers.
        let value = match (kind, value) {
            (XOR_PEER_ADDRESS, [peer]) => {
                mask(world::addr(PEERS[usize::from(*peer) % PEERS.len()]), request.transaction)
            }
            _ => value.to_vec(),
        };
        request = request.with(kind, value);
        rest = after;
    }
    request
}

/// A stream is the same messages however it is cut; none of them is longer than what came.
pub fn framer(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let at = stream.len().min(usize::from(*cut));
    let whole = frames(&[stream]);
    assert!(whole.messages.iter().map(Vec::len).sum::<usize>() <= stream.len());
    assert_eq!(frames(&[&stream[..at], &stream[at..]]), whole, "cut at {at}");
    let dribbled: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(frames(&dribbled), whole, "byte by byte");
}

/// What a connection is, by its first bytes; more of them change nothing that was decided.
pub fn first_bytes(bytes: &[u8]) {
    let decision = first_bytes::decide(bytes);
    for end in 0..bytes.len().min(FIRST_BYTES_MAX) {
        let early = first_bytes::decide(&bytes[..end]);
        assert!(early == Decision::NeedMore || early == decision, "{early:?}, then {decision:?}");
    }
    match proxy_protocol::parse(bytes) {
        ProxyHeader::Client { client, bytes: length } => {
            assert!(length <= bytes.len() && !client.ip().is_unspecified());
            let copy = proxy_protocol::write(client, client);
            let again = proxy_protocol::parse(&copy);
            assert_eq!(again, ProxyHeader::Client { client, bytes: copy.len() });
        }
        ProxyHeader::Local { bytes: length } => assert!(length <= bytes.len()),
        ProxyHeader::NeedMore | ProxyHeader::Malformed => {}
    }
    // The library reads the ClientHello; that it is asked with anything at all is ours.
    let (mut acceptor, mut unread) = (Acceptor::default(), bytes);
    while !unread.is_empty() && acceptor.read_tls(&mut unread).is_ok() {
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let _ = (hello.server_name(), hello.alpn().map(Iterator::count));
                return;
            }
            Err(_) => return,
        }
    }
}

/// Choice, length, so many bytes; a few dozen at most, since each costs the relay a whole message.
fn chunks(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let (mut chunks, mut rest) = (Vec::new(), bytes);
    while let [choice, length, after @ ..] = rest {
        let (chunk, after) = after.split_at(after.len().min(usize::from(*length)));
        chunks.push((*choice, chunk));
        rest = after;
        if chunks.len() == CHUNKS_MAX {
            break;
        }
    }
    chunks
}

/// The world's allow list, and the ports that no well-known service has.
fn is_listed(arrived: &Arrived) -> bool {
    let listed = match arrived.to.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[..3] == [203, 0, 113],
        std::net::IpAddr::V6(ip) => ip.segments()[..3] == [0x2001, 0x0db8, 0x0001],
    };
    listed && arrived.to.port() >= 1_024
}

const CHUNKS_MAX: usize = 48;
/// Header, error code, realm, nonce.
const CHALLENGE_BYTES_MAX: usize = 100;
/// More than any decision needs; each costs a call.
const FIRST_BYTES_MAX: usize = 64;

const PEERS: [&str; 8] = [
    "203.0.113.1:2000",
    "203.0.113.2:2001",
    "203.0.113.1:443",
    "[2001:db8:1::1]:2000",
    "127.0.0.1:2000",
    "[::ffff:127.0.0.1]:2000",
    "192.0.2.1:3478",
    "8.8.8.8:2000",
];

const KINDS: [u16; 16] = [
    XOR_PEER_ADDRESS,
    CHANNEL_NUMBER,
    LIFETIME,
    DATA,
    REQUESTED_TRANSPORT,
    REQUESTED_ADDRESS_FAMILY,
    ADDITIONAL_ADDRESS_FAMILY,
    EVEN_PORT,
    RESERVATION_TOKEN,
    DONT_FRAGMENT,
    FINGERPRINT,
    USERNAME,
    MESSAGE_INTEGRITY,
    0x0001,
    0x7fff,
    0xffff,
];

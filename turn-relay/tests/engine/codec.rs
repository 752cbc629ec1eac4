//! What is no message, and what a message must not say.

use turn_relay::engine::drop_reason::DropReason;

use crate::world::World;
use crate::world::client::Client;
use crate::world::codec::*;

#[test]
fn case_1_one_flipped_bit_in_a_signed_request_is_never_obeyed() {
    let mut world = World::new();
    let mut client = Client::new(1);
    world.challenge(&mut client);
    let request = client.allocate();
    let signed = client.sign(request);
    for bit in 0..signed.len() * 8 {
        let mut flipped = signed.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        world.deliver(&client, &flipped);
        for (_, reply) in world.replies.drain(..) {
            assert_ne!(Stun::decode(&reply).kind, ALLOCATE | SUCCESS, "bit {bit}");
        }
    }
    assert_eq!(world.relay.allocations(), []);
    assert_eq!(world.ask(&client, &signed).unwrap().code(), 0, "unchanged it is obeyed");
}

#[test]
fn case_2_a_length_that_lies_gets_no_reply() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let good = client.allocate().encode();
    let mut wrong = Vec::new();
    for length in [0u16, 1, 4, 7, 9, 12, 65_535, 65_532] {
        let mut bytes = good.clone();
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        wrong.push(bytes);
    }
    // The attribute's own length runs past the end, or leaves no room for the next header.
    for length in [5u16, 8, 65_535] {
        let mut bytes = good.clone();
        bytes[22..24].copy_from_slice(&length.to_be_bytes());
        wrong.push(bytes);
    }
    let mut cookie = good.clone();
    cookie[4] ^= 1;
    wrong.push(cookie);
    wrong.extend((0..20).map(|length| good[..length].to_vec()));
    for bytes in &wrong {
        assert_eq!(world.ask(&client, bytes), None, "{bytes:?}");
    }
    let stats = world.relay.stats();
    assert_eq!(stats.dropped.total(), wrong.len() as u64);
    assert_eq!(stats.dropped.of(DropReason::NotClassified), 1, "the empty one");
}

#[test]
fn case_2_every_short_datagram_of_every_first_byte_is_survived() {
    let mut world = World::new();
    let (client, _) = world.allocated(1);
    for first in 0..=255u8 {
        for length in 0..64usize {
            let mut bytes = vec![first; length];
            world.deliver(&client, &bytes);
            if length >= 8 {
                bytes[2..4].copy_from_slice(&(length.saturating_sub(20) as u16).to_be_bytes());
                bytes[4..8].copy_from_slice(&COOKIE);
                world.deliver(&client, &bytes);
            }
        }
    }
    assert_eq!(world.relay.allocations().len(), 1);
}

#[test]
fn case_4_a_wrong_fingerprint_gets_no_reply_and_a_right_one_gets_one_back() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let mut bytes = client.bare(BINDING).encode();
    fingerprint(&mut bytes);
    let reply = world.ask(&client, &bytes).unwrap();
    let last = reply.attributes.last().unwrap();
    assert_eq!(last.0, FINGERPRINT);
    let mut again = reply.bytes[..reply.bytes.len() - 8].to_vec();
    fingerprint(&mut again);
    assert_eq!(again, reply.bytes, "the reply's own fingerprint is right");
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    assert_eq!(world.ask(&client, &bytes), None);
    assert_eq!(world.dropped(DropReason::StunBadFingerprint), 1);
}

#[test]
fn case_5_what_must_be_understood_and_is_not_is_named_in_a_420() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let request = client.bare(BINDING).with(0x7f01, [1, 2]).with(0x7f02, []).with(0x7f01, []);
    let reply = world.ask(&client, &request.encode()).unwrap();
    assert_eq!(reply.code(), 420);
    assert_eq!(reply.attribute(UNKNOWN_ATTRIBUTES), Some(&[0x7f, 1, 0x7f, 2][..]));
    let request = client.allocate().with(0x7f01, []);
    let reply = world.request(&mut client, &request);
    assert_eq!(reply.code(), 420);
    assert_eq!(reply.attribute(UNKNOWN_ATTRIBUTES), Some(&[0x7f, 1][..]));
}

#[test]
fn case_5_what_need_not_be_understood_is_ignored() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let request = client.bare(BINDING).with(0x8022, *b"a client").with(0xffff, [0; 40]);
    assert_eq!(world.ask(&client, &request.encode()).unwrap().code(), 0);
    let request = client.allocate().with(0x802f, *b"https://meet.example");
    assert_eq!(world.request(&mut client, &request).code(), 0);
}

#[test]
fn case_6_an_unknown_method_and_a_message_that_no_client_sends_get_silence() {
    let mut world = World::new();
    let mut client = Client::new(1);
    // Connect of RFC 6062, a method that nobody has, an indication of it, responses, a Data indication.
    for kind in [0x000a, 0x0fe, 0x0ee | 0x010, BINDING | SUCCESS, ALLOCATE | ERROR, DATA_INDICATION] {
        let message = client.bare(kind).encode();
        assert_eq!(world.ask(&client, &message), None, "{kind:#x}");
    }
    assert_eq!(world.dropped(DropReason::StunUnexpected), 6);
    let keepalive = client.bare(BINDING | 0x010).encode();
    assert_eq!(world.ask(&client, &keepalive), None);
    assert_eq!(world.relay.stats().dropped.total(), 6, "a keepalive is nothing that stops");
}

#[test]
fn a_binding_tells_the_clients_address_and_nothing_else() {
    let mut world = World::new();
    for (client, bytes) in [("198.51.100.7:40001", 32), ("[2001:db8:2::7]:40001", 44)] {
        let mut client = Client::at(turn_relay::engine::ports::Transport::Udp, client);
        let request = client.bare(BINDING).encode();
        let reply = world.ask(&client, &request).unwrap();
        assert_eq!(reply.kind, BINDING | SUCCESS);
        assert_eq!(reply.addresses(XOR_MAPPED_ADDRESS), [client.path.client]);
        assert_eq!(reply.bytes.len(), bytes);
    }
}

//! The test vectors of RFC 5769, and what every change to them must lead to.

use std::net::SocketAddr;

use super::*;

/// Key of 2.1 to 2.3: the password itself.
const SHORT_TERM_KEY: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

/// Key of 2.4: MD5 of the user name, "example.org" and the prepared password "TheMatrIX".
const LONG_TERM_KEY: [u8; 16] =
    [0xe8, 0xca, 0x7a, 0xd5, 0x9d, 0x5e, 0xb0, 0x51, 0x8e, 0x31, 0x29, 0x11, 0xd2, 0xda, 0xb2, 0xa9];

const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74\
    002400046e0001ff\
    80290008932ff9b151263b36\
    000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
    80280004e57a3bcf";

const IPV4_RESPONSE: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000080001a147e112a643\
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
    80280004c07d4c96";

const IPV6_RESPONSE: &str = "010100482112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed41\
    80280004c8fb0b4c";

const LONG_TERM_REQUEST: &str = "000100602112a44278ad3433c6ad72c029da412e\
    00060012e3839ee38388e383aae38383e382afe382b90000\
    0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341\
    0014000b6578616d706c652e6f726700\
    00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

/// All four, with the key of each.
fn vectors() -> [(Vec<u8>, &'static [u8]); 4] {
    [
        (bytes(REQUEST), SHORT_TERM_KEY),
        (bytes(IPV4_RESPONSE), SHORT_TERM_KEY),
        (bytes(IPV6_RESPONSE), SHORT_TERM_KEY),
        (bytes(LONG_TERM_REQUEST), &LONG_TERM_KEY),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn the_sample_request_reads_as_published() {
    let datagram = bytes(REQUEST);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.attribute(AttributeKind::SOFTWARE), Some(&b"STUN test client"[..]));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.controlled(), Some(0x932f_f9b1_5126_3b36));
    assert_eq!(message.controlling(), None);
    assert_eq!(message.username(), Some("evtj:h6vY"));
    assert!(!message.use_candidate());
}

#[test]
fn the_sample_responses_tell_their_addresses() {
    for (hex, address) in
        [(IPV4_RESPONSE, "192.0.2.1:32853"), (IPV6_RESPONSE, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let datagram = bytes(hex);
        let message = Message::parse(&datagram).unwrap();
        assert_eq!(message.class(), Class::Success);
        assert_eq!(message.xor_mapped_address(), Some(address.parse::<SocketAddr>().unwrap()));
        assert_eq!(message.attribute(AttributeKind::SOFTWARE), Some(&b"test vector"[..]));
    }
}

#[test]
fn the_long_term_request_reads_as_published() {
    let datagram = bytes(LONG_TERM_REQUEST);
    let message = Message::parse(&datagram).unwrap();
    assert_eq!(message.username(), Some("マトリックス"));
    assert_eq!(message.attribute(AttributeKind::NONCE), Some(&b"f//499k954d6OL34oL9FSTvy64sA"[..]));
    assert_eq!(message.attribute(AttributeKind::REALM), Some(&b"example.org"[..]));
    assert!(!message.has_fingerprint() && !message.verify_fingerprint());
}

#[test]
fn the_vectors_verify_under_their_keys_and_no_other() {
    for (datagram, key) in vectors() {
        let message = Message::parse(&datagram).unwrap();
        assert!(message.verify_integrity(key));
        assert!(!message.verify_integrity(b""));
        assert!(!message.verify_integrity(&key[1..]));
        assert!(message.verify_fingerprint() || !message.has_fingerprint());
    }
}

#[test]
fn one_flipped_bit_anywhere_fails_verification() {
    for (datagram, key) in vectors() {
        let fingerprinted = Message::parse(&datagram).unwrap().has_fingerprint();
        let unprotected = if fingerprinted { 8 } else { 0 };
        for bit in 0..datagram.len() * 8 {
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            let Ok(message) = Message::parse(&flipped) else { continue };
            if bit / 8 < datagram.len() - unprotected {
                assert!(!message.verify_integrity(key), "bit {bit} is signed");
            }
            assert!(!message.verify_fingerprint(), "bit {bit} is in the checksum");
        }
    }
}

#[test]
fn the_builder_writes_the_ipv4_response_but_for_its_padding() {
    let published = bytes(IPV4_RESPONSE);
    let message = Message::parse(&published).unwrap();
    let built = Builder::new(message.class(), message.method(), message.transaction_id())
        .attribute(AttributeKind::SOFTWARE, b"test vector")
        .xor_address(AttributeKind::XOR_MAPPED_ADDRESS, "192.0.2.1:32853".parse().unwrap())
        .sign(SHORT_TERM_KEY)
        .fingerprint();
    assert_eq!(built[..35], published[..35]);
    // The vector pads with a space, RFC 8489 (14) with zero.
    assert_eq!((built[35], published[35]), (0, b' '));
    assert_eq!(built[36..52], published[36..52]);
    let built = Message::parse(&built).unwrap();
    assert!(built.verify_integrity(SHORT_TERM_KEY) && built.verify_fingerprint());
}

#[test]
fn the_builder_writes_the_long_term_request_to_the_byte() {
    let published = bytes(LONG_TERM_REQUEST);
    let message = Message::parse(&published).unwrap();
    let mut builder = Builder::new(Class::Request, Method::BINDING, message.transaction_id());
    for kind in [AttributeKind::USERNAME, AttributeKind::NONCE, AttributeKind::REALM] {
        builder = builder.attribute(kind, message.attribute(kind).unwrap());
    }
    assert_eq!(builder.sign(&LONG_TERM_KEY).finish(), published);
}

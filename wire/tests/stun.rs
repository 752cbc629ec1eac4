//! STUN as strangers send it, and against an independent implementation.
// The helpers of a test fail the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;

use proptest::prelude::*;
use wire::stun::{AttributeKind, Builder, Class, ErrorCode, Message, Method, StunError, TransactionId};

const KEY: &[u8] = b"a password of an ICE agent";
const ID: TransactionId = TransactionId(*b"transaction!");

fn request() -> Builder {
    Builder::new(Class::Request, Method::BINDING, ID)
}

/// Overwrites the length field with what the bytes really have.
fn with_true_length(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = (bytes.len() - 20) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn error_of(bytes: &[u8]) -> StunError {
    Message::parse(bytes).unwrap_err()
}

#[test]
fn a_check_of_a_browser_reads_back() {
    let bytes = request()
        .attribute(AttributeKind::USERNAME, b"ours:theirs")
        .attribute(AttributeKind::ICE_CONTROLLING, &7u64.to_be_bytes())
        .attribute(AttributeKind::USE_CANDIDATE, &[])
        .attribute(AttributeKind::PRIORITY, &1_853_824_767u32.to_be_bytes())
        .sign(KEY)
        .fingerprint();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.transaction_id(), ID);
    assert_eq!(message.username(), Some("ours:theirs"));
    assert_eq!(message.controlling(), Some(7));
    assert_eq!(message.priority(), Some(1_853_824_767));
    assert!(message.use_candidate());
    assert!(message.verify_integrity(KEY) && message.verify_fingerprint());
}

#[test]
fn an_answer_has_the_method_and_transaction_of_its_request() {
    let asked = Builder::new(Class::Request, Method::REFRESH, ID).finish();
    let asked = Message::parse(&asked).unwrap();
    let bytes = Builder::answer(&asked, Class::Error).error(ErrorCode::ROLE_CONFLICT, "").finish();
    let answer = Message::parse(&bytes).unwrap();
    assert_eq!((answer.class(), answer.method()), (Class::Error, Method::REFRESH));
    assert_eq!(answer.transaction_id(), ID);
    assert_eq!(answer.error_code(), Some((ErrorCode::ROLE_CONFLICT, "")));
}

#[test]
fn attributes_behind_the_integrity_are_not_seen() {
    let signed = request().attribute(AttributeKind::USERNAME, b"a:b").sign(KEY);
    let bytes = signed
        .attribute(AttributeKind::USE_CANDIDATE, &[])
        .attribute(AttributeKind::LIFETIME, &[0; 4])
        .attribute(AttributeKind(0x7777), &[])
        .fingerprint();
    let message = Message::parse(&bytes).unwrap();
    assert!(message.verify_integrity(KEY), "the signature covers what stands before it");
    assert!(message.verify_fingerprint());
    assert!(!message.use_candidate());
    assert_eq!(message.attribute(AttributeKind::LIFETIME), None);
    assert_eq!(message.unknown_required(&[AttributeKind::USERNAME]).count(), 0);
}

#[test]
fn a_second_integrity_does_not_stretch_what_is_seen() {
    let bytes = request()
        .attribute(AttributeKind::USERNAME, b"a:b")
        .sign(KEY)
        .attribute(AttributeKind::USE_CANDIDATE, &[])
        .sign(KEY)
        .fingerprint();
    let message = Message::parse(&bytes).unwrap();
    assert!(message.verify_integrity(KEY));
    assert!(!message.use_candidate());
}

#[test]
fn the_first_of_two_equal_attributes_counts() {
    let bytes = request()
        .attribute(AttributeKind::USERNAME, b"first")
        .attribute(AttributeKind::USERNAME, b"second")
        .finish();
    assert_eq!(Message::parse(&bytes).unwrap().username(), Some("first"));
}

#[test]
fn unknown_required_attributes_are_told_once_each() {
    let bytes = request()
        .attribute(AttributeKind::USERNAME, b"a:b")
        .attribute(AttributeKind(0x7001), &[])
        .attribute(AttributeKind(0xc057), &[1, 2, 3, 4])
        .attribute(AttributeKind(0x7001), &[9])
        .attribute(AttributeKind(0x7002), &[])
        .sign(KEY)
        .finish();
    let message = Message::parse(&bytes).unwrap();
    let unknown: Vec<AttributeKind> = message.unknown_required(&[AttributeKind::USERNAME]).collect();
    assert_eq!(unknown, [AttributeKind(0x7001), AttributeKind(0x7002)]);

    let refusal = Builder::answer(&message, Class::Error)
        .error(ErrorCode::UNKNOWN_ATTRIBUTE, "")
        .unknown_attributes(unknown)
        .finish();
    let refusal = Message::parse(&refusal).unwrap();
    assert_eq!(refusal.attribute(AttributeKind::UNKNOWN_ATTRIBUTES), Some(&[0x70, 0x01, 0x70, 0x02][..]));
}

#[test]
fn a_message_without_integrity_never_verifies() {
    let bytes = request().attribute(AttributeKind::USERNAME, b"a:b").fingerprint();
    let message = Message::parse(&bytes).unwrap();
    assert!(!message.has_integrity());
    assert!(!message.verify_integrity(KEY));
    assert!(!message.verify_integrity(b""));
}

#[test]
fn an_integrity_of_another_length_never_verifies() {
    for length in [0, 4, 19, 21, 32] {
        let bytes = request().attribute(AttributeKind::MESSAGE_INTEGRITY, &vec![0; length]).finish();
        let message = Message::parse(&bytes).unwrap();
        assert!(message.has_integrity() && !message.verify_integrity(KEY), "{length} bytes");
    }
    for length in [0, 3, 5, 8] {
        let bytes = request().attribute(AttributeKind::FINGERPRINT, &vec![0; length]).finish();
        let message = Message::parse(&bytes).unwrap();
        assert!(message.has_fingerprint() && !message.verify_fingerprint(), "{length} bytes");
    }
}

#[test]
fn nothing_may_follow_the_fingerprint() {
    let mut bytes = request().fingerprint();
    bytes.extend_from_slice(&[0x00, 0x25, 0x00, 0x00]);
    assert_eq!(error_of(&with_true_length(bytes)), StunError::BehindFingerprint);
}

#[test]
fn a_header_that_is_not_stun_is_refused() {
    let good = request().finish();
    assert!(Message::parse(&good).is_ok());
    for length in 0..good.len() {
        assert_eq!(error_of(&good[..length]), StunError::NotStun, "{length} bytes");
    }
    for first in 4..=0xff {
        let mut bytes = good.clone();
        bytes[0] = first;
        assert_eq!(error_of(&bytes), StunError::NotStun);
    }
    for index in 4..8 {
        let mut bytes = good.clone();
        bytes[index] ^= 1;
        assert_eq!(error_of(&bytes), StunError::BadCookie);
    }
}

#[test]
fn a_length_that_contradicts_the_datagram_is_refused() {
    let good = request().attribute(AttributeKind::SOFTWARE, b"12345678").finish();
    for length in (0..=u16::MAX).filter(|length| usize::from(*length) != good.len() - 20) {
        let mut bytes = good.clone();
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(error_of(&bytes), StunError::BadLength, "length field {length}");
    }
    for extra in 1..4 {
        let mut bytes = good.clone();
        bytes.resize(good.len() + extra, 0);
        assert_eq!(error_of(&with_true_length(bytes)), StunError::BadLength, "no multiple of four");
    }
}

#[test]
fn an_attribute_past_the_end_is_refused() {
    let good = request().attribute(AttributeKind::SOFTWARE, b"12345678").finish();
    for length in 9..=u16::MAX {
        let mut bytes = good.clone();
        bytes[22..24].copy_from_slice(&length.to_be_bytes());
        assert_eq!(error_of(&bytes), StunError::BadAttribute, "attribute of {length} bytes");
    }
}

#[test]
fn the_number_of_attributes_is_bounded() {
    let mut builder = request();
    for _ in 0..64 {
        builder = builder.attribute(AttributeKind(0x7fff), &[]);
    }
    assert!(Message::parse(&builder.clone().finish()).is_ok());
    for _ in 0..436 {
        builder = builder.attribute(AttributeKind(0x7fff), &[]);
    }
    assert_eq!(error_of(&builder.finish()), StunError::TooManyAttributes);
}

#[test]
fn typed_attributes_of_a_wrong_shape_are_absent() {
    let bytes = request()
        .attribute(AttributeKind::USERNAME, &[b'u'; 509])
        .attribute(AttributeKind::PRIORITY, &[0; 3])
        .attribute(AttributeKind::ICE_CONTROLLED, &[0; 4])
        .attribute(AttributeKind::XOR_MAPPED_ADDRESS, &[0, 9, 0, 0, 0, 0, 0, 0])
        .attribute(AttributeKind::ERROR_CODE, &[0, 0, 7, 0])
        .finish();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.username(), None);
    assert_eq!(message.priority(), None);
    assert_eq!(message.controlled(), None);
    assert_eq!(message.xor_mapped_address(), None);
    assert_eq!(message.error_code(), None);

    let bytes = request()
        .attribute(AttributeKind::USERNAME, b"\xff\xfe")
        .attribute(AttributeKind::ERROR_CODE, &[0, 0, 4, 100])
        .finish();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.username(), None);
    assert_eq!(message.error_code(), None);
}

fn attribute() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let kind =
        any::<u16>().prop_filter("protection has its own tests", |kind| *kind != 0x0008 && *kind != 0x8028);
    (kind, proptest::collection::vec(any::<u8>(), 0..40))
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Request), Just(Class::Indication), Just(Class::Success), Just(Class::Error)]
}

proptest! {
    #[test]
    fn whatever_is_built_reads_back(
        class in class(),
        method in 0u16..0x100,
        id: [u8; 12],
        attributes in proptest::collection::vec(attribute(), 0..20),
        address: SocketAddr,
    ) {
        let mut builder = Builder::new(class, Method(method), TransactionId(id));
        for (kind, value) in &attributes {
            builder = builder.attribute(AttributeKind(*kind), value);
        }
        // Flow label and scope of an IPv6 socket address are no part of the wire format.
        let address = SocketAddr::new(address.ip(), address.port());
        let bytes = builder.xor_address(AttributeKind::XOR_PEER_ADDRESS, address).sign(KEY).fingerprint();
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!((message.class(), message.method()), (class, Method(method)));
        prop_assert_eq!(message.transaction_id(), TransactionId(id));
        let read: Vec<(u16, Vec<u8>)> =
            message.attributes().take(attributes.len()).map(|(kind, value)| (kind.0, value.to_vec())).collect();
        prop_assert_eq!(&read, &attributes);
        if !attributes.iter().any(|(kind, _)| *kind == AttributeKind::XOR_PEER_ADDRESS.0) {
            prop_assert_eq!(message.xor_address(AttributeKind::XOR_PEER_ADDRESS), Some(address));
        }
        prop_assert!(message.verify_integrity(KEY) && message.verify_fingerprint());
    }

    #[test]
    fn an_independent_implementation_agrees(
        username in "[a-zA-Z0-9+/]{4,32}:[a-zA-Z0-9+/]{4,32}",
        address: SocketAddr,
    ) {
        use rtc::shared::error::Error;
        use rtc::stun::attributes::ATTR_USERNAME;
        use rtc::stun::message::Getter;

        let address = SocketAddr::new(address.ip(), address.port());
        let bytes = request()
            .attribute(AttributeKind::USERNAME, username.as_bytes())
            .xor_address(AttributeKind::XOR_MAPPED_ADDRESS, address)
            .sign(KEY)
            .fingerprint();
        let mut theirs = rtc::stun::message::Message::new();
        let outcome: Result<(), Error> = theirs.unmarshal_binary(&bytes);
        prop_assert!(outcome.is_ok());
        prop_assert_eq!(theirs.transaction_id.0, ID.0);
        prop_assert_eq!(theirs.get(ATTR_USERNAME).unwrap(), username.as_bytes());
        let mut mapped = rtc::stun::xoraddr::XorMappedAddress::default();
        prop_assert!(mapped.get_from(&theirs).is_ok());
        prop_assert_eq!(SocketAddr::new(mapped.ip, mapped.port), address);
        let provider = rtc::crypto::default_provider().unwrap();
        prop_assert!(rtc::stun::integrity::MessageIntegrity::check(&mut theirs, KEY, provider.crypto()).is_ok());
        prop_assert!(rtc::stun::fingerprint::FINGERPRINT.check(&theirs).is_ok());
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 20..200), claim: bool) {
        if claim {
            bytes.truncate(bytes.len() / 4 * 4);
            bytes[0] &= 0x03;
            bytes[4..8].copy_from_slice(&0x2112_a442u32.to_be_bytes());
            bytes = with_true_length(bytes);
        }
        if let Ok(message) = Message::parse(&bytes) {
            message.attributes().for_each(drop);
            let _ = (message.username(), message.error_code(), message.xor_mapped_address());
            prop_assert!(!message.verify_integrity(KEY));
        }
    }
}

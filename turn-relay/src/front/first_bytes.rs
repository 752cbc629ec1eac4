//! What a stream is, by its first bytes. Nothing but bytes goes in, so that it can be tested and fuzzed alone.

use super::stats::Refusal;

/// What the first bytes of a stream say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing yet: they could still become something.
    NeedMore,
    /// A TLS record with a handshake message.
    Tls,
    /// A STUN message. Channel data cannot come first: it needs an allocation.
    Turn,
    /// An HTTP/1 request line.
    Http,
    /// A PROXY protocol v2 header.
    ProxyV2,
    /// Nothing that is spoken here.
    Refuse(Refusal),
}

/// Looks at the first bytes of a stream. More bytes never change a decision that has been made.
pub(crate) fn decide(bytes: &[u8]) -> Decision {
    match bytes.first() {
        None => Decision::NeedMore,
        // The two bits that STUN keeps zero, and the classes and methods that there are (RFC 8489, 5).
        Some(0x00 | 0x01) => decide_stun(bytes),
        Some(0x16) => if_prefix(bytes, &TLS_START, Decision::Tls),
        Some(0x0d) => if_prefix(bytes, &PROXY_V2_SIGNATURE, Decision::ProxyV2),
        Some(b'A'..=b'Z') => decide_text(bytes),
        Some(_) => Decision::Refuse(Refusal::UnknownProtocol),
    }
}

fn decide_stun(bytes: &[u8]) -> Decision {
    // Attributes are padded, so the length's last two bits are zero.
    if bytes.get(3).is_some_and(|length| length & 3 != 0) {
        return Decision::Refuse(Refusal::UnknownProtocol);
    }
    if_prefix(bytes.get(4..).unwrap_or_default(), &MAGIC_COOKIE, Decision::Turn)
}

/// A method is upper-case here, although HTTP allows more: what else there is are banners of other protocols.
fn decide_text(bytes: &[u8]) -> Decision {
    let refused = Decision::Refuse(Refusal::UnknownProtocol);
    if bytes.starts_with(PROXY_V1_START) {
        return Decision::Refuse(Refusal::ProxyVersion);
    }
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    if method > METHOD_BYTES_MAX {
        return refused;
    }
    match bytes.get(method..).unwrap_or_default() {
        [] | [b' '] => Decision::NeedMore,
        // A path, `*`, or a URL as proxies get it; the server behind decides whether it wants that.
        [b' ', b'/' | b'*' | b'h' | b'H', ..] => Decision::Http,
        _ => refused,
    }
}

/// `decision`, once all of `start` is there.
fn if_prefix(bytes: &[u8], start: &[u8], decision: Decision) -> Decision {
    if bytes.starts_with(start) {
        decision
    } else if start.starts_with(bytes) {
        Decision::NeedMore
    } else {
        Decision::Refuse(Refusal::UnknownProtocol)
    }
}

/// A handshake record of any version that was ever called TLS; the handshake decides about the version.
const TLS_START: [u8; 2] = [0x16, 0x03];

/// RFC 8489, 5.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Chosen so that no other protocol begins with it.
pub(crate) const PROXY_V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

const PROXY_V1_START: &[u8] = b"PROXY ";

/// `UNSUBSCRIBE` has 11; longer ones of letters only are not registered.
const METHOD_BYTES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Longest of what must be seen: a method, the blank behind it, and one byte of the target.
    const BYTES_TO_DECIDE_MAX: usize = METHOD_BYTES_MAX + 2;

    const UNKNOWN: Decision = Decision::Refuse(Refusal::UnknownProtocol);

    #[test]
    fn each_protocol_is_known_by_its_first_bytes() {
        let allocate = b"\x00\x03\x00\x08\x21\x12\xa4\x42";
        for (bytes, decision) in [
            (&allocate[..], Decision::Turn),
            (b"\x01\x01\x00\x00\x21\x12\xa4\x42", Decision::Turn),
            (b"\x16\x03\x01\x02\x00\x01", Decision::Tls),
            (b"GET / HTTP/1.1\r\n", Decision::Http),
            (b"OPTIONS * HTTP/1.1\r\n", Decision::Http),
            (b"GET http://meet.example/ HTTP/1.1\r\n", Decision::Http),
            (&PROXY_V2_SIGNATURE, Decision::ProxyV2),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Decision::Refuse(Refusal::ProxyVersion)),
        ] {
            assert_eq!(decide(bytes), decision, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn banners_and_garbage_are_refused() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"get / http/1.1\r\n",
            b"EHLO mail.example\r\n",
            b"CONNECT internal:22 HTTP/1.1\r\n",
            b"A@",
            b"ABCDEFGHIJKLMNOPQ",
            b"\x40\x00\x00\x04data",
            b"\x16\x02",
            b"\x80\x2e\x01\x00\x02",
            b"\r\n\r\n\r\n",
            b"\x00\x03\x00\x05",
            b"\x00\x03\x00\x08\x21\x12\xa4\x43",
            b"\x03\x00\x00\x13\x0e\xe0\x00\x00",
        ] {
            assert_eq!(decide(bytes), UNKNOWN, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn every_beginning_of_a_known_protocol_waits_for_more() {
        for bytes in [&b"\x00\x03\x00\x08\x21\x12\xa4\x42"[..], &PROXY_V2_SIGNATURE, b"GET /", b"\x16\x03"] {
            for end in 0..bytes.len() {
                assert_eq!(decide(&bytes[..end]), Decision::NeedMore, "{}", bytes[..end].escape_ascii());
            }
        }
    }

    /// Starts that get past the first checks, followed by anything.
    fn likely_bytes() -> impl Strategy<Value = Vec<u8>> {
        let starts = prop::sample::select(vec![
            &b""[..],
            b"\x00",
            b"\x01\x01\x00\x00\x21",
            b"\x16",
            b"\r\n\r\n\0",
            b"GET",
            b"PROXY",
            b"PROX",
        ]);
        (starts, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(start, rest)| [start, &rest[..]].concat())
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_a_decision(bytes in likely_bytes()) {
            let mut decided = Decision::NeedMore;
            for end in 0..=bytes.len() {
                let decision = decide(&bytes[..end]);
                prop_assert!(decided == Decision::NeedMore || decision == decided);
                decided = decision;
            }
        }

        #[test]
        fn a_few_bytes_are_always_enough(bytes in likely_bytes()) {
            prop_assume!(bytes.len() >= BYTES_TO_DECIDE_MAX);
            prop_assert_ne!(decide(&bytes), Decision::NeedMore);
        }

        #[test]
        fn every_stun_message_is_turn(
            kind in 0u16..0x0200,
            words in 0u16..400,
            transaction in any::<[u8; 12]>(),
        ) {
            let length = (words * 4).to_be_bytes();
            let message = [&kind.to_be_bytes()[..], &length, &MAGIC_COOKIE, &transaction].concat();
            prop_assert_eq!(decide(&message), Decision::Turn);
        }

        #[test]
        fn every_request_line_is_http(method in "[A-Z]{1,16}", path in "/[ -~]{0,40}") {
            prop_assume!(method != "PROXY");
            prop_assert_eq!(decide(format!("{method} {path} HTTP/1.1\r\n").as_bytes()), Decision::Http);
        }
    }
}

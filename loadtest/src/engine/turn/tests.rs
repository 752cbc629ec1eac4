//! A TURN server of few words, and what the client makes of its answers; a clock that the tests turn.

use proptest::prelude::*;
use wire::stun::HEADER_BYTES;

use super::*;

const REALM: &[u8] = b"north";
/// MD5 of `caller:north:secret`.
const KEY: [u8; 16] =
    [0xc6, 0x9c, 0xff, 0xb8, 0xf2, 0x69, 0x73, 0x6f, 0xb8, 0xb9, 0x25, 0xf6, 0x47, 0xbc, 0x02, 0xd6];

fn server() -> SocketAddr {
    "192.0.2.7:10000".parse().unwrap()
}

/// A client, its clock, and what it has sent.
struct World {
    now: Instant,
    client: TurnClient,
    sent: Vec<Vec<u8>>,
    key: Vec<u8>,
}

impl World {
    fn new(carrier: Carrier) -> Self {
        let now = Instant::now();
        let credentials = TurnCredentials { username: "caller".to_owned(), password: "secret".to_owned() };
        let client = TurnClient::new(now, carrier, credentials, 1);
        let mut world = Self { now, client, sent: Vec::new(), key: key() };
        world.collect();
        world
    }

    /// With an allocation and a channel.
    fn bound(carrier: Carrier) -> Self {
        let mut world = Self::new(carrier);
        world.challenge(ErrorCode::UNAUTHENTICATED, b"first");
        world.client.aim(world.now, server());
        world.allocate(600);
        world.succeed(&[]);
        assert_eq!(world.event(), Some(TurnEvent::Bound(server())));
        world
    }

    fn collect(&mut self) {
        let mut transmits = Transmits::default();
        while self.client.next_timeout().is_some_and(|at| at <= self.now) {
            self.client.handle_timeout(self.now, &mut transmits);
        }
        self.sent.extend(transmits.iter().map(<[u8]>::to_vec));
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.collect();
    }

    fn receive(&mut self, message: &[u8]) {
        assert_eq!(self.client.handle_message(self.now, message), None);
        self.collect();
    }

    fn request(&self) -> Message<'_> {
        Message::parse(self.sent.last().unwrap()).unwrap()
    }

    fn challenge(&mut self, code: ErrorCode, nonce: &[u8]) {
        let answer = Builder::answer(&self.request(), Class::Error)
            .error(code, "")
            .attribute(AttributeKind::REALM, REALM)
            .attribute(AttributeKind::NONCE, nonce);
        self.receive(&answer.finish());
    }

    fn refuse(&mut self, code: ErrorCode, reason: &str) {
        let answer = Builder::answer(&self.request(), Class::Error).error(code, reason);
        self.receive(&answer.sign(&self.key.clone()).finish());
    }

    fn succeed(&mut self, attributes: &[(AttributeKind, &[u8])]) {
        let mut answer = Builder::answer(&self.request(), Class::Success);
        for (kind, value) in attributes {
            answer = answer.attribute(*kind, value);
        }
        self.receive(&answer.sign(&self.key.clone()).finish());
    }

    fn allocate(&mut self, lifetime_s: u32) {
        let relayed = "198.51.100.1:49152".parse().unwrap();
        let answer = Builder::answer(&self.request(), Class::Success)
            .xor_address(AttributeKind::XOR_RELAYED_ADDRESS, relayed)
            .attribute(AttributeKind::LIFETIME, &lifetime_s.to_be_bytes());
        self.receive(&answer.sign(&self.key.clone()).finish());
        assert_eq!(self.event(), Some(TurnEvent::Allocated(relayed)));
    }

    fn event(&mut self) -> Option<TurnEvent> {
        self.client.poll_event()
    }

    fn failure(&mut self) -> String {
        match self.event() {
            Some(TurnEvent::Failed(why)) => {
                assert_eq!(self.client.next_timeout(), None, "nothing is due any more");
                why
            }
            other => panic!("{other:?}"),
        }
    }

    fn wrap(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut transmits = Transmits::default();
        self.client.wrap(datagram, &mut transmits).then(|| transmits.iter().next().unwrap().to_vec())
    }
}

fn key() -> Vec<u8> {
    KEY.to_vec()
}

#[test]
fn a_challenge_is_met_and_a_channel_bound() {
    let mut world = World::new(Carrier::Datagrams);
    assert_eq!(world.request().method(), Method::ALLOCATE);
    assert_eq!(world.request().attribute(AttributeKind::REQUESTED_TRANSPORT), Some(&[17, 0, 0, 0][..]));
    assert!(!world.request().has_integrity());
    let first = world.request().transaction_id();

    world.challenge(ErrorCode::UNAUTHENTICATED, b"first");
    assert_ne!(world.request().transaction_id(), first, "RFC 8489, 9.2.5: a new request");
    assert!(world.request().verify_integrity(&KEY));
    assert_eq!(world.request().username(), Some("caller"));
    assert_eq!(world.request().attribute(AttributeKind::NONCE), Some(&b"first"[..]));

    world.allocate(600);
    assert_eq!(world.wrap(b"early"), None);
    world.client.aim(world.now, server());
    world.collect();
    assert_eq!(world.request().method(), Method::CHANNEL_BIND);
    assert_eq!(world.request().xor_address(AttributeKind::XOR_PEER_ADDRESS), Some(server()));
    assert_eq!(world.request().attribute(AttributeKind::CHANNEL_NUMBER), Some(&[0x40, 0, 0, 0][..]));
    world.succeed(&[]);
    assert_eq!(world.event(), Some(TurnEvent::Bound(server())));
    assert_eq!(world.wrap(b"media"), Some(b"\x40\x00\x00\x05media".to_vec()));
}

#[test]
fn relayed_datagrams_come_out_of_both_forms() {
    let mut world = World::bound(Carrier::Datagrams);
    let now = world.now;
    assert_eq!(world.client.handle_message(now, b"\x40\x00\x00\x02hi padding"), Some(&b"hi"[..]));
    assert_eq!(world.client.handle_message(now, b"\x40\x01\x00\x02hi"), None, "another channel");
    let indication = |from: SocketAddr| {
        Builder::new(Class::Indication, Method::DATA, TransactionId([1; 12]))
            .xor_address(AttributeKind::XOR_PEER_ADDRESS, from)
            .attribute(AttributeKind::DATA, b"hi")
            .finish()
    };
    assert_eq!(world.client.handle_message(now, &indication(server())), Some(&b"hi"[..]));
    let stranger = indication("192.0.2.8:10000".parse().unwrap());
    assert_eq!(world.client.handle_message(now, &stranger), None);
}

#[test]
fn channel_data_is_padded_over_streams() {
    let world = World::bound(Carrier::Stream);
    assert_eq!(world.wrap(b"media"), Some(b"\x40\x00\x00\x05media\0\0\0".to_vec()));
    assert_eq!(world.wrap(&vec![0; 70_000]), None);
}

#[test]
fn refused_credentials_end_it() {
    let mut world = World::new(Carrier::Datagrams);
    world.challenge(ErrorCode::UNAUTHENTICATED, b"first");
    world.challenge(ErrorCode::UNAUTHENTICATED, b"second");
    assert_eq!(world.failure(), "the TURN server refuses the credentials (401)");
}

#[test]
fn a_stale_nonce_is_replaced_but_not_for_ever() {
    let mut world = World::bound(Carrier::Datagrams);
    world.pass(240.0);
    world.challenge(ErrorCode::STALE_NONCE, b"second");
    assert_eq!(world.request().attribute(AttributeKind::NONCE), Some(&b"second"[..]));
    world.challenge(ErrorCode::STALE_NONCE, b"third");
    world.challenge(ErrorCode::STALE_NONCE, b"fourth");
    assert_eq!(world.event(), None);
    world.challenge(ErrorCode::STALE_NONCE, b"fifth");
    assert_eq!(world.failure(), "the TURN server's challenge cannot be met");
}

#[test]
fn permission_and_allocation_are_renewed_before_they_end() {
    let mut world = World::bound(Carrier::Datagrams);
    world.sent.clear();
    world.pass(239.0);
    assert!(world.sent.is_empty());
    world.pass(1.0);
    assert_eq!(world.request().method(), Method::CHANNEL_BIND);
    world.succeed(&[]);
    world.pass(240.0);
    world.succeed(&[]);
    world.pass(60.0);
    assert_eq!(world.request().method(), Method::REFRESH);
    world.succeed(&[(AttributeKind::LIFETIME, &600u32.to_be_bytes())]);
    assert_eq!(world.event(), None, "a renewal is no news");
    assert_eq!(world.wrap(b"x").map(|wrapped| wrapped.len()), Some(5));
}

#[test]
fn a_hang_up_gives_the_allocation_back() {
    let mut world = World::bound(Carrier::Datagrams);
    let mut transmits = Transmits::default();
    world.client.hang_up(&mut transmits);
    let sent: Vec<Vec<u8>> = transmits.iter().map(<[u8]>::to_vec).collect();
    let refresh = Message::parse(&sent[0]).unwrap();
    assert_eq!(refresh.method(), Method::REFRESH);
    assert_eq!(refresh.attribute(AttributeKind::LIFETIME), Some(&[0; 4][..]));
    assert!(refresh.verify_integrity(&KEY));
    transmits.clear();
    world.client.hang_up(&mut transmits);
    assert!(transmits.is_empty() && world.client.next_timeout().is_none());
}

#[test]
fn a_silent_server_is_asked_five_times_over_udp_and_once_over_a_stream() {
    for (carrier, sends) in [(Carrier::Datagrams, 5), (Carrier::Stream, 1)] {
        let mut world = World::new(carrier);
        for _ in 0..154 {
            world.pass(0.1);
        }
        assert_eq!((world.sent.len(), world.event()), (sends, None));
        assert!(world.sent.iter().all(|each| *each == world.sent[0]), "RFC 8489, 6.2.1: the same message");
        world.pass(0.2);
        assert_eq!(world.failure(), "the TURN server does not answer");
    }
}

#[test]
fn a_refused_server_leaves_the_allocation_for_the_next() {
    let mut world = World::new(Carrier::Datagrams);
    world.challenge(ErrorCode::UNAUTHENTICATED, b"first");
    world.client.aim(world.now, server());
    world.allocate(600);
    world.refuse(ErrorCode::FORBIDDEN, "Forbidden IP\u{7}");
    let line = "the TURN server does not relay to this server (403 Forbidden IP)".to_owned();
    assert_eq!(world.event(), Some(TurnEvent::BindRefused(server(), line)));
    let other: SocketAddr = "[2001:db8::7]:10000".parse().unwrap();
    world.client.aim(world.now, other);
    world.collect();
    assert_eq!(world.request().attribute(AttributeKind::CHANNEL_NUMBER), Some(&[0x40, 1, 0, 0][..]));
    world.succeed(&[]);
    assert_eq!(world.event(), Some(TurnEvent::Bound(other)));
}

#[test]
fn every_refusal_of_an_allocation_is_one_clear_line() {
    for (code, reason, line) in [
        (
            486,
            "Allocation Quota Reached",
            "has reached its quota for these credentials (486 Allocation Quota Reached)",
        ),
        (508, "", "has no room left (508)"),
        (300, "", "sends us to another server (300)"),
        (437, "", "already has an allocation on this port (437)"),
        (441, "", "refuses the credentials (441)"),
        (500, "Oops", "refuses (500 Oops)"),
    ] {
        let mut world = World::new(Carrier::Datagrams);
        world.challenge(ErrorCode::UNAUTHENTICATED, b"first");
        world.refuse(ErrorCode(code), reason);
        assert_eq!(world.failure(), format!("the TURN server {line}"));
    }
}

#[test]
fn an_allocation_that_the_server_forgot_is_lost() {
    let mut world = World::bound(Carrier::Datagrams);
    world.pass(240.0);
    world.refuse(ErrorCode::ALLOCATION_MISMATCH, "");
    assert_eq!(world.failure(), "the TURN server no longer knows the allocation (437)");
    assert_eq!(world.wrap(b"x"), None);
}

#[test]
fn what_is_not_signed_is_not_believed() {
    let mut world = World::new(Carrier::Datagrams);
    world.challenge(ErrorCode::UNAUTHENTICATED, b"first");
    world.key = b"another".to_vec();
    world.succeed(&[(AttributeKind::LIFETIME, &[0, 0, 2, 0])]);
    world.refuse(ErrorCode::FORBIDDEN, "");
    let unsigned = Builder::answer(&world.request(), Class::Success)
        .xor_address(AttributeKind::XOR_RELAYED_ADDRESS, server())
        .finish();
    world.receive(&unsigned);
    assert_eq!(world.event(), None);
    world.key = key();
    world.allocate(600);
}

#[test]
fn a_challenge_without_a_nonce_cannot_be_met() {
    let mut world = World::new(Carrier::Datagrams);
    let answer = Builder::answer(&world.request(), Class::Error).error(ErrorCode::UNAUTHENTICATED, "");
    let answer = answer.attribute(AttributeKind::REALM, REALM).finish();
    world.receive(&answer);
    assert_eq!(world.failure(), "the TURN server's challenge cannot be met");
}

#[test]
fn a_lifetime_of_nothing_is_not_refreshed_all_the_time() {
    let mut world = World::new(Carrier::Datagrams);
    world.challenge(ErrorCode::UNAUTHENTICATED, b"first");
    world.allocate(0);
    let wait = world.client.next_timeout().unwrap() - world.now;
    assert_eq!(wait, Duration::from_secs(10));
}

proptest! {
    #[test]
    fn no_message_makes_it_panic_or_grow(
        class in 0u8..4, method in 0u16..0x10, kinds in prop::collection::vec((0u16..0x30, prop::collection::vec(any::<u8>(), 0..40)), 0..9),
        is_answer in any::<bool>(), is_signed in any::<bool>(), is_bound in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), length in any::<prop::sample::Index>(),
    ) {
        let mut world = if is_bound { World::bound(Carrier::Datagrams) } else { World::new(Carrier::Datagrams) };
        world.pass(240.0);
        let class = [Class::Request, Class::Indication, Class::Success, Class::Error][usize::from(class)];
        let mut message = match is_answer {
            true => Builder::answer(&world.request(), class),
            false => Builder::new(class, Method(method), TransactionId([7; 12])),
        };
        for (kind, value) in kinds {
            message = message.attribute(AttributeKind(kind), &value);
        }
        let mut bytes = if is_signed { message.sign(&KEY).finish() } else { message.finish() };
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        let cut = length.index(2 * bytes.len()).min(bytes.len());
        let _ = world.client.handle_message(world.now, &bytes[..cut]);
        world.collect();
        while let Some(event) = world.event() {
            let is_fair = matches!(event, TurnEvent::Failed(_)) || (is_answer && is_signed);
            prop_assert!(is_fair || matches!(event, TurnEvent::BindRefused(..) | TurnEvent::Allocated(_)), "{event:?}");
        }
        prop_assert!(world.sent.last().unwrap().len() >= HEADER_BYTES);
    }

    #[test]
    fn noise_is_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut world = World::new(Carrier::Datagrams);
        prop_assert_eq!(world.client.handle_message(world.now, &bytes), None);
        prop_assert_eq!(world.event(), None);
    }
}

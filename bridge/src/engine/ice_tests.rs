//! The claims about ICE, each from a browser's or an attacker's side.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

const UNKNOWN: AttributeKind = AttributeKind(0x7abc);

/// A browser (or who has its secrets) in front of the bridge's ICE.
struct World {
    now: Instant,
    ice: IceLite,
    local: IceCredentials,
    remote: IceCredentials,
    transactions: u64,
}

/// What a check looks like beyond its credentials.
#[derive(Clone, Copy)]
enum Check {
    Plain,
    Nominating,
    Controlled,
    WithUnknown,
}

impl World {
    fn new() -> Self {
        let (now, mut random) = (Instant::now(), StdRng::seed_from_u64(7));
        let (local, remote) = (credentials(&mut random), credentials(&mut random));
        let ice = IceLite::new(local.clone(), &remote, now);
        Self { now, ice, local, remote, transactions: 0 }
    }

    /// With keys, and sending to `path(1)`.
    fn connected() -> Self {
        let mut world = Self::new();
        world.answer(path(1), Check::Nominating);
        world.ice.handle_keys();
        world.wait(1_000);
        world
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn build(&mut self, check: Check) -> Builder {
        self.transactions += 1;
        let mut transaction = TransactionId([0; 12]);
        transaction.0[..8].copy_from_slice(&self.transactions.to_be_bytes());
        let username = format!("{}:{}", self.local.ufrag, self.remote.ufrag);
        let message = Builder::new(Class::Request, Method::BINDING, transaction)
            .attribute(AttributeKind::USERNAME, username.as_bytes())
            .attribute(AttributeKind::PRIORITY, &[0x6e, 0, 0, 1]);
        match check {
            Check::Plain => message.attribute(AttributeKind::ICE_CONTROLLING, &[1; 8]),
            Check::Nominating => message
                .attribute(AttributeKind::ICE_CONTROLLING, &[1; 8])
                .attribute(AttributeKind::USE_CANDIDATE, &[]),
            Check::Controlled => message.attribute(AttributeKind::ICE_CONTROLLED, &[1; 8]),
            Check::WithUnknown => message.attribute(UNKNOWN, &[1, 2, 3]),
        }
    }

    fn signed(&mut self, check: Check) -> Vec<u8> {
        let key = self.local.pwd.clone();
        self.build(check).sign(key.as_bytes()).fingerprint()
    }

    fn deliver(&mut self, path: Path, datagram: &[u8]) -> CheckOutcome {
        self.ice.handle_check(self.now, path, &Message::parse(datagram).unwrap())
    }

    /// Sends an authentic check and returns what it is answered with, the reply verified.
    fn answer(&mut self, path: Path, check: Check) -> CheckAnswer {
        let datagram = self.signed(check);
        let CheckOutcome::Answered(answer) = self.deliver(path, &datagram) else { panic!("not answered") };
        let reply = Message::parse(&answer.reply).unwrap();
        assert!(reply.verify_fingerprint() && reply.verify_integrity(self.local.pwd.as_bytes()));
        assert_eq!(reply.transaction_id(), Message::parse(&datagram).unwrap().transaction_id());
        answer
    }

    fn packet(&mut self, path: Path) -> Option<Path> {
        self.ice.handle_authenticated_packet(self.now, path)
    }
}

fn path(port: u16) -> Path {
    Path { remote: ([198, 51, 100, 1], port).into(), local: [192, 0, 2, 1].into() }
}

fn dropped(reason: DropReason) -> CheckOutcome {
    CheckOutcome::Dropped(reason)
}

#[test]
fn credentials_are_long_ice_chars_and_never_the_same() {
    let mut random = StdRng::seed_from_u64(1);
    let (one, other) = (credentials(&mut random), credentials(&mut random));
    assert_eq!((one.ufrag.len(), one.pwd.len()), (8, 24));
    assert!(one.ufrag.bytes().chain(one.pwd.bytes()).all(|byte| ICE_CHARS.contains(&byte)));
    assert!(one.ufrag != other.ufrag && one.pwd != other.pwd);
}

#[test]
fn a_forgotten_path_is_selected_no_more_and_is_new_when_it_comes_back() {
    let mut world = World::connected();
    world.answer(path(2), Check::Plain);
    world.ice.forget_path(path(2));
    assert_eq!((world.ice.selected(), world.ice.heard_at(path(2))), (Some(path(1)), None));
    world.answer(path(2), Check::Plain);
    world.ice.forget_path(path(1));
    assert_eq!((world.ice.selected(), world.ice.is_validated(path(1))), (None, false));
    assert_eq!(world.packet(path(1)), None);
    let answer = world.answer(path(1), Check::Nominating);
    assert_eq!((answer.is_new_path, answer.selected), (true, Some(path(1))));
    assert_eq!(world.ice.heard_at(path(1)), Some(world.now));
}

#[test]
fn a_check_is_answered_with_the_address_it_came_from() {
    let mut world = World::new();
    let answer = world.answer(path(1), Check::Plain);
    let reply = Message::parse(&answer.reply).unwrap();
    assert_eq!((reply.class(), reply.method()), (Class::Success, Method::BINDING));
    assert_eq!(reply.xor_mapped_address(), Some(path(1).remote));
    assert!(answer.is_new_path && world.ice.is_validated(path(1)));
    assert_eq!((answer.selected, world.ice.selected()), (None, None), "valid, but not nominated");
    assert!(!world.answer(path(1), Check::Plain).is_new_path);
}

#[test]
fn an_ipv6_browser_is_answered_as_well() {
    let mut world = World::new();
    let path = Path { remote: "[2001:db8::7]:4000".parse().unwrap(), local: "2001:db8::1".parse().unwrap() };
    let answer = world.answer(path, Check::Nominating);
    assert_eq!(Message::parse(&answer.reply).unwrap().xor_mapped_address(), Some(path.remote));
}

#[test]
fn the_first_nomination_selects_the_path() {
    let mut world = World::new();
    world.answer(path(1), Check::Plain);
    assert_eq!(world.answer(path(2), Check::Nominating).selected, Some(path(2)));
    assert_eq!(world.ice.selected(), Some(path(2)));
    assert_eq!(world.ice.paths().collect::<Vec<_>>(), [path(2), path(1)]);
}

#[test]
fn a_check_without_the_password_gets_no_answer() {
    let mut world = World::new();
    let forged = world.build(Check::Nominating).sign(b"another password").fingerprint();
    assert_eq!(world.deliver(path(1), &forged), dropped(DropReason::StunBadIntegrity));
    let unsigned = world.build(Check::Nominating).fingerprint();
    assert_eq!(world.deliver(path(1), &unsigned), dropped(DropReason::StunBadIntegrity));
    assert_eq!(world.ice.paths().count(), 0);
}

#[test]
fn a_check_without_a_right_fingerprint_gets_no_answer() {
    let mut world = World::new();
    let key = world.local.pwd.clone();
    let without = world.build(Check::Plain).sign(key.as_bytes()).finish();
    assert_eq!(world.deliver(path(1), &without), dropped(DropReason::StunBadFingerprint));
    let mut wrong = world.signed(Check::Plain);
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(world.deliver(path(1), &wrong), dropped(DropReason::StunBadFingerprint));
}

#[test]
fn a_check_for_another_pair_of_ufrags_gets_no_answer() {
    let mut world = World::new();
    let own = world.remote.ufrag.clone();
    for stranger in ["", "x", &"x".repeat(256), &format!("{own}:{own}")] {
        world.remote.ufrag = stranger.to_owned();
        let datagram = world.signed(Check::Nominating);
        assert_eq!(world.deliver(path(1), &datagram), dropped(DropReason::UnknownUfrag));
    }
}

#[test]
fn responses_and_indications_are_ignored_and_prolong_nothing() {
    let mut world = World::connected();
    let deadline = world.ice.consent_deadline();
    for class in [Class::Indication, Class::Success, Class::Error] {
        let datagram = Builder::new(class, Method::BINDING, TransactionId([9; 12])).fingerprint();
        assert_eq!(world.deliver(path(1), &datagram), dropped(DropReason::StunNotARequest));
    }
    let allocate = Builder::new(Class::Request, Method::ALLOCATE, TransactionId([9; 12])).fingerprint();
    assert_eq!(world.deliver(path(1), &allocate), dropped(DropReason::StunNotARequest));
    assert_eq!(world.ice.consent_deadline(), deadline);
}

#[test]
fn an_unknown_required_attribute_is_named_in_a_420_and_validates_nothing() {
    let mut world = World::new();
    let answer = world.answer(path(1), Check::WithUnknown);
    let reply = Message::parse(&answer.reply).unwrap();
    assert_eq!(reply.class(), Class::Error);
    assert_eq!(reply.error_code().unwrap().0, ErrorCode::UNKNOWN_ATTRIBUTE);
    assert_eq!(reply.attribute(AttributeKind::UNKNOWN_ATTRIBUTES), Some(UNKNOWN.0.to_be_bytes().as_slice()));
    assert!(!world.ice.is_validated(path(1)));
}

#[test]
fn a_role_conflict_is_answered_487_a_bounded_number_of_times() {
    let mut world = World::new();
    for _ in 0..ROLE_CONFLICTS_MAX {
        let answer = world.answer(path(1), Check::Controlled);
        let reply = Message::parse(&answer.reply).unwrap();
        assert_eq!(reply.error_code().unwrap().0, ErrorCode::ROLE_CONFLICT);
    }
    let datagram = world.signed(Check::Controlled);
    assert_eq!(world.deliver(path(1), &datagram), dropped(DropReason::StunRoleConflict));
    assert!(!world.ice.is_validated(path(1)));
    assert!(world.answer(path(1), Check::Plain).is_new_path, "the right role still works");
}

#[test]
fn attributes_behind_the_integrity_do_not_nominate() {
    let mut world = World::new();
    let key = world.local.pwd.clone();
    let message = world.build(Check::Plain).sign(key.as_bytes());
    let datagram = message.attribute(AttributeKind::USE_CANDIDATE, &[]).fingerprint();
    assert!(matches!(world.deliver(path(1), &datagram), CheckOutcome::Answered(_)));
    assert_eq!(world.ice.selected(), None);
}

#[test]
fn a_captured_check_sent_from_elsewhere_is_dropped() {
    let mut world = World::new();
    let datagram = world.signed(Check::Nominating);
    assert!(matches!(world.deliver(path(1), &datagram), CheckOutcome::Answered(_)));
    world.wait(500);
    assert_eq!(world.deliver(path(2), &datagram), dropped(DropReason::StunReplayed));
    assert_eq!(world.ice.selected(), Some(path(1)));
}

#[test]
fn a_captured_check_that_never_arrived_moves_no_media() {
    let mut world = World::connected();
    // On its way from path 1 the attacker kept it back; now it comes from path 2, for ever.
    for _ in 0..100 {
        assert_eq!(world.answer(path(2), Check::Nominating).selected, None);
        world.wait(200);
        assert_eq!(world.packet(path(1)), None);
    }
    assert_eq!(world.ice.selected(), Some(path(1)));
}

#[test]
fn a_repeated_request_is_answered_again_and_changes_nothing() {
    let mut world = World::new();
    let datagram = world.signed(Check::Plain);
    world.deliver(path(1), &datagram);
    let deadline = world.ice.consent_deadline();
    world.wait(500);
    let CheckOutcome::Answered(again) = world.deliver(path(1), &datagram) else { panic!("not answered") };
    assert_eq!((again.is_new_path, again.selected), (false, None));
    assert_eq!(world.ice.consent_deadline(), deadline);
}

#[test]
fn before_keys_the_last_nomination_counts() {
    let mut world = World::new();
    world.answer(path(1), Check::Nominating);
    world.wait(100);
    assert_eq!(world.answer(path(2), Check::Nominating).selected, Some(path(2)));
}

#[test]
fn after_keys_a_nominated_path_is_used_once_media_came_from_it() {
    let mut world = World::connected();
    assert_eq!(world.answer(path(2), Check::Nominating).selected, None);
    assert_eq!(world.ice.selected(), Some(path(1)));
    assert_eq!(world.packet(path(2)), Some(path(2)));
    assert_eq!(world.ice.selected(), Some(path(2)));
    assert_eq!(world.packet(path(2)), None, "only the change is told");
}

#[test]
fn media_from_a_path_that_is_not_nominated_moves_nothing() {
    let mut world = World::connected();
    world.answer(path(2), Check::Plain);
    assert_eq!(world.packet(path(2)), None);
    assert_eq!(world.packet(path(3)), None, "not even valid");
    assert_eq!(world.ice.selected(), Some(path(1)));
}

#[test]
fn late_packets_on_the_path_left_do_not_bring_it_back() {
    let mut world = World::connected();
    world.answer(path(1), Check::Nominating);
    world.answer(path(2), Check::Nominating);
    assert_eq!(world.packet(path(2)), Some(path(2)));
    world.wait(150);
    assert_eq!(world.packet(path(1)), None);
    world.answer(path(1), Check::Nominating);
    assert_eq!(world.packet(path(1)), Some(path(1)), "nominated anew it may");
}

#[test]
fn a_browser_that_nominates_everything_is_followed_by_its_media_alone() {
    let mut world = World::connected();
    for _ in 0..100 {
        for port in 1..=3 {
            world.answer(path(port), Check::Nominating);
        }
        world.wait(50);
        assert_eq!(world.packet(path(1)), None);
    }
    world.wait(50);
    assert_eq!(world.packet(path(3)), Some(path(3)));
}

#[test]
fn flapping_at_1_khz_switches_at_most_ten_times_a_second() {
    for has_keys in [false, true] {
        let (mut world, mut switches) = (World::new(), 0);
        world.answer(path(1), Check::Nominating);
        if has_keys {
            world.ice.handle_keys();
        }
        for step in 0..1_000 {
            world.wait(1);
            let port = 1 + step % 2;
            switches += usize::from(world.answer(path(port), Check::Nominating).selected.is_some());
            switches += usize::from(has_keys && world.packet(path(port)).is_some());
        }
        assert!((5..=10).contains(&switches), "{switches} switches");
    }
}

#[test]
fn the_ninth_path_takes_the_place_of_the_longest_silent_one() {
    let mut world = World::new();
    world.answer(path(1), Check::Nominating);
    for port in 2..=8 {
        world.wait(10);
        world.answer(path(port), Check::Plain);
    }
    world.wait(10);
    assert_eq!(world.answer(path(2), Check::Plain).evicted, None);
    let answer = world.answer(path(9), Check::Plain);
    assert_eq!((answer.evicted, answer.is_new_path), (Some(path(3)), true));
    assert!(!world.ice.is_validated(path(3)));
    assert_eq!(world.ice.selected(), Some(path(1)), "the selected one stays, however silent");
}

#[test]
fn consent_ends_30_s_after_the_last_sign_of_life() {
    let mut world = World::connected();
    world.packet(path(1));
    world.wait(29_999);
    assert!(!world.ice.is_silent(world.now));
    world.wait(1);
    assert!(world.ice.is_silent(world.now));
    world.answer(path(1), Check::Plain);
    assert!(!world.ice.is_silent(world.now));
}

#[test]
fn checks_on_another_path_do_not_prolong_consent_for_the_one_in_use() {
    let mut world = World::connected();
    for _ in 0..31 {
        world.wait(1_000);
        world.answer(path(2), Check::Plain);
    }
    assert!(world.ice.is_silent(world.now));
}

#[test]
fn an_endpoint_that_is_never_heard_is_silent_30_s_after_its_start() {
    let mut world = World::new();
    world.wait(30_000);
    assert!(world.ice.is_silent(world.now));
}

#[test]
fn a_restart_keeps_the_path_and_both_credentials_until_the_first_nomination() {
    let mut world = World::connected();
    let (old_local, old_remote) = (world.local.clone(), world.remote.clone());
    let mut random = StdRng::seed_from_u64(99);
    let (new_local, new_remote) = (credentials(&mut random), credentials(&mut random));
    assert_eq!(world.ice.restart(new_local.clone(), &new_remote), None);
    assert_eq!(world.ice.selected(), Some(path(1)));
    assert_eq!(world.ice.local_ufrags().count(), 2);
    assert_eq!(world.ice.local(), &new_local);

    // Under the old credentials checks are still answered, but nominate nothing new.
    assert_eq!(world.answer(path(2), Check::Nominating).retired_ufrag, None);
    assert_eq!(world.packet(path(2)), None);

    (world.local, world.remote) = (new_local, new_remote);
    assert_eq!(world.answer(path(3), Check::Plain).retired_ufrag, None);
    let answer = world.answer(path(3), Check::Nominating);
    assert_eq!(answer.retired_ufrag.as_deref(), Some(&*old_local.ufrag));
    assert_eq!(world.packet(path(3)), Some(path(3)));

    (world.local, world.remote) = (old_local, old_remote);
    let stale = world.signed(Check::Nominating);
    assert_eq!(world.deliver(path(3), &stale), dropped(DropReason::UnknownUfrag));
}

#[test]
fn a_second_restart_retires_the_credentials_before_the_first() {
    let mut world = World::new();
    let mut random = StdRng::seed_from_u64(5);
    let first = world.local.ufrag.clone();
    assert_eq!(world.ice.restart(credentials(&mut random), &world.remote), None);
    assert_eq!(world.ice.restart(credentials(&mut random), &world.remote), Some(first));
    assert_eq!(world.ice.local_ufrags().count(), 2);
}

proptest! {
    #[test]
    fn whatever_comes_the_paths_stay_bounded_and_the_selected_one_valid(
        steps in prop::collection::vec((1_u16..14, 0_u8..7, 0_u64..200), 1..150),
    ) {
        let mut world = World::new();
        let mut index = std::collections::BTreeSet::new();
        let mut selected = None;
        for (port, action, wait) in steps {
            world.wait(wait);
            let change = match action {
                0..=4 => {
                    let check = [Check::Plain, Check::Nominating, Check::Nominating, Check::Controlled, Check::WithUnknown];
                    let datagram = world.signed(check[usize::from(action)]);
                    match world.deliver(path(port), &datagram) {
                        CheckOutcome::Answered(answer) => {
                            index.extend(answer.is_new_path.then_some(path(port)));
                            answer.evicted.map(|evicted| index.remove(&evicted));
                            answer.selected
                        }
                        CheckOutcome::Dropped(_) => None,
                    }
                }
                5 => world.packet(path(port)),
                _ => {
                    world.ice.handle_keys();
                    None
                }
            };
            selected = change.or(selected);
            prop_assert_eq!(world.ice.selected(), selected, "each change is told");
            prop_assert!(world.ice.paths().count() <= PATHS_MAX);
            prop_assert_eq!(world.ice.paths().collect::<std::collections::BTreeSet<_>>(), index.clone());
            prop_assert!(selected.is_none_or(|selected| world.ice.is_validated(selected)));
        }
    }
}

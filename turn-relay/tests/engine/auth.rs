//! Who is let in.

use turn_relay::engine::auth::AuthFailure;
use turn_relay::engine::drop_reason::DropReason;
use turn_relay::engine::ports::{ExpiryCheck, Transport};

use crate::world::client::Client;
use crate::world::codec::*;
use crate::world::{DOMAIN, SECRET, UNIX_S, World, credentials, secs};

#[test]
fn case_7_a_first_allocate_is_challenged_in_64_bytes() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let request = client.allocate().encode();
    let reply = world.ask(&client, &request).unwrap();
    assert_eq!((reply.kind, reply.code()), (ALLOCATE | ERROR, 401));
    assert_eq!(reply.attribute(REALM), Some(DOMAIN.as_bytes()));
    assert_eq!(reply.attribute(NONCE).unwrap().len(), 16);
    assert_eq!(reply.bytes.len(), 64, "3.2 times the smallest request there is");
    assert_eq!(request.len(), 28);
}

#[test]
fn case_8_a_nonce_that_is_not_for_this_client_gets_438_and_a_new_one() {
    let mut world = World::new();
    let (mut client, mut other) = (Client::new(1), Client::new(2));
    world.challenge(&mut other);
    for nonce in [b"garbage".to_vec(), Vec::new(), vec![b'A'; 16], vec![b'A'; 600], other.nonce] {
        client.nonce = nonce;
        let request = client.allocate();
        let bytes = client.sign(request.clone());
        let reply = world.ask(&client, &bytes).unwrap();
        assert_eq!((reply.kind, reply.code()), (ALLOCATE | ERROR, 438));
        assert_eq!(reply.attribute(REALM), Some(DOMAIN.as_bytes()));
        client.nonce = reply.attribute(NONCE).unwrap().to_vec();
    }
    world.allocate(&mut client);
    assert_eq!(world.relay.stats().auth_failures.of(AuthFailure::ForgedNonce), 5);
}

#[test]
fn case_8_a_nonce_serves_for_its_lifetime_and_then_the_next_one_does() {
    let mut world = World::new();
    let (mut client, _) = world.allocated(1);
    world.run(secs(598));
    let before = client.nonce.clone();
    assert_eq!(world.refresh(&mut client, 600).code(), 0);
    assert_eq!(client.nonce, before);
    world.run(secs(3));
    let request = client.refresh(600);
    let bytes = client.sign(request);
    assert_eq!(world.ask(&client, &bytes).unwrap().code(), 438);
    assert_eq!(world.refresh(&mut client, 600).code(), 0, "the same with the new one");
    assert_ne!(client.nonce, before);
    assert_eq!(world.relay.stats().auth_failures.of(AuthFailure::StaleNonce), 2);
}

#[test]
fn case_9_wrong_credentials_get_401_whatever_is_wrong_with_them() {
    let mut world = World::new();
    let now = UNIX_S;
    let mut refused = Vec::new();
    let right = Client::new(1);
    refused.push((Client { password: "wrong".to_owned(), ..right.clone() }, AuthFailure::BadIntegrity));
    for username in ["nobody", "", "12ab:user", ":user", "-1:user"] {
        refused.push((right.clone().login(username), AuthFailure::UnknownUser));
    }
    // T16: a third colon behind the expiry, signs and sizes that overflow, control characters, names without end.
    for username in
        ["1900000000:a:b:c", "9223372036854775808:user", "1900000000:us\0er", "1900000000:user;admin=1"]
    {
        refused.push((right.clone().login(username), AuthFailure::UnknownUser));
    }
    let endless = format!("1900000000:{}", "u".repeat(502));
    refused.push((right.clone().login(&endless), AuthFailure::UnknownUser));
    refused.push((right.clone().login(&format!("{}:user", now - 1)), AuthFailure::Expired));
    refused.push((right.clone().login(&now.to_string()), AuthFailure::Expired));
    let ada = Client { username: "ada".to_owned(), password: "byron".to_owned(), ..right };
    refused.push((ada, AuthFailure::BadIntegrity));
    for (mut client, cause) in refused {
        let before = world.relay.stats().auth_failures.of(cause);
        let request = client.allocate();
        world.challenge(&mut client);
        let bytes = client.sign(request);
        let reply = world.ask(&client, &bytes).unwrap();
        assert_eq!(reply.code(), 401, "{:?}", client.username);
        assert_eq!(reply.bytes.len(), 64, "nothing tells one cause from another");
        assert_eq!(world.relay.stats().auth_failures.of(cause), before + 1, "{:?}", client.username);
        world.run(secs(1));
    }
}

#[test]
fn a_listed_user_and_one_whose_credential_is_only_an_expiry_are_let_in() {
    let mut world = World::new();
    let ada = Client::new(1);
    let mut ada = Client { username: "ada".to_owned(), password: "lovelace".to_owned(), ..ada };
    world.allocate(&mut ada);
    world.allocate(&mut Client::new(2).login("1900000000"));
    let users: Vec<_> = world.relay.allocations().into_iter().map(|view| view.user.into_string()).collect();
    assert_eq!(users, ["ada", "1900000000"]);
}

#[test]
fn case_10_another_realm_gets_401() {
    let mut world = World::new();
    let mut client = Client { realm: "elsewhere.org".to_owned(), ..Client::new(1) };
    world.challenge(&mut client);
    let request = client.allocate();
    let bytes = client.sign(request);
    assert_eq!(world.ask(&client, &bytes).unwrap().code(), 401);
    assert_eq!(world.relay.stats().auth_failures.of(AuthFailure::WrongRealm), 1);
}

#[test]
fn case_11_what_stands_behind_the_signature_is_ignored() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    let request = client.refresh(1_200);
    let mut bytes = client.sign(request);
    append(&mut bytes, LIFETIME, &[0; 4]);
    assert_eq!(world.ask(&client, &bytes).unwrap().lifetime(), 1_200);
    let request = client.create_permission(&["203.0.113.1:9".parse().unwrap()]);
    let smuggled = mask("203.0.113.2:9".parse().unwrap(), request.transaction);
    let mut bytes = client.sign(request);
    append(&mut bytes, XOR_PEER_ADDRESS, &smuggled);
    assert_eq!(world.ask(&client, &bytes).unwrap().code(), 0);
    assert!(world.peer_sends("203.0.113.1:9", relayed, b"x").is_some());
    assert!(world.peer_sends("203.0.113.2:9", relayed, b"x").is_none());
    // A second one inside the signature counts as little: the first of several is the one.
    let request = client.refresh(900).with(LIFETIME, [0; 4]);
    assert_eq!(world.request(&mut client, &request).lifetime(), 900);
}

#[test]
fn an_incomplete_signature_gets_400_without_a_nonce() {
    let mut world = World::new();
    let mut client = Client::new(1);
    world.challenge(&mut client);
    for missing in [USERNAME, REALM, NONCE] {
        let mut request = client.allocate();
        for (kind, value) in [
            (USERNAME, client.username.as_bytes()),
            (REALM, DOMAIN.as_bytes()),
            (NONCE, client.nonce.as_slice()),
        ] {
            if kind != missing {
                request = request.with(kind, value);
            }
        }
        let reply = world.ask(&client, &request.sign(&client.key())).unwrap();
        assert_eq!((reply.code(), reply.attributes.len()), (400, 1));
    }
}

#[test]
fn case_12_another_user_on_the_same_path_gets_441_and_changes_nothing() {
    let mut world = World::new();
    let (mut owner, relayed) = world.allocated(1);
    assert_eq!(world.permit(&mut owner, &["203.0.113.1:9"]), 0);
    let mut other = Client { nonce: owner.nonce.clone(), transaction: 1 << 40, ..owner.clone() };
    other = other.login("1900000000:somebody");
    assert_eq!(world.refresh(&mut other, 0).code(), 441);
    assert_eq!(world.permit(&mut other, &["203.0.113.2:9"]), 441);
    assert_eq!(world.bind(&mut other, 0x4000, "203.0.113.1:9"), 441);
    let request = other.allocate();
    assert_eq!(world.request(&mut other, &request).code(), 437, "the 5-tuple is in use, by whomever");
    // Not even the transaction of the owner's Allocate gets its answer.
    other.transaction = u64::from(owner.path.client.port()) << 32;
    let request = other.allocate();
    assert_eq!(world.request(&mut other, &request).code(), 437);
    assert!(world.peer_sends("203.0.113.1:9", relayed, b"x").is_some());
    assert!(world.peer_sends("203.0.113.2:9", relayed, b"x").is_none());
    assert_eq!(world.relay.stats().auth_failures.of(AuthFailure::WrongUser), 3);
}

/// A client whose credentials end in a minute.
fn short_lived(world: &mut World) -> Client {
    let mut client = Client::new(1).login(&format!("{}:user", UNIX_S + 60));
    world.allocate(&mut client);
    world.run(secs(61));
    client
}

#[test]
fn case_13_an_allocation_outlives_its_credentials_unless_told_otherwise() {
    let mut world = World::new();
    let mut client = short_lived(&mut world);
    assert_eq!(world.refresh(&mut client, 600).code(), 0);
    assert_eq!(world.permit(&mut client, &["203.0.113.1:9"]), 0);
    let mut again = Client { path: Client::new(2).path, ..client };
    world.challenge(&mut again);
    let request = again.allocate();
    let bytes = again.sign(request);
    assert_eq!(world.ask(&again, &bytes).unwrap().code(), 401, "a new one needs new credentials");
}

#[test]
fn case_13_strictly_checked_an_allocation_ends_within_its_lifetime() {
    let mut world = World::with(|setup| setup.engine.expiry = ExpiryCheck::Strict);
    let client = &mut short_lived(&mut world);
    let request = client.refresh(600);
    let bytes = client.sign(request);
    assert_eq!(world.ask(client, &bytes).unwrap().code(), 401);
    assert_eq!(world.relay.stats().auth_failures.of(AuthFailure::Expired), 1);
    assert_eq!(world.relay.allocations().len(), 1);
    world.run(secs(600));
    assert_eq!(world.relay.allocations(), []);
}

#[test]
fn case_14_a_flood_without_credentials_is_answered_within_its_budget() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let request = client.allocate().encode();
    let mut replies = 0;
    for _ in 0..10_000 {
        replies += usize::from(world.ask(&client, &request).is_some());
        world.now += std::time::Duration::from_millis(1);
    }
    assert!((100..=160).contains(&replies), "{replies} in ten seconds: 10 a second, and five seconds' worth");
    // From 100,000 ports of one address it is one source all the same.
    world.now += secs(60);
    let mut from_ports = 0;
    for port in 1_024..=65_535u16 {
        client.path.client.set_port(port);
        from_ports += usize::from(world.ask(&client, &request).is_some());
    }
    assert_eq!(from_ports, 50);
    assert_eq!(world.dropped(DropReason::ReplyBudget), 10_000 - replies as u64 + 64_512 - 50);
    assert_eq!(world.relay.allocations(), []);
}

#[test]
fn case_14_guessing_passwords_and_forging_nonces_have_the_same_budget() {
    let mut world = World::new();
    let mut client = Client { password: "guess".to_owned(), ..Client::new(1) };
    world.challenge(&mut client);
    let mut answered = 0;
    for guess in 0..1_000 {
        client.password = format!("guess {guess}");
        let request = client.allocate();
        let bytes = client.sign(request);
        answered += usize::from(world.ask(&client, &bytes).is_some());
    }
    client.nonce = vec![b'A'; 16];
    let request = client.allocate();
    let bytes = client.sign(request);
    assert_eq!(world.ask(&client, &bytes), None);
    assert_eq!(answered, 49, "one reply was the challenge");
    world.run(secs(1));
    world.allocate(&mut Client { path: client.path, ..Client::new(1) });
}

#[test]
fn an_allocate_that_cannot_succeed_is_not_worth_an_answer() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let request = client.bare(ALLOCATE).encode();
    assert_eq!(request.len(), 20);
    assert_eq!(world.ask(&client, &request), None);
    assert_eq!(world.dropped(DropReason::NotWorthAnAnswer), 1);
}

#[test]
fn a_stream_that_goes_on_guessing_is_closed_and_an_honest_office_is_not() {
    let mut world = World::new();
    for number in 0..400 {
        let mut client = Client::at(Transport::Tls, &format!("198.51.100.1:{}", 10_000 + number));
        client.username = format!("1900000000:user{number}");
        client.password = rest_password(SECRET, &client.username);
        world.allocate(&mut client);
    }
    assert_eq!(world.disconnected, []);
    let mut client = Client::at(Transport::Tls, "198.51.100.1:9999");
    for _ in 0..1_000 {
        let request = client.allocate().encode();
        world.ask(&client, &request);
    }
    assert!(world.disconnected.contains(&client.path));
}

#[test]
fn case_15_each_of_two_secrets_is_accepted_and_a_removed_one_is_not() {
    let mut world = World::with(|setup| setup.engine.credentials = credentials(&["the next secret", SECRET]));
    let (mut old, _) = world.allocated(1);
    let mut new = Client::new(2);
    new.password = rest_password("the next secret", &new.username);
    world.allocate(&mut new);
    world.relay.set_credentials(credentials(&["the next secret"]));
    let request = old.refresh(600);
    let bytes = old.sign(request);
    assert_eq!(world.ask(&old, &bytes).unwrap().code(), 401, "not even for the allocation that it has");
    assert_eq!(world.refresh(&mut new, 600).code(), 0);
    world.run(secs(601));
    assert_eq!(world.relay.allocations(), [], "neither was refreshed in time");
}

#[test]
fn a_forged_sender_that_would_answer_back_gets_no_reply() {
    let mut world = World::new();
    for port in [0, 7, 19, 53, 123] {
        let mut client = Client::at(Transport::Udp, &format!("198.51.100.1:{port}"));
        for message in [client.allocate().encode(), client.bare(BINDING).encode()] {
            assert_eq!(world.ask(&client, &message), None, "port {port}");
        }
    }
    let mut ourselves = Client::at(Transport::Udp, "192.0.2.1:3478");
    let message = ourselves.bare(BINDING).encode();
    assert_eq!(world.ask(&ourselves, &message), None);
    assert_eq!(world.dropped(DropReason::SuspectSource), 11);
}

#[test]
fn bindings_have_a_budget_and_a_switch() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let request = client.bare(BINDING).encode();
    let answered = (0..1_000).filter(|_| world.ask(&client, &request).is_some()).count();
    assert_eq!(answered, 250);
    world.allocate(&mut client);
    let mut off = World::with(|setup| setup.engine.binding = false);
    assert_eq!(off.ask(&client, &request), None);
    assert_eq!(off.dropped(DropReason::BindingOff), 1);
}

//! What an operator sees and does.

use turn_relay::engine::policy::rules::{Decision, Denial};
use turn_relay::engine::policy::settings::{BridgePeers, PolicyMode};
use turn_relay::engine::ports::Transport;
use turn_relay::engine::views::EndCause;

use crate::world::client::Client;
use crate::world::codec::*;
use crate::world::{World, addr, secs};

#[test]
fn a_stream_that_is_closed_takes_its_allocation_along() {
    let mut world = World::new();
    let mut client = Client::at(Transport::Tls, "198.51.100.1:50000");
    let relayed = world.allocate(&mut client);
    assert_eq!(world.relay.stats().allocations, [0, 0, 1]);
    world.relay.handle_client_gone(world.now, &client.path);
    world.relay.handle_client_gone(world.now, &client.path);
    world.carry_out();
    assert!(world.relay.is_empty() && !world.sockets.values().any(|local| *local == relayed));
    assert_eq!((world.ended.len(), world.ended[0].cause), (1, EndCause::ClientGone));
    assert_eq!(world.ended[0].transport, Transport::Tls);
}

#[test]
fn allocating_and_hanging_up_ten_thousand_times_leaves_nothing() {
    let mut world = World::new();
    let mut client = Client::at(Transport::Tcp, "198.51.100.1:50000");
    for _ in 0..10_000 {
        client.path.connection += 1;
        client.nonce.clear();
        world.allocate(&mut client);
        world.relay.handle_client_gone(world.now, &client.path);
        world.carry_out();
        world.now += std::time::Duration::from_millis(20);
    }
    assert!(world.relay.is_empty() && world.sockets.is_empty());
    assert_eq!(world.relay.next_timeout(), None);
    assert_eq!(world.relay.stats().allocations_created, 10_000);
}

#[test]
fn a_view_tells_what_an_allocation_holds() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(7);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.1:2000"), 0);
    assert_eq!(world.permit(&mut client, &["203.0.113.2:1"]), 0);
    let views = world.relay.allocations();
    assert_eq!(views.len(), 1);
    let view = &views[0];
    assert_eq!((view.path, &*view.user), (client.path, "user40007"));
    assert_eq!((view.relayed.as_slice(), view.expires_at), (&[relayed][..], world.now + secs(600)));
    assert_eq!(view.channels, [(0x4000, addr("203.0.113.1:2000"))]);
    assert_eq!(view.permissions.len(), 2);
}

#[test]
fn a_users_allocations_are_revoked_and_nobody_elses() {
    let mut world = World::new();
    let mut clients: Vec<Client> =
        (1..=3).map(|number| Client::new(number).login("1900000000:ada")).collect();
    for client in &mut clients {
        world.allocate(client);
    }
    world.allocated(4);
    assert_eq!(world.relay.revoke_user(world.now, "ada"), 3);
    world.carry_out();
    assert_eq!(world.relay.allocations().len(), 1);
    assert!(world.ended.iter().all(|record| record.cause == EndCause::Revoked && &*record.user == "ada"));
    assert_eq!(world.refresh(&mut clients[0], 600).code(), 437);
}

#[test]
fn a_relay_that_ends_says_so_of_every_allocation_and_holds_nothing() {
    let mut world = World::new();
    for number in 1..=3 {
        world.allocated(number);
    }
    world.relay.end_all(world.now);
    world.carry_out();
    assert_eq!(world.ended.len(), 3);
    assert!(world.ended.iter().all(|record| record.cause == EndCause::Stopped));
    assert!(world.relay.is_empty());
    assert_eq!(world.relay.stats().sockets, 0);
}

#[test]
fn explain_says_what_a_client_would_meet_and_why() {
    let mut world = World::with(|setup| {
        let addresses = vec![addr("127.0.0.1:10000")];
        setup.policy.bridges = vec![BridgePeers { name: "home".to_owned(), addresses }];
    });
    let (mut client, _) = world.allocated(1);
    for (peer, id, part) in [
        ("127.0.0.1:10000", "bridge", "bridge home"),
        ("127.0.0.1:10001", "port", "this port is not"),
        ("203.0.113.9:1024", "allow_list", "line 1 of the allow list"),
        ("203.0.113.9:80", "port", "1024-65535"),
        ("8.8.8.8:10000", "not_listed", "the mode is allow"),
        ("169.254.169.254:80", "link_local", "metadata"),
        ("192.0.2.1:3478", "own_listener", "the relay itself listens there"),
        ("192.0.2.1:9999", "documentation", "documentation"),
    ] {
        let explanation = world.relay.explain(addr(peer));
        assert_eq!(explanation.id, id, "{peer}");
        assert!(explanation.text.contains(part), "{}", explanation.text);
        let is_allowed = matches!(explanation.decision, Decision::Allowed(_));
        let code = world.bind(&mut client, 0x4000 + addr(peer).port() % 0x3fff, peer);
        assert_eq!(code, if is_allowed { 0 } else { 403 }, "{peer}");
    }
    let text = world.relay.explain(addr("[2002:7f00:1::]:0")).text;
    assert_eq!(
        text,
        "2002:7f00:1:: is denied: it is the 6to4 form of an IPv4 address 127.0.0.1, which is never relayed to"
    );
    let public = World::with(|setup| setup.policy.mode = PolicyMode::Public).relay;
    assert_eq!(public.explain(addr("8.8.8.8:10000")).id, "public");
    assert_eq!(public.explain(addr("10.0.0.1:10000")).decision, Decision::Denied(Denial::Private));
}

#[test]
fn an_idle_relay_wants_nothing_and_one_wake_ends_all_that_is_due() {
    let mut world = World::new();
    assert_eq!(world.relay.next_timeout(), None);
    for number in 0..200 {
        world.allocated(number);
    }
    assert_eq!(world.relay.next_timeout(), Some(world.now + secs(600)));
    world.now += secs(600);
    world.relay.handle_timeout(world.now);
    world.carry_out();
    assert_eq!(world.ended.len(), 200);
    assert_eq!(world.relay.next_timeout(), None);
}

#[test]
fn a_wall_clock_that_jumps_ends_no_allocation_and_no_nonce() {
    let mut world = World::new();
    let (mut client, _) = world.allocated(1);
    let request = client.refresh(600);
    let bytes = client.sign(request);
    for unix_s in [0, u64::MAX, crate::world::UNIX_S + 3_600] {
        world.relay.handle_client(world.now, unix_s, &client.path, &bytes);
        world.carry_out();
        assert_eq!(Stun::decode(&world.replies.pop_front().unwrap().1).code(), 0);
    }
}

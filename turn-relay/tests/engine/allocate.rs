//! What a client may ask for.

use turn_relay::engine::ports::{Drain, OpenFailure, Transport};
use turn_relay::engine::stats::QuotaKind;
use turn_relay::engine::views::EndCause;

use crate::world::client::Client;
use crate::world::codec::*;
use crate::world::{Setup, World, addr, secs};

/// The code of the answer to an Allocate that is as it should be but for what `change` adds.
fn code(world: &mut World, change: impl FnOnce(Stun) -> Stun) -> u16 {
    let mut client = Client::new(900);
    let request = change(client.allocate());
    let reply = world.request(&mut client, &request);
    if reply.code() == 0 {
        assert_eq!(world.refresh(&mut client, 0).code(), 0);
    }
    reply.code()
}

#[test]
fn case_16_only_udp_is_relayed() {
    let mut world = World::new();
    let mut client = Client::new(1);
    world.challenge(&mut client);
    let mut code = |request: Stun| {
        let bytes = client.sign(request);
        world.ask(&client, &bytes).unwrap().code()
    };
    let mut other = Client::new(1);
    assert_eq!(code(other.bare(ALLOCATE)), 400);
    for (transport, expected) in [(6, 442), (99, 442), (0, 442)] {
        assert_eq!(code(other.bare(ALLOCATE).with(REQUESTED_TRANSPORT, [transport, 0, 0, 0])), expected);
    }
    assert_eq!(code(other.bare(ALLOCATE).with(REQUESTED_TRANSPORT, [17])), 400);
    assert_eq!(code(other.bare(ALLOCATE).with(REQUESTED_TRANSPORT, [17, 1, 2, 3])), 0, "the rest is ignored");
}

#[test]
fn case_17_each_family_is_had_alone() {
    let mut world = World::new();
    assert!(world.allocated_family(1, 1).1.is_ipv4());
    assert!(world.allocated_family(2, 2).1.is_ipv6());
    assert!(world.allocated(3).1.is_ipv4());
    for family in [0, 3, 0x7f] {
        assert_eq!(
            code(&mut world, |request| request.with(REQUESTED_ADDRESS_FAMILY, [family, 0, 0, 0])),
            440
        );
    }
    assert_eq!(code(&mut world, |request| request.with(REQUESTED_ADDRESS_FAMILY, [1])), 400);
}

#[test]
fn case_17_a_family_without_an_address_gets_440() {
    let mut world = World::with(|setup| setup.engine.relays.truncate(1));
    assert_eq!(code(&mut world, |request| request.with(REQUESTED_ADDRESS_FAMILY, [2, 0, 0, 0])), 440);
    assert_eq!(code(&mut world, |request| request), 0);
    let mut world = World::with(|setup| setup.engine.relays = vec![setup.engine.relays[1]]);
    assert_eq!(code(&mut world, |request| request), 440);
}

#[test]
fn case_17_both_families_come_together_or_one_with_the_others_error() {
    let mut world = World::new();
    for (requested, additional) in [(Some(1), 2), (Some(2), 2), (None, 1), (None, 9)] {
        let wrong = |mut request: Stun| {
            if let Some(requested) = requested {
                request = request.with(REQUESTED_ADDRESS_FAMILY, [requested, 0, 0, 0]);
            }
            request.with(ADDITIONAL_ADDRESS_FAMILY, [additional, 0, 0, 0])
        };
        assert_eq!(code(&mut world, wrong), 400, "{requested:?} and {additional}");
    }
    let both = |world: &mut World| {
        let mut client = Client::new(1);
        let request = client.allocate().with(ADDITIONAL_ADDRESS_FAMILY, [2, 0, 0, 0]);
        world.request(&mut client, &request)
    };
    let reply = both(&mut world);
    let relayed = reply.addresses(XOR_RELAYED_ADDRESS);
    assert!(relayed.len() == 2 && relayed[0].is_ipv4() && relayed[1].is_ipv6(), "{relayed:?}");
    assert_eq!(reply.attribute(ADDRESS_ERROR_CODE), None);
    let mut only_v4 = World::with(|setup| setup.engine.relays.truncate(1));
    let reply = both(&mut only_v4);
    assert_eq!(reply.addresses(XOR_RELAYED_ADDRESS).len(), 1);
    assert_eq!(reply.attribute(ADDRESS_ERROR_CODE), Some(&[2, 0, 4, 40][..]));
}

#[test]
fn a_dual_allocation_ends_family_by_family() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let request = client.allocate().with(ADDITIONAL_ADDRESS_FAMILY, [2, 0, 0, 0]);
    let relayed = world.request(&mut client, &request).addresses(XOR_RELAYED_ADDRESS);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.1:2000"), 0);
    assert_eq!(world.bind(&mut client, 0x4001, "[2001:db8:1::1]:2000"), 0);
    let request = client.refresh(0).with(REQUESTED_ADDRESS_FAMILY, [1, 0, 0, 0]);
    assert_eq!(world.request(&mut client, &request).lifetime(), 0);
    assert!(world.peer_sends("203.0.113.1:9", relayed[0], b"x").is_none());
    assert!(world.peer_sends("[2001:db8:1::1]:9", relayed[1], b"x").is_some());
    assert_eq!(world.permit(&mut client, &["203.0.113.1:9"]), 443);
    let stats = world.relay.stats();
    assert_eq!((stats.permissions, stats.channels, stats.sockets), (1, 1, 1));
    let again = client.refresh(0).with(REQUESTED_ADDRESS_FAMILY, [1, 0, 0, 0]);
    assert_eq!(world.request(&mut client, &again).code(), 443);
    assert_eq!(world.ended, []);
    assert_eq!(world.refresh(&mut client, 0).code(), 0);
    assert_eq!(world.ended.len(), 1);
    assert!(world.sockets.is_empty());
}

#[test]
fn case_18_a_token_and_an_even_port_do_not_go_together() {
    let mut world = World::new();
    let token = |request: Stun| request.with(RESERVATION_TOKEN, [1; 8]);
    assert_eq!(code(&mut world, |request| token(request).with(EVEN_PORT, [0])), 400);
    assert_eq!(code(&mut world, |request| token(request).with(REQUESTED_ADDRESS_FAMILY, [1, 0, 0, 0])), 400);
    assert_eq!(code(&mut world, |request| token(request).with(ADDITIONAL_ADDRESS_FAMILY, [2, 0, 0, 0])), 400);
    assert_eq!(code(&mut world, token), 508, "nobody holds this one");
    assert_eq!(code(&mut world, |request| request.with(RESERVATION_TOKEN, [1; 7])), 400);
    let dual = |request: Stun| request.with(ADDITIONAL_ADDRESS_FAMILY, [2, 0, 0, 0]);
    assert_eq!(code(&mut world, |request| dual(request).with(EVEN_PORT, [0x80])), 400);
    assert_eq!(code(&mut world, |request| request.with(EVEN_PORT, [0, 0])), 400);
}

#[test]
fn case_18_a_reserved_port_is_the_next_one_and_its_holders() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let request = client.allocate().with(EVEN_PORT, [0x80]);
    let reply = world.request(&mut client, &request);
    let first = reply.addresses(XOR_RELAYED_ADDRESS)[0];
    let token = reply.attribute(RESERVATION_TOKEN).unwrap().to_vec();
    assert!(first.port().is_multiple_of(2) && token.len() == 8);
    let mut thief = Client::new(2);
    let request = thief.allocate().with(RESERVATION_TOKEN, token.clone());
    assert_eq!(world.request(&mut thief, &request).code(), 508, "another user's");
    let mut second = Client { path: Client::new(3).path, nonce: Vec::new(), ..client.clone() };
    let request = second.allocate().with(RESERVATION_TOKEN, token.clone());
    let next = world.request(&mut second, &request).addresses(XOR_RELAYED_ADDRESS)[0];
    assert_eq!((next.ip(), next.port()), (first.ip(), first.port() + 1));
    let mut third = Client { path: Client::new(4).path, nonce: Vec::new(), ..client };
    let request = third.allocate().with(RESERVATION_TOKEN, token);
    assert_eq!(world.request(&mut third, &request).code(), 508, "a token serves once");
    assert_eq!(world.relay.stats().reservations, 0);
}

#[test]
fn case_18_an_even_port_alone_keeps_no_other() {
    let mut world = World::with(|setup| setup.engine.ports = 50_000..=50_003);
    for number in 1..=2 {
        let mut client = Client::new(number);
        let request = client.allocate().with(EVEN_PORT, [0]);
        let reply = world.request(&mut client, &request);
        assert!(reply.addresses(XOR_RELAYED_ADDRESS)[0].port().is_multiple_of(2));
        assert_eq!(reply.attribute(RESERVATION_TOKEN), None);
    }
    assert_eq!(code(&mut world, |request| request.with(EVEN_PORT, [0])), 508, "no even one is left");
    for number in 3..=4 {
        assert!(!world.allocated(number).1.port().is_multiple_of(2));
    }
    assert_eq!(code(&mut world, |request| request), 508);
    assert_eq!(world.relay.stats().quota_rejects.of(QuotaKind::Ports), 2);
}

#[test]
fn a_reservation_nobody_comes_for_ends_and_leaks_nothing() {
    let mut world = World::with(|setup| setup.engine.ports = 50_000..=50_003);
    let mut client = Client::new(1);
    let request = client.allocate().with(EVEN_PORT, [0x80]);
    let token = world.request(&mut client, &request).attribute(RESERVATION_TOKEN).unwrap().to_vec();
    assert_eq!(world.relay.stats().reservations, 1);
    world.run(secs(31));
    assert_eq!(world.relay.stats().reservations, 0);
    let mut late = Client { path: Client::new(2).path, nonce: Vec::new(), ..client.clone() };
    let request = late.allocate().with(RESERVATION_TOKEN, token);
    assert_eq!(world.request(&mut late, &request).code(), 508);
    for _ in 0..2_000 {
        assert_eq!(world.refresh(&mut client, 0).code(), 0);
        let request = client.allocate().with(EVEN_PORT, [0x80]);
        assert_eq!(world.request(&mut client, &request).code(), 0);
        world.run(secs(31));
    }
    assert_eq!(world.relay.stats().sockets, 1);
}

#[test]
fn a_user_cannot_hoard_ports_by_reserving_them() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let mut codes = Vec::new();
    for _ in 0..20 {
        let request = client.allocate().with(EVEN_PORT, [0x80]);
        codes.push(world.request(&mut client, &request).code());
        world.refresh(&mut client, 0);
    }
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 11, "a reservation counts as an allocation");
    assert_eq!(codes.last(), Some(&486));
}

#[test]
fn case_19_fragments_are_forbidden_where_the_host_can_and_420_where_not() {
    let mut world = World::new();
    let mut client = Client::new(1);
    let request = client.allocate().with(DONT_FRAGMENT, []);
    assert_eq!(world.request(&mut client, &request).code(), 0);
    assert_eq!(world.permit(&mut client, &["203.0.113.1:1234"]), 0);
    let send = client.send(addr("203.0.113.1:1234"), b"x").with(DONT_FRAGMENT, []).encode();
    assert!(world.deliver(&client, &send).unwrap().dont_fragment);
    assert!(!world.send(&mut client, "203.0.113.1:1234", b"x").unwrap().dont_fragment);
    let mut cannot = World::with(|setup| setup.engine.dont_fragment = false);
    let mut client = Client::new(1);
    let request = client.allocate().with(DONT_FRAGMENT, []);
    let reply = cannot.request(&mut client, &request);
    assert_eq!(reply.code(), 420);
    assert_eq!(reply.attribute(UNKNOWN_ATTRIBUTES), Some(&[0, 0x1a][..]));
    cannot.allocate(&mut client);
    assert_eq!(cannot.permit(&mut client, &["203.0.113.1:1234"]), 0);
    let send = client.send(addr("203.0.113.1:1234"), b"x").with(DONT_FRAGMENT, []).encode();
    assert_eq!(cannot.deliver(&client, &send), None);
}

#[test]
fn case_20_a_lifetime_is_never_less_than_ten_minutes_nor_more_than_the_maximum() {
    let mut world = World::new();
    for (number, (asked, granted)) in
        [(Some(0), 600), (None, 600), (Some(999_999), 3_600), (Some(u32::MAX), 3_600), (Some(1_000), 1_000)]
            .into_iter()
            .enumerate()
    {
        let mut client = Client::new(number as u16);
        let mut request = client.allocate();
        if let Some(asked) = asked {
            request = request.with(LIFETIME, u32::to_be_bytes(asked));
        }
        assert_eq!(world.request(&mut client, &request).lifetime(), granted, "{asked:?}");
    }
    let (mut client, _) = world.allocated(100);
    assert_eq!(world.refresh(&mut client, 1).lifetime(), 600);
    assert_eq!(world.refresh(&mut client, u32::MAX).lifetime(), 3_600);
}

#[test]
fn case_21_a_second_allocate_is_a_mismatch_and_a_repeated_one_gets_the_same_answer() {
    let mut world = World::new();
    let mut client = Client::new(1);
    world.challenge(&mut client);
    let request = client.allocate().with(EVEN_PORT, [0x80]);
    let bytes = client.sign(request);
    let first = world.ask(&client, &bytes).unwrap();
    assert_eq!(first.code(), 0);
    world.run(secs(3));
    assert_eq!(world.ask(&client, &bytes).unwrap().bytes, first.bytes);
    let other = client.allocate();
    assert_eq!(world.request(&mut client, &other).code(), 437);
    assert_eq!(world.relay.allocations().len(), 1);
}

#[test]
fn an_allocate_repeated_while_its_socket_opens_is_answered_once() {
    let mut world = World::new();
    world.opens = false;
    let mut client = Client::new(1);
    world.challenge(&mut client);
    let request = client.allocate();
    let bytes = client.sign(request);
    assert_eq!((world.ask(&client, &bytes), world.ask(&client, &bytes)), (None, None));
    let [(key, _)] = world.asked[..] else { panic!("one socket was asked for") };
    world.relay.handle_socket_opened(world.now, key, Ok(()));
    world.relay.handle_socket_opened(world.now, key, Ok(()));
    world.carry_out();
    assert_eq!(world.replies.len(), 1);
}

#[test]
fn a_port_that_another_program_holds_is_passed_over() {
    let mut world = World::with(|setup| setup.engine.ports = 50_000..=50_003);
    world.in_use.extend([50_000, 50_001, 50_003]);
    assert_eq!(world.allocated(1).1.port(), 50_002);
    assert_eq!(code(&mut world, |request| request), 508);
    let stats = world.relay.stats();
    assert_eq!((stats.sockets, stats.allocations_created), (1, 1));
    world.in_use.clear();
    let mut ports: Vec<u16> = (2..=4).map(|number| world.allocated(number).1.port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [50_000, 50_001, 50_003], "what failed is free again");
}

#[test]
fn a_host_without_descriptors_gets_508_and_keeps_nothing() {
    let mut world = World::new();
    world.opens = false;
    let mut client = Client::new(1);
    world.challenge(&mut client);
    let request = client.allocate();
    let bytes = client.sign(request);
    assert_eq!(world.ask(&client, &bytes), None);
    let key = world.asked[0].0;
    world.relay.handle_socket_opened(world.now, key, Err(OpenFailure::Exhausted));
    world.carry_out();
    let reply = Stun::decode(&world.replies.pop_front().unwrap().1);
    assert_eq!(reply.code(), 508);
    assert!(reply.is_signed_by(&client.key()));
    assert!(world.relay.is_empty() && world.ended.is_empty());
    assert_eq!(world.relay.next_timeout(), None);
}

#[test]
fn case_22_one_more_than_the_quota_gets_486_and_other_users_are_fine() {
    let mut world = World::new();
    let mut clients: Vec<Client> =
        (1..=13).map(|number| Client::new(number).login("1900000000:ada")).collect();
    let mut codes = Vec::new();
    for client in &mut clients {
        let request = client.allocate();
        codes.push(world.request(client, &request).code());
    }
    assert_eq!(codes[..12], [0; 12]);
    assert_eq!(codes[12], 486);
    world.allocated(100);
    // Another expiry is the same participant.
    let mut renewed = Client::new(14).login("1900000001:ada");
    let request = renewed.allocate();
    assert_eq!(world.request(&mut renewed, &request).code(), 486);
    assert_eq!(world.refresh(&mut clients[0], 0).code(), 0);
    let request = clients[12].allocate();
    assert_eq!(world.request(&mut clients[12], &request).code(), 0);
    assert_eq!(world.relay.stats().quota_rejects.of(QuotaKind::UserAllocations), 2);
}

#[test]
fn case_22_an_empty_pool_gets_508_and_recovers_when_something_expires() {
    let mut world = World::with(|setup: &mut Setup| setup.engine.ports = 50_000..=50_000);
    let (_, relayed) = world.allocated(1);
    assert_eq!(relayed.port(), 50_000);
    assert_eq!(code(&mut world, |request| request), 508);
    world.run(secs(601));
    assert_eq!(world.allocated(2).1.port(), 50_000);
}

#[test]
fn case_22_a_draining_relay_sends_newcomers_elsewhere_and_keeps_its_own() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.permit(&mut client, &["203.0.113.1:9"]), 0);
    world.relay.set_drain(Drain::Redirect(addr("192.0.2.9:443")));
    let mut newcomer = Client::new(2);
    let request = newcomer.allocate();
    let reply = world.request(&mut newcomer, &request);
    assert_eq!(reply.code(), 300);
    assert_eq!(reply.attribute(ALTERNATE_SERVER), Some(&[0, 1, 1, 0xbb, 192, 0, 2, 9][..]));
    let mut newcomer_v6 = Client::at(Transport::Udp, "[2001:db8:2::1]:40000");
    let request = newcomer_v6.allocate();
    assert_eq!(world.request(&mut newcomer_v6, &request).code(), 508, "it has no way to that server");
    assert_eq!(world.refresh(&mut client, 600).code(), 0);
    assert!(world.peer_sends("203.0.113.1:9", relayed, b"x").is_some());
    assert!(world.relay.stats().draining);
    world.relay.set_drain(Drain::Refuse);
    let request = newcomer.allocate();
    assert_eq!(world.request(&mut newcomer, &request).code(), 508);
    assert_eq!(world.refresh(&mut client, 0).code(), 0);
    assert!(world.relay.is_empty());
}

#[test]
fn case_23_a_released_allocation_is_gone_at_once() {
    let mut world = World::with(|setup| setup.engine.ports = 50_000..=50_000);
    let (mut client, relayed) = world.allocated(1);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.1:1234"), 0);
    assert_eq!(world.refresh(&mut client, 0).lifetime(), 0);
    assert!(world.peer_sends("203.0.113.1:1234", relayed, b"x").is_none());
    assert_eq!(world.deliver(&client, &channel_data(0x4000, b"x")), None);
    assert_eq!(world.refresh(&mut client, 0).code(), 437);
    assert_eq!(world.refresh(&mut client, 600).code(), 437);
    assert_eq!(world.allocated(2).1.port(), 50_000, "the port is another's");
    assert_eq!(world.ended[0].cause, EndCause::Released);
    assert!(world.peer_sends("203.0.113.1:1234", relayed, b"x").is_none(), "without its permissions");
}

#[test]
fn case_24_an_allocation_that_is_not_refreshed_ends_at_its_lifetime() {
    let mut world = World::new();
    let (mut client, relayed) = world.allocated(1);
    world.run(secs(300));
    assert_eq!(world.refresh(&mut client, 600).code(), 0);
    assert_eq!(world.bind(&mut client, 0x4000, "203.0.113.1:1234"), 0);
    world.run(secs(299));
    assert!(world.peer_sends("203.0.113.1:1234", relayed, b"x").is_some());
    world.run(secs(300));
    assert!(world.deliver(&client, &channel_data(0x4000, b"x")).is_some(), "599 s after the refresh");
    assert_eq!(world.relay.stats().allocations, [1, 0, 0]);
    world.run(secs(1));
    assert_eq!(world.deliver(&client, &channel_data(0x4000, b"x")), None);
    assert!(world.peer_sends("203.0.113.1:1234", relayed, b"x").is_none());
    let stats = world.relay.stats();
    assert_eq!((stats.allocations, stats.permissions, stats.channels, stats.sockets), ([0, 0, 0], 0, 0, 0));
    assert_eq!((world.ended[0].cause, world.ended[0].lived), (EndCause::Expired, secs(900)));
    assert_eq!(world.relay.next_timeout(), None);
}

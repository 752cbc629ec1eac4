use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use super::super::client::{FlushOutcome, ReadOutcome};
use super::world::{Kind, World, accept, server_connection};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn messages_arrive_however_they_are_cut_into_segments_and_records() {
    let messages = [stun(1, 8), channel_data(0x4000, b"abcde"), stun(2, 0), channel_data(0x7fff, &[7; 1200])];
    let stream: Vec<u8> = messages.iter().cloned().flat_map(padded).collect();
    for kind in Kind::ALL {
        for bytes in [3, 50, stream.len()] {
            let (mut world, mut far) = World::new(kind);
            for piece in stream.chunks(bytes) {
                far.write_all(piece).unwrap();
            }
            assert_eq!(world.read(messages.len()), (messages.to_vec(), None), "{kind:?}, {bytes} each");
        }
    }
}

#[test]
fn what_came_early_comes_first() {
    let stream = [stun(1, 8), stun(2, 8)].concat();
    for kind in Kind::ALL {
        let (mut new, mut far) = accept(kind, None);
        far.write_all(&stream[30..]).unwrap();
        new.early = stream[..30].to_vec();
        let (messages, _) = World::of(new).read(2);
        assert_eq!(messages, [stun(1, 8), stun(2, 8)], "{kind:?}");
    }
}

#[test]
fn what_tls_had_decrypted_during_the_handshake_is_not_lost() {
    for kind in Kind::TLS {
        let (mut new, mut far) = accept(kind, None);
        far.write_all(&stun(1, 8)).unwrap();
        let tls = new.tls.as_mut().unwrap();
        tls.read_tls(&mut new.socket).unwrap();
        tls.process_new_packets().unwrap();
        let (messages, _) = World::of(new).read(1);
        assert_eq!(messages, [stun(1, 8)], "{kind:?}");
    }
}

#[test]
fn what_follows_a_goodbye_of_the_handshake_is_not_read() {
    for kind in Kind::TLS {
        let (mut new, mut far) = accept(kind, None);
        let mut raw = far.socket().try_clone().unwrap();
        far.write_all(&stun(1, 8)).unwrap();
        far.close();
        let tls = new.tls.as_mut().unwrap();
        while !tls.process_new_packets().unwrap().peer_has_closed() {
            tls.read_tls(&mut new.socket).unwrap();
        }
        raw.write_all(&[0x17; 100]).unwrap();
        let expected = (vec![stun(1, 8)], CloseReason::ByClient);
        assert_eq!(World::of(new).read_to_end(), expected, "{kind:?}");
    }
}

#[test]
fn a_stream_ends_under_the_name_of_what_the_client_did() {
    for kind in Kind::ALL {
        let (mut world, mut far) = World::new(kind);
        far.write_all(&stun(1, 8)).unwrap();
        far.close();
        assert_eq!(world.read_to_end(), (vec![stun(1, 8)], CloseReason::ByClient), "{kind:?}: goodbye");

        let (mut world, mut far) = World::new(kind);
        far.write_all(&stun(1, 8)[..9]).unwrap();
        far.socket().shutdown(Shutdown::Write).unwrap();
        assert_eq!(world.read_to_end().1, CloseReason::CutShort, "{kind:?}: within a message");

        let (mut world, mut far) = World::new(kind);
        SockRef::from(&*far.socket()).set_linger(Some(Duration::ZERO)).unwrap();
        drop(far);
        assert_eq!(world.read_to_end().1, CloseReason::Reset, "{kind:?}: reset");

        let (mut world, mut far) = World::new(kind);
        far.write_all(b"\x16\x03\x01 another hello").unwrap();
        assert_eq!(world.read_to_end(), (vec![], CloseReason::NotTurn), "{kind:?}: another protocol");
    }
}

#[test]
fn a_record_that_is_none_ends_the_stream() {
    for kind in Kind::TLS {
        for bytes in [&[0x17, 3, 3, 0, 64][..], &[0x80, 1, 2, 3, 4], b"\x17\x03\x03\xff\xff"] {
            let (mut world, mut far) = World::new(kind);
            far.socket().write_all(bytes).unwrap();
            far.socket().write_all(&[0; 64]).unwrap();
            assert_eq!(world.read_to_end(), (vec![], CloseReason::TlsRecord), "{kind:?} {bytes:x?}");
        }
    }
}

#[test]
fn a_tls_client_is_told_goodbye() {
    for kind in Kind::TLS {
        let (world, mut far) = World::new(kind);
        drop(world);
        assert_eq!(far.read(&mut [0; 10]).unwrap(), 0, "{kind:?}: anything else is an error of TLS");
    }
}

#[test]
fn a_stream_whose_handshake_is_not_done_is_refused() {
    let (mut new, _far) = accept(Kind::Tcp, None);
    new.tls = Some(Box::new(server_connection()));
    let mut world = World::of(new);
    assert_eq!(world.read(1).1, Some(CloseReason::TlsFailed));
    assert_eq!(world.flush(), Some(CloseReason::TlsFailed));
}

#[test]
fn the_place_among_those_of_its_address_is_given_back_at_the_end() {
    let (mut new, _far) = accept(Kind::Tls13, None);
    let seat = Arc::new(());
    new.seat = Box::new(Arc::clone(&seat));
    let world = World::of(new);
    assert_eq!(Arc::strong_count(&seat), 2);
    drop(world);
    assert_eq!(Arc::strong_count(&seat), 1);
}

#[test]
fn the_kernel_neither_delays_small_writes_nor_queues_large_ones() {
    let (mut world, _far) = World::new(Kind::Tcp);
    let socket = SockRef::from(&*world.client.source());
    assert!(socket.tcp_nodelay().unwrap());
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), 16 * 1024);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(30 * SECOND));
}

#[test]
fn a_busy_client_does_not_keep_the_shard() {
    let (mut world, mut far) = World::new(Kind::Tcp);
    world.client.set_has_allocation(true, world.now);
    far.write_all(&padded(channel_data(0x4000, &[0; 4000]))).unwrap();
    let (mut messages, mut scratch) = (0, [0; 256]);
    let mut read = || world.client.read(world.now, &mut scratch, &mut |_| messages += 1);
    // All of it is on loopback already: each of these reads finds its share.
    assert_eq!((read(), read(), read()), (ReadOutcome::More, ReadOutcome::More, ReadOutcome::More));
    assert_eq!(world.read(1).0.len(), 1);
}

#[test]
fn a_stream_without_an_allocation_ends_after_ten_seconds() {
    let (mut world, _far) = World::new(Kind::Tcp);
    assert_eq!(world.client.next_timeout(), Some(world.now + 10 * SECOND));
    world.wait(10 * SECOND - Duration::from_millis(1));
    assert_eq!(world.client.handle_timeout(world.now), None);
    world.wait(Duration::from_millis(1));
    assert_eq!(world.client.handle_timeout(world.now), Some(CloseReason::NoAllocation));
}

#[test]
fn a_stream_whose_allocation_is_gone_ends_after_thirty_seconds() {
    let (mut world, _far) = World::new(Kind::Tcp);
    world.client.set_has_allocation(true, world.now);
    assert_eq!(world.client.next_timeout(), None);
    world.wait(3600 * SECOND);
    assert_eq!(world.client.handle_timeout(world.now), None);
    world.client.set_has_allocation(false, world.now);
    world.wait(20 * SECOND);
    world.client.set_has_allocation(false, world.now);
    assert_eq!(world.client.next_timeout(), Some(world.now + 10 * SECOND), "saying it again changes nothing");
    world.wait(10 * SECOND);
    assert_eq!(world.client.handle_timeout(world.now), Some(CloseReason::AllocationGone));
}

#[test]
fn a_drip_of_bytes_does_not_keep_a_stranger_alive() {
    for (has_allocation, expected) in [(false, Some(CloseReason::Unfinished)), (true, None)] {
        let (mut world, mut far) = World::new(Kind::Tcp);
        world.client.set_has_allocation(has_allocation, world.now);
        far.write_all(&[&stun(1, 0)[..], &stun(2, 8)[..4]].concat()).unwrap();
        assert_eq!(world.read(1).0.len(), 1);
        world.wait(3 * SECOND);
        far.write_all(&stun(2, 8)[4..8]).unwrap();
        world.client.read(world.now, &mut [0; 100], &mut |_| panic!("not whole"));
        world.wait(2 * SECOND);
        assert_eq!(world.client.handle_timeout(world.now), expected);
    }
}

#[test]
fn a_stranger_may_send_what_a_few_requests_need_and_no_more() {
    for kind in Kind::ALL {
        let (mut world, mut far) = World::new(kind);
        for each in 0..100 {
            far.write_all(&stun(each, 80)).unwrap();
        }
        assert_eq!(world.read(100), (world_requests(100), None), "{kind:?}");
        world.client.set_has_allocation(true, world.now);
        for each in 0..200 {
            far.write_all(&stun(each, 80)).unwrap();
        }
        assert_eq!(world.read(200).1, None, "{kind:?}: whoever has an allocation is no stranger");
        world.client.set_has_allocation(false, world.now);
        for each in 0..200 {
            far.write_all(&stun(each, 80)).unwrap();
        }
        assert_eq!(world.read_to_end().1, CloseReason::UnauthenticatedBytes, "{kind:?}");
    }
}

fn world_requests(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|each| stun(each, 80)).collect()
}

#[test]
fn replies_reach_every_kind_of_client() {
    for kind in Kind::ALL {
        let (mut world, mut far) = World::new(kind);
        for each in 0..10 {
            world.client.push_reply(world.now, &stun(each, 40));
        }
        assert_eq!(world.flush(), None);
        let read = far.read_bytes(10 * 60);
        assert_eq!(numbers(&cut([&read[..]]).0).1, (0..10).collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn a_client_that_asks_and_does_not_read_the_answers_is_cut() {
    for kind in Kind::ALL {
        let (mut world, _far) = World::with_small_buffer(kind, 4096);
        let mut pushed = 0;
        let reason = loop {
            world.client.push_reply(world.now, &stun(pushed, 1180));
            pushed += 1;
            assert!(pushed < 100_000, "{kind:?}: this never ends");
            if let FlushOutcome::Closed(reason) = world.client.flush(world.now) {
                break reason;
            }
        };
        assert_eq!(reason, CloseReason::RepliesUnread, "{kind:?}");
        assert!(world.client.queue_capacity() <= 256 * 1024);
    }
}

#[test]
fn an_idle_stream_holds_no_queue() {
    let (mut world, mut far) = World::new(Kind::Tls13);
    world.client.set_has_allocation(true, world.now);
    for number in 0..10 {
        world.push_datagram(number, 1200);
    }
    assert_eq!(world.flush(), None);
    far.read_bytes(10 * 1204);
    assert!(world.client.queue_capacity() > 0);
    for _ in 0..2 {
        world.now = world.client.next_timeout().unwrap();
        assert_eq!(world.client.handle_timeout(world.now), None);
    }
    assert_eq!((world.client.queue_capacity(), world.client.next_timeout()), (0, None));
}

#[test]
fn bytes_are_counted_as_they_are_on_the_wire() {
    for kind in Kind::ALL {
        let (mut world, mut far) = World::new(kind);
        far.write_all(&stun(1, 80)).unwrap();
        world.read(1);
        world.push_datagram(1, 1200);
        world.flush();
        let mut ages = hdrhistogram::Histogram::new_with_bounds(1, 1_000_000, 2).unwrap();
        let counters = world.client.take_counters(&mut ages);
        let tls = if kind == Kind::Tcp { 0..1 } else { 20..60 };
        assert!(tls.contains(&(counters.bytes_received - 100)), "{kind:?}: {counters:?}");
        assert!(tls.contains(&(counters.bytes_sent - 1204)), "{kind:?}: {counters:?}");
        assert_eq!(ages.len(), 1);
        assert_eq!(world.client.take_counters(&mut ages), Default::default());
    }
}

//! What the egress queue is for: whole key frames for whoever reads, bounded age for whoever reads slowly, an end for
//! whoever does not read.

use std::io::{ErrorKind, Read};
use std::thread;
use std::time::Duration;

use super::super::client::FlushOutcome;
use super::super::framer::Framer;
use super::world::{Far, Kind, World};
use super::*;

fn empty_histogram() -> hdrhistogram::Histogram<u64> {
    hdrhistogram::Histogram::new_with_bounds(1, 1_000_000, 2).unwrap()
}

#[test]
fn an_unpaced_burst_reaches_a_client_that_reads_whole_in_twenty_runs_of_twenty() {
    for kind in Kind::ALL {
        for count in [60, 200] {
            for run in 0..20 {
                let (mut world, mut far) = World::new(kind);
                let reader = thread::spawn(move || far.read_bytes(count as usize * 1204));
                for number in 0..count {
                    world.push_datagram(number, 1200);
                }
                assert_eq!(world.flush(), None);
                let (messages, _) = cut([&reader.join().unwrap()[..]]);
                assert_eq!(numbers(&messages).0, (0..count).collect::<Vec<_>>(), "{kind:?}, run {run}");
                let counters = world.client.take_counters(&mut empty_histogram());
                assert_eq!((counters.dropped_by_age, counters.dropped_by_bytes), (0, 0));
            }
        }
    }
}

/// A client that takes so many bytes each time, and keeps the numbers of the datagrams that are whole.
struct SlowReader {
    far: Far,
    framer: Framer,
    received: Vec<u32>,
}

impl SlowReader {
    fn new(mut far: Far) -> Self {
        far.socket().set_nonblocking(true).unwrap();
        Self { far, framer: Framer::default(), received: Vec::new() }
    }

    fn read(&mut self, bytes: usize) {
        let mut scratch = vec![0; bytes];
        match self.far.read(&mut scratch) {
            Ok(len) => {
                let received = &mut self.received;
                let mut note = |message: &[u8]| received.extend(numbers(&[message.to_vec()]).0);
                self.framer.push(&scratch[..len], &mut note).unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn a_client_at_2_mbit_gets_whole_datagrams_of_bounded_age_and_every_other_one_is_counted() {
    const STEP: Duration = Duration::from_millis(10);
    for kind in Kind::ALL {
        let (mut world, far) = World::with_small_buffer(kind, 8 * 1024);
        let mut reader = SlowReader::new(far);
        let (mut pushed, mut oldest_ms) = (0, 0);
        // 9.6 Mbit/s come, for six seconds.
        for step in 0..600 {
            for _ in 0..10 {
                world.push_datagram(pushed, 1200);
                pushed += 1;
            }
            assert!(!matches!(world.client.flush(world.now), FlushOutcome::Closed(_)));
            let before = reader.received.len();
            reader.read(2_000_000 / 8 / 100);
            let ages_ms = reader.received[before..].iter().map(|number| (step - number / 10) * 10);
            oldest_ms = oldest_ms.max(ages_ms.max().unwrap_or(0));
            world.wait(STEP);
        }
        // Then it may take its time for the rest, which is taken out of the queue at once.
        for _ in 0..1_000_000 {
            if world.client.flush(world.now) == FlushOutcome::Done && reader.framer.is_between_messages() {
                break;
            }
            reader.read(64 * 1024);
        }
        let mut ages = empty_histogram();
        let counters = world.client.take_counters(&mut ages);
        assert_eq!(counters.dropped_by_bytes, 0, "{kind:?}: 400 ms of this are less than a mebibyte");
        assert!(counters.dropped_by_age > 1000, "{kind:?}: {counters:?}");
        assert_eq!(ages.len() + counters.dropped_by_age, u64::from(pushed), "{kind:?}");
        assert!(ages.max() < 404_000, "{kind:?}: {} µs, in steps of 1 %", ages.max());
        assert!(oldest_ms < 800, "{kind:?}: {oldest_ms} ms with what the kernel and TLS hold");
        while (reader.received.len() as u64) < ages.len() {
            reader.read(64 * 1024);
        }
        assert!(reader.received.is_sorted_by(|one, next| one < next), "{kind:?}");
        assert_eq!(reader.received.len() as u64, ages.len(), "{kind:?}: what was begun arrived whole");
    }
}

#[test]
fn a_client_that_stops_reading_is_cut_and_costs_no_more_than_the_queue() {
    for kind in Kind::ALL {
        let (mut world, _far) = World::with_small_buffer(kind, 8 * 1024);
        world.client.set_has_allocation(true, world.now);
        let (mut number, mut last_taken) = (0, world.now);
        let reason = loop {
            for _ in 0..200 {
                world.push_datagram(number, 1200);
                number += 1;
            }
            world.client.flush(world.now);
            // Its system may still take something long after the first refusal.
            if world.client.take_counters(&mut empty_histogram()).bytes_sent > 0 {
                last_taken = world.now;
            }
            assert!(world.client.queue_capacity() < 1_200_000, "{kind:?}");
            assert!(number < 100_000, "{kind:?}: this never ends");
            world.wait(Duration::from_millis(100));
            if let Some(reason) = world.client.handle_timeout(world.now) {
                break reason;
            }
        };
        assert_eq!(reason, CloseReason::Stalled, "{kind:?}");
        let after = world.now - last_taken;
        assert!(after >= Duration::from_secs(15), "{kind:?}: cut after {after:?}");
        assert!(after <= Duration::from_secs(16), "{kind:?}: cut after {after:?}");
    }
}

#[test]
fn a_client_that_reads_again_has_lost_old_datagrams_and_no_reply() {
    for kind in Kind::ALL {
        let (mut world, mut far) = World::with_small_buffer(kind, 8 * 1024);
        let (mut datagrams, mut replies) = (0, 0);
        for _ in 0..100 {
            for _ in 0..20 {
                world.push_datagram(datagrams, 1200);
                datagrams += 1;
            }
            world.client.push_reply(world.now, &stun(replies, 40));
            replies += 1;
            world.client.flush(world.now);
            world.wait(Duration::from_millis(100));
        }
        assert_eq!(
            world.client.handle_timeout(world.now),
            Some(CloseReason::NoAllocation),
            "but not stalled"
        );
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            far.read_to_end(&mut read).unwrap();
            read
        });
        assert_eq!(world.flush(), None);
        let mut ages = empty_histogram();
        let counters = world.client.take_counters(&mut ages);
        drop(world);
        let (messages, outcome) = cut([&reader.join().unwrap()[..]]);
        let (got_datagrams, got_replies) = numbers(&messages);
        assert_eq!((outcome, got_replies), (Ok(()), (0..replies).collect()), "{kind:?}");
        assert_eq!(got_datagrams.len() as u64, ages.len(), "{kind:?}");
        assert!(counters.dropped_by_age > 0, "{kind:?}");
        assert_eq!(got_datagrams.len() as u64 + counters.dropped_by_age, u64::from(datagrams), "{kind:?}");
        assert!(got_datagrams.is_sorted_by(|one, next| one < next), "{kind:?}");
    }
}

#[test]
fn one_burst_becomes_few_records() {
    let (mut world, mut far) = World::new(Kind::Tls13);
    for number in 0..13 {
        world.push_datagram(number, 1200);
    }
    let before = world.client.take_counters(&mut empty_histogram()).bytes_sent;
    assert_eq!(world.flush(), None);
    far.read_bytes(13 * 1204);
    let sent = world.client.take_counters(&mut empty_histogram()).bytes_sent - before;
    // Whatever the handshake had left to say is at most its tickets.
    assert!(sent < 13 * 1204 + 22 + 600, "{sent}");
}

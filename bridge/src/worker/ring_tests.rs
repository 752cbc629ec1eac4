//! The ring, apart from it: a benchmark takes the ring alone.

use std::time::Instant;

use super::ring::{BYTES_MAX, ENTRIES_MAX, MESSAGES_RESERVED, Received, RingReceiver, ring};
use crate::engine::cascade::{Crossing, PartMessage};

fn sample(length: usize) -> Crossing {
    Crossing::sample(Instant::now(), length)
}

/// What the next packet's bytes are, or the next message's number.
fn next(receiver: &mut RingReceiver) -> Option<Result<Vec<u8>, Option<usize>>> {
    let mut next = None;
    receiver.receive(|received| {
        next = Some(match received {
            Received::Packet(_, (head, tail)) => Ok([head, tail].concat()),
            Received::Message(message) => Err(message.sampled()),
        });
    });
    next
}

#[test]
fn packets_and_messages_come_out_as_they_went_in_round_the_end_of_the_ring() {
    let (mut sender, mut receiver) = ring();
    for turn in 0..5_000_usize {
        let bytes = vec![turn as u8; 1 + turn * 7 % 1_400];
        assert!(sender.push_packet(&sample(bytes.len()), &bytes));
        assert!(sender.push_packet(&sample(0), &[]));
        assert!(sender.push_message(Box::new(PartMessage::sample(turn))).is_ok());
        assert_eq!(next(&mut receiver), Some(Ok(bytes)));
        assert_eq!(next(&mut receiver), Some(Ok(Vec::new())));
        assert_eq!(next(&mut receiver), Some(Err(Some(turn))));
        assert_eq!(next(&mut receiver), None);
    }
}

#[test]
fn a_ring_full_of_packets_has_room_for_messages_and_for_packets_again_once_it_is_read() {
    for (length, fit) in [(1_200, BYTES_MAX / 1_200), (10, ENTRIES_MAX - MESSAGES_RESERVED)] {
        let (mut sender, mut receiver) = ring();
        let bytes = vec![7; length];
        let taken = (0..5_000).filter(|_| sender.push_packet(&sample(length), &bytes)).count();
        assert_eq!(taken, fit);
        assert!(
            (0..MESSAGES_RESERVED)
                .all(|number| sender.push_message(Box::new(PartMessage::sample(number))).is_ok())
        );
        assert_eq!(next(&mut receiver), Some(Ok(bytes.clone())));
        while next(&mut receiver).is_some() {}
        assert!(sender.push_packet(&sample(length), &bytes));
    }
}

#[test]
fn a_message_without_room_is_given_back() {
    let (mut sender, _receiver) = ring();
    let taken = (0..5_000)
        .filter(|number| sender.push_message(Box::new(PartMessage::sample(*number))).is_ok())
        .count();
    assert_eq!(taken, ENTRIES_MAX);
    assert_eq!(sender.push_message(Box::new(PartMessage::sample(77))).unwrap_err().sampled(), Some(77));
}

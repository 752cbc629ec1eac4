use std::io;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::egress::{DropCounts, Egress, EgressLimits, RepliesFull};
use super::*;

const LIMITS: EgressLimits = EgressLimits { age: Duration::from_millis(400), bytes: 1 << 20 };

/// A queue, a clock, and what a socket took.
struct Queue {
    egress: Egress,
    now: Instant,
    taken: Vec<u8>,
}

impl Queue {
    fn new(limits: EgressLimits) -> Self {
        let now = Instant::now();
        Self { egress: Egress::new(now, limits), now, taken: Vec::new() }
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// A datagram of `len` bytes that begins with `number`.
    fn push(&mut self, number: u32, len: usize) {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(len.max(4), number as u8);
        let header = ChannelData::header(0x4000, payload.len() as u16);
        self.egress.push_datagram(self.now, &header, &payload);
    }

    /// A socket that takes up to `bytes` of up to 16 KiB offered; says how many those were.
    fn take(&mut self, bytes: usize) -> usize {
        let taken = &mut self.taken;
        let result = self.egress.write(self.now, 16 * 1024, &mut |slices| {
            let offered: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            assert!(!offered.is_empty() && offered.len() <= 16 * 1024);
            let len = offered.len().min(bytes);
            taken.extend(&offered[..len]);
            Ok(len)
        });
        result.unwrap()
    }

    fn take_all(&mut self) {
        while self.take(usize::MAX) > 0 {}
    }

    /// Numbers of the datagrams and of the replies in the order the client gets them; it gets nothing in part.
    fn received(&self) -> (Vec<u32>, Vec<u32>) {
        let (messages, outcome) = cut([&self.taken[..]]);
        assert_eq!(outcome, Ok(()));
        let whole: usize = messages.iter().map(|message| message.len().next_multiple_of(4)).sum();
        assert_eq!(whole, self.taken.len(), "nothing in part");
        numbers(&messages)
    }

    fn drops(&mut self) -> (u64, u64) {
        let DropCounts { by_age, by_bytes } = self.egress.take_drops();
        (by_age, by_bytes)
    }
}

#[test]
fn datagrams_leave_in_their_order_each_padded_to_four() {
    let mut queue = Queue::new(LIMITS);
    for number in 0..50 {
        queue.push(number, 1001 + number as usize % 4);
    }
    queue.take_all();
    assert_eq!(queue.received(), ((0..50).collect(), vec![]));
    assert_eq!(queue.taken.len() % 4, 0);
}

#[test]
fn one_write_gathers_whole_datagrams_up_to_a_record() {
    let mut queue = Queue::new(LIMITS);
    for number in 0..30 {
        queue.push(number, 1200);
    }
    assert_eq!(queue.take(usize::MAX), 13 * 1204);
    assert_eq!(queue.received().0, (0..13).collect::<Vec<_>>());
}

#[test]
fn a_datagram_longer_than_a_record_leaves_in_parts_and_is_not_dropped_between_them() {
    let mut queue = Queue::new(LIMITS);
    queue.push(1, 60_000);
    queue.push(2, 10);
    assert_eq!(queue.take(usize::MAX), 16 * 1024);
    queue.wait(5000);
    queue.take_all();
    assert_eq!((queue.received().0, queue.drops()), (vec![1], (1, 0)));
}

#[test]
fn a_datagram_goes_when_it_has_waited_for_longer_than_400_ms() {
    let mut queue = Queue::new(LIMITS);
    queue.push(1, 100);
    queue.wait(1);
    queue.push(2, 100);
    queue.wait(399);
    queue.push(3, 100);
    assert_eq!(queue.drops(), (0, 0), "exactly 400 ms are allowed");
    queue.wait(1);
    queue.take_all();
    assert_eq!((queue.received().0, queue.drops()), (vec![2, 3], (1, 0)));
}

#[test]
fn beyond_the_bytes_the_oldest_go() {
    let mut queue = Queue::new(EgressLimits { bytes: 10_000, ..LIMITS });
    for number in 0..100 {
        queue.push(number, 996);
    }
    queue.push(100, 20_000);
    assert_eq!(queue.drops(), (0, 92), "one of them can never fit");
    queue.take_all();
    assert_eq!(queue.received().0, (91..100).collect::<Vec<_>>());
}

#[test]
fn empty_datagrams_are_not_free() {
    let mut queue = Queue::new(EgressLimits { bytes: 10_000, ..LIMITS });
    for _ in 0..100_000 {
        queue.egress.push_datagram(queue.now, &ChannelData::header(0x4000, 0), &[]);
    }
    assert_eq!(queue.drops().1, 100_000 - 10_000 / 12);
    assert!(queue.egress.capacity() < 64 * 1024);
}

#[test]
fn what_has_been_begun_is_finished_before_anything_else() {
    let mut queue = Queue::new(LIMITS);
    queue.push(1, 1000);
    queue.push(2, 1000);
    assert_eq!(queue.take(1), 1);
    queue.egress.push_reply(&stun(7, 8)).unwrap();
    queue.wait(10_000);
    queue.push(3, 1000);
    queue.take_all();
    assert_eq!((queue.received(), queue.drops()), ((vec![1, 3], vec![7]), (1, 0)));
}

#[test]
fn a_reply_does_not_grow_old_and_keeps_its_place_among_replies() {
    let mut queue = Queue::new(EgressLimits { bytes: 5000, ..LIMITS });
    for number in 0..20 {
        queue.push(number, 1200);
        queue.egress.push_reply(&stun(number, 40)).unwrap();
        queue.wait(1000);
    }
    queue.take_all();
    assert_eq!(queue.received(), (vec![], (0..20).collect()));
    assert_eq!(queue.drops(), (20, 0));
}

#[test]
fn replies_that_nobody_reads_are_refused_in_the_end() {
    let mut queue = Queue::new(LIMITS);
    let accepted = (0..10_000).take_while(|each| queue.egress.push_reply(&stun(*each, 80)).is_ok()).count();
    assert_eq!(accepted, 128 * 1024 / 100);
    assert_eq!(queue.egress.push_reply(&stun(0, 80)), Err(RepliesFull));
    queue.take_all();
    assert_eq!(queue.received().1.len(), accepted);
}

#[test]
fn an_error_of_the_socket_takes_nothing_from_the_queue() {
    let mut queue = Queue::new(LIMITS);
    queue.push(1, 100);
    let blocked = queue.egress.write(queue.now, 16 * 1024, &mut |_| Err(io::ErrorKind::WouldBlock.into()));
    assert_eq!(blocked.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    queue.take_all();
    assert_eq!(queue.received().0, [1]);
}

#[test]
fn a_queue_without_use_gives_its_memory_back() {
    let mut queue = Queue::new(LIMITS);
    assert_eq!(queue.egress.capacity(), 0);
    for number in 0..800 {
        queue.push(number, 1200);
    }
    assert!(queue.egress.capacity() < 1_100_000, "{}", queue.egress.capacity());
    queue.take_all();
    assert!(queue.egress.trim(), "it was in use a moment ago");
    assert!(!queue.egress.trim());
    assert_eq!(queue.egress.capacity(), 0);
}

#[test]
fn the_age_of_each_datagram_is_told_once() {
    let mut queue = Queue::new(LIMITS);
    for number in 0..300 {
        queue.push(number, 100);
        queue.wait(1);
    }
    queue.take_all();
    let mut ages = hdrhistogram::Histogram::new_with_bounds(1, 1_000_000, 2).unwrap();
    queue.egress.take_ages(&mut ages);
    assert_eq!(ages.len(), 300);
    assert!((298_000..=302_000).contains(&ages.max()), "{}", ages.max());
    ages.reset();
    queue.egress.take_ages(&mut ages);
    assert_eq!(ages.len(), 0);
}

/// What may happen to a queue.
#[derive(Debug, Clone)]
enum Step {
    Datagram(usize),
    Reply,
    Wait(u64),
    Take(usize),
    Trim,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..1500usize).prop_map(Step::Datagram),
        1 => (20_000..40_000usize).prop_map(Step::Datagram),
        2 => Just(Step::Reply),
        2 => (0..300u64).prop_map(Step::Wait),
        4 => (1..20_000usize).prop_map(Step::Take),
        1 => Just(Step::Trim),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn whatever_happens_the_client_gets_whole_datagrams_in_order_and_every_reply(steps in steps()) {
        let limits = EgressLimits { bytes: 50_000, ..LIMITS };
        let mut queue = Queue::new(limits);
        let (mut datagrams, mut replies) = (0, 0);
        for step in steps {
            match step {
                Step::Datagram(len) => {
                    queue.push(datagrams, len);
                    datagrams += 1;
                }
                Step::Reply => {
                    queue.egress.push_reply(&stun(replies, 40)).unwrap();
                    replies += 1;
                }
                Step::Wait(ms) => queue.wait(ms),
                Step::Take(bytes) => {
                    queue.take(bytes);
                }
                Step::Trim => {
                    queue.egress.trim();
                }
            }
            prop_assert!(queue.egress.capacity() <= 256 * 1024);
        }
        queue.take_all();
        let (got_datagrams, got_replies) = queue.received();
        prop_assert!(got_datagrams.is_sorted_by(|one, next| one < next));
        prop_assert_eq!(got_replies, (0..replies).collect::<Vec<_>>());
        let (by_age, by_bytes) = queue.drops();
        prop_assert_eq!(got_datagrams.len() as u64 + by_age + by_bytes, u64::from(datagrams));
    }
}

//! The other workers of this bridge, as far as conferences are shared with them: a ring to each and from each, made when
//! the first thing goes that way.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::ring::{Received, RingReceiver, RingSender, ring};
use super::waker::Waker;
use crate::engine::bridge::Bridge;
use crate::engine::cascade::{Crossing, PartMessage};
use crate::engine::ports::PartId;

/// Where other workers leave the reading ends of the rings that they write.
#[derive(Clone)]
pub(crate) struct Door {
    rings: mpsc::Sender<(PartId, RingReceiver)>,
    waker: Arc<Waker>,
}

/// This worker's rings.
pub(crate) struct Parts {
    here: PartId,
    /// By worker.
    doors: Arc<[Door]>,
    arriving: mpsc::Receiver<(PartId, RingReceiver)>,
    /// By worker; none until something goes there.
    outgoing: Vec<Option<Outgoing>>,
    incoming: Vec<(PartId, RingReceiver)>,
    /// Crossings without room, until the engine is told.
    lost: Vec<Crossing>,
    /// What browsers said to those of another worker that was too far behind to hear it.
    pub(crate) talk_dropped: u64,
}

struct Outgoing {
    ring: RingSender,
    /// Messages without room, oldest first.
    waiting: VecDeque<Box<PartMessage>>,
}

/// What comes from another worker.
pub(crate) enum FromPart<'a> {
    Packet(&'a Crossing, (&'a [u8], &'a [u8])),
    Message(PartId, Box<PartMessage>),
}

impl Door {
    /// A worker's door, and what is left there. One ring comes from each of the `workers` at most.
    pub(crate) fn new(workers: usize, waker: Arc<Waker>) -> (Self, mpsc::Receiver<(PartId, RingReceiver)>) {
        let (rings, arriving) = mpsc::channel(workers.max(1));
        (Self { rings, waker }, arriving)
    }
}

impl Parts {
    pub(crate) fn new(
        here: PartId,
        doors: Arc<[Door]>,
        arriving: mpsc::Receiver<(PartId, RingReceiver)>,
    ) -> Self {
        let outgoing = doors.iter().map(|_| None).collect();
        Self { here, doors, arriving, outgoing, incoming: Vec::new(), lost: Vec::new(), talk_dropped: 0 }
    }

    /// Sends a message. It waits here while there is no room.
    pub(crate) fn send(&mut self, to: PartId, message: Box<PartMessage>) {
        let Some(outgoing) = self.outgoing(to) else { return };
        // Order is kept: nothing overtakes what already waits.
        let refused = if outgoing.waiting.is_empty() {
            outgoing.ring.push_message(message).err()
        } else {
            Some(message)
        };
        if let Some(message) = refused {
            if message.is_talk() && outgoing.waiting.len() >= WAITING_MAX {
                self.talk_dropped += 1;
                return;
            }
            outgoing.waiting.push_back(message);
        }
        self.wake(to);
    }

    /// Carries what the engine has for others.
    pub(crate) fn carry(&mut self, engine: &mut Bridge) {
        let crossings = engine.crossings();
        for (to, crossing, bytes) in crossings.iter() {
            let is_taken =
                self.outgoing(to).is_some_and(|outgoing| outgoing.ring.push_packet(crossing, bytes));
            if is_taken {
                self.wake(to);
            } else {
                self.lost.push(*crossing);
            }
        }
        crossings.clear();
        for crossing in self.lost.drain(..) {
            engine.note_crossing_lost(&crossing);
        }
    }

    /// Tries again what found no room before.
    pub(crate) fn flush(&mut self) {
        for place in 0..self.outgoing.len() {
            let Some(outgoing) = &mut self.outgoing[place] else { continue };
            let before = outgoing.waiting.len();
            while let Some(message) = outgoing.waiting.pop_front() {
                if let Err(message) = outgoing.ring.push_message(message) {
                    outgoing.waiting.push_front(message);
                    break;
                }
            }
            if outgoing.waiting.len() < before {
                self.doors[place].waker.wake();
            }
        }
    }

    /// Whether something waits for room.
    pub(crate) fn is_waiting(&self) -> bool {
        self.outgoing.iter().flatten().any(|outgoing| !outgoing.waiting.is_empty())
    }

    /// Lets `take` have up to `count` of what other workers have sent, from each in its order. True when there may be more.
    pub(crate) fn receive(&mut self, count: usize, mut take: impl FnMut(FromPart<'_>)) -> bool {
        while let Ok(arrived) = self.arriving.try_recv() {
            self.incoming.push(arrived);
        }
        let mut has_more = false;
        for (from, ring) in &mut self.incoming {
            let mut left = count;
            while left > 0 && ring.receive(|received| take(received.from(*from))) {
                left -= 1;
            }
            has_more |= left == 0;
        }
        has_more
    }

    fn outgoing(&mut self, to: PartId) -> Option<&mut Outgoing> {
        let place = usize::from(to.0);
        let outgoing = self.outgoing.get_mut(place)?;
        Some(outgoing.get_or_insert_with(|| {
            let (sender, receiver) = ring();
            // One ring is all that ever goes through this door from here, so there is room; a worker that is gone ends
            // the process.
            let _ = self.doors[place].rings.try_send((self.here, receiver));
            Outgoing { ring: sender, waiting: VecDeque::new() }
        }))
    }

    fn wake(&self, to: PartId) {
        if let Some(door) = self.doors.get(usize::from(to.0)) {
            door.waker.wake();
        }
    }
}

impl<'a> Received<'a> {
    fn from(self, part: PartId) -> FromPart<'a> {
        match self {
            Self::Packet(crossing, bytes) => FromPart::Packet(crossing, bytes),
            Self::Message(message) => FromPart::Message(part, message),
        }
    }
}

/// Some seconds of a large conference's talk. A worker so late is no longer one.
const WAITING_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> (Parts, Parts) {
        let doors: Vec<_> = (0..2).map(|_| Door::new(2, Arc::new(Waker::new().unwrap()))).collect();
        let (doors, mut arriving): (Vec<Door>, Vec<_>) = doors.into_iter().unzip();
        let doors: Arc<[Door]> = doors.into();
        let (other, one) = (arriving.pop().unwrap(), arriving.pop().unwrap());
        (Parts::new(PartId(0), Arc::clone(&doors), one), Parts::new(PartId(1), doors, other))
    }

    fn received(parts: &mut Parts, count: usize) -> (Vec<usize>, bool) {
        let mut numbers = Vec::new();
        let has_more = parts.receive(count, |received| {
            let FromPart::Message(from, message) = received else { panic!("no message") };
            assert_eq!(from, PartId(0));
            numbers.extend(message.sampled());
        });
        (numbers, has_more)
    }

    #[test]
    fn what_finds_no_room_waits_and_nothing_overtakes_it() {
        let (mut one, mut other) = two();
        (0..1_500).for_each(|number| one.send(PartId(1), Box::new(PartMessage::sample(number))));
        assert!(one.is_waiting());
        let (first, has_more) = received(&mut other, 1_000);
        assert_eq!((first, has_more), ((0..1_000).collect(), true));
        one.send(PartId(1), Box::new(PartMessage::sample(1_500)));
        one.flush();
        assert!(!one.is_waiting());
        assert_eq!(received(&mut other, 5_000), ((1_000..=1_500).collect(), false));
    }

    #[test]
    fn talk_is_dropped_before_memory_grows_without_end_and_the_rest_is_not() {
        let (mut one, _other) = two();
        (0..10_000).for_each(|_| one.send(PartId(1), Box::new(PartMessage::talk())));
        let waiting = |parts: &Parts| parts.outgoing[1].as_ref().unwrap().waiting.len();
        assert_eq!(waiting(&one), WAITING_MAX);
        assert_eq!(one.talk_dropped as usize, 10_000 - 1_024 - WAITING_MAX);
        one.send(PartId(1), Box::new(PartMessage::sample(1)));
        assert_eq!(waiting(&one), WAITING_MAX + 1);
    }

    #[test]
    fn a_worker_that_does_not_exist_is_sent_nothing() {
        let (mut one, mut other) = two();
        one.send(PartId(9), Box::new(PartMessage::sample(1)));
        assert!(!one.is_waiting());
        assert_eq!(received(&mut other, 9), (Vec::new(), false));
    }
}

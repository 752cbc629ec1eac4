//! What is due when: one queue for all endpoints and conferences of a worker.
//!
//! A heap of deadlines beside a map of what is really set. Moving a deadline later only writes the map (consent moves
//! with every packet); the heap's entry is corrected when it comes to the top. Cancelled entries stay in the heap until
//! they come up or until they are the greater part of it.
//!
//! Invariants: the heap's top is always a deadline that is really set, so `next` is a peek; a timer that is set has an
//! entry at or before its deadline; the heap holds at most twice the timers set, and `STALE_MAX` more.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use foldhash::HashMap;

/// What can be due. Each concerns the endpoint or conference whose key it is set under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// ICE or DTLS of a new endpoint has taken too long.
    Handshake,
    /// The browser has not been heard for as long as consent lasts (RFC 7675).
    Consent,
    /// Lost packets are to be asked for, first or again.
    Nack,
    /// The browser is to be told what arrived when (transport-wide congestion control).
    TransportFeedback,
    /// Sender and receiver reports are due (RFC 3550, 6.2).
    Report,
}

impl Timer {
    /// Every timer, in declaration order.
    const ALL: [Self; 5] =
        [Self::Handshake, Self::Consent, Self::Nack, Self::TransportFeedback, Self::Report];
}

/// Deadlines by (key, timer); at most one for each pair.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    /// What is set, indexed by whom it concerns and what it is.
    deadlines: HashMap<(u64, Timer), Instant>,
    /// Earliest first; ties by key and timer, so that the order is the same in every run.
    heap: BinaryHeap<Reverse<Entry>>,
}

type Entry = (Instant, u64, Timer);

impl TimerQueue {
    /// Sets a timer, in place of an earlier setting of it. O(log n), and O(1) when it only moves later.
    pub(crate) fn set(&mut self, key: u64, timer: Timer, deadline: Instant) {
        let before = self.deadlines.insert((key, timer), deadline);
        // A later deadline finds its old entry still in the heap, which is corrected when it comes up.
        if before.is_none_or(|before| deadline < before) {
            self.heap.push(Reverse((deadline, key, timer)));
        }
        self.settle();
    }

    /// Unsets a timer, if it is set.
    pub(crate) fn cancel(&mut self, key: u64, timer: Timer) {
        if self.deadlines.remove(&(key, timer)).is_some() {
            self.settle();
        }
    }

    /// Unsets every timer of `key`: the endpoint or conference is gone.
    pub(crate) fn cancel_all(&mut self, key: u64) {
        for timer in Timer::ALL {
            self.deadlines.remove(&(key, timer));
        }
        self.settle();
    }

    /// When a timer is due, if it is set.
    fn deadline(&self, key: u64, timer: Timer) -> Option<Instant> {
        self.deadlines.get(&(key, timer)).copied()
    }

    /// The earliest deadline. A peek.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, ..))| *deadline)
    }

    /// Takes out the earliest timer that is due at `now`. It is no longer set afterwards.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(u64, Timer)> {
        self.next().filter(|&deadline| deadline <= now)?;
        let Reverse((_, key, timer)) = self.heap.pop()?;
        self.deadlines.remove(&(key, timer));
        self.settle();
        Some((key, timer))
    }

    /// Restores the invariants after a change of `deadlines`.
    fn settle(&mut self) {
        while let Some(&Reverse((entry, key, timer))) = self.heap.peek() {
            let set = self.deadline(key, timer);
            if set == Some(entry) {
                break;
            }
            self.heap.pop();
            // Only an entry before the deadline stands for a moved timer; one behind it has a twin that is right.
            if let Some(deadline) = set.filter(|&deadline| entry < deadline) {
                self.heap.push(Reverse((deadline, key, timer)));
            }
        }
        if self.heap.len() > 2 * self.deadlines.len() + STALE_MAX {
            let entries =
                self.deadlines.iter().map(|(&(key, timer), &deadline)| Reverse((deadline, key, timer)));
            self.heap = entries.collect();
        }
    }
}

/// Below this a rebuild costs more than the memory it frees.
const STALE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn timers_come_due_in_the_order_of_their_deadlines() {
        let (start, mut timers) = (Instant::now(), TimerQueue::default());
        timers.set(1, Timer::Report, after(start, 30));
        timers.set(2, Timer::Nack, after(start, 10));
        timers.set(1, Timer::Consent, after(start, 20));
        assert_eq!(timers.next(), Some(after(start, 10)));
        assert_eq!(timers.pop_due(after(start, 9)), None);
        assert_eq!(timers.pop_due(after(start, 20)), Some((2, Timer::Nack)));
        assert_eq!(timers.pop_due(after(start, 20)), Some((1, Timer::Consent)));
        assert_eq!(timers.pop_due(after(start, 20)), None);
        assert_eq!(timers.next(), Some(after(start, 30)));
    }

    #[test]
    fn a_timer_moved_later_is_not_due_at_its_old_deadline() {
        let (start, mut timers) = (Instant::now(), TimerQueue::default());
        timers.set(1, Timer::Consent, after(start, 10));
        timers.set(1, Timer::Consent, after(start, 50));
        assert_eq!(timers.next(), Some(after(start, 50)));
        assert_eq!(timers.pop_due(after(start, 49)), None);
        assert_eq!(timers.pop_due(after(start, 50)), Some((1, Timer::Consent)));
        assert_eq!((timers.next(), timers.pop_due(after(start, 99))), (None, None));
    }

    #[test]
    fn nothing_of_a_cancelled_key_comes_due() {
        let (start, mut timers) = (Instant::now(), TimerQueue::default());
        for (index, timer) in Timer::ALL.into_iter().enumerate() {
            timers.set(1, timer, after(start, index as u64));
            timers.set(2, timer, after(start, 100 + index as u64));
        }
        timers.cancel_all(1);
        assert_eq!(timers.next(), Some(after(start, 100)));
    }

    #[test]
    fn a_deadline_moved_a_million_times_leaves_one_entry() {
        let (start, mut timers) = (Instant::now(), TimerQueue::default());
        timers.set(1, Timer::Report, after(start, 5));
        for ms in 0..1_000_000 {
            timers.set(2, Timer::Consent, after(start, 30_000 + ms));
        }
        assert_eq!(timers.heap.len(), 2);
    }

    proptest! {
        #[test]
        fn the_queue_agrees_with_a_sorted_map(
            steps in prop::collection::vec((0_u8..6, 0_u64..6, 0_usize..Timer::ALL.len(), 0_u64..100), 0..400),
        ) {
            let (start, mut timers, mut model) = (Instant::now(), TimerQueue::default(), BTreeMap::new());
            for (action, key, timer, ms) in steps {
                let (timer, deadline) = (Timer::ALL[timer], after(start, ms));
                match action {
                    0..=2 => {
                        timers.set(key, timer, deadline);
                        model.insert((key, timer), deadline);
                    }
                    3 => {
                        timers.cancel(key, timer);
                        model.remove(&(key, timer));
                    }
                    4 => {
                        timers.cancel_all(key);
                        model.retain(|&(other, _), _| other != key);
                    }
                    _ => {
                        let due = model.iter().map(|(&(key, timer), &at)| (at, key, timer)).min();
                        let due = due.filter(|&(at, ..)| at <= deadline).map(|(_, key, timer)| (key, timer));
                        prop_assert_eq!(timers.pop_due(deadline), due);
                        due.map(|due| model.remove(&due));
                    }
                }
                prop_assert_eq!(timers.next(), model.values().min().copied());
                prop_assert!(timers.heap.len() <= 2 * model.len() + STALE_MAX);
            }
        }
    }
}

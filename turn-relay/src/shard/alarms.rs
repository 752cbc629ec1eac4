//! When which stream wants to be woken. A stream that is busy moves its timeout with every datagram; here it is only moved
//! when it becomes earlier, and looked at again when it has come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The alarms of all streams, soonest first.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    queue: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The alarm that counts, indexed by the stream's place; others of it in the queue are void.
    set: Vec<Option<Instant>>,
}

impl Alarms {
    /// Wakes `place` at `at` or before.
    pub(super) fn set(&mut self, place: usize, at: Instant) {
        if self.set.len() <= place {
            self.set.resize(place + 1, None);
        }
        let set = &mut self.set[place];
        if set.is_none_or(|before| at < before) {
            *set = Some(at);
            self.queue.push(Reverse((at, place)));
        }
    }

    /// Nobody is in this place any more.
    pub(super) fn clear(&mut self, place: usize) {
        if let Some(set) = self.set.get_mut(place) {
            *set = None;
        }
    }

    /// The soonest alarm, a void one at times. A peek.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a place whose alarm has come; it has none until it is set again.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        while self.next()? <= now {
            let Reverse((at, place)) = self.queue.pop()?;
            let set = &mut self.set[place];
            if *set == Some(at) {
                *set = None;
                return Some(place);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_alarm_moves_forward_only_and_rings_once() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut alarms = Alarms::default();
        alarms.set(7, after(5));
        alarms.set(7, after(9));
        alarms.set(7, after(2));
        alarms.set(1, after(3));
        assert_eq!((alarms.next(), alarms.pop_due(after(1))), (Some(after(2)), None));
        assert_eq!((alarms.pop_due(after(4)), alarms.pop_due(after(4))), (Some(7), Some(1)));
        assert_eq!(alarms.pop_due(after(60)), None, "the alarm of the fifth second was void");
    }

    #[test]
    fn whoever_is_gone_is_not_woken() {
        let start = Instant::now();
        let mut alarms = Alarms::default();
        alarms.set(0, start);
        alarms.clear(0);
        alarms.clear(5);
        assert_eq!(alarms.pop_due(start), None);
    }

    #[test]
    fn a_busy_stream_does_not_fill_the_queue() {
        let start = Instant::now();
        let mut alarms = Alarms::default();
        for ms in 0..100_000 {
            let now = start + Duration::from_millis(ms);
            alarms.set(0, now + Duration::from_millis(400));
            alarms.pop_due(now);
        }
        assert!(alarms.queue.len() <= 2);
    }
}

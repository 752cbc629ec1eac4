//! When which seat wants to be woken: one heap, in which an entry that no longer holds is skipped when it comes up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Wake-ups by time. A seat that wants to be woken later than it is set for keeps its entry and is asked again then, so
/// that putting a deadline off costs nothing and the heap holds about one entry for each seat.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Timers {
    /// Wakes `seat` at `deadline`. `armed` is what it is set for so far, and is brought up to date.
    pub(super) fn arm(&mut self, seat: usize, deadline: Option<Instant>, armed: &mut Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if armed.is_none_or(|armed| deadline < armed) {
            *armed = Some(deadline);
            self.heap.push(Reverse((deadline, seat)));
        }
    }

    /// The next entry that is due, valid or not: it is valid when its seat is armed for that very instant.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, usize)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// The first entry's time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn seats_come_up_in_order_and_a_deadline_put_off_adds_no_entry() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        let (mut first, mut second) = (None, None);
        timers.arm(1, Some(at(30)), &mut first);
        timers.arm(2, Some(at(20)), &mut second);
        timers.arm(1, Some(at(90)), &mut first);
        timers.arm(1, None, &mut first);
        assert_eq!((timers.next(), timers.pop_due(at(19))), (Some(at(20)), None));
        assert_eq!(timers.pop_due(at(40)), Some((at(20), 2)));
        assert_eq!(timers.pop_due(at(40)), Some((at(30), 1)));
        assert_eq!(timers.pop_due(at(99)), None);
        // A nearer deadline leaves the farther entry behind, which its seat is no longer armed for.
        first = None;
        timers.arm(1, Some(at(90)), &mut first);
        timers.arm(1, Some(at(50)), &mut first);
        assert_eq!(timers.pop_due(at(99)), Some((at(50), 1)));
        assert_eq!((timers.pop_due(at(99)), first), (Some((at(90), 1)), Some(at(50))));
    }
}

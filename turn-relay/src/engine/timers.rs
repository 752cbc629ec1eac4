//! What is due when: at most one deadline for each allocation, and one for each reserved port.

use std::collections::BTreeSet;
use std::time::Instant;

use super::ports_pool::Token;

/// What wakes the engine. A timer that fires early does no harm: each handler looks at the state it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A lifetime, a permission or a channel of the allocation in this place has ended.
    Allocation(usize),
    /// Nobody came for a reserved port.
    Reservation(Token),
}

/// All deadlines, soonest first.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Wakes at `at`.
    pub(crate) fn set(&mut self, at: Instant, timer: Timer) {
        self.queue.insert((at, timer));
    }

    /// Takes back what `set` was given.
    pub(crate) fn cancel(&mut self, at: Instant, timer: Timer) {
        self.queue.remove(&(at, timer));
    }

    /// The soonest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the soonest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_first().map(|(_, timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_fire_in_order_not_early_and_not_once_cancelled() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        for (seconds, place) in [(3, 3), (1, 1), (2, 2)] {
            timers.set(after(seconds), Timer::Allocation(place));
        }
        timers.cancel(after(2), Timer::Allocation(2));
        assert_eq!((timers.next(), timers.pop_due(start)), (Some(after(1)), None));
        assert_eq!(timers.pop_due(after(9)), Some(Timer::Allocation(1)));
        assert_eq!(timers.pop_due(after(9)), Some(Timer::Allocation(3)));
        assert_eq!(timers.pop_due(after(9)), None);
    }
}

//! Deadlines of the engine, soonest first.

use std::collections::BTreeSet;
use std::time::Instant;

use wire::messages::ids::{ConferenceId, EndpointId};

use super::ports::{ConnectionId, LinkId};

/// What wakes the engine. A timer that fires late or twice does no harm: each handler looks at the state it finds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The batched changes of a conference are due.
    Delta(ConferenceId),
    /// A conference with one participant gives its bridge back.
    Release(ConferenceId),
    /// A conference without a bridge tells its participants so.
    Unavailable(ConferenceId),
    /// A participant whose connection broke did not come back.
    Gone(ConferenceId, EndpointId),
    /// A participant whose endpoint was lost is asked to offer again.
    Reconnect(ConferenceId, EndpointId),
    /// A newcomer has waited long enough for the chat.
    History(ConferenceId, EndpointId),
    /// A connection has not joined.
    Join(ConnectionId),
    /// A link has not said hello.
    Hello(LinkId),
    /// The bridge behind a link may have been silent for too long.
    Silence(LinkId),
    /// A command was not answered.
    Command(u64),
}

/// All deadlines.
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
    fn timers_fire_in_order_and_not_early() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set(start + Duration::from_secs(2), Timer::Command(2));
        timers.set(start + Duration::from_secs(1), Timer::Command(1));
        assert_eq!(timers.next(), Some(start + Duration::from_secs(1)));
        assert_eq!(timers.pop_due(start), None);
        assert_eq!(timers.pop_due(start + Duration::from_secs(3)), Some(Timer::Command(1)));
        timers.cancel(start + Duration::from_secs(2), Timer::Command(2));
        assert_eq!(timers.pop_due(start + Duration::from_secs(3)), None);
    }
}

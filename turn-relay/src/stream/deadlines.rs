//! What ends a stream when nothing happens.

use std::time::Instant;

use super::close_reason::CloseReason;
use super::limits::StreamLimits;

/// The deadlines of one stream.
#[derive(Debug)]
pub(super) struct Deadlines {
    limits: StreamLimits,
    /// When an allocation is due, and what it is called if there is none; nothing while there is one.
    allocation: Option<(Instant, CloseReason)>,
    /// Since when a message is unfinished.
    unfinished_since: Option<Instant>,
    /// Since when the socket takes nothing.
    blocked_since: Option<Instant>,
}

impl Deadlines {
    /// Of a stream that has just begun.
    pub(super) fn new(now: Instant, limits: StreamLimits) -> Self {
        Self {
            limits,
            allocation: Some((now + limits.first_allocation, CloseReason::NoAllocation)),
            unfinished_since: None,
            blocked_since: None,
        }
    }

    /// There is an allocation.
    pub(super) fn note_allocation(&mut self) {
        self.allocation = None;
    }

    /// There is none any more.
    pub(super) fn note_allocation_gone(&mut self, now: Instant) {
        self.allocation = Some((now + self.limits.without_allocation, CloseReason::AllocationGone));
    }

    /// No message is unfinished.
    pub(super) fn note_between_messages(&mut self) {
        self.unfinished_since = None;
    }

    /// A message has begun.
    pub(super) fn note_begun(&mut self, now: Instant) {
        self.unfinished_since = Some(now);
    }

    /// A message is unfinished, perhaps the same as before.
    pub(super) fn note_unfinished(&mut self, now: Instant) {
        self.unfinished_since.get_or_insert(now);
    }

    /// The socket takes nothing.
    pub(super) fn note_blocked(&mut self, now: Instant) {
        self.blocked_since.get_or_insert(now);
    }

    /// The socket took something, or nothing waits for it.
    pub(super) fn note_unblocked(&mut self) {
        self.blocked_since = None;
    }

    /// The next one. A peek.
    pub(super) fn next(&self) -> Option<Instant> {
        self.each().into_iter().flatten().map(|(at, _)| at).min()
    }

    /// Why the stream is over, if it is.
    pub(super) fn due(&self, now: Instant) -> Option<CloseReason> {
        self.each().into_iter().flatten().find(|(at, _)| *at <= now).map(|(_, reason)| reason)
    }

    fn each(&self) -> [Option<(Instant, CloseReason)>; 3] {
        let stalled = self.blocked_since.map(|since| (since + self.limits.stalled, CloseReason::Stalled));
        // With an allocation the client is known, and its network may have a bad moment.
        let unfinished = self.unfinished_since.filter(|_| self.allocation.is_some());
        let unfinished =
            unfinished.map(|since| (since + self.limits.unfinished_message, CloseReason::Unfinished));
        [stalled, unfinished, self.allocation]
    }
}

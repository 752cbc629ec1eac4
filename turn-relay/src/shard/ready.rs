//! Which sockets have something to say. A poll tells it once (edge-triggered), so what is not read to its end is kept here,
//! behind everybody else: one busy socket never starves another.

use std::collections::VecDeque;

use mio::Token;

/// Something that a poll reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The mailbox has something.
    Waker,
    /// A listener, by its place.
    Listener(usize),
    /// A relay socket, by its place.
    Relay(usize),
    /// A stream, by its place.
    Stream(usize),
}

impl Source {
    /// The name under which it is registered.
    pub(super) fn token(self) -> Token {
        let (kind, index) = self.parts();
        Token(index * KINDS + kind)
    }

    /// What a report is about. A place may have another holder by now: it finds nothing to read, and no harm is done.
    pub(super) fn of(token: Token) -> Self {
        let index = token.0 / KINDS;
        match token.0 % KINDS {
            0 => Self::Waker,
            1 => Self::Listener(index),
            2 => Self::Relay(index),
            _ => Self::Stream(index),
        }
    }

    fn parts(self) -> (usize, usize) {
        match self {
            Self::Waker => (0, 0),
            Self::Listener(index) => (1, index),
            Self::Relay(index) => (2, index),
            Self::Stream(index) => (3, index),
        }
    }
}

/// Sources with something to read, each once.
#[derive(Debug, Default)]
pub(super) struct ReadyList {
    queue: VecDeque<Source>,
    /// Whether a source is in the queue, indexed by kind and place.
    is_queued: [Vec<bool>; KINDS],
}

impl ReadyList {
    /// Adds a source behind the others, unless it is among them.
    pub(super) fn push(&mut self, source: Source) {
        let (kind, index) = source.parts();
        let marks = &mut self.is_queued[kind];
        if marks.len() <= index {
            marks.resize(index + 1, false);
        }
        if !std::mem::replace(&mut marks[index], true) {
            self.queue.push_back(source);
        }
    }

    /// Takes the one that has waited longest.
    pub(super) fn pop(&mut self) -> Option<Source> {
        let source = self.queue.pop_front()?;
        let (kind, index) = source.parts();
        self.is_queued[kind][index] = false;
        Some(source)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Kinds of sources.
const KINDS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_its_token() {
        let all =
            [Source::Waker, Source::Listener(3), Source::Relay(40_000), Source::Stream(0), Source::Stream(9)];
        for source in all {
            assert_eq!(Source::of(source.token()), source);
        }
    }

    #[test]
    fn who_is_ready_waits_once_and_behind_those_before() {
        let mut ready = ReadyList::default();
        for source in [Source::Relay(1), Source::Stream(1), Source::Relay(1)] {
            ready.push(source);
        }
        assert_eq!(ready.len(), 2);
        assert_eq!(ready.pop(), Some(Source::Relay(1)));
        ready.push(Source::Relay(1));
        assert_eq!(
            (ready.pop(), ready.pop(), ready.pop()),
            (Some(Source::Stream(1)), Some(Source::Relay(1)), None)
        );
        assert!(ready.is_empty());
    }
}

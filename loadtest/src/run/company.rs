//! What one process of a run over several machines owes the others: word that its callers are in, its seconds as they
//! pass, and patience until everybody may be measured. Alone, all of it is nothing.

use tokio::sync::{mpsc, watch};

use super::schedule::Share;
use crate::outcome::Second;

/// A run's place among others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Company {
    /// The conferences that are this process'.
    pub(crate) share: Share,
    /// Processes in the run; alone: 1 or 0.
    pub(crate) processes: usize,
    /// To whoever leads.
    pub(crate) word: Option<mpsc::UnboundedSender<Word>>,
    /// Says true once all of the run's callers are in.
    pub(crate) measure: Option<watch::Receiver<bool>>,
    /// The last second of all others together, for whoever watches.
    pub(crate) others: Option<watch::Receiver<Second>>,
}

/// What a process says while it runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word {
    /// Its callers are in, or have failed.
    Settled,
    /// Another second has passed.
    Second(Box<Second>),
    /// Its callers leave.
    Leaving,
}

impl Company {
    /// Its callers are in.
    pub(crate) fn settled(&self) {
        self.say(Word::Settled);
    }

    /// Its callers leave.
    pub(crate) fn leaving(&self) {
        self.say(Word::Leaving);
    }

    /// Another second.
    pub(crate) fn sampled(&self, second: &Second) {
        self.say(Word::Second(Box::new(second.clone())));
    }

    /// Everybody is in, or nobody is there to wait for.
    pub(crate) fn may_measure(&self) -> bool {
        // A leader that has gone says no more.
        self.measure.as_ref().is_none_or(|measure| *measure.borrow() || measure.has_changed().is_err())
    }

    /// This second with what the others have told.
    pub(crate) fn with_others(&self, second: &Second) -> Second {
        let Some(others) = &self.others else { return second.clone() };
        together(second, &others.borrow())
    }

    fn say(&self, word: Word) {
        if let Some(line) = &self.word {
            let _ = line.send(word);
        }
    }
}

/// Two processes side by side: sums, and of what cannot be summed the worse.
pub(crate) fn together(one: &Second, other: &Second) -> Second {
    Second {
        at_s: one.at_s,
        callers_up: one.callers_up + other.callers_up,
        callers_joining: one.callers_joining + other.callers_joining,
        joins_failed: one.joins_failed + other.joins_failed,
        packets_sent: one.packets_sent + other.packets_sent,
        packets_received: one.packets_received + other.packets_received,
        bytes_received: one.bytes_received + other.bytes_received,
        packets_lost: one.packets_lost + other.packets_lost,
        freezes: one.freezes + other.freezes,
        delay_p50_us: one.delay_p50_us.max(other.delay_p50_us),
        delay_p95_us: one.delay_p95_us.max(other.delay_p95_us),
        delay_p99_us: one.delay_p99_us.max(other.delay_p99_us),
        tool_processors: one.tool_processors + other.tool_processors,
        tool_busy: one.tool_busy.max(other.tool_busy),
        server_busy: one.server_busy.max(other.server_busy),
    }
}

//! What one group's callers found: how long the steps of their joins took, how many are up, why others failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::Failure;
use crate::outcome::Joins;

/// A step of a join; see [`Joins`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinStage {
    /// Until the socket was open, or the request sent.
    Connect,
    /// From there to `joined`.
    Joined,
    /// From `assigned` to the answer.
    Answer,
    /// From the answer to the first answered check.
    Ice,
    /// From there to keys.
    Dtls,
    /// From there to the first packet.
    FirstPacket,
    /// From keys to the first whole key frame.
    FirstPicture,
    /// The whole, without the time spent alone.
    Total,
}

/// How a group stands now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Callers that began.
    pub begun: u64,
    /// Callers that got in.
    pub succeeded: u64,
    /// Callers that gave up, or were given up.
    pub failed: u64,
    /// Callers with media (without media: callers whose line stands).
    pub up: u64,
    /// Callers on their way in.
    pub joining: u64,
    /// Callers that got in and were then thrown out for good.
    pub lost: u64,
}

/// One group's ledger; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    joins: Joins,
    standing: Standing,
    /// By reason: the first line for a person.
    lines: BTreeMap<String, String>,
}

impl Ledger {
    /// A caller begins to join.
    pub fn begin(&self) -> Entered {
        let mut pages = self.pages();
        pages.joins.begun += 1;
        pages.standing.begun += 1;
        pages.standing.joining += 1;
        Entered { ledger: self.clone(), step: Step::Joining, down_since: None }
    }

    /// How the group stands.
    pub fn standing(&self) -> Standing {
        self.pages().standing.clone()
    }

    /// All joins so far.
    pub fn joins(&self) -> Joins {
        self.pages().joins.clone()
    }

    /// For each reason of a failed join or a lost caller, one line that explains it to a person.
    pub fn explanations(&self) -> BTreeMap<String, String> {
        self.pages().lines.clone()
    }

    /// Something that keeps nobody out but is worth a line.
    pub fn remark(&self, failure: &Failure) {
        self.pages().remark(failure);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Sums stay sums, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn remark(&mut self, failure: &Failure) {
        self.lines.entry(failure.reason.to_string()).or_insert_with(|| failure.line.clone());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Joining,
    Up,
    Down,
    Over,
}

/// One caller's line in the ledger. Dropping it is leaving, so that a task that is ended leaves no caller behind.
#[derive(Debug)]
pub struct Entered {
    ledger: Ledger,
    step: Step,
    down_since: Option<Instant>,
}

impl Entered {
    /// A step of the join took this long.
    pub fn stage(&self, stage: JoinStage, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let joins = &mut self.ledger.pages().joins;
        match stage {
            JoinStage::Connect => &mut joins.connect,
            JoinStage::Joined => &mut joins.joined,
            JoinStage::Answer => &mut joins.answer,
            JoinStage::Ice => &mut joins.ice,
            JoinStage::Dtls => &mut joins.dtls,
            JoinStage::FirstPacket => &mut joins.first_packet,
            JoinStage::FirstPicture => &mut joins.first_picture,
            JoinStage::Total => &mut joins.total,
        }
        .take(us);
    }

    /// The join has not come to its end.
    pub fn is_joining(&self) -> bool {
        self.step == Step::Joining
    }

    /// It has media, for the first time or again.
    pub fn up(&mut self) {
        self.step_to(Step::Up);
        if let Some(since) = self.down_since.take() {
            let us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.ledger.pages().joins.back.take(us);
        }
    }

    /// It lost its media and tries to come back.
    pub fn down(&mut self) {
        if self.step == Step::Up {
            self.step_to(Step::Down);
            self.down_since = Some(Instant::now());
        }
    }

    /// It will not get in, or was thrown out.
    pub fn fail(&mut self, failure: &Failure) {
        let was_joining = self.is_joining();
        if self.step == Step::Over {
            return;
        }
        self.step_to(Step::Over);
        let mut pages = self.ledger.pages();
        if was_joining {
            pages.standing.failed += 1;
            *pages.joins.failed.entry(failure.reason.to_string()).or_default() += 1;
        } else {
            pages.standing.lost += 1;
        }
        pages.remark(failure);
    }

    fn step_to(&mut self, step: Step) {
        let before = std::mem::replace(&mut self.step, step);
        let mut pages = self.ledger.pages();
        match before {
            Step::Joining => pages.standing.joining -= 1,
            Step::Up => pages.standing.up -= 1,
            Step::Down | Step::Over => {}
        }
        if step == Step::Up {
            pages.standing.up += 1;
        }
        if step == Step::Up && before == Step::Joining {
            pages.standing.succeeded += 1;
            pages.joins.succeeded += 1;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.step_to(Step::Over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_counts_once_at_each_step() {
        let ledger = Ledger::default();
        let mut caller = ledger.begin();
        assert_eq!(ledger.standing(), Standing { begun: 1, joining: 1, ..Standing::default() });
        caller.up();
        caller.down();
        caller.down();
        caller.up();
        assert_eq!(ledger.standing(), Standing { begun: 1, succeeded: 1, up: 1, ..Standing::default() });
        assert_eq!(ledger.joins().back.count(), 1, "it was away once");
        drop(caller);
        assert_eq!(ledger.standing(), Standing { begun: 1, succeeded: 1, ..Standing::default() });
    }

    #[test]
    fn a_failed_join_has_a_reason_and_a_lost_caller_a_line() {
        let ledger = Ledger::default();
        let failure = Failure::lasting("bad_token", "no");
        ledger.begin().fail(&failure);
        let mut second = ledger.begin();
        second.up();
        second.fail(&Failure::lasting("replaced", "somebody else"));
        second.fail(&failure);
        drop(second);
        let expected = Standing { begun: 2, succeeded: 1, failed: 1, lost: 1, ..Standing::default() };
        assert_eq!(ledger.standing(), expected);
        assert_eq!(ledger.joins().failed, BTreeMap::from([("bad_token".to_owned(), 1)]));
        assert_eq!(ledger.explanations().len(), 2);
    }

    #[test]
    fn a_caller_whose_task_ends_while_it_joins_has_not_failed() {
        let ledger = Ledger::default();
        drop(ledger.begin());
        assert_eq!(ledger.standing(), Standing { begun: 1, ..Standing::default() });
    }
}

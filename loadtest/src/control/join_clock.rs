//! One caller's join, step by step, from what becomes true of it.

use std::time::{Duration, Instant};

use super::ledger::{Entered, JoinStage};
use crate::engine::ports::Note;

/// Takes each step's time once; a caller that comes back later is not joining again.
#[derive(Debug)]
pub struct JoinClock {
    begun: Instant,
    /// The socket, or the request.
    opened: Option<Instant>,
    /// There was a bridge to offer to.
    asked: Option<Instant>,
    /// The latest answer.
    answered: Option<Instant>,
    ice: Option<Instant>,
    keys: Option<Instant>,
    /// Set while nobody else is there.
    alone_since: Option<Instant>,
    /// What was spent alone before.
    alone: Duration,
    has_joined: bool,
    has_picture: bool,
    /// The join is done with the first packet, not with the keys.
    awaits_media: bool,
}

impl JoinClock {
    /// The join begins now.
    pub fn new(now: Instant, awaits_media: bool) -> Self {
        Self {
            begun: now,
            opened: None,
            asked: None,
            answered: None,
            ice: None,
            keys: None,
            alone_since: None,
            alone: Duration::ZERO,
            has_joined: false,
            has_picture: false,
            awaits_media,
        }
    }

    /// The socket is open, or the request was sent.
    pub fn opened(&mut self, now: Instant, entered: &Entered) {
        if self.opened.is_none() {
            self.opened = Some(now);
            entered.stage(JoinStage::Connect, now - self.begun);
        }
    }

    /// Signaling took the caller in.
    pub fn joined(&mut self, now: Instant, entered: &Entered) {
        if !std::mem::replace(&mut self.has_joined, true) {
            entered.stage(JoinStage::Joined, now - self.opened.unwrap_or(self.begun));
        }
    }

    /// Nobody else is here: the clock stands still.
    pub fn alone(&mut self, now: Instant) {
        self.alone_since.get_or_insert(now);
    }

    /// There is a bridge to ask.
    pub fn asked(&mut self, now: Instant) {
        if let Some(since) = self.alone_since.take() {
            self.alone += now - since;
        }
        self.asked = Some(now);
    }

    /// The answer came.
    pub fn answered(&mut self, now: Instant, entered: &Entered) {
        if self.answered.replace(now).is_none() {
            entered.stage(JoinStage::Answer, now - self.asked.or(self.opened).unwrap_or(self.begun));
        }
    }

    /// Signaling is all there is: the join is done.
    pub fn finish(&self, now: Instant, entered: &mut Entered) {
        if entered.is_joining() {
            entered.stage(JoinStage::Total, (now - self.begun).saturating_sub(self.alone));
        }
        entered.up();
    }

    /// Something became true of the media. Returns whether the caller has media now.
    pub fn note(&mut self, at: Instant, note: &Note, entered: &mut Entered) -> bool {
        match note {
            Note::IceConnected => self.take_ice(at, entered),
            Note::DtlsConnected => {
                self.take_keys(at, entered);
                if !self.awaits_media {
                    self.finish(at, entered);
                }
                return !self.awaits_media;
            }
            Note::FirstPacket => {
                if entered.is_joining() {
                    entered
                        .stage(JoinStage::FirstPacket, at.saturating_duration_since(self.keys.unwrap_or(at)));
                }
                self.finish(at, entered);
                return true;
            }
            Note::FirstPicture => {
                if !std::mem::replace(&mut self.has_picture, true) {
                    entered.stage(
                        JoinStage::FirstPicture,
                        at.saturating_duration_since(self.keys.unwrap_or(at)),
                    );
                }
            }
            Note::PathLost | Note::DtlsFailed(_) => {}
        }
        false
    }

    /// When a caller that has not finished has failed; none while it waits for company.
    pub fn deadline(&self, time_max: Duration) -> Option<Instant> {
        self.alone_since.is_none().then(|| self.begun + self.alone + time_max)
    }

    /// The step that was not reached, for a caller that gives up: a stable reason, and a line.
    pub fn missing(&self) -> (&'static str, &'static str) {
        match (self.opened, self.answered, self.ice, self.keys) {
            (None, ..) => ("no_connection", "no connection to signaling in time"),
            (_, None, ..) if !self.has_joined && self.asked.is_none() => {
                ("no_joined", "signaling did not take the caller in, in time")
            }
            (_, None, ..) => ("no_answer", "no answer to the offer in time"),
            (_, _, None, None) => {
                ("no_ice", "no check was answered in time: UDP to the bridge is blocked, or it is gone")
            }
            (_, _, _, None) => ("no_keys", "the DTLS handshake did not come to its end in time"),
            _ => ("no_media", "no packet of media came in time, though somebody sends"),
        }
    }

    /// A second connection's check is no second join, but the keys that follow are measured from it.
    fn take_ice(&mut self, at: Instant, entered: &Entered) {
        if self.ice.is_none() {
            entered.stage(JoinStage::Ice, at.saturating_duration_since(self.answered.unwrap_or(at)));
        }
        self.ice = Some(at);
    }

    /// A handset that does not tell of its checks is measured from the answer.
    fn take_keys(&mut self, at: Instant, entered: &Entered) {
        if self.keys.is_none() {
            let from = self.ice.or(self.answered).unwrap_or(at);
            entered.stage(JoinStage::Dtls, at.saturating_duration_since(from));
        }
        self.keys = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn the_steps_add_up_and_time_alone_does_not_count() {
        let (start, ledger) = (Instant::now(), Ledger::default());
        let mut entered = ledger.begin();
        let mut clock = JoinClock::new(start, true);
        clock.opened(at(start, 10), &entered);
        clock.joined(at(start, 30), &entered);
        clock.alone(at(start, 30));
        assert_eq!(clock.deadline(Duration::from_secs(20)), None, "nobody fails by waiting for company");
        clock.asked(at(start, 5_030));
        assert_eq!(clock.deadline(Duration::from_secs(20)), Some(at(start, 25_000)));
        clock.answered(at(start, 5_070), &entered);
        for (ms, note) in [(5_080, Note::IceConnected), (5_100, Note::DtlsConnected)] {
            assert!(!clock.note(at(start, ms), &note, &mut entered));
        }
        assert!(clock.note(at(start, 5_150), &Note::FirstPacket, &mut entered));
        clock.note(at(start, 5_300), &Note::FirstPicture, &mut entered);
        let joins = ledger.joins();
        let found =
            joins.stages().map(|(_, distribution)| (distribution.count(), distribution.max() / 1_000));
        // Three digits exact: 200 and 150 ms may read a little more.
        let expected = [10, 20, 40, 10, 20, 50, 200, 150];
        for ((count, ms), expected) in found.into_iter().zip(expected) {
            assert_eq!((count, ms), (1, expected), "{found:?}");
        }
        assert_eq!(joins.succeeded, 1);
    }

    #[test]
    fn a_publisher_has_joined_with_its_keys_and_a_second_connection_is_no_second_join() {
        let (start, ledger) = (Instant::now(), Ledger::default());
        let mut entered = ledger.begin();
        let mut clock = JoinClock::new(start, false);
        for _ in 0..2 {
            clock.opened(start, &entered);
            clock.asked(start);
            clock.answered(start, &entered);
            clock.note(start, &Note::IceConnected, &mut entered);
            assert!(clock.note(start, &Note::DtlsConnected, &mut entered));
            entered.down();
        }
        let joins = ledger.joins();
        assert_eq!((joins.succeeded, joins.ice.count(), joins.total.count()), (1, 1, 1));
    }

    #[test]
    fn a_caller_that_gives_up_says_how_far_it_came() {
        let (start, ledger) = (Instant::now(), Ledger::default());
        let mut entered = ledger.begin();
        let mut clock = JoinClock::new(start, true);
        assert_eq!(clock.missing().0, "no_connection");
        clock.opened(start, &entered);
        assert_eq!(clock.missing().0, "no_joined");
        clock.joined(start, &entered);
        assert_eq!(clock.missing().0, "no_answer");
        clock.answered(start, &entered);
        assert_eq!(clock.missing().0, "no_ice");
        clock.note(start, &Note::IceConnected, &mut entered);
        assert_eq!(clock.missing().0, "no_keys");
        clock.note(start, &Note::DtlsConnected, &mut entered);
        assert_eq!(clock.missing().0, "no_media");
    }
}

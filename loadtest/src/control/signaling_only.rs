//! Callers without media: they raise a hand now and then, and whoever reads of it tells how long that took.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use wire::messages::ids::EndpointId;

use super::failure::Failure;
use crate::outcome::{PollingOutcome, SignalingOutcome};

/// What all callers of a process found.
#[derive(Debug, Default)]
pub(super) struct Tally {
    outcome: Mutex<SignalingOutcome>,
    /// By conference.
    boards: Mutex<HashMap<String, Arc<Board>>>,
}

/// Hands of one conference: by participant, how it is and since when. Lives as long as the run, which bounds it.
#[derive(Debug, Default)]
struct Board(Mutex<HashMap<EndpointId, (bool, Instant)>>);

impl Tally {
    /// What was found so far by callers that have left, and of polling by all.
    pub(super) fn outcome(&self) -> SignalingOutcome {
        unpoisoned(&self.outcome).clone()
    }

    /// Polling callers begin.
    pub(super) fn begin_polling(&self, callers: u64, interval_s: f64) {
        let polling = PollingOutcome { callers, interval_s, ..PollingOutcome::default() };
        unpoisoned(&self.outcome).polling = Some(polling);
    }

    /// One question was answered, or not.
    pub(super) fn note_poll(&self, took: Duration, answer: Result<usize, Failure>) {
        let mut outcome = unpoisoned(&self.outcome);
        let Some(polling) = &mut outcome.polling else { return };
        polling.requests += 1;
        match answer {
            Ok(bytes) => {
                polling.bytes_received += bytes as u64;
                polling.request.take(micros(took));
                let half = Duration::try_from_secs_f64(polling.interval_s / 2.0).unwrap_or_default();
                polling.age.take(micros(half + took));
            }
            Err(failure) => *polling.failed.entry(failure.reason.into_owned()).or_default() += 1,
        }
    }

    fn board(&self, conference: &str) -> Arc<Board> {
        let mut boards = unpoisoned(&self.boards);
        if let Some(board) = boards.get(conference) {
            return Arc::clone(board);
        }
        let board = Arc::<Board>::default();
        boards.insert(conference.to_owned(), Arc::clone(&board));
        board
    }
}

/// One caller without media; what it counted reaches the tally when it is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    tally: Arc<Tally>,
    board: Arc<Board>,
    random: StdRng,
    /// None before the first `joined`.
    me: Option<EndpointId>,
    is_raised: bool,
    next_hand: Option<Instant>,
    frames: u64,
    bytes: u64,
    breaks: u64,
}

impl Presence {
    pub(super) fn new(tally: &Arc<Tally>, conference: &str, seed: u64) -> Self {
        Self {
            tally: Arc::clone(tally),
            board: tally.board(conference),
            random: StdRng::seed_from_u64(seed),
            me: None,
            is_raised: false,
            next_hand: None,
            frames: 0,
            bytes: 0,
            breaks: 0,
        }
    }

    /// A message came.
    pub(super) fn heard(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    /// Signaling took the caller in. Whoever comes back may be somebody new, with the hand down.
    pub(super) fn joined(&mut self, me: EndpointId) {
        if self.me.as_ref() != Some(&me) {
            self.is_raised = false;
        }
        self.me = Some(me);
    }

    /// The line broke: nobody sees a hand until it stands again.
    pub(super) fn broken(&mut self) {
        self.breaks += 1;
        self.next_hand = None;
    }

    /// When the hand moves next.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.next_hand
    }

    /// How the hand is to be now, if it is time.
    pub(super) fn move_hand(&mut self, now: Instant, present: usize) -> Option<bool> {
        let me = self.me.clone().filter(|_| self.next_hand.is_some_and(|due| due <= now))?;
        self.plan(now, present);
        self.is_raised = !self.is_raised;
        unpoisoned(&self.board.0).insert(me, (self.is_raised, now));
        unpoisoned(&self.tally.outcome).hands += 1;
        Some(self.is_raised)
    }

    /// Others are shown differently.
    pub(super) fn changed(&mut self, now: Instant, changed: &[(EndpointId, bool)]) {
        let board = unpoisoned(&self.board.0);
        let others = changed.iter().filter(|(who, _)| Some(who) != self.me.as_ref());
        // A hand that has moved again since, or belongs to another process' caller, tells nothing.
        let delays: Vec<u64> = others
            .filter_map(|(who, hand)| board.get(who).filter(|(is_raised, _)| is_raised == hand))
            .map(|(_, since)| micros(now.saturating_duration_since(*since)))
            .collect();
        drop(board);
        let mut outcome = unpoisoned(&self.tally.outcome);
        for delay in delays {
            outcome.push_delay.take(delay);
        }
    }

    /// About one hand a second in a large conference, and each hand each five seconds in a small one: more than people
    /// do, and not more as the square of them.
    pub(super) fn plan(&mut self, now: Instant, present: usize) {
        let mean = HAND_INTERVAL_MIN.max(HAND_INTERVAL_IN_ALL * u32::try_from(present).unwrap_or(u32::MAX));
        self.next_hand = Some(now + mean.mul_f64(self.random.random_range(0.5..1.5)));
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut outcome = unpoisoned(&self.tally.outcome);
        outcome.breaks += self.breaks;
        outcome.frames_received += self.frames;
        outcome.bytes_received += self.bytes;
        if self.me.is_some() {
            outcome.callers += 1;
            outcome.frames_per_caller.take(self.frames);
            outcome.bytes_per_caller.take(self.bytes);
        }
    }
}

impl Tally {
    /// Messages that were none of the protocol's.
    pub(super) fn note_strange(&self, frames: u64) {
        unpoisoned(&self.outcome).frames_strange += frames;
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Sums stay sums, whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longer than the 250 ms in which signaling gathers changes, so that no hand is seen to have stayed.
const HAND_INTERVAL_MIN: Duration = Duration::from_secs(5);
/// Hands of a whole conference.
const HAND_INTERVAL_IN_ALL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> EndpointId {
        EndpointId::parse(format!("{number:08x}")).unwrap()
    }

    #[test]
    fn a_raised_hand_is_timed_by_those_who_see_it() {
        let (start, tally) = (Instant::now(), Arc::new(Tally::default()));
        let mut raising = Presence::new(&tally, "a", 1);
        let mut seeing = Presence::new(&tally, "a", 2);
        let mut elsewhere = Presence::new(&tally, "b", 3);
        raising.joined(id(1));
        seeing.joined(id(2));
        elsewhere.joined(id(2));
        assert_eq!(raising.next_timeout(), None, "nobody knows how many there are");
        raising.plan(start, 3);
        assert_eq!(raising.move_hand(start, 3), None, "not yet");
        let due = raising.next_timeout().unwrap();
        assert!(due >= start + HAND_INTERVAL_MIN / 2);
        assert_eq!(raising.move_hand(due, 3), Some(true));
        let seen = due + Duration::from_millis(40);
        seeing.changed(seen, &[(id(1), true), (id(9), true)]);
        raising.changed(seen, &[(id(1), true)]);
        elsewhere.changed(seen, &[(id(1), true)]);
        seeing.changed(seen, &[(id(1), false)]);
        let found = tally.outcome().push_delay;
        assert_eq!(
            (found.count(), found.max() / 1_000),
            (1, 40),
            "own, foreign and stale hands tell nothing"
        );
    }

    #[test]
    fn hands_do_not_grow_with_the_square_of_the_callers() {
        let (start, tally) = (Instant::now(), Arc::new(Tally::default()));
        let mut caller = Presence::new(&tally, "a", 1);
        caller.joined(id(1));
        caller.plan(start, 5_000);
        assert!(caller.next_timeout().unwrap() >= start + HAND_INTERVAL_IN_ALL * 2_500);
    }
}

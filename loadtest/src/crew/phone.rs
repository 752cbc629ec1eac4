//! The async side of one light caller.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::PathPlan;
use super::command::{Command, Connecting, Lease, Line, Opening};
use super::relay::{self, RelayPlan, TrustStore, Trusted};
use crate::engine::caller::{Caller, Identity};
use crate::engine::ports::{CallerPlan, Note};
use crate::phone::{PhoneError, SlotCounts};
use crate::scenario::{MediaPath, TurnServer};

/// What all phones of a crew share.
pub(super) struct Shared {
    pub(super) line: Line,
    pub(super) identity: Arc<Identity>,
    pub(super) trust: Arc<TrustStore>,
}

/// A light caller's phone. Dropped, it hangs up.
pub struct CrewPhone {
    shared: Shared,
    plan: CallerPlan,
    path: PathPlan,
    group: usize,
    connection: Option<Connection>,
}

/// From an offer to its end.
struct Connection {
    seat: Lease,
    /// Until the answer, when it goes to the thread.
    caller: Option<Box<Caller>>,
    notes: mpsc::Receiver<(Instant, Note)>,
}

impl CrewPhone {
    pub(super) fn new(shared: Shared, plan: CallerPlan, path: PathPlan, group: usize) -> Self {
        Self { shared, plan, path, group, connection: None }
    }

    /// See [`crate::phone::Phone::offer`].
    pub async fn offer(&mut self, slots: SlotCounts, turn: Option<TurnServer>) -> Result<String, PhoneError> {
        self.connection = None;
        self.plan.receive.audio = Some(slots.audio);
        self.plan.receive.video = Some(slots.video);
        let relay = relay_of(&self.path, turn, self.plan.number, &self.shared.trust).await?;
        // What a connection brings: half a dozen notes, each once, and a few paths lost.
        let (sender, notes) = mpsc::channel(NOTES_MAX);
        let opening = Opening {
            line: self.shared.line.clone(),
            group: self.group,
            seed: self.plan.seed,
            link: self.path.link.clone(),
            relay,
            notes: sender,
        };
        let (reply, answer) = oneshot::channel();
        self.shared.line.tell(Command::Open(Box::new(opening), reply));
        let seat = answer.await.map_err(|_| PhoneError::CrewEnded)?;
        let caller = Caller::new(Instant::now(), self.plan.clone(), Arc::clone(&self.shared.identity));
        let offer = caller.offer();
        self.connection = Some(Connection { seat, caller: Some(Box::new(caller)), notes });
        Ok(offer)
    }

    /// See [`crate::phone::Phone::answer`].
    pub async fn answer(&mut self, sdp: &str) -> Result<(), PhoneError> {
        let connection = self.connection.as_mut().ok_or(PhoneError::NoOffer)?;
        let mut caller = connection.caller.take().ok_or(PhoneError::NoOffer)?;
        let facts = caller.handle_answer(Instant::now(), sdp)?;
        if facts.candidates.is_empty() {
            return Err(PhoneError::Unreachable("it names none".to_owned()));
        }
        let connecting = Connecting { caller, candidates: facts.candidates };
        let (reply, answer) = oneshot::channel();
        self.shared.line.tell(Command::Connect(connection.seat.key, connecting, reply));
        answer.await.map_err(|_| PhoneError::CrewEnded)?
    }

    /// See [`crate::phone::Phone::note`].
    pub async fn note(&mut self) -> Option<(Instant, Note)> {
        self.connection.as_mut()?.notes.recv().await
    }

    /// See [`crate::phone::Phone::hang_up`].
    #[expect(clippy::unused_async, reason = "the same methods as a full caller's phone")]
    pub async fn hang_up(&mut self) {
        self.connection = None;
    }
}

/// The way to the relay, when the path has one: the scenario's, else the one that signaling has named. Borrows no phone: a
/// caller may move between threads, but not be looked at by two.
async fn relay_of(
    path: &PathPlan,
    named: Option<TurnServer>,
    caller: u32,
    store: &TrustStore,
) -> Result<Option<RelayPlan>, PhoneError> {
    if path.path == MediaPath::Direct {
        return Ok(None);
    }
    let server = path.turn.clone().or(named).ok_or(PhoneError::NoRelay)?;
    relay::plan(path.path, &server, caller, Trusted { store, ca: path.ca.as_deref() }).await.map(Some)
}

/// Nobody falls so far behind: a connection has less to tell in all.
const NOTES_MAX: usize = 64;

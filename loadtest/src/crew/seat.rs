//! One caller on its thread: its way, its relay, its link, and the caller itself once there is an answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::command::{Connecting, Opening};
use super::leg::{Batch, Clock, Leg, Place, Reading, UdpLeg};
use super::relay::RelayPlan;
use crate::engine::caller::Caller;
use crate::engine::link::Impairment;
use crate::engine::ports::{Note, Transmits, Workspace};
use crate::engine::results::Results;
use crate::engine::turn::{Carrier, TurnClient, TurnEvent};
use crate::phone::PhoneError;
use crate::scenario::Link;

/// What the seats of a thread share; each leaves it empty.
#[derive(Default)]
pub(super) struct Tools {
    pub(super) batch: Batch,
    /// Bytes of one reading of a stream.
    pub(super) scratch: Vec<u8>,
    pub(super) workspace: Workspace,
    /// Datagrams as they go on the wire, where the caller's own are not.
    pub(super) wire: Transmits,
    /// One datagram that a link has held.
    pub(super) held: Vec<u8>,
    pub(super) unsent: u64,
    /// How long the oldest datagram of this turn had waited.
    pub(super) late: Duration,
}

/// One caller's place.
pub(super) struct Seat {
    pub(super) generation: u64,
    pub(super) group: usize,
    /// What its timer is set for.
    pub(super) armed: Option<Instant>,
    /// It is in the list of those with more to read.
    pub(super) is_waiting_to_read: bool,
    leg: Leg,
    turn: Option<TurnClient>,
    caller: Option<Box<Caller>>,
    link: Option<Box<LinkBothWays>>,
    notes: mpsc::Sender<(Instant, Note)>,
    candidates: Candidates,
    /// Who waits for the way to be open.
    reply: Option<oneshot::Sender<Result<(), PhoneError>>>,
    /// Why there is no way, before anybody has asked.
    failure: Option<PhoneError>,
}

struct LinkBothWays {
    up: Impairment,
    down: Impairment,
    /// The longest that it delays a check and its answer together.
    round_trip: Duration,
}

/// Where the server may be reached, tried in turn until a check is answered (RFC 8445, 6.1.4.2, one pair at a time: a server
/// that answers on the first address sees one address of the caller).
struct Candidates {
    addresses: Vec<SocketAddr>,
    tried: usize,
    /// When the next one is tried; none: the way is found, or there is no other to try.
    next_at: Option<Instant>,
    /// How long each is tried in the first round.
    patience: Duration,
}

impl Candidates {
    fn new(addresses: Vec<SocketAddr>, link: Option<&LinkBothWays>) -> Self {
        let patience = CANDIDATE_PATIENCE + link.map_or(Duration::ZERO, |link| link.round_trip);
        Self { addresses, tried: 0, next_at: None, patience }
    }

    fn take(&mut self) -> Option<SocketAddr> {
        let address = *self.addresses.get(self.tried % self.addresses.len().max(1))?;
        self.tried += 1;
        Some(address)
    }

    /// The one that was taken is tried from `now` on: twice as long in each round, as an answer that comes after its time is
    /// lost.
    fn wait(&mut self, now: Instant) {
        let rounds = self.tried.saturating_sub(1) / self.addresses.len().max(1);
        let patience = self.patience * (1 << rounds.min(ROUNDS_LONGER));
        self.next_at = (self.addresses.len() > 1).then(|| now + patience);
    }

    fn are_all_tried(&self) -> bool {
        self.tried >= self.addresses.len()
    }
}

impl Seat {
    /// A seat without a caller. With a relay, the way up to it is opened now.
    pub(super) fn open(now: Instant, opening: Opening, generation: u64, place: Place<'_>) -> Self {
        let Opening { group, seed, link, relay, notes, line: _ } = opening;
        let mut seat = Self {
            generation,
            group,
            armed: None,
            is_waiting_to_read: false,
            leg: Leg::Closed,
            turn: None,
            caller: None,
            link: link.as_ref().map(|link| Box::new(LinkBothWays::new(link, seed))),
            notes,
            candidates: Candidates::new(Vec::new(), None),
            reply: None,
            failure: None,
        };
        if let Some(plan) = relay
            && let Err(error) = seat.open_relay(now, plan, seed, place)
        {
            seat.failure = Some(error);
        }
        seat
    }

    fn open_relay(
        &mut self,
        now: Instant,
        plan: RelayPlan,
        seed: u64,
        place: Place<'_>,
    ) -> Result<(), PhoneError> {
        self.leg = Leg::open_relay(now, &plan, place)?;
        let carrier = if matches!(self.leg, Leg::Stream(_)) { Carrier::Stream } else { Carrier::Datagrams };
        self.turn = Some(TurnClient::new(now, carrier, plan.credentials, seed ^ TURN_SEED));
        Ok(())
    }

    /// The caller sits down; `reply` hears when its way is open.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        connecting: Connecting,
        reply: oneshot::Sender<Result<(), PhoneError>>,
        place: Place<'_>,
    ) {
        self.caller = Some(connecting.caller);
        self.candidates = Candidates::new(connecting.candidates, self.link.as_deref());
        self.reply = Some(reply);
        match self.failure.take() {
            Some(failure) => self.fail(now, failure),
            None => self.try_next(now, place),
        }
    }

    /// Whether a caller with an open way sits here.
    pub(super) fn is_connected(&self) -> bool {
        self.caller.is_some() && !matches!(self.leg, Leg::Closed)
    }

    /// Local port and receive buffer of its UDP socket.
    pub(super) fn socket(&self) -> Option<(u16, usize)> {
        match &self.leg {
            Leg::Udp(leg) => Some((leg.port(), leg.buffer_bytes())),
            Leg::Closed | Leg::Stream(_) => None,
        }
    }

    /// Takes in what has arrived.
    pub(super) fn handle_readable(&mut self, clock: Clock, tools: &mut Tools, place: Place<'_>) -> Reading {
        let Self { leg, turn, caller, link, notes, candidates, .. } = self;
        let mut inside = Inside { caller, link, notes, candidates };
        let mut waited = None;
        let workspace = &mut tools.workspace;
        let reading = match leg {
            Leg::Closed => Ok(Reading::Done),
            Leg::Udp(leg) => Ok(leg.receive(clock, &mut tools.batch, |arrived, datagram| {
                // The first is the oldest; reading has not begun before.
                waited.get_or_insert_with(|| Instant::now().saturating_duration_since(arrived));
                let datagram = match turn {
                    None => Some(datagram),
                    Some(turn) => turn.handle_message(arrived, datagram),
                };
                if let Some(datagram) = datagram {
                    inside.take(arrived, datagram, workspace);
                }
            })),
            Leg::Stream(leg) => leg.receive(&mut tools.scratch, |message| {
                let Some(turn) = turn else { return };
                if let Some(datagram) = turn.handle_message(clock.now, message) {
                    inside.take(clock.now, datagram, workspace);
                }
            }),
        };
        let now = Instant::now();
        tools.late = tools.late.max(waited.unwrap_or_default());
        let reading = reading.unwrap_or_else(|why| {
            self.fail(now, PhoneError::Relay(why));
            Reading::Done
        });
        if reading == Reading::Refused {
            self.refused(now);
        }
        self.flush(now, tools, place);
        reading
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, tools: &mut Tools, place: Place<'_>) {
        if let Leg::Stream(leg) = &mut self.leg
            && let Err(why) = leg.handle_timeout(now)
        {
            self.fail(now, PhoneError::Relay(why));
        }
        if self.candidates.next_at.is_some_and(|at| at <= now) {
            self.try_next(now, place);
        }
        if let (Some(link), Some(caller)) = (&mut self.link, &mut self.caller) {
            while let Some(arrived) = link.down.poll(now, &mut tools.held) {
                caller.handle_datagram(arrived, &tools.held, &mut tools.workspace);
                tell(&self.notes, arrived, &mut tools.workspace, &mut self.candidates);
            }
        }
        if let Some(caller) = self.caller.as_mut().filter(|_| self.reply.is_none())
            && caller.next_timeout().is_some_and(|at| at <= now)
        {
            caller.handle_timeout(now, &mut tools.workspace);
            tell(&self.notes, now, &mut tools.workspace, &mut self.candidates);
        }
        self.flush(now, tools, place);
    }

    /// When [`Seat::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let stream = if let Leg::Stream(leg) = &self.leg { leg.next_timeout() } else { None };
        // Until its way is open a caller would only speak to nobody.
        let caller =
            self.caller.as_ref().filter(|_| self.reply.is_none()).and_then(|caller| caller.next_timeout());
        let turn = self.turn.as_ref().and_then(TurnClient::next_timeout);
        let link = self.link.as_ref().and_then(|link| link.next_timeout());
        [self.candidates.next_at, stream, caller, turn, link].into_iter().flatten().min()
    }

    /// Adds what the caller has counted.
    pub(super) fn take_results(&mut self, results: &mut Results) {
        if let Some(caller) = &mut self.caller {
            caller.take_results(results);
        }
    }

    /// Says good-bye; the seat is of no use afterwards but for its results.
    pub(super) fn hang_up(&mut self, tools: &mut Tools) {
        if let Some(caller) = &mut self.caller {
            caller.hang_up(&mut tools.workspace);
            let transmits = &tools.workspace.transmits;
            match &self.turn {
                None => tools.unsent += self.leg.send(transmits),
                Some(turn) => {
                    wrap_all(turn, transmits, &mut tools.wire);
                    self.leg.send(&tools.wire);
                }
            }
        }
        tools.wire.clear();
        if let Some(turn) = &mut self.turn {
            turn.hang_up(&mut tools.wire);
            self.leg.send(&tools.wire);
        }
        tools.wire.clear();
        tools.workspace.transmits.clear();
        tools.workspace.notes.clear();
        self.leg = Leg::Closed;
        self.turn = None;
    }

    /// Aims at the next candidate, or at the first again.
    fn try_next(&mut self, now: Instant, place: Place<'_>) {
        self.candidates.next_at = None;
        let mut last = PhoneError::Unreachable("it names none".to_owned());
        for _ in 0..self.candidates.addresses.len() {
            let Some(address) = self.candidates.take() else { break };
            if let Some(caller) = &mut self.caller {
                caller.follow_candidate(address);
            }
            if let Some(turn) = &mut self.turn {
                turn.aim(now, address);
                return;
            }
            match UdpLeg::open(address, place) {
                Ok(leg) => {
                    self.leg = Leg::Udp(leg);
                    self.candidates.wait(now);
                    self.opened();
                    return;
                }
                Err(error @ PhoneError::Unreachable(_)) => last = error,
                Err(error) => return self.fail(now, error),
            }
        }
        self.fail(now, last);
    }

    fn opened(&mut self) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Ok(()));
        }
    }

    /// Nobody listens there. The next candidate need not wait, but not in a circle at full speed; a relay that is not there
    /// is the end. Once the way was found, the caller's checks tell whether it is lost, as in a browser.
    fn refused(&mut self, now: Instant) {
        if self.turn.as_ref().is_some_and(|turn| !turn.is_allocated()) {
            return self
                .fail(now, PhoneError::Relay("nobody listens at the TURN server's address".to_owned()));
        }
        if let Some(next_at) = &mut self.candidates.next_at {
            *next_at = (*next_at).min(now + REFUSED_PATIENCE);
        }
    }

    /// There is no way, or it has ended.
    fn fail(&mut self, now: Instant, failure: PhoneError) {
        self.leg = Leg::Closed;
        self.turn = None;
        self.candidates.next_at = None;
        match self.reply.take() {
            Some(reply) => {
                let _ = reply.send(Err(failure));
            }
            None if self.caller.is_some() => {
                let _ = self.notes.try_send((now, Note::PathLost));
            }
            None => self.failure = Some(failure),
        }
    }

    /// Sends what the caller, the link and the relay's client have ready.
    fn flush(&mut self, now: Instant, tools: &mut Tools, place: Place<'_>) {
        if let Some(link) = &mut self.link {
            for datagram in tools.workspace.transmits.iter() {
                link.up.handle_datagram(now, datagram);
            }
            tools.workspace.transmits.clear();
            while link.up.poll(now, &mut tools.held).is_some() {
                tools.workspace.transmits.push(&tools.held);
            }
        }
        if !tools.workspace.transmits.is_empty() {
            tools.unsent += match &self.turn {
                None => self.leg.send(&tools.workspace.transmits),
                Some(turn) => {
                    wrap_all(turn, &tools.workspace.transmits, &mut tools.wire) + self.leg.send(&tools.wire)
                }
            };
            tools.workspace.transmits.clear();
            tools.wire.clear();
        }
        if self.turn.is_some() {
            self.flush_turn(now, tools, place);
        }
    }

    /// The relay's client: what it has to say, and what it has heard.
    fn flush_turn(&mut self, now: Instant, tools: &mut Tools, place: Place<'_>) {
        while let Some(turn) = &mut self.turn {
            if turn.next_timeout().is_some_and(|at| at <= now) {
                turn.handle_timeout(now, &mut tools.wire);
                tools.unsent += self.leg.send(&tools.wire);
                tools.wire.clear();
            }
            match turn.poll_event() {
                None => return,
                Some(TurnEvent::Allocated(_)) => {}
                Some(TurnEvent::Bound(_)) => {
                    self.candidates.wait(now);
                    self.opened();
                }
                Some(TurnEvent::BindRefused(_, why)) if self.candidates.are_all_tried() => {
                    self.fail(now, PhoneError::Relay(why));
                }
                Some(TurnEvent::BindRefused(..)) => self.try_next(now, place),
                Some(TurnEvent::Failed(why)) => self.fail(now, PhoneError::Relay(why)),
            }
        }
    }
}

impl LinkBothWays {
    fn new(link: &Link, seed: u64) -> Self {
        let (up, down) = (Impairment::new(link, seed ^ UP_SEED), Impairment::new(link, seed ^ DOWN_SEED));
        let round_trip = up.delay_max() + down.delay_max();
        Self { up, down, round_trip }
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.up.next_timeout(), self.down.next_timeout()].into_iter().flatten().min()
    }
}

/// A seat without its way, which is being read.
struct Inside<'a> {
    caller: &'a mut Option<Box<Caller>>,
    link: &'a mut Option<Box<LinkBothWays>>,
    notes: &'a mpsc::Sender<(Instant, Note)>,
    candidates: &'a mut Candidates,
}

impl Inside<'_> {
    /// A datagram of the server.
    fn take(&mut self, arrived: Instant, datagram: &[u8], workspace: &mut Workspace) {
        let Some(caller) = self.caller else { return };
        if let Some(link) = self.link {
            return link.down.handle_datagram(arrived, datagram);
        }
        caller.handle_datagram(arrived, datagram, workspace);
        tell(self.notes, arrived, workspace, self.candidates);
    }
}

/// Passes the caller's notes on. The first answered check ends the search for a way.
fn tell(
    notes: &mpsc::Sender<(Instant, Note)>,
    now: Instant,
    workspace: &mut Workspace,
    candidates: &mut Candidates,
) {
    for note in workspace.notes.drain(..) {
        if note == Note::IceConnected {
            candidates.next_at = None;
        }
        // Who does not listen misses it, and nothing else waits.
        let _ = notes.try_send((now, note));
    }
}

/// Channel data around each datagram; says how many went nowhere because there is no channel.
fn wrap_all(turn: &TurnClient, transmits: &Transmits, wire: &mut Transmits) -> u64 {
    transmits.iter().filter(|datagram| !turn.wrap(datagram, wire)).count() as u64
}

/// A check is repeated within it, and its answer comes on any way that can carry a meeting.
const CANDIDATE_PATIENCE: Duration = Duration::from_secs(1);

/// Eight times as long and no longer.
const ROUNDS_LONGER: usize = 3;

/// A server that is just starting may listen a moment later.
const REFUSED_PATIENCE: Duration = Duration::from_millis(200);

/// Each of a caller's generators has its own sequence.
const UP_SEED: u64 = 0x7570;
const DOWN_SEED: u64 = 0x646f_776e;
const TURN_SEED: u64 = 0x7475_726e;

#[cfg(test)]
#[path = "seat_tests.rs"]
mod tests;

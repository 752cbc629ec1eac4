//! One caller's line to signaling, as the meeting page speaks it over `/ws`: joins, comes back by itself when the line
//! breaks, notices silence, carries negotiation. Texts and `now` in, texts and what became true out.
//!
//! ```text
//! Down ──retry──▶ Joining ──joined──▶ Up ◀──heard── Asked        any: break ──▶ Down, `left`/`replaced`/final fault ──▶ Ended
//!                                     └──5 s quiet──▶┘
//! ```
//!
//! Unlike the page it keeps no roster: five thousand callers in one conference would hold 25 million participants. It
//! follows the numbers of the deltas, how many are present, and whose hand changed.

mod backoff;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wire::messages::ids::{EndpointId, Epoch};
use wire::messages::meeting::{
    AssignReason, ByeReason, Changes, ErrorId, IceServer, Request, SlotCounts, Update,
};

pub use self::backoff::Backoff;
pub(crate) use self::reading::Count;
use self::reading::Heard;

/// What one caller says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introduction {
    /// Shown to the others.
    pub name: String,
    /// Proof of the right to join, where the deployment wants one.
    pub token: Option<String>,
}

/// What the shell does next, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a socket, then call [`Attendance::handle_opened`] or [`Attendance::handle_closed`].
    Connect,
    /// Send this text.
    Send(String),
    /// Close the socket, open or not yet.
    Disconnect,
    /// The server took this caller in, or back in.
    Joined {
        /// Who it is.
        participant: EndpointId,
        /// Receive positions to offer.
        slots: SlotCounts,
    },
    /// Alone: there is no bridge and nothing to offer.
    Waiting,
    /// A bridge has the conference: make an offer.
    Assigned(Assigned),
    /// The latest offer's answer.
    Answer {
        /// The whole description.
        sdp: String,
        /// Path and query of the channel below the target's origin.
        channel_url: String,
    },
    /// The latest offer gets no answer.
    OfferLost(OfferFault),
    /// The server has shown everybody: [`Attendance::present`] is true from now on.
    Snapshot,
    /// Participants that are shown differently, each with whether its hand is raised.
    Changed(Vec<(EndpointId, bool)>),
    /// Somebody said something.
    Chat,
    /// The line broke; the next try comes by itself.
    Broken(Break),
    /// It is over; nothing more will come.
    Ended(Ending),
}

/// A bridge has the conference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// Relays, as `RTCIceServer`.
    pub ice_servers: Vec<IceServer>,
    /// Why.
    pub reason: AssignReason,
    /// Counts the assignments.
    pub epoch: Epoch,
}

/// Why an offer gets no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferFault {
    /// The server refused it.
    Refused(ErrorId, String),
    /// A newer one took its place.
    Overtaken,
    /// The line was down, or broke.
    LineDown,
    /// Nothing came in time.
    Timeout,
}

/// Why a line broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The socket could not be opened, or closed.
    Socket,
    /// No `joined` in time.
    JoinTimeout,
    /// No `joined` in time, and what came was not this protocol.
    NotOurProtocol,
    /// Nothing came for a while, not even when asked.
    Silence,
    /// A delta was missed, or something after `joined` made no sense.
    Gap,
    /// The server said so.
    Bye(ByeReason),
    /// The server does not know a secret that was not shown.
    BadResume,
}

/// Why it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Trying again would meet the same answer.
    Refused(ErrorId, String),
    /// The server ended it on purpose.
    Bye(ByeReason),
    /// The caller left.
    Left,
}

/// How the line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Down { retry_at: Instant },
    Joining { give_up_at: Instant },
    Up { ask_at: Instant },
    Asked { give_up_at: Instant },
    Ended,
}

/// The latest offer, while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offer {
    rev: u64,
    give_up_at: Instant,
}

/// One caller's line to signaling.
#[derive(Debug)]
pub struct Attendance {
    introduction: Introduction,
    line: Line,
    /// Secret of the latest `joined`.
    resume: Option<String>,
    rev: u64,
    offer: Option<Offer>,
    /// Of the latest state or delta.
    seq: u64,
    present: usize,
    strange: u64,
    backoff: Backoff,
    outputs: VecDeque<Output>,
}

impl Attendance {
    /// A caller that connects at once. `seed` spreads the callers' reconnections.
    pub fn new(now: Instant, introduction: Introduction, seed: u64) -> Self {
        let mut attendance = Self {
            introduction,
            line: Line::Down { retry_at: now },
            resume: None,
            rev: 0,
            offer: None,
            seq: 0,
            present: 0,
            strange: 0,
            backoff: Backoff::new(RETRY_MAX, seed),
            outputs: VecDeque::new(),
        };
        attendance.connect(now);
        attendance
    }

    /// Requests reach the server.
    pub fn is_joined(&self) -> bool {
        matches!(self.line, Line::Up { .. } | Line::Asked { .. })
    }

    /// Participants, this one included, as far as deltas tell: one that came while the snapshot was made counts twice.
    pub fn present(&self) -> usize {
        self.present
    }

    /// Texts of the current line that were no update: not JSON, of an unknown type, or misshapen. Skipped, as the page does.
    pub fn strange(&self) -> u64 {
        self.strange
    }

    /// The socket that [`Output::Connect`] asked for is open.
    pub fn handle_opened(&mut self) {
        if matches!(self.line, Line::Joining { .. }) {
            self.send_join();
        }
    }

    /// The socket could not be opened, or has closed. `wait_min`: what the server wants to be left alone for.
    pub fn handle_closed(&mut self, now: Instant, wait_min: Duration) {
        if matches!(self.line, Line::Joining { .. } | Line::Up { .. } | Line::Asked { .. }) {
            self.break_line(now, Break::Socket, wait_min);
        }
    }

    /// A text came over the socket.
    pub fn handle_text(&mut self, now: Instant, text: &str) {
        match self.line {
            Line::Up { .. } | Line::Asked { .. } => self.line = Line::Up { ask_at: now + QUIET },
            // Before `joined`, nothing that arrives lengthens the time for it.
            Line::Joining { .. } => {}
            Line::Down { .. } | Line::Ended => return,
        }
        match reading::read(text) {
            Some(Heard::State { seq, present }) => {
                (self.seq, self.present) = (seq, present);
                self.outputs.push_back(Output::Snapshot);
            }
            Some(Heard::Delta(delta)) => self.handle_delta(now, delta),
            Some(Heard::Chat) => self.outputs.push_back(Output::Chat),
            Some(Heard::Pong) => {}
            Some(Heard::Other(update)) => self.handle_update(now, *update),
            None => self.strange = self.strange.saturating_add(1),
        }
    }

    /// Sends an offer, in place of one that still waits.
    pub fn offer(&mut self, now: Instant, sdp: String) {
        self.drop_offer(OfferFault::Overtaken);
        if !self.is_joined() {
            return self.outputs.push_back(Output::OfferLost(OfferFault::LineDown));
        }
        self.rev += 1;
        self.offer = Some(Offer { rev: self.rev, give_up_at: now + ANSWER_TIME_MAX });
        self.send(&Request::Offer { sdp, rev: self.rev });
    }

    /// Says something to everybody. Returns whether the line took it.
    pub fn chat(&mut self, text: String) -> bool {
        if self.is_joined() {
            self.send(&Request::Chat { text });
        }
        self.is_joined()
    }

    /// Shows the others something else of this caller. Returns whether the line took it.
    pub fn set(&mut self, changes: Changes) -> bool {
        if self.is_joined() {
            self.send(&Request::Set(changes));
        }
        self.is_joined()
    }

    /// Goes for good.
    pub fn leave(&mut self) {
        if self.is_joined() {
            self.send(&Request::Leave);
        }
        self.end(Ending::Left);
    }

    /// When [`Self::handle_timeout`] is due. None: never again.
    pub fn next_timeout(&self) -> Option<Instant> {
        let line = match self.line {
            Line::Down { retry_at } => retry_at,
            Line::Joining { give_up_at } | Line::Asked { give_up_at } => give_up_at,
            Line::Up { ask_at } => ask_at,
            Line::Ended => return None,
        };
        Some(self.offer.map_or(line, |offer| offer.give_up_at.min(line)))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.offer.is_some_and(|offer| offer.give_up_at <= now) {
            self.drop_offer(OfferFault::Timeout);
        }
        match self.line {
            Line::Down { retry_at } if retry_at <= now => self.connect(now),
            Line::Joining { give_up_at } if give_up_at <= now => {
                let why = if self.strange > 0 { Break::NotOurProtocol } else { Break::JoinTimeout };
                self.break_line(now, why, Duration::ZERO);
            }
            Line::Up { ask_at } if ask_at <= now => {
                self.send(&Request::Ping);
                self.line = Line::Asked { give_up_at: now + PONG_TIME_MAX };
            }
            Line::Asked { give_up_at } if give_up_at <= now => {
                self.break_line(now, Break::Silence, Duration::ZERO);
            }
            _ => {}
        }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn handle_update(&mut self, now: Instant, update: Update) {
        match update {
            Update::Joined { participant, resume, slots, .. } => {
                self.resume = Some(resume);
                self.line = Line::Up { ask_at: now + QUIET };
                self.backoff.note_opened(now);
                self.outputs.push_back(Output::Joined { participant, slots });
            }
            Update::Waiting => self.outputs.push_back(Output::Waiting),
            Update::Assigned { ice_servers, reason, epoch } => {
                self.outputs.push_back(Output::Assigned(Assigned { ice_servers, reason, epoch }));
            }
            Update::Answer { sdp, rev, channel_url } => {
                if self.offer.is_some_and(|offer| offer.rev == rev) {
                    self.offer = None;
                    self.outputs.push_back(Output::Answer { sdp, channel_url });
                }
            }
            Update::Error { id, message } => self.handle_fault(now, id, message),
            Update::Bye { reason: reason @ (ByeReason::Left | ByeReason::Replaced) } => {
                self.end(Ending::Bye(reason));
            }
            Update::Bye { reason } => self.break_line(now, Break::Bye(reason), Duration::ZERO),
            // Read by `reading` before it comes here.
            Update::State { .. } | Update::Delta { .. } | Update::Chat { .. } | Update::Pong => {}
        }
    }

    fn handle_delta(&mut self, now: Instant, delta: reading::Delta) {
        if delta.seq != self.seq.wrapping_add(1) {
            return self.break_line(now, Break::Gap, Duration::ZERO);
        }
        self.seq = delta.seq;
        self.present = (self.present + delta.joined).saturating_sub(delta.left);
        if !delta.changed.is_empty() {
            self.outputs.push_back(Output::Changed(delta.changed));
        }
    }

    fn handle_fault(&mut self, now: Instant, id: ErrorId, message: String) {
        match id {
            ErrorId::BadResume if !self.is_joined() => self.join_anew(now),
            ErrorId::BadSdp | ErrorId::NotAssigned | ErrorId::Unavailable => {
                self.drop_offer(OfferFault::Refused(id, message));
            }
            ErrorId::BadConference | ErrorId::BadName | ErrorId::ConferenceFull | ErrorId::BadToken
                if !self.is_joined() =>
            {
                self.end(Ending::Refused(id, message));
            }
            _ => {}
        }
    }

    /// The server has forgotten us; without a secret to forget, it makes no sense and the line is a bad one.
    fn join_anew(&mut self, now: Instant) {
        if self.resume.take().is_some() {
            self.send_join();
        } else {
            self.break_line(now, Break::BadResume, Duration::ZERO);
        }
    }

    fn connect(&mut self, now: Instant) {
        self.line = Line::Joining { give_up_at: now + JOIN_TIME_MAX };
        self.strange = 0;
        self.outputs.push_back(Output::Connect);
    }

    fn send_join(&mut self) {
        let Introduction { name, token } = self.introduction.clone();
        self.send(&Request::Join { name, token, resume: self.resume.clone() });
    }

    fn send(&mut self, request: &Request) {
        // Invariant: a request is made of texts and numbers, which JSON can always write.
        self.outputs.push_back(Output::Send(serde_json::to_string(request).unwrap_or_default()));
    }

    fn drop_offer(&mut self, why: OfferFault) {
        if self.offer.take().is_some() {
            self.outputs.push_back(Output::OfferLost(why));
        }
    }

    fn break_line(&mut self, now: Instant, why: Break, wait_min: Duration) {
        self.drop_offer(OfferFault::LineDown);
        let wait = self.backoff.next_wait(now).max(wait_min.min(WAIT_MAX));
        self.line = Line::Down { retry_at: now + wait };
        self.outputs.extend([Output::Disconnect, Output::Broken(why)]);
    }

    fn end(&mut self, why: Ending) {
        if self.line == Line::Ended {
            return;
        }
        self.drop_offer(OfferFault::LineDown);
        self.line = Line::Ended;
        self.outputs.extend([Output::Disconnect, Output::Ended(why)]);
    }
}

/// A line that is quiet for this long is asked whether it still stands.
const QUIET: Duration = Duration::from_secs(5);
/// No answer within this: the line is broken, whatever the socket says.
const PONG_TIME_MAX: Duration = Duration::from_millis(2_500);
/// A connection that has not brought a `joined` within this is given up; the server gives one up after 5 s.
const JOIN_TIME_MAX: Duration = Duration::from_millis(7_500);
/// Reconnection tries come at least this often.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// The server answers an offer within 5 s or says why not.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);
/// A server may ask to be left alone, but not for longer than any run lasts.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

//! A caller that comes in by one exchange: WHIP if it sends, WHEP if not; or a Janus videoroom.

use std::future::{Future, pending};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout, timeout_at};
use wire::messages::meeting::SlotCounts;

use super::Control;
use super::failure::Failure;
use super::handset::{Handset, Seat};
use super::janus::Janus;
use super::join_clock::JoinClock;
use super::ledger::{Entered, Ledger};
use super::whip::Whip;
use crate::engine::attendance::Backoff;
use crate::engine::ports::Note;
use crate::scenario::Entry;

/// Publishes or views until `leave` is done, or it is over.
pub(super) async fn attend<P: Handset>(
    control: Arc<Control>,
    seat: Seat,
    phone: P,
    ledger: Ledger,
    leave: impl Future<Output = ()> + Send,
) {
    let is_janus = seat.entry == Entry::Janus;
    let mut visit = Visit {
        entered: ledger.begin(),
        clock: JoinClock::new(Instant::now(), seat.awaits_media),
        backoff: Backoff::new(RETRY_MAX, seat.seed),
        sent: Arc::default(),
        way: if is_janus { Way::Janus(None) } else { Way::Http(Whip::new(&control, &seat)) },
        control,
        seat,
        phone,
    };
    tokio::select! {
        biased;
        () = leave => {}
        () = visit.stay() => {}
    }
    visit.end().await;
}

/// Whom it is with.
enum Way {
    Http(Whip),
    /// None while no session is open.
    Janus(Option<Janus>),
}

/// One caller, from its first step to its last.
struct Visit<P> {
    control: Arc<Control>,
    seat: Seat,
    phone: P,
    entered: Entered,
    clock: JoinClock,
    backoff: Backoff,
    /// When the latest request went out.
    sent: Arc<OnceLock<Instant>>,
    way: Way,
}

impl<P: Handset> Visit<P> {
    /// Comes in, and again when the media is lost, as players do. Done when the join has failed.
    async fn stay(&mut self) {
        let mut trouble = None;
        loop {
            let deadline =
                self.clock.deadline(self.control.join_time_max).filter(|_| self.entered.is_joining());
            let failure = match self.visit(deadline).await {
                Err(failure) if failure.is_final && self.entered.is_joining() => {
                    return self.entered.fail(&failure);
                }
                Ok(failure) | Err(failure) => failure,
            };
            self.entered.down();
            let now = Instant::now();
            let wait = (RETRY_MIN + self.backoff.next_wait(now)).max(failure.wait_min);
            if self.entered.is_joining() && deadline.is_some_and(|deadline| deadline <= now + wait) {
                // What went wrong before says more than that time was up.
                let is_late = deadline.is_some_and(|deadline| deadline <= now);
                return self.entered.fail(&trouble.filter(|_| is_late).unwrap_or(failure));
            }
            trouble = Some(failure);
            self.close().await;
            sleep(wait).await;
        }
    }

    /// One connection, from the offer until its media is lost, which is `Ok`; `Err`: it came to nothing.
    async fn visit(&mut self, deadline: Option<Instant>) -> Result<Failure, Failure> {
        let until = deadline.unwrap_or_else(|| Instant::now() + self.control.join_time_max);
        let joined = timeout_at(until.into(), self.join(until)).await;
        self.note_sent();
        match joined {
            Ok(joined) => joined?,
            Err(_) => {
                let (reason, line) = self.clock.missing();
                return Err(Failure::passing(reason, line));
            }
        }
        self.backoff.note_opened(Instant::now());
        Ok(self.lost().await)
    }

    /// Offer, answer, and everything up to media.
    async fn join(&mut self, until: Instant) -> Result<(), Failure> {
        // HTTP servers name no number: a WHEP player offers one slot of each kind, a WHIP publisher none.
        let told = SlotCounts { audio: 1, video: 1 };
        let slots = if self.seat.sends { SlotCounts { audio: 0, video: 0 } } else { self.seat.slots(told) };
        let offer = self.phone.offer(slots, None).await?;
        // Each try has its own instant; the clock keeps the first.
        self.sent = Arc::default();
        let answer = self.exchange(offer, slots, until).await;
        self.note_sent();
        let answer = answer?;
        self.clock.answered(Instant::now(), &self.entered);
        self.phone.answer(&answer).await?;
        loop {
            let Some((at, note)) = self.phone.note().await else { return Err(ended()) };
            if self.clock.note(at, &note, &mut self.entered) {
                return Ok(());
            }
            if let Some(failure) = loss(&note) {
                return Err(failure);
            }
        }
    }

    /// The offer for the answer.
    async fn exchange(
        &mut self,
        offer: String,
        slots: SlotCounts,
        until: Instant,
    ) -> Result<String, Failure> {
        let place = match &mut self.way {
            Way::Http(whip) => return whip.post(offer, &self.sent).await,
            Way::Janus(place) => place,
        };
        let opened = Janus::open(self.control.http.clone(), &self.control.origin).await?;
        let janus = place.insert(opened);
        self.sent.get_or_init(Instant::now);
        let conference = &self.seat.conference;
        if self.seat.sends {
            return janus.publish(conference, &offer, until.into()).await;
        }
        let theirs = janus.subscribe(conference, slots.video.max(slots.audio), until.into()).await?;
        janus.start(&offer, &theirs, until.into()).await
    }

    /// Waits until the media is lost, and says why.
    async fn lost(&mut self) -> Failure {
        loop {
            let note = tokio::select! {
                note = self.phone.note() => note,
                why = ending(&mut self.way) => return why,
            };
            let Some((at, note)) = note else { return ended() };
            self.clock.note(at, &note, &mut self.entered);
            if let Some(failure) = loss(&note) {
                return failure;
            }
        }
    }

    /// Also after a try that was cut short: how far it came decides what a join failed for.
    fn note_sent(&mut self) {
        if let Some(at) = self.sent.get() {
            self.clock.opened(*at, &self.entered);
            self.clock.asked(*at);
        }
    }

    /// Gives back what the server holds.
    async fn close(&mut self) {
        match &mut self.way {
            Way::Http(whip) => whip.delete().await,
            Way::Janus(place) => {
                if let Some(janus) = place.take() {
                    // A server that is gone is left alone.
                    let _ = timeout(CLOSE_TIME_MAX, janus.close()).await;
                }
            }
        }
    }

    /// The last step, however it came to it.
    async fn end(mut self) {
        self.phone.hang_up().await;
        self.close().await;
    }
}

/// What the server says by itself. HTTP cannot push: with WHIP, nothing ever.
async fn ending(way: &mut Way) -> Failure {
    match way {
        Way::Janus(Some(janus)) => match janus.ending().await {
            Ok(_) => Failure::passing("hung_up", "Janus ended the call"),
            Err(failure) => failure,
        },
        Way::Janus(None) | Way::Http(_) => pending().await,
    }
}

/// The handset has nothing more to say.
fn ended() -> Failure {
    Failure::passing("path_lost", "the connection has ended")
}

/// Why the media is lost, if the note says that it is.
fn loss(note: &Note) -> Option<Failure> {
    match note {
        Note::PathLost => Some(Failure::passing("path_lost", "the path to the server was lost")),
        Note::DtlsFailed(why) => {
            Some(Failure::passing("dtls_failed", format!("the DTLS handshake failed: {why}")))
        }
        _ => None,
    }
}

/// Tries come at least this often.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// And never sooner.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Leaving is not worth longer.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

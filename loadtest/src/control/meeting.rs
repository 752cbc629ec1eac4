//! A caller that comes in over `/ws`: the line by [`Attendance`], the media by its handset, offers as the page makes them.
//!
//! ```text
//!   socket ──news──▶ Attendance ──outputs──▶ media ──offer, answer──▶ phone
//!                        ▲                                              │
//!                        └──────── offer, hand, chat ◀── timers ◀─notes─┘
//! ```

mod media;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;
use wire::messages::ids::EndpointId;
use wire::messages::meeting::{ByeReason, Changes, SUBPROTOCOL, SlotCounts};

use self::media::Media;
use super::Control;
use super::chat::Chat;
use super::failure::Failure;
use super::handset::{Handset, Seat};
use super::join_clock::JoinClock;
use super::ledger::{Entered, Ledger};
use super::signaling_only::Presence;
use super::socket::{Line, News};
use crate::engine::attendance::{Attendance, Break, Ending, Introduction, Output};
use crate::scenario::Entry;

/// Attends until `leave` is done, or it is over.
pub(super) async fn attend<P: Handset>(
    control: Arc<Control>,
    seat: Seat,
    phone: P,
    ledger: Ledger,
    leave: impl Future<Output = ()> + Send,
) {
    let mut visit = Visit::new(control, seat, phone, ledger);
    let mut leave = pin!(leave);
    loop {
        visit.act().await;
        if visit.is_over {
            break;
        }
        let wake = visit.next_timeout();
        tokio::select! {
            biased;
            () = &mut leave => visit.attendance.leave(),
            note = visit.phone.note(), if visit.media.is_connected => visit.take_note(note),
            news = visit.line.next() => visit.take_news(news),
            () = sleep_until(wake.into()) => {}
        }
        visit.handle_timeout(Instant::now());
    }
    visit.end().await;
}

/// One caller, from its first step to its last.
struct Visit<P> {
    control: Arc<Control>,
    seat: Seat,
    phone: P,
    ledger: Ledger,
    /// Its own line in the ledger.
    entered: Entered,
    clock: JoinClock,
    attendance: Attendance,
    line: Line,
    media: Media,
    /// Instead of media, where there is none.
    presence: Option<Presence>,
    /// None for a caller that says nothing.
    chat: Option<Chat>,
    /// The latest thing that went wrong: what a join that fails for want of time will be said to have failed for.
    trouble: Option<Failure>,
    is_over: bool,
}

impl<P: Handset> Visit<P> {
    fn new(control: Arc<Control>, seat: Seat, phone: P, ledger: Ledger) -> Self {
        let now = Instant::now();
        let introduction = Introduction { name: seat.name.clone(), token: control.target.token.clone() };
        let is_alone = seat.entry == Entry::Signaling;
        let presence = is_alone.then(|| Presence::new(&control.tally, &seat.conference, seat.seed));
        Self {
            entered: ledger.begin(),
            clock: JoinClock::new(now, seat.awaits_media),
            attendance: Attendance::new(now, introduction, seat.seed),
            line: Line::Down,
            media: Media::new(seat.seed),
            presence,
            chat: Chat::new(seat.chat_per_minute, seat.seed),
            trouble: None,
            is_over: false,
            control,
            seat,
            phone,
            ledger,
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    fn next_timeout(&self) -> Instant {
        let deadline = self.clock.deadline(self.control.join_time_max).filter(|_| self.entered.is_joining());
        let chat = self.chat.as_ref().and_then(Chat::next_timeout);
        let hand = self.presence.as_ref().and_then(Presence::next_timeout);
        let all = [self.attendance.next_timeout(), self.media.repair_at, deadline, chat, hand];
        all.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + IDLE)
    }

    /// Does what is due of everything that is not an output of the attendance.
    fn handle_timeout(&mut self, now: Instant) {
        let deadline = self.clock.deadline(self.control.join_time_max);
        if self.entered.is_joining() && deadline.is_some_and(|deadline| deadline <= now) {
            return self.fail(&self.out_of_time());
        }
        self.attendance.handle_timeout(now);
        if let Some(hand) = self.presence.as_mut().and_then(|it| it.move_hand(now, self.attendance.present()))
        {
            self.attendance.set(Changes { hand: Some(hand), ..Changes::default() });
        }
        if let Some(text) = self.chat.as_mut().and_then(|chat| chat.next(now)) {
            self.attendance.chat(text);
        }
    }

    /// Carries out what the attendance wants, and repairs what is due.
    async fn act(&mut self) {
        loop {
            while let Some(output) = self.attendance.poll_output() {
                self.carry_out(output).await;
            }
            let is_due = self.media.repair_at.is_some_and(|due| due <= Instant::now());
            if self.is_over || !is_due {
                return;
            }
            self.media.repair_at = None;
            if self.media.needs_offer && self.attendance.is_joined() {
                self.connect().await;
            }
        }
    }

    /// One output of the attendance.
    async fn carry_out(&mut self, output: Output) {
        let now = Instant::now();
        match output {
            Output::Connect => self.line = Line::open(&self.control.dialer, self.place(), Some(SUBPROTOCOL)),
            Output::Send(text) => {
                if !self.line.send(text).await {
                    self.attendance.handle_closed(Instant::now(), Duration::ZERO);
                }
            }
            Output::Disconnect => {
                // Given up before it was open: a target that swallows packets.
                if self.line.is_opening() {
                    self.trouble.get_or_insert(Failure::passing(
                        "connect_timeout",
                        "no connection to signaling in time",
                    ));
                }
                self.control.tally.note_strange(self.attendance.strange());
                self.line.close().await;
            }
            Output::Joined { participant, slots } => self.joined(now, participant, slots),
            Output::Waiting => self.wait(now).await,
            Output::Assigned(assigned) => self.assigned(now, assigned).await,
            Output::Answer { sdp, channel_url } => self.answered(&sdp, &channel_url).await,
            Output::OfferLost(fault) => self.offer_lost(fault),
            Output::Snapshot => {
                if let Some(presence) = &mut self.presence {
                    presence.plan(now, self.attendance.present());
                }
            }
            Output::Changed(changed) => {
                if let Some(presence) = &mut self.presence {
                    presence.changed(now, &changed);
                }
            }
            Output::Chat => {}
            Output::Broken(why) => self.broken(why),
            Output::Ended(why) => self.ended(why),
        }
    }

    /// The socket brought something.
    fn take_news(&mut self, news: News) {
        let now = Instant::now();
        match news {
            News::Opened => {
                self.clock.opened(now, &self.entered);
                self.attendance.handle_opened();
            }
            News::Text(text) => {
                if let Some(presence) = &mut self.presence {
                    presence.heard(text.len());
                }
                self.attendance.handle_text(now, &text);
            }
            // Counted there as what it is: no update.
            News::Strange => self.attendance.handle_text(now, ""),
            News::Closed(failure) => {
                self.attendance.handle_closed(now, failure.wait_min);
                self.note_trouble(failure);
            }
        }
    }

    /// The page keeps its connection over a new line; what could not be offered meanwhile is offered now.
    fn joined(&mut self, now: Instant, me: EndpointId, slots: SlotCounts) {
        self.clock.joined(now, &self.entered);
        if let Some(chat) = &mut self.chat {
            chat.plan(now);
        }
        // Without media, this is all there is to a join.
        if let Some(presence) = &mut self.presence {
            presence.joined(me);
            return self.clock.finish(now, &mut self.entered);
        }
        let is_kept = self.media.key.as_ref().is_some_and(|(whose, _)| *whose == me);
        self.media.me = Some((me, slots));
        if is_kept && self.media.needs_offer {
            self.media.repair_at = Some(now);
        }
    }

    /// The line broke. It comes back by itself; what is kept is why, for a join that runs out of time.
    fn broken(&mut self, why: Break) {
        if let Some(presence) = &mut self.presence {
            presence.broken();
            self.entered.down();
        }
        let (reason, line) = match why {
            // What the socket said is the better word.
            Break::Socket => return,
            Break::JoinTimeout => ("no_joined", "signaling did not take the caller in, in time".to_owned()),
            Break::NotOurProtocol => (NOT_OUR_PROTOCOL.0, NOT_OUR_PROTOCOL.1.to_owned()),
            Break::Silence => ("line_silent", "signaling fell silent".to_owned()),
            Break::Gap => ("delta_missed", "signaling's deltas had a gap".to_owned()),
            Break::Bye(reason) => ("bye", format!("signaling ended the line: {reason:?}")),
            Break::BadResume => ("bad_resume", "signaling refused a secret that was not shown".to_owned()),
        };
        let is_older = self.trouble.as_ref().is_some_and(|trouble| trouble.reason == "connect_timeout");
        if !(is_older && why == Break::JoinTimeout) {
            self.note_trouble(Failure::passing(reason, line));
        }
    }

    /// It is over: by the caller's wish, or against it.
    fn ended(&mut self, why: Ending) {
        self.is_over = true;
        match why {
            Ending::Left | Ending::Bye(ByeReason::Left) => {}
            Ending::Bye(reason) => {
                self.entered.fail(&Failure::lasting("bye", format!("signaling ended the line: {reason:?}")));
            }
            Ending::Refused(id, message) => self.entered.fail(&Failure::of_fault(id, &message)),
        }
    }

    /// Trouble that stays ends a join; a caller that was in goes on trying, as a page does.
    fn note_trouble(&mut self, failure: Failure) {
        if failure.is_final && self.entered.is_joining() {
            return self.fail(&failure);
        }
        self.trouble = Some(failure);
    }

    /// Gives up, and goes in order.
    fn fail(&mut self, failure: &Failure) {
        self.entered.fail(failure);
        self.attendance.leave();
    }

    /// Nobody waits longer: for what went wrong last, or else for the step that was not reached.
    fn out_of_time(&self) -> Failure {
        let is_foreign = !self.attendance.is_joined() && self.attendance.strange() > 0;
        let (reason, line) = if is_foreign { NOT_OUR_PROTOCOL } else { self.clock.missing() };
        self.trouble.clone().unwrap_or_else(|| Failure::passing(reason, line))
    }

    /// The last step, however it came to it.
    async fn end(mut self) {
        self.drop_media().await;
    }

    /// Where the line is opened.
    fn place(&self) -> reqwest::Url {
        let mut url = self.control.origin.clone();
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        // Invariant: http and https may become ws and wss; the origin is one of them.
        let _ = url.set_scheme(scheme);
        let path = format!("{}/ws", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut().clear().append_pair("conference", &self.seat.conference);
        url
    }
}

/// Reason and line of a target that answers in another language.
const NOT_OUR_PROTOCOL: (&str, &str) = ("not_our_protocol", "the target does not speak passerelle.v1 on /ws");
/// When nothing is due.
const IDLE: Duration = Duration::from_secs(3_600);

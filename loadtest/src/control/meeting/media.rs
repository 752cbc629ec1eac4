//! The media half of a meeting's caller: when it offers, to whom, and what follows from answers and losses.
//!
//! Where the page restarts ICE on a broken path, a caller makes a new connection at once.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use wire::messages::ids::{EndpointId, Epoch};
use wire::messages::meeting::{AssignReason, ErrorId, SlotCounts};

use super::Visit;
use crate::control::channel::{Channel, Wish};
use crate::control::failure::Failure;
use crate::control::handset::Handset;
use crate::control::relay;
use crate::engine::attendance::{Assigned, Backoff, OfferFault};
use crate::engine::ports::Note;

/// The caller's media, as far as signaling sees it.
pub(super) struct Media {
    /// Who the caller is, and what the server would have it offer.
    pub(super) me: Option<(EndpointId, SlotCounts)>,
    /// The latest assignment; none while the conference has no bridge.
    pub(super) assigned: Option<Assigned>,
    /// Whose endpoint under which assignment the connection is.
    pub(super) key: Option<(EndpointId, Epoch)>,
    /// There is a connection that may say something.
    pub(super) is_connected: bool,
    /// An offer is wanted: the connection is broken, or its offer was lost.
    pub(super) needs_offer: bool,
    /// When an offer is made again, if it is still wanted.
    pub(super) repair_at: Option<Instant>,
    /// Between offers that came to nothing.
    backoff: Backoff,
    channel: Option<Channel>,
}

impl Media {
    /// Nothing yet. `seed` spreads the callers' offers.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            me: None,
            assigned: None,
            key: None,
            is_connected: false,
            needs_offer: false,
            repair_at: None,
            backoff: Backoff::new(OFFER_WAIT_MAX, seed),
            channel: None,
        }
    }
}

impl<P: Handset> Visit<P> {
    /// Something became true of the media, or nothing will any more.
    pub(super) fn take_note(&mut self, note: Option<(Instant, Note)>) {
        let Some((at, note)) = note else {
            self.media.is_connected = false;
            return;
        };
        if self.clock.note(at, &note, &mut self.entered) {
            self.trouble = None;
            self.media.backoff.note_opened(at);
        }
        match note {
            Note::PathLost => {
                self.lose_media(Failure::passing("path_lost", "the path to the bridge was lost"));
            }
            Note::DtlsFailed(why) => {
                self.lose_media(Failure::passing("dtls_failed", format!("the DTLS handshake failed: {why}")));
            }
            _ => {}
        }
    }

    /// Everybody else has gone, or nobody has come yet: nothing is assigned any more.
    pub(super) async fn wait(&mut self, now: Instant) {
        self.clock.alone(now);
        self.media.assigned = None;
        self.media.needs_offer = false;
        if self.presence.is_none() {
            self.drop_media().await;
        }
    }

    /// A repeated `started` finds what it started; every other reason means that nothing holds what there was.
    pub(super) async fn assigned(&mut self, now: Instant, assigned: Assigned) {
        if self.presence.is_some() {
            return;
        }
        self.clock.asked(now);
        let key = self.media.me.as_ref().map(|(me, _)| (me.clone(), assigned.epoch));
        let is_kept = assigned.reason == AssignReason::Started && key.is_some() && self.media.key == key;
        self.media.assigned = Some(assigned);
        if !is_kept || self.media.needs_offer {
            self.connect().await;
        }
    }

    /// A new connection to the assigned bridge, in place of whatever there was.
    pub(super) async fn connect(&mut self) {
        let (Some((me, slots)), Some(assigned)) = (&self.media.me, &self.media.assigned) else { return };
        let turn = relay::named(&assigned.ice_servers, self.seat.path);
        self.media.key = Some((me.clone(), assigned.epoch));
        let slots = self.seat.slots(*slots);
        self.media.needs_offer = true;
        self.media.channel = None;
        self.entered.down();
        let offer = match timeout(OFFER_TIME_MAX, self.phone.offer(slots, turn)).await {
            Ok(offer) => offer,
            Err(_) => Err(Failure::passing("offer_timeout", "the caller's own offer was not made in time")),
        };
        self.media.is_connected = offer.is_ok();
        match offer {
            Ok(sdp) => self.attendance.offer(Instant::now(), sdp),
            Err(failure) => self.retry(failure),
        }
    }

    /// The offer is answered: on to the bridge, and to its channel.
    pub(super) async fn answered(&mut self, sdp: &str, channel_url: &str) {
        self.clock.answered(Instant::now(), &self.entered);
        if let Err(failure) = self.phone.answer(sdp).await {
            return self.retry(failure);
        }
        self.media.needs_offer = false;
        let is_open = self.media.channel.as_ref().is_some_and(|channel| channel.is_at(channel_url));
        let told = self.media.me.as_ref().map(|(_, slots)| self.seat.slots(*slots));
        if !self.seat.channel || is_open {
            return;
        }
        let others = self.attendance.present().saturating_sub(1);
        let wish = Wish {
            height: self.seat.receive.height,
            videos: told.map_or(others, |told| told.video.min(others)),
            seed: self.seat.seed,
        };
        let (dialer, origin) = (&self.control.dialer, &self.control.origin);
        match Channel::open(dialer, origin, channel_url, wish, self.ledger.clone()) {
            Ok(channel) => self.media.channel = Some(channel),
            Err(failure) => self.ledger.remark(&failure),
        }
    }

    /// The offer gets no answer; what follows depends on whose fault that is.
    pub(super) fn offer_lost(&mut self, fault: OfferFault) {
        match fault {
            OfferFault::Overtaken => {}
            // Offered again with the next `joined`.
            OfferFault::LineDown => self.media.needs_offer = true,
            OfferFault::Timeout => {
                self.retry(Failure::passing("no_answer", "signaling did not answer the offer in time"));
            }
            OfferFault::Refused(id, message) => {
                let failure = Failure::of_fault(id, &message);
                // Another offer would meet the same; the next `assigned` starts anew.
                self.media.needs_offer = false;
                self.media.key = None;
                self.media.repair_at = None;
                if id == ErrorId::BadSdp && self.entered.is_joining() {
                    return self.fail(&failure);
                }
                self.note_trouble(failure);
            }
        }
    }

    /// The media is gone; a new connection is tried after a while.
    fn lose_media(&mut self, failure: Failure) {
        self.entered.down();
        self.media.needs_offer = true;
        self.retry(failure);
    }

    /// An offer again, after a growing wait.
    fn retry(&mut self, failure: Failure) {
        if failure.is_final && self.entered.is_joining() {
            return self.fail(&failure);
        }
        let now = Instant::now();
        self.media.needs_offer = true;
        self.media.repair_at = Some(now + OFFER_RETRY + self.media.backoff.next_wait(now));
        self.note_trouble(failure);
    }

    /// Hangs up, and forgets what could be repaired.
    pub(super) async fn drop_media(&mut self) {
        self.entered.down();
        self.media.key = None;
        self.media.channel = None;
        self.media.repair_at = None;
        self.media.is_connected = false;
        self.phone.hang_up().await;
    }
}

/// An offer that was lost, or whose answer is of no use, is made again after this and a growing wait.
const OFFER_RETRY: Duration = Duration::from_millis(1_500);
const OFFER_WAIT_MAX: Duration = Duration::from_secs(30);
/// A relay's allocation over TLS takes a few round trips; more is a relay that does not answer.
const OFFER_TIME_MAX: Duration = Duration::from_secs(10);

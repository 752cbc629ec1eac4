//! One participant: what the others see of it, how it is connected to us, what its bridge holds of it.

use std::time::{Duration, Instant};

use wire::messages::ids::{EndpointId, Epoch};
use wire::messages::link::SlotPin;
use wire::messages::media::EndpointParameters;
use wire::messages::meeting::{self, Changes};

use super::limits::{Rate, TokenBucket};
use super::ports::{ConnectionId, HttpProtocol};

/// Offers of one browser: renegotiation is rare, a loop of it is a fault.
const OFFER_RATE: Rate = Rate { per_s: 5.0, burst: 10.0 };
/// Chat lines of one participant: faster than anybody types. Each costs a message to everybody, and 256 of them unread
/// end a connection.
const CHAT_RATE: Rate = Rate { per_s: 2.0, burst: 10.0 };
/// Waits before the second and later invitations to connect again, doubled each time up to the last.
const RECONNECT_WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A person, a publisher or a viewer in a conference.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) id: EndpointId,
    /// Counts the joins of the conference: snapshots list the oldest first.
    pub(crate) order: u64,
    /// What the others see.
    pub(crate) shown: meeting::Participant,
    pub(crate) attachment: Attachment,
    pub(crate) negotiation: Negotiation,
    /// The secrets that continue this participant: the latest, and the one before in case the latest never arrived.
    pub(crate) resume: [String; 2],
    /// It has been sent the chat so far, and hears each line from here on.
    pub(crate) has_history: bool,
    chat: TokenBucket,
}

/// How a participant reaches us.
#[derive(Debug)]
pub(crate) enum Attachment {
    /// Over its WebSocket.
    Connected(ConnectionId),
    /// Its WebSocket broke; it is kept until then.
    Away(Instant),
    /// By HTTP, whenever it likes.
    Http(HttpResource),
}

/// A WHIP or WHEP participant's resource.
#[derive(Debug)]
pub(crate) struct HttpResource {
    pub(crate) protocol: HttpProtocol,
    /// The secret in its URL.
    pub(crate) resource: String,
    /// What its bridge was told, to be told again with other ICE credentials.
    pub(crate) parameters: EndpointParameters,
    /// What its slots are bound to; said with every command, since each replaces what was said before.
    pub(crate) pins: Vec<SlotPin>,
    /// Counts the ICE generations.
    pub(crate) generation: u32,
}

impl HttpResource {
    /// The `ETag` of the ICE generation in use.
    pub(crate) fn tag(&self) -> String {
        format!("ice-{}", self.generation)
    }
}

/// What the bridge of the present assignment holds of a participant.
#[derive(Debug)]
pub(crate) struct Negotiation {
    /// The assignment under which the last answer went out; `None`: no answer yet, or the endpoint was lost since.
    pub(crate) answered: Option<Epoch>,
    /// The bridge was told of this endpoint under that epoch and must be told of its end.
    pub(crate) told: Option<Epoch>,
    /// Since when the browser is expected to connect; taken with the first answer.
    pub(crate) started: Option<Instant>,
    /// Endpoints lost in a row without a connected one between.
    losses: u32,
    /// When the browser is invited to connect again.
    pub(crate) reconnect: Option<Instant>,
    offers: TokenBucket,
}

impl Negotiation {
    fn new(now: Instant) -> Self {
        let offers = TokenBucket::full(now, OFFER_RATE);
        Self { answered: None, told: None, started: None, losses: 0, reconnect: None, offers }
    }

    /// May the browser offer now?
    pub(crate) fn take_offer(&mut self, now: Instant) -> bool {
        self.offers.take(now, OFFER_RATE)
    }

    /// The conference has another bridge: nothing holds this endpoint.
    pub(crate) fn restart(&mut self, now: Instant) {
        *self = Self { offers: self.offers, started: Some(now), ..Self::new(now) };
    }

    /// Media flows.
    pub(crate) fn note_connected(&mut self) {
        self.losses = 0;
        self.reconnect = None;
    }

    /// The bridge gave the endpoint up. Returns when to invite the browser: the first time at once, or after a short
    /// while when the browser itself hung up, since it is probably offering already.
    pub(crate) fn note_lost(&mut self, now: Instant, has_hung_up: bool) -> Instant {
        (self.answered, self.told) = (None, None);
        let (first, longest) = RECONNECT_WAITS;
        let wait = match self.losses {
            0 if has_hung_up => first,
            0 => Duration::ZERO,
            losses => longest.min(first.saturating_mul(1 << losses.min(10))),
        };
        self.losses = self.losses.saturating_add(1);
        let at = now + wait;
        self.reconnect = Some(at);
        at
    }
}

impl Participant {
    /// A newcomer.
    pub(crate) fn new(now: Instant, id: EndpointId, name: String, attachment: Attachment) -> Self {
        let shown = meeting::Participant {
            id: id.clone(),
            name,
            muted_audio: false,
            muted_video: false,
            screen: false,
            hand: false,
        };
        Self {
            id,
            order: 0,
            shown,
            attachment,
            negotiation: Negotiation::new(now),
            resume: [String::new(), String::new()],
            has_history: false,
            chat: TokenBucket::full(now, CHAT_RATE),
        }
    }

    /// May it say something now?
    pub(crate) fn take_chat(&mut self, now: Instant) -> bool {
        self.chat.take(now, CHAT_RATE)
    }

    /// The socket to send updates to.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self.attachment {
            Attachment::Connected(connection) => Some(connection),
            Attachment::Away(_) | Attachment::Http(_) => None,
        }
    }

    /// Receives only, and nobody sees it.
    pub(crate) fn is_viewer(&self) -> bool {
        matches!(&self.attachment, Attachment::Http(http) if http.protocol == HttpProtocol::Whep)
    }

    /// The resource of a WHIP or WHEP participant.
    pub(crate) fn http(&self) -> Option<&HttpResource> {
        if let Attachment::Http(http) = &self.attachment { Some(http) } else { None }
    }

    /// Changes what the others see; `name` must have been checked. Returns whether anything is different.
    pub(crate) fn change(&mut self, changes: Changes) -> bool {
        let before = self.shown.clone();
        let shown = &mut self.shown;
        shown.muted_audio = changes.muted_audio.unwrap_or(shown.muted_audio);
        shown.muted_video = changes.muted_video.unwrap_or(shown.muted_video);
        shown.screen = changes.screen.unwrap_or(shown.screen);
        shown.hand = changes.hand.unwrap_or(shown.hand);
        if let Some(name) = changes.name {
            shown.name = name;
        }
        self.shown != before
    }
}

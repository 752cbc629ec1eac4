//! Callers: simulated browsers that publish by WHIP or view by WHEP, as light as a test of load needs them.
//!
//! ```text
//!   offer ──POST──► server ──answer──► Caller::take_answer            crew: one thread, many callers
//!                                        │                            ┌─────────────────────────────┐
//!   datagram ─► handle_datagram ─► ice | dtls | media (RTP, RTCP)     │ sockets ◄──► Caller × n      │
//!   clock ────► handle_timeout ──► checks, resends, media, reports    │ a look at all every 2 ms     │
//!   poll_transmit ◄──────────────── datagrams to send                 └─────────────────────────────┘
//! ```
//!
//! A [`Caller`] is an engine: bytes and `now` in, datagrams out, no socket and no clock. ICE, DTLS and SRTP are the real
//! ones; what a codec would make or see is counted packets. Each payload carries a number that counts its stream's
//! packets, so that a viewer knows what it has missed whatever the server did to sequence numbers.
//!
//! Invariants: media is sent and opened only under keys of a certificate whose fingerprint the answer named; a number
//! is counted only from a packet that SRTP has authenticated.
//!
//! Knows nothing about the server but its answers.
#![allow(dead_code, reason = "each test program uses a part of what callers can do")]

pub(crate) mod crew;
mod dtls;
pub(crate) mod http;
mod ice;
mod media;
mod sdp;
mod view;

use std::time::{Duration, Instant};

use wire::datagram::{DatagramKind, classify};

use self::dtls::Dtls;
pub(crate) use self::dtls::Identity;
use self::ice::Ice;
use self::media::Media;
pub(crate) use self::media::Sent;
pub(crate) use self::sdp::Answer;
pub(crate) use self::view::Stream;

/// Which way a caller's media flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// WHIP: one picture and one voice.
    Publisher,
    /// WHEP: one slot of each.
    Viewer,
}

impl Role {
    /// First segment of the paths of its protocol.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Publisher => "whip",
            Self::Viewer => "whep",
        }
    }
}

/// One simulated browser.
pub(crate) struct Caller {
    role: Role,
    number: u32,
    ice: Ice,
    dtls: Dtls,
    media: Media,
    transmits: Vec<Vec<u8>>,
}

impl Caller {
    /// A caller that has said nothing yet. Its `number` makes its SSRCs and its place in the world.
    pub(crate) fn new(now: Instant, role: Role, number: u32) -> Self {
        let (ice, dtls) = (Ice::new(number), Dtls::new(Identity::generate()));
        let media = Media::new(now, role, number);
        Self { role, number, ice, dtls, media, transmits: Vec::new() }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// The offer to `POST`.
    pub(crate) fn offer(&self) -> String {
        sdp::offer(self.role, self.number, &self.ice.own, &self.dtls.fingerprint())
    }

    /// What the server answered: from now on the caller checks its path.
    pub(crate) fn take_answer(&mut self, now: Instant, answer: &Answer) {
        self.ice.start(now, answer.ice.clone());
        self.dtls.expect(answer.fingerprint.clone());
        self.media.take_slots(answer);
    }

    /// The same caller with what `other` has said of itself: its certificate is not the one it announces.
    pub(crate) fn disguised_as(mut self, other: &Identity) -> Self {
        self.dtls = self.dtls.disguised_as(other);
        self
    }

    /// Stops after ICE, as a browser does whose DTLS never comes to an end.
    pub(crate) fn without_dtls(mut self) -> Self {
        self.dtls = self.dtls.muted();
        self
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        match classify(datagram) {
            DatagramKind::Stun => {
                self.ice.handle_answer(now, datagram);
                if self.ice.is_connected() {
                    self.dtls.start(now);
                }
            }
            DatagramKind::Dtls => {
                if let Some(keys) = self.dtls.handle_datagram(now, datagram) {
                    self.media.take_keys(now, &keys);
                }
            }
            DatagramKind::Rtp => self.media.handle_rtp(datagram),
            DatagramKind::Rtcp => self.media.handle_rtcp(now, datagram),
            _ => {}
        }
        self.collect();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.ice.handle_timeout(now, &mut self.transmits);
        self.dtls.handle_timeout(now);
        self.media.handle_timeout(now, &mut self.transmits);
        self.collect();
    }

    /// When [`Caller::handle_timeout`] has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        [self.ice.next_timeout(), self.dtls.next_timeout(), self.media.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The datagrams to send now, in order.
    pub(crate) fn transmits(&mut self) -> std::vec::Drain<'_, Vec<u8>> {
        self.transmits.drain(..)
    }

    /// The server has answered a check.
    pub(crate) fn is_reachable(&self) -> bool {
        self.ice.is_connected()
    }

    /// There are keys: media flows.
    pub(crate) fn is_connected(&self) -> bool {
        self.media.is_connected()
    }

    /// Every slot has begun to show something.
    pub(crate) fn is_served(&self) -> bool {
        self.is_connected() && self.streams().iter().all(|stream| stream.first().is_some())
    }

    /// The streams it is shown; empty for a publisher.
    pub(crate) fn streams(&self) -> &[Stream] {
        self.media.streams()
    }

    /// What it has published.
    pub(crate) fn sent(&self) -> Sent {
        self.media.sent()
    }

    /// Datagrams that claim to be media and are not: no stream, no tag, no number.
    pub(crate) fn strange_packets(&self) -> u64 {
        self.media.strange_packets()
    }

    fn collect(&mut self) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            self.transmits.push(datagram);
        }
    }
}

/// Reports go out this often (RFC 3550, 6.2 allows no more with this few streams).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

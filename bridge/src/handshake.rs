//! The DTLS-SRTP handshake of one endpoint, passive side, without sockets or clocks (RFC 5764, RFC 6347).
//!
//! ```text
//! datagram -> records -> reassembly -> ClientHello? -> candidate (one per client random, answers with a cookie)
//!                                   -> anything else -> association (the candidate whose cookie came back) -> keys
//! ```
//!
//! `rtc::dtls` does the cryptography and the flights. This module stands in front of it, because alone it reassembles
//! without bounds, lets one forged plaintext record end a handshake, and falls silent when a flight is lost and the
//! browser repeats its own. So it only ever sees whole, plausible messages, and repeating flights is done here.
//!
//! Invariants: no keys leave before the peer's certificate matched the signaled fingerprint; plaintext never ends an
//! association that has keys; an association holds at most 64 KiB of the peer's bytes; a datagram that changes nothing
//! has a named reason. Knows nothing about ICE: the caller hands over only datagrams of a 5-tuple ICE has authenticated.

mod association;
mod client_hello;
mod identity;
mod reassembly;
mod records;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::dtls::endpoint::EndpointEvent;
use wire::srtp::{Profile, SessionKeys};

use self::association::Association;
use self::client_hello::ClientHello;
pub use self::client_hello::HelloRefusal;
pub use self::identity::{Fingerprint, Identity};
use self::reassembly::{Message, Reassembly};
use self::records::{ContentType, Record};

/// One endpoint's handshake, and afterwards the little that DTLS still does: repeat a lost last flight, hear a close.
pub struct Handshake {
    identity: Identity,
    expected: Fingerprint,
    reassembly: Reassembly,
    /// Answered ClientHellos whose cookie has not come back. Several, so that a forged one cannot displace the browser's.
    candidates: Vec<Association>,
    /// The candidate whose cookie came back: only the owner of the address can have sent it.
    association: Option<Association>,
    phase: Phase,
    outputs: VecDeque<HandshakeOutput>,
    give_up_at: Instant,
    resend_at: Option<Instant>,
    resend_interval: Duration,
    resends_left: u32,
    last_refusal: Option<HelloRefusal>,
    peer_alert: Option<u8>,
}

/// What the caller must do or know.
#[derive(Debug)]
pub enum HandshakeOutput {
    /// Send this datagram to the endpoint.
    Transmit(Vec<u8>),
    /// The certificate matched and both sides hold keys: media may flow.
    Connected {
        /// The negotiated SRTP profile: GCM whenever the browser offered it.
        profile: Profile,
        /// `receive` opens what the browser sends, `send` seals what it receives.
        keys: SessionKeys,
    },
    /// No keys, now or later. Drop the endpoint.
    Failed(HandshakeError),
    /// The browser ended an established association.
    Closed,
}

/// Why a handshake ended without keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The certificate is not the one signaled: somebody else answered.
    #[error("certificate does not match the signaled fingerprint")]
    FingerprintMismatch,
    /// The certificate message is larger than any browser's.
    #[error("certificate larger than {CERTIFICATE_BYTES_MAX} bytes")]
    CertificateTooLarge,
    /// Nothing moved for `IDLE_MAX`. What the browser last said helps an operator to know why.
    #[error("no progress for 30 s (refused hello: {refusal:?}, alert: {alert:?})")]
    TimedOut {
        /// Why the last unacceptable ClientHello was not answered.
        refusal: Option<HelloRefusal>,
        /// The description code of the last plaintext alert (RFC 5246, 7.2): 42 is bad_certificate.
        alert: Option<u8>,
    },
    /// The peer broke the protocol after proving its address.
    #[error("protocol: {0}")]
    Protocol(String),
}

/// Why a datagram, or part of it, changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// Not a whole DTLS 1.2 record.
    Malformed,
    /// An alert anyone could have forged.
    PlaintextAlert,
    /// Plaintext after keys, or any record after the end.
    Late,
    /// Nobody has proven this address yet, or the record belongs to no step of the handshake.
    Unexpected,
    /// A fragment that contradicts itself.
    BadFragment,
    /// A message longer than the handshake needs.
    TooLarge,
    /// Too many unconfirmed hellos at once, or the byte allowance is spent.
    OverLimit,
    /// A message the association already has.
    Duplicate,
    /// A hello with a cookie that was not given to it.
    BadCookie,
    /// A hello that cannot lead to keys.
    Refused(HelloRefusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Negotiating,
    Connected,
    Over,
}

impl Handshake {
    /// A handshake that waits for the browser's ClientHello. `expected` is the fingerprint of its signaled description.
    pub fn new(identity: &Identity, expected: Fingerprint, now: Instant) -> Self {
        Self {
            identity: identity.clone(),
            expected,
            reassembly: Reassembly::default(),
            candidates: Vec::new(),
            association: None,
            phase: Phase::Negotiating,
            outputs: VecDeque::new(),
            give_up_at: now + IDLE_MAX,
            resend_at: None,
            resend_interval: RESEND_INTERVAL_FIRST,
            resends_left: RESENDS_MAX,
            last_refusal: None,
            peer_alert: None,
        }
    }

    /// Takes a datagram of the DTLS range (first byte 20 to 63) from the endpoint's ICE-authenticated address.
    ///
    /// # Errors
    /// The last reason for which a record in it changed nothing, for the caller's counters. Never fatal by itself.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<(), Ignored> {
        let mut outcome = Ok(());
        for record in records::split(datagram) {
            let handled = record.and_then(|record| self.handle_record(now, &record));
            if handled.is_err() {
                outcome = handled;
            }
        }
        outcome
    }

    /// Repeats a flight the browser may have lost, and gives up after `IDLE_MAX` without progress.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase != Phase::Negotiating {
            return;
        }
        if now >= self.give_up_at {
            return self
                .fail(HandshakeError::TimedOut { refusal: self.last_refusal, alert: self.peer_alert });
        }
        if self.resend_at.is_some_and(|at| now >= at) {
            self.resend_interval *= 2;
            self.resend_at = Some(now + self.resend_interval);
            self.resend_last_flight();
        }
    }

    /// The instant at which `handle_timeout` has something to do; none once there are keys or an end.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.phase != Phase::Negotiating {
            return None;
        }
        Some(self.resend_at.map_or(self.give_up_at, |at| at.min(self.give_up_at)))
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<HandshakeOutput> {
        self.outputs.pop_front()
    }

    /// Tells the browser that we are leaving (close_notify). The last datagram is in `poll_output`.
    pub fn close(&mut self, now: Instant) {
        if let Some(association) = &mut self.association {
            self.outputs.extend(association.close(now).into_iter().map(HandshakeOutput::Transmit));
        }
        self.phase = Phase::Over;
    }

    fn handle_record(&mut self, now: Instant, record: &Record<'_>) -> Result<(), Ignored> {
        if self.phase == Phase::Over {
            return Err(Ignored::Late);
        }
        if record.epoch > 0 {
            return self.handle_sealed(now, record);
        }
        if self.phase == Phase::Connected {
            return Err(Ignored::Late);
        }
        match record.content_type {
            ContentType::Handshake => self.handle_fragments(now, record),
            ContentType::ChangeCipherSpec => self.handle_change_cipher_spec(now),
            ContentType::Alert => {
                self.peer_alert = record.payload.get(1).copied();
                Err(Ignored::PlaintextAlert)
            }
            ContentType::ApplicationData => Err(Ignored::Unexpected),
        }
    }

    /// A record under the new keys: the client's Finished, its repetition, a close, or noise that will not decrypt.
    fn handle_sealed(&mut self, now: Instant, record: &Record<'_>) -> Result<(), Ignored> {
        let association = self.association.as_mut().ok_or(Ignored::Unexpected)?;
        if record.epoch != 1 || record.bytes.len() > SEALED_RECORD_BYTES_MAX {
            return Err(Ignored::Unexpected);
        }
        let outcome = association.handle_sealed(now, record, self.phase == Phase::Connected)?;
        self.take_outcome(now, outcome);
        Ok(())
    }

    fn handle_change_cipher_spec(&mut self, now: Instant) -> Result<(), Ignored> {
        let association = self.association.as_mut().ok_or(Ignored::Unexpected)?;
        let outcome = association.handle_change_cipher_spec(now)?;
        self.take_outcome(now, outcome);
        Ok(())
    }

    fn handle_fragments(&mut self, now: Instant, record: &Record<'_>) -> Result<(), Ignored> {
        let mut rest = record.payload;
        while !rest.is_empty() {
            let (fragment, after) = reassembly::parse_fragment(rest)?;
            rest = after;
            if fragment.length > MESSAGE_BYTES_MAX {
                self.refuse_large(now, fragment.kind);
                return Err(Ignored::TooLarge);
            }
            if let Some(message) = self.reassembly.push(&fragment)? {
                self.handle_message(now, &message)?;
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, now: Instant, message: &Message) -> Result<(), Ignored> {
        if message.kind == client_hello::KIND {
            return self.handle_hello(now, message);
        }
        let association = self.association.as_mut().ok_or(Ignored::Unexpected)?;
        if message.kind == KIND_CERTIFICATE {
            if message.body().len() > CERTIFICATE_BYTES_MAX {
                self.refuse_large(now, KIND_CERTIFICATE);
                return Err(Ignored::TooLarge);
            }
            if !self.expected.matches_first_of(message.body()) {
                self.refuse(now, HandshakeError::FingerprintMismatch);
                return Ok(());
            }
        }
        let outcome = association.handle_message(now, message)?;
        self.give_up_at = now + IDLE_MAX;
        self.take_outcome(now, outcome);
        Ok(())
    }

    /// A ClientHello, first or second (RFC 6347, 4.2.1). A repeated one means that our answer was lost.
    fn handle_hello(&mut self, now: Instant, message: &Message) -> Result<(), Ignored> {
        let hello = ClientHello::parse(message.body()).map_err(|refusal| {
            self.last_refusal = Some(refusal);
            Ignored::Refused(refusal)
        })?;
        if let Some(association) = &self.association {
            if association.random != hello.random {
                return Err(Ignored::Late);
            }
            self.resend_last_flight();
            return Ok(());
        }
        match self.candidates.iter().position(|candidate| candidate.random == hello.random) {
            None if hello.cookie.is_empty() && message.sequence == 0 => {
                self.add_candidate(now, &hello, message)
            }
            None => Err(Ignored::BadCookie),
            Some(at) if hello.cookie.is_empty() => self.repeat_cookie(at),
            Some(at) if self.candidates[at].cookie != hello.cookie => Err(Ignored::BadCookie),
            Some(at) => self.associate(now, at, message),
        }
    }

    fn add_candidate(
        &mut self,
        now: Instant,
        hello: &ClientHello<'_>,
        message: &Message,
    ) -> Result<(), Ignored> {
        self.candidates.retain(|candidate| now < candidate.created + CANDIDATE_AGE_MAX);
        if self.candidates.len() >= CANDIDATES_MAX {
            return Err(Ignored::OverLimit);
        }
        let mut candidate = Association::new(&self.identity, hello, now);
        let outcome = candidate.handle_message(now, message)?;
        if outcome.is_err() || candidate.cookie.is_empty() {
            return Err(Ignored::Unexpected);
        }
        self.outputs.extend(candidate.last_flight.iter().cloned().map(HandshakeOutput::Transmit));
        self.candidates.push(candidate);
        Ok(())
    }

    fn repeat_cookie(&mut self, at: usize) -> Result<(), Ignored> {
        if self.resends_left == 0 {
            return Err(Ignored::OverLimit);
        }
        self.resends_left -= 1;
        let flight = self.candidates[at].last_flight.iter().cloned();
        self.outputs.extend(flight.map(HandshakeOutput::Transmit));
        Ok(())
    }

    /// The cookie came back: the address is proven, this is the browser, and the other hellos were not.
    fn associate(&mut self, now: Instant, at: usize, message: &Message) -> Result<(), Ignored> {
        let mut association = self.candidates.swap_remove(at);
        let outcome = association.handle_message(now, message)?;
        self.association = Some(association);
        self.candidates = Vec::new();
        self.give_up_at = now + IDLE_MAX;
        self.resend_at = Some(now + self.resend_interval);
        self.resends_left = RESENDS_MAX;
        self.take_outcome(now, outcome);
        Ok(())
    }

    fn take_outcome(&mut self, now: Instant, outcome: association::Outcome) {
        let Some(association) = &mut self.association else { return };
        self.outputs.extend(association.take_flight().into_iter().map(HandshakeOutput::Transmit));
        match outcome {
            Ok(events) => events.into_iter().for_each(|event| self.take_event(now, &event)),
            // Invariant: an established association only fails on an alert sealed with its own keys.
            Err(_) if self.phase == Phase::Connected => self.end(),
            Err(error) => self.fail(HandshakeError::Protocol(error.to_string())),
        }
    }

    fn take_event(&mut self, now: Instant, event: &EndpointEvent) {
        match event {
            EndpointEvent::HandshakeComplete => self.connect(now),
            EndpointEvent::PeerClosed if self.phase == Phase::Connected => self.end(),
            EndpointEvent::PeerClosed => self.fail(HandshakeError::Protocol("closed by peer".to_owned())),
            // No data channel is ever negotiated over this association.
            _ => {}
        }
    }

    fn connect(&mut self, now: Instant) {
        let Some(association) = &self.association else { return };
        // The message was checked on its way in; what the library verified the signature with is what counts.
        if !association.peer_certificate().is_some_and(|der| self.expected.matches(der)) {
            return self.refuse(now, HandshakeError::FingerprintMismatch);
        }
        let profile = association.profile;
        match association.session_keys() {
            Ok(keys) => {
                self.phase = Phase::Connected;
                self.reassembly = Reassembly::default();
                self.outputs.push_back(HandshakeOutput::Connected { profile, keys });
            }
            Err(error) => self.fail(HandshakeError::Protocol(error)),
        }
    }

    fn resend_last_flight(&mut self) {
        let Some(association) = &self.association else { return };
        if self.resends_left == 0 {
            return;
        }
        self.resends_left -= 1;
        self.outputs.extend(association.last_flight.iter().cloned().map(HandshakeOutput::Transmit));
    }

    fn refuse_large(&mut self, now: Instant, kind: u8) {
        if kind == KIND_CERTIFICATE && self.association.is_some() {
            self.refuse(now, HandshakeError::CertificateTooLarge);
        }
    }

    fn refuse(&mut self, now: Instant, error: HandshakeError) {
        self.close(now);
        self.fail(error);
    }

    fn fail(&mut self, error: HandshakeError) {
        self.phase = Phase::Over;
        self.outputs.push_back(HandshakeOutput::Failed(error));
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        self.outputs.push_back(HandshakeOutput::Closed);
    }
}

/// Handshake message type of a Certificate (RFC 5246, 7.4).
const KIND_CERTIFICATE: u8 = 11;

/// A browser completes in milliseconds and repeats its flights for well under this; then a person has left.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// RFC 6347, 4.2.4.1 suggests one second, doubled each time. Browsers repeat their own flight much earlier.
const RESEND_INTERVAL_FIRST: Duration = Duration::from_secs(1);

/// A browser repeats a flight about ten times in 30 s. More is somebody using us to fill the browser's line.
const RESENDS_MAX: u32 = 32;

/// One browser, and room for a few forgeries. Each costs a key pair (about 50 µs), so not more.
const CANDIDATES_MAX: usize = 4;

/// A cookie comes back within a round trip.
const CANDIDATE_AGE_MAX: Duration = Duration::from_secs(2);

/// Browsers' certificates are below 400 bytes; 8 KiB admits an RSA-4096 chain.
const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

/// The largest message, a Certificate, with room to see by how little it is too large.
const MESSAGE_BYTES_MAX: usize = CERTIFICATE_BYTES_MAX + 1024;

/// A sealed Finished is 61 bytes, an alert 39. Nothing longer is expected without data channels.
const SEALED_RECORD_BYTES_MAX: usize = 128;

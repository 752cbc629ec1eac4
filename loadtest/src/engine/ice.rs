//! The controlling side of ICE (RFC 8445) on one path, checked until it is answered and then for consent (RFC 7675).
//! A server that is a full implementation checks back, and is answered.
//!
//! Which of the server's candidates the datagrams go to is the shell's business: it knows what the machine can route to.
//!
//! Invariants: only an answer that the server's password signed counts; a check of the server's is answered only when our
//! own password signed it; nothing is sent any more once consent has expired.

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use wire::messages::media::IceCredentials;
use wire::stun::{AttributeKind, Builder, Class, Message, Method, TransactionId};

use super::ports::Transmits;

/// Checks of one path.
#[derive(Debug)]
pub(crate) struct Ice {
    pub(crate) own: IceCredentials,
    server: Option<Server>,
    tie_breaker: u64,
    /// Checks sent; numbers their transactions.
    checks: u32,
    /// Of these, the number of the first that is not answered yet.
    first_unanswered: u32,
    next_check: Option<Instant>,
    /// When the last checks were sent; by number modulo its length.
    sent_at: [Instant; TIMED_CHECKS],
    /// The server's last answer; before the first one, when checking began.
    heard_at: Instant,
    /// None before an answer to a check whose time is known.
    round_trip: Option<Duration>,
    is_connected: bool,
    is_lost: bool,
}

/// The other side.
#[derive(Debug)]
struct Server {
    /// `theirs:ours`, what USERNAME says in our checks (RFC 8445, 7.2.2).
    username: String,
    pwd: String,
    /// Where the shell sends: a checking server wants to read it in our answers.
    address: SocketAddr,
}

/// What a datagram or the time has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IceEvent {
    /// The first check was answered.
    Connected,
    /// No answer for [`LOST_AFTER`].
    Lost,
}

impl Ice {
    /// Credentials and transactions drawn from `seed`.
    pub(crate) fn new(now: Instant, seed: u64) -> Self {
        let mut draws = Draws(seed);
        let own = IceCredentials { ufrag: draws.ice_chars(8), pwd: draws.ice_chars(24) };
        Self {
            own,
            server: None,
            tie_breaker: draws.next(),
            checks: 0,
            first_unanswered: 0,
            next_check: None,
            sent_at: [now; TIMED_CHECKS],
            heard_at: now,
            round_trip: None,
            is_connected: false,
            is_lost: false,
        }
    }

    /// The answer is there: checks begin with the next timeout.
    pub(crate) fn start(&mut self, now: Instant, server: &IceCredentials, address: SocketAddr) {
        let username = format!("{}:{}", server.ufrag, self.own.ufrag);
        self.server = Some(Server { username, pwd: server.pwd.clone(), address });
        self.heard_at = now;
        self.next_check = Some(now);
    }

    /// The shell sends to another candidate from now on.
    pub(crate) fn follow(&mut self, address: SocketAddr) {
        if let Some(server) = &mut self.server {
            server.address = address;
        }
    }

    /// Consent has expired: whatever is sent now goes to somebody who does not want it (RFC 7675, 5.1).
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.server.is_some() && now.saturating_duration_since(self.heard_at) >= EXPIRED_AFTER
    }

    /// From a check to its answer, smoothed; none before the first.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// An answer has just come.
    pub(crate) fn was_heard_at(&self, now: Instant) -> bool {
        self.is_connected && self.heard_at == now
    }

    /// Takes a STUN message: the answer to a check, or a check.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        transmits: &mut Transmits,
    ) -> Option<IceEvent> {
        let message = Message::parse(datagram).ok().filter(|message| message.method() == Method::BINDING)?;
        match message.class() {
            Class::Success => self.handle_answer(now, &message),
            Class::Request => {
                self.answer_check(&message, transmits);
                None
            }
            // An error says nothing that is signed by what we could know to be right; the next check asks again.
            Class::Error | Class::Indication => None,
        }
    }

    /// RFC 8445, 7.2.5: it answers one of our last checks, and the server's password signed it.
    fn handle_answer(&mut self, now: Instant, message: &Message<'_>) -> Option<IceEvent> {
        let server = self.server.as_ref()?;
        let number = self.number_of(message.transaction_id())?;
        if number < self.first_unanswered || !message.verify_integrity(server.pwd.as_bytes()) {
            return None;
        }
        self.first_unanswered = number + 1;
        self.heard_at = now;
        self.measure(now, number);
        self.is_lost = false;
        // RFC 7675, 5.1: from 0.8 to 1.2 times, so that callers that began together do not stay together for ever.
        let spread = Draws(self.tie_breaker ^ u64::from(number)).next() % 401;
        self.next_check = Some(now + CONSENT_INTERVAL * (800 + spread as u32) / 1000);
        let is_first = !std::mem::replace(&mut self.is_connected, true);
        is_first.then_some(IceEvent::Connected)
    }

    /// Each check is a transaction of its own, so that an answer tells which of them it answers.
    fn measure(&mut self, now: Instant, number: u32) {
        let place = number as usize % TIMED_CHECKS;
        if (self.checks - number) as usize > TIMED_CHECKS {
            return;
        }
        let measured = now.saturating_duration_since(self.sent_at[place]);
        self.round_trip = Some(self.round_trip.map_or(measured, |before| (before * 7 + measured * 3) / 10));
    }

    /// RFC 8445, 7.3, as far as a controlling side with one path needs it.
    fn answer_check(&self, message: &Message<'_>, transmits: &mut Transmits) {
        let is_for_us = message.username().and_then(|name| name.split_once(':'));
        if is_for_us.is_none_or(|(ours, _)| ours != self.own.ufrag)
            || !message.verify_integrity(self.own.pwd.as_bytes())
        {
            return;
        }
        let address = self.server.as_ref().map_or(NOWHERE, |server| server.address);
        let answer = Builder::answer(message, Class::Success)
            .xor_address(AttributeKind::XOR_MAPPED_ADDRESS, address)
            .sign(self.own.pwd.as_bytes())
            .fingerprint();
        transmits.push(&answer);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.next_check
    }

    /// Sends the check that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, transmits: &mut Transmits) -> Option<IceEvent> {
        if self.next_check.is_none_or(|at| now < at) {
            return None;
        }
        if self.is_expired(now) {
            self.next_check = None;
            return None;
        }
        transmits.push(&self.check()?);
        self.sent_at[self.checks as usize % TIMED_CHECKS] = now;
        self.checks += 1;
        let wait = if self.is_connected { CONSENT_RESEND_INTERVAL } else { self.resend_interval() };
        self.next_check = Some(now + wait);
        let is_silent = now.saturating_duration_since(self.heard_at) >= LOST_AFTER;
        (is_silent && !std::mem::replace(&mut self.is_lost, true)).then_some(IceEvent::Lost)
    }

    /// RFC 8445, 7.2.2. Every check nominates: there is one path.
    fn check(&self) -> Option<Vec<u8>> {
        let server = self.server.as_ref()?;
        let check = Builder::new(Class::Request, Method::BINDING, self.transaction(self.checks))
            .attribute(AttributeKind::USERNAME, server.username.as_bytes())
            .attribute(AttributeKind::PRIORITY, &PRIORITY.to_be_bytes())
            .attribute(AttributeKind::ICE_CONTROLLING, &self.tie_breaker.to_be_bytes())
            .attribute(AttributeKind::USE_CANDIDATE, &[])
            .sign(server.pwd.as_bytes())
            .fingerprint();
        Some(check)
    }

    fn resend_interval(&self) -> Duration {
        RESEND_INTERVAL * 2_u32.pow(self.checks.saturating_sub(EAGER_CHECKS).min(RESEND_DOUBLINGS_MAX))
    }

    fn transaction(&self, number: u32) -> TransactionId {
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.tie_breaker.rotate_left(17).to_be_bytes());
        id[8..].copy_from_slice(&number.to_be_bytes());
        TransactionId(id)
    }

    /// Which check this is the transaction of, if it is one that was sent.
    fn number_of(&self, id: TransactionId) -> Option<u32> {
        let [.., a, b, c, d] = id.0;
        let number = u32::from_be_bytes([a, b, c, d]);
        (number < self.checks && self.transaction(number) == id).then_some(number)
    }
}

/// Numbers drawn from a seed (the mixing function of SplitMix64): credentials need no more, they protect no one here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn ice_chars(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(ICE_CHARS[(self.next() % 64) as usize])).collect()
    }
}

/// RFC 8839, 5.4.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 7675, 5.1.
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);

/// A consent check without an answer is followed by others this often, so that a few lost ones are no lost path.
const CONSENT_RESEND_INTERVAL: Duration = Duration::from_secs(1);

/// Browsers check a path that they hope for several times in each second; a server whose queue is full gets its chance.
const RESEND_INTERVAL: Duration = Duration::from_millis(100);

/// Checks at that rate before it halves.
const EAGER_CHECKS: u32 = 5;

/// Up to 800 ms.
const RESEND_DOUBLINGS_MAX: u32 = 3;

/// Of so many the time is known: two seconds of unanswered ones. Who waits longer has no round trip to speak of.
const TIMED_CHECKS: usize = 8;

/// When a browser tells its page that the path is gone.
const LOST_AFTER: Duration = Duration::from_secs(15);

/// RFC 7675, 5.1.
const EXPIRED_AFTER: Duration = Duration::from_secs(30);

/// RFC 8445, 5.1.2: of a peer-reflexive path over a host candidate.
const PRIORITY: u32 = 0x6e00_00ff;

/// What a server reads that checks before there is an answer.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

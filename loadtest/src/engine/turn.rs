//! A TURN client (RFC 8656): one allocation, and on it one channel to the server whose media it carries.
//!
//! ```text
//!   Allocate ─► 401 realm, nonce ─► Allocate, signed ─► relayed address ─► ChannelBind ─► channel data both ways
//!                                                            └─ Refresh before the lifetime ends, ChannelBind again
//!                                                               before the permission does, Refresh 0 to hang up
//! ```
//!
//! A ChannelBind installs the permission as well (RFC 8656, 12.1), so CreatePermission has nothing left to do. One request
//! is on its way at a time; over UDP it is repeated (RFC 8489, 6.2.1), over a stream it is not (6.2.2).

mod credentials;
mod framing;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use wire::stun::{AttributeKind, Builder, ChannelData, Class, ErrorCode, Message, Method, TransactionId};

use super::ports::Transmits;

use self::credentials::Login;

pub use self::credentials::TurnCredentials;
pub use self::framing::{BadStream, StreamReader};

/// What lies between the client and its TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Messages may be lost, and are repeated.
    Datagrams,
    /// TCP or TLS: nothing is lost, channel data is padded to four bytes.
    Stream,
}

/// What the client has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnEvent {
    /// There is an allocation; its relayed address.
    Allocated(SocketAddr),
    /// Datagrams to the server that was aimed at pass from now on.
    Bound(SocketAddr),
    /// The TURN server lets nothing pass to this server; another one may be aimed at. One line for a person.
    BindRefused(SocketAddr, String),
    /// There is no allocation, or there no longer is one; nothing more will come. One line for a person.
    Failed(String),
}

/// One client on one 5-tuple.
#[derive(Debug)]
pub struct TurnClient {
    carrier: Carrier,
    login: Login,
    random: StdRng,
    pending: Option<Pending>,
    is_allocated: bool,
    has_failed: bool,
    refresh_at: Option<Instant>,
    channels: Channels,
    events: Vec<TurnEvent>,
}

/// The server that datagrams go to, and its channel's number.
#[derive(Debug, Default)]
struct Channels {
    /// Numbers used so far: a number is bound to one address for the allocation's life (RFC 8656, 12).
    used: u16,
    aim: Option<Channel>,
}

#[derive(Debug)]
struct Channel {
    server: SocketAddr,
    number: u16,
    is_bound: bool,
    /// When to bind, or to bind again.
    bind_at: Option<Instant>,
}

/// The request on its way.
#[derive(Debug)]
struct Pending {
    request: Request,
    transaction: TransactionId,
    bytes: Vec<u8>,
    sends: u32,
    next_at: Instant,
    /// Answers that only asked for another nonce.
    challenges: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Allocate,
    Bind(SocketAddr, u16),
    Refresh,
}

impl TurnClient {
    /// A client whose first [`TurnClient::handle_timeout`] asks for an allocation.
    pub fn new(now: Instant, carrier: Carrier, credentials: TurnCredentials, seed: u64) -> Self {
        let mut client = Self {
            carrier,
            login: Login::new(credentials),
            random: StdRng::seed_from_u64(seed),
            pending: None,
            is_allocated: false,
            has_failed: false,
            refresh_at: None,
            channels: Channels::default(),
            events: Vec::new(),
        };
        client.begin(now, Request::Allocate);
        client
    }

    /// Datagrams shall go to `server` from now on: its channel is bound as soon as there is an allocation.
    pub fn aim(&mut self, now: Instant, server: SocketAddr) {
        if self.channels.used > CHANNELS_MAX {
            return self.fail("more servers were tried than there are channels".to_owned());
        }
        let number = FIRST_CHANNEL + self.channels.used;
        self.channels.used += 1;
        self.channels.aim = Some(Channel { server, number, is_bound: false, bind_at: Some(now) });
        // A bind of the server before is of no use any more; its answer will find no request.
        if matches!(self.pending, Some(Pending { request: Request::Bind(..), .. })) {
            self.pending = None;
        }
    }

    /// One message of the TURN server, whole. A relayed datagram of the server that is aimed at comes out.
    pub fn handle_message<'a>(&mut self, now: Instant, message: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(data) = ChannelData::parse(message) {
            let channel = self.channels.aim.as_ref()?;
            return (channel.number == data.number && channel.is_bound).then_some(data.data);
        }
        let parsed = Message::parse(message).ok()?;
        if parsed.has_fingerprint() && !parsed.verify_fingerprint() {
            return None;
        }
        match parsed.class() {
            Class::Indication => self.indicated(&parsed),
            Class::Success | Class::Error => {
                self.handle_answer(now, &parsed);
                None
            }
            // A TURN server asks nothing.
            Class::Request => None,
        }
    }

    /// Sends what is due.
    pub fn handle_timeout(&mut self, now: Instant, transmits: &mut Transmits) {
        if self.pending.is_none()
            && let Some(request) = self.due(now)
        {
            self.begin(now, request);
        }
        let is_datagram = self.carrier == Carrier::Datagrams;
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.next_at <= now) else { return };
        let sends_max = if is_datagram { SENDS_MAX } else { 1 };
        if pending.sends == sends_max {
            return self.fail("the TURN server does not answer".to_owned());
        }
        transmits.push(&pending.bytes);
        pending.sends += 1;
        // RFC 8489, 6.2.1: twice the time before, each time. 6.2.2: a stream gets the same time in one piece.
        let wait = if is_datagram { FIRST_RESEND * (1 << (pending.sends - 1)) } else { ANSWER_WITHIN };
        pending.next_at = now + wait;
    }

    /// When [`TurnClient::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.has_failed {
            return None;
        }
        if let Some(pending) = &self.pending {
            return Some(pending.next_at);
        }
        let bind_at = self.channels.aim.as_ref().and_then(|channel| channel.bind_at);
        let bind_at = bind_at.filter(|_| self.is_allocated);
        self.refresh_at.into_iter().chain(bind_at).min()
    }

    /// There is an allocation.
    pub fn is_allocated(&self) -> bool {
        self.is_allocated
    }

    /// What has happened, in order.
    pub fn poll_event(&mut self) -> Option<TurnEvent> {
        if self.events.is_empty() { None } else { Some(self.events.remove(0)) }
    }

    /// Appends `datagram` as channel data; says no when there is no channel yet, or it is too long for one.
    pub fn wrap(&self, datagram: &[u8], transmits: &mut Transmits) -> bool {
        let Some(channel) = self.channels.aim.as_ref().filter(|channel| channel.is_bound) else {
            return false;
        };
        let Ok(length) = u16::try_from(datagram.len()) else { return false };
        // RFC 8656, 12.5: padding is a must over streams, and useless elsewhere.
        let padding = match self.carrier {
            Carrier::Datagrams => 0,
            Carrier::Stream => ChannelData::stream_padding(datagram.len()),
        };
        let end = ChannelData::HEADER_BYTES + datagram.len();
        transmits.write(end + padding, |room| {
            room[..ChannelData::HEADER_BYTES].copy_from_slice(&ChannelData::header(channel.number, length));
            room[ChannelData::HEADER_BYTES..end].copy_from_slice(datagram);
            Some(end + padding)
        });
        true
    }

    /// Gives the allocation back (RFC 8656, 7.1: a lifetime of 0). Nobody waits for the answer.
    pub fn hang_up(&mut self, transmits: &mut Transmits) {
        if !self.is_allocated || self.has_failed {
            return;
        }
        let transaction = self.next_transaction();
        let refresh = Builder::new(Class::Request, Method::REFRESH, transaction)
            .attribute(AttributeKind::LIFETIME, &0u32.to_be_bytes());
        transmits.push(&self.login.sign(refresh).finish());
        self.stop();
    }

    /// RFC 8656, 11.4: a datagram that came before the channel was bound, or from a server without channels.
    fn indicated<'a>(&self, message: &Message<'a>) -> Option<&'a [u8]> {
        let channel = self.channels.aim.as_ref()?;
        let from = message.xor_address(AttributeKind::XOR_PEER_ADDRESS)?;
        if message.method() != Method::DATA || from != channel.server {
            return None;
        }
        message.attribute(AttributeKind::DATA)
    }

    /// RFC 8489, 6.3.3 and 6.3.4, with the long-term credentials of 9.2.5.
    fn handle_answer(&mut self, now: Instant, message: &Message<'_>) {
        let is_ours = |pending: &&mut Pending| {
            pending.transaction == message.transaction_id() && pending.request.method() == message.method()
        };
        let Some(pending) = self.pending.as_mut().filter(is_ours) else { return };
        let request = pending.request;
        if message.class() == Class::Success {
            // 9.2.5: an answer that should be signed and is not is as good as none.
            if self.login.verifies(message) {
                self.pending = None;
                self.succeeded(now, request, message);
            }
            return;
        }
        let (code, reason) = message.error_code().unwrap_or((ErrorCode(0), ""));
        let is_first_challenge = code == ErrorCode::UNAUTHENTICATED && !self.login.is_challenged();
        if is_first_challenge || code == ErrorCode::STALE_NONCE {
            pending.challenges += 1;
            let challenges = pending.challenges;
            if challenges > CHALLENGES_MAX || !self.login.take_challenge(message) {
                return self.fail("the TURN server's challenge cannot be met".to_owned());
            }
            return self.begin_again(now, request, challenges);
        }
        // Other errors are believed as they come when they are not signed: some servers sign none of them.
        if message.has_integrity() && !self.login.verifies(message) {
            return;
        }
        self.pending = None;
        self.refused(request, code, reason);
    }

    fn succeeded(&mut self, now: Instant, request: Request, message: &Message<'_>) {
        match request {
            Request::Allocate => {
                let Some(relayed) = message.xor_address(AttributeKind::XOR_RELAYED_ADDRESS) else {
                    return self.fail("the TURN server names no relayed address".to_owned());
                };
                self.is_allocated = true;
                self.refresh_at = Some(now + refresh_after(message));
                self.events.push(TurnEvent::Allocated(relayed));
            }
            Request::Refresh => self.refresh_at = Some(now + refresh_after(message)),
            Request::Bind(server, number) => {
                let Some(channel) = self.channels.aim.as_mut().filter(|channel| channel.number == number)
                else {
                    return;
                };
                channel.bind_at = Some(now + REBIND_INTERVAL);
                if !channel.is_bound {
                    channel.is_bound = true;
                    self.events.push(TurnEvent::Bound(server));
                }
            }
        }
    }

    fn refused(&mut self, request: Request, code: ErrorCode, reason: &str) {
        let line = refusal(request, code, reason);
        // 437 says that there is no allocation (any more), whatever was asked for.
        match request {
            Request::Bind(server, number) if code != ErrorCode::ALLOCATION_MISMATCH => {
                if self.channels.aim.as_ref().is_some_and(|channel| channel.number == number) {
                    self.channels.aim = None;
                }
                self.events.push(TurnEvent::BindRefused(server, line));
            }
            _ => self.fail(line),
        }
    }

    /// What is due and not on its way.
    fn due(&self, now: Instant) -> Option<Request> {
        if !self.is_allocated || self.has_failed {
            return None;
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            return Some(Request::Refresh);
        }
        let channel = self.channels.aim.as_ref()?;
        channel.bind_at.filter(|at| *at <= now)?;
        Some(Request::Bind(channel.server, channel.number))
    }

    fn begin(&mut self, now: Instant, request: Request) {
        self.begin_again(now, request, 0);
    }

    fn begin_again(&mut self, now: Instant, request: Request, challenges: u32) {
        let transaction = self.next_transaction();
        let bytes = self.login.sign(request.build(transaction)).finish();
        self.pending = Some(Pending { request, transaction, bytes, sends: 0, next_at: now, challenges });
    }

    fn next_transaction(&mut self) -> TransactionId {
        let mut id = [0; 12];
        self.random.fill_bytes(&mut id);
        TransactionId(id)
    }

    fn fail(&mut self, line: String) {
        self.stop();
        self.events.push(TurnEvent::Failed(line));
    }

    fn stop(&mut self) {
        self.has_failed = true;
        self.is_allocated = false;
        self.pending = None;
        self.refresh_at = None;
        self.channels.aim = None;
    }
}

impl Request {
    fn method(self) -> Method {
        match self {
            Self::Allocate => Method::ALLOCATE,
            Self::Bind(..) => Method::CHANNEL_BIND,
            Self::Refresh => Method::REFRESH,
        }
    }

    fn build(self, transaction: TransactionId) -> Builder {
        let message = Builder::new(Class::Request, self.method(), transaction);
        match self {
            Self::Allocate => message.attribute(AttributeKind::REQUESTED_TRANSPORT, &[PROTOCOL_UDP, 0, 0, 0]),
            Self::Bind(server, number) => message
                .attribute(AttributeKind::CHANNEL_NUMBER, &[number.to_be_bytes(), [0, 0]].concat())
                .xor_address(AttributeKind::XOR_PEER_ADDRESS, server),
            // RFC 8656, 3.9: without LIFETIME the server's default.
            Self::Refresh => message,
        }
    }
}

/// What a person needs to know: names the cause, not the address, so that equal refusals count as one.
fn refusal(request: Request, code: ErrorCode, reason: &str) -> String {
    let what = match code {
        ErrorCode::UNAUTHENTICATED | ErrorCode::WRONG_CREDENTIALS => "refuses the credentials",
        ErrorCode::FORBIDDEN => "does not relay to this server",
        ErrorCode::ALLOCATION_MISMATCH if request == Request::Allocate => {
            "already has an allocation on this port"
        }
        ErrorCode::ALLOCATION_MISMATCH => "no longer knows the allocation",
        ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH => "has no address of the server's family",
        ErrorCode::ALLOCATION_QUOTA_REACHED => "has reached its quota for these credentials",
        ErrorCode::INSUFFICIENT_CAPACITY => "has no room left",
        ErrorCode::TRY_ALTERNATE => "sends us to another server",
        _ => "refuses",
    };
    let reason: String = reason.chars().filter(|each| !each.is_control()).take(REASON_CHARS_MAX).collect();
    format!("the TURN server {what} ({} {reason})", code.0).replace(" )", ")")
}

/// When to refresh after an answer with LIFETIME (RFC 8656, 7: a minute before the end; half of a shorter one).
fn refresh_after(message: &Message<'_>) -> Duration {
    let value = message.attribute(AttributeKind::LIFETIME).and_then(|value| <[u8; 4]>::try_from(value).ok());
    let seconds = value.map_or(LIFETIME_DEFAULT_S, u32::from_be_bytes).clamp(LIFETIME_MIN_S, LIFETIME_MAX_S);
    let lifetime = Duration::from_secs(u64::from(seconds));
    if lifetime > 2 * REFRESH_AHEAD { lifetime - REFRESH_AHEAD } else { lifetime / 2 }
}

/// REQUESTED-TRANSPORT: UDP (RFC 8656, 18.7).
const PROTOCOL_UDP: u8 = 17;

/// RFC 8656, 12: the first number a client may choose.
const FIRST_CHANNEL: u16 = 0x4000;

/// A server has a handful of candidates; each try uses a number up. All begin with the byte 0x40.
const CHANNELS_MAX: u16 = 255;

/// RFC 8489, 6.2.1 wants at least 500 ms, and seven sends over 39.5 s. Five fail after 15.5 s: before the caller gives up
/// its join, so that the report names the relay.
const FIRST_RESEND: Duration = Duration::from_millis(500);
const SENDS_MAX: u32 = 5;

/// The same time for a stream.
const ANSWER_WITHIN: Duration = Duration::from_millis(15_500);

/// A nonce that is stale three times in a row is not meant to be met.
const CHALLENGES_MAX: u32 = 3;

/// RFC 8656, 9: a permission lasts 300 s, and a bind renews it.
const REBIND_INTERVAL: Duration = Duration::from_secs(240);

/// RFC 8656, 7.1: a minute is time enough for all repetitions.
const REFRESH_AHEAD: Duration = Duration::from_secs(60);

/// RFC 8656, 3.2.
const LIFETIME_DEFAULT_S: u32 = 600;

/// A server that grants less would be asked all the time.
const LIFETIME_MIN_S: u32 = 20;

/// RFC 8656, 7.2 suggests an hour as the most; longer ones are refreshed early.
const LIFETIME_MAX_S: u32 = 3_600;

/// RFC 8489, 14.8 allows 128 characters; a line of a report needs fewer.
const REASON_CHARS_MAX: usize = 60;

//! STUN messages of clients: which are answered, by whom, and how answers are written.
//!
//! One request, one file: it parses, checks in the order of the RFC's clauses, acts, and says what the answer is. What an
//! answer needs besides (transaction, signature, FINGERPRINT if the request had one) is added here.

pub(super) mod allocate;
mod binding;
mod channel_bind;
mod create_permission;
mod peers;
mod refresh;
mod send;

use std::net::SocketAddr;
use std::time::Instant;

use wire::stun::{AttributeKind, Builder, Class, ErrorCode, Message, Method};

use super::auth::credentials::LongTermKey;
use super::auth::{AuthFailure, Login, Visit};
use super::drop_reason::DropReason;
use super::ports::{ClientPath, Handled, Output, Transport};
use super::relay::Relay;

/// A request of somebody who may make it.
#[derive(Debug)]
struct Request<'a> {
    now: Instant,
    path: &'a ClientPath,
    message: &'a Message<'a>,
    login: Login<'a>,
}

/// What a request gets.
type Outcome = Result<Answer, Refusal>;

/// It is obeyed.
#[derive(Debug)]
enum Answer {
    /// To be signed and sent.
    Now(Builder),
    /// When its sockets are open.
    Later,
}

/// It is not obeyed.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// With this code.
    Code(ErrorCode),
    /// 420, and these were not understood.
    Unknown(Vec<AttributeKind>),
    /// 300, and this server may be asked.
    Alternate(SocketAddr),
}

/// Everything that TURN and its credentials make us understand. MESSAGE-INTEGRITY needs no mention.
const KNOWN: [AttributeKind; 12] = [
    AttributeKind::USERNAME,
    AttributeKind::REALM,
    AttributeKind::NONCE,
    AttributeKind::CHANNEL_NUMBER,
    AttributeKind::LIFETIME,
    AttributeKind::XOR_PEER_ADDRESS,
    AttributeKind::DATA,
    AttributeKind::REQUESTED_ADDRESS_FAMILY,
    AttributeKind::EVEN_PORT,
    AttributeKind::REQUESTED_TRANSPORT,
    AttributeKind::DONT_FRAGMENT,
    AttributeKind::RESERVATION_TOKEN,
];

/// Services that answer whatever they get: a forged datagram "from" one of them would begin an endless exchange. No
/// address translator gives a client such a port.
const REFLECTING_PORTS: [u16; 12] = [0, 7, 13, 17, 19, 53, 111, 123, 137, 161, 389, 520];

impl Relay {
    /// Takes a STUN message of a client.
    pub(super) fn handle_stun<'d>(
        &mut self,
        now: Instant,
        unix_s: u64,
        path: &ClientPath,
        datagram: &'d [u8],
    ) -> Handled<'d> {
        let Ok(message) = Message::parse(datagram) else {
            return self.drop(DropReason::StunMalformed);
        };
        if message.has_fingerprint() && !message.verify_fingerprint() {
            return self.drop(DropReason::StunBadFingerprint);
        }
        match (message.class(), message.method()) {
            (Class::Indication, Method::SEND) => return self.handle_send(now, path, &message),
            // RFC 8489, 7.3.2: keeps a translator's binding alive, and is not answered.
            (Class::Indication, Method::BINDING) => return Handled::Nothing,
            (Class::Request, _) if self.is_suspect(path) => return self.drop(DropReason::SuspectSource),
            (Class::Request, Method::BINDING) => self.handle_binding(now, path, &message),
            (
                Class::Request,
                Method::ALLOCATE | Method::REFRESH | Method::CREATE_PERMISSION | Method::CHANNEL_BIND,
            ) => self.handle_request(now, unix_s, path, &message),
            _ => return self.drop(DropReason::StunUnexpected),
        }
        Handled::Nothing
    }

    /// Whether a reply would not go to a client.
    fn is_suspect(&self, path: &ClientPath) -> bool {
        path.transport == Transport::Udp
            && (REFLECTING_PORTS.contains(&path.client.port()) || self.fixed.listen.contains(&path.client))
    }

    /// Authenticates a request, has it carried out, and answers.
    fn handle_request(&mut self, now: Instant, unix_s: u64, path: &ClientPath, message: &Message<'_>) {
        let place = self.live_at(path);
        let holder = place.map(|place| self.allocations[place].holder());
        let visit = Visit { now, unix_s, path, holder };
        let login = match self.gate.check(&visit, message) {
            Ok(login) => login,
            Err(failure) => return self.challenge(now, path, message, failure),
        };
        if let Some(place) = place {
            let owner = &mut self.allocations[place].owner;
            if *owner.username == *login.username {
                (owner.key, owner.epoch) = (login.key, self.gate.epoch());
            } else if message.method() != Method::ALLOCATE {
                // RFC 8656, 5: requests about an allocation come from the user who made it, else 441.
                self.counters.auth_failures.count(AuthFailure::WrongUser);
                let reply = Builder::answer(message, Class::Error).error(AuthFailure::WrongUser.code(), "");
                return self.send_signed(*path, reply, &login.key, message.has_fingerprint());
            }
        }
        let key = login.key;
        let request = Request { now, path, message, login };
        let reply = match self.carry_out(&request) {
            Ok(Answer::Now(reply)) => reply,
            Ok(Answer::Later) => return,
            Err(refusal) => refusal.write(message),
        };
        self.send_signed(*path, reply, &key, message.has_fingerprint());
    }

    fn carry_out(&mut self, request: &Request<'_>) -> Outcome {
        // RFC 8489, 6.3.1: after authentication, what must be understood and is not.
        let unknown: Vec<AttributeKind> = request.message.unknown_required(&KNOWN).collect();
        if !unknown.is_empty() {
            return Err(Refusal::Unknown(unknown));
        }
        match request.message.method() {
            Method::ALLOCATE => self.allocate(request),
            Method::REFRESH => self.refresh(request),
            Method::CREATE_PERMISSION => self.create_permission(request),
            _ => self.channel_bind(request),
        }
    }

    /// Answers a request that was not authenticated, if its sender has not had enough answers.
    fn challenge(&mut self, now: Instant, path: &ClientPath, message: &Message<'_>, failure: AuthFailure) {
        self.counters.auth_failures.count(failure);
        // The smallest of requests would get the largest of replies; every client's Allocate has this attribute.
        if message.method() == Method::ALLOCATE
            && message.attribute(AttributeKind::REQUESTED_TRANSPORT).is_none()
        {
            self.drop(DropReason::NotWorthAnAnswer);
            return;
        }
        let is_stream = path.transport.is_stream();
        let budget = if is_stream { &mut self.budgets.streams } else { &mut self.budgets.datagrams };
        if !budget.take(now, path.client.ip()) {
            self.drop(DropReason::ReplyBudget);
            // Over a stream nothing is sent twice: silence would leave an honest client waiting.
            if is_stream {
                self.outputs.push_back(Output::Disconnect { path: *path });
            }
            return;
        }
        // No reason phrase, no SOFTWARE: the reply goes to whoever the sender says it is.
        let mut reply = Builder::answer(message, Class::Error).error(failure.code(), "");
        if failure != AuthFailure::Incomplete {
            let nonce = self.gate.nonce(now, path, &mut self.random);
            reply = reply
                .attribute(AttributeKind::REALM, self.gate.realm().as_bytes())
                .attribute(AttributeKind::NONCE, &nonce);
        }
        self.send_plain(*path, reply, message.has_fingerprint());
    }

    /// Queues a reply under the user's signature.
    pub(super) fn send_signed(
        &mut self,
        path: ClientPath,
        reply: Builder,
        key: &LongTermKey,
        has_fingerprint: bool,
    ) {
        self.send_plain(path, reply.sign(&key.0), has_fingerprint);
    }

    fn send_plain(&mut self, path: ClientPath, reply: Builder, has_fingerprint: bool) {
        let bytes = if has_fingerprint { reply.fingerprint() } else { reply.finish() };
        self.outputs.push_back(Output::Reply { path, bytes });
    }
}

impl Refusal {
    fn write(&self, message: &Message<'_>) -> Builder {
        let reply = Builder::answer(message, Class::Error);
        match self {
            Self::Code(code) => reply.error(*code, ""),
            Self::Unknown(kinds) => {
                reply.error(ErrorCode::UNKNOWN_ATTRIBUTE, "").unknown_attributes(kinds.iter().copied())
            }
            Self::Alternate(server) => reply
                .error(ErrorCode::TRY_ALTERNATE, "")
                .attribute(AttributeKind::ALTERNATE_SERVER, &peers::unmasked(*server)),
        }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

/// The 32 bits of an attribute that has just these. `None`: there is no such attribute.
fn number(message: &Message<'_>, kind: AttributeKind) -> Result<Option<u32>, Refusal> {
    let Some(value) = message.attribute(kind) else { return Ok(None) };
    let bytes = <[u8; 4]>::try_from(value).map_err(|_| ErrorCode::BAD_REQUEST)?;
    Ok(Some(u32::from_be_bytes(bytes)))
}

/// RFC 8656, 7.2 and 8.2: never less than the default, never more than ours.
fn lifetime_s(asked_s: Option<u32>, relay: &Relay) -> u32 {
    let max_s = u32::try_from(relay.fixed.lifetime_max.as_secs()).unwrap_or(u32::MAX);
    asked_s.unwrap_or(0).min(max_s).max(LIFETIME_DEFAULT_S)
}

/// RFC 8656, 3.2: ten minutes.
const LIFETIME_DEFAULT_S: u32 = 600;

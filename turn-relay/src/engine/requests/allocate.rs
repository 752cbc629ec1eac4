//! Allocate (RFC 8656, 7.2): a relayed address of the client's own, or one of each family.

use std::time::Duration;

use wire::stun::{AttributeKind, Builder, Class, ErrorCode, Message, Method};

use super::{Answer, Outcome, Refusal, Request, lifetime_s, number};
use crate::engine::allocation::{Allocation, Birth, Owner};
use crate::engine::lifecycle::{Claim, Reservation};
use crate::engine::ports::{Drain, Family};
use crate::engine::ports_pool::{Parity, Token};
use crate::engine::quota::Share;
use crate::engine::relay::Relay;
use crate::engine::stats::QuotaKind;

/// What a client asks for, once it makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    families: Families,
    parity: Parity,
    token: Option<Token>,
    lifetime_s: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Families {
    One(Family),
    Both,
}

impl Relay {
    pub(super) fn allocate(&mut self, request: &Request<'_>) -> Outcome {
        // 7.2 (2): a 5-tuple already in use is an Allocation Mismatch (437), unless the request came before: then its
        // reply was lost, or is on its way.
        if let Some(place) = self.by_path.get(request.path).copied() {
            let allocation = &self.allocations[place];
            let is_repeated = allocation.birth.transaction == request.message.transaction_id()
                && *allocation.owner.username == *request.login.username;
            return match (is_repeated, allocation.birth.is_done) {
                (true, true) => Ok(Answer::Now(success(allocation))),
                (true, false) => Ok(Answer::Later),
                (false, _) => Err(ErrorCode::ALLOCATION_MISMATCH.into()),
            };
        }
        let wish = Wish::read(request.message, self.fixed.dont_fragment)?;
        // (7), (9): a family that we have no address of at all (440). Of two, the other one is enough.
        let has = Family::ALL.map(|family| self.pool.has(family));
        if matches!(wish.families, Families::One(family) if !has[family as usize]) || has == [false; 2] {
            return Err(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED.into());
        }
        // (11): another server may be asked, or there is none.
        match self.drain {
            Drain::Off => {}
            Drain::Redirect(server) if server.is_ipv4() == request.path.client.is_ipv4() => {
                return Err(Refusal::Alternate(server));
            }
            Drain::Refuse | Drain::Redirect(_) => return Err(ErrorCode::INSUFFICIENT_CAPACITY.into()),
        }
        let birth = Birth {
            transaction: request.message.transaction_id(),
            has_fingerprint: request.message.has_fingerprint(),
            lifetime_s: lifetime_s(wish.lifetime_s, self),
            token: None,
            missing: None,
            is_done: false,
        };
        match wish.token {
            Some(token) => self.allocate_reserved(request, token, birth),
            None => self.allocate_new(request, &wish, birth),
        }
    }

    /// 7.2 (5): a token that is unknown, expired or another user's does not get the port (508).
    fn allocate_reserved(&mut self, request: &Request<'_>, token: Token, birth: Birth) -> Outcome {
        let of_user = self
            .reservations
            .get(&token)
            .is_some_and(|reservation| self.quota.name(reservation.share.user) == request.login.user);
        let redeemed = if of_user { self.redeem(token) } else { None };
        let Some(Reservation { port, family, share, .. }) = redeemed else {
            return Err(self.refuse_for(QuotaKind::Ports));
        };
        let claim = Claim { family, port, retries: (0, Parity::Any) };
        self.begin(self.new_allocation(request, share, birth), &[claim]);
        Ok(Answer::Later)
    }

    fn allocate_new(&mut self, request: &Request<'_>, wish: &Wish, mut birth: Birth) -> Outcome {
        // (10): each user has a quota (486).
        let share = self.take_share(request)?;
        let mut claims = Vec::with_capacity(Family::ALL.len());
        for family in Family::ALL {
            if matches!(wish.families, Families::One(only) if only != family) {
                continue;
            }
            let retries = if wish.parity == Parity::EvenWithNext { 0 } else { RETRIES };
            match self.pool.take(family, wish.parity, &mut self.random) {
                Some(port) => claims.push(Claim { family, port, retries: (retries, wish.parity) }),
                None if self.pool.has(family) => {
                    birth.missing = Some((family, ErrorCode::INSUFFICIENT_CAPACITY));
                }
                None => birth.missing = Some((family, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED)),
            }
        }
        // (8): no port of the kind that was asked for (508).
        if claims.is_empty() {
            self.quota.release(&share);
            return Err(self.refuse_for(QuotaKind::Ports));
        }
        if wish.parity == Parity::EvenWithNext {
            let claim = claims[0];
            match self.take_share(request) {
                Ok(next_share) => birth.token = Some(self.reserve_next(request, claim, next_share)),
                Err(refusal) => {
                    self.pool.release(claim.port);
                    self.pool.release(claim.port.next());
                    self.quota.release(&share);
                    return Err(refusal);
                }
            }
        }
        self.begin(self.new_allocation(request, share, birth), &claims);
        Ok(Answer::Later)
    }

    fn take_share(&mut self, request: &Request<'_>) -> Result<Share, Refusal> {
        self.quota.take(&request.login, request.path.client.ip(), &self.limits).map_err(|kind| {
            self.counters.quota_rejects.count(kind);
            match kind {
                QuotaKind::Allocations => ErrorCode::INSUFFICIENT_CAPACITY.into(),
                _ => ErrorCode::ALLOCATION_QUOTA_REACHED.into(),
            }
        })
    }

    /// Keeps the port above an even one for whoever shows the token, and for half a minute.
    fn reserve_next(&mut self, request: &Request<'_>, claim: Claim, share: Share) -> Token {
        let token = Token::draw(&mut self.random);
        let (port, family) = (claim.port.next(), claim.family);
        let expires_at = request.now + RESERVATION;
        self.reserve(token, Reservation { port, family, share, expires_at });
        token
    }

    fn new_allocation(&self, request: &Request<'_>, share: Share, birth: Birth) -> Allocation {
        let login = &request.login;
        let owner = Owner {
            username: login.username.into(),
            key: login.key,
            epoch: self.gate.epoch(),
            bridge: login.claims.bridge.map(Into::into),
            share,
        };
        Allocation::new(request.now, *request.path, owner, birth)
    }
}

impl Wish {
    /// 7.2 (3) to (9), as far as the message alone tells.
    fn read(message: &Message<'_>, can_forbid_fragments: bool) -> Result<Self, Refusal> {
        // (3): REQUESTED-TRANSPORT missing or malformed is 400, anything but UDP is 442.
        let transport = number(message, AttributeKind::REQUESTED_TRANSPORT)?.ok_or(ErrorCode::BAD_REQUEST)?;
        if transport >> 24 != UDP {
            return Err(ErrorCode::UNSUPPORTED_TRANSPORT.into());
        }
        // (4): DONT-FRAGMENT of a server that cannot do it is an unknown attribute.
        if message.attribute(AttributeKind::DONT_FRAGMENT).is_some() && !can_forbid_fragments {
            return Err(Refusal::Unknown(vec![AttributeKind::DONT_FRAGMENT]));
        }
        let requested = number(message, AttributeKind::REQUESTED_ADDRESS_FAMILY)?.map(|value| value >> 24);
        let additional = number(message, AttributeKind::ADDITIONAL_ADDRESS_FAMILY)?.map(|value| value >> 24);
        let token = message.attribute(AttributeKind::RESERVATION_TOKEN);
        let even_port = message.attribute(AttributeKind::EVEN_PORT);
        // (5): a token already says which port and which family.
        if token.is_some() && (even_port.is_some() || requested.is_some() || additional.is_some()) {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        let token = match token.map(<[u8; 8]>::try_from) {
            Some(Err(_)) => return Err(ErrorCode::BAD_REQUEST.into()),
            Some(Ok(bytes)) => Some(Token(bytes)),
            None => None,
        };
        let families = match (requested, additional) {
            // (6): one or the other.
            (Some(_), Some(_)) => return Err(ErrorCode::BAD_REQUEST.into()),
            // (9): additional to IPv4 is IPv6.
            (None, Some(IPV6)) => Families::Both,
            (None, Some(_)) => return Err(ErrorCode::BAD_REQUEST.into()),
            (None, None) | (Some(IPV4), None) => Families::One(Family::V4),
            (Some(IPV6), None) => Families::One(Family::V6),
            // (7): a family nobody has.
            (Some(_), None) => return Err(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED.into()),
        };
        let parity = match even_port {
            None => Parity::Any,
            Some([flags]) if flags & RESERVE_NEXT == 0 => Parity::Even,
            // (9): no pair of pairs.
            Some([_]) if families == Families::Both => return Err(ErrorCode::BAD_REQUEST.into()),
            Some([_]) => Parity::EvenWithNext,
            Some(_) => return Err(ErrorCode::BAD_REQUEST.into()),
        };
        Ok(Self { families, parity, token, lifetime_s: number(message, AttributeKind::LIFETIME)? })
    }
}

/// The success response (7.2), the same whenever it is written.
pub(in crate::engine) fn success(allocation: &Allocation) -> Builder {
    let birth = &allocation.birth;
    let mut reply = Builder::new(Class::Success, Method::ALLOCATE, birth.transaction);
    for relay in allocation.relays() {
        reply = reply.xor_address(AttributeKind::XOR_RELAYED_ADDRESS, relay.announced);
    }
    reply = reply.attribute(AttributeKind::LIFETIME, &birth.lifetime_s.to_be_bytes());
    if let Some(token) = birth.token {
        reply = reply.attribute(AttributeKind::RESERVATION_TOKEN, &token.0);
    }
    reply = reply.xor_address(AttributeKind::XOR_MAPPED_ADDRESS, allocation.path.client);
    // 18.12: of two families one was not to be had.
    if let Some((family, code)) = birth.missing {
        let family = if family == Family::V4 { IPV4 } else { IPV6 };
        let value = [family as u8, 0, (code.0 / 100) as u8, (code.0 % 100) as u8];
        reply = reply.attribute(AttributeKind::ADDRESS_ERROR_CODE, &value);
    }
    reply
}

/// The protocol number of UDP; TCP (RFC 6062) is not built.
const UDP: u32 = 17;
/// RFC 8656, 18.6.
const IPV4: u32 = 1;
const IPV6: u32 = 2;
/// RFC 8656, 18.7: the R bit.
const RESERVE_NEXT: u8 = 0x80;
/// RFC 8656, 7.2: at least 30 seconds.
const RESERVATION: Duration = Duration::from_secs(30);
/// Other programs hold a few ports of the range at most.
const RETRIES: u8 = 8;

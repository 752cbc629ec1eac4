//! How allocations come to be, change their sockets and end.
//!
//! ```text
//! Allocate ─▶ begin: OpenSocket for each family ─▶ handle_socket_opened ─┬─▶ reply, and it lives
//!                        ▲                                               │      │ Refresh, timers
//!                        └── another port, a few times ── port in use ───┘      ▼
//!                                                          508 ◀── none opened  end: CloseSocket, AllocationEnded
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::stun::{Builder, Class, ErrorCode, Method};

use super::allocation::{Allocation, Relayed};
use super::ports::{ClientPath, Family, OpenFailure, Output, RelaySocketKey};
use super::ports_pool::{Parity, RelayPort, Token};
use super::quota::Share;
use super::relay::Relay;
use super::requests::allocate::success;
use super::stats::QuotaKind;
use super::timers::Timer;
use super::views::{AllocationRecord, EndCause};

/// A relay socket's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Socket {
    key: RelaySocketKey,
    allocation: usize,
    family: Family,
}

/// A port kept for whoever shows its token (RFC 8656, 7.2).
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) port: RelayPort,
    pub(super) family: Family,
    pub(super) share: Share,
    pub(super) expires_at: Instant,
}

/// A port for a relayed address, and how hard to try for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) family: Family,
    pub(super) port: RelayPort,
    /// How often another port may be tried, and which kind.
    pub(super) retries: (u8, Parity),
}

impl Relay {
    /// The allocation whose socket this is.
    pub(super) fn allocation_of(&self, key: RelaySocketKey) -> Option<usize> {
        self.sockets.get(key.index()).filter(|socket| socket.key == key).map(|socket| socket.allocation)
    }

    /// The allocation of a client that its Allocate was answered for.
    pub(super) fn live_at(&self, path: &ClientPath) -> Option<usize> {
        self.by_path.get(path).copied().filter(|place| self.allocations[*place].birth.is_done)
    }

    /// Puts an allocation in its place and has its sockets opened.
    pub(super) fn begin(&mut self, allocation: Allocation, claims: &[Claim]) {
        let (now, path) = (allocation.since, allocation.path);
        let place = self.allocations.insert(allocation);
        self.by_path.insert(path, place);
        for claim in claims {
            let expires_at = now + Duration::from_secs(self.allocations[place].birth.lifetime_s.into());
            self.open(place, *claim, expires_at);
        }
        self.arm(place);
    }

    fn open(&mut self, place: usize, claim: Claim, expires_at: Instant) {
        let Claim { family, port, retries } = claim;
        let entry = self.sockets.vacant_entry();
        let key = RelaySocketKey::new(entry.key(), self.generation);
        self.generation = self.generation.wrapping_add(1);
        entry.insert(Socket { key, allocation: place, family });
        let relay = self.pool.relay(port);
        let announced = SocketAddr::new(relay.announced, port.port);
        let allocation = &mut self.allocations[place];
        allocation.relays[family as usize] =
            Some(Relayed { socket: key, port, announced, expires_at, opening: Some(retries) });
        let local = SocketAddr::new(relay.bind, port.port);
        self.outputs.push_back(Output::OpenSocket { key, local, path: allocation.path });
    }

    /// Takes what came of an `OpenSocket`.
    pub fn handle_socket_opened(
        &mut self,
        now: Instant,
        key: RelaySocketKey,
        outcome: Result<(), OpenFailure>,
    ) {
        let Some(socket) = self.sockets.get(key.index()).copied().filter(|socket| socket.key == key) else {
            return;
        };
        let (place, family) = (socket.allocation, socket.family);
        let Some(relay) = &mut self.allocations[place].relays[family as usize] else { return };
        let Some((retries, parity)) = relay.opening else { return };
        match outcome {
            Ok(()) => relay.opening = None,
            Err(OpenFailure::PortInUse) if retries > 0 => {
                let expires_at = relay.expires_at;
                // The port in use stays taken until another is found, so that it is not drawn again at once.
                let next = self.pool.take(family, parity, &mut self.random);
                self.forget_socket(place, family);
                if let Some(port) = next {
                    return self.open(
                        place,
                        Claim { family, port, retries: (retries - 1, parity) },
                        expires_at,
                    );
                }
                self.miss(place, family);
            }
            Err(OpenFailure::PortInUse | OpenFailure::Exhausted) => {
                self.forget_socket(place, family);
                self.miss(place, family);
            }
        }
        self.conclude_birth(now, place);
    }

    fn miss(&mut self, place: usize, family: Family) {
        self.counters.quota_rejects.count(QuotaKind::Ports);
        self.allocations[place].birth.missing = Some((family, ErrorCode::INSUFFICIENT_CAPACITY));
    }

    /// Answers the Allocate once it is known which sockets there are.
    fn conclude_birth(&mut self, now: Instant, place: usize) {
        let allocation = &mut self.allocations[place];
        if allocation.birth.is_done || allocation.relays().any(|relay| relay.opening.is_some()) {
            return;
        }
        if allocation.relays().next().is_none() {
            return self.abandon(place);
        }
        allocation.birth.is_done = true;
        allocation.since = now;
        let lifetime = Duration::from_secs(allocation.birth.lifetime_s.into());
        for relay in allocation.relays.iter_mut().flatten() {
            relay.expires_at = now + lifetime;
        }
        let reply = success(allocation);
        let (path, key) = (allocation.path, allocation.owner.key);
        let has_fingerprint = allocation.birth.has_fingerprint;
        self.counters.allocations_created += 1;
        self.arm(place);
        self.send_signed(path, reply, &key, has_fingerprint);
    }

    /// None of its sockets could be opened.
    fn abandon(&mut self, place: usize) {
        let allocation = self.take_out(place);
        if let Some(token) = allocation.birth.token {
            self.drop_reservation(token);
        }
        let Allocation { path, owner, birth, .. } = &allocation;
        let reply = Builder::new(Class::Error, Method::ALLOCATE, birth.transaction)
            .error(ErrorCode::INSUFFICIENT_CAPACITY, "");
        self.send_signed(*path, reply, &owner.key, birth.has_fingerprint);
    }

    /// Closes one socket and frees its port.
    fn forget_socket(&mut self, place: usize, family: Family) {
        let Some(relay) = self.allocations[place].relays[family as usize].take() else { return };
        self.sockets.remove(relay.socket.index());
        self.pool.release(relay.port);
        self.outputs.push_back(Output::CloseSocket { key: relay.socket });
    }

    /// Ends the relayed address of one family, and with the last one the allocation.
    pub(super) fn end_family(&mut self, now: Instant, place: usize, family: Family, cause: EndCause) {
        if !Family::ALL.iter().any(|each| *each != family && self.allocations[place].has(*each)) {
            return self.end(now, place, cause);
        }
        self.forget_socket(place, family);
        let allocation = &mut self.allocations[place];
        allocation.permissions.revoke(|peer| Family::of(peer) != family);
        allocation.channels.revoke(|peer| Family::of(peer.ip()) != family);
        self.arm(place);
    }

    /// Ends an allocation, and says so.
    pub(super) fn end(&mut self, now: Instant, place: usize, cause: EndCause) {
        let allocation = &self.allocations[place];
        let is_born = allocation.birth.is_done;
        let record = AllocationRecord {
            transport: allocation.path.transport,
            user: self.quota.name(allocation.owner.share.user).into(),
            lived: now.saturating_duration_since(allocation.since),
            traffic: allocation.traffic,
            cause,
        };
        self.take_out(place);
        if is_born {
            self.outputs.push_back(Output::AllocationEnded(record));
        }
    }

    /// Forgets an allocation wherever it is known.
    fn take_out(&mut self, place: usize) -> Allocation {
        for family in Family::ALL {
            self.forget_socket(place, family);
        }
        let allocation = self.allocations.remove(place);
        self.by_path.remove(&allocation.path);
        if let Some(at) = allocation.wake_at {
            self.timers.cancel(at, Timer::Allocation(place));
        }
        self.quota.release(&allocation.owner.share);
        allocation
    }

    /// Keeps a port for whoever shows its token.
    pub(super) fn reserve(&mut self, token: Token, reservation: Reservation) {
        self.timers.set(reservation.expires_at, Timer::Reservation(token));
        self.reservations.insert(token, reservation);
    }

    /// Takes a reservation out; port and share are the caller's.
    pub(super) fn redeem(&mut self, token: Token) -> Option<Reservation> {
        let reservation = self.reservations.remove(&token)?;
        self.timers.cancel(reservation.expires_at, Timer::Reservation(token));
        Some(reservation)
    }

    fn drop_reservation(&mut self, token: Token) {
        if let Some(reservation) = self.redeem(token) {
            self.pool.release(reservation.port);
            self.quota.release(&reservation.share);
        }
    }

    /// Sets the timer of an allocation to what ends next.
    pub(super) fn arm(&mut self, place: usize) {
        let allocation = &mut self.allocations[place];
        let next = allocation.next_deadline();
        if allocation.wake_at == next {
            return;
        }
        let before = std::mem::replace(&mut allocation.wake_at, next);
        if let Some(at) = before {
            self.timers.cancel(at, Timer::Allocation(place));
        }
        if let Some(at) = next {
            self.timers.set(at, Timer::Allocation(place));
        }
    }

    pub(super) fn wake(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Reservation(token) => self.drop_reservation(token),
            Timer::Allocation(place) => self.expire(now, place),
        }
    }

    fn expire(&mut self, now: Instant, place: usize) {
        let Some(allocation) = self.allocations.get_mut(place) else { return };
        allocation.wake_at = None;
        allocation.permissions.expire(now);
        allocation.channels.expire(now);
        for family in Family::ALL {
            let relay = self.allocations.get(place).and_then(|each| each.relays[family as usize].as_ref());
            if relay.is_some_and(|relay| relay.expires_at <= now) {
                self.end_family(now, place, family, EndCause::Expired);
            }
        }
        if self.allocations.contains(place) {
            self.arm(place);
        }
    }

    /// The client's stream is closed: nothing can reach it any more (RFC 8656, 5).
    pub fn handle_client_gone(&mut self, now: Instant, path: &ClientPath) {
        if let Some(place) = self.by_path.get(path).copied() {
            self.end(now, place, EndCause::ClientGone);
        }
    }

    /// A relay socket failed for good. An ICMP error of one peer is no such failure.
    pub fn handle_socket_lost(&mut self, now: Instant, key: RelaySocketKey) {
        let Some(socket) = self.sockets.get(key.index()).copied().filter(|socket| socket.key == key) else {
            return;
        };
        self.end_family(now, socket.allocation, socket.family, EndCause::SocketLost);
    }
}

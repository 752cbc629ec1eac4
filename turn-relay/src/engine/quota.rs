//! How much one user, one address and one allocation may have. Only who is authenticated is counted here; strangers are
//! the budget's.

use std::net::IpAddr;

use foldhash::HashMap;
use slab::Slab;

use super::auth::Login;
use super::auth::budget::prefix_of;
use super::pace::{Pace, Rate, Ticks};
use super::stats::QuotaKind;

/// How much is allowed. For rates, and only for them, 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Allocations of one shard, reservations among them.
    pub allocations_max: usize,
    /// Allocations of one user. A browser makes one for each of its interfaces and for each transport.
    pub allocations_per_user_max: u32,
    /// Allocations from one IPv4 address or one IPv6 /64: a whole office can be behind it.
    pub allocations_per_prefix_max: u32,
    /// Permissions of one allocation.
    pub permissions_max: usize,
    /// Channels of one allocation, those waiting for their number to be free among them.
    pub channels_max: usize,
    /// New peer addresses of one allocation, each second; a few seconds' worth at once.
    pub new_peers_per_s: u32,
    /// Packets of one allocation in each direction, each second.
    pub packets_per_s: u32,
    /// Bits of payload of one allocation in each direction, each second.
    pub bits_per_s: u64,
    /// Bits of payload of one user's allocations in both directions together, each second.
    pub user_bits_per_s: u64,
    /// Replies to requests without credentials, each second for each IPv4 address or IPv6 /64, over UDP; five seconds'
    /// worth at once.
    pub unauthenticated_replies_per_s: u32,
    /// The same over TCP and TLS, where the sender's address is no lie.
    pub unauthenticated_stream_replies_per_s: u32,
    /// Replies to Binding requests, each second for each IPv4 address or IPv6 /64.
    pub binding_replies_per_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allocations_max: 20_000,
            allocations_per_user_max: 12,
            allocations_per_prefix_max: 2_000,
            permissions_max: 64,
            channels_max: 16,
            new_peers_per_s: 5,
            packets_per_s: 10_000,
            bits_per_s: 100_000_000,
            user_bits_per_s: 200_000_000,
            unauthenticated_replies_per_s: 10,
            unauthenticated_stream_replies_per_s: 100,
            binding_replies_per_s: 50,
        }
    }
}

/// Four seconds of new peers at once: an ICE agent names all candidates of its peer as soon as it has them.
const NEW_PEERS_BURST_S: u32 = 4;

/// The rates of the limits, ready for the hot path.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) packets: Rate,
    pub(crate) bytes: Rate,
    pub(crate) new_peers: Rate,
}

impl Rates {
    pub(crate) fn new(limits: &Limits) -> Self {
        let new_peers = u64::from(limits.new_peers_per_s);
        Self {
            packets: Rate::per_second(limits.packets_per_s.into()),
            bytes: bytes_rate(limits.bits_per_s),
            new_peers: Rate::with_burst(new_peers, new_peers * u64::from(NEW_PEERS_BURST_S)),
        }
    }
}

/// Eight bits are a byte. A limit below that still lets something through, if little.
fn bytes_rate(bits_per_s: u64) -> Rate {
    Rate::per_second(if bits_per_s == 0 { 0 } else { (bits_per_s / 8).max(1) })
}

/// Somebody with allocations; a place in [`Quota`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserKey(u32);

#[derive(Debug)]
struct User {
    name: Box<str>,
    allocations: u32,
    bytes: Pace,
    rate: Rate,
}

/// What one allocation or reservation is counted under; to be given back with [`Quota::release`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) user: UserKey,
    prefix: u64,
}

/// Who has how much. Holds nobody who has nothing.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    users: Slab<User>,
    /// Indexed by user name.
    by_name: HashMap<Box<str>, UserKey>,
    /// Allocations by prefix of the client's address.
    by_prefix: HashMap<u64, u32>,
    shares: usize,
}

impl Quota {
    /// Counts one more allocation of `login` from `source`.
    pub(crate) fn take(
        &mut self,
        login: &Login<'_>,
        source: IpAddr,
        limits: &Limits,
    ) -> Result<Share, QuotaKind> {
        if self.shares >= limits.allocations_max {
            return Err(QuotaKind::Allocations);
        }
        let prefix = prefix_of(source);
        if self.by_prefix.get(&prefix).is_some_and(|count| *count >= limits.allocations_per_prefix_max) {
            return Err(QuotaKind::PrefixAllocations);
        }
        let claimed = login.claims.allocations_max.unwrap_or(u32::MAX);
        let user_max = limits.allocations_per_user_max.min(claimed);
        let held = self.by_name.get(login.user).map_or(0, |key| self.users[key.0 as usize].allocations);
        if held >= user_max {
            return Err(QuotaKind::UserAllocations);
        }
        let user = self.user(login, limits);
        self.users[user.0 as usize].allocations += 1;
        *self.by_prefix.entry(prefix).or_default() += 1;
        self.shares += 1;
        Ok(Share { user, prefix })
    }

    /// The user's place, made if there is none. The newest credential says how fast.
    fn user(&mut self, login: &Login<'_>, limits: &Limits) -> UserKey {
        let claimed = login.claims.kbit_per_s.map_or(u64::MAX, |kbit| u64::from(kbit.max(1)) * 1_000);
        let limit = Some(limits.user_bits_per_s).filter(|bits| *bits > 0).unwrap_or(u64::MAX).min(claimed);
        let rate = bytes_rate(if limit == u64::MAX { 0 } else { limit });
        if let Some(key) = self.by_name.get(login.user) {
            self.users[key.0 as usize].rate = rate;
            return *key;
        }
        let name: Box<str> = login.user.into();
        let user = User { name: name.clone(), allocations: 0, bytes: Pace::default(), rate };
        let key = UserKey(self.users.insert(user) as u32);
        self.by_name.insert(name, key);
        key
    }

    /// Gives back what [`Quota::take`] counted.
    pub(crate) fn release(&mut self, share: &Share) {
        self.shares -= 1;
        if let Some(count) = self.by_prefix.get_mut(&share.prefix) {
            *count -= 1;
            if *count == 0 {
                self.by_prefix.remove(&share.prefix);
            }
        }
        let user = &mut self.users[share.user.0 as usize];
        user.allocations -= 1;
        if user.allocations == 0 {
            let gone = self.users.remove(share.user.0 as usize);
            self.by_name.remove(&gone.name);
        }
    }

    /// Lets a datagram of a user's through, if all of the user's together are within their rate.
    pub(crate) fn pass(&mut self, user: UserKey, now: Ticks, bytes: u64) -> bool {
        let user = &mut self.users[user.0 as usize];
        user.bytes.take(now, bytes, &user.rate)
    }

    /// Whose it is.
    pub(crate) fn name(&self, user: UserKey) -> &str {
        &self.users[user.0 as usize].name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::auth::credentials::LongTermKey;
    use crate::engine::auth::username::Claims;

    fn login(user: &str) -> Login<'_> {
        Login { username: user, user, claims: Claims::default(), key: LongTermKey([0; 16]) }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_refuses_under_its_own_name_and_leaves_nothing_behind() {
        let limits = Limits {
            allocations_max: 4,
            allocations_per_user_max: 2,
            allocations_per_prefix_max: 3,
            ..Limits::default()
        };
        let mut quota = Quota::default();
        let mut shares = Vec::new();
        let one = ip("192.0.2.1");
        for user in ["ada", "ada", "ben"] {
            shares.push(quota.take(&login(user), one, &limits).unwrap());
        }
        assert_eq!(quota.take(&login("ben"), one, &limits), Err(QuotaKind::PrefixAllocations));
        assert_eq!(quota.take(&login("ada"), ip("192.0.2.2"), &limits), Err(QuotaKind::UserAllocations));
        shares.push(quota.take(&login("ben"), ip("2001:db8::1"), &limits).unwrap());
        assert_eq!(quota.take(&login("eve"), ip("192.0.2.9"), &limits), Err(QuotaKind::Allocations));
        for share in shares {
            quota.release(&share);
        }
        assert!(quota.users.is_empty() && quota.by_name.is_empty() && quota.by_prefix.is_empty());
        assert_eq!(quota.shares, 0);
    }

    #[test]
    fn claims_narrow_and_never_widen() {
        let mut narrow = login("ada");
        narrow.claims.allocations_max = Some(1);
        let (mut quota, limits) = (Quota::default(), Limits::default());
        quota.take(&narrow, ip("192.0.2.1"), &limits).unwrap();
        assert_eq!(quota.take(&narrow, ip("192.0.2.1"), &limits), Err(QuotaKind::UserAllocations));
        let mut wide = login("ben");
        wide.claims.allocations_max = Some(1_000);
        for _ in 0..limits.allocations_per_user_max {
            quota.take(&wide, ip("192.0.2.1"), &limits).unwrap();
        }
        assert_eq!(quota.take(&wide, ip("192.0.2.1"), &limits), Err(QuotaKind::UserAllocations));
    }
}

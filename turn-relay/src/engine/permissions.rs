//! The peers that may send to an allocation (RFC 8656, 9).
//!
//! Indexed by nothing: an allocation has a handful, and a scan of them is cheaper than a hash.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// RFC 8656, 9: "The Permission Lifetime MUST be 300 seconds".
const LIFETIME: Duration = Duration::from_secs(300);

/// An allocation's permissions, by IP address alone: ports do not count.
#[derive(Debug, Default)]
pub(crate) struct Permissions {
    held: Vec<Permission>,
}

#[derive(Debug, Clone, Copy)]
struct Permission {
    peer: IpAddr,
    expires_at: Instant,
}

impl Permissions {
    /// Whether `peer` may send, and be sent to.
    pub(crate) fn allows(&self, now: Instant, peer: IpAddr) -> bool {
        self.held.iter().any(|permission| permission.peer == peer && now < permission.expires_at)
    }

    /// Installs a permission, or refreshes it.
    pub(crate) fn install(&mut self, now: Instant, peer: IpAddr) {
        let expires_at = now + LIFETIME;
        match self.held.iter_mut().find(|permission| permission.peer == peer) {
            Some(permission) => permission.expires_at = expires_at,
            None => self.held.push(Permission { peer, expires_at }),
        }
    }

    /// Forgets what has expired.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.held.retain(|permission| now < permission.expires_at);
    }

    /// Takes back what `is_allowed` no longer lets stand; says how many that were.
    pub(crate) fn revoke(&mut self, is_allowed: impl Fn(IpAddr) -> bool) -> usize {
        let before = self.held.len();
        self.held.retain(|permission| is_allowed(permission.peer));
        before - self.held.len()
    }

    /// When the next one expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.held.iter().map(|permission| permission.expires_at).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.held.iter().map(|permission| permission.peer)
    }
}

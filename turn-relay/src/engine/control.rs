//! What the operator changes while clients are relayed, and what the operator sees.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::auth::credentials::Credentials;
use super::policy::explain::Explanation;
use super::policy::rules::{Decision, PeerPolicy, PeerQuestion, PortQuestion, Scope};
use super::ports::Drain;
use super::quota::{Limits, Rates};
use super::relay::{Budgets, Relay};
use super::stats::RelayStats;
use super::views::{AllocationView, EndCause};

impl Relay {
    /// Puts a new policy in force. Permissions and channels that it does not allow are gone when this returns.
    pub fn set_policy(&mut self, policy: Arc<PeerPolicy>) {
        self.policy = policy;
        let policy = &self.policy;
        for (_, allocation) in &mut self.allocations {
            let bridge = allocation.owner.bridge.as_deref();
            let scope = bridge.map_or(Scope::Everywhere, Scope::Bridge);
            let allows =
                |ip, port| matches!(policy.decide(&PeerQuestion { ip, port, scope }), Decision::Allowed(_));
            let revoked = allocation.permissions.revoke(|ip| allows(ip, PortQuestion::Any))
                + allocation.channels.revoke(|peer| allows(peer.ip(), PortQuestion::Number(peer.port())));
            self.counters.revoked += revoked as u64;
        }
        self.arm_all();
    }

    /// Puts new secrets and users in force. Whoever they no longer hold is refused at its next request.
    pub fn set_credentials(&mut self, credentials: Arc<Credentials>) {
        self.gate.set_credentials(credentials);
    }

    /// Puts new limits in force: for what comes, not for what is there.
    pub fn set_limits(&mut self, now: Instant, limits: Limits) {
        if limits == self.limits {
            return;
        }
        self.rates = Rates::new(&limits);
        self.budgets = Budgets::new(now, &limits, &mut self.random);
        self.limits = limits;
    }

    /// Stops or resumes making allocations. Those there are stay.
    pub fn set_drain(&mut self, drain: Drain) {
        self.drain = drain;
    }

    /// Ends the allocations of a user, by participant or user name; says how many those were.
    pub fn revoke_user(&mut self, now: Instant, user: &str) -> usize {
        let of_user =
            self.allocations.iter().filter(|(_, each)| self.quota.name(each.owner.share.user) == user);
        let places: Vec<usize> = of_user.map(|(place, _)| place).collect();
        for place in &places {
            self.end(now, *place, EndCause::Revoked);
        }
        places.len()
    }

    /// Ends every allocation, because the relay does.
    pub fn end_all(&mut self, now: Instant) {
        let places: Vec<usize> = self.allocations.iter().map(|(place, _)| place).collect();
        for place in places {
            self.end(now, place, EndCause::Stopped);
        }
    }

    /// What the policy says about a peer, and why.
    pub fn explain(&self, peer: SocketAddr) -> Explanation {
        // A browser never names port 0: an operator who does asks about the address.
        let port = if peer.port() == 0 { PortQuestion::Any } else { PortQuestion::Number(peer.port()) };
        self.policy.explain(peer.ip(), port)
    }

    /// All numbers. Counts what is held, so it is for once a second, not for once a packet.
    pub fn stats(&self) -> RelayStats {
        let mut stats = self.counters.clone();
        for (_, allocation) in self.allocations.iter().filter(|(_, each)| each.birth.is_done) {
            stats.allocations[allocation.path.transport as usize] += 1;
            stats.permissions += allocation.permissions.len() as u64;
            stats.channels += allocation.channels.len() as u64;
        }
        stats.sockets = self.sockets.len() as u64;
        stats.reservations = self.reservations.len() as u64;
        stats.draining = self.drain != Drain::Off;
        stats
    }

    /// Every allocation, in no particular order.
    pub fn allocations(&self) -> Vec<AllocationView> {
        let born = self.allocations.iter().filter(|(_, each)| each.birth.is_done);
        born.map(|(_, each)| each.view(self.quota.name(each.owner.share.user))).collect()
    }

    /// Whether nothing is relayed any more: a drained relay may end.
    pub fn is_empty(&self) -> bool {
        self.allocations.is_empty()
    }

    /// After permissions of many allocations have changed.
    fn arm_all(&mut self) {
        let places: Vec<usize> = self.allocations.iter().map(|(place, _)| place).collect();
        for place in places {
            self.arm(place);
        }
    }
}

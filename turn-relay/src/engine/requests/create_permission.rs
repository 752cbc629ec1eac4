//! CreatePermission (RFC 8656, 10.2): peers that may send to the client, and be sent to. All of them, or none.

use wire::stun::{Builder, Class, ErrorCode};

use super::{Answer, Outcome, Request, peers};
use crate::engine::pace::Ticks;
use crate::engine::policy::rules::PortQuestion;
use crate::engine::relay::Relay;
use crate::engine::stats::QuotaKind;

impl Relay {
    pub(super) fn create_permission(&mut self, request: &Request<'_>) -> Outcome {
        // 437 without an allocation.
        let place = self.live_at(request.path).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        // 400 without a peer, or with one that cannot be read.
        let named = peers::named(request.message)?;
        if named.is_empty() {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        // 443 for a family without a relayed address, 403 for a peer that is not allowed. Ports are ignored.
        for peer in &named {
            self.check_peer(place, peer.ip(), PortQuestion::Any)?;
        }
        let mut ips: Vec<_> = named.iter().map(|peer| peer.ip()).collect();
        ips.sort_unstable();
        ips.dedup();
        // 508 when there are too many of them.
        let new = self.new_peers(place, &ips);
        self.admit_peers(request, place, new)?;
        for ip in ips {
            self.allocations[place].permissions.install(request.now, ip);
        }
        self.arm(place);
        Ok(Answer::Now(Builder::answer(request.message, Class::Success)))
    }

    /// How many of these have no permission yet.
    pub(super) fn new_peers(&self, place: usize, ips: &[std::net::IpAddr]) -> usize {
        let permissions = &self.allocations[place].permissions;
        ips.iter().filter(|ip| permissions.peers().all(|known| known != **ip)).count()
    }

    /// Whether an allocation may have so many permissions more, now.
    pub(super) fn admit_peers(
        &mut self,
        request: &Request<'_>,
        place: usize,
        new: usize,
    ) -> Result<(), super::Refusal> {
        let allocation = &mut self.allocations[place];
        if new > 0 && allocation.permissions.len() + new > self.limits.permissions_max {
            return Err(self.refuse_for(QuotaKind::Permissions));
        }
        let ticks = Ticks::between(self.start, request.now);
        if new > 0 && !allocation.new_peers.take(ticks, new as u64, &self.rates.new_peers) {
            return Err(self.refuse_for(QuotaKind::NewPeers));
        }
        Ok(())
    }
}

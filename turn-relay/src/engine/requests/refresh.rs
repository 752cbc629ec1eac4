//! Refresh (RFC 8656, 8.2): an allocation lives on, or ends.

use std::time::Duration;

use wire::stun::{AttributeKind, Builder, Class, ErrorCode};

use super::{Answer, Outcome, Request, lifetime_s, number};
use crate::engine::ports::Family;
use crate::engine::relay::Relay;
use crate::engine::views::EndCause;

impl Relay {
    pub(super) fn refresh(&mut self, request: &Request<'_>) -> Outcome {
        let asked_s = number(request.message, AttributeKind::LIFETIME)?;
        let family =
            number(request.message, AttributeKind::REQUESTED_ADDRESS_FAMILY)?.map(|value| value >> 24);
        // Without an allocation: 437. To a client that wanted it gone, that is as good as success.
        let place = self.live_at(request.path).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        // A family that the allocation has no address of: 443. Without the attribute all are meant.
        let wanted = |each: Family| family.is_none_or(|family| family == each as u32 + 1);
        let families: Vec<Family> = Family::ALL
            .into_iter()
            .filter(|each| wanted(*each) && self.allocations[place].has(*each))
            .collect();
        if families.is_empty() {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH.into());
        }
        // A lifetime of 0 ends it, any other becomes one of ours.
        let granted_s = if asked_s == Some(0) { 0 } else { lifetime_s(asked_s, self) };
        if granted_s == 0 {
            for family in families {
                self.end_family(request.now, place, family, EndCause::Released);
            }
        } else {
            let expires_at = request.now + Duration::from_secs(granted_s.into());
            for family in families {
                if let Some(relay) = &mut self.allocations[place].relays[family as usize] {
                    relay.expires_at = expires_at;
                }
            }
            self.arm(place);
        }
        let reply = Builder::answer(request.message, Class::Success)
            .attribute(AttributeKind::LIFETIME, &granted_s.to_be_bytes());
        Ok(Answer::Now(reply))
    }
}

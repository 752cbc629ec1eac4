//! ChannelBind (RFC 8656, 12.2): a number for a peer, and a permission with it.

use wire::stun::{AttributeKind, Builder, Class, ErrorCode};

use super::{Answer, Outcome, Request, number};
use crate::engine::channels::BindRefusal;
use crate::engine::policy::rules::PortQuestion;
use crate::engine::relay::Relay;
use crate::engine::stats::QuotaKind;

impl Relay {
    pub(super) fn channel_bind(&mut self, request: &Request<'_>) -> Outcome {
        // 437 without an allocation.
        let place = self.live_at(request.path).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        // 400 unless there are a CHANNEL-NUMBER and an XOR-PEER-ADDRESS that can be read. 18.1: the number is the upper
        // half of its attribute.
        let number = number(request.message, AttributeKind::CHANNEL_NUMBER)?.ok_or(ErrorCode::BAD_REQUEST)?;
        let number = (number >> 16) as u16;
        let peer =
            request.message.xor_address(AttributeKind::XOR_PEER_ADDRESS).ok_or(ErrorCode::BAD_REQUEST)?;
        // 400 for a number that is no channel's.
        if !self.fixed.channel_numbers.range().contains(&number) {
            return Err(ErrorCode::BAD_REQUEST.into());
        }
        // 443 for a family without a relayed address, 403 for a peer or a port that is not allowed.
        self.check_peer(place, peer.ip(), PortQuestion::Number(peer.port()))?;
        // 400 for a number that is another peer's, or a peer that has another number; 508 when there are too many.
        match self.allocations[place].channels.check(number, peer, self.limits.channels_max) {
            Ok(()) => {}
            Err(BindRefusal::Conflict) => return Err(ErrorCode::BAD_REQUEST.into()),
            Err(BindRefusal::TooMany) => return Err(self.refuse_for(QuotaKind::Channels)),
        }
        let new = self.new_peers(place, &[peer.ip()]);
        self.admit_peers(request, place, new)?;
        let allocation = &mut self.allocations[place];
        allocation.channels.bind(request.now, number, peer);
        allocation.permissions.install(request.now, peer.ip());
        self.arm(place);
        Ok(Answer::Now(Builder::answer(request.message, Class::Success)))
    }
}

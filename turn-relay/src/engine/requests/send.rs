//! Send (RFC 8656, 11.2): an indication with a datagram for a peer. It is not signed and never answered; what is wrong
//! with it is only counted.

use std::net::SocketAddr;
use std::time::Instant;

use wire::stun::{AttributeKind, Message};

use crate::engine::drop_reason::DropReason;
use crate::engine::policy::rules::{Decision, PeerQuestion, PortQuestion};
use crate::engine::ports::{ClientPath, Handled};
use crate::engine::relay::{Outbound, Relay};

/// What a Send indication may have; DONT-FRAGMENT comes last, for a relay that cannot obey it.
const UNDERSTOOD: [AttributeKind; 3] =
    [AttributeKind::XOR_PEER_ADDRESS, AttributeKind::DATA, AttributeKind::DONT_FRAGMENT];

impl Relay {
    pub(super) fn handle_send<'d>(
        &mut self,
        now: Instant,
        path: &ClientPath,
        message: &Message<'d>,
    ) -> Handled<'d> {
        let Some(place) = self.by_path.get(path).copied() else {
            return self.drop(DropReason::NoAllocation);
        };
        let Some((peer, payload)) = self.read_send(message) else {
            return self.drop_of(place, DropReason::SendMalformed);
        };
        // A permission for the address; its port does not count here.
        if !self.allocations[place].permissions.allows(now, peer.ip()) {
            return self.drop_of(place, DropReason::NoPermission);
        }
        // The port counts by our own policy.
        let question = PeerQuestion {
            ip: peer.ip(),
            port: PortQuestion::Number(peer.port()),
            scope: self.allocations[place].scope(),
        };
        if let Decision::Denied(class) = self.policy.decide(&question) {
            self.counters.denied_peers.count(class);
            return self.drop_of(place, DropReason::PeerDenied);
        }
        let dont_fragment = message.attribute(AttributeKind::DONT_FRAGMENT).is_some();
        self.pass_to_peer(now, &Outbound { place, peer, payload, dont_fragment })
    }

    /// Peer and payload of an indication in which everything that must be is understood.
    fn read_send<'d>(&self, message: &Message<'d>) -> Option<(SocketAddr, &'d [u8])> {
        let understood = if self.fixed.dont_fragment { &UNDERSTOOD[..] } else { &UNDERSTOOD[..2] };
        if message.unknown_required(understood).next().is_some() {
            return None;
        }
        let peer = message.xor_address(AttributeKind::XOR_PEER_ADDRESS)?;
        Some((peer, message.attribute(AttributeKind::DATA)?))
    }
}

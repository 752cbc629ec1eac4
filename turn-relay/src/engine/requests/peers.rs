//! Peers as clients name them, and the one question about each.

use std::net::{IpAddr, SocketAddr};

use wire::stun::{AttributeKind, Builder, ErrorCode, Message};

use super::Refusal;
use crate::engine::policy::rules::{Decision, PeerQuestion, PortQuestion};
use crate::engine::ports::Family;
use crate::engine::relay::Relay;
use crate::engine::stats::QuotaKind;

/// All XOR-PEER-ADDRESS of a request, in its order; 400 when one is none.
pub(super) fn named(message: &Message<'_>) -> Result<Vec<SocketAddr>, Refusal> {
    let values = message.attributes().filter(|(kind, _)| *kind == AttributeKind::XOR_PEER_ADDRESS);
    values.map(|(_, value)| unmask(message, value).ok_or(ErrorCode::BAD_REQUEST.into())).collect()
}

/// Reads one of several masked addresses, as the codec reads the first: it is the only one of a message of its own.
fn unmask(message: &Message<'_>, value: &[u8]) -> Option<SocketAddr> {
    let alone = Builder::new(message.class(), message.method(), message.transaction_id())
        .attribute(AttributeKind::XOR_PEER_ADDRESS, value)
        .finish();
    Message::parse(&alone).ok()?.xor_address(AttributeKind::XOR_PEER_ADDRESS)
}

/// An address in plain sight (RFC 8489, 14.1), as ALTERNATE-SERVER has it.
pub(super) fn unmasked(address: SocketAddr) -> Vec<u8> {
    let family = if address.is_ipv4() { 1 } else { 2 };
    let mut value = vec![0, family];
    value.extend_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => value.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => value.extend_from_slice(&ip.octets()),
    }
    value
}

impl Relay {
    /// Whether the allocation may reach a peer: 443 if it has no address of its family, 403 if the policy says no.
    pub(super) fn check_peer(&mut self, place: usize, ip: IpAddr, port: PortQuestion) -> Result<(), Refusal> {
        let allocation = &self.allocations[place];
        if !allocation.has(Family::of(ip)) {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH.into());
        }
        match self.policy.decide(&PeerQuestion { ip, port, scope: allocation.scope() }) {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(class) => {
                self.counters.denied_peers.count(class);
                Err(ErrorCode::FORBIDDEN.into())
            }
        }
    }

    /// 508 under the name of a limit.
    pub(super) fn refuse_for(&mut self, kind: QuotaKind) -> Refusal {
        self.counters.quota_rejects.count(kind);
        ErrorCode::INSUFFICIENT_CAPACITY.into()
    }
}

//! Special-purpose ranges (the IANA registries of RFC 6890): nothing in them is a peer on the public Internet, and much
//! of it is somebody's inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::canonical::{DisguiseKind, disguise};
use super::rules::Denial;

/// IPv4, in address order: first address, prefix length, class.
const V4: [([u8; 4], u32, Denial); 19] = [
    ([0, 0, 0, 0], 8, Denial::Unspecified),
    ([10, 0, 0, 0], 8, Denial::Private),
    ([100, 64, 0, 0], 10, Denial::Private),
    ([127, 0, 0, 0], 8, Denial::Loopback),
    // The metadata services of clouds listen at 169.254.169.254.
    ([169, 254, 0, 0], 16, Denial::LinkLocal),
    ([172, 16, 0, 0], 12, Denial::Private),
    ([192, 0, 0, 0], 24, Denial::Reserved),
    ([192, 0, 2, 0], 24, Denial::Documentation),
    ([192, 31, 196, 0], 24, Denial::Reserved),
    ([192, 52, 193, 0], 24, Denial::Reserved),
    ([192, 88, 99, 0], 24, Denial::Reserved),
    ([192, 168, 0, 0], 16, Denial::Private),
    ([192, 175, 48, 0], 24, Denial::Reserved),
    ([198, 18, 0, 0], 15, Denial::Private),
    ([198, 51, 100, 0], 24, Denial::Documentation),
    ([203, 0, 113, 0], 24, Denial::Documentation),
    ([224, 0, 0, 0], 4, Denial::Multicast),
    ([255, 255, 255, 255], 32, Denial::Multicast),
    ([240, 0, 0, 0], 4, Denial::Reserved),
];

/// IPv6, more special ranges first. The forms that hide an IPv4 address are not here: `canonical` knows them.
const V6: [([u16; 8], u32, Denial); 13] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, Denial::Unspecified),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Denial::Loopback),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Denial::Reserved),
    ([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Denial::Reserved),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Denial::Reserved),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Denial::Documentation),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Denial::Documentation),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, Denial::Reserved),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Denial::Private),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Denial::LinkLocal),
    // Site-local, deprecated and still routed by old equipment.
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Denial::Private),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Denial::Multicast),
    // The direct delegation of AS112, the twin of 192.175.48.0/24.
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, Denial::Reserved),
];

/// The class of `ip`, if it is special.
pub(super) fn class_of(ip: IpAddr) -> Option<Denial> {
    match ip {
        IpAddr::V4(ip) => V4
            .iter()
            .find(|(first, length, _)| shares_prefix_v4(ip, Ipv4Addr::from(*first), *length))
            .map(|(.., class)| *class),
        IpAddr::V6(ip) => disguise(ip).map(|disguise| class_of_disguise(disguise.kind)).or_else(|| {
            V6.iter()
                .find(|(first, length, _)| shares_prefix_v6(ip, Ipv6Addr::from(*first), *length))
                .map(|(.., class)| *class)
        }),
    }
}

/// RFC 6156, 9.1: Teredo and 6to4 MUST NOT be relayed to; the other forms hide an address just as well.
fn class_of_disguise(kind: DisguiseKind) -> Denial {
    match kind {
        DisguiseKind::Teredo | DisguiseKind::SixToFour | DisguiseKind::Isatap => Denial::Tunnel,
        DisguiseKind::Mapped
        | DisguiseKind::Compatible
        | DisguiseKind::Translated
        | DisguiseKind::Nat64
        | DisguiseKind::LocalNat64 => Denial::DisguisedIpv4,
    }
}

fn shares_prefix_v4(ip: Ipv4Addr, first: Ipv4Addr, length: u32) -> bool {
    (ip.to_bits() ^ first.to_bits()).leading_zeros() >= length
}

fn shares_prefix_v6(ip: Ipv6Addr, first: Ipv6Addr, length: u32) -> bool {
    (ip.to_bits() ^ first.to_bits()).leading_zeros() >= length
}

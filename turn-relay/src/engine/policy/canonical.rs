//! What an IPv6 address hides: many forms carry an IPv4 address, and some host or gateway on the way may unwrap it. A
//! relay that compares only what it sees can be talked into reaching 127.0.0.1 in any of these forms.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A form of IPv6 address that stands for an IPv4 one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisguiseKind {
    /// ::ffff:0:0/96 (RFC 4291, 2.5.5.2).
    Mapped,
    /// ::/96, deprecated (RFC 4291, 2.5.5.1).
    Compatible,
    /// ::ffff:0:0:0/96 (RFC 2765, 2.1).
    Translated,
    /// 64:ff9b::/96 (RFC 6052, 2.1).
    Nat64,
    /// 64:ff9b:1::/48 (RFC 8215): where the address stands is the operator's choice.
    LocalNat64,
    /// 2002::/16 (RFC 3056, 2).
    SixToFour,
    /// 2001::/32 (RFC 4380, 2.10).
    Teredo,
    /// Interface identifier 0:5efe or 200:5efe in front of the address, under any prefix (RFC 5214, 6.1).
    Isatap,
}

impl fmt::Display for DisguiseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mapped => "IPv4-mapped",
            Self::Compatible => "IPv4-compatible",
            Self::Translated => "IPv4-translated",
            Self::Nat64 => "NAT64",
            Self::LocalNat64 => "local-use NAT64",
            Self::SixToFour => "6to4",
            Self::Teredo => "Teredo",
            Self::Isatap => "ISATAP",
        })
    }
}

/// What stands behind an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Disguise {
    /// By which form.
    pub kind: DisguiseKind,
    /// Which IPv4 address, where the form says so.
    pub hidden: Option<Ipv4Addr>,
}

/// The IPv4 address behind `ip`, if it is of such a form. The unspecified and the loopback address are themselves,
/// although they lie in ::/96.
pub fn disguise(ip: Ipv6Addr) -> Option<Disguise> {
    let bits = ip.to_bits();
    if ip.is_unspecified() || ip.is_loopback() {
        return None;
    }
    let at = |shift: u32| Some(Ipv4Addr::from_bits((bits >> shift) as u32));
    let (kind, hidden) = match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] => (DisguiseKind::Mapped, at(0)),
        [0, 0, 0, 0, 0, 0, ..] => (DisguiseKind::Compatible, at(0)),
        [0, 0, 0, 0, 0xffff, 0, ..] => (DisguiseKind::Translated, at(0)),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => (DisguiseKind::Nat64, at(0)),
        [0x64, 0xff9b, 1, ..] => (DisguiseKind::LocalNat64, None),
        [0x2002, ..] => (DisguiseKind::SixToFour, at(80)),
        // The client's address is stored inverted, lest a translator rewrite it.
        [0x2001, 0, ..] => (DisguiseKind::Teredo, Some(Ipv4Addr::from_bits(!bits as u32))),
        [.., 0 | 0x0200, 0x5efe, _, _] => (DisguiseKind::Isatap, at(0)),
        _ => return None,
    };
    Some(Disguise { kind, hidden })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_shows_what_it_hides() {
        for (ip, kind, hidden) in [
            ("::ffff:127.0.0.1", DisguiseKind::Mapped, "127.0.0.1"),
            ("::ffff:0.0.0.0", DisguiseKind::Mapped, "0.0.0.0"),
            ("::127.0.0.1", DisguiseKind::Compatible, "127.0.0.1"),
            ("::2", DisguiseKind::Compatible, "0.0.0.2"),
            ("::ffff:0:10.0.0.1", DisguiseKind::Translated, "10.0.0.1"),
            ("64:ff9b::7f00:1", DisguiseKind::Nat64, "127.0.0.1"),
            ("2002:7f00:1::", DisguiseKind::SixToFour, "127.0.0.1"),
            ("2002:a00:5::a00:6", DisguiseKind::SixToFour, "10.0.0.5"),
            ("2001:0:c000:201:0:ffff:80ff:fffe", DisguiseKind::Teredo, "127.0.0.1"),
            ("2a01:db8::5efe:10.0.0.1", DisguiseKind::Isatap, "10.0.0.1"),
            ("fe80::200:5efe:192.0.2.1", DisguiseKind::Isatap, "192.0.2.1"),
        ] {
            let expected = Disguise { kind, hidden: Some(hidden.parse().unwrap()) };
            assert_eq!(disguise(ip.parse().unwrap()), Some(expected), "{ip}");
        }
        let local = disguise("64:ff9b:1::7f00:1".parse().unwrap()).unwrap();
        assert_eq!((local.kind, local.hidden), (DisguiseKind::LocalNat64, None));
    }

    #[test]
    fn an_address_that_hides_nothing_is_itself() {
        for ip in ["::", "::1", "2606:4700::1111", "2001:1::", "64:ff9b:2::", "fe80::1", "2003::"] {
            assert_eq!(disguise(ip.parse().unwrap()), None, "{ip}");
        }
    }
}

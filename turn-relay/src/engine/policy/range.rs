//! Ranges of addresses and of ports, as an operator writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// An unbroken range of addresses of one family: one address, a CIDR prefix, or any two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpRange {
    /// First and last, both in it.
    V4(Ipv4Addr, Ipv4Addr),
    /// First and last, both in it.
    V6(Ipv6Addr, Ipv6Addr),
}

/// Why text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither an address, nor a prefix, nor two addresses.
    #[error("{0:?} is no address, no prefix such as 10.0.0.0/8, and no range such as 10.0.0.1-10.0.0.9")]
    NotARange(String),
    /// The prefix length is no number, or more than the address has bits.
    #[error("{0:?} has a prefix length that its address does not have")]
    PrefixLength(String),
    /// Bits behind the prefix are set: which address was meant is unclear.
    #[error("{0:?} has bits behind its prefix; write one address, or the prefix alone")]
    HostBits(String),
    /// The ends are of two families.
    #[error("{0:?} goes from one address family to the other")]
    TwoFamilies(String),
    /// The first address is behind the last.
    #[error("{0:?} ends before it begins")]
    Reversed(String),
}

impl IpRange {
    /// The range of one address.
    pub fn single(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip, ip),
            IpAddr::V6(ip) => Self::V6(ip, ip),
        }
    }

    /// Whether `ip` lies in it. An address of the other family never does.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Self::V4(first, last), IpAddr::V4(ip)) => (*first..=*last).contains(&ip),
            (Self::V6(first, last), IpAddr::V6(ip)) => (*first..=*last).contains(&ip),
            _ => false,
        }
    }

    /// The address, if it is only one.
    pub fn as_single(&self) -> Option<IpAddr> {
        match self {
            Self::V4(first, last) => (first == last).then_some(IpAddr::V4(*first)),
            Self::V6(first, last) => (first == last).then_some(IpAddr::V6(*first)),
        }
    }

    fn of_prefix(text: &str, ip: IpAddr, length: &str) -> Result<Self, RangeError> {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        // `parse` alone would take "+8" and "08".
        let length = length
            .parse::<u32>()
            .ok()
            .filter(|parsed| *parsed <= bits && parsed.to_string() == length)
            .ok_or_else(|| RangeError::PrefixLength(text.to_owned()))?;
        let (range, host_bits) = match ip {
            IpAddr::V4(ip) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                (Self::V4(ip, Ipv4Addr::from_bits(ip.to_bits() | host)), u128::from(ip.to_bits() & host))
            }
            IpAddr::V6(ip) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                (Self::V6(ip, Ipv6Addr::from_bits(ip.to_bits() | host)), ip.to_bits() & host)
            }
        };
        if host_bits == 0 { Ok(range) } else { Err(RangeError::HostBits(text.to_owned())) }
    }

    fn of_ends(text: &str, first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        let range = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Self::V4(first, last),
            (IpAddr::V6(first), IpAddr::V6(last)) => Self::V6(first, last),
            _ => return Err(RangeError::TwoFamilies(text.to_owned())),
        };
        if first > last { Err(RangeError::Reversed(text.to_owned())) } else { Ok(range) }
    }
}

impl FromStr for IpRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let address = |part: &str| part.parse().map_err(|_| RangeError::NotARange(text.to_owned()));
        if let Some((ip, length)) = text.split_once('/') {
            return Self::of_prefix(text, address(ip)?, length);
        }
        if let Some((first, last)) = text.split_once('-') {
            return Self::of_ends(text, address(first)?, address(last)?);
        }
        address(text).map(Self::single)
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_single(), self) {
            (Some(ip), _) => ip.fmt(f),
            (None, Self::V4(first, last)) => write!(f, "{first}-{last}"),
            (None, Self::V6(first, last)) => write!(f, "{first}-{last}"),
        }
    }
}

/// `10000` or `10000-10003`; port 0 is nobody's.
pub fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0 && port.to_string() == text);
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_a_range_and_an_address_hold_what_they_say() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("192.0.2.1/32", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("192.0.2.3-192.0.2.5", "192.0.2.5", "192.0.2.6"),
            ("::/0", "ffff::", "0.0.0.0"),
            ("2001:db8::/33", "2001:db8:7fff:ffff::", "2001:db8:8000::"),
            ("2001:db8::5-2001:db8::ff", "2001:db8::5", "2001:db8::4"),
        ] {
            let range: IpRange = range.parse().unwrap();
            assert!(range.contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(!range.contains(outside.parse().unwrap()), "{range} {outside}");
        }
    }

    #[test]
    fn text_that_could_be_read_in_two_ways_is_refused() {
        for text in ["", "10.0.0", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0.0/8", "localhost", "010.0.0.1"] {
            assert!(text.parse::<IpRange>().is_err(), "{text}");
        }
        let refused = |text: &str| text.parse::<IpRange>().unwrap_err();
        assert_eq!(refused("10.0.0.0/33"), RangeError::PrefixLength("10.0.0.0/33".to_owned()));
        assert_eq!(refused("10.0.0.0/+8"), RangeError::PrefixLength("10.0.0.0/+8".to_owned()));
        assert_eq!(refused("::/129"), RangeError::PrefixLength("::/129".to_owned()));
        assert_eq!(refused("10.0.0.5/8"), RangeError::HostBits("10.0.0.5/8".to_owned()));
        assert_eq!(refused("2001:db8::1/64"), RangeError::HostBits("2001:db8::1/64".to_owned()));
        assert_eq!(refused("10.0.0.9-10.0.0.1"), RangeError::Reversed("10.0.0.9-10.0.0.1".to_owned()));
        assert_eq!(refused("10.0.0.1-::1"), RangeError::TwoFamilies("10.0.0.1-::1".to_owned()));
    }

    #[test]
    fn ports_are_one_or_a_range_and_never_zero() {
        assert_eq!(parse_ports("10000"), Some(10_000..=10_000));
        assert_eq!(parse_ports("10000-10003"), Some(10_000..=10_003));
        for text in ["", "0", "0-5", "65536", "5-4", "5-", "+5", "05", "5-6-7"] {
            assert_eq!(parse_ports(text), None, "{text}");
        }
    }
}

//! Which addresses browsers are told to send media to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::udp::Family;

/// This machine's addresses that a browser could use, most wanted first.
///
/// # Errors
/// When the kernel does not tell them.
pub(crate) fn local_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(order(if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip())))
}

/// The candidates of a worker whose socket has `port`.
pub(crate) fn candidates(addresses: &[IpAddr], family: Family, port: u16) -> Vec<SocketAddr> {
    let is_served = |address: &&IpAddr| family == Family::Dual || address.is_ipv4();
    addresses.iter().filter(is_served).map(|&address| SocketAddr::new(address, port)).collect()
}

/// Usable ones only, each once: global before private before loopback, and IPv4 before IPv6 among equals, since
/// a browser's IPv6 is the likelier one to lead nowhere.
fn order(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<_> = addresses.filter(|address| is_usable(*address)).collect();
    addresses.sort_by_key(|address| (reach(*address), address.is_ipv6(), *address));
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

/// Link-local IPv6 needs a zone, which a candidate cannot carry.
fn is_usable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !is_link_local && !address.is_unspecified() && !address.is_multicast()
}

/// How far away a browser can be: 0 anywhere, 1 in the same network, 2 on the same link, 3 on this machine.
fn reach(address: IpAddr) -> u8 {
    match address {
        _ if address.is_loopback() => 3,
        IpAddr::V4(v4) if v4.is_link_local() => 2,
        IpAddr::V4(v4) if v4.is_private() || is_carrier_shared(v4) => 1,
        IpAddr::V6(v6) if is_unique_local(v6) => 1,
        _ => 0,
    }
}

/// RFC 6598: 100.64.0.0/10.
fn is_carrier_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

/// RFC 4193: fc00::/7.
fn is_unique_local(address: Ipv6Addr) -> bool {
    address.octets()[0] & 0xfe == 0xfc
}

/// A browser keeps at most 40 candidates; machines with hundreds of container interfaces exist.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(addresses: &[&str]) -> Vec<String> {
        order(addresses.iter().map(|address| address.parse().unwrap()))
            .iter()
            .map(IpAddr::to_string)
            .collect()
    }

    #[test]
    fn the_farthest_reaching_address_comes_first_and_loopback_last() {
        let addresses =
            ["127.0.0.1", "169.254.7.7", "10.0.0.7", "2001:db8::7", "::1", "fd00::7", "198.51.100.7"];
        assert_eq!(
            ordered(&addresses),
            ["198.51.100.7", "2001:db8::7", "10.0.0.7", "fd00::7", "169.254.7.7", "127.0.0.1", "::1"]
        );
    }

    #[test]
    fn an_address_that_needs_a_zone_or_is_none_is_left_out() {
        assert_eq!(ordered(&["fe80::1", "0.0.0.0", "::", "ff02::1", "10.0.0.7", "10.0.0.7"]), ["10.0.0.7"]);
    }

    #[test]
    fn a_machine_always_has_loopback() {
        assert!(local_addresses().unwrap().last().unwrap().is_loopback());
    }

    #[test]
    fn a_socket_without_ipv6_announces_none() {
        let addresses = ["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
        let dual: Vec<SocketAddr> = vec!["10.0.0.7:5".parse().unwrap(), "[fd00::7]:5".parse().unwrap()];
        assert_eq!(candidates(&addresses, Family::Dual, 5), dual);
        assert_eq!(candidates(&addresses, Family::V4, 5), dual[..1]);
    }
}

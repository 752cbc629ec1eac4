//! What settings write as text: relay addresses and names of servers.

use std::io;
use std::net::IpAddr;

use crate::engine::ports::{Family, RelayAddress};

/// `bind` or `bind/announced` in each line; none: this machine's farthest-reaching address of each family.
pub(super) fn relay_addresses(lines: &[String]) -> Result<Vec<RelayAddress>, String> {
    if lines.len() > RELAY_ADDRESSES_MAX {
        return Err(format!("more than {RELAY_ADDRESSES_MAX}"));
    }
    if lines.is_empty() {
        let hosts = host_addresses().map_err(|error| error.to_string())?;
        return Ok(farthest(hosts));
    }
    lines.iter().map(|line| relay_address(line)).collect()
}

fn relay_address(line: &str) -> Result<RelayAddress, String> {
    let ip = |text: &str| {
        let ip: IpAddr = text.parse().map_err(|_| format!("{text:?} is no IP address"))?;
        let is_host = !ip.is_unspecified() && !ip.is_multicast() && ip.to_canonical() == ip;
        if is_host { Ok(ip) } else { Err(format!("{ip} is no address of a host")) }
    };
    let (bind, announced) = line.split_once('/').unwrap_or((line, line));
    let relay = RelayAddress { bind: ip(bind)?, announced: ip(announced)? };
    if relay.bind.is_ipv4() == relay.announced.is_ipv4() {
        Ok(relay)
    } else {
        Err(format!("{line:?} is of two address families"))
    }
}

/// The best address of each family. Loopback alone is a machine without a network: good enough to try things on.
fn farthest(mut hosts: Vec<IpAddr>) -> Vec<RelayAddress> {
    hosts.sort_by_key(|ip| (reach(*ip), *ip));
    let best = |family| hosts.iter().copied().find(|ip| Family::of(*ip) == family);
    let of_families = [best(Family::V4), best(Family::V6)];
    let nearest = of_families.iter().flatten().map(|ip| reach(*ip)).min();
    // An IPv6 loopback beside a real IPv4 address is no second family.
    let useful = of_families.into_iter().flatten();
    let useful = useful.filter(|ip| !ip.is_loopback() || nearest == Some(LOOPBACK_REACH));
    useful.map(|ip| RelayAddress { bind: ip, announced: ip }).collect()
}

/// How far away a client or a peer can be: 0 anywhere, 1 in the same network, 2 on the same link, 3 on this machine.
fn reach(ip: IpAddr) -> u8 {
    match ip {
        _ if ip.is_loopback() => LOOPBACK_REACH,
        IpAddr::V4(v4) if v4.is_link_local() => 2,
        // RFC 6598: carriers share 100.64.0.0/10.
        IpAddr::V4(v4) if v4.is_private() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64 => 1,
        IpAddr::V6(v6) if v6.is_unique_local() => 1,
        _ => 0,
    }
}

/// All addresses of this machine that a socket can be bound to without naming an interface.
pub(super) fn host_addresses() -> io::Result<Vec<IpAddr>> {
    let all = if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip());
    Ok(all.filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())).collect())
}

/// A name as SNI has it: labels of letters, digits and dashes.
pub(super) fn is_server_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(is_inner)
    };
    name.len() <= 253 && name.parse::<IpAddr>().is_err() && name.split('.').all(is_label)
}

const LOOPBACK_REACH: u8 = 3;

/// Every shard asks all of them for the one with most ports left.
const RELAY_ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn binds(hosts: &[&str]) -> Vec<String> {
        let relays = farthest(hosts.iter().map(|host| host.parse().unwrap()).collect());
        relays.iter().map(|relay| relay.bind.to_string()).collect()
    }

    #[test]
    fn the_farthest_reaching_address_of_each_family_is_taken() {
        assert_eq!(binds(&["127.0.0.1", "::1", "10.0.0.7", "198.51.100.7"]), ["198.51.100.7"]);
        assert_eq!(
            binds(&["::1", "127.0.0.1", "10.0.0.7", "fd00::7", "2001:db8::7"]),
            ["10.0.0.7", "2001:db8::7"]
        );
        assert_eq!(binds(&["127.0.0.1", "::1"]), ["127.0.0.1", "::1"]);
        assert_eq!(binds(&["100.64.0.1", "169.254.1.1"]), ["100.64.0.1"]);
        assert!(binds(&[]).is_empty());
    }

    #[test]
    fn a_relay_address_is_one_or_two_of_one_family() {
        let nat = relay_address("10.0.0.7/203.0.113.7").unwrap();
        assert_eq!(
            (nat.bind.to_string(), nat.announced.to_string()),
            ("10.0.0.7".into(), "203.0.113.7".into())
        );
        assert!(relay_address("2001:db8::7").is_ok());
        for wrong in [
            "",
            "/",
            "10.0.0.7/",
            "10.0.0.0/8",
            "0.0.0.0",
            "224.0.0.1",
            "::ffff:10.0.0.7",
            "10.0.0.7/2001:db8::7",
        ] {
            assert!(relay_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_name_is_lower_case_labels() {
        for fine in ["www.example.org", "localhost", "a-b.x1"] {
            assert!(is_server_name(fine), "{fine}");
        }
        for wrong in
            ["", "WWW.example.org", "a..b", "*.example.org", "10.0.0.7", "::1", "a b", &"x".repeat(64)]
        {
            assert!(!is_server_name(wrong), "{wrong}");
        }
    }
}

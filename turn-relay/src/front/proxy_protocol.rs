//! PROXY protocol, version 2 (haproxy.org, `proxy-protocol.txt`, 2.2): who the client of a proxied connection is. Read
//! from trusted proxies, written to backends. Version 1 is text of no certain length and is not spoken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::first_bytes::PROXY_V2_SIGNATURE;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    /// Nothing yet: it has not come whole.
    NeedMore,
    /// A connection that the proxy carries.
    Client {
        /// Whose it is; IPv4 is never mapped into IPv6.
        client: SocketAddr,
        /// Length of the header.
        bytes: usize,
    },
    /// The proxy's own connection, or one of which it knows no addresses.
    Local {
        /// Length of the header.
        bytes: usize,
    },
    /// Against the rules, or about something that is no stream over IP.
    Malformed,
}

/// Reads the header at the start of `bytes`. What stands behind the addresses is skipped.
pub(crate) fn parse(bytes: &[u8]) -> ProxyHeader {
    let known = bytes.len().min(PROXY_V2_SIGNATURE.len());
    if bytes[..known] != PROXY_V2_SIGNATURE[..known] {
        return ProxyHeader::Malformed;
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return ProxyHeader::NeedMore };
    let [version_and_command, family, length_high, length_low] = [head[12], head[13], head[14], head[15]];
    let length = usize::from(u16::from_be_bytes([length_high, length_low]));
    if version_and_command >> 4 != VERSION || length > REST_BYTES_MAX {
        return ProxyHeader::Malformed;
    }
    let Some(rest) = rest.get(..length) else { return ProxyHeader::NeedMore };
    let bytes = HEAD_BYTES + length;
    match (version_and_command & 0x0f, family) {
        // Whatever follows is to be ignored, even garbage.
        (COMMAND_LOCAL, _) | (COMMAND_PROXY, FAMILY_UNKNOWN) => ProxyHeader::Local { bytes },
        (COMMAND_PROXY, FAMILY_TCP4) => client_of(v4(rest), bytes),
        (COMMAND_PROXY, FAMILY_TCP6) => client_of(v6(rest), bytes),
        _ => ProxyHeader::Malformed,
    }
}

/// The header that tells a backend who the client is.
pub(crate) fn write(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let mut header = PROXY_V2_SIGNATURE.to_vec();
    header.push(VERSION << 4 | COMMAND_PROXY);
    match (client.ip(), local.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([FAMILY_TCP4, 0, V4_BYTES as u8]);
            header.extend(from.octets());
            header.extend(to.octets());
        }
        // Both are of one family; a client behind a proxy of another one makes a mixture.
        (from, to) => {
            header.extend([FAMILY_TCP6, 0, V6_BYTES as u8]);
            header.extend(mapped(from).octets());
            header.extend(mapped(to).octets());
        }
    }
    header.extend(client.port().to_be_bytes());
    header.extend(local.port().to_be_bytes());
    header
}

fn client_of(client: Option<SocketAddr>, bytes: usize) -> ProxyHeader {
    match client {
        // Nobody can be answered there.
        Some(client) if !client.ip().is_unspecified() => ProxyHeader::Client { client, bytes },
        _ => ProxyHeader::Malformed,
    }
}

/// Source and destination address, source and destination port.
fn v4(rest: &[u8]) -> Option<SocketAddr> {
    let block = rest.first_chunk::<V4_BYTES>()?;
    let ip = Ipv4Addr::from(*block.first_chunk::<4>()?);
    Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be_bytes([block[8], block[9]])))
}

fn v6(rest: &[u8]) -> Option<SocketAddr> {
    let block = rest.first_chunk::<V6_BYTES>()?;
    let ip = Ipv6Addr::from(*block.first_chunk::<16>()?);
    Some(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes([block[32], block[33]])))
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Signature, version and command, family, length.
const HEAD_BYTES: usize = 16;
/// Two IPv4 addresses, two ports.
const V4_BYTES: usize = 12;
/// Two IPv6 addresses, two ports.
const V6_BYTES: usize = 36;
/// Addresses and what proxies add: names, certificates' subjects. Real ones have a few hundred bytes.
const REST_BYTES_MAX: usize = 2_048;

const VERSION: u8 = 2;
const COMMAND_LOCAL: u8 = 0;
const COMMAND_PROXY: u8 = 1;
const FAMILY_UNKNOWN: u8 = 0x00;
const FAMILY_TCP4: u8 = 0x11;
const FAMILY_TCP6: u8 = 0x21;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&PROXY_V2_SIGNATURE[..], &[version_and_command, family], &length, rest].concat()
    }

    fn client(text: &str, bytes: usize) -> ProxyHeader {
        ProxyHeader::Client { client: text.parse().unwrap(), bytes }
    }

    const V4_BLOCK: &[u8] = &[203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x34, 0x01, 0xbb];

    #[test]
    fn the_client_of_either_family_is_read_and_extensions_are_skipped() {
        assert_eq!(parse(&header(0x21, 0x11, V4_BLOCK)), client("203.0.113.7:4660", 28));
        let extended = [V4_BLOCK, &[0x20, 0x00, 0x02, 0xff, 0xff]].concat();
        assert_eq!(parse(&header(0x21, 0x11, &extended)), client("203.0.113.7:4660", 33));
        let mut block = [0; V6_BYTES];
        block[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        block[32..34].copy_from_slice(&80u16.to_be_bytes());
        assert_eq!(parse(&header(0x21, 0x21, &block)), client("[2001:db8::7]:80", 52));
    }

    #[test]
    fn an_ipv4_client_is_never_left_mapped_into_ipv6() {
        let mixed = write("203.0.113.7:80".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap());
        assert_eq!(parse(&mixed), client("203.0.113.7:80", 52));
    }

    #[test]
    fn the_proxys_own_connection_has_no_client() {
        assert_eq!(parse(&header(0x20, 0x00, &[])), ProxyHeader::Local { bytes: 16 });
        assert_eq!(parse(&header(0x20, 0x77, b"anything")), ProxyHeader::Local { bytes: 24 });
        assert_eq!(parse(&header(0x21, 0x00, b"xyz")), ProxyHeader::Local { bytes: 19 });
    }

    #[test]
    fn what_breaks_the_rules_is_malformed() {
        for bytes in [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            header(0x11, 0x11, V4_BLOCK),
            header(0x22, 0x11, V4_BLOCK),
            header(0x21, 0x11, &V4_BLOCK[..11]),
            header(0x21, 0x21, V4_BLOCK),
            header(0x21, 0x12, V4_BLOCK),
            header(0x21, 0x31, &[0; 216]),
            header(0x21, 0x11, &[0; 12]),
            header(0x21, 0x11, &[1; REST_BYTES_MAX + 1]),
        ] {
            assert_eq!(parse(&bytes), ProxyHeader::Malformed, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_not_before_it_is_whole(
            client in any::<SocketAddr>(),
            local in any::<SocketAddr>(),
        ) {
            prop_assume!(!client.ip().to_canonical().is_unspecified());
            let header = write(client, local);
            for end in 0..header.len() {
                prop_assert_eq!(parse(&header[..end]), ProxyHeader::NeedMore);
            }
            let client = SocketAddr::new(client.ip().to_canonical(), client.port());
            prop_assert_eq!(parse(&header), ProxyHeader::Client { client, bytes: header.len() });
        }

        #[test]
        fn any_bytes_are_survived_and_never_more_are_used_than_there_are(
            command in any::<u8>(),
            family in any::<u8>(),
            rest in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0usize..300,
        ) {
            let mut bytes = header(command, family, &rest);
            bytes.truncate(cut);
            match parse(&bytes) {
                ProxyHeader::Client { bytes: used, .. } | ProxyHeader::Local { bytes: used } => {
                    prop_assert!(used <= bytes.len());
                }
                ProxyHeader::NeedMore | ProxyHeader::Malformed => {}
            }
        }
    }
}

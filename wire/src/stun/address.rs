//! Addresses in attributes (RFC 8489, 14.1 and 14.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAGIC_COOKIE, TransactionId};

const FAMILY_IPV4: u8 = 1;
const FAMILY_IPV6: u8 = 2;

/// Reads a masked address: the mask keeps well-meaning address translators from rewriting it.
pub(super) fn parse_xor(value: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let [_, family, port_high, port_low, masked @ ..] = value else { return None };
    let port = u16::from_be_bytes([*port_high, *port_low]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match *family {
        FAMILY_IPV4 => {
            let masked = <[u8; 4]>::try_from(masked).ok()?;
            IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes(masked) ^ MAGIC_COOKIE))
        }
        FAMILY_IPV6 => {
            let masked = <[u8; 16]>::try_from(masked).ok()?;
            IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(masked) ^ mask_ipv6(transaction)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Writes a masked address behind `out` and says how many bytes that were.
pub(super) fn write_xor(out: &mut Vec<u8>, address: SocketAddr, transaction: TransactionId) -> usize {
    let start = out.len();
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let family = if address.is_ipv4() { FAMILY_IPV4 } else { FAMILY_IPV6 };
    out.extend_from_slice(&[0, family]);
    out.extend_from_slice(&port.to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes()),
        IpAddr::V6(ip) => out.extend_from_slice(&(ip.to_bits() ^ mask_ipv6(transaction)).to_be_bytes()),
    }
    out.len() - start
}

/// The cookie, then the transaction id.
fn mask_ipv6(transaction: TransactionId) -> u128 {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction.0);
    u128::from_be_bytes(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_wrong_length_or_family_is_none() {
        let transaction = TransactionId([7; 12]);
        for address in ["192.0.2.1:32853", "[2001:db8::1]:9"] {
            let mut bytes = Vec::new();
            let address: SocketAddr = address.parse().unwrap();
            let written = write_xor(&mut bytes, address, transaction);
            assert_eq!(written, bytes.len());
            assert_eq!(parse_xor(&bytes, transaction), Some(address));
            for length in 0..bytes.len() {
                assert_eq!(parse_xor(&bytes[..length], transaction), None, "{length} bytes of {address}");
            }
            bytes.push(0);
            assert_eq!(parse_xor(&bytes, transaction), None);
            bytes.pop();
            bytes[1] ^= 3;
            assert_eq!(parse_xor(&bytes, transaction), None, "the other family has another length");
            bytes[1] = 0;
            assert_eq!(parse_xor(&bytes, transaction), None);
        }
    }
}

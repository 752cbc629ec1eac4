//! Peers that clients know by another address than the relay reaches them at: bridges behind a 1:1 NAT that sends nothing
//! back inside.

use std::net::{IpAddr, SocketAddr};

use foldhash::HashMap;

use super::canonical::disguise;

/// Announced address ↔ real address, each once. Ports stay as they are.
#[derive(Debug, Clone, Default)]
pub struct PeerMap {
    /// Indexed by what clients name.
    real: HashMap<IpAddr, IpAddr>,
    /// Indexed by where datagrams come from.
    announced: HashMap<IpAddr, IpAddr>,
}

/// Why a map is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerMapError {
    /// One address stands for two, or two for one.
    #[error("{0} is mapped twice")]
    Twice(IpAddr),
    /// An IPv4 address on one side, an IPv6 address on the other.
    #[error("{0} and {1} are of two address families")]
    TwoFamilies(IpAddr, IpAddr),
    /// Nobody can be there.
    #[error("{0} is no address of a host")]
    NotAHost(IpAddr),
}

impl PeerMap {
    /// A map from pairs (announced, real).
    ///
    /// # Errors
    /// The first pair that cannot be followed both ways.
    pub fn new(pairs: impl IntoIterator<Item = (IpAddr, IpAddr)>) -> Result<Self, PeerMapError> {
        let mut map = Self::default();
        for (announced, real) in pairs {
            if announced.is_ipv4() != real.is_ipv4() {
                return Err(PeerMapError::TwoFamilies(announced, real));
            }
            if let Some(ip) = [announced, real].into_iter().find(|ip| !is_host(*ip)) {
                return Err(PeerMapError::NotAHost(ip));
            }
            if map.real.insert(announced, real).is_some() {
                return Err(PeerMapError::Twice(announced));
            }
            if map.announced.insert(real, announced).is_some() {
                return Err(PeerMapError::Twice(real));
            }
        }
        Ok(map)
    }

    /// Where to send what a client has for `peer`.
    pub fn to_real(&self, peer: SocketAddr) -> SocketAddr {
        follow(&self.real, peer)
    }

    /// By which address the client knows the sender of a datagram.
    pub fn to_announced(&self, peer: SocketAddr) -> SocketAddr {
        follow(&self.announced, peer)
    }
}

fn follow(map: &HashMap<IpAddr, IpAddr>, peer: SocketAddr) -> SocketAddr {
    // Most relays have no map, and then there is nothing to hash.
    if map.is_empty() {
        return peer;
    }
    map.get(&peer.ip()).map_or(peer, |ip| SocketAddr::new(*ip, peer.port()))
}

fn is_host(ip: IpAddr) -> bool {
    let is_disguise = matches!(ip, IpAddr::V6(ip) if disguise(ip).is_some());
    !(ip.is_unspecified() || ip.is_multicast() || is_disguise)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Result<PeerMap, PeerMapError> {
        PeerMap::new(pairs.iter().map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap())))
    }

    #[test]
    fn a_mapped_peer_is_reached_inside_and_known_outside() {
        let map = map(&[("203.0.113.4", "10.0.0.5")]).unwrap();
        let (outside, inside) = ("203.0.113.4:9".parse().unwrap(), "10.0.0.5:9".parse().unwrap());
        assert_eq!(map.to_real(outside), inside);
        assert_eq!(map.to_announced(inside), outside);
        let other = "192.0.2.1:9".parse().unwrap();
        assert_eq!((map.to_real(other), map.to_announced(other)), (other, other));
    }

    #[test]
    fn a_map_that_cannot_be_followed_back_is_refused() {
        assert_eq!(
            map(&[("192.0.2.1", "10.0.0.5"), ("192.0.2.2", "10.0.0.5")]).unwrap_err(),
            PeerMapError::Twice("10.0.0.5".parse().unwrap())
        );
        assert!(map(&[("192.0.2.1", "10.0.0.5"), ("192.0.2.1", "10.0.0.6")]).is_err());
        assert!(map(&[("192.0.2.1", "fd00::1")]).is_err());
        assert!(map(&[("192.0.2.1", "0.0.0.0")]).is_err());
        assert!(map(&[("2001:db8::1", "::ffff:10.0.0.1")]).is_err());
    }
}

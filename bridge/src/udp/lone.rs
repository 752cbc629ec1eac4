//! Destinations to which datagrams only travel singly.

use std::net::SocketAddr;

use foldhash::HashSet;

/// Where the kernel has refused a train: an interface without checksum offload, an IPsec route, a path narrower than the
/// datagrams. What such a way refuses once it refuses always, so each is tried once.
#[derive(Debug, Default)]
pub(super) struct LoneDestinations {
    /// Indexed by where datagrams go.
    refused: HashSet<SocketAddr>,
}

impl LoneDestinations {
    pub(super) fn contains(&self, remote: SocketAddr) -> bool {
        // Nearly always empty: then no train pays for a hash.
        !self.refused.is_empty() && self.refused.contains(&remote)
    }

    pub(super) fn insert(&mut self, remote: SocketAddr) {
        // Browsers come and go; whoever is still here costs one more refusal to be known again.
        if self.refused.len() >= DESTINATIONS_MAX {
            self.refused.clear();
        }
        self.refused.insert(remote);
    }
}

/// As many as a full bridge holds endpoints, and about 0.25 MiB.
const DESTINATIONS_MAX: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_refusing_destinations_take_no_more_room_than_a_bridges_endpoints() {
        let mut lone = LoneDestinations::default();
        for number in 0..1_000_000_u32 {
            let remote = SocketAddr::from((number.to_be_bytes(), 9));
            assert!(!lone.contains(remote));
            lone.insert(remote);
            assert!(lone.contains(remote));
        }
        assert!(lone.refused.len() <= DESTINATIONS_MAX);
    }
}

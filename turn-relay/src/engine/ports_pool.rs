//! The ports of relayed addresses: who has which, and which is next.
//!
//! Ports are drawn at random from the generator of the engine: nobody can tell the next one from the last (RFC 8656, 7.2).

use std::ops::RangeInclusive;

use rand::rngs::StdRng;
use rand::{Rng, RngCore};

use super::ports::{Family, RelayAddress};

/// What the holder of a reservation shows (RFC 8656, 18.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) [u8; 8]);

impl Token {
    pub(crate) fn draw(random: &mut StdRng) -> Self {
        Self(random.next_u64().to_be_bytes())
    }
}

/// A port of one of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelayPort {
    /// Which address, by its place in the settings.
    pub(crate) address: usize,
    pub(crate) port: u16,
}

impl RelayPort {
    /// The one above, on the same address.
    pub(crate) fn next(self) -> Self {
        Self { port: self.port + 1, ..self }
    }
}

/// What is asked of a port (RFC 8656, 18.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parity {
    Any,
    Even,
    /// And the next higher port is taken, too.
    EvenWithNext,
}

/// All addresses with their ports.
#[derive(Debug)]
pub(crate) struct PortsPool {
    addresses: Vec<AddressPorts>,
}

#[derive(Debug)]
struct AddressPorts {
    relay: RelayAddress,
    first: u16,
    /// One bit for each port from `first` on.
    taken: Box<[u64]>,
    count: usize,
    free: usize,
}

impl PortsPool {
    pub(crate) fn new(relays: &[RelayAddress], ports: &RangeInclusive<u16>) -> Self {
        Self { addresses: relays.iter().map(|relay| AddressPorts::new(*relay, ports)).collect() }
    }

    /// Whether there is any address of this family.
    pub(crate) fn has(&self, family: Family) -> bool {
        self.addresses.iter().any(|address| address.family() == family)
    }

    pub(crate) fn relay(&self, port: RelayPort) -> RelayAddress {
        self.addresses[port.address].relay
    }

    /// Takes a port on the address of the family that has most left; `None` when there is none.
    pub(crate) fn take(&mut self, family: Family, parity: Parity, random: &mut StdRng) -> Option<RelayPort> {
        let of_family = self.addresses.iter_mut().enumerate().filter(|(_, each)| each.family() == family);
        let (address, ports) = of_family.max_by_key(|(_, each)| each.free)?;
        let port = ports.draw(parity, random)?;
        ports.mark(port);
        if parity == Parity::EvenWithNext {
            ports.mark(port + 1);
        }
        Some(RelayPort { address, port })
    }

    /// Gives a port back.
    pub(crate) fn release(&mut self, port: RelayPort) {
        self.addresses[port.address].unmark(port.port);
    }
}

impl AddressPorts {
    fn new(relay: RelayAddress, ports: &RangeInclusive<u16>) -> Self {
        let count = ports.len();
        let taken = vec![0; count.div_ceil(64)].into_boxed_slice();
        Self { relay, first: *ports.start(), taken, count, free: count }
    }

    fn family(&self) -> Family {
        Family::of(self.relay.bind)
    }

    /// A free port, at random. While few are taken the first draw is free; when most are, a walk from a random place is
    /// what finds the rest.
    fn draw(&self, parity: Parity, random: &mut StdRng) -> Option<u16> {
        if self.free == 0 {
            return None;
        }
        let drawn =
            (0..DRAWS).map(|_| random.random_range(0..self.count)).find(|place| self.fits(*place, parity));
        let place = drawn.or_else(|| {
            let start = random.random_range(0..self.count);
            (start..self.count).chain(0..start).find(|place| self.fits(*place, parity))
        });
        place.map(|place| self.first + place as u16)
    }

    fn fits(&self, place: usize, parity: Parity) -> bool {
        let is_even = (usize::from(self.first) + place).is_multiple_of(2);
        self.is_free(place)
            && match parity {
                Parity::Any => true,
                Parity::Even => is_even,
                Parity::EvenWithNext => is_even && self.is_free(place + 1),
            }
    }

    fn is_free(&self, place: usize) -> bool {
        place < self.count && self.taken[place / 64] & 1 << (place % 64) == 0
    }

    fn mark(&mut self, port: u16) {
        let place = usize::from(port - self.first);
        assert!(self.is_free(place), "a port is given to one at a time");
        self.taken[place / 64] |= 1 << (place % 64);
        self.free -= 1;
    }

    fn unmark(&mut self, port: u16) {
        let place = usize::from(port - self.first);
        assert!(!self.is_free(place), "only what was given comes back");
        self.taken[place / 64] &= !(1 << (place % 64));
        self.free += 1;
    }
}

/// With a tenth of the ports free, 32 draws miss them all once in thirty times.
const DRAWS: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;

    fn pool(ports: RangeInclusive<u16>) -> (PortsPool, StdRng) {
        let ip = "192.0.2.1".parse().unwrap();
        (PortsPool::new(&[RelayAddress { bind: ip, announced: ip }], &ports), StdRng::from_seed([5; 32]))
    }

    #[test]
    fn every_port_is_given_once_and_then_none() {
        let (mut pool, mut random) = pool(50_001..=50_200);
        let mut given = HashSet::new();
        while let Some(port) = pool.take(Family::V4, Parity::Any, &mut random) {
            assert!((50_001..=50_200).contains(&port.port) && given.insert(port.port));
        }
        assert_eq!(given.len(), 200);
        pool.release(RelayPort { address: 0, port: 50_100 });
        assert_eq!(pool.take(Family::V4, Parity::Any, &mut random).unwrap().port, 50_100);
        assert!(!pool.has(Family::V6) && pool.take(Family::V6, Parity::Any, &mut random).is_none());
    }

    #[test]
    fn even_ports_are_even_and_pairs_are_pairs() {
        let (mut pool, mut random) = pool(49_999..=50_010);
        let mut pairs = 0;
        while let Some(port) = pool.take(Family::V4, Parity::EvenWithNext, &mut random) {
            assert!(port.port.is_multiple_of(2) && port.port < 50_010);
            pairs += 1;
        }
        assert_eq!(pairs, 5, "50000 to 50009; 50010 has no next");
        assert_eq!(pool.take(Family::V4, Parity::Even, &mut random).unwrap().port, 50_010);
        assert_eq!(pool.take(Family::V4, Parity::Any, &mut random).unwrap().port, 49_999);
        assert!(pool.take(Family::V4, Parity::Any, &mut random).is_none());
    }

    #[test]
    fn the_next_port_cannot_be_told_from_the_last() {
        let (mut pool, mut random) = pool(49_152..=u16::MAX);
        let ports: Vec<u16> =
            (0..1_000).map(|_| pool.take(Family::V4, Parity::Any, &mut random).unwrap().port).collect();
        let neighbours = ports.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 16).count();
        assert!(neighbours < 20, "{neighbours} of 1000 lie close to the one before");
    }

    #[test]
    fn the_emptier_of_two_addresses_is_taken() {
        let relay = |ip: &str| RelayAddress { bind: ip.parse().unwrap(), announced: ip.parse().unwrap() };
        let mut random = StdRng::from_seed([5; 32]);
        let mut pool = PortsPool::new(&[relay("192.0.2.1"), relay("192.0.2.2")], &(50_000..=50_009));
        let mut given = [0u32, 0];
        while let Some(port) = pool.take(Family::V4, Parity::Any, &mut random) {
            given[port.address] += 1;
            assert!(given[0].abs_diff(given[1]) <= 1);
        }
        assert_eq!(given, [10, 10]);
    }
}

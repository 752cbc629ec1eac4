//! Places of connections: how many there are in all, of one address, and of those about which nothing is known yet.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ports::FrontLimits;
use super::stats::Refusal;

/// Counts connections: no queue and no thread, only numbers. Its lock is held for one look-up, three times in a connection's life.
#[derive(Debug)]
pub(crate) struct Seats {
    tables: Mutex<Tables>,
    limits: FrontLimits,
}

#[derive(Debug, Default)]
struct Tables {
    /// Seats that are taken.
    open: usize,
    /// By IPv4 address or IPv6 /64; addresses without connections are not in it.
    networks: HashMap<IpAddr, Network>,
    /// By number, oldest first.
    half_open: BTreeMap<u64, HalfOpen>,
    /// Of the next half-open connection; never used twice.
    next: u64,
}

#[derive(Debug)]
struct HalfOpen {
    since: Instant,
    /// Dropped, it tells the connection to go.
    _stay: oneshot::Sender<()>,
}

/// Connections of one address or /64; the half-open ones are counted in both.
#[derive(Debug, Default)]
struct Network {
    open: usize,
    half_open: usize,
}

/// A connection's place; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    /// Whose connections it counts among; none's, while only the proxy is known.
    network: Option<IpAddr>,
    /// Its number among the half-open ones, until it is settled.
    half_open: Option<u64>,
}

/// Ends when the connection has to make room, if it is still half open.
pub(crate) type Displaced = oneshot::Receiver<()>;

impl Seats {
    pub(crate) fn new(limits: FrontLimits) -> Arc<Self> {
        Arc::new(Self { tables: Mutex::default(), limits })
    }

    /// A place for a new, half-open connection; [`Seat::claim`] says whose it is.
    pub(crate) fn sit(self: &Arc<Self>) -> Result<(Seat, Displaced), Refusal> {
        let mut tables = self.tables();
        if tables.open >= self.limits.connections_max {
            return Err(Refusal::TooManyConnections);
        }
        let now = Instant::now();
        if tables.half_open.len() >= self.limits.half_open_max {
            tables.displace_oldest(now)?;
        }
        let number = tables.next;
        let (stay, displaced) = oneshot::channel();
        tables.next += 1;
        tables.open += 1;
        tables.half_open.insert(number, HalfOpen { since: now, _stay: stay });
        Ok((Seat { seats: Arc::clone(self), network: None, half_open: Some(number) }, displaced))
    }

    /// Open connections, and the half-open ones among them.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let tables = self.tables();
        (tables.open, tables.half_open.len())
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Each change is whole before anything could panic.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Makes room where somebody stalls. When all are making progress, the newcomer has to come again: to displace
    /// those would be to finish none.
    fn displace_oldest(&mut self, now: Instant) -> Result<(), Refusal> {
        let oldest = self.half_open.first_entry().ok_or(Refusal::TooManyHalfOpen)?;
        if now.duration_since(oldest.get().since) < STALLED_AGE {
            return Err(Refusal::TooManyHalfOpen);
        }
        oldest.remove();
        Ok(())
    }
}

impl Seat {
    /// Counts it among the connections of `ip`, if there is room.
    pub(crate) fn claim(&mut self, ip: IpAddr) -> Result<(), Refusal> {
        let limits = &self.seats.limits;
        let ip = network_of(ip);
        let mut tables = self.seats.tables();
        let network = tables.networks.entry(ip).or_default();
        if network.open >= limits.connections_per_address_max {
            return Err(Refusal::AddressConnections);
        }
        if network.half_open >= limits.half_open_per_address_max {
            return Err(Refusal::AddressHalfOpen);
        }
        network.open += 1;
        network.half_open += 1;
        self.network = Some(ip);
        Ok(())
    }

    /// It has become something: no longer half open.
    pub(crate) fn settle(&mut self) {
        let Some(number) = self.half_open.take() else { return };
        let mut tables = self.seats.tables();
        tables.half_open.remove(&number);
        if let Some(network) = self.network.and_then(|ip| tables.networks.get_mut(&ip)) {
            network.half_open -= 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.settle();
        let mut tables = self.seats.tables();
        tables.open -= 1;
        let Some(ip) = self.network else { return };
        let Some(network) = tables.networks.get_mut(&ip) else { return };
        network.open -= 1;
        if network.open == 0 {
            tables.networks.remove(&ip);
        }
    }
}

/// An IPv6 host has a whole /64 to itself, so single addresses would be no limit.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

/// A handshake takes three round trips; one that takes longer than this over a good line is not meant to end.
const STALLED_AGE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(change: impl FnOnce(&mut FrontLimits)) -> Arc<Seats> {
        let mut limits = FrontLimits::default();
        change(&mut limits);
        Seats::new(limits)
    }

    fn sit(seats: &Arc<Seats>, ip: &str) -> Result<Seat, Refusal> {
        let (mut seat, _) = seats.sit()?;
        seat.claim(ip.parse().unwrap())?;
        Ok(seat)
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let seats = seats(|limits| limits.connections_per_address_max = 2);
        let mut held = vec![sit(&seats, "192.0.2.1").unwrap(), sit(&seats, "::ffff:192.0.2.1").unwrap()];
        assert_eq!(sit(&seats, "192.0.2.1").unwrap_err(), Refusal::AddressConnections);
        let _other = sit(&seats, "192.0.2.2").unwrap();
        held.pop();
        held.push(sit(&seats, "192.0.2.1").unwrap());
        assert_eq!(seats.counts(), (3, 3));
    }

    #[test]
    fn addresses_of_one_ipv6_host_count_together() {
        let seats = seats(|limits| limits.connections_per_address_max = 1);
        let _held = sit(&seats, "2001:db8::1").unwrap();
        assert_eq!(sit(&seats, "2001:db8::ffff:2").unwrap_err(), Refusal::AddressConnections);
        sit(&seats, "2001:db8:0:1::1").unwrap();
    }

    #[test]
    fn half_open_connections_have_a_share_of_their_own() {
        let seats = seats(|limits| limits.half_open_per_address_max = 1);
        let mut settled = sit(&seats, "192.0.2.1").unwrap();
        assert_eq!(sit(&seats, "192.0.2.1").unwrap_err(), Refusal::AddressHalfOpen);
        settled.settle();
        settled.settle();
        let _another = sit(&seats, "192.0.2.1").unwrap();
        assert_eq!(seats.counts(), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_half_open_connection_makes_room_and_a_settled_one_never() {
        let seats = seats(|limits| limits.half_open_max = 2);
        let (mut settled, mut displaced_settled) = seats.sit().unwrap();
        settled.settle();
        let (oldest, mut displaced) = seats.sit().unwrap();
        let (_second, mut stays) = seats.sit().unwrap();
        tokio::time::advance(STALLED_AGE).await;
        assert!(displaced.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        let _third = seats.sit().unwrap();
        assert!(displaced.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
        assert!(stays.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        assert!(displaced_settled.try_recv().is_err());
        assert_eq!(seats.counts(), (4, 2));
        drop(oldest);
        assert_eq!(seats.counts(), (3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_have_just_come_are_not_displaced() {
        let seats = seats(|limits| limits.half_open_max = 1);
        let (_first, mut displaced) = seats.sit().unwrap();
        assert_eq!(seats.sit().map(drop).unwrap_err(), Refusal::TooManyHalfOpen);
        assert!(displaced.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        assert_eq!(seats.counts(), (1, 1));
    }

    #[test]
    fn nothing_is_remembered_of_addresses_that_have_gone() {
        let seats = seats(|limits| limits.connections_max = 100);
        for number in 0..1_000u32 {
            let (mut seat, _displaced) = seats.sit().unwrap();
            seat.claim(IpAddr::V4(number.into())).unwrap();
        }
        assert!(seats.tables().networks.is_empty());
        let held: Vec<_> = (0..100).map(|_| seats.sit().unwrap()).collect();
        assert_eq!(seats.sit().map(drop).unwrap_err(), Refusal::TooManyConnections);
        drop(held);
        assert_eq!(seats.counts(), (0, 0));
    }
}

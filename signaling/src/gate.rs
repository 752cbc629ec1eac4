//! Who may come in: limits for each address, and which pages may open sockets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::uri::Scheme;
use axum::http::{HeaderMap, Uri, header};

use crate::engine::limits::{Rate, TokenBucket};
use crate::listener::Remote;
use crate::settings::SignalingSettings;

/// Addresses whose joins are remembered. When so many are busy at once, the oldest knowledge is worth least.
const BUCKETS_MAX: usize = 65_536;

/// Counts sockets and joins by address. Shared by all connections; each lock is held for one look-up.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Sockets by address.
    sockets: Mutex<HashMap<IpAddr, usize>>,
    /// Joins by address.
    joins: Mutex<HashMap<IpAddr, TokenBucket>>,
    sockets_max: usize,
    join_rate: Rate,
    limits_loopback: bool,
    trusted_proxies: Vec<IpAddr>,
    allowed_origins: Vec<String>,
}

/// A counted socket; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Seat {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Gate {
    pub(crate) fn new(settings: &SignalingSettings) -> Self {
        Self {
            sockets: Mutex::default(),
            joins: Mutex::default(),
            sockets_max: settings.sockets_per_address_max,
            join_rate: settings.join_rate(),
            limits_loopback: settings.limit_loopback,
            trusted_proxies: settings.trusted_proxies.clone(),
            allowed_origins: settings.allowed_origins.clone(),
        }
    }

    /// Counts a socket. `None`: this address has as many as it may. `Some(None)`: it is not counted.
    pub(crate) fn sit(self: &Arc<Self>, address: IpAddr) -> Option<Option<Seat>> {
        if !self.is_limited(address) {
            return Some(None);
        }
        let address = network_of(address);
        let mut sockets = unpoisoned(&self.sockets);
        let count = sockets.entry(address).or_default();
        if *count >= self.sockets_max {
            return None;
        }
        *count += 1;
        Some(Some(Seat { gate: Arc::clone(self), address }))
    }

    /// Counts a join. `false`: too many of this address lately.
    pub(crate) fn may_join(&self, now: Instant, address: IpAddr) -> bool {
        if !self.is_limited(address) {
            return true;
        }
        let mut joins = unpoisoned(&self.joins);
        if joins.len() >= BUCKETS_MAX {
            joins.retain(|_, bucket| !bucket.is_full(now, self.join_rate));
        }
        if joins.len() >= BUCKETS_MAX {
            joins.clear();
        }
        let bucket =
            joins.entry(network_of(address)).or_insert_with(|| TokenBucket::full(now, self.join_rate));
        bucket.take(now, self.join_rate)
    }

    /// Whose request this is: the peer, or what a proxy that we trust says of it. Each proxy appends the address it saw,
    /// so the last one that is not a trusted proxy is the browser's.
    pub(crate) fn client_of(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.ip().to_canonical();
        if !self.trusted_proxies.contains(&peer) {
            return peer;
        }
        let forwarded = headers.get_all("x-forwarded-for").iter().rev();
        let hops = forwarded.filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
        for hop in hops {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { return peer };
            if !self.trusted_proxies.contains(&address.to_canonical()) {
                return address.to_canonical();
            }
        }
        peer
    }

    /// Is this peer one of our proxies, whose sockets are other people's?
    pub(crate) fn is_proxy(&self, peer: SocketAddr) -> bool {
        self.trusted_proxies.contains(&peer.ip().to_canonical())
    }

    /// Browsers name the page that opens a socket; a page of another site must not act with our visitor's address.
    /// Programs that are no browsers name none. Where we have TLS ourselves, a page without it may be anybody's who sits
    /// between; where a proxy has it for us, we cannot know.
    pub(crate) fn is_our_page(&self, remote: &Remote, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        if self.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let (Ok(origin), Some(host)) = (origin.parse::<Uri>(), headers.get(header::HOST)) else {
            return false;
        };
        if remote.is_secure && origin.scheme() != Some(&Scheme::HTTPS) {
            return false;
        }
        let (Some(authority), Ok(host)) = (origin.authority(), host.to_str()) else { return false };
        authority.as_str().eq_ignore_ascii_case(host)
    }

    fn is_limited(&self, address: IpAddr) -> bool {
        self.limits_loopback || !address.to_canonical().is_loopback()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sockets = unpoisoned(&self.gate.sockets);
        if let Some(count) = sockets.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                sockets.remove(&self.address);
            }
        }
    }
}

/// A household has a /64 of IPv6 and one address of IPv4.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The tables are whole after each statement, so a panic elsewhere leaves nothing half done.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(change: impl FnOnce(&mut SignalingSettings)) -> Arc<Gate> {
        let mut settings = SignalingSettings::default();
        change(&mut settings);
        Arc::new(Gate::new(&settings))
    }

    fn remote(is_secure: bool) -> Remote {
        Remote { address: "192.0.2.1:4000".parse().unwrap(), is_secure, seat: Arc::default() }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_address_has_as_many_sockets_as_it_may_and_gets_room_back() {
        let gate = gate(|it| it.sockets_per_address_max = 2);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let seats = [gate.sit(address).unwrap(), gate.sit(address).unwrap()];
        assert!(gate.sit(address).is_none());
        assert!(gate.sit("192.0.2.2".parse().unwrap()).is_some());
        drop(seats);
        assert!(gate.sit(address).is_some());
        assert_eq!(unpoisoned(&gate.sockets).len(), 0, "nothing is remembered of those who left");
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_address() {
        let gate = gate(|it| it.sockets_per_address_max = 1);
        let _seat = gate.sit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(gate.sit("2001:db8::2".parse().unwrap()).is_none());
        assert!(gate.sit("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn joins_are_limited_by_address_and_forgotten_in_a_flood_of_addresses() {
        let gate = gate(|_| {});
        let now = Instant::now();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!((0..100).filter(|_| gate.may_join(now, address)).count(), 50);
        for number in 0..200_000u32 {
            gate.may_join(now, IpAddr::V4(number.into()));
        }
        assert!(unpoisoned(&gate.joins).len() <= BUCKETS_MAX);
    }

    #[test]
    fn loopback_is_limited_only_on_request() {
        let now = Instant::now();
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let open = gate(|it| it.joins_per_address_burst = 1);
        assert!((0..10).all(|_| open.may_join(now, loopback)));
        let closed = gate(|it| (it.joins_per_address_burst, it.limit_loopback) = (1, true));
        assert_eq!((0..10).filter(|_| closed.may_join(now, loopback)).count(), 1);
    }

    #[test]
    fn only_a_trusted_proxy_may_say_whose_request_it_is() {
        let gate = gate(|it| it.trusted_proxies = vec!["10.0.0.1".parse().unwrap()]);
        let forwarded = headers(&[("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.0.0.1")]);
        let client = |peer: &str| gate.client_of(peer.parse().unwrap(), &forwarded).to_string();
        assert_eq!(client("10.0.0.1:4000"), "203.0.113.7", "what it appended, not what it was told");
        assert_eq!(client("198.51.100.1:4000"), "198.51.100.1");
        let garbage = headers(&[("x-forwarded-for", "unknown")]);
        assert_eq!(gate.client_of("10.0.0.1:1".parse().unwrap(), &garbage).to_string(), "10.0.0.1");
    }

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let gate = gate(|it| it.allowed_origins = vec!["https://app.example".to_owned()]);
        let ours = |origin: &str| {
            let headers = headers(&[("host", "meet.example:8000"), ("origin", origin)]);
            gate.is_our_page(&remote(false), &headers)
        };
        assert!(
            ours("http://meet.example:8000")
                && ours("https://MEET.example:8000")
                && ours("https://app.example")
        );
        for foreign in
            ["http://evil.example", "http://meet.example", "null", "", "http://meet.example:8000.evil"]
        {
            assert!(!ours(foreign), "{foreign}");
        }
        assert!(gate.is_our_page(&remote(false), &headers(&[("host", "meet.example")])), "not a browser");
    }

    #[test]
    fn over_tls_a_page_without_it_is_not_ours() {
        let gate = gate(|it| it.allowed_origins = vec!["http://app.example".to_owned()]);
        let ours = |origin: &str| {
            gate.is_our_page(&remote(true), &headers(&[("host", "meet.example"), ("origin", origin)]))
        };
        assert!(ours("https://meet.example") && ours("http://app.example"), "what is allowed is allowed");
        for foreign in ["http://meet.example", "https://evil.example", "https://meet.example:444", "null"] {
            assert!(!ours(foreign), "{foreign}");
        }
        assert!(gate.is_our_page(&remote(true), &headers(&[("host", "meet.example")])), "not a browser");
    }
}

//! The UDP sockets of a shard: where clients' datagrams arrive, and one for each relayed address.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::{Interest, Registry};

use super::ready::Source;
use crate::engine::ports::{ClientPath, OpenFailure, RelaySocketKey};
use crate::udp::{RelaySocket, UdpListener};

/// Where clients' datagrams arrive.
#[derive(Debug)]
pub(super) struct Listeners {
    list: Vec<UdpListener>,
}

impl Listeners {
    /// Registers all of them.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new(mut list: Vec<UdpListener>, registry: &Registry) -> io::Result<Self> {
        for (place, listener) in list.iter_mut().enumerate() {
            registry.register(listener.source(), Source::Listener(place).token(), Interest::READABLE)?;
        }
        Ok(Self { list })
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn at(&mut self, place: usize) -> Option<&mut UdpListener> {
        self.list.get_mut(place)
    }

    /// The one that `local`, our side of a path, belongs to: bound to this very address, or to all of its family.
    pub(super) fn place_of(&self, local: SocketAddr) -> Option<usize> {
        let bound_to = |wanted: SocketAddr| self.list.iter().position(|each| each.local_addr() == wanted);
        bound_to(local).or_else(|| {
            let mut any = local;
            any.set_ip(match local {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            });
            bound_to(any)
        })
    }
}

/// A relay socket and whose it is.
#[derive(Debug)]
pub(super) struct OpenSocket {
    pub(super) key: RelaySocketKey,
    pub(super) socket: RelaySocket,
    /// The client, if it came by a stream.
    stream: Option<ClientPath>,
}

/// Every relay socket, indexed as the engine numbers them.
#[derive(Debug)]
pub(super) struct RelaySockets {
    table: Vec<Option<OpenSocket>>,
    live: u64,
    receive_buffer_bytes: usize,
    registry: Registry,
    /// Not opened, other than because their port was in use.
    pub(super) refused: u64,
}

impl RelaySockets {
    pub(super) fn new(receive_buffer_bytes: usize, registry: Registry) -> Self {
        Self { table: Vec::new(), live: 0, receive_buffer_bytes, registry, refused: 0 }
    }

    /// Opens a socket at `local` for the client on `path`.
    pub(super) fn open(
        &mut self,
        key: RelaySocketKey,
        local: SocketAddr,
        path: &ClientPath,
    ) -> Result<(), OpenFailure> {
        let place = key.index();
        let opened = RelaySocket::open(local, self.receive_buffer_bytes).and_then(|mut socket| {
            let token = Source::Relay(place).token();
            self.registry.register(socket.source(), token, Interest::READABLE).map(|()| socket)
        });
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(OpenFailure::PortInUse),
            Err(error) => {
                // A wrong relay address or a low limit of descriptors refuses everybody: said less and less often.
                self.refused += 1;
                if self.refused.is_power_of_two() {
                    tracing::warn!(%error, refused = self.refused, "no socket for a relayed address");
                }
                return Err(OpenFailure::Exhausted);
            }
        };
        if self.table.len() <= place {
            self.table.resize_with(place + 1, || None);
        }
        let stream = path.transport.is_stream().then_some(*path);
        // Invariant: the engine closes a socket before it gives its place to another.
        self.live += u64::from(self.table[place].is_none());
        self.table[place] = Some(OpenSocket { key, socket, stream });
        Ok(())
    }

    /// Closes a socket, if it was ever opened; the stream of whose allocation it was. The kernel forgets what was registered.
    pub(super) fn close(&mut self, key: RelaySocketKey) -> Option<ClientPath> {
        let entry = self.table.get_mut(key.index())?;
        let closed = entry.take_if(|open| open.key == key)?;
        self.live -= 1;
        closed.stream
    }

    pub(super) fn at(&mut self, place: usize) -> Option<&mut OpenSocket> {
        self.table.get_mut(place)?.as_mut()
    }

    /// How many are open.
    pub(super) fn live(&self) -> u64 {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use mio::Poll;

    use super::*;
    use crate::engine::ports::Transport;

    fn listeners(bound: &[SocketAddr]) -> (Listeners, Vec<u16>) {
        let list: Vec<_> = bound.iter().map(|each| UdpListener::bind(*each, false).unwrap()).collect();
        let ports = list.iter().map(|each| each.local_addr().port()).collect();
        (Listeners::new(list, Poll::new().unwrap().registry()).unwrap(), ports)
    }

    fn path() -> ClientPath {
        let client = SocketAddr::from(([192, 0, 2, 1], 9));
        ClientPath { transport: Transport::Tcp, client, local: client, connection: 7 }
    }

    fn sockets() -> RelaySockets {
        RelaySockets::new(1 << 20, Poll::new().unwrap().registry().try_clone().unwrap())
    }

    #[test]
    fn a_reply_leaves_by_the_listener_that_was_asked() {
        let any = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 0);
        let (listeners, ports) = listeners(&[any("0.0.0.0"), any("127.0.0.1"), any("::"), any("::1")]);
        let place = |ip: &str, at: usize| {
            listeners.place_of((ip.parse::<std::net::IpAddr>().unwrap(), ports[at]).into())
        };
        assert_eq!((place("127.0.0.1", 0), place("192.0.2.7", 0)), (Some(0), Some(0)));
        assert_eq!((place("127.0.0.1", 1), place("127.0.0.2", 1)), (Some(1), None));
        assert_eq!((place("2001:db8::1", 2), place("::1", 3), place("::2", 3)), (Some(2), Some(3), None));
    }

    #[test]
    fn a_port_in_use_can_be_tried_elsewhere_and_an_address_of_others_cannot() {
        let mut sockets = sockets();
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let outcome = sockets.open(RelaySocketKey(0), taken.local_addr().unwrap(), &path());
        assert_eq!((outcome, sockets.refused), (Err(OpenFailure::PortInUse), 0));
        let outcome = sockets.open(RelaySocketKey(0), "192.0.2.1:50000".parse().unwrap(), &path());
        assert_eq!((outcome, sockets.refused, sockets.live()), (Err(OpenFailure::Exhausted), 1, 0));
    }

    #[test]
    fn a_socket_is_closed_by_its_own_key_and_once() {
        let mut sockets = sockets();
        let (first, second) = (RelaySocketKey(3), RelaySocketKey(1 << 32 | 3));
        assert_eq!(sockets.close(first), None, "it was never opened");
        sockets.open(second, "127.0.0.1:0".parse().unwrap(), &path()).unwrap();
        assert_eq!((sockets.close(first), sockets.live()), (None, 1));
        assert!(sockets.at(3).is_some());
        assert_eq!((sockets.close(second), sockets.close(second)), (Some(path()), None));
        assert!(sockets.at(3).is_none() && sockets.at(4).is_none() && sockets.live() == 0);
    }
}

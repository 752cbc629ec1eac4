//! Datagrams that leave together: what one look at the sockets caused, grouped by where it goes.

use std::net::SocketAddr;

use super::inbox::{Inbox, Place};
use super::ports::ShardDrop;
use super::sockets::{Listeners, RelaySockets};
use crate::engine::drop_reason::Counters;
use crate::engine::ports::ClientPath;
use crate::udp::{Outgoing, SendBatch, Span, UdpCounts};

/// What waits for the end of a look at the sockets.
#[derive(Default)]
pub(super) struct Outbox {
    to_peers: Vec<ToPeer>,
    to_clients: Vec<ToClient>,
    /// Heads and replies, one behind the other.
    heads: Vec<u8>,
    batch: SendBatch,
    /// What could not even be tried.
    pub(super) dropped: Counters<ShardDrop, { ShardDrop::ALL.len() }>,
}

/// A payload for a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToPeer {
    /// Place of the relay socket.
    pub(super) socket: usize,
    pub(super) peer: SocketAddr,
    pub(super) payload: Place,
    pub(super) dont_fragment: bool,
}

/// A head and a payload for a client of a listener.
#[derive(Debug, Clone, Copy)]
struct ToClient {
    listener: usize,
    remote: SocketAddr,
    local: SocketAddr,
    head: Span,
    payload: Place,
    padding: usize,
}

impl Outbox {
    /// Adds a payload for a peer.
    pub(super) fn push_to_peer(&mut self, datagram: ToPeer) {
        self.to_peers.push(datagram);
    }

    /// Adds a datagram for the client on `path`: a head, a payload, and so many zeros, three at most.
    pub(super) fn push_to_client(
        &mut self,
        (listener, path): (usize, &ClientPath),
        head: &[u8],
        payload: Place,
        padding: usize,
    ) {
        let span = Span::new(self.heads.len(), head.len());
        self.heads.extend_from_slice(head);
        let (remote, local) = (path.client, path.local);
        self.to_clients.push(ToClient { listener, remote, local, head: span, payload, padding });
    }

    /// Sends everything.
    pub(super) fn send(&mut self, inbox: &Inbox, listeners: &mut Listeners, sockets: &mut RelaySockets) {
        if !self.to_peers.is_empty() {
            self.send_to_peers(inbox, sockets);
        }
        if !self.to_clients.is_empty() {
            self.send_to_clients(inbox, listeners);
        }
    }

    fn send_to_peers(&mut self, inbox: &Inbox, sockets: &mut RelaySockets) {
        // Several clients' datagrams come interleaved. A stable sort keeps the order of each way.
        let way = |datagram: &ToPeer| (datagram.socket, datagram.peer);
        if !self.to_peers.is_sorted_by_key(way) {
            self.to_peers.sort_by_key(way);
        }
        // A run is what one call can send: one socket, one setting of its Don't Fragment bit.
        for run in self
            .to_peers
            .chunk_by(|one, next| one.socket == next.socket && one.dont_fragment == next.dont_fragment)
        {
            let Some(open) = sockets.at(run[0].socket) else {
                run.iter().for_each(|_| self.dropped.count(ShardDrop::SocketClosed));
                continue;
            };
            if run[0].dont_fragment {
                open.socket.forbid_fragments();
            } else {
                open.socket.allow_fragments();
            }
            let datagrams = run.iter().map(|datagram| Outgoing {
                remote: datagram.peer,
                local: None,
                parts: [inbox.bytes(datagram.payload), &[], &[]],
            });
            open.socket.send(&mut self.batch, datagrams);
        }
        self.to_peers.clear();
    }

    fn send_to_clients(&mut self, inbox: &Inbox, listeners: &mut Listeners) {
        // Few listeners, each looked through once: what came from one relay socket stays together.
        for place in 0..listeners.len() {
            let of_listener = self.to_clients.iter().filter(|datagram| datagram.listener == place);
            let mut datagrams = of_listener
                .map(|datagram| Outgoing {
                    remote: datagram.remote,
                    local: Some(datagram.local.ip()),
                    parts: [
                        datagram.head.of(&self.heads),
                        inbox.bytes(datagram.payload),
                        &ZEROS[..datagram.padding],
                    ],
                })
                .peekable();
            if datagrams.peek().is_some()
                && let Some(listener) = listeners.at(place)
            {
                listener.send(&mut self.batch, datagrams);
            }
        }
        self.to_clients.clear();
        self.heads.clear();
    }

    /// Counts what a socket received and could not hand out.
    pub(super) fn drop_unaddressed(&mut self, count: u64) {
        (0..count).for_each(|_| self.dropped.count(ShardDrop::Unaddressed));
    }

    /// What became of datagrams sent.
    pub(super) fn counts(&self) -> &UdpCounts {
        &self.batch.counts
    }
}

/// Up to a multiple of four.
static ZEROS: [u8; 3] = [0; 3];

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use mio::Poll;

    use super::*;
    use crate::engine::ports::{RelaySocketKey, Transport};

    /// A peer, and two relay sockets in the places 0 and 1.
    fn world() -> (UdpSocket, SocketAddr, RelaySockets) {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let address = peer.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        let mut sockets = RelaySockets::new(1 << 20, poll.registry().try_clone().unwrap());
        let path = ClientPath { transport: Transport::Udp, client: address, local: address, connection: 0 };
        for place in 0..2 {
            sockets.open(RelaySocketKey(place), (Ipv4Addr::LOCALHOST, 0).into(), &path).unwrap();
        }
        (peer, address, sockets)
    }

    fn heard(peer: &UdpSocket, count: usize) -> Vec<(u8, SocketAddr)> {
        let mut buffer = [0; 16];
        (0..count)
            .map(|_| {
                let (_, from) = peer.recv_from(&mut buffer).unwrap();
                (buffer[0], from)
            })
            .collect()
    }

    #[test]
    fn interleaved_datagrams_of_two_clients_leave_as_two_messages_each_in_order() {
        let (peer, address, mut sockets) = world();
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        for number in 0..8u8 {
            let (socket, payload) = (usize::from(number % 2), inbox.keep(&[number; 10]));
            outbox.push_to_peer(ToPeer { socket, peer: address, payload, dont_fragment: false });
        }
        outbox.send_to_peers(&inbox, &mut sockets);
        assert_eq!((outbox.counts().datagrams_sent, outbox.counts().messages_sent), (8, 2));
        let heard = heard(&peer, 8);
        let numbers: Vec<u8> = heard.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 2, 4, 6, 1, 3, 5, 7]);
        assert!(heard[0].1 != heard[7].1 && heard[0].1 == heard[3].1);
        assert!(outbox.to_peers.is_empty());
    }

    #[test]
    fn a_dont_fragment_bit_concerns_only_its_own_datagrams() {
        let (peer, address, mut sockets) = world();
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        for (number, dont_fragment) in [(1, false), (2, true), (3, true), (4, false)] {
            let payload = inbox.keep(&[number; 10]);
            outbox.push_to_peer(ToPeer { socket: 0, peer: address, payload, dont_fragment });
        }
        outbox.send_to_peers(&inbox, &mut sockets);
        assert_eq!(heard(&peer, 4).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(outbox.counts().messages_sent, 3);
    }

    #[test]
    fn what_would_leave_by_a_closed_socket_is_counted() {
        let (_peer, address, mut sockets) = world();
        let (inbox, mut outbox) = (Inbox::default(), Outbox::default());
        sockets.close(RelaySocketKey(1));
        let datagram = ToPeer { socket: 1, peer: address, payload: Place::EMPTY, dont_fragment: false };
        outbox.push_to_peer(datagram);
        outbox.send_to_peers(&inbox, &mut sockets);
        assert_eq!(outbox.dropped.of(ShardDrop::SocketClosed), 1);
    }
}

//! A connected UDP socket: batches in with GRO and the kernel's arrival times, equal runs out with GSO.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::time::Instant;

use mio::Interest;
use mio::net::UdpSocket;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::{Clock, Place, Reading};
use crate::crew::limits::{open_udp, socket_error};
use crate::engine::ports::Transmits;
use crate::phone::PhoneError;

/// One socket to one address.
pub(in crate::crew) struct UdpLeg {
    socket: UdpSocket,
    state: UdpSocketState,
    remote: SocketAddr,
    port: u16,
    buffer_bytes: usize,
}

/// Room for what one call brings; one for each thread.
pub(in crate::crew) struct Batch {
    buffers: [Box<[u8]>; MESSAGES],
    metas: [RecvMeta; MESSAGES],
}

impl Default for Batch {
    fn default() -> Self {
        let buffers = std::array::from_fn(|_| vec![0; MESSAGE_BYTES].into_boxed_slice());
        Self { buffers, metas: [RecvMeta::default(); MESSAGES] }
    }
}

impl UdpLeg {
    /// A socket of its own port, watched for arrivals.
    pub(in crate::crew) fn open(remote: SocketAddr, place: Place<'_>) -> Result<Self, PhoneError> {
        let (socket, buffer_bytes) = open_udp(remote).map_err(|error| match error.kind() {
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable => {
                PhoneError::Unreachable(error.to_string())
            }
            // A destination that no datagram may go to, such as port 0 or a multicast address without a route.
            ErrorKind::InvalidInput | ErrorKind::PermissionDenied => {
                PhoneError::Unreachable(error.to_string())
            }
            _ => socket_error(&error),
        })?;
        let mut socket = UdpSocket::from_std(socket.into());
        let made = UdpSocketState::new(UdpSockRef::from(&socket));
        let registered = place.registry.register(&mut socket, place.token, Interest::READABLE);
        let local = socket.local_addr();
        match (made, registered, local) {
            (Ok(state), Ok(()), Ok(local)) => {
                Ok(Self { socket, state, remote, port: local.port(), buffer_bytes })
            }
            (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => Err(socket_error(&error)),
        }
    }

    /// Its own port.
    pub(in crate::crew) fn port(&self) -> u16 {
        self.port
    }

    /// Its receive buffer, as the kernel granted it.
    pub(in crate::crew) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Hands over what has arrived, each datagram with its arrival.
    pub(in crate::crew) fn receive(
        &mut self,
        clock: Clock,
        batch: &mut Batch,
        mut take: impl FnMut(Instant, &[u8]),
    ) -> Reading {
        for _ in 0..CALLS_MAX {
            let mut slices = batch.buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            let received = self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut batch.metas);
            let count = match received {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Reading::Done,
                // An ICMP answer to something sent before. Other datagrams may wait behind it.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Reading::Refused,
                // The same for unreachable hosts and networks: the engine finds out by its own timeouts.
                Err(_) => return Reading::More,
            };
            for (meta, buffer) in batch.metas.iter().zip(&batch.buffers).take(count) {
                let arrived = clock.instant_of(meta.timestamp);
                // A stride of 0 comes with an empty datagram, which has nothing to say.
                for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                    take(arrived, datagram);
                }
            }
            if count < MESSAGES {
                return Reading::Done;
            }
        }
        Reading::More
    }

    /// Sends each datagram; says how many the kernel did not take. Nobody waits: media that is late is of no use.
    pub(in crate::crew) fn send(&mut self, transmits: &Transmits) -> u64 {
        let mut unsent = 0;
        for (run, each) in transmits.runs(self.state.max_gso_segments(), RUN_BYTES_MAX) {
            if run.len() == each {
                unsent += u64::from(is_unsent(&self.socket.send(run)));
                continue;
            }
            let transmit = Transmit {
                destination: self.remote,
                ecn: None,
                contents: run,
                segment_size: Some(each),
                src_ip: None,
            };
            if self.state.try_send(UdpSockRef::from(&self.socket), &transmit).is_err() {
                // A device without GSO, or an ICMP answer that was in the way: one by one, once more.
                unsent +=
                    run.chunks(each).filter(|datagram| is_unsent(&self.socket.send(datagram))).count() as u64;
            }
        }
        unsent
    }
}

/// A refusal is the answer to something sent before: nobody listens there, which is the server's end and not ours.
fn is_unsent(sent: &io::Result<usize>) -> bool {
    sent.as_ref().is_err_and(|error| error.kind() != ErrorKind::ConnectionRefused)
}

/// What one call may bring: a caller's frame is one GRO message, seldom two.
const MESSAGES: usize = 8;

/// The most that GRO joins.
const MESSAGE_BYTES: usize = 65_536;

/// 32 messages, up to 2,000 datagrams; then others have their turn.
const CALLS_MAX: usize = 4;

/// The kernel's limit for a GSO message is 65,535 with headers.
const RUN_BYTES_MAX: usize = 65_000;

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;

    #[test]
    fn an_address_without_a_way_is_told_from_a_socket_that_fails() {
        let poll = Poll::new().unwrap();
        let place = Place { registry: poll.registry(), token: Token(1) };
        // Everybody at once: a socket must ask to be allowed that, on every machine.
        let error = UdpLeg::open("255.255.255.255:9".parse().unwrap(), place).err();
        assert!(matches!(error, Some(PhoneError::Unreachable(_))), "{error:?}");
    }

    #[test]
    fn runs_go_out_and_batches_come_in_with_their_arrival() {
        let poll = Poll::new().unwrap();
        let place = Place { registry: poll.registry(), token: Token(1) };
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut leg = UdpLeg::open(other.local_addr().unwrap(), place).unwrap();
        let mut transmits = Transmits::default();
        for length in [900, 900, 900, 100, 40] {
            transmits.push(&vec![length as u8; length]);
        }
        assert_eq!(leg.send(&transmits), 0);
        let mut buffer = [0; 2_048];
        let mut lengths = Vec::new();
        for _ in 0..5 {
            let (length, from) = other.recv_from(&mut buffer).unwrap();
            assert_eq!((from.port(), buffer[0]), (leg.port(), length as u8));
            lengths.push(length);
            other.send_to(&buffer[..length], from).unwrap();
        }
        assert_eq!(lengths, [900, 900, 900, 100, 40]);
        let (clock, mut came) = (Clock::read(), Vec::new());
        let reading = leg.receive(clock, &mut Batch::default(), |arrived, datagram| {
            assert!(arrived <= clock.now);
            came.push(datagram.len());
        });
        assert_eq!((reading, came), (Reading::Done, lengths));
    }
}

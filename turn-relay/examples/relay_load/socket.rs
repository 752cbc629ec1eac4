//! UDP sockets of clients and peers, and what their packets hold.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use hdrhistogram::Histogram;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt;

/// Stamp and number.
pub(crate) const PAYLOAD_BYTES_MIN: usize = 40;
/// What fits one network packet behind the longest header.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1_400;
/// A burst of 800 packets waits here until its reader has a processor; the kernel counts twice their bytes. On one machine
/// they count for their sender until then.
const BUFFER_BYTES: usize = 8 << 20;

/// A socket that takes trains and never waits.
pub(crate) struct Datagrams {
    pub(crate) socket: UdpSocket,
    state: UdpSocketState,
}

/// Room for what one call brings; one for each thread.
pub(crate) struct Batch {
    buffers: Vec<Vec<u8>>,
    metas: Vec<RecvMeta>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { buffers: vec![vec![0; 65_536]; MESSAGES], metas: vec![RecvMeta::default(); MESSAGES] }
    }
}

impl Datagrams {
    pub(crate) fn bind(local: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(local)?;
        Self::of(socket)
    }

    /// From here on the socket does not wait.
    pub(crate) fn of(socket: UdpSocket) -> io::Result<Self> {
        let (receive, send) = (
            sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES),
            sockopt::set_socket_send_buffer_size_force(&socket, BUFFER_BYTES),
        );
        if receive.is_err() || send.is_err() {
            // Without privilege, as much as the system grants.
            let socket = socket2::SockRef::from(&socket);
            socket.set_recv_buffer_size(BUFFER_BYTES)?;
            socket.set_send_buffer_size(BUFFER_BYTES)?;
        }
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state })
    }

    /// Hands over each train that has arrived: sender, bytes, and the size of each datagram in it.
    pub(crate) fn receive(
        &self,
        batch: &mut Batch,
        mut take: impl FnMut(SocketAddr, &[u8], usize),
    ) -> io::Result<()> {
        loop {
            let mut slices: Vec<IoSliceMut<'_>> =
                batch.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut batch.metas) {
                Ok(count) => {
                    drop(slices);
                    for (meta, buffer) in batch.metas.iter().zip(&batch.buffers).take(count) {
                        take(meta.addr, &buffer[..meta.len], meta.stride.max(1));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The answer to a datagram sent before.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends datagrams of `each` bytes as one train. What the kernel does not take is lost, as on a network.
    pub(crate) fn send_train(&self, to: SocketAddr, train: &[u8], each: usize) {
        for run in train.chunks(each * TRAIN_DATAGRAMS_MAX) {
            let segment_size = (run.len() > each).then_some(each);
            let transmit = Transmit { destination: to, ecn: None, contents: run, segment_size, src_ip: None };
            // Counted by whoever misses it.
            let _ = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        }
    }
}

/// Messages that one call may bring.
const MESSAGES: usize = 16;
/// Below 64 KiB with headers, at the largest payload.
const TRAIN_DATAGRAMS_MAX: usize = 40;

/// Payload number `number`, stamped with the time since `start`.
pub(crate) fn stamp(payload: &mut [u8], start: Instant, number: u64) {
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload[8..16].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
}

/// How long a payload was on its way, in microseconds.
pub(crate) fn age_us(payload: &[u8], start: Instant) -> u64 {
    let Some(sent) = payload.get(8..16).and_then(|bytes| bytes.try_into().ok()) else { return 0 };
    (start.elapsed().as_nanos() as u64).saturating_sub(u64::from_be_bytes(sent)) / 1_000
}

/// Up to a minute, in microseconds.
pub(crate) fn age_histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)
}

//! The kernel's room for datagrams that wait.

use std::io;

use socket2::Socket;

use super::set_option;

/// The kernel buffers a socket was granted, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BufferBytes {
    /// Datagrams that wait for the worker.
    pub(crate) receive: usize,
    /// Datagrams that wait for the network interface.
    pub(crate) send: usize,
}

impl BufferBytes {
    /// Whether the kernel granted less than `SOCKET_BUFFER_BYTES`.
    pub(crate) fn are_clamped(self) -> bool {
        self.receive < SOCKET_BUFFER_BYTES || self.send < SOCKET_BUFFER_BYTES
    }
}

/// Asks for `SOCKET_BUFFER_BYTES` both ways.
pub(super) fn size_buffers(socket: &Socket) -> io::Result<BufferBytes> {
    // The FORCE forms need a capability; where it is missing, the plain ones get what the sysctl allows.
    let wanted = SOCKET_BUFFER_BYTES as libc::c_int;
    if set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    }
    if set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted).is_err() {
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    }
    // The kernel doubles what it grants, for its own book-keeping, and reports the double.
    Ok(BufferBytes { receive: socket.recv_buffer_size()? / 2, send: socket.send_buffer_size()? / 2 })
}

/// 0.3 s of a full gigabit's small packets, the longest a worker can be kept from its socket by other processes.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 4 << 20;

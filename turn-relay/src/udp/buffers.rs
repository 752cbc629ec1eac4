//! The kernel's room for datagrams that wait.

use std::io;

use socket2::Socket;

use super::set_option;

/// Room in bytes, as asked for or as granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BufferBytes {
    /// For datagrams that wait for the shard.
    pub(crate) receive: usize,
    /// For datagrams that wait for the network interface.
    pub(crate) send: usize,
}

impl BufferBytes {
    /// Asks for this much; says what the kernel granted.
    pub(super) fn ask_for(self, socket: &Socket) -> io::Result<Self> {
        // The FORCE forms need a capability; where it is missing, the plain ones get what the sysctl allows.
        if set_option(socket, (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE), clamped(self.receive)).is_err() {
            socket.set_recv_buffer_size(self.receive)?;
        }
        if set_option(socket, (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE), clamped(self.send)).is_err() {
            socket.set_send_buffer_size(self.send)?;
        }
        // The kernel doubles what it grants, for its own book-keeping, and reports the double.
        Ok(Self { receive: socket.recv_buffer_size()? / 2, send: socket.send_buffer_size()? / 2 })
    }

    /// Whether this, granted, is less than what was asked for.
    pub(crate) fn is_less_than(self, asked: Self) -> bool {
        self.receive < asked.receive || self.send < asked.send
    }
}

/// Half of what the option's type holds, because the kernel doubles it.
fn clamped(bytes: usize) -> libc::c_int {
    bytes.min(1 << 30) as libc::c_int
}

//! What the system lets a process have: open files, room in sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size};
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::phone::PhoneError;

/// Each caller is an open file, and many systems begin with 1,024. What the system refuses stays as it is: the first
/// caller too many says so.
pub(super) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// A socket that only talks with `remote`, and the size of its receive buffer as granted.
pub(super) fn open_udp(remote: SocketAddr) -> io::Result<(Socket, usize)> {
    let (domain, any) = match remote {
        SocketAddr::V4(_) => (Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
        SocketAddr::V6(_) => (Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The kernel clamps silently to net.core.rmem_max; a privileged process may go beyond.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    if socket.recv_buffer_size()? < RECEIVE_BUFFER_BYTES {
        let _ = set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES);
    }
    let _ = set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES);
    socket.bind(&any.into())?;
    // Connected: the kernel lets nobody else in, and reports refusals.
    socket.connect(&remote.into())?;
    let granted = socket.recv_buffer_size()?;
    Ok((socket, granted))
}

/// The one failure that a person can mend gets its own line.
pub(super) fn socket_error(error: &io::Error) -> PhoneError {
    let is_limit = rustix::io::Errno::from_io_error(error)
        .is_some_and(|errno| matches!(errno, rustix::io::Errno::MFILE | rustix::io::Errno::NFILE));
    if is_limit { PhoneError::TooManySockets } else { PhoneError::Socket(error.to_string()) }
}

/// Half a second of 8 Mbit/s, of which the kernel counts each packet about twice.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// A whole page of a shared screen, 150 kB in one burst.
const SEND_BUFFER_BYTES: usize = 1 << 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_open_files_is_told_from_other_failures() {
        let error = |errno: rustix::io::Errno| socket_error(&io::Error::from(errno));
        assert_eq!(error(rustix::io::Errno::MFILE), PhoneError::TooManySockets);
        assert_eq!(error(rustix::io::Errno::NFILE), PhoneError::TooManySockets);
        assert!(matches!(error(rustix::io::Errno::NOBUFS), PhoneError::Socket(_)));
    }

    #[test]
    fn a_socket_gets_more_room_than_most_systems_begin_with() {
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (socket, granted) = open_udp(other.local_addr().unwrap()).unwrap();
        assert!(granted > 100_000 && granted == socket.recv_buffer_size().unwrap(), "{granted}");
    }
}

//! Every socket of a relay, bound before anything is started.

use std::io;
use std::net::SocketAddr;

use rustix::thread::{CpuSet, sched_getaffinity};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;

use super::StartError;
use crate::settings::RelaySettings;
use crate::udp::{LISTENER_BUFFER_BYTES, UdpListener};

/// All of them.
pub(super) struct Sockets {
    /// For each shard, its socket of each address in `listen`.
    pub(super) udp: Vec<Vec<UdpListener>>,
    /// Those of `listen` first, then those of `tls_listen`.
    pub(super) tcp: Vec<TcpListener>,
    pub(super) rest: TcpListener,
}

/// Binds what the settings say, for so many shards.
pub(super) fn all(settings: &RelaySettings, shards: usize) -> Result<Sockets, StartError> {
    let mut tcp = Vec::new();
    let mut udp: Vec<Vec<UdpListener>> = (0..shards).map(|_| Vec::new()).collect();
    for address in &settings.listen {
        let Some((stream, datagrams)) = both("listen", *address, shards)? else { continue };
        tcp.push(stream);
        udp.iter_mut().zip(datagrams).for_each(|(of_shard, listener)| of_shard.push(listener));
    }
    if tcp.is_empty() {
        let address = settings.listen.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
        let error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        return Err(StartError::Bind { key: "listen", address, error });
    }
    for address in settings.tls_listen() {
        match stream(address) {
            Ok(listener) => tcp.push(listener),
            Err(error) if is_missing_family(address, &error) => {}
            Err(error) => return Err(refusal("tls_listen", "TCP", address, error)),
        }
    }
    let rest = stream(settings.rest_listen)
        .map_err(|error| refusal("rest_listen", "TCP", settings.rest_listen, error))?;
    let clamped = udp.iter().flatten().find(|listener| listener.is_clamped());
    if let Some(listener) = clamped {
        let granted = listener.buffer_bytes();
        tracing::warn!(
            wanted = LISTENER_BUFFER_BYTES.receive,
            receive = granted.receive,
            send = granted.send,
            "small socket buffers lose packets under load: raise net.core.rmem_max and net.core.wmem_max"
        );
    }
    Ok(Sockets { udp, tcp, rest })
}

/// One address for TCP and, in each shard, for UDP. `None`: this machine has no such family.
fn both(
    key: &'static str,
    address: SocketAddr,
    shards: usize,
) -> Result<Option<(TcpListener, Vec<UdpListener>)>, StartError> {
    let mut attempts_left = if address.port() == 0 { FREE_PORT_ATTEMPTS_MAX } else { 1 };
    loop {
        attempts_left -= 1;
        let listener = match stream(address) {
            Ok(listener) => listener,
            Err(error) if is_missing_family(address, &error) => {
                tracing::info!(%address, "not listened on: this machine has no IPv6");
                return Ok(None);
            }
            Err(error) => return Err(refusal(key, "TCP", address, error)),
        };
        // Port 0 is chosen once, for both.
        let chosen = listener.local_addr()?;
        match datagrams(chosen, shards) {
            Ok(datagrams) => return Ok(Some((listener, datagrams))),
            Err(_) if attempts_left > 0 => {}
            Err(error) => return Err(refusal(key, "UDP", chosen, error)),
        }
    }
}

/// A socket for each shard, all on one address.
fn datagrams(address: SocketAddr, shards: usize) -> io::Result<Vec<UdpListener>> {
    if shards == 1 {
        return Ok(vec![UdpListener::bind(address, false)?]);
    }
    // With SO_REUSEPORT the system would let two relays of one user share a port, and each would lose half its clients.
    drop(UdpListener::bind(address, false)?);
    (0..shards).map(|_| UdpListener::bind(address, true)).collect()
}

fn stream(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Otherwise connections of the process before keep the port for a minute.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own, so that no address is ever mapped.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The processors this process may run on, by number.
pub(super) fn allowed_processors() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect()
}

/// `[::]` stands in the default, and not every machine has IPv6.
fn is_missing_family(address: SocketAddr, error: &io::Error) -> bool {
    let is_missing = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
    is_missing && address.is_ipv6() && address.ip().is_unspecified()
}

fn refusal(key: &'static str, protocol: &str, address: SocketAddr, error: io::Error) -> StartError {
    StartError::Bind { key, address: format!("{protocol} {address}"), error }
}

/// A join storm's connections while the acceptor waits for its turn.
const BACKLOG: i32 = 1024;

/// The kernel chose a port that is free for TCP; another process may have it for UDP.
const FREE_PORT_ATTEMPTS_MAX: u32 = 16;

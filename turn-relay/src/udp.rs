//! A shard's UDP sockets, and its thread's place on a processor: the only unsafe code of this crate.
//!
//! ```text
//! listener, relay sockets ─▶ recvmmsg ─▶ ReceiveBatch ─▶ Datagram …     Outgoing … ─▶ SendBatch ─▶ sendmmsg
//!                             UDP_GRO     PKTINFO: which of our addresses   head and payload apart   UDP_SEGMENT
//! ```
//!
//! IPv4 and IPv6 have sockets of their own, so that nothing is ever mapped. Both ways a message of the kernel may be a
//! train of equal-sized datagrams. What is sent is never copied: a head made here and a payload that still lies where it
//! was received are gathered by the kernel. A message that the kernel refuses is counted and skipped; its neighbours still
//! go. A train that it refuses goes singly, now and from then on.
#![expect(unsafe_code, reason = "the kernel's batch calls and thread attributes have no safe form in std")]

mod buffers;
mod counts;
mod messages;
mod receive;
mod send;
mod send_wait;
#[cfg(test)]
mod tests;
mod trains;

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use self::buffers::BufferBytes;
pub(crate) use self::counts::UdpCounts;
use self::receive::BATCH_MESSAGES;
pub(crate) use self::receive::{Datagram, ReceiveBatch, Received, Span};
pub(crate) use self::send::{Outgoing, SendBatch};
use self::send_wait::{RefusedMessage, SendWait, Step};
use self::trains::{Trains, is_train_refused};
use crate::engine::ports::Family;

/// Where clients' datagrams arrive and leave from.
#[derive(Debug)]
pub(crate) struct UdpListener {
    udp: Udp,
    local: SocketAddr,
    buffer_bytes: BufferBytes,
}

impl UdpListener {
    /// Binds `addr`; port 0 lets the kernel choose. With `reuse_port`, several sockets share the address, and the kernel
    /// gives each client to one of them for as long as their number stays the same.
    ///
    /// # Errors
    /// The kernel's, above all that the port is in use.
    pub(crate) fn bind(addr: SocketAddr, reuse_port: bool) -> io::Result<Self> {
        let family = Family::of(addr.ip());
        let socket = open(family)?;
        if reuse_port {
            set_option(&socket, (libc::SOL_SOCKET, libc::SO_REUSEPORT), 1)?;
        }
        match family {
            Family::V4 => set_option(&socket, (libc::IPPROTO_IP, libc::IP_PKTINFO), 1)?,
            Family::V6 => set_option(&socket, (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), 1)?,
        }
        let buffer_bytes = LISTENER_BUFFER_BYTES.ask_for(&socket)?;
        socket.bind(&addr.into())?;
        // Invariant: a UDP socket of these families has such an address.
        let local = socket.local_addr()?.as_socket().unwrap_or(addr);
        let udp = Udp::new(socket, family, (Trains::of_listener(), LISTENER_PATIENCE));
        Ok(Self { udp, local, buffer_bytes })
    }

    /// What it is bound to.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What the kernel granted.
    pub(crate) fn buffer_bytes(&self) -> BufferBytes {
        self.buffer_bytes
    }

    /// Whether the kernel granted less than was asked for: an operator should raise its sysctl.
    pub(crate) fn is_clamped(&self) -> bool {
        self.buffer_bytes.is_less_than(LISTENER_BUFFER_BYTES)
    }

    /// Takes what has arrived; see [`Received`].
    ///
    /// # Errors
    /// Only that the socket itself is broken.
    pub(crate) fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<Received> {
        self.udp.receive(batch, BATCH_MESSAGES)
    }

    /// Sends datagrams in order. What the kernel refuses is counted in `batch.counts`, not retried.
    pub(crate) fn send<'a>(&mut self, batch: &mut SendBatch, datagrams: impl Iterator<Item = Outgoing<'a>>) {
        self.udp.send(batch, datagrams);
    }

    /// To be registered with a poll.
    pub(crate) fn source(&mut self) -> &mut UdpSocket {
        &mut self.udp.socket
    }
}

/// The socket of one relayed address.
#[derive(Debug)]
pub(crate) struct RelaySocket {
    udp: Udp,
    is_fragmenting: bool,
}

impl RelaySocket {
    /// Binds `local`, of which nobody else may have a part.
    ///
    /// # Errors
    /// The kernel's: the port is in use, or there is no descriptor left.
    pub(crate) fn open(local: SocketAddr, receive_buffer_bytes: usize) -> io::Result<Self> {
        let family = Family::of(local.ip());
        let socket = open(family)?;
        BufferBytes { receive: receive_buffer_bytes, send: RELAY_SEND_BUFFER_BYTES }.ask_for(&socket)?;
        socket.bind(&local.into())?;
        Ok(Self { udp: Udp::new(socket, family, (Trains::of_relay(), RELAY_PATIENCE)), is_fragmenting: true })
    }

    /// As [`UdpListener::receive`].
    ///
    /// # Errors
    /// Only that the socket itself is broken.
    pub(crate) fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<Received> {
        self.udp.receive(batch, RELAY_MESSAGES)
    }

    /// As [`UdpListener::send`]; the socket's own address is where they leave from.
    pub(crate) fn send<'a>(&mut self, batch: &mut SendBatch, datagrams: impl Iterator<Item = Outgoing<'a>>) {
        self.udp.send(batch, datagrams);
    }

    /// From now on what is sent has the Don't Fragment bit; what the interface cannot take whole is dropped.
    pub(crate) fn forbid_fragments(&mut self) {
        if self.is_fragmenting {
            self.is_fragmenting = set_discovery(&self.udp.socket, self.udp.family, Discovery::Probe).is_err();
        }
    }

    /// From now on routers may cut what is sent, as they may from the start.
    pub(crate) fn allow_fragments(&mut self) {
        if !self.is_fragmenting {
            self.is_fragmenting = set_discovery(&self.udp.socket, self.udp.family, Discovery::Omit).is_ok();
        }
    }

    /// To be registered with a poll.
    pub(crate) fn source(&mut self) -> &mut UdpSocket {
        &mut self.udp.socket
    }
}

/// What both kinds of sockets have.
#[derive(Debug)]
struct Udp {
    socket: UdpSocket,
    family: Family,
    trains: Trains,
    /// How long one `send` waits for room in the send buffer.
    patience: Duration,
    /// The kernel's count of datagrams that found the receive buffer full.
    overflowed: u32,
}

impl Udp {
    fn new(socket: Socket, family: Family, (trains, patience): (Trains, Duration)) -> Self {
        let socket = UdpSocket::from_std(socket.into());
        Self { socket, family, trains, patience, overflowed: 0 }
    }

    fn receive(&mut self, batch: &mut ReceiveBatch, most: usize) -> io::Result<Received> {
        let first = batch.filled;
        let room = batch.point_at_buffers(first, most);
        // SAFETY: the headers from `first` on were just pointed at buffers that `batch` owns and that outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                batch.headers[first..].as_mut_ptr(),
                room as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        batch.counts.receive_calls += 1;
        if let Ok(count) = usize::try_from(received) {
            let messages = first..first + count;
            batch.filled = messages.end;
            let unaddressed = batch.parse(messages.clone(), &mut self.overflowed);
            return Ok(Received { messages, is_drained: count < room, unaddressed });
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(Received::nothing(first, true)),
            Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL | libc::ENOSYS) => Err(error),
            // An ICMP answer to an earlier datagram, or a kernel short of memory for a moment. Datagrams may wait behind
            // it, and no edge will come for them.
            _ => {
                batch.counts.receive_errors += 1;
                Ok(Received::nothing(first, false))
            }
        }
    }

    fn send<'a>(&mut self, batch: &mut SendBatch, datagrams: impl Iterator<Item = Outgoing<'a>>) {
        // One allowance for the whole call: a jammed interface must not hold the shard for longer.
        let mut wait = SendWait::new(self.patience);
        batch.clear();
        for datagram in datagrams {
            if !batch.push(&datagram, &self.trains) {
                self.flush(batch, &mut wait);
                batch.clear();
                // Invariant: an empty batch has room.
                batch.push(&datagram, &self.trains);
            }
        }
        self.flush(batch, &mut wait);
        // What the vectors point at is borrowed no longer.
        batch.clear();
    }

    fn flush(&mut self, batch: &mut SendBatch, wait: &mut SendWait) {
        let count = batch.messages.as_slice().len();
        (0..count).for_each(|index| batch.write_header(index));
        let mut done = 0;
        while done < count {
            let error = match self.send_messages(&mut batch.headers[done..count]) {
                Ok(sent) => {
                    for message in &batch.messages.as_slice()[done..done + sent] {
                        batch.counts.note_sent(message.count);
                    }
                    done += sent;
                    continue;
                }
                Err(error) => error,
            };
            let rest = &batch.messages.as_slice()[done..];
            let message = rest[0];
            if message.count > 1 && is_train_refused(&error) {
                batch.counts.trains_refused += 1;
                self.trains.refuse(message.route.remote, message.segment_bytes, &error);
                self.send_singly(batch, done, wait);
                done += 1;
                continue;
            }
            let waiting = rest.iter().map(|message| message.count).sum();
            let refused = RefusedMessage { datagrams: message.count, waiting };
            done += match wait.step_over(&mut batch.counts, &error, refused, |most| self.wait_writable(most))
            {
                Step::Again => 0,
                Step::Next => 1,
                Step::End => rest.len(),
            };
        }
    }

    /// Sends a refused train's datagrams, each as a message of its own.
    fn send_singly(&self, batch: &mut SendBatch, index: usize, wait: &mut SendWait) {
        let message = batch.messages.as_slice()[index];
        for place in message.places() {
            batch.write_lone_header(index, place);
            loop {
                let error = match self.send_messages(&mut batch.headers[index..=index]) {
                    Ok(_) => {
                        batch.counts.note_sent(1);
                        break;
                    }
                    Err(error) => error,
                };
                let refused = RefusedMessage { datagrams: 1, waiting: message.places().end - place };
                match wait.step_over(&mut batch.counts, &error, refused, |most| self.wait_writable(most)) {
                    Step::Again => {}
                    Step::Next => break,
                    Step::End => return,
                }
            }
        }
    }

    /// How many of the messages the kernel took, at least one; or what it has against the first.
    fn send_messages(&self, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
        // SAFETY: every header was just pointed at a name, a control buffer and vectors that outlive the call, because
        // `SendBatch` owns them, and the vectors at datagrams of which `send` holds the borrow.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn wait_writable(&self, for_at_most: Duration) {
        let mut descriptor = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        let timeout = libc::timespec {
            tv_sec: for_at_most.as_secs() as libc::time_t,
            tv_nsec: for_at_most.subsec_nanos().into(),
        };
        // SAFETY: the descriptor and the time outlive the call. An interrupted wait is a short wait, which callers expect.
        unsafe {
            libc::ppoll(&raw mut descriptor, 1, &raw const timeout, std::ptr::null());
        }
    }
}

/// A message's header that points nowhere.
fn empty_header() -> libc::mmsghdr {
    // SAFETY: a plain C structure for which zero bytes are a valid value.
    unsafe { zeroed() }
}

/// Room for a name of either family, with none in it.
fn any_name() -> libc::sockaddr_storage {
    // SAFETY: as above.
    unsafe { zeroed() }
}

/// Room for a name of either family that is to be written.
fn any_name_v6() -> libc::sockaddr_in6 {
    // SAFETY: as above.
    unsafe { zeroed() }
}

fn set_control(header: &mut libc::msghdr, control: &mut Control, length: usize) {
    header.msg_control = if length == 0 { std::ptr::null_mut() } else { control.0.as_mut_ptr().cast() };
    header.msg_controllen = length as _;
}

/// One message's control data, aligned as the kernel's macros want it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

impl Default for Control {
    fn default() -> Self {
        Self([0; CONTROL_BYTES])
    }
}

/// What a received message's control data says.
#[derive(Default)]
struct ReceivedControl {
    local: Option<IpAddr>,
    overflowed: Option<u32>,
    /// The message is a train of datagrams so long; the last may be shorter.
    segment_bytes: Option<usize>,
}

fn read_control(header: &libc::msghdr) -> ReceivedControl {
    let mut read = ReceivedControl::default();
    // SAFETY: the kernel filled `msg_controllen` bytes of a buffer of ours; the macros stay within them, and each value
    // is read unaligned and only as long as its own message's type says.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    read.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = data.cast::<libc::in_pktinfo>().read_unaligned();
                    read.local = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    read.overflowed = Some(data.cast::<u32>().read_unaligned());
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let bytes = usize::try_from(data.cast::<libc::c_int>().read_unaligned());
                    read.segment_bytes = bytes.ok().filter(|bytes| *bytes > 0);
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    read
}

/// Writes the control data that makes a datagram leave from `local`; its length.
fn write_source(local: IpAddr, control: &mut Control) -> usize {
    match local {
        IpAddr::V6(local) => {
            let address = libc::in6_addr { s6_addr: local.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            put_control((control, 0), (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info)
        }
        IpAddr::V4(local) => {
            let source = libc::in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
            let any = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
            put_control((control, 0), (libc::IPPROTO_IP, libc::IP_PKTINFO), info)
        }
    }
}

/// Writes one control message behind the `used` bytes of those before; the bytes used then.
fn put_control<T>(
    (control, used): (&mut Control, usize),
    (level, kind): (libc::c_int, libc::c_int),
    value: T,
) -> usize {
    // SAFETY: plain arithmetic on a small size.
    let (space, length) =
        unsafe { (libc::CMSG_SPACE(size_of::<T>() as u32), libc::CMSG_LEN(size_of::<T>() as u32)) };
    let end = used + space as usize;
    assert!(end <= CONTROL_BYTES, "the control messages fit their buffer");
    let header = control.0[used..].as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: the buffer is aligned for a header, as is every space before this one, and holds header and value.
    unsafe {
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = length as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
    end
}

fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let name = &raw const *name;
    // SAFETY: the storage is large and aligned enough for both, and the family says which one it holds.
    unsafe {
        match libc::c_int::from((*name).ss_family) {
            libc::AF_INET => {
                let name = &*name.cast::<libc::sockaddr_in>();
                let address = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
            }
            libc::AF_INET6 => {
                let name = &*name.cast::<libc::sockaddr_in6>();
                let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
                // The flow label is not part of who the sender is.
                Some(SocketAddrV6::new(address, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// Writes where a datagram goes; the name's length. A name of the other family is refused by the kernel, and counted so.
fn write_name(remote: SocketAddr, name: &mut libc::sockaddr_in6) -> libc::socklen_t {
    match remote {
        SocketAddr::V4(remote) => {
            // SAFETY: the IPv6 name is larger than the IPv4 one and aligned as it is.
            let name = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = remote.port().to_be();
            name.sin_addr.s_addr = u32::from_ne_bytes(remote.ip().octets());
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(remote) => {
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = remote.port().to_be();
            name.sin6_flowinfo = 0;
            name.sin6_addr.s6_addr = remote.ip().octets();
            name.sin6_scope_id = remote.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// A socket with everything that both kinds have, not yet bound.
fn open(family: Family) -> io::Result<Socket> {
    let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    set_option(&socket, (libc::SOL_SOCKET, libc::SO_RXQ_OVFL), 1)?;
    // Before Linux 5.0 trains of received datagrams come singly.
    let _ = set_option(&socket, (libc::SOL_UDP, libc::UDP_GRO), 1);
    // Before Linux 3.15 what strangers claim about a path's MTU is believed.
    let _ = set_discovery(&socket, family, Discovery::Omit);
    Ok(socket)
}

/// What the kernel does about datagrams longer than a path may take.
#[derive(Debug, Clone, Copy)]
enum Discovery {
    /// Lets them be cut. What ICMP says about the path is not believed: anybody can send that.
    Omit,
    /// Sends them with the Don't Fragment bit; the sender finds out for itself what arrives.
    Probe,
}

fn set_discovery(socket: &impl AsRawFd, family: Family, discovery: Discovery) -> io::Result<()> {
    match (family, discovery) {
        (Family::V4, Discovery::Omit) => {
            set_option(socket, (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), libc::IP_PMTUDISC_OMIT)
        }
        (Family::V4, Discovery::Probe) => {
            set_option(socket, (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), libc::IP_PMTUDISC_PROBE)
        }
        (Family::V6, Discovery::Omit) => {
            set_option(socket, (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER), libc::IPV6_PMTUDISC_OMIT)
        }
        (Family::V6, Discovery::Probe) => {
            set_option(socket, (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER), libc::IPV6_PMTUDISC_PROBE)
        }
    }
}

fn set_option(
    socket: &impl AsRawFd,
    (level, name): (libc::c_int, libc::c_int),
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value outlives the call and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps the calling thread on one processor.
///
/// # Errors
/// When the processor is not there or not allowed.
pub(crate) fn pin_thread(processor: usize) -> io::Result<()> {
    if processor >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: a plain bit set; the bit is within its size; the call only reads it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Holds PKTINFO (40 bytes), the overflow count (24) and a train's segment size (24).
const CONTROL_BYTES: usize = 128;

/// 0.3 s of a full gigabit's small packets, the longest a shard can be kept from its socket by other processes.
pub(crate) const LISTENER_BUFFER_BYTES: BufferBytes = BufferBytes { receive: 4 << 20, send: 4 << 20 };

/// A listener is everybody's, so a moment's jam of the interface is waited for. Media older than this is better lost: the
/// receiver asks again, and the next datagrams have come in meanwhile.
const LISTENER_PATIENCE: Duration = Duration::from_millis(2);

/// A relay socket is one client's: whoever sends more than its buffer holds makes nobody wait.
const RELAY_PATIENCE: Duration = Duration::ZERO;

/// Messages of one look at a relay socket. A peer's packets mostly come as one train, and making ready costs for each place.
const RELAY_MESSAGES: usize = 4;

/// What one client may have on its way to the interface: half a second of 16 Mbit/s.
const RELAY_SEND_BUFFER_BYTES: usize = 1 << 20;

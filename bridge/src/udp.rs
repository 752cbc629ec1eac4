//! A worker's UDP socket, and the few other system calls a worker thread needs: the only unsafe code of this crate.
//!
//! ```text
//! recvmmsg ─▶ ReceiveBatch ─▶ (Path, &mut [u8]) …        (Path, &[u8]) … ─▶ SendBatch ─▶ sendmmsg
//!             PKTINFO says which of our addresses            PKTINFO makes the reply leave from there
//! ```
//!
//! One dual-stack socket per worker; where IPv6 is absent, an IPv4 one. IPv4 addresses are always handed out as IPv4.
//! A message of a batch that the kernel refuses is counted and skipped; its neighbours still go. The messages of a
//! send batch each own a range of the vector array, so that a later one can carry several datagrams (GSO).
#![expect(
    unsafe_code,
    reason = "the kernel's batch calls, eventfd and thread attributes have no safe form in std"
)]

mod send_wait;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use self::send_wait::SendWait;
use crate::engine::ports::Path;

/// One worker's media socket.
#[derive(Debug)]
pub(crate) struct MediaSocket {
    socket: Socket,
    family: Family,
    port: u16,
    buffer_bytes: BufferBytes,
}

/// What the socket's address family lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv6, and IPv4 mapped into it.
    Dual,
    /// IPv4 alone: the machine has no IPv6.
    V4,
}

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

impl MediaSocket {
    /// Binds every local address on `port`; 0 lets the kernel choose.
    ///
    /// # Errors
    /// The kernel's, above all that the port is in use.
    pub(crate) fn bind(port: u16) -> io::Result<Self> {
        match Self::bind_family(Family::Dual, port) {
            Err(error) if is_family_missing(&error) => Self::bind_family(Family::V4, port),
            bound => bound,
        }
    }

    fn bind_family(family: Family, port: u16) -> io::Result<Self> {
        let (domain, any) = match family {
            Family::Dual => (Domain::IPV6, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
            Family::V4 => (Domain::IPV4, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        match family {
            Family::Dual => {
                socket.set_only_v6(false)?;
                set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            }
            Family::V4 => set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
        }
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        let buffer_bytes = size_buffers(&socket)?;
        socket.bind(&SocketAddr::new(any, port).into())?;
        let port = socket.local_addr()?.as_socket().map_or(port, |address| address.port());
        Ok(Self { socket, family, port, buffer_bytes })
    }

    /// The port it is bound to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Which addresses reach it.
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// What the kernel granted.
    pub(crate) fn buffer_bytes(&self) -> BufferBytes {
        self.buffer_bytes
    }

    /// Takes what has arrived, up to `BATCH_DATAGRAMS`, without waiting, and says how much that was. Fewer than a whole
    /// batch means that the socket is empty.
    ///
    /// # Errors
    /// Only that the socket itself is broken; an error left over from an earlier datagram, or a kernel short of memory for a
    /// moment, counts as nothing received.
    pub(crate) fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.count = 0;
        batch.point_at_buffers();
        // SAFETY: the first BATCH_DATAGRAMS headers were just pointed at buffers that `batch` owns and that outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                batch.headers.as_mut_ptr(),
                BATCH_DATAGRAMS as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if let Ok(count) = usize::try_from(received) {
            batch.count = count;
            batch.parse();
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL | libc::ENOSYS) => Err(error),
            _ => Ok(0),
        }
    }

    /// Sends every datagram of `datagrams`, in order. What the kernel refuses is counted in `batch.counts`, not retried.
    pub(crate) fn send<'a>(&self, batch: &mut SendBatch, datagrams: impl Iterator<Item = (Path, &'a [u8])>) {
        let mut datagrams = datagrams.peekable();
        // One allowance for the whole call: a jammed interface must not hold the worker for longer.
        let mut wait = SendWait::default();
        while datagrams.peek().is_some() {
            batch.clear();
            for (path, datagram) in datagrams.by_ref().take(SEND_BATCH_DATAGRAMS) {
                batch.push(self.family, path, datagram);
            }
            self.flush(batch, &mut wait);
        }
    }

    fn flush(&self, batch: &mut SendBatch, wait: &mut SendWait) {
        batch.point_at_buffers();
        let mut done = 0;
        while done < batch.headers.len() {
            let rest = &mut batch.headers[done..];
            // SAFETY: every header was just pointed at a name, a control buffer and a datagram that outlive the call:
            // `batch` owns the first two, and `send` holds the borrow of the third.
            let sent = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if let Ok(count) = usize::try_from(sent) {
                let bytes: u64 = rest[..count].iter().map(|header| u64::from(header.msg_len)).sum();
                batch.counts.sent += count as u64;
                batch.counts.sent_bytes += bytes;
                done += count;
                continue;
            }
            done += self.step_over(&mut batch.counts, wait, batch.headers.len() - done);
        }
    }

    /// The first message of the rest was refused: says how many to skip (0: try it again).
    fn step_over(&self, counts: &mut SendCounts, wait: &mut SendWait, rest: usize) -> usize {
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => 0,
            Some(libc::EAGAIN) if wait.is_left() => {
                wait.spend(|for_at_most| wait_writable(self.socket.as_raw_fd(), for_at_most));
                0
            }
            Some(libc::EAGAIN) => {
                counts.queue_full += rest as u64;
                rest
            }
            Some(libc::ENOBUFS | libc::ENOMEM) => {
                counts.queue_full += 1;
                1
            }
            // Left over from an ICMP answer to an earlier datagram: this one was not tried.
            Some(libc::ECONNREFUSED) if wait.may_retry() => 0,
            Some(libc::EMSGSIZE) => {
                counts.too_large += 1;
                1
            }
            _ => {
                counts.refused += 1;
                1
            }
        }
    }
}

/// Room for one batch of received datagrams; allocated once per worker.
pub(crate) struct ReceiveBatch {
    buffers: Box<[[u8; DATAGRAM_BYTES_MAX]]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    paths: Box<[Option<Path>]>,
    count: usize,
    /// The kernel's own count of datagrams that found its receive buffer full, since the socket was made.
    pub(crate) overflowed: u64,
    /// Datagrams longer than `DATAGRAM_BYTES_MAX`, dropped.
    pub(crate) truncated: u64,
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        // SAFETY: all of these are plain C structures for which zero bytes are a valid value.
        let (name, vector, header) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Self {
            buffers: vec![[0; DATAGRAM_BYTES_MAX]; BATCH_DATAGRAMS].into_boxed_slice(),
            names: vec![name; BATCH_DATAGRAMS].into_boxed_slice(),
            controls: vec![Control::default(); BATCH_DATAGRAMS].into_boxed_slice(),
            vectors: vec![vector; BATCH_DATAGRAMS].into_boxed_slice(),
            headers: vec![header; BATCH_DATAGRAMS].into_boxed_slice(),
            paths: vec![None; BATCH_DATAGRAMS].into_boxed_slice(),
            count: 0,
            overflowed: 0,
            truncated: 0,
        }
    }
}

impl ReceiveBatch {
    /// Hands each datagram with its path to `handle`, which may change its bytes. Truncated ones are left out.
    pub(crate) fn for_each(&mut self, mut handle: impl FnMut(Path, &mut [u8])) {
        for index in 0..self.count {
            let Some(path) = self.paths[index] else { continue };
            let length = (self.headers[index].msg_len as usize).min(DATAGRAM_BYTES_MAX);
            handle(path, &mut self.buffers[index][..length]);
        }
    }

    fn point_at_buffers(&mut self) {
        for index in 0..BATCH_DATAGRAMS {
            self.vectors[index] = libc::iovec {
                iov_base: self.buffers[index].as_mut_ptr().cast(),
                iov_len: DATAGRAM_BYTES_MAX,
            };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES as _;
            header.msg_flags = 0;
        }
    }

    fn parse(&mut self) {
        for index in 0..self.count {
            let header = &self.headers[index].msg_hdr;
            let control = read_control(header);
            if let Some(overflowed) = control.overflowed {
                // The kernel counts in 32 bits; the difference is right across a wrap.
                let step = overflowed.wrapping_sub(self.overflowed as u32);
                self.overflowed += u64::from(step);
            }
            let is_truncated = header.msg_flags & libc::MSG_TRUNC != 0;
            self.truncated += u64::from(is_truncated);
            let remote = read_name(&self.names[index]);
            self.paths[index] = match (remote, control.local) {
                (Some(remote), Some(local)) if !is_truncated => Some(Path { remote, local }),
                _ => None,
            };
        }
    }
}

/// Room for one batch of datagrams to send, and what became of all that were sent; allocated once per worker.
pub(crate) struct SendBatch {
    names: Vec<libc::sockaddr_storage>,
    name_lengths: Vec<libc::socklen_t>,
    controls: Vec<Control>,
    control_lengths: Vec<usize>,
    vectors: Vec<libc::iovec>,
    /// One message each: the vectors from here to the next message's start are its datagrams.
    starts: Vec<usize>,
    headers: Vec<libc::mmsghdr>,
    /// Since the batch was made.
    pub(crate) counts: SendCounts,
}

/// What became of datagrams handed to the kernel, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SendCounts {
    /// Datagrams the kernel took.
    pub(crate) sent: u64,
    /// Their UDP payload.
    pub(crate) sent_bytes: u64,
    /// Dropped: the send buffer or the interface's queue stayed full.
    pub(crate) queue_full: u64,
    /// Dropped: larger than the path's known MTU allows.
    pub(crate) too_large: u64,
    /// Dropped: no route, a firewall's refusal, or an address that cannot be sent to.
    pub(crate) refused: u64,
}

impl Default for SendBatch {
    fn default() -> Self {
        Self {
            names: Vec::with_capacity(SEND_BATCH_DATAGRAMS),
            name_lengths: Vec::with_capacity(SEND_BATCH_DATAGRAMS),
            controls: Vec::with_capacity(SEND_BATCH_DATAGRAMS),
            control_lengths: Vec::with_capacity(SEND_BATCH_DATAGRAMS),
            vectors: Vec::with_capacity(SEND_BATCH_DATAGRAMS),
            starts: Vec::with_capacity(SEND_BATCH_DATAGRAMS),
            headers: Vec::with_capacity(SEND_BATCH_DATAGRAMS),
            counts: SendCounts::default(),
        }
    }
}

impl SendBatch {
    fn clear(&mut self) {
        self.names.clear();
        self.name_lengths.clear();
        self.controls.clear();
        self.control_lengths.clear();
        self.vectors.clear();
        self.starts.clear();
        self.headers.clear();
    }

    fn push(&mut self, family: Family, path: Path, datagram: &[u8]) {
        let (name, name_length) = write_name(family, path.remote);
        let (control, control_length) = write_control(family, path.local);
        self.names.push(name);
        self.name_lengths.push(name_length);
        self.controls.push(control);
        self.control_lengths.push(control_length);
        self.starts.push(self.vectors.len());
        // sendmmsg only reads through this pointer; the C structure has no const form.
        self.vectors
            .push(libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() });
    }

    fn point_at_buffers(&mut self) {
        for index in 0..self.starts.len() {
            let start = self.starts[index];
            let end = self.starts.get(index + 1).copied().unwrap_or(self.vectors.len());
            // SAFETY: a plain C structure for which zero bytes are a valid value.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            message.msg_hdr.msg_name = (&raw mut self.names[index]).cast();
            message.msg_hdr.msg_namelen = self.name_lengths[index];
            message.msg_hdr.msg_iov = &raw mut self.vectors[start];
            message.msg_hdr.msg_iovlen = (end - start) as _;
            if self.control_lengths[index] > 0 {
                message.msg_hdr.msg_control = self.controls[index].0.as_mut_ptr().cast();
                message.msg_hdr.msg_controllen = self.control_lengths[index] as _;
            }
            self.headers.push(message);
        }
    }
}

/// A kernel object that any thread can make readable: an eventfd, non-blocking.
///
/// # Errors
/// When the process is out of file descriptors.
pub(crate) fn event() -> io::Result<File> {
    // SAFETY: takes two integers and gives a new descriptor or -1.
    let event = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, valid, and owned by nobody else.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(event) }))
}

/// Waits until the socket has datagrams, `event` is readable, or `timeout` is over. True when `event` is.
pub(crate) fn wait(socket: &MediaSocket, event: &File, timeout: Duration) -> bool {
    let mut descriptors = [
        libc::pollfd { fd: socket.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: event.as_raw_fd(), events: libc::POLLIN, revents: 0 },
    ];
    poll(&mut descriptors, timeout);
    descriptors[1].revents != 0
}

fn wait_writable(descriptor: RawFd, timeout: Duration) {
    poll(&mut [libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 }], timeout);
}

fn poll(descriptors: &mut [libc::pollfd], timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().min(3600) as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the array and the time outlive the call. An interrupted wait is a short wait, which callers expect.
    unsafe {
        libc::ppoll(
            descriptors.as_mut_ptr(),
            descriptors.len() as libc::nfds_t,
            &raw const timeout,
            std::ptr::null(),
        );
    }
}

/// The processors this process may run on, by number.
pub(crate) fn allowed_processors() -> Vec<usize> {
    // SAFETY: a plain bit set for which zero bytes are a valid value; the call writes at most its size.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: as above.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Vec::new();
    }
    // SAFETY: reads bits of the set just filled, within its size.
    (0..libc::CPU_SETSIZE as usize).filter(|&processor| unsafe { libc::CPU_ISSET(processor, &set) }).collect()
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

/// Lets every other thread go first: for work that must never delay a packet.
pub(crate) fn yield_priority() {
    // SAFETY: three integers. On Linux this concerns the calling thread alone. A refusal leaves things as they were.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, BACKGROUND_NICE);
    }
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
                    read.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = data.cast::<libc::in_pktinfo>().read_unaligned();
                    read.local = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    read.overflowed = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    read
}

/// The control data that makes a datagram leave from `local`, and its length; none for an unspecified address.
fn write_control(family: Family, local: IpAddr) -> (Control, usize) {
    let mut control = Control::default();
    if local.is_unspecified() {
        return (control, 0);
    }
    let length = match (family, local) {
        (Family::Dual, _) => {
            let address = libc::in6_addr { s6_addr: mapped(local).octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            put_control(&mut control, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info)
        }
        (Family::V4, IpAddr::V4(local)) => {
            let source = libc::in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
            let any = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
            put_control(&mut control, (libc::IPPROTO_IP, libc::IP_PKTINFO), info)
        }
        // An IPv4 socket never received on this address; the kernel refuses the datagram by its destination.
        (Family::V4, IpAddr::V6(_)) => 0,
    };
    (control, length)
}

fn put_control<T>(control: &mut Control, (level, kind): (libc::c_int, libc::c_int), value: T) -> usize {
    // SAFETY: plain arithmetic on a small size.
    let (space, length) =
        unsafe { (libc::CMSG_SPACE(size_of::<T>() as u32), libc::CMSG_LEN(size_of::<T>() as u32)) };
    assert!(space as usize <= CONTROL_BYTES, "a control message fits its buffer");
    let header = control.0.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: the buffer is aligned for a header and, by the assertion, holds header and value.
    unsafe {
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = length as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
    space as usize
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
                let (address, port) = (Ipv6Addr::from(name.sin6_addr.s6_addr), u16::from_be(name.sin6_port));
                Some(match address.to_canonical() {
                    IpAddr::V4(address) => SocketAddrV4::new(address, port).into(),
                    // The flow label is not part of who the sender is.
                    IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, name.sin6_scope_id).into(),
                })
            }
            _ => None,
        }
    }
}

fn write_name(family: Family, remote: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: a plain C structure for which zero bytes are a valid value.
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let name = &raw mut storage;
    if let (Family::V4, SocketAddr::V4(remote)) = (family, remote) {
        // SAFETY: the storage is large and aligned enough for either family's name.
        let name = unsafe { &mut *name.cast::<libc::sockaddr_in>() };
        name.sin_family = libc::AF_INET as libc::sa_family_t;
        name.sin_port = remote.port().to_be();
        name.sin_addr.s_addr = u32::from_ne_bytes(remote.ip().octets());
        return (storage, size_of::<libc::sockaddr_in>() as libc::socklen_t);
    }
    // SAFETY: as above. An IPv6 name on an IPv4 socket is refused by the kernel and counted as such.
    let name = unsafe { &mut *name.cast::<libc::sockaddr_in6>() };
    name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    name.sin6_port = remote.port().to_be();
    name.sin6_addr.s6_addr = mapped(remote.ip()).octets();
    if let SocketAddr::V6(remote) = remote {
        name.sin6_scope_id = remote.scope_id();
    }
    (storage, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn size_buffers(socket: &Socket) -> io::Result<BufferBytes> {
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

fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
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

fn is_family_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// More per system call no longer makes a datagram cheaper, and a worker should look at its timers in between.
pub(crate) const BATCH_DATAGRAMS: usize = 32;

/// One system call's worth; a whole fan-out to a large conference is several.
const SEND_BATCH_DATAGRAMS: usize = 64;

/// No browser sends above a path's MTU of 1500; what is longer is not for us.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 2048;

/// 0.3 s of a full gigabit's small packets, the longest a worker can be kept from its socket by other processes.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Holds PKTINFO (40 bytes), the overflow count (24) and a segment size (24).
const CONTROL_BYTES: usize = 128;

/// A tenth of a normal thread's weight: enough to go on when the machine is full.
const BACKGROUND_NICE: libc::c_int = 10;

//! A worker's UDP socket, and the few other system calls a worker thread needs: the only unsafe code of this crate.
//!
//! ```text
//! recvmmsg ─▶ ReceiveBatch ─▶ (Path, &mut [u8]) …        (Path, datagrams) … ─▶ SendBatch ─▶ sendmmsg
//!   UDP_GRO     PKTINFO says which of our addresses         PKTINFO makes the reply leave from there    UDP_SEGMENT
//! ```
//!
//! One dual-stack socket per worker; where IPv6 is absent, an IPv4 one. IPv4 addresses are always handed out as IPv4.
//! Both ways a message of the kernel may be a train of equal-sized datagrams. A message of a batch that the kernel refuses
//! is counted and skipped; its neighbours still go. A train that it refuses goes singly, now and from then on.
#![expect(
    unsafe_code,
    reason = "the kernel's batch calls, eventfd and thread attributes have no safe form in std"
)]

mod buffers;
mod counts;
mod lone;
mod messages;
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

use self::buffers::size_buffers;
pub(crate) use self::buffers::{BufferBytes, SOCKET_BUFFER_BYTES};
pub(crate) use self::counts::SendCounts;
use self::lone::LoneDestinations;
use self::messages::{MESSAGES_MAX, Messages, SEGMENTS_MAX};
use self::send_wait::{SendWait, Step, is_train_refused};
use crate::engine::ports::Path;

/// One worker's media socket.
#[derive(Debug)]
pub(crate) struct MediaSocket {
    socket: Socket,
    family: Family,
    port: u16,
    buffer_bytes: BufferBytes,
    /// The kernel knows UDP_SEGMENT.
    is_segmenting: bool,
}

/// What the socket's address family lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv6, and IPv4 mapped into it.
    Dual,
    /// IPv4 alone: the machine has no IPv6.
    V4,
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
        // Before Linux 5.0 trains of received datagrams come singly, before 4.18 those sent go singly.
        let _ = set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        let is_segmenting = set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        let buffer_bytes = size_buffers(&socket)?;
        socket.bind(&SocketAddr::new(any, port).into())?;
        let port = socket.local_addr()?.as_socket().map_or(port, |address| address.port());
        Ok(Self { socket, family, port, buffer_bytes, is_segmenting })
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

    /// Takes what has arrived, up to `BATCH_MESSAGES` messages, without waiting. False when the socket is empty by now.
    ///
    /// # Errors
    /// Only that the socket itself is broken; an error left over from an earlier datagram, or a kernel short of memory for a
    /// moment, counts as nothing received.
    pub(crate) fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<bool> {
        batch.count = 0;
        batch.point_at_buffers();
        // SAFETY: the first BATCH_MESSAGES headers were just pointed at buffers that `batch` owns and that outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                batch.headers.as_mut_ptr(),
                BATCH_MESSAGES as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if let Ok(count) = usize::try_from(received) {
            batch.count = count;
            batch.parse();
            return Ok(count == BATCH_MESSAGES);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL | libc::ENOSYS) => Err(error),
            _ => Ok(false),
        }
    }

    /// Sends every datagram of `trains`, each train's in order. Equal-sized neighbours of a train leave as one message.
    /// What the kernel refuses is counted in `batch.counts`, not retried; a refused train's datagrams go singly.
    pub(crate) fn send<'a, D>(&self, batch: &mut SendBatch, trains: impl Iterator<Item = (Path, D)>)
    where
        D: Iterator<Item = &'a [u8]>,
    {
        // One allowance for the whole call: a jammed interface must not hold the worker for longer.
        let mut wait = SendWait::default();
        batch.clear();
        for (path, datagrams) in trains {
            batch.messages.end_train();
            let is_lone = !self.is_segmenting || batch.lone.contains(path.remote);
            for datagram in datagrams {
                if is_lone {
                    batch.messages.end_train();
                }
                if !batch.messages.add(path, datagram.len()) {
                    self.flush(batch, &mut wait);
                    batch.clear();
                    // Invariant: an empty batch has room.
                    batch.messages.add(path, datagram.len());
                }
                batch.vectors.push(libc::iovec {
                    iov_base: datagram.as_ptr().cast_mut().cast(),
                    iov_len: datagram.len(),
                });
            }
        }
        self.flush(batch, &mut wait);
        // What the vectors point at is borrowed no longer.
        batch.clear();
    }

    fn flush(&self, batch: &mut SendBatch, wait: &mut SendWait) {
        let count = batch.messages.as_slice().len();
        (0..count).for_each(|index| batch.write_header(self.family, index));
        let mut done = 0;
        while done < count {
            let error = match self.send_messages(&mut batch.headers[done..count]) {
                Ok(sent) => {
                    for (header, message) in
                        batch.headers[done..].iter().zip(&batch.messages.as_slice()[done..]).take(sent)
                    {
                        batch.counts.note_sent(message.count, header.msg_len);
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
                batch.lone.insert(message.path.remote);
                self.send_singly(batch, done, wait);
                done += 1;
                continue;
            }
            let datagrams = rest.iter().map(|message| message.count).sum();
            done += match wait.step_over(&mut batch.counts, &error, (message.count, datagrams), &self.socket)
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
        let control_length = write_control(self.family, message.path.local, &mut batch.controls[index]);
        for place in message.first..message.first + message.count {
            let header = &mut batch.headers[index].msg_hdr;
            header.msg_iov = &raw mut batch.vectors[place];
            header.msg_iovlen = 1;
            set_control(header, &mut batch.controls[index], control_length);
            loop {
                let error = match self.send_messages(&mut batch.headers[index..=index]) {
                    Ok(_) => {
                        batch.counts.note_sent(1, batch.headers[index].msg_len);
                        break;
                    }
                    Err(error) => error,
                };
                let left = message.first + message.count - place;
                match wait.step_over(&mut batch.counts, &error, (1, left), &self.socket) {
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
}

/// Room for one batch of received datagrams; allocated once per worker.
pub(crate) struct ReceiveBatch {
    /// `BUFFER_STRIDE` bytes for each message. Pages that no train was ever long enough to reach are never touched.
    buffers: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    paths: Box<[Option<Path>]>,
    /// Of each message, how long its datagrams are; the last may be shorter.
    segments: Box<[usize]>,
    count: usize,
    /// Datagrams the socket gave, since the batch was made.
    pub(crate) datagrams: u64,
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
            buffers: vec![0; BUFFER_STRIDE * BATCH_MESSAGES].into_boxed_slice(),
            names: vec![name; BATCH_MESSAGES].into_boxed_slice(),
            controls: vec![Control::default(); BATCH_MESSAGES].into_boxed_slice(),
            vectors: vec![vector; BATCH_MESSAGES].into_boxed_slice(),
            headers: vec![header; BATCH_MESSAGES].into_boxed_slice(),
            paths: vec![None; BATCH_MESSAGES].into_boxed_slice(),
            segments: vec![0; BATCH_MESSAGES].into_boxed_slice(),
            count: 0,
            datagrams: 0,
            overflowed: 0,
            truncated: 0,
        }
    }
}

impl ReceiveBatch {
    /// Hands each datagram with its path to `handle`, which may change its bytes. Those too long for a browser are left out.
    pub(crate) fn for_each(&mut self, mut handle: impl FnMut(Path, &mut [u8])) {
        for index in 0..self.count {
            let Some(path) = self.paths[index] else { continue };
            let length = (self.headers[index].msg_len as usize).min(MESSAGE_BYTES);
            let start = index * BUFFER_STRIDE;
            let message = &mut self.buffers[start..start + length];
            if message.is_empty() {
                self.datagrams += 1;
                handle(path, message);
                continue;
            }
            for datagram in message.chunks_mut(self.segments[index]) {
                self.datagrams += 1;
                if datagram.len() > DATAGRAM_BYTES_MAX {
                    self.truncated += 1;
                } else {
                    handle(path, datagram);
                }
            }
        }
    }

    fn point_at_buffers(&mut self) {
        for (index, buffer) in self.buffers.chunks_mut(BUFFER_STRIDE).enumerate() {
            self.vectors[index] =
                libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: MESSAGE_BYTES };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_flags = 0;
            set_control(header, &mut self.controls[index], CONTROL_BYTES);
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
            self.segments[index] = control.segment_bytes.unwrap_or(MESSAGE_BYTES);
            let remote = read_name(&self.names[index]);
            self.paths[index] = match (remote, control.local) {
                (Some(remote), Some(local)) if !is_truncated => Some(Path { remote, local }),
                _ => None,
            };
        }
    }
}

/// Room for one batch of messages to send, and what became of all that were sent; allocated once per worker.
pub(crate) struct SendBatch {
    messages: Messages,
    /// The datagrams, in the order of the messages they belong to.
    vectors: Vec<libc::iovec>,
    names: Box<[libc::sockaddr_in6]>,
    controls: Box<[Control]>,
    headers: Box<[libc::mmsghdr]>,
    lone: LoneDestinations,
    /// Since the batch was made.
    pub(crate) counts: SendCounts,
}

impl Default for SendBatch {
    fn default() -> Self {
        // SAFETY: both are plain C structures for which zero bytes are a valid value.
        let (name, header) = unsafe { (zeroed(), zeroed()) };
        Self {
            messages: Messages::default(),
            vectors: Vec::with_capacity(MESSAGES_MAX * SEGMENTS_MAX),
            names: vec![name; MESSAGES_MAX].into_boxed_slice(),
            controls: vec![Control::default(); MESSAGES_MAX].into_boxed_slice(),
            headers: vec![header; MESSAGES_MAX].into_boxed_slice(),
            lone: LoneDestinations::default(),
            counts: SendCounts::default(),
        }
    }
}

impl SendBatch {
    fn clear(&mut self) {
        self.messages.clear();
        self.vectors.clear();
    }

    /// Points a message's header at its name, its control data and its datagrams.
    fn write_header(&mut self, family: Family, index: usize) {
        let message = self.messages.as_slice()[index];
        let name_length = write_name(family, message.path.remote, &mut self.names[index]);
        let mut control_length = write_control(family, message.path.local, &mut self.controls[index]);
        // Invariant: no train has longer datagrams than a message has bytes, and those fit 16 bits.
        if message.count > 1 {
            let segment = message.segment_bytes as u16;
            control_length = put_control(
                (&mut self.controls[index], control_length),
                (libc::SOL_UDP, libc::UDP_SEGMENT),
                segment,
            );
        }
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = (&raw mut self.names[index]).cast();
        header.msg_namelen = name_length;
        header.msg_iov = &raw mut self.vectors[message.first];
        header.msg_iovlen = message.count as _;
        set_control(header, &mut self.controls[index], control_length);
    }
}

fn set_control(header: &mut libc::msghdr, control: &mut Control, length: usize) {
    header.msg_control = if length == 0 { std::ptr::null_mut() } else { control.0.as_mut_ptr().cast() };
    header.msg_controllen = length as _;
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

/// Waits until the socket, if one is to be watched, has datagrams, `event` is readable, or `timeout` is over. True when
/// `event` is.
pub(crate) fn wait(socket: Option<&MediaSocket>, event: &File, timeout: Duration) -> bool {
    // The kernel passes over a negative descriptor.
    let socket = socket.map_or(-1, |socket| socket.socket.as_raw_fd());
    let mut descriptors = [
        libc::pollfd { fd: socket, events: libc::POLLIN, revents: 0 },
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

/// Processor time this process has used since its start, user and system.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one structure that outlives the call. On Linux this clock always exists; a refusal leaves 0.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
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
                    read.local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
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

/// Writes the control data that makes a datagram leave from `local`; its length, 0 for an unspecified address.
fn write_control(family: Family, local: IpAddr, control: &mut Control) -> usize {
    match (family, local) {
        _ if local.is_unspecified() => 0,
        (Family::Dual, _) => {
            let address = libc::in6_addr { s6_addr: mapped(local).octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            put_control((control, 0), (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info)
        }
        (Family::V4, IpAddr::V4(local)) => {
            let source = libc::in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
            let any = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
            put_control((control, 0), (libc::IPPROTO_IP, libc::IP_PKTINFO), info)
        }
        // An IPv4 socket never received on this address; the kernel refuses the datagram by its destination.
        (Family::V4, IpAddr::V6(_)) => 0,
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

/// Writes where a datagram goes; the name's length.
fn write_name(family: Family, remote: SocketAddr, name: &mut libc::sockaddr_in6) -> libc::socklen_t {
    if let (Family::V4, SocketAddr::V4(remote)) = (family, remote) {
        // SAFETY: the IPv6 name is larger than the IPv4 one and aligned as it is.
        let name = unsafe { &mut *(&raw mut *name).cast::<libc::sockaddr_in>() };
        name.sin_family = libc::AF_INET as libc::sa_family_t;
        name.sin_port = remote.port().to_be();
        name.sin_addr.s_addr = u32::from_ne_bytes(remote.ip().octets());
        return size_of::<libc::sockaddr_in>() as libc::socklen_t;
    }
    // An IPv6 name on an IPv4 socket is refused by the kernel and counted as such.
    name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    name.sin6_port = remote.port().to_be();
    name.sin6_flowinfo = 0;
    name.sin6_addr.s6_addr = mapped(remote.ip()).octets();
    name.sin6_scope_id = if let SocketAddr::V6(remote) = remote { remote.scope_id() } else { 0 };
    size_of::<libc::sockaddr_in6>() as libc::socklen_t
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
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
const BATCH_MESSAGES: usize = 32;

/// The longest message: a train that the kernel has put together (UDP_GRO).
const MESSAGE_BYTES: usize = 65_536;

/// A little more than a message, so that the beginnings of all of them do not fall into the same cache sets.
const BUFFER_STRIDE: usize = MESSAGE_BYTES + 192;

/// No browser sends above a path's MTU of 1500; what is longer is not for us.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 2048;

/// Holds PKTINFO (40 bytes), the overflow count (24) and a train's segment size (24).
const CONTROL_BYTES: usize = 128;

/// A tenth of a normal thread's weight: enough to go on when the machine is full.
const BACKGROUND_NICE: libc::c_int = 10;

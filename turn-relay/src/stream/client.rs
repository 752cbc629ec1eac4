//! One established TURN stream inside a shard: its socket, its TLS, its framer, its egress queue, its deadlines.

use std::any::Any;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use socket2::SockRef;

use super::NewStream;
pub(crate) use super::close_reason::CloseReason;
use super::deadlines::Deadlines;
use super::egress::{Egress, EgressLimits};
use super::framer::Framer;
pub(crate) use super::limits::StreamLimits;
use super::tls::{PLAINTEXT_BYTES_MAX, TlsLayer};
use crate::engine::ports::ClientPath;

/// What reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// The socket has nothing more; it will be readable again.
    Idle,
    /// It may have more, and will not say so: call again when others have had their turn.
    More,
    /// The stream is over. Drop it.
    Closed(CloseReason),
}

/// What writing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlushOutcome {
    /// Nothing waits.
    Done,
    /// The socket takes no more; it will be writable again.
    Blocked,
    /// The stream is over. Drop it.
    Closed(CloseReason),
}

/// What one stream has counted since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamCounters {
    /// Datagrams dropped because they had waited too long.
    pub(crate) dropped_by_age: u64,
    /// Datagrams dropped because too many bytes waited.
    pub(crate) dropped_by_bytes: u64,
    /// Bytes read from the socket, TLS included.
    pub(crate) bytes_received: u64,
    /// Bytes the socket took, TLS included.
    pub(crate) bytes_sent: u64,
}

/// An established TURN stream. Dropping it ends the connection, with TLS's goodbye if the socket takes it.
pub(crate) struct StreamClient {
    path: ClientPath,
    socket: mio::net::TcpStream,
    tls: Option<TlsLayer>,
    framer: Framer,
    egress: Egress,
    /// Plaintext that the front had read.
    early: Vec<u8>,
    /// Why nothing can be read or written any more.
    doomed: Option<CloseReason>,
    has_allocation: bool,
    /// Bytes received since there is no allocation.
    unauthenticated_bytes: usize,
    unauthenticated_bytes_max: usize,
    deadlines: Deadlines,
    /// When the memory of the queue is looked at.
    trim_at: Option<Instant>,
    bytes_received: u64,
    bytes_sent: u64,
    _seat: Box<dyn Any + Send>,
}

impl StreamClient {
    /// Takes a stream over. Register [`StreamClient::source`], then call `read` and `flush` once without waiting for the
    /// poll: what came early, and what TLS has left to say, is in nobody's socket buffer.
    pub(crate) fn new(new: NewStream, now: Instant, limits: StreamLimits) -> Self {
        let NewStream { path, socket, tls, early, seat } = new;
        let tls = tls.map(TlsLayer::new);
        let mut doomed = set_up(&socket).err().map(|error| CloseReason::of_socket(&error));
        if tls.as_ref().is_some_and(|tls| !tls.is_established()) {
            doomed = Some(CloseReason::TlsFailed);
        }
        let egress_limits = EgressLimits { age: limits.queue_age, bytes: limits.queue_bytes };
        Self {
            path,
            socket: mio::net::TcpStream::from_std(socket),
            tls,
            framer: Framer::default(),
            egress: Egress::new(now, egress_limits),
            early,
            doomed,
            has_allocation: false,
            unauthenticated_bytes: 0,
            deadlines: Deadlines::new(now, limits),
            trim_at: None,
            unauthenticated_bytes_max: limits.unauthenticated_bytes,
            bytes_received: 0,
            bytes_sent: 0,
            _seat: seat,
        }
    }

    /// What to register for reading and writing, edge-triggered as mio does.
    pub(crate) fn source(&mut self) -> &mut mio::net::TcpStream {
        &mut self.socket
    }

    /// Reads what is there, up to a few times `scratch`, and hands out each whole message. After an outcome other than
    /// `Closed` the messages' replies are still to be flushed.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        scratch: &mut [u8],
        on_message: &mut dyn FnMut(&[u8]),
    ) -> ReadOutcome {
        let mut is_progress = false;
        let mut note_message = |message: &[u8]| {
            is_progress = true;
            on_message(message);
        };
        let outcome = self.read_some(scratch, &mut note_message);
        self.note_unfinished(now, is_progress);
        outcome.unwrap_or_else(ReadOutcome::Closed)
    }

    /// Queues the answer to a request. It is never dropped; a client that lets too many wait is.
    pub(crate) fn push_reply(&mut self, now: Instant, message: &[u8]) {
        if self.egress.push_reply(message).is_err() {
            self.doomed.get_or_insert(CloseReason::RepliesUnread);
        }
        self.arm_trim(now);
    }

    /// Queues a datagram: the head that the engine gave, the peer's bytes, zeros up to a multiple of four. It may be dropped
    /// later, whole and counted, if it is not written in time.
    pub(crate) fn push_datagram(&mut self, now: Instant, head: &[u8], payload: &[u8]) {
        self.egress.push_datagram(now, head, payload);
        self.arm_trim(now);
    }

    /// Writes what the socket takes. Call it after a batch of pushes and when the socket is writable.
    pub(crate) fn flush(&mut self, now: Instant) -> FlushOutcome {
        if let Some(reason) = self.doomed {
            return FlushOutcome::Closed(reason);
        }
        match self.write_all(now) {
            Ok(()) => {
                self.deadlines.note_unblocked();
                FlushOutcome::Done
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.deadlines.note_blocked(now);
                FlushOutcome::Blocked
            }
            // Only `TlsLayer::seal` says this.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                FlushOutcome::Closed(CloseReason::TlsFailed)
            }
            Err(error) => FlushOutcome::Closed(CloseReason::of_socket(&error)),
        }
    }

    /// Whether the client has an allocation now. Without one it has little time and few bytes.
    pub(crate) fn set_has_allocation(&mut self, has_allocation: bool, now: Instant) {
        if has_allocation == self.has_allocation {
            return;
        }
        self.has_allocation = has_allocation;
        self.unauthenticated_bytes = 0;
        if has_allocation {
            self.deadlines.note_allocation();
        } else {
            self.deadlines.note_allocation_gone(now);
        }
    }

    /// When `handle_timeout` has something to do. A peek; it changes with every call above.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        [self.deadlines.next(), self.trim_at].into_iter().flatten().min()
    }

    /// Does what is due. Calling it early does no harm. The stream is over if there is a reason: drop it.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<CloseReason> {
        if let Some(reason) = self.deadlines.due(now) {
            return Some(reason);
        }
        if self.trim_at.is_some_and(|at| at <= now) {
            let holds_memory = self.egress.trim();
            self.trim_at = holds_memory.then(|| now + TRIM_INTERVAL);
        }
        None
    }

    /// What has been counted since the last call; adds the queue ages of datagrams written, in microseconds. Call it after
    /// each flush: that is when ages come about.
    pub(crate) fn take_counters(&mut self, queue_age_us: &mut Histogram<u64>) -> StreamCounters {
        self.egress.take_ages(queue_age_us);
        let drops = self.egress.take_drops();
        StreamCounters {
            dropped_by_age: drops.by_age,
            dropped_by_bytes: drops.by_bytes,
            bytes_received: std::mem::take(&mut self.bytes_received),
            bytes_sent: std::mem::take(&mut self.bytes_sent),
        }
    }

    /// Bytes of memory its queue holds.
    #[cfg(test)]
    pub(super) fn queue_capacity(&self) -> usize {
        self.egress.capacity()
    }

    fn read_some(
        &mut self,
        scratch: &mut [u8],
        on_message: &mut dyn FnMut(&[u8]),
    ) -> Result<ReadOutcome, CloseReason> {
        if let Some(reason) = self.doomed {
            return Err(reason);
        }
        let early = std::mem::take(&mut self.early);
        self.count_unauthenticated(early.len())?;
        self.framer.push(&early, on_message)?;
        if let Some(tls) = &mut self.tls {
            tls.hand_on(&mut |plaintext| self.framer.push(plaintext, on_message))?;
        }
        for _ in 0..READS_MAX {
            match self.socket.read(scratch) {
                Ok(0) if self.framer.is_between_messages() => return Err(CloseReason::ByClient),
                Ok(0) => return Err(CloseReason::CutShort),
                Ok(len) => self.handle_bytes(&scratch[..len], on_message)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(ReadOutcome::Idle),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(CloseReason::of_socket(&error)),
            }
        }
        Ok(ReadOutcome::More)
    }

    /// Bytes of the socket become messages.
    fn handle_bytes(&mut self, bytes: &[u8], on_message: &mut dyn FnMut(&[u8])) -> Result<(), CloseReason> {
        self.bytes_received += bytes.len() as u64;
        self.count_unauthenticated(bytes.len())?;
        match &mut self.tls {
            Some(tls) => tls.open(bytes, &mut |plaintext| self.framer.push(plaintext, on_message)),
            None => self.framer.push(bytes, on_message),
        }
    }

    fn count_unauthenticated(&mut self, bytes: usize) -> Result<(), CloseReason> {
        if self.has_allocation {
            return Ok(());
        }
        self.unauthenticated_bytes += bytes;
        if self.unauthenticated_bytes > self.unauthenticated_bytes_max {
            return Err(CloseReason::UnauthenticatedBytes);
        }
        Ok(())
    }

    /// Writes until nothing waits. TLS's own record goes first: it is older than anything in the queue.
    fn write_all(&mut self, now: Instant) -> io::Result<()> {
        loop {
            let written = match &mut self.tls {
                Some(tls) if tls.has_records() => tls.send(&mut self.socket),
                Some(tls) => {
                    match self.egress.write(now, PLAINTEXT_BYTES_MAX, &mut |slices| tls.seal(slices))? {
                        0 => return Ok(()),
                        _ => continue,
                    }
                }
                None => {
                    let socket = &mut self.socket;
                    self.egress.write(now, GATHER_BYTES_MAX, &mut |slices| socket.write_vectored(slices))
                }
            };
            match written {
                // Datagrams that have just grown too old leave nothing to write; a socket never takes nothing.
                Ok(0) => return Ok(()),
                Ok(written) => {
                    self.bytes_sent += written as u64;
                    self.deadlines.note_unblocked();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A message that stays unfinished has a deadline from its first byte on.
    fn note_unfinished(&mut self, now: Instant, is_progress: bool) {
        if self.framer.is_between_messages() {
            self.deadlines.note_between_messages();
        } else if is_progress {
            self.deadlines.note_begun(now);
        } else {
            self.deadlines.note_unfinished(now);
        }
    }

    fn arm_trim(&mut self, now: Instant) {
        if self.trim_at.is_none() {
            self.trim_at = Some(now + TRIM_INTERVAL);
        }
    }
}

impl Drop for StreamClient {
    /// Best effort: whoever does not take it gets the end of the stream alone.
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.say_goodbye();
            let _ = tls.send(&mut self.socket);
        }
    }
}

impl fmt::Debug for StreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamClient")
            .field("transport", &self.path.transport)
            .field("has_allocation", &self.has_allocation)
            .field("doomed", &self.doomed)
            .finish_non_exhaustive()
    }
}

/// Keeps the kernel from holding back small writes and from queueing what we could still drop.
fn set_up(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

/// Reads for one stream before others have their turn. One tells that the socket is empty, so a small number still takes
/// a burst of three times `scratch` without coming back.
const READS_MAX: usize = 4;

/// What one write to a plain socket gathers: as with TLS, the rest of a datagram that is cut is copied once.
const GATHER_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX;

/// One TLS record. The kernel says it is writable when half of it has been sent: at 2 Mbit/s it holds 65 ms of what we
/// cannot drop any more.
const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// The kernel's own end for a client that vanished: as long as a browser's consent lasts (RFC 7675, 5.1).
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// How often the memory of a queue that was used is looked at. Long enough that a running call never frees and takes the
/// same memory again, short enough that an idle one costs nothing.
const TRIM_INTERVAL: Duration = Duration::from_secs(2);

//! What sockets have received: messages of the kernel, and the datagrams they are made of.

use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::counts::UdpCounts;
use super::{CONTROL_BYTES, Control, any_name, empty_header, read_control, read_name, set_control};

/// What one call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// Its messages' places in the batch.
    pub(crate) messages: Range<usize>,
    /// The socket was empty at the end: an edge-triggered poll will tell when there is more.
    pub(crate) is_drained: bool,
    /// Messages without a sender or cut short, which are not handed out.
    pub(crate) unaddressed: u64,
}

impl Received {
    /// Nothing, and where it would have been.
    pub(super) fn nothing(at: usize, is_drained: bool) -> Self {
        Self { messages: at..at, is_drained, unaddressed: 0 }
    }
}

/// Room for what one or several sockets have received; allocated once per shard.
pub(crate) struct ReceiveBatch {
    /// `BUFFER_STRIDE` bytes for each message. Pages that no train was ever long enough to reach are never touched.
    buffers: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    pub(super) headers: Box<[libc::mmsghdr]>,
    arrivals: Box<[Arrival]>,
    /// Messages received since it was last cleared.
    pub(super) filled: usize,
    /// What was received; the send side has its own.
    pub(crate) counts: UdpCounts,
}

/// One received message.
#[derive(Debug, Clone, Copy, Default)]
struct Arrival {
    /// `None`: not to be handed out.
    remote: Option<SocketAddr>,
    local: Option<IpAddr>,
    bytes: usize,
    /// How long each of its datagrams is; the last may be shorter.
    segment_bytes: usize,
}

/// Where bytes lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    /// Invariant: no buffer of ours reaches 4 GiB.
    pub(crate) fn new(start: usize, len: usize) -> Self {
        Self { start: start as u32, len: len as u32 }
    }

    /// These bytes of `buffer`.
    pub(crate) fn of(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.start as usize + self.len as usize]
    }

    /// The span of `part`, which is a part of the bytes this one stands for.
    pub(crate) fn narrow(self, whole: &[u8], part: &[u8]) -> Self {
        // An empty part may point anywhere.
        let skipped = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize).min(whole.len());
        Self { start: self.start + skipped as u32, len: part.len() as u32 }
    }
}

/// One received datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// Who sent it.
    pub(crate) remote: SocketAddr,
    /// Which of our addresses it was sent to; only listeners are told.
    pub(crate) local: Option<IpAddr>,
    /// Where it lies in [`ReceiveBatch::bytes`].
    pub(crate) span: Span,
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        let vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self {
            buffers: vec![0; BUFFER_STRIDE * BATCH_MESSAGES].into_boxed_slice(),
            names: vec![any_name(); BATCH_MESSAGES].into_boxed_slice(),
            controls: vec![Control::default(); BATCH_MESSAGES].into_boxed_slice(),
            vectors: vec![vector; BATCH_MESSAGES].into_boxed_slice(),
            headers: vec![empty_header(); BATCH_MESSAGES].into_boxed_slice(),
            arrivals: vec![Arrival::default(); BATCH_MESSAGES].into_boxed_slice(),
            filled: 0,
            counts: UdpCounts::default(),
        }
    }
}

impl ReceiveBatch {
    /// Forgets what was received.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Whether so much is filled that another call would hardly be worth its price.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.filled + ROOM_MESSAGES_MIN > BATCH_MESSAGES
    }

    /// What the spans are parts of.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffers
    }

    /// The datagrams of these messages, in the order they came.
    pub(crate) fn datagrams(&self, messages: Range<usize>) -> impl Iterator<Item = Datagram> + '_ {
        messages.flat_map(|index| self.arrivals[index].datagrams(index * BUFFER_STRIDE))
    }

    /// Makes ready for a call that fills at most `most` places from `first` on; how many those are.
    pub(super) fn point_at_buffers(&mut self, first: usize, most: usize) -> usize {
        let room = (BATCH_MESSAGES - first).min(most);
        for (index, buffer) in self.buffers.chunks_mut(BUFFER_STRIDE).enumerate().skip(first).take(room) {
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
        room
    }

    /// Reads what the kernel wrote; how many messages are not handed out.
    pub(super) fn parse(&mut self, messages: Range<usize>, overflowed: &mut u32) -> u64 {
        let mut unaddressed = 0;
        for index in messages {
            let header = &self.headers[index];
            let bytes = (header.msg_len as usize).min(MESSAGE_BYTES);
            let control = read_control(&header.msg_hdr);
            if let Some(count) = control.overflowed {
                // The kernel counts in 32 bits; the difference is right across a wrap.
                self.counts.overflowed += u64::from(count.wrapping_sub(*overflowed));
                *overflowed = count;
            }
            let is_whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let remote = read_name(&self.names[index]).filter(|_| is_whole);
            let segment_bytes = control.segment_bytes.unwrap_or(MESSAGE_BYTES);
            let arrival = Arrival { remote, local: control.local, bytes, segment_bytes };
            unaddressed += u64::from(remote.is_none());
            self.counts.datagrams_received += arrival.count() as u64;
            self.counts.trains_received += u64::from(arrival.count() > 1);
            self.arrivals[index] = arrival;
        }
        unaddressed
    }
}

impl Arrival {
    /// An empty message is one empty datagram.
    fn count(&self) -> usize {
        self.bytes.div_ceil(self.segment_bytes).max(1)
    }

    fn datagrams(self, at: usize) -> impl Iterator<Item = Datagram> {
        let Self { remote, local, bytes, segment_bytes } = self;
        remote.into_iter().flat_map(move |remote| {
            (0..self.count()).map(move |number| {
                let begin = number * segment_bytes;
                let span = Span::new(at + begin, (bytes - begin).min(segment_bytes));
                Datagram { remote, local, span }
            })
        })
    }
}

/// More per system call no longer makes a datagram cheaper.
pub(super) const BATCH_MESSAGES: usize = 32;

/// A burst of a picture's packets; with less room than this a call would often leave half of one behind.
const ROOM_MESSAGES_MIN: usize = 8;

/// The longest message: a train that the kernel has put together (UDP_GRO), or the longest datagram there is.
const MESSAGE_BYTES: usize = 65_536;

/// A little more than a message, so that the beginnings of all of them do not fall into the same cache sets.
const BUFFER_STRIDE: usize = MESSAGE_BYTES + 192;

//! What is to be sent: datagrams in parts, and the messages of the kernel that they become.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::counts::UdpCounts;
use super::messages::{MESSAGES_MAX, Message, Messages, Route};
use super::trains::Trains;
use super::{Control, any_name_v6, empty_header, put_control, set_control, write_name, write_source};

/// One datagram to be sent: its parts follow each other without a gap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    /// Where to.
    pub(crate) remote: SocketAddr,
    /// From which of our addresses; `None`: the one the socket is bound to.
    pub(crate) local: Option<IpAddr>,
    /// Head, payload, padding; each may be empty.
    pub(crate) parts: [&'a [u8]; PARTS],
}

/// Room for one batch of messages to send, and what became of all that were sent; allocated once per shard.
pub(crate) struct SendBatch {
    pub(super) messages: Messages,
    /// The parts of all datagrams.
    vectors: Vec<libc::iovec>,
    /// Place of each datagram's first part.
    firsts: Vec<usize>,
    names: Box<[libc::sockaddr_in6]>,
    controls: Box<[Control]>,
    pub(super) headers: Box<[libc::mmsghdr]>,
    /// What was sent; the receive side has its own.
    pub(crate) counts: UdpCounts,
}

impl Default for SendBatch {
    fn default() -> Self {
        Self {
            messages: Messages::default(),
            vectors: Vec::new(),
            firsts: Vec::new(),
            names: vec![any_name_v6(); MESSAGES_MAX].into_boxed_slice(),
            controls: vec![Control::default(); MESSAGES_MAX].into_boxed_slice(),
            headers: vec![empty_header(); MESSAGES_MAX].into_boxed_slice(),
            counts: UdpCounts::default(),
        }
    }
}

impl SendBatch {
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.vectors.clear();
        self.firsts.clear();
    }

    /// Adds a datagram; false when there is no room.
    pub(super) fn push(&mut self, datagram: &Outgoing<'_>, trains: &Trains) -> bool {
        let length = datagram.parts.iter().map(|part| part.len()).sum();
        let route = Route { remote: datagram.remote, local: datagram.local };
        if !self.messages.add(route, length, trains) {
            return false;
        }
        self.firsts.push(self.vectors.len());
        for part in datagram.parts.iter().filter(|part| !part.is_empty()) {
            self.vectors.push(libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
        }
        true
    }

    /// The vectors of these datagrams.
    fn vectors_of(&self, places: Range<usize>) -> Range<usize> {
        let first = |place: usize| self.firsts.get(place).copied().unwrap_or(self.vectors.len());
        first(places.start)..first(places.end)
    }

    /// Points a message's header at its name, its control data and its datagrams.
    pub(super) fn write_header(&mut self, index: usize) {
        let message = self.messages.as_slice()[index];
        let name_length = write_name(message.route.remote, &mut self.names[index]);
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = (&raw mut self.names[index]).cast();
        header.msg_namelen = name_length;
        self.write_datagrams(index, message.places());
        let mut control_length = self.write_source(index, message);
        if message.count > 1 {
            // Invariant: no train has longer datagrams than a message has bytes, and those fit 16 bits.
            let segment = message.segment_bytes as u16;
            let control = (&mut self.controls[index], control_length);
            control_length = put_control(control, (libc::SOL_UDP, libc::UDP_SEGMENT), segment);
        }
        set_control(&mut self.headers[index].msg_hdr, &mut self.controls[index], control_length);
    }

    /// Points the header of a message that was written before at one of its datagrams alone.
    pub(super) fn write_lone_header(&mut self, index: usize, place: usize) {
        self.write_datagrams(index, place..place + 1);
        let control_length = self.write_source(index, self.messages.as_slice()[index]);
        set_control(&mut self.headers[index].msg_hdr, &mut self.controls[index], control_length);
    }

    fn write_datagrams(&mut self, index: usize, places: Range<usize>) {
        let vectors = self.vectors_of(places);
        let header = &mut self.headers[index].msg_hdr;
        header.msg_iovlen = vectors.len() as _;
        header.msg_iov = self.vectors[vectors].as_mut_ptr();
    }

    fn write_source(&mut self, index: usize, message: Message) -> usize {
        message.route.local.map_or(0, |local| write_source(local, &mut self.controls[index]))
    }
}

/// Head, payload, padding.
const PARTS: usize = 3;

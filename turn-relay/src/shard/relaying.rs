//! The engine and everything it acts on: what arrives goes in, what it wants done is done, in the order in which it wants it.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::sync::mpsc;

use super::inbox::{Inbox, Place};
use super::outbox::{Outbox, ToPeer};
use super::ports::{ShardCommand, ShardDrop};
use super::sockets::{Listeners, RelaySockets};
use super::streams::Streams;
use crate::engine::ports::{ClientPath, Handled, Output, RelaySocketKey, ToClient, Transport};
use crate::engine::relay::Relay;
use crate::engine::views::AllocationRecord;
use crate::stream::close_reason::CloseReason;
use crate::udp::Datagram;

/// The engine with its sockets, streams and what waits to be sent.
pub(super) struct Relaying {
    pub(super) engine: Relay,
    pub(super) listeners: Listeners,
    pub(super) sockets: RelaySockets,
    pub(super) streams: Streams,
    pub(super) outbox: Outbox,
    pub(super) records: Records,
    /// Seconds since 1970, a second old at most.
    pub(super) unix_s: u64,
    /// Bytes given to streams since they were last flushed.
    pub(super) streamed_bytes: usize,
}

/// What follows from a command.
pub(super) enum Then {
    /// Nothing.
    GoOn,
    /// There is a new stream in this place, and something may have been read from it already.
    Read(usize),
    /// The thread ends.
    Stop,
}

/// Where the last word about each allocation goes.
pub(super) struct Records {
    ended: mpsc::Sender<AllocationRecord>,
    /// Records for which there was no room, or nobody.
    pub(super) dropped: u64,
}

impl Records {
    pub(super) fn new(ended: mpsc::Sender<AllocationRecord>) -> Self {
        Self { ended, dropped: 0 }
    }

    fn push(&mut self, record: AllocationRecord) {
        if self.ended.try_send(record).is_err() {
            self.dropped += 1;
        }
    }
}

impl Relaying {
    /// Takes a datagram that came to a listener.
    pub(super) fn handle_datagram(&mut self, now: Instant, inbox: &Inbox, from: (SocketAddr, Datagram)) {
        let (bound, Datagram { remote, local, span }) = from;
        let Some(local) = local else { return self.outbox.dropped.count(ShardDrop::Unaddressed) };
        let local = SocketAddr::new(local, bound.port());
        let path = ClientPath { transport: Transport::Udp, client: remote, local, connection: 0 };
        self.handle_client(now, inbox, (&path, Place::Received(span)));
    }

    /// Takes a client's whole message.
    pub(super) fn handle_client(&mut self, now: Instant, inbox: &Inbox, from: (&ClientPath, Place)) {
        let (path, place) = from;
        let bytes = inbox.bytes(place);
        match self.engine.handle_client(now, self.unix_s, path, bytes) {
            Handled::Nothing => {}
            Handled::ToPeer { socket, peer, payload, dont_fragment } => {
                let payload = place.narrow(bytes, payload);
                self.outbox.push_to_peer(ToPeer { socket: socket.index(), peer, payload, dont_fragment });
            }
        }
        self.carry_out(now, inbox);
    }

    /// Takes a datagram that came to a relay socket.
    pub(super) fn handle_peer(&mut self, now: Instant, inbox: &Inbox, from: (RelaySocketKey, Datagram)) {
        let (socket, Datagram { remote, span, .. }) = from;
        let payload = Place::Received(span);
        match self.engine.handle_peer(now, socket, remote, span.len as usize) {
            ToClient::Drop => {}
            ToClient::Channel { path, header } => {
                self.pass_to_client(now, inbox, &path, (&header, payload, 0));
            }
            ToClient::Indication { path, head } => {
                let padding = (4 - span.len as usize % 4) % 4;
                self.pass_to_client(now, inbox, &path, (head.as_bytes(), payload, padding));
            }
        }
    }

    /// Sends a datagram to a client, by a datagram or by its stream.
    fn pass_to_client(
        &mut self,
        now: Instant,
        inbox: &Inbox,
        path: &ClientPath,
        (head, payload, padding): (&[u8], Place, usize),
    ) {
        if path.transport.is_stream() {
            let bytes = inbox.bytes(payload);
            if !self.streams.push_datagram(now, path, head, bytes) {
                return self.outbox.dropped.count(ShardDrop::ClientUnreachable);
            }
            // A relay socket's whole buffer must not have to wait in the stream's queue, which has an end.
            self.streamed_bytes += head.len() + bytes.len();
            if self.streamed_bytes >= STREAMED_BYTES_MAX {
                self.flush_streams(now, inbox);
            }
            return;
        }
        match self.listeners.place_of(path.local) {
            Some(listener) => self.outbox.push_to_client((listener, path), head, payload, padding),
            None => self.outbox.dropped.count(ShardDrop::ClientUnreachable),
        }
    }

    /// Does what the engine wants done.
    pub(super) fn carry_out(&mut self, now: Instant, inbox: &Inbox) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Reply { path, bytes } => self.reply(now, &path, &bytes),
                Output::OpenSocket { key, local, path } => {
                    let outcome = self.sockets.open(key, local, &path);
                    if outcome.is_ok() && path.transport.is_stream() {
                        self.streams.note_socket_opened(now, &path);
                    }
                    self.engine.handle_socket_opened(now, key, outcome);
                }
                Output::CloseSocket { key } => {
                    // What is already on its way leaves by this socket, not by the next one in its place.
                    self.send_datagrams(inbox);
                    if let Some(path) = self.sockets.close(key) {
                        self.streams.note_socket_closed(now, &path);
                    }
                }
                Output::Disconnect { path } => {
                    // It still gets the answers it was given.
                    self.streams.flush_one(now, &path);
                    self.end_stream(now, &path, CloseReason::Guessing);
                }
                Output::AllocationEnded(record) => self.records.push(record),
            }
        }
    }

    fn reply(&mut self, now: Instant, path: &ClientPath, bytes: &[u8]) {
        let is_sent = if path.transport.is_stream() {
            self.streams.push_reply(now, path, bytes)
        } else if let Some(listener) = self.listeners.place_of(path.local) {
            self.outbox.push_to_client((listener, path), bytes, Place::EMPTY, 0);
            true
        } else {
            false
        };
        if !is_sent {
            self.outbox.dropped.count(ShardDrop::ClientUnreachable);
        }
    }

    /// Sends what waits: first datagrams, then what streams take.
    pub(super) fn flush(&mut self, now: Instant, inbox: &Inbox) {
        self.send_datagrams(inbox);
        self.flush_streams(now, inbox);
    }

    fn send_datagrams(&mut self, inbox: &Inbox) {
        self.outbox.send(inbox, &mut self.listeners, &mut self.sockets);
    }

    fn flush_streams(&mut self, now: Instant, inbox: &Inbox) {
        self.streamed_bytes = 0;
        // The end of one stream can touch others: replies and closed sockets are theirs.
        while let Some((path, reason)) = self.streams.flush_next(now) {
            self.end_stream(now, &path, reason);
            self.carry_out(now, inbox);
        }
    }

    /// Wakes streams whose timeouts have come.
    pub(super) fn handle_stream_timeouts(&mut self, now: Instant, inbox: &Inbox) {
        while let Some((path, reason)) = self.streams.handle_next_timeout(now) {
            self.end_stream(now, &path, reason);
            self.carry_out(now, inbox);
        }
    }

    /// Forgets a stream and tells the engine, once. Whoever calls carries out what the engine wants done about it.
    pub(super) fn end_stream(&mut self, now: Instant, path: &ClientPath, reason: CloseReason) {
        if self.streams.remove(path, reason) {
            self.engine.handle_client_gone(now, path);
        }
    }

    /// Ends every allocation and every stream, because the thread does.
    pub(super) fn end_all(&mut self, now: Instant, inbox: &Inbox) {
        self.engine.end_all(now);
        self.carry_out(now, inbox);
        while let Some(path) = self.streams.remove_next(CloseReason::Stopped) {
            self.engine.handle_client_gone(now, &path);
            self.carry_out(now, inbox);
        }
    }

    /// Does what another thread asks for.
    pub(super) fn handle_command(&mut self, now: Instant, inbox: &Inbox, command: ShardCommand) -> Then {
        // Whoever asked a question may have gone meanwhile; then nobody misses the answer.
        match command {
            ShardCommand::Stop => return Then::Stop,
            ShardCommand::Stream(new) => {
                return self.streams.insert(now, *new).map_or(Then::GoOn, Then::Read);
            }
            ShardCommand::SetPolicy(policy) => self.engine.set_policy(policy),
            ShardCommand::SetCredentials(credentials) => self.engine.set_credentials(credentials),
            ShardCommand::SetLimits(limits) => self.engine.set_limits(now, limits),
            ShardCommand::SetDrain(drain) => self.engine.set_drain(drain),
            ShardCommand::RevokeUser { user, done } => {
                let _ = done.send(self.engine.revoke_user(now, &user));
            }
            ShardCommand::Allocations(done) => {
                let _ = done.send(self.engine.allocations());
            }
            ShardCommand::Explain { peer, done } => {
                let _ = done.send(self.engine.explain(peer));
            }
        }
        self.carry_out(now, inbox);
        Then::GoOn
    }
}

/// A quarter of what a stream's queue holds.
const STREAMED_BYTES_MAX: usize = 256 << 10;

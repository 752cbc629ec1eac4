//! The streams of a shard: numbered, polled, woken, and forgotten once.

use std::time::Instant;

use hdrhistogram::Histogram;
use mio::{Interest, Registry};
use slab::Slab;

use super::alarms::Alarms;
use super::ports::{ShardStats, StreamStats, empty_histogram};
use super::ready::Source;
use crate::engine::ports::ClientPath;
use crate::stream::NewStream;
use crate::stream::client::{FlushOutcome, ReadOutcome, StreamClient, StreamLimits};
use crate::stream::close_reason::CloseReason;

/// Streams that have something to flush or whose timeouts may have moved are touched; nobody else is looked at.
pub(super) struct Streams {
    slab: Slab<Stream>,
    touched: Vec<usize>,
    alarms: Alarms,
    registry: Registry,
    stats: StreamStats,
    /// How long datagrams waited, in microseconds.
    queue_age_us: Histogram<u64>,
}

struct Stream {
    path: ClientPath,
    client: StreamClient,
    /// Relay sockets of its allocation: it has one as long as there are any.
    relay_sockets: u32,
    is_touched: bool,
}

impl Streams {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            slab: Slab::new(),
            touched: Vec::new(),
            alarms: Alarms::default(),
            registry,
            stats: StreamStats::default(),
            queue_age_us: empty_histogram(),
        }
    }

    /// Takes a stream over; its place, unless the poll does not take it.
    pub(super) fn insert(&mut self, now: Instant, mut new: NewStream) -> Option<usize> {
        let entry = self.slab.vacant_entry();
        let place = entry.key();
        // 0 is UDP's. A number is free again when its stream is forgotten, and the engine has been told by then.
        new.path.connection = u32::try_from(place + 1).ok()?;
        let path = new.path;
        let mut client = StreamClient::new(new, now, StreamLimits::default());
        let (token, interest) = (Source::Stream(place).token(), Interest::READABLE | Interest::WRITABLE);
        self.stats.accepted += 1;
        if let Err(error) = self.registry.register(client.source(), token, interest) {
            tracing::warn!(%error, "a stream is not polled");
            self.stats.closed.count(CloseReason::SocketFailed);
            return None;
        }
        self.stats.open[path.transport as usize] += 1;
        entry.insert(Stream { path, client, relay_sockets: 0, is_touched: false });
        self.touch(place);
        Some(place)
    }

    /// Where the stream of this path is, if it is still there.
    pub(super) fn place_of(&self, path: &ClientPath) -> Option<usize> {
        let place = usize::try_from(path.connection.checked_sub(1)?).ok()?;
        self.slab.get(place).filter(|stream| stream.path == *path).map(|_| place)
    }

    /// Reads what there is, and whose it is. `None`: nobody is there any more.
    pub(super) fn read(
        &mut self,
        now: Instant,
        place: usize,
        scratch: &mut [u8],
        on_message: &mut dyn FnMut(&[u8]),
    ) -> Option<(ClientPath, ReadOutcome)> {
        let stream = self.slab.get_mut(place)?;
        let outcome = stream.client.read(now, scratch, on_message);
        let path = stream.path;
        self.touch(place);
        Some((path, outcome))
    }

    /// Queues a STUN message; false when the stream has ended.
    pub(super) fn push_reply(&mut self, now: Instant, path: &ClientPath, message: &[u8]) -> bool {
        self.with(path, |stream| stream.client.push_reply(now, message))
    }

    /// Queues a datagram; false when the stream has ended.
    pub(super) fn push_datagram(
        &mut self,
        now: Instant,
        path: &ClientPath,
        head: &[u8],
        payload: &[u8],
    ) -> bool {
        self.with(path, |stream| stream.client.push_datagram(now, head, payload))
    }

    /// A relay socket of this client is open.
    pub(super) fn note_socket_opened(&mut self, now: Instant, path: &ClientPath) {
        self.with(path, |stream| {
            stream.relay_sockets += 1;
            stream.client.set_has_allocation(true, now);
        });
    }

    /// A relay socket of this client is closed.
    pub(super) fn note_socket_closed(&mut self, now: Instant, path: &ClientPath) {
        self.with(path, |stream| {
            stream.relay_sockets = stream.relay_sockets.saturating_sub(1);
            stream.client.set_has_allocation(stream.relay_sockets > 0, now);
        });
    }

    fn with(&mut self, path: &ClientPath, act: impl FnOnce(&mut Stream)) -> bool {
        let Some(place) = self.place_of(path) else { return false };
        act(&mut self.slab[place]);
        self.touch(place);
        true
    }

    /// Has a stream flushed and its alarm set with the next batch.
    pub(super) fn touch(&mut self, place: usize) {
        if let Some(stream) = self.slab.get_mut(place)
            && !std::mem::replace(&mut stream.is_touched, true)
        {
            self.touched.push(place);
        }
    }

    /// Flushes streams that were touched, until one of them is found to have ended.
    pub(super) fn flush_next(&mut self, now: Instant) -> Option<(ClientPath, CloseReason)> {
        while let Some(place) = self.touched.pop() {
            let Some(stream) = self.slab.get_mut(place) else { continue };
            stream.is_touched = false;
            let outcome = stream.client.flush(now);
            self.stats.note(&stream.client.take_counters(&mut self.queue_age_us));
            if let FlushOutcome::Closed(reason) = outcome {
                return Some((stream.path, reason));
            }
            if let Some(at) = stream.client.next_timeout() {
                self.alarms.set(place, at);
            }
        }
        None
    }

    /// Writes what one stream takes, as a last word to it.
    pub(super) fn flush_one(&mut self, now: Instant, path: &ClientPath) {
        self.with(path, |stream| {
            // However that ends, the stream does.
            let _ = stream.client.flush(now);
        });
    }

    /// When the next stream wants to be looked at. A peek.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.alarms.next()
    }

    /// Wakes streams whose timeouts have come, until one of them has to end.
    pub(super) fn handle_next_timeout(&mut self, now: Instant) -> Option<(ClientPath, CloseReason)> {
        while let Some(place) = self.alarms.pop_due(now) {
            let Some(stream) = self.slab.get_mut(place) else { continue };
            let is_due = stream.client.next_timeout().is_some_and(|at| at <= now);
            if is_due && let Some(reason) = stream.client.handle_timeout(now) {
                return Some((stream.path, reason));
            }
            self.touch(place);
        }
        None
    }

    /// Forgets a stream; true when it was still there.
    pub(super) fn remove(&mut self, path: &ClientPath, reason: CloseReason) -> bool {
        let Some(place) = self.place_of(path) else { return false };
        let mut stream = self.slab.remove(place);
        self.alarms.clear(place);
        self.stats.note(&stream.client.take_counters(&mut self.queue_age_us));
        // The kernel forgets a closed socket by itself; a poll that counts its sources wants to know.
        let _ = self.registry.deregister(stream.client.source());
        self.stats.open[path.transport as usize] -= 1;
        self.stats.closed.count(reason);
        true
    }

    /// Forgets all streams, one with each call; whose it was.
    pub(super) fn remove_next(&mut self, reason: CloseReason) -> Option<ClientPath> {
        let path = self.slab.iter().next().map(|(_, stream)| stream.path)?;
        self.remove(&path, reason).then_some(path)
    }

    /// Writes the streams' numbers down.
    pub(super) fn write_stats(&self, stats: &mut ShardStats) {
        stats.streams = self.stats.clone();
        stats.queue_age_us = self.queue_age_us.clone();
    }
}

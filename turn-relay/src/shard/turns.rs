//! The loop of a shard's thread.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll};

use super::inbox::{Inbox, Place};
use super::mailbox::{Board, Mailbox};
use super::meter::Meter;
use super::ports::ShardStats;
use super::ready::{ReadyList, Source};
use super::relaying::{Relaying, Then};
use crate::stream::client::ReadOutcome;

/// A shard's belongings.
pub(super) struct Turns {
    poll: Poll,
    events: Events,
    mailbox: Mailbox,
    inbox: Inbox,
    /// Where streams put what they read.
    scratch: Box<[u8]>,
    /// Messages of the stream that is being read.
    messages: Vec<Place>,
    relaying: Relaying,
    ready: ReadyList,
    meter: Meter,
    board: Board,
    /// When the wall clock was last read.
    unix_at: Instant,
    is_stopping: bool,
}

impl Turns {
    pub(super) fn new(poll: Poll, mailbox: Mailbox, board: Board, mut relaying: Relaying) -> Self {
        let now = Instant::now();
        relaying.unix_s = unix_s();
        Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            mailbox,
            inbox: Inbox::default(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            messages: Vec::new(),
            relaying,
            ready: ReadyList::default(),
            meter: Meter::new(now),
            board,
            unix_at: now,
            is_stopping: false,
        }
    }

    /// Goes round until told to stop.
    ///
    /// # Errors
    /// When the poll or a listener no longer works.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let outcome = self.go_round();
        // The last numbers are those that a look after the end finds.
        self.relaying.end_all(Instant::now(), &self.inbox);
        self.publish(0.0);
        outcome
    }

    fn go_round(&mut self) -> io::Result<()> {
        while !self.is_stopping {
            let now = self.wait()?;
            if now.saturating_duration_since(self.unix_at) >= SECOND {
                (self.relaying.unix_s, self.unix_at) = (unix_s(), now);
            }
            // First what has ended, then what still wants to use it.
            self.handle_timeouts(now);
            self.serve_ready(now)?;
            if let Some(busy) = self.meter.take_period(now) {
                self.publish(busy);
            }
        }
        Ok(())
    }

    /// Waits until there is something to do. The clock is read here, once for all that follows.
    fn wait(&mut self) -> io::Result<Instant> {
        let before = Instant::now();
        let timeout = if self.ready.is_empty() {
            self.next_timeout().map(|at| at.saturating_duration_since(before))
        } else {
            Some(Duration::ZERO)
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = Instant::now();
        self.meter.note_idle(now.saturating_duration_since(before));
        for event in &self.events {
            let source = Source::of(event.token());
            // A stream that can only be written to has nothing to read; it is flushed with the next batch.
            let mut is_ready = true;
            if let Source::Stream(place) = source {
                self.relaying.streams.touch(place);
                is_ready = event.is_readable() || event.is_read_closed() || event.is_error();
            }
            if is_ready {
                self.ready.push(source);
            }
        }
        if !self.events.is_empty() || !self.ready.is_empty() {
            self.meter.note_change();
        }
        Ok(now)
    }

    /// The soonest of all timeouts. A peek.
    fn next_timeout(&self) -> Option<Instant> {
        let Self { relaying, meter, .. } = self;
        let all = [relaying.engine.next_timeout(), relaying.streams.next_timeout(), meter.next_publish()];
        all.into_iter().flatten().min()
    }

    fn handle_timeouts(&mut self, now: Instant) {
        let Self { relaying, inbox, meter, .. } = self;
        if relaying.engine.next_timeout().is_some_and(|at| at <= now) {
            relaying.engine.handle_timeout(now);
            relaying.carry_out(now, inbox);
            meter.note_change();
        }
        if relaying.streams.next_timeout().is_some_and(|at| at <= now) {
            relaying.handle_stream_timeouts(now, inbox);
            meter.note_change();
        }
    }

    /// Looks once at everybody who is ready. Whoever has more waits behind the others.
    fn serve_ready(&mut self, now: Instant) -> io::Result<()> {
        for _ in 0..self.ready.len() {
            let Some(source) = self.ready.pop() else { break };
            // Several sockets' datagrams leave together, as long as there is room for another burst.
            if self.inbox.is_nearly_full() {
                self.empty_inbox(now);
            }
            let has_more = match source {
                Source::Waker => self.take_commands(now),
                Source::Listener(place) => self.serve_listener(now, place)?,
                Source::Relay(place) => self.serve_relay(now, place),
                Source::Stream(place) => self.serve_stream(now, place),
            };
            if has_more {
                self.ready.push(source);
            }
        }
        self.empty_inbox(now);
        Ok(())
    }

    /// Sends all that came of what was received, and makes room.
    fn empty_inbox(&mut self, now: Instant) {
        self.relaying.flush(now, &self.inbox);
        self.inbox.clear();
    }

    /// A bounded number of what other threads ask for. True when there may be more.
    fn take_commands(&mut self, now: Instant) -> bool {
        for _ in 0..COMMANDS_PER_TURN {
            let Some(command) = self.mailbox.next() else { return false };
            match self.relaying.handle_command(now, &self.inbox, command) {
                Then::GoOn => {}
                // What it read before it came here, no poll will tell of.
                Then::Read(place) => self.ready.push(Source::Stream(place)),
                Then::Stop => {
                    self.is_stopping = true;
                    return false;
                }
            }
        }
        true
    }

    fn serve_listener(&mut self, now: Instant, place: usize) -> io::Result<bool> {
        let Self { relaying, inbox, .. } = self;
        let Some(listener) = relaying.listeners.at(place) else { return Ok(false) };
        let bound = listener.local_addr();
        let received = listener.receive(&mut inbox.receive)?;
        relaying.outbox.drop_unaddressed(received.unaddressed);
        for datagram in inbox.receive.datagrams(received.messages) {
            relaying.handle_datagram(now, inbox, (bound, datagram));
        }
        Ok(!received.is_drained)
    }

    fn serve_relay(&mut self, now: Instant, place: usize) -> bool {
        let Self { relaying, inbox, .. } = self;
        let Some(open) = relaying.sockets.at(place) else { return false };
        let key = open.key;
        match open.socket.receive(&mut inbox.receive) {
            Ok(received) => {
                relaying.outbox.drop_unaddressed(received.unaddressed);
                for datagram in inbox.receive.datagrams(received.messages) {
                    relaying.handle_peer(now, inbox, (key, datagram));
                }
                !received.is_drained
            }
            Err(error) => {
                tracing::warn!(%error, "a relay socket is lost");
                relaying.engine.handle_socket_lost(now, key);
                relaying.carry_out(now, inbox);
                false
            }
        }
    }

    fn serve_stream(&mut self, now: Instant, place: usize) -> bool {
        let Self { relaying, inbox, scratch, messages, .. } = self;
        messages.clear();
        let mut keep = |message: &[u8]| messages.push(inbox.keep(message));
        let Some((path, outcome)) = relaying.streams.read(now, place, scratch, &mut keep) else {
            return false;
        };
        for message in messages.iter() {
            // The engine may have had enough of it.
            if relaying.streams.place_of(&path).is_none() {
                return false;
            }
            relaying.handle_client(now, inbox, (&path, *message));
        }
        match outcome {
            ReadOutcome::Idle => false,
            ReadOutcome::More => true,
            ReadOutcome::Closed(reason) => {
                // Its last messages may have been answered, and only one direction may be closed.
                relaying.flush(now, inbox);
                relaying.end_stream(now, &path, reason);
                relaying.carry_out(now, inbox);
                false
            }
        }
    }

    fn publish(&mut self, busy: f64) {
        let Self { relaying, inbox, .. } = self;
        let mut stats = ShardStats::new();
        stats.relay = relaying.engine.stats();
        stats.udp = inbox.receive.counts;
        stats.udp.add(relaying.outbox.counts());
        relaying.streams.write_stats(&mut stats);
        stats.dropped = relaying.outbox.dropped.clone();
        stats.live_peer_sockets = relaying.sockets.live();
        stats.sockets_refused = relaying.sockets.refused;
        stats.records_dropped = relaying.records.dropped;
        stats.busy = busy;
        self.board.publish(stats);
    }
}

/// Seconds since 1970.
fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const SECOND: Duration = Duration::from_secs(1);

/// Sockets that one wait reports; others follow in the next.
const EVENTS_MAX: usize = 256;

/// About a tenth of a millisecond of work, so that commands cannot hold up datagrams for longer.
const COMMANDS_PER_TURN: usize = 32;

/// Four of TLS's longest records.
const SCRATCH_BYTES: usize = 64 << 10;

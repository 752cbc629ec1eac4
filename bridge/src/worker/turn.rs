//! The loop of a worker thread.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};

use super::meter::{Meter, Second};
use super::outbox::Outbox;
use super::waker::Waker;
use super::{TickClock, WorkerCommand, WorkerParts, WorkerSnapshot};
use crate::engine::bridge::Bridge;
use crate::engine::ports::{ChannelEvent, EndpointKey, HandshakeReport, Path};
use crate::engine::stats::Counters;
use crate::udp::{self, BATCH_DATAGRAMS, MediaSocket, ReceiveBatch, SendBatch};

/// A worker thread's belongings.
pub(crate) struct Turns {
    socket: MediaSocket,
    engine: Bridge,
    receive: ReceiveBatch,
    send: SendBatch,
    commands: mpsc::Receiver<WorkerCommand>,
    channel_events: mpsc::Receiver<(EndpointKey, ChannelEvent)>,
    reports: mpsc::Receiver<(EndpointKey, HandshakeReport)>,
    waker: Arc<Waker>,
    outbox: Outbox,
    meter: Meter,
    publish: watch::Sender<Arc<WorkerSnapshot>>,
    clock: TickClock,
    datagrams_received: u64,
    is_stopping: bool,
}

impl Turns {
    /// Called on the worker's own thread: pins it.
    pub(crate) fn new(
        parts: WorkerParts,
        publish: watch::Sender<Arc<WorkerSnapshot>>,
        clock: TickClock,
    ) -> Self {
        let pinned = parts.processor.map(|processor| (processor, udp::pin_thread(processor)));
        if let Some((processor, Err(error))) = pinned {
            tracing::warn!(worker = parts.index, processor, %error, "not kept on its processor");
        }
        let now = Instant::now();
        Self {
            socket: parts.socket,
            engine: Bridge::new(parts.engine, now),
            receive: ReceiveBatch::default(),
            send: SendBatch::default(),
            commands: parts.mailbox.commands.1,
            channel_events: parts.mailbox.channel_events.1,
            reports: parts.mailbox.reports.1,
            waker: parts.mailbox.waker,
            outbox: Outbox::new(parts.index, parts.control, parts.handshakes),
            meter: Meter::new(now),
            publish,
            clock,
            datagrams_received: 0,
            is_stopping: false,
        }
    }

    /// Goes round until told to stop.
    ///
    /// # Errors
    /// When the socket no longer works.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut has_more = false;
        while !self.is_stopping {
            if !has_more {
                self.wait();
            }
            self.waker.rearm();
            let now = Instant::now();
            self.clock.tick(now);
            let has_datagrams = self.take_datagrams(now)?;
            let has_inputs = self.take_inputs(now);
            self.take_timeouts(now);
            self.outbox.flush();
            self.publish_second();
            has_more = has_datagrams || has_inputs;
        }
        Ok(())
    }

    fn wait(&mut self) {
        let before = Instant::now();
        let mut until = self.meter.next_second().min(before + TICK);
        if let Some(timeout) = self.engine.next_timeout() {
            until = until.min(timeout);
        }
        if self.outbox.is_waiting() {
            until = until.min(before + OUTBOX_RETRY);
        }
        if until <= before {
            return;
        }
        if udp::wait(&self.socket, self.waker.event(), until - before) {
            self.waker.drain();
        }
        self.meter.note_idle(before.elapsed());
    }

    /// One batch from the socket through the engine. True when there is probably another.
    fn take_datagrams(&mut self, now: Instant) -> io::Result<bool> {
        let received = self.socket.receive(&mut self.receive)?;
        self.datagrams_received += received as u64;
        let (engine, socket, send, meter) = (&mut self.engine, &self.socket, &mut self.send, &mut self.meter);
        self.receive.for_each(|path: Path, datagram| {
            engine.handle_datagram(now, path, datagram);
            if engine.send_ring().len() >= SEND_AT_DATAGRAMS {
                drain_ring(engine, socket, send, meter, now);
            }
        });
        self.finish(now);
        Ok(received == BATCH_DATAGRAMS)
    }

    /// A bounded number of everything that other threads have left. True when there may be more.
    fn take_inputs(&mut self, now: Instant) -> bool {
        let mut left = INPUTS_MAX;
        while left > 0 {
            let Some(input) = self.next_input() else { return false };
            match input {
                Input::Report(endpoint, report) => self.engine.handle_handshake(now, endpoint, report),
                Input::Command(command) => self.take_command(now, command),
                Input::Channel(endpoint, event) => self.engine.handle_channel(now, endpoint, event),
            }
            self.finish(now);
            left -= 1;
        }
        true
    }

    /// Keys before commands before channels: what lets media flow comes first.
    fn next_input(&mut self) -> Option<Input> {
        if let Ok((endpoint, report)) = self.reports.try_recv() {
            return Some(Input::Report(endpoint, report));
        }
        match self.commands.try_recv() {
            Ok(command) => return Some(Input::Command(command)),
            // The control plane is gone without a word.
            Err(TryRecvError::Disconnected) => self.is_stopping = true,
            Err(TryRecvError::Empty) => {}
        }
        let (endpoint, event) = self.channel_events.try_recv().ok()?;
        Some(Input::Channel(endpoint, event))
    }

    fn take_command(&mut self, now: Instant, command: WorkerCommand) {
        match command {
            WorkerCommand::Link(command) => self.engine.handle_command(now, command),
            WorkerCommand::Debug(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.engine.debug(now));
            }
            WorkerCommand::Stop => self.is_stopping = true,
        }
    }

    fn take_timeouts(&mut self, now: Instant) {
        if self.engine.next_timeout().is_some_and(|timeout| timeout <= now) {
            self.engine.handle_timeout(now);
            self.finish(now);
        }
    }

    /// Sends what the engine wrote and passes on what it wants done.
    fn finish(&mut self, now: Instant) {
        drain_ring(&mut self.engine, &self.socket, &mut self.send, &mut self.meter, now);
        while let Some(output) = self.engine.poll_output() {
            self.outbox.push(output);
        }
    }

    fn publish_second(&mut self) {
        let now = Instant::now();
        let Some(Second { busy, latency }) = self.meter.take_second(now) else { return };
        let before = Arc::clone(&self.publish.borrow());
        let engine = self.engine.stats(now);
        let packets = |counters: &Counters| counters.packets_received + counters.packets_sent;
        let step = packets(&engine.counters).saturating_sub(packets(&before.engine.counters));
        let lasted = now.saturating_duration_since(before.at).as_secs_f64();
        self.publish.send_replace(Arc::new(WorkerSnapshot {
            at: now,
            engine,
            busy,
            packets_per_s: (step as f64 / lasted.max(f64::EPSILON)).round() as u64,
            latency,
            latency_totals: self.meter.latency_totals().clone(),
            sends: self.send.counts,
            datagrams_received: self.datagrams_received,
            truncated: self.receive.truncated,
            overflowed: self.receive.overflowed,
            handshakes_refused: self.outbox.handshakes_refused,
            channel_messages_dropped: self.outbox.channel_messages_dropped,
        }));
    }
}

/// Sends the ring's datagrams; their latency counts from `received_at`.
fn drain_ring(
    engine: &mut Bridge,
    socket: &MediaSocket,
    send: &mut SendBatch,
    meter: &mut Meter,
    received_at: Instant,
) {
    let ring = engine.send_ring();
    if ring.is_empty() {
        return;
    }
    let datagrams = ring.len() as u64;
    socket.send(send, ring.iter());
    ring.clear();
    meter.note_sent(datagrams, received_at.elapsed());
}

enum Input {
    Report(EndpointKey, HandshakeReport),
    Command(WorkerCommand),
    Channel(EndpointKey, ChannelEvent),
}

/// A worker that has nothing to do still shows twice a second that it lives.
const TICK: Duration = Duration::from_millis(500);

/// The control plane makes room within a millisecond or two.
const OUTBOX_RETRY: Duration = Duration::from_millis(2);

/// About 0.2 ms of work, so that a flood of channel messages cannot hold up media for longer.
const INPUTS_MAX: usize = 32;

/// Sixteen system calls' worth: a fan-out to many receivers leaves before the next datagram is looked at.
const SEND_AT_DATAGRAMS: usize = 1024;

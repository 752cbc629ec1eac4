//! The loop of a worker thread.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};

use super::hold::Hold;
use super::meter::{Meter, Second};
use super::outbox::Outbox;
use super::parts::{FromPart, Parts};
use super::waker::Waker;
use super::{TickClock, WorkerCommand, WorkerParts, WorkerSnapshot};
use crate::engine::bridge::Bridge;
use crate::engine::ports::{ChannelEvent, EndpointKey, HandshakeReport, Output, Path};
use crate::engine::stats::Counters;
use crate::udp::{self, MediaSocket, ReceiveBatch, SendBatch};

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
    parts: Parts,
    meter: Meter,
    hold: Hold,
    publish: watch::Sender<Arc<WorkerSnapshot>>,
    clock: TickClock,
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
        let (now, here) = (Instant::now(), parts.engine.part);
        Self {
            socket: parts.socket,
            engine: Bridge::new(parts.engine, now),
            receive: ReceiveBatch::default(),
            send: SendBatch::default(),
            commands: parts.mailbox.commands.1,
            channel_events: parts.mailbox.channel_events.1,
            reports: parts.mailbox.reports.1,
            waker: parts.mailbox.waker,
            parts: Parts::new(here, parts.doors, parts.mailbox.rings),
            outbox: Outbox::new(parts.index, parts.control, parts.handshakes),
            meter: Meter::new(now),
            hold: Hold::new(parts.send_hold_max),
            publish,
            clock,
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
            let has_crossings = self.take_crossings(now);
            let has_inputs = self.take_inputs(now);
            self.take_timeouts(now);
            self.outbox.flush();
            self.parts.flush();
            let after = Instant::now();
            let is_at_work = has_datagrams || has_crossings;
            self.send_if_due(after, is_at_work);
            self.publish_second(after);
            has_more = is_at_work || has_inputs;
        }
        // What a farewell wrote, above all.
        self.send_ring();
        Ok(())
    }

    fn wait(&mut self) {
        let before = Instant::now();
        let mut until = self.meter.next_second().min(before + TICK);
        if let Some(timeout) = self.engine.next_timeout() {
            until = until.min(timeout);
        }
        if self.outbox.is_waiting() || self.parts.is_waiting() {
            until = until.min(before + OUTBOX_RETRY);
        }
        let held_until = self.hold.deadline(self.meter.load(before));
        if let Some(deadline) = held_until {
            until = until.min(deadline);
        }
        if until <= before {
            return;
        }
        // While something is held back, what arrives is left to gather in the socket.
        let socket = held_until.is_none().then_some(&self.socket);
        if udp::wait(socket, self.waker.event(), until - before) {
            self.waker.drain();
        }
        self.meter.note_idle(before.elapsed());
    }

    /// One batch from the socket through the engine. True when it is worth looking again before anything is sent.
    fn take_datagrams(&mut self, now: Instant) -> io::Result<bool> {
        let received_before = self.receive.datagrams;
        let is_full = self.socket.receive(&mut self.receive)?;
        let Self { engine, socket, send, meter, hold, receive, parts, .. } = self;
        receive.for_each(|path: Path, datagram| {
            engine.handle_datagram(now, path, datagram);
            if !engine.crossings().is_empty() {
                // At once, so that another worker seals while this one does.
                parts.carry(engine);
            }
            if engine.send_ring().len() >= SEND_AT_DATAGRAMS {
                hold.note(now, engine.send_ring().len());
                drain_ring(engine, socket, send, (meter, hold));
            }
        });
        self.finish(now);
        let has_received = self.receive.datagrams > received_before;
        Ok(is_full || has_received && self.engine.send_ring().len() >= LOOK_AGAIN_DATAGRAMS)
    }

    /// A bounded number of what other workers' engines have sent. True when it is worth looking again before anything is
    /// sent.
    fn take_crossings(&mut self, now: Instant) -> bool {
        let Self { engine, socket, send, meter, hold, parts, .. } = self;
        let mut has_crossed = false;
        let has_more = parts.receive(CROSSINGS_MAX, |received| match received {
            FromPart::Packet(crossing, bytes) => {
                has_crossed = true;
                engine.handle_crossing(now, crossing, bytes);
                hold.note(crossing.received_at(), engine.send_ring().len());
                if engine.send_ring().len() >= SEND_AT_DATAGRAMS {
                    drain_ring(engine, socket, send, (meter, hold));
                }
            }
            FromPart::Message(from, message) => {
                has_crossed = true;
                engine.handle_part(now, from, *message);
            }
        });
        if has_crossed {
            self.finish(now);
        }
        has_more || has_crossed && self.engine.send_ring().len() >= LOOK_AGAIN_DATAGRAMS
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
            WorkerCommand::Link { command, others } => {
                self.engine.handle_part_command(now, command, &others);
            }
            WorkerCommand::EndStale(conference, epoch) => self.engine.end_stale(now, &conference, epoch),
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

    /// Notes what the engine wrote and passes on what it wants done.
    fn finish(&mut self, now: Instant) {
        self.hold.note(now, self.engine.send_ring().len());
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Part(to, message) => self.parts.send(to, message),
                output => self.outbox.push(output),
            }
        }
        if !self.engine.crossings().is_empty() {
            self.parts.carry(&mut self.engine);
        }
    }

    /// Sends what has waited long enough.
    fn send_if_due(&mut self, now: Instant, has_datagrams: bool) {
        let load = self.meter.load(now);
        let deadline =
            if has_datagrams { self.hold.deadline_at_work(load) } else { self.hold.deadline(load) };
        if deadline.is_some_and(|deadline| deadline <= now) {
            self.send_ring();
        }
    }

    fn send_ring(&mut self) {
        drain_ring(&mut self.engine, &self.socket, &mut self.send, (&mut self.meter, &mut self.hold));
    }

    fn publish_second(&mut self, now: Instant) {
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
            datagrams_received: self.receive.datagrams,
            truncated: self.receive.truncated,
            overflowed: self.receive.overflowed,
            handshakes_refused: self.outbox.handshakes_refused,
            channel_messages_dropped: self.outbox.channel_messages_dropped + self.parts.talk_dropped,
        }));
    }
}

/// Sends the ring's datagrams; the latency of each counts from the receipt of what caused it.
fn drain_ring(
    engine: &mut Bridge,
    socket: &MediaSocket,
    send: &mut SendBatch,
    (meter, hold): (&mut Meter, &mut Hold),
) {
    let ring = engine.send_ring();
    if ring.is_empty() {
        return;
    }
    socket.send(send, ring.trains());
    ring.clear();
    let sent_at = Instant::now();
    for (received_at, datagrams) in hold.take() {
        meter.note_sent(datagrams, sent_at.saturating_duration_since(received_at));
    }
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

/// From each other worker. With 200 receivers each is 50 µs of sealing; datagrams and commands come in between.
const CROSSINGS_MAX: usize = 32;

/// About half a millisecond of sealing, and still in the processor's cache when the kernel copies it.
const SEND_AT_DATAGRAMS: usize = 2048;

/// One more look at the socket costs a tenth of what it saves when a second packet for so many receivers is there.
const LOOK_AGAIN_DATAGRAMS: usize = 4;

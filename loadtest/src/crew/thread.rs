//! A crew's thread: waits for sockets, timers and commands, and serves one seat after the other.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use super::CrewLoad;
use super::command::{Command, Lease, Line, Opening, SeatKey, Share};
use super::leg::{Clock, Place, Reading};
use super::seat::{Seat, Tools};
use super::timers::Timers;
use crate::engine::results::Results;

/// Starts one.
pub(super) fn start(number: usize) -> io::Result<(Line, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (sender, commands) = mpsc::channel();
    let thread = std::thread::Builder::new().name(format!("crew-{number}")).spawn(move || {
        CrewThread::new(poll, commands).run();
    })?;
    Ok((Line::new(sender, waker), thread))
}

struct CrewThread {
    poll: Poll,
    commands: Receiver<Command>,
    seats: Slab<Seat>,
    generations: u64,
    timers: Timers,
    /// Seats that were interrupted in their reading.
    unread: Vec<usize>,
    tools: Tools,
    /// By group.
    results: BTreeMap<usize, Results>,
    /// Where the slow round through all seats goes on.
    collected: usize,
    meter: Meter,
}

/// Time since the last sample.
struct Meter {
    since: Instant,
    waited: Duration,
    late: Duration,
    collected_at: Instant,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self { since: now, waited: Duration::ZERO, late: Duration::ZERO, collected_at: now }
    }
}

impl CrewThread {
    fn new(poll: Poll, commands: Receiver<Command>) -> Self {
        let tools = Tools { scratch: vec![0; SCRATCH_BYTES], ..Tools::default() };
        Self {
            poll,
            commands,
            seats: Slab::new(),
            generations: 0,
            timers: Timers::default(),
            unread: Vec::new(),
            tools,
            results: BTreeMap::new(),
            collected: 0,
            meter: Meter::new(Instant::now()),
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let before = Instant::now();
            let timeout = self.timeout(before);
            // An interrupted wait comes back as no events; anything else would be a broken epoll, seen again next time.
            let _ = self.poll.poll(&mut events, Some(timeout));
            let clock = Clock::read();
            self.meter.waited += clock.now.saturating_duration_since(before);
            let mut has_commands = false;
            let interrupted = std::mem::take(&mut self.unread);
            for event in &events {
                match event.token() {
                    WAKER => has_commands = true,
                    Token(index) => self.read(index, clock),
                }
            }
            self.read_on(interrupted, clock);
            self.serve_timers();
            if has_commands && !self.obey() {
                return;
            }
            self.collect_some();
            self.meter.late = self.meter.late.max(std::mem::take(&mut self.tools.late));
        }
    }

    fn timeout(&self, now: Instant) -> Duration {
        if !self.unread.is_empty() {
            return Duration::ZERO;
        }
        let next = self.timers.next().map_or(WAIT_MAX, |next| next.saturating_duration_since(now));
        next.min(WAIT_MAX)
    }

    /// One seat's socket.
    fn read(&mut self, index: usize, clock: Clock) {
        let Some(seat) = self.seats.get_mut(index) else { return };
        let place = Place { registry: self.poll.registry(), token: Token(index) };
        let reading = seat.handle_readable(clock, &mut self.tools, place);
        self.timers.arm(index, seat.next_timeout(), &mut seat.armed);
        if reading != Reading::Done && !seat.is_waiting_to_read {
            seat.is_waiting_to_read = true;
            self.unread.push(index);
        }
    }

    /// Those that were interrupted the turn before have waited while the others had theirs.
    fn read_on(&mut self, interrupted: Vec<usize>, clock: Clock) {
        for index in interrupted {
            if let Some(seat) = self.seats.get_mut(index) {
                seat.is_waiting_to_read = false;
                self.read(index, clock);
            }
        }
    }

    fn serve_timers(&mut self) {
        let start = Instant::now();
        while let Some((deadline, index)) = self.timers.pop_due(start) {
            let Some(seat) = self.seats.get_mut(index).filter(|seat| seat.armed == Some(deadline)) else {
                continue;
            };
            seat.armed = None;
            // Each seat has its own instant: what it stamps leaves now, not when the first seat's turn began.
            let now = Instant::now();
            if seat.next_timeout().is_some_and(|at| at <= now) {
                self.meter.late = self.meter.late.max(now.saturating_duration_since(deadline));
                let place = Place { registry: self.poll.registry(), token: Token(index) };
                seat.handle_timeout(now, &mut self.tools, place);
            }
            // Not before the next turn, so that a seat that is always due keeps nobody else waiting.
            let next = seat.next_timeout().map(|at| at.max(start + Duration::from_nanos(1)));
            self.timers.arm(index, next, &mut seat.armed);
        }
    }

    /// Whether to go on.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            let now = Instant::now();
            match command {
                Command::Open(opening, reply) => {
                    let line = opening.line.clone();
                    let key = self.open(now, *opening);
                    // Who no longer waits gives the seat back by that.
                    let _ = reply.send(Lease { key, line });
                }
                Command::Connect(key, connecting, reply) => {
                    // Without a seat the reply is dropped, which says enough.
                    let Some(seat) = seat_of(&mut self.seats, key) else { continue };
                    let place = Place { registry: self.poll.registry(), token: Token(key.index) };
                    seat.connect(now, connecting, reply, place);
                    self.arm(key.index);
                }
                Command::HangUp(key) => self.leave(key),
                Command::TakeResults(reply) => self.tell_share(&reply),
                Command::Stop => {
                    self.stop();
                    return false;
                }
            }
        }
        true
    }

    fn open(&mut self, now: Instant, opening: Opening) -> SeatKey {
        self.generations += 1;
        let entry = self.seats.vacant_entry();
        let key = SeatKey { index: entry.key(), generation: self.generations };
        let place = Place { registry: self.poll.registry(), token: Token(key.index) };
        self.results.entry(opening.group).or_default();
        entry.insert(Seat::open(now, opening, key.generation, place));
        self.arm(key.index);
        key
    }

    fn arm(&mut self, index: usize) {
        if let Some(seat) = self.seats.get_mut(index) {
            self.timers.arm(index, seat.next_timeout(), &mut seat.armed);
        }
    }

    fn leave(&mut self, key: SeatKey) {
        if seat_of(&mut self.seats, key).is_none() {
            return;
        }
        let mut seat = self.seats.remove(key.index);
        seat.hang_up(&mut self.tools);
        seat.take_results(self.results.entry(seat.group).or_default());
    }

    fn stop(&mut self) {
        for mut seat in self.seats.drain() {
            seat.hang_up(&mut self.tools);
        }
    }

    /// Takes the results of a part of the seats, so that what callers keep until then stays small and no turn takes long.
    fn collect_some(&mut self) {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.meter.collected_at);
        if elapsed < COLLECT_INTERVAL || self.seats.is_empty() {
            return;
        }
        self.meter.collected_at = now;
        let slots = self.seats.capacity();
        let share = (elapsed.as_secs_f64() / COLLECT_ROUND.as_secs_f64()).min(1.0);
        for _ in 0..(slots as f64 * share).ceil() as usize {
            self.collected = (self.collected + 1) % slots;
            if let Some(seat) = self.seats.get_mut(self.collected) {
                seat.take_results(self.results.entry(seat.group).or_default());
            }
        }
    }

    /// Whoever has given up waiting is told next time.
    fn tell_share(&mut self, reply: &mpsc::Sender<Share>) {
        let share = self.share();
        let Err(mpsc::SendError(share)) = reply.send(share) else { return };
        for (group, results) in &share.groups {
            self.results.entry(*group).or_default().add(results);
        }
        self.tools.unsent += share.load.unsent;
        self.meter.late = self.meter.late.max(Duration::from_micros(share.load.late_us_max));
    }

    /// Everything since the last time.
    fn share(&mut self) -> Share {
        let mut load = CrewLoad { unsent: std::mem::take(&mut self.tools.unsent), ..CrewLoad::default() };
        let mut ports = Vec::new();
        for (_, seat) in &mut self.seats {
            seat.take_results(self.results.entry(seat.group).or_default());
            load.callers += usize::from(seat.is_connected());
            if let Some((port, bytes)) = seat.socket() {
                ports.push(port);
                load.receive_buffer_bytes = load.receive_buffer_bytes.into_iter().chain([bytes]).min();
            }
        }
        let now = Instant::now();
        let whole = now.saturating_duration_since(self.meter.since);
        if !whole.is_zero() {
            load.busy = 1.0 - (self.meter.waited.as_secs_f64() / whole.as_secs_f64()).min(1.0);
        }
        load.late_us_max = self.meter.late.as_micros() as u64;
        self.meter = Meter::new(now);
        let groups =
            self.results.iter_mut().map(|(group, results)| (*group, std::mem::take(results))).collect();
        Share { groups, load, ports }
    }
}

/// The seat, if it still is the one.
fn seat_of(seats: &mut Slab<Seat>, key: SeatKey) -> Option<&mut Seat> {
    seats.get_mut(key.index).filter(|seat| seat.generation == key.generation)
}

/// No seat has this index: a slab grows from 0.
const WAKER: Token = Token(usize::MAX);

/// All sockets of a thread at its goal in one call.
const EVENTS: usize = 1_024;

/// Nothing waits for longer; this only bounds what a missed wake-up could do.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// One reading of a stream: four TLS records.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Each seat's results are taken this often, a few seats at a time.
const COLLECT_ROUND: Duration = Duration::from_millis(500);
const COLLECT_INTERVAL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waited_for_is_told_next_time() {
        let (_line, commands) = mpsc::channel();
        let mut thread = CrewThread::new(Poll::new().unwrap(), commands);
        thread.results.entry(3).or_default().counts.packets_received = 5;
        thread.tools.unsent = 2;
        thread.meter.late = Duration::from_millis(7);
        let (reply, answer) = mpsc::channel();
        drop(answer);
        thread.tell_share(&reply);
        let (reply, answer) = mpsc::channel();
        thread.tell_share(&reply);
        let share = answer.recv().unwrap();
        let told: Vec<_> =
            share.groups.iter().map(|(group, it)| (*group, it.counts.packets_received)).collect();
        assert_eq!((told, share.load.unsent, share.load.late_us_max), (vec![(3, 5)], 2, 7_000));
    }
}

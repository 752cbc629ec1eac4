//! G3 and G4: clients send bursts through the relay to one peer, which sends every datagram back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};
use std::os::fd::AsRawFd;

use super::Target;
use super::client::{Client, Maker};
use super::process::processor_s;
use super::socket::{Batch, Datagrams, age_histogram, age_us, stamp};

#[derive(clap::Args)]
pub(crate) struct Shape {
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Packets at once
    #[arg(long, default_value_t = 8)]
    burst: usize,
    /// Packets of each client in each second
    #[arg(long, default_value_t = 800)]
    rate: u32,
    /// All clients send at the same moment, as all get a picture at the same moment; otherwise one after the other
    #[arg(long)]
    together: bool,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The peer's address
    #[arg(long)]
    peer: SocketAddr,
}

/// Until every socket, table and branch is warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the last packets may take to come back.
const TAIL: Duration = Duration::from_millis(300);

/// Where the measured part begins and ends.
struct Mark {
    at: Instant,
    processor_s: Option<f64>,
    echoed: u64,
    received: u64,
}

pub(crate) fn measure(target: &Target, shape: &Shape) -> io::Result<Value> {
    let echo = Echo::start(shape.peer)?;
    let maker = Maker::new(target)?;
    let clients =
        (0..shape.clients).map(|number| maker.make(number, shape.peer)).collect::<io::Result<Vec<_>>>()?;
    let mut crew = Crew::new(target, shape, clients)?;
    crew.run(WARM_UP)?;
    let begin = crew.mark(target, &echo)?;
    crew.run(Duration::from_secs(shape.seconds))?;
    let end = crew.mark(target, &echo)?;
    crew.listen(TAIL)?;
    let relayed = end.echoed - begin.echoed + end.received - begin.received;
    let processor_s = end.processor_s.zip(begin.processor_s).map(|(end, begin)| end - begin);
    let seconds = (end.at - begin.at).as_secs_f64();
    Ok(json!({
        "relayed_per_s": relayed as f64 / seconds,
        "processor_us_per_packet": processor_s.map(|seconds| seconds * 1e6 / relayed.max(1) as f64),
        "processors": processor_s.map(|busy| busy / seconds),
        "sent": crew.sent,
        "lost_percent": 100.0 * crew.sent.saturating_sub(crew.received) as f64 / crew.sent.max(1) as f64,
        "round_trip_p50_us": crew.round_trips_us.value_at_quantile(0.5),
        "round_trip_p99_us": crew.round_trips_us.value_at_quantile(0.99),
    }))
}

/// All clients on one thread. Each takes its echoes half a period after it has sent.
struct Crew {
    clients: Vec<Client>,
    batch: Batch,
    payloads: Vec<Vec<u8>>,
    start: Instant,
    /// Clients that send in one step.
    senders: usize,
    /// Between two steps.
    step: Duration,
    steps: u32,
    sent: u64,
    received: u64,
    round_trips_us: Histogram<u64>,
}

impl Crew {
    fn new(target: &Target, shape: &Shape, clients: Vec<Client>) -> io::Result<Self> {
        let bursts_per_s = f64::from(shape.rate) / shape.burst.max(1) as f64 * clients.len() as f64;
        let senders = if shape.together { clients.len() } else { 1 };
        Ok(Self {
            payloads: vec![vec![0x5a; target.payload]; shape.burst],
            clients,
            batch: Batch::new(),
            start: Instant::now(),
            senders,
            step: Duration::from_secs_f64(senders as f64 / bursts_per_s.max(1.0)),
            steps: 0,
            sent: 0,
            received: 0,
            round_trips_us: age_histogram()?,
        })
    }

    fn run(&mut self, duration: Duration) -> io::Result<()> {
        let end = Instant::now() + duration;
        // From now on: time that passed in between is not made up for.
        let (from, first) = (Instant::now(), self.steps);
        while Instant::now() < end {
            let due = from + self.step * (self.steps - first);
            if let Some(early) = due.checked_duration_since(Instant::now()) {
                thread::sleep(early);
            }
            for offset in 0..self.senders {
                let sender = (self.steps as usize + offset) % self.clients.len();
                for payload in &mut self.payloads {
                    stamp(payload, self.start, self.sent);
                    self.sent += 1;
                }
                self.clients[sender].send(&self.payloads)?;
                if self.senders == 1 {
                    self.receive((sender + self.clients.len() / 2) % self.clients.len())?;
                }
            }
            if self.senders > 1 {
                thread::sleep((due + self.step / 2).saturating_duration_since(Instant::now()));
                (0..self.clients.len()).try_for_each(|receiver| self.receive(receiver))?;
            }
            self.steps += 1;
        }
        Ok(())
    }

    fn receive(&mut self, receiver: usize) -> io::Result<()> {
        let (start, received, round_trips_us) = (self.start, &mut self.received, &mut self.round_trips_us);
        self.clients[receiver].receive(&mut self.batch, |payload| {
            *received += 1;
            round_trips_us.saturating_record(age_us(payload, start));
        })
    }

    /// Only takes what comes.
    fn listen(&mut self, duration: Duration) -> io::Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            for receiver in 0..self.clients.len() {
                self.receive(receiver)?;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn mark(&self, target: &Target, echo: &Echo) -> io::Result<Mark> {
        Ok(Mark {
            at: Instant::now(),
            processor_s: processor_s(target.pid)?,
            echoed: echo.count.load(Ordering::Relaxed),
            received: self.received,
        })
    }
}

/// The peer, on a thread of its own until it is dropped.
struct Echo {
    count: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Echo {
    fn start(at: SocketAddr) -> io::Result<Self> {
        let datagrams = Datagrams::bind(at)?;
        let poll = Poll::new()?;
        poll.registry().register(
            &mut SourceFd(&datagrams.socket.as_raw_fd()),
            Token(0),
            Interest::READABLE,
        )?;
        let (count, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (count, is_over) = (count.clone(), is_over.clone());
            move || echo(&datagrams, poll, &count, &is_over)
        });
        Ok(Self { count, is_over, thread: Some(thread) })
    }
}

fn echo(datagrams: &Datagrams, mut poll: Poll, count: &AtomicU64, is_over: &AtomicBool) {
    let (mut batch, mut events) = (Batch::new(), Events::with_capacity(1));
    while !is_over.load(Ordering::Relaxed) {
        let polled = poll.poll(&mut events, Some(Duration::from_millis(100)));
        let received = datagrams.receive(&mut batch, |from, train, each| {
            count.fetch_add(train.len().div_ceil(each) as u64, Ordering::Relaxed);
            datagrams.send_train(from, train, each);
        });
        if polled.is_err() || received.is_err() {
            return;
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

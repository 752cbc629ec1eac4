//! G1 and G2: a peer sends a key frame, or what is left of a whole second, at once; how much of it the client gets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Target;
use super::client::{Client, Leg, Maker};
use super::socket::{Batch, Datagrams, age_histogram, age_us, stamp};

#[derive(clap::Args)]
pub(crate) struct Shape {
    /// Packets at once
    #[arg(long, default_value_t = 200)]
    burst: usize,
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// The peer's address
    #[arg(long)]
    peer: SocketAddr,
    /// The peer sends datagram by datagram, not in trains
    #[arg(long)]
    lone: bool,
}

#[derive(clap::Args)]
pub(crate) struct SlowShape {
    /// What the client reads, in kbit/s
    #[arg(long, default_value_t = 2_000)]
    reads_kbps: u64,
    /// What the peer sends, in kbit/s
    #[arg(long, default_value_t = 4_000)]
    sends_kbps: u64,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The peer's address
    #[arg(long)]
    peer: SocketAddr,
}

/// Between bursts: so many packets of one client without a pause would meet the relay's limit for a client.
const PAUSE: Duration = Duration::from_millis(150);
/// A burst is over when nothing has come for this long.
const QUIET: Duration = Duration::from_millis(700);
/// A window of a slow mobile line; more would hide the relay's queue behind the kernel's.
const SLOW_BUFFER_BYTES: usize = 8 << 10;
const SLOW_STEP: Duration = Duration::from_millis(10);

pub(crate) fn measure(target: &Target, shape: &Shape) -> io::Result<Value> {
    let peer = Datagrams::bind(shape.peer)?;
    let client = Maker::new(target)?.make(0, shape.peer)?;
    let (relayed, reader) = (client.relayed, Reader::start(client));
    let mut delivered = Vec::new();
    let mut train = Vec::new();
    for _ in 0..shape.runs {
        let before = reader.count();
        train.clear();
        for number in 0..shape.burst {
            let mut payload = vec![0x5a; target.payload];
            stamp(&mut payload, reader.start, number as u64);
            train.extend_from_slice(&payload);
        }
        if shape.lone {
            for payload in train.chunks(target.payload) {
                peer.send_train(relayed, payload, target.payload);
            }
        } else {
            peer.send_train(relayed, &train, target.payload);
        }
        delivered.push(reader.wait_until(before + shape.burst as u64) - before);
        thread::sleep(PAUSE);
    }
    let whole = delivered.iter().filter(|count| **count == shape.burst as u64).count();
    let percent = |count: &u64| 100.0 * *count as f64 / shape.burst as f64;
    let sum: u64 = delivered.iter().sum();
    let ages_us = reader.stop()?;
    Ok(json!({
        "runs": shape.runs,
        "whole_runs": whole,
        "delivered_percent": percent(&sum) / shape.runs.max(1) as f64,
        "least_percent": delivered.iter().map(percent).fold(100.0, f64::min),
        "age_p99_us": ages_us.value_at_quantile(0.99),
        "age_max_us": ages_us.max(),
    }))
}

/// A client that reads all the time, on a thread of its own.
struct Reader {
    start: Instant,
    count: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<io::Result<Histogram<u64>>>,
}

impl Reader {
    fn start(client: Client) -> Self {
        let (count, is_over, start) =
            (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)), Instant::now());
        let thread = thread::spawn({
            let (count, is_over) = (count.clone(), is_over.clone());
            move || read_on(client, start, &count, &is_over)
        });
        Self { start, count, is_over, thread }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How many have come when all have, or when no more do.
    fn wait_until(&self, wanted: u64) -> u64 {
        let (mut last, mut since) = (self.count(), Instant::now());
        while last < wanted && since.elapsed() < QUIET {
            thread::sleep(Duration::from_millis(1));
            let count = self.count();
            if count != last {
                (last, since) = (count, Instant::now());
            }
        }
        last
    }

    fn stop(self) -> io::Result<Histogram<u64>> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the reader is gone"))?
    }
}

fn read_on(
    mut client: Client,
    start: Instant,
    count: &AtomicU64,
    is_over: &AtomicBool,
) -> io::Result<Histogram<u64>> {
    let mut batch = Batch::new();
    let mut ages_us = age_histogram()?;
    while !is_over.load(Ordering::Relaxed) {
        client.receive(&mut batch, |payload| {
            count.fetch_add(1, Ordering::Relaxed);
            ages_us.saturating_record(age_us(payload, start));
        })?;
        thread::sleep(Duration::from_micros(200));
    }
    Ok(ages_us)
}

pub(crate) fn measure_slow(target: &Target, shape: &SlowShape) -> io::Result<Value> {
    let peer = Datagrams::bind(shape.peer)?;
    let mut maker = Maker::new(target)?;
    maker.stream_buffer_bytes = SLOW_BUFFER_BYTES;
    let mut client = maker.make(0, shape.peer)?;
    let (start, relayed) = (Instant::now(), client.relayed);
    let Leg::Stream(stream) = &mut client.leg else {
        return Err(io::Error::other("a slow client has a stream"));
    };
    let steps_per_s = SLOW_STEP.as_secs_f64().recip();
    let bytes_per_step = |kbps: u64| kbps as f64 * 125.0 / steps_per_s;
    let (mut sent, mut received, mut broken) = (0u64, 0u64, 0u64);
    let mut payload = vec![0x5a; target.payload];
    let mut ages_us = age_histogram()?;
    for step in 1..=(shape.seconds as f64 * steps_per_s) as u32 {
        let due = bytes_per_step(shape.sends_kbps) * f64::from(step);
        while (sent as f64) < due / target.payload as f64 {
            stamp(&mut payload, start, sent);
            peer.send_train(relayed, &payload, target.payload);
            sent += 1;
        }
        stream.read(bytes_per_step(shape.reads_kbps) as usize)?;
        stream.take_messages(|message| match super::client::payload_of(message) {
            Some(whole) if whole.len() == target.payload => {
                received += 1;
                ages_us.saturating_record(age_us(whole, start));
            }
            _ => broken += 1,
        });
        thread::sleep((start + SLOW_STEP * step).saturating_duration_since(Instant::now()));
    }
    Ok(json!({
        "sent": sent,
        "received": received,
        "broken": broken,
        "age_p50_ms": ages_us.value_at_quantile(0.5) as f64 / 1e3,
        "age_p99_ms": ages_us.value_at_quantile(0.99) as f64 / 1e3,
        "age_max_ms": ages_us.max() as f64 / 1e3,
    }))
}

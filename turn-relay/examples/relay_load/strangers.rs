//! G6: Allocates of clients that never authenticate, from as many ports as there are.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Target;
use super::codec::{ALLOCATE, REQUESTED_TRANSPORT, Stun};
use super::process::{processor_s, resident_bytes};

#[derive(clap::Args)]
pub(crate) struct Shape {
    /// Requests in all
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Ports they come from in all
    #[arg(long, default_value_t = 10_000)]
    ports: u64,
    /// Addresses they come from, one after the other; `--from` alone without any
    #[arg(long)]
    sources: Vec<IpAddr>,
    /// Requests in each second: as many as the relay's socket holds
    #[arg(long, default_value_t = 40_000)]
    rate: u32,
}

/// The first port that strangers use.
const PORT_FIRST: u64 = 5_000;
/// Ports that one address gives.
const PORTS_OF_ADDRESS: u64 = 50_000;
const SETTLE: Duration = Duration::from_millis(1_500);

pub(crate) fn measure(target: &Target, shape: &Shape) -> io::Result<Value> {
    let sources = if shape.sources.is_empty() { vec![target.from] } else { shape.sources.clone() };
    let of_each_port = (shape.count / shape.ports.max(1)).max(1);
    // The first thousand find every table of the relay's at its size.
    let mut flood = Flood { server: target.server, sources, replies: 0, reply_bytes: 0, sent: 0 };
    flood.run(0..shape.ports.min(1_000), 1, shape.rate)?;
    thread::sleep(SETTLE);
    let (before, busy_before) = (resident_bytes(target.pid)?, processor_s(target.pid)?);
    let mut measured = Flood { replies: 0, reply_bytes: 0, sent: 0, ..flood };
    measured.run(0..shape.ports, of_each_port, shape.rate)?;
    thread::sleep(SETTLE);
    let (after, busy_after) = (resident_bytes(target.pid)?, processor_s(target.pid)?);
    let reply_bytes = measured.reply_bytes as f64 / measured.replies.max(1) as f64;
    Ok(json!({
        "sent": measured.sent,
        "replies": measured.replies,
        "reply_bytes": reply_bytes,
        "reply_per_request": reply_bytes / request(0).len() as f64,
        "reply_per_header": reply_bytes / 20.0,
        "memory_growth_bytes": before.zip(after).map(|(before, after)| after - before),
        "processor_us_per_request": busy_after.zip(busy_before).map(|(after, before)| (after - before) * 1e6 / measured.sent.max(1) as f64),
    }))
}

struct Flood {
    server: SocketAddr,
    sources: Vec<IpAddr>,
    sent: u64,
    replies: u64,
    reply_bytes: u64,
}

impl Flood {
    fn run(&mut self, ports: std::ops::Range<u64>, of_each: u64, rate: u32) -> io::Result<()> {
        let (begun, mut sent) = (Instant::now(), 0u64);
        for port in ports {
            let source = self.sources[(port / PORTS_OF_ADDRESS) as usize % self.sources.len()];
            let local = SocketAddr::new(source, (PORT_FIRST + port % PORTS_OF_ADDRESS) as u16);
            let socket = match UdpSocket::bind(local) {
                // Somebody else's; another stranger takes its place.
                Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
                bound => bound?,
            };
            socket.connect(self.server)?;
            for number in 0..of_each {
                socket.send(&request(port << 20 | number))?;
                sent += 1;
            }
            let due = Duration::from_secs_f64(sent as f64 / f64::from(rate.max(1)));
            thread::sleep(due.saturating_sub(begun.elapsed()));
            self.take_replies(&socket)?;
        }
        self.sent += sent;
        Ok(())
    }

    fn take_replies(&mut self, socket: &UdpSocket) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let mut buffer = [0; 2_048];
        loop {
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    self.replies += 1;
                    self.reply_bytes += length as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn request(number: u64) -> Vec<u8> {
    let mut transaction = [0x73; 12];
    transaction[4..].copy_from_slice(&number.to_be_bytes());
    Stun::new(ALLOCATE, transaction).with(REQUESTED_TRANSPORT, [17, 0, 0, 0]).encode()
}

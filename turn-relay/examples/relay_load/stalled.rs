//! G11: connections that begin a TLS handshake and never go on, and one that wants to come in all the same.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stream::{self, Stream};
use super::{Target, Way};

#[derive(clap::Args)]
pub(crate) struct Shape {
    #[arg(long, default_value_t = 1_000)]
    count: usize,
    /// Where the stalled ones come from, in turn; `--from` alone without any
    #[arg(long)]
    sources: Vec<IpAddr>,
    /// Fresh handshakes, one after the other
    #[arg(long, default_value_t = 20)]
    fresh: usize,
    /// Seconds to wait for the end of the stalled ones
    #[arg(long, default_value_t = 70)]
    patience: u64,
}

/// The header of a record that holds a ClientHello of 512 bytes, of which none follows.
const BEGINNING: [u8; 5] = [0x16, 0x03, 0x01, 0x02, 0x00];

pub(crate) fn measure(target: &Target, shape: &Shape) -> io::Result<Value> {
    if target.transport != Way::Tls {
        return Err(io::Error::other("handshakes need --transport tls"));
    }
    let config = target.ca.as_deref().map(stream::tls_config).transpose()?;
    let sources = if shape.sources.is_empty() { vec![target.from] } else { shape.sources.clone() };
    let begun = Instant::now();
    let mut stalled = Vec::new();
    for number in 0..shape.count {
        let from = SocketAddr::new(sources[number % sources.len()], 0);
        let opened = stream::connect(from, target.server, 0).and_then(|mut socket| {
            socket.write_all(&BEGINNING)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        stalled.extend(opened.ok());
    }
    // A cap closes after the kernel has accepted.
    thread::sleep(Duration::from_millis(200));
    stalled.retain_mut(|socket| !is_closed(socket));
    let held = stalled.len();
    let mut fresh_us = Vec::new();
    for _ in 0..shape.fresh {
        let started = Instant::now();
        Stream::open(target, config.as_ref(), 0)?;
        fresh_us.push(started.elapsed().as_micros() as u64);
    }
    fresh_us.sort_unstable();
    let patience = Duration::from_secs(shape.patience);
    while !stalled.is_empty() && begun.elapsed() < patience {
        thread::sleep(Duration::from_millis(100));
        stalled.retain_mut(|socket| !is_closed(socket));
    }
    Ok(json!({
        "stalled": shape.count,
        "refused_at_once": shape.count - held,
        "held": held,
        "fresh_p50_ms": fresh_us.get(fresh_us.len() / 2).map(|us| *us as f64 / 1e3),
        "fresh_max_ms": fresh_us.last().map(|us| *us as f64 / 1e3),
        "all_closed_after_s": stalled.is_empty().then(|| begun.elapsed().as_secs_f64()),
    }))
}

fn is_closed(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0; 64]) {
        // An alert may come first.
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

//! The load of `bench/relay`: clients and peers that cost a relay under test the same, whichever it is. One measurement for
//! each call, one line of JSON as its answer.
//!
//! ```text
//! client ── UDP, TCP or TLS ──▶ relay under test ── UDP ──▶ peer
//!    ▲                          (--pid: its processor           │  echoes, or sends bursts
//!    └─ counts what comes back   time and memory, by /proc) ◀───┘
//! ```
//!
//! Clients send datagram by datagram, as browsers do; peers send a burst as one train, as bridges do; both take trains, as a
//! network card does. Packets count where they arrive: a relay that loses some is not cheaper for it.

mod bursts;
mod client;
#[path = "../../tests/world/codec.rs"]
#[allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "of the tests, and used in part")]
mod codec;
mod echoed;
mod held;
mod process;
mod socket;
mod stalled;
mod strangers;
mod stream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Loads a TURN server and says what it took.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    measurement: Measurement,
}

/// The relay under test and how to get in.
#[derive(clap::Args)]
struct Target {
    /// Where the relay listens
    #[arg(long)]
    server: SocketAddr,
    /// How clients come
    #[arg(long, default_value = "udp")]
    transport: Way,
    /// The secret that it shares with those who mint credentials
    #[arg(long, default_value = "")]
    secret: String,
    /// Who signed its certificate, as PEM
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Where clients send from; peers too, unless told otherwise
    #[arg(long, default_value = "127.0.0.1")]
    from: IpAddr,
    /// The relay's process
    #[arg(long)]
    pid: Option<u32>,
    /// Bytes of payload in each packet, 40 at least
    #[arg(long, default_value_t = 1200)]
    payload: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Udp,
    Tcp,
    Tls,
}

#[derive(Subcommand)]
enum Measurement {
    /// Clients send bursts to one peer, which echoes: processor time a packet (G3, G4)
    Echo(echoed::Shape),
    /// A peer sends bursts without pause to one client that reads all the time: what arrives (G1, G2)
    Bursts(bursts::Shape),
    /// A peer sends more than a slow client reads: how old what arrives is (G1)
    Slow(bursts::SlowShape),
    /// Allocations with one channel each: memory (G5)
    Hold(held::Shape),
    /// Allocates without credentials from many ports: memory and replies (G6)
    Strangers(strangers::Shape),
    /// TLS handshakes that never go on: how long a fresh one takes, when the others are closed (G11)
    Stalled(stalled::Shape),
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match measure(&flags) {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("relay_load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(flags: &Flags) -> io::Result<serde_json::Value> {
    process::raise_descriptor_limit();
    let target = &flags.target;
    if !(socket::PAYLOAD_BYTES_MIN..=socket::PAYLOAD_BYTES_MAX).contains(&target.payload) {
        return Err(io::Error::other("no such payload"));
    }
    match &flags.measurement {
        Measurement::Echo(shape) => echoed::measure(target, shape),
        Measurement::Bursts(shape) => bursts::measure(target, shape),
        Measurement::Slow(shape) => bursts::measure_slow(target, shape),
        Measurement::Hold(shape) => held::measure(target, shape),
        Measurement::Strangers(shape) => strangers::measure(target, shape),
        Measurement::Stalled(shape) => stalled::measure(target, shape),
    }
}

//! What a light caller weighs: a hundred of them in this process, the server in another.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod server;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use loadtest::engine::ports::Note;
use loadtest::engine::results::Results;
use loadtest::scenario::Kind;
use serde_json::Value;
use server::seat::{Callers, Role, Seat};

/// Enough that what all share does not count.
const VIEWERS: u32 = 100;

/// What the issue of loadtest allows each, sockets' buffers in the kernel aside.
const CALLER_BYTES_MAX: u64 = 200 * 1024;

const VIEWER: Role = Role::Viewer(1);

#[test]
fn a_light_caller_weighs_less_than_it_may() {
    let server = Process::start();
    let mut callers = Callers::start(1);
    let mut results = vec![Results::default(); 1];
    let mut publisher = [callers.join(server.public, "memory", (Role::Publisher, 0))];
    callers.until_noted(&mut publisher, &Note::DtlsConnected);
    let join = |number| {
        callers.seat(server.public, "memory", (VIEWER, callers.phone(Kind::Light, (VIEWER, number), 0)))
    };
    // The first one brings what is made once for all.
    let mut seats: Vec<Seat> = vec![join(1)];
    callers.until_noted(&mut seats, &Note::FirstPicture);
    let before = resident_bytes();
    seats.extend((2..=VIEWERS).map(join));
    callers.until_noted(&mut seats, &Note::FirstPicture);
    let after = resident_bytes();
    callers.sample(&mut results);
    let each = after.saturating_sub(before) / u64::from(VIEWERS - 1);
    println!("{} KiB for each of {VIEWERS} light callers", each / 1024);
    assert!(each <= CALLER_BYTES_MAX, "{each} bytes for each caller");
    callers.hang_up(&mut seats);
    callers.hang_up(&mut publisher);
}

/// `passerelle` as a process of its own; dropping it ends it.
struct Process {
    child: Child,
    public: SocketAddr,
}

impl Process {
    fn start() -> Self {
        let settings = [
            ("SIGNALING__LISTEN", "127.0.0.1:0"),
            ("SIGNALING__REST_LISTEN", "127.0.0.1:0"),
            ("BRIDGE__MEDIA_PORT", "0"),
            ("BRIDGE__WORKERS", "1"),
            ("BRIDGE__PIN_WORKERS", "false"),
            ("BRIDGE__CHANNEL_LISTEN", "127.0.0.1:0"),
            ("BRIDGE__REST_LISTEN", "127.0.0.1:0"),
            ("TURN_RELAY__LISTEN", "127.0.0.1:0"),
            ("TURN_RELAY__REST_LISTEN", "127.0.0.1:0"),
            ("LOG__LEVEL", "warn"),
        ];
        let settings = settings.map(|(key, value)| (format!("PASSERELLE__{key}"), value));
        let mut child = Command::new(env!("CARGO_BIN_EXE_passerelle"))
            .arg("--ready-json")
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let public = ready["bound"]["signaling"]["public"].as_str().unwrap().parse().unwrap();
        let rest = ready["bound"]["signaling"]["rest"].as_str().unwrap().parse().unwrap();
        let process = Self { child, public };
        server::until("a bridge is ready", || {
            let bridges = server::ask(rest, "/api/bridges");
            bridges.as_array().is_some_and(|list| list.iter().any(|each| each["state"] == "operational"))
        });
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory of this process, as the kernel counts it.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

//! One publisher and a hundred viewers on one worker: every viewer gets every packet, and the statistics say so.
//!
//! Loss is asserted; figures of time and memory are printed and never asserted, because they depend on the machine.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod server;

use std::thread;
use std::time::{Duration, Instant};

use loadtest::engine::counts::Counts;
use loadtest::engine::ports::Note;
use loadtest::engine::results::Results;
use loadtest::scenario::Kind;
use server::seat::{Callers, Role, Seat};
use server::{Server, until};

/// What the issue of a whole meeting promises; also an unoptimised build carries it.
const VIEWERS: u32 = 100;

/// Threads of callers: their work is spread, and the worker still finds a processor.
const CREWS: usize = 2;

const MEASURED: Duration = Duration::from_secs(10);

/// Groups of results.
const PUBLISHER: usize = 0;
const EARLY: usize = 1;
const LATE: usize = 2;

const VIEWER: Role = Role::Viewer(1);

#[test]
fn a_hundred_viewers_of_one_publisher_lose_nothing_on_one_worker() {
    let server = Server::start();
    let mut callers = Callers::start(CREWS);
    let mut results = vec![Results::default(); 3];
    // Those who come first are shown everything from the publisher's first packet on.
    let mut early = join_all(&callers, &server, EARLY, 1..=VIEWERS / 2);
    let phone = callers.phone(Kind::Light, (Role::Publisher, 0), PUBLISHER);
    let mut publisher = [callers.seat(server.public, "hundred", (Role::Publisher, phone))];
    callers.until_noted(&mut early, &Note::FirstPicture);
    let mut late = join_all(&callers, &server, LATE, VIEWERS / 2 + 1..=VIEWERS);
    callers.until_noted(&mut late, &Note::FirstPicture);

    measure(&mut callers, &mut results);
    callers.hang_up(&mut publisher);
    settle(&mut callers, &mut results);

    let sent = results[PUBLISHER].counts;
    assert_eq!(sent.nacks_received, 0, "the bridge missed packets of the publisher");
    for group in [EARLY, LATE] {
        check(&results[group].counts);
    }
    let half = u64::from(VIEWERS / 2);
    assert_eq!(
        results[EARLY].counts.packets_received,
        half * sent.packets_sent,
        "{sent:?} {:?}",
        results[EARLY].counts
    );
    assert_eq!(results[EARLY].counts.frames_complete, half * sent.frames_sent);
    // A late viewer's first picture may be one that the bridge had kept: it has that much more, and less of the beginning;
    // how much less is a matter of how long joining took.
    assert!(results[LATE].counts.frames_complete > half, "every one saw more than its first picture");
    check_stats(
        &server,
        sent,
        results[EARLY].counts.packets_received + results[LATE].counts.packets_received,
    );
}

fn join_all(
    callers: &Callers,
    server: &Server,
    group: usize,
    numbers: std::ops::RangeInclusive<u32>,
) -> Vec<Seat> {
    let joining = Instant::now();
    let join = |number| {
        let phone = callers.phone(Kind::Light, (VIEWER, number), group);
        callers.seat(server.public, "hundred", (VIEWER, phone))
    };
    let mut seats: Vec<Seat> = numbers.map(join).collect();
    callers.until_noted(&mut seats, &Note::DtlsConnected);
    println!("{} viewers joined within {:?}", seats.len(), joining.elapsed());
    seats
}

/// Prints what forwarding costs.
fn measure(callers: &mut Callers, results: &mut [Results]) {
    sample(callers, results);
    let (before, started, had) = (cpu(), Instant::now(), received(results));
    thread::sleep(MEASURED);
    sample(callers, results);
    let (after, forwarded) = (cpu(), received(results) - had);
    println!("{:.0} packets/s forwarded", forwarded as f64 / started.elapsed().as_secs_f64());
    let each = |from: Duration, to: Duration| (to - from).as_secs_f64() * 1e6 / forwarded as f64;
    println!(
        "worker {:.2} us, crews {:.2} us, whole process {:.2} us of processor time per packet forwarded",
        each(before.worker, after.worker),
        each(before.crews, after.crews),
        each(before.process, after.process)
    );
    let delays = results[EARLY].delays.packets();
    println!("delay p50 {} us, p99 {} us", delays.quantile(0.5), delays.quantile(0.99));
}

/// Waits until nothing comes any more, and what is missing has been given up.
fn settle(callers: &mut Callers, results: &mut [Results]) {
    let mut last = (0, Instant::now());
    until("what was sent has arrived", || {
        sample(callers, results);
        let now = received(results);
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(2)
    });
}

/// A test that cannot judge says so.
fn sample(callers: &mut Callers, results: &mut [Results]) {
    let load = callers.sample(results);
    assert_eq!(load.kernel_drops, 0, "this machine was too busy for the callers: no fault of the server");
}

fn received(results: &[Results]) -> u64 {
    results[EARLY].counts.packets_received + results[LATE].counts.packets_received
}

/// Nobody has missed anything, got it twice or out of order, or got what is nobody's.
fn check(counts: &Counts) {
    let broken = [
        counts.packets_lost,
        counts.packets_duplicate,
        counts.packets_late,
        counts.packets_recovered,
        counts.packets_strange,
        counts.packets_unstamped,
        counts.frames_broken,
        counts.nacks_sent,
    ];
    assert_eq!(broken, [0; 8], "{counts:?}");
}

/// The bridge counts what the callers counted.
fn check_stats(server: &Server, sent: Counts, forwarded: u64) {
    let is_near = |counted: f64, true_count: f64| (counted - true_count).abs() <= true_count / 100.0;
    until("statistics that are true within one in a hundred", || {
        let stats = server.bridge_stats();
        let counted = |key: &str| stats[key].as_f64().unwrap();
        is_near(counted("total_packets_received"), sent.packets_sent as f64)
            && is_near(counted("total_packets_sent"), forwarded as f64)
    });
    let stats = server.bridge_stats();
    println!(
        "forwarding latency {} us, dropped {}",
        stats["forwarding_latency_us"], stats["dropped_packets"]
    );
}

/// Processor time used so far.
#[derive(Clone, Copy)]
struct Cpu {
    process: Duration,
    worker: Duration,
    crews: Duration,
}

/// User and system time from the kernel's accounting, in its ticks of 10 ms.
fn cpu() -> Cpu {
    let time_of = |stat: &str| {
        // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field behind it.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(10 * ticks)
    };
    let process = time_of(&std::fs::read_to_string("/proc/self/stat").unwrap());
    let tasks: Vec<String> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
        .collect();
    let of = |name: &str| tasks.iter().filter(|stat| stat.contains(name)).map(|stat| time_of(stat)).sum();
    Cpu { process, worker: of("(worker-"), crews: of("(crew-") }
}

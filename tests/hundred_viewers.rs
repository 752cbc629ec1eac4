//! One publisher and a hundred viewers on one worker: every viewer gets every packet, and the statistics say so.
//!
//! Loss is asserted; figures of time are printed and never asserted, because they depend on the machine.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod callers;
mod server;

use std::thread;
use std::time::{Duration, Instant};

use callers::crew::{Crew, Seat, dropped_by_kernel};
use callers::{Caller, Role, Sent};
use server::{Server, until};

/// What the issue of a whole meeting promises; also an unoptimised build carries it.
const VIEWERS: u32 = 100;

/// Threads of viewers: their work is spread, and the worker still finds a processor.
const CREWS: usize = 2;

const MEASURED: Duration = Duration::from_secs(10);

#[test]
fn a_hundred_viewers_of_one_publisher_lose_nothing_on_one_worker() {
    let server = Server::start();
    let publisher = Crew::start("publisher", vec![join(&server, Role::Publisher, 0)]);
    until("the publisher is connected", || publisher.connected() == 1);

    let joining = Instant::now();
    let mut crews = Vec::new();
    for crew in 0..CREWS as u32 {
        let numbers = (1..=VIEWERS).filter(|number| number % CREWS as u32 == crew);
        let seats = numbers.map(|number| join(&server, Role::Viewer, number)).collect();
        crews.push(Crew::start(&format!("viewers-{crew}"), seats));
    }
    let total = |count: fn(&Crew) -> usize| crews.iter().map(count).sum::<usize>() == VIEWERS as usize;
    until("all viewers are connected", || total(Crew::connected));
    println!("{VIEWERS} viewers joined within {:?}", joining.elapsed());
    until("all viewers see and hear", || total(Crew::served));
    println!("all see and hear after {:?}", joining.elapsed());

    let (before, started) = (cpu(), Instant::now());
    let received_before = received(&crews);
    thread::sleep(MEASURED);
    let (after, forwarded) = (cpu(), received(&crews) - received_before);
    let seconds = started.elapsed().as_secs_f64();
    println!("{:.0} packets/s forwarded", forwarded as f64 / seconds);
    println!(
        "worker {:.2} us, whole process {:.2} us of processor time per packet forwarded",
        (after.worker - before.worker).as_secs_f64() * 1e6 / forwarded as f64,
        (after.process - before.process).as_secs_f64() * 1e6 / forwarded as f64
    );

    let publisher = publisher.stop();
    let sent = publisher[0].caller.sent();
    settle(&crews);
    let viewers: Vec<Seat> = crews.into_iter().flat_map(Crew::stop).collect();
    assert_eq!(sent.nacked, 0, "the bridge missed packets of the publisher");
    assert_eq!(
        dropped_by_kernel(&viewers),
        0,
        "this machine was too busy for the callers: no fault of the server"
    );
    for viewer in &viewers {
        check(viewer, sent);
    }
    check_stats(&server, sent, &viewers);
}

fn join(server: &Server, role: Role, number: u32) -> Seat {
    Seat::join(server.public, "hundred", Caller::new(Instant::now(), role, number))
}

/// Waits until nothing comes any more but reports.
fn settle(crews: &[Crew]) {
    let mut last = (received(crews), Instant::now());
    until("what was sent has arrived", || {
        let now = received(crews);
        if now > last.0 + 2 * u64::from(VIEWERS) {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(1)
    });
}

fn received(crews: &[Crew]) -> u64 {
    crews.iter().map(Crew::received).sum()
}

/// From its first key frame on, a viewer has everything that was sent, once and in order.
fn check(viewer: &Seat, sent: Sent) {
    assert_eq!((viewer.caller.streams().len(), viewer.caller.strange_packets()), (2, 0));
    for stream in viewer.caller.streams() {
        let (counts, last) = (stream.counts(), if stream.is_picture() { sent.pictures } else { sent.voices });
        let (first, is_key) = stream.first().expect("something was shown");
        assert_eq!(is_key, stream.is_picture(), "a picture begins with a key frame");
        assert_eq!((counts.missing, counts.late, counts.broken), (0, 0, 0), "{counts:?}");
        assert_eq!(stream.last_tag(), last, "{counts:?}");
        assert_eq!(counts.packets, u64::from(last - first + 1));
    }
}

/// The bridge counts what the callers counted.
fn check_stats(server: &Server, sent: Sent, viewers: &[Seat]) {
    let published = f64::from(sent.pictures + sent.voices);
    let streams = viewers.iter().flat_map(|viewer| viewer.caller.streams());
    let forwarded = streams.map(|stream| stream.counts().packets).sum::<u64>() as f64;
    let is_near = |counted: f64, true_count: f64| (counted - true_count).abs() <= true_count / 100.0;
    until("statistics that are true within one in a hundred", || {
        let stats = server.bridge_stats();
        let counted = |key: &str| stats[key].as_f64().unwrap();
        is_near(counted("total_packets_received"), published)
            && is_near(counted("total_packets_sent"), forwarded)
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
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    let worker = stats.filter(|stat| stat.contains("(worker-")).map(|stat| time_of(&stat)).sum();
    Cpu { process, worker }
}

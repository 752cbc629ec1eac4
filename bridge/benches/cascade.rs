//! One conference of 400 receivers: what one engine seals in a second, against two engines on two processors that carry its
//! packets across through the ring that workers use.
//!
//! Both are measured in turn, several times, because a machine with other work to do gives neither a fair second. Besides
//! the clock on the wall each thread's own processor time is told: what a processor of its own would take.

#[path = "../src/worker/ring.rs"]
mod ring;
#[path = "../tests/world/mod.rs"]
mod world;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

// The ring names the engine as its own crate does.
use bridge::engine;
use bridge::engine::bridge::Bridge;
use bridge::engine::ports::{Output, PartId, Path};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use ring::{Received, RingReceiver, RingSender};
use world::browser::Browser;
use world::media::Sent;
use world::{World, ms, secs};

/// What one or both engines have sealed, and what that took.
#[derive(Clone, Copy)]
struct Measured {
    sealed: u64,
    wall: Duration,
    /// The longer of the threads' own processor times.
    busy: Duration,
}

/// The sender's packets in their order, each with the time of its arrival.
type Packets = Vec<(Instant, Vec<u8>)>;

/// One source of video and its watchers, spread evenly over so many engines.
fn conference(parts: u16) -> (World, usize) {
    let mut world = World::with_parts(parts);
    let sender = world.join(Browser::watcher(1).with_video(1).with_slots(0, 0));
    for number in 0..RECEIVERS {
        let part = (number % u32::from(parts)) as usize;
        world.join(Browser::watcher(number + 2).at(part).with_slots(0, 1));
    }
    world.run(secs(1));
    world.browsers[sender].camera().is_on = false;
    world.run(ms(200));
    (world, sender)
}

/// A millisecond apart: the sender stays below what one may send.
fn packets(world: &mut World, sender: usize) -> Packets {
    (0..PACKETS)
        .map(|_| {
            world.now += ms(1);
            let elements = world.browsers[sender].elements(0, world.now, false);
            let elements: Vec<(u8, &[u8])> =
                elements.iter().map(|(id, value)| (*id, value.as_slice())).collect();
            let mut stream = world.browsers[sender].streams.remove(0);
            stream.frame += 1;
            let mut payload = vec![0x90, 0xc0, 0x80, 0, 0, 0x11];
            payload.resize(1_200, 0xaa);
            let timestamp = stream.timestamp_base.wrapping_add(stream.frame * 3_600);
            let sent = Sent { marker: true, timestamp, payload };
            let packet = stream.seal(world.browsers[sender].sealer(), sent, &elements).expect("sealed");
            stream.history.clear();
            world.browsers[sender].streams.insert(0, stream);
            (world.now, packet)
        })
        .collect()
}

fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    if let Err(error) = sched_setaffinity(None, &set) {
        println!("not kept on processor {processor}: {error}");
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Seals a sender's packets for everybody here, and sends them across where there is somewhere to.
fn send(engine: &mut Bridge, path: Path, packets: Packets, mut ring: Option<RingSender>) -> u64 {
    let mut sealed = 0;
    for (now, mut packet) in packets {
        engine.handle_datagram(now, path, &mut packet);
        let crossings = engine.crossings();
        for (_, crossing, bytes) in crossings.iter() {
            let ring = ring.as_mut().expect("nothing crosses to nowhere");
            // A worker would drop it; here both must do the same work.
            while !ring.push_packet(crossing, bytes) {
                thread::yield_now();
            }
        }
        crossings.clear();
        while let Some(output) = engine.poll_output() {
            if let (Output::Part(_, message), Some(ring)) = (output, ring.as_mut()) {
                ring.push_message(message).expect("nobody joins or leaves: there are hardly any");
            }
        }
        sealed += take_sealed(engine);
    }
    sealed
}

/// Seals what crosses for everybody here.
fn receive(engine: &mut Bridge, mut ring: RingReceiver, count: usize) -> u64 {
    let (mut sealed, mut left) = (0, count);
    while left > 0 {
        let has_received = ring.receive(|received| match received {
            Received::Packet(crossing, bytes) => {
                engine.handle_crossing(crossing.received_at(), crossing, bytes);
                left -= 1;
            }
            Received::Message(message) => engine.handle_part(Instant::now(), PartId(0), *message),
        });
        if has_received {
            sealed += take_sealed(engine);
        } else {
            thread::yield_now();
        }
    }
    sealed
}

fn take_sealed(engine: &mut Bridge) -> u64 {
    let sealed = engine.send_ring().len() as u64;
    engine.send_ring().clear();
    while engine.poll_output().is_some() {}
    sealed
}

/// Does `work` on one processor, when everybody is ready.
fn measure(processor: usize, ready: &Barrier, work: impl FnOnce() -> u64) -> Measured {
    pin(processor);
    ready.wait();
    let (before, busy_before) = (Instant::now(), thread_time());
    let sealed = work();
    Measured { sealed, wall: before.elapsed(), busy: thread_time() - busy_before }
}

fn one_engine() -> Measured {
    let (mut world, sender) = conference(1);
    let (packets, path) = (packets(&mut world, sender), world.browsers[sender].path);
    let World { bridge: mut engine, .. } = world;
    let work = move || measure(0, &Barrier::new(1), || send(&mut engine, path, packets, None));
    // A thread of its own: this one stays on any processor.
    thread::spawn(work).join().expect("it seals")
}

fn two_engines() -> Measured {
    let (mut world, sender) = conference(2);
    let (packets, path) = (packets(&mut world, sender), world.browsers[sender].path);
    let World { bridge: mut home, mut others, .. } = world;
    let mut other = others.remove(0);
    let (write, read) = ring::ring();
    let (ready, count) = (Barrier::new(2), packets.len());
    let (one, two) = thread::scope(|scope| {
        let ready = &ready;
        let sending = scope.spawn(move || measure(0, ready, || send(&mut home, path, packets, Some(write))));
        let receiving = scope.spawn(move || measure(1, ready, || receive(&mut other, read, count)));
        (sending.join().expect("it seals"), receiving.join().expect("it seals"))
    });
    let sealed = one.sealed + two.sealed;
    Measured { sealed, wall: one.wall.max(two.wall), busy: one.busy.max(two.busy) }
}

fn per_second(measured: Measured, time: impl Fn(Measured) -> Duration) -> f64 {
    measured.sealed as f64 / time(measured).as_secs_f64()
}

fn main() {
    let expected = u64::from(RECEIVERS) * u64::from(PACKETS);
    let mut best = [[0.0_f64; 2]; 2];
    for round in 1..=ROUNDS {
        for (place, measured) in [one_engine(), two_engines()].into_iter().enumerate() {
            assert_eq!(measured.sealed, expected, "everybody gets everything");
            let rates = [per_second(measured, |it| it.wall), per_second(measured, |it| it.busy)];
            println!(
                "round {round}: {} engine(s): {:.0} packets/s, {:.0} by processor time",
                place + 1,
                rates[0],
                rates[1]
            );
            for (best, rate) in best[place].iter_mut().zip(rates) {
                *best = best.max(rate);
            }
        }
    }
    let [one, two] = best;
    println!("cascade/400 receivers: {:.2} times one engine's packets/s, best of {ROUNDS}", two[0] / one[0]);
    println!("cascade/400 receivers: {:.2} times by processor time", two[1] / one[1]);
}

const RECEIVERS: u32 = 400;

/// About a third of a second of sealing.
const PACKETS: u32 = 3_000;

const ROUNDS: usize = 5;

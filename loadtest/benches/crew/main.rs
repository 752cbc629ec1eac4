//! What one crew thread takes in: viewers of one 720p camera and one voice, fed over loopback by a model server that seals
//! for each of them and sends each picture as one GSO message.
//!
//! `cargo bench -p loadtest --bench crew [-- VIEWERS [SECONDS]]` (1,000 viewers, 10 seconds). The thread's cost is its
//! processor time as the kernel counts it: all system calls, SRTP, counting and feedback are in it.

mod server;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use loadtest::crew::{CrewSettings, Crews, PathPlan};
use loadtest::engine::ports::{CallerPlan, Note};
use loadtest::engine::stamp::Clock;
use loadtest::phone::{Phone, SlotCounts};
use loadtest::scenario::Receive;

use self::server::Blaster;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u32>().ok());
    let viewers = numbers.next().unwrap_or(1_000);
    let seconds = numbers.next().unwrap_or(10);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(viewers, Duration::from_secs(u64::from(seconds))));
}

async fn measure(viewers: u32, duration: Duration) {
    let clock = Clock { number: 1, epoch: Instant::now() };
    let blaster = Blaster::start(clock);
    let crews = Crews::start(CrewSettings { threads: 1 }).expect("a crew");
    let memory_before = memory_kib();
    let mut phones = Vec::new();
    for number in 0..viewers {
        phones.push(join(&crews, &blaster, number, clock).await);
    }
    // Handshakes' memory is given back a while after they are done.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let memory = (memory_kib() - memory_before) as f64 / f64::from(viewers);
    blaster.is_sending.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    crews.sample();
    let (start, cost_before) = (Instant::now(), thread_cost());
    tokio::time::sleep(duration).await;
    let (elapsed, cost) = (start.elapsed(), thread_cost() - cost_before);
    let mut sample = crews.sample();
    let (_, results) = sample.groups.pop().expect("a group");
    let (counts, load) = (results.counts, sample.load);
    let packets = counts.packets_received;
    println!("viewers                 {viewers}");
    println!("packets/s               {:.0}", packets as f64 / elapsed.as_secs_f64());
    println!("Mbit/s                  {:.0}", counts.bytes_received as f64 * 8e-6 / elapsed.as_secs_f64());
    println!("ns of processor/packet  {:.0}", cost.as_nanos() as f64 / packets.max(1) as f64);
    println!("processor               {:.2}", cost.as_secs_f64() / elapsed.as_secs_f64());
    println!("busy                    {:.2}", load.busy);
    println!("late at most            {} us", load.late_us_max);
    println!("kernel drops            {}", load.kernel_drops);
    println!("lost, unstamped         {}, {}", counts.packets_lost, counts.packets_unstamped);
    println!("receive buffer          {} bytes", load.receive_buffer_bytes.unwrap_or(0));
    let delays = results.delays.packets();
    println!("delay p50, p99          {}, {} us", delays.quantile(0.5), delays.quantile(0.99));
    println!("KiB a viewer            {memory:.0} before media");
    println!(
        "KiB a viewer            {:.0} with media",
        (memory_kib() - memory_before) as f64 / f64::from(viewers)
    );
    crews.stop();
}

async fn join(crews: &Crews, blaster: &Blaster, number: u32, clock: Clock) -> Phone {
    let plan = CallerPlan {
        number,
        seed: u64::from(number),
        clock,
        voice: None,
        camera: None,
        screen: None,
        receive: Receive::default(),
    };
    let mut phone = Phone::Light(crews.phone(plan, PathPlan::default(), 0));
    let offer = phone.offer(SlotCounts { audio: 1, video: 1 }, None).await.expect("an offer");
    phone.answer(&blaster.answer(&offer)).await.expect("a way");
    while phone.note().await.expect("a connection that lasts").1 != Note::DtlsConnected {}
    phone
}

/// Processor time of the crew's thread so far.
fn thread_cost() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs").flatten();
    let crew = tasks
        .map(|task| task.path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "crew-0"));
    let text = std::fs::read_to_string(crew.expect("the thread").join("schedstat")).expect("procfs");
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number"))
}

/// Resident memory.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

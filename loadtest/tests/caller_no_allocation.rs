//! A viewer in the thousands: what one weighs, and that receiving allocates nothing. A binary of its own: its allocator
//! counts.

// A counting allocator cannot be written without implementing an unsafe trait; all calls go straight to the system's.
#![allow(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

#[allow(dead_code, reason = "the engine's own tests use the rest")]
#[path = "../src/engine/caller/tests/server.rs"]
mod server;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loadtest::engine::caller::{Caller, Identity};
use loadtest::engine::ports::{CallerPlan, Workspace};
use loadtest::engine::results::Results;
use loadtest::engine::stamp::Clock;
use loadtest::scenario::{Camera, PictureLayer, Receive, Voice};
use wire::datagram::{DatagramKind, classify};
use wire::rtp::RtpView;
use wire::srtp::Profile;

use self::server::Server;

struct Counting;

thread_local! {
    /// Counted for each thread apart, so that the test harness' own threads do not show.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: every call is the system allocator's own, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        LIVE_BYTES.set(LIVE_BYTES.get() + layout.size() as i64);
        // SAFETY: the caller keeps GlobalAlloc's contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.set(LIVE_BYTES.get() - layout.size() as i64);
        // SAFETY: as above; `pointer` came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One caller and its server.
struct Line {
    caller: Caller,
    server: Server,
    workspace: Workspace,
    looped: usize,
    indices: [u64; 2],
    /// Made by `handle_datagram` for packets of media.
    allocations: u64,
    packets: u64,
}

impl Line {
    fn new(now: Instant, plan: CallerPlan, identity: &Arc<Identity>) -> Self {
        let server = Server::passive(Profile::AeadAes128Gcm);
        let mut caller = Caller::new(now, plan, Arc::clone(identity));
        caller.handle_answer(now, &server.answer(&caller.offer()).to_string()).unwrap();
        let workspace = Workspace::default();
        Self { caller, server, workspace, looped: 0, indices: [0; 2], allocations: 0, packets: 0 }
    }

    fn exchange(&mut self, now: Instant) {
        if self.caller.next_timeout().is_some_and(|at| at <= now) {
            self.caller.handle_timeout(now, &mut self.workspace);
        }
        loop {
            let said: Vec<Vec<u8>> = self.workspace.transmits.iter().map(<[u8]>::to_vec).collect();
            self.workspace.transmits.clear();
            self.workspace.notes.clear();
            said.iter().for_each(|datagram| self.server.handle(now, datagram));
            if self.server.says.is_empty() {
                break;
            }
            for datagram in std::mem::take(&mut self.server.says) {
                let before = ALLOCATIONS.get();
                self.caller.handle_datagram(now, &datagram, &mut self.workspace);
                if classify(&datagram) == DatagramKind::Rtp {
                    self.allocations += ALLOCATIONS.get() - before;
                    self.packets += 1;
                }
            }
        }
    }

    /// Shows what a publisher has sent: audio in the slot of m-line 0, video in that of m-line 1.
    fn show(&mut self, published: &[Vec<u8>]) {
        if !self.server.has_keys() {
            return;
        }
        for packet in &published[self.looped..] {
            let view = RtpView::parse(packet).unwrap();
            let slot = usize::from(view.payload_type().number() == 96);
            let ids = (Server::slot_ssrc(slot), view.payload_type().number());
            let sealed = self.server.seal(ids, &view, self.indices[slot]);
            self.indices[slot] += 1;
            self.server.says.push(sealed);
        }
        self.looped = published.len();
    }
}

fn plan(epoch: Instant, number: u32, slots: usize) -> CallerPlan {
    let is_publisher = slots == 0;
    let layer = PictureLayer { height: 720, rate_kbps: 2_200, frames_per_s: 30.0 };
    CallerPlan {
        number,
        seed: 3,
        clock: Clock { number: 1, epoch },
        voice: is_publisher.then(Voice::default),
        camera: is_publisher.then(|| Camera { layers: vec![layer], ..Camera::default() }),
        screen: None,
        receive: Receive { audio: Some(slots), video: Some(slots), ..Receive::default() },
    }
}

#[test]
fn a_viewer_is_light_and_receives_without_allocating() {
    let mut now = Instant::now();
    let identity = Arc::new(Identity::generate().unwrap());
    let mut publisher = Line::new(now, plan(now, 1, 0), &identity);
    let mut viewer = Line::new(now, plan(now, 2, 1), &identity);
    let mut results = Results::default();
    for ms in 0..8_000 {
        publisher.exchange(now);
        viewer.show(&publisher.server.rtp);
        viewer.exchange(now);
        if ms % 1_000 == 0 {
            viewer.caller.take_results(&mut results);
        }
        if ms == 5_000 {
            (viewer.allocations, viewer.packets) = (0, 0);
        }
        now += Duration::from_millis(1);
    }
    assert!(viewer.packets > 800, "{} packets", viewer.packets);
    assert_eq!(viewer.allocations, 0, "of {} packets", viewer.packets);
    assert_eq!((results.counts.packets_lost, results.counts.packets_strange), (0, 0));

    let before = LIVE_BYTES.get();
    drop(viewer.caller);
    let bytes = before - LIVE_BYTES.get() + size_of::<Caller>() as i64;
    println!("a viewer: {bytes} bytes, {} of them in one piece", size_of::<Caller>());
    assert!(bytes < VIEWER_BYTES_MAX, "{bytes} bytes");
}

/// A thousand of them fit into 60 MiB, their sockets and what the cryptography library keeps of keys apart.
const VIEWER_BYTES_MAX: i64 = 60 * 1024;

//! Sealing and opening allocate nothing once their output has room. A binary of its own: its allocator counts.

// A counting allocator cannot be written without implementing an unsafe trait; both calls go straight to the system's.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use wire::srtp::{MasterKey, Opener, Profile, ReplayWindow, Sealer};

struct Counting;

thread_local! {
    /// Counted for each thread apart, so that the test harness' own threads do not show.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is the system allocator's own, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps GlobalAlloc's contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn a_packet_costs_no_allocation() {
    // The counter counts at all, or the rest would prove nothing.
    assert!(allocations_of(|| drop(std::hint::black_box(vec![0u8; 1000]))) > 0);

    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80] {
        let master = MasterKey::new(profile, &[1; 16], &vec![2; profile.salt_len()]).unwrap();
        let (sealer, opener) = (Sealer::new(profile, &master), Opener::new(profile, &master));
        let mut windows = [ReplayWindow::new(), ReplayWindow::new()];
        let payload = [7; 1200];
        let (mut sealed, mut plain, mut rtcp) = ([0; 1500], [0; 1500], Vec::with_capacity(1500));
        let allocations = allocations_of(|| {
            for index in 0..1000u64 {
                let [high, low] = (index as u16).to_be_bytes();
                let header = [0x80, 96, high, low, 0, 0, 0, 0, 0, 0, 0, 9];
                let len = sealer.seal_rtp(index, &header, &payload, &mut sealed).unwrap();
                opener.open_rtp(&mut windows[0], &sealed[..len], 12, &mut plain).unwrap();
                // Refusals cost none either: they are what an attacker sends most.
                opener.open_rtp(&mut windows[0], &sealed[..len], 12, &mut plain).unwrap_err();
                sealed[20] ^= 1;
                opener.open_rtp(&mut ReplayWindow::new(), &sealed[..len], 12, &mut plain).unwrap_err();

                let len = sealer.seal_rtcp(index as u32, &payload[..60], &mut sealed).unwrap();
                opener.open_rtcp(&mut windows[1], &sealed[..len], &mut rtcp).unwrap();
            }
        });
        assert_eq!(allocations, 0, "{profile:?}");
    }
}

//! Ends a worker's wait from another thread.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::udp;

/// Any number of calls before the worker looks cost one system call.
#[derive(Debug)]
pub(crate) struct Waker {
    event: File,
    is_pending: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { event: udp::event()?, is_pending: AtomicBool::new(false) })
    }

    /// What the worker waits for.
    pub(crate) fn event(&self) -> &File {
        &self.event
    }

    /// Ends the current or the next wait.
    pub(crate) fn wake(&self) {
        if !self.is_pending.swap(true, Ordering::AcqRel) {
            // Cannot fail but by a full counter, and then the worker is being woken already.
            let _ = (&self.event).write(&1u64.to_ne_bytes());
        }
    }

    /// Called when the event was readable: makes it unreadable again.
    pub(crate) fn drain(&self) {
        let _ = (&self.event).read(&mut [0; 8]);
    }

    /// Called in every turn, after `drain` and before the queues are looked into: what is queued later wakes again.
    ///
    /// Invariant: whoever found `is_pending` set has queued before this exchange, so the look that follows sees it.
    pub(crate) fn rearm(&self) {
        if self.is_pending.load(Ordering::Relaxed) {
            self.is_pending.swap(false, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::udp::{MediaSocket, wait};

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let socket = MediaSocket::bind(0).unwrap();
        let waker = Waker::new().unwrap();
        waker.wake();
        waker.wake();
        let before = Instant::now();
        assert!(wait(Some(&socket), waker.event(), Duration::from_secs(30)));
        assert!(before.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_is_queued_after_the_look_wakes_again() {
        let socket = MediaSocket::bind(0).unwrap();
        let waker = Waker::new().unwrap();
        waker.wake();
        waker.drain();
        waker.rearm();
        assert!(!wait(Some(&socket), waker.event(), Duration::ZERO));
        waker.wake();
        assert!(wait(Some(&socket), waker.event(), Duration::ZERO));
    }
}

//! How patient a worker is with a full send queue.

use std::time::{Duration, Instant};

/// How long one `send` may still wait for room in the kernel, and how often it may step over an old error.
pub(super) struct SendWait {
    left: Duration,
    retries: u32,
}

impl Default for SendWait {
    fn default() -> Self {
        Self { left: SEND_WAIT_MAX, retries: SEND_RETRIES_MAX }
    }
}

impl SendWait {
    pub(super) fn is_left(&self) -> bool {
        !self.left.is_zero()
    }

    pub(super) fn spend(&mut self, wait: impl FnOnce(Duration)) {
        let before = Instant::now();
        wait(self.left);
        // At least a little, so that a kernel which keeps saying "writable" and "full" cannot hold us.
        let spent = before.elapsed().max(Duration::from_micros(50));
        self.left = self.left.saturating_sub(spent);
    }

    pub(super) fn may_retry(&mut self) -> bool {
        let may = self.retries > 0;
        self.retries = self.retries.saturating_sub(1);
        may
    }
}

/// Media older than this is better lost: the receiver asks again, and the next datagrams have come in meanwhile.
const SEND_WAIT_MAX: Duration = Duration::from_millis(2);

/// An old ICMP error is reported once by the kernel; more than a few in one call are refusals.
const SEND_RETRIES_MAX: u32 = 8;

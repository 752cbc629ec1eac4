//! What a worker does about a message that the kernel refuses, and how patient it is with a full send queue.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::counts::SendCounts;
use super::wait_writable;

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

/// What to do after a refused message.
pub(super) enum Step {
    /// Try it again.
    Again,
    /// Go on behind it.
    Next,
    /// Give up the whole batch.
    End,
}

/// The kernel or the device cannot cut this train into datagrams; each alone may pass.
pub(super) fn is_train_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

impl SendWait {
    /// A message of so many `datagrams`, the first of `rest` datagrams in all, was refused for `error`: counts what is lost
    /// by that, or waits until `socket` has room again.
    pub(super) fn step_over(
        &mut self,
        counts: &mut SendCounts,
        error: &io::Error,
        (datagrams, rest): (usize, usize),
        socket: &impl AsRawFd,
    ) -> Step {
        let datagrams = datagrams as u64;
        match error.raw_os_error() {
            Some(libc::EINTR) => return Step::Again,
            Some(libc::EAGAIN) if self.is_left() => {
                self.spend(|for_at_most| wait_writable(socket.as_raw_fd(), for_at_most));
                return Step::Again;
            }
            Some(libc::EAGAIN) => {
                counts.queue_full += rest as u64;
                return Step::End;
            }
            // Left over from an ICMP answer to an earlier datagram: this one was not tried.
            Some(libc::ECONNREFUSED) if self.may_retry() => return Step::Again,
            Some(libc::ENOBUFS | libc::ENOMEM) => counts.queue_full += datagrams,
            Some(libc::EMSGSIZE) => counts.too_large += datagrams,
            _ => counts.refused += datagrams,
        }
        Step::Next
    }

    fn is_left(&self) -> bool {
        !self.left.is_zero()
    }

    fn spend(&mut self, wait: impl FnOnce(Duration)) {
        let before = Instant::now();
        wait(self.left);
        // At least a little, so that a kernel which keeps saying "writable" and "full" cannot hold us.
        let spent = before.elapsed().max(Duration::from_micros(50));
        self.left = self.left.saturating_sub(spent);
    }

    fn may_retry(&mut self) -> bool {
        let may = self.retries > 0;
        self.retries = self.retries.saturating_sub(1);
        may
    }
}

/// Media older than this is better lost: the receiver asks again, and the next datagrams have come in meanwhile.
const SEND_WAIT_MAX: Duration = Duration::from_millis(2);

/// An old ICMP error is reported once by the kernel; more than a few in one call are refusals.
const SEND_RETRIES_MAX: u32 = 8;

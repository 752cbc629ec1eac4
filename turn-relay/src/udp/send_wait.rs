//! What a shard does about a message that the kernel refuses, and how patient it is with a full send queue.

use std::io;
use std::time::{Duration, Instant};

use super::counts::UdpCounts;

/// How long one `send` may still wait for room in the kernel, and how often it may step over an old error.
pub(super) struct SendWait {
    left: Duration,
    retries: u32,
}

/// A message that was refused.
#[derive(Clone, Copy)]
pub(super) struct RefusedMessage {
    /// How many datagrams it has.
    pub(super) datagrams: usize,
    /// How many those that wait behind it have, its own included.
    pub(super) waiting: usize,
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

impl SendWait {
    /// One call's allowance.
    pub(super) fn new(patience: Duration) -> Self {
        Self { left: patience, retries: SEND_RETRIES_MAX }
    }

    /// Counts what is lost by a refusal for `error`, or has `wait` wait until the socket has room again.
    pub(super) fn step_over(
        &mut self,
        counts: &mut UdpCounts,
        error: &io::Error,
        message: RefusedMessage,
        wait: impl FnOnce(Duration),
    ) -> Step {
        let datagrams = message.datagrams as u64;
        match error.raw_os_error() {
            Some(libc::EINTR) => return Step::Again,
            Some(libc::EAGAIN) if !self.left.is_zero() => {
                let before = Instant::now();
                wait(self.left);
                // At least a little, so that a kernel which keeps saying "writable" and "full" cannot hold us.
                let spent = before.elapsed().max(Duration::from_micros(50));
                self.left = self.left.saturating_sub(spent);
                return Step::Again;
            }
            Some(libc::EAGAIN) => {
                counts.queue_full += message.waiting as u64;
                return Step::End;
            }
            // Left over from an ICMP answer to an earlier datagram: this one was not tried.
            Some(libc::ECONNREFUSED) if self.retries > 0 => {
                self.retries -= 1;
                return Step::Again;
            }
            Some(libc::ENOBUFS | libc::ENOMEM) => counts.queue_full += datagrams,
            Some(libc::EMSGSIZE) => counts.too_large += datagrams,
            _ => counts.refused += datagrams,
        }
        Step::Next
    }
}

/// An old ICMP error is reported once by the kernel; more than a few in one call are refusals.
const SEND_RETRIES_MAX: u32 = 8;

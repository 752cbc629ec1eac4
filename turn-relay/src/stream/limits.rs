//! How long a stream may do nothing, and how much may wait for it.

use std::time::Duration;

/// Limits of one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimits {
    /// From the beginning to the first allocation.
    pub(crate) first_allocation: Duration,
    /// From the end of an allocation to the next.
    pub(crate) without_allocation: Duration,
    /// From the first byte of a message to its last, while there is no allocation.
    pub(crate) unfinished_message: Duration,
    /// How long a socket may take no byte while something waits for it.
    pub(crate) stalled: Duration,
    /// Age above which a datagram is dropped.
    pub(crate) queue_age: Duration,
    /// Bytes of waiting datagrams above which the oldest are dropped.
    pub(crate) queue_bytes: usize,
    /// Bytes a client may send, TLS included, while it has no allocation.
    pub(crate) unauthenticated_bytes: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            // Two round trips on the worst of networks, with a retransmission each.
            first_allocation: Duration::from_secs(10),
            // A browser that restarts ICE asks again at once.
            without_allocation: Duration::from_secs(30),
            // A request is one segment: half of `first_allocation` covers its loss, and no drip of bytes gets more.
            unfinished_message: Duration::from_secs(5),
            // A phone that changes networks comes back within this or not at all.
            stalled: Duration::from_secs(15),
            // Older video is of no use: a browser has asked for the key frame anew by then.
            queue_age: Duration::from_millis(400),
            // 400 ms of 20 Mbit/s: the age is what bounds any other client that reads at all.
            queue_bytes: 1 << 20,
            // Some 80 requests; a browser needs two.
            unauthenticated_bytes: 16 * 1024,
        }
    }
}

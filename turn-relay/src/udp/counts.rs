//! What became of datagrams at the sockets.

/// Since the start, of all sockets of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UdpCounts {
    /// Calls that looked for datagrams, those in vain among them.
    pub(crate) receive_calls: u64,
    /// Datagrams received.
    pub(crate) datagrams_received: u64,
    /// Messages in which the kernel had put several of them together (UDP_GRO).
    pub(crate) trains_received: u64,
    /// Datagrams the kernel dropped because a socket's receive buffer was full.
    pub(crate) overflowed: u64,
    /// Errors instead of datagrams: ICMP answers to what was sent before. They end nothing.
    pub(crate) receive_errors: u64,
    /// Datagrams the kernel took.
    pub(crate) datagrams_sent: u64,
    /// Messages they were: one for each train, one for each lone datagram.
    pub(crate) messages_sent: u64,
    /// Of those, trains: several datagrams of one size to one destination (UDP_SEGMENT).
    pub(crate) trains_sent: u64,
    /// Trains the kernel refused, whose datagrams then went singly.
    pub(crate) trains_refused: u64,
    /// Dropped: the send buffer or the interface's queue stayed full.
    pub(crate) queue_full: u64,
    /// Dropped: larger than the interface or the Don't Fragment bit allows.
    pub(crate) too_large: u64,
    /// Dropped: no route, a firewall's refusal, or an address that cannot be sent to.
    pub(crate) refused: u64,
}

impl UdpCounts {
    /// Notes a message that the kernel took.
    pub(super) fn note_sent(&mut self, datagrams: usize) {
        self.datagrams_sent += datagrams as u64;
        self.messages_sent += 1;
        self.trains_sent += u64::from(datagrams > 1);
    }

    /// Datagrams that were to be sent and were not.
    #[cfg(test)]
    pub(crate) fn send_failures(&self) -> u64 {
        self.queue_full + self.too_large + self.refused
    }

    /// Adds another's. Every field is named, so that a new one cannot be forgotten.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            receive_calls,
            datagrams_received,
            trains_received,
            overflowed,
            receive_errors,
            datagrams_sent,
            messages_sent,
            trains_sent,
            trains_refused,
            queue_full,
            too_large,
            refused,
        } = other;
        self.receive_calls += receive_calls;
        self.datagrams_received += datagrams_received;
        self.trains_received += trains_received;
        self.overflowed += overflowed;
        self.receive_errors += receive_errors;
        self.datagrams_sent += datagrams_sent;
        self.messages_sent += messages_sent;
        self.trains_sent += trains_sent;
        self.trains_refused += trains_refused;
        self.queue_full += queue_full;
        self.too_large += too_large;
        self.refused += refused;
    }
}

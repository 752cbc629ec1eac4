//! What became of datagrams handed to the kernel.

/// Since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SendCounts {
    /// Datagrams the kernel took.
    pub(crate) sent: u64,
    /// Of those, the ones that shared a message with others.
    pub(crate) sent_in_trains: u64,
    /// Messages they were: one for each train, one for each lone datagram.
    pub(crate) messages: u64,
    /// Their UDP payload.
    pub(crate) sent_bytes: u64,
    /// Trains the kernel refused, whose datagrams then went singly.
    pub(crate) trains_refused: u64,
    /// Dropped: the send buffer or the interface's queue stayed full.
    pub(crate) queue_full: u64,
    /// Dropped: larger than the path's known MTU allows.
    pub(crate) too_large: u64,
    /// Dropped: no route, a firewall's refusal, or an address that cannot be sent to.
    pub(crate) refused: u64,
}

impl SendCounts {
    /// Notes a message that the kernel took.
    pub(super) fn note_sent(&mut self, datagrams: usize, bytes: u32) {
        self.sent += datagrams as u64;
        self.sent_in_trains += if datagrams > 1 { datagrams as u64 } else { 0 };
        self.messages += 1;
        self.sent_bytes += u64::from(bytes);
    }

    /// Adds another worker's. Every field is named, so that a new one cannot be forgotten.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            sent,
            sent_in_trains,
            messages,
            sent_bytes,
            trains_refused,
            queue_full,
            too_large,
            refused,
        } = other;
        self.sent += sent;
        self.sent_in_trains += sent_in_trains;
        self.messages += messages;
        self.sent_bytes += sent_bytes;
        self.trains_refused += trains_refused;
        self.queue_full += queue_full;
        self.too_large += too_large;
        self.refused += refused;
    }
}

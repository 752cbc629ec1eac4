//! Which datagrams of a batch travel as one message: equal-sized neighbours of one train, and a shorter one at their end
//! (UDP_SEGMENT, `udp(7)`).

use crate::engine::ports::Path;

/// The messages of one batch, and the datagrams in each.
#[derive(Debug)]
pub(super) struct Messages {
    list: Vec<Message>,
    datagrams: usize,
}

/// One message for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) path: Path,
    /// Place of its first datagram in the batch.
    pub(super) first: usize,
    /// How many datagrams it has, one behind the other.
    pub(super) count: usize,
    /// The size of each but the last, which may be shorter.
    pub(super) segment_bytes: usize,
    bytes: usize,
    /// Another datagram of the same train may follow.
    is_open: bool,
}

impl Default for Messages {
    fn default() -> Self {
        Self { list: Vec::with_capacity(MESSAGES_MAX), datagrams: 0 }
    }
}

impl Messages {
    /// What comes next does not belong to what came before.
    pub(super) fn end_train(&mut self) {
        if let Some(last) = self.list.last_mut() {
            last.is_open = false;
        }
    }

    /// Adds a datagram of `length` bytes to the last message, if that fits, or as a new one. False when there is no room.
    pub(super) fn add(&mut self, path: Path, length: usize) -> bool {
        if let Some(last) = self.list.last_mut()
            && last.takes(length)
        {
            last.count += 1;
            last.bytes += length;
            last.is_open = length == last.segment_bytes;
        } else if self.list.len() < MESSAGES_MAX {
            let (first, is_open) = (self.datagrams, length > 0);
            self.list.push(Message { path, first, count: 1, segment_bytes: length, bytes: length, is_open });
        } else {
            return false;
        }
        self.datagrams += 1;
        true
    }

    pub(super) fn as_slice(&self) -> &[Message] {
        &self.list
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.datagrams = 0;
    }
}

impl Message {
    fn takes(&self, length: usize) -> bool {
        self.is_open
            && (1..=self.segment_bytes).contains(&length)
            && self.count < SEGMENTS_MAX
            && self.bytes + length <= MESSAGE_BYTES_MAX
    }
}

/// One system call's worth; a whole fan-out to a large conference is several.
pub(super) const MESSAGES_MAX: usize = 64;

/// The kernel's limit before Linux 6.9; longer ones save hardly anything more.
pub(super) const SEGMENTS_MAX: usize = 64;

/// What an IPv4 datagram's length field leaves: the kernel builds one before it cuts it.
const MESSAGE_BYTES_MAX: usize = 65_507;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path { remote: ([192, 0, 2, 1], port).into(), local: [192, 0, 2, 254].into() }
    }

    /// The counts of the messages that one train of datagrams of these lengths becomes.
    fn counts(lengths: &[usize]) -> Vec<usize> {
        let mut messages = Messages::default();
        assert!(lengths.iter().all(|length| messages.add(path(1), *length)));
        messages.as_slice().iter().map(|message| message.count).collect()
    }

    #[test]
    fn equal_neighbours_and_a_shorter_one_behind_them_travel_together() {
        assert_eq!(counts(&[1_200, 1_200, 1_200]), [3]);
        assert_eq!(counts(&[1_200, 1_200, 100, 100]), [3, 1]);
        assert_eq!(counts(&[100, 1_200, 1_200]), [1, 2]);
        assert_eq!(counts(&[900, 901, 900]), [1, 2]);
        assert_eq!(counts(&[5]), [1]);
        assert_eq!(counts(&[10, 0, 0, 10]), [1, 1, 1, 1], "an empty datagram would vanish in a message");
    }

    #[test]
    fn a_message_keeps_the_kernels_limits() {
        assert_eq!(counts(&[100; 130]), [64, 64, 2]);
        assert_eq!(counts(&[1_400; 50]), [46, 4]);
        assert_eq!(counts(&[65_507, 1]), [1, 1]);
    }

    #[test]
    fn what_belongs_to_another_train_stays_apart() {
        let mut messages = Messages::default();
        for (train, count) in [(1, 2), (2, 3)] {
            messages.end_train();
            assert!((0..count).all(|_| messages.add(path(train), 7)));
        }
        let seen: Vec<_> = messages.as_slice().iter().map(|message| (message.first, message.count)).collect();
        assert_eq!(seen, [(0, 2), (2, 3)]);
    }

    #[test]
    fn a_full_batch_takes_only_what_joins_its_last_message() {
        let mut messages = Messages::default();
        for _ in 0..MESSAGES_MAX {
            messages.end_train();
            assert!(messages.add(path(1), 50));
        }
        assert!(messages.add(path(1), 50));
        messages.end_train();
        assert!(!messages.add(path(1), 50));
        messages.clear();
        assert!(messages.add(path(1), 50));
    }
}

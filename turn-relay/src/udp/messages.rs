//! Which datagrams of a batch leave as one message: equal-sized neighbours to one destination, and a shorter one behind
//! them (UDP_SEGMENT, `udp(7)`).

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::trains::Trains;

/// Where a datagram goes, and from which of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) remote: SocketAddr,
    /// `None`: the one the socket is bound to.
    pub(super) local: Option<IpAddr>,
}

/// One message for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) route: Route,
    /// Place of its first datagram in the batch.
    pub(super) first: usize,
    /// How many datagrams it has, one behind the other.
    pub(super) count: usize,
    /// The size of each but the last, which may be shorter.
    pub(super) segment_bytes: usize,
    bytes: usize,
    /// Another datagram of the same route may follow.
    is_open: bool,
}

/// The messages of one batch.
#[derive(Debug)]
pub(super) struct Messages {
    list: Vec<Message>,
    datagrams: usize,
}

impl Default for Messages {
    fn default() -> Self {
        Self { list: Vec::with_capacity(MESSAGES_MAX), datagrams: 0 }
    }
}

impl Messages {
    /// Adds a datagram of `length` bytes to the last message, if that fits, or as a new one. False when there is no room.
    pub(super) fn add(&mut self, route: Route, length: usize, trains: &Trains) -> bool {
        if let Some(last) = self.list.last_mut()
            && last.takes(route, length)
        {
            last.count += 1;
            last.bytes += length;
            last.is_open = length == last.segment_bytes;
        } else if self.list.len() < MESSAGES_MAX {
            self.list.push(Message {
                route,
                first: self.datagrams,
                count: 1,
                segment_bytes: length,
                bytes: length,
                is_open: length > 0 && trains.are_allowed(route.remote, length),
            });
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
    fn takes(&self, route: Route, length: usize) -> bool {
        self.is_open
            && (1..=self.segment_bytes).contains(&length)
            && self.count < SEGMENTS_MAX
            && self.bytes + length <= MESSAGE_BYTES_MAX
            && self.route == route
    }

    /// Places of its datagrams in the batch.
    pub(super) fn places(&self) -> Range<usize> {
        self.first..self.first + self.count
    }
}

/// One system call's worth: twice as many as one call receives.
pub(super) const MESSAGES_MAX: usize = 64;

/// The kernel's limit before Linux 6.9; longer ones save hardly anything more.
pub(super) const SEGMENTS_MAX: usize = 64;

/// What an IPv4 datagram's length field leaves: the kernel builds one before it cuts it.
const MESSAGE_BYTES_MAX: usize = 65_507;

#[cfg(test)]
mod tests {
    use super::*;

    fn route(port: u16) -> Route {
        Route { remote: ([192, 0, 2, 1], port).into(), local: None }
    }

    /// The counts of the messages that datagrams of these lengths to one destination become.
    fn counts(lengths: &[usize], trains: &Trains) -> Vec<usize> {
        let mut messages = Messages::default();
        assert!(lengths.iter().all(|length| messages.add(route(1), *length, trains)));
        messages.as_slice().iter().map(|message| message.count).collect()
    }

    #[test]
    fn equal_neighbours_and_a_shorter_one_behind_them_travel_together() {
        let trains = Trains::of_relay();
        assert_eq!(counts(&[1_200, 1_200, 1_200], &trains), [3]);
        assert_eq!(counts(&[1_200, 1_200, 100, 100], &trains), [3, 1]);
        assert_eq!(counts(&[100, 1_200, 1_200], &trains), [1, 2]);
        assert_eq!(counts(&[900, 901, 900], &trains), [1, 2]);
        assert_eq!(counts(&[5], &trains), [1]);
        assert_eq!(counts(&[10, 0, 0, 10], &trains), [1; 4], "an empty datagram would vanish in a message");
    }

    #[test]
    fn a_message_keeps_the_kernels_limits() {
        let trains = Trains::of_relay();
        assert_eq!(counts(&[100; 130], &trains), [64, 64, 2]);
        assert_eq!(counts(&[1_400; 50], &trains), [46, 4]);
        assert_eq!(counts(&[65_507, 1], &trains), [1, 1]);
    }

    #[test]
    fn what_has_been_refused_goes_singly() {
        let mut trains = Trains::of_relay();
        trains.refuse(route(1).remote, 1_600, &std::io::Error::from_raw_os_error(libc::EMSGSIZE));
        assert_eq!(counts(&[1_600, 1_600, 1_200, 1_200], &trains), [1, 1, 2]);
    }

    #[test]
    fn another_destination_or_another_address_of_ours_is_another_message() {
        let (mut messages, trains) = (Messages::default(), Trains::of_listener());
        let from = Route { local: Some([192, 0, 2, 254].into()), ..route(1) };
        for route in [route(1), route(1), route(2), route(2), from, from, route(1)] {
            assert!(messages.add(route, 7, &trains));
        }
        let seen: Vec<_> = messages.as_slice().iter().map(|message| message.places()).collect();
        assert_eq!(seen, [0..2, 2..4, 4..6, 6..7]);
    }

    #[test]
    fn a_full_batch_takes_only_what_joins_its_last_message() {
        let (mut messages, trains) = (Messages::default(), Trains::of_relay());
        for port in 1..=MESSAGES_MAX as u16 {
            assert!(messages.add(route(port), 50, &trains));
        }
        assert!(messages.add(route(MESSAGES_MAX as u16), 50, &trains));
        assert!(!messages.add(route(1), 50, &trains));
        messages.clear();
        assert!(messages.add(route(1), 50, &trains));
    }
}

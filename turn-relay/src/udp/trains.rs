//! Where trains of datagrams may go, and how long their datagrams may be.
//!
//! The kernel refuses to cut a train on an interface without checksum offload or on an IPsec route, and one whose
//! datagrams are longer than the interface takes. What it refuses once it refuses always, so each is tried once.

use std::io;
use std::net::SocketAddr;

use foldhash::HashMap;

/// What one socket has learned.
#[derive(Debug)]
pub(super) enum Trains {
    /// A relay socket: it is one client's, and so is what it learns. Datagrams of this many bytes and more go singly.
    Anywhere(usize),
    /// A listener: it has many clients on many ways.
    ByDestination(Box<RefusingDestinations>),
}

/// Destinations that have refused a train.
#[derive(Debug, Default)]
pub(super) struct RefusingDestinations {
    /// Indexed by where datagrams go: those of this many bytes and more go singly.
    refused_bytes: HashMap<SocketAddr, usize>,
}

impl Trains {
    /// A relay socket's, before it knows better.
    pub(super) fn of_relay() -> Self {
        Self::Anywhere(usize::MAX)
    }

    /// A listener's, before it knows better.
    pub(super) fn of_listener() -> Self {
        Self::ByDestination(Box::default())
    }

    /// Whether datagrams of `bytes` may go to `remote` as a train.
    pub(super) fn are_allowed(&self, remote: SocketAddr, bytes: usize) -> bool {
        match self {
            Self::Anywhere(refused) => bytes < *refused,
            // Nearly always empty: then no train pays for a hash.
            Self::ByDestination(each) if each.refused_bytes.is_empty() => true,
            Self::ByDestination(each) => {
                each.refused_bytes.get(&remote).is_none_or(|refused| bytes < *refused)
            }
        }
    }

    /// Remembers that a train of datagrams of `bytes` was refused.
    pub(super) fn refuse(&mut self, remote: SocketAddr, bytes: usize, error: &io::Error) {
        // Too long for the interface says nothing about shorter ones; everything else concerns all.
        let refused = if error.raw_os_error() == Some(libc::EIO) { 0 } else { bytes };
        match self {
            Self::Anywhere(least) => *least = refused.min(*least),
            Self::ByDestination(each) => {
                // Clients come and go; whoever is still here costs one more refusal to be known again.
                if each.refused_bytes.len() >= DESTINATIONS_MAX {
                    each.refused_bytes.clear();
                }
                let least = each.refused_bytes.entry(remote).or_insert(refused);
                *least = refused.min(*least);
            }
        }
    }
}

/// The kernel or the device cannot cut this train into datagrams; each alone may pass.
pub(super) fn is_train_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE))
}

/// A quarter of a full shard's clients, and about 0.25 MiB.
const DESTINATIONS_MAX: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(number: u32) -> SocketAddr {
        SocketAddr::from((number.to_be_bytes(), 9))
    }

    #[test]
    fn what_was_too_long_says_nothing_about_shorter_datagrams_and_a_device_that_cannot_says_it_of_all() {
        let (too_long, cannot) =
            (io::Error::from_raw_os_error(libc::EINVAL), io::Error::from_raw_os_error(libc::EIO));
        for mut trains in [Trains::of_relay(), Trains::of_listener()] {
            assert!(trains.are_allowed(remote(1), 60_000));
            trains.refuse(remote(1), 2_000, &too_long);
            assert!(!trains.are_allowed(remote(1), 2_000) && trains.are_allowed(remote(1), 1_999));
            trains.refuse(remote(1), 3_000, &too_long);
            assert!(!trains.are_allowed(remote(1), 2_000), "the least counts");
            trains.refuse(remote(1), 500, &cannot);
            assert!(!trains.are_allowed(remote(1), 1));
        }
    }

    #[test]
    fn a_client_whose_way_refuses_leaves_others_their_trains() {
        let mut trains = Trains::of_listener();
        trains.refuse(remote(1), 700, &io::Error::from_raw_os_error(libc::EIO));
        assert!(!trains.are_allowed(remote(1), 700) && trains.are_allowed(remote(2), 700));
    }

    #[test]
    fn a_million_refusing_destinations_take_bounded_room() {
        let (mut each, error) = (Trains::of_listener(), io::Error::from_raw_os_error(libc::EIO));
        for number in 0..1_000_000 {
            each.refuse(remote(number), 1, &error);
            assert!(!each.are_allowed(remote(number), 1));
        }
        let Trains::ByDestination(each) = each else { panic!("a listener's") };
        assert!(each.refused_bytes.len() <= DESTINATIONS_MAX);
    }
}

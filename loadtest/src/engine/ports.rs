//! What crosses the line between the callers' engine and its shell.

use std::net::SocketAddr;

use super::stamp::Clock;
use crate::scenario::{Camera, Receive, Screen, Voice};

/// One caller, as the scenario wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallerPlan {
    /// Unique in the run; makes SSRCs and stamps.
    pub number: u32,
    /// Drawn from the scenario's seed and `number`.
    pub seed: u64,
    /// Marks this process' stamps and dates them: delays are only taken from stamps of one's own clock. The same for all
    /// callers of a process.
    pub clock: Clock,
    /// Opus.
    pub voice: Option<Voice>,
    /// A camera.
    pub camera: Option<Camera>,
    /// A shared screen.
    pub screen: Option<Screen>,
    /// What it takes in; both counts are filled in before the first offer.
    pub receive: Receive,
}

/// What a media handler writes to: shared by all callers of a thread, emptied by the shell after each call.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Datagrams to send, in order.
    pub transmits: Transmits,
    /// What became true.
    pub notes: Vec<Note>,
    /// Room for one opened packet.
    pub plain: Vec<u8>,
}

/// Datagrams end to end in one buffer, so that sending a burst allocates nothing.
#[derive(Debug, Default)]
pub struct Transmits {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Transmits {
    /// Appends a datagram of at most `room` bytes: `write` fills the slice and says how long the datagram became; nothing
    /// is appended when it says nothing.
    pub fn write(&mut self, room: usize, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let start = self.bytes.len();
        self.bytes.resize(start + room, 0);
        let length = write(&mut self.bytes[start..]).unwrap_or(0).min(room);
        self.bytes.truncate(start + length);
        if length > 0 {
            self.ends.push(start + length);
        }
    }

    /// Appends a whole datagram.
    pub fn push(&mut self, datagram: &[u8]) {
        self.write(datagram.len(), |room| {
            room.copy_from_slice(datagram);
            Some(datagram.len())
        });
    }

    /// All datagrams, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// All datagrams, in order, as stretches of equal ones that a kernel takes in one call: the bytes of all, and the length
    /// of each but the last, which may be shorter. At most so many datagrams and bytes in each, but at least one datagram.
    pub fn runs(&self, datagrams_max: usize, bytes_max: usize) -> impl Iterator<Item = (&[u8], usize)> {
        let (mut start, mut index) = (0, 0);
        std::iter::from_fn(move || {
            let length = self.ends.get(index)? - start;
            let (run_start, first) = (start, index);
            while let Some(end) = self.ends.get(index) {
                let is_full =
                    index > first && (index - first >= datagrams_max || end - run_start > bytes_max);
                if is_full || end - start > length {
                    break;
                }
                let is_last = end - start < length;
                (start, index) = (*end, index + 1);
                if is_last {
                    break;
                }
            }
            Some((&self.bytes[run_start..start], length))
        })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// What became true of one caller's media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The first check was answered.
    IceConnected,
    /// There are keys; media flows from now on.
    DtlsConnected,
    /// The first authentic packet of media came.
    FirstPacket,
    /// The first whole key frame came.
    FirstPicture,
    /// No answer to any check for 15 s, though there was one before (RFC 7675: consent is lost after 30 s; browsers tell
    /// the page earlier), or never within the time a browser waits.
    PathLost,
    /// The handshake failed; nothing more will come.
    DtlsFailed(&'static str),
}

/// What an answer says to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerFacts {
    /// The server's candidates that this caller can use (UDP), in the answer's order.
    pub candidates: Vec<SocketAddr>,
}

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be used: {0}")]
pub struct BadAnswer(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_out_as_they_went_in() {
        let mut transmits = Transmits::default();
        transmits.push(b"one");
        transmits.write(10, |_| None);
        transmits.write(10, |room| {
            room[..2].copy_from_slice(b"23");
            Some(2)
        });
        assert_eq!(transmits.iter().collect::<Vec<_>>(), [&b"one"[..], b"23"]);
        transmits.clear();
        assert!(transmits.is_empty() && transmits.iter().next().is_none());
    }

    #[test]
    fn equal_datagrams_form_runs_within_their_limits() {
        let mut transmits = Transmits::default();
        for length in [3, 3, 2, 2, 5, 4, 4, 4, 4] {
            transmits.push(&[length; 5][..usize::from(length)]);
        }
        let runs = |datagrams, bytes| {
            transmits.runs(datagrams, bytes).map(|(run, each)| (run.len(), each)).collect::<Vec<_>>()
        };
        assert_eq!(runs(64, 1_000), [(8, 3), (2, 2), (9, 5), (12, 4)]);
        assert_eq!(runs(2, 1_000), [(6, 3), (4, 2), (9, 5), (8, 4), (4, 4)]);
        assert_eq!(runs(64, 1), [(3, 3), (3, 3), (2, 2), (2, 2), (5, 5), (4, 4), (4, 4), (4, 4), (4, 4)]);
    }
}

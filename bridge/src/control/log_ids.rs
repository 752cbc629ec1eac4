//! Names of conferences and endpoints as the log shows them: the same all through a process, and telling nothing to
//! somebody who has only the log, not even when guessing names.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use wire::messages::ids::{ConferenceId, EndpointId};

/// A key of this process alone.
#[derive(Debug, Default)]
pub(crate) struct LogIds {
    key: RandomState,
}

/// Sixteen hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogId(u64);

impl LogIds {
    /// What stands for a conference, and for one of its endpoints.
    pub(crate) fn of(&self, conference: &ConferenceId, endpoint: &EndpointId) -> (LogId, LogId) {
        (LogId(self.key.hash_one(conference)), LogId(self.key.hash_one((conference, endpoint))))
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_in_one_process_and_another_in_the_next() {
        let conference = ConferenceId::parse("a".repeat(26)).unwrap();
        let endpoint = EndpointId::parse("0a1b2c3d").unwrap();
        let (one, other) = (LogIds::default(), LogIds::default());
        assert_eq!(one.of(&conference, &endpoint), one.of(&conference, &endpoint));
        assert_ne!(one.of(&conference, &endpoint), other.of(&conference, &endpoint));
        assert!(!one.of(&conference, &endpoint).1.to_string().contains("0a1b2c3d"));
    }
}

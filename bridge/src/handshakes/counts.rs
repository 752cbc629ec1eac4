//! How handshakes ended.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::handshake::HandshakeError;

/// Written by the DTLS thread, read by the control plane.
#[derive(Debug, Default)]
pub(crate) struct HandshakeCounts {
    connected: AtomicU64,
    closed: AtomicU64,
    failed: [AtomicU64; FAILURES.len()],
    ignored: AtomicU64,
    panics: AtomicU64,
}

/// A reading of the counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HandshakeTotals {
    /// Handshakes that led to keys.
    pub(crate) connected: u64,
    /// Associations the browser closed.
    pub(crate) closed: u64,
    /// Handshakes that led to none, by `FAILURES`.
    pub(crate) failed: [u64; FAILURES.len()],
    /// Datagrams that changed nothing: noise, forgeries, repetitions.
    pub(crate) ignored: u64,
    /// Handshakes that a panic ended.
    pub(crate) panics: u64,
}

/// Labels of `failed`, in its order.
pub(crate) const FAILURES: [&str; 5] =
    ["fingerprint_mismatch", "certificate_too_large", "timed_out", "protocol", "no_fingerprint"];

/// A handshake that could not even begin: none of the announced fingerprints has a known hash.
pub(super) const NO_FINGERPRINT: usize = 4;

impl HandshakeCounts {
    pub(super) fn count_connected(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self, error: &HandshakeError) {
        let failure = match error {
            HandshakeError::FingerprintMismatch => 0,
            HandshakeError::CertificateTooLarge => 1,
            HandshakeError::TimedOut { .. } => 2,
            HandshakeError::Protocol(_) => 3,
        };
        self.failed[failure].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_no_fingerprint(&self) {
        self.failed[NO_FINGERPRINT].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_ignored(&self) {
        self.ignored.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> HandshakeTotals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HandshakeTotals {
            connected: read(&self.connected),
            closed: read(&self.closed),
            failed: self.failed.each_ref().map(read),
            ignored: read(&self.ignored),
            panics: read(&self.panics),
        }
    }
}

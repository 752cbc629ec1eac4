//! What became of the connections. Each accepted connection is counted again exactly once: as a TURN stream, as web, as
//! passed through, or as refused for a reason.
#![allow(unreachable_pub)] // the macro is made for the engine's enums, which are public

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::{Error as TlsError, PeerIncompatible};

use crate::engine::drop_reason::{Counters, labelled};

labelled! {
    /// Why a connection was closed before it became anything. In the order of its walk.
    Refusal {
        /// There are as many connections as there may be.
        TooManyConnections = "too_many_connections",
        /// Its address has as many as it may.
        AddressConnections = "address_connections",
        /// Its address has too many of which nothing is known yet.
        AddressHalfOpen = "address_half_open",
        /// Too many of that kind in all, and each has come within the last second.
        TooManyHalfOpen = "too_many_half_open",
        /// It was half open for longest when there were too many of that kind.
        Displaced = "displaced",
        /// The relay is stopping.
        Stopping = "stopping",
        /// It was closed or broke before it said enough.
        ClosedEarly = "closed_early",
        /// Its first bytes did not come in time.
        SlowFirstBytes = "slow_first_bytes",
        /// Its first bytes are nothing that is spoken here.
        UnknownProtocol = "unknown_protocol",
        /// A PROXY header from somebody who is not a trusted proxy, or a second one.
        ProxyUntrusted = "proxy_untrusted",
        /// No PROXY header from a trusted proxy: whose connection it is stays unknown.
        ProxyMissing = "proxy_missing",
        /// PROXY protocol v1.
        ProxyVersion = "proxy_version",
        /// A PROXY header that is too long, or says nothing that makes sense for a stream.
        ProxyMalformed = "proxy_malformed",
        /// TLS, and there is no certificate.
        TlsOff = "tls_off",
        /// The ClientHello or the handshake did not come to its end in time.
        TlsSlow = "tls_slow",
        /// The client went away in the handshake.
        TlsClosed = "tls_closed",
        /// The client offers no version that we speak: TLS 1.1 or older.
        TlsVersion = "tls_version",
        /// No cipher suite, group or signature in common.
        TlsNothingInCommon = "tls_nothing_in_common",
        /// The client wants protocols that are not spoken here, such as only h2.
        TlsProtocol = "tls_protocol",
        /// The client gave up, most often because it does not trust the certificate.
        TlsAlert = "tls_alert",
        /// Bytes that are no TLS.
        TlsMalformed = "tls_malformed",
        /// Nothing came in time after the handshake.
        SlowPlaintext = "slow_plaintext",
        /// No shard takes the stream.
        ShardBusy = "shard_busy",
        /// The web side of this process has too much to do.
        WebBusy = "web_busy",
        /// The server behind us does not answer.
        BackendUnreachable = "backend_unreachable",
    }
}

/// How many connections were refused, by reason.
pub(crate) type RefusalCounters = Counters<Refusal, { Refusal::ALL.len() }>;

impl Refusal {
    /// Why a handshake failed.
    pub(crate) fn of_handshake(error: &io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
            // `Replay` says so of a ClientHello that does not end.
            let is_endless = error.kind() == io::ErrorKind::FileTooLarge;
            return if is_endless { Self::TlsMalformed } else { Self::TlsClosed };
        };
        match tls {
            TlsError::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // Came with TLS 1.2; it is looked for before the version.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) => Self::TlsVersion,
            TlsError::PeerIncompatible(_) => Self::TlsNothingInCommon,
            TlsError::NoApplicationProtocol => Self::TlsProtocol,
            TlsError::AlertReceived(_) => Self::TlsAlert,
            _ => Self::TlsMalformed,
        }
    }

    /// Is it a handshake that failed?
    pub(crate) fn is_handshake(self) -> bool {
        matches!(
            self,
            Self::TlsSlow
                | Self::TlsClosed
                | Self::TlsVersion
                | Self::TlsNothingInCommon
                | Self::TlsProtocol
                | Self::TlsAlert
                | Self::TlsMalformed
        )
    }
}

/// What the front has done so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct FrontStats {
    /// Connections taken from the system, refused ones among them.
    pub(crate) accepted: u64,
    /// Times the system had no connection to give: no file descriptors, most often.
    pub(crate) accept_failures: u64,
    /// Closed before they became anything.
    pub(crate) refused: RefusalCounters,
    /// TLS handshakes that came to their end.
    pub(crate) handshakes: u64,
    /// Streams given to shards.
    pub(crate) turn: u64,
    /// HTTP connections handed over, or answered where nobody else does.
    pub(crate) web: u64,
    /// TLS connections passed on undecrypted.
    pub(crate) passed_through: u64,
    /// Not yet known to be anything, now.
    pub(crate) half_open: usize,
    /// Open now, half-open ones and streams in shards among them.
    pub(crate) open: usize,
}

impl FrontStats {
    /// Failed handshakes, by reason.
    pub(crate) fn handshakes_failed(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        let failures = Refusal::ALL.iter().filter(|refusal| refusal.is_handshake());
        failures.map(|refusal| (*refusal, self.refused.of(*refusal)))
    }
}

/// Shared by all connections; each counts a few times in its life.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<FrontStats>);

impl Ledger {
    /// The figures, to be changed or copied.
    pub(crate) fn open(&self) -> MutexGuard<'_, FrontStats> {
        // Counters are right after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.open().refused.count(refusal);
    }
}

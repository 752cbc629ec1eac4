//! Why a stream ended.

use std::io::{self, ErrorKind};

use crate::engine::drop_reason::labelled;

labelled! {
    /// Why a stream ended. In this order: the client's doing, its bytes, TLS, its silence, ours.
    CloseReason {
        /// The client said goodbye: the end of its stream, with or without TLS's own goodbye.
        ByClient = "by_client",
        /// The stream ended within a message.
        CutShort = "cut_short",
        /// The client's side reset the connection.
        Reset = "reset",
        /// Nothing that was sent has been acknowledged for too long, or there is no way to the client any more.
        Unreachable = "unreachable",
        /// Any other error of the socket.
        SocketFailed = "socket_failed",
        /// A message begins neither as STUN nor as channel data.
        NotTurn = "not_turn",
        /// A STUN message whose length is no multiple of four.
        StunLength = "stun_length",
        /// A STUN message without the magic cookie.
        StunCookie = "stun_cookie",
        /// Channel data that fits into no datagram.
        TooLong = "too_long",
        /// The client sent a fatal alert.
        TlsAlert = "tls_alert",
        /// A record that does not decrypt or is none.
        TlsRecord = "tls_record",
        /// A client that breaks the rules of TLS.
        TlsMisbehaved = "tls_misbehaved",
        /// TLS cannot go on: keys used up, or never established.
        TlsFailed = "tls_failed",
        /// No allocation in the first seconds.
        NoAllocation = "no_allocation",
        /// The allocation ended and no other one followed.
        AllocationGone = "allocation_gone",
        /// More bytes than a client without an allocation has a use for.
        UnauthenticatedBytes = "unauthenticated_bytes",
        /// A message begun and not finished by a client without an allocation.
        Unfinished = "unfinished",
        /// The client has read nothing for too long while something waited for it.
        Stalled = "stalled",
        /// The client asks and does not read the answers.
        RepliesUnread = "replies_unread",
        /// The engine wants a client who goes on guessing to be gone.
        Guessing = "guessing",
        /// The shard ends.
        Stopped = "stopped",
    }
}

impl CloseReason {
    /// What an error of the socket means for the stream.
    pub(super) fn of_socket(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Self::Reset,
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Self::Unreachable
            }
            _ => Self::SocketFailed,
        }
    }

    /// What an error of TLS means for the stream.
    pub(super) fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(_) => Self::TlsAlert,
            rustls::Error::DecryptError
            | rustls::Error::InvalidMessage(_)
            | rustls::Error::PeerSentOversizedRecord => Self::TlsRecord,
            rustls::Error::PeerMisbehaved(_)
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. } => Self::TlsMisbehaved,
            _ => Self::TlsFailed,
        }
    }
}

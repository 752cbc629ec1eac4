//! STUN (RFC 8489): messages of ICE connectivity checks and, with the numbers of RFC 8656, of TURN.
//!
//! ```text
//! 0                   16                  31
//! | 0 0 | method+class | length (multiple of 4) |
//! |            magic cookie 2112A442            |
//! |               transaction id                |  12 bytes
//! | kind              | length of value         |
//! | value, padded to a multiple of 4            |  and so on
//! ```
//!
//! [`Message`] is a view of a received message; [`Builder`] writes one. A message with MESSAGE-INTEGRITY has a signed
//! part: what stands behind it could have been added by anybody, so [`Message::attribute`] does not see it.

mod address;
mod builder;
mod channel_data;
mod fingerprint;
mod message;
mod numbers;

#[cfg(test)]
mod rfc5769;

pub use builder::Builder;
pub use channel_data::ChannelData;
pub use message::{Attributes, Message, StunError, TransactionId};
pub use numbers::{AttributeKind, Class, ErrorCode, Method};

/// The fixed value that tells STUN from everything else (RFC 8489, 5).
pub const MAGIC_COOKIE: u32 = 0x2112_a442;

/// Type, length, cookie and transaction id.
pub const HEADER_BYTES: usize = 20;

/// Kind and length in front of each value.
const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// An HMAC-SHA1.
const INTEGRITY_BYTES: usize = 20;

/// `length` with the padding that follows a value of that length.
const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

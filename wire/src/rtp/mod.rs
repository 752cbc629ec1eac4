//! RTP (RFC 3550) with header extensions (RFC 8285).
//!
//! ```text
//! 0        8        16                31
//! |V=2 P X CC|M  PT | sequence        |
//! |            timestamp              |
//! |              ssrc                 |   12 bytes
//! | csrc ...                          |   CC * 4
//! | BEDE or 1000     | length / 4     |   when X is set, then the elements
//! | payload ...      | padding, count |   when P is set
//! ```
//!
//! [`RtpView`] reads a packet in place. [`write_header`] writes the header of a forwarded packet into a buffer, which
//! is what a receiver gets instead of the sender's; [`HeaderMut`] overwrites single fields of a header already there.
//! Header extension values have types in [`extensions`].

pub mod extensions;
mod header;
mod sequence;
mod view;

pub use header::{HeaderMut, RtpHeader, write_header};
pub use sequence::SequenceExtender;
pub use view::{Elements, RtpView};

/// One stream's number (RFC 3550, 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

/// What a packet's payload is, as SDP agreed: 0 to 127.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadType(u8);

impl PayloadType {
    /// Checks that `number` has 7 bits.
    pub const fn new(number: u8) -> Option<Self> {
        if number < 0x80 { Some(Self(number)) } else { None }
    }

    /// The number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The low 7 bits of the header's second byte.
    const fn of_byte(byte: u8) -> Self {
        Self(byte & 0x7f)
    }
}

/// Why bytes are no RTP packet, or why one cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RtpError {
    /// Shorter than what its own header counts.
    #[error("packet ends within its header")]
    Truncated,
    /// Not version 2.
    #[error("not RTP version 2")]
    BadVersion,
    /// The padding count is 0 or larger than the payload.
    #[error("padding contradicts the packet")]
    BadPadding,
    /// The buffer is too small for the header.
    #[error("no room for the header")]
    NoRoom,
    /// A header extension element with id 0 or more than 255 bytes, or too many of them for the length field.
    #[error("header extension element cannot be written")]
    BadElement,
}

/// The fixed part of the header.
pub const FIXED_HEADER_BYTES: usize = 12;

/// Profile and length in front of the header extension's elements.
const EXTENSION_HEADER_BYTES: usize = 4;

/// Header extension profile of the one-byte form (RFC 8285, 4.2).
const PROFILE_ONE_BYTE: u16 = 0xbede;

/// Header extension profile of the two-byte form (RFC 8285, 4.3), below 4 bits that carry nothing.
const PROFILE_TWO_BYTE: u16 = 0x1000;

//! Cuts STUN messages and channel data out of a stream of bytes (RFC 8489, 6.2.2; RFC 8656, 12.5).

use wire::stun::{ChannelData, HEADER_BYTES, MAGIC_COOKIE};

use super::close_reason::CloseReason;

/// What one stream still owes of a message.
///
/// Any cutting of the same bytes gives the same messages and, at the same place, the same end.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// The beginning of a message; empty between two. Never longer than the message, so at most 64 KiB.
    partial: Vec<u8>,
}

impl Framer {
    /// Takes the next bytes of the stream and hands out each message that is whole now, without its padding. After an
    /// error the stream cannot be read any further.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        on_message: &mut dyn FnMut(&[u8]),
    ) -> Result<(), CloseReason> {
        let mut rest = self.complete(bytes, on_message)?;
        loop {
            match measure(rest)? {
                Extent::Known { message, padded } if padded <= rest.len() => {
                    on_message(&rest[..message]);
                    rest = &rest[padded..];
                }
                _ => break,
            }
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Whether the stream may end here.
    pub(super) fn is_between_messages(&self) -> bool {
        self.partial.is_empty()
    }

    /// Finishes the message that was begun, if `bytes` suffice, and gives back those behind it.
    fn complete<'b>(
        &mut self,
        bytes: &'b [u8],
        on_message: &mut dyn FnMut(&[u8]),
    ) -> Result<&'b [u8], CloseReason> {
        let mut rest = bytes;
        while !self.partial.is_empty() {
            let wanted = match measure(&self.partial)? {
                Extent::Known { message, padded } if padded == self.partial.len() => {
                    on_message(&self.partial[..message]);
                    // The memory goes with it: most streams are between two messages most of the time.
                    self.partial = Vec::new();
                    return Ok(rest);
                }
                Extent::Known { padded, .. } => padded,
                Extent::AtLeast(bytes) => bytes,
            };
            if rest.is_empty() {
                return Ok(rest);
            }
            let (taken, behind) = rest.split_at(rest.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(taken);
            rest = behind;
        }
        Ok(rest)
    }
}

/// How long a message is.
enum Extent {
    /// This many bytes have to be there before more can be said; more than there are.
    AtLeast(usize),
    /// Its own bytes, and those with its padding.
    Known { message: usize, padded: usize },
}

/// How long the message at the beginning of `bytes` is. Looks at its bytes in their order, so that what is wrong with a
/// message does not depend on how much of it has come.
fn measure(bytes: &[u8]) -> Result<Extent, CloseReason> {
    match bytes.first() {
        None => Ok(Extent::AtLeast(LENGTH_END)),
        Some(0..=3) => measure_stun(bytes),
        Some(0x40..=0x7f) => measure_channel_data(bytes),
        Some(_) => Err(CloseReason::NotTurn),
    }
}

/// RFC 8489, 5: type, length of what follows the header, magic cookie.
fn measure_stun(bytes: &[u8]) -> Result<Extent, CloseReason> {
    let Some(length) = length_field(bytes) else { return Ok(Extent::AtLeast(LENGTH_END)) };
    if !length.is_multiple_of(4) {
        return Err(CloseReason::StunLength);
    }
    let cookie = &bytes[LENGTH_END..bytes.len().min(COOKIE_END)];
    if !MAGIC_COOKIE.to_be_bytes().starts_with(cookie) {
        return Err(CloseReason::StunCookie);
    }
    if bytes.len() < COOKIE_END {
        return Ok(Extent::AtLeast(COOKIE_END));
    }
    Ok(Extent::Known { message: HEADER_BYTES + length, padded: HEADER_BYTES + length })
}

/// RFC 8656, 12.4 and 12.5: channel number, length of the payload; on a stream, padding up to a multiple of four.
fn measure_channel_data(bytes: &[u8]) -> Result<Extent, CloseReason> {
    let Some(length) = length_field(bytes) else { return Ok(Extent::AtLeast(LENGTH_END)) };
    if length > PAYLOAD_BYTES_MAX {
        return Err(CloseReason::TooLong);
    }
    let message = ChannelData::HEADER_BYTES + length;
    Ok(Extent::Known { message, padded: message.next_multiple_of(4) })
}

/// Both kinds of message have it in the same place.
fn length_field(bytes: &[u8]) -> Option<usize> {
    let [_, _, high, low, ..] = bytes else { return None };
    Some(usize::from(u16::from_be_bytes([*high, *low])))
}

/// Where the length of a message has been read.
const LENGTH_END: usize = 4;

/// Where the magic cookie of a STUN message has been read.
const COOKIE_END: usize = 8;

/// What fits a UDP datagram over IPv4. More can never be relayed, so waiting for it would only fill memory.
const PAYLOAD_BYTES_MAX: usize = 65_507;

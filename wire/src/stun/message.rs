//! A received message: checked once, then read in place.

use std::net::SocketAddr;

use aws_lc_rs::{constant_time, hmac};

use super::numbers::{AttributeKind, Class, ErrorCode, Method};
use super::{
    ATTRIBUTE_HEADER_BYTES, HEADER_BYTES, INTEGRITY_BYTES, MAGIC_COOKIE, address, fingerprint, padded,
};

/// A browser's check has 7 attributes, a TURN request at most a dozen. More is somebody making us work.
const ATTRIBUTES_MAX: usize = 64;

/// RFC 8489, 14.3: fewer than 509 bytes.
const USERNAME_BYTES_MAX: usize = 508;

/// Ties an answer to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// Why bytes are no STUN message. All of these are dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StunError {
    /// Shorter than a header, or the first byte is not 0 to 3.
    #[error("not a STUN header")]
    NotStun,
    /// Something else than 2112A442: RFC 3489's older protocol, or chance.
    #[error("wrong magic cookie")]
    BadCookie,
    /// The length field is not a multiple of four, or not that of the datagram.
    #[error("length field contradicts the datagram")]
    BadLength,
    /// An attribute runs past the end of the message.
    #[error("attribute runs past the end")]
    BadAttribute,
    /// More than 64 attributes.
    #[error("too many attributes")]
    TooManyAttributes,
    /// Something follows FINGERPRINT, which is the last attribute by definition.
    #[error("attribute behind FINGERPRINT")]
    BehindFingerprint,
}

/// A view of a whole, well-formed message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where the attributes end that the message's own rules let us see: behind MESSAGE-INTEGRITY, if there is one.
    visible_end: usize,
    /// Offset of the first MESSAGE-INTEGRITY.
    integrity: Option<usize>,
    /// Offset of FINGERPRINT, which is then the last attribute.
    fingerprint: Option<usize>,
}

impl<'a> Message<'a> {
    /// Checks header and attribute bounds of a message that fills `datagram` exactly (RFC 8489, 6.3). Neither
    /// FINGERPRINT nor MESSAGE-INTEGRITY is verified yet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        // Methods from 0x100 on are reserved, to tell STUN from DTLS and RTP by the first byte (RFC 7983, 7).
        if datagram.len() < HEADER_BYTES || datagram[0] > 3 {
            return Err(StunError::NotStun);
        }
        if datagram[4..8] != MAGIC_COOKIE.to_be_bytes() {
            return Err(StunError::BadCookie);
        }
        let length = usize::from(u16::from_be_bytes([datagram[2], datagram[3]]));
        if !length.is_multiple_of(4) || HEADER_BYTES + length != datagram.len() {
            return Err(StunError::BadLength);
        }
        let mut message =
            Self { bytes: datagram, visible_end: datagram.len(), integrity: None, fingerprint: None };
        message.find_protection()?;
        Ok(message)
    }

    /// Walks all attributes once: their bounds, their number, and where the two that protect the message stand.
    fn find_protection(&mut self) -> Result<(), StunError> {
        let mut offset = HEADER_BYTES;
        let mut count = 0;
        while offset < self.bytes.len() {
            let Some((kind, value)) = attribute_at(self.bytes, offset) else {
                return Err(StunError::BadAttribute);
            };
            if self.fingerprint.is_some() {
                return Err(StunError::BehindFingerprint);
            }
            count += 1;
            if count > ATTRIBUTES_MAX {
                return Err(StunError::TooManyAttributes);
            }
            let next = offset + ATTRIBUTE_HEADER_BYTES + padded(value.len());
            match kind {
                AttributeKind::FINGERPRINT => self.fingerprint = Some(offset),
                AttributeKind::MESSAGE_INTEGRITY if self.integrity.is_none() => {
                    self.integrity = Some(offset);
                    self.visible_end = next;
                }
                _ => {}
            }
            offset = next;
        }
        Ok(())
    }

    /// Request, indication, success or error.
    pub fn class(&self) -> Class {
        Class::of_type(self.message_type())
    }

    /// Binding, or one of TURN's.
    pub fn method(&self) -> Method {
        Method::of_type(self.message_type())
    }

    fn message_type(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// Repeated by the answer.
    pub fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_BYTES]);
        TransactionId(id)
    }

    /// The attributes up to and with MESSAGE-INTEGRITY, in the order of the message. RFC 8489, 14.5: what follows it is
    /// ignored, with the exception of FINGERPRINT, which has its own accessors.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { bytes: &self.bytes[..self.visible_end], offset: HEADER_BYTES }
    }

    /// The value of the first attribute of `kind` (RFC 8489, 14: only the first of several counts).
    pub fn attribute(&self, kind: AttributeKind) -> Option<&'a [u8]> {
        self.attributes().find(|(each, _)| *each == kind).map(|(_, value)| value)
    }

    /// USERNAME, when it is UTF-8 of a permitted length.
    pub fn username(&self) -> Option<&'a str> {
        let value = self.attribute(AttributeKind::USERNAME)?;
        if value.len() > USERNAME_BYTES_MAX { None } else { std::str::from_utf8(value).ok() }
    }

    /// PRIORITY (RFC 8445, 7.1.1).
    pub fn priority(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.attribute(AttributeKind::PRIORITY)?.try_into().ok()?))
    }

    /// USE-CANDIDATE (RFC 8445, 7.1.2): the controlling side nominates this pair.
    pub fn use_candidate(&self) -> bool {
        self.attribute(AttributeKind::USE_CANDIDATE).is_some()
    }

    /// The tie-breaker of ICE-CONTROLLING, when the sender claims that role.
    pub fn controlling(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.attribute(AttributeKind::ICE_CONTROLLING)?.try_into().ok()?))
    }

    /// The tie-breaker of ICE-CONTROLLED, when the sender claims that role.
    pub fn controlled(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.attribute(AttributeKind::ICE_CONTROLLED)?.try_into().ok()?))
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor_address(AttributeKind::XOR_MAPPED_ADDRESS)
    }

    /// The first attribute of `kind`, read as a masked address.
    pub fn xor_address(&self, kind: AttributeKind) -> Option<SocketAddr> {
        address::parse_xor(self.attribute(kind)?, self.transaction_id())
    }

    /// ERROR-CODE and its reason phrase (RFC 8489, 14.8).
    pub fn error_code(&self) -> Option<(ErrorCode, &'a str)> {
        let [_, _, class, number, reason @ ..] = self.attribute(AttributeKind::ERROR_CODE)? else {
            return None;
        };
        let class = u16::from(class & 0x07);
        if !(3..=6).contains(&class) || *number > 99 {
            return None;
        }
        Some((ErrorCode(class * 100 + u16::from(*number)), std::str::from_utf8(reason).ok()?))
    }

    /// The comprehension-required attributes outside `known`, each once: a request that has one is answered with 420.
    pub fn unknown_required<'k>(
        &self,
        known: &'k [AttributeKind],
    ) -> impl Iterator<Item = AttributeKind> + use<'a, 'k> {
        let all = self.attributes();
        let mut passed = 0;
        self.attributes().map(|(kind, _)| kind).filter(move |kind| {
            let is_repeated = all.clone().take(passed).any(|(earlier, _)| earlier == *kind);
            passed += 1;
            kind.is_comprehension_required()
                && *kind != AttributeKind::MESSAGE_INTEGRITY
                && !known.contains(kind)
                && !is_repeated
        })
    }

    /// There is a MESSAGE-INTEGRITY to verify.
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// The message has MESSAGE-INTEGRITY and was signed with `key` (RFC 8489, 14.5): for short-term credentials the
    /// password, for long-term ones MD5(username ":" realm ":" password). Compared in constant time.
    pub fn verify_integrity(&self, key: &[u8]) -> bool {
        let Some(offset) = self.integrity else { return false };
        let Some((_, value)) = attribute_at(self.bytes, offset) else { return false };
        let expected = integrity_of(key, &self.bytes[..offset]);
        constant_time::verify_slices_are_equal(expected.as_ref(), value).is_ok()
    }

    /// There is a FINGERPRINT to verify.
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// The message has a FINGERPRINT and it is right.
    pub fn verify_fingerprint(&self) -> bool {
        let Some(offset) = self.fingerprint else { return false };
        // It is the last attribute, so the length field of the message already is the one it was computed with.
        attribute_at(self.bytes, offset)
            .is_some_and(|(_, value)| value == fingerprint::value_of(&self.bytes[..offset]).to_be_bytes())
    }
}

/// MESSAGE-INTEGRITY over `signed`, the bytes before it. The length field must count up to the end of the attribute
/// itself, whatever follows it in the message, so it is replaced on the way.
pub(super) fn integrity_of(key: &[u8], signed: &[u8]) -> hmac::Tag {
    let length = signed.len() - HEADER_BYTES + ATTRIBUTE_HEADER_BYTES + INTEGRITY_BYTES;
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key));
    context.update(&signed[..2]);
    // A message never exceeds its own 16-bit length field: the parser has measured it, the builder asserts it.
    context.update(&(length as u16).to_be_bytes());
    context.update(&signed[4..]);
    context.sign()
}

/// Attributes in the order of the message.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (AttributeKind, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, value) = attribute_at(self.bytes, self.offset)?;
        self.offset += ATTRIBUTE_HEADER_BYTES + padded(value.len());
        Some((kind, value))
    }
}

/// The attribute whose header starts at `offset`, if it and its padding lie within the message.
fn attribute_at(bytes: &[u8], offset: usize) -> Option<(AttributeKind, &[u8])> {
    let [kind_high, kind_low, length_high, length_low, rest @ ..] = bytes.get(offset..)? else { return None };
    let kind = AttributeKind(u16::from_be_bytes([*kind_high, *kind_low]));
    let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
    let value = rest.get(..padded(length))?.get(..length)?;
    Some((kind, value))
}

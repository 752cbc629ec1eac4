//! Writes a message from front to back.

use std::net::SocketAddr;

use super::message::integrity_of;
use super::numbers::{AttributeKind, Class, ErrorCode, Method};
use super::{
    ATTRIBUTE_HEADER_BYTES, HEADER_BYTES, MAGIC_COOKIE, Message, TransactionId, address, fingerprint, padded,
};

/// An answer to a check, with mapped address, MESSAGE-INTEGRITY and FINGERPRINT, fits without growing.
const USUAL_BYTES: usize = 96;

/// A message in the making: attributes in the order of the calls, then [`Builder::sign`], then
/// [`Builder::fingerprint`] or [`Builder::finish`].
#[derive(Debug, Clone)]
pub struct Builder {
    bytes: Vec<u8>,
    transaction: TransactionId,
}

impl Builder {
    /// A message without attributes.
    pub fn new(class: Class, method: Method, transaction: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        bytes.extend_from_slice(&(method.bits() | class.bits()).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction.0);
        Self { bytes, transaction }
    }

    /// The answer to `request`: same method, same transaction.
    pub fn answer(request: &Message<'_>, class: Class) -> Self {
        Self::new(class, request.method(), request.transaction_id())
    }

    /// Appends an attribute.
    ///
    /// Invariant: the message stays below 64 KiB. Values come from our own code, which bounds them.
    pub fn attribute(self, kind: AttributeKind, value: &[u8]) -> Self {
        self.append(kind, |bytes| bytes.extend_from_slice(value))
    }

    /// Appends a masked address: XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS, XOR-RELAYED-ADDRESS.
    pub fn xor_address(self, kind: AttributeKind, address: SocketAddr) -> Self {
        let transaction = self.transaction;
        self.append(kind, |bytes| {
            address::write_xor(bytes, address, transaction);
        })
    }

    /// Appends ERROR-CODE. An empty reason is allowed, and keeps an answer to a stranger small.
    pub fn error(self, code: ErrorCode, reason: &str) -> Self {
        let class = (code.0 / 100) as u8;
        let number = (code.0 % 100) as u8;
        self.append(AttributeKind::ERROR_CODE, |bytes| {
            bytes.extend_from_slice(&[0, 0, class, number]);
            bytes.extend_from_slice(reason.as_bytes());
        })
    }

    /// Appends UNKNOWN-ATTRIBUTES, which goes with 420.
    pub fn unknown_attributes(self, kinds: impl IntoIterator<Item = AttributeKind>) -> Self {
        self.append(AttributeKind::UNKNOWN_ATTRIBUTES, |bytes| {
            for kind in kinds {
                bytes.extend_from_slice(&kind.0.to_be_bytes());
            }
        })
    }

    /// Appends MESSAGE-INTEGRITY under `key`, see [`Message::verify_integrity`].
    pub fn sign(self, key: &[u8]) -> Self {
        let tag = integrity_of(key, &self.bytes);
        self.attribute(AttributeKind::MESSAGE_INTEGRITY, tag.as_ref())
    }

    /// Appends FINGERPRINT and gives the message.
    pub fn fingerprint(self) -> Vec<u8> {
        let length = self.bytes.len() - HEADER_BYTES + ATTRIBUTE_HEADER_BYTES + size_of::<u32>();
        let value = fingerprint::value_with_length(&self.bytes, (length as u16).to_be_bytes());
        self.attribute(AttributeKind::FINGERPRINT, &value.to_be_bytes()).finish()
    }

    /// Gives the message as it is.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends one attribute whose value `write` appends, and keeps the header's length right.
    fn append(mut self, kind: AttributeKind, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&kind.0.to_be_bytes());
        self.bytes.extend_from_slice(&[0, 0]);
        write(&mut self.bytes);
        let length = self.bytes.len() - start - ATTRIBUTE_HEADER_BYTES;
        self.bytes.resize(start + ATTRIBUTE_HEADER_BYTES + padded(length), 0);
        let total = self.bytes.len() - HEADER_BYTES;
        assert!(total <= usize::from(u16::MAX), "a message of our own outgrew its length field");
        self.bytes[start + 2..start + 4].copy_from_slice(&(length as u16).to_be_bytes());
        self.bytes[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        self
    }
}

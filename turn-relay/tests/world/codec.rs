//! STUN as a client writes and reads it, by hand and with other libraries than the relay's: what both get wrong in the same
//! way is then at least written down twice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use std::net::{IpAddr, SocketAddr};

pub(crate) const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

pub(crate) const BINDING: u16 = 0x001;
pub(crate) const ALLOCATE: u16 = 0x003;
pub(crate) const REFRESH: u16 = 0x004;
pub(crate) const CREATE_PERMISSION: u16 = 0x008;
pub(crate) const CHANNEL_BIND: u16 = 0x009;
pub(crate) const SEND_INDICATION: u16 = 0x016;
pub(crate) const DATA_INDICATION: u16 = 0x017;
pub(crate) const SUCCESS: u16 = 0x100;
pub(crate) const ERROR: u16 = 0x110;

pub(crate) const USERNAME: u16 = 0x0006;
pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(crate) const ERROR_CODE: u16 = 0x0009;
pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
pub(crate) const CHANNEL_NUMBER: u16 = 0x000c;
pub(crate) const LIFETIME: u16 = 0x000d;
pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
pub(crate) const DATA: u16 = 0x0013;
pub(crate) const REALM: u16 = 0x0014;
pub(crate) const NONCE: u16 = 0x0015;
pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
pub(crate) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
pub(crate) const EVEN_PORT: u16 = 0x0018;
pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
pub(crate) const DONT_FRAGMENT: u16 = 0x001a;
pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(crate) const RESERVATION_TOKEN: u16 = 0x0022;
pub(crate) const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
pub(crate) const ADDRESS_ERROR_CODE: u16 = 0x8001;
pub(crate) const ALTERNATE_SERVER: u16 = 0x8023;
pub(crate) const FINGERPRINT: u16 = 0x8028;

/// A message with its attributes, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stun {
    pub(crate) kind: u16,
    pub(crate) transaction: [u8; 12],
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
    /// As it came; empty for one that was made here.
    pub(crate) bytes: Vec<u8>,
}

impl Stun {
    pub(crate) fn new(kind: u16, transaction: [u8; 12]) -> Self {
        Self { kind, transaction, attributes: Vec::new(), bytes: Vec::new() }
    }

    pub(crate) fn with(mut self, kind: u16, value: impl Into<Vec<u8>>) -> Self {
        self.attributes.push((kind, value.into()));
        self
    }

    /// The message on the wire, unsigned.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(COOKIE);
        bytes.extend(self.transaction);
        for (kind, value) in &self.attributes {
            append(&mut bytes, *kind, value);
        }
        bytes
    }

    /// The message on the wire, signed with a long-term key.
    pub(crate) fn sign(&self, key: &[u8; 16]) -> Vec<u8> {
        let mut bytes = self.encode();
        let length = (bytes.len() - 20 + 24) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        let tag = hmac_sha1(key, &bytes);
        append(&mut bytes, MESSAGE_INTEGRITY, &tag);
        bytes
    }

    /// Reads a whole message; panics at one that no client could read.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= 20 && bytes[0] < 4 && bytes[4..8] == COOKIE, "no STUN message");
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        assert_eq!(length + 20, bytes.len(), "the length field is not that of the message");
        let mut message =
            Self::new(u16::from_be_bytes([bytes[0], bytes[1]]), bytes[8..20].try_into().unwrap());
        message.bytes = bytes.to_vec();
        let mut at = 20;
        while at < bytes.len() {
            let kind = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            message.attributes.push((kind, bytes[at + 4..at + 4 + length].to_vec()));
            at += 4 + length.next_multiple_of(4);
        }
        message
    }

    pub(crate) fn attribute(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(each, _)| *each == kind).map(|(_, value)| value.as_slice())
    }

    /// Every value of a kind.
    pub(crate) fn all(&self, kind: u16) -> Vec<&[u8]> {
        let of_kind = self.attributes.iter().filter(|(each, _)| *each == kind);
        of_kind.map(|(_, value)| value.as_slice()).collect()
    }

    /// The number in ERROR-CODE; 0 for a success.
    pub(crate) fn code(&self) -> u16 {
        match self.attribute(ERROR_CODE) {
            Some(value) => u16::from(value[2]) * 100 + u16::from(value[3]),
            None => 0,
        }
    }

    pub(crate) fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.attribute(LIFETIME).expect("a lifetime").try_into().unwrap())
    }

    /// The addresses of a kind, unmasked.
    pub(crate) fn addresses(&self, kind: u16) -> Vec<SocketAddr> {
        self.all(kind).into_iter().map(|value| unmask(value, self.transaction)).collect()
    }

    pub(crate) fn is_signed_by(&self, key: &[u8; 16]) -> bool {
        let Some(shown) = self.attribute(MESSAGE_INTEGRITY) else { return false };
        let mut at = 20;
        for (_, value) in self.attributes.iter().take_while(|(kind, _)| *kind != MESSAGE_INTEGRITY) {
            at += 4 + value.len().next_multiple_of(4);
        }
        let mut signed = self.bytes[..at].to_vec();
        signed[2..4].copy_from_slice(&((at - 20 + 24) as u16).to_be_bytes());
        hmac_sha1(key, &signed) == shown
    }
}

/// Appends an attribute and mends the length in the header.
pub(crate) fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(kind.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let length = (bytes.len() - 20) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

/// Appends FINGERPRINT.
pub(crate) fn fingerprint(bytes: &mut Vec<u8>) {
    let length = (bytes.len() - 20 + 8) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let mut crc = !0u32;
    for byte in bytes.iter() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    append(bytes, FINGERPRINT, &(!crc ^ 0x5354_554e).to_be_bytes());
}

pub(crate) fn mask(address: SocketAddr, transaction: [u8; 12]) -> Vec<u8> {
    let (family, ip) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend(address.port().to_be_bytes().iter().zip(COOKIE).map(|(byte, mask)| byte ^ mask));
    let masks = COOKIE.iter().chain(&transaction);
    value.extend(ip.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
    value
}

pub(crate) fn unmask(value: &[u8], transaction: [u8; 12]) -> SocketAddr {
    let port = u16::from_be_bytes([value[2] ^ COOKIE[0], value[3] ^ COOKIE[1]]);
    let masks = COOKIE.iter().chain(&transaction);
    let ip: Vec<u8> = value[4..].iter().zip(masks).map(|(byte, mask)| byte ^ mask).collect();
    let ip = match value[1] {
        1 => IpAddr::from(<[u8; 4]>::try_from(ip).unwrap()),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).unwrap()),
    };
    SocketAddr::new(ip, port)
}

pub(crate) fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// MD5 of user name, realm and password.
pub(crate) fn long_term_key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{username}:{realm}:{password}")).into()
}

/// The password that a shared secret makes of a user name.
pub(crate) fn rest_password(secret: &str, username: &str) -> String {
    BASE64.encode(hmac_sha1(secret.as_bytes(), username.as_bytes()))
}

fn hmac_sha1(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

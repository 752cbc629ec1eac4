//! The registered numbers of STUN, ICE and TURN, each kind in a type of its own.

/// What a message is in its transaction (RFC 8489, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// The request was carried out.
    Success,
    /// The request was not carried out; ERROR-CODE says why.
    Error,
}

impl Class {
    /// The two class bits, in their place in the type field.
    pub(super) const fn bits(self) -> u16 {
        match self {
            Self::Request => 0x0000,
            Self::Indication => 0x0010,
            Self::Success => 0x0100,
            Self::Error => 0x0110,
        }
    }

    /// The class of a type field.
    pub(super) const fn of_type(message_type: u16) -> Self {
        match message_type & 0x0110 {
            0x0000 => Self::Request,
            0x0010 => Self::Indication,
            0x0100 => Self::Success,
            _ => Self::Error,
        }
    }
}

/// What a message is about: 12 bits, of which the upper 4 are reserved and zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Method(pub u16);

impl Method {
    /// RFC 8489.
    pub const BINDING: Self = Self(0x001);
    /// RFC 8656.
    pub const ALLOCATE: Self = Self(0x003);
    /// RFC 8656.
    pub const REFRESH: Self = Self(0x004);
    /// RFC 8656.
    pub const SEND: Self = Self(0x006);
    /// RFC 8656.
    pub const DATA: Self = Self(0x007);
    /// RFC 8656.
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// RFC 8656.
    pub const CHANNEL_BIND: Self = Self(0x009);

    /// The method bits, spread around the class bits as the type field wants them (RFC 8489, 5, figure 3).
    pub(super) const fn bits(self) -> u16 {
        (self.0 & 0x000f) | ((self.0 & 0x0070) << 1) | ((self.0 & 0x0f80) << 2)
    }

    /// The method of a type field.
    pub(super) const fn of_type(message_type: u16) -> Self {
        Self((message_type & 0x000f) | ((message_type & 0x00e0) >> 1) | ((message_type & 0x3e00) >> 2))
    }
}

/// An attribute's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeKind(pub u16);

impl AttributeKind {
    /// An address in plain sight (RFC 8489, 14.1).
    pub const MAPPED_ADDRESS: Self = Self(0x0001);
    /// Who asks (RFC 8489, 14.3).
    pub const USERNAME: Self = Self(0x0006);
    /// HMAC-SHA1 over everything before it (RFC 8489, 14.5).
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    /// Why a request failed (RFC 8489, 14.8).
    pub const ERROR_CODE: Self = Self(0x0009);
    /// What a 420 did not understand (RFC 8489, 14.13).
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000a);
    /// TURN (RFC 8656, 18.1).
    pub const CHANNEL_NUMBER: Self = Self(0x000c);
    /// TURN, in seconds (RFC 8656, 18.2).
    pub const LIFETIME: Self = Self(0x000d);
    /// TURN (RFC 8656, 18.3).
    pub const XOR_PEER_ADDRESS: Self = Self(0x0012);
    /// TURN (RFC 8656, 18.4).
    pub const DATA: Self = Self(0x0013);
    /// The domain of a long-term credential (RFC 8489, 14.9).
    pub const REALM: Self = Self(0x0014);
    /// A long-term credential's challenge (RFC 8489, 14.10).
    pub const NONCE: Self = Self(0x0015);
    /// TURN (RFC 8656, 18.5).
    pub const XOR_RELAYED_ADDRESS: Self = Self(0x0016);
    /// TURN (RFC 8656, 18.6).
    pub const REQUESTED_ADDRESS_FAMILY: Self = Self(0x0017);
    /// TURN (RFC 8656, 18.7).
    pub const EVEN_PORT: Self = Self(0x0018);
    /// TURN (RFC 8656, 18.8).
    pub const REQUESTED_TRANSPORT: Self = Self(0x0019);
    /// TURN (RFC 8656, 18.9).
    pub const DONT_FRAGMENT: Self = Self(0x001a);
    /// HMAC-SHA256 over everything before it (RFC 8489, 14.6).
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001c);
    /// A hashed user name (RFC 8489, 14.4).
    pub const USERHASH: Self = Self(0x001e);
    /// The address the other side saw, masked (RFC 8489, 14.2).
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// TURN (RFC 8656, 18.10).
    pub const RESERVATION_TOKEN: Self = Self(0x0022);
    /// ICE: the candidate's priority (RFC 8445, 16.1).
    pub const PRIORITY: Self = Self(0x0024);
    /// ICE: this pair is the one (RFC 8445, 16.1).
    pub const USE_CANDIDATE: Self = Self(0x0025);
    /// TURN (RFC 8656, 18.11).
    pub const ADDITIONAL_ADDRESS_FAMILY: Self = Self(0x8000);
    /// TURN (RFC 8656, 18.12).
    pub const ADDRESS_ERROR_CODE: Self = Self(0x8001);
    /// The program's name (RFC 8489, 14.14).
    pub const SOFTWARE: Self = Self(0x8022);
    /// Another server to ask (RFC 8489, 14.15).
    pub const ALTERNATE_SERVER: Self = Self(0x8023);
    /// CRC-32 over everything before it (RFC 8489, 14.7).
    pub const FINGERPRINT: Self = Self(0x8028);
    /// ICE: the sender is the controlled side (RFC 8445, 16.1).
    pub const ICE_CONTROLLED: Self = Self(0x8029);
    /// ICE: the sender is the controlling side (RFC 8445, 16.1).
    pub const ICE_CONTROLLING: Self = Self(0x802a);

    /// A message with such an attribute must not be obeyed by who does not know it (RFC 8489, 14).
    pub const fn is_comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

/// Why a request failed: 300 to 699 (RFC 8489, 14.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// Ask another server (RFC 8489).
    pub const TRY_ALTERNATE: Self = Self(300);
    /// The request is malformed (RFC 8489).
    pub const BAD_REQUEST: Self = Self(400);
    /// The credentials are missing or wrong (RFC 8489).
    pub const UNAUTHENTICATED: Self = Self(401);
    /// Not allowed (RFC 8656).
    pub const FORBIDDEN: Self = Self(403);
    /// A comprehension-required attribute is unknown (RFC 8489).
    pub const UNKNOWN_ATTRIBUTE: Self = Self(420);
    /// There is no such allocation, or already one (RFC 8656).
    pub const ALLOCATION_MISMATCH: Self = Self(437);
    /// The nonce is too old (RFC 8489).
    pub const STALE_NONCE: Self = Self(438);
    /// RFC 8656.
    pub const ADDRESS_FAMILY_NOT_SUPPORTED: Self = Self(440);
    /// The allocation belongs to other credentials (RFC 8656).
    pub const WRONG_CREDENTIALS: Self = Self(441);
    /// RFC 8656.
    pub const UNSUPPORTED_TRANSPORT: Self = Self(442);
    /// RFC 8656.
    pub const PEER_ADDRESS_FAMILY_MISMATCH: Self = Self(443);
    /// RFC 8656.
    pub const ALLOCATION_QUOTA_REACHED: Self = Self(486);
    /// ICE: both sides claim the same role (RFC 8445, 7.3.1.1).
    pub const ROLE_CONFLICT: Self = Self(487);
    /// The server failed (RFC 8489).
    pub const SERVER_ERROR: Self = Self(500);
    /// RFC 8656.
    pub const INSUFFICIENT_CAPACITY: Self = Self(508);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_class_survives_the_interleaving_of_the_type_field() {
        for method in 0..0x1000 {
            for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
                let message_type = Method(method).bits() | class.bits();
                assert!(message_type < 0x4000, "the two top bits belong to RFC 7983");
                assert_eq!(Method::of_type(message_type), Method(method));
                assert_eq!(Class::of_type(message_type), class);
            }
        }
    }

    #[test]
    fn the_type_fields_are_those_on_the_wire() {
        assert_eq!(Method::BINDING.bits() | Class::Request.bits(), 0x0001);
        assert_eq!(Method::BINDING.bits() | Class::Indication.bits(), 0x0011);
        assert_eq!(Method::BINDING.bits() | Class::Success.bits(), 0x0101);
        assert_eq!(Method::BINDING.bits() | Class::Error.bits(), 0x0111);
        assert_eq!(Method::ALLOCATE.bits() | Class::Error.bits(), 0x0113);
    }
}

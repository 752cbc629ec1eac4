//! Names that cross sockets. Each is checked where it enters; a value of the type is always well formed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a string is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct BadId(&'static str);

/// One identifier type: a checked string that serialises as itself.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $is_valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and wraps it.
            pub fn parse(text: impl Into<String>) -> Result<Self, BadId> {
                let text = text.into();
                let is_valid: fn(&str) -> bool = $is_valid;
                if is_valid(&text) { Ok(Self(text)) } else { Err(BadId($what)) }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A conference as machines name it: 26 characters of base32 made from a hash of its name, so that no name a
    /// person chose ever reaches a bridge, a URL path or a store.
    ConferenceId,
    "conference id",
    |text| text.len() == 26 && text.bytes().all(is_base32)
);

id!(
    /// A participant, and the endpoint that a bridge holds for it: 8 hexadecimal digits, as Jitsi's.
    EndpointId,
    "endpoint id",
    |text| text.len() == 8 && text.bytes().all(is_hex)
);

id!(
    /// A bridge as its operator named it: 1 to 64 characters of `[A-Za-z0-9._-]`.
    BridgeId,
    "bridge id",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(is_name)
);

id!(
    /// A published track: `<endpoint>-a0`, `<endpoint>-v0`, `<endpoint>-v1` for the screen.
    SourceName,
    "source name",
    |text| {
        let Some((endpoint, track)) = text.split_once('-') else { return false };
        endpoint.len() == 8
            && endpoint.bytes().all(is_hex)
            && (2..=3).contains(&track.len())
            && matches!(track.as_bytes()[0], b'a' | b'v')
            && track.bytes().skip(1).all(|byte| byte.is_ascii_digit())
    }
);

id!(
    /// An SDP media identification tag (RFC 5888): 1 to 16 token characters.
    Mid,
    "mid",
    |text| (1..=16).contains(&text.len()) && text.bytes().all(is_token)
);

id!(
    /// A simulcast layer's restriction identifier (RFC 8851): 1 to 16 alphanumeric characters.
    Rid,
    "rid",
    |text| (1..=16).contains(&text.len()) && text.bytes().all(is_name)
);

impl SourceName {
    /// The name of `endpoint`'s track number `index` of one kind (`'a'` or `'v'`).
    pub fn of(endpoint: &EndpointId, kind: super::media::MediaKind, index: usize) -> Self {
        let letter = match kind {
            super::media::MediaKind::Audio => 'a',
            super::media::MediaKind::Video => 'v',
        };
        Self(format!("{endpoint}-{letter}{index}"))
    }

    /// The endpoint that publishes this source.
    pub fn owner(&self) -> &str {
        &self.0[..8]
    }
}

/// A conference's assignment number: a bridge refuses a command that carries an older one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the next assignment.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

fn is_base32(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'2'..=b'7')
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// RFC 8866 `token-char`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_escape_a_path_or_a_subject_is_refused() {
        for hostile in ["", "../../etc", "a b", "a.*", ">", "\0", "é", &"a".repeat(27)] {
            assert!(ConferenceId::parse(hostile).is_err(), "{hostile:?}");
            assert!(EndpointId::parse(hostile).is_err(), "{hostile:?}");
            assert!(SourceName::parse(hostile).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn a_source_name_tells_its_owner() {
        let endpoint = EndpointId::parse("0a1b2c3d").unwrap();
        let source = SourceName::of(&endpoint, crate::messages::media::MediaKind::Video, 1);
        assert_eq!(source.as_str(), "0a1b2c3d-v1");
        assert_eq!(source.owner(), "0a1b2c3d");
        assert_eq!(SourceName::parse("0a1b2c3d-v1").unwrap(), source);
    }
}

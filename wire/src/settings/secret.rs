//! Secrets: read from the settings, never shown.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// What stands for a secret wherever one would be printed.
pub const REDACTED: &str = "[redacted]";

/// Fewer bytes can be guessed: 32 characters of base64 are 192 bits.
pub const SECRET_BYTES_MIN: usize = 32;

/// A key shared between programs. Printing and serialising show [`REDACTED`]; memory is wiped when it is dropped.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself: for a signature or a header, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `candidate` is this secret, in a time that tells nothing about where they differ. An empty secret is
    /// nobody's.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        !self.is_empty() && verify_slices_are_equal(self.0.as_bytes(), candidate).is_ok()
    }

    /// Why this is no secret to rely on, if so; the text fits [`super::Settings::refuse`].
    pub fn weakness(&self) -> Option<&'static str> {
        if self.0.to_ascii_lowercase().contains("changeme") {
            return Some("still holds the placeholder of the documentation");
        }
        (self.0.len() < SECRET_BYTES_MIN)
            .then_some("a secret has at least 32 bytes, such as `openssl rand -base64 32` prints")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), other.0.as_bytes()).is_ok()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { REDACTED })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Takes text only. Anything else is refused without repeating it, as serde's own messages would.
struct SecretVisitor;

impl Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret as text in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::from(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret::from(text))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Err(not_text())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(not_text())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        Err(not_text())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Err(not_text())
    }
}

fn not_text<E: Error>() -> E {
    E::custom("a secret is text in quotes")
}

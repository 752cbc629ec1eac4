//! JSON from strangers, read strictly.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Our deepest message has 7 levels; what browsers send each other in `msgPayload` may have a few more.
const DEPTH_MAX: u32 = 32;

/// An explanation may quote the message, and goes back to whoever sent it.
const REASON_BYTES_MAX: usize = 160;

/// Why a text is not the message it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// No JSON, or something behind it.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// An object has a key twice, so that two readers could see two messages in it.
    #[error("a key appears twice in one object")]
    DuplicateKey,
    /// Nested too deeply.
    #[error("nested more than 32 levels deep")]
    TooDeep,
    /// JSON, but not this message: a type that is unknown, or a field that is missing or wrong.
    #[error("not a known message: {0}")]
    BadShape(String),
}

/// Reads `text` as exactly one `T`. Refused are objects with the same key twice, at any depth; more than 32 levels;
/// numbers that JSON or 64 bits do not have; and anything but white space behind the value. Every socket that takes JSON
/// reads it with this.
pub fn parse_json<T: DeserializeOwned>(text: &str) -> Result<T, BadMessage> {
    check(text)?;
    serde_json::from_str(text).map_err(|error| BadMessage::BadShape(reason(&error)))
}

/// Walks the whole text once and keeps nothing but the keys of the objects that are open.
fn check(text: &str) -> Result<(), BadMessage> {
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let walk = Checked { depth: 0, fault: &fault };
    walk.deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| fault.take().unwrap_or_else(|| BadMessage::NotJson(reason(&error))))
}

fn reason(error: &serde_json::Error) -> String {
    let mut reason = error.to_string();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

/// Any value, `depth` containers deep. A fault of ours passes through the parser's error type as text only, so its kind
/// is left in `fault`.
#[derive(Clone, Copy)]
struct Checked<'f> {
    depth: u32,
    fault: &'f Cell<Option<BadMessage>>,
}

impl Checked<'_> {
    fn deeper(self) -> Result<Self, BadMessage> {
        if self.depth == DEPTH_MAX {
            Err(BadMessage::TooDeep)
        } else {
            Ok(Self { depth: self.depth + 1, ..self })
        }
    }

    fn fail<E: Error>(self, fault: BadMessage) -> E {
        let error = E::custom(&fault);
        self.fault.set(Some(fault));
        error
    }
}

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let inner = self.deeper().map_err(|fault| self.fail(fault))?;
        while values.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let inner = self.deeper().map_err(|fault| self.fail(fault))?;
        let mut keys = HashSet::new();
        // The parser undoes escapes in keys, so `"a"` and `"\u0061"` are the same here as for any other reader.
        while let Some(key) = fields.next_key::<String>()? {
            if !keys.insert(key) {
                return Err(self.fail(BadMessage::DuplicateKey));
            }
            fields.next_value_seed(inner)?;
        }
        Ok(())
    }
}

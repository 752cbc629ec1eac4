//! Lists and tables of secrets. What is neither is refused without being repeated, as serde's own messages would.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(source: D) -> Result<T, D::Error> {
    source.deserialize_seq(Silent { wanted: "a sequence", of: PhantomData })
}

/// A table.
pub(super) fn table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(source: D) -> Result<T, D::Error> {
    source.deserialize_map(Silent { wanted: "a map", of: PhantomData })
}

/// Takes what has parts, and leaves the parts to `T`.
struct Silent<T> {
    wanted: &'static str,
    of: PhantomData<T>,
}

impl<T> Silent<T> {
    fn refusal<E: Error>(&self) -> E {
        // Serde's own words otherwise: by them a text of the environment is known to mean a list.
        E::custom(format_args!("invalid type, expected {}", self.wanted))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Silent<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<T, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(parts))
    }

    fn visit_map<A: MapAccess<'de>>(self, parts: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(parts))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<T, E> {
        Err(self.refusal())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
        Err(self.refusal())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<T, E> {
        Err(self.refusal())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        Err(self.refusal())
    }
}

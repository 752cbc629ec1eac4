//! Reads updates. State, deltas and chat come in numbers that grow with the callers, so of those only what is counted is
//! read, without a copy; the rest is read strictly by the shapes of `wire`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use wire::messages::ids::EndpointId;
use wire::messages::meeting::Update;
use wire::messages::parse_json;

/// An update, as far as callers look into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Everybody, as of `seq`.
    State {
        seq: u64,
        present: usize,
    },
    Delta(Delta),
    Chat,
    Pong,
    /// Everything that is rare.
    Other(Box<Update>),
}

/// What changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) seq: u64,
    pub(super) joined: usize,
    pub(super) left: usize,
    /// Who is shown differently, with the hand.
    pub(super) changed: Vec<(EndpointId, bool)>,
}

/// Nothing when the text is no update.
pub(super) fn read(text: &str) -> Option<Heard> {
    let glance: Glance<'_> = serde_json::from_str(text).ok()?;
    match &*glance.kind {
        "state" => Some(Heard::State { seq: glance.seq?, present: glance.snapshot?.participants.0 }),
        "delta" => Some(Heard::Delta(Delta {
            seq: glance.seq?,
            joined: glance.joined.0,
            left: glance.left.0,
            changed: glance.changed.into_iter().map(|shown| (shown.id, shown.hand)).collect(),
        })),
        "chat" => Some(Heard::Chat),
        "pong" => Some(Heard::Pong),
        _ => parse_json(text).ok().map(|update| Heard::Other(Box::new(update))),
    }
}

/// The keys of the frequent updates; no key has two shapes in the protocol.
#[derive(Deserialize)]
struct Glance<'t> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'t, str>,
    seq: Option<u64>,
    snapshot: Option<Snapshot>,
    #[serde(default)]
    joined: Count,
    #[serde(default)]
    left: Count,
    #[serde(default)]
    changed: Vec<Shown>,
}

#[derive(Deserialize)]
struct Snapshot {
    participants: Count,
}

/// As much of a participant as is looked at; the id is checked as everywhere.
#[derive(Deserialize)]
struct Shown {
    id: EndpointId,
    hand: bool,
}

/// The length of a list of anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Counting)
    }
}

/// Walks a list without keeping anything of it.
struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
        let mut count = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Count(count))
    }
}

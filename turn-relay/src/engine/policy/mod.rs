//! Which peers the relay reaches.
//!
//! ```text
//! CreatePermission ─┐                        canonical: what an IPv6 address hides
//! ChannelBind ──────┤                            │
//! Send ─────────────┼──▶ rules: PeerPolicy::decide ──▶ allowed by a rule, or denied under a class
//! policy reload ────┤                            │
//! explain ──────────┘                        special: ranges that are no peers of the public Internet
//! ```
//!
//! There is one function that decides, whoever asks; `explain` only puts its answer into words.

pub mod canonical;
pub mod explain;
pub mod peer_map;
pub mod range;
pub mod rules;
pub mod settings;
mod special;

//! The relay without sockets, threads or clocks: bytes and `now` go in, outputs and the way of each datagram come out.
//!
//! ```text
//! client ──▶ relay ──┬─ channel data ─▶ channel ─▶ rate ──▶ ToPeer            peer ──▶ relay ─▶ permission ─▶ rate
//!                    └─ STUN ─┬─ Binding ─▶ budget ─▶ reply                                        │
//!                             ├─ Send ─▶ permission ─▶ policy ─▶ rate ──▶ ToPeer          channel ─┴─ indication
//!                             └─ request ─▶ auth ─▶ requests/ ─▶ quota, policy ─▶ reply      ToClient
//! ```
//!
//! One datagram on a channel: `relay` finds the allocation by the client's path, in one hash; the allocation finds the
//! peer by the number, and lets the datagram pass if its rates do. The way back begins with the socket, whose key is a
//! place in a table: no hash at all. Neither allocates.
//!
//! Invariants: nothing is remembered of a client that has not authenticated, and it is answered within a budget. Every
//! datagram that stops has a `DropReason`. One function decides about every peer, and its decision is asked again when
//! the policy changes. A port has one holder. Time only comes from the caller. Knows nothing about TLS, frames of
//! streams, metrics' names, and which bridges there are other than by the policy.

mod allocation;
pub mod auth;
mod channels;
mod control;
pub mod drop_reason;
mod lifecycle;
mod pace;
mod permissions;
pub mod policy;
pub mod ports;
mod ports_pool;
pub mod quota;
pub mod relay;
mod requests;
pub mod stats;
mod timers;
pub mod views;

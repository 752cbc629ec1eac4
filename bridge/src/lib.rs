//! The bridge: forwards the media of conferences between browsers. It never decodes, never mixes, never sees SDP.
//!
//! ```text
//!            browsers                                   signaling
//!      UDP media   channel WebSocket                 bridge-link WebSocket        operator: REST
//!          │               │                                  │                        │
//!   ┌──────▼─────┐   ┌─────▼──────────────────────────────────▼────────────────────────▼────┐
//!   │ worker × n │◀──│ control plane (tokio): channel  control  link  rest  stats  metrics   │
//!   │ udp        │──▶│                                                                       │
//!   │ engine     │   └───────────────────────────────────────────────────────────────────────┘
//!   │            │◀──▶ DTLS thread: handshakes ─▶ handshake
//!   └────────────┘     all arrows between threads are bounded queues
//! ```
//!
//! **The walk of a packet.** `udp` receives a batch; `worker` reads the clock once and hands each datagram with its path
//! to the [`engine`], which classifies it, finds its endpoint by its path in one hash, opens SRTP once, and lets every
//! receiver's slot take or drop it; what was taken is sealed straight into the send ring, linked behind the same receiver's
//! datagram before, and `udp` sends the ring, equal-sized neighbours of one receiver as one message. The packet never
//! waits for a thread. It changes threads only when its conference is larger than `spread_above`: then it crosses once, opened,
//! to each further worker that shows it to somebody.
//!
//! **The walk of a message.** A command arrives on `link`, `control` finds the endpoint's worker (or the one with least
//! to do) and queues it; the engine answers; the reply goes back by its id. A browser's text arrives on `channel`, whose
//! ticket the engine made, and goes to the same engine; what the engine says goes out through the channel's bounded queue.
//! A DTLS datagram goes from the engine to the DTLS thread, and keys come back as a report.
//!
//! **Invariants.**
//! - Nothing an unknown sender sends is answered or remembered: an endpoint begins with a command, its path with a check
//!   that its ICE password signs, its media with keys of a certificate that signaling announced.
//! - A conference lives on one worker until it outgrows it, an endpoint always; workers share nothing but bounded rings,
//!   wait for no other thread, take no lock.
//! - Every queue is bounded, and what happens when it is full is written where it is made.
//! - Every packet that stops is counted under a reason.
//! - Media does not need signaling: while the link is down, conferences go on.
//! - `udp` is the only unsafe code.
//!
//! Knows nothing about SDP, names of people or conferences, TURN, and other bridges.

mod addresses;
mod channel;
mod control;
pub mod engine;
pub mod handshake;
mod handshakes;
mod link;
mod listener;
mod metrics;
mod problem;
mod rest;
pub mod settings;
mod start;
mod stats;
mod udp;
mod worker;

pub use self::start::{Bound, BridgeError, BridgeHandle, StartError, start};

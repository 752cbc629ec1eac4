//! Signaling: brings the browsers of a conference together, chooses the bridge that carries their media, negotiates with
//! both, and serves the meeting page.
//!
//! ```text
//!   browsers                                    bridges
//!   page /ws /whip /whep   channel              /bridge-link       operator, relay: REST
//!      │        │             │                      │                     │
//!   ┌──▼────────▼─────────────▼──────────────────────▼─────────────────────▼──┐
//!   │ listener ─ gate    channel ═══ to the bridge that has the endpoint     │
//!   │ page  meeting  whip      link      rest  metrics                        │
//!   │            │     │         │         │                                  │
//!   │            └─────┴── hub ──┴─────────┘  one task, bounded queues        │
//!   │                       │                                                 │
//!   │                    engine: conferences, fleet, assignment, negotiate    │
//!   └─────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! **The walk of a request.** `listener` accepts and counts; `gate` asks whose it is and whether there is room; `meeting`
//! reads one JSON message at a time and gives it to the `hub`, whose task owns the [`engine`]; the engine decides; its
//! outputs go back through the bounded `outbox` of each socket, written as text once however many they are for.
//!
//! **The walk of a browser that a firewall keeps from UDP.** `relays` mints credentials of its own for each participant, in
//! the `assigned` that names its bridge; the browser shows them to a TURN server. One that shares its port 443 with us
//! hands over what is HTTP on it as a [`WebConnection`], and `listener` serves that like what it accepted itself.
//!
//! **The walk of an offer.** The engine turns SDP into endpoint parameters, sends them to the conference's bridge as a
//! command, and turns the reply into the answer. No other part of the system sees SDP.
//!
//! **Invariants.**
//! - Media needs nothing of this: while signaling is down, conferences go on.
//! - A participant alone costs no bridge; the second one starts the conference.
//! - Every assignment has a higher epoch than all before; bridges refuse the older.
//! - Every queue and every table is bounded; a reader that is too slow loses its own connection only.
//! - Who somebody is comes from the connection, never from a message.
//! - No log line and no metric holds a name, an address, a secret or SDP.
//! - Credentials for the relays are written to the one participant whose they are.
//!
//! Knows nothing about RTP, DTLS, and what a bridge does with what it is told.

mod channel;
pub mod engine;
mod gate;
mod hub;
mod link;
mod listener;
mod meeting;
mod metrics;
mod outbox;
mod page;
mod problem;
mod public;
mod relays;
mod rest;
pub mod settings;
mod socket;
mod start;
mod whip;

pub use self::listener::{WebConnection, WebStream};
pub use self::start::{Bound, SignalingHandle, StartError, start};

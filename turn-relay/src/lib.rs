//! The relay: a TURN server that lets the browser behind a firewall in, and nobody else anywhere.
//!
//! ```text
//!    clients: UDP                clients: TCP, TLS, HTTPS             operator: REST     bridges, files
//!         │                                │                               │                  │
//!         │                     ┌──────────▼───────────────────────────────▼──────────────────▼──────┐
//!         │                     │ control plane (tokio): front   rest  metrics   reload  bridges     │
//!         │                     │   front: PROXY v2, first bytes, TLS, HTTP(S) ─▶ backend or channel │
//!         │                     └──────────┬───────────────────────────┬─────────────────────────────┘
//!         │                     NewStream  │              ShardCommand │ ▲ ShardStats, ended allocations
//!   ┌─────▼────────────────────────────────▼───────────────────────────▼─┴──┐
//!   │ shard × n: udp  stream (framer, TLS records, egress queue)  engine    │   bounded queues, no lock
//!   └─────────────────────────────────┬─────────────────────────────────────┘
//!                     one UDP socket for each relayed address
//!                                     │
//!                                   peers: bridges
//! ```
//!
//! **The walk of a packet.** `udp` receives a batch on one of the shard's listeners; `shard` reads the clock once and
//! hands each datagram with its path to the [`engine`], which finds the allocation in one hash and the peer by the
//! channel's number; the payload, still where it was received, goes out through the allocation's relay socket together
//! with its neighbours. The way back begins at that socket, whose key is a place in a table: the engine answers with the
//! four bytes that go in front, and the datagrams of one batch to one client leave as one message (GSO), or, for a
//! client on TCP or TLS, through its egress queue as one TLS record. The packet never changes threads.
//!
//! **The walk of a connection.** `front` accepts it on tokio, counts it against its address, reads a PROXY header from a
//! trusted proxy, and decides by the first bytes: TURN, TLS, HTTP, or a server name that is passed through undecrypted.
//! TLS is decided again by ALPN or by the first plaintext. HTTP goes to `https_backend`, or in `passerelle` to signaling.
//! A TURN connection is taken out of tokio, whole with its TLS state, and given to one shard, which keeps it.
//!
//! **Invariants.**
//! - Nothing a stranger sends is remembered, and little is answered; who stalls in a handshake is limited by address and
//!   by time.
//! - Everything is relayed by one policy, which `reload` and `bridges` replace as a whole, and which each shard applies
//!   to what it already has.
//! - An allocation lives on one shard, which shares nothing with another, waits for no other thread, takes no lock.
//! - Every queue is bounded, and what happens when it is full is written where it is made.
//! - Every datagram and every connection that stops is counted under a reason.
//! - A setting, secret or certificate that cannot be used changes nothing: the old one stays in force.
//! - `udp` is the only unsafe code.
//!
//! Knows nothing about SDP, conferences, media, and what HTTP behind it means.

mod bridges;
pub mod commands;
mod control;
mod ended;
pub mod engine;
mod front;
mod metrics;
mod problem;
mod reload;
mod rest;
pub mod settings;
mod shard;
mod start;
mod stats;
mod stream;
mod udp;

pub use self::engine::policy::settings::BridgePeers;
pub use self::front::ports::{Web, WebConnection, WebStream};
pub use self::start::{Bound, RelayError, RelayHandle, StartError, start};

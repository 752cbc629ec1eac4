//! The JSON that crosses our sockets: typed once here, so that both ends of a socket read the same sentence.
//!
//! - [`ids`]: the names every message carries, parsed once at the edge.
//! - [`media`]: what a browser's SDP says, typed; signaling writes it, the bridge reads it.
//! - [`link`]: signaling ↔ bridge (`/bridge-link`, `passerelle-link.v1`).
//! - [`meeting`]: browser ↔ signaling (`/ws`, `passerelle.v1`).
//! - [`channel`]: browser ↔ bridge (`/colibri-ws/…`), with Jitsi's names.
//! - [`parse_json`]: how every socket reads what a stranger sent.

pub mod channel;
pub mod ids;
mod json;
pub mod link;
pub mod media;
pub mod meeting;

pub use json::{BadMessage, parse_json};

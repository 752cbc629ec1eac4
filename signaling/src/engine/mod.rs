//! The focus: conferences, bridges, who is where. Pure: requests, commands and `now` in, outputs out.
//!
//! ```text
//!   browsers ──Request──►┌─────────────────────────────────────┐──Update───► browsers
//!   bridges ──FromBridge►│ Focus                               │──Command──► bridges
//!   HTTP ──HttpRequest──►│  conferences ─ participants, roster,│──Answer───► HTTP
//!   clock ──now─────────►│    chat, assignment    fleet, timers│
//!                        └─────────────────────────────────────┘
//! ```
//!
//! The walk of a join: [`Focus::handle_browser`] → `participants` lets it in, tells it who it is and what there is to
//! see → `assignment` asks `fleet` for a bridge if this is the second one → everybody is told `assigned` → each offer
//! goes through [`negotiate`] into a command (`offers`) → the bridge's reply becomes the answer.

pub mod fragment;
pub mod limits;
pub mod negotiate;
pub mod ports;
pub mod stats;

mod assignment;
mod chat;
mod commands;
mod conference;
mod fleet;
mod focus;
mod http;
mod links;
mod offers;
mod participant;
mod participants;
mod roster;
mod secrets;
mod timers;

#[cfg(test)]
mod tests;

pub use self::focus::Focus;

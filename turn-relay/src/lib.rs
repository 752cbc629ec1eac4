//! The relay: a TURN server that lets the browser behind a firewall in, and nobody else anywhere.
//!
//! [`engine`] holds everything that is TURN, without sockets, threads or clocks.

pub mod engine;

//! The real relay on free ports of loopback: asked as browsers, operators, signaling and strangers ask it, with a client
//! codec that is not the relay's. Nothing here waits for a fixed time: every wait is for something to happen, and bounded.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod bridges;
mod draining;
mod program;
mod relaying;
mod reload;
mod rest;
mod world;

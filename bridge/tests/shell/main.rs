//! The real bridge on free ports of loopback: its links, sockets and REST, asked as signaling, browsers, operators and
//! strangers ask them. Nothing here waits for a fixed time: every wait is for something to happen, and bounded.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod cascade;
mod channel;
mod link;
mod media;
mod program;
mod rest;
mod world;

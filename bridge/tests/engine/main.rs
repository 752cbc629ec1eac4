//! The engine among model browsers, lossy lines and a clock that only the tests move. Each test's name is its claim.

// What the tests share may panic as they do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../world/mod.rs"]
mod world;

mod cascade;
mod channel;
mod commands;
mod hostile;
mod meeting;
mod repair;
mod reports;
mod requests;
mod simulcast;
mod slots;
mod transport;

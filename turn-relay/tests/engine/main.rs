//! The engine among clients and peers, under a clock that only the tests move. Each test's name is its claim; the number in
//! front of it is the case of the relay's acceptance list that it proves.

// What the tests share may panic as they do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../world/mod.rs"]
mod world;

mod allocate;
mod auth;
mod codec;
mod hostile;
mod limits;
mod operating;
mod peers;
mod permissions;
mod relaying;

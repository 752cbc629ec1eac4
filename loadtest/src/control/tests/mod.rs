//! Callers against small servers in this process, over loopback.

mod asking;
mod meeting;
mod refusals;
mod whip;
mod world;

//! A shard: one thread with its own sockets, streams and engine. Nothing is shared with other shards.
//!
//! ```text
//! other threads ─▶ mailbox + waker ─┐
//! listeners ────────────────────────┤   turns: wait once, read the clock once, look once at everybody who is ready
//! relay sockets ────────────────────┼─▶ inbox ─▶ relaying: engine ─┬─▶ outbox ─▶ listeners, relay sockets
//! streams ──────────────────────────┘                              └─▶ streams' own queues ─▶ sockets
//! ```
//!
//! A look at a socket takes one call's worth of what waits there; who has more waits behind the others. What several looks
//! caused leaves together, without having been copied: payloads lie in the inbox until the outbox is sent. Nothing a
//! client does, or does not do, makes a shard wait: what a stream does not take waits in that stream's queue.

mod alarms;
mod inbox;
mod mailbox;
mod meter;
mod outbox;
pub(crate) mod ports;
mod ready;
mod relaying;
mod sockets;
mod streams;
#[cfg(test)]
mod tests;
mod turns;

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use mio::Poll;

use self::outbox::Outbox;
use self::ports::{ShardHandle, ShardParts};
use self::relaying::{Records, Relaying};
use self::sockets::{Listeners, RelaySockets};
use self::streams::Streams;
use self::turns::Turns;
use crate::engine::relay::Relay;
use crate::udp;

/// Starts a shard. It ends by `Stop`, or when a listener or its poll breaks, which is logged.
///
/// # Errors
/// When the system has no descriptor or no thread left.
pub(crate) fn spawn(parts: ShardParts) -> io::Result<(ShardHandle, JoinHandle<()>)> {
    let ShardParts { index, listeners, engine, relay_buffer_bytes, ended, processor } = parts;
    let poll = Poll::new()?;
    let (handle, mailbox, board) = mailbox::mailbox(poll.registry())?;
    let listeners = Listeners::new(listeners, poll.registry())?;
    let sockets = RelaySockets::new(relay_buffer_bytes, poll.registry().try_clone()?);
    let streams = Streams::new(poll.registry().try_clone()?);
    let records = Records::new(ended);
    let thread = thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
        if let Some(processor) = processor
            && let Err(error) = udp::pin_thread(processor)
        {
            tracing::warn!(shard = index, processor, %error, "not kept on its processor");
        }
        let relaying = Relaying {
            engine: Relay::new(engine, Instant::now()),
            listeners,
            sockets,
            streams,
            outbox: Outbox::default(),
            records,
            unix_s: 0,
            streamed_bytes: 0,
        };
        if let Err(error) = Turns::new(poll, mailbox, board, relaying).run() {
            tracing::error!(shard = index, %error, "the shard has ended");
        }
    })?;
    Ok((handle, thread))
}

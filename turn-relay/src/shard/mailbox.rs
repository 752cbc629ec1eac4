//! How other threads reach a shard: two bounded queues, and a waker that ends its wait.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use mio::{Registry, Waker};

use super::ports::{Refused, RefusedReason, ShardCommand, ShardStats};
use super::ready::Source;

/// What other threads hold of a shard.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    commands: SyncSender<ShardCommand>,
    /// Streams have a queue of their own: a rush of connections never keeps out a new policy.
    streams: SyncSender<ShardCommand>,
    waker: Arc<Waker>,
    board: Board,
}

impl ShardHandle {
    /// Asks for something, without waiting.
    ///
    /// # Errors
    /// The command itself, when the shard's mailbox is full or its thread has ended.
    pub(crate) fn send(&self, command: ShardCommand) -> Result<(), Refused> {
        let is_stream = matches!(command, ShardCommand::Stream(_));
        let queue = if is_stream { &self.streams } else { &self.commands };
        queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(command) => Refused { command, reason: RefusedReason::Full },
            TrySendError::Disconnected(command) => Refused { command, reason: RefusedReason::Gone },
        })?;
        // Fails only with a descriptor that is none: then the shard has ended, and needs no waking.
        let _ = self.waker.wake();
        Ok(())
    }

    /// The shard's numbers, a quarter of a second old at most.
    pub(crate) fn stats(&self) -> ShardStats {
        let latest = Arc::clone(&self.board.lock());
        (*latest).clone()
    }
}

/// The shard's end of the queues.
pub(super) struct Mailbox {
    commands: Receiver<ShardCommand>,
    streams: Receiver<ShardCommand>,
}

impl Mailbox {
    /// The oldest command; streams come last.
    pub(super) fn next(&self) -> Option<ShardCommand> {
        self.commands.try_recv().or_else(|_| self.streams.try_recv()).ok()
    }
}

/// Where a shard leaves its numbers: locked for an exchange of pointers, four times a second.
#[derive(Clone)]
pub(super) struct Board {
    latest: Arc<Mutex<Arc<ShardStats>>>,
}

impl Board {
    /// Replaces what is there.
    pub(super) fn publish(&self, stats: ShardStats) {
        *self.lock() = Arc::new(stats);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<ShardStats>> {
        // An exchange of pointers leaves nothing half done.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends of a new shard's mailbox.
///
/// # Errors
/// When the process is out of file descriptors.
pub(super) fn mailbox(registry: &Registry) -> io::Result<(ShardHandle, Mailbox, Board)> {
    let (commands, commands_taken) = sync_channel(COMMANDS_MAX);
    let (streams, streams_taken) = sync_channel(STREAMS_MAX);
    let waker = Arc::new(Waker::new(registry, Source::Waker.token())?);
    let board = Board { latest: Arc::new(Mutex::new(Arc::new(ShardStats::new()))) };
    let handle = ShardHandle { commands, streams, waker, board: board.clone() };
    Ok((handle, Mailbox { commands: commands_taken, streams: streams_taken }, board))
}

/// Operators and signaling ask a few times a second; a shard that leaves so many undone is lost.
const COMMANDS_MAX: usize = 256;

/// Handshakes of a core in a tenth of a second.
const STREAMS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use mio::Poll;

    use super::*;
    use crate::engine::ports::Drain;

    #[test]
    fn a_full_mailbox_refuses_and_gives_the_command_back() {
        let poll = Poll::new().unwrap();
        let (handle, mailbox, _) = mailbox(poll.registry()).unwrap();
        for _ in 0..COMMANDS_MAX {
            handle.send(ShardCommand::SetDrain(Drain::Refuse)).unwrap();
        }
        let refused = handle.send(ShardCommand::Stop).unwrap_err();
        assert_eq!(refused.reason, RefusedReason::Full);
        assert!(matches!(refused.command, ShardCommand::Stop));
        assert!(matches!(mailbox.next(), Some(ShardCommand::SetDrain(Drain::Refuse))));
        handle.send(ShardCommand::Stop).unwrap();
    }

    #[test]
    fn a_shard_that_has_ended_refuses() {
        let poll = Poll::new().unwrap();
        let (handle, mailbox, _) = mailbox(poll.registry()).unwrap();
        drop(mailbox);
        assert_eq!(handle.send(ShardCommand::Stop).unwrap_err().reason, RefusedReason::Gone);
    }
}

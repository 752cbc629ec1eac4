//! What other threads ask of a shard, and what they see of it.

use std::net::SocketAddr;
use std::sync::Arc;

use hdrhistogram::Histogram;
use tokio::sync::{mpsc, oneshot};

pub(crate) use super::mailbox::ShardHandle;
use crate::engine::auth::credentials::Credentials;
use crate::engine::drop_reason::{Counters, labelled};
use crate::engine::policy::explain::Explanation;
use crate::engine::policy::rules::PeerPolicy;
use crate::engine::ports::{Drain, EngineSettings, Transport};
use crate::engine::quota::Limits;
use crate::engine::stats::RelayStats;
use crate::engine::views::{AllocationRecord, AllocationView};
use crate::stream::NewStream;
use crate::stream::client::StreamCounters;
use crate::stream::close_reason::CloseReason;
use crate::udp::{UdpCounts, UdpListener};

/// Everything a shard takes with it.
pub(crate) struct ShardParts {
    /// Which shard of the process; for its name and its lines of log.
    pub(crate) index: usize,
    /// Where clients' datagrams arrive.
    pub(crate) listeners: Vec<UdpListener>,
    /// Its engine, with ports and a seed that no other shard has.
    pub(crate) engine: EngineSettings,
    /// Receive buffer of one relay socket; the kernel takes the memory only for what waits.
    pub(crate) relay_buffer_bytes: usize,
    /// Where the last word about each allocation goes.
    pub(crate) ended: mpsc::Sender<AllocationRecord>,
    /// The processor to stay on.
    pub(crate) processor: Option<usize>,
}

/// What is asked of a shard.
pub(crate) enum ShardCommand {
    /// Serve this stream from now on.
    Stream(Box<NewStream>),
    /// Another policy is in force.
    SetPolicy(Arc<PeerPolicy>),
    /// Other secrets and users are.
    SetCredentials(Arc<Credentials>),
    /// Other limits are.
    SetLimits(Limits),
    /// Make allocations no longer, or again.
    SetDrain(Drain),
    /// End a user's allocations and say how many those were.
    RevokeUser {
        /// Participant of the credential, or user name.
        user: String,
        /// Gets the number.
        done: oneshot::Sender<usize>,
    },
    /// List all allocations.
    Allocations(oneshot::Sender<Vec<AllocationView>>),
    /// Say what the policy decides about a peer.
    Explain {
        /// The peer; port 0 asks about the address.
        peer: SocketAddr,
        /// Gets the rule.
        done: oneshot::Sender<Explanation>,
    },
    /// End the thread and with it every allocation.
    Stop,
}

/// A command that a shard did not take, given back.
pub(crate) struct Refused {
    /// What was to be done.
    pub(crate) command: ShardCommand,
    /// Why it is not.
    pub(crate) reason: RefusedReason,
}

impl std::fmt::Debug for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Refused({:?})", self.reason)
    }
}

/// Why a shard takes no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedReason {
    /// It has enough to do already.
    #[error("the shard's mailbox is full")]
    Full,
    /// Its thread has ended.
    #[error("the shard has ended")]
    Gone,
}

labelled! {
    /// Why a datagram that the engine let pass, or that never reached it, stopped in the shell. What the kernel refuses to
    /// send is in [`UdpCounts`], what a stream's queue drops in [`StreamStats`].
    ShardDrop {
        /// The kernel did not say who sent it, or which of our addresses it came to.
        Unaddressed = "unaddressed",
        /// The stream it is for has ended, or nothing listens on the address it would leave from.
        ClientUnreachable = "client_unreachable",
        /// The socket it would leave from is closed.
        SocketClosed = "socket_closed",
    }
}

/// A plain counter for each way in which streams end.
pub(crate) type CloseCounters = Counters<CloseReason, { CloseReason::ALL.len() }>;

/// Streams of one shard.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamStats {
    /// Open now, indexed by [`Transport`] as declared; none are UDP's.
    pub(crate) open: [u64; Transport::ALL.len()],
    /// Ever taken over.
    pub(crate) accepted: u64,
    /// Ended, by reason.
    pub(crate) closed: CloseCounters,
    /// Datagrams dropped because they had waited too long for the client.
    pub(crate) dropped_by_age: u64,
    /// Datagrams dropped because too many bytes waited for the client.
    pub(crate) dropped_by_bytes: u64,
    /// Bytes read from sockets, as clients sent them.
    pub(crate) bytes_received: u64,
    /// Bytes written to sockets.
    pub(crate) bytes_sent: u64,
}

impl StreamStats {
    /// Adds what one stream has counted.
    pub(super) fn note(&mut self, counters: &StreamCounters) {
        let StreamCounters { dropped_by_age, dropped_by_bytes, bytes_received, bytes_sent } = counters;
        self.dropped_by_age += dropped_by_age;
        self.dropped_by_bytes += dropped_by_bytes;
        self.bytes_received += bytes_received;
        self.bytes_sent += bytes_sent;
    }

    /// Adds another shard's numbers.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { open, accepted, closed, dropped_by_age, dropped_by_bytes, bytes_received, bytes_sent } =
            other;
        for (count, more) in self.open.iter_mut().zip(open) {
            *count += more;
        }
        self.accepted += accepted;
        self.closed.add(closed);
        self.dropped_by_age += dropped_by_age;
        self.dropped_by_bytes += dropped_by_bytes;
        self.bytes_received += bytes_received;
        self.bytes_sent += bytes_sent;
    }
}

/// One shard's numbers: counters since its start, and what it holds.
#[derive(Debug, Clone)]
pub(crate) struct ShardStats {
    /// The engine's.
    pub(crate) relay: RelayStats,
    /// Its UDP sockets', listeners and relay sockets together.
    pub(crate) udp: UdpCounts,
    /// Its streams'.
    pub(crate) streams: StreamStats,
    /// What stopped outside the engine.
    pub(crate) dropped: Counters<ShardDrop, { ShardDrop::ALL.len() }>,
    /// How long datagrams waited in streams' queues, in microseconds; since the start.
    pub(crate) queue_age_us: Histogram<u64>,
    /// Relay sockets open now.
    pub(crate) live_peer_sockets: u64,
    /// Relay sockets that could not be opened, other than because their port was in use.
    pub(crate) sockets_refused: u64,
    /// Records of ended allocations that nobody took.
    pub(crate) records_dropped: u64,
    /// Share of the last quarter of a second in which the shard did not wait: 0.0 to 1.0.
    pub(crate) busy: f64,
}

impl ShardStats {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            relay: RelayStats::default(),
            udp: UdpCounts::default(),
            streams: StreamStats::default(),
            dropped: Counters::default(),
            queue_age_us: empty_histogram(),
            live_peer_sockets: 0,
            sockets_refused: 0,
            records_dropped: 0,
            busy: 0.0,
        }
    }

    /// Adds another shard's numbers. The busiest shard's `busy` stays: it is the one that fills first.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            relay,
            udp,
            streams,
            dropped,
            queue_age_us,
            live_peer_sockets,
            sockets_refused,
            records_dropped,
            busy,
        } = other;
        self.relay.add(relay);
        self.udp.add(udp);
        self.streams.add(streams);
        self.dropped.add(dropped);
        // Invariant: all have the same bounds, the only way for an addition to fail.
        let _ = self.queue_age_us.add(queue_age_us);
        self.live_peer_sockets += live_peer_sockets;
        self.sockets_refused += sockets_refused;
        self.records_dropped += records_dropped;
        self.busy = self.busy.max(*busy);
    }
}

/// A histogram of queue ages, from 1 µs to [`QUEUE_AGE_MAX_US`] in steps of at most 1 %.
pub(crate) fn empty_histogram() -> Histogram<u64> {
    // Invariant: these bounds satisfy the constructor's: 1 ≤ low, 2 × low ≤ high, digits ≤ 5.
    Histogram::new_with_bounds(1, QUEUE_AGE_MAX_US, 2).unwrap_or_else(|_| unreachable!("constant bounds"))
}

/// No datagram waits for more than 400 ms; a whole second leaves room for a change of that.
pub(crate) const QUEUE_AGE_MAX_US: u64 = 1_000_000;

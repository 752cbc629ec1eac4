//! An allocation's channels (RFC 8656, 12): a number that stands for a peer.
//!
//! Indexed by nothing, like permissions. A channel that has expired is kept for five minutes more, in which its number and
//! its peer can be bound to each other again and to nothing else: late datagrams must not reach the wrong one.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::ports::ChannelNumbers;

/// RFC 8656, 12: a binding lasts ten minutes.
const LIFETIME: Duration = Duration::from_secs(600);

/// RFC 8656, 12: five minutes after that, number and peer are free for others.
const QUARANTINE: Duration = Duration::from_secs(300);

impl ChannelNumbers {
    /// The numbers that pass.
    pub(crate) fn range(self) -> RangeInclusive<u16> {
        match self {
            Self::Deployed => 0x4000..=0x7fff,
            Self::Strict => 0x4000..=0x4fff,
        }
    }
}

/// An allocation's channels.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    held: Vec<Channel>,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    expires_at: Instant,
}

/// Why a number cannot stand for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BindRefusal {
    /// One of the two belongs to another.
    Conflict,
    /// There are as many channels as one may have.
    TooMany,
}

impl Channels {
    /// Whom a number stands for.
    pub(crate) fn peer(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        let channel = self.held.iter().find(|channel| channel.number == number)?;
        (now < channel.expires_at).then_some(channel.peer)
    }

    /// Which number stands for a peer.
    pub(crate) fn number(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let channel = self.held.iter().find(|channel| channel.peer == peer)?;
        (now < channel.expires_at).then_some(channel.number)
    }

    /// Whether [`Channels::bind`] would bind.
    pub(crate) fn check(
        &self,
        number: u16,
        peer: SocketAddr,
        channels_max: usize,
    ) -> Result<(), BindRefusal> {
        // 12.2: the number bound to another peer, or the peer to another number.
        if self.held.iter().any(|channel| (channel.number == number) != (channel.peer == peer)) {
            return Err(BindRefusal::Conflict);
        }
        let is_known = self.held.iter().any(|channel| channel.number == number);
        if !is_known && self.held.len() >= channels_max { Err(BindRefusal::TooMany) } else { Ok(()) }
    }

    /// Binds a number to a peer, or refreshes the binding. What `check` refuses must not come here.
    pub(crate) fn bind(&mut self, now: Instant, number: u16, peer: SocketAddr) {
        let expires_at = now + LIFETIME;
        match self.held.iter_mut().find(|channel| channel.number == number) {
            Some(channel) => channel.expires_at = expires_at,
            None => self.held.push(Channel { number, peer, expires_at }),
        }
    }

    /// Forgets what has expired and been kept long enough.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.held.retain(|channel| now < channel.expires_at + QUARANTINE);
    }

    /// Takes back what `is_allowed` no longer lets stand; says how many that were.
    pub(crate) fn revoke(&mut self, is_allowed: impl Fn(SocketAddr) -> bool) -> usize {
        let before = self.held.len();
        self.held.retain(|channel| is_allowed(channel.peer));
        before - self.held.len()
    }

    /// When the next one is forgotten.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.held.iter().map(|channel| channel.expires_at + QUARANTINE).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, SocketAddr)> + '_ {
        self.held.iter().map(|channel| (channel.number, channel.peer))
    }
}

//! The ways of a caller's bytes: a UDP socket to the server or to a TURN server, or a stream to a TURN server.

mod stream;
mod udp;

use std::time::{Duration, Instant, SystemTime};

use mio::{Registry, Token};

use super::relay::{RelayCarrier, RelayPlan};
use crate::engine::ports::Transmits;
use crate::phone::PhoneError;

pub(super) use self::stream::StreamLeg;
pub(super) use self::udp::{Batch, UdpLeg};

/// One way.
pub(super) enum Leg {
    /// Not open yet, or not any more.
    Closed,
    /// Datagrams.
    Udp(UdpLeg),
    /// Messages in a stream, over TLS or not.
    Stream(Box<StreamLeg>),
}

/// How far a reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing is left; the next arrival wakes the thread.
    Done,
    /// There may be more, but others have their turn first.
    More,
    /// The other side's system says that nobody listens there.
    Refused,
}

/// Both clocks at one instant: the kernel stamps arrivals by the one, the engine lives by the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Instant,
    since_epoch: Duration,
}

impl Clock {
    pub(super) fn read() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { now: Instant::now(), since_epoch }
    }

    /// When the kernel took what it stamped so. A stamp from the future, or from long ago, is a clock that was set in
    /// between, and counts as now.
    fn instant_of(&self, stamp: Option<Duration>) -> Instant {
        let age =
            stamp.and_then(|stamp| self.since_epoch.checked_sub(stamp)).filter(|age| *age < STAMP_AGE_MAX);
        age.and_then(|age| self.now.checked_sub(age)).unwrap_or(self.now)
    }
}

impl Leg {
    /// The way up to a TURN server.
    pub(super) fn open_relay(now: Instant, plan: &RelayPlan, place: Place<'_>) -> Result<Self, PhoneError> {
        match &plan.carrier {
            RelayCarrier::Udp => UdpLeg::open(plan.address, place).map(Self::Udp),
            RelayCarrier::Tcp => {
                StreamLeg::open(now, plan.address, None, place).map(Box::new).map(Self::Stream)
            }
            RelayCarrier::Tls(config, name) => {
                let tls = Some((config, name));
                StreamLeg::open(now, plan.address, tls, place).map(Box::new).map(Self::Stream)
            }
        }
    }

    /// Sends what it can at once; says how many datagrams it could not.
    pub(super) fn send(&mut self, transmits: &Transmits) -> u64 {
        match self {
            Self::Closed => transmits.len() as u64,
            Self::Udp(leg) => leg.send(transmits),
            Self::Stream(leg) => leg.send(transmits),
        }
    }
}

/// Where a socket is watched.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) registry: &'a Registry,
    pub(super) token: Token,
}

/// What waits this long in a socket has been dropped by a smaller buffer before.
const STAMP_AGE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_placed_on_the_engines_clock() {
        let clock = Clock { now: Instant::now(), since_epoch: Duration::from_secs(1_000) };
        let stamp = |ms| Some(Duration::from_millis(ms));
        assert_eq!(clock.instant_of(stamp(999_990)), clock.now - Duration::from_millis(10));
        for strange in [stamp(1_000_001), stamp(1), None] {
            assert_eq!(clock.instant_of(strange), clock.now);
        }
    }
}

//! What the DTLS thread does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};
use wire::messages::media;

use super::{HandshakeCounts, Inbox, Message, Owner};
use crate::engine::ports::{HandshakeCommand, HandshakeReport};
use crate::handshake::{Fingerprint, Handshake, HandshakeOutput, Identity};
use crate::worker::ReportSender;

pub(super) struct DtlsThread {
    identity: Identity,
    reports: Vec<ReportSender>,
    counts: Arc<HandshakeCounts>,
    /// From an endpoint's `Start` to its `Stop`.
    associations: HashMap<Owner, Association>,
    /// At most one entry for each association's `scheduled`, and old ones that no longer match.
    timeouts: BinaryHeap<Reverse<(Instant, Owner)>>,
}

struct Association {
    handshake: Handshake,
    /// The instant of its entry in `timeouts`.
    scheduled: Option<Instant>,
}

impl DtlsThread {
    pub(super) fn new(identity: Identity, reports: Vec<ReportSender>, counts: Arc<HandshakeCounts>) -> Self {
        Self { identity, reports, counts, associations: HashMap::new(), timeouts: BinaryHeap::new() }
    }

    /// Works until every worker is gone.
    pub(super) fn run(&mut self, inbox: &Inbox) {
        loop {
            let now = Instant::now();
            self.handle_timeouts(now);
            let wait =
                self.next_timeout().map_or(WAIT_MAX, |at| at.saturating_duration_since(now).min(WAIT_MAX));
            match inbox.messages.recv_timeout(wait) {
                Ok(message) => {
                    message.forget(&inbox.depth);
                    self.handle_message(Instant::now(), message);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn handle_message(&mut self, now: Instant, message: Message) {
        let owner = message.owner;
        match message.command {
            HandshakeCommand::Start(expected) => self.start(now, owner, &expected),
            HandshakeCommand::Stop => {
                self.associations.remove(&owner);
            }
            HandshakeCommand::Datagram(datagram) => {
                let counts = Arc::clone(&self.counts);
                self.advance(now, owner, |handshake| {
                    if handshake.handle_datagram(now, &datagram).is_err() {
                        counts.count_ignored();
                    }
                });
            }
        }
    }

    fn start(&mut self, now: Instant, owner: Owner, expected: &[media::Fingerprint]) {
        // RFC 8122, 5: any one of the announced digests whose hash we know will do; browsers announce one.
        let known = expected.iter().find_map(|digest| Fingerprint::parse(&digest.algorithm, &digest.value));
        let Some(fingerprint) = known else {
            self.counts.count_no_fingerprint();
            return self.report(owner, HandshakeReport::Failed);
        };
        let handshake = Handshake::new(&self.identity, fingerprint, now);
        self.associations.insert(owner, Association { handshake, scheduled: None });
        self.advance(now, owner, |_| {});
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.timeouts.peek().map(|Reverse((at, _))| *at)
    }

    fn handle_timeouts(&mut self, now: Instant) {
        while let Some(&Reverse((at, owner))) = self.timeouts.peek().filter(|Reverse((at, _))| *at <= now) {
            self.timeouts.pop();
            let Some(association) = self.associations.get_mut(&owner) else { continue };
            if association.scheduled != Some(at) {
                continue;
            }
            association.scheduled = None;
            self.advance(now, owner, |handshake| {
                if handshake.next_timeout().is_some_and(|due| due <= now) {
                    handshake.handle_timeout(now);
                }
            });
        }
    }

    /// Does one step of one handshake, passes on what came of it, and notes when it wants to be called again.
    fn advance(&mut self, now: Instant, owner: Owner, step: impl FnOnce(&mut Handshake)) {
        let Some(association) = self.associations.get_mut(&owner) else { return };
        let handshake = &mut association.handshake;
        let outputs = catch_unwind(AssertUnwindSafe(|| {
            step(handshake);
            std::iter::from_fn(|| handshake.poll_output()).collect::<Vec<_>>()
        }));
        let Ok(outputs) = outputs else {
            // The panic hook has written where. Its half-made state is thrown away.
            self.counts.count_panic();
            self.associations.remove(&owner);
            return self.report(owner, HandshakeReport::Failed);
        };
        if let Some(at) = association.handshake.next_timeout() {
            // Never in the past, or this thread would do nothing else.
            let at = at.max(now + STEP_MIN);
            if association.scheduled.is_none_or(|scheduled| at < scheduled) {
                association.scheduled = Some(at);
                self.timeouts.push(Reverse((at, owner)));
            }
        }
        for output in outputs {
            self.pass_on(owner, output);
        }
    }

    fn pass_on(&self, owner: Owner, output: HandshakeOutput) {
        let (worker, endpoint) = (owner.0, owner.1.0);
        match output {
            HandshakeOutput::Transmit(datagram) => {
                if let Some(reports) = self.reports.get(owner.0) {
                    reports.send_datagram(owner.1, datagram);
                }
            }
            HandshakeOutput::Connected { profile, keys } => {
                self.counts.count_connected();
                tracing::debug!(worker, endpoint, ?profile, "handshake done");
                self.report(owner, HandshakeReport::Connected { profile, keys });
            }
            HandshakeOutput::Failed(error) => {
                self.counts.count_failed(&error);
                tracing::info!(worker, endpoint, %error, "handshake failed");
                self.report(owner, HandshakeReport::Failed);
            }
            HandshakeOutput::Closed => {
                self.counts.count_closed();
                self.report(owner, HandshakeReport::Closed);
            }
        }
    }

    fn report(&self, owner: Owner, report: HandshakeReport) {
        if let Some(reports) = self.reports.get(owner.0) {
            reports.send(owner.1, report);
        }
    }
}

/// Looks for the end of the process this often.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The shortest distance between two timeouts of one handshake.
const STEP_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;

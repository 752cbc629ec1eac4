//! The bridge's half of ICE for one endpoint (RFC 8445, lite implementation): it answers the browser's checks and never
//! sends one.
//!
//! ```text
//! check --> request? --> FINGERPRINT --> USERNAME --> MESSAGE-INTEGRITY --> seen elsewhere? --> attributes, role
//!                                                                                                    |
//!        reply <-- nominated: select it (before keys) or wait for its media (after) <-- path is valid
//! ```
//!
//! Where to send: before DTLS has given keys, to the path nominated last. Afterwards a new path must be nominated **and**
//! an authentic, fresh SRTP or SRTCP packet must have come from it: a captured check, sent again from elsewhere, moves
//! nothing, because its sender cannot produce such a packet.
//!
//! Invariants: `paths` holds at most `PATHS_MAX` paths, each authenticated; the selected one is always the first. The
//! selection changes at most once each `SWITCH_INTERVAL`. What fails before MESSAGE-INTEGRITY gets no answer at all.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::CryptoRng;
use wire::messages::media::IceCredentials;
use wire::stun::{AttributeKind, Builder, Class, ErrorCode, Message, Method, TransactionId};

use super::drop_reason::DropReason;
use super::ports::Path;

/// One endpoint's ICE.
#[derive(Debug)]
pub(crate) struct IceLite {
    current: Agreement,
    /// Valid as well, from an ICE restart to the first nomination after it.
    previous: Option<Agreement>,
    /// The selected path first, if there is one.
    paths: Vec<ValidPath>,
    is_selected: bool,
    switched_at: Option<Instant>,
    has_keys: bool,
    /// The last checks and where they came from, oldest first.
    seen: VecDeque<(TransactionId, Path)>,
    role_conflicts: u32,
    started: Instant,
}

/// Credentials of both sides.
#[derive(Debug)]
struct Agreement {
    local: IceCredentials,
    /// What the browser writes into USERNAME (RFC 8445, 7.2.2).
    username: String,
}

#[derive(Debug, Clone, Copy)]
struct ValidPath {
    path: Path,
    /// The last check or authentic packet.
    heard_at: Instant,
    /// The last nomination since the last switch or restart.
    nominated_at: Option<Instant>,
}

/// What became of a STUN message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CheckOutcome {
    /// It was authentic and is answered.
    Answered(CheckAnswer),
    /// It stops here, without an answer.
    Dropped(DropReason),
}

/// The answer to a check, and what it changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckAnswer {
    /// To be sent to where the check came from.
    pub(crate) reply: Vec<u8>,
    /// The check's path is valid from now on and was not before: it belongs into the index of paths.
    pub(crate) is_new_path: bool,
    /// Everything is to be sent here from now on.
    pub(crate) selected: Option<Path>,
    /// A path that had to make room: it belongs out of the index of paths.
    pub(crate) evicted: Option<Path>,
    /// A local ufrag from before a restart that has had its time: it belongs out of the index of ufrags.
    pub(crate) retired_ufrag: Option<String>,
}

impl IceLite {
    /// No path is valid yet. `local` is ours, `remote` the browser's.
    pub(crate) fn new(local: IceCredentials, remote: &IceCredentials, now: Instant) -> Self {
        Self {
            current: Agreement::new(local, remote),
            previous: None,
            paths: Vec::new(),
            is_selected: false,
            switched_at: None,
            has_keys: false,
            seen: VecDeque::new(),
            role_conflicts: 0,
            started: now,
        }
    }

    /// Judges and answers a STUN message that names one of our ufrags (RFC 8445, 7.3).
    pub(crate) fn handle_check(&mut self, now: Instant, path: Path, message: &Message<'_>) -> CheckOutcome {
        match self.answer(now, path, message) {
            Ok(answer) => CheckOutcome::Answered(answer),
            Err(reason) => CheckOutcome::Dropped(reason),
        }
    }

    /// DTLS has given keys: from now on only an authentic packet moves the selection.
    pub(crate) fn handle_keys(&mut self) {
        self.has_keys = true;
    }

    /// Notes an SRTP or SRTCP packet that was authentic and not a replay. `Some` when that made its path the selected
    /// one.
    pub(crate) fn handle_authenticated_packet(&mut self, now: Instant, path: Path) -> Option<Path> {
        // Nearly every packet comes on the selected path, which is the first.
        let index = self.paths.iter().position(|valid| valid.path == path)?;
        self.paths[index].heard_at = now;
        if self.is_selected && index == 0 || self.paths[index].nominated_at.is_none() {
            return None;
        }
        self.switch(now, index)
    }

    /// The browser restarts ICE (RFC 8445, 9). Until it nominates a path under the new credentials the old ones stay
    /// valid as well. A ufrag of an earlier restart that is no longer valid is given back.
    pub(crate) fn restart(&mut self, local: IceCredentials, remote: &IceCredentials) -> Option<String> {
        let before = std::mem::replace(&mut self.current, Agreement::new(local, remote));
        for valid in &mut self.paths {
            valid.nominated_at = None;
        }
        self.role_conflicts = 0;
        self.previous.replace(before).map(|agreement| agreement.local.ufrag)
    }

    /// Where to send.
    pub(crate) fn selected(&self) -> Option<Path> {
        self.paths.first().filter(|_| self.is_selected).map(|valid| valid.path)
    }

    /// Whether a check authenticated this path and it has not been evicted since.
    pub(crate) fn is_validated(&self, path: Path) -> bool {
        self.paths.iter().any(|valid| valid.path == path)
    }

    /// When a check or an authentic packet last came on a valid path.
    pub(crate) fn heard_at(&self, path: Path) -> Option<Instant> {
        self.paths.iter().find(|valid| valid.path == path).map(|valid| valid.heard_at)
    }

    /// The path is another endpoint's now. If it was the selected one, nothing is selected until a path is nominated.
    pub(crate) fn forget_path(&mut self, path: Path) {
        self.is_selected &= self.selected() != Some(path);
        self.paths.retain(|valid| valid.path != path);
    }

    /// Every valid path, the selected one first.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.paths.iter().map(|valid| valid.path)
    }

    /// The ufrags of ours that a check may name: one, and a second one during a restart.
    pub(crate) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .map(|agreement| &*agreement.local.ufrag)
    }

    /// Our credentials.
    pub(crate) fn local(&self) -> &IceCredentials {
        &self.current.local
    }

    /// When consent ends unless the browser is heard again on the path we send to (RFC 7675, 5.1); before there is one,
    /// on any.
    pub(crate) fn consent_deadline(&self) -> Instant {
        let heard_at = match self.paths.first() {
            Some(selected) if self.is_selected => selected.heard_at,
            _ => self.paths.iter().map(|valid| valid.heard_at).max().unwrap_or(self.started),
        };
        heard_at + CONSENT
    }

    /// Whether consent has ended: nothing may be sent any more.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        now >= self.consent_deadline()
    }

    fn answer(&mut self, now: Instant, path: Path, message: &Message<'_>) -> Result<CheckAnswer, DropReason> {
        // A lite agent sends no checks, so no response is awaited; an indication bears no proof of who sent it, so it
        // must not prolong consent.
        if message.class() != Class::Request || message.method() != Method::BINDING {
            return Err(DropReason::StunNotARequest);
        }
        // RFC 8445, 7.1.1: FINGERPRINT is always there.
        if !message.verify_fingerprint() {
            return Err(DropReason::StunBadFingerprint);
        }
        let username = message.username();
        let is_current = username == Some(&self.current.username);
        let agreement = if is_current { Some(&self.current) } else { self.previous.as_ref() };
        let Some(agreement) = agreement.filter(|agreement| username == Some(&agreement.username)) else {
            return Err(DropReason::UnknownUfrag);
        };
        let key = agreement.local.pwd.as_bytes();
        if !message.verify_integrity(key) {
            return Err(DropReason::StunBadIntegrity);
        }
        let seen = self.seen.iter().find(|(transaction, _)| *transaction == message.transaction_id());
        if seen.is_some_and(|(_, from)| *from != path) {
            return Err(DropReason::StunReplayed);
        }
        // RFC 8489, 6.3.1: 420 for what must be understood and is not.
        if message.unknown_required(&KNOWN).next().is_some() {
            let reply = Builder::answer(message, Class::Error).error(ErrorCode::UNKNOWN_ATTRIBUTE, "");
            let reply = reply.unknown_attributes(message.unknown_required(&KNOWN)).sign(key).fingerprint();
            return Ok(CheckAnswer { reply, ..CheckAnswer::default() });
        }
        // RFC 8445, 7.3.1.1: a lite agent is always the controlled one.
        if message.attribute(AttributeKind::ICE_CONTROLLED).is_some() {
            self.role_conflicts = self.role_conflicts.saturating_add(1);
            if self.role_conflicts > ROLE_CONFLICTS_MAX {
                return Err(DropReason::StunRoleConflict);
            }
            let reply = Builder::answer(message, Class::Error).error(ErrorCode::ROLE_CONFLICT, "");
            return Ok(CheckAnswer { reply: reply.sign(key).fingerprint(), ..CheckAnswer::default() });
        }
        let reply = Builder::answer(message, Class::Success)
            .xor_address(AttributeKind::XOR_MAPPED_ADDRESS, path.remote)
            .sign(key)
            .fingerprint();
        if seen.is_some() {
            // A retransmission: the first one has already had its effect.
            return Ok(CheckAnswer { reply, ..CheckAnswer::default() });
        }
        self.remember(message.transaction_id(), path);
        let is_nominated = is_current && message.use_candidate();
        Ok(CheckAnswer { reply, ..self.accept(now, path, is_nominated) })
    }

    /// An authentic check has validated `path`, and perhaps nominated it (7.3.1.4, 7.3.1.5).
    fn accept(&mut self, now: Instant, path: Path, is_nominated: bool) -> CheckAnswer {
        let mut answer = CheckAnswer::default();
        let index = match self.paths.iter().position(|valid| valid.path == path) {
            Some(index) => index,
            None => {
                answer.is_new_path = true;
                answer.evicted = self.make_room();
                self.paths.push(ValidPath { path, heard_at: now, nominated_at: None });
                self.paths.len() - 1
            }
        };
        self.paths[index].heard_at = now;
        if is_nominated {
            self.paths[index].nominated_at = Some(now);
            answer.retired_ufrag = self.previous.take().map(|agreement| agreement.local.ufrag);
        }
        if !self.is_selected || !self.has_keys {
            answer.selected = self.select_nominated(now);
        }
        answer
    }

    /// Selects the path nominated last, if it is not the selected one already.
    fn select_nominated(&mut self, now: Instant) -> Option<Path> {
        let nominated = self.paths.iter().enumerate().filter(|(_, valid)| valid.nominated_at.is_some());
        let (index, _) = nominated.max_by_key(|(_, valid)| valid.nominated_at)?;
        if self.is_selected && index == 0 {
            return None;
        }
        self.switch(now, index)
    }

    /// Selects the path at `index`, unless the last switch was just now; then the next packet or check tries again.
    fn switch(&mut self, now: Instant, index: usize) -> Option<Path> {
        if self.switched_at.is_some_and(|at| now < at + SWITCH_INTERVAL) {
            return None;
        }
        self.paths.swap(0, index);
        // To come back, another path must be nominated anew: late packets on the one just left do not reverse the switch.
        for valid in &mut self.paths[1..] {
            valid.nominated_at = None;
        }
        self.is_selected = true;
        self.switched_at = Some(now);
        self.selected()
    }

    /// Evicts the path not heard for longest if all places are taken; never the selected one.
    fn make_room(&mut self) -> Option<Path> {
        if self.paths.len() < PATHS_MAX {
            return None;
        }
        let others = self.paths.iter().enumerate().skip(usize::from(self.is_selected));
        let (index, _) = others.min_by_key(|(_, valid)| valid.heard_at)?;
        Some(self.paths.remove(index).path)
    }

    fn remember(&mut self, transaction: TransactionId, path: Path) {
        if self.seen.len() == SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((transaction, path));
    }
}

impl Agreement {
    fn new(local: IceCredentials, remote: &IceCredentials) -> Self {
        let username = format!("{}:{}", local.ufrag, remote.ufrag);
        Self { local, username }
    }
}

/// New credentials of ours (RFC 8445, 5.3): 48 random bits of ufrag, 144 of password.
pub(crate) fn credentials(random: &mut impl CryptoRng) -> IceCredentials {
    let mut text = |length: usize| -> String {
        let mut bytes = vec![0; length];
        random.fill_bytes(&mut bytes);
        bytes.into_iter().map(|byte| char::from(ICE_CHARS[usize::from(byte % 64)])).collect()
    };
    IceCredentials { ufrag: text(UFRAG_CHARS), pwd: text(PWD_CHARS) }
}

/// RFC 8839, 5.4: 64 of them, so that six random bits choose one without bias.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const UFRAG_CHARS: usize = 8;
const PWD_CHARS: usize = 24;

/// The comprehension-required attributes of a check.
const KNOWN: [AttributeKind; 3] =
    [AttributeKind::USERNAME, AttributeKind::PRIORITY, AttributeKind::USE_CANDIDATE];

/// Two interfaces with two address families and a relay for each; what a browser leaves behind when it moves on makes
/// room.
const PATHS_MAX: usize = 8;

/// RFC 7675, 5.1: consent lasts this long after the last sign of life.
const CONSENT: Duration = Duration::from_secs(30);

/// Whoever flaps between two paths makes us send each way for at least this long.
const SWITCH_INTERVAL: Duration = Duration::from_millis(100);

/// Each conflict is answered once; a browser that goes on asking for the wrong role is not worth more.
const ROLE_CONFLICTS_MAX: u32 = 8;

/// A second of checks on all paths while they are being chosen. Older copies meet the rule about authentic packets.
const SEEN_MAX: usize = 32;

#[cfg(test)]
#[path = "ice_tests.rs"]
mod tests;

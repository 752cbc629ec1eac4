//! The controlling side of ICE towards a server that is ICE-lite (RFC 8445, 2.5): one path, checked until it is answered,
//! then for consent (RFC 7675).

use std::time::{Duration, Instant};

use wire::messages::media::IceCredentials;
use wire::stun::{AttributeKind, Builder, Class, Message, Method, TransactionId};

/// Checks of one path.
pub(crate) struct Ice {
    pub(crate) own: IceCredentials,
    remote: Option<IceCredentials>,
    number: u32,
    transactions: u32,
    next_check: Option<Instant>,
    is_connected: bool,
}

impl Ice {
    /// Credentials that tell callers apart; they protect nothing here.
    pub(crate) fn new(number: u32) -> Self {
        let own = IceCredentials { ufrag: format!("c{number:05}"), pwd: format!("caller{number:018}") };
        Self { own, remote: None, number, transactions: 0, next_check: None, is_connected: false }
    }

    pub(crate) fn start(&mut self, now: Instant, remote: IceCredentials) {
        self.remote = Some(remote);
        self.next_check = Some(now);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// RFC 8445, 7.2.5: only the answer to the last check counts, and only if the server's password signed it.
    pub(crate) fn handle_answer(&mut self, now: Instant, datagram: &[u8]) {
        let Some(remote) = &self.remote else { return };
        let Ok(message) = Message::parse(datagram) else { return };
        let is_ours = message.transaction_id() == self.transaction() && message.class() == Class::Success;
        if is_ours && message.verify_integrity(remote.pwd.as_bytes()) {
            self.is_connected = true;
            self.next_check = Some(now + CONSENT_INTERVAL);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.next_check
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, transmits: &mut Vec<Vec<u8>>) {
        let Some(remote) = self.remote.as_ref().filter(|_| self.next_check.is_some_and(|at| at <= now))
        else {
            return;
        };
        self.next_check = Some(now + RESEND_INTERVAL);
        self.transactions += 1;
        let username = format!("{}:{}", remote.ufrag, self.own.ufrag);
        let check = Builder::new(Class::Request, Method::BINDING, self.transaction())
            .attribute(AttributeKind::USERNAME, username.as_bytes())
            .attribute(AttributeKind::PRIORITY, &PRIORITY.to_be_bytes())
            .attribute(AttributeKind::ICE_CONTROLLING, &u64::from(self.number).to_be_bytes())
            .attribute(AttributeKind::USE_CANDIDATE, &[])
            .sign(remote.pwd.as_bytes())
            .fingerprint();
        transmits.push(check);
    }

    fn transaction(&self) -> TransactionId {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.number.to_be_bytes());
        id[8..].copy_from_slice(&self.transactions.to_be_bytes());
        TransactionId(id)
    }
}

/// RFC 7675, 5.1: every 5 s, and a fifth less so that callers started together do not stay together for ever.
const CONSENT_INTERVAL: Duration = Duration::from_secs(4);

/// RFC 8445, 14.3 asks for 500 ms; on loopback a lost check is a full buffer, which is empty much sooner.
const RESEND_INTERVAL: Duration = Duration::from_millis(200);

/// RFC 8445, 5.1.2: what a host candidate of a peer-reflexive path has.
const PRIORITY: u32 = 0x6e00_00ff;

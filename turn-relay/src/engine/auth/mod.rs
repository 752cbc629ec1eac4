//! Who may relay (RFC 8489, 9.2: long-term credentials).
//!
//! ```text
//! request ─▶ signed? ─▶ complete? ─▶ nonce ─▶ realm ─▶ credentials ─▶ Login
//!             401         400      438 stale   401    401 whatever is wrong with them
//! ```
//!
//! The nonce comes before the credentials: who has not shown that replies reach it makes us compute nothing but one HMAC.
//! Nothing is remembered of a stranger, and how often one is answered is the [`budget`]'s.

pub mod budget;
pub mod credentials;
pub mod nonce;
pub mod username;

use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use wire::stun::{AttributeKind, ErrorCode, Message};

use self::credentials::{Attempt, Credentials, LongTermKey};
use self::nonce::{NonceFault, NonceMint};
use self::username::Claims;
use super::drop_reason::labelled;
use super::ports::{ClientPath, ExpiryCheck};

labelled! {
    /// Why a request was not authenticated.
    AuthFailure {
        /// It came without credentials: every client's first request does.
        NoCredentials = "no_credentials",
        /// It is signed, and does not say by whom or for which realm or nonce.
        Incomplete = "incomplete",
        /// A nonce that was not minted here for this client.
        ForgedNonce = "forged_nonce",
        /// A nonce that has had its time.
        StaleNonce = "stale_nonce",
        /// Credentials for another realm.
        WrongRealm = "wrong_realm",
        /// A user name that nobody has, and that no secret could have signed.
        UnknownUser = "unknown_user",
        /// The credentials were right once.
        Expired = "expired",
        /// The signature does not fit the user name.
        BadIntegrity = "bad_integrity",
        /// Right credentials, but another user's allocation.
        WrongUser = "wrong_user",
    }
}

impl AuthFailure {
    /// What the client is told. Nothing tells whether the user exists.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Self::Incomplete => ErrorCode::BAD_REQUEST,
            Self::ForgedNonce | Self::StaleNonce => ErrorCode::STALE_NONCE,
            Self::WrongUser => ErrorCode::WRONG_CREDENTIALS,
            Self::NoCredentials
            | Self::WrongRealm
            | Self::UnknownUser
            | Self::Expired
            | Self::BadIntegrity => ErrorCode::UNAUTHENTICATED,
        }
    }
}

/// Somebody who has proven who they are.
#[derive(Debug)]
pub(crate) struct Login<'m> {
    /// As the client wrote it: an allocation belongs to exactly this name.
    pub(super) username: &'m str,
    /// Whose quotas count: the participant of the credential, or the user name.
    pub(super) user: &'m str,
    /// What the credential narrows.
    pub(super) claims: Claims<'m>,
    /// Signs the reply.
    pub(super) key: LongTermKey,
}

/// Who made the allocation that a request is about, as far as it was checked then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder<'a> {
    pub(super) username: &'a str,
    pub(super) key: LongTermKey,
    /// [`Gate::epoch`] when the key was derived.
    pub(super) epoch: u32,
}

/// The way in.
#[derive(Debug)]
pub(super) struct Gate {
    realm: String,
    nonces: NonceMint,
    credentials: Arc<Credentials>,
    /// Grows with each change of the credentials: keys derived before are derived anew.
    epoch: u32,
    expiry: ExpiryCheck,
}

/// What a request is checked by, besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) now: Instant,
    pub(super) unix_s: u64,
    pub(super) path: &'a ClientPath,
    /// Set when the request is about an allocation there is.
    pub(super) holder: Option<Holder<'a>>,
}

impl Gate {
    pub(super) fn new(
        realm: String,
        nonces: NonceMint,
        credentials: Arc<Credentials>,
        expiry: ExpiryCheck,
    ) -> Self {
        Self { realm, nonces, credentials, epoch: 0, expiry }
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Who was let in stays in only as long as the new credentials still hold them.
    pub(super) fn set_credentials(&mut self, credentials: Arc<Credentials>) {
        self.credentials = credentials;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// A nonce for the reply to a stranger.
    pub(super) fn nonce(
        &mut self,
        now: Instant,
        path: &ClientPath,
        random: &mut StdRng,
    ) -> [u8; nonce::CHARS] {
        self.nonces.mint(now, path, random)
    }

    /// Checks a request (RFC 8489, 9.2.4).
    pub(super) fn check<'m>(
        &self,
        visit: &Visit<'_>,
        message: &Message<'m>,
    ) -> Result<Login<'m>, AuthFailure> {
        // No MESSAGE-INTEGRITY: 401, with what is needed to come back.
        if !message.has_integrity() {
            return Err(AuthFailure::NoCredentials);
        }
        // Without USERNAME, REALM or NONCE beside it: 400.
        let attribute = |kind| message.attribute(kind).ok_or(AuthFailure::Incomplete);
        attribute(AttributeKind::USERNAME)?;
        let realm = attribute(AttributeKind::REALM)?;
        let nonce = attribute(AttributeKind::NONCE)?;
        // A NONCE that is no longer valid: 438. Here rather than last, see above.
        self.nonces.check(visit.now, visit.path, nonce).map_err(|fault| match fault {
            NonceFault::Forged => AuthFailure::ForgedNonce,
            NonceFault::Stale => AuthFailure::StaleNonce,
        })?;
        if realm != self.realm.as_bytes() {
            return Err(AuthFailure::WrongRealm);
        }
        // A USERNAME that is not valid: 401. 509 bytes or more, and what is no UTF-8, is nobody's.
        let username = message.username().ok_or(AuthFailure::UnknownUser)?;
        // MESSAGE-INTEGRITY must be that of the user's key: 401.
        self.check_integrity(visit, message, username)
    }

    fn check_integrity<'m>(
        &self,
        visit: &Visit<'_>,
        message: &Message<'m>,
        username: &'m str,
    ) -> Result<Login<'m>, AuthFailure> {
        let holder = visit.holder.filter(|holder| holder.username == username);
        let valid_at = match self.expiry {
            ExpiryCheck::AllocateOnly if holder.is_some() => None,
            ExpiryCheck::AllocateOnly | ExpiryCheck::Strict => Some(visit.unix_s),
        };
        let attempt = Attempt { message, username, realm: &self.realm, valid_at };
        match holder.filter(|holder| holder.epoch == self.epoch) {
            Some(holder) => self.credentials.check_again(&attempt, holder.key),
            None => self.credentials.check(&attempt),
        }
    }
}

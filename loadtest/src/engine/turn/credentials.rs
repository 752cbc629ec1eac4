//! Long-term credentials (RFC 8489, 9.2), and those that last for a while only (the TURN REST convention).

use rtc::crypto::{HashAlgorithm, default_provider};
use wire::settings::Secret;
use wire::stun::{AttributeKind, Builder, Message};

/// A user name and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnCredentials {
    /// As the server knows it; ASCII, for which SASLprep (RFC 8265) changes nothing.
    pub username: String,
    /// The same.
    pub password: String,
}

/// A password is nobody's business.
impl std::fmt::Debug for TurnCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TurnCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl TurnCredentials {
    /// What a server with this shared secret accepts until `expires_unix_s`.
    pub fn from_secret(secret: &str, expires_unix_s: u64, name: &str) -> Self {
        let (username, password) = wire::turn::mint(&Secret::from(secret.to_owned()), name, expires_unix_s);
        Self { username, password }
    }
}

/// Credentials with what the server has asked for.
#[derive(Debug)]
pub(super) struct Login {
    credentials: TurnCredentials,
    challenge: Option<Challenge>,
}

#[derive(Debug)]
struct Challenge {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    /// MD5 of user name, realm and password (RFC 8489, 9.2.2).
    key: Vec<u8>,
}

impl Login {
    pub(super) fn new(credentials: TurnCredentials) -> Self {
        Self { credentials, challenge: None }
    }

    /// The server has said whom it believes.
    pub(super) fn is_challenged(&self) -> bool {
        self.challenge.is_some()
    }

    /// Takes realm and nonce of a 401, or the new nonce of a 438; false when they are missing or longer than allowed.
    pub(super) fn take_challenge(&mut self, message: &Message<'_>) -> bool {
        let Some(nonce) = message.attribute(AttributeKind::NONCE).filter(|nonce| is_sane(nonce)) else {
            return false;
        };
        let named = message.attribute(AttributeKind::REALM);
        // 9.2.5: a 438 repeats the realm; who leaves it out means the one before.
        let before = self.challenge.as_ref().map(|challenge| challenge.realm.as_slice());
        let Some(realm) = named.or(before).filter(|realm| is_sane(realm)).map(<[u8]>::to_vec) else {
            return false;
        };
        let Some(key) = self.key(&realm) else { return false };
        self.challenge = Some(Challenge { realm, nonce: nonce.to_vec(), key });
        true
    }

    /// Adds user name, realm, nonce and signature; nothing before the first challenge (RFC 8489, 9.2.3.1).
    pub(super) fn sign(&self, message: Builder) -> Builder {
        let Some(challenge) = &self.challenge else { return message };
        message
            .attribute(AttributeKind::USERNAME, self.credentials.username.as_bytes())
            .attribute(AttributeKind::REALM, &challenge.realm)
            .attribute(AttributeKind::NONCE, &challenge.nonce)
            .sign(&challenge.key)
    }

    /// Signed with our password, or not to be signed because nobody has asked for credentials.
    pub(super) fn verifies(&self, message: &Message<'_>) -> bool {
        self.challenge.as_ref().is_none_or(|challenge| message.verify_integrity(&challenge.key))
    }

    fn key(&self, realm: &[u8]) -> Option<Vec<u8>> {
        let TurnCredentials { username, password } = &self.credentials;
        let text = [username.as_bytes(), b":", realm, b":", password.as_bytes()].concat();
        default_provider().ok()?.crypto().hash(HashAlgorithm::Md5, &text).ok()
    }
}

/// RFC 8489, 14.9 and 14.10: fewer than 128 characters, so at most 763 bytes.
fn is_sane(value: &[u8]) -> bool {
    (1..=763).contains(&value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let credentials = TurnCredentials::from_secret("north", 1_700_000_000, "caller-7");
        assert_eq!(credentials.username, "1700000000:caller-7");
        assert!(!format!("{credentials:?}").contains(&credentials.password));
    }

    #[test]
    fn the_key_is_that_of_rfc_5769() {
        let credentials =
            TurnCredentials { username: "マトリックス".to_owned(), password: "TheMatrIX".to_owned() };
        let key = Login::new(credentials).key(b"example.org").unwrap();
        let expected: Vec<u8> =
            (0..16).map(|at| u8::from_str_radix(&KEY[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert_eq!(key, expected);
    }

    /// RFC 5769, 2.4.
    const KEY: &str = "e8ca7ad59d5eb0518e312911d2dab2a9";
}

//! What a client must know: a password that a shared secret makes of its user name, or that of a listed user.

use foldhash::HashMap;
use md5::{Digest, Md5};
use wire::settings::Secret;
use wire::stun::Message;
use wire::turn::SharedSecret;

use super::username::{Claims, RestUsername};
use super::{AuthFailure, Login};

/// MD5 of user name, realm and password (RFC 8489, 9.2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LongTermKey(pub(crate) [u8; 16]);

impl std::fmt::Debug for LongTermKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LongTermKey")
    }
}

/// All secrets and users; a change makes a new one.
#[derive(Debug, Default)]
pub struct Credentials {
    /// Any of them may have signed a name: the next one is added before the last one is taken away.
    secrets: Vec<SharedSecret>,
    /// Passwords by user name.
    users: HashMap<String, Secret>,
}

/// A signed request to be judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a, 'm> {
    pub(crate) message: &'a Message<'m>,
    pub(crate) username: &'m str,
    pub(crate) realm: &'a str,
    /// Seconds since 1970 that the credentials must still reach; `None`: they were checked when it mattered.
    pub(crate) valid_at: Option<u64>,
}

impl Credentials {
    /// Secrets of the REST convention, in any order, and users with passwords. Names and passwords are taken as they
    /// are: for ASCII, which settings should insist on, OpaqueString (RFC 8265, 4.2) changes nothing.
    pub fn new(secrets: &[Secret], users: impl IntoIterator<Item = (String, Secret)>) -> Self {
        Self { secrets: secrets.iter().map(SharedSecret::new).collect(), users: users.into_iter().collect() }
    }

    /// Whether anybody could log in.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.users.is_empty()
    }

    /// Judges a request of somebody not seen before. The work is the same for a user that exists and for one that does
    /// not, so that its time tells nothing: one key for each secret, and one of a listed user or of nobody.
    pub(crate) fn check<'m>(&self, attempt: &Attempt<'_, 'm>) -> Result<Login<'m>, AuthFailure> {
        let Attempt { message, username, realm, .. } = *attempt;
        let rest = RestUsername::parse(username);
        let mut signed_with = None;
        for secret in &self.secrets {
            let key = long_term_key(username, realm, &secret.password(username));
            if message.verify_integrity(&key.0) {
                signed_with = Some(key);
            }
        }
        let listed = self.users.get(username);
        let password = listed.map_or("", Secret::expose);
        let key = long_term_key(username, realm, password);
        if message.verify_integrity(&key.0) && listed.is_some() {
            return Ok(Login { username, user: username, claims: Claims::default(), key });
        }
        let Some(rest) = rest else {
            return Err(if listed.is_some() { AuthFailure::BadIntegrity } else { AuthFailure::UnknownUser });
        };
        let key = signed_with.ok_or(AuthFailure::BadIntegrity)?;
        login(attempt, &rest, key)
    }

    /// Judges a request of somebody whose key was derived from these very credentials.
    pub(crate) fn check_again<'m>(
        &self,
        attempt: &Attempt<'_, 'm>,
        key: LongTermKey,
    ) -> Result<Login<'m>, AuthFailure> {
        if !attempt.message.verify_integrity(&key.0) {
            return Err(AuthFailure::BadIntegrity);
        }
        let username = attempt.username;
        match RestUsername::parse(username).filter(|_| !self.users.contains_key(username)) {
            Some(rest) => login(attempt, &rest, key),
            None => Ok(Login { username, user: username, claims: Claims::default(), key }),
        }
    }
}

/// A REST name whose signature was right: is it still valid?
fn login<'m>(
    attempt: &Attempt<'_, 'm>,
    rest: &RestUsername<'m>,
    key: LongTermKey,
) -> Result<Login<'m>, AuthFailure> {
    if attempt.valid_at.is_some_and(|unix_s| unix_s >= rest.expires_unix_s) {
        return Err(AuthFailure::Expired);
    }
    let username = attempt.username;
    // A name that is only an expiry is at least not shared with other expiries.
    let user = if rest.user.is_empty() { username } else { rest.user };
    Ok(Login { username, user, claims: rest.claims, key })
}

fn long_term_key(username: &str, realm: &str, password: &str) -> LongTermKey {
    let digest = Md5::new()
        .chain_update(username)
        .chain_update(":")
        .chain_update(realm)
        .chain_update(":")
        .chain_update(password)
        .finalize();
    LongTermKey(digest.into())
}

#[cfg(test)]
mod tests {
    use wire::stun::{AttributeKind, Builder, Class, Method, TransactionId};

    use super::*;

    const REALM: &str = "example.org";

    fn request(username: &str, key: LongTermKey) -> Vec<u8> {
        Builder::new(Class::Request, Method::ALLOCATE, TransactionId([3; 12]))
            .attribute(AttributeKind::USERNAME, username.as_bytes())
            .sign(&key.0)
            .finish()
    }

    fn rest_key(secret: &str, username: &str) -> LongTermKey {
        let secret = SharedSecret::new(&Secret::from(secret.to_owned()));
        long_term_key(username, REALM, &secret.password(username))
    }

    fn check(credentials: &Credentials, username: &str, key: LongTermKey) -> Result<String, AuthFailure> {
        let bytes = request(username, key);
        let message = Message::parse(&bytes).unwrap();
        let attempt = Attempt { message: &message, username, realm: REALM, valid_at: Some(1_000) };
        credentials.check(&attempt).map(|login| login.user.to_owned())
    }

    #[test]
    fn the_key_is_that_of_rfc_5769() {
        let key = long_term_key("マトリックス", REALM, "TheMatrIX");
        assert_eq!(key.0[..4], [0xe8, 0xca, 0x7a, 0xd5]);
        assert_eq!(key.0[12..], [0xd2, 0xda, 0xb2, 0xa9]);
    }

    #[test]
    fn each_of_two_secrets_and_a_listed_user_are_let_in() {
        let secrets = ["one".to_owned(), "two".to_owned()].map(Secret::from);
        let users = [("ada".to_owned(), Secret::from("lovelace".to_owned()))];
        let credentials = Credentials::new(&secrets, users);
        for secret in ["one", "two"] {
            let key = rest_key(secret, "2000:ben");
            assert_eq!(check(&credentials, "2000:ben", key), Ok("ben".to_owned()), "{secret}");
        }
        assert_eq!(check(&credentials, "ada", long_term_key("ada", REALM, "lovelace")), Ok("ada".to_owned()));
    }

    #[test]
    fn everything_else_is_refused_under_its_cause() {
        let secrets = ["one".to_owned()].map(Secret::from);
        let users = [("ada".to_owned(), Secret::from("lovelace".to_owned()))];
        let credentials = Credentials::new(&secrets, users);
        for (username, key, cause) in [
            ("ada", long_term_key("ada", REALM, "wrong"), AuthFailure::BadIntegrity),
            ("eve", long_term_key("eve", REALM, ""), AuthFailure::UnknownUser),
            ("eve", rest_key("one", "eve"), AuthFailure::UnknownUser),
            ("2000:ben", rest_key("two", "2000:ben"), AuthFailure::BadIntegrity),
            ("2000:ben", rest_key("one", "2000:eve"), AuthFailure::BadIntegrity),
            ("1000:ben", rest_key("one", "1000:ben"), AuthFailure::Expired),
            ("2000:a:b:c", rest_key("one", "2000:a:b:c"), AuthFailure::UnknownUser),
        ] {
            assert_eq!(check(&credentials, username, key), Err(cause), "{username}");
        }
        let nobody = Credentials::default();
        assert!(nobody.is_empty());
        assert_eq!(check(&nobody, "", long_term_key("", REALM, "")), Err(AuthFailure::UnknownUser));
    }
}

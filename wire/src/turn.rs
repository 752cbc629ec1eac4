//! The TURN REST convention: user names that end by themselves, and the passwords that a shared secret makes of them.
//!
//! ```text
//! username = <unix expiry>[:<user>[;<claims>]]          password = base64(HMAC-SHA1(secret, username))
//! ```
//!
//! Whoever has the secret mints, whoever has the secret checks, and nothing is stored. It never became an RFC; relays
//! know it all the same, coturn as `use-auth-secret`, which is why the digest is SHA-1.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::settings::Secret;

/// What a relay shares with those who mint credentials for it.
#[derive(Clone)]
pub struct SharedSecret(hmac::Key);

impl SharedSecret {
    /// Ready to sign, which is less work than to begin with the text each time.
    pub fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes()))
    }

    /// The password that belongs to a user name, whatever the name says.
    pub fn password(&self, username: &str) -> String {
        BASE64.encode(hmac::sign(&self.0, username.as_bytes()))
    }

    /// User name and password for `user`, good until `expires_unix_s` (seconds since 1970). An empty `user` makes a name
    /// that is an expiry and nothing else.
    pub fn mint(&self, user: &str, expires_unix_s: u64) -> (String, String) {
        let username =
            if user.is_empty() { expires_unix_s.to_string() } else { format!("{expires_unix_s}:{user}") };
        let password = self.password(&username);
        (username, password)
    }
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret")
    }
}

/// The same in one call, for whoever mints once.
pub fn mint(secret: &Secret, user: &str, expires_unix_s: u64) -> (String, String) {
    SharedSecret::new(secret).mint(user, expires_unix_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_secret_makes_the_known_password() {
        // Computed by hand: printf '1700000000:caller-7' | openssl dgst -sha1 -hmac north -binary | base64
        let secret = Secret::from("north".to_owned());
        let (username, password) = mint(&secret, "caller-7", 1_700_000_000);
        assert_eq!(username, "1700000000:caller-7");
        assert_eq!(password, "pgcY+5kaHQGQ/s1uMZId1jXlne4=");
        assert_eq!(SharedSecret::new(&secret).password(&username), password);
    }

    #[test]
    fn a_name_without_a_user_is_its_expiry() {
        let secret = Secret::from("north".to_owned());
        let (username, password) = mint(&secret, "", 1_700_000_000);
        assert_eq!(username, "1700000000");
        assert_ne!(password, mint(&secret, "", 1_700_000_001).1);
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("canary-canary".to_owned());
        assert!(!format!("{:?}", SharedSecret::new(&secret)).contains("canary"));
    }
}

//! User names of the TURN REST convention, with claims that narrow what they allow.
//!
//! ```text
//! 1767225600:4a5b6c7d;b=bridge-1;q=4;r=2000
//! └ expiry ─┘└ user ─┘└ claims ───────────┘   all of it signed by the password, which is an HMAC of it
//! ```
//!
//! A claim that is not understood makes the whole name worthless: whoever wrote it meant to allow less.

/// What a credential narrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claims<'a> {
    /// `b=`: only this bridge is reached.
    pub bridge: Option<&'a str>,
    /// `q=`: no more allocations than this, whatever the limit.
    pub allocations_max: Option<u32>,
    /// `r=`: no more kbit/s than this, whatever the limit.
    pub kbit_per_s: Option<u32>,
}

/// A user name that a shared secret can have signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestUsername<'a> {
    /// Seconds since 1970 at which it ends.
    pub expires_unix_s: u64,
    /// Whose it is; empty if it does not say.
    pub user: &'a str,
    /// What it narrows.
    pub claims: Claims<'a>,
}

impl<'a> RestUsername<'a> {
    /// Reads a name, if it is of this form.
    pub fn parse(username: &'a str) -> Option<Self> {
        if username.chars().any(char::is_control) || username.matches(':').count() > COLONS_MAX {
            return None;
        }
        let (name, claims) = match username.split_once(';') {
            Some((name, claims)) => (name, Claims::parse(claims)?),
            None => (username, Claims::default()),
        };
        let (expiry, user) = name.split_once(':').unwrap_or((name, ""));
        Some(Self { expires_unix_s: number(expiry, EXPIRY_DIGITS_MAX)?, user, claims })
    }
}

impl<'a> Claims<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut claims = Self::default();
        for claim in text.split(';') {
            let (key, value) = claim.split_once('=')?;
            let count = || u32::try_from(number(value, COUNT_DIGITS_MAX)?).ok();
            let is_repeated = match key {
                "b" if !value.is_empty() => claims.bridge.replace(value).is_some(),
                "q" => claims.allocations_max.replace(count()?).is_some(),
                "r" => claims.kbit_per_s.replace(count()?).is_some(),
                _ => return None,
            };
            if is_repeated {
                return None;
            }
        }
        Some(claims)
    }
}

/// Digits and nothing else: `parse` alone would take a sign.
fn number(text: &str, digits_max: usize) -> Option<u64> {
    if text.is_empty() || text.len() > digits_max || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// One behind the expiry, and one in a user name such as `@ada:example.org`.
const COLONS_MAX: usize = 2;

/// The year 5138; more is a mistake or an attempt at an overflow.
const EXPIRY_DIGITS_MAX: usize = 11;

/// Fits 32 bits.
const COUNT_DIGITS_MAX: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_expiry_and_perhaps_a_user_and_claims() {
        let plain = |expires_unix_s, user| RestUsername { expires_unix_s, user, claims: Claims::default() };
        assert_eq!(RestUsername::parse("1767225600"), Some(plain(1_767_225_600, "")));
        assert_eq!(RestUsername::parse("1767225600:0a1b2c3d"), Some(plain(1_767_225_600, "0a1b2c3d")));
        assert_eq!(RestUsername::parse("1:@ada:example.org"), Some(plain(1, "@ada:example.org")));
        let narrowed = RestUsername::parse("1:ada;b=bridge-1;q=4;r=2000").unwrap();
        assert_eq!(narrowed.user, "ada");
        let claims = Claims { bridge: Some("bridge-1"), allocations_max: Some(4), kbit_per_s: Some(2_000) };
        assert_eq!(narrowed.claims, claims);
    }

    #[test]
    fn a_name_that_could_mean_more_than_it_was_written_for_is_none() {
        for name in [
            "",
            "ada",
            ":ada",
            "-1:ada",
            "+1:ada",
            " 1:ada",
            "1.5:ada",
            "9223372036854775808:ada",
            "123456789012:ada",
            "1:a:b:c",
            "1:a\0da",
            "1:ada\n",
            "1:ada;",
            "1:ada;x=1",
            "1:ada;b=",
            "1:ada;q=",
            "1:ada;q=-1",
            "1:ada;q=4294967296",
            "1:ada;q=1;q=2",
            "1:ada;b",
        ] {
            assert_eq!(RestUsername::parse(name), None, "{name:?}");
        }
    }
}

//! How to reach and to recognise the writer of a description: ICE credentials (RFC 8839, 5.4), certificate digests
//! (RFC 8122, 5) and who opens DTLS (RFC 8842, 5.3). They stand at session level or in an m-section.

use std::fmt;

use super::Reason;
use crate::messages::media::Fingerprint;

/// The transport attributes of a session or of one m-section.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Transport {
    /// `a=ice-ufrag`.
    pub ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub pwd: Option<String>,
    /// `a=ice-options`, as they came: `trickle`, `ice2`, `renomination`.
    pub ice_options: Vec<String>,
    /// `a=fingerprint`: algorithm in lower case, hexadecimal in upper case. The hash may be one nobody knows.
    pub fingerprints: Vec<Fingerprint>,
    /// `a=setup`.
    pub setup: Option<Setup>,
}

/// Who opens the DTLS association (RFC 4145, 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The writer opens.
    Active,
    /// The writer waits.
    Passive,
    /// Either; the answerer chooses.
    ActPass,
    /// Nobody for now.
    HoldConnection,
}

/// Digests kept: a certificate has one for each hash in use, and there are four.
const FINGERPRINTS_MAX: usize = 8;

impl Transport {
    /// Reads `name` if it is one of ours; anything else is nobody's and skipped.
    pub(super) fn read_attribute(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        match name {
            "ice-ufrag" => self.ufrag = Some(super::token(value, "a=ice-ufrag is not one word")?),
            "ice-pwd" => self.pwd = Some(super::token(value, "a=ice-pwd is not one word")?),
            "ice-options" => {
                self.ice_options = value.split_ascii_whitespace().map(str::to_owned).collect();
            }
            "fingerprint" if self.fingerprints.len() == FINGERPRINTS_MAX => {
                return Err("too many fingerprints");
            }
            "fingerprint" => self.fingerprints.push(fingerprint(value)?),
            "setup" => self.setup = Some(Setup::from_name(value).ok_or("an unknown value of a=setup")?),
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ufrag) = &self.ufrag {
            write!(f, "a=ice-ufrag:{ufrag}\r\n")?;
        }
        if let Some(pwd) = &self.pwd {
            write!(f, "a=ice-pwd:{pwd}\r\n")?;
        }
        if !self.ice_options.is_empty() {
            write!(f, "a=ice-options:{}\r\n", self.ice_options.join(" "))?;
        }
        for fingerprint in &self.fingerprints {
            write!(f, "a=fingerprint:{} {}\r\n", fingerprint.algorithm, fingerprint.value)?;
        }
        match self.setup {
            Some(setup) => write!(f, "a=setup:{}\r\n", setup.name()),
            None => Ok(()),
        }
    }
}

/// Never shows the password: descriptions end up in error chains and in logs.
impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("ufrag", &self.ufrag)
            .field("has_pwd", &self.pwd.is_some())
            .field("ice_options", &self.ice_options)
            .field("fingerprints", &self.fingerprints)
            .field("setup", &self.setup)
            .finish()
    }
}

impl Setup {
    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConnection => "holdconn",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Passive, Self::ActPass, Self::HoldConnection]
            .into_iter()
            .find(|it| it.name() == name)
    }
}

fn fingerprint(value: &str) -> Result<Fingerprint, Reason> {
    let Some((algorithm, digest)) = value.split_once(|character: char| character.is_ascii_whitespace())
    else {
        return Err("a=fingerprint has two fields");
    };
    let digest = digest.trim_ascii();
    if !digest.split(':').all(|byte| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit())) {
        return Err("a fingerprint is hexadecimal bytes with colons between them");
    }
    Ok(Fingerprint { algorithm: algorithm.to_ascii_lowercase(), value: digest.to_ascii_uppercase() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&str, &str)]) -> Result<Transport, Reason> {
        let mut transport = Transport::default();
        lines.iter().try_for_each(|(name, value)| transport.read_attribute(name, value))?;
        Ok(transport)
    }

    #[test]
    fn digests_of_either_case_read_alike() {
        let upper = read(&[("fingerprint", "SHA-256 AB:CD")]).unwrap();
        assert_eq!(upper, read(&[("fingerprint", "sha-256  ab:cd")]).unwrap());
        assert_eq!(upper.to_string(), "a=fingerprint:sha-256 AB:CD\r\n");
    }

    #[test]
    fn a_digest_that_is_none_is_refused() {
        for bad in
            ["", "sha-256", "sha-256 ", "sha-256 ABCD", "sha-256 AB:", "sha-256 AB:G0", "sha-256 AB:CD EF"]
        {
            assert!(read(&[("fingerprint", bad)]).is_err(), "{bad:?}");
        }
        assert!(read(&[("fingerprint", "sha-256 AB"); FINGERPRINTS_MAX]).is_ok());
        assert!(read(&[("fingerprint", "sha-256 AB"); FINGERPRINTS_MAX + 1]).is_err());
    }

    #[test]
    fn debugging_never_shows_the_password() {
        let transport =
            read(&[("ice-ufrag", "abcd"), ("ice-pwd", "correct horse".trim_end_matches(" horse"))]).unwrap();
        assert!(!format!("{transport:?}").contains("correct"));
    }

    #[test]
    fn an_unknown_role_is_refused() {
        assert!(read(&[("setup", "maybe")]).is_err());
        assert_eq!(read(&[("setup", "actpass")]).unwrap().setup, Some(Setup::ActPass));
    }
}

//! `application/trickle-ice-sdpfrag` (RFC 8840, 9): the few lines of SDP that a WHIP or WHEP `PATCH` carries.

use std::fmt::Write;

use wire::messages::ids::Mid;
use wire::messages::media::{IceCredentials, MediaKind, TransportParameters};

/// Candidates in one fragment; a browser has one per address and transport.
const CANDIDATES_MAX: usize = 40;
/// RFC 8839, 5.4: shorter ones can be guessed.
const UFRAG_CHARS: std::ops::RangeInclusive<usize> = 4..=255;
/// RFC 8839, 5.4.
const PWD_CHARS: std::ops::RangeInclusive<usize> = 22..=256;

/// What a fragment says, as far as a bridge that is ICE-lite wants to know.
#[derive(Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The sender's credentials; they name the ICE generation of its candidates.
    pub ice: Option<IceCredentials>,
}

/// Reads a fragment. Candidates are counted and not looked at: nothing of them is ever resolved or sent to.
///
/// # Errors
/// What is not a fragment, for a person; never a word of it.
pub fn parse(text: &str) -> Result<Fragment, &'static str> {
    let (mut ufrag, mut pwd, mut candidates) = (None, None, 0);
    for line in text.lines().filter(|line| !line.is_empty()) {
        let Some((kind, value)) = line.split_once('=') else { return Err("a line without =") };
        let attribute = match kind {
            "a" => value,
            "m" => continue,
            _ => return Err("a line that is neither a= nor m="),
        };
        match attribute.split_once(':') {
            Some(("ice-ufrag", value)) => ufrag = Some(checked(value, &UFRAG_CHARS)?),
            Some(("ice-pwd", value)) => pwd = Some(checked(value, &PWD_CHARS)?),
            Some(("candidate", _)) => candidates += 1,
            _ => {}
        }
        if candidates > CANDIDATES_MAX {
            return Err("more than 40 candidates");
        }
    }
    match (ufrag, pwd) {
        (Some(ufrag), Some(pwd)) => Ok(Fragment { ice: Some(IceCredentials { ufrag, pwd }) }),
        (None, None) => Ok(Fragment { ice: None }),
        _ => Err("ice-ufrag and ice-pwd go together"),
    }
}

/// Writes the bridge's half of an ICE restart, for the m-line that carries the transport of all.
pub(crate) fn write(media: Option<&(Mid, MediaKind)>, transport: &TransportParameters) -> String {
    let mut text = String::from("a=ice-lite\r\n");
    // Writing to a String cannot fail.
    let _ = write!(text, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", transport.ice.ufrag, transport.ice.pwd);
    if let Some((mid, kind)) = media {
        let kind = if *kind == MediaKind::Audio { "audio" } else { "video" };
        let _ = write!(text, "m={kind} 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n");
    }
    for (index, candidate) in transport.candidates.iter().enumerate() {
        let (priority, ip, port) = (candidate.priority, candidate.address.ip(), candidate.address.port());
        let _ = write!(text, "a=candidate:{} 1 udp {priority} {ip} {port} typ host\r\n", index + 1);
    }
    text.push_str("a=end-of-candidates\r\n");
    text
}

/// RFC 8839, 5.4: ice-chars only.
fn checked(value: &str, length: &std::ops::RangeInclusive<usize>) -> Result<String, &'static str> {
    let is_text = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    if is_text && length.contains(&value.len()) { Ok(value.to_owned()) } else { Err("not ICE credentials") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PWD: &str = "0123456789abcdefghijkl";

    #[test]
    fn credentials_are_found_in_a_fragment() {
        let text = format!(
            "a=ice-ufrag:EsAw\r\na=ice-pwd:{PWD}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
             a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\na=end-of-candidates\r\n"
        );
        let ice = IceCredentials { ufrag: "EsAw".to_owned(), pwd: PWD.to_owned() };
        assert_eq!(parse(&text), Ok(Fragment { ice: Some(ice) }));
        assert_eq!(parse("m=audio 9 RTP/AVP 0\na=mid:0\n"), Ok(Fragment { ice: None }));
    }

    #[test]
    fn a_bad_fragment_is_refused() {
        let many = "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n".repeat(CANDIDATES_MAX + 1);
        let short = format!("a=ice-ufrag:abc\na=ice-pwd:{PWD}\n");
        for bad in ["garbage", "v=0\r\n", "a=ice-ufrag:EsAw\r\n", "a=ice-pwd:short\r\n", &many, &short] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}

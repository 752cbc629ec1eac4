//! `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` (RFC 8866, 6.6 and 6.15; RFC 4585, 4.2): what a payload type means. The lines
//! come in any order (Firefox writes `fmtp` first), so all of them are kept by the payload types of the m-line.

use std::fmt;

use super::{Reason, number, words};

/// One payload type of an m-line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// 0 to 127.
    pub payload_type: u8,
    /// `a=rtpmap`; static payload types may come without.
    pub encoding: Option<Encoding>,
    /// `a=fmtp`, as it came; empty without the line.
    pub parameters: String,
    /// `a=rtcp-fb`, in order: `nack`, `nack pli`, `ccm fir`, …
    pub feedback: Vec<String>,
}

/// A codec as `a=rtpmap` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// As it came; names compare without case.
    pub name: String,
    /// Ticks a second.
    pub clock_rate_hz: u32,
    /// Audio channels, where the line names them.
    pub channels: Option<u8>,
}

/// Feedback kinds kept for one payload type: browsers have five.
const FEEDBACK_MAX: usize = 16;

impl Payload {
    /// A `name=value` of the `fmtp` line; names compare without case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim_ascii().eq_ignore_ascii_case(name).then_some(value.trim_ascii())
        })
    }

    /// The encoding is `name`, whatever its case.
    pub fn is(&self, name: &str) -> bool {
        self.encoding.as_ref().is_some_and(|encoding| encoding.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn add_feedback(list: &mut Vec<String>, kind: &str) -> Result<(), Reason> {
        if kind.is_empty() {
            return Err("a=rtcp-fb names no feedback");
        }
        if list.len() == FEEDBACK_MAX {
            return Err("too many a=rtcp-fb lines for one payload type");
        }
        list.push(words(kind));
        Ok(())
    }
}

impl Encoding {
    pub(super) fn parse(value: &str) -> Result<Self, Reason> {
        let mut fields = value.split('/');
        let (Some(name), Some(clock_rate), channels, None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("a=rtpmap is not <name>/<clock rate>[/<channels>]");
        };
        Ok(Self {
            name: super::token(name, "a=rtpmap names no encoding")?,
            clock_rate_hz: number(clock_rate).ok_or("a clock rate is not a number")?,
            channels: channels
                .map(|text| number(text).ok_or("a channel count is not a number"))
                .transpose()?,
        })
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload_type = self.payload_type;
        if let Some(encoding) = &self.encoding {
            write!(f, "a=rtpmap:{payload_type} {}/{}", encoding.name, encoding.clock_rate_hz)?;
            if let Some(channels) = encoding.channels {
                write!(f, "/{channels}")?;
            }
            f.write_str("\r\n")?;
        }
        for kind in &self.feedback {
            write!(f, "a=rtcp-fb:{payload_type} {kind}\r\n")?;
        }
        if self.parameters.is_empty() {
            return Ok(());
        }
        write!(f, "a=fmtp:{payload_type} {}\r\n", self.parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_whatever_its_case_and_spacing() {
        let parameters =
            "level-asymmetry-allowed=1; Packetization-Mode = 1;profile-level-id=42e01f".to_owned();
        let payload = Payload { parameters, ..Payload::default() };
        assert_eq!(payload.parameter("packetization-mode"), Some("1"));
        assert_eq!(payload.parameter("profile-level-id"), Some("42e01f"));
        assert_eq!(payload.parameter("mode"), None);
    }

    #[test]
    fn an_encoding_that_is_none_is_refused() {
        for bad in ["", "VP8", "/90000", "VP8/", "VP8/-1", "VP8/90000/", "opus/48000/300", "opus/48000/2/1"] {
            assert!(Encoding::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Encoding::parse("opus/48000/2").unwrap().channels, Some(2));
    }
}

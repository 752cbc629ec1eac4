//! SDP as browsers and WHIP clients send it, read into types and written back (RFC 8866, profiled by RFC 8829).
//!
//! ```text
//!   v= o= s= t= a=group a=fingerprint …      Sdp { origin, bundle, transport, … }
//!   m=audio … a=mid a=rtpmap a=ssrc …        Sdp.medias[0]: MediaSection { payloads, extensions, … }
//!   m=video … a=rid a=simulcast …            Sdp.medias[1]
//! ```
//!
//! One description walks through [`parse`] line by line: the line's letter chooses session or section, an attribute's
//! name chooses the file that knows it ([`candidate`], [`extension`], [`payload`], [`stream`], [`transport`]); what
//! this subset does not name is skipped. [`Sdp`]'s `Display` writes the same values in one fixed order, so that
//! writing what was read, and reading what was written, changes nothing.
//!
//! Invariants: no value here was taken from more than [`BYTES_MAX`] bytes, none contains a control character, so none
//! can smuggle a second line into what we write; an address is a literal, so nothing ever asks the DNS.
//!
//! Knows nothing about offers and answers, codecs we like, or bridges: that is signaling's `negotiate`.

pub mod candidate;
pub mod extension;
mod media;
pub mod payload;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod transport;

use std::fmt;
use std::net::IpAddr;

pub use self::candidate::{Candidate, CandidateKind};
pub use self::extension::ExtensionMap;
pub use self::media::{MediaSection, MediaType};
pub use self::payload::{Encoding, Payload};
pub use self::stream::{Alternative, Msid, RidLine, Simulcast, SsrcGroup, SsrcLine};
pub use self::transport::{Setup, Transport};

/// Longest description, in bytes. The largest real one, Chromium's with every codec on fifteen m-lines, is 56 KiB, and
/// the message that carries it may have 64 KiB.
pub const BYTES_MAX: usize = 64 * 1024;

/// Most lines: Chromium needs about 120 for an m-line with every codec, 1,800 for a whole meeting.
pub const LINES_MAX: usize = 4096;

/// Most m-lines: a meeting offers 15, and each costs its reader time and its bridge a source or a slot.
pub const MEDIAS_MAX: usize = 64;

/// Why a line cannot be read. Static, so that an error can never repeat a password, an address or a name.
pub type Reason = &'static str;

/// A description that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct SdpError {
    /// Counted from 1.
    pub line: usize,
    /// For a person.
    pub reason: Reason,
}

/// A session description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sdp {
    /// `o=`: which description this is.
    pub origin: Origin,
    /// `c=` for each section that has none of its own, when it is a literal address.
    pub connection: Option<IpAddr>,
    /// `a=group:BUNDLE` (RFC 9143): the mids that share one transport, the tagged one first. `None` without the line.
    pub bundle: Option<Vec<String>>,
    /// `a=ice-lite` (RFC 8839, 5.3).
    pub is_ice_lite: bool,
    /// `a=extmap-allow-mixed` for every section (RFC 8285, 6).
    pub allows_mixed_extensions: bool,
    /// A direction for each section that has none of its own.
    pub direction: Option<Direction>,
    /// Transport attributes for each section that has none of its own.
    pub transport: Transport,
    /// The m-lines, in order.
    pub medias: Vec<MediaSection>,
}

/// The two numbers of `o=` that anybody compares (RFC 8866, 5.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// Chosen once for a session.
    pub session_id: u64,
    /// Grows with each description of the session.
    pub version: u64,
}

/// Which way media flows, from the side of whoever wrote the description (RFC 8866, 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    SendReceive,
    /// From the writer only.
    SendOnly,
    /// To the writer only.
    ReceiveOnly,
    /// Neither.
    Inactive,
}

/// Reads a description; LF alone ends a line as well as CR LF does.
///
/// # Errors
/// The first line that breaks its syntax or a limit of this module.
pub fn parse(text: &str) -> Result<Sdp, SdpError> {
    if text.len() > BYTES_MAX {
        return Err(SdpError { line: 1, reason: "the description is longer than 64 KiB" });
    }
    let mut reader = Reader::default();
    let mut line = 0;
    for content in text.split('\n') {
        line += 1;
        if line > LINES_MAX {
            return Err(SdpError { line, reason: "too many lines" });
        }
        let content = content.strip_suffix('\r').unwrap_or(content);
        reader.read_line(content).map_err(|reason| SdpError { line, reason })?;
    }
    if !reader.has_origin {
        return Err(SdpError { line, reason: "there is no o= line" });
    }
    Ok(reader.sdp)
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    sdp: Sdp,
    has_version: bool,
    has_origin: bool,
}

impl Reader {
    fn read_line(&mut self, content: &str) -> Result<(), Reason> {
        // Some clients end with an empty line.
        if content.is_empty() {
            return Ok(());
        }
        if content.chars().any(|character| character.is_control() && character != '\t') {
            return Err("a control character");
        }
        let Some((kind, value)) = content.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
            return Err("not a line of the form x=…");
        };
        if !self.has_version && kind != "v" {
            return Err("the first line is not v=0");
        }
        match kind {
            "v" if self.has_version || value != "0" => return Err("v=0 stands on the first line, once"),
            "v" => self.has_version = true,
            "o" => self.read_origin(value)?,
            "m" if self.sdp.medias.len() == MEDIAS_MAX => return Err("too many m-lines"),
            "m" => self.sdp.medias.push(MediaSection::parse(value)?),
            "c" => self.read_connection(value),
            "a" => self.read_attribute(value)?,
            // Names, bandwidths, times and keys of the kind RFC 8866 calls obsolete: nothing here depends on them.
            _ => {}
        }
        Ok(())
    }

    fn read_origin(&mut self, value: &str) -> Result<(), Reason> {
        if self.has_origin || !self.sdp.medias.is_empty() {
            return Err("o= stands once, before the m-lines");
        }
        self.sdp.origin = Origin::parse(value)?;
        self.has_origin = true;
        Ok(())
    }

    /// `c=` (RFC 8866, 5.7): a literal address, or nothing. A host name stays a name nobody looks up.
    fn read_connection(&mut self, value: &str) {
        let address = value.split_ascii_whitespace().nth(2).and_then(|address| address.parse().ok());
        match self.sdp.medias.last_mut() {
            Some(media) => media.connection = address,
            None => self.sdp.connection = address,
        }
    }

    fn read_attribute(&mut self, attribute: &str) -> Result<(), Reason> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim_ascii();
        let Some(media) = self.sdp.medias.last_mut() else { return self.sdp.read_attribute(name, value) };
        media.read_attribute(name, value)?;
        if name == "mid" { self.check_mid() } else { Ok(()) }
    }

    /// RFC 5888, 4: a mid names one m-line.
    fn check_mid(&self) -> Result<(), Reason> {
        let Some((last, before)) = self.sdp.medias.split_last() else { return Ok(()) };
        if before.iter().any(|media| media.mid == last.mid) {
            Err("two m-lines have this mid")
        } else {
            Ok(())
        }
    }
}

impl Sdp {
    fn read_attribute(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        match name {
            "group" => {
                let mut words = value.split_ascii_whitespace();
                // Other semantics (lip sync) change nothing here; a second bundle would be a second transport, and
                // whoever wants one transport finds its m-lines missing in the first.
                if words.next() == Some("BUNDLE") && self.bundle.is_none() {
                    self.bundle = Some(words.map(str::to_owned).collect());
                }
            }
            "ice-lite" => self.is_ice_lite = true,
            "extmap-allow-mixed" => self.allows_mixed_extensions = true,
            _ => match Direction::from_name(name) {
                Some(direction) => self.direction = Some(direction),
                None => self.transport.read_attribute(name, value)?,
            },
        }
        Ok(())
    }
}

impl fmt::Display for Sdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v=0\r\no=- {} {} IN IP4 0.0.0.0\r\n", self.origin.session_id, self.origin.version)?;
        f.write_str("s=-\r\n")?;
        write_connection(f, self.connection)?;
        f.write_str("t=0 0\r\n")?;
        if let Some(bundle) = &self.bundle {
            f.write_str("a=group:BUNDLE")?;
            bundle.iter().try_for_each(|mid| write!(f, " {mid}"))?;
            f.write_str("\r\n")?;
        }
        if self.is_ice_lite {
            f.write_str("a=ice-lite\r\n")?;
        }
        if self.allows_mixed_extensions {
            f.write_str("a=extmap-allow-mixed\r\n")?;
        }
        if let Some(direction) = self.direction {
            write!(f, "a={}\r\n", direction.name())?;
        }
        write!(f, "{}", self.transport)?;
        self.medias.iter().try_for_each(|media| write!(f, "{media}"))
    }
}

impl Origin {
    fn parse(value: &str) -> Result<Self, Reason> {
        let mut words = value.split_ascii_whitespace().skip(1);
        let (Some(session_id), Some(version)) = (words.next(), words.next()) else {
            return Err("o= has six fields");
        };
        Ok(Self {
            session_id: number(session_id).ok_or("the session id is not a number")?,
            version: number(version).ok_or("the session version is not a number")?,
        })
    }
}

impl Direction {
    /// The attribute's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SendReceive => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::ReceiveOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The same flow, seen from the other side.
    pub fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::ReceiveOnly,
            Self::ReceiveOnly => Self::SendOnly,
            same => same,
        }
    }

    /// The writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    /// The writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::SendReceive, Self::SendOnly, Self::ReceiveOnly, Self::Inactive]
            .into_iter()
            .find(|direction| direction.name() == name)
    }
}

/// `c=`, in the place that RFC 8866, 5 gives it.
fn write_connection(f: &mut fmt::Formatter<'_>, address: Option<IpAddr>) -> fmt::Result {
    match address {
        Some(address @ IpAddr::V4(_)) => write!(f, "c=IN IP4 {address}\r\n"),
        Some(address @ IpAddr::V6(_)) => write!(f, "c=IN IP6 {address}\r\n"),
        None => Ok(()),
    }
}

/// Digits only: Rust's own parsing would take a plus sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// One word: not empty, no white space.
fn token(text: &str, reason: Reason) -> Result<String, Reason> {
    if text.is_empty() || text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        return Err(reason);
    }
    Ok(text.to_owned())
}

/// Words with one space between them.
fn words(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

//! One m-section (RFC 8866, 5.14): the m-line and the attributes below it.

use std::fmt;
use std::net::IpAddr;

use super::candidate::CANDIDATES_MAX;
use super::{
    Candidate, Direction, Encoding, ExtensionMap, Msid, Payload, Reason, RidLine, Simulcast, SsrcGroup,
    SsrcLine, Transport, number, token, words,
};

/// Header extensions kept: browsers name 14, and there are 14 one-byte numbers.
const EXTENSIONS_MAX: usize = 64;
/// Streams kept by SSRC: more than an endpoint may have in all its m-lines.
const SSRCS_MAX: usize = 128;
/// Groups, RIDs and msids kept: three layers need three.
const NAMES_MAX: usize = 64;

/// An m-line with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSection {
    /// `audio`, `video`, `application`, …
    pub kind: MediaType,
    /// 0 rejects the m-line, unless [`is_bundle_only`](Self::is_bundle_only).
    pub port: u16,
    /// `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// The payload types of an RTP m-line, most wanted first; empty for other protocols.
    pub payloads: Vec<Payload>,
    /// The formats of an m-line that is not RTP: `webrtc-datachannel`.
    pub formats: String,
    /// `c=`, when it is a literal address.
    pub connection: Option<IpAddr>,
    /// `a=mid` (RFC 5888).
    pub mid: Option<String>,
    /// Which way media flows; without it the session's direction, or both ways.
    pub direction: Option<Direction>,
    /// ICE and DTLS.
    pub transport: Transport,
    /// The first 40 UDP candidates with a literal address.
    pub candidates: Vec<Candidate>,
    /// `a=end-of-candidates` (RFC 8840, 4).
    pub has_all_candidates: bool,
    /// `a=bundle-only` (RFC 9143, 6): port 0 means nothing.
    pub is_bundle_only: bool,
    /// `a=rtcp-mux` (RFC 5761).
    pub has_rtcp_mux: bool,
    /// `a=rtcp-rsize` (RFC 5506).
    pub has_reduced_size_rtcp: bool,
    /// `a=extmap-allow-mixed` (RFC 8285, 6).
    pub allows_mixed_extensions: bool,
    /// `a=extmap`.
    pub extensions: Vec<ExtensionMap>,
    /// `a=rtcp-fb:*`: feedback for every payload type.
    pub feedback: Vec<String>,
    /// `a=msid`.
    pub msids: Vec<Msid>,
    /// `a=ssrc`.
    pub ssrcs: Vec<SsrcLine>,
    /// `a=ssrc-group`.
    pub ssrc_groups: Vec<SsrcGroup>,
    /// `a=rid`.
    pub rids: Vec<RidLine>,
    /// `a=simulcast`.
    pub simulcast: Option<Simulcast>,
}

/// What an m-line is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaType {
    /// `audio`
    Audio,
    /// `video`
    Video,
    /// `application`: a data channel.
    Application,
    /// `text`, `message`, `image`, …
    Other(String),
}

impl MediaSection {
    /// An m-section with nothing below its m-line.
    pub fn new(kind: MediaType, port: u16, protocol: String) -> Self {
        Self {
            kind,
            port,
            protocol,
            payloads: Vec::new(),
            formats: String::new(),
            connection: None,
            mid: None,
            direction: None,
            transport: Transport::default(),
            candidates: Vec::new(),
            has_all_candidates: false,
            is_bundle_only: false,
            has_rtcp_mux: false,
            has_reduced_size_rtcp: false,
            allows_mixed_extensions: false,
            extensions: Vec::new(),
            feedback: Vec::new(),
            msids: Vec::new(),
            ssrcs: Vec::new(),
            ssrc_groups: Vec::new(),
            rids: Vec::new(),
            simulcast: None,
        }
    }

    /// The writer refuses this m-line (RFC 8866, 5.14; RFC 9143, 6).
    pub fn is_rejected(&self) -> bool {
        self.port == 0 && !self.is_bundle_only
    }

    /// `<kind> <port> <protocol> <format> …`
    pub(super) fn parse(value: &str) -> Result<Self, Reason> {
        let mut fields = value.split_ascii_whitespace();
        let (Some(kind), Some(port), Some(protocol)) = (fields.next(), fields.next(), fields.next()) else {
            return Err("an m-line has four fields");
        };
        let port = number(port).ok_or("an m-line's port is not a number up to 65535")?;
        let mut media = Self::new(MediaType::from_name(kind), port, protocol.to_owned());
        if !media.is_rtp() {
            media.formats = fields.collect::<Vec<_>>().join(" ");
        } else {
            for format in fields {
                media.add_payload_type(format)?;
            }
        }
        if media.formats.is_empty() && media.payloads.is_empty() {
            return Err("an m-line has four fields");
        }
        Ok(media)
    }

    fn is_rtp(&self) -> bool {
        self.protocol.contains("RTP/")
    }

    fn add_payload_type(&mut self, format: &str) -> Result<(), Reason> {
        let payload_type =
            number(format).filter(|it| *it < 128).ok_or("a payload type is not a number up to 127")?;
        // Named twice, it is still one.
        if self.payload(payload_type).is_none() {
            self.payloads.push(Payload { payload_type, ..Payload::default() });
        }
        Ok(())
    }

    fn payload(&mut self, payload_type: u8) -> Option<&mut Payload> {
        self.payloads.iter_mut().find(|payload| payload.payload_type == payload_type)
    }

    /// Reads `name` if it is one of ours; anything else is skipped.
    pub(super) fn read_attribute(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        match name {
            "mid" => self.mid = Some(token(value, "a=mid is not one word")?),
            "end-of-candidates" => self.has_all_candidates = true,
            "bundle-only" => self.is_bundle_only = true,
            "rtcp-mux" => self.has_rtcp_mux = true,
            "rtcp-rsize" => self.has_reduced_size_rtcp = true,
            "extmap-allow-mixed" => self.allows_mixed_extensions = true,
            "candidate" if self.candidates.len() < CANDIDATES_MAX => {
                self.candidates.extend(Candidate::parse(value)?);
            }
            "rtpmap" | "fmtp" | "rtcp-fb" => self.read_payload_attribute(name, value)?,
            "extmap" => push(&mut self.extensions, ExtensionMap::parse(value)?, EXTENSIONS_MAX)?,
            "msid" => push(&mut self.msids, Msid::parse(value)?, NAMES_MAX)?,
            "ssrc" => SsrcLine::read(&mut self.ssrcs, value, SSRCS_MAX)?,
            "ssrc-group" => push(&mut self.ssrc_groups, SsrcGroup::parse(value)?, NAMES_MAX)?,
            "rid" => push(&mut self.rids, RidLine::parse(value)?, NAMES_MAX)?,
            "simulcast" => self.simulcast = Some(Simulcast::parse(value)?),
            _ => match Direction::from_name(name) {
                Some(direction) => self.direction = Some(direction),
                None => self.transport.read_attribute(name, value)?,
            },
        }
        Ok(())
    }

    /// `<payload type> <value>`; what is said of a payload type that the m-line does not name is said of nothing.
    fn read_payload_attribute(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        let (format, value) =
            value.split_once(|character: char| character.is_ascii_whitespace()).unwrap_or((value, ""));
        let value = value.trim_ascii();
        if name == "rtcp-fb" && format == "*" {
            return Payload::add_feedback(&mut self.feedback, value);
        }
        if !self.is_rtp() {
            return Ok(());
        }
        let payload_type =
            number(format).filter(|it| *it < 128).ok_or("a payload type is not a number up to 127")?;
        let Some(payload) = self.payload(payload_type) else { return Ok(()) };
        match name {
            "rtpmap" => payload.encoding = Some(Encoding::parse(value)?),
            "fmtp" => payload.parameters = words(value),
            _ => Payload::add_feedback(&mut payload.feedback, value)?,
        }
        Ok(())
    }

    fn write_flags(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            (self.has_all_candidates, "end-of-candidates"),
            (self.is_bundle_only, "bundle-only"),
            (self.has_rtcp_mux, "rtcp-mux"),
            (self.has_reduced_size_rtcp, "rtcp-rsize"),
            (self.allows_mixed_extensions, "extmap-allow-mixed"),
        ];
        flags.iter().filter(|(is_set, _)| *is_set).try_for_each(|(_, name)| write!(f, "a={name}\r\n"))
    }
}

impl fmt::Display for MediaSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {} {}", self.kind.name(), self.port, self.protocol)?;
        self.payloads.iter().try_for_each(|payload| write!(f, " {}", payload.payload_type))?;
        if !self.formats.is_empty() {
            write!(f, " {}", self.formats)?;
        }
        f.write_str("\r\n")?;
        super::write_connection(f, self.connection)?;
        if let Some(mid) = &self.mid {
            write!(f, "a=mid:{mid}\r\n")?;
        }
        if let Some(direction) = self.direction {
            write!(f, "a={}\r\n", direction.name())?;
        }
        write!(f, "{}", self.transport)?;
        self.candidates.iter().try_for_each(|candidate| write!(f, "{candidate}"))?;
        self.write_flags(f)?;
        self.feedback.iter().try_for_each(|kind| write!(f, "a=rtcp-fb:* {kind}\r\n"))?;
        self.payloads.iter().try_for_each(|payload| write!(f, "{payload}"))?;
        self.extensions.iter().try_for_each(|extension| write!(f, "{extension}"))?;
        self.msids.iter().try_for_each(|msid| write!(f, "{msid}"))?;
        self.ssrcs.iter().try_for_each(|ssrc| write!(f, "{ssrc}"))?;
        self.ssrc_groups.iter().try_for_each(|group| write!(f, "{group}"))?;
        self.rids.iter().try_for_each(|rid| write!(f, "{rid}"))?;
        self.simulcast.iter().try_for_each(|simulcast| write!(f, "{simulcast}"))
    }
}

impl MediaType {
    /// The word on the m-line.
    pub fn name(&self) -> &str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Application => "application",
            Self::Other(name) => name,
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "audio" => Self::Audio,
            "video" => Self::Video,
            "application" => Self::Application,
            other => Self::Other(other.to_owned()),
        }
    }
}

fn push<T>(list: &mut Vec<T>, item: T, limit: usize) -> Result<(), Reason> {
    if list.len() == limit {
        return Err("too many lines of this kind in one m-section");
    }
    list.push(item);
    Ok(())
}

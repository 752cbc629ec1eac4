//! The one place where SDP is understood: a browser's offer becomes typed endpoint parameters for a bridge, and the
//! bridge's half becomes the answer (RFC 8829, 5.3; RFC 9725 for WHIP; the same for WHEP).
//!
//! ```text
//!   offer (text) ── parse_offer ──► Offer { parameters ──► SetEndpoint ──► bridge
//!                                           answer: Sdp without transport │
//!   answer (text) ◄── write_answer ◄────────────┴────── TransportParameters
//! ```
//!
//! The walk: `wire::sdp` reads the text; each m-line is judged alone (`codecs`, `extensions`, `streams`) and becomes a
//! `Media` for the bridge and a section of the answer; then what they share is checked (`shared`: BUNDLE, ICE, DTLS,
//! numbers used twice). [`write_answer`] adds what only the bridge knows: credentials, candidates and the slots' SSRCs.
//!
//! Invariants: the answer has the offer's m-lines in the offer's order; every m-line in use shares one transport; what
//! the answer names, the offer named; a [`BadOffer`] repeats nothing of the offer but a checked mid.
//!
//! Nothing is remembered between two offers: a re-offer says everything again, and source names depend only on the
//! m-lines' order, which never changes in a connection's life (RFC 8829, 5.2.2).

mod codecs;
mod extensions;
mod shared;
mod streams;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use wire::messages::ids::{EndpointId, Mid, SourceName};
use wire::messages::media::{
    EndpointParameters, Media, MediaKind, MediaRole, SourceParameters, TransportParameters, VideoType,
};
use wire::sdp::{self, Direction, MediaSection, MediaType, Payload, Sdp, Setup, Transport};

use self::extensions::Wanted;

/// An offer that can be answered. Some kilobytes: to be dropped when the answer is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// For the bridge.
    pub parameters: EndpointParameters,
    /// The answer but for what only the bridge knows.
    answer: Sdp,
    /// Which of the answer's sections carries the transport of all (RFC 9143, 7.3.1).
    tagged: usize,
}

/// Why an offer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{reason}")]
pub struct BadOffer {
    /// Where in the offer.
    pub place: Place,
    /// For a person; never a word of the offer.
    pub reason: &'static str,
}

/// What in an offer a [`BadOffer`] speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The offer as a whole.
    Whole,
    /// One line, counted from 1.
    Line(usize),
    /// One m-line that has no usable mid, counted from 1.
    Position(usize),
    /// One m-line.
    Media(Mid),
}

/// One context of clocks for all slots of a bridge (RFC 7022): it rewrites every sender report to its own clock.
const CNAME: &str = "passerelle";

/// Reads an offer of `endpoint`.
///
/// # Errors
/// What is not SDP, what breaks the rules of BUNDLE, ICE or DTLS, and an offer of which nothing could be used.
pub fn parse_offer(sdp: &str, endpoint: &EndpointId) -> Result<Offer, BadOffer> {
    let offer =
        sdp::parse(sdp).map_err(|error| BadOffer { place: Place::Line(error.line), reason: error.reason })?;
    let mut names = Names { endpoint, audio: 0, video: 0 };
    let mut medias = Vec::new();
    let mut sections = Vec::with_capacity(offer.medias.len());
    for (index, section) in offer.medias.iter().enumerate() {
        let name = names.of(section, &offer);
        match judge(section, &offer, name).map_err(|reason| bad_section(index, section, reason))? {
            Some((media, answer)) => {
                medias.push(media);
                sections.push(answer);
            }
            None => sections.push(rejected(section)),
        }
    }
    let tagged = shared::check_bundle(&offer, &sections)?;
    if slots(&medias, MediaKind::Video) > 1 {
        sections.iter_mut().for_each(codecs::spell_feedback_once);
    }
    shared::check_numbers(&medias)?;
    streams::check(&medias)?;
    let (ice, fingerprints) = shared::read_transport(&offer, tagged)?;
    let answer = assemble(&offer, sections, endpoint);
    Ok(Offer { parameters: EndpointParameters { ice, fingerprints, medias }, answer, tagged })
}

/// Writes the answer. A slot for which the bridge named no SSRC is answered as inactive.
pub fn write_answer(offer: &Offer, transport: &TransportParameters) -> String {
    let mut answer = offer.answer.clone();
    shared::write_transport(&mut answer, offer.tagged, transport);
    // As a WHEP viewer has: both show one person.
    let medias = &offer.parameters.medias;
    let is_pair = slots(medias, MediaKind::Audio) == 1 && slots(medias, MediaKind::Video) == 1;
    for media in medias.iter().filter(|media| media.role == MediaRole::Slot) {
        let section =
            answer.medias.iter_mut().find(|section| section.mid.as_deref() == Some(media.mid.as_str()));
        let slot = transport.slots.iter().find(|slot| slot.mid == media.mid);
        match (section, slot) {
            (Some(section), Some(slot)) => streams::write_slot(section, slot, is_pair),
            (Some(section), None) => section.direction = Some(Direction::Inactive),
            (None, _) => {}
        }
    }
    answer.to_string()
}

/// Gives sources their names by the order of their m-lines.
struct Names<'a> {
    endpoint: &'a EndpointId,
    audio: usize,
    video: usize,
}

impl Names<'_> {
    /// The name `section` has if it is a source. Every m-line that is not a slot holds its number, also while it is
    /// inactive or refused, so that switching one off renames no other.
    fn of(&mut self, section: &MediaSection, offer: &Sdp) -> Option<(SourceName, usize)> {
        let (kind, count) = match section.kind {
            MediaType::Audio => (MediaKind::Audio, &mut self.audio),
            MediaType::Video => (MediaKind::Video, &mut self.video),
            _ => return None,
        };
        if direction(section, offer) == Direction::ReceiveOnly {
            return None;
        }
        let index = *count;
        *count += 1;
        Some((SourceName::of(self.endpoint, kind, index), index))
    }
}

/// One m-line alone: what the bridge is told of it and how it is answered, or `None` to refuse it.
fn judge(
    section: &MediaSection,
    offer: &Sdp,
    name: Option<(SourceName, usize)>,
) -> Result<Option<(Media, MediaSection)>, &'static str> {
    let kind = match section.kind {
        MediaType::Audio => MediaKind::Audio,
        MediaType::Video => MediaKind::Video,
        _ => return Ok(None),
    };
    let chosen = codecs::choose(section, kind);
    if section.is_rejected() || !is_secure(&section.protocol) || chosen.is_empty() {
        return Ok(None);
    }
    let mid = section.mid.as_deref().ok_or("there is no a=mid")?;
    let mid = Mid::parse(mid).map_err(|_| "a=mid is longer than 16 characters or not a token")?;
    if !section.has_rtcp_mux {
        return Err("there is no a=rtcp-mux");
    }
    let flow = direction(section, offer);
    let role = match name {
        Some((name, index)) if flow.sends() => MediaRole::Source(source(section, name, index)?),
        _ if flow == Direction::ReceiveOnly => MediaRole::Slot,
        _ => MediaRole::Inactive,
    };
    let wanted = Wanted::of(section, kind, &role);
    let (extensions, extension_lines) = extensions::choose(section, &wanted)?;
    let codecs = chosen.iter().map(|each| each.parameters.clone()).collect();

    let mut answer = MediaSection::new(section.kind.clone(), ANSWERED_PORT, section.protocol.clone());
    answer.mid = section.mid.clone();
    answer.direction = Some(if flow.sends() { Direction::ReceiveOnly } else { flow.reversed() });
    // RFC 8842, 5.3: the browser opens, so that no datagram of ours goes where ICE has not been. In every section,
    // because GStreamer looks nowhere else.
    answer.transport.setup = Some(Setup::Passive);
    answer.has_rtcp_mux = true;
    answer.has_reduced_size_rtcp = section.has_reduced_size_rtcp;
    answer.payloads = codecs::answer(section, &chosen, &wanted);
    answer.extensions = extension_lines;
    if let MediaRole::Source(source) = &role {
        streams::write_layers(&mut answer, &source.rids);
    }
    Ok(Some((Media { mid, kind, codecs, extensions, role }, answer)))
}

/// RFC 8829, 5.3.1: the port of an m-line that is used but has no port of its own.
const ANSWERED_PORT: u16 = 9;

fn source(section: &MediaSection, name: SourceName, index: usize) -> Result<SourceParameters, &'static str> {
    let is_video = section.kind == MediaType::Video;
    // The second video m-line is the screen: the page adds it behind the camera's.
    let video_type = is_video.then_some(if index == 1 { VideoType::Desktop } else { VideoType::Camera });
    let rids = if is_video { streams::layers(section)? } else { Vec::new() };
    Ok(SourceParameters { name, video_type, rids, ssrcs: streams::ssrcs(section) })
}

fn direction(section: &MediaSection, offer: &Sdp) -> Direction {
    section.direction.or(offer.direction).unwrap_or(Direction::SendReceive)
}

/// RFC 8829, 5.1.2: any of these names means the same when a fingerprint stands beside it; RTP/AVP is plain text.
fn is_secure(protocol: &str) -> bool {
    let names = ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "RTP/SAVPF", "RTP/SAVP"];
    names.contains(&protocol)
}

/// RFC 8829, 5.3.1: port 0, and one format because the syntax wants one.
fn rejected(section: &MediaSection) -> MediaSection {
    let mut answer = MediaSection::new(section.kind.clone(), 0, section.protocol.clone());
    answer.formats = section.formats.clone();
    let bare = |payload: &Payload| Payload { payload_type: payload.payload_type, ..Payload::default() };
    answer.payloads = section.payloads.iter().take(1).map(bare).collect();
    answer.mid = section.mid.clone();
    answer.direction = Some(Direction::Inactive);
    answer
}

/// The answer's session level and its sections.
fn assemble(offer: &Sdp, sections: Vec<MediaSection>, endpoint: &EndpointId) -> Sdp {
    let in_use = |mid: &&String| sections.iter().any(|it| !it.is_rejected() && it.mid.as_ref() == Some(*mid));
    let bundle = offer.bundle.as_ref().map(|bundle| bundle.iter().filter(in_use).cloned().collect());
    let mixes = |section: &MediaSection| section.is_rejected() || section.allows_mixed_extensions;
    Sdp {
        // The endpoint's id is a number unlike others'. A version that follows the offer's grows whenever the answer
        // may differ (RFC 8829, 5.3.2).
        origin: sdp::Origin {
            session_id: u64::from_str_radix(endpoint.as_str(), 16).unwrap_or_default(),
            version: offer.origin.version,
        },
        // RFC 8839, 4.2.1.2: nowhere, but for the section that has the candidates.
        connection: Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        bundle,
        is_ice_lite: true,
        allows_mixed_extensions: offer.allows_mixed_extensions || offer.medias.iter().all(mixes),
        direction: None,
        transport: Transport::default(),
        medias: sections,
    }
}

fn slots(medias: &[Media], kind: MediaKind) -> usize {
    medias.iter().filter(|media| media.kind == kind && media.role == MediaRole::Slot).count()
}

fn bad(reason: &'static str) -> BadOffer {
    BadOffer { place: Place::Whole, reason }
}

fn bad_section(index: usize, section: &MediaSection, reason: &'static str) -> BadOffer {
    let mid = section.mid.as_deref().and_then(|mid| Mid::parse(mid).ok());
    BadOffer { place: mid.map_or(Place::Position(index + 1), Place::Media), reason }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Line(line) => write!(f, "line {line}: "),
            Self::Position(position) => write!(f, "m-line number {position}: "),
            Self::Media(mid) => write!(f, "m-line with mid {mid}: "),
        }
    }
}

//! The answer.

use std::net::{IpAddr, SocketAddr};

use wire::messages::media::{Fingerprint, IceCredentials, MediaKind};
use wire::rtp::{PayloadType, Ssrc};
use wire::sdp::{self, Direction, MediaSection, MediaType, Payload, Sdp, Setup, Transport};

use super::{AUDIO_LEVEL, Description, Line, MID, REPAIRED_RID, RID, TRANSPORT_CC};
use crate::engine::dtls::DtlsRole;
use crate::engine::ports::BadAnswer;
use crate::engine::receive::SlotIds;
use crate::engine::send::Track;

/// What a caller needs of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ice: IceCredentials,
    /// Of SHA-256, at least one.
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// Ours.
    pub(crate) role: DtlsRole,
    /// At least one.
    pub(crate) candidates: Vec<SocketAddr>,
    /// In the offer's order, none left out.
    pub(crate) tracks: Vec<TrackAgreement>,
    /// The slots that the server fills, in the offer's order.
    pub(crate) slots: Vec<SlotIds>,
    /// In packets of slots; none: the server does not say the mid.
    pub(crate) mid_id: Option<u8>,
    /// In packets of slots, if the server wants to be told their arrivals.
    pub(crate) transport_cc_id: Option<u8>,
}

/// How the packets of a track are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrackAgreement {
    pub(crate) mid: String,
    pub(crate) payload_type: PayloadType,
    pub(crate) rtx_payload_type: Option<PayloadType>,
    pub(crate) audio_level_id: Option<u8>,
    pub(crate) mid_id: Option<u8>,
    pub(crate) rid_id: Option<u8>,
    pub(crate) repaired_rid_id: Option<u8>,
    pub(crate) transport_cc_id: Option<u8>,
}

/// Reads the answer to the offer of `offered`.
///
/// # Errors
/// What is not SDP, what contradicts the offer, and a server that takes less than is sent.
pub(crate) fn read_answer(offered: &Description<'_>, text: &str) -> Result<Answer, BadAnswer> {
    let answer = sdp::parse(text).map_err(|error| bad(error.to_string()))?;
    let lines: Vec<_> = offered.lines().collect();
    if answer.medias.len() != lines.len() {
        return Err(bad(format!("{} m-lines were offered, {} answered", lines.len(), answer.medias.len())));
    }
    let mut tracks = Vec::new();
    let mut slots: Vec<SlotIds> = Vec::new();
    let (mut mid_id, mut transport_cc_id) = (None, None);
    for (index, (line, section)) in lines.iter().zip(&answer.medias).enumerate() {
        check_line(index, line, section)?;
        match line {
            Line::Track(track) => tracks.push(agree(index, track, section, &answer)?),
            Line::Slot(kind) if is_filled(section, &answer) => {
                let Some(slot) = slot(index, *kind, section) else { continue };
                mid_id = mid_id.or(extension_id(section, MID.1));
                transport_cc_id = transport_cc_id.or(transport_cc(section, slot.payload_type));
                slots.push(slot);
            }
            Line::Slot(_) => {}
        }
    }
    check_bundle(&answer)?;
    check_ssrcs(&slots)?;
    let (ice, fingerprints) = read_transport(&answer)?;
    let (role, candidates) = (read_role(&answer)?, read_candidates(&answer)?);
    Ok(Answer { ice, fingerprints, role, candidates, tracks, slots, mid_id, transport_cc_id })
}

fn check_line(index: usize, line: &Line<'_>, section: &MediaSection) -> Result<(), BadAnswer> {
    let kind = match line.kind() {
        MediaKind::Audio => MediaType::Audio,
        MediaKind::Video => MediaType::Video,
    };
    if section.kind != kind {
        return Err(bad(format!("m-line {index} was offered as {}", kind.name())));
    }
    // RFC 8829, 5.3.1: the answer repeats the mid; a server without mids relies on the order.
    if section.mid.as_ref().is_some_and(|mid| *mid != index.to_string()) {
        return Err(bad(format!("m-line {index} has another mid than it was offered with")));
    }
    if !section.is_rejected() && !section.has_rtcp_mux {
        return Err(bad(format!("m-line {index} is without a=rtcp-mux")));
    }
    Ok(())
}

/// What was agreed about a track; everything offered must be taken.
fn agree(
    index: usize,
    track: &Track,
    section: &MediaSection,
    answer: &Sdp,
) -> Result<TrackAgreement, BadAnswer> {
    let refuse = |what: String| bad(format!("m-line {index} ({:?}): {what}", track.content));
    if section.is_rejected() || !direction(section, answer).receives() {
        return Err(refuse("the server does not take it".to_owned()));
    }
    let Some((payload, rtx)) = codec(section, track.kind) else {
        return Err(refuse("the server takes neither opus nor VP8".to_owned()));
    };
    let agreement = TrackAgreement {
        mid: index.to_string(),
        payload_type: payload,
        rtx_payload_type: rtx,
        audio_level_id: extension_id(section, AUDIO_LEVEL.1).filter(|_| track.kind == MediaKind::Audio),
        mid_id: extension_id(section, MID.1),
        rid_id: extension_id(section, RID.1),
        repaired_rid_id: extension_id(section, REPAIRED_RID.1),
        transport_cc_id: transport_cc(section, payload.number()),
    };
    let rids: Vec<String> =
        track.streams.iter().filter_map(|it| Some(it.rid.as_ref()?.to_string())).collect();
    if rids.is_empty() {
        return Ok(agreement);
    }
    let taken = section.simulcast.iter().flat_map(|simulcast| simulcast.receive.iter().flatten());
    let taken = taken.filter(|layer| rids.contains(&layer.rid)).count();
    if taken < rids.len() {
        return Err(refuse(format!("the server takes {taken} of {} layers", rids.len())));
    }
    if agreement.rid_id.is_none() || agreement.mid_id.is_none() {
        return Err(refuse("the server takes layers and not the extensions that name them".to_owned()));
    }
    Ok(agreement)
}

/// None: the server does not fill it with what we offered.
fn slot(index: usize, kind: MediaKind, section: &MediaSection) -> Option<SlotIds> {
    let (payload, rtx) = codec(section, kind)?;
    let pair = section.ssrc_groups.iter().find(|group| group.semantics == "FID" && group.ssrcs.len() == 2);
    let (ssrc, rtx_ssrc) = match pair {
        Some(group) => (group.ssrcs.first().copied(), group.ssrcs.get(1).copied()),
        None => (section.ssrcs.first().map(|line| line.ssrc), None),
    };
    Some(SlotIds {
        mid: index.to_string(),
        kind,
        ssrc: ssrc.map(Ssrc),
        rtx_ssrc: rtx_ssrc.map(Ssrc),
        payload_type: payload.number(),
        rtx_payload_type: rtx.map(PayloadType::number),
    })
}

/// Payload types of what is sent, and of its retransmissions.
fn codec(section: &MediaSection, kind: MediaKind) -> Option<(PayloadType, Option<PayloadType>)> {
    let name = match kind {
        MediaKind::Audio => "opus",
        MediaKind::Video => "VP8",
    };
    let media = section.payloads.iter().find(|payload| payload.is(name))?;
    let is_pair = |payload: &&Payload| {
        let apt = payload.parameter("apt").and_then(|apt| apt.parse::<u8>().ok());
        payload.is("rtx") && apt == Some(media.payload_type)
    };
    let rtx = section.payloads.iter().find(is_pair).and_then(|rtx| PayloadType::new(rtx.payload_type));
    Some((PayloadType::new(media.payload_type)?, rtx))
}

/// RFC 8285, 4.2: numbers 1 to 14 are those of the one-byte form, and all that were offered.
fn extension_id(section: &MediaSection, uri: &str) -> Option<u8> {
    let map = section.extensions.iter().find(|map| map.uri == uri)?;
    u8::try_from(map.id).ok().filter(|id| (1..=14).contains(id))
}

/// Numbers are written, and arrivals told, when both the extension and the feedback were agreed.
fn transport_cc(section: &MediaSection, payload_type: u8) -> Option<u8> {
    let own = section.payloads.iter().find(|payload| payload.payload_type == payload_type);
    let mut kinds = section.feedback.iter().chain(own.into_iter().flat_map(|payload| &payload.feedback));
    extension_id(section, TRANSPORT_CC.1).filter(|_| kinds.any(|kind| kind == "transport-cc"))
}

fn is_filled(section: &MediaSection, answer: &Sdp) -> bool {
    !section.is_rejected() && direction(section, answer).sends()
}

fn direction(section: &MediaSection, answer: &Sdp) -> Direction {
    section.direction.or(answer.direction).unwrap_or(Direction::SendReceive)
}

fn in_use(answer: &Sdp) -> impl Iterator<Item = (usize, &MediaSection)> {
    answer.medias.iter().enumerate().filter(|(_, section)| !section.is_rejected())
}

/// RFC 9143, 7.3.1: one transport for all m-lines in use.
fn check_bundle(answer: &Sdp) -> Result<(), BadAnswer> {
    let count = in_use(answer).count();
    if count == 0 {
        return Err(bad("every m-line is refused".to_owned()));
    }
    let bundle = answer.bundle.as_deref().unwrap_or_default();
    if count > 1 && in_use(answer).any(|(index, _)| !bundle.contains(&index.to_string())) {
        return Err(bad("an m-line is left out of a=group:BUNDLE".to_owned()));
    }
    Ok(())
}

fn check_ssrcs(slots: &[SlotIds]) -> Result<(), BadAnswer> {
    let mut all: Vec<u32> =
        slots.iter().flat_map(|it| [it.ssrc, it.rtx_ssrc]).flatten().map(|it| it.0).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    if all.len() < count { Err(bad("two streams have one SSRC".to_owned())) } else { Ok(()) }
}

/// The first place that says it: an m-line in use, else the session.
fn place<T>(answer: &Sdp, of: impl Fn(&Transport) -> Option<T>) -> Option<T> {
    let places = in_use(answer).map(|(_, section)| &section.transport).chain([&answer.transport]);
    places.into_iter().find_map(of)
}

fn read_transport(answer: &Sdp) -> Result<(IceCredentials, Vec<Fingerprint>), BadAnswer> {
    let ice = place(answer, |transport| {
        Some(IceCredentials { ufrag: transport.ufrag.clone()?, pwd: transport.pwd.clone()? })
    });
    let ice = ice.ok_or_else(|| bad("there are no ICE credentials".to_owned()))?;
    // RFC 8839, 5.4; both ufrags and a colon have to fit USERNAME (RFC 8489, 14.3).
    if ice.ufrag.len() > UFRAG_CHARS_MAX || !(PWD_CHARS_MIN..=PWD_CHARS_MAX).contains(&ice.pwd.len()) {
        return Err(bad("the ICE credentials are shorter or longer than allowed".to_owned()));
    }
    let fingerprints = place(answer, |transport| {
        let known = transport.fingerprints.iter().filter(|it| it.algorithm == "sha-256");
        let known: Vec<_> = known.cloned().collect();
        (!known.is_empty()).then_some(known)
    });
    Ok((ice, fingerprints.ok_or_else(|| bad("there is no sha-256 fingerprint".to_owned()))?))
}

/// RFC 4145, 4: without the line the answerer waits; RFC 8842, 5.3: it never leaves the choice open.
fn read_role(answer: &Sdp) -> Result<DtlsRole, BadAnswer> {
    match place(answer, |transport| transport.setup) {
        Some(Setup::Passive) | None => Ok(DtlsRole::Client),
        Some(Setup::Active) => Ok(DtlsRole::Server),
        Some(_) => Err(bad("a=setup is neither active nor passive".to_owned())),
    }
}

/// What datagrams can be sent to; without candidates, the m-line's own address.
fn read_candidates(answer: &Sdp) -> Result<Vec<SocketAddr>, BadAnswer> {
    let mut addresses = Vec::new();
    let candidates = in_use(answer).flat_map(|(_, section)| &section.candidates);
    let named = candidates.filter(|candidate| candidate.component == 1).map(|candidate| candidate.address);
    let own = in_use(answer).filter_map(|(_, section)| {
        Some(SocketAddr::new(section.connection.or(answer.connection)?, section.port))
    });
    for address in named.chain(own.filter(|address| !matches!(address.port(), 0 | DISCARD_PORT))) {
        if is_reachable(address.ip()) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(bad("there is no UDP candidate".to_owned())) } else { Ok(addresses) }
}

/// One host's address that needs no interface's name.
fn is_reachable(address: IpAddr) -> bool {
    let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || is_link_local || is_broadcast)
}

fn bad(why: String) -> BadAnswer {
    BadAnswer(why)
}

const UFRAG_CHARS_MAX: usize = 256;
const PWD_CHARS_MIN: usize = 22;
const PWD_CHARS_MAX: usize = 256;

/// RFC 8829, 5.3.1: the port of an m-line that shares another's transport.
const DISCARD_PORT: u16 = 9;

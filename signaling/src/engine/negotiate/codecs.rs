//! Which payload types of an m-line are used, and how they are answered.

use wire::messages::media::{Codec, CodecParameters, MediaKind};
use wire::sdp::{Encoding, MediaSection, Payload};

use super::extensions::{Estimate, Wanted};

/// Most wanted first. VP8 leads because every browser decodes it and because its simulcast layers are forwarded; a
/// browser sends the first codec of the answer that it has.
const PREFERENCE: [Codec; 5] = [Codec::Opus, Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1];

/// H264's profile when an offer names none: what browsers take it for, and what every decoder has.
const H264_PROFILE: &str = "42e01f";

/// A payload type in use.
pub(super) struct Chosen {
    pub(super) parameters: CodecParameters,
    encoding: Encoding,
}

/// The payload types of `section` that can be forwarded: one for each codec, with its retransmissions.
pub(super) fn choose(section: &MediaSection, kind: MediaKind) -> Vec<Chosen> {
    PREFERENCE
        .into_iter()
        .filter(|codec| is_of(*codec, kind))
        .filter_map(|codec| best(section, codec))
        .collect()
}

fn is_of(codec: Codec, kind: MediaKind) -> bool {
    (codec == Codec::Opus) == (kind == MediaKind::Audio)
}

/// The first fitting payload type; of H264 one that every browser decodes, if there is one.
fn best(section: &MediaSection, codec: Codec) -> Option<Chosen> {
    let mut fitting = section.payloads.iter().filter_map(|payload| Some((payload, format(payload, codec)?)));
    let (payload, format) = match codec {
        Codec::H264 => {
            let all: Vec<_> = fitting.collect();
            let best = all.iter().position(|(payload, _)| is_constrained_baseline(payload)).unwrap_or(0);
            all.into_iter().nth(best)?
        }
        _ => fitting.next()?,
    };
    let encoding = payload.encoding.clone()?;
    let is_pair = |rtx: &&Payload| {
        let apt = rtx.parameter("apt").and_then(|apt| apt.parse::<u8>().ok());
        rtx.is("rtx") && apt == Some(payload.payload_type)
    };
    let rtx_payload_type = section.payloads.iter().find(is_pair).map(|rtx| rtx.payload_type);
    let parameters = CodecParameters {
        payload_type: payload.payload_type,
        codec,
        clock_rate_hz: encoding.clock_rate_hz,
        format,
        rtx_payload_type: rtx_payload_type.filter(|_| codec != Codec::Opus),
    };
    Some(Chosen { parameters, encoding })
}

/// What is agreed about `payload` as `codec`, in a fixed order and case so that equal variants are equal texts. `None`:
/// it is another codec, or a variant that is not forwarded.
fn format(payload: &Payload, codec: Codec) -> Option<String> {
    let encoding = payload.encoding.as_ref()?;
    let (name, clock_rate_hz, channels) = match codec {
        Codec::Opus => ("opus", 48_000, Some(2)),
        Codec::Vp8 => ("VP8", 90_000, None),
        Codec::Vp9 => ("VP9", 90_000, None),
        Codec::H264 => ("H264", 90_000, None),
        Codec::Av1 => ("AV1", 90_000, None),
    };
    if !payload.is(name) || encoding.clock_rate_hz != clock_rate_hz || encoding.channels != channels {
        return None;
    }
    match codec {
        Codec::Opus => {
            // RFC 7587, 6.1: what a receiver asks of a sender. Stereo and rates are each browser's own business.
            let kept = ["minptime", "useinbandfec", "usedtx"];
            let kept = kept.iter().filter_map(|name| Some(format!("{name}={}", payload.parameter(name)?)));
            Some(kept.collect::<Vec<_>>().join(";"))
        }
        Codec::Vp8 => Some(String::new()),
        // Other profiles have 10 bits or finer colour: few decode them.
        Codec::Vp9 => is_zero(payload, "profile-id").then(|| "profile-id=0".to_owned()),
        Codec::Av1 => is_zero(payload, "profile").then(|| "profile=0".to_owned()),
        Codec::H264 if payload.parameter("packetization-mode") != Some("1") => None,
        Codec::H264 => {
            let asymmetry = match payload.parameter("level-asymmetry-allowed") {
                Some("1") => "level-asymmetry-allowed=1;",
                _ => "",
            };
            let profile = h264_profile(payload);
            Some(format!("{asymmetry}packetization-mode=1;profile-level-id={profile}"))
        }
    }
}

/// Absent is 0 (RFC 9628, 6; AV1 RTP payload specification, 7.2.1).
fn is_zero(payload: &Payload, name: &str) -> bool {
    payload.parameter(name).is_none_or(|value| value == "0")
}

/// Six hexadecimal digits (RFC 6184, 8.1), lower case.
fn h264_profile(payload: &Payload) -> String {
    let is_profile = |text: &&str| text.len() == 6 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    payload.parameter("profile-level-id").filter(is_profile).unwrap_or(H264_PROFILE).to_ascii_lowercase()
}

/// Profile 66 with constraint flag 1 (RFC 6184, table 5), whatever the level.
fn is_constrained_baseline(payload: &Payload) -> bool {
    let id = u32::from_str_radix(&h264_profile(payload), 16).unwrap_or(0);
    id >> 16 == 0x42 && id & 0x4000 != 0
}

/// The lines of the answer: each codec, then its retransmissions.
pub(super) fn answer(section: &MediaSection, chosen: &[Chosen], wanted: &Wanted) -> Vec<Payload> {
    let mut lines = Vec::with_capacity(chosen.len() * 2);
    for Chosen { parameters, encoding } in chosen {
        lines.push(Payload {
            payload_type: parameters.payload_type,
            encoding: Some(encoding.clone()),
            parameters: answered_format(parameters),
            feedback: feedback(section, parameters.payload_type, wanted),
        });
        if let Some(payload_type) = parameters.rtx_payload_type {
            let (name, clock_rate_hz) = ("rtx".to_owned(), parameters.clock_rate_hz);
            lines.push(Payload {
                payload_type,
                encoding: Some(Encoding { name, clock_rate_hz, channels: None }),
                parameters: format!("apt={}", parameters.payload_type),
                feedback: Vec::new(),
            });
        }
    }
    lines
}

/// Profile 0 is what VP9 and AV1 mean when nothing is said.
fn answered_format(parameters: &CodecParameters) -> String {
    match parameters.codec {
        Codec::Vp9 | Codec::Av1 => String::new(),
        Codec::Opus | Codec::Vp8 | Codec::H264 => parameters.format.clone(),
    }
}

/// Writes feedback that all codecs share as `a=rtcp-fb:*` (RFC 4585, 4.2): a quarter of what an answer with many slots
/// weighs. Browsers read that; some WHIP and WHEP clients do not, and they have at most one slot of a kind.
pub(super) fn spell_feedback_once(section: &mut MediaSection) {
    let shared = section.payloads.first().map(|payload| payload.feedback.clone()).unwrap_or_default();
    let is_shared = |payload: &Payload| payload.is("rtx") || payload.feedback == shared;
    if section.payloads.iter().all(is_shared) {
        section.payloads.iter_mut().for_each(|payload| payload.feedback.clear());
        section.feedback = shared;
    }
}

/// Of the feedback offered, what bridges send and understand (RFC 4585, RFC 5104).
fn feedback(section: &MediaSection, payload_type: u8, wanted: &Wanted) -> Vec<String> {
    let own = section.payloads.iter().find(|payload| payload.payload_type == payload_type);
    let is_offered = |kind: &str| {
        let mut offered =
            section.feedback.iter().chain(own.into_iter().flat_map(|payload| &payload.feedback));
        offered.any(|it| it == kind)
    };
    let kinds = [
        ("transport-cc", wanted.estimate == Estimate::TransportCc),
        ("goog-remb", wanted.estimate == Estimate::Remb),
        ("nack", wanted.kind == MediaKind::Video),
        ("nack pli", wanted.kind == MediaKind::Video),
        ("ccm fir", wanted.kind == MediaKind::Video),
    ];
    let used = kinds.into_iter().filter(|(kind, is_used)| *is_used && is_offered(kind));
    used.map(|(kind, _)| kind.to_owned()).collect()
}

//! The offer.

use wire::messages::media::MediaKind;
use wire::sdp::{
    Alternative, Direction, Encoding, ExtensionMap, MediaSection, MediaType, Msid, Origin, Payload, RidLine,
    Sdp, Setup, Simulcast, SsrcGroup, SsrcLine, Transport,
};

use super::{AUDIO_LEVEL, Description, Line, MID, OPUS, REPAIRED_RID, RID, TRANSPORT_CC, VP8, VP8_RTX};
use crate::engine::send::{Content, Track};

/// Writes the offer.
pub(crate) fn write_offer(description: &Description<'_>) -> String {
    let medias: Vec<_> =
        description.lines().enumerate().map(|(index, line)| section(description, index, line)).collect();
    let offer = Sdp {
        origin: Origin { session_id: u64::from(description.number) + 1, version: 2 },
        bundle: Some(medias.iter().filter_map(|media| media.mid.clone()).collect()),
        allows_mixed_extensions: true,
        medias,
        ..Sdp::default()
    };
    offer.to_string()
}

fn section(description: &Description<'_>, index: usize, line: Line<'_>) -> MediaSection {
    let kind = line.kind();
    let media_type = match kind {
        MediaKind::Audio => MediaType::Audio,
        MediaKind::Video => MediaType::Video,
    };
    let mut section = MediaSection::new(media_type, DISCARD_PORT, "UDP/TLS/RTP/SAVPF".to_owned());
    section.connection = Some(std::net::Ipv4Addr::UNSPECIFIED.into());
    section.mid = Some(index.to_string());
    section.transport = Transport {
        ufrag: Some(description.ice.ufrag.clone()),
        pwd: Some(description.ice.pwd.clone()),
        ice_options: vec!["trickle".to_owned()],
        fingerprints: vec![description.fingerprint.clone()],
        setup: Some(Setup::ActPass),
    };
    section.has_rtcp_mux = true;
    section.has_reduced_size_rtcp = true;
    section.payloads = payloads(kind);
    section.extensions = extensions(&line);
    section.direction = Some(Direction::ReceiveOnly);
    if let Line::Track(track) = line {
        section.direction = Some(Direction::SendOnly);
        describe_track(&mut section, track, description.cname);
    }
    section
}

fn payloads(kind: MediaKind) -> Vec<Payload> {
    let payload = |payload_type, (name, clock_rate_hz, channels): (&str, _, _), parameters: &str| Payload {
        payload_type,
        encoding: Some(Encoding { name: name.to_owned(), clock_rate_hz, channels }),
        parameters: parameters.to_owned(),
        feedback: Vec::new(),
    };
    let feedback = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
    match kind {
        MediaKind::Audio => {
            let opus = payload(OPUS, ("opus", 48_000, Some(2)), "minptime=10;useinbandfec=1");
            vec![Payload { feedback: feedback(&["transport-cc"]), ..opus }]
        }
        MediaKind::Video => {
            let vp8 = payload(VP8, ("VP8", 90_000, None), "");
            let rtx = payload(VP8_RTX, ("rtx", 90_000, None), &format!("apt={VP8}"));
            vec![Payload { feedback: feedback(&["transport-cc", "ccm fir", "nack", "nack pli"]), ..vp8 }, rtx]
        }
    }
}

fn extensions(line: &Line<'_>) -> Vec<ExtensionMap> {
    let is_layered = matches!(line, Line::Track(track) if track.streams.len() > 1);
    let mut used = vec![TRANSPORT_CC, MID];
    if line.kind() == MediaKind::Audio {
        used.insert(0, AUDIO_LEVEL);
    }
    if is_layered {
        used.extend([RID, REPAIRED_RID]);
    }
    let map = |(id, uri): (u16, &str)| ExtensionMap {
        id,
        direction: None,
        uri: uri.to_owned(),
        attributes: String::new(),
    };
    used.into_iter().map(map).collect()
}

/// Streams by SSRC, or, of a simulcast track, by layer only (RFC 8853; Chromium names no SSRC then).
fn describe_track(section: &mut MediaSection, track: &Track, cname: &str) {
    let name = match track.content {
        Content::Voice => "voice",
        Content::Camera => "camera",
        Content::Screen => "screen",
    };
    section.msids = vec![Msid { stream: cname.to_owned(), track: Some(format!("{cname}-{name}")) }];
    let rids: Vec<String> =
        track.streams.iter().filter_map(|it| Some(it.rid.as_ref()?.to_string())).collect();
    if !rids.is_empty() {
        let line = |id: &String| RidLine { id: id.clone(), is_sent: true, restrictions: String::new() };
        section.rids = rids.iter().map(line).collect();
        let layer = |rid| vec![Alternative { rid, is_paused: false }];
        section.simulcast =
            Some(Simulcast { send: rids.into_iter().map(layer).collect(), receive: Vec::new() });
        return;
    }
    for stream in &track.streams {
        let ssrcs = std::iter::once(stream.ssrc).chain(stream.rtx_ssrc);
        section.ssrcs.extend(ssrcs.map(|ssrc| SsrcLine { ssrc: ssrc.0, cname: Some(cname.to_owned()) }));
        if let Some(rtx) = stream.rtx_ssrc {
            let ssrcs = vec![stream.ssrc.0, rtx.0];
            section.ssrc_groups.push(SsrcGroup { semantics: "FID".to_owned(), ssrcs });
        }
    }
}

/// RFC 8829, 5.2.1: no port is known yet.
const DISCARD_PORT: u16 = 9;

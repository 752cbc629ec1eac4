//! The streams of an m-line: layers and SSRCs of a source, the fixed SSRCs of a slot.

use wire::messages::ids::Rid;
use wire::messages::media::{Media, MediaRole, SlotParameters, SourceSsrc};
use wire::sdp::{Alternative, MediaSection, Msid, RidLine, Simulcast, SsrcGroup, SsrcLine};

use super::{BadOffer, CNAME, Place};

/// Simulcast layers used of one source. Browsers send three; a fourth would cost its sender upload for nothing.
const LAYERS_MAX: usize = 3;

/// SSRCs that one endpoint may announce: 10 sources of three layers with retransmissions.
const SSRCS_MAX: usize = 64;

/// RFC 8853, 5.2: the RIDs the browser wants to send, in its order, of each stream the first alternative.
pub(super) fn layers(section: &MediaSection) -> Result<Vec<Rid>, &'static str> {
    let Some(simulcast) = &section.simulcast else { return Ok(Vec::new()) };
    let is_declared = |rid: &str| section.rids.iter().any(|line| line.is_sent && line.id == rid);
    let mut layers = Vec::new();
    for alternative in simulcast.send.iter().filter_map(|stream| stream.first()) {
        if !is_declared(&alternative.rid) {
            return Err("a=simulcast names a stream that no a=rid line sends");
        }
        let rid = Rid::parse(alternative.rid.as_str())
            .map_err(|_| "an a=rid is not 1 to 16 letters, digits, - or _")?;
        if layers.contains(&rid) {
            return Err("a=simulcast names one stream twice");
        }
        layers.push(rid);
    }
    layers.truncate(LAYERS_MAX);
    Ok(layers)
}

/// Accepts `layers`; those that are not named are refused (RFC 8853, 5.3.2).
pub(super) fn write_layers(answer: &mut MediaSection, layers: &[Rid]) {
    if layers.is_empty() {
        return;
    }
    let rid_line = |rid: &Rid| RidLine { id: rid.to_string(), is_sent: false, restrictions: String::new() };
    let stream = |rid: &Rid| vec![Alternative { rid: rid.to_string(), is_paused: false }];
    answer.rids = layers.iter().map(rid_line).collect();
    answer.simulcast = Some(Simulcast { send: Vec::new(), receive: layers.iter().map(stream).collect() });
}

/// The media streams announced by SSRC with their retransmissions (RFC 5576, 4.2), lowest layer first where an old
/// `SIM` group orders them. Streams of forward error correction are left out: it is not answered.
pub(super) fn ssrcs(section: &MediaSection) -> Vec<SourceSsrc> {
    let groups =
        |semantics: &'static str| section.ssrc_groups.iter().filter(move |it| it.semantics == semantics);
    let pairs: Vec<(u32, u32)> = groups("FID").filter_map(|group| pair(&group.ssrcs)).collect();
    let repair: Vec<u32> =
        groups("FEC-FR").chain(groups("FEC")).filter_map(|it| pair(&it.ssrcs)).map(|it| it.1).collect();

    let ordered = groups("SIM").flat_map(|group| group.ssrcs.iter().copied());
    let mut streams: Vec<SourceSsrc> = Vec::new();
    for media in ordered.chain(section.ssrcs.iter().map(|line| line.ssrc)) {
        let is_companion = repair.contains(&media) || pairs.iter().any(|(_, rtx)| *rtx == media);
        if is_companion || streams.iter().any(|known| known.media == media) {
            continue;
        }
        let rtx = pairs.iter().find(|(first, _)| *first == media).map(|(_, rtx)| *rtx);
        streams.push(SourceSsrc { media, rtx });
    }
    streams
}

/// A group of two different streams.
fn pair(ssrcs: &[u32]) -> Option<(u32, u32)> {
    match *ssrcs {
        [first, second] if first != second => Some((first, second)),
        _ => None,
    }
}

/// An SSRC belongs to one m-line, and there are not too many.
pub(super) fn check(medias: &[Media]) -> Result<(), BadOffer> {
    let mut seen: Vec<u32> = Vec::new();
    for media in medias {
        let refuse = |reason| Err(BadOffer { place: Place::Media(media.mid.clone()), reason });
        let MediaRole::Source(source) = &media.role else { continue };
        for ssrc in source.ssrcs.iter().flat_map(|stream| std::iter::once(stream.media).chain(stream.rtx)) {
            if seen.contains(&ssrc) {
                return refuse("an a=ssrc number is used twice");
            }
            if seen.len() == SSRCS_MAX {
                return refuse("more than 64 SSRCs in one offer");
            }
            seen.push(ssrc);
        }
    }
    Ok(())
}

/// A slot's fixed streams. Browsers synchronise what shares a media stream: the only audio and the only video slot
/// show one person and share one; otherwise each slot may show somebody else and stands alone.
pub(super) fn write_slot(answer: &mut MediaSection, slot: &SlotParameters, is_pair: bool) {
    let track = format!("slot-{}", slot.mid);
    let stream = if is_pair { "slots".to_owned() } else { track.clone() };
    answer.msids = vec![Msid { stream, track: Some(track) }];
    let has_rtx = answer.payloads.iter().any(|payload| payload.is("rtx"));
    let rtx_ssrc = slot.rtx_ssrc.filter(|_| has_rtx);
    let line = |ssrc| SsrcLine { ssrc, cname: Some(CNAME.to_owned()) };
    answer.ssrcs = std::iter::once(slot.ssrc).chain(rtx_ssrc).map(line).collect();
    if let Some(rtx_ssrc) = rtx_ssrc {
        answer.ssrc_groups =
            vec![SsrcGroup { semantics: "FID".to_owned(), ssrcs: vec![slot.ssrc, rtx_ssrc] }];
    }
}

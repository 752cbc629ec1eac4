//! Checks what signaling says about a browser before anything is made of it, so that nothing behind this has to ask
//! again.

use std::collections::BTreeSet;

use wire::messages::ids::EndpointId;
use wire::messages::link::SlotPin;
use wire::messages::media::{EndpointParameters, Extension, Media, MediaKind, MediaRole, SourceParameters};

use super::source::layer_count;
use super::streams::STREAMS_MAX;

/// What is wrong, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadParameters(String);

/// The parameters fit together and stay within the limits.
pub(crate) fn check(
    endpoint: &EndpointId,
    parameters: &EndpointParameters,
    pins: &[SlotPin],
) -> Result<(), BadParameters> {
    let EndpointParameters { ice, fingerprints, medias } = parameters;
    ensure((4..=256).contains(&ice.ufrag.len()), || "the ufrag is not 4 to 256 characters long".to_owned())?;
    ensure((22..=256).contains(&ice.pwd.len()), || {
        "the ICE password is not 22 to 256 characters long".to_owned()
    })?;
    ensure((1..=FINGERPRINTS_MAX).contains(&fingerprints.len()), || {
        "there is no fingerprint, or too many".to_owned()
    })?;
    ensure(medias.len() <= MEDIAS_MAX, || format!("more than {MEDIAS_MAX} m-lines"))?;
    let mids: BTreeSet<_> = medias.iter().map(|media| &media.mid).collect();
    ensure(mids.len() == medias.len(), || "two m-lines have one mid".to_owned())?;
    medias.iter().try_for_each(check_media)?;
    check_bundle(medias)?;
    check_sources(endpoint, medias)?;
    for pin in pins {
        let is_slot = medias.iter().any(|media| media.mid == pin.mid && media.role == MediaRole::Slot);
        ensure(is_slot, || format!("the m-line {} that is bound to a source is no slot", pin.mid))?;
    }
    Ok(())
}

fn check_media(media: &Media) -> Result<(), BadParameters> {
    let Media { mid, codecs, extensions, .. } = media;
    ensure(codecs.len() <= CODECS_MAX, || format!("more than {CODECS_MAX} codecs on {mid}"))?;
    let is_used = media.role != MediaRole::Inactive;
    ensure(!is_used || !codecs.is_empty(), || format!("no codec on {mid}"))?;
    let mut numbers = BTreeSet::new();
    for codec in codecs {
        for number in [Some(codec.payload_type), codec.rtx_payload_type].into_iter().flatten() {
            ensure(number < 0x80, || format!("payload type {number} on {mid} has more than 7 bits"))?;
            ensure(numbers.insert(number), || format!("payload type {number} appears twice on {mid}"))?;
        }
        let is_rate_fit = (8_000..=192_000).contains(&codec.clock_rate_hz);
        ensure(is_rate_fit, || format!("clock rate {} on {mid}", codec.clock_rate_hz))?;
        ensure(codec.format.len() <= FORMAT_BYTES_MAX, || format!("fmtp on {mid} is too long"))?;
    }
    let mut ids = BTreeSet::new();
    for each in extensions {
        ensure(each.id != 0 && ids.insert(each.id), || format!("extension id {} on {mid}", each.id))?;
    }
    Ok(())
}

/// RFC 9143, 9.1: within a BUNDLE a number means one thing. Only what we receive is looked at: there numbers are read.
fn check_bundle(medias: &[Media]) -> Result<(), BadParameters> {
    let mut meanings: Vec<(u8, Extension)> = Vec::new();
    for media in medias.iter().filter(|media| matches!(media.role, MediaRole::Source(_))) {
        for each in &media.extensions {
            let contradicts =
                |(id, extension): &(u8, Extension)| *id == each.id && *extension != each.extension;
            ensure(!meanings.iter().any(contradicts), || {
                format!("extension id {} has two meanings", each.id)
            })?;
            meanings.push((each.id, each.extension));
        }
    }
    Ok(())
}

fn check_sources(endpoint: &EndpointId, medias: &[Media]) -> Result<(), BadParameters> {
    let (mut names, mut ssrcs, mut streams) = (BTreeSet::new(), BTreeSet::new(), 0);
    for media in medias {
        let MediaRole::Source(source) = &media.role else { continue };
        let SourceParameters { name, rids, ssrcs: announced, .. } = source;
        let letter = if media.kind == MediaKind::Audio { 'a' } else { 'v' };
        let is_own =
            name.owner() == endpoint.as_str() && name.as_str().as_bytes().get(9) == Some(&(letter as u8));
        ensure(is_own, || format!("{name} is no name for a source on {}", media.mid))?;
        ensure(names.insert(name), || format!("two sources are called {name}"))?;
        let layers = layer_count(source);
        ensure(layers <= LAYERS_MAX, || format!("more than {LAYERS_MAX} layers on {}", media.mid))?;
        let is_paired = rids.is_empty() || announced.is_empty() || rids.len() == announced.len();
        ensure(is_paired, || format!("layers and SSRCs on {} do not match", media.mid))?;
        for ssrc in announced.iter().flat_map(|each| [Some(each.media), each.rtx]).flatten() {
            ensure(ssrcs.insert(ssrc), || format!("SSRC {ssrc} appears twice"))?;
        }
        let per_layer = if media.kind == MediaKind::Audio { 1 } else { 2 };
        streams += layers * per_layer;
    }
    ensure(streams <= STREAMS_MAX, || format!("more than {STREAMS_MAX} streams"))
}

fn ensure(is_fine: bool, why: impl FnOnce() -> String) -> Result<(), BadParameters> {
    if is_fine { Ok(()) } else { Err(BadParameters(why())) }
}

/// A browser has one certificate; a few hash functions may digest it.
const FINGERPRINTS_MAX: usize = 8;

/// Fifty videos, their voices, and what the browser sends.
const MEDIAS_MAX: usize = 64;

/// Chromium offers about twenty for video.
const CODECS_MAX: usize = 64;

/// The longest fmtp in use, H264's with parameter sets, has some hundred bytes.
const FORMAT_BYTES_MAX: usize = 1_024;

/// Browsers send three.
const LAYERS_MAX: usize = 4;

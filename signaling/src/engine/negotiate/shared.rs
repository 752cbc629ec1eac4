//! What the m-lines of one offer share: the bundle, the numbers in its packets, and its one transport.

use wire::messages::media::{Extension, Fingerprint, IceCredentials, Media, TransportParameters};
use wire::sdp::{Candidate, CandidateKind, MediaSection, Sdp, Setup, Transport};

use super::{BadOffer, Place, bad, bad_section};

/// Longest `ice-ufrag` accepted. STUN's USERNAME joins both sides' with a colon and may have 508 bytes (RFC 8489, 14.3);
/// browsers use 4 to 8.
const UFRAG_CHARS_MAX: usize = 255;
/// RFC 8839, 5.4: shorter ones can be guessed.
const UFRAG_CHARS_MIN: usize = 4;
/// RFC 8839, 5.4.
const PWD_CHARS_MIN: usize = 22;
/// RFC 8839, 5.4.
const PWD_CHARS_MAX: usize = 256;
/// The only hash that everybody has (RFC 8122, 5) and that bridges check.
const FINGERPRINT_ALGORITHM: &str = "sha-256";
/// 32 bytes as `AB:CD:…`.
const FINGERPRINT_CHARS: usize = 32 * 3 - 1;
/// RFC 9143, 7.3: every m-line in use is in the group. Returns the position of the one that speaks for all.
pub(super) fn check_bundle(offer: &Sdp, sections: &[MediaSection]) -> Result<usize, BadOffer> {
    let in_use = || sections.iter().enumerate().filter(|(_, section)| !section.is_rejected());
    let Some((first, _)) = in_use().next() else {
        return Err(bad("no m-line is audio or video with a codec that is forwarded here"));
    };
    let Some(bundle) = &offer.bundle else {
        // A single m-line has nothing to be bundled with.
        return if in_use().count() == 1 { Ok(first) } else { Err(bad("there is no a=group:BUNDLE")) };
    };
    let position = |section: &MediaSection| bundle.iter().position(|mid| Some(mid) == section.mid.as_ref());
    if let Some((index, section)) = in_use().find(|(_, section)| position(section).is_none()) {
        return Err(bad_section(index, section, "it is not in a=group:BUNDLE"));
    }
    Ok(in_use().min_by_key(|(_, section)| position(section)).map_or(first, |(index, _)| index))
}

/// RFC 9143, 9.1: in one bundle a number means one thing, else a packet could not be read before its m-line is known.
pub(super) fn check_numbers(medias: &[Media]) -> Result<(), BadOffer> {
    let mut extensions: [Option<Extension>; 256] = [None; 256];
    // A payload type is a codec, or the retransmissions of one.
    let mut payload_types = [None; 256];
    for media in medias {
        let refuse = |reason| Err(BadOffer { place: Place::Media(media.mid.clone()), reason });
        for each in &media.extensions {
            if *extensions[usize::from(each.id)].get_or_insert(each.extension) != each.extension {
                return refuse("an a=extmap number means something else in another m-line");
            }
        }
        for each in &media.codecs {
            let retransmissions = each.rtx_payload_type.map(|number| (number, (each.codec, true)));
            for (number, meaning) in
                std::iter::once((each.payload_type, (each.codec, false))).chain(retransmissions)
            {
                if *payload_types[usize::from(number)].get_or_insert(meaning) != meaning {
                    return refuse("a payload type means something else in another m-line");
                }
            }
        }
    }
    Ok(())
}

/// ICE credentials and fingerprints: of the m-line that speaks for all in the answer, or in the offer (RFC 9143, 7.1.3:
/// a later offer has them only there), or of the session.
pub(super) fn read_transport(
    offer: &Sdp,
    tagged: usize,
) -> Result<(IceCredentials, Vec<Fingerprint>), BadOffer> {
    let offered = offer.bundle.as_ref().and_then(|bundle| bundle.first());
    let offered = offer.medias.iter().find(|section| offered.is_some() && section.mid.as_ref() == offered);
    let own = offer.medias.get(tagged);
    let places: Vec<&Transport> =
        own.into_iter().chain(offered).map(|section| &section.transport).chain([&offer.transport]).collect();

    let ufrag = places.iter().find_map(|place| place.ufrag.clone()).ok_or(bad("there is no a=ice-ufrag"))?;
    let pwd = places.iter().find_map(|place| place.pwd.clone()).ok_or(bad("there is no a=ice-pwd"))?;
    if !(UFRAG_CHARS_MIN..=UFRAG_CHARS_MAX).contains(&ufrag.len()) || !ufrag.bytes().all(is_ice_char) {
        return Err(bad("a=ice-ufrag is not 4 to 255 ice-chars"));
    }
    if !(PWD_CHARS_MIN..=PWD_CHARS_MAX).contains(&pwd.len()) || !pwd.bytes().all(is_ice_char) {
        return Err(bad("a=ice-pwd is not 22 to 256 ice-chars"));
    }
    // RFC 4145, 4: an offer that does not say is active. RFC 8842, 5.3: we wait, so a browser that waits too is refused.
    match places.iter().find_map(|place| place.setup) {
        None | Some(Setup::Active | Setup::ActPass) => {}
        Some(Setup::Passive | Setup::HoldConnection) => {
            return Err(bad("a=setup is neither actpass nor active"));
        }
    }
    let fingerprints = places.iter().map(|place| &place.fingerprints).find(|list| !list.is_empty());
    let fingerprints = fingerprints.ok_or(bad("there is no a=fingerprint"))?;
    let known: Vec<Fingerprint> = fingerprints.iter().filter(|it| is_known(it)).cloned().collect();
    if known.is_empty() {
        Err(bad("no a=fingerprint is a sha-256 one"))
    } else {
        Ok((IceCredentials { ufrag, pwd }, known))
    }
}

fn is_known(fingerprint: &Fingerprint) -> bool {
    fingerprint.algorithm == FINGERPRINT_ALGORITHM && fingerprint.value.len() == FINGERPRINT_CHARS
}

/// RFC 8839, 5.4.
fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// The transport of all m-lines. Credentials and fingerprint stand at session level: RFC 9143, 7.1.3 wants them only in
/// the tagged section, but Firefox crashes on another section that has no fingerprint of its own or of the session, and
/// some WHIP clients refuse one without credentials.
pub(super) fn write_transport(answer: &mut Sdp, tagged: usize, transport: &TransportParameters) {
    answer.transport = Transport {
        ufrag: Some(transport.ice.ufrag.clone()),
        pwd: Some(transport.ice.pwd.clone()),
        fingerprints: vec![transport.fingerprint.clone()],
        ..Transport::default()
    };
    let Some(section) = answer.medias.get_mut(tagged) else { return };
    for (index, candidate) in transport.candidates.iter().enumerate() {
        section.candidates.push(Candidate {
            foundation: (index + 1).to_string(),
            component: 1,
            priority: candidate.priority,
            address: candidate.address,
            kind: CandidateKind::Host,
        });
    }
    section.has_all_candidates = true;
    // RFC 8839, 4.2.1.2: the default destination is one of the candidates.
    if let Some(candidate) = transport.candidates.first() {
        section.connection = Some(candidate.address.ip());
        section.port = candidate.address.port();
    }
}

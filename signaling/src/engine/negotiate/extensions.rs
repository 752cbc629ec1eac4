//! Which RTP header extensions of an m-line are used (RFC 8285, 7).

use wire::messages::media::{Extension, ExtensionParameters, MediaKind, MediaRole};
use wire::sdp::{Direction, ExtensionMap, MediaSection};

/// What one m-line has use for.
pub(super) struct Wanted {
    pub(super) kind: MediaKind,
    pub(super) estimate: Estimate,
    /// From the browser's side.
    sends: bool,
    receives: bool,
    has_layers: bool,
}

/// How a sender learns what the path carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Estimate {
    /// Numbers in every packet, arrival times in return.
    TransportCc,
    /// For clients without the better way: times in every packet, a sum in return.
    Remb,
    /// Nothing was offered.
    None,
}

const URIS: [(Extension, &str); 9] = [
    (Extension::Mid, "urn:ietf:params:rtp-hdrext:sdes:mid"),
    (Extension::Rid, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"),
    (Extension::RepairedRid, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"),
    (Extension::AudioLevel, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
    (Extension::AbsSendTime, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
    (Extension::TransportCc, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"),
    (Extension::VideoOrientation, "urn:3gpp:video-orientation"),
    (
        Extension::DependencyDescriptor,
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    ),
    (Extension::PlayoutDelay, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"),
];

impl Wanted {
    /// What `section` in its role has use for.
    pub(super) fn of(section: &MediaSection, kind: MediaKind, role: &MediaRole) -> Self {
        let (sends, receives, has_layers) = match role {
            MediaRole::Source(source) => (true, false, !source.rids.is_empty()),
            MediaRole::Slot => (false, true, false),
            MediaRole::Inactive => (false, false, false),
        };
        let mut wanted = Self { kind, estimate: Estimate::None, sends, receives, has_layers };
        let mut feedback = section.feedback.iter().chain(section.payloads.iter().flat_map(|it| &it.feedback));
        let numbers =
            section.extensions.iter().any(|map| wanted.can_use(map) && is(map, Extension::TransportCc));
        if numbers && feedback.clone().any(|kind| kind == "transport-cc") {
            wanted.estimate = Estimate::TransportCc;
        } else if feedback.any(|kind| kind == "goog-remb") {
            wanted.estimate = Estimate::Remb;
        }
        wanted
    }

    /// Offered for the way that the media takes.
    fn can_use(&self, map: &ExtensionMap) -> bool {
        let direction = map.direction.unwrap_or(Direction::SendReceive);
        (!self.sends || direction.sends()) && (!self.receives || direction.receives())
    }

    /// What nobody reads would still cost its bytes in every packet.
    fn wants(&self, extension: Extension) -> bool {
        match extension {
            Extension::Mid => true,
            Extension::Rid | Extension::RepairedRid => self.has_layers,
            Extension::AudioLevel => self.kind == MediaKind::Audio,
            Extension::AbsSendTime => self.estimate == Estimate::Remb,
            Extension::TransportCc => self.estimate == Estimate::TransportCc,
            Extension::VideoOrientation | Extension::PlayoutDelay => self.kind == MediaKind::Video,
            // Read by the bridge, but not for receivers while nobody rewrites it: frame numbers that jump when a slot
            // changes its source freeze a browser, and without it the payload says enough.
            Extension::DependencyDescriptor => self.kind == MediaKind::Video && !self.receives,
        }
    }
}

fn is(map: &ExtensionMap, extension: Extension) -> bool {
    URIS.iter().any(|(each, uri)| *each == extension && *uri == map.uri)
}

/// The extensions in use, typed and as lines of the answer, under the offer's numbers.
pub(super) fn choose(
    section: &MediaSection,
    wanted: &Wanted,
) -> Result<(Vec<ExtensionParameters>, Vec<ExtensionMap>), &'static str> {
    let mut parameters: Vec<ExtensionParameters> = Vec::new();
    let mut lines = Vec::new();
    for map in &section.extensions {
        let Some((extension, _)) = URIS.into_iter().find(|(_, uri)| *uri == map.uri) else { continue };
        // RFC 8285, 7: numbers above 255 cannot stand in a packet; 4.2: 15 ends the one-byte form.
        let Some(id) = u8::try_from(map.id).ok().filter(|id| *id != 15) else { continue };
        let is_known = parameters.iter().any(|known| known.extension == extension);
        if is_known || !wanted.wants(extension) || !wanted.can_use(map) {
            continue;
        }
        if parameters.iter().any(|known| known.id == id) {
            return Err("one a=extmap number stands for two extensions");
        }
        parameters.push(ExtensionParameters { id, extension });
        let direction = map.direction.map(Direction::reversed);
        lines.push(ExtensionMap { id: map.id, direction, uri: map.uri.clone(), attributes: String::new() });
    }
    Ok((parameters, lines))
}

//! What a caller offers, and what it needs of the answer (RFC 8829). One bundle, the m-lines in Chromium's order: what
//! is sent (voice, camera, screen), then the slots (audio, video).
//!
//! ```text
//! Description ── write_offer ──► offer ──► server ──► answer ── read_answer ──► Answer { where, whom, how, slots }
//! ```
//!
//! An answer is read as strictly as a browser reads it, and once more: a track that the server refuses is an error and
//! not silence, because a run that measures less than its scenario says is worse than one that stops.

mod answer;
mod offer;
#[cfg(test)]
mod tests;

use wire::messages::media::{Fingerprint, IceCredentials, MediaKind};

#[cfg(test)]
use self::answer::Answer;
pub(crate) use self::answer::{TrackAgreement, read_answer};
pub(crate) use self::offer::write_offer;
use super::send::Track;

/// What an offer says.
pub(crate) struct Description<'a> {
    /// Names the connection (RFC 8866, 5.2).
    pub(crate) number: u32,
    /// Names the sender, as in its reports (RFC 3550, 6.5.1).
    pub(crate) cname: &'a str,
    pub(crate) ice: &'a IceCredentials,
    pub(crate) fingerprint: &'a Fingerprint,
    pub(crate) tracks: Vec<&'a Track>,
    pub(crate) audio_slots: usize,
    pub(crate) video_slots: usize,
}

/// What an m-line is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Line<'a> {
    Track(&'a Track),
    Slot(MediaKind),
}

impl<'a> Description<'a> {
    /// The m-lines in order; the place of each is its mid.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let slots = |kind, count| std::iter::repeat_n(Line::Slot(kind), count);
        let tracks: Vec<_> = self.tracks.iter().map(|track| Line::Track(track)).collect();
        tracks
            .into_iter()
            .chain(slots(MediaKind::Audio, self.audio_slots))
            .chain(slots(MediaKind::Video, self.video_slots))
    }
}

impl Line<'_> {
    pub(crate) fn kind(&self) -> MediaKind {
        match self {
            Self::Track(track) => track.kind,
            Self::Slot(kind) => *kind,
        }
    }
}

/// Chromium's payload types.
const OPUS: u8 = 111;
const VP8: u8 = 96;
const VP8_RTX: u8 = 97;

/// Chromium's numbers for header extensions, and what they stand for.
const AUDIO_LEVEL: (u16, &str) = (1, "urn:ietf:params:rtp-hdrext:ssrc-audio-level");
const TRANSPORT_CC: (u16, &str) =
    (3, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01");
const MID: (u16, &str) = (4, "urn:ietf:params:rtp-hdrext:sdes:mid");
const RID: (u16, &str) = (10, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id");
const REPAIRED_RID: (u16, &str) = (11, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id");

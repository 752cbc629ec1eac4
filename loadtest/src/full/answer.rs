//! What a full caller needs of an answer beside what its library takes from it.

use rtc::sdp::extmap::{SDES_MID_URI, SDES_RTP_STREAM_ID_URI};
use wire::messages::media::MediaKind;
use wire::rtp::Ssrc;
use wire::sdp::{self, Direction, MediaSection, MediaType, Sdp};

use super::connection::{AUDIO_LEVEL_URI, PICTURE_TYPE, VOICE_TYPE};
use crate::engine::ports::BadAnswer;
use crate::engine::receive::SlotIds;

/// An answer's m-lines in the terms of publisher and viewer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// How each track writes its packets; none where the server refuses the track.
    pub(super) tracks: Vec<Option<Format>>,
    /// What the server will send.
    pub(super) slots: Vec<SlotIds>,
    /// Id of the mid extension, where it is agreed on.
    pub(super) mid_id: Option<u8>,
    /// The answer in words that the crate understands: it passes over `a=rtcp-fb:*` (RFC 4585, 4.2), and would neither
    /// ask for packets nor repair any.
    pub(super) spelled_out: String,
}

/// The header of one track's packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    pub(super) mid: String,
    pub(super) audio_level_id: Option<u8>,
    pub(super) mid_id: Option<u8>,
    pub(super) rid_id: Option<u8>,
}

impl Answer {
    /// Reads an answer to an offer that begins with `tracks` m-lines that send.
    ///
    /// # Errors
    /// What is not SDP, and an answer of fewer m-lines than the offer's tracks.
    pub(super) fn read(text: &str, tracks: usize) -> Result<Self, BadAnswer> {
        let sdp = sdp::parse(text).map_err(|error| BadAnswer(error.to_string()))?;
        if sdp.medias.len() < tracks {
            return Err(BadAnswer("it has fewer m-lines than the offer".to_owned()));
        }
        let spelled_out = spell_out(&sdp, text);
        let (sent, received) = sdp.medias.split_at(tracks);
        Ok(Self {
            tracks: sent.iter().map(|section| format(section, &sdp)).collect(),
            slots: received.iter().filter_map(|section| slot(section, &sdp)).collect(),
            mid_id: sdp.medias.iter().find_map(|section| extension_id(section, SDES_MID_URI)),
            spelled_out,
        })
    }
}

fn format(section: &MediaSection, sdp: &Sdp) -> Option<Format> {
    if section.is_rejected() || !direction(section, sdp).receives() {
        return None;
    }
    let fallback = if section.kind == MediaType::Audio { VOICE_TYPE } else { PICTURE_TYPE };
    Some(Format {
        payload_type: section.payloads.first().map_or(fallback, |payload| payload.payload_type),
        mid: section.mid.clone().unwrap_or_default(),
        audio_level_id: extension_id(section, AUDIO_LEVEL_URI),
        mid_id: extension_id(section, SDES_MID_URI),
        rid_id: extension_id(section, SDES_RTP_STREAM_ID_URI),
    })
}

fn slot(section: &MediaSection, sdp: &Sdp) -> Option<SlotIds> {
    if section.is_rejected() || !direction(section, sdp).sends() {
        return None;
    }
    let kind = match section.kind {
        MediaType::Audio => MediaKind::Audio,
        MediaType::Video => MediaKind::Video,
        _ => return None,
    };
    let media = section.payloads.iter().find(|payload| !payload.is("rtx"))?;
    let repairs = section.payloads.iter().find(|payload| {
        payload.is("rtx") && payload.parameter("apt") == Some(&media.payload_type.to_string())
    });
    let pair = section.ssrc_groups.iter().find(|group| group.semantics == "FID").map(|group| &group.ssrcs);
    let single = section.ssrcs.first().map(|line| line.ssrc);
    Some(SlotIds {
        mid: section.mid.clone().unwrap_or_default(),
        kind,
        ssrc: pair.and_then(|ssrcs| ssrcs.first().copied()).or(single).map(Ssrc),
        rtx_ssrc: pair.and_then(|ssrcs| ssrcs.get(1).copied()).map(Ssrc),
        payload_type: media.payload_type,
        rtx_payload_type: repairs.map(|payload| payload.payload_type),
    })
}

/// Each payload type with its own feedback; as it came, if there is no wildcard.
fn spell_out(sdp: &Sdp, text: &str) -> String {
    if sdp.medias.iter().all(|section| section.feedback.is_empty()) {
        return text.to_owned();
    }
    let mut sdp = sdp.clone();
    for section in &mut sdp.medias {
        let shared = std::mem::take(&mut section.feedback);
        for payload in section.payloads.iter_mut().filter(|payload| !payload.is("rtx")) {
            payload.feedback.extend(shared.iter().cloned());
        }
    }
    sdp.to_string()
}

/// RFC 8866, 6.7: without a line of its own an m-line has the session's direction, or both.
fn direction(section: &MediaSection, sdp: &Sdp) -> Direction {
    section.direction.or(sdp.direction).unwrap_or(Direction::SendReceive)
}

/// One-byte headers (RFC 8285, 4.2) have ids up to 14.
fn extension_id(section: &MediaSection, uri: &str) -> Option<u8> {
    let mapping = section.extensions.iter().find(|extension| extension.uri == uri)?;
    u8::try_from(mapping.id).ok().filter(|id| (1..=14).contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:2\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=extmap:2 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=ssrc-group:FID 7 8\r\na=ssrc:7 cname:x\r\na=ssrc:8 cname:x\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:3\r\na=inactive\r\na=rtpmap:96 VP8/90000\r\n";

    #[test]
    fn tracks_and_slots_are_read_and_what_is_refused_is_left_out() {
        let answer = Answer::read(ANSWER, 2).unwrap();
        assert_eq!(answer.tracks[1], None);
        let voice = answer.tracks[0].as_ref().unwrap();
        assert_eq!((voice.payload_type, voice.audio_level_id, voice.mid.as_str()), (111, Some(1), "0"));
        let picture = SlotIds {
            mid: "2".to_owned(),
            kind: MediaKind::Video,
            ssrc: Some(Ssrc(7)),
            rtx_ssrc: Some(Ssrc(8)),
            payload_type: 96,
            rtx_payload_type: Some(97),
        };
        assert_eq!((answer.slots, answer.mid_id), (vec![picture], Some(2)));
        assert_eq!(answer.spelled_out, ANSWER);
    }

    #[test]
    fn feedback_for_all_payload_types_is_spelled_out_for_each_but_repairs() {
        let text = ANSWER.replace("a=mid:2\r\n", "a=mid:2\r\na=rtcp-fb:* nack\r\na=rtcp-fb:* nack pli\r\n");
        let spelled_out = Answer::read(&text, 2).unwrap().spelled_out;
        assert!(spelled_out.contains("a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n"), "{spelled_out}");
        assert!(!spelled_out.contains("rtcp-fb:*") && !spelled_out.contains("rtcp-fb:97"), "{spelled_out}");
    }

    #[test]
    fn an_answer_that_lacks_m_lines_or_is_none_is_refused() {
        for (text, tracks) in [(ANSWER, 5), ("", 0), ("hello", 1), ("v=0\r\nm=audio", 0)] {
            assert!(Answer::read(text, tracks).is_err(), "{text}");
        }
    }
}

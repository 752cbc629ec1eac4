//! Which payload type of a receiver's m-line carries what a source sends: same codec, same variant of it.

use wire::messages::media::{Codec, CodecParameters};

/// The receiver's numbers for one of a source's codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// Payload type of the media.
    pub payload_type: u8,
    /// Payload type of its retransmissions (RFC 4588), if agreed.
    pub rtx_payload_type: Option<u8>,
}

/// For each codec of a source, in the source's order, what the receiver calls it.
pub(crate) type Mapping = Vec<Option<Mapped>>;

/// One way to write a codec that a decoder tells from others: codec, clock rate, variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    codec: Codec,
    clock_rate_hz: u32,
    variant: (u32, u32),
}

/// The formats of a list of codecs, in its order. Read once, compared often.
pub(crate) fn formats(codecs: &[CodecParameters]) -> Vec<Format> {
    let format = |codec: &CodecParameters| Format {
        codec: codec.codec,
        clock_rate_hz: codec.clock_rate_hz,
        variant: variant(codec.codec, &codec.format),
    };
    codecs.iter().map(format).collect()
}

/// Finds the receiver's payload type for each of the source's formats. `own` are the formats of `receiver`.
pub(crate) fn map(source: &[Format], own: &[Format], receiver: &[CodecParameters]) -> Mapping {
    let find = |sent: &Format| own.iter().position(|format| format == sent);
    source.iter().map(|sent| find(sent).and_then(|place| receiver.get(place)).map(mapped)).collect()
}

/// Some format is in both lists.
pub(crate) fn share(one: &[Format], other: &[Format]) -> bool {
    one.iter().any(|format| other.contains(format))
}

fn mapped(own: &CodecParameters) -> Mapped {
    Mapped { payload_type: own.payload_type, rtx_payload_type: own.rtx_payload_type }
}

/// The part of `a=fmtp` that a decoder must agree with. Levels, rates and preferences are left out.
fn variant(codec: Codec, format: &str) -> (u32, u32) {
    match codec {
        Codec::Opus | Codec::Vp8 => (0, 0),
        // RFC 9628, 6.1: absent is profile 0.
        Codec::Vp9 => (number(format, "profile-id"), 0),
        // AV1 RTP payload specification, 7.2.1: absent is profile 0 (Main).
        Codec::Av1 => (number(format, "profile"), 0),
        // RFC 6184, 8.1: absent mode is 0, single NAL units.
        Codec::H264 => (h264_profile(format), number(format, "packetization-mode")),
    }
}

fn parameter<'a>(format: &'a str, name: &str) -> Option<&'a str> {
    format.split(';').filter_map(|part| part.trim().split_once('=')).find_map(|(key, value)| {
        let is_it = key.trim().eq_ignore_ascii_case(name);
        is_it.then(|| value.trim())
    })
}

fn number(format: &str, name: &str) -> u32 {
    parameter(format, name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Profile and constraint flags without the level: the first two bytes of profile-level-id, in which the ways to say
/// "constrained baseline" are made one (RFC 6184, table 5).
fn h264_profile(format: &str) -> u32 {
    let Some(id) = parameter(format, "profile-level-id").and_then(|hex| u32::from_str_radix(hex, 16).ok())
    else {
        return H264_BASELINE;
    };
    let (profile, constraints) = (id >> 16 & 0xff, id >> 8 & 0xff);
    let is_constrained_baseline =
        matches!((profile, constraints & 0xc0), (0x42, 0x40 | 0xc0) | (0x4d | 0x58, 0x80..));
    if is_constrained_baseline && (profile != 0x58 || constraints & 0xc0 == 0xc0) {
        return H264_CONSTRAINED_BASELINE;
    }
    // The last four flags are reserved, set3 means "intra only" or level 1b.
    profile << 8 | constraints & 0xf0
}

/// RFC 6184, 8.1: what an absent profile-level-id means, without the level.
const H264_BASELINE: u32 = 0x4200;

const H264_CONSTRAINED_BASELINE: u32 = 0x42e0;

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(payload_type: u8, codec: Codec, format: &str) -> CodecParameters {
        let clock_rate_hz = if codec == Codec::Opus { 48_000 } else { 90_000 };
        CodecParameters {
            payload_type,
            codec,
            clock_rate_hz,
            format: format.to_owned(),
            rtx_payload_type: Some(payload_type + 1),
        }
    }

    fn mapping(source: &[CodecParameters], receiver: &[CodecParameters]) -> Mapping {
        map(&formats(source), &formats(receiver), receiver)
    }

    #[test]
    fn a_codec_is_found_under_the_receivers_number() {
        let source = [codec(96, Codec::Vp8, ""), codec(98, Codec::Vp9, "profile-id=2")];
        let receiver = [codec(120, Codec::Vp8, "max-fs=12288"), codec(122, Codec::Vp9, "profile-id=0")];
        let expected = Mapped { payload_type: 120, rtx_payload_type: Some(121) };
        assert_eq!(mapping(&source, &receiver), [Some(expected), None]);
    }

    #[test]
    fn h264_matches_by_profile_and_packetization_and_not_by_level() {
        let sent = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
        for (own, fits) in [
            ("profile-level-id=42e034;packetization-mode=1", true),
            ("packetization-mode=1; profile-level-id=42C01E", true),
            ("profile-level-id=42e01f;packetization-mode=0", false),
            ("profile-level-id=64001f;packetization-mode=1", false),
            ("packetization-mode=1", false),
        ] {
            let found = mapping(&[codec(102, Codec::H264, sent)], &[codec(104, Codec::H264, own)]);
            assert_eq!(found[0].is_some(), fits, "{own}");
        }
    }
}

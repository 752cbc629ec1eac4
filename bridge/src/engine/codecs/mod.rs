//! What the bridge must know of a codec's payload: where a receiver can begin, and what has to be rewritten when a slot
//! changes what it shows. Everything else in a payload stays unread.
//!
//! Every function here takes bytes a browser made up: none panics, none allocates, each is linear in the payload.

pub(crate) mod av1;
pub(crate) mod h264;
pub(crate) mod vp8;
pub(crate) mod vp9;

use wire::messages::media::Codec;

/// Whether a receiver that knows nothing of the stream yet can begin with this packet. `dependency_descriptor` is that
/// header extension, if the packet has it: it is believed before the payload, which may be encrypted end to end.
pub(crate) fn is_key_frame(codec: Codec, payload: &[u8], dependency_descriptor: Option<&[u8]>) -> bool {
    if let Some(is_key_frame) = dependency_descriptor.and_then(av1::descriptor_is_key_frame) {
        return is_key_frame;
    }
    match codec {
        // Every opus packet can be the first.
        Codec::Opus => true,
        Codec::Vp8 => vp8::is_key_frame(payload),
        Codec::Vp9 => vp9::is_key_frame(payload),
        Codec::H264 => h264::is_key_frame(payload),
        Codec::Av1 => av1::is_key_frame(payload),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODECS: [Codec; 5] = [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

    #[test]
    fn an_encrypted_payload_is_judged_by_its_dependency_descriptor() {
        let (with_structure, without) = ([0x80, 0, 1, 0x80, 0], [0x80, 0, 2]);
        for codec in CODECS {
            assert!(is_key_frame(codec, &[0x5a; 40], Some(&with_structure)), "{codec:?}");
            assert!(!is_key_frame(codec, &[0x5a; 40], Some(&without)), "{codec:?}");
        }
    }

    #[test]
    fn a_truncated_dependency_descriptor_leaves_the_payload_to_speak() {
        assert!(is_key_frame(Codec::H264, &[0x67, 0x42], Some(&[0x80])));
        assert!(!is_key_frame(Codec::H264, &[0x61, 0x42], Some(&[0x80])));
    }

    #[test]
    fn an_empty_payload_begins_no_picture() {
        for codec in CODECS.into_iter().filter(|&codec| codec != Codec::Opus) {
            assert!(!is_key_frame(codec, &[], None), "{codec:?}");
        }
    }

    proptest! {
        #[test]
        fn no_payload_makes_a_parser_panic(
            payload in prop::collection::vec(any::<u8>(), 0..80),
            descriptor in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        ) {
            for codec in CODECS {
                is_key_frame(codec, &payload, descriptor.as_deref());
            }
        }
    }
}

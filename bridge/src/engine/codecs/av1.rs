//! AV1: the aggregation header that begins each payload (AV1 RTP payload specification, 4.4) and the mandatory part of
//! the dependency descriptor (its appendix A.8), which other codecs may carry as well.

/// Whether the payload is the first packet of a coded video sequence.
pub(crate) fn is_key_frame(payload: &[u8]) -> bool {
    // Z|Y|W W|N|-|-|-: Z continues an OBU of the packet before, which no first packet does.
    payload.len() > 1 && payload[0] & NEW_SEQUENCE != 0 && payload[0] & CONTINUES_OBU == 0
}

/// Whether a packet with this dependency descriptor begins a sequence: only such a one describes the templates that
/// every later descriptor refers to. `None` if it is too short to say.
pub(crate) fn descriptor_is_key_frame(descriptor: &[u8]) -> Option<bool> {
    // start_of_frame|end_of_frame|template_id, frame_number (16 bits), and then, if there is more, four flags.
    let (&[first, _, _], flags) = descriptor.split_first_chunk::<MANDATORY_BYTES>()?;
    let has_structure = flags.first().is_some_and(|flags| flags & STRUCTURE_PRESENT != 0);
    Some(first & START_OF_FRAME != 0 && has_structure)
}

const CONTINUES_OBU: u8 = 0x80;
const NEW_SEQUENCE: u8 = 0x08;
const START_OF_FRAME: u8 = 0x80;
const STRUCTURE_PRESENT: u8 = 0x80;
const MANDATORY_BYTES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_packet_of_a_sequence_is_a_key_frame() {
        assert!(is_key_frame(&[0x18, 0x0a]));
        assert!(is_key_frame(&[0x68, 0x0a]));
        assert!(!is_key_frame(&[0x10, 0x32]), "N is not set");
        assert!(!is_key_frame(&[0x98, 0x32]), "continues an OBU");
        assert!(!is_key_frame(&[0x18]), "holds no OBU");
    }

    #[test]
    fn a_descriptor_with_templates_at_the_start_of_a_frame_is_a_key_frame() {
        assert_eq!(descriptor_is_key_frame(&[0x80, 0, 1, 0x80, 0, 0]), Some(true));
        assert_eq!(descriptor_is_key_frame(&[0x00, 0, 1, 0x80, 0, 0]), Some(false));
        assert_eq!(descriptor_is_key_frame(&[0x80, 0, 1, 0x40]), Some(false));
        assert_eq!(descriptor_is_key_frame(&[0xc5, 0, 1]), Some(false));
        assert_eq!(descriptor_is_key_frame(&[0x80, 0]), None);
    }
}

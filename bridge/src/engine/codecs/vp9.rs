//! VP9 (RFC 9628): which packets a decoder can begin with.

/// Whether the payload begins a picture that is predicted from no other one: the first packet of its lowest spatial
/// layer (4.2).
pub(crate) fn is_key_frame(payload: &[u8]) -> bool {
    let Some((&flags, rest)) = payload.split_first() else { return false };
    if flags & INTER_PREDICTED != 0 || flags & BEGINS_FRAME == 0 {
        return false;
    }
    let picture_id_bytes = match rest.first() {
        _ if flags & PICTURE_ID == 0 => 0,
        Some(first) if first & EXTENDED_PICTURE_ID != 0 => 2,
        _ => 1,
    };
    let Some(rest) = rest.get(picture_id_bytes..) else { return false };
    if flags & LAYER_INDICES == 0 {
        return !rest.is_empty();
    }
    // T T T|U|S S S|D: an upper spatial layer of a key picture is predicted from the lower one.
    rest.len() > 1 && rest[0] & SPATIAL_LAYER == 0
}

/// I|P|L|F|B|E|V|Z, the first byte of the descriptor.
const PICTURE_ID: u8 = 0x80;
const INTER_PREDICTED: u8 = 0x40;
const LAYER_INDICES: u8 = 0x20;
const BEGINS_FRAME: u8 = 0x08;
const EXTENDED_PICTURE_ID: u8 = 0x80;
const SPATIAL_LAYER: u8 = 0x0e;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packet_of_an_unpredicted_picture_is_a_key_frame() {
        assert!(is_key_frame(&[0x88, 0x12, 0x83]), "with a 7-bit picture id");
        assert!(is_key_frame(&[0x88, 0x92, 0x34, 0x83]), "with a 15-bit picture id");
        assert!(is_key_frame(&[0x08, 0x83]), "without a picture id");
        assert!(is_key_frame(&[0xa8, 0x92, 0x34, 0x00, 0x05, 0x83]), "lowest spatial layer");
    }

    #[test]
    fn what_depends_on_another_picture_is_none() {
        assert!(!is_key_frame(&[0xc8, 0x12, 0x83]), "inter-predicted");
        assert!(!is_key_frame(&[0x80, 0x12, 0x83]), "not its first packet");
        assert!(!is_key_frame(&[0xa8, 0x92, 0x34, 0x02, 0x05, 0x83]), "second spatial layer");
    }

    #[test]
    fn a_descriptor_without_data_behind_it_is_none() {
        assert!(!is_key_frame(&[0x08]));
        assert!(!is_key_frame(&[0x88, 0x92]));
        assert!(!is_key_frame(&[0x88, 0x92, 0x34]));
        assert!(!is_key_frame(&[0xa8, 0x12, 0x00]));
    }
}

//! H264 (RFC 6184): which packets a decoder can begin with.

/// Whether the payload holds a sequence parameter set or the beginning of an IDR picture: alone, aggregated (STAP-A,
/// 5.7.1) or as the first fragment (FU-A, 5.8).
pub(crate) fn is_key_frame(payload: &[u8]) -> bool {
    let Some((&indicator, rest)) = payload.split_first() else { return false };
    match indicator & TYPE_MASK {
        STAP_A => aggregates_key_unit(rest),
        FU_A => rest.first().is_some_and(|header| header & FU_START != 0 && is_key_unit(*header)),
        _ => !rest.is_empty() && is_key_unit(indicator),
    }
}

fn aggregates_key_unit(mut units: &[u8]) -> bool {
    // 5.7.1: each unit is preceded by its 16-bit size; one that reaches past the end makes the rest unreadable.
    while let Some((size, rest)) = units.split_first_chunk::<2>() {
        let size = usize::from(u16::from_be_bytes(*size));
        let Some((unit, rest)) = rest.split_at_checked(size) else { return false };
        if unit.first().is_some_and(|&header| is_key_unit(header)) {
            return true;
        }
        units = rest;
    }
    false
}

fn is_key_unit(header: u8) -> bool {
    matches!(header & TYPE_MASK, IDR_SLICE | SEQUENCE_PARAMETERS)
}

const TYPE_MASK: u8 = 0x1f;
const IDR_SLICE: u8 = 5;
const SEQUENCE_PARAMETERS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_and_idr_slices_begin_a_picture() {
        assert!(is_key_frame(&[0x67, 0x42, 0xe0]));
        assert!(is_key_frame(&[0x65, 0x88]));
        assert!(!is_key_frame(&[0x61, 0x88]), "a slice of a predicted picture");
        assert!(!is_key_frame(&[0x68, 0xce]), "picture parameters alone");
        assert!(!is_key_frame(&[0x67]), "a header without a unit");
    }

    #[test]
    fn only_the_first_fragment_of_an_idr_slice_begins_a_picture() {
        assert!(is_key_frame(&[0x7c, 0x85, 0x88]));
        assert!(!is_key_frame(&[0x7c, 0x05, 0x88]));
        assert!(!is_key_frame(&[0x7c, 0x45, 0x88]));
        assert!(!is_key_frame(&[0x7c, 0x81, 0x88]), "of another slice");
        assert!(!is_key_frame(&[0x7c]));
    }

    #[test]
    fn parameters_are_found_behind_other_aggregated_units() {
        assert!(is_key_frame(&[0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68]));
        assert!(is_key_frame(&[0x78, 0, 1, 0x09, 0, 2, 0x67, 0x42]));
        assert!(!is_key_frame(&[0x78, 0, 1, 0x09, 0, 1, 0x61]));
    }

    #[test]
    fn an_aggregate_that_lies_about_its_sizes_begins_nothing() {
        assert!(!is_key_frame(&[0x78, 0xff, 0xff, 0x67]));
        assert!(!is_key_frame(&[0x78, 0, 0, 0, 0, 0]));
        assert!(!is_key_frame(&[0x78, 0]));
    }
}

//! The claims about VP8's descriptor and its numbering.

use proptest::prelude::*;

use super::*;

/// A packet of frame `picture_id` (15 bits).
fn packet(picture_id: u16, tl0_index: u8) -> Descriptor {
    let [high, low] = picture_id.to_be_bytes();
    Descriptor::parse(&[0x90, 0xe0, high | 0x80, low, tl0_index, 0x40, 0x01]).unwrap()
}

fn key_frame(descriptor: &[u8]) -> Vec<u8> {
    [descriptor, &[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x00, 0x45, 0xd0, 0x02, 0x00]].concat()
}

fn picture_ids(rewriter: &mut Rewriter, ids: impl IntoIterator<Item = u16>) -> Vec<Option<u16>> {
    let sent = ids.into_iter().map(|id| rewriter.rewrite(&packet(id, 0)));
    sent.map(|numbers| numbers.map(|numbers| numbers.picture_id)).collect()
}

#[test]
fn every_field_of_a_full_descriptor_is_read() {
    let descriptor = Descriptor::parse(&[0x90, 0xf0, 0x92, 0x34, 0x56, 0x65, 0xaa]).unwrap();
    assert_eq!(descriptor.len(), 6);
    assert_eq!((descriptor.picture_id(), descriptor.tl0_index()), (Some(0x1234), Some(0x56)));
    assert_eq!(descriptor.key_index(), 5);
    assert!(descriptor.starts_frame());
}

#[test]
fn every_combination_of_optional_fields_has_its_length() {
    for (bytes, length) in [
        (&[0x10, 0xaa][..], 1),
        (&[0x80, 0x00, 0xaa], 2),
        (&[0x80, 0x80, 0x12, 0xaa], 3),
        (&[0x80, 0x80, 0x92, 0x34, 0xaa], 4),
        (&[0x80, 0x40, 0x56, 0xaa], 3),
        (&[0x80, 0x20, 0x40, 0xaa], 3),
        (&[0x80, 0x10, 0x05, 0xaa], 3),
        (&[0x80, 0xc0, 0x12, 0x56, 0xaa], 4),
    ] {
        assert_eq!(Descriptor::parse(bytes).map(|descriptor| descriptor.len()), Some(length), "{bytes:02x?}");
        assert_eq!(Descriptor::parse(&bytes[..length]), None, "nothing follows {bytes:02x?}");
    }
}

#[test]
fn a_frame_starts_with_its_first_partition_only() {
    assert!(Descriptor::parse(&[0x10, 0]).unwrap().starts_frame());
    assert!(!Descriptor::parse(&[0x00, 0]).unwrap().starts_frame());
    assert!(!Descriptor::parse(&[0x12, 0]).unwrap().starts_frame());
}

#[test]
fn a_key_frame_tells_its_resolution() {
    let payload = key_frame(&[0x90, 0x80, 0x92, 0x34]);
    assert!(is_key_frame(&payload));
    assert_eq!(resolution(&payload), Some((1_280, 720)));
    assert!(!is_key_frame(&payload[..13]), "cut short");
    assert!(!is_key_frame(&key_frame(&[0x80, 0x80, 0x92, 0x34])), "not its first packet");
}

#[test]
fn a_predicted_or_encrypted_frame_is_no_key_frame() {
    let mut predicted = key_frame(&[0x10]);
    predicted[1] |= 0x01;
    assert!(!is_key_frame(&predicted));
    let mut encrypted = key_frame(&[0x10]);
    encrypted[4] ^= 0x5a;
    assert!(!is_key_frame(&encrypted));
}

#[test]
fn renumbering_keeps_everything_else() {
    let numbers = Numbers { picture_id: 0x1fff, tl0_index: 7, key_index: 9 };
    let long = Descriptor::parse(&[0x90, 0xf0, 0x92, 0x34, 0x56, 0x65, 0xaa]).unwrap();
    assert_eq!(long.renumbered(numbers).as_bytes(), [0x90, 0xf0, 0x9f, 0xff, 7, 0x69]);
    let short = Descriptor::parse(&[0x90, 0x80, 0x12, 0xaa]).unwrap();
    assert_eq!(short.renumbered(numbers).as_bytes(), [0x90, 0x80, 0x7f]);
    let bare = Descriptor::parse(&[0x10, 0xaa]).unwrap();
    assert_eq!(bare.renumbered(numbers).as_bytes(), [0x10]);
}

#[test]
fn another_source_goes_on_where_the_last_one_ended() {
    let mut rewriter = Rewriter::default();
    assert_eq!(picture_ids(&mut rewriter, [100, 100, 101]), [Some(100), Some(100), Some(101)]);
    rewriter.switch();
    assert_eq!(picture_ids(&mut rewriter, [30_000, 30_001]), [Some(102), Some(103)]);
    rewriter.switch();
    assert_eq!(picture_ids(&mut rewriter, [5]), [Some(104)]);
}

#[test]
fn base_layer_numbers_go_on_over_a_switch_as_well() {
    let mut rewriter = Rewriter::default();
    rewriter.rewrite(&packet(1, 255));
    rewriter.switch();
    assert_eq!(rewriter.rewrite(&packet(900, 40)).unwrap().tl0_index, 0);
    assert_eq!(rewriter.rewrite(&packet(901, 41)).unwrap().tl0_index, 1);
}

#[test]
fn a_gap_made_by_loss_stays_a_gap() {
    let mut rewriter = Rewriter::default();
    assert_eq!(picture_ids(&mut rewriter, [10, 13]), [Some(10), Some(13)]);
}

#[test]
fn a_late_packet_is_numbered_as_its_frame_was() {
    let mut rewriter = Rewriter::default();
    picture_ids(&mut rewriter, [10]);
    rewriter.switch();
    assert_eq!(picture_ids(&mut rewriter, [700, 702, 701, 703]), [Some(11), Some(13), Some(12), Some(14)]);
}

#[test]
fn a_packet_from_before_the_switch_is_not_forwarded() {
    let mut rewriter = Rewriter::default();
    picture_ids(&mut rewriter, [100]);
    rewriter.switch();
    assert_eq!(picture_ids(&mut rewriter, [500, 499, 500, 501]), [Some(101), None, Some(101), Some(102)]);
}

#[test]
fn picture_ids_wrap_at_15_bits() {
    let mut rewriter = Rewriter::default();
    assert_eq!(picture_ids(&mut rewriter, [0x7fff, 0, 0x7fff]), [Some(0x7fff), Some(0), Some(0x7fff)]);
}

#[test]
fn an_encoder_that_counts_anew_goes_on_at_once() {
    let mut rewriter = Rewriter::default();
    assert_eq!(
        picture_ids(&mut rewriter, [20_000, 19_000, 19_001]),
        [Some(20_000), Some(20_001), Some(20_002)]
    );
}

#[test]
fn an_encoder_that_jumps_for_ever_overflows_nothing() {
    let mut rewriter = Rewriter::default();
    for jump in 0..600_000_u32 {
        rewriter.rewrite(&packet(jump.wrapping_mul(16_000) as u16 & 0x7fff, 0)).unwrap();
        assert!(rewriter.stream.unwrap().newest <= FRAMES_MAX);
    }
}

#[test]
fn streams_without_picture_ids_pass() {
    let mut rewriter = Rewriter::default();
    let bare = Descriptor::parse(&[0x10, 0xaa]).unwrap();
    let numbers = rewriter.rewrite(&bare).unwrap();
    assert_eq!(bare.renumbered(numbers), bare);
    assert!(rewriter.rewrite(&bare).is_some());
    assert_eq!(rewriter.rewrite(&packet(7, 0)).map(|numbers| numbers.picture_id), Some(7));
}

proptest! {
    #[test]
    fn no_payload_makes_the_parser_panic_and_what_is_read_is_written_again(
        payload in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        if let Some(descriptor) = Descriptor::parse(&payload) {
            prop_assert_eq!(descriptor.as_bytes(), &payload[..descriptor.len()]);
            let numbers = Rewriter::default().rewrite(&descriptor).unwrap();
            prop_assert_eq!(descriptor.renumbered(numbers), descriptor, "the first stream keeps its numbers");
        }
        is_key_frame(&payload);
    }

    #[test]
    fn any_sequence_of_descriptors_is_survived(
        steps in prop::collection::vec((0_u8..8, prop::collection::vec(any::<u8>(), 2..9)), 0..200),
    ) {
        let mut rewriter = Rewriter::default();
        for (action, payload) in steps {
            let Some(descriptor) = Descriptor::parse(&payload) else { continue };
            if action == 0 {
                rewriter.switch();
            }
            rewriter.rewrite(&descriptor);
        }
    }

    /// Frames of up to three streams in turn, each frame of several packets: what comes out counts up by one.
    #[test]
    fn forwarded_frames_are_numbered_without_gaps(
        streams in prop::collection::vec((0_u16..0x8000, any::<u8>(), prop::collection::vec(1_usize..4, 1..120)), 1..4),
    ) {
        let (mut rewriter, mut sent) = (Rewriter::default(), Vec::new());
        for (first, tl0_index, frames) in streams {
            rewriter.switch();
            for (frame, packets) in frames.into_iter().enumerate() {
                let frame = frame as u16;
                let descriptor = packet((first + frame) & 0x7fff, tl0_index.wrapping_add(frame as u8));
                let numbers: Vec<_> = (0..packets).map(|_| rewriter.rewrite(&descriptor).unwrap()).collect();
                prop_assert!(numbers.iter().all(|each| *each == numbers[0]), "one frame, one number");
                sent.push(numbers[0]);
            }
        }
        for pair in sent.windows(2) {
            prop_assert_eq!(pair[1].picture_id, (pair[0].picture_id + 1) & 0x7fff);
            prop_assert_eq!(pair[1].tl0_index, pair[0].tl0_index.wrapping_add(1));
        }
    }
}

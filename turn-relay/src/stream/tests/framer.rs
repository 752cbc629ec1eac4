use proptest::prelude::*;

use super::*;

#[test]
fn pipelined_messages_come_out_one_by_one_without_their_padding() {
    let messages =
        [stun(1, 8), channel_data(0x4000, b"abcde"), channel_data(0x7fff, b""), stun(2, 0), stun(3, 400)];
    let stream: Vec<u8> = messages.iter().cloned().flat_map(padded).collect();
    assert_eq!(cut([&stream[..]]), (messages.to_vec(), Ok(())));
}

#[test]
fn a_message_that_drips_comes_out_once_it_is_whole() {
    let messages = [stun(1, 12), channel_data(0x4001, b"1234567"), channel_data(0x4001, b"")];
    let stream: Vec<u8> = messages.iter().cloned().flat_map(padded).collect();
    for bytes in [1, 3, 7, 9] {
        assert_eq!(cut(stream.chunks(bytes)), (messages.to_vec(), Ok(())), "{bytes} bytes at a time");
    }
    let (whole, _) = cut([&stream[..stream.len() - 5]]);
    assert_eq!(whole, messages[..1], "the padding of channel data is part of it");
}

#[test]
fn a_whole_message_is_not_copied() {
    let stream = [stun(1, 100), padded(channel_data(0x4000, &[7; 1200]))].concat();
    let mut places = Vec::new();
    Framer::default().push(&stream, &mut |message| places.push(message.as_ptr_range())).unwrap();
    let read = stream.as_ptr_range();
    assert_eq!(places.len(), 2);
    assert!(places.iter().all(|place| read.start <= place.start && place.end <= read.end));
}

#[test]
fn what_is_no_message_ends_the_stream_under_its_name() {
    let with = |at: usize, byte: u8| {
        let mut message = stun(1, 4);
        message[at] = byte;
        message
    };
    let cases = [
        (with(0, 0x04), CloseReason::NotTurn),
        (with(0, 0x3f), CloseReason::NotTurn),
        (with(0, 0x80), CloseReason::NotTurn),
        (vec![0x16, 3, 1, 0], CloseReason::NotTurn),
        (with(3, 5), CloseReason::StunLength),
        (with(4, 0), CloseReason::StunCookie),
        (with(7, 0), CloseReason::StunCookie),
        (vec![0x40, 0, 0xff, 0xff], CloseReason::TooLong),
        (ChannelData::header(0x4000, 65_508).to_vec(), CloseReason::TooLong),
    ];
    for (bytes, reason) in cases {
        let stream = [padded(channel_data(0x4000, b"good")), bytes].concat();
        for bytes in [1, 3, stream.len()] {
            let (messages, outcome) = cut(stream.chunks(bytes));
            assert_eq!((messages.len(), outcome), (1, Err(reason)), "{stream:x?}");
        }
    }
}

#[test]
fn the_longest_messages_pass() {
    let messages = [channel_data(0x4000, &[1; 65_507]), stun(1, 65_532)];
    let stream: Vec<u8> = messages.iter().cloned().flat_map(padded).collect();
    assert_eq!(cut(stream.chunks(1000)), (messages.to_vec(), Ok(())));
}

#[test]
fn between_two_messages_nothing_is_kept() {
    let mut framer = Framer::default();
    let stream = padded(channel_data(0x4000, &[1; 50]));
    assert!(framer.is_between_messages());
    framer.push(&stream[..20], &mut |_| panic!("not whole yet")).unwrap();
    assert!(!framer.is_between_messages());
    framer.push(&stream[20..], &mut |_| {}).unwrap();
    assert!(framer.is_between_messages());
}

/// The same rules on a stream that is there as a whole.
fn model(stream: &[u8]) -> (Vec<Vec<u8>>, Result<(), CloseReason>) {
    let (mut at, mut messages) = (0, Vec::new());
    while at < stream.len() {
        let rest = &stream[at..];
        let is_stun = rest[0] < 4;
        if !is_stun && rest[0] >> 6 != 1 {
            return (messages, Err(CloseReason::NotTurn));
        }
        if rest.len() < 4 {
            break;
        }
        let length = usize::from(rest[2]) * 256 + usize::from(rest[3]);
        if is_stun && length % 4 != 0 {
            return (messages, Err(CloseReason::StunLength));
        }
        if !is_stun && length > 65_507 {
            return (messages, Err(CloseReason::TooLong));
        }
        let cookie = [0x21, 0x12, 0xa4, 0x42];
        if is_stun && rest[4..].iter().zip(cookie).any(|(byte, expected)| *byte != expected) {
            return (messages, Err(CloseReason::StunCookie));
        }
        let (len, padding) = if is_stun { (20 + length, 0) } else { (4 + length, (4 - length % 4) % 4) };
        if rest.len() < len + padding {
            break;
        }
        messages.push(rest[..len].to_vec());
        at += len + padding;
    }
    (messages, Ok(()))
}

/// Mostly messages, and now and then something else.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => (any::<u32>(), 0..30usize).prop_map(|(transaction, words)| stun(transaction, words * 4)),
        8 => (0x4000..0x8000u16, proptest::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(number, payload)| padded(channel_data(number, &payload))),
        1 => proptest::collection::vec(any::<u8>(), 1..12),
        1 => (0..4u8, any::<[u8; 8]>()).prop_map(|(first, rest)| [&[first], &rest[..]].concat()),
        1 => (0x40..0x80u8, any::<[u8; 5]>()).prop_map(|(first, rest)| [&[first], &rest[..]].concat()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// `stream` in pieces of these lengths, over and over.
fn pieces<'s>(stream: &'s [u8], lengths: &[usize]) -> Vec<&'s [u8]> {
    let (mut rest, mut pieces) = (stream, Vec::new());
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(rest.len().min(*length));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_messages_and_the_same_end(
        stream in streams(),
        lengths in proptest::collection::vec(1..40usize, 1..20),
    ) {
        let expected = model(&stream);
        prop_assert_eq!(cut([&stream[..]]), expected.clone());
        prop_assert_eq!(cut(stream.chunks(1)), expected.clone());
        prop_assert_eq!(cut(pieces(&stream, &lengths)), expected);
    }

    #[test]
    fn no_bytes_do_harm(stream in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(cut(stream.chunks(3)), model(&stream));
    }
}

//! RTP against an independent implementation, with random packets and random bytes.
// The helpers of a test fail the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use rtc::shared::marshal::{Marshal, Unmarshal};
use wire::rtp::{HeaderMut, PayloadType, RtpHeader, RtpView, Ssrc, write_header};

fn header() -> impl Strategy<Value = RtpHeader> {
    (any::<bool>(), 0u8..128, any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
        |(marker, payload_type, sequence, timestamp, ssrc)| RtpHeader {
            marker,
            payload_type: PayloadType::new(payload_type).unwrap(),
            sequence,
            timestamp,
            ssrc: Ssrc(ssrc),
        },
    )
}

/// Elements that fit the one-byte form, or that need the two-byte form.
fn elements() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let short = (1u8..15, proptest::collection::vec(any::<u8>(), 1..17));
    let any_size = (1u8..=255, proptest::collection::vec(any::<u8>(), 0..256));
    prop_oneof![proptest::collection::vec(short, 0..8), proptest::collection::vec(any_size, 0..5)]
}

fn borrowed(elements: &[(u8, Vec<u8>)]) -> Vec<(u8, &[u8])> {
    elements.iter().map(|(id, value)| (*id, value.as_slice())).collect()
}

fn written(header: &RtpHeader, elements: &[(u8, Vec<u8>)], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 2_000];
    let length = write_header(&mut packet, header, &borrowed(elements)).unwrap();
    packet.truncate(length);
    packet.extend_from_slice(payload);
    packet
}

fn fields(view: &RtpView<'_>) -> RtpHeader {
    RtpHeader {
        marker: view.marker(),
        payload_type: view.payload_type(),
        sequence: view.sequence(),
        timestamp: view.timestamp(),
        ssrc: view.ssrc(),
    }
}

proptest! {
    #[test]
    fn whatever_is_written_reads_back(
        header in header(),
        elements in elements(),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let packet = written(&header, &elements, &payload);
        let view = RtpView::parse(&packet).unwrap();
        prop_assert_eq!(fields(&view), header);
        prop_assert_eq!(view.extensions().collect::<Vec<_>>(), borrowed(&elements));
        prop_assert_eq!(view.payload(), &payload[..]);
        prop_assert_eq!(view.header_len() + payload.len(), packet.len());
    }

    #[test]
    fn an_independent_reader_sees_what_we_write(
        header in header(),
        elements in elements(),
        payload in proptest::collection::vec(any::<u8>(), 1..100),
    ) {
        let packet = written(&header, &elements, &payload);
        let theirs = rtc::rtp::Packet::unmarshal(&mut &packet[..]).unwrap();
        prop_assert_eq!(theirs.header.marker, header.marker);
        prop_assert_eq!(theirs.header.payload_type, header.payload_type.number());
        prop_assert_eq!(theirs.header.sequence_number, header.sequence);
        prop_assert_eq!(theirs.header.timestamp, header.timestamp);
        prop_assert_eq!(theirs.header.ssrc, header.ssrc.0);
        prop_assert_eq!(&theirs.payload[..], &payload[..]);
        let read: Vec<(u8, &[u8])> =
            theirs.header.extensions.iter().map(|each| (each.id, &each.payload[..])).collect();
        prop_assert_eq!(read, borrowed(&elements));
    }

    #[test]
    fn we_see_what_an_independent_writer_writes(
        header in header(),
        csrc in proptest::collection::vec(any::<u32>(), 0..16),
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..17), 0..14),
        payload in proptest::collection::vec(any::<u8>(), 1..100),
    ) {
        let mut theirs = rtc::rtp::Packet::default();
        theirs.header.version = 2;
        theirs.header.marker = header.marker;
        theirs.header.payload_type = header.payload_type.number();
        theirs.header.sequence_number = header.sequence;
        theirs.header.timestamp = header.timestamp;
        theirs.header.ssrc = header.ssrc.0;
        theirs.header.csrc = csrc.clone();
        let elements: Vec<(u8, Vec<u8>)> = (1u8..).zip(values).collect();
        for (id, value) in &elements {
            theirs.header.set_extension(*id, value.clone().into()).unwrap();
        }
        theirs.payload = payload.clone().into();
        let packet = theirs.marshal().unwrap();

        let view = RtpView::parse(&packet).unwrap();
        prop_assert_eq!(fields(&view), header);
        prop_assert_eq!(view.csrcs().map(|csrc| csrc.0).collect::<Vec<_>>(), csrc);
        prop_assert_eq!(view.extensions().collect::<Vec<_>>(), borrowed(&elements));
        prop_assert_eq!(view.payload(), &payload[..]);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), first in 0x80u8..0xc0) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let Ok(view) = RtpView::parse(&bytes) else { return Ok(()) };
        prop_assert_eq!(view.header_len() + view.payload().len() + view.padding_len(), bytes.len());
        let inside: usize = view.extensions().map(|(_, value)| value.len()).sum();
        prop_assert!(inside <= view.header_len());
        let found = view.extensions().next().map(|(id, value)| (id, value.to_vec()));
        let mut copy = bytes.clone();
        if let Some((id, value)) = found {
            // Overwriting an element with itself changes nothing: the place found is the place read.
            prop_assert!(HeaderMut::new(&mut copy).unwrap().set_extension(id, &value));
        }
        prop_assert_eq!(copy, bytes);
    }
}

//! RTCP datagrams as strangers send them, and against an independent implementation.
// The helpers of a test fail the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::source_description::SourceDescription as TheirDescription;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::shared::marshal::{Marshal, Unmarshal};
use wire::rtcp::{
    Arrival, Bye, FeedbackTarget, Fir, FirEntry, Nack, NtpTime, Packet, Pli, ReceiverReport, Remb,
    ReportBlock, RtcpError, SenderReport, SourceDescription, TransportFeedback, packets,
};
use wire::rtp::Ssrc;

/// One packet of each kind, in one datagram.
fn compound() -> Vec<u8> {
    let block = ReportBlock { ssrc: Ssrc(9), lost: 3, ..ReportBlock::default() }.to_bytes();
    let fir = FirEntry { media: Ssrc(9), command: 1 }.to_bytes();
    let mut out = Vec::new();
    let ntp = NtpTime(0x8000_0000_0000_0001);
    SenderReport { ssrc: Ssrc(1), ntp, rtp_timestamp: 2, packets: 3, octets: 4, reports: &[block] }
        .write(&mut out);
    ReceiverReport { sender: Ssrc(1), reports: &[block] }.write(&mut out);
    SourceDescription::write_cname(&mut out, Ssrc(1), "name");
    Nack::write_sequences(&mut out, Ssrc(1), Ssrc(9), &[5, 6, 40]);
    Pli { sender: Ssrc(1), media: Ssrc(9) }.write(&mut out);
    Fir { sender: Ssrc(1), entries: &[fir] }.write(&mut out);
    Remb { sender: Ssrc(1), bitrate_bps: 1_000_000, ssrcs: &[[0, 0, 0, 9]] }.write(&mut out);
    let target = FeedbackTarget { sender: Ssrc(1), media: Ssrc(9), feedback_count: 3 };
    let arrival = Arrival { sequence: 7, at_us: 64_000 };
    TransportFeedback::write_arrivals(&mut out, target, &[arrival]);
    Bye { ssrcs: &[[0, 0, 0, 1]], reason: None }.write(&mut out);
    out
}

#[test]
fn a_datagram_of_every_kind_reads_and_writes_back() {
    let datagram = compound();
    let read: Result<Vec<Packet<'_>>, RtcpError> = packets(&datagram).collect();
    let read = read.unwrap();
    assert_eq!(read.len(), 9);
    assert!(!read.iter().any(|packet| matches!(packet, Packet::Unknown { .. })));
    let mut again = Vec::new();
    read.iter().for_each(|packet| packet.write(&mut again));
    assert_eq!(again, datagram);
}

#[test]
fn a_datagram_of_every_kind_is_understood_by_an_independent_reader() {
    let datagram = compound();
    let theirs = rtc::rtcp::packet::unmarshal(&mut &datagram[..]).unwrap();
    assert_eq!(theirs.len(), 9);
    let description = theirs[2].as_any().downcast_ref::<TheirDescription>().unwrap();
    assert_eq!(description.chunks[0].source, 1);
    assert_eq!(&description.chunks[0].items[0].text[..], b"name");
    let nack = theirs[3].as_any().downcast_ref::<TransportLayerNack>().unwrap();
    assert_eq!(nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect::<Vec<_>>(), [5, 6, 40]);
    let fir = theirs[5].as_any().downcast_ref::<FullIntraRequest>().unwrap();
    assert_eq!((fir.fir[0].ssrc, fir.fir[0].sequence_number), (9, 1));
    let bye = theirs[8].as_any().downcast_ref::<Goodbye>().unwrap();
    assert_eq!((&bye.sources[..], &bye.reason[..]), (&[1][..], &b""[..]));
}

#[test]
fn every_truncation_is_an_error_in_the_last_packet_only() {
    let datagram = compound();
    let whole: Vec<_> = packets(&datagram).map(Result::unwrap).collect();
    let mut ends = Vec::new();
    let mut out = Vec::new();
    for packet in &whole {
        packet.write(&mut out);
        ends.push(out.len());
    }
    for length in 1..datagram.len() {
        let read: Vec<_> = packets(&datagram[..length]).collect();
        let complete = ends.iter().filter(|end| **end <= length).count();
        assert!(read[..complete].iter().all(Result::is_ok));
        let rest = if ends.contains(&length) { vec![] } else { vec![Err(RtcpError::Truncated)] };
        assert_eq!(read[complete..], rest, "{length} bytes");
    }
}

#[test]
fn a_length_past_the_datagram_ends_it() {
    for words in [2u16, 0x4000, 0xffff] {
        let mut datagram = vec![0x80, 201];
        datagram.extend_from_slice(&words.to_be_bytes());
        datagram.extend_from_slice(&[0; 4]);
        assert_eq!(packets(&datagram).collect::<Vec<_>>(), [Err(RtcpError::Truncated)]);
    }
}

#[test]
fn a_malformed_packet_does_not_hide_the_next() {
    let mut datagram = vec![0x81, 201, 0, 1, 0, 0, 0, 1];
    Pli { sender: Ssrc(1), media: Ssrc(2) }.write(&mut datagram);
    let read: Vec<_> = packets(&datagram).collect();
    let pli = Pli { sender: Ssrc(1), media: Ssrc(2) };
    assert_eq!(read, [Err(RtcpError::Malformed(201)), Ok(Packet::Pli(pli))]);
}

#[test]
fn a_first_packet_that_is_no_report_is_reduced_size() {
    let mut datagram = Vec::new();
    Nack::write_sequences(&mut datagram, Ssrc(1), Ssrc(2), &[7]);
    assert!(matches!(packets(&datagram).next(), Some(Ok(Packet::Nack(_)))));
}

#[test]
fn a_thousand_packets_are_cut_off_at_64() {
    let mut datagram = Vec::new();
    for _ in 0..1_000 {
        Pli { sender: Ssrc(1), media: Ssrc(2) }.write(&mut datagram);
    }
    let read: Vec<_> = packets(&datagram).collect();
    assert_eq!(read.len(), 65);
    assert!(read[..64].iter().all(Result::is_ok));
    assert_eq!(read[64], Err(RtcpError::TooManyPackets));
}

#[test]
fn other_versions_end_the_datagram() {
    for first in [0x00, 0x40, 0xc0] {
        let mut datagram = Vec::new();
        Pli { sender: Ssrc(1), media: Ssrc(2) }.write(&mut datagram);
        datagram[0] = first | 1;
        datagram.extend_from_slice(&[0x80, 203, 0, 0]);
        assert_eq!(packets(&datagram).collect::<Vec<_>>(), [Err(RtcpError::BadVersion)]);
    }
}

#[test]
fn padding_is_removed_and_must_fit() {
    let pli = Pli { sender: Ssrc(1), media: Ssrc(2) };
    let mut datagram = Vec::new();
    pli.write(&mut datagram);
    datagram[0] |= 0x20;
    datagram.extend_from_slice(&[0, 0, 0, 4]);
    datagram[3] += 1;
    assert_eq!(packets(&datagram).collect::<Vec<_>>(), [Ok(Packet::Pli(pli))]);
    for count in [0, 13, 255] {
        let last = datagram.len() - 1;
        datagram[last] = count;
        assert_eq!(packets(&datagram).collect::<Vec<_>>(), [Err(RtcpError::BadPadding)], "{count}");
    }
    // Not aligned, as in transport feedback of browsers; what is left is still a whole NACK.
    let unaligned = [0xa1, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 0, 0, 0, 0, 4];
    assert!(matches!(packets(&unaligned).next(), Some(Ok(Packet::Nack(_)))));
    let unaligned = [0xa1, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    assert!(matches!(packets(&unaligned).next(), Some(Ok(Packet::Pli(_)))));
    assert_eq!(packets(&[0xa0, 203, 0, 0]).collect::<Vec<_>>(), [Err(RtcpError::BadPadding)]);
}

#[test]
fn application_packets_extended_reports_and_junk_are_unknown() {
    for packet_type in [0, 192, 199, 204, 207, 255] {
        let datagram = [0x9f, packet_type, 0, 1, 0xff, 0xff, 0xff, 0xff];
        let read: Vec<_> = packets(&datagram).collect();
        assert_eq!(read, [Ok(Packet::Unknown { packet_type, count: 31 })]);
    }
    let datagram = [0x9e, 205, 0, 0];
    assert_eq!(packets(&datagram).next(), Some(Ok(Packet::Unknown { packet_type: 205, count: 30 })));
    assert_eq!(packets(&[]).next(), None);
}

/// Ascending numbers (modulo 2^16) with gaps.
fn ascending() -> impl Strategy<Value = Vec<u16>> {
    (any::<u16>(), proptest::collection::vec(1u16..60, 1..300)).prop_map(|(start, steps)| {
        let mut number = start;
        steps
            .into_iter()
            .map(|step| {
                number = number.wrapping_add(step);
                number
            })
            .collect()
    })
}

fn blocks() -> impl Strategy<Value = Vec<[u8; ReportBlock::BYTES]>> {
    proptest::collection::vec(any::<[u8; ReportBlock::BYTES]>(), 0..32)
}

/// The arrivals that an independent reader finds, as (number, 250 us ticks).
fn theirs_received(theirs: &TransportLayerCc) -> Vec<(u16, i64)> {
    use rtc::rtcp::transport_feedbacks::transport_layer_cc::{PacketStatusChunk, SymbolTypeTcc};

    let statuses = theirs.packet_chunks.iter().flat_map(|chunk| match chunk {
        PacketStatusChunk::RunLengthChunk(run) => vec![run.packet_status_symbol; run.run_length.into()],
        PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
    });
    let mut deltas = theirs.recv_deltas.iter();
    let mut ticks = i64::from((theirs.reference_time << 8) as i32 >> 8) * 256;
    let mut received = Vec::new();
    for (index, status) in (0..theirs.packet_status_count).zip(statuses) {
        if status != SymbolTypeTcc::PacketNotReceived {
            ticks += deltas.next().unwrap().delta / 250;
            received.push((theirs.base_sequence_number.wrapping_add(index), ticks));
        }
    }
    received
}

proptest! {
    #[test]
    fn reports_read_back(sender: u32, ntp: u64, numbers: [u32; 3], blocks in blocks()) {
        let [rtp_timestamp, sent, octets] = numbers;
        let report = SenderReport {
            ssrc: Ssrc(sender), ntp: NtpTime(ntp), rtp_timestamp, packets: sent, octets, reports: &blocks,
        };
        let mut out = Vec::new();
        report.write(&mut out);
        let second = ReceiverReport { sender: Ssrc(sender), reports: &blocks };
        second.write(&mut out);
        let read: Vec<_> = packets(&out).collect();
        prop_assert_eq!(read, [Ok(Packet::SenderReport(report)), Ok(Packet::ReceiverReport(second))]);
        for (bytes, block) in blocks.iter().zip(report.reports()) {
            prop_assert_eq!(block.to_bytes(), *bytes);
        }
        let theirs = rtc::rtcp::sender_report::SenderReport::unmarshal(&mut &out[..]).unwrap();
        prop_assert_eq!(theirs.ntp_time, ntp);
        prop_assert_eq!(theirs.reports.len(), blocks.len());
        for (theirs, ours) in theirs.reports.iter().zip(report.reports()) {
            prop_assert_eq!(theirs.ssrc, ours.ssrc.0);
            prop_assert_eq!(theirs.fraction_lost, ours.fraction_lost);
            prop_assert_eq!(theirs.total_lost, ours.lost as u32 & 0x00ff_ffff);
            prop_assert_eq!(theirs.delay, ours.delay_since_last_sr);
        }
    }

    #[test]
    fn missing_packets_are_told_alike_by_an_independent_implementation(missing in ascending(), media: u32) {
        let mut out = Vec::new();
        Nack::write_sequences(&mut out, Ssrc(1), Ssrc(media), &missing);
        let read: Vec<u16> = packets(&out)
            .flat_map(|packet| match packet {
                Ok(Packet::Nack(nack)) => nack.sequences().collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
        prop_assert_eq!(&read, &missing);
        let theirs = TransportLayerNack::unmarshal(&mut &out[..]).unwrap();
        let seen: Vec<u16> = theirs.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
        prop_assert_eq!(&seen[..], &missing[..seen.len()]);
        // Where numbers wrap the other writer starts a new pair without need.
        if missing.is_sorted() && missing.len() <= 100 {
            let nacks = nack_pairs_from_sequence_numbers(&missing);
            let theirs = TransportLayerNack { sender_ssrc: 1, media_ssrc: media, nacks };
            prop_assert_eq!(&theirs.marshal().unwrap()[..], &out[..]);
        }
    }

    #[test]
    fn arrivals_are_read_alike_by_an_independent_reader(
        numbers in ascending(),
        start_us in 0i64..1 << 40,
        steps in proptest::collection::vec(
            prop_oneof![8 => 0i64..5_000, 1 => -100_000i64..1_000_000, 1 => -9_000_000i64..9_000_000], 300),
    ) {
        let mut at_us = start_us;
        let arrivals: Vec<Arrival> = numbers.iter().zip(steps).map(|(sequence, step)| {
            at_us += step;
            Arrival { sequence: *sequence, at_us }
        }).collect();
        let mut rest = &arrivals[..];
        while !rest.is_empty() {
            let target = FeedbackTarget { sender: Ssrc(1), media: Ssrc(2), feedback_count: 9 };
            let mut out = Vec::new();
            let taken = TransportFeedback::write_arrivals(&mut out, target, rest);
            prop_assert!((1..=rest.len()).contains(&taken));
            prop_assert!(out.len() <= 1_200);
            let Some(Ok(Packet::TransportFeedback(feedback))) = packets(&out).next() else {
                return Err(TestCaseError::fail("we cannot read what we wrote"));
            };
            // The wire's time is modulo 2^24 * 64 ms.
            let wrap = 256i64 << 24;
            let ours: Vec<(u16, i64)> =
                feedback.received().map(|each| (each.sequence, (each.at_us / 250).rem_euclid(wrap))).collect();
            let wanted: Vec<(u16, i64)> = rest[..taken]
                .iter()
                .map(|each| (each.sequence, each.at_us.div_euclid(250).rem_euclid(wrap)))
                .collect();
            prop_assert_eq!(&ours, &wanted);
            let theirs = TransportLayerCc::unmarshal(&mut &out[..]).unwrap();
            let theirs: Vec<(u16, i64)> = theirs_received(&theirs)
                .into_iter().map(|(sequence, ticks)| (sequence, ticks.rem_euclid(wrap))).collect();
            prop_assert_eq!(&theirs, &wanted);
            let mut again = Vec::new();
            feedback.write(&mut again);
            prop_assert_eq!(again, out);
            rest = &rest[taken..];
        }
    }

    #[test]
    fn an_estimate_is_read_as_an_independent_writer_meant_it(bitrate in 1u64..4_000_000_000, ssrc: u32) {
        let theirs = ReceiverEstimatedMaximumBitrate {
            sender_ssrc: 1, bitrate: bitrate as f32, ssrcs: vec![ssrc],
        };
        let bytes = theirs.marshal().unwrap();
        let Some(Ok(Packet::Remb(remb))) = packets(&bytes).next() else {
            return Err(TestCaseError::fail("not read as REMB"));
        };
        prop_assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [Ssrc(ssrc)]);
        let error = remb.bitrate_bps.abs_diff(bitrate);
        prop_assert!(error <= bitrate >> 17, "{} read as {}", bitrate, remb.bitrate_bps);
        let mut out = Vec::new();
        remb.write(&mut out);
        let back = ReceiverEstimatedMaximumBitrate::unmarshal(&mut &out[..]).unwrap();
        prop_assert_eq!(back.bitrate as u64, remb.bitrate_bps);
    }

    #[test]
    fn a_picture_loss_is_the_same_bytes(sender: u32, media: u32) {
        let mut out = Vec::new();
        Pli { sender: Ssrc(sender), media: Ssrc(media) }.write(&mut out);
        let theirs = PictureLossIndication { sender_ssrc: sender, media_ssrc: media };
        prop_assert_eq!(&theirs.marshal().unwrap()[..], &out[..]);
    }

    #[test]
    fn no_bytes_make_it_panic_and_what_reads_writes_the_same_meaning(
        bodies in proptest::collection::vec(
            (0x80u8..0xc0, prop_oneof![200u8..208, any::<u8>()], proptest::collection::vec(any::<[u8; 4]>(), 0..12)),
            0..5,
        ),
    ) {
        let mut datagram = Vec::new();
        for (first, packet_type, words) in bodies {
            datagram.extend_from_slice(&[first, packet_type, 0, words.len() as u8]);
            datagram.extend_from_slice(words.as_flattened());
        }
        for packet in packets(&datagram).flatten() {
            let mut once = Vec::new();
            packet.write(&mut once);
            if let Packet::TransportFeedback(feedback) = packet {
                feedback.received().for_each(drop);
            }
            for again in packets(&once) {
                let mut twice = Vec::new();
                again.unwrap().write(&mut twice);
                prop_assert_eq!(&twice, &once);
            }
        }
    }
}

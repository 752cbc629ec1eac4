//! What real clients offer, and what they get.

use proptest::prelude::*;
use wire::messages::media::Extension;

use super::*;

/// The whole of what was understood, an m-line a line, and the answer.
fn shown(sdp: &str) -> String {
    let offer = read(sdp);
    let json = |media: &Media| serde_json::to_string(media).unwrap();
    let medias: Vec<String> = offer.parameters.medias.iter().map(json).collect();
    let fingerprints = serde_json::to_string(&offer.parameters.fingerprints).unwrap();
    let answer = write_answer(&offer, &bridge(&offer)).replace('\r', "");
    format!("{:?}\n{fingerprints}\n{}\n\n{answer}", offer.parameters.ice, medias.join("\n"))
}

#[test]
fn offers_of_chromium_are_understood() {
    insta::assert_snapshot!("chromium_meeting", shown(CHROMIUM_MEETING));
    insta::assert_snapshot!("chromium_whip", shown(CHROMIUM_WHIP));
    insta::assert_snapshot!("chromium_whep", shown(CHROMIUM_WHEP));
    insta::assert_snapshot!("chromium_with_a_data_channel", shown(CHROMIUM_LEGACY));
}

#[test]
fn offers_of_firefox_are_understood() {
    insta::assert_snapshot!("firefox_meeting", shown(FIREFOX_MEETING));
    insta::assert_snapshot!("firefox_whip", shown(FIREFOX_WHIP));
    insta::assert_snapshot!("firefox_whep", shown(FIREFOX_WHEP));
    insta::assert_snapshot!("firefox_with_a_data_channel", shown(FIREFOX_LEGACY));
}

#[test]
fn offers_of_whip_and_whep_clients_are_understood() {
    insta::assert_snapshot!("aiortc_whip", shown(AIORTC_WHIP));
    insta::assert_snapshot!("aiortc_whep", shown(AIORTC_WHEP));
    insta::assert_snapshot!("gstreamer_whip", shown(GSTREAMER_WHIP));
}

#[test]
fn the_answer_to_a_join_with_3_and_9_slots_has_at_most_12_kilobytes() {
    for sdp in [CHROMIUM_MEETING, FIREFOX_MEETING] {
        let offer = read(sdp);
        assert_eq!(slots(&offer.parameters.medias, MediaKind::Audio), 3);
        assert_eq!(slots(&offer.parameters.medias, MediaKind::Video), 9);
        let bytes = write_answer(&offer, &bridge(&offer)).len();
        assert!(bytes <= 12_000, "{bytes}");
    }
}

#[test]
fn an_answer_names_nothing_that_was_not_offered() {
    for sdp in REAL.iter().chain([&GSTREAMER_WHIP, &SMALL]) {
        assert_is_covered(&sdp::parse(sdp).unwrap(), &answer(&read(sdp)));
    }
}

fn assert_is_covered(offered: &Sdp, answer: &Sdp) {
    assert_eq!(offered.medias.len(), answer.medias.len());
    for (offered, answered) in offered.medias.iter().zip(&answer.medias) {
        assert_eq!((&offered.kind, &offered.mid), (&answered.kind, &answered.mid));
        let bundled = answer
            .bundle
            .as_ref()
            .is_some_and(|mids| mids.iter().any(|mid| Some(mid) == answered.mid.as_ref()));
        assert!(bundled != answered.is_rejected() || answer.bundle.is_none());
        for payload in &answered.payloads {
            let own = offered.payloads.iter().find(|own| own.payload_type == payload.payload_type).unwrap();
            assert!(payload.feedback.iter().all(|kind| own.feedback.contains(kind)));
        }
        for map in &answered.extensions {
            let offered = offered.extensions.iter().any(|own| {
                (own.id, &own.uri, own.direction.map(Direction::reversed))
                    == (map.id, &map.uri, map.direction)
            });
            assert!(offered, "{map:?}");
        }
    }
}

#[test]
fn the_answer_waits_for_the_browser_and_hides_nothing_it_needs() {
    let answer = answer(&read(CHROMIUM_MEETING));
    assert!(answer.is_ice_lite && answer.allows_mixed_extensions);
    assert_eq!(answer.transport.fingerprints.len(), 1);
    assert_eq!(answer.transport.ufrag.as_deref(), Some("bridge01"));
    for (index, media) in answer.medias.iter().enumerate() {
        assert_eq!(media.transport.setup, Some(Setup::Passive));
        assert_eq!(
            (media.candidates.len(), media.has_all_candidates),
            if index == 0 { (3, true) } else { (0, false) }
        );
        assert!(media.has_rtcp_mux);
    }
    assert_eq!(answer.medias[0].connection, Some("198.51.100.7".parse().unwrap()));
    assert_eq!((answer.medias[0].port, answer.medias[1].port), (10000, 9));
}

#[test]
fn a_slot_has_its_fixed_streams_and_stands_alone() {
    let answer = answer(&read(FIREFOX_MEETING));
    let (audio, video) = (&answer.medias[2], &answer.medias[5]);
    assert_eq!(audio.ssrcs.iter().map(|line| line.ssrc).collect::<Vec<_>>(), [1000]);
    assert_eq!(video.ssrcs.iter().map(|line| line.ssrc).collect::<Vec<_>>(), [1006, 1007]);
    assert_eq!(video.ssrc_groups[0].ssrcs, [1006, 1007]);
    assert_eq!(video.direction, Some(Direction::SendOnly));
    let streams: std::collections::BTreeSet<_> =
        answer.medias[2..].iter().map(|media| media.msids[0].stream.clone()).collect();
    assert_eq!(streams.len(), 12);
}

#[test]
fn the_only_audio_and_the_only_video_slot_share_a_stream() {
    let answer = answer(&read(CHROMIUM_WHEP));
    assert_eq!(answer.medias[0].msids[0].stream, answer.medias[1].msids[0].stream);
    assert_ne!(answer.medias[0].msids[0].track, answer.medias[1].msids[0].track);
}

#[test]
fn a_slot_that_the_bridge_does_not_name_is_inactive() {
    let offer = read(CHROMIUM_WHEP);
    let transport = TransportParameters { slots: Vec::new(), ..bridge(&offer) };
    let answer = sdp::parse(&write_answer(&offer, &transport)).unwrap();
    assert!(answer.medias.iter().all(|media| media.direction == Some(Direction::Inactive)));
}

#[test]
fn a_data_channel_is_refused_and_the_rest_is_not() {
    for sdp in [CHROMIUM_LEGACY, FIREFOX_LEGACY] {
        let offer = read(sdp);
        let answer = answer(&offer);
        assert_eq!(offer.parameters.medias.len(), 2);
        assert!(answer.medias[2].is_rejected());
        assert_eq!(answer.medias[2].formats, "webrtc-datachannel");
        assert_eq!(answer.bundle.unwrap(), ["0", "1"]);
    }
}

#[test]
fn an_extension_goes_only_the_way_it_was_offered_for() {
    let extensions = |offer: &Offer, index: usize| {
        offer.parameters.medias[index].extensions.iter().map(|each| each.extension).collect::<Vec<_>>()
    };
    let offer = read(FIREFOX_MEETING);
    let camera = extensions(&offer, 1);
    assert!(camera.contains(&Extension::Rid) && camera.contains(&Extension::RepairedRid));
    assert!(!camera.contains(&Extension::PlayoutDelay), "offered for receiving only");
    assert!(extensions(&offer, 5).contains(&Extension::PlayoutDelay));
    assert!(!extensions(&offer, 5).contains(&Extension::Rid));
    let answer = answer(&offer);
    let rid = answer.medias[1].extensions.iter().find(|map| map.uri.ends_with("sdes:rtp-stream-id")).unwrap();
    assert_eq!(rid.direction, Some(Direction::ReceiveOnly));
}

#[test]
fn without_transport_cc_the_older_estimate_is_answered() {
    let offer = read(AIORTC_WHEP);
    let answer = answer(&offer);
    assert!(answer.medias[1].payloads[0].feedback.contains(&"goog-remb".to_owned()));
    let ids = &offer.parameters.medias[1].extensions;
    assert!(ids.iter().any(|each| each.extension == Extension::AbsSendTime));
    let chromium = read(CHROMIUM_WHEP);
    let ids = &chromium.parameters.medias[1].extensions;
    assert!(ids.iter().all(|each| each.extension != Extension::AbsSendTime));
}

proptest! {
    #[test]
    fn a_damaged_offer_is_answered_in_order_or_refused(
        which in 0..REAL.len(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..3usize), 0..12),
    ) {
        let mut lines: Vec<&str> = REAL[which].lines().collect();
        for (at, what) in cuts {
            let at = at.index(lines.len());
            match what {
                0 => { lines.remove(at); }
                1 => lines.insert(at, lines[at]),
                _ => { let other = (at * 7 + 3) % lines.len(); lines.swap(at, other); }
            }
        }
        let sdp = lines.join("\r\n");
        if let Ok(offer) = parse_offer(&sdp, &endpoint()) {
            let answer = sdp::parse(&write_answer(&offer, &bridge(&offer))).unwrap();
            assert_is_covered(&sdp::parse(&sdp).unwrap(), &answer);
            let used = answer.medias.iter().filter(|media| !media.is_rejected()).count();
            prop_assert_eq!(used, offer.parameters.medias.len());
        }
    }
}

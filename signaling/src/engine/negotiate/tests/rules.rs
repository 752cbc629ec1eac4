//! Names, codecs, layers and streams, one rule at a time.

use wire::messages::media::{Codec, SourceSsrc};

use super::*;

#[test]
fn sources_are_named_by_order_and_the_second_video_is_the_screen() {
    let offer = read(CHROMIUM_MEETING);
    assert_eq!(source(&offer, 0).name.as_str(), "0a1b2c3d-a0");
    assert_eq!(source(&offer, 0).video_type, None);
    assert_eq!(source(&offer, 1).name.as_str(), "0a1b2c3d-v0");
    assert_eq!(source(&offer, 1).video_type, Some(VideoType::Camera));
    let rids: Vec<&str> = source(&offer, 1).rids.iter().map(|rid| rid.as_str()).collect();
    assert_eq!(rids, ["q", "h", "f"]);
    assert!(offer.parameters.medias[2..].iter().all(|media| media.role == MediaRole::Slot));

    let screen = edit(&with_second_video(), "a=mid:w\r\na=recvonly", "a=mid:w\r\na=sendrecv");
    let offer = read(&screen);
    assert_eq!(source(&offer, 2).name.as_str(), "0a1b2c3d-v1");
    assert_eq!(source(&offer, 2).video_type, Some(VideoType::Desktop));
    assert_eq!(answer(&offer).medias[2].direction, Some(Direction::ReceiveOnly));
}

/// [`SMALL`] with a slot `w` behind it.
fn with_second_video() -> String {
    let (_, video) = SMALL.split_once("m=video").unwrap();
    let video = edit(&edit(video, "a=mid:v", "a=mid:w"), "a=sendonly", "a=recvonly");
    edit(SMALL, "BUNDLE a v", "BUNDLE a v w") + "m=video" + &video
}

#[test]
fn a_source_that_is_switched_off_keeps_its_number() {
    let both = edit(&with_second_video(), "a=recvonly", "a=sendonly");
    for off in [edit(&both, "a=mid:v\r\na=sendonly", "a=mid:v\r\na=inactive"), without_camera(&both)] {
        let offer = read(&off);
        let screen = offer.parameters.medias.last().unwrap();
        let MediaRole::Source(source) = &screen.role else { panic!("{screen:?}") };
        assert_eq!(source.name.as_str(), "0a1b2c3d-v1");
    }
}

/// The camera's m-line is stopped for ever.
fn without_camera(offer: &str) -> String {
    let offer = edit(
        offer,
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=sendonly",
        "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=inactive",
    );
    edit(&offer, "BUNDLE a v w", "BUNDLE a w")
}

#[test]
fn a_re_offer_says_everything_again_and_keeps_the_order() {
    let first = read(&with_second_video());
    let again = edit(&with_second_video(), "a=ice-ufrag:abcd", "a=ice-ufrag:efgh");
    let again = edit(&again, "o=- 7 3", "o=- 7 4");
    let second = read(&edit(&again, "a=mid:v\r\na=sendonly", "a=mid:v\r\na=inactive"));
    assert_eq!(second.parameters.ice.ufrag, "efgh");
    assert_eq!(second.parameters.medias[1].role, MediaRole::Inactive);
    assert_eq!(second.parameters.medias[2], first.parameters.medias[2]);
    let (first, second) = (answer(&first), answer(&second));
    assert_eq!(first.origin.session_id, second.origin.session_id);
    assert_eq!((first.origin.version, second.origin.version), (3, 4));
    assert_eq!(second.medias[1].direction, Some(Direction::Inactive));
    assert!(!second.medias[1].is_rejected());
}

#[test]
fn a_later_offer_with_the_transport_in_its_first_m_line_only_is_read() {
    let transport: String =
        SMALL.lines().filter(|line| is_transport(line)).map(|line| format!("{line}\r\n")).collect();
    let without: String =
        SMALL.lines().filter(|line| !is_transport(line)).map(|line| format!("{line}\r\n")).collect();
    let offer = edit(&without, "a=mid:a\r\n", &format!("a=mid:a\r\n{transport}"));
    assert_eq!(read(&offer).parameters, read(SMALL).parameters);
    // Also when that first m-line is one that is refused here.
    let offer = edit(&offer, "m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=text 9 UDP/TLS/RTP/SAVPF 111");
    assert_eq!(read(&offer).parameters.ice, read(SMALL).parameters.ice);
    assert_eq!(answer(&read(&offer)).bundle.unwrap(), ["v"]);
}

fn is_transport(line: &str) -> bool {
    ["a=ice-", "a=fingerprint", "a=setup"].iter().any(|name| line.starts_with(name))
}

#[test]
fn codecs_come_in_our_order_and_only_once() {
    let offer = read(CHROMIUM_MEETING);
    let camera: Vec<_> = offer.parameters.medias[1].codecs.iter().map(|codec| codec.codec).collect();
    assert_eq!(camera, [Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1]);
    let slot = &offer.parameters.medias[5].codecs;
    let formats: Vec<&str> = slot.iter().map(|codec| codec.format.as_str()).collect();
    let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    assert_eq!(formats, ["", h264, "profile-id=0", "profile=0"]);
    assert!(slot.iter().all(|codec| codec.rtx_payload_type == Some(codec.payload_type + 1)));
    // The same variant has the same text, whoever offers it.
    let firefox = read(FIREFOX_MEETING);
    assert_eq!(firefox.parameters.medias[1].codecs[1].format, "profile-id=0");
}

#[test]
fn h264_without_interleaving_or_in_single_units_is_told_apart() {
    let h264 = edit(SMALL, "VP8/90000", "H264/90000");
    let with = |format: &str| format!("{h264}a=fmtp:96 {format}\r\n");
    let format = |sdp: &str| read(sdp).parameters.medias.get(1).map(|video| video.codecs[0].format.clone());
    assert_eq!(format(&h264), None);
    assert_eq!(format(&with("packetization-mode=0;profile-level-id=42e01f")), None);
    let unnamed = "packetization-mode=1;profile-level-id=42e01f";
    assert_eq!(format(&with("packetization-mode=1")).as_deref(), Some(unnamed));
    let high = "packetization-mode=1;profile-level-id=640c1f";
    assert_eq!(format(&with("profile-level-id=640C1F; packetization-mode=1")).as_deref(), Some(high));
}

#[test]
fn of_more_than_three_layers_the_first_three_are_used() {
    let layers = "a=rid:1 send\r\na=rid:2 send\r\na=rid:3 send\r\na=rid:4 send\r\na=rid:5 send\r\n";
    let offer = read(&format!("{SMALL}{layers}a=simulcast:send 1;~2,5;3;4\r\n"));
    let rids: Vec<&str> = source(&offer, 1).rids.iter().map(|rid| rid.as_str()).collect();
    assert_eq!(rids, ["1", "2", "3"]);
    let answer = answer(&offer);
    assert_eq!(answer.medias[1].simulcast.as_ref().unwrap().to_string(), "a=simulcast:recv 1;2;3\r\n");
    assert_eq!(answer.medias[1].rids.len(), 3);
}

#[test]
fn layers_of_an_old_sim_group_are_read_as_ssrcs() {
    let lines = "a=ssrc-group:SIM 30 10 20\r\na=ssrc-group:FID 10 11\r\na=ssrc-group:FID 20 21\r\n\
        a=ssrc-group:FEC-FR 30 32\r\na=ssrc:10 cname:x\r\na=ssrc:11 cname:x\r\na=ssrc:20 cname:x\r\na=ssrc:32 cname:x\r\n";
    let offer = read(&format!("{SMALL}{lines}"));
    let ssrc = |media, rtx| SourceSsrc { media, rtx };
    assert_eq!(source(&offer, 1).ssrcs, [ssrc(30, None), ssrc(10, Some(11)), ssrc(20, Some(21))]);
}

#[test]
fn a_single_m_line_needs_no_bundle() {
    let single = edit(SMALL.split_once("m=video").unwrap().0, "a=group:BUNDLE a v\r\n", "");
    let offer = read(&single);
    assert_eq!(offer.parameters.medias.len(), 1);
    assert_eq!(answer(&offer).bundle, None);
    assert_eq!(answer(&offer).medias[0].candidates.len(), 3);
}

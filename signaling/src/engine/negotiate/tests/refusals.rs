//! What is refused, and how it is said.

use super::*;

#[test]
fn other_profiles_and_plain_text_are_not_forwarded() {
    let refused = |from: &str, to: &str| answer(&read(&edit(SMALL, from, to))).medias[1].is_rejected();
    assert!(refused("VP8/90000", "VP9/90000\r\na=fmtp:96 profile-id=2"));
    assert!(refused("VP8/90000", "AV1/90000\r\na=fmtp:96 profile=1"));
    assert!(refused("VP8/90000", "VP8/48000"));
    assert!(refused("VP8/90000", "H265/90000"));
    assert!(refused("video 9 UDP/TLS/RTP/SAVPF", "video 9 RTP/AVP"));
    assert!(!refused("VP8/90000", "vp8/90000"));
}

#[test]
fn simulcast_that_contradicts_itself_is_refused() {
    let with = |lines: &str| refusal(&format!("{SMALL}{lines}"));
    assert_eq!(
        with("a=simulcast:send 1;2\r\n"),
        "m-line with mid v: a=simulcast names a stream that no a=rid line sends"
    );
    assert_eq!(
        with("a=rid:1 send\r\na=simulcast:send 1;1\r\n"),
        "m-line with mid v: a=simulcast names one stream twice"
    );
    let long = "r".repeat(17);
    let refused = with(&format!("a=rid:{long} send\r\na=simulcast:send {long}\r\n"));
    assert_eq!(refused, "m-line with mid v: an a=rid is not 1 to 16 letters, digits, - or _");
}

#[test]
fn an_endpoint_announces_at_most_64_ssrcs_each_once() {
    let lines = |range: std::ops::Range<u32>| {
        range.map(|ssrc| format!("a=ssrc:{ssrc} cname:x\r\n")).collect::<String>()
    };
    assert_eq!(source(&read(&format!("{SMALL}{}", lines(0..64))), 1).ssrcs.len(), 64);
    let refused = refusal(&format!("{SMALL}{}", lines(0..65)));
    assert_eq!(refused, "m-line with mid v: more than 64 SSRCs in one offer");
    let twice = edit(SMALL, "m=video", "a=ssrc:7 cname:x\r\nm=video") + "a=ssrc:7 cname:x\r\n";
    assert_eq!(refusal(&twice), "m-line with mid v: an a=ssrc number is used twice");
}

#[test]
fn what_is_missing_is_named() {
    let without = |name: &str| {
        let kept = SMALL.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\r\n"));
        refusal(&kept.collect::<String>())
    };
    assert_eq!(without("a=ice-ufrag"), "there is no a=ice-ufrag");
    assert_eq!(without("a=ice-pwd"), "there is no a=ice-pwd");
    assert_eq!(without("a=fingerprint"), "there is no a=fingerprint");
    assert_eq!(without("a=group"), "there is no a=group:BUNDLE");
    assert_eq!(without("a=rtcp-mux"), "m-line with mid a: there is no a=rtcp-mux");
    assert_eq!(without("a=mid"), "m-line number 1: there is no a=mid");
    assert_eq!(without("a=rtpmap"), "no m-line is audio or video with a codec that is forwarded here");
    assert_eq!(
        refusal(SMALL.split_once("m=").unwrap().0),
        "no m-line is audio or video with a codec that is forwarded here"
    );
    assert_eq!(
        refusal(&edit(SMALL, "BUNDLE a v", "BUNDLE a")),
        "m-line with mid v: it is not in a=group:BUNDLE"
    );
}

#[test]
fn ice_credentials_have_their_length_and_letters() {
    let ufrag = |text: &str| parse_offer(&edit(SMALL, "ufrag:abcd", &format!("ufrag:{text}")), &endpoint());
    assert!(ufrag(&"u".repeat(255)).is_ok());
    for bad in ["abc".to_owned(), "u".repeat(256), "ab:cd".to_owned(), "abcdé".to_owned()] {
        assert_eq!(ufrag(&bad).unwrap_err().reason, "a=ice-ufrag is not 4 to 255 ice-chars");
    }
    let pwd = |text: &str| parse_offer(&edit(SMALL, "0123456789abcdef012345", text), &endpoint());
    assert!(pwd(&"p".repeat(256)).is_ok());
    for bad in ["p".repeat(21), "p".repeat(257), "p".repeat(21) + "-"] {
        assert_eq!(pwd(&bad).unwrap_err().reason, "a=ice-pwd is not 22 to 256 ice-chars");
    }
}

#[test]
fn a_fingerprint_must_be_one_that_bridges_check() {
    assert_eq!(refusal(&edit(SMALL, "sha-256", "sha-3000")), "no a=fingerprint is a sha-256 one");
    assert_eq!(refusal(&edit(SMALL, ":EE:FF\r\n", ":EE\r\n")), "no a=fingerprint is a sha-256 one");
    let both = edit(SMALL, "a=fingerprint:sha-256 ", "a=fingerprint:sha-3000 AB\r\na=fingerprint:SHA-256 ");
    assert_eq!(read(&both).parameters.fingerprints, read(SMALL).parameters.fingerprints);
}

#[test]
fn a_browser_that_waits_for_us_is_refused() {
    assert_eq!(
        refusal(&edit(SMALL, "setup:actpass", "setup:passive")),
        "a=setup is neither actpass nor active"
    );
    assert_eq!(
        refusal(&edit(SMALL, "setup:actpass", "setup:holdconn")),
        "a=setup is neither actpass nor active"
    );
    for fine in ["a=setup:active\r\n", ""] {
        assert_eq!(read(&edit(SMALL, "a=setup:actpass\r\n", fine)), read(SMALL));
    }
}

#[test]
fn a_number_that_means_two_things_is_refused() {
    let maps = |audio: &str, video: &str| {
        let sdp = edit(SMALL, "m=video", &format!("a=extmap:{audio}\r\nm=video"));
        parse_offer(&format!("{sdp}a=extmap:{video}\r\n"), &endpoint()).map(|_| ()).map_err(|bad| bad.reason)
    };
    let (mid, orientation) = ("urn:ietf:params:rtp-hdrext:sdes:mid", "urn:3gpp:video-orientation");
    assert_eq!(maps(&format!("4 {mid}"), &format!("4 {mid}")), Ok(()));
    let refused = Err("an a=extmap number means something else in another m-line");
    assert_eq!(maps(&format!("4 {mid}"), &format!("4 {orientation}")), refused);
    let refused = Err("one a=extmap number stands for two extensions");
    assert_eq!(maps("9 urn:x", &format!("4 {mid}\r\na=extmap:4 {orientation}")), refused);
    let payload_type = edit(&edit(SMALL, "SAVPF 96", "SAVPF 111"), "rtpmap:96", "rtpmap:111");
    assert_eq!(
        refusal(&payload_type),
        "m-line with mid v: a payload type means something else in another m-line"
    );
}

#[test]
fn numbers_that_no_packet_can_carry_are_left_out() {
    let offer = read(&format!(
        "{SMALL}a=extmap:15 urn:3gpp:video-orientation\r\na=extmap:4096 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    ));
    assert!(offer.parameters.medias[1].extensions.is_empty());
}

#[test]
fn hostile_offers_are_refused_by_line_and_never_repeated() {
    let secret = "0123456789abcdef012345";
    let hostile = [
        "x".repeat(1024 * 1024),
        format!("{SMALL}{}", "a=x\r\n".repeat(10_000)),
        format!("{SMALL}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(1000)),
        edit(SMALL, "a=mid:v", "a=mid:a"),
        edit(SMALL, "m=video 9 ", "m=video -9 "),
        format!("{SMALL}a=candidate:1 1 udp 1 192.0.2.1 -1 typ host\r\n"),
        edit(SMALL, "a=ice-pwd:", "a=ice-pwd: two words "),
        edit(SMALL, "a=mid:v", "a=mid:v\u{1b}[2J"),
        edit(SMALL, "a=mid:v", &format!("a=mid:{secret}")),
        edit(SMALL, "a=setup:actpass", &format!("a=setup:{secret}")),
    ];
    for sdp in hostile {
        let message = refusal(&sdp);
        assert!(!message.contains(secret) && message.len() < 120, "{message}");
        assert!(message.starts_with("line ") || message.starts_with("m-line "), "{message}");
    }
}

#[test]
fn candidates_of_any_number_and_kind_change_nothing() {
    let names = ["203.0.113.9", "host.example.org", "f00d.local", "10.0.0.1", "::1", "fe80::1%2"];
    let candidate = |name: &&str| format!("a=candidate:1 1 udp 1 {name} 0 typ host\r\n");
    let few: String = names.iter().map(candidate).collect();
    let sdp = format!("{SMALL}{}", few.repeat(200));
    assert_eq!(read(&sdp), read(SMALL));
}

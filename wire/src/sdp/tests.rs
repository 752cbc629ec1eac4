//! Whole descriptions: real ones, hostile ones, and whatever chance makes of both.

use proptest::prelude::*;

use super::*;
use crate::sdp::candidate::CANDIDATES_MAX;

/// Offers as the browsers wrote them: a meeting with three simulcast layers, 3 + 9 receive slots; WHIP; WHEP; a
/// connection with a data channel.
const OFFERS: [&str; 8] = [
    include_str!("../../fixtures/sdp/chromium-meeting.sdp"),
    include_str!("../../fixtures/sdp/chromium-whip.sdp"),
    include_str!("../../fixtures/sdp/chromium-whep.sdp"),
    include_str!("../../fixtures/sdp/chromium-legacy.sdp"),
    include_str!("../../fixtures/sdp/firefox-meeting.sdp"),
    include_str!("../../fixtures/sdp/firefox-whip.sdp"),
    include_str!("../../fixtures/sdp/firefox-whep.sdp"),
    include_str!("../../fixtures/sdp/firefox-legacy.sdp"),
];

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

fn reason(text: &str) -> (usize, Reason) {
    let error = parse(text).unwrap_err();
    (error.line, error.reason)
}

#[test]
fn a_browser_offer_is_read_to_the_last_m_line() {
    for offer in OFFERS {
        let sdp = parse(offer).unwrap();
        assert_eq!(sdp.medias.len(), offer.matches("\nm=").count());
        assert_eq!(sdp.bundle.as_ref().map(Vec::len), Some(sdp.medias.len()));
        for media in &sdp.medias {
            assert!(media.mid.is_some() && media.transport.ufrag.is_some());
            assert!(media.payloads.is_empty() == (media.kind == MediaType::Application));
        }
        assert!(!sdp.medias[0].candidates.is_empty());
    }
}

#[test]
fn chromium_simulcast_is_read() {
    let sdp = parse(OFFERS[0]).unwrap();
    let camera = &sdp.medias[1];
    let layers: Vec<&str> =
        camera.simulcast.as_ref().unwrap().send.iter().map(|layer| layer[0].rid.as_str()).collect();
    assert_eq!(layers, ["q", "h", "f"]);
    assert_eq!(camera.direction, Some(Direction::SendOnly));
    assert!(camera.payloads[0].is("vp8") && camera.payloads[1].parameter("apt") == Some("96"));
    assert_eq!(camera.payloads[0].feedback, ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]);
}

#[test]
fn firefox_pairs_and_bundle_only_m_lines_are_read() {
    let sdp = parse(OFFERS[4]).unwrap();
    let camera = &sdp.medias[1];
    assert!(camera.port == 0 && !camera.is_rejected());
    assert_eq!(camera.ssrc_groups.len(), 3);
    assert_eq!(camera.ssrcs.len(), 6);
    assert_eq!(sdp.transport.fingerprints.len(), 1);
}

#[test]
fn lf_alone_ends_a_line() {
    for offer in OFFERS {
        assert_eq!(parse(&offer.replace('\r', "")), parse(offer));
    }
}

#[test]
fn writing_what_was_read_changes_nothing_but_what_is_not_ours() {
    for offer in OFFERS {
        let read = parse(offer).unwrap();
        let written = read.to_string();
        assert_eq!(parse(&written).unwrap(), read);
        assert!(written.len() < offer.len());
    }
}

#[test]
fn an_error_names_its_line() {
    assert_eq!(reason(""), (1, "there is no o= line"));
    assert_eq!(reason("o=- 1 2 IN IP4 0.0.0.0"), (1, "the first line is not v=0"));
    assert_eq!(reason("v=1"), (1, "v=0 stands on the first line, once"));
    assert_eq!(reason("v=0\r\nv=0"), (2, "v=0 stands on the first line, once"));
    assert_eq!(reason("v=0\r\no=- one 2 IN IP4 0.0.0.0"), (2, "the session id is not a number"));
    assert_eq!(reason(&format!("{HEAD}hello")), (5, "not a line of the form x=…"));
    assert_eq!(
        reason(&format!("{HEAD}m=audio -1 UDP/TLS/RTP/SAVPF 0")),
        (5, "an m-line's port is not a number up to 65535")
    );
    assert_eq!(
        reason(&format!("{HEAD}m=audio 9 UDP/TLS/RTP/SAVPF 128")),
        (5, "a payload type is not a number up to 127")
    );
    assert_eq!(reason(&format!("{HEAD}m=audio 9 UDP/TLS/RTP/SAVPF")), (5, "an m-line has four fields"));
    assert_eq!(
        parse(&format!("{HEAD}\r\nm=audio")).unwrap_err().to_string(),
        "line 6: an m-line has four fields"
    );
}

#[test]
fn two_m_lines_of_one_mid_are_refused() {
    let media = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
    assert_eq!(reason(&format!("{HEAD}{media}{media}")), (8, "two m-lines have this mid"));
}

#[test]
fn a_control_character_is_refused_so_that_no_value_can_hold_a_second_line() {
    for hostile in ["a=mid:0\rm=video", "a=ice-ufrag:\0", "a=fmtp:0 x\u{85}y", "a=msid:\u{1b}[31m"] {
        let text = format!("{HEAD}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n{hostile}\r\n");
        assert_eq!(reason(&text), (6, "a control character"), "{hostile:?}");
    }
}

#[test]
fn what_is_too_large_is_refused_at_the_limit_and_not_behind_it() {
    assert_eq!(reason(&"a".repeat(1024 * 1024)), (1, "the description is longer than 64 KiB"));
    let lines = |count: usize| format!("{HEAD}{}", "a=x\r\n".repeat(count - 5));
    assert!(parse(&lines(LINES_MAX)).is_ok());
    assert_eq!(reason(&lines(10_000)), (LINES_MAX + 1, "too many lines"));
    let medias = |count: usize| format!("{HEAD}{}", "m=audio 9 RTP/SAVPF 0\r\n".repeat(count));
    assert!(parse(&medias(MEDIAS_MAX)).is_ok());
    assert_eq!(reason(&medias(1000)), (5 + MEDIAS_MAX, "too many m-lines"));
}

#[test]
fn of_very_many_candidates_forty_are_kept() {
    let candidates = "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n".repeat(1_000);
    let sdp = parse(&format!("{HEAD}m=audio 9 RTP/SAVPF 0\r\n{candidates}")).unwrap();
    assert_eq!(sdp.medias[0].candidates.len(), CANDIDATES_MAX);
}

#[test]
fn a_payload_type_that_the_m_line_does_not_name_means_nothing() {
    let text = format!(
        "{HEAD}m=video 9 RTP/SAVPF 96 96\r\na=fmtp:96 x=1\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 H264/90000\r\n"
    );
    let sdp = parse(&text).unwrap();
    assert_eq!(sdp.medias[0].payloads.len(), 1);
    assert!(sdp.medias[0].payloads[0].is("VP8"));
    assert_eq!(sdp.medias[0].payloads[0].parameter("x"), Some("1"));
}

/// A line that might stand in a description: the real ones, with numbers and words of chance in them.
fn line() -> impl Strategy<Value = String> {
    let real: Vec<String> = OFFERS.iter().flat_map(|offer| offer.lines()).map(str::to_owned).collect();
    prop_oneof![
        6 => proptest::sample::select(real),
        1 => "a=(candidate|ssrc|ssrc-group|extmap|rid|simulcast|fmtp|rtcp-fb|rtpmap|msid|fingerprint|group|mid):[ -~]{0,40}",
        1 => "a=simulcast:(send|recv) [a-c~,;]{1,9}( (send|recv) [a-c~,;]{1,9})?",
        1 => "m=(audio|video|text) [0-9]{1,6} (UDP/TLS/RTP/SAVPF|UDP/DTLS/SCTP) [0-9 ]{1,12}",
        1 => "[a-z]=[ -~\\t\\u{80}-\\u{2ff}]{0,40}",
    ]
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_and_read_alike(lines in proptest::collection::vec(line(), 0..60)) {
        // Lines that do not read are left out one by one, so that the rest is tested rather than refused.
        let mut text = HEAD.to_owned();
        for line in lines {
            let longer = format!("{text}{line}\r\n");
            if parse(&longer).is_ok() {
                text = longer;
            }
        }
        let read = parse(&text).unwrap();
        let written = read.to_string();
        prop_assert_eq!(parse(&written), Ok(read.clone()));
        prop_assert_eq!(parse(&written).unwrap().to_string(), written);
    }

    #[test]
    fn no_text_makes_reading_panic(text in any::<String>()) {
        let _ = parse(&text);
        let _ = parse(&format!("{HEAD}{text}"));
    }

    #[test]
    fn a_damaged_offer_is_read_or_refused(which in 0..OFFERS.len(), at in any::<prop::sample::Index>(), cut in 0..9usize, put in "[ -~\\n]{0,6}") {
        let mut text = OFFERS[which].to_owned();
        let start = at.index(text.len());
        let end = (start + cut).min(text.len());
        if text.is_ascii() {
            text.replace_range(start..end, &put);
        }
        if let Ok(sdp) = parse(&text) {
            prop_assert_eq!(parse(&sdp.to_string()), Ok(sdp));
        }
    }
}

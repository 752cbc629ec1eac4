use std::net::SocketAddr;

use wire::messages::ids::Rid;
use wire::rtp::Ssrc;

use super::*;
use crate::engine::dtls::DtlsRole;
use crate::engine::ports::BadAnswer;
use crate::engine::receive::SlotIds;
use crate::engine::send::{Content, StreamIds};

const DIGEST: &str =
    "AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB";

fn stream(rid: Option<&str>, ssrc: u32, rtx: Option<u32>) -> StreamIds {
    StreamIds { rid: rid.map(|rid| Rid::parse(rid).unwrap()), ssrc: Ssrc(ssrc), rtx_ssrc: rtx.map(Ssrc) }
}

fn voice() -> Track {
    Track { kind: MediaKind::Audio, content: Content::Voice, streams: vec![stream(None, 1, None)] }
}

fn camera(layers: &[&str]) -> Track {
    let streams = match layers {
        [] => vec![stream(None, 2, Some(3))],
        layers => layers.iter().map(|rid| stream(Some(rid), 2, Some(3))).collect(),
    };
    Track { kind: MediaKind::Video, content: Content::Camera, streams }
}

/// What is offered by somebody with these tracks and slots.
fn with<T>(tracks: &[Track], slots: (usize, usize), look: impl FnOnce(&Description<'_>) -> T) -> T {
    let ice = IceCredentials { ufrag: "ours".to_owned(), pwd: "ourpasswordourpassword".to_owned() };
    let fingerprint = Fingerprint { algorithm: "sha-256".to_owned(), value: DIGEST.to_owned() };
    look(&Description {
        number: 4,
        cname: "c4",
        ice: &ice,
        fingerprint: &fingerprint,
        tracks: tracks.iter().collect(),
        audio_slots: slots.0,
        video_slots: slots.1,
    })
}

fn read(tracks: &[Track], slots: (usize, usize), answer: &str) -> Result<Answer, BadAnswer> {
    let answer = answer.replace("DIGEST", DIGEST);
    with(tracks, slots, |offered| read_answer(offered, &answer))
}

fn refusal(tracks: &[Track], slots: (usize, usize), answer: &str) -> String {
    read(tracks, slots, answer).unwrap_err().0
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// As a bridge of ours: everything of the transport at session level, candidates below the first m-line.
const OURS: &str = "v=0\r\no=- 169552957 2 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
a=ice-lite\r\na=ice-ufrag:bridge01\r\na=ice-pwd:bridgebridgebridgebridge\r\na=fingerprint:sha-256 DIGEST\r\n\
m=audio 10000 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 198.51.100.7\r\na=mid:0\r\na=sendonly\r\na=setup:passive\r\n\
a=candidate:1 1 udp 2130706431 198.51.100.7 10000 typ host\r\n\
a=candidate:2 1 udp 2130706175 2001:db8::1 10000 typ host\r\na=candidate:3 1 udp 2130705919 127.0.0.1 10000 typ host\r\n\
a=end-of-candidates\r\na=rtcp-mux\r\na=rtcp-fb:* transport-cc\r\na=rtpmap:111 opus/48000/2\r\n\
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ssrc:1000 cname:passerelle\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=sendonly\r\na=setup:passive\r\na=rtcp-mux\r\n\
a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 transport-cc\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
a=ssrc:1002 cname:passerelle\r\na=ssrc:1003 cname:passerelle\r\na=ssrc-group:FID 1002 1003\r\n";

/// As Janus: the digest for all, credentials and candidates in each m-line, and it opens DTLS.
const JANUS: &str = "v=0\r\no=- 42 2 IN IP4 192.0.2.1\r\ns=VideoRoom 1\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
a=fingerprint:sha-256 DIGEST\r\na=msid-semantic: WMS *\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 192.0.2.1\r\na=recvonly\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:jan0\r\n\
a=ice-pwd:januspasswordjanuspass\r\na=ice-options:trickle\r\na=setup:active\r\na=rtpmap:111 opus/48000/2\r\n\
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=candidate:1 1 udp 2015363327 192.0.2.1 40000 typ host\r\n\
a=candidate:2 2 udp 2015363326 192.0.2.1 40001 typ host\r\na=end-of-candidates\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 192.0.2.1\r\na=recvonly\r\na=mid:1\r\na=rtcp-mux\r\na=ice-ufrag:jan0\r\n\
a=ice-pwd:januspasswordjanuspass\r\na=setup:active\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\n\
a=rtcp-fb:96 transport-cc\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=rtpmap:97 rtx/90000\r\n\
a=fmtp:97 apt=96\r\na=rid:q recv\r\na=rid:h recv\r\na=rid:f recv\r\na=simulcast:recv q;h;f\r\n\
a=candidate:1 1 udp 2015363327 192.0.2.1 40000 typ host\r\n";

/// As aiortc: everything in each m-line, with ports; no layers, no transport-wide numbers.
const AIORTC: &str = "v=0\r\no=- 3 4 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic:WMS *\r\n\
m=audio 50001 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 192.0.2.5\r\na=sendrecv\r\na=mid:0\r\na=msid:a b\r\n\
a=rtcp:9 IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=ssrc:77 cname:x\r\na=rtpmap:111 opus/48000/2\r\n\
a=candidate:aa 1 udp 2130706431 192.0.2.5 50001 typ host\r\na=candidate:bb 1 udp 2130706431 fe80::5 50003 typ host\r\n\
a=end-of-candidates\r\na=ice-ufrag:aio1\r\na=ice-pwd:aiopasswordaiopassword\r\na=fingerprint:sha-256 DIGEST\r\n\
a=fingerprint:sha-512 AB:CD\r\na=setup:active\r\n\
m=video 50001 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 192.0.2.5\r\na=inactive\r\na=mid:1\r\na=rtcp-mux\r\n\
a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ice-ufrag:aio1\r\n\
a=ice-pwd:aiopasswordaiopassword\r\na=fingerprint:sha-256 DIGEST\r\na=setup:active\r\n";

#[test]
fn an_offer_is_read_back_as_what_it_says() {
    let tracks = [voice(), camera(&["q", "h", "f"])];
    let offer = with(&tracks, (1, 2), write_offer);
    let offer = wire::sdp::parse(&offer).unwrap();
    let mids: Vec<_> = offer.medias.iter().map(|media| media.mid.clone().unwrap()).collect();
    assert_eq!((mids.join(" "), offer.bundle), ("0 1 2 3 4".to_owned(), Some(mids)));
    let kinds: Vec<_> =
        offer.medias.iter().map(|it| (it.kind.name(), it.direction.unwrap().name())).collect();
    let (sends, receives) = ("sendonly", "recvonly");
    let (audio, video) = ("audio", "video");
    assert_eq!(
        kinds,
        [(audio, sends), (video, sends), (audio, receives), (video, receives), (video, receives)]
    );
    assert!(offer.medias[0].ssrcs[0].cname.as_deref() == Some("c4") && offer.medias[1].ssrcs.is_empty());
    assert_eq!(offer.medias[1].simulcast.as_ref().unwrap().send.len(), 3);
}

#[test]
fn our_own_answer_is_understood() {
    let answer = read(&[], (1, 1), OURS).unwrap();
    assert_eq!((&*answer.ice.ufrag, answer.role), ("bridge01", DtlsRole::Client));
    let addresses = ["198.51.100.7:10000", "[2001:db8::1]:10000", "127.0.0.1:10000"].map(address);
    assert_eq!(answer.candidates, addresses);
    let slot = |mid: &str, kind, ssrc, rtx_ssrc, (payload_type, rtx_payload_type)| SlotIds {
        mid: mid.to_owned(),
        kind,
        ssrc: Some(Ssrc(ssrc)),
        rtx_ssrc,
        payload_type,
        rtx_payload_type,
    };
    let audio = slot("0", MediaKind::Audio, 1000, None, (111, None));
    let video = slot("1", MediaKind::Video, 1002, Some(Ssrc(1003)), (96, Some(97)));
    assert_eq!(answer.slots, [audio, video]);
    assert_eq!((answer.transport_cc_id, answer.mid_id), (Some(3), Some(4)));
}

#[test]
fn an_answer_of_janus_is_understood() {
    let answer = read(&[voice(), camera(&["q", "h", "f"])], (0, 0), JANUS).unwrap();
    assert_eq!((&*answer.ice.ufrag, answer.role), ("jan0", DtlsRole::Server));
    assert_eq!(answer.candidates, [address("192.0.2.1:40000")], "one component, each address once");
    let [voice, camera] = &answer.tracks[..] else { panic!("{answer:?}") };
    assert_eq!((voice.audio_level_id, voice.transport_cc_id, voice.mid_id), (Some(1), None, None));
    assert_eq!((camera.transport_cc_id, camera.mid_id, camera.rid_id), (Some(3), Some(4), Some(10)));
    assert_eq!((camera.repaired_rid_id, camera.rtx_payload_type.map(|it| it.number())), (None, Some(97)));
}

#[test]
fn an_answer_of_aiortc_is_understood() {
    let answer = read(&[voice()], (0, 1), AIORTC).unwrap();
    assert_eq!((&*answer.ice.pwd, answer.role), ("aiopasswordaiopassword", DtlsRole::Server));
    assert_eq!(answer.candidates, [address("192.0.2.5:50001")], "link-local addresses need an interface");
    assert_eq!((answer.fingerprints.len(), answer.slots.len()), (1, 0));
}

#[test]
fn a_slot_without_ssrcs_is_learned_later() {
    let bare: String = OURS.split_inclusive("\r\n").filter(|line| !line.starts_with("a=ssrc")).collect();
    let answer = read(&[], (1, 1), &bare).unwrap();
    assert!(answer.slots.iter().all(|slot| slot.ssrc.is_none() && slot.rtx_ssrc.is_none()));
}

#[test]
fn a_refused_slot_is_no_slot_and_a_refused_track_is_an_error() {
    let refused = OURS.replace("m=video 9", "m=video 0").replace("BUNDLE 0 1", "BUNDLE 0");
    assert_eq!(read(&[], (1, 1), &refused).unwrap().slots.len(), 1);
    let refused = JANUS.replace("m=video 9", "m=video 0");
    let why = refusal(&[voice(), camera(&[])], (0, 0), &refused);
    assert_eq!(why, "m-line 1 (Camera): the server does not take it");
    let other_codec = JANUS.replace("VP8", "H264");
    assert!(refusal(&[voice(), camera(&[])], (0, 0), &other_codec).contains("neither opus nor VP8"));
}

#[test]
fn a_server_that_takes_fewer_layers_is_an_error() {
    let tracks = [voice(), camera(&["q", "h", "f"])];
    let fewer = JANUS.replace("recv q;h;f", "recv f");
    assert_eq!(refusal(&tracks, (0, 0), &fewer), "m-line 1 (Camera): the server takes 1 of 3 layers");
    let unnamed = JANUS.replace("a=extmap:10", "a=extmap:200");
    assert!(refusal(&tracks, (0, 0), &unnamed).contains("extensions that name them"));
}

#[test]
fn an_answer_that_contradicts_the_offer_is_refused_with_a_reason() {
    for (from, to, why) in [
        ("v=0", "v=1", "v=0"),
        ("a=mid:1", "a=mid:7", "another mid"),
        ("a=mid:1", "a=mid:0", "two m-lines"),
        ("m=video 9", "m=audio 9", "offered as video"),
        ("BUNDLE 0 1", "BUNDLE 0", "left out"),
        ("a=group:BUNDLE 0 1\r\n", "", "left out"),
        ("a=ssrc-group:FID 1002 1003", "a=ssrc-group:FID 1000 1003", "one SSRC"),
        ("a=rtcp-mux", "a=other", "rtcp-mux"),
        ("a=ice-pwd:bridgebridge", "a=ice-pwd:", "credentials"),
        ("a=ice-ufrag", "a=other", "no ICE credentials"),
        ("sha-256", "sha-1", "sha-256"),
        ("a=setup:passive", "a=setup:actpass", "a=setup"),
        ("a=candidate", "a=other", ""),
    ] {
        let answer = OURS.replace(from, to);
        match read(&[], (1, 1), &answer) {
            // The first m-line's own address is left to send to.
            Ok(read) => assert_eq!((why, &read.candidates[..]), ("", &[address("198.51.100.7:10000")][..])),
            Err(BadAnswer(reason)) => assert!(!why.is_empty() && reason.contains(why), "{from}: {reason}"),
        }
    }
    assert!(refusal(&[], (1, 2), OURS).contains("3 m-lines were offered, 2 answered"));
    assert!(refusal(&[], (1, 1), "").contains("line 1"));
    let nowhere = OURS.replace("a=candidate", "a=other").replace("198.51.100.7", "0.0.0.0");
    assert!(refusal(&[], (1, 1), &nowhere).contains("no UDP candidate"));
    let none = OURS.replace("m=audio 10000", "m=audio 0").replace("m=video 9", "m=video 0");
    assert!(refusal(&[], (1, 1), &none).contains("every m-line is refused"));
}

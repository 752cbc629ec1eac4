//! Offers of real clients, edited ones, and damaged ones.

mod real;
mod refusals;
mod rules;

use wire::messages::media::{Candidate, Fingerprint, IceCredentials, SlotParameters};

use super::*;

const CHROMIUM_MEETING: &str = include_str!("../../../../../wire/fixtures/sdp/chromium-meeting.sdp");
const CHROMIUM_WHIP: &str = include_str!("../../../../../wire/fixtures/sdp/chromium-whip.sdp");
const CHROMIUM_WHEP: &str = include_str!("../../../../../wire/fixtures/sdp/chromium-whep.sdp");
const CHROMIUM_LEGACY: &str = include_str!("../../../../../wire/fixtures/sdp/chromium-legacy.sdp");
const FIREFOX_MEETING: &str = include_str!("../../../../../wire/fixtures/sdp/firefox-meeting.sdp");
const FIREFOX_WHIP: &str = include_str!("../../../../../wire/fixtures/sdp/firefox-whip.sdp");
const FIREFOX_WHEP: &str = include_str!("../../../../../wire/fixtures/sdp/firefox-whep.sdp");
const FIREFOX_LEGACY: &str = include_str!("../../../../../wire/fixtures/sdp/firefox-legacy.sdp");
const AIORTC_WHIP: &str = include_str!("../../../../../wire/fixtures/sdp/aiortc-whip.sdp");
const AIORTC_WHEP: &str = include_str!("../../../../../wire/fixtures/sdp/aiortc-whep.sdp");
const REAL: [&str; 10] = [
    CHROMIUM_MEETING,
    CHROMIUM_WHIP,
    CHROMIUM_WHEP,
    CHROMIUM_LEGACY,
    FIREFOX_MEETING,
    FIREFOX_WHIP,
    FIREFOX_WHEP,
    FIREFOX_LEGACY,
    AIORTC_WHIP,
    AIORTC_WHEP,
];

/// As GStreamer's `whipclientsink` offers: no extensions, SSRCs in `caps`, one codec each.
const GSTREAMER_WHIP: &str = "v=0\r\n\
    o=- 6921344126438912301 0 IN IP4 0.0.0.0\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=ice-options:trickle\r\n\
    a=group:BUNDLE video0 audio1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=setup:actpass\r\n\
    a=ice-ufrag:Jj4ZWGFMGzQQjTlFKrAqKQ\r\n\
    a=ice-pwd:n5tU0pGQ3UPXjQb8kLtlV7tVvzMhS1Fq\r\n\
    a=rtcp-mux\r\n\
    a=rtcp-rsize\r\n\
    a=sendonly\r\n\
    a=rtpmap:96 H264/90000\r\n\
    a=rtcp-fb:96 nack\r\n\
    a=rtcp-fb:96 nack pli\r\n\
    a=fmtp:96 packetization-mode=1;profile-level-id=42c015;sprop-parameter-sets=Z0LAFdoFB+Q=,aM4PyA==\r\n\
    a=rtpmap:97 rtx/90000\r\n\
    a=fmtp:97 apt=96\r\n\
    a=ssrc-group:FID 1484078950 3213482344\r\n\
    a=ssrc:1484078950 msid:user1@host webrtctransceiver0\r\n\
    a=ssrc:1484078950 cname:user1@host\r\n\
    a=ssrc:3213482344 cname:user1@host\r\n\
    a=mid:video0\r\n\
    a=fingerprint:sha-256 1A:2B:3C:4D:5E:6F:70:81:92:A3:B4:C5:D6:E7:F8:09:1A:2B:3C:4D:5E:6F:70:81:92:A3:B4:C5:D6:E7:F8:09\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 98\r\n\
    c=IN IP4 0.0.0.0\r\n\
    a=setup:actpass\r\n\
    a=ice-ufrag:Jj4ZWGFMGzQQjTlFKrAqKQ\r\n\
    a=ice-pwd:n5tU0pGQ3UPXjQb8kLtlV7tVvzMhS1Fq\r\n\
    a=rtcp-mux\r\n\
    a=sendonly\r\n\
    a=rtpmap:98 OPUS/48000/2\r\n\
    a=fmtp:98 sprop-stereo=0;sprop-maxcapturerate=48000\r\n\
    a=ssrc:2706551329 cname:user1@host\r\n\
    a=mid:audio1\r\n\
    a=fingerprint:sha-256 1A:2B:3C:4D:5E:6F:70:81:92:A3:B4:C5:D6:E7:F8:09:1A:2B:3C:4D:5E:6F:70:81:92:A3:B4:C5:D6:E7:F8:09\r\n";

/// Two m-lines with no more than they need.
const SMALL: &str = "v=0\r\n\
    o=- 7 3 IN IP4 0.0.0.0\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=group:BUNDLE a v\r\n\
    a=ice-ufrag:abcd\r\n\
    a=ice-pwd:0123456789abcdef012345\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=setup:actpass\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
    a=mid:a\r\n\
    a=sendonly\r\n\
    a=rtcp-mux\r\n\
    a=rtpmap:111 opus/48000/2\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
    a=mid:v\r\n\
    a=sendonly\r\n\
    a=rtcp-mux\r\n\
    a=rtpmap:96 VP8/90000\r\n";

fn endpoint() -> EndpointId {
    EndpointId::parse("0a1b2c3d").unwrap()
}

fn read(sdp: &str) -> Offer {
    parse_offer(sdp, &endpoint()).unwrap()
}

fn refusal(sdp: &str) -> String {
    parse_offer(sdp, &endpoint()).unwrap_err().to_string()
}

/// `text` with `from` in it replaced; what is not there cannot be tested.
fn edit(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in the offer");
    text.replace(from, to)
}

/// What a bridge says: slots get SSRCs counted from 1000.
fn bridge(offer: &Offer) -> TransportParameters {
    let slots = offer.parameters.medias.iter().filter(|media| media.role == MediaRole::Slot);
    let slots = slots.zip((1000..).step_by(2)).map(|(media, ssrc)| SlotParameters {
        mid: media.mid.clone(),
        ssrc,
        rtx_ssrc: (media.kind == MediaKind::Video).then_some(ssrc + 1),
    });
    let candidate = |priority, address: &str| Candidate { priority, address: address.parse().unwrap() };
    TransportParameters {
        ice: IceCredentials { ufrag: "bridge01".to_owned(), pwd: "bridgebridgebridgebridge".to_owned() },
        fingerprint: Fingerprint { algorithm: "sha-256".to_owned(), value: ["AB"; 32].join(":") },
        candidates: vec![
            candidate(2_130_706_431, "198.51.100.7:10000"),
            candidate(2_130_706_175, "[2001:db8:1234:5678:9abc:def0:1234:5678]:10000"),
            candidate(2_130_705_919, "127.0.0.1:10000"),
        ],
        slots: slots.collect(),
        channel_path: "/colibri-ws/one/conference/0a1b2c3d?pwd=x".to_owned(),
    }
}

fn answer(offer: &Offer) -> Sdp {
    sdp::parse(&write_answer(offer, &bridge(offer))).unwrap()
}

fn source(offer: &Offer, index: usize) -> &SourceParameters {
    match &offer.parameters.medias[index].role {
        MediaRole::Source(source) => source,
        other => panic!("not a source: {other:?}"),
    }
}

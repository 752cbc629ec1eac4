//! What real browsers sent, read by our parsers: see `fixtures/README.md`.
// The helpers of a test fail the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use wire::datagram::{DatagramKind, classify};
use wire::rtcp::{Packet, packets};
use wire::rtp::RtpView;
use wire::rtp::extensions::{AbsSendTime, AudioLevel, TransportSequence, parse_text};
use wire::stun::{AttributeKind, Class, Message, Method};

const BROWSERS: [&str; 2] = ["chromium", "firefox"];

/// The ICE password that the capturing server announced.
const SERVER_PASSWORD: &[u8] = b"bridgebridgebridgebridge";

fn folder(browser: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(browser)
}

/// The datagrams whose file names start with `prefix`, in order; never none.
fn datagrams(browser: &str, prefix: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder(browser))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{browser} has no {prefix}");
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// What an offer says of one m-line: extension ids by URI, codec names by payload type.
struct Offered {
    extensions: HashMap<String, u8>,
    codecs: HashMap<u8, String>,
}

/// Reads the m-line with this MID, without help of our own SDP parser.
fn offered(browser: &str, mid: &str) -> Offered {
    let offer = fs::read_to_string(folder(browser).join("offer.sdp")).unwrap();
    let section = offer
        .split("\nm=")
        .find(|section| {
            section.contains(&format!("a=mid:{mid}\r")) || section.contains(&format!("a=mid:{mid}\n"))
        })
        .unwrap();
    let mut offered = Offered { extensions: HashMap::new(), codecs: HashMap::new() };
    for line in section.lines() {
        if let Some((id, uri)) = line.strip_prefix("a=extmap:").and_then(|rest| rest.split_once(' ')) {
            let id = id.split('/').next().unwrap().parse().unwrap();
            offered.extensions.insert(uri.to_owned(), id);
        }
        if let Some((number, name)) = line.strip_prefix("a=rtpmap:").and_then(|rest| rest.split_once(' ')) {
            offered.codecs.insert(number.parse().unwrap(), name.to_owned());
        }
    }
    offered
}

impl Offered {
    fn value<'a>(&self, view: &RtpView<'a>, uri: &str) -> Option<&'a [u8]> {
        view.extension(*self.extensions.get(uri)?)
    }

    fn codec(&self, view: &RtpView<'_>) -> &str {
        &self.codecs[&view.payload_type().number()]
    }
}

const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

#[test]
fn a_browsers_check_is_understood_and_verifies() {
    for browser in BROWSERS {
        for datagram in datagrams(browser, "stun") {
            assert_eq!(classify(&datagram), DatagramKind::Stun);
            let message = Message::parse(&datagram).unwrap();
            assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
            assert!(message.verify_fingerprint(), "{browser}");
            assert!(message.verify_integrity(SERVER_PASSWORD), "{browser}");
            assert!(!message.verify_integrity(b"another password"), "{browser}");
            assert!(message.username().unwrap().starts_with("bridge:"));
            assert!(message.priority().is_some());
            assert!(message.controlling().is_some(), "the full agent controls a lite one");
            let known = [AttributeKind::USERNAME, AttributeKind::PRIORITY, AttributeKind::USE_CANDIDATE];
            assert_eq!(message.unknown_required(&known).count(), 0, "{browser}");
        }
    }
}

#[test]
fn a_browsers_hello_comes_in_fragments_that_join() {
    for browser in BROWSERS {
        let mut covered = 0;
        let mut total = 0;
        for datagram in &datagrams(browser, "dtls-client")[..2] {
            assert_eq!(classify(datagram), DatagramKind::Dtls);
            // DTLS record (13 bytes): handshake; then the handshake header (12 bytes): ClientHello.
            assert_eq!((datagram[0], datagram[13]), (22, 1), "{browser}");
            let number =
                |at: usize| u32::from_be_bytes([0, datagram[at], datagram[at + 1], datagram[at + 2]]);
            assert_eq!(number(19), covered, "{browser}: the fragment starts where the one before ended");
            total = number(14);
            covered += number(22);
            assert_eq!(datagram.len(), 25 + number(22) as usize);
        }
        assert_eq!(covered, total, "{browser}");
        assert!(total > 1_200, "{browser}: a post-quantum hello does not fit one datagram");
    }
}

#[test]
fn a_browsers_audio_tells_its_level_and_its_m_line() {
    for browser in BROWSERS {
        let offered = offered(browser, "0");
        let mut sequences = Vec::new();
        for datagram in datagrams(browser, "opus") {
            assert_eq!(classify(&datagram), DatagramKind::Rtp);
            let view = RtpView::parse(&datagram).unwrap();
            assert_eq!(offered.codec(&view), "opus/48000/2");
            assert!(AudioLevel::parse(offered.value(&view, AUDIO_LEVEL).unwrap()).is_some(), "{browser}");
            assert_eq!(parse_text(offered.value(&view, MID).unwrap()), Some("0"), "{browser}");
            assert!(TransportSequence::parse(offered.value(&view, TRANSPORT_CC).unwrap()).is_some());
            assert!(!view.payload().is_empty());
            sequences.push(view.sequence());
        }
        assert!(sequences.is_sorted(), "{browser}: {sequences:?}");
    }
}

#[test]
fn a_browsers_simulcast_tells_its_layer() {
    for browser in BROWSERS {
        let offered = offered(browser, "1");
        for datagram in datagrams(browser, "vp8") {
            let view = RtpView::parse(&datagram).unwrap();
            assert_eq!(offered.codec(&view), "VP8/90000");
            assert_eq!(parse_text(offered.value(&view, RID).unwrap()), Some("l"), "{browser}");
            assert_eq!(parse_text(offered.value(&view, MID).unwrap()), Some("1"), "{browser}");
            assert!(AbsSendTime::parse(offered.value(&view, ABS_SEND_TIME).unwrap()).is_some());
        }
        let mut padding_only = 0;
        for datagram in datagrams(browser, "rtx") {
            let view = RtpView::parse(&datagram).unwrap();
            assert_eq!(offered.codec(&view), "rtx/90000");
            let rid = parse_text(offered.value(&view, REPAIRED_RID).unwrap());
            assert!(matches!(rid, Some("l" | "h")), "{browser}: {rid:?}");
            padding_only += usize::from(view.payload().is_empty() && view.padding_len() > 0);
        }
        assert!(padding_only > 0, "{browser} probes with nothing but padding");
    }
}

#[test]
fn a_browsers_rtcp_reports_and_names_its_streams() {
    for browser in BROWSERS {
        let (mut reports, mut names) = (0, 0);
        for datagram in datagrams(browser, "rtcp") {
            assert_eq!(classify(&datagram), DatagramKind::Rtcp);
            for packet in packets(&datagram) {
                match packet.unwrap() {
                    Packet::SenderReport(report) => {
                        reports += 1;
                        assert!(report.ntp.0 > 0 && report.packets > 0, "{browser}: {report:?}");
                    }
                    Packet::SourceDescription(description) => {
                        names += 1;
                        let (_, cname) = description.cnames().next().unwrap();
                        assert!(!cname.is_empty());
                    }
                    _ => {}
                }
            }
        }
        assert!(reports > 0 && names > 0, "{browser}: {reports} reports, {names} names");
    }
}

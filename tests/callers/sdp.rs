//! What a caller offers, and what it needs of the answer.

use std::fmt::Write as _;
use std::net::SocketAddr;

use wire::messages::media::{Fingerprint, IceCredentials};
use wire::sdp::{self, Direction, MediaType};

use super::Role;

pub(crate) const VOICE_PAYLOAD_TYPE: u8 = 111;
pub(crate) const PICTURE_PAYLOAD_TYPE: u8 = 96;
pub(crate) const AUDIO_LEVEL_ID: u8 = 1;

/// SSRCs of a publisher's streams.
pub(crate) fn ssrcs(number: u32) -> (u32, u32) {
    (0x0100_0000 + number, 0x0200_0000 + number)
}

/// One voice and one picture, in one bundle.
pub(crate) fn offer(role: Role, number: u32, ice: &IceCredentials, fingerprint: &Fingerprint) -> String {
    let (voice, picture) = ssrcs(number);
    let (direction, voice_line, picture_line) = match role {
        Role::Publisher => (
            "sendonly",
            format!("a=ssrc:{voice} cname:caller{number}\r\n"),
            format!("a=ssrc:{picture} cname:caller{number}\r\n"),
        ),
        Role::Viewer => ("recvonly", String::new(), String::new()),
    };
    let transport = format!(
        "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{} {}\r\na=setup:actpass\r\n\
         a={direction}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
        ice.ufrag, ice.pwd, fingerprint.algorithm, fingerprint.value
    );
    let mut offer = format!(
        "v=0\r\no=- {number} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\n"
    );
    // Writing to a String never fails.
    let _ = write!(
        offer,
        "m=audio 9 UDP/TLS/RTP/SAVPF {VOICE_PAYLOAD_TYPE}\r\na=mid:0\r\n{transport}\
         a=rtpmap:{VOICE_PAYLOAD_TYPE} opus/48000/2\r\na=fmtp:{VOICE_PAYLOAD_TYPE} minptime=10;useinbandfec=1\r\n\
         a=extmap:{AUDIO_LEVEL_ID} urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n{voice_line}"
    );
    let _ = write!(
        offer,
        "m=video 9 UDP/TLS/RTP/SAVPF {PICTURE_PAYLOAD_TYPE}\r\na=mid:1\r\n{transport}\
         a=rtpmap:{PICTURE_PAYLOAD_TYPE} VP8/90000\r\na=rtcp-fb:{PICTURE_PAYLOAD_TYPE} nack\r\n\
         a=rtcp-fb:{PICTURE_PAYLOAD_TYPE} nack pli\r\na=rtcp-fb:{PICTURE_PAYLOAD_TYPE} ccm fir\r\n{picture_line}"
    );
    offer
}

/// The server's half, and the streams it will send.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) ice: IceCredentials,
    pub(crate) fingerprint: Fingerprint,
    /// Where to send.
    pub(crate) address: SocketAddr,
    /// Media SSRC and kind of each m-line on which the server sends.
    pub(crate) slots: Vec<(u32, MediaType)>,
}

impl Answer {
    /// Reads an answer; one that a browser could not use is a failed test.
    pub(crate) fn read(text: &str) -> Self {
        let answer = sdp::parse(text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
        assert!(answer.is_ice_lite && answer.medias.len() == 2, "{text}");
        let mut places = answer.medias.iter().map(|media| &media.transport).chain([&answer.transport]);
        let transport = places.find(|place| place.pwd.is_some()).unwrap_or(&answer.transport);
        let ice = match (&transport.ufrag, &transport.pwd) {
            (Some(ufrag), Some(pwd)) => IceCredentials { ufrag: ufrag.clone(), pwd: pwd.clone() },
            _ => panic!("no ICE credentials in\n{text}"),
        };
        let mut candidates = answer.medias.iter().flat_map(|media| &media.candidates);
        let sending = answer.medias.iter().filter(|media| media.direction == Some(Direction::SendOnly));
        Self {
            ice,
            fingerprint: transport.fingerprints.first().expect("a fingerprint").clone(),
            address: candidates.next().expect("a candidate").address,
            slots: sending
                .map(|media| (media.ssrcs.first().expect("an SSRC").ssrc, media.kind.clone()))
                .collect(),
        }
    }
}

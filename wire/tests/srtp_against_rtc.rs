//! Our SRTP against `rtc::srtp`, an independent implementation: packet for packet, both ways, in both profiles.

use rtc::crypto::providers::AwsLcRsCrypto;
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use wire::srtp::{KEY_BYTES, MasterKey, Opener, Profile, ReplayWindow, Sealer};

const PROFILES: [(Profile, ProtectionProfile); 2] = [
    (Profile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (Profile::Aes128CmSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
];

/// Both implementations under the same master key.
struct Ends {
    sealer: Sealer,
    opener: Opener,
    theirs: Context,
}

impl Ends {
    fn new((profile, theirs): (Profile, ProtectionProfile)) -> Self {
        let key: Vec<u8> = (0..KEY_BYTES as u8).map(|byte| byte.wrapping_mul(37)).collect();
        let salt: Vec<u8> = (0..profile.salt_len() as u8).map(|byte| 0xf0 ^ byte.wrapping_mul(11)).collect();
        let master = MasterKey::new(profile, &key, &salt).expect("the profile's lengths");
        Self {
            sealer: Sealer::new(profile, &master),
            opener: Opener::new(profile, &master),
            theirs: Context::new(&key, &salt, theirs, None, None, &AwsLcRsCrypto).expect("the same lengths"),
        }
    }
}

/// An RTP packet and the length of its header.
struct Rtp {
    bytes: Vec<u8>,
    header_len: usize,
}

/// Packets of every shape a browser sends: plain, with one-byte and two-byte extensions, CSRCs, padding, and all at once.
fn rtp(index: u64, shape: usize) -> Rtp {
    let [high, low] = (index as u16).to_be_bytes();
    let mut bytes = vec![0x80, 96, high, low, 0x10, 0x20, 0x30, shape as u8, 0xca, 0xfe, 0xba, 0xbe];
    if shape & 1 != 0 {
        bytes[0] |= 2;
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2]);
    }
    if shape & 2 != 0 {
        bytes[0] |= 0x10;
        bytes.extend([0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
    } else if shape & 4 != 0 {
        bytes[0] |= 0x10;
        bytes.extend([0x10, 0, 0, 2, 3, 5, 1, 2, 3, 4, 5, 0]);
    }
    let header_len = bytes.len();
    let payload_len = 1 + (index % 40) as usize * 30;
    bytes.extend((0..payload_len).map(|at| (at as u64 ^ index) as u8));
    if shape & 8 != 0 {
        bytes[0] |= 0x20;
        bytes.extend([0, 0, 3]);
    }
    Rtp { bytes, header_len }
}

const SHAPES: usize = 16;

/// Indices around two rollovers, some left out and some late, as a lossy network hands them over.
fn indices() -> impl Iterator<Item = u64> {
    (65_400..65_700)
        .chain((66_000..200_000).step_by(4_001))
        .chain(196_000..197_000)
        .filter(|index| index % 7 != 3 && *index != 65_535)
        .map(|index| index ^ 1)
}

#[test]
fn they_open_the_rtp_we_seal_and_the_bytes_are_those_they_would_send() {
    for profiles in PROFILES {
        let mut ends = Ends::new(profiles);
        let mut receiver = Ends::new(profiles);
        for (count, index) in indices().enumerate() {
            let packet = rtp(index, count % SHAPES);
            let (header, payload) = packet.bytes.split_at(packet.header_len);
            let mut out = vec![0; 2000];
            let len = ends.sealer.seal_rtp(index, header, payload, &mut out).unwrap();
            let opened = receiver.theirs.decrypt_rtp(&out[..len]).unwrap();
            assert_eq!(opened, packet.bytes, "index {index}");
            assert_eq!(ends.theirs.encrypt_rtp(&packet.bytes).unwrap(), out[..len], "index {index}");
        }
    }
}

#[test]
fn we_open_the_rtp_they_seal() {
    for profiles in PROFILES {
        let mut ends = Ends::new(profiles);
        let mut window = ReplayWindow::new();
        let mut last = 0;
        for (count, index) in indices().enumerate() {
            let packet = rtp(index, count % SHAPES);
            let sealed = ends.theirs.encrypt_rtp(&packet.bytes).unwrap();
            let mut out = vec![0; sealed.len()];
            let payload_len =
                ends.opener.open_rtp(&mut window, &sealed, packet.header_len, &mut out).unwrap();
            assert_eq!(out[..packet.header_len + payload_len], packet.bytes, "index {index}");
            last = last.max(index);
            assert_eq!(window.highest(), Some(last));
        }
    }
}

/// A sender report with a description, as a compound packet of `words` further words.
fn rtcp(ssrc: u32, words: usize) -> Vec<u8> {
    let mut bytes = vec![0x81, 200, 0, (6 + words) as u8];
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend((0..20 + words * 4).map(|at| at as u8));
    bytes
}

#[test]
fn rtcp_agrees_both_ways_for_several_senders() {
    for profiles in PROFILES {
        let mut ends = Ends::new(profiles);
        let mut receiver = Ends::new(profiles);
        let mut windows = [ReplayWindow::new(), ReplayWindow::new(), ReplayWindow::new()];
        let mut plain = Vec::new();
        for index in 1..400 {
            for (ssrc, window) in (0x0101_0101..).zip(&mut windows) {
                let packet = rtcp(ssrc, index % 90);
                let mut out = vec![0; 2000];
                let len = ends.sealer.seal_rtcp(index as u32, &packet, &mut out).unwrap();
                assert_eq!(receiver.theirs.decrypt_rtcp(&out[..len]).unwrap(), packet);
                // Theirs counts each sender's packets from 1, as this loop does.
                let theirs = ends.theirs.encrypt_rtcp(&packet).unwrap();
                assert_eq!(theirs, out[..len], "index {index}");
                ends.opener.open_rtcp(window, &theirs, &mut plain).unwrap();
                assert_eq!(plain, packet);
            }
        }
    }
}

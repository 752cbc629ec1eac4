//! What both profiles must do alike, hostile packets included. Vectors of the RFCs are beside the code they check.

use proptest::prelude::*;

use super::*;

const PROFILES: [Profile; 2] = [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80];
const SSRC: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

pub(super) fn hex_array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// The two ends of one direction.
struct Pair {
    sealer: Sealer,
    opener: Opener,
    window: ReplayWindow,
}

impl Pair {
    fn new(profile: Profile) -> Self {
        let master = master(profile, 7);
        Self {
            sealer: Sealer::new(profile, &master),
            opener: Opener::new(profile, &master),
            window: ReplayWindow::new(),
        }
    }

    /// The packet with this index and a payload that tells it.
    fn seal(&self, index: u64) -> Vec<u8> {
        self.seal_with(index, &header(index as u16, &[]), &index.to_be_bytes())
    }

    fn seal_with(&self, index: u64, header: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; header.len() + payload.len() + self.sealer.profile().rtp_overhead()];
        assert_eq!(self.sealer.seal_rtp(index, header, payload, &mut out), Ok(out.len()));
        out
    }

    fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        self.open_with(packet, RTP_HEADER_BYTES)
    }

    fn open_with(&mut self, packet: &[u8], header_len: usize) -> Result<Vec<u8>, SrtpError> {
        let mut out = vec![0; packet.len()];
        let payload_len = self.opener.open_rtp(&mut self.window, packet, header_len, &mut out)?;
        out.truncate(header_len + payload_len);
        Ok(out)
    }

    /// Seals and opens the packet with this index; true when what arrives is what was sent.
    fn delivers(&mut self, index: u64) -> bool {
        let sealed = self.seal(index);
        self.open(&sealed).is_ok_and(|plain| plain[RTP_HEADER_BYTES..] == index.to_be_bytes())
    }

    fn seal_rtcp(&self, index: u32, packet: &[u8]) -> Vec<u8> {
        let mut out = vec![0; packet.len() + self.sealer.profile().rtcp_overhead()];
        assert_eq!(self.sealer.seal_rtcp(index, packet, &mut out), Ok(out.len()));
        out
    }

    fn open_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let mut out = vec![0xff; 3];
        self.opener.open_rtcp(&mut self.window, packet, &mut out)?;
        Ok(out)
    }
}

fn master(profile: Profile, fill: u8) -> MasterKey {
    MasterKey::new(profile, &[fill; KEY_BYTES], &vec![fill ^ 0xff; profile.salt_len()]).unwrap()
}

fn header(sequence: u16, rest: &[u8]) -> Vec<u8> {
    let [high, low] = sequence.to_be_bytes();
    [&[0x80, 0x60, high, low, 0, 0, 0x03, 0xc0], &SSRC[..], rest].concat()
}

/// A receiver report without blocks, and a source description.
fn compound() -> Vec<u8> {
    hex("80c90001deadbeef81ca0004deadbeef010861626364656667680000")
}

#[test]
fn csrcs_and_extension_stay_readable_and_cannot_be_changed() {
    // Two CSRCs, then a one-byte extension block of one word.
    let mut header = header(9, &hex("1111111122222222bede000110ff0000"));
    header[0] = 0x92;
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        let sealed = pair.seal_with(9, &header, b"voice");
        assert_eq!(sealed[..header.len()], header);
        assert_ne!(sealed[header.len()..header.len() + 5], *b"voice");
        for at in 0..header.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_eq!(pair.open_with(&forged, header.len()), Err(SrtpError::BadTag), "byte {at}");
        }
        assert_eq!(pair.open_with(&sealed, header.len()).unwrap(), [&header[..], b"voice"].concat());
    }
}

#[test]
fn a_payload_of_no_bytes_is_a_packet_too() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        let sealed = pair.seal_with(1, &header(1, &[]), &[]);
        assert_eq!(pair.open(&sealed).unwrap(), header(1, &[]));
    }
}

/// U30: however many forged packets come, the window stays as it was and the true packet is opened.
#[test]
fn forged_packets_change_nothing() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        assert!(pair.delivers(1000));
        let before = pair.window.clone();
        let sealed = pair.seal(1001);
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let refused = pair.open(&forged).unwrap_err();
            // A changed sequence number may also point behind the window.
            assert!(
                matches!(refused, SrtpError::BadTag | SrtpError::TooOld | SrtpError::Replayed),
                "{refused}"
            );
            assert_eq!(pair.window, before);
        }
        assert!(pair.delivers(1001));
    }
}

/// U31: every short datagram that looks like RTP or RTCP, with every header length a parser could claim.
#[test]
fn every_short_datagram_is_refused() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        for len in 0..=64 {
            let mut packet = vec![0; len];
            packet.iter_mut().zip(header(1, &[])).for_each(|(byte, value)| *byte = value);
            for header_len in (0..=80).chain([usize::MAX]) {
                let refused = pair.open_with(&packet, header_len).unwrap_err();
                let too_short = header_len < 12
                    || len < profile.rtp_overhead()
                    || header_len > len - profile.rtp_overhead();
                let expected = if too_short { SrtpError::TooShort } else { SrtpError::BadTag };
                assert_eq!(refused, expected, "{len} bytes, header {header_len}");
            }

            let mut packet = vec![0xff; len];
            packet.iter_mut().zip(compound()).for_each(|(byte, value)| *byte = value);
            let too_short = len < 8 + profile.rtcp_overhead();
            let refused = pair.open_rtcp(&packet).unwrap_err();
            let in_the_clear = !too_short && pair.opener.rtcp_trailer(&packet) & RTCP_ENCRYPTED == 0;
            let expected = match (too_short, in_the_clear) {
                (true, _) => SrtpError::TooShort,
                (false, true) => SrtpError::Unencrypted,
                (false, false) => SrtpError::BadTag,
            };
            assert_eq!(refused, expected, "{len} bytes");
        }
        assert_eq!(pair.window, ReplayWindow::new());
    }
}

/// U38: 65535 is lost and the next packet begins a rollover.
#[test]
fn a_rollover_is_counted_though_its_last_packet_is_lost() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        for index in [65_533, 65_534, 65_536, 65_537, 65_535, 98_304, 131_071, 131_073, 131_072] {
            assert!(pair.delivers(index), "{index}");
        }
        assert_eq!(pair.window.highest(), Some(131_073));
    }
}

/// U38: the greatest leaps that 16 bits can tell apart.
#[test]
fn a_leap_forward_is_followed_and_a_leap_back_is_too_old() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        let start = 20_000;
        assert!(pair.delivers(start));
        assert!(pair.delivers(start + 32_767));
        assert!(pair.delivers(start + 2 * 32_767));
        let late = pair.seal(start + 32_767);
        assert_eq!(pair.open(&late), Err(SrtpError::TooOld));
        assert!(pair.delivers(start + 2 * 32_767 + 1));
    }
}

/// U38: nothing arrives before the sender's first rollover, so a rollover counter of 0 would never fit.
#[test]
fn a_stream_first_heard_after_its_rollover_is_understood() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        for index in [65_536 + 2, 65_536 + 3, 65_535] {
            assert!(pair.delivers(index), "{index}");
        }
    }
}

/// U39: ten thousand captured packets, sent again.
#[test]
fn nothing_is_opened_twice() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        let captured: Vec<_> = (60_000..70_000).map(|index| pair.seal(index)).collect();
        assert!(captured.iter().all(|packet| pair.open(packet).is_ok()));
        let mut refused = [0, 0];
        for packet in &captured {
            match pair.open(packet) {
                Err(SrtpError::Replayed) => refused[0] += 1,
                Err(SrtpError::TooOld) => refused[1] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(refused, [1024, 10_000 - 1024]);
    }
}

/// U25: protected under other keys, or as another rollover's packet.
#[test]
fn a_packet_of_another_association_or_rollover_is_refused() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        assert!(pair.delivers(100));
        let other = Sealer::new(profile, &master(profile, 8));
        let mut out = [0; 100];
        let len = other.seal_rtp(101, &header(101, &[]), b"other", &mut out).unwrap();
        assert_eq!(pair.open(&out[..len]), Err(SrtpError::BadTag));

        let other_rollover = pair.seal((5 << 16) | 101);
        assert_eq!(pair.open(&other_rollover), Err(SrtpError::BadTag));
        assert!(pair.delivers(101));
    }
}

#[test]
fn rtcp_is_opened_once_and_only_as_it_was_sealed() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        let sealed = pair.seal_rtcp(5, &compound());
        assert_eq!(sealed[..RTCP_CLEAR_BYTES], compound()[..RTCP_CLEAR_BYTES]);
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let refused = pair.open_rtcp(&forged).unwrap_err();
            assert!(matches!(refused, SrtpError::BadTag | SrtpError::Unencrypted), "{refused}");
        }
        assert_eq!(pair.window, ReplayWindow::new());
        assert_eq!(pair.open_rtcp(&sealed).unwrap(), compound());
        assert_eq!(pair.open_rtcp(&sealed), Err(SrtpError::Replayed));

        let far = pair.seal_rtcp(5000, &compound());
        pair.open_rtcp(&far).unwrap();
        let old = pair.seal_rtcp(6, &compound());
        assert_eq!(pair.open_rtcp(&old), Err(SrtpError::TooOld));
    }
}

#[test]
fn rtcp_that_claims_to_be_in_the_clear_is_refused() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        let mut sealed = pair.seal_rtcp(5, &compound());
        let trailer_at = match profile {
            Profile::AeadAes128Gcm => sealed.len() - 4,
            Profile::Aes128CmSha1_80 => sealed.len() - 14,
        };
        assert_eq!(sealed[trailer_at], 0x80);
        sealed[trailer_at] = 0;
        assert_eq!(pair.open_rtcp(&sealed), Err(SrtpError::Unencrypted));
    }
}

#[test]
fn rtp_and_rtcp_have_different_keys() {
    for profile in PROFILES {
        let pair = Pair::new(profile);
        let rtp = pair.seal_with(0, &header(0, &[]), &[0; 64]);
        let rtcp = pair.seal_rtcp(0, &[&header(0, &[])[..8], &[0; 64]].concat());
        assert_ne!(rtp[12..76], rtcp[8..72]);
    }
}

#[test]
fn an_index_beyond_the_keys_life_is_refused() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        let mut out = [0; 200];
        let sealed = pair.sealer.seal_rtp(1 << 48, &header(0, &[]), b"", &mut out);
        assert_eq!(sealed, Err(SrtpError::Exhausted));
        assert_eq!(pair.sealer.seal_rtcp(1 << 31, &compound(), &mut out), Err(SrtpError::Exhausted));

        pair.window.accept((1 << 48) - 1);
        let wrapped = pair.seal(0);
        assert_eq!(pair.open(&wrapped), Err(SrtpError::Exhausted));
    }
}

#[test]
fn the_callers_mistakes_are_told_from_the_packets() {
    for profile in PROFILES {
        let mut pair = Pair::new(profile);
        let sealed = pair.seal(3);
        let mut small = vec![0; sealed.len()];
        let sealed_len = sealed.len();
        let result = pair.sealer.seal_rtp(3, &header(3, &[]), &[0; 8], &mut small[1..]);
        assert_eq!(result, Err(SrtpError::NoSpace));
        assert_eq!(pair.sealer.seal_rtp(3, &header(3, &[])[..11], &[], &mut small), Err(SrtpError::TooShort));
        assert_eq!(pair.sealer.seal_rtcp(3, &[0; 7], &mut small), Err(SrtpError::TooShort));
        assert_eq!(pair.sealer.seal_rtcp(3, &compound(), &mut small[..9]), Err(SrtpError::NoSpace));

        let plain_len = sealed_len - profile.rtp_overhead();
        let result = pair.opener.open_rtp(&mut pair.window, &sealed, 12, &mut small[..plain_len - 1]);
        assert_eq!(result, Err(SrtpError::NoSpace));
        // What could not be written was not accepted either.
        assert_eq!(pair.opener.open_rtp(&mut pair.window, &sealed, 12, &mut small[..plain_len]), Ok(8));
    }
}

#[test]
fn keys_may_move_between_threads() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Opener>();
    is_send_and_sync::<Sealer>();
    is_send_and_sync::<ReplayWindow>();
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(
        index in 0u64..1 << 48,
        rest in prop::collection::vec(any::<u8>(), 0..80),
        payload in prop::collection::vec(any::<u8>(), 0..1400),
    ) {
        for profile in PROFILES {
            let mut pair = Pair::new(profile);
            // The receiver has followed the stream up to the packet before.
            if let Some(previous) = index.checked_sub(1) {
                pair.window.accept(previous);
            }
            let header = header(index as u16, &rest);
            let sealed = pair.seal_with(index, &header, &payload);
            prop_assert_eq!(pair.open_with(&sealed, header.len()), Ok([&header[..], &payload].concat()));
            prop_assert_eq!(pair.window.highest(), Some(index));
        }
    }

    #[test]
    fn arbitrary_bytes_never_open(packet in prop::collection::vec(any::<u8>(), 0..200), header_len in 0usize..220) {
        for profile in PROFILES {
            let mut pair = Pair::new(profile);
            prop_assert!(pair.open_with(&packet, header_len).is_err());
            prop_assert!(pair.open_rtcp(&packet).is_err());
            prop_assert_eq!(&pair.window, &ReplayWindow::new());
        }
    }
}

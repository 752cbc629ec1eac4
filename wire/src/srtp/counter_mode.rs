//! AES128_CM_HMAC_SHA1_80 (RFC 3711): the payload is encrypted in counter mode, then all is authenticated by HMAC-SHA1.

use aws_lc_rs::cipher::EncryptingKey;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::keys::{KEY_BYTES, Label, MasterKey, aes_ctr, key_stream};
use super::{
    RTCP_CLEAR_BYTES, RTCP_ENCRYPTED, RTCP_TRAILER_BYTES, SrtpError, rollover_counter, rtcp_ssrc, rtp_ssrc,
};

/// The first 80 bits of the HMAC (RFC 3711 4.2.1).
pub(super) const TAG_BYTES: usize = 10;
const SALT_BYTES: usize = 14;
const AUTHENTICATION_KEY_BYTES: usize = 20;

/// One direction's keys. The lengths of what comes in are checked by the opener and the sealer.
pub(super) struct CounterMode {
    rtp: Leg,
    rtcp: Leg,
}

/// The session keys and salt of RTP, or those of RTCP.
struct Leg {
    cipher: EncryptingKey,
    /// The hash state after both padded keys; a packet starts from a copy of it and saves two of its SHA-1 blocks.
    authentication: hmac::Key,
    salt: Zeroizing<[u8; SALT_BYTES]>,
}

impl CounterMode {
    pub(super) fn new(master: &MasterKey) -> Self {
        Self {
            rtp: Leg::new(
                &master.derive(Label::RtpKey),
                &master.derive(Label::RtpAuthentication),
                master.derive(Label::RtpSalt),
            ),
            rtcp: Leg::new(
                &master.derive(Label::RtcpKey),
                &master.derive(Label::RtcpAuthentication),
                master.derive(Label::RtcpSalt),
            ),
        }
    }

    /// Writes header, ciphertext and tag to `out`, which is exactly that long.
    pub(super) fn seal_rtp(&self, index: u64, header: &[u8], payload: &[u8], out: &mut [u8]) {
        let (packet, tag) = out.split_at_mut(header.len() + payload.len());
        let (clear, body) = packet.split_at_mut(header.len());
        clear.copy_from_slice(header);
        body.copy_from_slice(payload);
        key_stream(&self.rtp.cipher, self.rtp.counter_block(rtp_ssrc(header), index), body);
        tag.copy_from_slice(&self.rtp.tag(packet, &rollover_counter(index).to_be_bytes()));
    }

    /// Writes header and plaintext to `out`, which is exactly that long.
    pub(super) fn open_rtp(
        &self,
        index: u64,
        packet: &[u8],
        header_len: usize,
        out: &mut [u8],
    ) -> Result<(), SrtpError> {
        let (packet, tag) = packet.split_at(out.len());
        self.rtp.verify(packet, &rollover_counter(index).to_be_bytes(), tag)?;
        out.copy_from_slice(packet);
        key_stream(&self.rtp.cipher, self.rtp.counter_block(rtp_ssrc(packet), index), &mut out[header_len..]);
        Ok(())
    }

    /// Writes clear header, ciphertext, trailer and tag (RFC 3711 3.4) to `out`, which is exactly that long.
    pub(super) fn seal_rtcp(&self, index: u32, packet: &[u8], out: &mut [u8]) {
        let (authenticated, tag) = out.split_at_mut(packet.len() + RTCP_TRAILER_BYTES);
        let (body, trailer) = authenticated.split_at_mut(packet.len());
        body.copy_from_slice(packet);
        trailer.copy_from_slice(&(RTCP_ENCRYPTED | index).to_be_bytes());
        let counter = self.rtcp.counter_block(rtcp_ssrc(packet), index.into());
        key_stream(&self.rtcp.cipher, counter, &mut body[RTCP_CLEAR_BYTES..]);
        tag.copy_from_slice(&self.rtcp.tag(authenticated, &[]));
    }

    /// Writes the plain compound packet to `out`, which is exactly that long.
    pub(super) fn open_rtcp(&self, index: u32, packet: &[u8], out: &mut [u8]) -> Result<(), SrtpError> {
        let (authenticated, tag) = packet.split_at(packet.len() - TAG_BYTES);
        self.rtcp.verify(authenticated, &[], tag)?;
        out.copy_from_slice(&authenticated[..out.len()]);
        let counter = self.rtcp.counter_block(rtcp_ssrc(packet), index.into());
        key_stream(&self.rtcp.cipher, counter, &mut out[RTCP_CLEAR_BYTES..]);
        Ok(())
    }
}

impl Leg {
    fn new(
        key: &[u8; KEY_BYTES],
        authentication: &[u8; AUTHENTICATION_KEY_BYTES],
        salt: Zeroizing<[u8; SALT_BYTES]>,
    ) -> Self {
        let authentication = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, authentication);
        Self { cipher: aes_ctr(key), authentication, salt }
    }

    /// RFC 3711 4.1.1: `(salt · 2^16) XOR (SSRC · 2^64) XOR (index · 2^16)`; the last two bytes count blocks.
    fn counter_block(&self, ssrc: [u8; 4], index: u64) -> [u8; 16] {
        let mut block = [0; 16];
        block[..SALT_BYTES].copy_from_slice(self.salt.as_slice());
        for (byte, value) in block[4..8].iter_mut().zip(ssrc) {
            *byte ^= value;
        }
        // An index has 48 bits: the first two of its eight bytes are zero.
        for (byte, value) in block[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
            *byte ^= value;
        }
        block
    }

    /// RFC 3711 4.2: over the packet and, for RTP, the rollover counter that does not travel.
    fn tag(&self, packet: &[u8], rollover: &[u8]) -> [u8; TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.authentication);
        context.update(packet);
        context.update(rollover);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG_BYTES]);
        tag
    }

    fn verify(&self, packet: &[u8], rollover: &[u8], tag: &[u8]) -> Result<(), SrtpError> {
        verify_slices_are_equal(&self.tag(packet, rollover), tag).map_err(|_| SrtpError::BadTag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::{hex, hex_array};

    #[test]
    fn an_rtp_payload_meets_the_key_stream_of_rfc_3711_b2() {
        let salt = Zeroizing::new(hex_array("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
        let leg =
            Leg::new(&hex_array("2B7E151628AED2A6ABF7158809CF4F3C"), &[0; AUTHENTICATION_KEY_BYTES], salt);
        // The vector has SSRC, rollover counter and sequence number 0; a payload of zeros shows the stream.
        let mut body = [0; 32];
        key_stream(&leg.cipher, leg.counter_block([0; 4], 0), &mut body);
        assert_eq!(body.as_slice(), hex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB"));
    }

    #[test]
    fn the_counter_block_places_ssrc_and_index_as_rfc_3711_4_1_1_says() {
        let leg = Leg::new(&[0; KEY_BYTES], &[0; AUTHENTICATION_KEY_BYTES], Zeroizing::new([0; SALT_BYTES]));
        let block = leg.counter_block([0xa1, 0xa2, 0xa3, 0xa4], 0x0102_0304_0506);
        assert_eq!(block.as_slice(), hex("00000000a1a2a3a40102030405060000"));
    }
}

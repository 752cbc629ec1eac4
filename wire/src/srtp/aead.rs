//! AEAD_AES_128_GCM (RFC 7714): the payload is encrypted and the whole packet authenticated in one pass.
//!
//! The cipher reads from one slice and writes to another, so the copy from the shared plaintext into the send ring (and
//! from the receive buffer into the packet slot) costs nothing of its own.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::keys::{KEY_BYTES, Label, MasterKey};
use super::{
    RTCP_CLEAR_BYTES, RTCP_ENCRYPTED, RTCP_TRAILER_BYTES, SrtpError, rollover_counter, rtcp_ssrc, rtp_ssrc,
};

/// RFC 7714 12: the only tag length.
pub(super) const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 12;

/// One direction's keys. The lengths of what comes in are checked by the opener and the sealer.
pub(super) struct Aead {
    rtp: Leg,
    rtcp: Leg,
}

/// The session key and salt of RTP, or those of RTCP.
struct Leg {
    key: LessSafeKey,
    salt: Zeroizing<[u8; SALT_BYTES]>,
}

impl Aead {
    pub(super) fn new(master: &MasterKey) -> Self {
        Self {
            rtp: Leg::new(&master.derive(Label::RtpKey), master.derive(Label::RtpSalt)),
            rtcp: Leg::new(&master.derive(Label::RtcpKey), master.derive(Label::RtcpSalt)),
        }
    }

    /// Writes header, ciphertext and tag to `out`, which is exactly that long.
    pub(super) fn seal_rtp(
        &self,
        index: u64,
        header: &[u8],
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<(), SrtpError> {
        let (clear, sealed) = out.split_at_mut(header.len());
        clear.copy_from_slice(header);
        let nonce = self.rtp.rtp_nonce(rtp_ssrc(header), index);
        self.rtp.seal(nonce, header, payload, sealed)
    }

    /// Writes header and plaintext to `out`, which is exactly that long.
    pub(super) fn open_rtp(
        &self,
        index: u64,
        packet: &[u8],
        header_len: usize,
        out: &mut [u8],
    ) -> Result<(), SrtpError> {
        let (header, sealed) = packet.split_at(header_len);
        let (clear, plain) = out.split_at_mut(header_len);
        let nonce = self.rtp.rtp_nonce(rtp_ssrc(header), index);
        self.rtp.open(nonce, header, sealed, plain)?;
        clear.copy_from_slice(header);
        Ok(())
    }

    /// Writes clear header, ciphertext, tag and trailer (RFC 7714 9.2) to `out`, which is exactly that long.
    pub(super) fn seal_rtcp(&self, index: u32, packet: &[u8], out: &mut [u8]) -> Result<(), SrtpError> {
        let (header, payload) = packet.split_at(RTCP_CLEAR_BYTES);
        let (rest, trailer) = out.split_at_mut(out.len() - RTCP_TRAILER_BYTES);
        let (clear, sealed) = rest.split_at_mut(RTCP_CLEAR_BYTES);
        clear.copy_from_slice(header);
        trailer.copy_from_slice(&(RTCP_ENCRYPTED | index).to_be_bytes());
        let nonce = self.rtcp.rtcp_nonce(rtcp_ssrc(packet), index);
        self.rtcp.seal(nonce, &rtcp_additional_data(header, trailer), payload, sealed)
    }

    /// Writes the plain compound packet to `out`, which is exactly that long.
    pub(super) fn open_rtcp(&self, index: u32, packet: &[u8], out: &mut [u8]) -> Result<(), SrtpError> {
        let (rest, trailer) = packet.split_at(packet.len() - RTCP_TRAILER_BYTES);
        let (header, sealed) = rest.split_at(RTCP_CLEAR_BYTES);
        let (clear, plain) = out.split_at_mut(RTCP_CLEAR_BYTES);
        let nonce = self.rtcp.rtcp_nonce(rtcp_ssrc(packet), index);
        self.rtcp.open(nonce, &rtcp_additional_data(header, trailer), sealed, plain)?;
        clear.copy_from_slice(header);
        Ok(())
    }
}

impl Leg {
    fn new(key: &[u8; KEY_BYTES], salt: Zeroizing<[u8; SALT_BYTES]>) -> Self {
        // Invariant: the length of `key` is AES-128's, the only thing this call can refuse.
        let key = UnboundKey::new(&AES_128_GCM, key).expect("16 bytes are an AES-128 key");
        Self { key: LessSafeKey::new(key), salt }
    }

    /// RFC 7714 8.1: two zero bytes, SSRC, rollover counter, sequence number, combined with the salt.
    fn rtp_nonce(&self, ssrc: [u8; 4], index: u64) -> Nonce {
        let mut nonce = *self.salt;
        combine(&mut nonce[2..6], ssrc);
        combine(&mut nonce[6..10], rollover_counter(index).to_be_bytes());
        combine(&mut nonce[10..12], (index as u16).to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// RFC 7714 9.1: two zero bytes, SSRC, two zero bytes, index without the encryption bit, combined with the salt.
    fn rtcp_nonce(&self, ssrc: [u8; 4], index: u32) -> Nonce {
        let mut nonce = *self.salt;
        combine(&mut nonce[2..6], ssrc);
        combine(&mut nonce[8..12], index.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Reads `plain`, writes ciphertext and tag to `sealed`.
    fn seal(
        &self,
        nonce: Nonce,
        authenticated: &[u8],
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), SrtpError> {
        let (ciphertext, tag) = sealed.split_at_mut(plain.len());
        self.key
            .seal_out_of_place_scatter(nonce, Aad::from(authenticated), plain, ciphertext, &[], tag)
            .map_err(|_| SrtpError::NoSpace)
    }

    /// Reads ciphertext and tag from `sealed`, writes `plain`. After an error `plain` holds nothing of use.
    fn open(
        &self,
        nonce: Nonce,
        authenticated: &[u8],
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), SrtpError> {
        let (ciphertext, tag) = sealed.split_at(plain.len());
        self.key
            .open_separate_gather(nonce, Aad::from(authenticated), ciphertext, tag, plain)
            .map_err(|_| SrtpError::BadTag)
    }
}

/// RFC 7714 9.2: the clear header and the trailer are authenticated, though they travel apart.
fn rtcp_additional_data(header: &[u8], trailer: &[u8]) -> [u8; RTCP_CLEAR_BYTES + RTCP_TRAILER_BYTES] {
    let mut data = [0; RTCP_CLEAR_BYTES + RTCP_TRAILER_BYTES];
    data[..RTCP_CLEAR_BYTES].copy_from_slice(header);
    data[RTCP_CLEAR_BYTES..].copy_from_slice(trailer);
    data
}

fn combine<const N: usize>(salt: &mut [u8], value: [u8; N]) {
    for (salt, value) in salt.iter_mut().zip(value) {
        *salt ^= value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::{hex, hex_array};

    /// RFC 7714 16 and 17 give session keys, not master keys.
    fn rfc_7714() -> Aead {
        let leg = || {
            let salt = Zeroizing::new(hex_array("517569642070726f2071756f"));
            Leg::new(&hex_array("000102030405060708090a0b0c0d0e0f"), salt)
        };
        Aead { rtp: leg(), rtcp: leg() }
    }

    #[test]
    fn rtp_is_sealed_and_opened_as_in_rfc_7714_16_1() {
        let header = hex("8040f17b8041f8d35501a0b2");
        let plain = b"Gallia est omnis divisa in partes tres";
        let sealed = hex(
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf\
             8833899d7f27beb16a9152cf765ee4390cce",
        );
        let mut out = vec![0; header.len() + plain.len() + TAG_BYTES];
        rfc_7714().seal_rtp(0xf17b, &header, plain, &mut out).unwrap();
        assert_eq!(out, sealed);

        let mut opened = vec![0; sealed.len() - TAG_BYTES];
        rfc_7714().open_rtp(0xf17b, &sealed, header.len(), &mut opened).unwrap();
        assert_eq!(opened, [&header[..], plain].concat());
    }

    #[test]
    fn rtcp_is_sealed_and_opened_as_in_rfc_7714_17_1() {
        let plain =
            hex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeef\
             deadbeefdeadbeef");
        let sealed = hex(
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded\
             0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        );
        let mut out = vec![0; plain.len() + TAG_BYTES + RTCP_TRAILER_BYTES];
        rfc_7714().seal_rtcp(0x5d4, &plain, &mut out).unwrap();
        assert_eq!(out, sealed);

        let mut opened = vec![0; plain.len()];
        rfc_7714().open_rtcp(0x5d4, &sealed, &mut opened).unwrap();
        assert_eq!(opened, plain);
    }
}

//! Keys: what DTLS exports, and the session keys derived from it (RFC 3711 4.3 with a key derivation rate of 0).

use std::fmt;

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a master key and of a session encryption key: both profiles use AES-128.
pub const KEY_BYTES: usize = 16;
/// Bytes of the longer of the two profiles' salts.
const SALT_BYTES_MAX: usize = 14;

/// A DTLS-SRTP protection profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `SRTP_AEAD_AES_128_GCM` (RFC 7714): the one to prefer, at about a quarter of the other's cost.
    AeadAes128Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80` (RFC 5764 4.1.2): the one every browser has.
    Aes128CmSha1_80,
}

impl Profile {
    /// The number in the `use_srtp` extension (IANA registry of DTLS-SRTP protection profiles).
    pub fn id(self) -> u16 {
        match self {
            Self::AeadAes128Gcm => 0x0007,
            Self::Aes128CmSha1_80 => 0x0001,
        }
    }

    /// The profile with this number, if it is one of ours.
    pub fn from_id(id: u16) -> Option<Self> {
        [Self::AeadAes128Gcm, Self::Aes128CmSha1_80].into_iter().find(|profile| profile.id() == id)
    }

    /// Bytes of the master salt.
    pub fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// Bytes of keying material to export from DTLS under `EXTRACTOR-dtls_srtp`: two keys and two salts.
    pub fn keying_material_len(self) -> usize {
        2 * (KEY_BYTES + self.salt_len())
    }

    /// Bytes that sealing adds to an RTP packet.
    pub fn rtp_overhead(self) -> usize {
        self.tag_len()
    }

    /// Bytes that sealing adds to an RTCP packet: the tag and the index.
    pub fn rtcp_overhead(self) -> usize {
        self.tag_len() + super::RTCP_TRAILER_BYTES
    }

    pub(super) fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => super::aead::TAG_BYTES,
            Self::Aes128CmSha1_80 => super::counter_mode::TAG_BYTES,
        }
    }
}

/// One direction's master key and salt. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// The AES-128 master key.
    pub key: [u8; KEY_BYTES],
    /// The master salt: 14 bytes, of which AES-GCM uses the first 12 and wants the others zero (RFC 7714 11).
    pub salt: [u8; SALT_BYTES_MAX],
}

impl MasterKey {
    /// A key and a salt of the profile's own length; `None` when a length is wrong.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Self> {
        if salt.len() != profile.salt_len() {
            return None;
        }
        let mut master = Self { key: key.try_into().ok()?, salt: [0; SALT_BYTES_MAX] };
        master.salt[..salt.len()].copy_from_slice(salt);
        Some(master)
    }

    /// RFC 3711 4.3.1: `label` is mixed into the salt, and the key stream of that is the session key.
    ///
    /// With a key derivation rate of 0 the packet index plays no part.
    pub(super) fn derive<const N: usize>(&self, label: Label) -> Zeroizing<[u8; N]> {
        let mut initial = [0; 16];
        initial[..SALT_BYTES_MAX].copy_from_slice(&self.salt);
        initial[LABEL_POSITION] ^= label as u8;
        let mut derived = Zeroizing::new([0; N]);
        key_stream(&aes_ctr(&self.key), initial, derived.as_mut());
        derived
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

/// The keys of one DTLS association, as one of its ends sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKeys {
    /// Opens what the other end sends.
    pub receive: MasterKey,
    /// Seals what we send.
    pub send: MasterKey,
}

impl SessionKeys {
    /// The DTLS server's view of exported keying material (RFC 5764 4.2: client key, server key, client salt, server
    /// salt). `None` when `material` is not [`Profile::keying_material_len`] long.
    pub fn of_server(profile: Profile, material: &[u8]) -> Option<Self> {
        if material.len() != profile.keying_material_len() {
            return None;
        }
        let (keys, salts) = material.split_at(2 * KEY_BYTES);
        let (client_key, server_key) = keys.split_at(KEY_BYTES);
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        Some(Self {
            receive: MasterKey::new(profile, client_key, client_salt)?,
            send: MasterKey::new(profile, server_key, server_salt)?,
        })
    }

    /// The DTLS client's view of the same material.
    pub fn of_client(profile: Profile, material: &[u8]) -> Option<Self> {
        Self::of_server(profile, material).map(|Self { receive, send }| Self { receive: send, send: receive })
    }
}

/// RFC 3711 4.3.1 and 4.3.2: what a derived key is for.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Label {
    RtpKey = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// AES-128 in counter mode under `key`.
pub(super) fn aes_ctr(key: &[u8; KEY_BYTES]) -> EncryptingKey {
    // Invariant: the length of `key` is AES-128's, the only thing these two calls can refuse.
    UnboundCipherKey::new(&AES_128, key).and_then(EncryptingKey::ctr).expect("16 bytes are an AES-128 key")
}

/// Combines `data` with the key stream that starts at counter block `initial`. The same call encrypts and decrypts.
pub(super) fn key_stream(key: &EncryptingKey, initial: [u8; 16], data: &mut [u8]) {
    // Invariant: counter mode takes any length and a 16-byte counter block, the only things it can refuse.
    let context = EncryptionContext::Iv128(initial.into());
    key.less_safe_encrypt(data, context).expect("counter mode takes any length");
}

/// Where the label meets the salt: key_id is 7 bytes (label, then a 48-bit index that is 0), aligned to the salt's end.
const LABEL_POSITION: usize = SALT_BYTES_MAX - 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::{hex, hex_array};

    #[test]
    fn session_keys_are_those_of_rfc_3711_b3() {
        let master = MasterKey {
            key: hex_array("E1F97A0D3E018BE0D64FA32C06DE4139"),
            salt: hex_array("0EC675AD498AFEEBB6960B3AABE6"),
        };
        assert_eq!(*master.derive::<16>(Label::RtpKey), hex_array("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(*master.derive::<14>(Label::RtpSalt), hex_array("30CBBC08863D8C85D49DB34A9AE1"));
        let authentication = hex(
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A\
             369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2",
        );
        assert_eq!(master.derive::<94>(Label::RtpAuthentication).as_slice(), authentication);
    }

    #[test]
    fn the_key_stream_is_that_of_rfc_3711_b2() {
        let key = aes_ctr(&hex_array("2B7E151628AED2A6ABF7158809CF4F3C"));
        // The vector's last block has counter 0xff01.
        let mut stream = vec![0; 0xff02 * 16];
        key_stream(&key, hex_array("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"), &mut stream);
        let block = |counter: usize| &stream[counter * 16..][..16];
        assert_eq!(block(0), hex("E03EAD0935C95E80E166B16DD92B4EB4"));
        assert_eq!(block(1), hex("D23513162B02D0F72A43A2FE4A5F97AB"));
        assert_eq!(block(2), hex("41E95B3BB0A2E8DD477901E4FCA894C0"));
        assert_eq!(block(0xfeff), hex("EC8CDF7398607CB0F2D21675EA9EA1E4"));
        assert_eq!(block(0xff00), hex("362B7C3C6773516318A077D7FC5073AE"));
        assert_eq!(block(0xff01), hex("6A2CC3787889374FBEB4C81B17BA6C44"));
    }

    #[test]
    fn both_ends_split_exported_material_to_the_same_keys() {
        for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80] {
            let material: Vec<u8> = (0..profile.keying_material_len() as u8).collect();
            let server = SessionKeys::of_server(profile, &material).unwrap();
            let client = SessionKeys::of_client(profile, &material).unwrap();
            assert_eq!((&server.receive, &server.send), (&client.send, &client.receive));
            assert_eq!(server.receive.key[0], 0);
            assert_eq!(server.send.key[0], 16);
            assert_eq!(server.receive.salt[0], 32);
            assert_eq!(usize::from(server.send.salt[0]), 32 + profile.salt_len());
            assert_eq!(SessionKeys::of_server(profile, &material[1..]), None);
        }
    }

    #[test]
    fn a_profile_is_found_by_its_number_and_no_other_is() {
        assert_eq!(Profile::from_id(0x0007), Some(Profile::AeadAes128Gcm));
        assert_eq!(Profile::from_id(0x0001), Some(Profile::Aes128CmSha1_80));
        for id in [0x0000, 0x0002, 0x0005, 0x0008, 0xffff] {
            assert_eq!(Profile::from_id(id), None);
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let keys = SessionKeys::of_server(Profile::AeadAes128Gcm, &[0xab; 56]).unwrap();
        let printed = format!("{keys:?}").to_lowercase();
        assert!(!printed.contains("ab, ab") && !printed.contains("171"), "{printed}");
    }
}

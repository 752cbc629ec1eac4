//! Who we are to a browser, and who a browser must be to us: certificates by their fingerprints (RFC 8122, RFC 8827 6.5).

use std::fmt::Write as _;
use std::sync::Arc;

use rtc::crypto::{HashAlgorithm, RTCCryptoProvider, default_provider};
use rtc::dtls::cipher_suite::CipherSuiteId;
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::error::{Error, Result};
use wire::srtp::Profile;

/// A self-signed P-256 certificate and its key: one per process, shared by every handshake. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    fingerprint: Fingerprint,
    /// One configuration per profile: the library follows the client's order, so it is shown one profile only.
    gcm: Arc<HandshakeConfig>,
    cm: Arc<HandshakeConfig>,
}

/// The SHA-256 of a certificate, as signaled. All current browsers send SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Identity {
    /// A new certificate and key.
    ///
    /// # Errors
    /// When the cryptography library cannot make a key.
    pub fn generate() -> Result<Self> {
        let provider = default_provider().map_err(|error| Error::Crypto(error.to_string()))?;
        let certificate = Certificate::generate_self_signed(vec![SUBJECT.to_owned()], provider.crypto())?;
        let der = certificate.certificate.first().ok_or(Error::ErrNoCertificates)?;
        let config = |profile| configure(Arc::clone(&provider), certificate.clone(), profile);
        Ok(Self {
            fingerprint: Fingerprint::of(der),
            gcm: Arc::new(config(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm)?),
            cm: Arc::new(config(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80)?),
        })
    }

    /// For `a=fingerprint:sha-256 …` in our descriptions: `AB:CD:…`.
    pub fn fingerprint_sha256(&self) -> String {
        let mut text = String::with_capacity(32 * 3);
        for byte in self.fingerprint.0 {
            let colon = if text.is_empty() { "" } else { ":" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{colon}{byte:02X}");
        }
        text
    }

    pub(super) fn config(&self, profile: Profile) -> Arc<HandshakeConfig> {
        match profile {
            Profile::AeadAes128Gcm => Arc::clone(&self.gcm),
            Profile::Aes128CmSha1_80 => Arc::clone(&self.cm),
        }
    }
}

impl Fingerprint {
    /// Reads an SDP fingerprint's two words, `sha-256` and `AB:CD:…`. None for another hash or a malformed value.
    pub fn parse(algorithm: &str, value: &str) -> Option<Self> {
        if !algorithm.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        let mut digest = [0; 32];
        let mut words = value.split(':');
        for byte in &mut digest {
            let word = words.next().filter(|word| word.len() == 2 && !word.starts_with('+'))?;
            *byte = u8::from_str_radix(word, 16).ok()?;
        }
        words.next().is_none().then_some(Self(digest))
    }

    pub(super) fn matches(&self, der: &[u8]) -> bool {
        Self::of(der) == *self
    }

    /// Whether the leaf of a Certificate message (RFC 5246, 7.4.2: a list of 24-bit lengths and DER) is the expected one.
    pub(super) fn matches_first_of(&self, certificate_message: &[u8]) -> bool {
        let Some((list_length, list)) = certificate_message.split_first_chunk::<3>() else { return false };
        let Some((leaf_length, rest)) = list.split_first_chunk::<3>() else { return false };
        if u24(*list_length) != list.len() {
            return false;
        }
        rest.get(..u24(*leaf_length)).is_some_and(|leaf| self.matches(leaf))
    }

    fn of(der: &[u8]) -> Self {
        let digest = rtc::crypto::providers::AwsLcRsProvider::new().crypto().hash(HashAlgorithm::Sha256, der);
        // Invariant: SHA-256 of a slice cannot fail; zeros match no certificate.
        Self(digest.ok().and_then(|digest| digest.try_into().ok()).unwrap_or_default())
    }
}

fn configure(
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    profile: SrtpProtectionProfile,
) -> Result<HandshakeConfig> {
    ConfigBuilder::default()
        .with_crypto_provider(provider)
        .with_certificates(vec![certificate])
        // RFC 8827, 6.5: every WebRTC endpoint has this suite with P-256.
        .with_cipher_suites(vec![CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256])
        .with_srtp_protection_profiles(vec![profile])
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        // There is no certificate chain to verify: the fingerprint is the proof, and `Handshake` checks it.
        .with_insecure_skip_verify(true)
        // The library does not compare the client's Finished; the extended master secret binds the transcript instead.
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .with_mtu(MTU_BYTES)
        .build(false, None)
}

pub(super) fn u24(bytes: [u8; 3]) -> usize {
    let [high, middle, low] = bytes.map(usize::from);
    high << 16 | middle << 8 | low
}

/// Nobody reads it: the name a certificate must have.
const SUBJECT: &str = "passerelle";

/// Our largest datagram: passes every IPv6 path with room for a tunnel's headers.
const MTU_BYTES: usize = 1200;

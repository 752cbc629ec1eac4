//! Who a caller is: a certificate, known by its fingerprint.

use std::sync::Arc;
use std::time::Duration;

use rtc::crypto::{HashAlgorithm, RTCCryptoProvider, default_provider};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::error::Error;
use wire::messages::media::Fingerprint;

/// A fresh self-signed P-256 certificate and its key; many callers may share one.
pub struct Identity {
    fingerprint: Fingerprint,
    client: Arc<HandshakeConfig>,
    server: Arc<HandshakeConfig>,
}

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("no certificate for callers: {0}")]
pub struct IdentityError(#[from] Error);

impl Identity {
    /// Offers AEAD_AES_128_GCM first, as Firefox does: the cheaper one, for both sides.
    ///
    /// # Errors
    /// When the cryptography library cannot make a key.
    pub fn generate() -> Result<Self, IdentityError> {
        Self::with_profiles(&[GCM, CM])
    }

    /// Offers AES128_CM_SHA1_80 first, as Chromium does: a server that follows the client's order pays for it.
    ///
    /// # Errors
    /// When the cryptography library cannot make a key.
    pub fn generate_in_chromium_order() -> Result<Self, IdentityError> {
        Self::with_profiles(&[CM, GCM])
    }

    fn with_profiles(profiles: &[SrtpProtectionProfile]) -> Result<Self, IdentityError> {
        let provider = default_provider().map_err(|error| Error::Crypto(error.to_string()))?;
        let certificate = Certificate::generate_self_signed(vec![SUBJECT.to_owned()], provider.crypto())?;
        let fingerprint = certificate.certificate.first().map(|der| fingerprint_of(der));
        let config = |is_client| configure(&provider, &certificate, profiles, is_client);
        Ok(Self {
            fingerprint: fingerprint.ok_or(Error::ErrNoCertificates)?,
            client: Arc::new(config(true)?),
            server: Arc::new(config(false)?),
        })
    }

    /// For `a=fingerprint`.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    pub(super) fn client_config(&self) -> Arc<HandshakeConfig> {
        Arc::clone(&self.client)
    }

    pub(super) fn server_config(&self) -> Arc<HandshakeConfig> {
        Arc::clone(&self.server)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint.value).finish_non_exhaustive()
    }
}

fn configure(
    provider: &Arc<dyn RTCCryptoProvider>,
    certificate: &Certificate,
    profiles: &[SrtpProtectionProfile],
    is_client: bool,
) -> Result<HandshakeConfig, Error> {
    ConfigBuilder::default()
        .with_crypto_provider(Arc::clone(provider))
        .with_certificates(vec![certificate.clone()])
        .with_srtp_protection_profiles(profiles.to_vec())
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        // Self-signed on both sides: the fingerprint of the answer is what proves the server (RFC 8827, 6.5).
        .with_insecure_skip_verify(true)
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .with_flight_interval(FLIGHT_INTERVAL)
        .with_mtu(MTU_BYTES)
        .build(is_client, None)
}

/// RFC 8122, 5: the SHA-256 of the certificate as SDP writes it.
pub(super) fn fingerprint_of(certificate: &[u8]) -> Fingerprint {
    let provider = rtc::crypto::providers::AwsLcRsProvider::new();
    // Invariant: SHA-256 of a slice cannot fail; an empty digest matches no certificate.
    let digest = provider.crypto().hash(HashAlgorithm::Sha256, certificate).unwrap_or_default();
    let value: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Fingerprint { algorithm: "sha-256".to_owned(), value: value.join(":") }
}

const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const CM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;

/// The name a certificate must have; nobody reads it.
const SUBJECT: &str = "caller";

/// Shorter than the shortest wait of ours, which decides: the library resends whenever it is asked to after this.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(50);

/// As browsers: passes every path.
const MTU_BYTES: usize = 1200;

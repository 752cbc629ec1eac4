//! The client's half of DTLS, up to the keys for SRTP (RFC 5764).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rtc::crypto::{HashAlgorithm, RTCCryptoProvider, default_provider};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use wire::messages::media::Fingerprint;
use wire::srtp::{Profile, SessionKeys};

/// A certificate and what it says about itself.
pub(crate) struct Identity {
    config: Arc<HandshakeConfig>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// A fresh self-signed certificate.
    pub(crate) fn generate() -> Self {
        let provider = default_provider().unwrap();
        let certificate =
            Certificate::generate_self_signed(vec!["caller".to_owned()], provider.crypto()).unwrap();
        let fingerprint = fingerprint_of(&*provider, &certificate.certificate[0]);
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // Self-signed on both sides: the fingerprint of the answer is what proves the server (RFC 8827, 6.5).
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(true, None)
            .unwrap();
        Self { config: Arc::new(config), fingerprint }
    }
}

/// One association.
pub(crate) struct Dtls {
    identity: Identity,
    expected: Option<Fingerprint>,
    endpoint: Endpoint,
    state: State,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Started,
    Done,
    /// The server's certificate is not the answer's, or the handshake failed.
    Failed,
    /// Never begins.
    Muted,
}

impl Dtls {
    pub(crate) fn new(identity: Identity) -> Self {
        let endpoint = Endpoint::new(nowhere(), TransportProtocol::UDP, None);
        Self { identity, expected: None, endpoint, state: State::Waiting }
    }

    /// The same certificate under a fingerprint that is not its own.
    pub(crate) fn disguised_as(mut self, other: &Identity) -> Self {
        self.identity.fingerprint = other.fingerprint.clone();
        self
    }

    pub(crate) fn muted(self) -> Self {
        Self { state: State::Muted, ..self }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint.clone()
    }

    /// The certificate that the server must show.
    pub(crate) fn expect(&mut self, fingerprint: Fingerprint) {
        self.expected = Some(fingerprint);
    }

    /// Says hello, once.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.state == State::Waiting {
            self.state = State::Started;
            self.endpoint.connect(now, nowhere(), Arc::clone(&self.identity.config), None).unwrap();
        }
    }

    /// The keys, with the datagram that brings the handshake to its end.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Option<SessionKeys> {
        if !matches!(self.state, State::Started | State::Done) {
            return None;
        }
        let Ok(events) = self.endpoint.read(now, nowhere(), None, datagram.into()) else {
            self.state = State::Failed;
            return None;
        };
        if !events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete)) {
            return None;
        }
        let keys = self.keys();
        self.state = if keys.is_some() { State::Done } else { State::Failed };
        keys
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&nowhere()).filter(|_| self.state == State::Started)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now)
            && self.endpoint.handle_timeout(nowhere(), now).is_err()
        {
            self.state = State::Failed;
        }
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message.to_vec())
    }

    /// RFC 5764, 4.2, if the server is the one that the answer named (RFC 8122, 6.2).
    fn keys(&self) -> Option<SessionKeys> {
        let state = self.endpoint.get_connection_state(nowhere())?;
        let shown = fingerprint_of(&*default_provider().ok()?, state.peer_certificates.first()?);
        if self.expected.as_ref() != Some(&shown) {
            return None;
        }
        let length = PROFILE.keying_material_len();
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], length).ok()?.into_bytes();
        SessionKeys::of_client(PROFILE, &material)
    }
}

fn fingerprint_of(provider: &dyn RTCCryptoProvider, certificate: &[u8]) -> Fingerprint {
    let digest = provider.crypto().hash(HashAlgorithm::Sha256, certificate).unwrap();
    let value: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Fingerprint { algorithm: "sha-256".to_owned(), value: value.join(":") }
}

/// The library keeps associations by address; each of ours has a library of its own.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 9))
}

/// The only one that is offered.
pub(crate) const PROFILE: Profile = Profile::AeadAes128Gcm;

//! As much of a browser as a bridge can see: checks, DTLS as a client, SRTP. One of each kind of m-line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rtc::crypto::{HashAlgorithm, default_provider};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use tokio::net::UdpSocket;
use wire::messages::ids::{EndpointId, Mid, SourceName};
use wire::messages::media::{
    Codec, CodecParameters, EndpointParameters, Extension, ExtensionParameters, Fingerprint, IceCredentials,
    Media, MediaKind, MediaRole, SourceParameters, SourceSsrc, TransportParameters, VideoType,
};
use wire::rtp::{PayloadType, RtpHeader, RtpView, Ssrc, write_header};
use wire::srtp::{Opener, Profile, ReplayWindow, Sealer, SessionKeys};
use wire::stun::{AttributeKind, Builder, Class, Message, Method, TransactionId};

use super::soon;

pub(crate) const AUDIO_PAYLOAD_TYPE: u8 = 111;
pub(crate) const VIDEO_PAYLOAD_TYPE: u8 = 96;
const AUDIO_LEVEL_ID: u8 = 1;

/// One browser on its own UDP port.
pub(crate) struct Browser {
    pub(crate) socket: UdpSocket,
    bridge: SocketAddr,
    ice: IceCredentials,
    media: Option<(Sealer, Opener)>,
}

/// A browser's certificate, and what it says about it.
pub(crate) struct Certified {
    config: HandshakeConfig,
    pub(crate) fingerprint: Fingerprint,
}

impl Certified {
    pub(crate) fn new() -> Self {
        let provider = default_provider().unwrap();
        let certificate =
            Certificate::generate_self_signed(vec!["browser".to_owned()], provider.crypto()).unwrap();
        let der = &certificate.certificate[0];
        let digest = provider.crypto().hash(HashAlgorithm::Sha256, der).unwrap();
        let value: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let fingerprint = Fingerprint { algorithm: "sha-256".to_owned(), value: value.join(":") };
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(true, None)
            .unwrap();
        Self { config, fingerprint }
    }
}

impl Browser {
    /// A browser that has been told `transport`.
    pub(crate) async fn open(transport: &TransportParameters) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let bridge = transport.candidates[0].address;
        Self { socket, bridge, ice: transport.ice.clone(), media: None }
    }

    pub(crate) async fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.bridge).await.unwrap();
    }

    /// The next datagram; always from the address it was sent to.
    pub(crate) async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 2048];
        let (length, from) = soon(self.socket.recv_from(&mut buffer)).await.unwrap();
        assert_eq!(from, self.bridge);
        buffer.truncate(length);
        buffer
    }

    /// A check that the bridge must answer.
    pub(crate) fn check_message(&self) -> (TransactionId, Vec<u8>) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut transaction = [7; 12];
        transaction[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let transaction = TransactionId(transaction);
        let username = format!("{}:{}", self.ice.ufrag, BROWSER_UFRAG);
        let message = Builder::new(Class::Request, Method::BINDING, transaction)
            .attribute(AttributeKind::USERNAME, username.as_bytes())
            .attribute(AttributeKind::PRIORITY, &0x6e00_00ff_u32.to_be_bytes())
            .attribute(AttributeKind::ICE_CONTROLLING, &1_u64.to_be_bytes())
            .attribute(AttributeKind::USE_CANDIDATE, &[])
            .sign(self.ice.pwd.as_bytes())
            .fingerprint();
        (transaction, message)
    }

    /// Checks the path and is answered: signed, and with our own address in it.
    pub(crate) async fn check(&mut self) {
        let (transaction, message) = self.check_message();
        self.send(&message).await;
        let answer = self.receive().await;
        let answer = Message::parse(&answer).unwrap();
        assert_eq!((answer.class(), answer.transaction_id()), (Class::Success, transaction));
        assert!(answer.verify_integrity(self.ice.pwd.as_bytes()) && answer.verify_fingerprint());
        assert_eq!(answer.xor_mapped_address(), Some(self.socket.local_addr().unwrap()));
    }

    /// Checks, shakes hands, and holds keys.
    pub(crate) async fn connect(&mut self, certified: Certified) {
        self.check().await;
        let mut client = Endpoint::new(self.socket.local_addr().unwrap(), TransportProtocol::UDP, None);
        client.connect(Instant::now(), self.bridge, Arc::new(certified.config), None).unwrap();
        let mut is_done = false;
        while !is_done {
            while let Some(transmit) = client.poll_transmit() {
                self.send(&transmit.message).await;
            }
            let datagram = self.receive().await;
            let events = client.read(Instant::now(), self.bridge, None, datagram.as_slice().into()).unwrap();
            is_done = events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete));
        }
        while let Some(transmit) = client.poll_transmit() {
            self.send(&transmit.message).await;
        }
        let profile = Profile::AeadAes128Gcm;
        let state = client.get_connection_state(self.bridge).unwrap();
        let length = profile.keying_material_len();
        let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], length).unwrap().into_bytes();
        let keys = SessionKeys::of_client(profile, &material).unwrap();
        self.media = Some((Sealer::new(profile, &keys.send), Opener::new(profile, &keys.receive)));
    }

    /// Publishes one packet; sequence numbers below 65,536 only.
    pub(crate) async fn publish(&self, ssrc: u32, payload_type: u8, sequence: u16, payload: &[u8]) {
        let header = RtpHeader {
            marker: true,
            payload_type: PayloadType::new(payload_type).unwrap(),
            sequence,
            timestamp: u32::from(sequence) * 960,
            ssrc: Ssrc(ssrc),
        };
        let loud: (u8, &[u8]) = (AUDIO_LEVEL_ID, &[0x80 | 10]);
        let elements = if payload_type == AUDIO_PAYLOAD_TYPE { &[loud][..] } else { &[] };
        let mut plain = [0; 64];
        let header_length = write_header(&mut plain, &header, elements).unwrap();
        let mut sealed = [0; 1500];
        let (sealer, _) = self.media.as_ref().unwrap();
        let length =
            sealer.seal_rtp(u64::from(sequence), &plain[..header_length], payload, &mut sealed).unwrap();
        self.send(&sealed[..length]).await;
    }

    /// The next media packet: its SSRC and its payload. Everything else is passed over.
    pub(crate) async fn next_media(&self) -> (u32, Vec<u8>) {
        let (_, opener) = self.media.as_ref().unwrap();
        loop {
            let datagram = self.receive().await;
            if datagram[0] >> 6 != 2 || (64..96).contains(&(datagram[1] & 0x7f)) {
                continue;
            }
            let view = RtpView::parse_protected(&datagram).unwrap();
            let mut plain = vec![0; datagram.len()];
            let window = &mut ReplayWindow::new();
            let length = opener.open_rtp(window, &datagram, view.header_len(), &mut plain).unwrap();
            let end = view.header_len() + length;
            return (view.ssrc().0, plain[view.header_len()..end].to_vec());
        }
    }
}

/// An endpoint that publishes a voice and a picture and can be shown one of each.
pub(crate) fn parameters(endpoint: &EndpointId) -> EndpointParameters {
    let fingerprint = Fingerprint { algorithm: "sha-256".to_owned(), value: ["AB"; 32].join(":") };
    parameters_with(endpoint, fingerprint)
}

pub(crate) fn parameters_with(endpoint: &EndpointId, fingerprint: Fingerprint) -> EndpointParameters {
    let (voice, picture) = (MediaKind::Audio, MediaKind::Video);
    EndpointParameters {
        ice: IceCredentials { ufrag: BROWSER_UFRAG.to_owned(), pwd: "p".repeat(24) },
        fingerprints: vec![fingerprint],
        medias: vec![
            media("0", voice, source(endpoint, voice)),
            media("1", picture, source(endpoint, picture)),
            media("2", voice, MediaRole::Slot),
            media("3", picture, MediaRole::Slot),
        ],
    }
}

/// The SSRC of an endpoint's voice or picture.
pub(crate) fn ssrc_of(endpoint: &EndpointId, kind: MediaKind) -> u32 {
    let number = u32::from_str_radix(endpoint.as_str(), 16).unwrap();
    match kind {
        MediaKind::Audio => 100_000 + number,
        MediaKind::Video => 200_000 + number,
    }
}

fn source(endpoint: &EndpointId, kind: MediaKind) -> MediaRole {
    let is_video = kind == MediaKind::Video;
    let media = ssrc_of(endpoint, kind);
    MediaRole::Source(SourceParameters {
        name: SourceName::of(endpoint, kind, 0),
        video_type: is_video.then_some(VideoType::Camera),
        rids: Vec::new(),
        ssrcs: vec![SourceSsrc { media, rtx: is_video.then_some(media + 1_000_000) }],
    })
}

fn media(mid: &str, kind: MediaKind, role: MediaRole) -> Media {
    let codec = match kind {
        MediaKind::Audio => CodecParameters {
            payload_type: AUDIO_PAYLOAD_TYPE,
            codec: Codec::Opus,
            clock_rate_hz: 48_000,
            format: "minptime=10;useinbandfec=1".to_owned(),
            rtx_payload_type: None,
        },
        MediaKind::Video => CodecParameters {
            payload_type: VIDEO_PAYLOAD_TYPE,
            codec: Codec::Vp8,
            clock_rate_hz: 90_000,
            format: String::new(),
            rtx_payload_type: Some(VIDEO_PAYLOAD_TYPE + 1),
        },
    };
    let level = ExtensionParameters { id: AUDIO_LEVEL_ID, extension: Extension::AudioLevel };
    let extensions = if kind == MediaKind::Audio { vec![level] } else { Vec::new() };
    Media { mid: Mid::parse(mid).unwrap(), kind, codecs: vec![codec], extensions, role }
}

const BROWSER_UFRAG: &str = "brow";

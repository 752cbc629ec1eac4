//! A small server for callers: ICE-lite, DTLS on the library, SRTP, one stream forwarded to each slot. It has no socket
//! and no clock either.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rtc::crypto::{HashAlgorithm, default_provider};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use wire::datagram::{DatagramKind, classify};
use wire::messages::media::Fingerprint;
use wire::rtp::{PayloadType, RtpHeader, RtpView, Ssrc, write_header};
use wire::sdp::{self, Direction, Sdp, Setup, SsrcGroup, SsrcLine};
use wire::srtp::{Opener, Profile, ReplayWindow, Sealer, SessionKeys};
use wire::stun::{AttributeKind, Builder, Class, Message};

pub(super) const PWD: &str = "serverserverserverserver";
pub(super) const UFRAG: &str = "srv1";
const MATERIAL: &str = "EXTRACTOR-dtls_srtp";

/// One caller's other side.
pub(super) struct Server {
    /// As agreed, once there are keys.
    pub(super) profile: Profile,
    is_active: bool,
    fingerprint: Fingerprint,
    config: Arc<HandshakeConfig>,
    dtls: Endpoint,
    keys: Option<(Sealer, Opener)>,
    pub(super) says: Vec<Vec<u8>>,
    /// Opened media and reports, in order.
    pub(super) rtp: Vec<Vec<u8>>,
    pub(super) rtcp: Vec<Vec<u8>>,
    pub(super) checks: u32,
    pub(super) is_closed: bool,
    windows: Vec<(u32, ReplayWindow)>,
    rtcp_index: u32,
    /// Of the packets it sends, over all streams.
    pub(super) transport_sequence: u16,
}

fn library_profile(profile: Profile) -> SrtpProtectionProfile {
    match profile {
        Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        Profile::Aes128CmSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    }
}

/// Where a server is, for callers that ask.
pub(super) fn candidate() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 10_000))
}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 4_000))
}

impl Server {
    /// Waits for a hello.
    pub(super) fn passive(profile: Profile) -> Self {
        Self::new(&[library_profile(profile)], false)
    }

    /// Says hello itself, as servers do that answer `a=setup:active`.
    pub(super) fn active(profile: Profile) -> Self {
        Self::new(&[library_profile(profile)], true)
    }

    /// Takes the first profile of the client's, as OpenSSL does.
    pub(super) fn following() -> Self {
        Self::new(&[Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80].map(library_profile), false)
    }

    fn new(profiles: &[SrtpProtectionProfile], is_active: bool) -> Self {
        let provider = default_provider().unwrap();
        let certificate =
            Certificate::generate_self_signed(vec!["server".to_owned()], provider.crypto()).unwrap();
        let digest = provider.crypto().hash(HashAlgorithm::Sha256, &certificate.certificate[0]).unwrap();
        let digest: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let fingerprint = Fingerprint { algorithm: "sha-256".to_owned(), value: digest.join(":") };
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(profiles.to_vec())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(is_active, None)
            .unwrap();
        let config = Arc::new(config);
        let served = (!is_active).then(|| Arc::clone(&config));
        Self {
            profile: Profile::AeadAes128Gcm,
            is_active,
            fingerprint,
            config,
            dtls: Endpoint::new(peer(), TransportProtocol::UDP, served),
            keys: None,
            says: Vec::new(),
            rtp: Vec::new(),
            rtcp: Vec::new(),
            checks: 0,
            is_closed: false,
            windows: Vec::new(),
            rtcp_index: 0,
            transport_sequence: 0,
        }
    }

    /// Media SSRC of the slot with this mid; its retransmissions have the next.
    pub(super) fn slot_ssrc(mid: usize) -> u32 {
        1_000 + 2 * mid as u32
    }

    /// The answer that takes everything offered.
    pub(super) fn answer(&self, offer: &str) -> Sdp {
        let mut answer = sdp::parse(offer).unwrap();
        answer.is_ice_lite = true;
        for (mid, section) in answer.medias.iter_mut().enumerate() {
            let is_slot = section.direction == Some(Direction::ReceiveOnly);
            section.direction = section.direction.map(Direction::reversed);
            section.transport = sdp::Transport {
                ufrag: Some(UFRAG.to_owned()),
                pwd: Some(PWD.to_owned()),
                fingerprints: vec![self.fingerprint.clone()],
                setup: Some(if self.is_active { Setup::Active } else { Setup::Passive }),
                ..sdp::Transport::default()
            };
            section.rids.iter_mut().for_each(|rid| rid.is_sent = false);
            if let Some(simulcast) = &mut section.simulcast {
                std::mem::swap(&mut simulcast.send, &mut simulcast.receive);
            }
            section.msids.clear();
            section.ssrcs.clear();
            section.ssrc_groups.clear();
            if is_slot {
                let (media, rtx) = (Self::slot_ssrc(mid), Self::slot_ssrc(mid) + 1);
                let line = |ssrc| SsrcLine { ssrc, cname: Some("server".to_owned()) };
                section.ssrcs = vec![line(media), line(rtx)];
                section.ssrc_groups =
                    vec![SsrcGroup { semantics: "FID".to_owned(), ssrcs: vec![media, rtx] }];
            }
        }
        answer.medias[0].candidates = vec![sdp::Candidate {
            foundation: "1".to_owned(),
            component: 1,
            priority: 1,
            address: candidate(),
            kind: sdp::CandidateKind::Host,
        }];
        answer
    }

    pub(super) fn handle(&mut self, now: Instant, datagram: &[u8]) {
        match classify(datagram) {
            DatagramKind::Stun => self.handle_check(now, datagram),
            DatagramKind::Dtls => {
                let events = self.dtls.read(now, peer(), None, datagram.into()).unwrap();
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => self.keys = Some(self.export()),
                        EndpointEvent::PeerClosed => self.is_closed = true,
                        _ => {}
                    }
                }
                self.collect();
            }
            DatagramKind::Rtp => {
                let plain = self.open_rtp(datagram);
                self.rtp.push(plain);
            }
            DatagramKind::Rtcp => {
                let mut plain = Vec::new();
                let (_, opener) = self.keys.as_ref().unwrap();
                // One counter for all senders of an association: one window would do, and is not asked to.
                opener.open_rtcp(&mut ReplayWindow::new(), datagram, &mut plain).unwrap();
                self.rtcp.push(plain);
            }
            other => panic!("{other:?}"),
        }
    }

    fn handle_check(&mut self, now: Instant, datagram: &[u8]) {
        let check = Message::parse(datagram).unwrap();
        if check.class() != Class::Request {
            return;
        }
        assert!(
            check.verify_fingerprint() && check.verify_integrity(PWD.as_bytes()) && check.use_candidate()
        );
        assert!(check.username().unwrap().starts_with("srv1:") && check.controlling().is_some());
        self.checks += 1;
        let answer = Builder::answer(&check, Class::Success)
            .xor_address(AttributeKind::XOR_MAPPED_ADDRESS, peer())
            .sign(PWD.as_bytes())
            .fingerprint();
        self.says.push(answer);
        if self.is_active && self.checks == 1 {
            self.dtls.connect(now, peer(), Arc::clone(&self.config), None).unwrap();
            self.collect();
        }
    }

    fn collect(&mut self) {
        self.says.extend(std::iter::from_fn(|| self.dtls.poll_transmit()).map(|it| it.message.to_vec()));
    }

    fn export(&mut self) -> (Sealer, Opener) {
        let state = self.dtls.get_connection_state(peer()).unwrap();
        let profiles = [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80].into_iter();
        let agreed = state.srtp_protection_profile();
        self.profile = profiles.into_iter().find(|profile| library_profile(*profile) == agreed).unwrap();
        let length = self.profile.keying_material_len();
        let material = state.export_keying_material(MATERIAL, &[], length).unwrap();
        let keys = match self.is_active {
            true => SessionKeys::of_client(self.profile, material.as_ref()).unwrap(),
            false => SessionKeys::of_server(self.profile, material.as_ref()).unwrap(),
        };
        (Sealer::new(self.profile, &keys.send), Opener::new(self.profile, &keys.receive))
    }

    fn open_rtp(&mut self, datagram: &[u8]) -> Vec<u8> {
        let view = RtpView::parse_protected(datagram).unwrap();
        let ssrc = view.ssrc().0;
        if !self.windows.iter().any(|(known, _)| *known == ssrc) {
            self.windows.push((ssrc, ReplayWindow::new()));
        }
        let (_, window) = self.windows.iter_mut().find(|(known, _)| *known == ssrc).unwrap();
        let (_, opener) = self.keys.as_ref().unwrap();
        let mut plain = vec![0; datagram.len()];
        let length = opener.open_rtp(window, datagram, view.header_len(), &mut plain).unwrap();
        plain.truncate(view.header_len() + length);
        plain
    }

    /// A packet of `ssrc`, sealed, with its transport-wide number; to be pushed to `says`, or not.
    pub(super) fn seal(
        &mut self,
        (ssrc, payload_type): (u32, u8),
        packet: &RtpView<'_>,
        index: u64,
    ) -> Vec<u8> {
        let header = RtpHeader {
            marker: packet.marker(),
            payload_type: PayloadType::new(payload_type).unwrap(),
            sequence: index as u16,
            timestamp: packet.timestamp(),
            ssrc: Ssrc(ssrc),
        };
        self.seal_as(&header, packet.payload(), index)
    }

    pub(super) fn seal_as(&mut self, header: &RtpHeader, payload: &[u8], index: u64) -> Vec<u8> {
        let number = self.transport_sequence.to_be_bytes();
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let mut head = [0; 64];
        let head_len = write_header(&mut head, header, &[(3, &number)]).unwrap();
        let mut out = vec![0; head_len + payload.len() + self.profile.rtp_overhead()];
        let (sealer, _) = self.keys.as_ref().unwrap();
        sealer.seal_rtp(index, &head[..head_len], payload, &mut out).unwrap();
        out
    }

    /// Says a compound packet.
    pub(super) fn say_rtcp(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut plain = Vec::new();
        write(&mut plain);
        let mut out = vec![0; plain.len() + self.profile.rtcp_overhead()];
        let (sealer, _) = self.keys.as_ref().unwrap();
        sealer.seal_rtcp(self.rtcp_index, &plain, &mut out).unwrap();
        self.rtcp_index += 1;
        self.says.push(out);
    }

    pub(super) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }
}

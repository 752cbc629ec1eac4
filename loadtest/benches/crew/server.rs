//! The model server: ICE-lite, DTLS, SRTP for each viewer, and one camera with its voice for all of them.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use loadtest::engine::ports::{CallerPlan, Transmits};
use loadtest::engine::send::{OutPacket, Publisher};
use loadtest::engine::stamp::Clock;
use loadtest::scenario::{Camera, PictureLayer, Receive, Voice};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rtc::crypto::{HashAlgorithm, default_provider};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use wire::datagram::{DatagramKind, classify};
use wire::messages::media::Fingerprint;
use wire::rtp::{PayloadType, RtpHeader, Ssrc, write_header};
use wire::sdp::{self, Direction, Setup, SsrcGroup, SsrcLine};
use wire::srtp::{Profile, Sealer, SessionKeys};
use wire::stun::{AttributeKind, Builder, Class, Message};

/// Serves until the process ends.
pub(crate) struct Blaster {
    address: SocketAddr,
    fingerprint: Fingerprint,
    /// Media flows.
    pub(crate) is_sending: Arc<AtomicBool>,
}

impl Blaster {
    pub(crate) fn start(clock: Clock) -> Self {
        let provider = default_provider().expect("a provider");
        let certificate = Certificate::generate_self_signed(vec!["server".to_owned()], provider.crypto());
        let certificate = certificate.expect("a certificate");
        let digest =
            provider.crypto().hash(HashAlgorithm::Sha256, &certificate.certificate[0]).expect("SHA-256");
        let value: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let fingerprint = Fingerprint { algorithm: "sha-256".to_owned(), value: value.join(":") };
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(false, None)
            .expect("settings");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let is_sending = Arc::new(AtomicBool::new(false));
        let mut server = Server::new(socket, Arc::new(config), clock);
        let shared = Arc::clone(&is_sending);
        std::thread::spawn(move || server.run(&shared));
        Self { address, fingerprint, is_sending }
    }

    /// Takes everything that is offered.
    pub(crate) fn answer(&self, offer: &str) -> String {
        let mut answer = sdp::parse(offer).expect("an offer");
        answer.is_ice_lite = true;
        for (mid, section) in answer.medias.iter_mut().enumerate() {
            section.direction = Some(Direction::SendOnly);
            section.transport = sdp::Transport {
                ufrag: Some("server".to_owned()),
                pwd: Some(PASSWORD.to_owned()),
                fingerprints: vec![self.fingerprint.clone()],
                setup: Some(Setup::Passive),
                ..sdp::Transport::default()
            };
            section.msids.clear();
            let ssrcs = vec![slot_ssrc(mid), slot_ssrc(mid) + 1];
            let line = |ssrc: &u32| SsrcLine { ssrc: *ssrc, cname: Some("server".to_owned()) };
            section.ssrcs = ssrcs.iter().map(line).collect();
            section.ssrc_groups = vec![SsrcGroup { semantics: "FID".to_owned(), ssrcs }];
        }
        answer.medias[0].candidates = vec![sdp::Candidate {
            foundation: "1".to_owned(),
            component: 1,
            priority: 1,
            address: self.address,
            kind: sdp::CandidateKind::Host,
        }];
        answer.to_string()
    }
}

struct Server {
    socket: UdpSocket,
    state: UdpSocketState,
    config: Arc<HandshakeConfig>,
    publisher: Publisher,
    viewers: HashMap<SocketAddr, Viewer>,
}

struct Viewer {
    dtls: Endpoint,
    sealer: Option<Sealer>,
}

/// One packet as all viewers get it, but for its protection.
struct Shared {
    index: u64,
    header: Vec<u8>,
    payload: Vec<u8>,
}

impl Server {
    fn new(socket: UdpSocket, config: Arc<HandshakeConfig>, clock: Clock) -> Self {
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).expect("a socket");
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), 4 << 20);
        let layer = PictureLayer { height: 720, rate_kbps: 2_100, frames_per_s: 30.0 };
        let plan = CallerPlan {
            number: 1_000_000,
            seed: 1,
            clock,
            voice: Some(Voice { dtx: false, ..Voice::default() }),
            camera: Some(Camera { layers: vec![layer], key_frame_interval_s: 2.0, ..Camera::default() }),
            screen: None,
            receive: Receive::default(),
        };
        Self { socket, state, config, publisher: Publisher::new(&plan), viewers: HashMap::new() }
    }

    fn run(&mut self, is_sending: &AtomicBool) {
        let mut is_started = false;
        loop {
            self.receive();
            if is_sending.load(Ordering::Relaxed) {
                if !std::mem::replace(&mut is_started, true) {
                    self.publisher.start(Instant::now());
                }
                self.send();
            }
            let next = self.publisher.next_timeout().filter(|_| is_started);
            let wait = next.map_or(TURN, |next| next.saturating_duration_since(Instant::now()).min(TURN));
            std::thread::sleep(wait);
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; 2_048];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            match classify(&buffer[..length]) {
                DatagramKind::Stun => self.answer_check(from, &buffer[..length]),
                DatagramKind::Dtls => self.shake_hands(from, &buffer[..length]),
                // Reports and feedback: a viewer's word is not heard here.
                _ => {}
            }
        }
    }

    fn answer_check(&self, from: SocketAddr, datagram: &[u8]) {
        let Ok(check) = Message::parse(datagram) else { return };
        let answer =
            Builder::answer(&check, Class::Success).xor_address(AttributeKind::XOR_MAPPED_ADDRESS, from);
        let _ = self.socket.send_to(&answer.sign(PASSWORD.as_bytes()).fingerprint(), from);
    }

    fn shake_hands(&mut self, from: SocketAddr, datagram: &[u8]) {
        let viewer = self.viewers.entry(from).or_insert_with(|| Viewer {
            dtls: Endpoint::new(from, TransportProtocol::UDP, Some(Arc::clone(&self.config))),
            sealer: None,
        });
        let events = viewer.dtls.read(Instant::now(), from, None, datagram.into()).unwrap_or_default();
        if events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete)) {
            let state = viewer.dtls.get_connection_state(from).expect("a connection");
            let length = PROFILE.keying_material_len();
            let material = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], length).expect("keys");
            let keys = SessionKeys::of_server(PROFILE, material.as_ref()).expect("keys");
            viewer.sealer = Some(Sealer::new(PROFILE, &keys.send));
        }
        while let Some(transmit) = viewer.dtls.poll_transmit() {
            let _ = self.socket.send_to(&transmit.message, from);
        }
    }

    /// What is due, to everybody, one GSO message each.
    fn send(&mut self) {
        let mut packets = Vec::new();
        self.publisher.handle_timeout(Instant::now(), &mut |packet| packets.push(share(&packet)));
        let mut transmits = Transmits::default();
        for (address, viewer) in &self.viewers {
            let Some(sealer) = &viewer.sealer else { continue };
            transmits.clear();
            for packet in &packets {
                let room = packet.header.len() + packet.payload.len() + PROFILE.rtp_overhead();
                transmits.write(room, |out| {
                    sealer.seal_rtp(packet.index, &packet.header, &packet.payload, out).ok()
                });
            }
            for (run, each) in transmits.runs(self.state.max_gso_segments(), 60_000) {
                let transmit = Transmit {
                    destination: *address,
                    ecn: None,
                    contents: run,
                    segment_size: Some(each),
                    src_ip: None,
                };
                let _ = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
            }
        }
    }
}

fn share(packet: &OutPacket<'_>) -> Shared {
    // The offer's order: the audio slot, then the video slot; payload types as the callers offer them.
    let payload_type = if packet.track == 0 { OPUS } else { VP8 };
    let header = RtpHeader {
        marker: packet.marker,
        payload_type: PayloadType::new(payload_type).expect("a payload type"),
        sequence: packet.index as u16,
        timestamp: packet.timestamp,
        ssrc: Ssrc(slot_ssrc(packet.track)),
    };
    let mut bytes = [0; 64];
    let length = write_header(&mut bytes, &header, &[]).expect("a header");
    Shared { index: packet.index, header: bytes[..length].to_vec(), payload: packet.payload.to_vec() }
}

/// Media of the slot with this mid; its retransmissions have the next.
fn slot_ssrc(mid: usize) -> u32 {
    1_000 + 2 * mid as u32
}

const PASSWORD: &str = "a-password-of-the-model-server";
const PROFILE: Profile = Profile::AeadAes128Gcm;
const OPUS: u8 = 111;
const VP8: u8 = 96;

/// Checks and handshakes are looked at this often.
const TURN: Duration = Duration::from_millis(1);

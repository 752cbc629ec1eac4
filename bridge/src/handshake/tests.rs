//! A browser's side is played by the same library as a client, on a fake clock, over a line that can lose flights.

use std::sync::Arc;

use rtc::crypto::default_provider;
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::Endpoint;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;

use super::*;

const CM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const GCM_256: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm;

const CHROMIUM_HELLO: [&[u8]; 2] = [
    include_bytes!("../../../wire/fixtures/chromium/dtls-client-1.bin"),
    include_bytes!("../../../wire/fixtures/chromium/dtls-client-2.bin"),
];
const FIREFOX_HELLO: [&[u8]; 2] = [
    include_bytes!("../../../wire/fixtures/firefox/dtls-client-1.bin"),
    include_bytes!("../../../wire/fixtures/firefox/dtls-client-2.bin"),
];

struct World {
    now: Instant,
    client: Endpoint,
    server: Handshake,
    to_client: Vec<Vec<u8>>,
    connected: Option<(Profile, SessionKeys)>,
    failed: Option<HandshakeError>,
    closed: bool,
    client_connected: bool,
}

impl World {
    fn new(profiles: &[SrtpProtectionProfile]) -> Self {
        let (config, fingerprint) = client_config(profiles, ExtendedMasterSecretType::Require);
        Self::with(config, fingerprint)
    }

    fn with(config: HandshakeConfig, expected: Fingerprint) -> Self {
        let now = Instant::now();
        let identity = Identity::generate().unwrap();
        let mut client = Endpoint::new(server_address(), TransportProtocol::UDP, None);
        client.connect(now, server_address(), Arc::new(config), None).unwrap();
        let server = Handshake::new(&identity, expected, now);
        let (to_client, connected, failed) = (Vec::new(), None, None);
        Self { now, client, server, to_client, connected, failed, closed: false, client_connected: false }
    }

    fn flight_of_client(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.client.poll_transmit()).map(|transmit| transmit.message.to_vec()).collect()
    }

    fn flight_of_server(&mut self) -> Vec<Vec<u8>> {
        while let Some(output) = self.server.poll_output() {
            match output {
                HandshakeOutput::Transmit(datagram) => self.to_client.push(datagram),
                HandshakeOutput::Connected { profile, keys } => self.connected = Some((profile, keys)),
                HandshakeOutput::Failed(error) => self.failed = Some(error),
                HandshakeOutput::Closed => self.closed = true,
            }
        }
        std::mem::take(&mut self.to_client)
    }

    /// Both sides talk until they are silent. Flight number `lost` (from 0, both directions counted) does not arrive.
    fn exchange(&mut self, mut lost: Option<usize>) {
        let mut lose = |flight: &[Vec<u8>]| {
            let is_lost = !flight.is_empty() && lost == Some(0);
            lost = lost.map(|left| left.wrapping_sub(usize::from(!flight.is_empty())));
            is_lost
        };
        for _ in 0..40 {
            let flight = self.flight_of_client();
            if !lose(&flight) {
                self.deliver_to_server(&flight);
            }
            let flight = self.flight_of_server();
            if !lose(&flight) {
                self.deliver_to_client(&flight);
            }
            if self.client_connected && self.connected.is_some() {
                return;
            }
            self.now += Duration::from_millis(300);
            let _ = self.client.handle_timeout(server_address(), self.now);
            if self.server.next_timeout().is_some_and(|at| at <= self.now) {
                self.server.handle_timeout(self.now);
            }
        }
    }

    fn deliver_to_server(&mut self, flight: &[Vec<u8>]) {
        for datagram in flight {
            let _ = self.server.handle_datagram(self.now, datagram);
        }
    }

    fn deliver_to_client(&mut self, flight: &[Vec<u8>]) {
        for datagram in flight {
            let events = self.client.read(self.now, server_address(), None, datagram.as_slice().into());
            let events = events.unwrap_or_default();
            self.client_connected |=
                events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete));
        }
    }

    fn client_material(&self, length: usize) -> Vec<u8> {
        let state = self.client.get_connection_state(server_address()).unwrap();
        state.export_keying_material("EXTRACTOR-dtls_srtp", &[], length).unwrap().into_bytes()
    }
}

fn server_address() -> std::net::SocketAddr {
    "192.0.2.1:10000".parse().unwrap()
}

fn client_config(
    profiles: &[SrtpProtectionProfile],
    master_secret: ExtendedMasterSecretType,
) -> (HandshakeConfig, Fingerprint) {
    let provider = default_provider().unwrap();
    let certificate =
        Certificate::generate_self_signed(vec!["browser".to_owned()], provider.crypto()).unwrap();
    let fingerprint = fingerprint_of(&certificate.certificate[0]);
    let config = ConfigBuilder::default()
        .with_crypto_provider(provider)
        .with_certificates(vec![certificate])
        .with_srtp_protection_profiles(profiles.to_vec())
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_insecure_skip_verify(true)
        .with_extended_master_secret(master_secret)
        .build(true, None)
        .unwrap();
    (config, fingerprint)
}

fn fingerprint_of(der: &[u8]) -> Fingerprint {
    let digest = default_provider().unwrap().crypto().hash(rtc::crypto::HashAlgorithm::Sha256, der).unwrap();
    let text: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Fingerprint::parse("SHA-256", &text.join(":")).unwrap()
}

fn any_fingerprint() -> Fingerprint {
    Fingerprint::parse("sha-256", &["AB"; 32].join(":")).unwrap()
}

fn fresh_server() -> Handshake {
    Handshake::new(&Identity::generate().unwrap(), any_fingerprint(), Instant::now())
}

fn handshake_record(kind: u8, length: u32, sequence: u16, offset: u32, part: &[u8]) -> Vec<u8> {
    let mut header = vec![kind];
    header.extend_from_slice(&length.to_be_bytes()[1..]);
    header.extend_from_slice(&sequence.to_be_bytes());
    header.extend_from_slice(&offset.to_be_bytes()[1..]);
    header.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes()[1..]);
    records::build(ContentType::Handshake, 0, &[&header, part])
}

#[test]
fn both_sides_hold_the_same_keys() {
    let mut world = World::new(&[GCM]);
    world.exchange(None);
    let (profile, keys) = world.connected.take().expect("connected");
    assert_eq!(profile, Profile::AeadAes128Gcm);
    let material = world.client_material(2 * (16 + 12));
    assert_eq!(keys.receive.key, material[..16], "client write key");
    assert_eq!(keys.send.key, material[16..32], "server write key");
    assert_eq!(keys.receive.salt[..12], material[32..44], "client write salt");
    assert_eq!(keys.send.salt[..12], material[44..], "server write salt");
    assert_eq!(world.server.next_timeout(), None);
}

#[test]
fn a_lost_flight_is_repeated_whichever_it_is() {
    for lost in 0..6 {
        let mut world = World::new(&[GCM]);
        world.exchange(Some(lost));
        assert!(world.connected.is_some(), "server, flight {lost} lost: {:?}", world.failed);
        assert!(world.client_connected, "client, flight {lost} lost");
    }
}

#[test]
fn gcm_is_chosen_wherever_it_stands_in_the_offer() {
    let mut world = World::new(&[CM, GCM_256, GCM]);
    world.exchange(None);
    assert_eq!(world.connected.expect("connected").0, Profile::AeadAes128Gcm);
}

#[test]
fn cm_serves_a_browser_without_gcm() {
    let mut world = World::new(&[GCM_256, CM]);
    world.exchange(None);
    let (profile, keys) = world.connected.take().expect("connected");
    assert_eq!(profile, Profile::Aes128CmSha1_80);
    let material = world.client_material(2 * (16 + 14));
    assert_eq!(keys.receive.salt[..], material[32..46]);
    assert_eq!(keys.send.salt[..], material[46..]);
}

#[test]
fn another_certificate_than_the_signaled_one_gets_no_keys() {
    let (config, _) = client_config(&[GCM], ExtendedMasterSecretType::Require);
    let mut world = World::with(config, any_fingerprint());
    world.exchange(None);
    assert_eq!(world.failed, Some(HandshakeError::FingerprintMismatch));
    assert!(world.connected.is_none());
    assert_eq!(world.server.handle_datagram(world.now, CHROMIUM_HELLO[0]), Err(Ignored::Late));
}

#[test]
fn a_certificate_above_the_limit_is_refused() {
    let mut world = World::new(&[GCM]);
    for _ in 0..2 {
        let flight = world.flight_of_client();
        flight.iter().for_each(|datagram| world.server.handle_datagram(world.now, datagram).unwrap());
        let flight = world.flight_of_server();
        world.deliver_to_client(&flight);
    }
    let large = handshake_record(KIND_CERTIFICATE, 20_000, 2, 0, &[0; 100]);
    assert_eq!(world.server.handle_datagram(world.now, &large), Err(Ignored::TooLarge));
    world.flight_of_server();
    assert_eq!(world.failed, Some(HandshakeError::CertificateTooLarge));
}

#[test]
fn the_fragmented_hellos_of_browsers_are_answered_with_a_cookie_in_any_order() {
    for [first, second] in [CHROMIUM_HELLO, FIREFOX_HELLO] {
        for order in [[first, second, second], [second, first, first]] {
            let mut server = fresh_server();
            order.iter().for_each(|datagram| server.handle_datagram(Instant::now(), datagram).unwrap());
            let Some(HandshakeOutput::Transmit(answer)) = server.poll_output() else { panic!("no answer") };
            assert_eq!((answer[0], answer[13]), (22, 3), "a HelloVerifyRequest");
            assert!(answer.len() < first.len(), "smaller than what provoked it");
            assert_eq!(server.candidates[0].profile, Profile::AeadAes128Gcm);
        }
    }
}

#[test]
fn a_forged_hello_does_not_displace_the_browser() {
    let mut world = World::new(&[GCM]);
    let hello = world.flight_of_client();
    for datagram in CHROMIUM_HELLO.iter().chain(&FIREFOX_HELLO) {
        let _ = world.server.handle_datagram(world.now, datagram);
    }
    while world.server.poll_output().is_some() {}
    hello.iter().for_each(|datagram| world.server.handle_datagram(world.now, datagram).unwrap());
    world.exchange(None);
    assert!(world.connected.is_some() && world.client_connected);
}

#[test]
fn unconfirmed_hellos_are_few_at_a_time() {
    let mut server = fresh_server();
    let now = Instant::now();
    let mut refused = 0;
    for number in 0..100 {
        for fragment in CHROMIUM_HELLO {
            let mut datagram = fragment.to_vec();
            // The random starts after record header, message header and version.
            if datagram.len() > 1000 {
                datagram[13 + 12 + 2 + 5] = number;
            }
            refused += usize::from(server.handle_datagram(now, &datagram) == Err(Ignored::OverLimit));
        }
    }
    assert_eq!(server.candidates.len(), CANDIDATES_MAX);
    assert_eq!(refused, 100 - CANDIDATES_MAX);
    assert_eq!(std::iter::from_fn(|| server.poll_output()).count(), CANDIDATES_MAX);
}

#[test]
fn garbage_and_forged_alerts_change_nothing() {
    let mut world = World::new(&[GCM]);
    let alert = records::build(ContentType::Alert, 9, &[&[2, 40]]);
    let cipher_change = records::build(ContentType::ChangeCipherSpec, 9, &[&[1]]);
    let data = records::build(ContentType::ApplicationData, 9, &[b"forged"]);
    let mut sealed = records::build(ContentType::Handshake, 9, &[&[0; 48]]);
    sealed[4] = 1;
    let garbage: [&[u8]; 8] = [
        &[22, 254, 253],
        &[20; 60],
        &[22; 200],
        &alert,
        &cipher_change,
        &data,
        &sealed,
        &handshake_record(20, 12, 5, 0, &[0; 12]),
    ];
    for _ in 0..3 {
        for datagram in garbage {
            let _ = world.server.handle_datagram(world.now, datagram);
        }
        let flight = world.flight_of_client();
        world.deliver_to_server(&flight);
        let flight = world.flight_of_server();
        world.deliver_to_client(&flight);
    }
    world.exchange(None);
    assert!(world.connected.is_some() && world.client_connected, "{:?}", world.failed);
    for datagram in garbage {
        assert!(world.server.handle_datagram(world.now, datagram).is_err() || datagram == sealed);
    }
    assert!(world.flight_of_server().is_empty() && !world.closed && world.failed.is_none());
}

#[test]
fn hostile_fragments_stay_within_the_buffer() {
    let mut server = fresh_server();
    let now = Instant::now();
    let cases = [
        (1, 0xff_ffff, 0, 0, 10, Err(Ignored::TooLarge)),
        (1, 100, 0, 95, 10, Err(Ignored::BadFragment)),
        (1, 100, 0, 50, 0, Err(Ignored::BadFragment)),
        (1, 100, 60_000, 0, 10, Err(Ignored::TooLarge)),
    ];
    for (kind, length, sequence, offset, part, expected) in cases {
        let datagram = handshake_record(kind, length, sequence, offset, &vec![7; part]);
        assert_eq!(server.handle_datagram(now, &datagram), expected);
    }
    for offset in 0..9_000 {
        for kind in [1, 11, 16] {
            let _ = server.handle_datagram(now, &handshake_record(kind, 9_001, 2, offset, &[7]));
        }
    }
    assert!(server.reassembly.buffered_bytes() <= 24 * 1024);
    assert!(server.poll_output().is_none());
}

#[test]
fn a_hello_that_cannot_lead_to_keys_is_named_when_time_is_up() {
    let (config, fingerprint) = client_config(&[GCM_256], ExtendedMasterSecretType::Require);
    let mut world = World::with(config, fingerprint);
    world.exchange(None);
    assert!(world.failed.is_none());
    world.now = world.server.next_timeout().expect("waits");
    world.server.handle_timeout(world.now);
    world.flight_of_server();
    let refusal = Some(HelloRefusal::SrtpProfile);
    assert_eq!(world.failed, Some(HandshakeError::TimedOut { refusal, alert: None }));
}

#[test]
fn a_hello_without_extended_master_secret_is_refused() {
    let (config, fingerprint) = client_config(&[GCM], ExtendedMasterSecretType::Disable);
    let mut world = World::with(config, fingerprint);
    world.exchange(None);
    assert_eq!(world.server.last_refusal, Some(HelloRefusal::MasterSecret));
    assert!(world.connected.is_none());
}

#[test]
fn a_close_of_the_browser_is_heard_once() {
    let mut world = World::new(&[GCM]);
    world.exchange(None);
    world.client.close(world.now).unwrap();
    let flight = world.flight_of_client();
    world.deliver_to_server(&flight);
    world.flight_of_server();
    assert!(world.closed && world.failed.is_none());
}

#[test]
fn fingerprints_are_read_strictly() {
    let identity = Identity::generate().unwrap();
    let text = identity.fingerprint_sha256();
    assert_eq!(text.len(), 95);
    assert!(Fingerprint::parse("sha-256", &text).is_some());
    assert!(Fingerprint::parse("sha-1", &text).is_none());
    for bad in [
        "",
        "AB",
        &text[1..],
        &format!("{text}:00"),
        &text.replace(':', "-"),
        &text.replacen(&text[..2], "+1", 1),
    ] {
        assert!(Fingerprint::parse("sha-256", bad).is_none(), "{bad}");
    }
}

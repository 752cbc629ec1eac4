//! One `rtc::dtls` association, shown only whole messages, and the last flight it sent.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::state::State;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error;
use wire::srtp::{Profile, SessionKeys};

use super::client_hello::ClientHello;
use super::identity::Identity;
use super::reassembly::Message;
use super::records::{self, ContentType, Record};
use super::{Ignored, KIND_CERTIFICATE, client_hello};

/// What the library made of a record: news, or an error that ends the association.
pub(super) type Outcome = Result<Vec<EndpointEvent>, Error>;

/// A client that sent an acceptable ClientHello.
pub(super) struct Association {
    pub(super) random: [u8; 32],
    /// What the client must send back. Empty until the first hello was answered.
    pub(super) cookie: Vec<u8>,
    pub(super) profile: Profile,
    pub(super) created: Instant,
    /// The datagrams to repeat when the client shows that it lost them.
    pub(super) last_flight: Vec<Vec<u8>>,
    endpoint: Endpoint,
    /// Which message sequence numbers the library has seen, a bit each.
    delivered: u32,
    has_change_cipher_spec: bool,
    /// Numbers the plaintext records shown to the library.
    record_sequence: u32,
    bytes_left: usize,
}

impl Association {
    pub(super) fn new(identity: &Identity, hello: &ClientHello<'_>, now: Instant) -> Self {
        let config = identity.config(hello.profile);
        Self {
            random: hello.random,
            cookie: Vec::new(),
            profile: hello.profile,
            created: now,
            last_flight: Vec::new(),
            endpoint: Endpoint::new(ADDRESS, TransportProtocol::UDP, Some(config)),
            delivered: 0,
            has_change_cipher_spec: false,
            record_sequence: 0,
            bytes_left: BYTES_MAX,
        }
    }

    /// A whole plaintext message, each kind once and in its own place, so that a forged one cannot take another's.
    pub(super) fn handle_message(&mut self, now: Instant, message: &Message) -> Result<Outcome, Ignored> {
        let is_in_place = match message.kind {
            client_hello::KIND => message.sequence <= 1,
            KIND_CERTIFICATE => message.sequence == 2,
            KIND_CLIENT_KEY_EXCHANGE => message.sequence == 3,
            KIND_CERTIFICATE_VERIFY => message.sequence == 4,
            _ => false,
        };
        if !is_in_place {
            return Err(Ignored::Unexpected);
        }
        let bit = 1 << message.sequence;
        if self.delivered & bit != 0 {
            return Err(Ignored::Duplicate);
        }
        let outcome = self.deliver(now, ContentType::Handshake, &message.bytes)?;
        self.delivered |= bit;
        self.note_cookie();
        Ok(outcome)
    }

    pub(super) fn handle_change_cipher_spec(&mut self, now: Instant) -> Result<Outcome, Ignored> {
        if self.has_change_cipher_spec {
            return Err(Ignored::Duplicate);
        }
        self.has_change_cipher_spec = true;
        self.deliver(now, ContentType::ChangeCipherSpec, &[1])
    }

    /// A record under the new keys. The library keeps handshake records, and everything before there are keys.
    pub(super) fn handle_sealed(
        &mut self,
        now: Instant,
        record: &Record<'_>,
        is_connected: bool,
    ) -> Result<Outcome, Ignored> {
        if !matches!(record.content_type, ContentType::Handshake | ContentType::Alert) {
            return Err(Ignored::Unexpected);
        }
        if !is_connected || record.content_type == ContentType::Handshake {
            self.spend(record.bytes.len())?;
        }
        Ok(self.read(now, record.bytes))
    }

    /// The flight the last call produced, if any. It is also kept, to be repeated.
    pub(super) fn take_flight(&mut self) -> Vec<Vec<u8>> {
        let flight: Vec<_> = std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| transmit.message.to_vec())
            .collect();
        if !flight.is_empty() {
            self.last_flight.clone_from(&flight);
        }
        flight
    }

    /// Ends the association; gives the close_notify.
    pub(super) fn close(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.endpoint.stop(now, ADDRESS);
        self.take_flight()
    }

    /// The leaf certificate whose key signed the handshake.
    pub(super) fn peer_certificate(&self) -> Option<&[u8]> {
        self.state()?.peer_certificates.first().map(Vec::as_slice)
    }

    /// What both sides now share, as the server sees it (RFC 5764, 4.2).
    pub(super) fn session_keys(&self) -> Result<SessionKeys, String> {
        let state = self.state().ok_or("no association")?;
        let length = self.profile.keying_material_len();
        let material =
            state.export_keying_material(EXPORTER_LABEL, &[], length).map_err(|error| error.to_string())?;
        SessionKeys::of_server(self.profile, material.as_ref())
            .ok_or_else(|| "short keying material".to_owned())
    }

    fn state(&self) -> Option<&State> {
        self.endpoint.get_connection_state(ADDRESS)
    }

    fn deliver(&mut self, now: Instant, content: ContentType, payload: &[u8]) -> Result<Outcome, Ignored> {
        self.spend(payload.len())?;
        let record = records::build(content, self.record_sequence, &[payload]);
        self.record_sequence += 1;
        Ok(self.read(now, &record))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Ignored> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Ignored::OverLimit)?;
        Ok(())
    }

    fn read(&mut self, now: Instant, record: &[u8]) -> Outcome {
        self.endpoint.read(now, ADDRESS, None, record.into())
    }

    /// Reads the cookie out of the HelloVerifyRequest that answers a first hello (RFC 6347, 4.2.1).
    fn note_cookie(&mut self) {
        if self.delivered != 1 {
            return;
        }
        self.take_flight();
        let Some(request) = self.last_flight.first().and_then(|datagram| datagram.get(COOKIE_OFFSET..))
        else {
            return;
        };
        if let Some((length, rest)) = request.split_first() {
            self.cookie = rest.get(..usize::from(*length)).unwrap_or_default().to_vec();
        }
    }
}

/// The library indexes associations by address. Each of ours has a library endpoint of its own, so one address serves.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Record header, message header, version; then a length byte and the cookie.
const COOKIE_OFFSET: usize = 13 + 12 + 2;

/// RFC 5246, 7.4.
const KIND_CERTIFICATE_VERIFY: u8 = 15;
const KIND_CLIENT_KEY_EXCHANGE: u8 = 16;

/// The library's share of an endpoint's 64 KiB: a browser's whole handshake is below 5 KiB, with the largest certificate 13.
const BYTES_MAX: usize = 24 * 1024;

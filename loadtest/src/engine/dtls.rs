//! A caller's half of DTLS, up to the keys for SRTP (RFC 5764): client or server, as the answer says.
//!
//! ```text
//! hello ──► flights, resent with doubled waits ──► certificate is the answer's? ──► keys, and all else is dropped
//! ```
//!
//! A handshake weighs some 20 KiB and keys a few hundred bytes, so the association is given up as soon as the server can
//! need nothing more of it: at once as client, whose last flight the server has answered, and after [`LINGER`] as server.
//! Its close_notify is sealed before and kept for the end.
//!
//! Invariants: keys come only of a certificate whose fingerprint the answer named; a datagram that is no whole, plausible
//! run of records never reaches the library; the library never gets more than [`BYTES_MAX`].

mod identity;
mod records;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use wire::messages::media::Fingerprint;
use wire::srtp::{Profile, SessionKeys};

use self::identity::fingerprint_of;
pub use self::identity::{Identity, IdentityError};
use super::ports::Transmits;

/// Which side begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DtlsRole {
    /// We do: the answer says `a=setup:passive`, as a server that is ICE-lite does.
    Client,
    /// The server does: `a=setup:active`.
    Server,
}

/// One association.
pub(crate) struct Dtls {
    identity: Arc<Identity>,
    state: State,
    /// Sealed while there were keys for it; sent when the caller hangs up.
    farewell: Vec<u8>,
}

enum State {
    Waiting,
    Running(Box<Handshake>),
    /// Keys were given; kept for a client that repeats itself.
    Lingering(Box<Handshake>),
    Over,
}

struct Handshake {
    role: DtlsRole,
    /// Certificates of which the server must show one (RFC 8122, 5).
    expected: Vec<Fingerprint>,
    endpoint: Endpoint,
    /// Sent again when the library would wait for ever.
    last_flight: Vec<Vec<u8>>,
    resends: u32,
    timeout: Instant,
    bytes_left: usize,
}

/// What became of the association.
pub(crate) enum DtlsEvent {
    /// It is there.
    Connected(Profile, Box<SessionKeys>),
    /// It will never be.
    Failed(&'static str),
}

impl Dtls {
    pub(crate) fn new(identity: Arc<Identity>) -> Self {
        Self { identity, state: State::Waiting, farewell: Vec::new() }
    }

    /// Begins, once: as client with a hello, as server with room for one.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        (role, expected): (DtlsRole, Vec<Fingerprint>),
        transmits: &mut Transmits,
    ) -> Option<DtlsEvent> {
        if !matches!(self.state, State::Waiting) {
            return None;
        }
        let config = (role == DtlsRole::Server).then(|| self.identity.server_config());
        let mut handshake = Box::new(Handshake {
            role,
            expected,
            endpoint: Endpoint::new(ADDRESS, TransportProtocol::UDP, config),
            last_flight: Vec::new(),
            resends: 0,
            timeout: now + RESEND_INTERVAL,
            bytes_left: BYTES_MAX,
        });
        if role == DtlsRole::Client
            && handshake.endpoint.connect(now, ADDRESS, self.identity.client_config(), None).is_err()
        {
            self.state = State::Over;
            return Some(DtlsEvent::Failed("the library has no hello"));
        }
        handshake.send_flight(now, transmits);
        self.state = State::Running(handshake);
        None
    }

    /// Takes a datagram of the server's.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        transmits: &mut Transmits,
    ) -> Option<DtlsEvent> {
        let (State::Running(handshake) | State::Lingering(handshake)) = &mut self.state else { return None };
        if !records::are_plausible(datagram) {
            return None;
        }
        let Some(left) = handshake.bytes_left.checked_sub(datagram.len()) else {
            return self.exhaust(now);
        };
        handshake.bytes_left = left;
        let outcome = handshake.endpoint.read(now, ADDRESS, None, datagram.into());
        handshake.send_flight(now, transmits);
        if matches!(self.state, State::Lingering(_)) {
            return None;
        }
        match outcome {
            Err(_) => self.fail("the server refused the handshake"),
            Ok(events) if events.iter().any(|event| matches!(event, EndpointEvent::PeerClosed)) => {
                self.fail("the server closed during the handshake")
            }
            Ok(events) if events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete)) => {
                Some(self.finish(now))
            }
            Ok(_) => None,
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Running(handshake) | State::Lingering(handshake) => Some(handshake.timeout),
            State::Waiting | State::Over => None,
        }
    }

    /// Sends again what was not answered; gives up what nobody needs any more.
    pub(crate) fn handle_timeout(&mut self, now: Instant, transmits: &mut Transmits) -> Option<DtlsEvent> {
        if self.next_timeout().is_none_or(|at| now < at) {
            return None;
        }
        match &mut self.state {
            State::Running(handshake) if handshake.resends < RESENDS_MAX => {
                handshake.resend(now, transmits);
                None
            }
            State::Running(_) => self.fail("the server does not answer the handshake"),
            State::Lingering(_) => {
                self.give_up(now);
                None
            }
            State::Waiting | State::Over => None,
        }
    }

    /// Says goodbye if there are keys, and ends.
    pub(crate) fn close(&mut self, now: Instant, transmits: &mut Transmits) {
        if matches!(self.state, State::Lingering(_)) {
            self.give_up(now);
        }
        self.state = State::Over;
        let farewell = std::mem::take(&mut self.farewell);
        if !farewell.is_empty() {
            transmits.push(&farewell);
        }
    }

    /// Keys that were given stay good, however often the server repeats itself.
    fn exhaust(&mut self, now: Instant) -> Option<DtlsEvent> {
        if matches!(self.state, State::Lingering(_)) {
            self.give_up(now);
            return None;
        }
        self.fail("the server's handshake does not end")
    }

    fn fail(&mut self, reason: &'static str) -> Option<DtlsEvent> {
        self.state = State::Over;
        Some(DtlsEvent::Failed(reason))
    }

    fn finish(&mut self, now: Instant) -> DtlsEvent {
        let State::Running(mut handshake) = std::mem::replace(&mut self.state, State::Over) else {
            return DtlsEvent::Failed("there is no handshake");
        };
        let (profile, keys) = match handshake.keys() {
            Ok(keys) => keys,
            Err(reason) => return DtlsEvent::Failed(reason),
        };
        let is_client = handshake.role == DtlsRole::Client;
        handshake.timeout = now + LINGER;
        self.state = State::Lingering(handshake);
        if is_client {
            self.give_up(now);
        }
        DtlsEvent::Connected(profile, Box::new(keys))
    }

    /// Seals the goodbye and drops the association.
    fn give_up(&mut self, now: Instant) {
        let State::Lingering(mut handshake) = std::mem::replace(&mut self.state, State::Over) else { return };
        handshake.endpoint.stop(now, ADDRESS);
        self.farewell = handshake.endpoint.poll_transmit().map(|it| it.message.to_vec()).unwrap_or_default();
        self.farewell.shrink_to_fit();
    }
}

impl Handshake {
    /// Sends what the library has made, and keeps it.
    fn send_flight(&mut self, now: Instant, transmits: &mut Transmits) {
        let mut is_first = true;
        while let Some(transmit) = self.endpoint.poll_transmit() {
            if std::mem::take(&mut is_first) {
                self.last_flight.clear();
                self.resends = 0;
                self.timeout = now + RESEND_INTERVAL;
            }
            transmits.push(&transmit.message);
            self.last_flight.push(transmit.message.to_vec());
        }
    }

    /// RFC 6347, 4.2.4.1: again after twice the time. The library numbers the records anew, as they must be for a server
    /// that drops repeated numbers; once it has seen a part of the server's flight it has no timer any more, and the same
    /// records are better than none.
    fn resend(&mut self, now: Instant, transmits: &mut Transmits) {
        let resends = self.resends + 1;
        let is_armed = self.endpoint.poll_timeout(&ADDRESS).is_some();
        if is_armed && self.endpoint.handle_timeout(ADDRESS, now).is_ok() {
            self.send_flight(now, transmits);
        } else {
            self.last_flight.iter().for_each(|datagram| transmits.push(datagram));
        }
        self.resends = resends;
        self.timeout = now + RESEND_INTERVAL * 2_u32.pow(resends.min(RESENDS_MAX));
    }

    /// RFC 5764, 4.2, if the server is the one that the answer named (RFC 8122, 6.2).
    fn keys(&self) -> Result<(Profile, SessionKeys), &'static str> {
        let state = self.endpoint.get_connection_state(ADDRESS).ok_or("there is no association")?;
        let certificate = state.peer_certificates.first().ok_or("the server shows no certificate")?;
        if !self.expected.contains(&fingerprint_of(certificate)) {
            return Err("the server's certificate is not the one that the answer names");
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmSha1_80,
            _ => return Err("the server agreed to no SRTP profile"),
        };
        let material = state
            .export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.keying_material_len())
            .map_err(|_| "the library exports no keys")?;
        let keys = match self.role {
            DtlsRole::Client => SessionKeys::of_client(profile, material.as_ref()),
            DtlsRole::Server => SessionKeys::of_server(profile, material.as_ref()),
        };
        Ok((profile, keys.ok_or("the library exports too few bytes of keys")?))
    }
}

/// The library keeps associations by address; each of ours has a library endpoint of its own.
const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Browsers begin with 50 ms; a server that is being measured may well need longer, and 100 ms cost a lossy link little.
const RESEND_INTERVAL: Duration = Duration::from_millis(100);

/// 100 ms, doubled each time: 12.7 s in all. The library would allow no more.
const RESENDS_MAX: u32 = 6;

/// A client that missed our last flight repeats its own within a second or two (RFC 6347, 4.2.4).
const LINGER: Duration = Duration::from_secs(5);

/// A server's flights are 1 to 6 KiB with the certificates in use; repeated six times they fit.
const BYTES_MAX: usize = 64 * 1024;

//! A TURN client: its path, its credentials, and what the relay has asked it to repeat.

use std::net::SocketAddr;

use turn_relay::engine::ports::{ClientPath, Transport};

use super::codec::*;

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) path: ClientPath,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) realm: String,
    pub(crate) nonce: Vec<u8>,
    /// The last transaction; the next request has another one.
    pub(crate) transaction: u64,
}

impl Client {
    /// A client over UDP with credentials of [`super::SECRET`] for a day.
    pub(crate) fn new(number: u16) -> Self {
        Self::at(Transport::Udp, &format!("198.51.100.{}:{}", number % 250 + 1, 40_000 + number))
    }

    pub(crate) fn at(transport: Transport, client: &str) -> Self {
        let client: SocketAddr = client.parse().unwrap();
        let local = if client.is_ipv4() { "192.0.2.1:3478" } else { "[2001:db8:ffff::1]:3478" };
        let connection = if transport.is_stream() { u32::from(client.port()) } else { 0 };
        let path = ClientPath { transport, client, local: local.parse().unwrap(), connection };
        let client = Self {
            path,
            username: String::new(),
            password: String::new(),
            realm: super::DOMAIN.to_owned(),
            nonce: Vec::new(),
            transaction: u64::from(client.port()) << 32,
        };
        client.login(&format!("{}:user{}", super::UNIX_S + 86_400, path.client.port()))
    }

    /// The same client under another name, signed by the usual secret.
    pub(crate) fn login(self, username: &str) -> Self {
        let password = rest_password(super::SECRET, username);
        Self { username: username.to_owned(), password, ..self }
    }

    pub(crate) fn key(&self) -> [u8; 16] {
        long_term_key(&self.username, &self.realm, &self.password)
    }

    /// A request without credentials.
    pub(crate) fn bare(&mut self, method: u16) -> Stun {
        self.transaction += 1;
        let mut transaction = [0xab; 12];
        transaction[4..].copy_from_slice(&self.transaction.to_be_bytes());
        Stun::new(method, transaction)
    }

    /// Adds credentials and signs.
    pub(crate) fn sign(&self, request: Stun) -> Vec<u8> {
        request
            .with(USERNAME, self.username.as_bytes())
            .with(REALM, self.realm.as_bytes())
            .with(NONCE, self.nonce.as_slice())
            .sign(&self.key())
    }

    /// An Allocate for UDP without anything else.
    pub(crate) fn allocate(&mut self) -> Stun {
        self.bare(ALLOCATE).with(REQUESTED_TRANSPORT, [17, 0, 0, 0])
    }

    pub(crate) fn create_permission(&mut self, peers: &[SocketAddr]) -> Stun {
        let mut request = self.bare(CREATE_PERMISSION);
        for peer in peers {
            let masked = mask(*peer, request.transaction);
            request = request.with(XOR_PEER_ADDRESS, masked);
        }
        request
    }

    pub(crate) fn channel_bind(&mut self, number: u16, peer: SocketAddr) -> Stun {
        let request = self.bare(CHANNEL_BIND);
        let masked = mask(peer, request.transaction);
        let [high, low] = number.to_be_bytes();
        request.with(CHANNEL_NUMBER, [high, low, 0, 0]).with(XOR_PEER_ADDRESS, masked)
    }

    pub(crate) fn refresh(&mut self, lifetime_s: u32) -> Stun {
        self.bare(REFRESH).with(LIFETIME, lifetime_s.to_be_bytes())
    }

    pub(crate) fn send(&mut self, peer: SocketAddr, payload: &[u8]) -> Stun {
        let indication = self.bare(SEND_INDICATION);
        let masked = mask(peer, indication.transaction);
        indication.with(XOR_PEER_ADDRESS, masked).with(DATA, payload)
    }
}

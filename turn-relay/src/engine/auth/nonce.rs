//! Nonces that nobody has to remember: a time, and a signature over it and the client's path.
//!
//! ```text
//!   4 bytes            8 bytes
//! | seconds since   | HMAC-SHA256 over seconds, client address, |   as 16 characters of base64url
//! | the start       | transport and connection, cut             |
//! ```
//!
//! A nonce serves only where it was minted for: whoever shows one has received a reply there. Keys change once a lifetime,
//! and the one before still counts.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rand::RngCore;
use rand::rngs::StdRng;

use crate::engine::ports::ClientPath;

/// Characters of a nonce: short, because it goes to strangers.
pub(crate) const CHARS: usize = 16;

const TIME_BYTES: usize = 4;

/// 64 bits cannot be guessed within a nonce's lifetime, whatever the rate.
const TAG_BYTES: usize = 8;

/// Why a nonce does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonceFault {
    /// Not ours, or not for this client.
    Forged,
    /// Ours, and too old.
    Stale,
}

/// Mints and checks.
#[derive(Debug)]
pub(crate) struct NonceMint {
    current: hmac::Key,
    previous: Option<hmac::Key>,
    rotated_at: Instant,
    start: Instant,
    lifetime: Duration,
}

impl NonceMint {
    /// A mint whose nonces serve for `lifetime`.
    pub(crate) fn new(now: Instant, lifetime: Duration, random: &mut StdRng) -> Self {
        Self { current: key(random), previous: None, rotated_at: now, start: now, lifetime }
    }

    /// A nonce for this client, now.
    pub(crate) fn mint(&mut self, now: Instant, path: &ClientPath, random: &mut StdRng) -> [u8; CHARS] {
        if now.saturating_duration_since(self.rotated_at) >= self.lifetime {
            self.previous = Some(std::mem::replace(&mut self.current, key(random)));
            self.rotated_at = now;
        }
        let seconds = self.seconds(now).to_be_bytes();
        let mut bytes = [0; TIME_BYTES + TAG_BYTES];
        bytes[..TIME_BYTES].copy_from_slice(&seconds);
        bytes[TIME_BYTES..].copy_from_slice(&tag(&self.current, seconds, path));
        let mut nonce = [0; CHARS];
        // 12 bytes are 16 characters, always.
        let written = BASE64.encode_slice(bytes, &mut nonce);
        assert_eq!(written, Ok(CHARS), "a nonce has a fixed length");
        nonce
    }

    /// Whether `nonce` was minted here, for this client, not too long ago.
    pub(crate) fn check(&self, now: Instant, path: &ClientPath, nonce: &[u8]) -> Result<(), NonceFault> {
        let mut bytes = [0; TIME_BYTES + TAG_BYTES];
        // What is shorter or longer does not fit the buffer, or leaves it open; both are no nonces of ours.
        if nonce.len() != CHARS || BASE64.decode_slice(nonce, &mut bytes) != Ok(bytes.len()) {
            return Err(NonceFault::Forged);
        }
        let [first, second, third, fourth, shown @ ..] = bytes;
        let seconds = [first, second, third, fourth];
        let is_ours = |key| verify_slices_are_equal(&tag(key, seconds, path), &shown).is_ok();
        if !is_ours(&self.current) && !self.previous.as_ref().is_some_and(is_ours) {
            return Err(NonceFault::Forged);
        }
        let age_s = self.seconds(now).saturating_sub(u32::from_be_bytes(seconds));
        if u64::from(age_s) > self.lifetime.as_secs() { Err(NonceFault::Stale) } else { Ok(()) }
    }

    /// Of our own clock: a step of the wall clock makes no nonce old.
    fn seconds(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

fn key(random: &mut StdRng) -> hmac::Key {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}

fn tag(key: &hmac::Key, seconds: [u8; TIME_BYTES], path: &ClientPath) -> [u8; TAG_BYTES] {
    let ip = match path.client.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut signed = [0; TIME_BYTES + 16 + 2 + 1 + 4];
    signed[..4].copy_from_slice(&seconds);
    signed[4..20].copy_from_slice(&ip.octets());
    signed[20..22].copy_from_slice(&path.client.port().to_be_bytes());
    signed[22] = path.transport as u8;
    signed[23..].copy_from_slice(&path.connection.to_be_bytes());
    let mut cut = [0; TAG_BYTES];
    cut.copy_from_slice(&hmac::sign(key, &signed).as_ref()[..TAG_BYTES]);
    cut
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::engine::ports::Transport;

    const LIFETIME: Duration = Duration::from_secs(600);

    fn path(client: &str) -> ClientPath {
        let local = "192.0.2.1:3478".parse().unwrap();
        ClientPath { transport: Transport::Udp, client: client.parse().unwrap(), local, connection: 0 }
    }

    #[test]
    fn a_nonce_serves_its_client_for_its_lifetime() {
        let (start, mut random) = (Instant::now(), StdRng::from_seed([1; 32]));
        let mut mint = NonceMint::new(start, LIFETIME, &mut random);
        let client = path("198.51.100.1:5000");
        let nonce = mint.mint(start, &client, &mut random);
        assert!(nonce.iter().all(u8::is_ascii));
        assert_eq!(mint.check(start + LIFETIME, &client, &nonce), Ok(()));
        assert_eq!(
            mint.check(start + LIFETIME + Duration::from_secs(1), &client, &nonce),
            Err(NonceFault::Stale)
        );
    }

    #[test]
    fn a_nonce_serves_no_other_address_port_or_transport() {
        let (start, mut random) = (Instant::now(), StdRng::from_seed([1; 32]));
        let mut mint = NonceMint::new(start, LIFETIME, &mut random);
        let client = path("198.51.100.1:5000");
        let nonce = mint.mint(start, &client, &mut random);
        let mut others = vec![path("198.51.100.2:5000"), path("198.51.100.1:5001"), client, client];
        others[2].transport = Transport::Tcp;
        others[3].connection = 1;
        for other in others {
            assert_eq!(mint.check(start, &other, &nonce), Err(NonceFault::Forged), "{other:?}");
        }
    }

    #[test]
    fn a_key_change_leaves_the_nonces_before_it_their_time() {
        let (start, mut random) = (Instant::now(), StdRng::from_seed([1; 32]));
        let mut mint = NonceMint::new(start, LIFETIME, &mut random);
        let client = path("[2001:db8::1]:5000");
        let late = start + LIFETIME - Duration::from_secs(1);
        let before = mint.mint(late, &client, &mut random);
        let after = mint.mint(start + LIFETIME, &client, &mut random);
        for at in [start + LIFETIME, late + LIFETIME] {
            assert_eq!(mint.check(at, &client, &before), Ok(()));
            assert_eq!(mint.check(at, &client, &after), Ok(()));
        }
        let _ = mint.mint(start + 2 * LIFETIME, &client, &mut random);
        assert_eq!(
            mint.check(start + 2 * LIFETIME, &client, &before),
            Err(NonceFault::Forged),
            "its key is gone"
        );
    }

    #[test]
    fn anything_else_is_forged() {
        let (start, mut random) = (Instant::now(), StdRng::from_seed([1; 32]));
        let mut mint = NonceMint::new(start, LIFETIME, &mut random);
        let client = path("198.51.100.1:5000");
        let nonce = mint.mint(start, &client, &mut random);
        for length in 0..CHARS {
            assert_eq!(mint.check(start, &client, &nonce[..length]), Err(NonceFault::Forged));
        }
        for bit in 0..CHARS * 8 {
            let mut flipped = nonce;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(mint.check(start, &client, &flipped), Err(NonceFault::Forged), "bit {bit}");
        }
        assert_eq!(mint.check(start, &client, &[0xff; 200]), Err(NonceFault::Forged));
    }
}

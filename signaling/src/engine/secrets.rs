//! Ids and secrets from one cryptographic generator, and the short hashes by which logs speak of people.

use std::hash::{BuildHasher, RandomState};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use wire::messages::ids::EndpointId;

/// 32 of 62 characters are 190 bits: nobody guesses one, and it fits a URL segment.
const SECRET_CHARACTERS: usize = 32;
/// The alphabet of secrets; URL-safe.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Where ids and secrets come from.
pub(crate) struct Secrets {
    generator: StdRng,
    log_key: RandomState,
}

impl Secrets {
    /// A generator (ChaCha) from a seed.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { generator: StdRng::from_seed(seed), log_key: RandomState::new() }
    }

    /// A participant's id; the caller checks that the conference has no such one.
    pub(crate) fn endpoint_id(&mut self) -> EndpointId {
        loop {
            // Eight hexadecimal digits are always an endpoint id: the loop ends at its first turn.
            if let Ok(id) = EndpointId::parse(format!("{:08x}", self.generator.next_u32())) {
                return id;
            }
        }
    }

    /// A resume secret or a resource name.
    pub(crate) fn secret(&mut self) -> String {
        (0..SECRET_CHARACTERS)
            .map(|_| char::from(ALPHABET[self.generator.random_range(0..ALPHABET.len())]))
            .collect()
    }

    /// A number below `end`, for choices that must not follow a pattern.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.generator.random_range(0..end)
    }

    /// How logs call a conference or a participant: the same in one process, and not to be turned back.
    pub(crate) fn log_id(&self, id: &str) -> String {
        format!("{:08x}", self.log_key.hash_one(id) >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_fit_a_url() {
        let mut secrets = Secrets::new([7; 32]);
        let (one, two) = (secrets.secret(), secrets.secret());
        assert_ne!(one, two);
        assert_eq!(one.len(), SECRET_CHARACTERS);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn a_log_id_is_stable_within_a_process_and_is_not_the_id() {
        let secrets = Secrets::new([7; 32]);
        assert_eq!(secrets.log_id("0a1b2c3d"), secrets.log_id("0a1b2c3d"));
        assert_ne!(secrets.log_id("0a1b2c3d"), "0a1b2c3d");
    }
}

//! Whether a relay can be started with what an operator has set.

use std::net::SocketAddr;

use wire::settings::Secret;

use super::{RelaySettings, SHARDS_MAX, SettingsError, lists, processors};

impl RelaySettings {
    /// Whether a relay can be started with these values.
    ///
    /// # Errors
    /// The first key whose value cannot be used.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_listeners()?;
        self.check_credentials()?;
        self.check_ports()?;
        self.check_tls()?;
        self.check_ranges()?;
        self.relay_addresses()?;
        self.trusted_proxies()?;
        self.policy.check(&self.own_addresses()?, &self.listeners())
    }

    fn check_listeners(&self) -> Result<(), SettingsError> {
        if self.listen.is_empty() {
            return refuse("listen", "an address is wanted, such as 0.0.0.0:443");
        }
        for (key, addresses) in [("listen", &self.listen), ("tls_listen", &self.tls_listen())] {
            if addresses.len() > LISTENERS_MAX {
                return refuse(key, format!("more than {LISTENERS_MAX} addresses"));
            }
            for (place, address) in addresses.iter().enumerate() {
                if address.port() != 0 && addresses[..place].contains(address) {
                    return refuse(key, format!("{address} stands there twice"));
                }
                if matches!(address, SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some()) {
                    return refuse(key, format!("{address} is an IPv4 address: write it as one"));
                }
            }
        }
        if !self.rest_exposed && !self.rest_listen.ip().is_loopback() {
            let address = self.rest_listen;
            return refuse(
                "rest_listen",
                format!("{address} is not a loopback address; rest_exposed = true allows it"),
            );
        }
        Ok(())
    }

    fn check_credentials(&self) -> Result<(), SettingsError> {
        if !(1..=REALM_BYTES_MAX).contains(&self.realm.len()) || !is_printable(&self.realm) {
            return refuse("realm", format!("must be 1 to {REALM_BYTES_MAX} bytes of printable ASCII"));
        }
        if self.secrets.len() > SECRETS_MAX {
            return refuse("secrets", format!("more than {SECRETS_MAX}: each costs every login an HMAC"));
        }
        if let Some(weakness) = self.secrets.iter().find_map(Secret::weakness) {
            return refuse("secrets", weakness);
        }
        for (name, password) in &self.users {
            // For other text than ASCII, clients disagree on its bytes (RFC 8265).
            if name.is_empty() || name.len() > USER_BYTES_MAX || !is_printable(name) || name.contains(':') {
                let wanted = format!("1 to {USER_BYTES_MAX} bytes of printable ASCII without a colon");
                return refuse("users", format!("{name:?} is no user name: {wanted} are wanted"));
            }
            if password.expose().len() < PASSWORD_BYTES_MIN || !is_printable(password.expose()) {
                let wanted = format!("at least {PASSWORD_BYTES_MIN} bytes of printable ASCII are wanted");
                return refuse("users", format!("the password of {name:?} cannot be used: {wanted}"));
            }
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), SettingsError> {
        if self.shards > SHARDS_MAX {
            return refuse("shards", format!("must be at most {SHARDS_MAX}"));
        }
        if self.min_port < PORT_MIN {
            return refuse("min_port", format!("must be {PORT_MIN} or more"));
        }
        if self.max_port < self.min_port {
            return refuse("max_port", format!("is below min_port, {}", self.min_port));
        }
        let shards = self.shard_count(processors());
        let first = usize::from(self.min_port) + usize::from(self.min_port % 2);
        let each = ((usize::from(self.max_port) + 1).saturating_sub(first)) / shards;
        if each < PORTS_PER_SHARD_MIN {
            return refuse("max_port", format!("leaves {each} ports to each of {shards} shards"));
        }
        Ok(())
    }

    fn check_tls(&self) -> Result<(), SettingsError> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => refuse("key", "the private key of the certificate is wanted"),
            (None, Some(_)) => refuse("certificate", "the certificate of the key is wanted"),
            (None, None) => Ok(()),
            (Some(_), Some(_)) => self.certificates().map(drop),
        }?;
        if self.passthrough.len() > PASSTHROUGH_MAX {
            return refuse("passthrough", format!("more than {PASSTHROUGH_MAX} names"));
        }
        match self.passthrough.keys().find(|name| !lists::is_server_name(name)) {
            Some(name) => refuse("passthrough", format!("{name:?} is no name of a server")),
            None => Ok(()),
        }
    }

    fn check_ranges(&self) -> Result<(), SettingsError> {
        let limits = &self.limits;
        // Each with its reason: below, a browser does not work; above, a table or a timer would not.
        let ranges = [
            ("lifetime_max_s", self.lifetime_max_s, 600, DAY_S),
            ("nonce_lifetime_s", self.nonce_lifetime_s, 60, DAY_S),
            ("drain_s", self.drain_s, 0, DAY_S),
            ("relay_buffer_bytes", self.relay_buffer_bytes as u64, 1 << 16, 1 << 26),
            ("limits.allocations_max", limits.allocations_max as u64, 1, 1_000_000),
            ("limits.allocations_per_user_max", limits.allocations_per_user_max.into(), 1, 1_000_000),
            ("limits.allocations_per_prefix_max", limits.allocations_per_prefix_max.into(), 1, 1_000_000),
            ("limits.permissions_max", limits.permissions_max as u64, 1, 1_000),
            ("limits.channels_max", limits.channels_max as u64, 1, 1_000),
            ("limits.connections_max", limits.connections_max as u64, 1, 1_000_000),
            ("limits.connections_per_address_max", limits.connections_per_address_max as u64, 1, 1_000_000),
            ("limits.half_open_max", limits.half_open_max as u64, 1, 1_000_000),
            ("limits.half_open_per_address_max", limits.half_open_per_address_max as u64, 1, 1_000_000),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return refuse(key, format!("must be {least} to {most}"));
            }
        }
        Ok(())
    }
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn refuse(key: &'static str, reason: impl Into<String>) -> Result<(), SettingsError> {
    Err(SettingsError { key, reason: reason.into() })
}

/// Each is a socket in every shard.
const LISTENERS_MAX: usize = 16;
/// Goes into every reply to a stranger.
const REALM_BYTES_MAX: usize = 64;
/// One in use, the next one, and a few of other services.
const SECRETS_MAX: usize = 8;
/// RFC 8489, 14.3: a user name is shorter than 509 bytes.
const USER_BYTES_MAX: usize = 128;
/// A fixed password is guessed at for as long as it is fixed.
const PASSWORD_BYTES_MIN: usize = 12;
/// Below are services that an operator's firewall knows by their ports.
const PORT_MIN: u16 = 1024;
/// Fewer are used up by a handful of browsers.
const PORTS_PER_SHARD_MIN: usize = 16;
/// A table that is looked at for each TLS connection.
const PASSTHROUGH_MAX: usize = 256;
const DAY_S: u64 = 86_400;

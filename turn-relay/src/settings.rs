//! What an operator can set: the `[turn-relay]` section. Everything is checked before a port is bound.
//!
//! Policy, limits, secrets, users and the certificate can be changed while clients are relayed (`reload`); everything else
//! takes a restart.

mod check;
mod limits;
mod lists;
mod policy;
mod secrets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wire::settings::Secret;

pub use self::limits::LimitsSection;
pub use self::policy::{ModeSetting, PolicySection};
use crate::engine::policy::range::IpRange;
use crate::engine::ports::{ChannelNumbers, ExpiryCheck, RelayAddress};
use crate::front::certificates::{CertificateError, CertificateFiles, Certificates};

/// The `[turn-relay]` section. A key that is not here is refused by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelaySettings {
    /// Addresses for clients, each for UDP and TCP; on TCP the first bytes decide whether it is plain TURN, TLS or HTTP.
    /// `["0.0.0.0:443", "[::]:443"]` is all that one port for everything needs. Port 0: whatever is free. An IPv6 address
    /// gets IPv6 only. Default `0.0.0.0:3478` and, on a machine with IPv6, `[::]:3478`.
    pub listen: Vec<SocketAddr>,
    /// Further TCP addresses, where the first bytes decide as well. Default: port 5349 beside each `listen` of port 3478,
    /// as RFC 8656 has it, and none beside others.
    pub tls_listen: Option<Vec<SocketAddr>>,
    /// TCP address of the private REST interface. Port 0: whatever is free. Default 127.0.0.1:8090.
    pub rest_listen: SocketAddr,
    /// Lets `rest_listen` be reachable from other machines. It has no authentication: whoever reaches it reads statistics,
    /// ends allocations and drains the relay. Default false.
    pub rest_exposed: bool,
    /// Host names by which the REST interface may be asked besides IP addresses and `localhost`. Default empty.
    pub rest_hosts: Vec<String>,
    /// The domain of the credentials, which clients are told: printable ASCII, at most 64 bytes; up to 12 keep replies to
    /// strangers small. Default `passerelle`.
    pub realm: String,
    /// Secrets shared with those who mint credentials, at least 32 characters each: the next one is added before the last
    /// one is taken away. No default: without a secret and without users nobody could relay.
    #[serde(deserialize_with = "secrets::list")]
    pub secrets: Vec<Secret>,
    /// Passwords by user name, for clients with fixed credentials; printable ASCII. Default none.
    #[serde(deserialize_with = "secrets::table")]
    pub users: BTreeMap<String, Secret>,
    /// Addresses that allocations are made on, as `bind` or `bind/announced` for the public address of a 1:1 NAT; the first
    /// of each family is what most clients get. Default: this machine's farthest-reaching address of each family.
    pub relay_addresses: Vec<String>,
    /// Lowest port of an allocation. Default 49152.
    pub min_port: u16,
    /// Highest port of an allocation. Each shard gets an equal part. Default 65535.
    pub max_port: u16,
    /// PEM file with the certificate and its chain; read again when it changes. Default: a self-signed one is made for
    /// this start, which clients accept in development only.
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key. Default none.
    pub key: Option<PathBuf>,
    /// The web server that gets what is HTTP, decrypted, on the same ports. Default: a short text answers.
    pub https_backend: Option<SocketAddr>,
    /// Tells `https_backend` each client's address in a PROXY protocol v2 header. Default false.
    pub https_backend_proxy_protocol: bool,
    /// TLS for these server names goes undecrypted to these addresses: `{ "www.example.org" = "10.0.0.7:443" }`.
    pub passthrough: BTreeMap<String, SocketAddr>,
    /// Tells those servers each client's address in a PROXY protocol v2 header. Default false.
    pub passthrough_proxy_protocol: bool,
    /// Load balancers (addresses, prefixes) that begin each TCP connection with a PROXY protocol v2 header. From nobody
    /// else is one believed. Default empty.
    pub trusted_proxies: Vec<String>,
    /// Where to. Can be changed while running.
    pub policy: PolicySection,
    /// How much. Can be changed while running, the connections' excepted.
    pub limits: LimitsSection,
    /// Threads that relay, each with its own sockets and its part of the ports. 0: one per processor. Default 0.
    pub shards: usize,
    /// Keeps each shard on one processor: steadier on a machine of its own, worse beside busy neighbours. Default false.
    pub pin_shards: bool,
    /// `deployed`: channel numbers 0x4000 to 0x7FFF, as existing clients choose; `strict`: to 0x4FFF, as RFC 8656 has it.
    pub channel_numbers: ChannelNumbersSetting,
    /// `allocate-only`: credentials must be valid when an allocation is made; `strict`: at each request, so that an
    /// allocation outlives them by `lifetime_max_s` at most. Default `allocate-only`.
    pub expiry: ExpirySetting,
    /// Longest life of an allocation between two refreshes, in seconds, 600 to 86400. Default 3600.
    pub lifetime_max_s: u64,
    /// How long a client may use one nonce, in seconds, 60 to 86400. Default 3600.
    pub nonce_lifetime_s: u64,
    /// Answers Binding requests, by which browsers learn their public address. Default true.
    pub binding: bool,
    /// Receive buffer of each allocation's socket, in bytes, 65536 to 67108864; the kernel takes memory for what waits
    /// only. More than net.core.rmem_max takes a capability. Default 2097152.
    pub relay_buffer_bytes: usize,
    /// How long allocations may go on after SIGTERM, in seconds, 0 to 86400; no new ones are made, and a second signal
    /// ends it at once. Default 600.
    pub drain_s: u64,
    /// Another relay that clients are sent to while this one is drained (300 instead of 508). Default none.
    pub drain_redirect: Option<SocketAddr>,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            listen: vec![
                (Ipv4Addr::UNSPECIFIED, TURN_PORT).into(),
                (Ipv6Addr::UNSPECIFIED, TURN_PORT).into(),
            ],
            tls_listen: None,
            rest_listen: (Ipv4Addr::LOCALHOST, 8090).into(),
            rest_exposed: false,
            rest_hosts: Vec::new(),
            realm: "passerelle".to_owned(),
            secrets: Vec::new(),
            users: BTreeMap::new(),
            relay_addresses: Vec::new(),
            min_port: 49_152,
            max_port: u16::MAX,
            certificate: None,
            key: None,
            https_backend: None,
            https_backend_proxy_protocol: false,
            passthrough: BTreeMap::new(),
            passthrough_proxy_protocol: false,
            trusted_proxies: Vec::new(),
            policy: PolicySection::default(),
            limits: LimitsSection::default(),
            shards: 0,
            pin_shards: false,
            channel_numbers: ChannelNumbersSetting::Deployed,
            expiry: ExpirySetting::AllocateOnly,
            lifetime_max_s: 3_600,
            nonce_lifetime_s: 3_600,
            binding: true,
            relay_buffer_bytes: 2 << 20,
            drain_s: 600,
            drain_redirect: None,
        }
    }
}

/// Which channel numbers clients may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelNumbersSetting {
    /// 0x4000 to 0x7FFF.
    Deployed,
    /// 0x4000 to 0x4FFF.
    Strict,
}

impl From<ChannelNumbersSetting> for ChannelNumbers {
    fn from(setting: ChannelNumbersSetting) -> Self {
        match setting {
            ChannelNumbersSetting::Deployed => Self::Deployed,
            ChannelNumbersSetting::Strict => Self::Strict,
        }
    }
}

/// When credentials must be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpirySetting {
    /// When an allocation is made.
    AllocateOnly,
    /// At each request.
    Strict,
}

impl From<ExpirySetting> for ExpiryCheck {
    fn from(setting: ExpirySetting) -> Self {
        match setting {
            ExpirySetting::AllocateOnly => Self::AllocateOnly,
            ExpirySetting::Strict => Self::Strict,
        }
    }
}

/// A value that cannot be used, by its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("turn-relay.{key}: {reason}")]
pub struct SettingsError {
    /// The key within `[turn-relay]`, with dots.
    pub key: &'static str,
    /// What is wrong with its value.
    pub reason: String,
}

impl SettingsError {
    fn new(key: &'static str, reason: &impl ToString) -> Self {
        Self { key, reason: reason.to_string() }
    }
}

impl RelaySettings {
    /// What standalone relays need besides: somebody who may log in. `passerelle` makes a secret instead.
    ///
    /// # Errors
    /// When there is neither a secret nor a user.
    pub fn check_logins(&self) -> Result<(), SettingsError> {
        if self.secrets.is_empty() && self.users.is_empty() {
            let how = "nobody could log in: set a secret of at least 32 bytes, such as `openssl rand -base64 32` prints, \
                       here and in signaling.turn_secret";
            return Err(SettingsError::new("secrets", &how));
        }
        Ok(())
    }

    /// A secret for this start, when the operator has set none.
    pub fn fresh_secret() -> Secret {
        Secret::from(rand::random::<[u8; 32]>().map(|byte| format!("{byte:02x}")).concat())
    }

    /// The TCP addresses besides `listen`.
    pub(crate) fn tls_listen(&self) -> Vec<SocketAddr> {
        let beside = |address: &SocketAddr| SocketAddr::new(address.ip(), TLS_PORT);
        let usual = || self.listen.iter().filter(|address| address.port() == TURN_PORT).map(beside).collect();
        let wanted = self.tls_listen.clone().unwrap_or_else(usual);
        wanted.into_iter().filter(|address| address.port() == 0 || !self.listen.contains(address)).collect()
    }

    /// The number of shards wanted on a machine with `processors`.
    pub(crate) fn shard_count(&self, processors: usize) -> usize {
        if self.shards == 0 { processors.clamp(1, SHARDS_MAX) } else { self.shards }
    }

    /// The ports of one of `shards` shards. Each part begins with an even port, so that pairs stay together.
    pub(crate) fn ports_of(&self, shard: usize, shards: usize) -> RangeInclusive<u16> {
        let first = usize::from(self.min_port.saturating_add(self.min_port % 2));
        let each = ((usize::from(self.max_port) + 1).saturating_sub(first) / shards.max(1)) & !1;
        let begin = first + shard * each;
        let port = |port: usize| u16::try_from(port).unwrap_or(u16::MAX);
        port(begin)..=port(begin + each - 1)
    }

    /// What TLS clients are shown: the files, or one made up for this start.
    pub(crate) fn certificates(&self) -> Result<Certificates, SettingsError> {
        let refusal = |error: CertificateError| SettingsError::new("certificate", &error);
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let files = CertificateFiles { certificate: certificate.clone(), key: key.clone() };
                Certificates::load(&[files]).map_err(refusal)
            }
            _ => {
                let mut names = vec!["localhost".to_owned()];
                names.extend(self.own_addresses()?.iter().map(IpAddr::to_string));
                Certificates::self_signed(&names).map_err(refusal)
            }
        }
    }

    /// Where allocations are made.
    pub(crate) fn relay_addresses(&self) -> Result<Vec<RelayAddress>, SettingsError> {
        lists::relay_addresses(&self.relay_addresses)
            .map_err(|reason| SettingsError::new("relay_addresses", &reason))
    }

    /// Who is believed about a client's address.
    pub(crate) fn trusted_proxies(&self) -> Result<Vec<IpRange>, SettingsError> {
        let parse =
            |text: &String| text.parse().map_err(|error| SettingsError::new("trusted_proxies", &error));
        self.trusted_proxies.iter().map(parse).collect()
    }

    /// All addresses of this host, and the public ones it is known by.
    pub(crate) fn own_addresses(&self) -> Result<Vec<IpAddr>, SettingsError> {
        let mut own =
            lists::host_addresses().map_err(|error| SettingsError::new("relay_addresses", &error))?;
        own.extend(self.relay_addresses()?.iter().flat_map(|relay| [relay.bind, relay.announced]));
        own.extend(self.listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()));
        own.sort_unstable();
        own.dedup();
        Ok(own)
    }

    /// What is listened on as far as it is known before it is bound.
    fn listeners(&self) -> Vec<SocketAddr> {
        let all = self.listen.iter().copied().chain(self.tls_listen()).chain([self.rest_listen]);
        all.filter(|address| address.port() != 0).collect()
    }
}

/// The processors this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// RFC 8656, 3.1.
const TURN_PORT: u16 = 3478;
/// The same over TLS.
const TLS_PORT: u16 = 5349;
/// More processors than this share a machine with more than one relay.
const SHARDS_MAX: usize = 64;

//! `[turn-relay.policy]`: where clients may send to, as an operator writes it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::SettingsError;
use crate::bridges::{self, Source};
use crate::engine::policy::peer_map::PeerMap;
use crate::engine::policy::range::{IpRange, parse_ports};
use crate::engine::policy::rules::PeerPolicy;
use crate::engine::policy::settings::{AllowEntry, BridgePeers, PolicyMode, PolicySettings};

/// Where clients may send to. All of it can be changed while running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySection {
    /// `allow`: bridges and the `allow` list, nothing else. `public`: besides, every address that is in no special-purpose
    /// range and is not this host's. Default `allow`.
    pub mode: ModeSetting,
    /// Peers that are reached, even private ones: `10.0.0.0/8`, `10.0.0.5:10000`, `10.0.0.5:10000-10003`,
    /// `[fd00::5]:10000`. This host's own addresses need their ports. Default empty.
    pub allow: Vec<String>,
    /// Ranges that are not reached, whoever allows them. Default empty.
    pub deny: Vec<String>,
    /// Ports of peers that no entry names. Default `1024-65535`.
    pub ports: String,
    /// Announced address = real address, for bridges behind a 1:1 NAT that sends nothing back inside. Default empty.
    pub peer_map: BTreeMap<IpAddr, IpAddr>,
    /// Bridges that are always there: `203.0.113.4:10000`, `203.0.113.4:10000-10003`. Default empty.
    pub bridges: Vec<String>,
    /// Signaling's private REST interface, `http://127.0.0.1:8888`, which is asked each second which bridges there are; its
    /// last good answer stays in force while it is away. Default empty: it is not asked.
    pub bridges_from: String,
}

impl Default for PolicySection {
    fn default() -> Self {
        Self {
            mode: ModeSetting::Allow,
            allow: Vec::new(),
            deny: Vec::new(),
            ports: "1024-65535".to_owned(),
            peer_map: BTreeMap::new(),
            bridges: Vec::new(),
            bridges_from: String::new(),
        }
    }
}

/// What is reached besides the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeSetting {
    /// Nothing.
    Allow,
    /// Everything that is no special-purpose range.
    Public,
}

impl PolicySection {
    /// Whether it makes a policy, and if not, by which key.
    pub(super) fn check(&self, own: &[IpAddr], listeners: &[SocketAddr]) -> Result<(), SettingsError> {
        let whole = PolicySettings {
            own_addresses: own.to_vec(),
            own_listeners: listeners.to_vec(),
            ..self.without_hosts()?
        };
        let ports = self.ports()?;
        let listed = PolicySettings { ports, bridges: Vec::new(), ..whole.clone() };
        PeerPolicy::new(listed).map_err(|error| SettingsError::new("policy.allow", &error))?;
        PeerPolicy::new(whole).map_err(|error| SettingsError::new("policy.bridges", &error))?;
        self.bridges_from().map(drop)
    }

    /// All of it but the addresses of the host.
    ///
    /// # Errors
    /// The first key whose value cannot be read.
    pub(crate) fn without_hosts(&self) -> Result<PolicySettings, SettingsError> {
        if let Some(key) = self.longest_list() {
            return Err(SettingsError::new(key, &format!("more than {ENTRIES_MAX} entries")));
        }
        let allow = |line: &String| line.parse::<AllowEntry>();
        let deny = |line: &String| line.parse::<IpRange>();
        let pairs = self.peer_map.iter().map(|(announced, real)| (*announced, *real));
        Ok(PolicySettings {
            mode: match self.mode {
                ModeSetting::Allow => PolicyMode::Allow,
                ModeSetting::Public => PolicyMode::Public,
            },
            ports: self.ports()?,
            allow: collect("policy.allow", self.allow.iter().map(allow))?,
            deny: collect("policy.deny", self.deny.iter().map(deny))?,
            bridges: self.bridges()?,
            own_addresses: Vec::new(),
            own_listeners: Vec::new(),
            peer_map: PeerMap::new(pairs).map_err(|error| SettingsError::new("policy.peer_map", &error))?,
        })
    }

    /// Whom to ask for bridges; `None`: nobody.
    pub(crate) fn bridges_from(&self) -> Result<Option<Source>, SettingsError> {
        if self.bridges_from.is_empty() {
            return Ok(None);
        }
        let source = Source::parse(&self.bridges_from);
        source.map(Some).ok_or_else(|| {
            let reason = format!("{:?} is not http://host:port without a path", self.bridges_from);
            SettingsError::new("policy.bridges_from", &reason)
        })
    }

    fn ports(&self) -> Result<RangeInclusive<u16>, SettingsError> {
        parse_ports(&self.ports).ok_or_else(|| {
            let reason = format!("{:?}: ports are 1 to 65535, such as 1024-65535", self.ports);
            SettingsError::new("policy.ports", &reason)
        })
    }

    fn bridges(&self) -> Result<Vec<BridgePeers>, SettingsError> {
        let bridge = |line: &String| {
            let addresses = bridges::addresses_of(line)?;
            // Without a name of its own, it is called what it is.
            Ok::<_, String>(BridgePeers { name: line.clone(), addresses })
        };
        collect("policy.bridges", self.bridges.iter().map(bridge))
    }

    fn longest_list(&self) -> Option<&'static str> {
        let lengths = [
            ("policy.allow", self.allow.len()),
            ("policy.deny", self.deny.len()),
            ("policy.bridges", self.bridges.len()),
            ("policy.peer_map", self.peer_map.len()),
        ];
        lengths.into_iter().find(|(_, length)| *length > ENTRIES_MAX).map(|(key, _)| key)
    }
}

fn collect<T, E: ToString>(
    key: &'static str,
    values: impl Iterator<Item = Result<T, E>>,
) -> Result<Vec<T>, SettingsError> {
    values.collect::<Result<_, E>>().map_err(|error| SettingsError::new(key, &error))
}

/// Each is looked at for each new permission; a policy that needs more is written as prefixes.
const ENTRIES_MAX: usize = 1_000;

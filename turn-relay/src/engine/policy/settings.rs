//! What an operator and the bridges say about peers, before it is a policy.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::peer_map::PeerMap;
use super::range::{IpRange, RangeError, parse_ports};

/// What is reached besides bridges and the allow list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyMode {
    /// Nothing.
    #[default]
    Allow,
    /// Everything that is no special-purpose range.
    Public,
}

/// A line of the allow list: addresses, and their ports if they are not those of the policy. Written `10.0.0.0/8`,
/// `10.0.0.5:10000`, `10.0.0.5:10000-10003`, `[fd00::5]:10000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowEntry {
    pub(super) addresses: IpRange,
    pub(super) ports: Option<RangeInclusive<u16>>,
}

impl FromStr for AllowEntry {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
        let with_ports = bracketed.or_else(|| text.split_once(':').filter(|(ip, _)| ip.contains('.')));
        let Some((addresses, ports)) = with_ports else {
            return Ok(Self { addresses: text.parse()?, ports: None });
        };
        let ports = parse_ports(ports).ok_or_else(|| PolicyError::Ports(text.to_owned()))?;
        Ok(Self { addresses: addresses.parse()?, ports: Some(ports) })
    }
}

impl AllowEntry {
    /// One address and its ports: as good as a registered bridge.
    pub(super) fn is_explicit(&self) -> bool {
        self.ports.is_some() && self.addresses.as_single().is_some()
    }
}

/// A bridge and where its media arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgePeers {
    /// Its name, as in `b=` of a credential.
    pub name: String,
    /// What browsers are told: address and port of each worker.
    pub addresses: Vec<SocketAddr>,
}

/// What a policy is made of.
#[derive(Debug, Clone)]
pub struct PolicySettings {
    /// What is reached besides the lists.
    pub mode: PolicyMode,
    /// Ports of peers that no entry names: by default those that no well-known service has.
    pub ports: RangeInclusive<u16>,
    /// Reached, even private ones.
    pub allow: Vec<AllowEntry>,
    /// Not reached, whoever allows it.
    pub deny: Vec<IpRange>,
    /// Reached, port by port.
    pub bridges: Vec<BridgePeers>,
    /// All addresses of this host, and the public ones it is known by.
    pub own_addresses: Vec<IpAddr>,
    /// What the relay listens on; an unspecified address means all of the host's.
    pub own_listeners: Vec<SocketAddr>,
    /// Peers that are reached at another address than clients name.
    pub peer_map: PeerMap,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            mode: PolicyMode::default(),
            ports: 1024..=u16::MAX,
            allow: Vec::new(),
            deny: Vec::new(),
            bridges: Vec::new(),
            own_addresses: Vec::new(),
            own_listeners: Vec::new(),
            peer_map: PeerMap::default(),
        }
    }
}

/// Why settings are no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not a range of addresses.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Not a range of ports.
    #[error("{0:?}: ports are 1 to 65535, such as 10000 or 10000-10003")]
    Ports(String),
    /// The policy's own range of ports is empty or begins with 0.
    #[error("ports {0}-{1} leave none to reach")]
    NoPorts(u16, u16),
    /// An address that is never a peer.
    #[error("{0} is {1} and never a peer")]
    NeverAPeer(IpAddr, &'static str),
    /// The host itself, without saying which ports are meant.
    #[error("{0} is this host itself: name its ports, such as {0}:10000")]
    OwnWithoutPorts(IpAddr),
    /// The relay's own listener.
    #[error("{0} is where the relay listens and never a peer")]
    OwnListener(SocketAddr),
}

//! The one decision about peers. CreatePermission, ChannelBind and Send ask it, a reload asks it again for everything
//! that is installed, and an operator who wonders asks it through `explain`.
//!
//! ```text
//! never a peer ─▶ our own listener ─▶ deny list ─▶ bridges ─▶ allow list ─▶ mode allow:  denied
//!    denied           denied            denied     allowed     allowed        mode public: special? own? port?
//! ```
//!
//! Invariants: what hides an IPv4 address, the unspecified address and multicast are never allowed, by no rule. Loopback
//! and our own addresses are allowed only port by port, as a bridge or as a list entry with one address and its ports.
//! An address as a whole is allowed if and only if one of its ports is.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::peer_map::PeerMap;
use super::settings::{AllowEntry, PolicyError, PolicyMode, PolicySettings};
use super::special;
use crate::engine::drop_reason::labelled;

labelled! {
    /// Why a peer is denied.
    Denial {
        /// 0.0.0.0/8 or ::, which many hosts take for themselves.
        Unspecified = "unspecified",
        /// A group or everybody.
        Multicast = "multicast",
        /// The relay's own host.
        Loopback = "loopback",
        /// This network segment; clouds' metadata services.
        LinkLocal = "link_local",
        /// Somebody's inside: private, shared, unique-local, benchmarking.
        Private = "private",
        /// Examples.
        Documentation = "documentation",
        /// Another special-purpose range.
        Reserved = "reserved",
        /// Teredo, 6to4, ISATAP (RFC 6156, 9.1).
        Tunnel = "tunnel",
        /// An IPv6 form of an IPv4 address.
        DisguisedIpv4 = "disguised_ipv4",
        /// A port the relay itself listens on.
        OwnListener = "own_listener",
        /// An address of the relay: another allocation, or a service beside it.
        OwnAddress = "own_address",
        /// On the operator's deny list.
        DenyList = "deny_list",
        /// On no list, in the mode that needs one.
        NotListed = "not_listed",
        /// Not the bridge that the credential is for.
        OutOfScope = "out_of_scope",
        /// The address is allowed, this port is not.
        Port = "port",
    }
}

/// Which ports of an address are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortQuestion {
    /// Whether there is one that is allowed: a permission is for an address (RFC 8656, 9).
    Any,
    /// This one.
    Number(u16),
}

/// Whom the asker's credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'s> {
    /// Whatever the policy allows.
    Everywhere,
    /// One bridge, by name.
    Bridge(&'s str),
}

/// Somebody wants to reach a peer.
#[derive(Debug, Clone, Copy)]
pub struct PeerQuestion<'s> {
    /// The peer as the client names it.
    pub ip: IpAddr,
    /// Which of its ports.
    pub port: PortQuestion,
    /// For whom.
    pub scope: Scope<'s>,
}

/// What a peer is allowed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A bridge, by its place in the settings.
    Bridge(usize),
    /// A line of the allow list, by its place.
    Allow(usize),
    /// The mode.
    Public,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// By this rule.
    Allowed(Rule),
    /// Under this class.
    Denied(Denial),
}

/// Who is reached. Immutable; a reload makes a new one.
#[derive(Debug)]
pub struct PeerPolicy {
    settings: PolicySettings,
}

impl PeerPolicy {
    /// A policy, if its settings are one.
    ///
    /// # Errors
    /// The first entry that could never apply, or that opens more than its writer can have meant.
    pub fn new(settings: PolicySettings) -> Result<Self, PolicyError> {
        let (first, last) = (*settings.ports.start(), *settings.ports.end());
        if first == 0 || first > last {
            return Err(PolicyError::NoPorts(first, last));
        }
        let policy = Self { settings };
        for entry in &policy.settings.allow {
            let Some(ip) = entry.addresses.as_single() else { continue };
            policy.check_entry(ip, entry)?;
        }
        for address in policy.settings.bridges.iter().flat_map(|bridge| &bridge.addresses) {
            policy.check_peer(address.ip(), &(address.port()..=address.port()))?;
        }
        Ok(policy)
    }

    fn check_entry(&self, ip: IpAddr, entry: &AllowEntry) -> Result<(), PolicyError> {
        match (&entry.ports, never(ip)) {
            (Some(ports), _) => self.check_peer(ip, ports),
            (None, Some(class)) => Err(PolicyError::NeverAPeer(ip, class.as_str())),
            (None, None) if self.is_own(ip) => Err(PolicyError::OwnWithoutPorts(ip)),
            (None, None) => Ok(()),
        }
    }

    fn check_peer(&self, ip: IpAddr, ports: &RangeInclusive<u16>) -> Result<(), PolicyError> {
        if let Some(class) = never(ip) {
            return Err(PolicyError::NeverAPeer(ip, class.as_str()));
        }
        let listeners = self.settings.own_listeners.iter().map(SocketAddr::port);
        match listeners.filter(|port| ports.contains(port)).find(|port| self.is_own_listener(ip, *port)) {
            Some(port) => Err(PolicyError::OwnListener(SocketAddr::new(ip, port))),
            None => Ok(()),
        }
    }

    /// The one decision.
    pub fn decide(&self, question: &PeerQuestion<'_>) -> Decision {
        let ip = question.ip;
        if let Some(class) = never(ip) {
            return Decision::Denied(class);
        }
        if matches!(question.port, PortQuestion::Number(port) if self.is_own_listener(ip, port)) {
            return Decision::Denied(Denial::OwnListener);
        }
        if self.settings.deny.iter().any(|range| range.contains(ip)) {
            return Decision::Denied(Denial::DenyList);
        }
        let nearest = match self.listed(question) {
            Ok(rule) => return Decision::Allowed(rule),
            Err(nearest) => nearest,
        };
        if question.scope != Scope::Everywhere {
            return Decision::Denied(nearest);
        }
        let class = special::class_of(ip).or_else(|| self.is_own(ip).then_some(Denial::OwnAddress));
        match (nearest, class, self.settings.mode) {
            (Denial::NotListed, Some(class), _) => return Decision::Denied(class),
            (nearest, Some(_), _) | (nearest, None, PolicyMode::Allow) => return Decision::Denied(nearest),
            (_, None, PolicyMode::Public) => {}
        }
        if self.settings.ports.answers(question.port) {
            Decision::Allowed(Rule::Public)
        } else {
            Decision::Denied(Denial::Port)
        }
    }

    /// The bridge or the line that allows it, or what comes nearest to a reason that none does.
    fn listed(&self, question: &PeerQuestion<'_>) -> Result<Rule, Denial> {
        let mut nearest = match question.scope {
            Scope::Everywhere => Denial::NotListed,
            Scope::Bridge(_) => Denial::OutOfScope,
        };
        for (place, bridge) in self.settings.bridges.iter().enumerate() {
            if matches!(question.scope, Scope::Bridge(name) if name != bridge.name) {
                continue;
            }
            for address in bridge.addresses.iter().filter(|address| address.ip() == question.ip) {
                if (address.port()..=address.port()).answers(question.port) {
                    return Ok(Rule::Bridge(place));
                }
                nearest = Denial::Port;
            }
        }
        if question.scope != Scope::Everywhere {
            return Err(nearest);
        }
        let is_own = self.is_own(question.ip);
        for (place, entry) in self.settings.allow.iter().enumerate() {
            if !entry.addresses.contains(question.ip) || is_own && !entry.is_explicit() {
                continue;
            }
            if entry.ports.as_ref().unwrap_or(&self.settings.ports).answers(question.port) {
                return Ok(Rule::Allow(place));
            }
            nearest = Denial::Port;
        }
        Err(nearest)
    }

    /// The relay's host, by any of its addresses.
    fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.settings.own_addresses.contains(&ip)
    }

    fn is_own_listener(&self, ip: IpAddr, port: u16) -> bool {
        self.settings.own_listeners.iter().any(|listener| {
            listener.port() == port
                && (listener.ip() == ip || listener.ip().is_unspecified() && self.is_own(ip))
        })
    }

    /// Where peers really are.
    pub fn peer_map(&self) -> &PeerMap {
        &self.settings.peer_map
    }

    /// What the policy was made of.
    pub fn settings(&self) -> &PolicySettings {
        &self.settings
    }
}

/// The classes that no rule opens.
fn never(ip: IpAddr) -> Option<Denial> {
    special::class_of(ip).filter(|class| {
        matches!(class, Denial::Unspecified | Denial::Multicast | Denial::Tunnel | Denial::DisguisedIpv4)
    })
}

/// Whether a range of ports is an answer.
trait Answers {
    fn answers(&self, question: PortQuestion) -> bool;
}

impl Answers for RangeInclusive<u16> {
    fn answers(&self, question: PortQuestion) -> bool {
        match question {
            PortQuestion::Any => true,
            PortQuestion::Number(port) => self.contains(&port),
        }
    }
}

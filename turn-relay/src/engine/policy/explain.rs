//! The decision in words: what an operator asks when a call fails.

use std::net::{IpAddr, SocketAddr};

use super::canonical::disguise;
use super::rules::{Decision, Denial, PeerPolicy, PeerQuestion, PortQuestion, Rule, Scope};
use super::settings::PolicyMode;

/// An answer to `GET /explain?peer=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What was decided.
    pub decision: Decision,
    /// The class of a denial, or the kind of rule: `bridge`, `allow_list`, `public`.
    pub id: &'static str,
    /// One line for a person.
    pub text: String,
    /// Where the relay sends instead, by `peer_map`.
    pub real: Option<IpAddr>,
}

impl PeerPolicy {
    /// Decides and says why.
    pub fn explain(&self, ip: IpAddr, port: PortQuestion) -> Explanation {
        let decision = self.decide(&PeerQuestion { ip, port, scope: Scope::Everywhere });
        let (id, reason) = match decision {
            Decision::Allowed(rule) => self.explain_rule(rule),
            Decision::Denied(class) => (class.as_str(), self.explain_denial(ip, class)),
        };
        let verdict = if matches!(decision, Decision::Allowed(_)) { "allowed" } else { "denied" };
        let peer = match port {
            PortQuestion::Any => ip.to_string(),
            PortQuestion::Number(port) => SocketAddr::new(ip, port).to_string(),
        };
        let real = Some(self.peer_map().to_real(SocketAddr::new(ip, 0)).ip()).filter(|real| *real != ip);
        Explanation { decision, id, text: format!("{peer} is {verdict}: {reason}"), real }
    }

    fn explain_rule(&self, rule: Rule) -> (&'static str, String) {
        let settings = self.settings();
        match rule {
            Rule::Bridge(place) => ("bridge", format!("it is bridge {}", settings.bridges[place].name)),
            Rule::Allow(place) => ("allow_list", format!("line {} of the allow list", place + 1)),
            Rule::Public => {
                ("public", "the mode is public, and no special-purpose range holds it".to_owned())
            }
        }
    }

    fn explain_denial(&self, ip: IpAddr, class: Denial) -> String {
        if let IpAddr::V6(ip) = ip
            && let Some(disguise) = disguise(ip)
        {
            let hidden = disguise.hidden.map(|hidden| format!(" {hidden}")).unwrap_or_default();
            return format!(
                "it is the {} form of an IPv4 address{hidden}, which is never relayed to",
                disguise.kind
            );
        }
        let ports = &self.settings().ports;
        match class {
            Denial::Unspecified => "it is the unspecified address, or in its network".to_owned(),
            Denial::Multicast => "it is a multicast or broadcast address".to_owned(),
            Denial::Loopback => {
                "it is this host's loopback, and no bridge or list entry names its port".to_owned()
            }
            Denial::LinkLocal => "it is a link-local address; clouds serve metadata there".to_owned(),
            Denial::Private => "it is in a private range, and no list entry names it".to_owned(),
            Denial::Documentation => "it is in a range for documentation".to_owned(),
            Denial::Reserved => "it is in a special-purpose range".to_owned(),
            Denial::Tunnel | Denial::DisguisedIpv4 => "it is a form of an IPv4 address".to_owned(),
            Denial::OwnListener => "the relay itself listens there".to_owned(),
            Denial::OwnAddress => {
                "it is an address of the relay, and no bridge or list entry names its port".to_owned()
            }
            Denial::DenyList => "it is on the deny list".to_owned(),
            Denial::NotListed => match self.settings().mode {
                PolicyMode::Allow => "it is no bridge and on no list, and the mode is allow".to_owned(),
                PolicyMode::Public => "it is no bridge and on no list".to_owned(),
            },
            Denial::OutOfScope => "the credential is for another bridge".to_owned(),
            Denial::Port => {
                format!(
                    "its address is allowed, this port is not (default {}-{})",
                    ports.start(),
                    ports.end()
                )
            }
        }
    }
}

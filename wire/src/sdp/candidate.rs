//! `a=candidate` (RFC 8839, 5.1): where a browser thinks it can be reached over UDP.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Reason, number};

/// Candidates kept of one m-line. A browser with six interfaces has 24; more is an attempt to make us work.
pub const CANDIDATES_MAX: usize = 40;

/// A UDP candidate with a literal address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Equal for candidates that share base and kind: 1 to 32 ice-chars.
    pub foundation: String,
    /// 1 is RTP, and everything under rtcp-mux.
    pub component: u16,
    /// RFC 8445, 5.1.2.
    pub priority: u32,
    /// Where to send; never port 0.
    pub address: SocketAddr,
    /// How it was found.
    pub kind: CandidateKind,
}

/// How a candidate was found (RFC 8445, 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateKind {
    /// An interface's own address.
    Host,
    /// As a STUN server sees it.
    ServerReflexive,
    /// As the other side sees it.
    PeerReflexive,
    /// Allocated on a TURN server.
    Relayed,
}

impl Candidate {
    /// `None` for a well-formed candidate that nobody here could send to: TCP, a host name or mDNS name (never looked
    /// up), port 0, a kind from the future.
    pub(super) fn parse(value: &str) -> Result<Option<Self>, Reason> {
        let fields: Vec<&str> = value.split_ascii_whitespace().take(8).collect();
        let [foundation, component, transport, priority, address, port, "typ", kind] = fields[..] else {
            return Err("a candidate has eight fields");
        };
        if foundation.len() > 32 {
            return Err("a candidate's foundation has at most 32 characters");
        }
        let component = number(component).ok_or("a candidate's component is not a number")?;
        let priority = number(priority).ok_or("a candidate's priority is not a number")?;
        let port: u16 = number(port).ok_or("a candidate's port is not a number up to 65535")?;
        let (Ok(ip), Some(kind)) = (address.parse::<IpAddr>(), CandidateKind::from_name(kind)) else {
            return Ok(None);
        };
        if !transport.eq_ignore_ascii_case("udp") || port == 0 {
            return Ok(None);
        }
        let address = SocketAddr::new(ip, port);
        Ok(Some(Self { foundation: foundation.to_owned(), component, priority, address, kind }))
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = (self.address.ip(), self.address.port());
        write!(f, "a=candidate:{} {} udp ", self.foundation, self.component)?;
        write!(f, "{} {ip} {port} typ {}", self.priority, self.kind.name())?;
        if self.kind != CandidateKind::Host {
            // RFC 8839, 5.1: a related address is required here, and may be hidden by these values.
            f.write_str(" raddr 0.0.0.0 rport 0")?;
        }
        f.write_str("\r\n")
    }
}

impl CandidateKind {
    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Host, Self::ServerReflexive, Self::PeerReflexive, Self::Relayed]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_nobody_can_send_to_is_skipped_and_never_looked_up() {
        for address in [
            "1 1 udp 1 2c5e3a4b-0000-4000-8000-000000000000.local 5000 typ host",
            "1 1 udp 1 internal.example.org 5000 typ host",
            "1 1 udp 1 192.0.2.1 0 typ host",
            "1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
            "1 1 udp 1 192.0.2.1 5000 typ quantum",
            "1 1 udp 1 fe80::1%eth0 5000 typ host",
        ] {
            assert_eq!(Candidate::parse(address), Ok(None), "{address}");
        }
    }

    #[test]
    fn a_private_address_is_an_address() {
        let candidate =
            Candidate::parse("1 1 UDP 2122187007 10.0.0.7 42054 typ host generation 0").unwrap().unwrap();
        assert_eq!(candidate.address, "10.0.0.7:42054".parse().unwrap());
        assert_eq!(candidate.to_string(), "a=candidate:1 1 udp 2122187007 10.0.0.7 42054 typ host\r\n");
    }

    #[test]
    fn a_reflexive_candidate_is_written_without_the_address_behind_it() {
        let read = "7 1 udp 100 2001:db8::1 4000 typ srflx raddr 10.0.0.7 rport 3999";
        let candidate = Candidate::parse(read).unwrap().unwrap();
        assert!(candidate.to_string().ends_with("2001:db8::1 4000 typ srflx raddr 0.0.0.0 rport 0\r\n"));
    }

    #[test]
    fn a_negative_or_too_large_number_is_an_error() {
        for (field, bad) in
            [(1, "-1"), (1, "65536"), (3, "-5"), (3, "4294967296"), (5, "-1"), (5, "65536"), (5, "+9")]
        {
            let mut fields: Vec<&str> = "1 1 udp 1 192.0.2.1 5000 typ host".split(' ').collect();
            fields[field] = bad;
            assert!(Candidate::parse(&fields.join(" ")).is_err(), "{fields:?}");
        }
        assert!(Candidate::parse("1 1 udp 1 192.0.2.1 5000").is_err());
        assert!(Candidate::parse("").is_err());
    }
}

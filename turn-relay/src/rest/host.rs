//! The `Host` header as a guard against DNS rebinding: a web page can make its own name lead to 127.0.0.1, but the
//! browser then says that name.

use std::net::IpAddr;

/// The names the interface may be asked by.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// Lower case.
    names: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(configured: &[String]) -> Self {
        Self { names: configured.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Whether a `Host` header names us: an IP address, `localhost`, or a configured name, with any port.
    pub(crate) fn are_ours(&self, header: &str) -> bool {
        let host = without_port(header).to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        bare.parse::<IpAddr>().is_ok() || host == "localhost" || self.names.contains(&host)
    }
}

fn without_port(header: &str) -> &str {
    match header.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => header,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_ours() {
        let hosts = Hosts::new(&["Relay-1.internal".to_owned()]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "localhost:1",
            "LOCALHOST",
            "relay-1.internal:8080",
        ] {
            assert!(hosts.are_ours(host), "{host}");
        }
    }

    #[test]
    fn any_other_name_is_not() {
        let hosts = Hosts::new(&[]);
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "", ":8080", "[evil]"]
        {
            assert!(!hosts.are_ours(host), "{host}");
        }
    }
}

//! The relay that signaling names, out of its `RTCIceServer` objects.

use wire::messages::meeting::IceServer;

use crate::scenario::{MediaPath, TurnServer};

/// The first server that carries `path`, with its credentials; none when the path needs none or nothing fits.
pub(super) fn named(ice_servers: &[IceServer], path: MediaPath) -> Option<TurnServer> {
    let (scheme, transport) = match path {
        MediaPath::Direct => return None,
        MediaPath::RelayUdp => ("turn:", "udp"),
        MediaPath::RelayTcp => ("turn:", "tcp"),
        MediaPath::RelayTls => ("turns:", "tcp"),
    };
    let mut servers = ice_servers.iter().flat_map(|server| server.urls.iter().map(move |url| (server, url)));
    let (server, address) =
        servers.find_map(|(server, url)| Some((server, address(url, scheme, transport)?)))?;
    Some(TurnServer {
        address: address.clone(),
        tls_address: address,
        username: server.username.clone().unwrap_or_default(),
        password: server.credential.clone().unwrap_or_default(),
        secret: String::new(),
    })
}

/// RFC 7065, 3.1: `turn:host[:port][?transport=udp|tcp]`; without a transport it is UDP for `turn` and TCP for `turns`,
/// without a port 3478 and 5349.
fn address(url: &str, scheme: &str, transport: &str) -> Option<String> {
    let (place, query) = url.strip_prefix(scheme)?.split_once('?').unwrap_or((url.strip_prefix(scheme)?, ""));
    let named = query.split('&').find_map(|pair| pair.strip_prefix("transport="));
    let usual = if scheme == "turns:" { "tcp" } else { "udp" };
    if named.unwrap_or(usual) != transport || place.is_empty() {
        return None;
    }
    // An IPv6 address has its colons in brackets.
    let has_port = place.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'));
    let port = if scheme == "turns:" { 5349 } else { 3478 };
    Some(if has_port { place.to_owned() } else { format!("{}:{port}", place.trim_end_matches(':')) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Vec<IceServer> {
        let urls =
            ["stun:s.example:1", "turn:t.example:443?transport=udp", "turn:t.example:443?transport=tcp"];
        let turns = ["turns:t.example:443?transport=tcp"];
        let server = |urls: &[&str], username: &str| IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            username: Some(username.to_owned()),
            credential: Some("secret".to_owned()),
        };
        vec![server(&urls, "plain"), server(&turns, "tls")]
    }

    #[test]
    fn each_path_finds_its_server_and_credentials() {
        let found = |path| named(&servers(), path).map(|turn| (turn.address, turn.username));
        let expected = |username: &str| Some(("t.example:443".to_owned(), username.to_owned()));
        assert_eq!(found(MediaPath::Direct), None);
        assert_eq!(found(MediaPath::RelayUdp), expected("plain"));
        assert_eq!(found(MediaPath::RelayTcp), expected("plain"));
        assert_eq!(found(MediaPath::RelayTls), expected("tls"));
    }

    #[test]
    fn what_a_url_leaves_out_is_what_the_rfc_says() {
        assert_eq!(address("turn:t.example", "turn:", "udp").as_deref(), Some("t.example:3478"));
        assert_eq!(address("turns:[2001:db8::1]", "turns:", "tcp").as_deref(), Some("[2001:db8::1]:5349"));
        assert_eq!(address("turn:[2001:db8::1]:99", "turn:", "udp").as_deref(), Some("[2001:db8::1]:99"));
        for wrong in ["", "turn:", "turn:?transport=udp", "http://t.example", "turn:t.example?transport=sctp"]
        {
            assert_eq!(address(wrong, "turn:", "udp"), None, "{wrong}");
        }
    }
}

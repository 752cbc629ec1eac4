//! What browsers are told of the relays: where they are, and credentials of their own (the TURN REST convention).
//!
//! ```text
//! turn_secret, turn_uris ──► Relays ──► assigned.ice_servers     a browser, each time its conference gets a bridge
//!                                  ├──► /api/turn-credentials    a browser whose credentials have aged
//!                                  └──► Link headers of 201      WHIP and WHEP (RFC 9725, 4.6)
//! ```
//!
//! A user name carries the participant's id, by which a relay counts and revokes. With `turn_one_bridge` it carries the
//! assigned bridge, too: a conference that moves has new credentials in the `assigned` that says so. Nothing is stored
//! here; a credential ends with its expiry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;
use wire::messages::ids::{BridgeId, EndpointId};
use wire::messages::meeting::IceServer;
use wire::turn::SharedSecret;

use crate::listener::Remote;
use crate::problem::Problem;
use crate::public::Public;
use crate::settings::SignalingSettings;

const NO_RELAY: Problem = Problem::new(StatusCode::NOT_FOUND, "no_relay", "this server has no relay");
const UNKNOWN: Problem = Problem::new(
    StatusCode::UNAUTHORIZED,
    "unauthorized",
    "this is the resume secret of nobody who is in a conference",
);

/// All relays and what makes credentials for them.
#[derive(Debug)]
pub(crate) struct Relays {
    secret: SharedSecret,
    uris: Vec<String>,
    ttl: Duration,
    is_for_one_bridge: bool,
}

impl Relays {
    /// `None`: there are none.
    pub(crate) fn new(settings: &SignalingSettings) -> Option<Self> {
        if settings.turn_uris.is_empty() {
            return None;
        }
        Some(Self {
            secret: SharedSecret::new(&settings.turn_secret),
            uris: settings.turn_uris.clone(),
            ttl: Duration::from_secs(settings.turn_ttl_s),
            is_for_one_bridge: settings.turn_one_bridge,
        })
    }

    /// For a browser whose conference `bridge` carries.
    pub(crate) fn ice_servers(&self, who: &EndpointId, bridge: &BridgeId) -> Vec<IceServer> {
        let (username, password) = self.mint(who.as_str(), Some(bridge));
        vec![IceServer { urls: self.uris.clone(), username: Some(username), credential: Some(password) }]
    }

    /// RFC 9725, 4.6: one `Link` for each URI. Without the bridge in the user name, because many clients divide a `Link`
    /// at each semicolon, in quotes or not.
    pub(crate) fn links(&self, who: &EndpointId) -> Vec<HeaderValue> {
        let (username, password) = self.mint(who.as_str(), None);
        let link = |uri: &String| {
            let link = format!(
                "<{uri}>; rel=\"ice-server\"; username=\"{username}\"; credential=\"{password}\"; \
                 credential-type=\"password\""
            );
            // Invariant: settings hold URIs of printable ASCII, and the rest is digits and base64.
            let mut value = HeaderValue::try_from(link).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        self.uris.iter().filter_map(link).collect()
    }

    fn mint(&self, who: &str, bridge: Option<&BridgeId>) -> (String, String) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires_unix_s = (now + self.ttl).as_secs();
        match bridge.filter(|_| self.is_for_one_bridge) {
            Some(bridge) => self.secret.mint(&format!("{who};b={bridge}"), expires_unix_s),
            None => self.secret.mint(who, expires_unix_s),
        }
    }
}

/// `GET /api/turn-credentials`, for whoever may join: with `Authorization: Bearer <resume secret>` those of that
/// participant, without it those of somebody who is nobody yet.
pub(crate) async fn credentials(
    State(public): State<Public>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !public.gate.is_our_page(&remote, &headers) {
        return Err(Problem::FOREIGN_ORIGIN);
    }
    public.check_rate(&remote, &headers)?;
    let relays = public.relays.as_ref().ok_or(NO_RELAY)?;
    let (who, bridge) = match headers.get(header::AUTHORIZATION) {
        Some(shown) => participant_of(&public, shown).await?,
        None => (format!("{:08x}", rand::random::<u32>()), None),
    };
    let (username, password) = relays.mint(&who, bridge.as_ref());
    let (ttl, uris) = (relays.ttl.as_secs(), &relays.uris);
    let body = json!({ "username": username, "password": password, "ttl": ttl, "uris": uris });
    Ok(Json(body).into_response())
}

async fn participant_of(public: &Public, shown: &HeaderValue) -> Result<(String, Option<BridgeId>), Problem> {
    let shown = shown.to_str().unwrap_or_default();
    let secret = shown.strip_prefix("Bearer ").or_else(|| shown.strip_prefix("bearer ")).ok_or(UNKNOWN)?;
    let secret = secret.to_owned();
    let found =
        public.hub.look(move |focus, _| focus.participant_of(&secret)).await.ok_or(Problem::STOPPING)?;
    let (who, bridge) = found.ok_or(UNKNOWN)?;
    Ok((who.to_string(), bridge))
}

/// Why a text is no URI of a relay that a browser takes (RFC 7065): `turn:host[:port][?transport=udp|tcp]`, or `turns:`.
pub(crate) fn fault_of_uri(uri: &str) -> Option<&'static str> {
    let (is_tls, rest) = match (uri.strip_prefix("turn:"), uri.strip_prefix("turns:")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Some("begins with neither turn: nor turns:"),
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    match query {
        None | Some("transport=tcp") => {}
        Some("transport=udp") if !is_tls => {}
        // DTLS to a relay: no browser has it.
        Some("transport=udp") => return Some("is turns: over udp, which no browser has"),
        Some(_) => return Some("has something else than transport=udp or transport=tcp behind its ?"),
    }
    if uri.len() > URI_BYTES_MAX || !is_place(place) {
        return Some("has no host, a bad one, or a bad port");
    }
    None
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn is_place(place: &str) -> bool {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            let is_fine =
                host.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || port.starts_with(':'));
            return is_fine && port.strip_prefix(':').is_none_or(is_port);
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !host.is_empty() && host.bytes().all(is_host) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

/// The longest name there can be, and what stands around it.
const URI_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use wire::settings::Secret;

    use super::*;

    fn relays(change: impl FnOnce(&mut SignalingSettings)) -> Relays {
        let mut settings = SignalingSettings {
            turn_secret: Secret::from("0123456789abcdef0123456789abcdef".to_owned()),
            turn_uris: vec![
                "turn:relay.example:443?transport=udp".to_owned(),
                "turns:relay.example".to_owned(),
            ],
            ..SignalingSettings::default()
        };
        change(&mut settings);
        Relays::new(&settings).unwrap()
    }

    fn anna() -> (EndpointId, BridgeId) {
        (EndpointId::parse("0a1b2c3d").unwrap(), BridgeId::parse("bridge-1").unwrap())
    }

    /// Expiry and the rest of a user name.
    fn parts(username: &str) -> (u64, &str) {
        let (expiry, rest) = username.split_once(':').unwrap();
        (expiry.parse().unwrap(), rest)
    }

    #[test]
    fn a_browsers_credentials_carry_its_id_and_end_in_time() {
        let relays = relays(|settings| settings.turn_ttl_s = 600);
        let (who, bridge) = anna();
        let servers = relays.ice_servers(&who, &bridge);
        let [server] = &servers[..] else { panic!("one server has all URLs") };
        assert_eq!(server.urls, relays.uris);
        let username = server.username.as_deref().unwrap();
        let (expiry, rest) = parts(username);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((now + 590..=now + 600).contains(&expiry), "{expiry}");
        assert_eq!(rest, "0a1b2c3d");
        assert_eq!(server.credential, Some(relays.secret.password(username)));
        assert!(!format!("{relays:?} {server:?}").contains(server.credential.as_deref().unwrap()));
    }

    #[test]
    fn on_request_they_name_the_bridge_where_every_client_can_read_it() {
        let relays = relays(|settings| settings.turn_one_bridge = true);
        let (who, bridge) = anna();
        let servers = relays.ice_servers(&who, &bridge);
        assert_eq!(parts(servers[0].username.as_deref().unwrap()).1, "0a1b2c3d;b=bridge-1");
        let links = relays.links(&who);
        assert_eq!(links.len(), 2);
        for (link, uri) in links.iter().zip(&relays.uris) {
            let link = link.to_str().unwrap();
            let parts: Vec<&str> = link.split("; ").collect();
            assert_eq!(parts[..2], [format!("<{uri}>").as_str(), "rel=\"ice-server\""]);
            assert!(parts[2].starts_with("username=\"") && parts[2].ends_with(":0a1b2c3d\""), "{link}");
            assert!(
                parts[3].starts_with("credential=\"") && parts[4] == "credential-type=\"password\"",
                "{link}"
            );
        }
    }

    #[test]
    fn uris_that_a_browser_would_throw_at_are_faults() {
        for fine in [
            "turn:relay.example",
            "turn:relay.example:443?transport=udp",
            "turn:192.0.2.1:3478?transport=tcp",
            "turns:relay.example:443?transport=tcp",
            "turns:[2001:db8::1]:5349",
            "turn:[2001:db8::1]",
        ] {
            assert_eq!(fault_of_uri(fine), None, "{fine}");
        }
        let long = format!("turn:{}", "a".repeat(URI_BYTES_MAX));
        for wrong in [
            "",
            "relay.example:443",
            "stun:relay.example",
            "turn://relay.example",
            "turn:",
            "turn:?transport=udp",
            "turn::443",
            "turn:relay.example:",
            "turn:relay.example:0",
            "turn:relay.example:65536",
            "turn:relay.example:+1",
            "turn:relay.example?transport=sctp",
            "turn:relay.example?transport=udp&x=1",
            "turns:relay.example?transport=udp",
            "turn:user@relay.example",
            "turn:re lay.example",
            "turn:relay.example\r\nX: y",
            "turn:relay\"; rel=\"x",
            "turn:[2001:db8::1",
            "turn:[relay.example]",
            "turn:[2001:db8::1]443",
            "turn:2001:db8::1",
            &long,
        ] {
            assert!(fault_of_uri(wrong).is_some(), "{wrong}");
        }
    }
}

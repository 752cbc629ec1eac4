//! The relay inside `passerelle`: what it shares with signaling and the bridge beside it.

use std::io;
use std::sync::Arc;

use bridge::Bound as BridgeBound;
use signaling::WebConnection;
use signaling::settings::SignalingSettings;
use tokio::sync::mpsc;
use turn_relay::settings::RelaySettings;
use turn_relay::{Bound, BridgePeers, RelayHandle, StartError, Web};
use wire::program::{CommonFlags, Failure};
use wire::settings::Secret;

/// Connections that wait for signaling to take them, which it does at once.
const WEB_CONNECTIONS_MAX: usize = 64;

/// The relay takes what signaling mints: the operator's secret, or one made for this start.
pub(crate) fn share_secret(signaling: &mut SignalingSettings, relay: &mut RelaySettings) {
    if signaling.turn_secret.is_empty() {
        signaling.turn_secret = relay.secrets.first().cloned().unwrap_or_else(RelaySettings::fresh_secret);
    }
    if !relay.secrets.contains(&signaling.turn_secret) {
        relay.secrets.push(signaling.turn_secret.clone());
    }
}

/// Starts it, and tells signaling where browsers find it unless the operator has said that.
pub(crate) async fn start(
    settings: &RelaySettings,
    signaling: &mut SignalingSettings,
) -> Result<(RelayHandle, mpsc::Receiver<turn_relay::WebConnection>), Failure> {
    let (web, connections) = mpsc::channel(WEB_CONNECTIONS_MAX);
    let relay = turn_relay::start(settings, Web::Channel(web)).await.map_err(|error| match error {
        StartError::Settings(error) => Failure::settings(error),
        error => Failure::outside(error),
    })?;
    if signaling.turn_uris.is_empty() {
        signaling.turn_uris = uris(settings, signaling, relay.bound());
    }
    Ok((relay, connections))
}

/// Where browsers find it: at the address they come to signaling by, as far as that is known.
fn uris(settings: &RelaySettings, signaling: &SignalingSettings, bound: &Bound) -> Vec<String> {
    let listens = bound.udp.first().map(|listener| listener.ip()).filter(|ip| !ip.is_unspecified());
    let loopback = signaling.listen.ip().is_loopback().then(|| signaling.listen.ip());
    let Some(host) = listens.or(loopback).or(bound.relayed.first().copied()) else { return Vec::new() };
    let mut uris = bound.uris(&host.to_string());
    // A browser that refuses the certificate loses seconds with it.
    uris.retain(|uri| settings.certificate.is_some() || !uri.starts_with("turns:"));
    uris
}

/// Hands what is HTTP on the relay's ports to signaling, until one of them is gone.
pub(crate) async fn carry(
    mut connections: mpsc::Receiver<turn_relay::WebConnection>,
    signaling: mpsc::Sender<WebConnection>,
) {
    while let Some(turn_relay::WebConnection { stream, client, secure }) = connections.recv().await {
        let connection = WebConnection { stream: Box::new(stream), client, secure };
        if signaling.send(connection).await.is_err() {
            return;
        }
    }
}

/// The bridge as the relay's clients know it.
pub(crate) fn peers(bridge: &BridgeBound) -> BridgePeers {
    let at = |ip| bridge.media_ports.iter().map(move |port| (ip, *port).into());
    let addresses = bridge.announced.iter().copied().flat_map(at).collect();
    BridgePeers { name: bridge.bridge.to_string(), addresses }
}

/// Follows changes of `[turn-relay]`. Signaling goes on minting with `turn_secret`, so that one stays.
pub(crate) fn reload(
    relay: &mut RelayHandle,
    flags: Arc<CommonFlags>,
    turn_secret: Secret,
) -> io::Result<()> {
    let read = move || {
        let all = flags.load(&[])?;
        let mut settings: RelaySettings = all.section("turn-relay")?;
        if !settings.secrets.contains(&turn_secret) {
            settings.secrets.push(turn_secret.clone());
        }
        settings.check().map_err(|error| all.refuse("turn-relay", error.key, &error.reason))?;
        Ok(settings)
    };
    relay.reload_from(move || read().map_err(|failure: Failure| failure.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.repeat(wire::settings::SECRET_BYTES_MIN))
    }

    #[test]
    fn signaling_mints_what_the_relay_takes() {
        for (minting, taken) in [(None, None), (Some("a"), None), (None, Some("b")), (Some("a"), Some("b"))] {
            let mut signaling = SignalingSettings::default();
            let mut relay = RelaySettings::default();
            signaling.turn_secret = minting.map(secret).unwrap_or_default();
            relay.secrets.extend(taken.map(secret));
            share_secret(&mut signaling, &mut relay);
            assert!(!signaling.turn_secret.is_empty());
            assert!(relay.secrets.contains(&signaling.turn_secret), "{minting:?} {taken:?}");
            assert_eq!(relay.check(), Ok(()));
            assert_eq!(signaling.check(), Ok(()));
        }
    }

    #[test]
    fn browsers_are_sent_where_they_can_come() {
        let bound = |udp: &str| Bound {
            udp: vec![udp.parse().unwrap()],
            tcp: vec![udp.parse().unwrap()],
            relayed: vec!["203.0.113.7".parse().unwrap()],
            rest: "127.0.0.1:1".parse().unwrap(),
        };
        let mut signaling = SignalingSettings::default();
        let mut relay = RelaySettings::default();
        let on_this_machine = uris(&relay, &signaling, &bound("0.0.0.0:3478"));
        assert_eq!(
            on_this_machine,
            ["turn:127.0.0.1:3478?transport=udp", "turn:127.0.0.1:3478?transport=tcp"]
        );
        signaling.listen = "0.0.0.0:8000".parse().unwrap();
        relay.certificate = Some("certificate.pem".into());
        let outside = uris(&relay, &signaling, &bound("0.0.0.0:443"));
        assert_eq!(outside[2], "turns:203.0.113.7:443?transport=tcp");
        assert_eq!(uris(&relay, &signaling, &bound("10.0.0.7:443"))[0], "turn:10.0.0.7:443?transport=udp");
    }
}

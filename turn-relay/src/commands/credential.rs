//! `turn-relay credential`: what signaling gives to browsers, for trying things by hand.

use serde_json::json;

use super::{say, secret, unix_s};
use crate::settings::RelaySettings;
use crate::start::Bound;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Whose they are; quotas and logs go by it
    #[arg(long, default_value = "operator")]
    user: String,
    /// Seconds until they end
    #[arg(long, default_value_t = 43_200, value_parser = clap::value_parser!(u64).range(1..=TTL_S_MAX))]
    ttl: u64,
    /// The name or address under which clients reach the relay; default: where allocations are made
    #[arg(long)]
    host: Option<String>,
}

pub(super) fn run(flags: &Flags, settings: &RelaySettings) -> Result<(), String> {
    if !is_user(&flags.user) {
        return Err("--user: letters, digits, dots, dashes and underscores are wanted, at most 64".to_owned());
    }
    let relays = settings.relay_addresses().map_err(|error| error.to_string())?;
    let host = flags.host.clone().or_else(|| relays.first().map(|relay| relay.announced.to_string()));
    let host = host.ok_or("--host is wanted: this machine has no address")?;
    let (username, credential) = wire::turn::mint(secret(settings)?, &flags.user, unix_s() + flags.ttl);
    let urls = configured(settings).uris(&host);
    let server = json!({ "urls": urls, "username": username, "credential": credential });
    let text = serde_json::to_string_pretty(&json!({ "iceServers": [server], "ttl": flags.ttl }));
    say(&text.map_err(|error| error.to_string())?);
    Ok(())
}

/// What the settings say is listened on, without binding it.
pub(super) fn configured(settings: &RelaySettings) -> Bound {
    let tcp = settings.listen.iter().copied().chain(settings.tls_listen()).collect();
    Bound { udp: settings.listen.clone(), tcp, relayed: Vec::new(), rest: settings.rest_listen }
}

/// A colon or a semicolon would begin something else in the name.
fn is_user(user: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=64).contains(&user.len()) && user.bytes().all(is_part)
}

/// Credentials for longer are fixed ones: `users` is for those.
const TTL_S_MAX: u64 = 31 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_cannot_write_claims_of_its_own() {
        for (user, is_fine) in
            [("anna", true), ("a.b-c_1", true), ("", false), ("a:b", false), ("a;q=9", false)]
        {
            assert_eq!(is_user(user), is_fine, "{user}");
        }
    }

    #[test]
    fn the_uris_name_one_port_where_everything_is_on_one() {
        let listen = vec!["0.0.0.0:443".parse().unwrap()];
        let one_port = RelaySettings { listen, ..RelaySettings::default() };
        let uris = configured(&one_port).uris("turn.example.org");
        assert_eq!(
            uris,
            [
                "turn:turn.example.org:443?transport=udp",
                "turn:turn.example.org:443?transport=tcp",
                "turns:turn.example.org:443?transport=tcp"
            ]
        );
        let usual = configured(&RelaySettings::default()).uris("2001:db8::1");
        assert_eq!(usual[2], "turns:[2001:db8::1]:5349?transport=tcp");
    }
}

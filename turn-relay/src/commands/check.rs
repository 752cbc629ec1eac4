//! `turn-relay check`: the settings in words, and what is likely not meant.

use std::time::SystemTime;

use super::say;
use crate::settings::{ModeSetting, RelaySettings, processors};

pub(super) fn run(settings: &RelaySettings) -> Result<(), String> {
    for line in summary(settings).map_err(|error| error.to_string())? {
        say(&line);
    }
    Ok(())
}

fn summary(settings: &RelaySettings) -> Result<Vec<String>, crate::settings::SettingsError> {
    let shards = settings.shard_count(processors());
    let ports = settings.ports_of(0, shards).len() * shards;
    let mut lines = vec![
        format!("clients come to {} over UDP, TCP and TLS", list(&settings.listen)),
        format!("allocations are made on {}", relays(settings)?),
        format!(
            "  with {ports} ports from {} to {}, for {shards} shards",
            settings.min_port, settings.max_port
        ),
        logins(settings),
    ];
    let tls = settings.tls_listen();
    if !tls.is_empty() {
        lines.insert(1, format!("  and to {} over TLS and TCP", list(&tls)));
    }
    lines.push(certificate(settings)?);
    lines.push(web(settings));
    lines.extend(reached(settings));
    lines.push(format!("the private interface is http://{}", settings.rest_listen));
    lines.push("the settings can be used".to_owned());
    Ok(lines)
}

fn logins(settings: &RelaySettings) -> String {
    let (secrets, users) = (settings.secrets.len(), settings.users.len());
    if secrets + users == 0 {
        return "nobody can log in: set secrets or users".to_owned();
    }
    format!(
        "credentials signed with any of {secrets} secrets, and {users} fixed users, log in to {:?}",
        settings.realm
    )
}

fn relays(settings: &RelaySettings) -> Result<String, crate::settings::SettingsError> {
    let relays = settings.relay_addresses()?;
    let shown = relays.iter().map(|relay| match relay.bind == relay.announced {
        true => relay.bind.to_string(),
        false => format!("{} (known outside as {})", relay.bind, relay.announced),
    });
    Ok(list(&shown.collect::<Vec<_>>()))
}

fn certificate(settings: &RelaySettings) -> Result<String, crate::settings::SettingsError> {
    let Some(file) = &settings.certificate else {
        return Ok(
            "TLS has a self-signed certificate: browsers refuse it; set certificate and key".to_owned()
        );
    };
    let left = settings.certificates()?.expires_at().duration_since(SystemTime::now()).unwrap_or_default();
    Ok(format!("TLS has the certificate {}, good for {} more days", file.display(), left.as_secs() / 86_400))
}

fn web(settings: &RelaySettings) -> String {
    match settings.https_backend {
        Some(backend) => format!("HTTP and HTTPS on the same ports go to {backend}"),
        None => "HTTP and HTTPS on the same ports get a short text".to_owned(),
    }
}

fn reached(settings: &RelaySettings) -> Vec<String> {
    let policy = &settings.policy;
    let mut lines = match policy.mode {
        ModeSetting::Allow => vec!["clients reach nothing but:".to_owned()],
        ModeSetting::Public => {
            vec![format!("clients reach every public address on ports {}, and:", policy.ports)]
        }
    };
    lines.extend(policy.bridges.iter().map(|bridge| format!("  bridge {bridge}")));
    if !policy.bridges_from.is_empty() {
        lines.push(format!("  the bridges that {} names", policy.bridges_from));
    }
    let ports_of = |entry: &String| {
        let has_ports = entry.parse::<crate::engine::policy::range::IpRange>().is_err();
        if has_ports { String::new() } else { format!(" on ports {}", policy.ports) }
    };
    lines.extend(policy.allow.iter().map(|entry| format!("  {entry}{}", ports_of(entry))));
    if lines.len() == 1 {
        lines[0] = match policy.mode {
            ModeSetting::Allow => {
                "clients reach nothing: set policy.bridges, policy.bridges_from or policy.allow"
            }
            ModeSetting::Public => "clients reach every public address",
        }
        .to_owned();
    }
    lines.extend(policy.deny.iter().map(|range| format!("never {range}")));
    lines
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_reaches_nothing_says_so() {
        let lines = reached(&RelaySettings::default());
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("reach nothing") && lines[0].contains("policy.bridges"), "{lines:?}");
    }

    #[test]
    fn what_is_reached_is_listed_with_its_ports() {
        let mut settings = RelaySettings::default();
        settings.policy.bridges = vec!["203.0.113.4:10000".to_owned()];
        settings.policy.allow = vec!["10.0.0.0/8".to_owned(), "10.0.0.5:9".to_owned()];
        settings.policy.deny = vec!["10.9.0.0/16".to_owned()];
        assert_eq!(
            reached(&settings),
            [
                "clients reach nothing but:",
                "  bridge 203.0.113.4:10000",
                "  10.0.0.0/8 on ports 1024-65535",
                "  10.0.0.5:9",
                "never 10.9.0.0/16"
            ]
        );
    }
}

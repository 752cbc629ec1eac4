//! What an operator can set: the `[bridge]` section. Everything is checked before a port is bound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::Uri;
use serde::{Deserialize, Serialize};
use wire::messages::ids::BridgeId;
use wire::settings::Secret;

/// The `[bridge]` section. A key that is not here is refused by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BridgeSettings {
    /// This bridge's name, unique among the bridges of one signaling service and part of every channel's path: 1 to 64
    /// characters of `[A-Za-z0-9._-]`. Empty: the machine's host name. Two bridges on one machine need two names.
    pub id: String,
    /// Where it stands, for signaling's choice by region. Default: not said.
    pub region: Option<String>,
    /// UDP port of the first worker; worker n has the port `media_port + n`. 0: whatever is free. Default 10000.
    pub media_port: u16,
    /// Worker threads, each with its own socket and about 30 MiB. 0: one per processor. Default 0.
    pub workers: usize,
    /// Keeps each worker on one processor: steadier, but it shares that processor badly with a busy neighbour process.
    /// Default true.
    pub pin_workers: bool,
    /// The longest that a busy worker keeps a packet back, in microseconds, so that several for one receiver leave in one
    /// system call's message. A worker that is busy for less than 40 % of its time keeps back nothing, one at 70 % and more
    /// up to this. At most 10000. Default 0, never: a busy worker's packets gather by themselves, and waiting costs the
    /// delay in full but saves little (at 70 %: 6 % of a worker's time for 1000, 12 % for 4000).
    pub send_hold_max_us: u32,
    /// Endpoints of one conference on one worker, beyond which further ones go to other workers. A packet that
    /// crosses costs each of them about as much as a few more receivers would, and each source that is shown there a cache of its
    /// own; a smaller conference costs nothing more. Default 200.
    pub spread_above: u32,
    /// Addresses browsers are told to send media to, most wanted first: the public one behind a 1:1 NAT, for example.
    /// Empty: every address of this machine, loopback last. Each costs a browser some checks. Default empty.
    pub announced_addresses: Vec<IpAddr>,
    /// TCP address of the channel WebSockets, reached through signaling. Port 0: whatever is free. Default 127.0.0.1:9090.
    pub channel_listen: SocketAddr,
    /// URL under which signaling reaches `channel_listen`, without a path. Empty: made from `channel_listen`; needed when
    /// that is not the address another machine would use. Default empty.
    pub channel_url: String,
    /// TCP address of the private REST interface. Port 0: whatever is free. Default 127.0.0.1:8080.
    pub rest_listen: SocketAddr,
    /// Lets `rest_listen` be reachable from other machines. It has no authentication: whoever reaches it reads statistics
    /// and drains the bridge. Default false.
    pub rest_exposed: bool,
    /// Host names by which the REST interface may be asked besides IP addresses and `localhost`. Others are refused, so
    /// that no web page can reach it through a name of its own. Default empty.
    pub rest_hosts: Vec<String>,
    /// Signaling services to dial, as `http://host:port` or `ws://host:port`; each costs one connection. Default
    /// `http://127.0.0.1:8000`.
    pub signaling: Vec<String>,
    /// The key shared with signaling, at least 32 characters. No default.
    pub link_key: Secret,
    /// Endpoints held at most, over all workers; the next one is refused. An endpoint with camera costs about 0.5 MiB.
    /// Default 5000.
    pub endpoints_max: u32,
}

impl Default for BridgeSettings {
    fn default() -> Self {
        Self {
            id: String::new(),
            region: None,
            media_port: 10_000,
            workers: 0,
            pin_workers: true,
            send_hold_max_us: 0,
            spread_above: 200,
            announced_addresses: Vec::new(),
            channel_listen: (Ipv4Addr::LOCALHOST, 9090).into(),
            channel_url: String::new(),
            rest_listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            rest_exposed: false,
            rest_hosts: Vec::new(),
            signaling: vec!["http://127.0.0.1:8000".to_owned()],
            link_key: Secret::default(),
            endpoints_max: 5000,
        }
    }
}

/// A value that cannot be used, by its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bridge.{key}: {reason}")]
pub struct SettingsError {
    /// The key within `[bridge]`.
    pub key: &'static str,
    /// What is wrong with its value.
    pub reason: String,
}

impl BridgeSettings {
    /// Whether a bridge can be started with these values.
    ///
    /// # Errors
    /// The first key whose value cannot be used.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.bridge_id()?;
        self.check_workers()?;
        self.check_addresses()?;
        self.check_signaling()?;
        if self.send_hold_max_us > SEND_HOLD_MAX_US {
            return refuse("send_hold_max_us", format!("must be at most {SEND_HOLD_MAX_US}"));
        }
        if self.spread_above == 0 {
            return refuse("spread_above", "must be at least 1".to_owned());
        }
        if !(1..=ENDPOINTS_MAX).contains(&self.endpoints_max) {
            return refuse("endpoints_max", format!("must be 1 to {ENDPOINTS_MAX}"));
        }
        if self.region.as_ref().is_some_and(|region| region.is_empty() || region.len() > REGION_BYTES_MAX) {
            return refuse("region", format!("must be 1 to {REGION_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    /// The configured name, or the machine's.
    ///
    /// # Errors
    /// When the name has other characters than a path may have.
    pub fn bridge_id(&self) -> Result<BridgeId, SettingsError> {
        let (id, origin) =
            if self.id.is_empty() { (host_name(), "the host name") } else { (self.id.clone(), "it") };
        BridgeId::parse(id.clone()).map_err(|_| SettingsError {
            key: "id",
            reason: format!("{origin} is {id:?}, but 1 to 64 characters of [A-Za-z0-9._-] are wanted"),
        })
    }

    /// The number of worker threads wanted on a machine with `processors`.
    pub fn worker_count(&self, processors: usize) -> usize {
        if self.workers == 0 { processors.clamp(1, WORKERS_MAX) } else { self.workers }
    }

    fn check_workers(&self) -> Result<(), SettingsError> {
        if self.workers > WORKERS_MAX {
            return refuse("workers", format!("must be at most {WORKERS_MAX}"));
        }
        let last = usize::from(self.media_port) + self.worker_count(processors()) - 1;
        if self.media_port != 0 && last > usize::from(u16::MAX) {
            return refuse("media_port", format!("the last worker's port would be {last}"));
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), SettingsError> {
        if !self.rest_exposed && !self.rest_listen.ip().is_loopback() {
            return refuse(
                "rest_listen",
                format!("{} is not a loopback address; rest_exposed = true allows it", self.rest_listen),
            );
        }
        if let Some(address) = self.announced_addresses.iter().find(|address| !is_announceable(**address)) {
            return refuse("announced_addresses", format!("{address} is no address a browser can send to"));
        }
        if self.announced_addresses.len() > ANNOUNCED_MAX {
            return refuse("announced_addresses", format!("more than {ANNOUNCED_MAX}"));
        }
        if !self.channel_url.is_empty() && base_url(&self.channel_url, &["http"]).is_none() {
            return refuse("channel_url", "must be http://host:port without a path".to_owned());
        }
        Ok(())
    }

    fn check_signaling(&self) -> Result<(), SettingsError> {
        if self.signaling.len() > SIGNALING_MAX {
            return refuse("signaling", format!("more than {SIGNALING_MAX}"));
        }
        if let Some(url) = self.signaling.iter().find(|url| base_url(url, &["http", "ws"]).is_none()) {
            return refuse(
                "signaling",
                format!("{url:?} is not http://host:port or ws://host:port without a path"),
            );
        }
        if let Some(weakness) = self.link_key.weakness().filter(|_| !self.signaling.is_empty()) {
            return refuse("link_key", weakness.to_owned());
        }
        if !self.link_key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("link_key", "must be printable ASCII without spaces".to_owned());
        }
        Ok(())
    }
}

/// The processors this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Host and port of a URL that has one of `schemes`, a host and no path.
pub(crate) fn base_url(url: &str, schemes: &[&str]) -> Option<(String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let host = uri.host().filter(|host| !host.is_empty())?;
    let has_login = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    (schemes.contains(&scheme) && is_bare && !has_login)
        .then(|| (host.to_owned(), uri.port_u16().unwrap_or(80)))
}

fn is_announceable(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

fn refuse(key: &'static str, reason: String) -> Result<(), SettingsError> {
    Err(SettingsError { key, reason })
}

/// Ports are counted from `media_port`; more processors than this share a machine with more than one bridge.
const WORKERS_MAX: usize = 256;

/// Past this, the bridge's own tables would have to be measured anew.
const ENDPOINTS_MAX: u32 = 100_000;

/// Half of what a browser's jitter buffer begins with; above it packets of one picture would be asked for again.
const SEND_HOLD_MAX_US: u32 = 10_000;

/// Goes into every `hello`.
const REGION_BYTES_MAX: usize = 64;

/// A browser keeps at most 40 candidates, and checks every one.
const ANNOUNCED_MAX: usize = 16;

/// One connection with a load report a second to each.
const SIGNALING_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> BridgeSettings {
        BridgeSettings {
            id: "bridge-1".to_owned(),
            link_key: Secret::from("k".repeat(wire::settings::SECRET_BYTES_MIN)),
            ..BridgeSettings::default()
        }
    }

    fn refused_key(change: impl FnOnce(&mut BridgeSettings)) -> &'static str {
        let mut settings = good();
        change(&mut settings);
        settings.check().unwrap_err().key
    }

    #[test]
    fn the_defaults_lack_only_the_key() {
        assert_eq!(good().check(), Ok(()));
        assert_eq!(refused_key(|settings| settings.link_key = Secret::default()), "link_key");
    }

    #[test]
    fn a_private_interface_open_to_the_world_is_refused_unless_allowed() {
        let open = |settings: &mut BridgeSettings| settings.rest_listen = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(refused_key(open), "rest_listen");
        let mut allowed = good();
        open(&mut allowed);
        allowed.rest_exposed = true;
        assert_eq!(allowed.check(), Ok(()));
    }

    #[test]
    fn a_bad_value_is_refused_by_its_key() {
        assert_eq!(refused_key(|settings| settings.id = "a/b".to_owned()), "id");
        assert_eq!(refused_key(|settings| settings.region = Some(String::new())), "region");
        assert_eq!(refused_key(|settings| settings.workers = 100_000), "workers");
        assert_eq!(
            refused_key(|settings| (settings.media_port, settings.workers) = (u16::MAX, 2)),
            "media_port"
        );
        assert_eq!(
            refused_key(|settings| settings.announced_addresses = vec!["0.0.0.0".parse().unwrap()]),
            "announced_addresses"
        );
        assert_eq!(refused_key(|settings| settings.channel_url = "https://x".to_owned()), "channel_url");
        assert_eq!(
            refused_key(|settings| settings.link_key = Secret::from("changeme".to_owned())),
            "link_key"
        );
        assert_eq!(
            refused_key(|settings| settings.link_key = Secret::from("line\nbreak".repeat(4))),
            "link_key"
        );
        assert_eq!(refused_key(|settings| settings.endpoints_max = 0), "endpoints_max");
        assert_eq!(refused_key(|settings| settings.send_hold_max_us = 10_001), "send_hold_max_us");
        assert_eq!(refused_key(|settings| settings.spread_above = 0), "spread_above");
    }

    #[test]
    fn a_signaling_url_is_a_scheme_a_host_and_a_port() {
        for url in ["http://127.0.0.1:8000", "ws://signaling.example:8000/", "http://[::1]:1"] {
            let mut settings = good();
            settings.signaling = vec![url.to_owned()];
            assert_eq!(settings.check(), Ok(()), "{url}");
        }
        for url in
            ["127.0.0.1:8000", "ftp://host", "ws://host/path", "ws://", "ws://me@host", "http://host?x", ""]
        {
            assert_eq!(
                refused_key(|settings| settings.signaling = vec![url.to_owned()]),
                "signaling",
                "{url}"
            );
        }
    }
}

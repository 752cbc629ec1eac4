//! What an operator can set: the `[signaling]` section. Everything is checked before a port is bound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wire::messages::ids::Epoch;
use wire::messages::meeting::SlotCounts;
use wire::settings::Secret;

use crate::engine::limits::Rate;
use crate::engine::ports::FocusSettings;
use crate::relays;

/// The `[signaling]` section. A key that is not here is refused by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignalingSettings {
    /// TCP address of the page, `/ws`, `/whip`, `/whep`, `/colibri-ws` and `/bridge-link`, without TLS: for browsers on
    /// this machine or behind a proxy that has TLS, since browsers give camera and microphone to secure pages only. Port
    /// 0: whatever is free. Default 127.0.0.1:8000.
    pub listen: SocketAddr,
    /// TCP address of the private REST interface. Port 0: whatever is free. Default 127.0.0.1:8888.
    pub rest_listen: SocketAddr,
    /// Lets `rest_listen` be reachable from other machines. It has no authentication: whoever reaches it reads the names
    /// of conferences. Default false.
    pub rest_exposed: bool,
    /// Host names by which the REST interface may be asked besides IP addresses and `localhost`. Default empty.
    pub rest_hosts: Vec<String>,
    /// The key that bridges show, at least 32 characters. Empty: only bridges on this machine may dial. Default empty.
    pub link_key: Secret,
    /// Bridges of this region are preferred. Default: none is.
    pub region: Option<String>,
    /// Loudest speakers a browser hears at once; each costs it one m-line and one decoder. Default 3.
    pub audio_slots: usize,
    /// Videos a browser is shown at once; each costs an m-line of about 3 KiB in every offer. Default 9.
    pub video_slots: usize,
    /// Participants of one conference. Default 500.
    pub participants_max: usize,
    /// Receive-only participants (WHEP) of one conference. Default 5000.
    pub viewers_max: usize,
    /// Conferences at one time; each costs about 1 KiB and its participants. Default 20000.
    pub conferences_max: usize,
    /// Seconds that a conference keeps its bridge after it fell back to one participant. Default 20.
    pub release_grace_s: u64,
    /// Seconds that a participant whose connection broke is kept without a leave notice. Default 30.
    pub resume_grace_s: u64,
    /// Milliseconds of silence after which a bridge is lost; it beats every 250 ms. Default 1000.
    pub bridge_silence_ms: u64,
    /// Origins besides our own whose pages may open `/ws` and channels, such as `https://meet.example.org`. Default empty.
    pub allowed_origins: Vec<String>,
    /// Proxies in front of us: their `X-Forwarded-For` names the browser that limits are counted for. Default empty.
    pub trusted_proxies: Vec<IpAddr>,
    /// Relays that browsers are told of, each with its leg, such as `turn:meet.example.org:443?transport=udp`,
    /// `turn:meet.example.org:443?transport=tcp` and `turns:meet.example.org:443?transport=tcp`. At most 8: browsers try
    /// all of them. Default empty: there is no relay.
    pub turn_uris: Vec<String>,
    /// The secret that the relays share with us, at least 32 characters: one of `turn-relay.secrets`, or coturn's
    /// `static-auth-secret`. Needed with `turn_uris`. Default empty.
    pub turn_secret: Secret,
    /// Seconds for which a browser can open an allocation with its credentials; the page renews them when it connects
    /// anew. The clocks of the relays have to agree with ours by less. Default 600, at most a day.
    pub turn_ttl_s: u64,
    /// A browser's credentials reach the bridge of its conference and no other peer; those for WHIP and WHEP, and for one
    /// who is in no conference yet, reach every bridge all the same. For relays that know all bridges by name, such as a
    /// turn-relay with `bridges_from`; one with a list of addresses only would refuse such credentials. Default false.
    pub turn_one_bridge: bool,
    /// Sockets at one time. Each needs a file descriptor; an idle participant costs about 16 KiB. Default 16000.
    pub sockets_max: usize,
    /// Sockets of one address (IPv6: of one /64). Default 200.
    pub sockets_per_address_max: usize,
    /// Joins a second of one address, WHIP and WHEP among them. Default 10.
    pub joins_per_address_per_s: u32,
    /// Joins of one address at once. Default 50.
    pub joins_per_address_burst: u32,
    /// Counts limits for loopback addresses too. Those are programs on this machine, or browsers behind a proxy that is
    /// not in `trusted_proxies`: their address says nothing. Default false.
    pub limit_loopback: bool,
}

impl Default for SignalingSettings {
    fn default() -> Self {
        let engine = FocusSettings::default();
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8000).into(),
            rest_listen: (Ipv4Addr::LOCALHOST, 8888).into(),
            rest_exposed: false,
            rest_hosts: Vec::new(),
            link_key: Secret::default(),
            region: None,
            audio_slots: engine.slots.audio,
            video_slots: engine.slots.video,
            participants_max: engine.participants_max,
            viewers_max: engine.viewers_max,
            conferences_max: engine.conferences_max,
            release_grace_s: engine.release_grace.as_secs(),
            resume_grace_s: engine.resume_grace.as_secs(),
            bridge_silence_ms: 1000,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            turn_uris: Vec::new(),
            turn_secret: Secret::default(),
            turn_ttl_s: 600,
            turn_one_bridge: false,
            sockets_max: 16_000,
            sockets_per_address_max: 200,
            joins_per_address_per_s: 10,
            joins_per_address_burst: 50,
            limit_loopback: false,
        }
    }
}

/// A value that cannot be used, by its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signaling.{key}: {reason}")]
pub struct SettingsError {
    /// The key within `[signaling]`.
    pub key: &'static str,
    /// What is wrong with its value.
    pub reason: String,
}

impl SignalingSettings {
    /// Whether signaling can be started with these values.
    ///
    /// # Errors
    /// The first key whose value cannot be used.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !self.rest_exposed && !self.rest_listen.ip().is_loopback() {
            let address = self.rest_listen;
            let reason = format!("{address} is not a loopback address; rest_exposed = true allows it");
            return refuse("rest_listen", reason);
        }
        if let Some(weakness) = self.link_key.weakness().filter(|_| !self.link_key.is_empty()) {
            return refuse("link_key", weakness.to_owned());
        }
        if !self.link_key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("link_key", "must be printable ASCII without spaces".to_owned());
        }
        if self.region.as_ref().is_some_and(|region| region.is_empty() || region.len() > REGION_BYTES_MAX) {
            return refuse("region", format!("must be 1 to {REGION_BYTES_MAX} bytes"));
        }
        if let Some(origin) = self.allowed_origins.iter().find(|origin| !is_origin(origin)) {
            return refuse("allowed_origins", format!("{origin:?} is not https://host or http://host:port"));
        }
        self.check_relays()?;
        self.check_ranges()
    }

    fn check_relays(&self) -> Result<(), SettingsError> {
        if self.turn_uris.len() > TURN_URIS_MAX {
            return refuse("turn_uris", format!("more than {TURN_URIS_MAX}"));
        }
        let fault = |uri: &String| relays::fault_of_uri(uri).map(|fault| format!("{uri:?} {fault}"));
        if let Some(reason) = self.turn_uris.iter().find_map(fault) {
            return refuse("turn_uris", reason);
        }
        if self.turn_secret.is_empty() && !self.turn_uris.is_empty() {
            return refuse(
                "turn_secret",
                "is needed with turn_uris: the one that the relays have".to_owned(),
            );
        }
        match self.turn_secret.weakness().filter(|_| !self.turn_secret.is_empty()) {
            Some(weakness) => refuse("turn_secret", weakness.to_owned()),
            None => Ok(()),
        }
    }

    fn check_ranges(&self) -> Result<(), SettingsError> {
        // Each with its reason: what is above would not fit an offer, a table or a timer that somebody waits for.
        let ranges = [
            ("audio_slots", self.audio_slots as u64, 1, 16),
            ("video_slots", self.video_slots as u64, 0, 16),
            ("participants_max", self.participants_max as u64, 2, PARTICIPANTS_MAX as u64),
            ("viewers_max", self.viewers_max as u64, 0, 100_000),
            ("conferences_max", self.conferences_max as u64, 1, 1_000_000),
            ("release_grace_s", self.release_grace_s, 0, 3_600),
            ("resume_grace_s", self.resume_grace_s, 0, 3_600),
            ("bridge_silence_ms", self.bridge_silence_ms, 500, 60_000),
            ("turn_ttl_s", self.turn_ttl_s, 60, 86_400),
            ("sockets_max", self.sockets_max as u64, 1, 1_000_000),
            ("sockets_per_address_max", self.sockets_per_address_max as u64, 1, 1_000_000),
            ("joins_per_address_per_s", u64::from(self.joins_per_address_per_s), 1, 100_000),
            ("joins_per_address_burst", u64::from(self.joins_per_address_burst), 1, 100_000),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return refuse(key, format!("must be {least} to {most}"));
            }
        }
        Ok(())
    }

    /// For the engine.
    pub(crate) fn focus(&self, seed: [u8; 32], epoch_floor: Epoch) -> FocusSettings {
        FocusSettings {
            seed,
            epoch_floor,
            region: self.region.clone(),
            slots: SlotCounts { audio: self.audio_slots, video: self.video_slots },
            participants_max: self.participants_max,
            viewers_max: self.viewers_max,
            conferences_max: self.conferences_max,
            release_grace: Duration::from_secs(self.release_grace_s),
            resume_grace: Duration::from_secs(self.resume_grace_s),
            bridge_silence: Duration::from_millis(self.bridge_silence_ms),
            ..FocusSettings::default()
        }
    }

    /// A key for a bridge in the same process, when the operator has set none.
    pub fn fresh_link_key() -> Secret {
        Secret::from(rand::random::<[u8; 32]>().map(|byte| format!("{byte:02x}")).concat())
    }

    /// How fast one address may join.
    pub(crate) fn join_rate(&self) -> Rate {
        Rate {
            per_s: f64::from(self.joins_per_address_per_s),
            burst: f64::from(self.joins_per_address_burst),
        }
    }
}

/// A scheme and a host, as the `Origin` header has them.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<axum::http::Uri>() else { return false };
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    is_web && uri.host().is_some_and(|host| !host.is_empty()) && !text.ends_with('/') && uri.path() == "/"
}

fn refuse(key: &'static str, reason: String) -> Result<(), SettingsError> {
    Err(SettingsError { key, reason })
}

/// Each join costs a snapshot of everybody: 3.5 MB at this size.
pub(crate) const PARTICIPANTS_MAX: usize = 5_000;
/// Each costs a browser a few sockets and seconds when it connects.
const TURN_URIS_MAX: usize = 8;
/// A word in every `hello`.
const REGION_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_key(change: impl FnOnce(&mut SignalingSettings)) -> &'static str {
        let mut settings = SignalingSettings::default();
        change(&mut settings);
        settings.check().unwrap_err().key
    }

    #[test]
    fn the_defaults_can_be_used() {
        assert_eq!(SignalingSettings::default().check(), Ok(()));
    }

    #[test]
    fn a_bad_value_is_refused_by_its_key() {
        assert_eq!(refused_key(|it| it.rest_listen = "0.0.0.0:8888".parse().unwrap()), "rest_listen");
        assert_eq!(refused_key(|it| it.link_key = Secret::from("short".to_owned())), "link_key");
        assert_eq!(refused_key(|it| it.link_key = Secret::from("a b".repeat(20))), "link_key");
        assert_eq!(refused_key(|it| it.region = Some(String::new())), "region");
        assert_eq!(refused_key(|it| it.audio_slots = 0), "audio_slots");
        assert_eq!(refused_key(|it| it.participants_max = 1), "participants_max");
        assert_eq!(refused_key(|it| it.bridge_silence_ms = 10), "bridge_silence_ms");
        let uri = || vec!["turn:relay.example".to_owned()];
        assert_eq!(refused_key(|it| it.turn_uris = vec!["relay.example".to_owned()]), "turn_uris");
        assert_eq!(refused_key(|it| it.turn_uris = vec![uri().remove(0); 9]), "turn_uris");
        assert_eq!(refused_key(|it| it.turn_uris = uri()), "turn_secret");
        assert_eq!(refused_key(|it| it.turn_secret = Secret::from("short".to_owned())), "turn_secret");
        assert_eq!(refused_key(|it| it.turn_ttl_s = 0), "turn_ttl_s");
        assert_eq!(refused_key(|it| it.turn_ttl_s = 86_401), "turn_ttl_s");
        for origin in ["meet.example.org", "https://meet.example.org/", "ftp://x", "https://"] {
            assert_eq!(refused_key(|it| it.allowed_origins = vec![origin.to_owned()]), "allowed_origins");
        }
        let fine = vec!["https://meet.example.org".to_owned(), "http://localhost:8000".to_owned()];
        let settings = SignalingSettings { allowed_origins: fine, ..SignalingSettings::default() };
        assert_eq!(settings.check(), Ok(()));
    }
}

//! Which bridges there are: lines of the settings, or what signaling's private interface says each second.
//!
//! Media does not need signaling. While it is away, the last good answer stays in force; a bridge that is missing from a
//! good one is kept for a minute, because signaling that was just started does not know its bridges yet.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{Request, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::control::Control;
use crate::engine::policy::range::parse_ports;
use crate::engine::policy::settings::BridgePeers;

/// Signaling's private interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    host: String,
    port: u16,
}

impl Source {
    /// `http://host:port`.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let has_login = uri.authority()?.as_str().contains('@');
        let host = uri.host().filter(|host| !host.is_empty())?;
        let is_http = uri.scheme_str() == Some("http");
        (is_http && is_bare && !has_login).then(|| Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
        })
    }

    /// The interface at an address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }

    /// Whether it runs on this machine: then loopback is the same place for both.
    fn is_beside(&self) -> bool {
        let ip = self.host.parse::<IpAddr>().map(|ip| ip.to_canonical());
        // Connecting to the unspecified address leads here as well.
        ip.map_or(self.host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback() || ip.is_unspecified())
    }

    fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

/// `203.0.113.4:10000` or `203.0.113.4:10000-10003`.
pub(crate) fn addresses_of(line: &str) -> Result<Vec<SocketAddr>, String> {
    let wrong = || format!("{line:?} is no bridge: 203.0.113.4:10000 or 203.0.113.4:10000-10003 is wanted");
    let (host, ports) = line.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // An IPv6 address without its brackets would lose its last group to the port.
    let ip = bare.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4() == (bare == host)).ok_or_else(wrong)?;
    let ports = parse_ports(ports).ok_or_else(wrong)?;
    if ports.len() > ADDRESSES_MAX {
        return Err(format!("{line:?} names more than {ADDRESSES_MAX} ports"));
    }
    Ok(ports.map(|port| SocketAddr::new(ip, port)).collect())
}

/// Asks each second, whoever the settings name at that time, and tells the shards what changes.
pub(crate) async fn poll(control: Arc<Control>) {
    let mut second = interval(POLL_INTERVAL);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::default();
    loop {
        second.tick().await;
        let Some(source) = control.source() else {
            if watch.forget() {
                control.set_bridges_asked(Vec::new());
            }
            continue;
        };
        let answer = timeout(ANSWER_TIME_MAX, ask(&source)).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Some(bridges) = watch.note(Instant::now(), &source, answer) {
            control.set_bridges_asked(bridges);
        }
    }
}

/// What signaling has said.
#[derive(Debug, Default)]
struct Watch {
    source: Option<Source>,
    /// When each was last named.
    known: BTreeMap<String, (Vec<SocketAddr>, Instant)>,
    is_away: bool,
    /// Some of the last answer's addresses were of no use, which is said once.
    has_left_out: bool,
}

impl Watch {
    /// The bridges now, if there was an answer.
    fn note(
        &mut self,
        now: Instant,
        source: &Source,
        answer: io::Result<Vec<BridgePeers>>,
    ) -> Option<Vec<BridgePeers>> {
        if self.source.as_ref() != Some(source) {
            *self = Self { source: Some(source.clone()), ..Self::default() };
        }
        let named = match answer {
            Ok(named) => named,
            Err(error) => {
                if !self.is_away {
                    tracing::warn!(%error, "signaling does not say which bridges there are; those known stay");
                }
                self.is_away = true;
                return None;
            }
        };
        if self.is_away {
            tracing::info!(bridges = named.len(), "signaling says again which bridges there are");
        }
        self.is_away = false;
        let mut left_out = 0;
        for mut bridge in named {
            let announced = bridge.addresses.len();
            bridge.addresses.retain(|address| can_be_peer(address.ip(), source));
            left_out += announced - bridge.addresses.len();
            self.known.insert(bridge.name, (bridge.addresses, now));
        }
        if left_out > 0 && !self.has_left_out {
            tracing::warn!(addresses = left_out, "signaling names addresses that are no peers from here");
        }
        self.has_left_out = left_out > 0;
        self.known.retain(|_, (_, last_named)| now.saturating_duration_since(*last_named) < KEPT);
        if self.known.len() > BRIDGES_MAX {
            // More than a policy holds: those that were just named stay.
            self.known.retain(|_, (_, last_named)| *last_named == now);
        }
        let bridges = self.known.iter();
        Some(
            bridges
                .map(|(name, (at, _))| BridgePeers { name: name.clone(), addresses: at.clone() })
                .collect(),
        )
    }

    /// Nobody is asked any more; whether anybody was.
    fn forget(&mut self) -> bool {
        std::mem::take(self).source.is_some()
    }
}

async fn ask(source: &Source) -> io::Result<Vec<BridgePeers>> {
    let stream = TcpStream::connect((source.host.as_str(), source.port)).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let request = Request::get("/api/bridges").header(header::HOST, source.authority()).body(Body::empty());
    let request = request.map_err(io::Error::other)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        if !response.status().is_success() {
            return Err(io::Error::other(format!("answered {}", response.status())));
        }
        to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await.map_err(io::Error::other)
    };
    // Both ends of one task: dropping it at the time limit closes the connection.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    let body = tokio::select! {
        body = answer.as_mut() => body?,
        closed = connection.as_mut() => {
            closed.map_err(io::Error::other)?;
            answer.await?
        }
    };
    read(&body)
}

/// Another machine's loopback is not ours: its bridges would open ports of this host.
fn can_be_peer(ip: IpAddr, source: &Source) -> bool {
    let ip = ip.to_canonical();
    !ip.is_unspecified() && !ip.is_multicast() && (!ip.is_loopback() || source.is_beside())
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    media: Vec<SocketAddr>,
}

fn read(body: &[u8]) -> io::Result<Vec<BridgePeers>> {
    let listed: Vec<Listed> = serde_json::from_slice(body).map_err(io::Error::other)?;
    if listed.len() > BRIDGES_MAX || listed.iter().any(|bridge| bridge.media.len() > ADDRESSES_MAX) {
        return Err(io::Error::other("more bridges or addresses than a policy holds"));
    }
    Ok(listed.into_iter().map(|bridge| BridgePeers { name: bridge.id, addresses: bridge.media }).collect())
}

/// A bridge is registered when its first conference is there, and that comes seconds after its start.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Signaling is on this machine or next to it.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// Bridges dial a signaling that was restarted within seconds.
const KEPT: Duration = Duration::from_secs(60);

const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Thousands of bridges.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// As many as the settings may list.
const BRIDGES_MAX: usize = 1_000;

/// Some addresses of a host, each with a port for each processor.
const ADDRESSES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bridges: Option<Vec<BridgePeers>>) -> Vec<String> {
        bridges.unwrap().into_iter().map(|bridge| bridge.name).collect()
    }

    fn bridge(name: &str) -> BridgePeers {
        BridgePeers { name: name.to_owned(), addresses: vec!["192.0.2.1:10000".parse().unwrap()] }
    }

    fn source() -> Source {
        Source::parse("http://127.0.0.1:8888").unwrap()
    }

    #[test]
    fn a_bridge_line_is_an_address_and_its_ports() {
        let addresses = addresses_of("203.0.113.4:10000-10002").unwrap();
        assert_eq!(addresses.len(), 3);
        assert_eq!(addresses[2], "203.0.113.4:10002".parse().unwrap());
        assert_eq!(addresses_of("[2001:db8::1]:9").unwrap(), ["[2001:db8::1]:9".parse().unwrap()]);
        for wrong in [
            "",
            "203.0.113.4",
            "203.0.113.4:",
            "203.0.113.4:0",
            "x:1",
            "2001:db8::1:9",
            "[203.0.113.4]:9",
            "10.0.0.1:1-65535",
        ] {
            assert!(addresses_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_source_is_a_scheme_a_host_and_a_port() {
        assert_eq!(source().authority(), "127.0.0.1:8888");
        let six = Source::parse("http://[::1]:8888").unwrap();
        assert_eq!(six.authority(), "[::1]:8888");
        assert_eq!(six, Source::at("[::1]:8888".parse().unwrap()));
        for wrong in
            ["", "127.0.0.1:8888", "https://x", "http://", "http://me@x", "http://x/path", "http://x?y"]
        {
            assert_eq!(Source::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_known_stays_while_signaling_is_away_and_a_minute_longer() {
        let start = Instant::now();
        let mut watch = Watch::default();
        assert_eq!(names(watch.note(start, &source(), Ok(vec![bridge("a"), bridge("b")]))), ["a", "b"]);
        let later = start + Duration::from_secs(3600);
        assert_eq!(watch.note(later, &source(), Err(io::ErrorKind::TimedOut.into())), None);
        // Signaling is back, and only one bridge has dialled it so far.
        let mut watch = Watch::default();
        watch.note(start, &source(), Ok(vec![bridge("a"), bridge("b")]));
        let soon = start + Duration::from_secs(59);
        assert_eq!(names(watch.note(soon, &source(), Ok(vec![bridge("a")]))), ["a", "b"]);
        let late = start + Duration::from_secs(61);
        assert_eq!(names(watch.note(late, &source(), Ok(vec![bridge("a")]))), ["a"]);
    }

    #[test]
    fn another_source_begins_anew() {
        let start = Instant::now();
        let mut watch = Watch::default();
        watch.note(start, &source(), Ok(vec![bridge("a")]));
        let other = Source::parse("http://127.0.0.1:8889").unwrap();
        assert_eq!(names(watch.note(start, &other, Ok(vec![bridge("b")]))), ["b"]);
        assert!(watch.forget());
        assert!(!watch.forget());
    }

    #[test]
    fn loopback_of_another_machine_is_no_bridge_and_nowhere_is_nobodys() {
        let can = |ip: &str, url: &str| can_be_peer(ip.parse().unwrap(), &Source::parse(url).unwrap());
        for here in ["http://127.0.0.1:8888", "http://[::1]:8888", "http://localhost", "http://0.0.0.0:1"] {
            assert!(can("127.0.0.1", here) && can("::1", here) && can("10.0.0.5", here), "{here}");
            assert!(!can("0.0.0.0", here) && !can("::", here) && !can("224.0.0.1", here), "{here}");
        }
        for elsewhere in ["http://10.0.0.9:8888", "http://[2001:db8::9]", "http://signaling.internal"] {
            for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
                assert!(!can(loopback, elsewhere), "{loopback} from {elsewhere}");
            }
            assert!(!can("ff02::1", elsewhere) && !can("0.0.0.0", elsewhere));
            assert!(can("10.0.0.5", elsewhere) && can("2001:db8::5", elsewhere));
        }
        let addresses = ["127.0.0.1:22", "192.0.2.1:10000"].map(|address| address.parse().unwrap()).to_vec();
        let bad = BridgePeers { name: "bad".to_owned(), addresses };
        let elsewhere = Source::parse("http://10.0.0.9:8888").unwrap();
        let known = Watch::default().note(Instant::now(), &elsewhere, Ok(vec![bad])).unwrap();
        assert_eq!(known[0].addresses, ["192.0.2.1:10000".parse().unwrap()]);
    }

    #[test]
    fn names_that_change_each_second_do_not_pile_up() {
        let (start, mut watch) = (Instant::now(), Watch::default());
        for second in 0..10 {
            let named = (0..BRIDGES_MAX).map(|number| bridge(&format!("{second}-{number}"))).collect();
            let known = watch.note(start + Duration::from_secs(second), &source(), Ok(named)).unwrap();
            assert!(known.len() <= BRIDGES_MAX && known.iter().any(|it| it.name == format!("{second}-0")));
        }
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        let whole = br#"[{"id":"one","region":null,"media":["203.0.113.4:10000","[2001:db8::1]:10000"]},{"id":"old"}]"#;
        let bridges = read(whole).unwrap();
        assert_eq!((bridges.len(), bridges[0].addresses.len(), bridges[1].addresses.len()), (2, 2, 0));
        for wrong in ["", "{}", "[1]", r#"[{"id":1}]"#, r#"[{"id":"a","media":["meet.example:1"]}]"#] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let many: Vec<String> = (0..=BRIDGES_MAX).map(|number| format!(r#"{{"id":"{number}"}}"#)).collect();
        assert!(read(format!("[{}]", many.join(",")).as_bytes()).is_err());
    }
}

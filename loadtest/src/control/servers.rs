//! What servers say of themselves: their `/stats`, and of the process what `/metrics` beside it tells.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::failure::Failure;
use super::{Control, http};

/// One server at one instant. Counters are since the server's start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerSample {
    /// Where it was read.
    pub url: String,
    /// Why there is nothing in the rest; one line.
    pub failure: Option<String>,
    /// The busiest worker, 0.0 to 1.0; 0 where there are none.
    pub busy: f64,
    /// As the server says; 1.0 is full.
    pub stress: f64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Resident memory, MiB; none where it does not say.
    pub memory_mib: Option<f64>,
    /// Forwarding latency, microseconds: p50, p99, p999.
    pub forwarding_latency_us: Option<[u64; 3]>,
    /// Datagrams dropped by reason; zeros left out.
    pub dropped: BTreeMap<String, u64>,
    /// Processor time of the process, seconds; none where it does not say.
    pub processor_s: Option<f64>,
    /// Browsers' sockets; none where it is no signaling.
    pub websockets: Option<u64>,
}

/// Reads some servers.
pub struct ServerReader {
    http: Client,
    servers: Vec<Server>,
}

struct Server {
    stats: String,
    /// Asked as long as it tells something of the process.
    metrics: Option<String>,
}

impl ServerReader {
    /// A reader of these `/stats` URLs.
    pub fn new(control: &Control, urls: &[String]) -> Self {
        let servers = urls.iter().map(|url| Server { stats: url.clone(), metrics: metrics_of(url) });
        Self { http: control.http.clone(), servers: servers.collect() }
    }

    /// Asks all at once; each answers within a second or has failed. In the order of the URLs.
    pub async fn sample(&mut self) -> Vec<ServerSample> {
        let http = &self.http;
        join_all(self.servers.iter_mut().map(|server| server.sample(http))).await
    }
}

impl Server {
    async fn sample(&mut self, http: &Client) -> ServerSample {
        let asked = timeout(ANSWER_TIME_MAX, self.ask(http)).await;
        let late = || {
            Err(Failure::passing("http_timeout", format!("GET {}: no answer within a second", self.stats)))
        };
        let mut sample = match asked.unwrap_or_else(|_| late()) {
            Ok(sample) => sample,
            Err(failure) => ServerSample { failure: Some(failure.line), ..ServerSample::default() },
        };
        sample.url.clone_from(&self.stats);
        sample
    }

    async fn ask(&mut self, http: &Client) -> Result<ServerSample, Failure> {
        let stats = text(http, &self.stats).await?;
        let mut sample = read(&stats).map_err(|why| {
            Failure::lasting("bad_stats", format!("GET {}: no statistics of ours: {why}", self.stats))
        })?;
        if let Some(metrics) = &self.metrics {
            match text(http, metrics).await.map(|text| process_of(&text)) {
                Ok(Process { processor_s, memory_mib }) if processor_s.is_some() || memory_mib.is_some() => {
                    sample.processor_s = processor_s;
                    // Exact, where `/stats` has whole megabytes.
                    sample.memory_mib = memory_mib.or(sample.memory_mib);
                }
                // It answers, and has nothing for us, now or later.
                Ok(_) => self.metrics = None,
                Err(failure) if failure.is_final => self.metrics = None,
                Err(_) => {}
            }
        }
        Ok(sample)
    }
}

async fn text(http: &Client, url: &str) -> Result<String, Failure> {
    let what = format!("GET {url}");
    let body = http::get(http.get(url), &what).await?;
    String::from_utf8(body.into()).map_err(|_| Failure::lasting("bad_stats", format!("{what}: not UTF-8")))
}

/// `/metrics` stands beside `/stats`, and beside `/colibri/stats` one above.
fn metrics_of(stats: &str) -> Option<String> {
    let mut url = Url::parse(stats).ok()?;
    let base = url.path().strip_suffix("/stats")?;
    let path = format!("{}/metrics", base.strip_suffix("/colibri").unwrap_or(base));
    url.set_path(&path);
    Some(url.into())
}

/// The keys of a bridge's and of signaling's `/stats`; all others are let pass, and so is what has another shape than it
/// should: a server of another version is read as far as it can be.
fn read(text: &str) -> Result<ServerSample, String> {
    let stats: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let workers: Vec<Worker> = field(&stats, "workers").unwrap_or_default();
    let latency: Option<Latency> = field(&stats, "forwarding_latency_us");
    let mut dropped: BTreeMap<String, u64> = field(&stats, "dropped_packets").unwrap_or_default();
    dropped.retain(|_, count| *count > 0);
    dropped = dropped.into_iter().take(DROP_REASONS_MAX).collect();
    let number = |key: &str| field(&stats, key).unwrap_or_default();
    Ok(ServerSample {
        busy: workers.iter().map(|worker| worker.busy).fold(0.0, f64::max),
        stress: field(&stats, "stress_level").unwrap_or_default(),
        packets_sent: number("total_packets_sent"),
        packets_received: number("total_packets_received"),
        bytes_sent: number("total_bytes_sent"),
        bytes_received: number("total_bytes_received"),
        memory_mib: field(&stats, "used_memory"),
        forwarding_latency_us: latency.map(|latency| [latency.p50, latency.p99, latency.p999]),
        dropped,
        websockets: field(&stats, "websockets"),
        ..ServerSample::default()
    })
}

fn field<T: DeserializeOwned>(stats: &BTreeMap<String, Value>, key: &str) -> Option<T> {
    serde_json::from_value(stats.get(key)?.clone()).ok()
}

#[derive(Deserialize)]
struct Worker {
    busy: f64,
}

#[derive(Deserialize)]
struct Latency {
    p50: u64,
    p99: u64,
    p999: u64,
}

#[derive(Debug, Default, PartialEq)]
struct Process {
    processor_s: Option<f64>,
    memory_mib: Option<f64>,
}

/// Prometheus' text: the names that client libraries use for a process, with or without a program's name before them.
fn process_of(text: &str) -> Process {
    let mut process = Process::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        let Some(value) = value.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0) else {
            continue;
        };
        if name.ends_with("process_cpu_seconds_total") {
            process.processor_s = Some(value);
        } else if name.ends_with("process_resident_memory_bytes") {
            process.memory_mib = Some(value / MIB);
        }
    }
    process
}

/// A server that is asked once a second.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(900);
const MIB: f64 = 1_048_576.0;
/// A bridge has some forty; each is kept for each second of the run, and has a line in the report.
const DROP_REASONS_MAX: usize = 100;

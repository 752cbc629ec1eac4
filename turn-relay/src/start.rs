//! Puts a relay together: binds everything first, so that a port in use leaves nothing half started.

mod bind;
mod parts;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle as ThreadHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::bind::Sockets;
use self::parts::{ShardsGuard, spawn_shards, stop_shards};
use crate::bridges::Source;
use crate::control::{Control, Hosts};
use crate::ended::Ended;
use crate::engine::policy::settings::BridgePeers;
use crate::front;
use crate::front::ports::Web;
use crate::reload::{self, ReadSettings};
use crate::rest::listener::{self, Limits};
use crate::settings::{RelaySettings, SettingsError};
use crate::udp::UdpListener;
use crate::{bridges, rest};

/// What a started relay listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// TURN over UDP.
    pub udp: Vec<SocketAddr>,
    /// TURN over TCP and TLS, and HTTP: the first bytes decide. Those of `udp` first, then those of `tls_listen`.
    pub tcp: Vec<SocketAddr>,
    /// Addresses of allocations, as clients and peers are told them.
    pub relayed: Vec<IpAddr>,
    /// Private REST interface.
    pub rest: SocketAddr,
}

impl Bound {
    /// What a browser is given to reach this relay under `host`: one URI for each leg. `turns:` takes a certificate for
    /// that host.
    pub fn uris(&self, host: &str) -> Vec<String> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let udp = self.udp.first().map(|udp| format!("turn:{host}:{}?transport=udp", udp.port()));
        let tcp = self.tcp.first().map(|tcp| format!("turn:{host}:{}?transport=tcp", tcp.port()));
        let tls = self.tcp.get(self.udp.len()).or(self.tcp.first());
        let tls = tls.map(|tls| format!("turns:{host}:{}?transport=tcp", tls.port()));
        [udp, tcp, tls].into_iter().flatten().collect()
    }
}

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value that cannot be used.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// An address that cannot be bound: in use, not ours, or not allowed.
    #[error("turn-relay.{key}: {address}: {error}")]
    Bind {
        /// The key within `[turn-relay]`.
        key: &'static str,
        /// What was to be bound.
        address: String,
        /// The system's word.
        error: io::Error,
    },
    /// The system refuses a thread, a descriptor or a signal.
    #[error("{0}")]
    System(#[from] io::Error),
    /// The cryptography or metrics library refuses what it must not.
    #[error("{0}")]
    Library(String),
}

/// Why a relay that ran has ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A thread is gone that it cannot be without.
    #[error("a shard has ended; the log says why")]
    ShardFailed,
}

/// A running relay. Dropping it stops everything at once; `run_until` drains, stops in order and waits.
pub struct RelayHandle {
    bound: Bound,
    control: Arc<Control>,
    threads: Vec<ThreadHandle<()>>,
    tasks: JoinSet<()>,
    /// Writes what the shards say about ended allocations, to their last word.
    writer: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// Binds every port and starts the shards, the front and the watchers. On return it is ready: clients are answered. HTTP
/// goes to `web`.
///
/// # Errors
/// See [`StartError`]; then nothing has been started.
pub async fn start(settings: &RelaySettings, web: Web) -> Result<RelayHandle, StartError> {
    settings.check()?;
    let certificates = Arc::new(settings.certificates()?);
    if settings.certificate.is_none() {
        tracing::warn!(
            "TLS has a self-signed certificate, which browsers refuse: set turn-relay.certificate and key"
        );
    }
    let shards = settings.shard_count(crate::settings::processors());
    let Sockets { udp, tcp, rest: rest_listener } = bind::all(settings, shards)?;
    let bound = bound(settings, &udp, &tcp, &rest_listener)?;
    let hosts = hosts(settings, &bound)?;

    let (record_sender, records) = mpsc::channel(RECORDS_MAX);
    let (shards, threads) = spawn_shards(settings, udp, &hosts, &record_sender)?;
    // A failure from here on ends them.
    let guard = ShardsGuard(shards.clone());
    let (stop, stopped) = watch::channel(false);
    let front = parts::front(settings, web, Arc::clone(&certificates), shards.clone())?;
    let ended = Arc::new(Ended::default());
    let carriers = (shards, Arc::clone(&front), certificates);
    let control = Arc::new(Control::new(carriers, Arc::clone(&ended), hosts, settings.clone()));
    let router = rest::router(Arc::clone(&control), &settings.rest_hosts)
        .map_err(|error| StartError::Library(error.to_string()))?;

    let mut tasks = JoinSet::new();
    let writer = tokio::spawn(ended.write(records));
    tasks.spawn(bridges::poll(Arc::clone(&control)));
    for listener in tcp {
        tasks.spawn(front::serve(listener, Arc::clone(&front), stopped.clone()));
    }
    let limits = Limits { connections_max: REST_CONNECTIONS_MAX, age_max: CONNECTION_AGE_MAX };
    tasks.spawn(listener::serve(rest_listener, router, limits, stopped));
    guard.disarm();
    Ok(RelayHandle { bound, control, threads, tasks, writer, stop })
}

impl RelayHandle {
    /// What it listens on.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Says which bridges there are, besides those of the settings and those that signaling names.
    pub fn set_bridges(&self, bridges: Vec<BridgePeers>) {
        self.control.set_bridges_beside(bridges);
    }

    /// Asks signaling's private interface which bridges there are, unless `policy.bridges_from` names another one. Only
    /// the first call counts.
    pub fn ask_signaling(&self, rest: SocketAddr) {
        self.control.set_source(Source::at(rest));
    }

    /// From now on reads the settings again each second and on SIGHUP, and puts in force what differs. `read` reads them
    /// as at the start and checks them; its error is one line for the operator.
    ///
    /// # Errors
    /// When the system refuses the signal's handler.
    pub fn reload_from(
        &mut self,
        read: impl Fn() -> Result<RelaySettings, String> + Send + 'static,
    ) -> io::Result<()> {
        let read: ReadSettings = Box::new(read);
        self.tasks.spawn(reload::watch(Arc::clone(&self.control), read, reload::hang_up()?));
        Ok(())
    }

    /// Serves until `shutdown` is done; then makes no allocations any more, goes on with those there are until none is
    /// left, `drain_s` is over or `at_once` is done, and stops within a second or two. `at_once` is first polled after
    /// `shutdown`.
    ///
    /// # Errors
    /// When a thread is gone that the relay cannot be without; the process should end and be started again.
    pub async fn run_until(
        mut self,
        shutdown: impl Future<Output = ()>,
        at_once: impl Future<Output = ()>,
    ) -> Result<(), RelayError> {
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            () = shard_gone(&self.threads) => Err(RelayError::ShardFailed),
        };
        if outcome.is_ok() {
            self.control.set_draining(true);
            let drain = Duration::from_secs(self.control.settings().drain_s);
            tokio::select! {
                () = drained(&self.control, drain) => {}
                () = at_once => {}
                () = shard_gone(&self.threads) => {}
            }
        }
        self.stop().await;
        outcome
    }

    async fn stop(&mut self) {
        // The listeners close; the watchers are dropped; whoever holds nothing of ours any more lets the threads end.
        let _ = self.stop.send(true);
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        stop_shards(&self.control.shards);
        let threads = std::mem::take(&mut self.threads);
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        // A shard that hangs is not waited for.
        let _ = timeout(STOP_TIME_MAX, joined).await;
        // Done when the last shard has gone.
        let _ = timeout(STOP_TIME_MAX, &mut self.writer).await;
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        stop_shards(&self.control.shards);
    }
}

/// Done when nobody is relayed any more, or when it has lasted long enough.
async fn drained(control: &Control, drain: Duration) {
    let deadline = Instant::now() + drain;
    // The shards' numbers are a quarter of a second old: an allocation just made is not missed.
    let mut quarter = interval(SAMPLE_AGE_MAX);
    quarter.tick().await;
    if drain.is_zero() {
        return;
    }
    loop {
        quarter.tick().await;
        let left = control.sample().allocations();
        if left == 0 {
            return;
        }
        if Instant::now() >= deadline {
            tracing::warn!(
                allocations = left,
                "drained for as long as drain_s allows; allocations are cut off"
            );
            return;
        }
        control.settle();
    }
}

/// Done when a shard's thread has ended, which none does by itself.
async fn shard_gone(threads: &[ThreadHandle<()>]) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !threads.iter().any(ThreadHandle::is_finished) {
        second.tick().await;
    }
    // What it logged last is written first.
    sleep(Duration::from_millis(1)).await;
}

fn bound(
    settings: &RelaySettings,
    udp: &[Vec<UdpListener>],
    tcp: &[TcpListener],
    rest: &TcpListener,
) -> Result<Bound, StartError> {
    Ok(Bound {
        udp: udp.first().map(|first| first.iter().map(UdpListener::local_addr).collect()).unwrap_or_default(),
        tcp: tcp.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?,
        relayed: settings.relay_addresses()?.iter().map(|relay| relay.announced).collect(),
        rest: rest.local_addr()?,
    })
}

fn hosts(settings: &RelaySettings, bound: &Bound) -> Result<Hosts, StartError> {
    let mut listeners: Vec<SocketAddr> = bound.udp.iter().chain(&bound.tcp).copied().collect();
    listeners.push(bound.rest);
    listeners.sort_unstable();
    listeners.dedup();
    Ok(Hosts { addresses: settings.own_addresses()?, listeners })
}

/// About a second of allocations that all end together.
const RECORDS_MAX: usize = 8192;

/// How often shards publish their numbers.
const SAMPLE_AGE_MAX: Duration = Duration::from_millis(300);

/// For the shards to end.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// An exporter, a prober, a person, and some that read slowly.
const REST_CONNECTIONS_MAX: usize = 64;

/// A scraper's kept-alive connection is renewed every few scrapes.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60);

//! Puts a bridge together: binds everything first, so that a port in use leaves nothing half started.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle as ThreadHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use wire::messages::ids::BridgeId;
use wire::messages::link::{Hello, MEDIA_ADDRESSES_MAX};
use wire::messages::media::Fingerprint;

use crate::control::{Control, PlacementLimits};
use crate::engine::ports::{EngineSettings, PartId};
use crate::handshake::Identity;
use crate::handshakes::Handshakes;
use crate::link::LinkSettings;
use crate::listener::{self, Limits};
use crate::settings::{BridgeSettings, SettingsError, base_url, processors};
use crate::udp::{MediaSocket, SOCKET_BUFFER_BYTES, allowed_processors};
use crate::worker::{Door, FromWorker, Mailbox, Worker, WorkerCommand, WorkerParts};
use crate::{addresses, channel, link, rest};

/// What a started bridge listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// Its name.
    pub bridge: BridgeId,
    /// UDP ports of the workers, on every local address.
    pub media_ports: Vec<u16>,
    /// Addresses browsers are told, each for every worker's port; most wanted first.
    pub announced: Vec<IpAddr>,
    /// Channel WebSockets.
    pub channel: SocketAddr,
    /// Private REST interface.
    pub rest: SocketAddr,
}

/// Why a bridge did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value that cannot be used.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// An address that cannot be bound: in use, not ours, or not allowed.
    #[error("bridge.{key}: {address}: {error}")]
    Bind {
        /// The key within `[bridge]`.
        key: &'static str,
        /// What was to be bound.
        address: String,
        /// The system's word.
        error: io::Error,
    },
    /// The system refuses a thread, a descriptor, or its list of addresses.
    #[error("{0}")]
    System(#[from] io::Error),
    /// The cryptography or metrics library refuses what it must not.
    #[error("{0}")]
    Library(String),
}

/// Why a bridge that ran has ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// A thread is gone that it cannot be without.
    #[error("{0}")]
    ThreadFailed(String),
}

/// A running bridge. Dropping it stops everything at once; `run_until` stops in order and waits.
pub struct BridgeHandle {
    bound: Bound,
    control: Arc<Control>,
    threads: Vec<ThreadHandle<()>>,
    failed: oneshot::Receiver<String>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// Binds every port and starts the workers, the DTLS thread, the listeners and the links. On return it is ready: commands,
/// checks and channels are answered.
///
/// # Errors
/// See [`StartError`]; then nothing has been started.
pub async fn start(settings: &BridgeSettings) -> Result<BridgeHandle, StartError> {
    settings.check()?;
    let identity = Identity::generate().map_err(|error| StartError::Library(error.to_string()))?;
    let sockets = bind_media(settings)?;
    let channel_listener = bind_tcp("channel_listen", settings.channel_listen).await?;
    let rest_listener = bind_tcp("rest_listen", settings.rest_listen).await?;
    let bound = Bound {
        bridge: settings.bridge_id()?,
        media_ports: sockets.iter().map(MediaSocket::port).collect(),
        announced: announced(settings)?,
        channel: channel_listener.local_addr()?,
        rest: rest_listener.local_addr()?,
    };

    let (control_sender, from_workers) = mpsc::channel(FROM_WORKERS_MAX);
    let Threads { workers, handshakes, handles } =
        spawn_threads(settings, &bound, identity, sockets, &control_sender)?;
    let (endpoints_max, links) = (settings.endpoints_max as usize, settings.signaling.len());
    let limits = PlacementLimits { endpoints_max, spread_above: settings.spread_above as usize };
    let control = Arc::new(Control::new(bound.bridge.clone(), workers, handshakes, limits, links));
    let rest_router =
        rest::router(Arc::clone(&control), settings.region.clone(), &settings.rest_hosts, links)
            .map_err(|error| StartError::Library(error.to_string()))?;

    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let (fail, failed) = oneshot::channel();
    tasks.spawn({
        let control = Arc::clone(&control);
        async move {
            // Nobody to tell means that the bridge is being stopped.
            let _ = fail.send(control.pump(from_workers).await);
        }
    });
    tasks.spawn(sample(Arc::clone(&control)));
    let sockets_max = endpoints_max + CHANNELS_REPLACED_MAX;
    let channel_router = channel::router(Arc::clone(&control), sockets_max);
    let channel_limits = Limits { connections_max: CHANNEL_CONNECTIONS_MAX, age_max: CONNECTION_AGE_MAX };
    tasks.spawn(listener::serve(channel_listener, channel_router, channel_limits, stopped.clone()));
    let rest_limits = Limits { connections_max: REST_CONNECTIONS_MAX, age_max: CONNECTION_AGE_MAX };
    tasks.spawn(listener::serve(rest_listener, rest_router, rest_limits, stopped));
    for settings in links_of(settings, &bound) {
        tasks.spawn(link::run(settings, Arc::clone(&control)));
    }
    Ok(BridgeHandle { bound, control, threads: handles, failed, tasks, stop })
}

impl BridgeHandle {
    /// What it listens on.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Serves until `shutdown` is done, then stops within a second or two.
    ///
    /// # Errors
    /// When a thread is gone that the bridge cannot be without; the process should end and be started again.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), BridgeError> {
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            why = &mut self.failed => {
                let why = why.unwrap_or_else(|_| "the control plane is gone".to_owned());
                Err(BridgeError::ThreadFailed(why))
            }
        };
        self.stop().await;
        outcome
    }

    async fn stop(mut self) {
        // The listeners close; links and sampler are dropped; whoever holds nothing of ours any more lets the threads end.
        let _ = self.stop.send(true);
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        for worker in &self.control.workers {
            // A worker that hangs is not waited for.
            let _ = timeout(STOP_TIME_MAX, worker.command(WorkerCommand::Stop)).await;
        }
        let threads = std::mem::take(&mut self.threads);
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = timeout(STOP_TIME_MAX, joined).await;
    }
}

fn bind_media(settings: &BridgeSettings) -> Result<Vec<MediaSocket>, StartError> {
    let count = settings.worker_count(processors());
    let mut sockets = Vec::with_capacity(count);
    for index in 0..count {
        // Invariant: checked with the settings that the last port exists.
        let offset = u16::try_from(index).unwrap_or_default();
        let port = if settings.media_port == 0 { 0 } else { settings.media_port + offset };
        let socket = MediaSocket::bind(port).map_err(|error| StartError::Bind {
            key: "media_port",
            address: format!("UDP port {port}"),
            error,
        })?;
        sockets.push(socket);
    }
    let granted = sockets.first().map(MediaSocket::buffer_bytes);
    if let Some(granted) = granted.filter(|granted| granted.are_clamped()) {
        tracing::warn!(
            wanted = SOCKET_BUFFER_BYTES,
            receive = granted.receive,
            send = granted.send,
            "small socket buffers lose packets under load: raise net.core.rmem_max and net.core.wmem_max"
        );
    }
    Ok(sockets)
}

async fn bind_tcp(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let address_text = format!("TCP {address}");
    TcpListener::bind(address).await.map_err(|error| StartError::Bind { key, address: address_text, error })
}

fn announced(settings: &BridgeSettings) -> Result<Vec<IpAddr>, StartError> {
    let addresses = if settings.announced_addresses.is_empty() {
        addresses::local_addresses()?
    } else {
        settings.announced_addresses.clone()
    };
    if addresses.is_empty() {
        let reason = "this machine has no address; say which browsers can use".to_owned();
        return Err(SettingsError { key: "announced_addresses", reason }.into());
    }
    Ok(addresses)
}

/// The workers, and their way to the DTLS thread.
struct Threads {
    workers: Vec<Worker>,
    handshakes: Handshakes,
    /// The workers' own.
    handles: Vec<ThreadHandle<()>>,
}

/// Starts the workers and the DTLS thread, connected to each other and to `control`. All of them end by themselves when
/// nobody can ask them for anything any more.
fn spawn_threads(
    settings: &BridgeSettings,
    bound: &Bound,
    identity: Identity,
    sockets: Vec<MediaSocket>,
    control: &mpsc::Sender<FromWorker>,
) -> Result<Threads, StartError> {
    let fingerprint = Fingerprint { algorithm: "sha-256".to_owned(), value: identity.fingerprint_sha256() };
    let (handshakes, inbox) = Handshakes::queue();
    let mailboxes = sockets.iter().map(|_| Mailbox::new(sockets.len())).collect::<io::Result<Vec<_>>>()?;
    let reports = mailboxes.iter().map(Mailbox::report_sender).collect();
    let doors: Arc<[Door]> = mailboxes.iter().map(Mailbox::door).collect();
    drop(inbox.spawn(identity, reports, control.clone())?);
    let mut handles = Vec::with_capacity(sockets.len());
    let processors = if settings.pin_workers { allowed_processors() } else { Vec::new() };
    let mut workers = Vec::with_capacity(sockets.len());
    for (index, (socket, mailbox)) in sockets.into_iter().zip(mailboxes).enumerate() {
        let engine = EngineSettings {
            bridge: bound.bridge.clone(),
            fingerprint: fingerprint.clone(),
            candidates: addresses::candidates(&bound.announced, socket.family(), socket.port()),
            endpoints_max: settings.endpoints_max as usize,
            seed: rand::random(),
            part: PartId(index as u16),
        };
        let processor = (!processors.is_empty()).then(|| processors[index % processors.len()]);
        let handshakes = handshakes.clone();
        let parts = WorkerParts {
            index,
            socket,
            engine,
            mailbox,
            doors: Arc::clone(&doors),
            handshakes,
            control: control.clone(),
            processor,
            send_hold_max: Duration::from_micros(settings.send_hold_max_us.into()),
        };
        let (worker, handle) = Worker::spawn(parts)?;
        workers.push(worker);
        handles.push(handle);
    }
    Ok(Threads { workers, handshakes, handles })
}

async fn sample(control: Arc<Control>) {
    let mut second = interval(SAMPLE_INTERVAL);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        control.sample(Instant::now());
    }
}

fn links_of(settings: &BridgeSettings, bound: &Bound) -> Vec<LinkSettings> {
    let hello = Hello {
        bridge: bound.bridge.clone(),
        boot: format!("{:032x}", rand::random::<u128>()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        region: settings.region.clone(),
        channel: channel_url(settings, bound.channel),
        media: media_addresses(bound),
        endpoints_max: settings.endpoints_max,
        conferences: Vec::new(),
    };
    let targets = settings.signaling.iter().filter_map(|url| base_url(url, &["http", "ws"]));
    targets
        .enumerate()
        .map(|(index, (host, port))| LinkSettings {
            index,
            host,
            port,
            key: settings.link_key.clone(),
            hello: hello.clone(),
        })
        .collect()
}

/// What a relay lets its clients reach: the most wanted address of every worker, then the next.
fn media_addresses(bound: &Bound) -> Vec<SocketAddr> {
    let of_all_workers = |&ip| bound.media_ports.iter().map(move |&port| SocketAddr::new(ip, port));
    bound.announced.iter().flat_map(of_all_workers).take(MEDIA_ADDRESSES_MAX).collect()
}

/// The configured URL, or one that works on this machine.
fn channel_url(settings: &BridgeSettings, bound: SocketAddr) -> String {
    if !settings.channel_url.is_empty() {
        return settings.channel_url.trim_end_matches('/').to_owned();
    }
    let address = match bound.ip() {
        ip if !ip.is_unspecified() => bound,
        IpAddr::V4(_) => SocketAddr::new([127, 0, 0, 1].into(), bound.port()),
        IpAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), bound.port()),
    };
    format!("http://{address}")
}

/// About a second of a join storm's outputs from every worker.
const FROM_WORKERS_MAX: usize = 8192;

const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// For the workers to end.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// Channels that are being replaced count beside their successors for a moment.
const CHANNELS_REPLACED_MAX: usize = 64;

/// Not yet upgraded: a join storm's worth, and what signaling's proxy may hold open.
const CHANNEL_CONNECTIONS_MAX: usize = 1024;

/// An exporter, a prober, a person, and some that read slowly.
const REST_CONNECTIONS_MAX: usize = 64;

/// A scraper's kept-alive connection is renewed every few scrapes.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60);

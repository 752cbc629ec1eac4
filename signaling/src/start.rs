//! Puts signaling together: binds everything first, so that a port in use leaves nothing half started.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use wire::messages::ids::Epoch;

use crate::gate::Gate;
use crate::hub::Hub;
use crate::listener::{Server, WebConnection};
use crate::public::{self, Public};
use crate::relays::Relays;
use crate::rest;
use crate::settings::{SettingsError, SignalingSettings};

/// Exporters, probers and a few people.
const REST_CONNECTIONS_MAX: usize = 64;
/// Requests that are not WebSockets come on top of those.
const SPARE_CONNECTIONS: usize = 1000;
/// Connections handed over that wait to be served, which takes microseconds each.
const WEB_CONNECTIONS_MAX: usize = 64;
/// Everybody is told that the server stops, and closes.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// What a started signaling listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// The page, WebSockets, WHIP and WHEP, links of bridges.
    pub public: SocketAddr,
    /// Private REST interface.
    pub rest: SocketAddr,
}

/// Why signaling did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value that cannot be used.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// An address that cannot be bound: in use, not ours, or not allowed.
    #[error("signaling.{key}: {address}: {error}")]
    Bind {
        /// The key within `[signaling]`.
        key: &'static str,
        /// What was to be bound.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// The system has no randomness, or says no address of a socket it bound.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// A running signaling. Dropping it stops everything at once; `run_until` says goodbye first.
#[derive(Debug)]
pub struct SignalingHandle {
    bound: Bound,
    hub: JoinHandle<()>,
    tasks: JoinSet<()>,
    web_connections: mpsc::Sender<WebConnection>,
    sockets: Arc<Semaphore>,
    sockets_max: u32,
    stop: watch::Sender<bool>,
}

/// Binds both ports and starts the engine. On return it is ready: browsers and bridges are answered.
///
/// # Errors
/// See [`StartError`]; then nothing has been started.
pub async fn start(settings: &SignalingSettings) -> Result<SignalingHandle, StartError> {
    settings.check()?;
    let public_listener = bind("listen", settings.listen).await?;
    let rest_listener = bind("rest_listen", settings.rest_listen).await?;
    let bound = Bound { public: public_listener.local_addr()?, rest: rest_listener.local_addr()? };
    let (stop, stopped) = watch::channel(false);
    let focus = settings.focus(rand::random(), Epoch(unix_ms()));
    let relays = Relays::new(settings).map(Arc::new);
    let (hub, hub_task) = Hub::start(focus, relays.clone(), stopped.clone());
    let gate = Arc::new(Gate::new(settings));
    let sockets = Arc::new(Semaphore::new(settings.sockets_max));
    let public = Public {
        hub: hub.clone(),
        gate: Arc::clone(&gate),
        link_key: Arc::new(settings.link_key.clone()),
        sockets: Arc::clone(&sockets),
        relays,
    };
    let connections_max = settings.sockets_max + SPARE_CONNECTIONS;
    let mut tasks = JoinSet::new();
    let server = Server::new(public::router(public), Some(gate), connections_max, stopped.clone());
    let (web_connections, accepted) = mpsc::channel(WEB_CONNECTIONS_MAX);
    tasks.spawn(server.clone().take_over(accepted));
    tasks.spawn(server.listen(public_listener));
    let router = rest::router(hub, &settings.rest_hosts);
    tasks.spawn(Server::new(router, None, REST_CONNECTIONS_MAX, stopped).listen(rest_listener));
    let sockets_max = u32::try_from(settings.sockets_max).unwrap_or(u32::MAX);
    Ok(SignalingHandle { bound, hub: hub_task, tasks, web_connections, sockets, sockets_max, stop })
}

impl SignalingHandle {
    /// What it listens on.
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// Where to hand over connections that another part of this process has accepted: they are served as if they had come
    /// to `listen`, within the same limits. After the stop nobody takes them, and sending one closes it.
    pub fn web_connections(&self) -> mpsc::Sender<WebConnection> {
        self.web_connections.clone()
    }

    /// Serves until `shutdown` is done, then tells everybody and stops within two seconds.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        let _ = self.stop.send(true);
        let _ = timeout(STOP_TIME_MAX, async {
            let _ = (&mut self.hub).await;
            while self.tasks.join_next().await.is_some() {}
            // Each open socket holds a permit: with all of them back, everybody has closed.
            let _ = self.sockets.acquire_many(self.sockets_max).await;
        })
        .await;
        self.hub.abort();
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Bind { key, address, error })
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

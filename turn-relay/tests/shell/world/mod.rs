//! A relay, its clients, and peers that send everything back.

pub(crate) mod client;
#[allow(dead_code, reason = "the engine's tests use all of it")]
#[path = "../../world/codec.rs"]
pub(crate) mod codec;
#[path = "../../../../bridge/tests/shell/world/http.rs"]
pub(crate) mod http;
pub(crate) mod process;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use turn_relay::settings::RelaySettings;
use turn_relay::{Bound, RelayError, Web, start};
use wire::settings::Secret;

pub(crate) const SECRET: &str = "only-these-tests-have-this-secret-0123456789";

/// Longer than anything takes on a machine with something else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running relay.
pub(crate) struct World {
    pub(crate) bound: Bound,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), RelayError>>,
}

impl World {
    /// A relay of two shards whose clients reach `peers` and nothing else.
    pub(crate) async fn start(peers: &[SocketAddr]) -> Self {
        let allow = peers.iter().map(SocketAddr::to_string).collect();
        Self::start_with(|settings| settings.policy.allow = allow).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut RelaySettings)) -> Self {
        let mut settings = RelaySettings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            rest_listen: "127.0.0.1:0".parse().unwrap(),
            relay_addresses: vec!["127.0.0.1".to_owned()],
            secrets: vec![Secret::from(SECRET.to_owned())],
            shards: 2,
            drain_s: 0,
            ..RelaySettings::default()
        };
        change(&mut settings);
        let relay = start(&settings, Web::None).await.unwrap();
        let bound = relay.bound().clone();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(relay.run_until(async { drop(stopped.await) }, std::future::pending()));
        Self { bound, stop, running }
    }

    /// Where clients come to, over UDP, TCP and TLS.
    pub(crate) fn turn(&self) -> SocketAddr {
        self.bound.udp[0]
    }

    /// Every thread and task has ended when this returns.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        soon(self.running).await.unwrap().unwrap();
    }
}

/// A peer that sends everything back, until it is dropped.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut datagram = vec![0; 65_536];
            while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                let _ = socket.send_to(&datagram[..length], from).await;
            }
        });
        Self { address, task }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is awaited, or a failed test.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Asks until the answer is yes.
pub(crate) async fn until(mut ask: impl AsyncFnMut() -> bool) {
    soon(async {
        while !ask().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

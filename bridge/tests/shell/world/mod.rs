//! A bridge, and the signaling service it dials.

pub(crate) mod browser;
pub(crate) mod http;
pub(crate) mod signaling;

use std::future::Future;
use std::time::Duration;

use bridge::settings::BridgeSettings;
use bridge::{Bound, BridgeError, start};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::messages::ids::{ConferenceId, EndpointId};
use wire::settings::Secret;

use self::signaling::{Link, Signaling};

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A running bridge with its signaling service.
pub(crate) struct World {
    pub(crate) signaling: Signaling,
    pub(crate) bound: Bound,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), BridgeError>>,
}

impl World {
    /// A bridge with two workers, and the link it has dialled.
    pub(crate) async fn start() -> (Self, Link) {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut BridgeSettings)) -> (Self, Link) {
        let mut signaling = Signaling::listen().await;
        let mut settings = settings(&signaling);
        change(&mut settings);
        let handle = start(&settings).await.unwrap();
        let bound = handle.bound().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(handle.run_until(async {
            let _ = stopped.await;
        }));
        let link = signaling.next_link().await;
        (Self { signaling, bound, stop, ended }, link)
    }

    /// Stops the bridge and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.ended).await.unwrap().unwrap();
    }
}

pub(crate) fn settings(signaling: &Signaling) -> BridgeSettings {
    BridgeSettings {
        id: "bridge-1".to_owned(),
        media_port: 0,
        workers: 2,
        announced_addresses: vec!["127.0.0.1".parse().unwrap()],
        channel_listen: "127.0.0.1:0".parse().unwrap(),
        rest_listen: "127.0.0.1:0".parse().unwrap(),
        signaling: vec![signaling.url()],
        link_key: Secret::from(KEY.to_owned()),
        ..BridgeSettings::default()
    }
}

pub(crate) fn conference(letter: char) -> ConferenceId {
    ConferenceId::parse(letter.to_string().repeat(26)).unwrap()
}

pub(crate) fn endpoint(number: u32) -> EndpointId {
    EndpointId::parse(format!("{number:08x}")).unwrap()
}

/// The outcome of `work`, which must come.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("this should have happened by now")
}

/// Asks until the answer is yes.
pub(crate) async fn until<F: Future<Output = bool>>(mut ask: impl FnMut() -> F) {
    soon(async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

//! A whole server in this process: signaling and one bridge, as `passerelle` starts them, on whatever ports are free.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod http;
pub(crate) mod lossy;
pub(crate) mod seat;

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bridge::settings::BridgeSettings;
use serde_json::Value;
use signaling::settings::SignalingSettings;
use tokio::sync::watch;
use wire::settings::Secret;

/// A running server; dropping it stops it.
pub(crate) struct Server {
    /// The page, WHIP and WHEP.
    pub(crate) public: SocketAddr,
    /// Signaling's private interface.
    pub(crate) rest: SocketAddr,
    /// The bridge's private interface, if there is a bridge.
    pub(crate) bridge_rest: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What a started server says from its own thread.
struct Bound {
    public: SocketAddr,
    rest: SocketAddr,
    bridge_rest: Option<SocketAddr>,
}

impl Server {
    /// With one bridge of one worker. On return, conferences can be assigned.
    pub(crate) fn start() -> Self {
        let server = Self::run(true);
        until("a bridge is ready", || {
            let bridges = ask(server.rest, "/api/bridges");
            bridges.as_array().is_some_and(|list| list.iter().any(|each| each["state"] == "operational"))
        });
        server
    }

    /// Signaling alone.
    pub(crate) fn without_bridge() -> Self {
        Self::run(false)
    }

    fn run(has_bridge: bool) -> Self {
        let (say, said) = std::sync::mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(serve(has_bridge, stopped, |bound| say.send(bound).unwrap()));
            runtime.shutdown_background();
        });
        let Bound { public, rest, bridge_rest } = said.recv().expect("the server starts");
        Self { public, rest, bridge_rest, stop, thread: Some(thread) }
    }

    /// The bridge's `/stats`, at most a second old.
    pub(crate) fn bridge_stats(&self) -> Value {
        ask(self.bridge_rest.expect("a bridge"), "/stats")
    }

    /// The first conference of `/api/conferences`; `Null` when there is none.
    pub(crate) fn conference(&self) -> Value {
        ask(self.rest, "/api/conferences")[0].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

async fn serve(has_bridge: bool, stopped: watch::Receiver<bool>, say: impl FnOnce(Bound)) {
    let signaling = signaling::start(&signaling_settings()).await.unwrap();
    let signaling_bound = signaling.bound();
    let (public, rest) = (signaling_bound.public, signaling_bound.rest);
    let stop = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
    };
    if !has_bridge {
        say(Bound { public, rest, bridge_rest: None });
        return signaling.run_until(stop(stopped)).await;
    }
    let bridge = bridge::start(&bridge_settings(public)).await.unwrap();
    say(Bound { public, rest, bridge_rest: Some(bridge.bound().rest) });
    let ((), ended) =
        tokio::join!(signaling.run_until(stop(stopped.clone())), bridge.run_until(stop(stopped)));
    ended.unwrap();
}

fn signaling_settings() -> SignalingSettings {
    SignalingSettings {
        listen: loopback(),
        rest_listen: loopback(),
        link_key: Secret::from(LINK_KEY.to_owned()),
        ..SignalingSettings::default()
    }
}

fn bridge_settings(signaling: SocketAddr) -> BridgeSettings {
    BridgeSettings {
        id: "bridge-1".to_owned(),
        media_port: 0,
        workers: 1,
        // Callers work on the same processors.
        pin_workers: false,
        announced_addresses: vec![loopback().ip()],
        channel_listen: loopback(),
        rest_listen: loopback(),
        signaling: vec![format!("http://{signaling}")],
        link_key: Secret::from(LINK_KEY.to_owned()),
        ..BridgeSettings::default()
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// What a private interface tells.
pub(crate) fn ask(address: SocketAddr, path: &str) -> Value {
    let response = http::request(address, ("GET", path), &[], "");
    assert_eq!(response.status, 200, "{path}: {response:?}");
    serde_json::from_str(&response.body).unwrap()
}

/// Asks until the answer is yes.
pub(crate) fn until(what: &str, mut ask: impl FnMut() -> bool) {
    until_within(PATIENCE, what, &mut ask);
}

/// As [`until`], with a patience of its own.
pub(crate) fn until_within(patience: Duration, what: &str, mut ask: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !ask() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

const LINK_KEY: &str = "0123456789abcdef0123456789abcdef";

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

//! `passerelle`: signaling, one bridge and a relay in one process, from one settings file. The bridge dials signaling as it
//! would from another machine; the relay asks signaling which bridges there are, and hands it what is HTTP on its ports.

mod parts;
mod relay;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use wire::program::{CommonFlags, Failure, conclude, run, shutdown_signal};
use wire::settings::LogSettings;

use self::parts::Parts;

/// A meeting server: signaling, the page, one bridge, and a relay.
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    #[command(flatten)]
    common: CommonFlags,
}

fn main() -> ExitCode {
    conclude("passerelle", begin(Flags::parse().common))
}

fn begin(flags: CommonFlags) -> Result<(), Failure> {
    let all = flags.load(&[])?;
    let log: LogSettings = all.section("log")?;
    let parts = Parts::of(&all)?;
    let sections = (("signaling", &parts.signaling), ("bridge", &parts.bridge), ("turn-relay", &parts.relay));
    if flags.is_about_settings(&log, &[&sections.0, &sections.1, &sections.2])? {
        return Ok(());
    }
    run(&log, serve(parts, Arc::new(flags)))
}

async fn serve(parts: Parts, flags: Arc<CommonFlags>) -> Result<(), Failure> {
    let Parts { mut signaling, mut bridge, relay } = parts;
    let turn_secret = signaling.turn_secret.clone();
    let shutdown = shutdown_signal()?;
    let (mut relay, web) = relay::start(&relay, &mut signaling).await?;
    let signaling = signaling::start(&signaling).await.map_err(Failure::outside)?;
    tokio::spawn(relay::carry(web, signaling.web_connections()));
    relay.ask_signaling(signaling.bound().rest);
    let public = signaling.bound().public;
    bridge.signaling = vec![format!("http://{}", reachable(public))];
    let bridge = bridge::start(&bridge).await.map_err(Failure::outside)?;
    relay.set_bridges(vec![relay::peers(bridge.bound())]);
    let bound =
        json!({ "signaling": signaling.bound(), "bridge": bridge.bound(), "turn-relay": relay.bound() });
    relay::reload(&mut relay, Arc::clone(&flags), turn_secret).map_err(Failure::outside)?;
    flags.say_ready("passerelle", &bound, &format!("passerelle is ready: http://{}", shown(public)));
    // Browsers are told first; then bridge and relay stop carrying them. One that ends by itself ends everything.
    let (stop, stopped) = watch::channel(());
    let until = |mut stopped: watch::Receiver<()>| async move { while stopped.changed().await.is_ok() {} };
    let mut carriers = JoinSet::new();
    let (bridge_stop, relay_stop) = (until(stopped.clone()), until(stopped));
    carriers.spawn(async { bridge.run_until(bridge_stop).await.map_err(Failure::outside) });
    // Its peers stop with it: there is nothing to drain for.
    let relay = relay.run_until(relay_stop, std::future::ready(()));
    carriers.spawn(async { relay.await.map_err(Failure::outside) });
    let mut outcome = Ok(());
    let shutdown = async {
        tokio::select! { () = shutdown => {}, Some(ended) = carriers.join_next() => outcome = flat(ended) }
    };
    signaling.run_until(shutdown).await;
    drop(stop);
    while let Some(ended) = carriers.join_next().await {
        outcome = outcome.and(flat(ended));
    }
    outcome
}

fn flat(ended: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    ended.map_err(Failure::outside)?
}

/// Where the bridge of this process dials: an address that stands for all is no address to go to.
fn reachable(public: SocketAddr) -> SocketAddr {
    let ip = if public.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { public.ip() };
    SocketAddr::new(ip, public.port())
}

/// The address for a person's browser: `localhost` is a secure context, in which it hands out camera and microphone.
fn shown(public: SocketAddr) -> String {
    let reachable = reachable(public);
    if reachable.ip().is_loopback() { format!("localhost:{}", public.port()) } else { reachable.to_string() }
}

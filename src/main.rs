//! `passerelle`: signaling and one bridge in one process, from one settings file. The bridge dials signaling as it would
//! from another machine; nothing is wired inside that is not wired between machines.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use bridge::settings::BridgeSettings;
use clap::Parser;
use serde_json::json;
use signaling::settings::SignalingSettings;
use tokio::sync::oneshot;
use wire::program::{CommonFlags, Failure, conclude, run, shutdown_signal};
use wire::settings::LogSettings;

/// A meeting server: signaling, the page, and one bridge.
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    #[command(flatten)]
    common: CommonFlags,
}

fn main() -> ExitCode {
    conclude("passerelle", begin(&Flags::parse().common))
}

fn begin(flags: &CommonFlags) -> Result<(), Failure> {
    let all = flags.load(&[])?;
    let mut signaling: SignalingSettings = all.section("signaling")?;
    let mut bridge: BridgeSettings = all.section("bridge")?;
    let log: LogSettings = all.section("log")?;
    // Without a key of the operator's the two agree on one; bridges on other machines need theirs set.
    if signaling.link_key.is_empty() {
        signaling.link_key = SignalingSettings::fresh_link_key();
    }
    bridge.link_key = signaling.link_key.clone();
    signaling.check().map_err(|error| all.refuse("signaling", error.key, &error.reason))?;
    bridge.check().map_err(|error| all.refuse("bridge", error.key, &error.reason))?;
    if flags.is_about_settings(&log, &[&("signaling", &signaling), &("bridge", &bridge)])? {
        return Ok(());
    }
    run(&log, serve(&signaling, bridge, flags))
}

async fn serve(
    signaling: &SignalingSettings,
    mut bridge: BridgeSettings,
    flags: &CommonFlags,
) -> Result<(), Failure> {
    let shutdown = shutdown_signal()?;
    let signaling = signaling::start(signaling).await.map_err(Failure::outside)?;
    let public = signaling.bound().public;
    bridge.signaling = vec![format!("http://{}", reachable(public))];
    let bridge = bridge::start(&bridge).await.map_err(Failure::outside)?;
    let bound = json!({ "signaling": signaling.bound(), "bridge": bridge.bound() });
    flags.say_ready("passerelle", &bound, &format!("passerelle is ready: http://{}", shown(public)));
    // Browsers are told first; then the bridge stops carrying them. A bridge that ends by itself ends everything.
    let (stop, stopped) = oneshot::channel::<()>();
    let mut bridge = tokio::spawn(bridge.run_until(async { drop(stopped.await) }));
    let mut early = None;
    let shutdown = async {
        tokio::select! { () = shutdown => {}, ended = &mut bridge => early = Some(ended) }
    };
    signaling.run_until(shutdown).await;
    drop(stop);
    let ended = if let Some(ended) = early { ended } else { bridge.await };
    ended.map_err(Failure::outside)?.map_err(Failure::outside)
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

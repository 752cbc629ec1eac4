//! Bridges that signaling names while the relay runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::world::client::{Client, Way};
use crate::world::{Echo, World, http, until};

/// Signaling's private interface, which says what a test wants.
struct Signaling {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Signaling {
    async fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer.to_owned()));
        let said = Arc::clone(&answer);
        let router = Router::new().route("/api/bridges", get(async move || said.lock().unwrap().clone()));
        let task = tokio::spawn(async move { axum_serve(listener, router).await });
        Self { address, answer, task }
    }

    fn say(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }
}

async fn axum_serve(listener: TcpListener, router: Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        let stream = hyper_util::rt::TokioIo::new(stream);
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
    }
}

fn naming(bridges: &[&Echo]) -> String {
    let bridge =
        |(number, echo): (usize, &&Echo)| format!(r#"{{"id":"b{number}","media":["{}"]}}"#, echo.address);
    format!("[{}]", bridges.iter().enumerate().map(bridge).collect::<Vec<_>>().join(","))
}

async fn is_reached(world: &World, peer: SocketAddr) -> bool {
    http::get(world.bound.rest, &format!("/explain?peer={peer}")).await.json()["allowed"] == true
}

#[tokio::test]
async fn a_bridge_that_signaling_names_is_reached_and_stays_so_while_signaling_is_away() {
    let (one, other) = (Echo::start().await, Echo::start().await);
    let signaling = Signaling::start(&naming(&[&one])).await;
    let from = format!("http://{}", signaling.address);
    let world = World::start_with(|settings| settings.policy.bridges_from = from).await;
    until(async || is_reached(&world, one.address).await).await;
    let mut client = Client::allocated(world.turn(), Way::Tcp, "anna").await;
    assert_eq!(client.bind_channel(0x4000, one.address).await.code(), 0);
    assert_eq!(client.bind_channel(0x4001, other.address).await.code(), 403);
    signaling.say(&naming(&[&one, &other]));
    until(async || is_reached(&world, other.address).await).await;
    assert_eq!(client.bind_channel(0x4001, other.address).await.code(), 0);
    // Nonsense is no answer.
    signaling.say("{}");
    signaling.task.abort();
    client.send_channel(0x4000, b"on and on").await;
    assert_eq!(client.receive_channel(0x4000).await, b"on and on");
    assert!(is_reached(&world, one.address).await);
    world.stop().await;
}

#[tokio::test]
async fn a_bridge_cannot_open_the_relays_own_ports() {
    let echo = Echo::start().await;
    let signaling = Signaling::start("[]").await;
    let from = format!("http://{}", signaling.address);
    let world = World::start_with(|settings| settings.policy.bridges_from = from).await;
    let (turn, echo_address) = (world.turn(), echo.address);
    signaling.say(&format!(r#"[{{"id":"bad","media":["{turn}","224.0.0.1:9","{echo_address}"]}}]"#));
    until(async || is_reached(&world, echo_address).await).await;
    assert!(!is_reached(&world, turn).await);
    assert!(!is_reached(&world, "224.0.0.1:9".parse().unwrap()).await);
    world.stop().await;
    signaling.task.abort();
}

//! The TURN clients of two other projects against a whole relay: they log in, bind a channel, and what they send through
//! the relay comes back from an echoing peer.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtc::crypto;
use rtc::sansio::Protocol as _;
use rtc::shared::{TransportContext, TransportMessage, TransportProtocol};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use turn_conn::Conn;
use turn_relay::settings::{PolicySection, RelaySettings};
use turn_relay::{Web, start};
use wire::settings::Secret;

const SECRET: &str = "a shared secret of more than 32 bytes";
const REALM: &str = "passerelle";
/// Nothing on one machine takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
const PACKETS: u8 = 50;

/// A relay that reaches one peer, and that peer, which echoes.
struct World {
    relay: SocketAddr,
    peer: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
    echo: JoinHandle<()>,
}

impl World {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer = socket.local_addr().unwrap();
        let echo = tokio::spawn(async move {
            let mut buffer = vec![0; 2_000];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                socket.send_to(&buffer[..length], from).await.unwrap();
            }
        });
        let here = "127.0.0.1:0".parse().unwrap();
        let settings = RelaySettings {
            listen: vec![here],
            tls_listen: Some(Vec::new()),
            rest_listen: here,
            realm: REALM.to_owned(),
            secrets: vec![Secret::from(SECRET.to_owned())],
            relay_addresses: vec!["127.0.0.1".to_owned()],
            policy: PolicySection { allow: vec![peer.to_string()], ..PolicySection::default() },
            drain_s: 0,
            ..RelaySettings::default()
        };
        let handle = start(&settings, Web::None).await.unwrap();
        let relay = handle.bound().udp[0];
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            handle.run_until(async { drop(stopped.await) }, std::future::pending()).await.unwrap();
        });
        Self { relay, peer, stop, running, echo }
    }

    async fn stop(self) {
        drop(self.stop);
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
        self.echo.abort();
    }
}

fn credentials() -> (String, String) {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    wire::turn::mint(&Secret::from(SECRET.to_owned()), "test", now_s + 600)
}

fn payload(number: u8) -> Vec<u8> {
    vec![number; 1_000 + usize::from(number)]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_the_turn_crate_is_relayed() {
    let world = World::start().await;
    let (username, password) = credentials();
    let config = turn::client::ClientConfig {
        stun_serv_addr: world.relay.to_string(),
        turn_serv_addr: world.relay.to_string(),
        username,
        password,
        realm: REALM.to_owned(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
        vnet: None,
    };
    let client = turn::client::Client::new(config).await.unwrap();
    client.listen().await.unwrap();
    let mapped = timeout(PATIENCE, client.send_binding_request()).await.unwrap().unwrap();
    assert!(mapped.ip().is_loopback());
    let relayed = timeout(PATIENCE, client.allocate()).await.unwrap().unwrap();
    let mut buffer = vec![0; 2_000];
    for number in 0..PACKETS {
        timeout(PATIENCE, relayed.send_to(&payload(number), world.peer)).await.unwrap().unwrap();
        let (length, from) = timeout(PATIENCE, relayed.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!((&buffer[..length], from), (payload(number).as_slice(), world.peer));
    }
    timeout(PATIENCE, relayed.close()).await.unwrap().unwrap();
    client.close().await.unwrap();
    world.stop().await;
}

/// The client of `rtc`, which leaves its socket to us.
struct SansIo {
    client: rtc::turn::client::Client,
    socket: StdUdpSocket,
    local: SocketAddr,
}

impl SansIo {
    fn new(relay: SocketAddr) -> Self {
        let (username, password) = credentials();
        let socket = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let local = socket.local_addr().unwrap();
        let config = rtc::turn::client::ClientConfig {
            turn_serv_addr: relay.to_string(),
            local_addr: local,
            transport_protocol: TransportProtocol::UDP,
            username,
            password,
            realm: REALM.to_owned(),
            ..Default::default()
        };
        let client = rtc::turn::client::Client::new(config, crypto::default_provider().unwrap()).unwrap();
        Self { client, socket, local }
    }

    /// Runs until something has happened that `is_wanted`.
    fn wait<T>(&mut self, mut is_wanted: impl FnMut(rtc::turn::client::Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = vec![0; 2_000];
        while Instant::now() < deadline {
            while let Some(transmit) = self.client.poll_write() {
                self.socket.send_to(&transmit.message, transmit.transport.peer_addr).unwrap();
            }
            while let Some(event) = self.client.poll_event() {
                if let Some(found) = is_wanted(event) {
                    return found;
                }
            }
            if let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
                let transport = TransportContext {
                    local_addr: self.local,
                    peer_addr: from,
                    transport_protocol: TransportProtocol::UDP,
                    ecn: None,
                };
                let message = buffer[..length].into();
                self.client
                    .handle_read(TransportMessage { now: Instant::now(), transport, message })
                    .unwrap();
            }
            self.client.handle_timeout(Instant::now()).unwrap();
        }
        panic!("not within {PATIENCE:?}");
    }
}

fn talk_by_rtc(relay: SocketAddr, peer: SocketAddr) {
    use rtc::turn::client::Event;
    let mut client = SansIo::new(relay);
    client.client.allocate(Instant::now()).unwrap();
    let relayed = client.wait(|event| match event {
        Event::AllocateResponse(_, relayed) => Some(relayed),
        Event::AllocateError(_, error) => panic!("{error}"),
        _ => None,
    });
    client.client.relay(relayed).unwrap().create_permission(Instant::now(), peer).unwrap();
    client.wait(|event| match event {
        Event::CreatePermissionResponse(..) => Some(()),
        Event::CreatePermissionError(_, error) => panic!("{error}"),
        _ => None,
    });
    let mut by_channel = 0;
    for number in 0..PACKETS {
        client.client.relay(relayed).unwrap().send_to(Instant::now(), &payload(number), peer).unwrap();
        let (channel, from, data) = client.wait(|event| match event {
            Event::DataIndicationOrChannelData(channel, from, data) => Some((channel, from, data)),
            _ => None,
        });
        assert_eq!((from, &data[..]), (peer, payload(number).as_slice()));
        by_channel += u8::from(channel.is_some());
    }
    assert!(by_channel > PACKETS / 2, "{by_channel} of {PACKETS} came on the channel");
    client.client.relay(relayed).unwrap().close(Instant::now()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_the_rtc_crate_is_relayed() {
    let world = World::start().await;
    let (relay, peer) = (world.relay, world.peer);
    tokio::task::spawn_blocking(move || talk_by_rtc(relay, peer)).await.unwrap();
    world.stop().await;
}

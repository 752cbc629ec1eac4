//! Clients on every leg of one port, and what they do not reach.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::world::client::{Client, WAYS, Way, tls};
use crate::world::codec::{BINDING, SUCCESS, Stun, XOR_MAPPED_ADDRESS, XOR_RELAYED_ADDRESS};
use crate::world::{Echo, World, http, soon, until};

#[tokio::test]
async fn one_port_relays_over_udp_tcp_and_tls() {
    let echo = Echo::start().await;
    let world = World::start(&[echo.address]).await;
    for way in WAYS {
        let mut client = Client::connect(world.turn(), way, "anna").await;
        let allocated = client.allocate().await;
        assert_eq!(allocated.code(), 0, "{way:?}");
        assert!(allocated.addresses(XOR_RELAYED_ADDRESS)[0].ip().is_loopback());
        assert_eq!(client.bind_channel(0x4000, echo.address).await.code(), 0, "{way:?}");
        for payload in [&b"x"[..], &[7; 1200], b""] {
            client.send_channel(0x4000, payload).await;
            assert_eq!(client.receive_channel(0x4000).await, payload, "{way:?}");
        }
        assert_eq!(client.refresh(0).await.code(), 0);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_for_its_address_learns_it() {
    let world = World::start(&[]).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&Stun::new(BINDING, [1; 12]).encode(), world.turn()).await.unwrap();
    let mut answer = [0; 128];
    let length = soon(socket.recv(&mut answer)).await.unwrap();
    let answer = Stun::decode(&answer[..length]);
    assert_eq!(answer.kind, BINDING | SUCCESS);
    assert_eq!(answer.addresses(XOR_MAPPED_ADDRESS), [socket.local_addr().unwrap()]);
    world.stop().await;
}

#[tokio::test]
async fn nothing_but_the_listed_port_is_reached_on_any_leg() {
    let echo = Echo::start().await;
    let world = World::start(&[echo.address]).await;
    let (turn, rest) = (world.turn(), world.bound.rest);
    for way in WAYS {
        let mut client = Client::allocated(turn, way, "anna").await;
        let other = |port| std::net::SocketAddr::new(echo.address.ip(), port);
        let next_door = other(if echo.address.port() == 1024 { 1025 } else { echo.address.port() - 1 });
        for peer in
            [turn, rest, next_door, "10.0.0.1:10000".parse().unwrap(), "169.254.169.254:80".parse().unwrap()]
        {
            assert_eq!(client.bind_channel(0x4000, peer).await.code(), 403, "{way:?} {peer}");
        }
        assert_eq!(client.bind_channel(0x4000, echo.address).await.code(), 0, "{way:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_closed_takes_its_allocation_with_it() {
    let world = World::start(&[]).await;
    for way in [Way::Tcp, Way::Tls] {
        let client = Client::allocated(world.turn(), way, "anna").await;
        let name = if way == Way::Tcp { "tcp" } else { "tls" };
        let count = async || http::get(world.bound.rest, "/stats").await.json()["allocations"][name].clone();
        until(async || count().await == 1).await;
        drop(client);
        until(async || count().await == 0).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_web_browser_is_told_what_this_port_is_for() {
    let world = World::start(&[]).await;
    let plain = http::get(world.turn(), "/").await;
    assert!(plain.status >= 400 && !plain.body.is_empty(), "{} {}", plain.status, plain.body);
    let mut secure = tls(world.turn()).await;
    secure.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(secure.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
    world.stop().await;
}

#[tokio::test]
async fn what_is_nothing_that_is_spoken_here_is_closed_and_counted() {
    let world = World::start(&[]).await;
    let mut stream = TcpStream::connect(world.turn()).await.unwrap();
    stream.write_all(&[0xff; 64]).await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    let line = "turn_relay_connections_refused_total{reason=\"unknown_protocol\"} 1";
    until(async || http::get(world.bound.rest, "/metrics").await.body.contains(line)).await;
    world.stop().await;
}

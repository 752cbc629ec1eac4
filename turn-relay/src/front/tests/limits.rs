//! Strangers who stall do not keep out others.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, advance};

use super::world::{ALLOCATE, Authority, World, read_to_close, secure, settings};
use crate::front::ports::{FrontSettings, Web};
use crate::front::stats::Refusal;

/// A ClientHello of 512 bytes that ends early.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

async fn stalled(world: &World, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for number in 0..count {
        // Attackers have many addresses, each with its share.
        let mut stream = world.connect_from(&format!("127.0.0.{}", 2 + number % 50)).await;
        stream.write_all(bytes).await.unwrap();
        held.push(stream);
    }
    held
}

#[tokio::test]
async fn a_fresh_handshake_is_quick_among_hundreds_that_stall() {
    let authority = Authority::new();
    let tls = Some(authority.certificates(&["relay.example"]));
    let mut world = World::start(FrontSettings { tls, ..settings() }, Web::None).await;
    let held = stalled(&world, 400, HALF_A_HELLO).await;
    world.until(|stats| stats.half_open == 400).await;
    let config = authority.client_config(&[]);
    // The best of a few: other tests share the machine.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let since = std::time::Instant::now();
        let mut client = secure(world.connect().await, config.clone()).await.unwrap();
        client.write_all(ALLOCATE).await.unwrap();
        client.flush().await.unwrap();
        world.stream().await;
        quickest = quickest.min(since.elapsed());
    }
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
    assert_eq!(world.stats().half_open, 400);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn half_open_tls_and_single_bytes_are_closed_after_ten_seconds() {
    let authority = Authority::new();
    let tls = Some(authority.certificates(&["relay.example"]));
    let world = World::start(FrontSettings { tls, ..settings() }, Web::None).await;
    let since = Instant::now();
    let mut held = stalled(&world, 100, HALF_A_HELLO).await;
    held.extend(stalled(&world, 100, b"\x16").await);
    for stream in &mut held {
        assert_eq!(read_to_close(stream).await, b"");
    }
    let took = since.elapsed();
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(11), "{took:?}");
    assert_eq!((world.refused(Refusal::TlsSlow), world.refused(Refusal::SlowFirstBytes)), (100, 100));
    assert_eq!((world.stats().open, world.stats().half_open), (0, 0));
}

#[tokio::test]
async fn an_address_has_its_share_of_half_open_connections_and_others_have_theirs() {
    let mut settings = settings();
    settings.limits.half_open_per_address_max = 2;
    let mut world = World::start(settings, Web::None).await;
    let _held = [world.connect().await, world.connect().await];
    let mut third = world.connect().await;
    assert_eq!(read_to_close(&mut third).await, b"");
    assert_eq!(world.refused(Refusal::AddressHalfOpen), 1);
    let mut other = world.connect_from("127.0.0.2").await;
    other.write_all(ALLOCATE).await.unwrap();
    world.stream().await;
}

#[tokio::test]
async fn a_stream_keeps_its_place_until_the_shard_drops_it() {
    let mut settings = settings();
    (settings.limits.connections_per_address_max, settings.limits.half_open_per_address_max) = (1, 1);
    let mut world = World::start(settings, Web::None).await;
    let mut first = world.connect().await;
    first.write_all(ALLOCATE).await.unwrap();
    let stream = world.stream().await;
    assert_eq!((world.stats().open, world.stats().half_open), (1, 0));
    assert_eq!(read_to_close(&mut world.connect().await).await, b"");
    assert_eq!(world.refused(Refusal::AddressConnections), 1);
    drop(stream);
    let mut second = world.connect().await;
    second.write_all(ALLOCATE).await.unwrap();
    world.stream().await;
}

#[tokio::test(start_paused = true)]
async fn when_too_many_are_half_open_the_oldest_goes_and_the_newest_is_served() {
    let mut settings = settings();
    settings.limits.half_open_max = 3;
    let mut world = World::start(settings, Web::None).await;
    let mut oldest = stalled(&world, 1, b"\x16").await.remove(0);
    world.until(|stats| stats.half_open == 1).await;
    let _held = stalled(&world, 2, b"\x16").await;
    world.until(|stats| stats.half_open == 3).await;
    advance(Duration::from_secs(1)).await;
    let mut newest = world.connect().await;
    newest.write_all(ALLOCATE).await.unwrap();
    world.stream().await;
    assert_eq!(read_to_close(&mut oldest).await, b"");
    assert_eq!((world.refused(Refusal::Displaced), world.stats().refused.total()), (1, 1));
}

#[tokio::test]
async fn a_connection_that_stalls_holds_little() {
    let world = World::start(settings(), Web::None).await;
    let bytes = world.bytes_of_a_connection().await;
    assert!(bytes <= 6 * 1024, "{bytes}");
}

#[tokio::test]
async fn one_connection_too_many_in_all_is_closed_at_once() {
    let mut settings = settings();
    settings.limits.connections_max = 2;
    let world = World::start(settings, Web::None).await;
    let _held = stalled(&world, 2, b"\x16").await;
    world.until(|stats| stats.open == 2).await;
    assert_eq!(read_to_close(&mut world.connect().await).await, b"");
    assert_eq!(world.refused(Refusal::TooManyConnections), 1);
}

#[tokio::test]
async fn every_connection_is_counted_once_more_when_its_fate_is_known() {
    let mut world = World::start(settings(), Web::None).await;
    let requests = [ALLOCATE, b"GET / HTTP/1.1\r\n\r\n", b"SSH-", b"\x16\x03\x01", b"\r\n\r\n\0\r\nQUIT\n"];
    let mut held = Vec::new();
    for number in 0..50 {
        let mut stream = world.connect().await;
        stream.write_all(requests[number % requests.len()]).await.unwrap();
        held.push(stream);
    }
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(world.stream().await);
    }
    drop(held);
    drop(streams);
    world.until(|stats| stats.open == 0).await;
    let stats = world.stats();
    assert_eq!((stats.accepted, stats.turn, stats.web, stats.refused.total()), (50, 10, 10, 30));
}

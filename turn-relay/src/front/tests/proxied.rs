//! Connections that come through a proxy which says whose they are.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::world::{ALLOCATE, Served, World, is_ten_seconds, settings};
use crate::front::ports::{FrontSettings, Web};
use crate::front::proxy_protocol;
use crate::front::stats::Refusal;

const LOCAL_HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn behind_a_proxy() -> FrontSettings {
    FrontSettings { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..settings() }
}

fn header(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    proxy_protocol::write(client, "192.0.2.1:443".parse().unwrap())
}

#[tokio::test]
async fn the_client_is_who_a_trusted_proxy_says_even_in_single_bytes() {
    let mut world = World::start(behind_a_proxy(), Web::None).await;
    let sent = [&header("203.0.113.7:4660"), ALLOCATE].concat();
    let mut proxy = world.connect().await;
    for byte in &sent {
        proxy.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let stream = world.stream().await;
    assert_eq!(stream.path.client, "203.0.113.7:4660".parse().unwrap());
    assert_eq!(stream.path.local, world.address);
    assert_eq!(Served::new(stream).read(ALLOCATE.len()).await, ALLOCATE);
}

#[tokio::test]
async fn a_header_from_anybody_else_closes_the_connection() {
    let world = World::start(settings(), Web::None).await;
    let sent = [&header("203.0.113.7:4660"), ALLOCATE].concat();
    assert_eq!(world.answer_to(&sent).await, b"");
    assert_eq!(world.refused(Refusal::ProxyUntrusted), 1);
}

#[tokio::test]
async fn a_second_header_is_a_clients_lie() {
    let world = World::start(behind_a_proxy(), Web::None).await;
    let sent = [&header("203.0.113.7:1")[..], &header("203.0.113.8:1"), ALLOCATE].concat();
    assert_eq!(world.answer_to(&sent).await, b"");
    assert_eq!(world.refused(Refusal::ProxyUntrusted), 1);
}

#[tokio::test]
async fn a_trusted_proxy_must_say_whose_connection_it_is() {
    let world = World::start(behind_a_proxy(), Web::None).await;
    assert_eq!(world.answer_to(ALLOCATE).await, b"");
    assert_eq!(world.answer_to(b"PROXY TCP4 203.0.113.7 192.0.2.1 1 443\r\n").await, b"");
    assert_eq!(world.answer_to(b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0caaaabbbbccdd").await, b"");
    let reasons = [Refusal::ProxyMissing, Refusal::ProxyVersion, Refusal::ProxyMalformed];
    assert_eq!(reasons.map(|reason| world.refused(reason)), [1, 1, 1]);
}

#[tokio::test]
async fn a_proxy_may_speak_for_itself() {
    let mut world = World::start(behind_a_proxy(), Web::None).await;
    let mut proxy = world.connect().await;
    proxy.write_all(&[LOCAL_HEADER, ALLOCATE].concat()).await.unwrap();
    let stream = world.stream().await;
    assert_eq!(stream.path.client, proxy.local_addr().unwrap());
    assert_eq!(stream.early, ALLOCATE);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_does_not_end_is_closed_after_ten_seconds() {
    let world = World::start(behind_a_proxy(), Web::None).await;
    let since = Instant::now();
    assert_eq!(world.answer_to(&header("203.0.113.7:1")[..20]).await, b"");
    assert!(is_ten_seconds(since), "{:?}", since.elapsed());
}

#[tokio::test]
async fn limits_are_for_the_client_and_not_for_its_proxy() {
    let mut settings = behind_a_proxy();
    settings.limits.connections_per_address_max = 1;
    let mut world = World::start(settings, Web::None).await;
    let mut held = Vec::new();
    for client in ["203.0.113.7:1", "203.0.113.8:1"] {
        let mut proxy = world.connect().await;
        proxy.write_all(&[&header(client), ALLOCATE].concat()).await.unwrap();
        held.push((proxy, world.stream().await));
    }
    let again = [&header("203.0.113.7:2"), ALLOCATE].concat();
    assert_eq!(world.answer_to(&again).await, b"");
    assert_eq!((world.refused(Refusal::AddressConnections), world.stats().open), (1, 2));
}

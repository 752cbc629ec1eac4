//! A relay that is to become empty: who is there stays, who comes goes elsewhere.

use crate::world::client::{Client, Way};
use crate::world::process::{Process, settings};
use crate::world::{Echo, World, http, until};

#[tokio::test]
async fn a_drained_relay_refuses_newcomers_and_goes_on_with_the_others() {
    let echo = Echo::start().await;
    let world = World::start(&[echo.address]).await;
    let rest = world.bound.rest;
    let mut there = Client::allocated(world.turn(), Way::Tcp, "anna").await;
    there.bind_channel(0x4000, echo.address).await;
    for path in ["/drain/enable", "/drain/disable"] {
        assert_eq!(http::get(rest, path).await.status, 405, "{path}");
    }
    assert_eq!(http::request(rest, "POST", "/drain/enable", &[]).await.json()["drain"], true);
    let mut newcomer = Client::connect(world.turn(), Way::Udp, "ben").await;
    assert_eq!(newcomer.allocate().await.code(), 508);
    there.send_channel(0x4000, b"still here").await;
    assert_eq!(there.receive_channel(0x4000).await, b"still here");
    assert_eq!(there.refresh(600).await.code(), 0);
    assert_eq!(http::get(rest, "/readyz").await.error(), "draining");
    assert_eq!(http::get(rest, "/livez").await.status, 200);
    http::request(rest, "POST", "/drain/disable", &[]).await;
    assert_eq!(newcomer.allocate().await.code(), 0);
    world.stop().await;
}

#[tokio::test]
async fn newcomers_are_sent_to_another_relay_if_there_is_one() {
    let other = "127.0.0.9:3478".parse().unwrap();
    let world = World::start_with(|settings| settings.drain_redirect = Some(other)).await;
    http::request(world.bound.rest, "POST", "/drain/enable", &[]).await;
    let mut newcomer = Client::connect(world.turn(), Way::Udp, "ben").await;
    assert_eq!(newcomer.allocate().await.code(), 300);
    world.stop().await;
}

#[tokio::test]
async fn told_to_stop_it_waits_for_the_last_allocation_and_ends_with_it() {
    let mut process = Process::start(&settings("drain_s = 3600")).await;
    let mut client = Client::allocated(process.turn, Way::Udp, "anna").await;
    process.signal("TERM").await;
    until(async || http::get(process.rest, "/stats").await.json()["draining"] == true).await;
    assert_eq!(client.refresh(600).await.code(), 0, "it still serves those it has");
    assert_eq!(client.refresh(0).await.code(), 0);
    let line = process.logs("an allocation ended").await;
    assert!(line.contains("cause=\"released\"") && !line.contains("anna"), "{line}");
    assert_eq!(process.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut process = Process::start(&settings("drain_s = 3600")).await;
    let _clients = [
        Client::allocated(process.turn, Way::Tls, "anna").await,
        Client::allocated(process.turn, Way::Udp, "ben").await,
    ];
    process.signal("TERM").await;
    until(async || http::get(process.rest, "/stats").await.json()["draining"] == true).await;
    process.signal("INT").await;
    for _ in 0..2 {
        let line = process.logs("an allocation ended").await;
        assert!(line.contains("cause=\"stopped\""), "{line}");
    }
    assert_eq!(process.exit_code().await, Some(0));
}

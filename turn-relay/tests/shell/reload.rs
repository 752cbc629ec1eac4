//! What an operator changes while clients are relayed.

use std::path::Path;

use tokio::net::TcpStream;

use crate::world::client::{Client, Way, tls};
use crate::world::process::{Process, settings};
use crate::world::{Echo, http, until};

fn allowing(echo: &Echo) -> String {
    settings(&format!("[turn-relay.policy]\nallow = [\"{}\"]", echo.address))
}

#[tokio::test]
async fn a_new_policy_is_in_force_on_a_signal_and_no_allocation_is_lost() {
    let (one, other) = (Echo::start().await, Echo::start().await);
    let mut process = Process::start(&allowing(&one)).await;
    let mut client = Client::allocated(process.turn, Way::Udp, "anna").await;
    assert_eq!(client.bind_channel(0x4000, one.address).await.code(), 0);
    assert_eq!(client.bind_channel(0x4001, other.address).await.code(), 403);
    process.write(&allowing(&other));
    process.signal("HUP").await;
    process.logs("changed settings are in force").await;
    until(async || http::get(process.rest, "/metrics").await.body.contains("\nturn_relay_channels 0\n"))
        .await;
    assert_eq!(client.bind_channel(0x4001, other.address).await.code(), 0);
    client.send_channel(0x4001, b"over there").await;
    assert_eq!(client.receive_channel(0x4001).await, b"over there");
    assert_eq!(client.bind_channel(0x4002, one.address).await.code(), 403);
    process.signal("KILL").await;
}

#[tokio::test]
async fn a_changed_file_is_noticed_without_a_signal() {
    let echo = Echo::start().await;
    let mut process = Process::start(&settings("")).await;
    let mut client = Client::allocated(process.turn, Way::Tcp, "anna").await;
    assert_eq!(client.bind_channel(0x4000, echo.address).await.code(), 403);
    process.write(&allowing(&echo));
    process.logs("changed settings are in force").await;
    assert_eq!(client.bind_channel(0x4000, echo.address).await.code(), 0);
    process.signal("KILL").await;
}

#[tokio::test]
async fn a_bad_file_is_refused_with_its_reason_and_the_old_settings_stay() {
    let echo = Echo::start().await;
    let mut process = Process::start(&allowing(&echo)).await;
    let mut client = Client::allocated(process.turn, Way::Udp, "anna").await;
    for (bad, reason) in [
        ("[turn-relay]\nlisten = [", "passerelle.toml"),
        (&settings("no_such_key = 1"), "turn-relay.no_such_key"),
        (&settings("[turn-relay.policy]\nallow = [\"10.0.0.1/8\"]"), "turn-relay.policy.allow"),
        (&settings("").replace("secrets", "users = {}\n#"), "turn-relay.secrets"),
    ] {
        process.write(bad);
        process.signal("HUP").await;
        // A look that happened in between may have said the reason before.
        let line = process.logs(reason).await;
        assert!(line.contains("refused"), "{line}");
        assert_eq!(client.bind_channel(0x4000, echo.address).await.code(), 0);
    }
    assert_eq!(http::get(process.rest, "/readyz").await.status, 200);
    process.signal("KILL").await;
}

#[tokio::test]
async fn a_secret_that_is_taken_away_is_refused_and_what_it_made_goes_on() {
    let echo = Echo::start().await;
    let mut process = Process::start(&allowing(&echo)).await;
    let mut there = Client::allocated(process.turn, Way::Udp, "anna").await;
    process.write(&allowing(&echo).replace("only-these-tests", "and-another-test"));
    process.signal("HUP").await;
    process.logs("changed settings are in force").await;
    let mut newcomer = Client::connect(process.turn, Way::Udp, "ben").await;
    assert_eq!(newcomer.allocate().await.code(), 401);
    // What was allocated lives until its time is over; whoever has lost the secret cannot prolong it.
    until(async || http::get(process.rest, "/stats").await.json()["allocations"]["udp"] == 1).await;
    assert_eq!(there.refresh(600).await.code(), 401);
    process.signal("KILL").await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named() {
    let mut process = Process::start(&settings("")).await;
    process.write(&settings("realm = \"other\"\nlifetime_max_s = 700"));
    process.signal("HUP").await;
    let line = process.logs("need a restart").await;
    assert!(line.contains("realm") && line.contains("lifetime_max_s"), "{line}");
    process.signal("KILL").await;
}

fn certify(folder: &Path) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("relay.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("relay.key"), signing_key.serialize_pem()).unwrap();
}

/// The certificate that a new connection is shown.
async fn shown(process: &Process) -> Vec<u8> {
    let stream: tokio_rustls::client::TlsStream<TcpStream> = tls(process.turn).await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let toml = settings("certificate = \"relay.pem\"\nkey = \"relay.key\"");
    let mut process = Process::start_in(folder, &toml).await;
    let before = shown(&process).await;
    let mut client = Client::allocated(process.turn, Way::Tls, "anna").await;
    certify(process.folder.path());
    process.signal("HUP").await;
    process.logs("a new certificate").await;
    let after = shown(&process).await;
    assert_ne!(before, after);
    std::fs::write(process.folder.path().join("relay.pem"), "nothing").unwrap();
    process.signal("HUP").await;
    let line = process.logs("refused").await;
    assert!(line.contains("relay.pem"), "{line}");
    assert_eq!(shown(&process).await, after);
    assert_eq!(client.refresh(600).await.code(), 0, "running calls do not notice");
    process.signal("KILL").await;
}

//! TLS clients that stall, lie, are too old, or want what is not spoken here.

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::world::{ALLOCATE, Authority, Served, World, is_ten_seconds, read_to_close, secure, settings};
use crate::front::ports::{FrontSettings, Web};
use crate::front::stats::Refusal;

async fn secure_world() -> (World, Authority) {
    let authority = Authority::new();
    let tls = Some(authority.certificates(&["relay.example"]));
    (World::start(FrontSettings { tls, ..settings() }, Web::None).await, authority)
}

/// Version 3.2, one cipher suite, no extensions.
pub(super) fn client_hello_of_tls_1_1() -> Vec<u8> {
    let body = [&b"\x03\x02"[..], &[7; 32], b"\x00", b"\x00\x02\x00\x2f", b"\x01\x00"].concat();
    let handshake = [b"\x01\x00\x00", &[body.len() as u8][..], &body].concat();
    [b"\x16\x03\x01\x00", &[handshake.len() as u8][..], &handshake].concat()
}

fn client_hello(authority: &Authority) -> Vec<u8> {
    let name = ServerName::try_from("relay.example").unwrap();
    let mut tls = ClientConnection::new(authority.client_config(&[]), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

fn is_alert(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x15\x03")
}

#[tokio::test]
async fn a_client_hello_in_single_bytes_is_a_client_hello() {
    let (world, authority) = secure_world().await;
    let mut socket = world.connect().await;
    for byte in client_hello(&authority) {
        socket.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = [0; 2];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x16, 0x03]);
}

#[tokio::test]
async fn old_versions_get_an_alert_and_garbage_is_closed() {
    let (world, _) = secure_world().await;
    assert!(is_alert(&world.answer_to(&client_hello_of_tls_1_1()).await));
    let garbage = [&b"\x16\x03\x01\x00\x40"[..], &[0xee; 64]].concat();
    world.answer_to(&garbage).await;
    let failed: Vec<_> = world.stats().handshakes_failed().filter(|(_, count)| *count != 0).collect();
    assert_eq!(failed, [(Refusal::TlsVersion, 1), (Refusal::TlsMalformed, 1)]);
}

#[tokio::test]
async fn a_client_hello_without_end_is_cut_off() {
    let (world, _) = secure_world().await;
    // A handshake message of 16 MiB, in records that are as long as records may be.
    let first = [&b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"[..], &[0; 0x3ffc]].concat();
    let record = [&b"\x16\x03\x01\x40\x00"[..], &[0; 0x4000]].concat();
    let mut socket = world.connect().await;
    for bytes in [first, record.clone(), record] {
        if socket.write_all(&bytes).await.is_err() {
            break;
        }
    }
    read_to_close(&mut socket).await;
    assert_eq!(world.refused(Refusal::TlsMalformed), 1);
}

#[tokio::test]
async fn a_client_that_wants_only_h2_is_told_so() {
    let (world, authority) = secure_world().await;
    let error = secure(world.connect().await, authority.client_config(&["h2"])).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    assert_eq!(world.refused(Refusal::TlsProtocol), 1);
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_is_counted_as_such() {
    let (world, _) = secure_world().await;
    let stranger = Authority::new();
    assert!(secure(world.connect().await, stranger.client_config(&[])).await.is_err());
    world.until(|stats| stats.refused.total() == 1).await;
    assert_eq!(world.refused(Refusal::TlsAlert), 1);
}

#[tokio::test]
async fn garbage_inside_tls_is_closed() {
    let (world, authority) = secure_world().await;
    for bytes in [&b"SSH-2.0-x\r\n"[..], b"\x16\x03\x01\x00", b"\r\n\r\n\0\r\nQUIT\n"] {
        let mut client = secure(world.connect().await, authority.client_config(&[])).await.unwrap();
        client.write_all(bytes).await.unwrap();
        assert_eq!(read_to_close(&mut client).await, b"");
    }
    assert_eq!((world.refused(Refusal::UnknownProtocol), world.stats().handshakes), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_is_closed_after_ten_seconds() {
    let (world, authority) = secure_world().await;
    let hello = client_hello(&authority);
    for bytes in [&hello[..3], &hello[..hello.len() - 1], &hello] {
        let since = Instant::now();
        world.answer_to(bytes).await;
        assert!(is_ten_seconds(since), "{:?}", since.elapsed());
    }
    assert_eq!(world.refused(Refusal::TlsSlow), 3);
}

#[tokio::test(start_paused = true)]
async fn silence_after_the_handshake_is_closed_after_ten_seconds() {
    let (world, authority) = secure_world().await;
    for bytes in [&b""[..], &ALLOCATE[..5]] {
        let since = Instant::now();
        let mut client = secure(world.connect().await, authority.client_config(&[])).await.unwrap();
        client.write_all(bytes).await.unwrap();
        assert_eq!(read_to_close(&mut client).await, b"");
        assert!(is_ten_seconds(since), "{:?}", since.elapsed());
    }
    assert_eq!(world.refused(Refusal::SlowPlaintext), 2);
}

#[tokio::test]
async fn a_client_that_says_goodbye_right_away_is_still_handed_over_whole() {
    let (mut world, authority) = secure_world().await;
    let mut client = secure(world.connect().await, authority.client_config(&[])).await.unwrap();
    client.write_all(ALLOCATE).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(Served::new(world.stream().await).read(ALLOCATE.len()).await, ALLOCATE);
}

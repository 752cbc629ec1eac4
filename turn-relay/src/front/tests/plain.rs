//! TURN, HTTP and everything else on TCP without TLS.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::world::{ALLOCATE, Served, World, is_ten_seconds, read_to_close, settings};
use crate::engine::ports::Transport;
use crate::front::connection::canonical;
use crate::front::ports::Web;
use crate::front::stats::Refusal;

#[tokio::test]
async fn a_turn_client_that_sends_single_bytes_reaches_a_shard_with_all_of_them() {
    let mut world = World::start(settings(), Web::None).await;
    let mut client = world.connect().await;
    for byte in ALLOCATE {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let stream = world.stream().await;
    assert_eq!((stream.path.transport, stream.path.connection), (Transport::Tcp, 0));
    assert_eq!(stream.path.client, client.local_addr().unwrap());
    assert_eq!(stream.path.local, world.address);
    let mut served = Served::new(stream);
    assert_eq!(served.read(ALLOCATE.len()).await, ALLOCATE);
    served.write(b"reply").await;
    let mut reply = [0; 5];
    client.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"reply");
    assert_eq!(world.stats().turn, 1);
}

#[test]
fn an_ipv4_client_of_a_listener_for_both_families_is_not_left_mapped_into_ipv6() {
    for (seen, said) in [
        ("[::ffff:192.0.2.1]:7", "192.0.2.1:7"),
        ("192.0.2.1:7", "192.0.2.1:7"),
        ("[2001:db8::1]:7", "[2001:db8::1]:7"),
    ] {
        assert_eq!(canonical(seen.parse().unwrap()).to_string(), said);
    }
}

#[tokio::test]
async fn pipelined_messages_reach_the_shard_in_one_piece() {
    let mut world = World::start(settings(), Web::None).await;
    let mut client = world.connect().await;
    let messages = ALLOCATE.repeat(500);
    client.write_all(&messages).await.unwrap();
    let mut served = Served::new(world.stream().await);
    assert_eq!(served.read(messages.len()).await, messages);
}

#[tokio::test]
async fn a_get_is_answered_and_not_reset_however_much_follows_it() {
    let world = World::start(settings(), Web::None).await;
    for rest in [0, 40_000] {
        let mut client = world.connect().await;
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(rest));
        client.write_all(request.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 404 ") && head.contains("connection: close"), "{answer}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    }
    assert_eq!(world.stats().web, 2);
}

#[tokio::test]
async fn banners_and_garbage_are_closed_without_a_word() {
    let world = World::start(settings(), Web::None).await;
    for bytes in [&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], b"\xff\xff\xff\xff", b"\x00\x03\x00\x00\x21\x12\xa4\x43"]
    {
        assert_eq!(world.answer_to(bytes).await, b"");
    }
    assert_eq!(world.refused(Refusal::UnknownProtocol), 3);
    assert_eq!((world.stats().open, world.stats().half_open), (0, 0));
}

#[tokio::test]
async fn tls_without_a_certificate_is_closed() {
    let world = World::start(settings(), Web::None).await;
    let hello = super::secure_hostile::client_hello_of_tls_1_1();
    assert_eq!(world.answer_to(&hello).await, b"");
    assert_eq!(world.refused(Refusal::TlsOff), 1);
}

#[tokio::test(start_paused = true)]
async fn who_says_too_little_is_closed_after_ten_seconds() {
    let world = World::start(settings(), Web::None).await;
    for bytes in [&b""[..], b"\x00", &ALLOCATE[..7], b"G", b"GET "] {
        let since = Instant::now();
        assert_eq!(world.answer_to(bytes).await, b"");
        assert!(is_ten_seconds(since), "{:?}", since.elapsed());
    }
    assert_eq!(world.refused(Refusal::SlowFirstBytes), 5);
}

#[tokio::test]
async fn who_leaves_before_saying_anything_is_counted() {
    let world = World::start(settings(), Web::None).await;
    for bytes in [&b""[..], b"\x00\x03"] {
        let mut client = world.connect().await;
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_to_close(&mut client).await, b"");
    }
    assert_eq!(world.refused(Refusal::ClosedEarly), 2);
}

#[tokio::test]
async fn a_stream_that_no_shard_takes_is_closed_and_counted() {
    let mut world = World::start(settings(), Web::None).await;
    world.drop_shard();
    assert_eq!(world.answer_to(ALLOCATE).await, b"");
    assert_eq!((world.refused(Refusal::ShardBusy), world.stats().turn, world.stats().open), (1, 0, 0));
}

#[tokio::test]
async fn stopping_closes_the_listener_and_what_is_half_open_and_leaves_streams_alone() {
    let mut world = World::start(settings(), Web::None).await;
    let mut turn = world.connect().await;
    turn.write_all(ALLOCATE).await.unwrap();
    let mut served = Served::new(world.stream().await);
    let mut half_open = world.connect().await;
    world.until(|stats| stats.half_open == 1).await;
    world.stop.send(true).unwrap();
    assert_eq!(read_to_close(&mut half_open).await, b"");
    assert_eq!(world.refused(Refusal::Stopping), 1);
    while tokio::net::TcpStream::connect(world.address).await.is_ok() {}
    served.write(b"still here").await;
    let mut rest = [0; 10];
    turn.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"still here");
}

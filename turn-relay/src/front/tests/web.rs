//! Connections that are not TURN's: to another server, or to the web side of this process.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance};

use super::world::{Authority, World, read_to_close, secure, settings};
use crate::front::ports::{FrontSettings, Web};
use crate::front::proxy_protocol::{self, ProxyHeader};
use crate::front::stats::Refusal;

const GET: &[u8] = b"GET /page HTTP/1.1\r\nhost: meet.example\r\n\r\n";

async fn backend() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn read_exactly(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    stream.read_exact(&mut buffer).await.unwrap();
    buffer
}

#[tokio::test]
async fn a_backend_gets_every_byte_and_answers_until_both_are_done() {
    let (listener, address) = backend().await;
    let world = World::start(settings(), Web::Backend(address)).await;
    let mut client = world.connect().await;
    client.write_all(&GET[..10]).await.unwrap();
    tokio::task::yield_now().await;
    client.write_all(&GET[10..]).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(read_exactly(&mut server, GET.len()).await, GET);
    server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0, "the end of the request comes through");
    server.write_all(b"page").await.unwrap();
    drop(server);
    assert_eq!(read_to_close(&mut client).await, b"HTTP/1.1 200 OK\r\n\r\npage");
    world.until(|stats| stats.open == 0).await;
    assert_eq!((world.stats().web, world.stats().refused.total()), (1, 0));
}

#[tokio::test]
async fn a_backend_gets_the_plaintext_of_tls_and_is_told_who_it_is() {
    let authority = Authority::new();
    let (listener, address) = backend().await;
    let settings = FrontSettings {
        tls: Some(authority.certificates(&["relay.example"])),
        https_backend_proxy_protocol: true,
        ..settings()
    };
    let world = World::start(settings, Web::Backend(address)).await;
    let config = authority.client_config(&["http/1.1"]);
    let mut client = secure(world.connect().await, config).await.unwrap();
    client.write_all(GET).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let header = read_exactly(&mut server, 28).await;
    let me = client.get_ref().0.local_addr().unwrap();
    assert_eq!(proxy_protocol::parse(&header), ProxyHeader::Client { client: me, bytes: 28 });
    assert_eq!(read_exactly(&mut server, GET.len()).await, GET);
    server.write_all(b"page").await.unwrap();
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "page");
}

#[tokio::test]
async fn a_backend_that_does_not_run_is_said_so() {
    let (listener, address) = backend().await;
    drop(listener);
    let world = World::start(settings(), Web::Backend(address)).await;
    let answer = String::from_utf8(world.answer_to(GET).await).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    assert_eq!((world.refused(Refusal::BackendUnreachable), world.stats().web), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_spliced_connection_on_which_nothing_moves_is_closed_and_one_that_is_used_is_not() {
    let (listener, address) = backend().await;
    let world = World::start(settings(), Web::Backend(address)).await;
    let mut client = world.connect().await;
    let since = Instant::now();
    client.write_all(GET).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    for _ in 0..10 {
        advance(Duration::from_secs(300)).await;
        server.write_all(b"ping").await.unwrap();
        assert_eq!(read_exactly(&mut client, 4).await, b"ping");
    }
    assert!(since.elapsed() >= Duration::from_secs(3_000));
    assert_eq!(read_to_close(&mut client).await, b"");
    assert!(since.elapsed() <= Duration::from_secs(3_000 + 1_201), "{:?}", since.elapsed());
}

#[tokio::test]
async fn stopping_ends_what_is_spliced() {
    let (listener, address) = backend().await;
    let world = World::start(settings(), Web::Backend(address)).await;
    let mut client = world.connect().await;
    client.write_all(GET).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_exactly(&mut server, GET.len()).await;
    world.stop.send(true).unwrap();
    assert_eq!(read_to_close(&mut client).await, b"");
    assert_eq!((world.stats().web, world.refused(Refusal::Stopping)), (1, 0));
}

#[tokio::test]
async fn the_web_side_of_this_process_gets_connections_with_their_first_bytes() {
    let authority = Authority::new();
    let (to_web, mut web) = mpsc::channel(4);
    let tls = Some(authority.certificates(&["relay.example"]));
    let world = World::start(FrontSettings { tls, ..settings() }, Web::Channel(to_web)).await;

    let mut plain = world.connect().await;
    plain.write_all(GET).await.unwrap();
    let mut connection = web.recv().await.unwrap();
    assert_eq!((connection.secure, connection.client), (false, plain.local_addr().unwrap()));
    let mut request = vec![0; GET.len()];
    connection.stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request, GET);

    let mut secured = secure(world.connect().await, authority.client_config(&[])).await.unwrap();
    secured.write_all(GET).await.unwrap();
    let mut connection = web.recv().await.unwrap();
    assert!(connection.secure);
    connection.stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request, GET);
    connection.stream.write_all(b"answer").await.unwrap();
    connection.stream.shutdown().await.unwrap();
    assert_eq!(read_to_close(&mut secured).await, b"answer");
}

#[tokio::test]
async fn a_web_connection_keeps_its_place_until_it_is_dropped() {
    let (to_web, mut web) = mpsc::channel(4);
    let world = World::start(settings(), Web::Channel(to_web)).await;
    let mut client = world.connect().await;
    client.write_all(GET).await.unwrap();
    let connection = web.recv().await.unwrap();
    assert_eq!((world.stats().open, world.stats().half_open), (1, 0));
    drop(connection);
    assert_eq!(world.stats().open, 0);
    assert_eq!(read_to_close(&mut client).await, b"");
}

#[tokio::test]
async fn a_web_side_that_has_too_much_to_do_says_come_again() {
    let (to_web, mut web) = mpsc::channel(1);
    let world = World::start(settings(), Web::Channel(to_web)).await;
    let mut first = world.connect().await;
    first.write_all(GET).await.unwrap();
    world.until(|stats| stats.web == 1).await;
    let answer = String::from_utf8(world.answer_to(GET).await).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after:"), "{answer}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    assert_eq!((world.refused(Refusal::WebBusy), world.stats().web), (1, 1));
    web.recv().await.unwrap();
}

//! TLS: who is meant, by server name, by ALPN, by the first decrypted bytes.

use std::io::Write as _;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::world::{ALLOCATE, Authority, Served, World, read_to_close, secure, secure_to, settings};
use crate::engine::ports::Transport;
use crate::front::ports::{FrontSettings, Web};
use crate::front::proxy_protocol::{self, ProxyHeader};
use crate::front::stats::Refusal;
use crate::front::tls::server_config;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: relay.example\r\n\r\n";

async fn secure_world() -> (World, Authority) {
    let authority = Authority::new();
    let tls = Some(authority.certificates(&["relay.example"]));
    (World::start(FrontSettings { tls, ..settings() }, Web::None).await, authority)
}

#[tokio::test]
async fn a_browsers_turn_client_without_alpn_reaches_a_shard_and_is_talked_to() {
    let (mut world, authority) = secure_world().await;
    let mut client = secure(world.connect().await, authority.client_config(&[])).await.unwrap();
    client.write_all(ALLOCATE).await.unwrap();
    let stream = world.stream().await;
    assert_eq!(stream.path.transport, Transport::Tls);
    assert_eq!(stream.path.client, client.get_ref().0.local_addr().unwrap());
    let mut served = Served::new(stream);
    assert_eq!(served.read(ALLOCATE.len()).await, ALLOCATE);
    served.write(b"reply").await;
    let mut reply = [0; 5];
    client.read_exact(&mut reply).await.unwrap();
    client.write_all(b"more").await.unwrap();
    let all = [ALLOCATE, b"more"].concat();
    assert_eq!((&reply, served.read(all.len()).await), (b"reply", &all[..]));
    assert_eq!((world.stats().handshakes, world.stats().turn), (1, 1));
}

#[tokio::test]
async fn alpn_of_turn_reaches_a_shard_before_any_plaintext() {
    for protocol in ["stun.turn", "stun.nat-discovery"] {
        let (mut world, authority) = secure_world().await;
        let config = authority.client_config(&[protocol]);
        let mut client = secure(world.connect().await, config).await.unwrap();
        let mut served = Served::new(world.stream().await);
        client.write_all(ALLOCATE).await.unwrap();
        assert_eq!(served.read(ALLOCATE.len()).await, ALLOCATE);
    }
}

/// Drives a client by hand, so that its last message of the handshake and its first records leave together.
#[tokio::test]
async fn what_comes_with_the_end_of_the_handshake_is_not_lost() {
    for (protocols, records) in [(&[][..], 3), (&["stun.turn"][..], 3), (&[], 200)] {
        let (mut world, authority) = secure_world().await;
        let name = ServerName::try_from("relay.example").unwrap();
        let mut tls = ClientConnection::new(authority.client_config(protocols), name).unwrap();
        let mut socket = world.connect().await;
        let mut out = Vec::new();
        while tls.is_handshaking() {
            out.clear();
            while tls.wants_write() {
                tls.write_tls(&mut out).unwrap();
            }
            socket.write_all(&out).await.unwrap();
            let mut buffer = [0; 4096];
            let read = socket.read(&mut buffer).await.unwrap();
            tls.read_tls(&mut &buffer[..read]).unwrap();
            tls.process_new_packets().unwrap();
        }
        out.clear();
        for _ in 0..records {
            tls.writer().write_all(ALLOCATE).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut out).unwrap();
            }
        }
        socket.write_all(&out).await.unwrap();
        let sent = ALLOCATE.repeat(records);
        assert_eq!(Served::new(world.stream().await).read(sent.len()).await, sent);
    }
}

#[tokio::test]
async fn https_is_answered_with_and_without_alpn() {
    let (world, authority) = secure_world().await;
    for protocols in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
        let config = authority.client_config(protocols);
        let mut client = secure(world.connect().await, config).await.unwrap();
        client.write_all(GET).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    assert_eq!((world.stats().web, world.stats().handshakes), (3, 3));
}

#[tokio::test]
async fn a_client_that_comes_again_resumes_its_session() {
    let (world, authority) = secure_world().await;
    let config = authority.client_config(&[]);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut client = secure(world.connect().await, Arc::clone(&config)).await.unwrap();
        client.write_all(GET).await.unwrap();
        read_to_close(&mut client).await;
        kinds.push(client.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

/// A server with a certificate of its own for `inside.example`, which says `from inside` in its TLS.
async fn backend(authority: &Authority, is_told: bool) -> std::net::SocketAddr {
    let config = server_config(authority.certificates(&["inside.example"])).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut told = b"nobody".to_vec();
        if is_told {
            let mut header = [0; 28];
            socket.read_exact(&mut header).await.unwrap();
            let ProxyHeader::Client { client, .. } = proxy_protocol::parse(&header) else { panic!() };
            told = client.to_string().into_bytes();
        }
        let mut tls = TlsAcceptor::from(config).accept(socket).await.unwrap();
        tls.write_all(&[b"from inside to ", &told[..]].concat()).await.unwrap();
        tls.shutdown().await.unwrap();
    });
    address
}

#[tokio::test]
async fn a_server_name_that_is_passed_through_meets_its_own_server_undecrypted() {
    for is_told in [false, true] {
        let authority = Authority::new();
        let settings = FrontSettings {
            tls: Some(authority.certificates(&["relay.example"])),
            passthrough: vec![("Inside.Example".to_owned(), backend(&authority, is_told).await)],
            passthrough_proxy_protocol: is_told,
            ..settings()
        };
        let world = World::start(settings, Web::None).await;
        let socket = world.connect().await;
        let told = if is_told { socket.local_addr().unwrap().to_string() } else { "nobody".to_owned() };
        let config = authority.client_config(&[]);
        // The front has no certificate for that name: the client would refuse it.
        let mut client = secure_to("inside.example", socket, config).await.unwrap();
        let said = String::from_utf8(read_to_close(&mut client).await).unwrap();
        assert_eq!(said, format!("from inside to {told}"));
        assert_eq!((world.stats().passed_through, world.stats().handshakes), (1, 0));
    }
}

#[tokio::test]
async fn a_name_is_passed_through_without_a_certificate_of_ours_and_other_names_are_refused() {
    let authority = Authority::new();
    let passthrough = vec![("inside.example".to_owned(), backend(&authority, false).await)];
    let world = World::start(FrontSettings { passthrough, ..settings() }, Web::None).await;
    let config = authority.client_config(&[]);
    assert!(secure(world.connect().await, Arc::clone(&config)).await.is_err());
    assert_eq!(world.refused(Refusal::TlsOff), 1);
    let mut client = secure_to("inside.example", world.connect().await, config).await.unwrap();
    assert_eq!(read_to_close(&mut client).await, b"from inside to nobody");
}

#[tokio::test]
async fn a_server_inside_that_does_not_run_is_counted() {
    let authority = Authority::new();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let passthrough = vec![("inside.example".to_owned(), nobody)];
    let world = World::start(FrontSettings { passthrough, ..settings() }, Web::None).await;
    let config = authority.client_config(&[]);
    assert!(secure_to("inside.example", world.connect().await, config).await.is_err());
    assert_eq!(world.refused(Refusal::BackendUnreachable), 1);
}

//! The relay inside `passerelle`: browsers get credentials for it, it reaches the bridge beside it and nothing else, and
//! what is HTTP on its port is signaling's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod server;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use md5::{Digest, Md5};
use serde_json::Value;
use server::{PATIENCE, http};
use wire::stun::{AttributeKind, Builder, Class, ErrorCode, Message, Method, TransactionId};

const LOOPBACK: &str = "127.0.0.1:0";

/// All ports free, and `more`.
fn passerelle(more: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle"));
    for key in [
        "SIGNALING__LISTEN",
        "SIGNALING__REST_LISTEN",
        "BRIDGE__CHANNEL_LISTEN",
        "BRIDGE__REST_LISTEN",
        "TURN_RELAY__LISTEN",
        "TURN_RELAY__REST_LISTEN",
    ] {
        command.env(format!("PASSERELLE__{key}"), LOOPBACK);
    }
    for (key, value) in [
        ("BRIDGE__MEDIA_PORT", "0"),
        ("BRIDGE__WORKERS", "1"),
        ("BRIDGE__PIN_WORKERS", "false"),
        ("BRIDGE__ANNOUNCED_ADDRESSES", "127.0.0.1"),
        ("TURN_RELAY__RELAY_ADDRESSES", "127.0.0.1"),
        ("LOG__LEVEL", "error"),
    ] {
        command.env(format!("PASSERELLE__{key}"), value);
    }
    for (key, value) in more {
        command.env(format!("PASSERELLE__{key}"), value);
    }
    command.arg("--ready-json").stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// A running server; dropping it ends it.
struct Process {
    child: Child,
    bound: Value,
}

impl Process {
    fn start() -> Self {
        let mut child = passerelle(&[]).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self { child, bound: ready["bound"].clone() }
    }

    fn address(&self, part: &str, pointer: &str) -> SocketAddr {
        self.bound[part].pointer(pointer).unwrap().as_str().unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TURN client over UDP, with what signaling gave it.
struct Client {
    socket: UdpSocket,
    username: String,
    password: String,
    /// Realm and nonce.
    asked_for: (Vec<u8>, Vec<u8>),
    transaction: u8,
}

impl Client {
    fn ask(&mut self, method: Method, fill: impl Fn(Builder) -> Builder) -> Option<ErrorCode> {
        self.transaction += 1;
        let mut request = fill(Builder::new(Class::Request, method, TransactionId([self.transaction; 12])));
        let (realm, nonce) = &self.asked_for;
        if !nonce.is_empty() {
            let text = format!("{}:{}:{}", self.username, String::from_utf8_lossy(realm), self.password);
            let key: [u8; 16] = Md5::digest(text).into();
            request = request
                .attribute(AttributeKind::USERNAME, self.username.as_bytes())
                .attribute(AttributeKind::REALM, realm)
                .attribute(AttributeKind::NONCE, nonce)
                .sign(&key);
        }
        self.socket.send(&request.finish()).unwrap();
        let mut answer = [0; 1500];
        let length = self.socket.recv(&mut answer).unwrap();
        let message = Message::parse(&answer[..length]).unwrap();
        let value = |kind| message.attribute(kind).map(<[u8]>::to_vec);
        if let (Some(realm), Some(nonce)) = (value(AttributeKind::REALM), value(AttributeKind::NONCE)) {
            self.asked_for = (realm, nonce);
        }
        message.error_code().map(|(code, _)| code)
    }

    fn allocate(&mut self) -> Option<ErrorCode> {
        self.ask(Method::ALLOCATE, |it| it.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]))
    }

    fn permit(&mut self, peer: SocketAddr) -> Option<ErrorCode> {
        let number = [0x40, self.transaction, 0, 0];
        self.ask(Method::CHANNEL_BIND, |it| {
            it.attribute(AttributeKind::CHANNEL_NUMBER, &number)
                .xor_address(AttributeKind::XOR_PEER_ADDRESS, peer)
        })
    }
}

#[test]
fn a_browser_is_told_of_the_relay_and_reaches_the_bridge_through_it_and_nothing_else() {
    let process = Process::start();
    let credentials = server::ask(process.address("signaling", "/public"), "/api/turn-credentials");
    let (udp, tcp) = (process.address("turn-relay", "/udp/0"), process.address("turn-relay", "/tcp/0"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let uris: Vec<String> = credentials["uris"].as_array().unwrap().iter().map(text).collect();
    // Its certificate is self-signed, and no browser would take that: `turns:` is left out.
    assert_eq!(uris, [format!("turn:{udp}?transport=udp"), format!("turn:{tcp}?transport=tcp")]);

    let socket = UdpSocket::bind(LOOPBACK).unwrap();
    socket.connect(udp).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (username, password) = (text(&credentials["username"]), text(&credentials["password"]));
    let mut client = Client { socket, username, password, asked_for: Default::default(), transaction: 0 };
    assert_eq!(client.allocate(), Some(ErrorCode::UNAUTHENTICATED));
    assert_eq!(client.allocate(), None);
    let media_port = process.bound["bridge"]["media_ports"][0].as_u64().unwrap() as u16;
    let bridge = SocketAddr::from(([127, 0, 0, 1], media_port));
    assert_eq!(client.permit(bridge), None);
    for part in ["/public", "/rest"] {
        assert_eq!(client.permit(process.address("signaling", part)), Some(ErrorCode::FORBIDDEN), "{part}");
    }
    assert_eq!(client.permit("10.0.0.1:10000".parse().unwrap()), Some(ErrorCode::FORBIDDEN));
}

#[test]
fn what_is_http_on_the_relays_port_is_the_page() {
    let process = Process::start();
    let page = http::request(process.address("signaling", "/public"), ("GET", "/"), &[], "");
    assert_eq!(page.status, 200);
    let same = http::request(process.address("turn-relay", "/tcp/0"), ("GET", "/"), &[], "");
    assert_eq!((same.status, same.body), (200, page.body));
}

#[test]
fn a_port_that_somebody_has_ends_the_start_with_its_key() {
    let taken = TcpListener::bind(LOOPBACK).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listen", "rest_listen"] {
        let variable = format!("TURN_RELAY__{}", key.to_uppercase());
        let output =
            passerelle(&[(variable.as_str(), address.as_str())]).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("turn-relay.{key}")) && said.contains(&address), "{said}");
    }
}

#[test]
fn settings_of_the_relay_are_refused_by_their_key() {
    let output =
        passerelle(&[("TURN_RELAY__POLICY__MODE", "everything")]).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("turn-relay.policy.mode"), "{said}");
}

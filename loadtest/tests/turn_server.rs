//! Callers behind a relay: our TURN client against Debian's coturn, over UDP, TCP and TLS. Without `turnserver` it fails.
#![allow(clippy::unwrap_used, clippy::panic)]

mod model;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadtest::crew::{CrewSettings, Crews, PathPlan};
use loadtest::engine::ports::Note;
use loadtest::phone::{Phone, PhoneError};
use loadtest::scenario::{Link, MediaPath, TurnServer};
use tempfile::TempDir;

use self::model::{ModelServer, SLOTS, answer, listener, next_note};

/// A relay of its own for each test; it ends with this value.
struct Coturn {
    process: Child,
    folder: TempDir,
    port: u16,
    tls_port: u16,
}

impl Coturn {
    /// `turnserver` on free ports of loopback, which relays to loopback too, with `extra` settings.
    fn start(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
        let (port, tls_port) = (free_port(), free_port());
        let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let mut process = Command::new("turnserver")
            .args(["-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--allow-loopback-peers"])
            .args(["--listening-port", &port.to_string(), "--tls-listening-port", &tls_port.to_string()])
            .args(["--use-auth-secret", "--static-auth-secret", SECRET, "--realm", "passerelle.test"])
            .args([
                "--cert",
                &file("cert.pem"),
                "--pkey",
                &file("key.pem"),
                "--userdb",
                &file("users.sqlite"),
            ])
            .args([
                "--pidfile",
                &file("pid"),
                "--no-cli",
                "--no-dtls",
                "--log-file",
                "stdout",
                "--simple-log",
            ])
            .args(["--relay-threads", "1", "--verbose"])
            .args(extra)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver, of the package coturn, is needed for this test");
        let log = BufReader::new(process.stdout.take().unwrap());
        let coturn = Self { process, folder, port, tls_port };
        coturn.drain(log);
        coturn.wait_until_it_listens();
        coturn
    }

    /// Its log is read to the end by a thread, so that it never waits for a reader.
    fn drain(&self, log: BufReader<std::process::ChildStdout>) {
        let file = self.folder.path().join("log");
        std::thread::spawn(move || {
            let lines = log.lines().map_while(Result::ok);
            let text = lines.fold(String::new(), |text, line| text + &line + "\n");
            let _ = std::fs::write(file, text);
        });
    }

    fn wait_until_it_listens(&self) {
        let deadline = Instant::now() + model::PATIENCE;
        for port in [self.port, self.tls_port] {
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(Instant::now() < deadline, "turnserver does not listen on port {port}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn settings(&self, secret: &str) -> TurnServer {
        TurnServer {
            address: format!("127.0.0.1:{}", self.port),
            tls_address: format!("localhost:{}", self.tls_port),
            secret: secret.to_owned(),
            ..TurnServer::default()
        }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn path(&self, path: MediaPath) -> PathPlan {
        PathPlan { path, turn: Some(self.settings(SECRET)), link: None, ca: Some(self.ca()) }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Free for TCP and UDP on loopback a moment ago.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn crews() -> Crews {
    Crews::start(CrewSettings { threads: 1 }).unwrap()
}

fn phone(crews: &Crews, number: u32, path: PathPlan) -> Phone {
    Phone::Light(crews.phone(listener(number), path, 0))
}

/// Why the relay lets the caller not through.
async fn refusal(phone: &mut Phone, candidates: &[SocketAddr]) -> String {
    phone.offer(SLOTS, None).await.unwrap();
    match phone.answer(&answer(candidates)).await {
        Err(PhoneError::Relay(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn passes(path: MediaPath) {
    let (coturn, server, crews) = (Coturn::start(&["--user-quota", "1"]), ModelServer::start(), crews());
    let mut first = phone(&crews, 1, coturn.path(path));
    first.offer(SLOTS, None).await.unwrap();
    first.answer(&answer(&[server.address])).await.unwrap();
    assert_eq!(next_note(&mut first).await, Some(Note::IceConnected));
    server.wait_until("a handshake begins behind the relay", |seen| seen.hellos > 0);
    assert_eq!(server.seen().sources.len(), 1, "all comes from the relayed address");

    // The same user again is one allocation too many, until the first hangs up.
    let mut second = phone(&crews, 1, coturn.path(path));
    let why = refusal(&mut second, &[server.address]).await;
    assert!(why.starts_with("the TURN server has reached its quota for these credentials (486"), "{why}");
    first.hang_up().await;
    let deadline = Instant::now() + model::PATIENCE;
    second.offer(SLOTS, None).await.unwrap();
    while let Err(error) = second.answer(&answer(&[server.address])).await {
        // coturn forgets an allocation a moment after it was given back.
        assert!(Instant::now() < deadline, "{error}");
        second.offer(SLOTS, None).await.unwrap();
    }
    assert_eq!(next_note(&mut second).await, Some(Note::IceConnected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_gets_through_over_udp() {
    passes(MediaPath::RelayUdp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_gets_through_over_tcp() {
    passes(MediaPath::RelayTcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_gets_through_over_tls() {
    passes(MediaPath::RelayTls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_that_signaling_names_is_used_and_a_link_lies_on_top() {
    let (coturn, server, crews) = (Coturn::start(&[]), ModelServer::start(), crews());
    let link = Link { delay_ms: 100.0, ..Link::default() };
    let path = PathPlan { path: MediaPath::RelayTcp, link: Some(link), ..PathPlan::default() };
    let mut phone = phone(&crews, 1, path);
    assert_eq!(phone.offer(SLOTS, None).await, Err(PhoneError::NoRelay));
    phone.offer(SLOTS, Some(coturn.settings(SECRET))).await.unwrap();
    let start = Instant::now();
    phone.answer(&answer(&[server.address])).await.unwrap();
    let (at, note) = tokio::time::timeout(model::PATIENCE, phone.note()).await.unwrap().unwrap();
    assert_eq!(note, Note::IceConnected);
    assert!(at - start >= Duration::from_millis(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_one_clear_line() {
    let (coturn, server, crews) = (Coturn::start(&[]), ModelServer::start(), crews());
    for path in [MediaPath::RelayUdp, MediaPath::RelayTls] {
        let turn = Some(coturn.settings("another secret"));
        let mut phone = phone(&crews, 1, PathPlan { turn, ..coturn.path(path) });
        let why = refusal(&mut phone, &[server.address]).await;
        assert!(why.starts_with("the TURN server refuses the credentials (401"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_nobody_or_of_another_name_is_refused() {
    let (coturn, server, crews) = (Coturn::start(&[]), ModelServer::start(), crews());
    let untrusted = PathPlan { ca: None, ..coturn.path(MediaPath::RelayTls) };
    let by_address =
        TurnServer { tls_address: format!("127.0.0.1:{}", coturn.tls_port), ..coturn.settings(SECRET) };
    let misnamed = PathPlan { turn: Some(by_address), ..coturn.path(MediaPath::RelayTls) };
    for path in [untrusted, misnamed] {
        let why = refusal(&mut phone(&crews, 1, path), &[server.address]).await;
        assert!(why.starts_with("TLS with the TURN server failed: invalid peer certificate"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_the_relay_refuses_is_passed_over_for_the_next() {
    let (coturn, server, crews) =
        (Coturn::start(&["--denied-peer-ip", "127.0.0.9"]), ModelServer::start(), crews());
    let denied: SocketAddr = "127.0.0.9:9".parse().unwrap();
    let mut phone = phone(&crews, 1, coturn.path(MediaPath::RelayUdp));
    let why = refusal(&mut phone, &[denied]).await;
    assert!(why.starts_with("the TURN server does not relay to this server (403"), "{why}");
    phone.offer(SLOTS, None).await.unwrap();
    phone.answer(&answer(&[denied, server.address])).await.unwrap();
    assert_eq!(next_note(&mut phone).await, Some(Note::IceConnected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_not_there_or_is_none_is_one_clear_line() {
    let (server, crews) = (ModelServer::start(), crews());
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let web_address = web.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = web.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let deserted = SocketAddr::from(([127, 0, 0, 1], free_port()));
    for (path, address, line) in [
        (MediaPath::RelayUdp, deserted, "nobody listens at the TURN server's address"),
        (MediaPath::RelayTcp, deserted, "the TURN server cannot be reached: Connection refused"),
        (MediaPath::RelayTcp, web_address, "the TURN server's stream is neither STUN nor channel data"),
    ] {
        let turn =
            TurnServer { address: address.to_string(), secret: SECRET.to_owned(), ..TurnServer::default() };
        let path = PathPlan { path, turn: Some(turn), ..PathPlan::default() };
        let why = refusal(&mut phone(&crews, 1, path), &[server.address]).await;
        assert!(why.starts_with(line), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_dies_ends_the_path() {
    let (mut coturn, server, crews) = (Coturn::start(&[]), ModelServer::start(), crews());
    let mut phone = phone(&crews, 1, coturn.path(MediaPath::RelayTls));
    phone.offer(SLOTS, None).await.unwrap();
    phone.answer(&answer(&[server.address])).await.unwrap();
    assert_eq!(next_note(&mut phone).await, Some(Note::IceConnected));
    coturn.process.kill().unwrap();
    assert_eq!(next_note(&mut phone).await, Some(Note::PathLost));
    assert_eq!(crews.sample().load.callers, 0);
}

const SECRET: &str = "a-secret-of-this-test";

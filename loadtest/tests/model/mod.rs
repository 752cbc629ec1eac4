//! A model of a media server: it answers connectivity checks and counts what else arrives.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use loadtest::engine::ports::{CallerPlan, Note};
use loadtest::engine::stamp::Clock;
use loadtest::phone::{Phone, SlotCounts};
use loadtest::scenario::Receive;
use wire::datagram::{DatagramKind, classify};
use wire::stun::{AttributeKind, Builder, Class, Message};

/// A server on a port of its own, which ends with this value.
pub(crate) struct ModelServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What has arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Where checks came from.
    pub(crate) sources: BTreeSet<SocketAddr>,
    /// Checks, each time they came.
    pub(crate) checks: u64,
    /// Beginnings of a handshake: it comes through whole, or not at all.
    pub(crate) hellos: u64,
}

impl ModelServer {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let (seen, is_over) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (shared, stop) = (Arc::clone(&seen), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    answer_one(&socket, from, &buffer[..length], &mut shared.lock().unwrap());
                }
            }
        });
        Self { address, seen, is_over, thread: Some(thread) }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until `holds`; a server that has waited too long has failed the test.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.seen()) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.seen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer_one(socket: &UdpSocket, from: SocketAddr, datagram: &[u8], seen: &mut Seen) {
    if classify(datagram) == DatagramKind::Dtls && datagram[0] == HANDSHAKE {
        seen.hellos += 1;
    }
    let Ok(check) = Message::parse(datagram) else { return };
    assert!(check.verify_integrity(PASSWORD.as_bytes()) && check.verify_fingerprint());
    seen.sources.insert(from);
    seen.checks += 1;
    let answer = Builder::answer(&check, Class::Success).xor_address(AttributeKind::XOR_MAPPED_ADDRESS, from);
    socket.send_to(&answer.sign(PASSWORD.as_bytes()).fingerprint(), from).unwrap();
}

/// What a server says that may be reached at `candidates`: one audio slot.
pub(crate) fn answer(candidates: &[SocketAddr]) -> String {
    let fingerprint = vec!["AB"; 32].join(":");
    let mut answer = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-lite\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\na=ice-ufrag:server\r\na=ice-pwd:{PASSWORD}\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:passive\r\na=ssrc:7 cname:x\r\n"
    );
    for (index, candidate) in candidates.iter().enumerate() {
        let (priority, ip, port) = (1_000 - index, candidate.ip(), candidate.port());
        answer += &format!("a=candidate:{index} 1 udp {priority} {ip} {port} typ host\r\n");
    }
    answer
}

/// A caller that only listens.
pub(crate) fn listener(number: u32) -> CallerPlan {
    CallerPlan {
        number,
        seed: u64::from(number),
        clock: Clock { number: 1, epoch: Instant::now() },
        voice: None,
        camera: None,
        screen: None,
        receive: Receive::default(),
    }
}

/// The slots that [`answer`] fills.
pub(crate) const SLOTS: SlotCounts = SlotCounts { audio: 1, video: 0 };

/// The next note; none within the test's patience has failed it.
pub(crate) async fn next_note(phone: &mut Phone) -> Option<Note> {
    let note = tokio::time::timeout(PATIENCE, phone.note()).await;
    note.expect("a note in time").map(|(_, note)| note)
}

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const PASSWORD: &str = "a-password-of-the-model-server";

/// The content type of DTLS handshakes.
const HANDSHAKE: u8 = 22;

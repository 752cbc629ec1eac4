//! The shell of callers: one thread that owns some of them with a socket each, and looks at all in turn.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::http::{self, Response};
use super::{Answer, Caller};

/// A caller on its own port.
pub(crate) struct Seat {
    pub(crate) caller: Caller,
    socket: UdpSocket,
    /// Where media goes.
    server: SocketAddr,
    /// Where HTTP goes.
    signaling: SocketAddr,
    /// Path of what `POST` has created.
    resource: String,
}

impl Seat {
    /// Brings a caller into a conference by WHIP or WHEP; a server that refuses has failed the test.
    pub(crate) fn join(signaling: SocketAddr, conference: &str, mut caller: Caller) -> Self {
        let path = format!("/{}/{conference}", caller.role().path());
        let response = http::post_sdp(signaling, &path, &caller.offer());
        assert_eq!(response.status, 201, "{response:?}");
        let answer = Answer::read(&response.body);
        let resource = response.header("location").expect("a Location").to_owned();
        caller.take_answer(Instant::now(), &answer);
        Self { caller, socket: open_socket(), server: answer.address, signaling, resource }
    }

    /// Ends what `join` began (RFC 9725, 4.2).
    pub(crate) fn leave(&self) -> Response {
        http::request(self.signaling, ("DELETE", &self.resource), &[], "")
    }

    /// Everything that has arrived and is due; says how many datagrams came.
    fn turn(&mut self, buffer: &mut [u8]) -> u64 {
        let mut received = 0;
        loop {
            match self.socket.recv_from(buffer) {
                Ok((length, from)) if from == self.server => {
                    received += 1;
                    self.caller.handle_datagram(Instant::now(), &buffer[..length]);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // A server that is gone says so by ICMP; the caller finds out by itself.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => panic!("{error}"),
            }
        }
        let now = Instant::now();
        if self.caller.next_timeout().is_some_and(|at| at <= now) {
            self.caller.handle_timeout(now);
        }
        for datagram in self.caller.transmits() {
            let _ = self.socket.send_to(&datagram, self.server);
        }
        received
    }

    /// Its own port.
    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }
}

/// A thread with its callers.
pub(crate) struct Crew {
    state: Arc<State>,
    thread: JoinHandle<Vec<Seat>>,
}

/// What others may see of a crew while it works.
#[derive(Default)]
struct State {
    reachable: AtomicUsize,
    connected: AtomicUsize,
    served: AtomicUsize,
    received: AtomicU64,
    stop: AtomicBool,
}

impl State {
    fn count(&self, seats: &[Seat]) {
        let count =
            |is_there: fn(&Caller) -> bool| seats.iter().filter(|seat| is_there(&seat.caller)).count();
        self.reachable.store(count(Caller::is_reachable), Ordering::Relaxed);
        self.connected.store(count(Caller::is_connected), Ordering::Relaxed);
        self.served.store(count(Caller::is_served), Ordering::Relaxed);
    }
}

impl Crew {
    pub(crate) fn start(name: &str, mut seats: Vec<Seat>) -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let run = move || {
            let mut buffer = vec![0; 2048];
            while !shared.stop.load(Ordering::Relaxed) {
                let received: u64 = seats.iter_mut().map(|seat| seat.turn(&mut buffer)).sum();
                shared.received.fetch_add(received, Ordering::Relaxed);
                shared.count(&seats);
                thread::sleep(LOOK_INTERVAL);
            }
            seats
        };
        Self { state, thread: thread::Builder::new().name(name.to_owned()).spawn(run).unwrap() }
    }

    /// Callers whose checks are answered.
    pub(crate) fn reachable(&self) -> usize {
        self.state.reachable.load(Ordering::Relaxed)
    }

    /// Callers with keys.
    pub(crate) fn connected(&self) -> usize {
        self.state.connected.load(Ordering::Relaxed)
    }

    /// Callers who are shown something in every slot.
    pub(crate) fn served(&self) -> usize {
        self.state.served.load(Ordering::Relaxed)
    }

    /// Datagrams of the server, of any kind.
    pub(crate) fn received(&self) -> u64 {
        self.state.received.load(Ordering::Relaxed)
    }

    /// Ends the thread and gives the callers back.
    pub(crate) fn stop(self) -> Vec<Seat> {
        self.state.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn open_socket() -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    // What the server sends while a busy machine keeps this thread waiting; the kernel gives what it may.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// Datagrams of these callers that the kernel has dropped because nobody fetched them in time: the test machine's loss, not
/// the server's.
pub(crate) fn dropped_by_kernel(seats: &[Seat]) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let ports: Vec<String> = seats.iter().map(|seat| format!(":{:04X}", seat.port())).collect();
    let drops = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        ports.iter().any(|port| fields[1].ends_with(port)).then(|| fields[12].parse::<u64>().unwrap())
    });
    drops.sum()
}

/// Short against the 12 ms of a frame; long enough that 100 idle sockets cost nothing.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A second of media.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

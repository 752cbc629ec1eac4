//! A path that loses media: between one caller and the server, every n-th datagram of media is dropped on the way.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wire::datagram::{DatagramKind, classify};
use wire::sdp;

/// One caller's path; dropping it closes it.
pub(crate) struct LossyPath {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl LossyPath {
    /// Opens a path and gives the answer that leads through it.
    pub(crate) fn into(answer: &str) -> (Self, String) {
        let description = sdp::parse(answer).unwrap();
        let mut candidates = description.medias.iter().flat_map(|section| &section.candidates);
        let server = candidates.next().expect("a candidate").address;
        let (near, far) = (open(), open());
        let address = near.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let caller: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let (to_server, from_caller) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let (own_stop, own_caller) = (Arc::clone(&stop), Arc::clone(&caller));
        let up = thread::spawn(move || {
            carry(&own_stop, &from_caller, |datagram, from| {
                *own_caller.lock().unwrap() = Some(from);
                let _ = to_server.send_to(datagram, server);
            });
        });
        let own_stop = Arc::clone(&stop);
        let down = thread::spawn(move || {
            carry(&own_stop, &far, |datagram, _| {
                if let Some(caller) = *caller.lock().unwrap() {
                    let _ = near.send_to(datagram, caller);
                }
            });
        });
        let answer = answer.replace(
            &format!(" {} {} typ", server.ip(), server.port()),
            &format!(" 127.0.0.1 {} typ", address.port()),
        );
        (Self { stop, threads: vec![up, down] }, answer)
    }
}

impl Drop for LossyPath {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Hands on what comes, but for every [`LOST_ONE_IN`]th packet of media.
fn carry(stop: &AtomicBool, socket: &UdpSocket, mut hand_on: impl FnMut(&[u8], SocketAddr)) {
    let mut buffer = vec![0; 2048];
    let mut media: u32 = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let datagram = &buffer[..length];
        if classify(datagram) == DatagramKind::Rtp {
            media += 1;
            if media.is_multiple_of(LOST_ONE_IN) {
                continue;
            }
        }
        hand_on(datagram, from);
    }
}

fn open() -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket
}

/// 2 %: a bad day on a mobile network.
pub(crate) const LOST_ONE_IN: u32 = 50;

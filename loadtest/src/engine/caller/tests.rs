//! A caller and its server in a world of their own.

mod hostile;
mod media;
mod server;
mod transport;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use wire::rtcp::{self, Packet};
use wire::rtp::RtpView;
use wire::srtp::Profile;

use self::server::Server;
use super::*;
use crate::engine::stamp::Clock;
use crate::scenario::{Camera, PictureLayer, Receive, Voice};

static IDENTITY: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Identity::generate().unwrap()));

/// Voice and a camera of one layer; slots of each kind.
fn plan(epoch: Instant, (audio, video): (usize, usize)) -> CallerPlan {
    CallerPlan {
        number: 7,
        seed: 99,
        clock: Clock { number: 1, epoch },
        voice: Some(Voice::default()),
        camera: Some(Camera { layers: vec![layer()], ..Camera::default() }),
        screen: None,
        receive: Receive { audio: Some(audio), video: Some(video), ..Receive::default() },
    }
}

fn layer() -> PictureLayer {
    PictureLayer { height: 720, rate_kbps: 1_700, frames_per_s: 30.0 }
}

/// One caller and its server, and a path between them that loses what it is told to.
struct World {
    now: Instant,
    caller: Caller,
    server: Server,
    workspace: Workspace,
    notes: Vec<Note>,
    /// Counts the caller's datagrams from 0: those it names are lost.
    lost: fn(usize) -> bool,
    said: usize,
    /// The server hears and says nothing.
    is_dead: bool,
    /// The server's media, looped back into the caller's first slot of the same kind.
    echo: Option<Echo>,
}

/// What a looping server remembers.
#[derive(Default)]
struct Echo {
    looped: usize,
    indices: [u64; 2],
    /// Video packets by index, for retransmissions.
    sent: Vec<(u64, Vec<u8>)>,
    /// Video packets not sent at first.
    lost: Vec<u64>,
}

impl World {
    fn new(plan: impl FnOnce(Instant) -> CallerPlan, server: Server) -> Self {
        let now = Instant::now();
        let caller = Caller::new(now, plan(now), Arc::clone(&IDENTITY));
        Self {
            now,
            caller,
            server,
            workspace: Workspace::default(),
            notes: Vec::new(),
            lost: |_| false,
            said: 0,
            is_dead: false,
            echo: None,
        }
    }

    /// A caller that sends voice and camera, and has a slot of each; it has been answered.
    fn answered(profile: Profile) -> Self {
        let mut world = Self::new(|now| plan(now, (1, 1)), Server::passive(profile));
        world.answer();
        world
    }

    /// The same with keys.
    fn joined() -> Self {
        let mut world = Self::answered(Profile::AeadAes128Gcm);
        world.run(50);
        assert_eq!(world.notes, [Note::IceConnected, Note::DtlsConnected]);
        world
    }

    fn answer(&mut self) {
        let answer = self.server.answer(&self.caller.offer()).to_string();
        self.caller.handle_answer(self.now, &answer).unwrap();
    }

    /// Lets `ms` milliseconds pass, one by one.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.exchange();
            self.now += Duration::from_millis(1);
        }
    }

    /// Everything that both have to say now.
    fn exchange(&mut self) {
        if is_due(self.caller.next_timeout(), self.now) {
            self.caller.handle_timeout(self.now, &mut self.workspace);
        }
        loop {
            let datagrams: Vec<Vec<u8>> = self.workspace.transmits.iter().map(<[u8]>::to_vec).collect();
            self.workspace.transmits.clear();
            self.notes.append(&mut self.workspace.notes);
            for datagram in &datagrams {
                self.said += 1;
                if !(self.lost)(self.said - 1) && !self.is_dead {
                    self.server.handle(self.now, datagram);
                }
            }
            self.loop_back();
            let answers = std::mem::take(&mut self.server.says);
            if answers.is_empty() || self.is_dead {
                break;
            }
            for answer in answers {
                self.caller.handle_datagram(self.now, &answer, &mut self.workspace);
            }
        }
        self.notes.append(&mut self.workspace.notes);
    }

    /// The server's own loop: media to the slot of its kind, requests answered.
    fn loop_back(&mut self) {
        let Some(echo) = &mut self.echo else { return };
        for packet in &self.server.rtp.clone()[echo.looped..] {
            let view = RtpView::parse(packet).unwrap();
            let is_video = match view.payload_type().number() {
                96 => true,
                111 => false,
                _ => continue,
            };
            let index = echo.indices[usize::from(is_video)];
            echo.indices[usize::from(is_video)] += 1;
            // Mids: voice 0, camera 1, audio slot 2, video slot 3.
            let ssrc = Server::slot_ssrc(2 + usize::from(is_video));
            let sealed = self.server.seal((ssrc, view.payload_type().number()), &view, index);
            if is_video {
                echo.sent.push((index, packet.clone()));
            }
            if !is_video || !echo.lost.contains(&index) {
                self.server.says.push(sealed);
            }
        }
        echo.looped = self.server.rtp.len();
    }

    /// The caller's results so far.
    fn counts(&mut self) -> Counts {
        let mut results = Results::default();
        self.caller.take_results(&mut results);
        results.counts
    }

    /// All RTCP packets the server has opened, looked at one by one.
    fn each_rtcp(&self, mut look: impl FnMut(Packet<'_>)) {
        for compound in &self.server.rtcp {
            rtcp::packets(compound).for_each(|packet| look(packet.unwrap()));
        }
    }
}

//! loadtest's callers on their seats: in a conference by WHIP or WHEP, light or full.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use loadtest::crew::{CrewLoad, CrewSettings, Crews, PathPlan};
use loadtest::engine::ports::{CallerPlan, Note};
use loadtest::engine::results::Results;
use loadtest::engine::stamp::Clock;
use loadtest::full::FullCallers;
use loadtest::phone::{Phone, SlotCounts};
use loadtest::scenario::{Camera, Kind, PictureLayer, Receive, Voice};
use tokio::runtime::Runtime;

use super::PATIENCE;
use super::http::{self, Response, post_sdp};

/// Which way a caller's media flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// WHIP: one voice and one picture.
    Publisher,
    /// WHEP: this many slots of each.
    Viewer(usize),
}

impl Role {
    /// First segment of the paths of its protocol.
    fn path(self) -> &'static str {
        match self {
            Self::Publisher => "whip",
            Self::Viewer(_) => "whep",
        }
    }

    pub(crate) fn slots(self) -> SlotCounts {
        match self {
            Self::Publisher => SlotCounts::default(),
            Self::Viewer(count) => SlotCounts { audio: count, video: count },
        }
    }

    /// What such a caller does: a lecturer who never pauses, in one layer; or nothing.
    fn plan(self, number: u32, clock: Clock) -> CallerPlan {
        let layer = PictureLayer { height: 720, rate_kbps: 1_700, frames_per_s: 30.0 };
        let is_publisher = self == Self::Publisher;
        CallerPlan {
            number,
            seed: u64::from(number),
            clock,
            voice: is_publisher.then(|| Voice { dtx: false, ..Voice::default() }),
            camera: is_publisher.then(|| Camera { layers: vec![layer], ..Camera::default() }),
            screen: None,
            receive: Receive { audio: Some(0), video: Some(0), ..Receive::default() },
        }
    }
}

/// Everything that carries callers, and a runtime for the async side of it.
pub(crate) struct Callers {
    pub(crate) crews: Crews,
    full: FullCallers,
    clock: Clock,
    pub(crate) runtime: Runtime,
}

impl Callers {
    pub(crate) fn start(threads: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self {
            crews: Crews::start(CrewSettings { threads }).unwrap(),
            full: FullCallers::new(),
            clock: Clock { number: 1, epoch: Instant::now() },
            runtime: runtime.unwrap(),
        }
    }

    /// A phone for one caller whose results are summed under `group`.
    pub(crate) fn phone(&self, kind: Kind, (role, number): (Role, u32), group: usize) -> Phone {
        let plan = role.plan(number, self.clock);
        match kind {
            Kind::Light => Phone::Light(self.crews.phone(plan, PathPlan::default(), group)),
            Kind::Full => Phone::Full(self.full.phone(plan, PathPlan::default(), group)),
        }
    }

    /// The offer of a light caller that then never comes.
    pub(crate) fn offer(&self, role: Role) -> String {
        let mut phone = self.phone(Kind::Light, (role, 7), 0);
        self.runtime.block_on(phone.offer(role.slots(), None)).unwrap()
    }

    /// A light caller in its conference.
    pub(crate) fn join(&self, server: SocketAddr, conference: &str, (role, number): (Role, u32)) -> Seat {
        let phone = self.phone(Kind::Light, (role, number), 0);
        self.seat(server, conference, (role, phone))
    }

    /// Brings any caller into a conference.
    pub(crate) fn seat(&self, server: SocketAddr, conference: &str, caller: (Role, Phone)) -> Seat {
        self.seat_with(server, conference, caller, (str::to_owned, str::to_owned))
    }

    /// As [`Self::seat`], with an offer and an answer that somebody has tampered with.
    pub(crate) fn seat_with(
        &self,
        server: SocketAddr,
        conference: &str,
        (role, mut phone): (Role, Phone),
        (tamper_offer, tamper_answer): (impl FnOnce(&str) -> String, impl FnOnce(&str) -> String),
    ) -> Seat {
        self.runtime.block_on(async {
            let offer = phone.offer(role.slots(), None).await.unwrap();
            let response = post_sdp(server, &format!("/{}/{conference}", role.path()), &tamper_offer(&offer));
            assert_eq!(response.status, 201, "{response:?}");
            let resource = response.header("location").expect("a Location").to_owned();
            phone.answer(&tamper_answer(&response.body)).await.unwrap();
            Seat { phone, server, resource, notes: Vec::new() }
        })
    }

    /// Waits until each caller has noted it.
    pub(crate) fn until_noted(&self, seats: &mut [Seat], note: &Note) {
        let wait = async {
            for seat in seats {
                while !seat.notes.contains(note) {
                    let (_, found) = seat.phone.note().await.expect("a connection");
                    seat.notes.push(found);
                }
            }
        };
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, wait).await });
        assert!(waited.is_ok(), "waited in vain: a caller notes {note:?}");
    }

    /// Hangs everybody up.
    pub(crate) fn hang_up(&self, seats: &mut [Seat]) {
        self.runtime.block_on(async {
            for seat in seats {
                seat.phone.hang_up().await;
            }
        });
    }

    /// What each group of either kind has found since the last call, added to what was known; and what it cost.
    pub(crate) fn sample(&mut self, groups: &mut [Results]) -> CrewLoad {
        let light = self.crews.sample();
        for (group, results) in light.groups.iter().chain(&self.full.sample()) {
            groups[*group].add(results);
        }
        light.load
    }
}

/// A caller that has joined.
pub(crate) struct Seat {
    phone: Phone,
    server: SocketAddr,
    /// Path of what `POST` has created.
    resource: String,
    notes: Vec<Note>,
}

impl Seat {
    /// Ends what joining began (RFC 9725, 4.2).
    pub(crate) fn leave(&self) -> Response {
        http::request(self.server, ("DELETE", &self.resource), &[], "")
    }

    /// What has become true by now.
    pub(crate) fn notes(&mut self, callers: &Callers) -> &[Note] {
        callers.runtime.block_on(async {
            // What is there comes at once; nothing more is waited for.
            while let Ok(Some((_, note))) = tokio::time::timeout(Duration::ZERO, self.phone.note()).await {
                self.notes.push(note);
            }
        });
        &self.notes
    }
}

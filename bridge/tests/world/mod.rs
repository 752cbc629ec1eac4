//! A world for the engine: a clock that only the test moves, browsers made of `wire`, and between them lines that lose,
//! delay and repeat datagrams as a seed says. Nothing here opens a socket or reads a clock twice.
//!
//! ```text
//! browser --line--> engine --line--> browser
//!    |                 ^
//!    +--- commands, handshake reports, channel: at once, as the shell would carry them
//! ```
//!
//! Always checked: a datagram leaves the engine only for an address that has shown a right check.

// Each test program uses a part of it, and a broken world may panic.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub mod browser;
mod description;
mod hearing;
pub mod media;
pub mod receiver;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bridge::engine::bridge::Bridge;
use bridge::engine::drop_reason::DropReason;
use bridge::engine::ports::{
    ChannelCommand, ChannelEvent, EndpointKey, EngineSettings, HandshakeCommand, HandshakeReport, Output,
    Path,
};
use bridge::engine::stats::EngineStats;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::messages::ids::{BridgeId, ConferenceId, Epoch};
use wire::messages::link::{Command, CommandBody, Notice, Outcome, Reply, SlotPin};
use wire::messages::media::{Fingerprint, TransportParameters};
use wire::srtp::{MasterKey, Profile, SessionKeys};

use self::browser::Browser;

/// One engine and its browsers.
pub struct World {
    pub bridge: Bridge,
    pub now: Instant,
    pub browsers: Vec<Browser>,
    pub notices: Vec<Notice>,
    pub replies: Vec<Reply>,
    /// Datagrams the engine sent, of all kinds.
    pub sent_datagrams: u64,
    /// How often the engine had to be woken.
    pub wakeups: u64,
    pub conference: ConferenceId,
    pub epoch: Epoch,
    pub profile: Profile,
    /// Gives keys as soon as the engine begins a handshake.
    pub completes_handshakes: bool,
    flights: BinaryHeap<Reverse<Flight>>,
    flight_count: u64,
    by_key: HashMap<EndpointKey, usize>,
    checked: HashSet<Path>,
    commands: u64,
    random: StdRng,
}

/// A datagram on its way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    order: u64,
    to_browser: Option<usize>,
    path: Path,
    bytes: Vec<u8>,
}

/// What a line does to datagrams, one way.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub delay: Duration,
    /// Up to so much more, which also reorders.
    pub jitter: Duration,
    pub loss: f64,
    pub duplicates: f64,
}

impl Line {
    pub const GOOD: Self = Self { delay: ms(10), jitter: Duration::ZERO, loss: 0.0, duplicates: 0.0 };
}

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const BRIDGE_IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

pub fn settings(endpoints_max: usize) -> EngineSettings {
    EngineSettings {
        bridge: BridgeId::parse("bridge-1").unwrap(),
        fingerprint: Fingerprint { algorithm: "sha-256".to_owned(), value: "AB:CD".to_owned() },
        candidates: vec![SocketAddr::new(BRIDGE_IP, 10_000)],
        endpoints_max,
        seed: [7; 32],
    }
}

pub fn conference_id(letter: char) -> ConferenceId {
    ConferenceId::parse(letter.to_string().repeat(26)).unwrap()
}

impl World {
    pub fn new() -> Self {
        Self::seeded(1)
    }

    pub fn seeded(seed: u64) -> Self {
        let now = Instant::now();
        Self {
            bridge: Bridge::new(settings(2_000), now),
            now,
            browsers: Vec::new(),
            notices: Vec::new(),
            replies: Vec::new(),
            sent_datagrams: 0,
            wakeups: 0,
            conference: conference_id('a'),
            epoch: Epoch(1),
            profile: Profile::AeadAes128Gcm,
            completes_handshakes: true,
            flights: BinaryHeap::new(),
            flight_count: 0,
            by_key: HashMap::new(),
            checked: HashSet::new(),
            commands: 0,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Puts a browser into the world and its endpoint onto the bridge; it connects as the world runs.
    pub fn join(&mut self, mut browser: Browser) -> usize {
        browser.place = self.browsers.len();
        browser.born = self.now;
        self.browsers.push(browser);
        let place = self.browsers.len() - 1;
        self.set_endpoint(place);
        place
    }

    /// Sends the browser's present description; the bridge's half of the negotiation.
    pub fn set_endpoint(&mut self, place: usize) -> TransportParameters {
        let browser = &self.browsers[place];
        let body = CommandBody::SetEndpoint {
            endpoint: browser.id.clone(),
            parameters: browser.parameters(),
            pins: browser.pins.clone(),
        };
        let Outcome::Transport(transport) = self.command(body) else { panic!("{:?}", self.replies.last()) };
        self.browsers[place].take_transport(&transport);
        transport
    }

    pub fn command(&mut self, body: CommandBody) -> Outcome {
        let conference = self.conference.clone();
        self.command_in(conference, self.epoch, body)
    }

    pub fn command_in(&mut self, conference: ConferenceId, epoch: Epoch, body: CommandBody) -> Outcome {
        self.commands += 1;
        let id = self.commands;
        self.bridge.handle_command(self.now, Command { id, conference, epoch, body });
        self.drain();
        let reply = self.replies.last().expect("every command is answered");
        assert_eq!(reply.id, id);
        reply.outcome.clone()
    }

    /// Lets so much time go by.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let flight = self.flights.peek().map(|Reverse(flight)| flight.at);
            let browser = self.browsers.iter().map(|browser| browser.next_timeout()).min();
            let next = [flight, browser, self.bridge.next_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        while self.flights.peek().is_some_and(|Reverse(flight)| flight.at <= self.now) {
            let Some(Reverse(flight)) = self.flights.pop() else { break };
            self.land(flight);
        }
        for place in 0..self.browsers.len() {
            if self.browsers[place].next_timeout() <= self.now {
                let datagrams = self.browsers[place].handle_timeout(self.now);
                self.send_all(place, datagrams);
            }
        }
        if self.bridge.next_timeout().is_some_and(|at| at <= self.now) {
            self.wakeups += 1;
            self.bridge.handle_timeout(self.now);
            self.drain();
        }
    }

    fn land(&mut self, mut flight: Flight) {
        let Some(place) = flight.to_browser else {
            self.bridge.handle_datagram(self.now, flight.path, &mut flight.bytes);
            self.drain();
            return;
        };
        let answers = self.browsers[place].handle_datagram(self.now, flight.path, &flight.bytes);
        self.send_all(place, answers);
    }

    /// Sends datagrams from a browser over its line.
    pub fn send_all(&mut self, place: usize, datagrams: Vec<Vec<u8>>) {
        let path = self.browsers[place].path;
        for bytes in datagrams {
            if self.browsers[place].is_right_check(&bytes) {
                self.checked.insert(path);
            }
            self.fly(self.browsers[place].line_up, None, path, &bytes);
        }
    }

    /// Brings one datagram to the engine now, from anywhere.
    pub fn inject(&mut self, path: Path, mut bytes: Vec<u8>) {
        self.bridge.handle_datagram(self.now, path, &mut bytes);
        self.drain();
    }

    fn fly(&mut self, line: Line, to_browser: Option<usize>, path: Path, bytes: &[u8]) {
        let copies = 1 + usize::from(self.random.random_bool(line.duplicates));
        for _ in 0..copies {
            if self.random.random_bool(line.loss) {
                continue;
            }
            let at = self.now + line.delay + line.jitter.mul_f64(self.random.random());
            self.flight_count += 1;
            let flight = Flight { at, order: self.flight_count, to_browser, path, bytes: bytes.to_vec() };
            self.flights.push(Reverse(flight));
        }
    }

    /// Carries everything that the engine wants done.
    pub fn drain(&mut self) {
        while let Some(output) = self.bridge.poll_output() {
            self.carry(output);
        }
        let datagrams: Vec<(Path, Vec<u8>)> =
            self.bridge.send_ring().iter().map(|(path, bytes)| (path, bytes.to_vec())).collect();
        self.bridge.send_ring().clear();
        for (path, bytes) in datagrams {
            assert!(
                self.checked.contains(&path),
                "a datagram for an address that ICE has not authenticated: {path:?}"
            );
            self.sent_datagrams += 1;
            // Whoever has gone leaves an address at which nobody listens.
            if let Some(place) = self.browsers.iter().position(|browser| browser.path == path) {
                self.fly(self.browsers[place].line_down, Some(place), path, &bytes);
            }
        }
    }

    fn carry(&mut self, output: Output) {
        match output {
            Output::Reply(reply) => self.replies.push(reply),
            Output::Notice(notice) => self.notices.push(notice),
            Output::ChannelOpenable(key, ticket) => {
                if let Some(place) = self.browsers.iter().rposition(|browser| browser.id == ticket.endpoint) {
                    self.browsers[place].key = Some(key);
                    self.by_key.insert(key, place);
                }
            }
            Output::EndpointGone(key) => {
                self.by_key.remove(&key);
            }
            Output::Handshake(key, HandshakeCommand::Start(_)) if self.completes_handshakes => {
                self.give_keys(key);
            }
            Output::Handshake(key, command) => {
                if let Some(place) = self.by_key.get(&key) {
                    self.browsers[*place].handshake_commands.push(command);
                }
            }
            Output::Channel(key, ChannelCommand::Send(text)) => {
                if let Some(place) = self.by_key.get(&key) {
                    self.browsers[*place].told.push(serde_json::from_str(&text).expect("a known message"));
                }
            }
            Output::Channel(key, _) => {
                if let Some(place) = self.by_key.get(&key) {
                    self.browsers[*place].is_channel_closed = true;
                }
            }
        }
    }

    fn give_keys(&mut self, key: EndpointKey) {
        let place = self.by_key[&key];
        let (profile, mut master) = (self.profile, || {
            let bytes: [u8; 30] = self.random.random();
            MasterKey::new(self.profile, &bytes[..16], &bytes[16..16 + self.profile.salt_len()]).unwrap()
        });
        let (up, down) = (master(), master());
        self.browsers[place].take_keys(profile, &SessionKeys { receive: down.clone(), send: up.clone() });
        let report = HandshakeReport::Connected { profile, keys: SessionKeys { receive: up, send: down } };
        self.bridge.handle_handshake(self.now, key, report);
        self.bridge.handle_channel(self.now, key, ChannelEvent::Opened);
    }

    /// The browser says something over its channel.
    pub fn say(&mut self, place: usize, text: &str) {
        let key = self.browsers[place].key.expect("joined");
        self.bridge.handle_channel(self.now, key, ChannelEvent::Text(text.to_owned()));
        self.drain();
    }

    /// Everything the browser has been told of one class, as JSON.
    pub fn told(&self, place: usize, class: &str) -> Vec<serde_json::Value> {
        let told = self.browsers[place].told.iter().map(|message| serde_json::to_value(message).unwrap());
        told.filter(|message| message["colibriClass"] == class).collect()
    }

    pub fn key(&self, place: usize) -> EndpointKey {
        self.browsers[place].key.expect("joined")
    }

    pub fn pin(&mut self, place: usize, mid: &str, source: &str) {
        let mid = wire::messages::ids::Mid::parse(mid).unwrap();
        let source = wire::messages::ids::SourceName::parse(source).unwrap();
        self.browsers[place].pins.push(SlotPin { mid, source });
    }

    pub fn stats(&self) -> EngineStats {
        self.bridge.stats(self.now)
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.stats().counters.dropped.of(reason)
    }
}

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
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bridge::engine::bridge::Bridge;
use bridge::engine::cascade::{Crossing, PartMessage};
use bridge::engine::drop_reason::DropReason;
use bridge::engine::ports::{
    ChannelCommand, ChannelEvent, EndpointKey, EngineSettings, HandshakeCommand, HandshakeReport, Output,
    PartId, Path,
};
use bridge::engine::stats::EngineStats;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::messages::ids::{BridgeId, ConferenceId, Epoch};
use wire::messages::link::{Command, CommandBody, Notice, Outcome, Reply, SlotPin};
use wire::messages::media::{Fingerprint, TransportParameters};
use wire::srtp::{MasterKey, Profile, SessionKeys};

use self::browser::Browser;

/// One engine or several, and their browsers.
pub struct World {
    pub bridge: Bridge,
    /// The engines of further workers, which may hold parts of the same conference.
    pub others: Vec<Bridge>,
    /// Between engines there is no room for packets.
    pub is_ring_full: bool,
    /// The packet that has crossed last.
    pub last_crossing: Option<(PartId, Crossing, Vec<u8>)>,
    /// Packets that have crossed from one engine to another.
    pub crossed: u64,
    /// What engines say to each other waits in `between`.
    pub holds_messages: bool,
    /// Each with who says it and to whom.
    pub between: VecDeque<(usize, PartId, Box<PartMessage>)>,
    /// The engines that were asked to hold something of the conference, in that order.
    parts_used: Vec<usize>,
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
    by_key: HashMap<(usize, EndpointKey), usize>,
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
    /// Which engine, if it is for one.
    part: usize,
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
        part: PartId(0),
    }
}

pub fn conference_id(letter: char) -> ConferenceId {
    ConferenceId::parse(letter.to_string().repeat(26)).unwrap()
}

impl World {
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// So many engines, as workers of one bridge are.
    pub fn with_parts(parts: u16) -> Self {
        let mut world = Self::new();
        let others = (1..parts).map(|part| {
            let port = 10_000 + part;
            let candidates = vec![SocketAddr::new(BRIDGE_IP, port)];
            let seed = [7 + part as u8; 32];
            // Each engine's clock begins at another time.
            let began = world.now - ms(1_234 * u64::from(part));
            Bridge::new(EngineSettings { part: PartId(part), seed, candidates, ..settings(2_000) }, began)
        });
        world.others = others.collect();
        world
    }

    pub fn seeded(seed: u64) -> Self {
        let now = Instant::now();
        Self {
            bridge: Bridge::new(settings(2_000), now),
            others: Vec::new(),
            is_ring_full: false,
            last_crossing: None,
            crossed: 0,
            holds_messages: false,
            between: VecDeque::new(),
            parts_used: Vec::new(),
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
        let part = browser.part;
        let Outcome::Transport(transport) = self.command_part(part, body) else {
            panic!("{:?}", self.replies.last())
        };
        self.browsers[place].take_transport(&transport);
        transport
    }

    pub fn command(&mut self, body: CommandBody) -> Outcome {
        let conference = self.conference.clone();
        self.command_in(conference, self.epoch, body)
    }

    /// Gives a command to one of the engines, which is told of those that were used before it.
    pub fn command_part(&mut self, part: usize, body: CommandBody) -> Outcome {
        if !self.parts_used.contains(&part) {
            self.parts_used.push(part);
        }
        let others: Vec<PartId> = self
            .parts_used
            .iter()
            .filter(|other| **other != part)
            .map(|other| PartId(*other as u16))
            .collect();
        let (conference, epoch) = (self.conference.clone(), self.epoch);
        self.obeyed(part, (conference, epoch, body), &others)
    }

    /// Takes a browser's endpoint off its engine; the browser falls silent.
    pub fn leave(&mut self, place: usize) {
        let endpoint = self.browsers[place].id.clone();
        self.browsers[place].streams.iter_mut().for_each(|stream| stream.is_on = false);
        self.browsers[place].has_left = true;
        self.command_part(self.browsers[place].part, CommandBody::RemoveEndpoint { endpoint });
        // With its last endpoint a part ends.
        let browsers = &self.browsers;
        let is_used = |part: &usize| browsers.iter().any(|each| each.part == *part && !each.has_left);
        self.parts_used.retain(is_used);
    }

    pub fn command_in(&mut self, conference: ConferenceId, epoch: Epoch, body: CommandBody) -> Outcome {
        self.obeyed(0, (conference, epoch, body), &[])
    }

    fn obeyed(
        &mut self,
        part: usize,
        (conference, epoch, body): (ConferenceId, Epoch, CommandBody),
        others: &[PartId],
    ) -> Outcome {
        self.commands += 1;
        let (id, now) = (self.commands, self.now);
        self.engine(part).handle_part_command(now, Command { id, conference, epoch, body }, others);
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
            let engines = std::iter::once(&self.bridge).chain(&self.others);
            let engine = engines.filter_map(Bridge::next_timeout).min();
            let next = [flight, browser, engine].into_iter().flatten().min();
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
        for part in 0..=self.others.len() {
            let now = self.now;
            if self.engine(part).next_timeout().is_some_and(|at| at <= now) {
                self.wakeups += 1;
                self.engine(part).handle_timeout(now);
                self.drain();
            }
        }
    }

    /// The first engine, or one of the others.
    pub fn engine(&mut self, part: usize) -> &mut Bridge {
        match part.checked_sub(1) {
            None => &mut self.bridge,
            Some(other) => &mut self.others[other],
        }
    }

    fn land(&mut self, mut flight: Flight) {
        let Some(place) = flight.to_browser else {
            let now = self.now;
            self.engine(flight.part).handle_datagram(now, flight.path, &mut flight.bytes);
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
            self.fly(self.browsers[place].line_up, Err(self.browsers[place].part), path, &bytes);
        }
    }

    /// Brings one datagram to the engine now, from anywhere.
    pub fn inject(&mut self, path: Path, mut bytes: Vec<u8>) {
        let part =
            self.browsers.iter().find(|browser| browser.path == path).map_or(0, |browser| browser.part);
        let now = self.now;
        self.engine(part).handle_datagram(now, path, &mut bytes);
        self.drain();
    }

    /// To a browser, or to an engine.
    fn fly(&mut self, line: Line, to: Result<usize, usize>, path: Path, bytes: &[u8]) {
        let (to_browser, part) = (to.ok(), to.err().unwrap_or_default());
        let copies = 1 + usize::from(self.random.random_bool(line.duplicates));
        for _ in 0..copies {
            if self.random.random_bool(line.loss) {
                continue;
            }
            let at = self.now + line.delay + line.jitter.mul_f64(self.random.random());
            self.flight_count += 1;
            let bytes = bytes.to_vec();
            let flight = Flight { at, order: self.flight_count, to_browser, part, path, bytes };
            self.flights.push(Reverse(flight));
        }
    }

    /// Carries everything that the engines want done, until none wants more.
    pub fn drain(&mut self) {
        while (0..=self.others.len()).any(|part| self.drain_part(part)) {}
    }

    fn drain_part(&mut self, part: usize) -> bool {
        let mut has_more = false;
        while let Some(output) = self.engine(part).poll_output() {
            has_more = true;
            self.carry(part, output);
        }
        has_more |= self.carry_crossings(part);
        let ring = self.engine(part).send_ring();
        let datagrams: Vec<(Path, Vec<u8>)> =
            ring.iter().map(|(path, bytes)| (path, bytes.to_vec())).collect();
        ring.clear();
        self.take_datagrams(datagrams);
        has_more
    }

    /// As a ring between two workers would, whose end falls into the packet.
    fn carry_crossings(&mut self, part: usize) -> bool {
        let is_alone = self.others.is_empty();
        let crossings = self.engine(part).crossings();
        assert!(!is_alone || crossings.is_empty(), "a lone engine has nobody to send to");
        let carried: Vec<_> = crossings.iter().map(|(to, it, bytes)| (to, *it, bytes.to_vec())).collect();
        crossings.clear();
        let now = self.now;
        for (to, crossing, bytes) in &carried {
            assert_eq!((crossing.length(), crossing.received_at()), (bytes.len(), now));
            if self.is_ring_full {
                self.engine(part).note_crossing_lost(crossing);
                continue;
            }
            self.crossed += 1;
            self.engine(usize::from(to.0)).handle_crossing(now, crossing, bytes.split_at(bytes.len() / 3));
            self.last_crossing = Some((*to, *crossing, bytes.clone()));
        }
        !carried.is_empty()
    }

    /// Delivers what engines have said to each other while it was held back.
    pub fn release_messages(&mut self) {
        self.holds_messages = false;
        let now = self.now;
        while let Some((from, to, message)) = self.between.pop_front() {
            self.engine(usize::from(to.0)).handle_part(now, PartId(from as u16), *message);
            // Answers wait behind what is held.
            self.drain();
        }
    }

    fn take_datagrams(&mut self, datagrams: Vec<(Path, Vec<u8>)>) {
        for (path, bytes) in datagrams {
            assert!(
                self.checked.contains(&path),
                "a datagram for an address that ICE has not authenticated: {path:?}"
            );
            self.sent_datagrams += 1;
            // Whoever has gone leaves an address at which nobody listens.
            if let Some(place) = self.browsers.iter().position(|browser| browser.path == path) {
                self.fly(self.browsers[place].line_down, Ok(place), path, &bytes);
            }
        }
    }

    fn carry(&mut self, part: usize, output: Output) {
        match output {
            Output::Part(..) if self.others.is_empty() => panic!("a lone engine has nobody to talk to"),
            // What one says to another arrives in the order it was said.
            Output::Part(to, message) if self.holds_messages || !self.between.is_empty() => {
                self.between.push_back((part, to, message));
            }
            Output::Part(to, message) => {
                let now = self.now;
                self.engine(usize::from(to.0)).handle_part(now, PartId(part as u16), *message);
            }
            Output::Reply(reply) => self.replies.push(reply),
            Output::Notice(notice) => self.notices.push(notice),
            Output::ChannelOpenable(key, ticket) => {
                if let Some(place) = self.browsers.iter().rposition(|browser| browser.id == ticket.endpoint) {
                    self.browsers[place].key = Some(key);
                    self.by_key.insert((part, key), place);
                }
            }
            Output::EndpointGone(key) => {
                self.by_key.remove(&(part, key));
            }
            Output::Handshake(key, HandshakeCommand::Start(_)) if self.completes_handshakes => {
                self.give_keys(part, key);
            }
            Output::Handshake(key, command) => {
                if let Some(place) = self.by_key.get(&(part, key)) {
                    self.browsers[*place].handshake_commands.push(command);
                }
            }
            Output::Channel(key, ChannelCommand::Send(text)) => {
                if let Some(place) = self.by_key.get(&(part, key)) {
                    self.browsers[*place].told.push(serde_json::from_str(&text).expect("a known message"));
                }
            }
            Output::Channel(key, _) => {
                if let Some(place) = self.by_key.get(&(part, key)) {
                    self.browsers[*place].is_channel_closed = true;
                }
            }
        }
    }

    fn give_keys(&mut self, part: usize, key: EndpointKey) {
        let (place, now) = (self.by_key[&(part, key)], self.now);
        let (profile, mut master) = (self.profile, || {
            let bytes: [u8; 30] = self.random.random();
            MasterKey::new(self.profile, &bytes[..16], &bytes[16..16 + self.profile.salt_len()]).unwrap()
        });
        let (up, down) = (master(), master());
        self.browsers[place].take_keys(profile, &SessionKeys { receive: down.clone(), send: up.clone() });
        let report = HandshakeReport::Connected { profile, keys: SessionKeys { receive: up, send: down } };
        self.engine(part).handle_handshake(now, key, report);
        self.engine(part).handle_channel(now, key, ChannelEvent::Opened);
    }

    /// The browser says something over its channel.
    pub fn say(&mut self, place: usize, text: &str) {
        let (key, part, now) = (self.key(place), self.browsers[place].part, self.now);
        self.engine(part).handle_channel(now, key, ChannelEvent::Text(text.to_owned()));
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

//! The engine's hub: every input comes in here and is handed to the part that knows what to do.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use wire::messages::ids::{BridgeId, ConferenceId, EndpointId, Epoch};
use wire::messages::link::FromBridge;
use wire::messages::meeting::{ByeReason, ErrorId, Request, Update};

use super::commands::Commands;
use super::conference::{Assignment, Conference};
use super::fleet::Fleet;
use super::ports::{
    BridgeView, ConferenceName, ConferenceView, ConnectionId, FocusSettings, LinkFault, LinkId, Output,
};
use super::secrets::Secrets;
use super::stats::{Counters, Stats};
use super::timers::{Timer, Timers};

/// A browser says who it is in its first breath; a socket that does not is somebody else's.
pub(crate) const JOIN_TIME: Duration = Duration::from_secs(5);
/// A bridge likewise.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// A deadline missed by this means that this process itself stood still.
const STALL: Duration = Duration::from_millis(300);

/// All conferences of this process and all bridges that dialled it.
pub struct Focus {
    pub(crate) settings: FocusSettings,
    pub(crate) secrets: Secrets,
    pub(crate) fleet: Fleet,
    pub(crate) timers: Timers,
    pub(crate) commands: Commands,
    pub(crate) counters: Counters,
    /// Assignments of conferences that are over did not go above this, nor did those that bridges reported.
    pub(crate) epoch_floor: Epoch,
    /// By the hash of their name.
    pub(crate) conferences: HashMap<ConferenceId, Conference>,
    /// Conferences that need a bridge and have none that works.
    pub(crate) wanting: BTreeSet<ConferenceId>,
    /// By the shell's number.
    pub(crate) connections: HashMap<ConnectionId, Connection>,
    /// By resume secret: the latest of each participant, and the one before.
    pub(crate) resumable: HashMap<String, Place>,
    /// By the secret in the URL of a WHIP or WHEP resource.
    pub(crate) resources: HashMap<String, Place>,
    outputs: VecDeque<Output>,
}

/// A participant of a conference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) conference: ConferenceId,
    pub(crate) who: EndpointId,
}

/// A browser's socket.
#[derive(Debug)]
pub(crate) enum Connection {
    /// It knows where it wants to go.
    Opened {
        /// From its URL.
        conference: ConferenceName,
        /// It must have joined by then.
        deadline: Instant,
        /// A secret that was unknown has moved the deadline: it does so once.
        is_extended: bool,
    },
    /// It is there.
    Joined(Place),
}

impl Focus {
    /// An engine without conferences and without bridges.
    pub fn new(settings: FocusSettings) -> Self {
        let fleet = Fleet::new(settings.bridge_silence, settings.version.clone(), settings.region.clone());
        Self {
            secrets: Secrets::new(settings.seed),
            fleet,
            timers: Timers::default(),
            commands: Commands::default(),
            counters: Counters::default(),
            epoch_floor: settings.epoch_floor,
            conferences: HashMap::new(),
            wanting: BTreeSet::new(),
            connections: HashMap::new(),
            resumable: HashMap::new(),
            resources: HashMap::new(),
            outputs: VecDeque::new(),
            settings,
        }
    }

    /// A browser opened a socket for this conference.
    pub fn handle_connection_opened(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        conference: ConferenceName,
    ) {
        let deadline = now + JOIN_TIME;
        self.connections.insert(connection, Connection::Opened { conference, deadline, is_extended: false });
        self.timers.set(deadline, Timer::Join(connection));
    }

    /// A browser's message. The shell has already parsed it and refused what is not one.
    pub fn handle_browser(&mut self, now: Instant, connection: ConnectionId, request: Request) {
        self.counters.requests += 1;
        let place = match self.connections.get(&connection) {
            None => return,
            Some(Connection::Opened { .. }) => None,
            Some(Connection::Joined(place)) => Some(place.clone()),
        };
        match (request, place) {
            (Request::Ping, _) => self.send(connection, Update::Pong),
            (Request::Join { name, resume: None, .. }, None) => self.join(now, connection, &name),
            (Request::Join { name, resume: Some(secret), .. }, None) => {
                self.resume(now, connection, &secret, &name);
            }
            (Request::Join { .. }, Some(_)) => {
                self.refuse(connection, ErrorId::BadOrder, "this connection has joined already");
            }
            (_, None) => self.refuse(connection, ErrorId::BadOrder, "join first"),
            (Request::Offer { sdp, rev }, Some(place)) => self.offer(now, connection, &place, (&sdp, rev)),
            (Request::Leave, Some(place)) => self.leave(now, connection, &place),
            (Request::Chat { text }, Some(place)) => self.chat(now, connection, &place, &text),
            (Request::Set(changes), Some(place)) => self.change(now, connection, &place, changes),
        }
    }

    /// A bridge opened a link.
    pub fn handle_link_opened(&mut self, now: Instant, link: LinkId) {
        self.timers.set(now + HELLO_TIME, Timer::Hello(link));
    }

    /// A bridge's message.
    pub fn handle_bridge(&mut self, now: Instant, link: LinkId, message: FromBridge) {
        if let FromBridge::Hello(hello) = message {
            return self.hello(now, link, hello);
        }
        if !self.sign_of_life(now, link) {
            return self.push(Output::CloseLink(link, LinkFault::HelloMissing));
        }
        match message {
            FromBridge::Load(load) => self.load(now, link, load),
            FromBridge::Reply(reply) => self.reply(now, link, reply),
            FromBridge::Notice(notice) => self.notice(now, link, &notice),
            FromBridge::Heartbeat | FromBridge::Unknown | FromBridge::Hello(_) => {}
        }
    }

    /// The process stops: everybody is told.
    pub fn handle_shutdown(&mut self) {
        let mut connections: Vec<ConnectionId> = self.connections.keys().copied().collect();
        connections.sort_unstable();
        self.push(Output::SendAll(connections.clone(), Update::Bye { reason: ByeReason::Shutdown }));
        for connection in connections {
            self.push(Output::Close(connection, ByeReason::Shutdown));
        }
        // What the bridges carry goes on without us; a signaling that starts again hears of it from them.
        self.connections.clear();
        self.conferences.clear();
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timers.next().is_some_and(|due| now.saturating_duration_since(due) >= STALL) {
            self.fleet.forgive_silence(now);
        }
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Delta(conference) => self.send_delta(&conference),
                Timer::Release(conference) => self.release_due(now, &conference),
                Timer::Unavailable(conference) => self.unavailable_due(&conference),
                Timer::Gone(conference, who) => self.gone_due(now, &Place { conference, who }),
                Timer::Reconnect(conference, who) => self.reconnect_due(now, &Place { conference, who }),
                Timer::History(conference, who) => self.history_due(&Place { conference, who }),
                Timer::Join(connection) => self.join_due(now, connection),
                Timer::Hello(link) if self.fleet.by_link(link).is_none() => {
                    self.push(Output::CloseLink(link, LinkFault::HelloMissing));
                }
                Timer::Hello(_) => {}
                Timer::Silence(link) => self.silence_due(now, link),
                Timer::Command(id) => self.command_due(now, id),
            }
        }
    }

    /// When to call `handle_timeout` at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Base URL of a connected bridge's channels.
    pub fn channel_of(&self, bridge: &BridgeId) -> Option<&str> {
        self.fleet.bridge(bridge).map(|bridge| bridge.hello.channel.as_str())
    }

    /// Whose resume secret this is, and the bridge that carries the conference now.
    pub fn participant_of(&self, secret: &str) -> Option<(EndpointId, Option<BridgeId>)> {
        let place = self.resumable.get(secret)?;
        let holder = self.conferences.get(&place.conference).and_then(Conference::holder);
        Some((place.who.clone(), holder.map(|holder| holder.bridge.clone())))
    }

    /// All bridges, for operators.
    pub fn bridges(&self) -> Vec<BridgeView> {
        self.fleet.views()
    }

    /// All conferences, for operators, oldest first.
    pub fn conferences(&self, now: Instant) -> Vec<ConferenceView> {
        let mut all: Vec<&Conference> = self.conferences.values().collect();
        all.sort_by_key(|conference| (conference.since, conference.name.text.clone()));
        let view = |conference: &Conference| ConferenceView {
            name: conference.name.text.clone(),
            id: conference.name.id.clone(),
            log_id: self.secrets.log_id(conference.name.id.as_str()),
            participants: conference.members(),
            viewers: conference.viewers(),
            bridge: conference.holder().map(|holder| holder.bridge.to_string()),
            epoch: conference.epoch,
            age: now.saturating_duration_since(conference.since),
        };
        all.into_iter().map(view).collect()
    }

    /// Numbers for operators.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::new(self.counters.clone());
        for conference in self.conferences.values() {
            stats.add_conference(conference.members(), conference.viewers());
            stats.waiting_conferences += usize::from(conference.assignment == Assignment::Waiting);
        }
        stats.wanting_conferences = self.wanting.len();
        stats.connections = self.connections.len();
        stats.fit_bridges = self.fleet.fit();
        stats.commands_pending = self.commands.len();
        stats.bridges = self.fleet.views();
        stats
    }

    /// Adds an output.
    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// One update for one browser.
    pub(crate) fn send(&mut self, connection: ConnectionId, update: Update) {
        self.push(Output::Send(connection, update));
    }

    /// One update for everybody in a conference.
    pub(crate) fn send_all(&mut self, conference: &ConferenceId, update: Update) {
        let Some(found) = self.conferences.get(conference) else { return };
        let connections = found.connections();
        if !connections.is_empty() {
            self.push(Output::SendAll(connections, update));
        }
    }

    /// A request could not be carried out; the connection stays.
    pub(crate) fn refuse(&mut self, connection: ConnectionId, id: ErrorId, message: &str) {
        self.counters.note_refused(id);
        self.send(connection, Update::Error { id, message: message.to_owned() });
    }

    /// Ends a connection with a last word.
    pub(crate) fn say_bye(&mut self, connection: ConnectionId, reason: ByeReason) {
        self.connections.remove(&connection);
        self.send(connection, Update::Bye { reason });
        self.push(Output::Close(connection, reason));
    }

    fn send_delta(&mut self, conference: &ConferenceId) {
        let Some(found) = self.conferences.get_mut(conference) else { return };
        let Some(delta) = found.delta() else { return };
        self.send_all(conference, delta);
    }

    fn join_due(&mut self, now: Instant, connection: ConnectionId) {
        match self.connections.get(&connection) {
            Some(Connection::Opened { deadline, .. }) if *deadline <= now => {
                self.say_bye(connection, ByeReason::JoinTimeout);
            }
            _ => {}
        }
    }
}

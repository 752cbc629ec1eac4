//! Browsers and bridges as scripted models around one engine, on a clock that only moves when a test says so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::messages::ids::{BridgeId, ConferenceId, EndpointId, Epoch};
use wire::messages::link::{
    Command, CommandBody, EndpointEvent, FromBridge, Hello, LiveConference, Load, Notice, Outcome, Reply,
};
use wire::messages::media::{
    Candidate, EndpointParameters, Fingerprint, IceCredentials, MediaKind, MediaRole, SlotParameters,
    TransportParameters,
};
use wire::messages::meeting::{ByeReason, ErrorId, Participant, Request, Update};

use crate::engine::Focus;
use crate::engine::ports::{
    Assigned, ConferenceName, ConnectionId, FocusSettings, HttpAnswer, HttpId, HttpRequest, LinkFault,
    LinkId, Output,
};

/// As a real bridge.
const BEAT: Duration = Duration::from_millis(250);

pub(super) struct World {
    pub(super) focus: Focus,
    pub(super) now: Instant,
    last_id: u64,
    next_beat: Instant,
    beats: u64,
    pub(super) browsers: BTreeMap<ConnectionId, Browser>,
    pub(super) bridges: BTreeMap<LinkId, Bridge>,
    pub(super) answers: BTreeMap<HttpId, HttpAnswer>,
}

/// What a browser has seen.
#[derive(Default)]
pub(super) struct Browser {
    pub(super) updates: Vec<Update>,
    pub(super) closed: Option<ByeReason>,
    pub(super) rev: u64,
    /// Of the latest `joined`.
    pub(super) who: Option<EndpointId>,
    /// What its credentials for the relays are for.
    pub(super) bridge: Option<BridgeId>,
}

/// A bridge and what it was told.
pub(super) struct Bridge {
    pub(super) hello: Hello,
    pub(super) is_beating: bool,
    pub(super) is_answering: bool,
    /// Instead of parameters, this answers the commands.
    pub(super) refusal: Option<wire::messages::link::Refusal>,
    pub(super) load: Load,
    pub(super) commands: Vec<Command>,
    pub(super) closed: Option<LinkFault>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(FocusSettings { seed: [3; 32], ..FocusSettings::default() })
    }

    pub(super) fn with(settings: FocusSettings) -> Self {
        let now = Instant::now();
        Self {
            focus: Focus::new(settings),
            now,
            last_id: 0,
            next_beat: now,
            beats: 0,
            browsers: BTreeMap::new(),
            bridges: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    fn fresh(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    // Bridges

    pub(super) fn bridge(&mut self, id: &str) -> LinkId {
        self.bridge_as(hello(id, "boot-1"))
    }

    /// Dials, says hello, and (unless refused) reports its load.
    pub(super) fn bridge_as(&mut self, hello: Hello) -> LinkId {
        let link = LinkId(self.fresh());
        self.focus.handle_link_opened(self.now, link);
        let bridge = Bridge { is_beating: true, ..Bridge::silent(hello.clone()) };
        self.bridges.insert(link, bridge);
        self.bridge_says(link, FromBridge::Hello(hello));
        if self.bridges[&link].closed.is_none() {
            self.report(link, Load::default());
        }
        link
    }

    pub(super) fn bridge_says(&mut self, link: LinkId, message: FromBridge) {
        self.focus.handle_bridge(self.now, link, message);
        self.drain();
    }

    pub(super) fn report(&mut self, link: LinkId, load: Load) {
        self.model(link).load = load;
        self.bridge_says(link, FromBridge::Load(load));
    }

    pub(super) fn model(&mut self, link: LinkId) -> &mut Bridge {
        self.bridges.get_mut(&link).unwrap()
    }

    /// kill -9: the socket is reset.
    pub(super) fn kill(&mut self, link: LinkId) {
        self.model(link).is_beating = false;
        self.focus.handle_link_closed(self.now, link);
        self.drain();
    }

    pub(super) fn notice(&mut self, link: LinkId, connection: ConnectionId, event: EndpointEvent) {
        let conference = conference_id("daily");
        let epoch = self.browsers[&connection].epoch().unwrap();
        let endpoint = self.browsers[&connection].id();
        self.bridge_says(link, FromBridge::Notice(Notice { conference, epoch, endpoint, event }));
    }

    // Browsers

    pub(super) fn open(&mut self, conference: &str) -> ConnectionId {
        let connection = ConnectionId(self.fresh());
        let name = ConferenceName::parse(conference).unwrap();
        self.focus.handle_connection_opened(self.now, connection, name);
        self.browsers.insert(connection, Browser::default());
        connection
    }

    pub(super) fn join(&mut self, conference: &str, name: &str) -> ConnectionId {
        let connection = self.open(conference);
        self.request(connection, join(name, None));
        connection
    }

    pub(super) fn resume(&mut self, conference: &str, secret: &str) -> ConnectionId {
        let connection = self.open(conference);
        self.request(connection, join("Anna", Some(secret)));
        connection
    }

    pub(super) fn request(&mut self, connection: ConnectionId, request: Request) {
        self.focus.handle_browser(self.now, connection, request);
        self.drain();
    }

    pub(super) fn offer(&mut self, connection: ConnectionId) {
        let browser = self.browsers.get_mut(&connection).unwrap();
        browser.rev += 1;
        let rev = browser.rev;
        self.request(connection, Request::Offer { sdp: BOTH_WAYS.to_owned(), rev });
    }

    /// The socket breaks without a word.
    pub(super) fn cut(&mut self, connection: ConnectionId) {
        self.focus.handle_connection_closed(self.now, connection);
        self.drain();
    }

    pub(super) fn seen(&self, connection: ConnectionId) -> &Browser {
        &self.browsers[&connection]
    }

    /// Forgets what a browser has seen, to look at what comes next.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.browsers.get_mut(&connection).unwrap().updates.clear();
    }

    // HTTP

    pub(super) fn http(&mut self, request: HttpRequest) -> HttpId {
        let http = HttpId(self.fresh());
        self.focus.handle_http(self.now, http, request);
        self.drain();
        http
    }

    // Time

    /// Lets time pass; bridges beat and report meanwhile, and the engine wakes exactly when it asked to.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.focus.next_timeout().map_or(self.next_beat, |due| due.min(self.next_beat));
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if self.next_beat <= self.now {
                self.beat();
            }
            self.focus.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn beat(&mut self) {
        self.next_beat += BEAT;
        self.beats += 1;
        let beating: Vec<LinkId> =
            self.bridges.iter().filter(|(_, bridge)| bridge.is_beating).map(|(link, _)| *link).collect();
        for link in beating {
            self.bridge_says(link, FromBridge::Heartbeat);
            if self.beats.is_multiple_of(4) {
                let load = self.bridges[&link].load;
                self.bridge_says(link, FromBridge::Load(load));
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.focus.poll_output() {
            match output {
                Output::Send(connection, update) => self.deliver(connection, update),
                Output::SendAll(connections, update) => {
                    for connection in connections {
                        self.deliver(connection, update.clone());
                    }
                }
                Output::Assign(browsers, Assigned { bridge, reason, epoch }) => {
                    for (connection, who) in browsers {
                        let browser = self.browsers.get_mut(&connection).unwrap();
                        assert_eq!(browser.who, Some(who), "credentials of somebody else");
                        browser.bridge = Some(bridge.clone());
                        let ice_servers = Vec::new();
                        self.deliver(connection, Update::Assigned { ice_servers, reason, epoch });
                    }
                }
                Output::Close(connection, reason) => {
                    self.browsers.get_mut(&connection).unwrap().closed = Some(reason);
                }
                Output::Command(link, command) => self.obey(link, &command),
                Output::CloseLink(link, fault) => {
                    let bridge = self.model(link);
                    bridge.closed = Some(fault);
                    bridge.is_beating = false;
                    self.focus.handle_link_closed(self.now, link);
                }
                Output::Answer(http, answer) => {
                    assert!(self.answers.insert(http, answer).is_none(), "answered twice");
                }
            }
        }
    }

    fn deliver(&mut self, connection: ConnectionId, update: Update) {
        let browser = self.browsers.get_mut(&connection).unwrap();
        assert!(browser.closed.is_none(), "an update after the close");
        if let Update::Joined { participant, .. } = &update {
            browser.who = Some(participant.clone());
        }
        browser.updates.push(update);
    }

    fn obey(&mut self, link: LinkId, command: &Command) {
        let bridge = self.bridges.get_mut(&link).unwrap();
        bridge.commands.push(command.clone());
        if !bridge.is_answering || !bridge.is_beating {
            return;
        }
        let outcome = match bridge.refusal {
            Some(error) => Outcome::Refused { error, message: "as the test wants".to_owned() },
            None => bridge.outcome_of(command),
        };
        let reply = Reply { id: command.id, outcome };
        self.focus.handle_bridge(self.now, link, FromBridge::Reply(reply));
    }
}

impl Browser {
    pub(super) fn id(&self) -> EndpointId {
        self.joined().0
    }

    pub(super) fn resume(&self) -> String {
        self.joined().1
    }

    fn joined(&self) -> (EndpointId, String) {
        let joined = self.updates.iter().rev().find_map(|update| match update {
            Update::Joined { participant, resume, .. } => Some((participant.clone(), resume.clone())),
            _ => None,
        });
        joined.unwrap()
    }

    /// Of the latest `assigned`.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.assigned().last().map(|(_, epoch)| *epoch)
    }

    pub(super) fn assigned(&self) -> Vec<(wire::messages::meeting::AssignReason, Epoch)> {
        let assigned = self.updates.iter().filter_map(|update| match update {
            Update::Assigned { reason, epoch, .. } => Some((*reason, *epoch)),
            _ => None,
        });
        assigned.collect()
    }

    pub(super) fn answers(&self) -> Vec<u64> {
        let answers = self.updates.iter().filter_map(|update| match update {
            Update::Answer { rev, .. } => Some(*rev),
            _ => None,
        });
        answers.collect()
    }

    pub(super) fn is_waiting(&self) -> bool {
        let standing = self.updates.iter().rev().find_map(|update| match update {
            Update::Waiting => Some(true),
            Update::Assigned { .. } => Some(false),
            _ => None,
        });
        standing == Some(true)
    }

    pub(super) fn errors(&self) -> Vec<ErrorId> {
        let errors = self.updates.iter().filter_map(|update| match update {
            Update::Error { id, .. } => Some(*id),
            _ => None,
        });
        errors.collect()
    }

    pub(super) fn chat(&self) -> Vec<(u64, String)> {
        let chat = self.updates.iter().filter_map(|update| match update {
            Update::Chat { text, seq, .. } => Some((*seq, text.clone())),
            _ => None,
        });
        chat.collect()
    }

    pub(super) fn byes(&self) -> Vec<ByeReason> {
        let byes = self.updates.iter().filter_map(|update| match update {
            Update::Bye { reason } => Some(*reason),
            _ => None,
        });
        byes.collect()
    }

    /// The roster as a page has it: the latest snapshot and every delta after it. Fails on a gap in the numbers.
    pub(super) fn roster(&self) -> BTreeMap<EndpointId, Participant> {
        let (mut seq, mut roster) = (0, BTreeMap::new());
        for update in &self.updates {
            match update {
                Update::State { seq: at, snapshot } => {
                    seq = *at;
                    roster = snapshot.participants.iter().map(|it| (it.id.clone(), it.clone())).collect();
                }
                Update::Delta { seq: at, joined, left, changed } => {
                    assert_eq!(*at, seq + 1, "a gap in the deltas");
                    seq = *at;
                    roster.retain(|id, _| !left.contains(id));
                    roster.extend(joined.iter().chain(changed).map(|it| (it.id.clone(), it.clone())));
                }
                _ => {}
            }
        }
        roster
    }
}

impl Bridge {
    /// One that has only opened its link.
    pub(super) fn silent(hello: Hello) -> Self {
        Self {
            hello,
            is_beating: false,
            is_answering: true,
            refusal: None,
            load: Load::default(),
            commands: Vec::new(),
            closed: None,
        }
    }

    /// What a real bridge would answer.
    pub(super) fn outcome_of(&self, command: &Command) -> Outcome {
        let CommandBody::SetEndpoint { endpoint, parameters, .. } = &command.body else {
            return Outcome::Done;
        };
        Outcome::Transport(transport(&self.hello.bridge, &command.conference, endpoint, parameters))
    }

    /// Endpoints it was told to hold and not to forget.
    pub(super) fn endpoints(&self) -> Vec<EndpointId> {
        let mut held: Vec<(ConferenceId, EndpointId)> = Vec::new();
        for command in &self.commands {
            match &command.body {
                CommandBody::SetEndpoint { endpoint, .. } => {
                    held.retain(|(_, other)| other != endpoint);
                    held.push((command.conference.clone(), endpoint.clone()));
                }
                CommandBody::RemoveEndpoint { endpoint } => held.retain(|(_, other)| other != endpoint),
                CommandBody::EndConference => {
                    held.retain(|(conference, _)| *conference != command.conference);
                }
                CommandBody::Unknown => {}
            }
        }
        held.into_iter().map(|(_, endpoint)| endpoint).collect()
    }

    pub(super) fn ended(&self) -> Vec<(ConferenceId, Epoch)> {
        let ended = self.commands.iter().filter(|command| command.body == CommandBody::EndConference);
        ended.map(|command| (command.conference.clone(), command.epoch)).collect()
    }
}

pub(super) fn join(name: &str, resume: Option<&str>) -> Request {
    Request::Join { name: name.to_owned(), token: None, resume: resume.map(str::to_owned) }
}

pub(super) fn conference_id(name: &str) -> ConferenceId {
    ConferenceName::parse(name).unwrap().id
}

pub(super) fn hello(id: &str, boot: &str) -> Hello {
    Hello {
        bridge: BridgeId::parse(id).unwrap(),
        boot: boot.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        region: None,
        channel: format!("http://{id}.invalid:9090"),
        media: Vec::new(),
        endpoints_max: 1000,
        conferences: Vec::new(),
    }
}

pub(super) fn live(name: &str, epoch: Epoch) -> LiveConference {
    LiveConference { conference: conference_id(name), epoch, endpoints: Vec::new() }
}

fn transport(
    bridge: &BridgeId,
    conference: &ConferenceId,
    endpoint: &EndpointId,
    parameters: &EndpointParameters,
) -> TransportParameters {
    let slots = parameters.medias.iter().filter(|media| media.role == MediaRole::Slot);
    let slots = slots.enumerate().map(|(index, media)| SlotParameters {
        mid: media.mid.clone(),
        ssrc: 1000 + index as u32,
        rtx_ssrc: (media.kind == MediaKind::Video).then_some(2000 + index as u32),
    });
    TransportParameters {
        ice: IceCredentials { ufrag: "brdg".to_owned(), pwd: "p".repeat(24) },
        fingerprint: Fingerprint { algorithm: "sha-256".to_owned(), value: ["AB"; 32].join(":") },
        candidates: vec![Candidate { priority: 1, address: "192.0.2.1:10000".parse().unwrap() }],
        slots: slots.collect(),
        channel_path: format!("/colibri-ws/{bridge}/{conference}/{endpoint}?pwd=x"),
    }
}

/// One m-line of an offer.
fn section(mid: &str, kind: &str, payload: &str, direction: &str) -> String {
    let number = if kind == "audio" { 111 } else { 96 };
    format!(
        "m={kind} 9 UDP/TLS/RTP/SAVPF {number}\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:{mid}\r\na={direction}\r\n\
         a=ice-ufrag:EsAw\r\na=ice-pwd:0123456789abcdefghijkl\r\na=setup:actpass\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=rtpmap:{number} {payload}\r\n",
        fingerprint = ["CD"; 32].join(":"),
    )
}

fn description(sections: &[(&str, &str, &str, &str)]) -> String {
    let mids: Vec<&str> = sections.iter().map(|(mid, ..)| *mid).collect();
    let head =
        format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n", mids.join(" "));
    let body = sections.iter().map(|(mid, kind, payload, direction)| section(mid, kind, payload, direction));
    std::iter::once(head).chain(body).collect()
}

/// A page's offer: one source and one slot of sound.
static BOTH_WAYS: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    description(&[("0", "audio", "opus/48000/2", "sendonly"), ("1", "audio", "opus/48000/2", "recvonly")])
});

/// A WHIP client's offer.
pub(super) fn publishing() -> String {
    description(&[("0", "audio", "opus/48000/2", "sendonly")])
}

/// A WHEP viewer's offer.
pub(super) fn viewing() -> String {
    description(&[("0", "audio", "opus/48000/2", "recvonly"), ("1", "video", "VP8/90000", "recvonly")])
}

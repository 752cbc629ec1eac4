//! Coming, staying, coming back and going: what a browser's requests and its socket do to its participant.

use std::time::{Duration, Instant};

use tracing::info;
use wire::messages::ids::{ConferenceId, EndpointId};
use wire::messages::meeting::{AssignReason, ByeReason, Changes, ErrorId, Limits, Update};
use wire::text::TextError;

use super::conference::{Assignment, Conference};
use super::focus::{Connection, Focus, JOIN_TIME, Place};
use super::participant::{Attachment, Participant};
use super::ports::{ConferenceName, ConnectionId, MESSAGE_BYTES_MAX, Output};
use super::timers::Timer;

/// A newcomer's chat history comes after its media, and at this time if there is none.
const HISTORY_TIME: Duration = Duration::from_secs(5);
/// A browser that hung up its media and its socket has closed the page; a reload is back before this.
const PAGE_CLOSED_GRACE: Duration = Duration::from_secs(5);

impl Focus {
    /// A newcomer.
    pub(crate) fn join(&mut self, now: Instant, connection: ConnectionId, name: &str) {
        let Some(Connection::Opened { conference, .. }) = self.connections.get(&connection) else { return };
        let conference = conference.clone();
        let name = match wire::text::display_name(name) {
            Ok(name) => name,
            Err(error) => return self.refuse(connection, ErrorId::BadName, &format!("the name {error}")),
        };
        if self
            .conferences
            .get(&conference.id)
            .is_some_and(|it| it.members() >= self.settings.participants_max)
        {
            return self.refuse(connection, ErrorId::ConferenceFull, "this conference is full");
        }
        if !self.open_conference(now, &conference) {
            let message = "this server carries as many conferences as it may";
            return self.refuse(connection, ErrorId::Unavailable, message);
        }
        let who = self.fresh_id(&conference.id);
        let place = Place { conference: conference.id.clone(), who: who.clone() };
        self.enter(now, &place, Participant::new(now, who, name, Attachment::Connected(connection)));
        self.connections.insert(connection, Connection::Joined(place.clone()));
        self.welcome(connection, &place);
        self.timers.set(now + HISTORY_TIME, Timer::History(place.conference.clone(), place.who.clone()));
        if !self.settle(now, &conference.id) {
            self.tell_standing(now, connection, &place, AssignReason::Started);
        }
        self.log(&place, "joined");
    }

    /// The conference exists from here on, unless there are too many.
    pub(crate) fn open_conference(&mut self, now: Instant, name: &ConferenceName) -> bool {
        if self.conferences.contains_key(&name.id) {
            return true;
        }
        if self.conferences.len() >= self.settings.conferences_max {
            return false;
        }
        self.counters.conferences_created += 1;
        self.conferences.insert(name.id.clone(), Conference::new(now, name.clone(), self.epoch_floor));
        true
    }

    /// Puts somebody into an existing conference.
    pub(crate) fn enter(&mut self, now: Instant, place: &Place, participant: Participant) {
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let is_seen = !participant.is_viewer();
        conference.insert(participant);
        let due = if is_seen { conference.roster.note_joined(now, &place.who) } else { None };
        self.counters.participants_joined += 1;
        self.arm_delta(&place.conference, due);
    }

    /// An id that nobody in the conference has.
    pub(crate) fn fresh_id(&mut self, conference: &ConferenceId) -> EndpointId {
        loop {
            let id = self.secrets.endpoint_id();
            let is_taken = self.conferences.get(conference).is_some_and(|it| it.participant(&id).is_some());
            if !is_taken {
                return id;
            }
        }
    }

    /// A browser that was here before, on a new socket.
    pub(crate) fn resume(&mut self, now: Instant, connection: ConnectionId, secret: &str, name: &str) {
        let Some(Connection::Opened { conference, deadline, is_extended }) =
            self.connections.get_mut(&connection)
        else {
            return;
        };
        let place = self.resumable.get(secret).filter(|place| place.conference == conference.id).cloned();
        let Some(place) = place else {
            // It may join anew on this very connection.
            if !std::mem::replace(is_extended, true) {
                *deadline = now + JOIN_TIME;
                self.timers.set(now + JOIN_TIME, Timer::Join(connection));
            }
            return self.refuse(connection, ErrorId::BadResume, "unknown or too old: join anew");
        };
        let Some(participant) =
            self.conferences.get_mut(&place.conference).and_then(|it| it.participant_mut(&place.who))
        else {
            return;
        };
        let older = std::mem::replace(&mut participant.attachment, Attachment::Connected(connection));
        if let Attachment::Connected(older) = older {
            self.say_bye(older, ByeReason::Replaced);
        }
        self.connections.insert(connection, Connection::Joined(place.clone()));
        self.counters.resumed += 1;
        self.welcome(connection, &place);
        if let Ok(name) = wire::text::display_name(name) {
            self.apply(now, &place, Changes { name: Some(name), ..Changes::default() });
        }
        // A browser whose media still stands is told nothing: `assigned` would make it connect anew.
        if self.is_answered(&place) {
            self.send_history(&place);
        } else {
            self.tell_standing(now, connection, &place, AssignReason::Moved);
        }
        self.log(&place, "resumed");
    }

    /// The first updates of every connection: who you are, and what there is to see.
    fn welcome(&mut self, connection: ConnectionId, place: &Place) {
        let secret = self.secrets.secret();
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let state = conference.state();
        let name = conference.name.text.clone();
        let Some(participant) = conference.participant_mut(&place.who) else { return };
        let [latest, before] = &mut participant.resume;
        self.resumable.remove(before.as_str());
        *before = std::mem::replace(latest, secret.clone());
        self.resumable.insert(secret.clone(), place.clone());
        let joined = Update::Joined {
            participant: place.who.clone(),
            resume: secret,
            conference: name,
            limits: Limits {
                message_bytes_max: MESSAGE_BYTES_MAX,
                chat_bytes_max: wire::text::CHAT_BYTES_MAX,
                name_graphemes_max: wire::text::NAME_GRAPHEMES_MAX,
                participants_max: self.settings.participants_max,
            },
            slots: self.settings.slots,
        };
        self.send(connection, joined);
        self.send(connection, state);
    }

    /// Where the conference stands, for one browser: wait, offer now, or there is no bridge.
    fn tell_standing(&mut self, now: Instant, connection: ConnectionId, place: &Place, reason: AssignReason) {
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        match conference.assignment {
            Assignment::Waiting => self.send(connection, Update::Waiting),
            Assignment::Held(_) => {
                if let Some(participant) = conference.participant_mut(&place.who) {
                    participant.negotiation.started.get_or_insert(now);
                }
                self.tell_assigned(place, connection, reason);
            }
            Assignment::Wanted { is_told: true } | Assignment::Stranded { is_told: true, .. } => {
                self.refuse(connection, ErrorId::Unavailable, super::assignment::UNAVAILABLE);
            }
            // The timer tells everybody in a moment, unless a bridge comes first.
            Assignment::Wanted { is_told: false } | Assignment::Stranded { is_told: false, .. } => {}
        }
    }

    /// Has it got an answer that still holds?
    pub(crate) fn is_answered(&self, place: &Place) -> bool {
        let Some(conference) = self.conferences.get(&place.conference) else { return false };
        conference
            .participant(&place.who)
            .is_some_and(|participant| participant.negotiation.answered == Some(conference.epoch))
    }

    /// A browser goes for good.
    pub(crate) fn leave(&mut self, now: Instant, connection: ConnectionId, place: &Place) {
        self.say_bye(connection, ByeReason::Left);
        self.remove(now, place);
    }

    /// Says something to everybody, the sender included: its line has a number then. Those who have not had the
    /// history yet will find the line there.
    pub(crate) fn chat(&mut self, now: Instant, connection: ConnectionId, place: &Place, text: &str) {
        let text = match wire::text::chat_text(text) {
            Ok(text) => text,
            Err(error) => {
                let id = if error == TextError::TooLong { ErrorId::TooLong } else { ErrorId::BadMessage };
                return self.refuse(connection, id, &format!("the message {error}"));
            }
        };
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let Some(participant) = conference.participant_mut(&place.who) else { return };
        if !participant.take_chat(now) {
            return self.refuse(connection, ErrorId::RateLimited, "too many chat messages");
        }
        let name = participant.shown.name.clone();
        let update = conference.history.say(&place.who, &name, text);
        let listeners = conference.listeners();
        self.counters.chat_lines += 1;
        self.push(Output::SendAll(listeners, update));
    }

    /// What is kept of the chat: with a newcomer's first answer, or when that takes too long. After a broken connection
    /// once more, because nobody knows what was on its way; numbers tell repeats apart.
    pub(crate) fn send_history(&mut self, place: &Place) {
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let Some(participant) = conference.participant_mut(&place.who) else { return };
        let Some(connection) = participant.connection() else { return };
        participant.has_history = true;
        let lines: Vec<Update> = conference.history.lines().collect();
        for line in lines {
            self.send(connection, line);
        }
    }

    /// A newcomer's media has been answered, or keeps it waiting for too long.
    pub(crate) fn history_due(&mut self, place: &Place) {
        let conference = self.conferences.get(&place.conference);
        let participant = conference.and_then(|conference| conference.participant(&place.who));
        if participant.is_some_and(|participant| !participant.has_history) {
            self.send_history(place);
        }
    }

    /// Changes what the others see of the sender.
    pub(crate) fn change(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        place: &Place,
        mut changes: Changes,
    ) {
        if let Some(name) = changes.name {
            match wire::text::display_name(&name) {
                Ok(name) => changes.name = Some(name),
                Err(error) => return self.refuse(connection, ErrorId::BadName, &format!("the name {error}")),
            }
        }
        self.apply(now, place, changes);
    }

    fn apply(&mut self, now: Instant, place: &Place, changes: Changes) {
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let Some(participant) = conference.participant_mut(&place.who) else { return };
        if !participant.change(changes) {
            return;
        }
        let due = conference.roster.note_changed(now, &place.who);
        self.arm_delta(&place.conference, due);
    }

    /// A browser's socket is gone. Without a `leave` its participant stays for a while, and nobody is told.
    pub fn handle_connection_closed(&mut self, now: Instant, connection: ConnectionId) {
        let Some(Connection::Joined(place)) = self.connections.remove(&connection) else { return };
        self.keep_until(now + self.settings.resume_grace, &place);
        self.log(&place, "connection lost");
    }

    /// It has closed its page, as its bridge says: shorter than for a lost connection.
    pub(crate) fn note_page_closed(&mut self, now: Instant, place: &Place) {
        self.keep_until(now + PAGE_CLOSED_GRACE, place);
    }

    /// Without a connection, `place` is kept until `at`, or shorter if that was said before.
    fn keep_until(&mut self, at: Instant, place: &Place) {
        let Some(participant) =
            self.conferences.get_mut(&place.conference).and_then(|it| it.participant_mut(&place.who))
        else {
            return;
        };
        let at = if let Attachment::Away(before) = participant.attachment { before.min(at) } else { at };
        participant.attachment = Attachment::Away(at);
        self.timers.set(at, Timer::Gone(place.conference.clone(), place.who.clone()));
    }

    /// The grace of a participant without a connection is over.
    pub(crate) fn gone_due(&mut self, now: Instant, place: &Place) {
        let participant = self.conferences.get(&place.conference).and_then(|it| it.participant(&place.who));
        let is_gone = participant
            .is_some_and(|participant| matches!(participant.attachment, Attachment::Away(at) if at <= now));
        if is_gone {
            self.remove(now, place);
        }
    }

    /// Ends a participant: its secrets are void, its bridge and the others are told.
    pub(crate) fn remove(&mut self, now: Instant, place: &Place) {
        self.take_out(now, place);
        self.settle(now, &place.conference);
    }

    /// The same, but what it means for the conference is the caller's.
    pub(crate) fn take_out(&mut self, now: Instant, place: &Place) {
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let Some(participant) = conference.remove(&place.who) else { return };
        let is_told = participant.negotiation.told == Some(conference.epoch);
        let due = if participant.is_viewer() { None } else { conference.roster.note_left(now, &place.who) };
        self.arm_delta(&place.conference, due);
        for secret in &participant.resume {
            self.resumable.remove(secret);
        }
        if let Some(http) = participant.http() {
            self.resources.remove(&http.resource);
        }
        if is_told {
            self.remove_endpoint(place);
        }
        self.log(place, "left");
    }

    /// The batched changes of a conference are due at `due`.
    fn arm_delta(&mut self, conference: &ConferenceId, due: Option<Instant>) {
        if let Some(due) = due {
            self.timers.set(due, Timer::Delta(conference.clone()));
        }
    }

    /// One line for operators, without anything that names a person.
    pub(crate) fn log(&self, place: &Place, event: &str) {
        let conference = self.secrets.log_id(place.conference.as_str());
        let endpoint = self.secrets.log_id(place.who.as_str());
        info!(conference, endpoint, "{event}");
    }
}

//! Offers on their way to a bridge and answers on their way back: the commands, their replies, and what happens when
//! a reply does not come.

use std::time::Instant;

use tracing::warn;
use wire::messages::ids::{BridgeId, ConferenceId};
use wire::messages::link::{Command, CommandBody, Outcome, Refusal, Reply, SlotPin};
use wire::messages::media::{EndpointParameters, TransportParameters};
use wire::messages::meeting::{AssignReason, ErrorId, Update};

use super::assignment::UNAVAILABLE;
use super::commands::{COMMAND_TIME, Pending, Purpose};
use super::conference::Assignment;
use super::focus::{Focus, Place};
use super::negotiate::{parse_offer, write_answer};
use super::ports::{ConnectionId, HttpAnswer, HttpRefusal, LinkId, Output};
use super::timers::Timer;

impl Focus {
    /// A browser offers: (the offer, its number).
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        place: &Place,
        (sdp, rev): (&str, u64),
    ) {
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        match conference.assignment {
            Assignment::Held(_) => {}
            Assignment::Waiting => {
                let message = "nobody else is here: wait for `assigned`";
                return self.refuse(connection, ErrorId::NotAssigned, message);
            }
            Assignment::Wanted { .. } | Assignment::Stranded { .. } => {
                return self.refuse(connection, ErrorId::Unavailable, UNAVAILABLE);
            }
        }
        let Some(participant) = conference.participant_mut(&place.who) else { return };
        if !participant.negotiation.take_offer(now) {
            return self.refuse(connection, ErrorId::RateLimited, "too many offers");
        }
        let offer = match parse_offer(sdp, &place.who) {
            Ok(offer) => Box::new(offer),
            Err(error) => return self.refuse(connection, ErrorId::BadSdp, &error.to_string()),
        };
        participant.negotiation.reconnect = None;
        let parameters = offer.parameters.clone();
        let purpose = Purpose::Offer { connection, rev, offer };
        self.set_endpoint(now, place, (parameters, Vec::new()), purpose);
    }

    /// Has the conference's bridge hold this endpoint: (what it is to be, what is pinned). Returns whether there is such
    /// a bridge.
    pub(crate) fn set_endpoint(
        &mut self,
        now: Instant,
        place: &Place,
        (parameters, pins): (EndpointParameters, Vec<SlotPin>),
        purpose: Purpose,
    ) -> bool {
        let Some((bridge, link)) = self.holder_of(&place.conference) else { return false };
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return false };
        let epoch = conference.epoch;
        let Some(participant) = conference.participant_mut(&place.who) else { return false };
        participant.negotiation.told = Some(epoch);
        let command = Command {
            id: self.commands.fresh_id(),
            conference: place.conference.clone(),
            epoch,
            body: CommandBody::SetEndpoint { endpoint: place.who.clone(), parameters, pins },
        };
        let deadline = now + COMMAND_TIME;
        self.timers.set(deadline, Timer::Command(command.id));
        self.push(Output::Command(link, command.clone()));
        let place = place.clone();
        self.commands.insert(Pending { command, bridge, place, purpose, deadline, is_repeated: false });
        true
    }

    /// Has the conference's bridge forget this endpoint. Nobody waits for the reply.
    pub(crate) fn remove_endpoint(&mut self, place: &Place) {
        let Some((_, link)) = self.holder_of(&place.conference) else { return };
        let Some(epoch) = self.conferences.get(&place.conference).map(|conference| conference.epoch) else {
            return;
        };
        let command = Command {
            id: self.commands.fresh_id(),
            conference: place.conference.clone(),
            epoch,
            body: CommandBody::RemoveEndpoint { endpoint: place.who.clone() },
        };
        self.push(Output::Command(link, command));
    }

    /// The bridge that carries a conference, and the way to it.
    fn holder_of(&self, conference: &ConferenceId) -> Option<(BridgeId, LinkId)> {
        let holder = self.conferences.get(conference)?.holder()?;
        let bridge = self.fleet.bridge(&holder.bridge)?;
        Some((holder.bridge.clone(), bridge.link))
    }

    /// A bridge answers a command. An answer that nobody waits for any more is of no interest.
    pub(crate) fn reply(&mut self, now: Instant, link: LinkId, reply: Reply) {
        let Some(bridge) = self.fleet.by_link(link).map(|bridge| bridge.hello.bridge.clone()) else { return };
        self.fleet.note_answered(&bridge);
        if self.commands.pending(reply.id).is_none_or(|pending| pending.bridge != bridge) {
            return;
        }
        let Some(pending) = self.commands.take(reply.id) else { return };
        self.timers.cancel(pending.deadline, Timer::Command(reply.id));
        match reply.outcome {
            Outcome::Transport(transport) => self.answered(now, pending, &transport),
            Outcome::Done => self.refused(now, &pending, Refusal::UnknownCommand, "no parameters came back"),
            Outcome::Refused { error, message } => self.refused(now, &pending, error, &message),
        }
    }

    /// The bridge holds the endpoint: its half goes back to whoever offered.
    fn answered(&mut self, now: Instant, pending: Pending, transport: &TransportParameters) {
        let Pending { place, purpose, .. } = pending;
        let (connection, rev, offer) = match purpose {
            Purpose::Offer { connection, rev, offer } => (connection, rev, offer),
            Purpose::Create { http, offer } => {
                self.counters.answers += 1;
                return self.created(&place, http, write_answer(&offer, transport));
            }
            Purpose::Restart { http, ice } => return self.restarted(&place, (http, ice), transport),
        };
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let epoch = conference.epoch;
        let Some(participant) = conference.participant_mut(&place.who) else { return };
        // The answer belongs to the negotiation of the socket that offered; a later one starts its own.
        if participant.connection() != Some(connection) {
            return;
        }
        participant.negotiation.answered = Some(epoch);
        if let Some(started) = participant.negotiation.started.take() {
            let waited = now.saturating_duration_since(started);
            self.counters.note_join(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
        }
        self.counters.answers += 1;
        let channel_url = transport.channel_path.clone();
        self.send(connection, Update::Answer { sdp: write_answer(&offer, transport), rev, channel_url });
        self.history_due(&place);
    }

    /// The bridge does not hold the endpoint.
    fn refused(&mut self, now: Instant, pending: &Pending, error: Refusal, message: &str) {
        self.counters.commands_refused += 1;
        warn!(bridge = %pending.bridge, ?error, "command refused");
        let place = pending.place.clone();
        let has_answers = self.conferences.get(&place.conference).is_some_and(|conference| {
            conference.participants().any(|other| other.negotiation.answered == Some(conference.epoch))
        });
        match error {
            Refusal::BadParameters => self.fail(now, pending, HttpRefusal::BadSdp, message),
            Refusal::Full | Refusal::Draining if !has_answers => {
                self.fleet.note_full(&pending.bridge);
                self.fail(now, pending, HttpRefusal::Unavailable, "the bridge is full");
                self.move_conference(now, &place.conference, Some(&pending.bridge));
            }
            Refusal::Full | Refusal::Draining => {
                self.fleet.note_full(&pending.bridge);
                self.fail(now, pending, HttpRefusal::Unavailable, "the bridge of this conference is full");
            }
            Refusal::StaleEpoch => {
                self.fail(now, pending, HttpRefusal::Unavailable, "the bridge has a newer assignment");
                self.jump_epoch(now, &place.conference);
            }
            Refusal::UnknownCommand => {
                self.fail(now, pending, HttpRefusal::Unavailable, "the bridge does not know this command");
            }
        }
    }

    /// Whoever waits for `pending` learns that it failed. A WHIP or WHEP participant ends with its `POST`.
    fn fail(&mut self, now: Instant, pending: &Pending, refusal: HttpRefusal, message: &str) {
        match &pending.purpose {
            Purpose::Offer { connection, .. } => {
                let id = if refusal == HttpRefusal::BadSdp { ErrorId::BadSdp } else { ErrorId::Unavailable };
                self.refuse(*connection, id, message);
            }
            Purpose::Create { http, .. } => {
                self.push(Output::Answer(*http, HttpAnswer::Refused(refusal, message.to_owned())));
                self.remove(now, &pending.place);
            }
            Purpose::Restart { http, .. } => {
                self.push(Output::Answer(*http, HttpAnswer::Refused(refusal, message.to_owned())));
            }
        }
    }

    /// A command was not answered in time. Sent once more, since doing it twice changes nothing; after that whoever
    /// waits is told and the conference goes elsewhere. An HTTP request does not wait for a second time.
    pub(crate) fn command_due(&mut self, now: Instant, id: u64) {
        if self.commands.pending(id).is_none_or(|pending| pending.deadline > now) {
            return;
        }
        let Some(mut pending) = self.commands.take(id) else { return };
        self.counters.commands_unanswered += 1;
        self.fleet.note_unanswered(now, &pending.bridge);
        warn!(bridge = %pending.bridge, command = id, "command not answered");
        let is_last = pending.is_repeated || pending.purpose.http().is_some();
        let holder = self.holder_of(&pending.place.conference);
        let link = holder.filter(|(bridge, _)| !is_last && *bridge == pending.bridge).map(|(_, link)| link);
        let Some(link) = link else {
            self.fail(now, &pending, HttpRefusal::Unavailable, "the bridge did not answer in time");
            if pending.is_repeated {
                self.give_up_on(now, &pending);
            }
            return;
        };
        pending.is_repeated = true;
        pending.deadline = now + COMMAND_TIME;
        self.timers.set(pending.deadline, Timer::Command(id));
        self.push(Output::Command(link, pending.command.clone()));
        self.commands.insert(pending);
    }

    /// A bridge that is heard and does not answer: another one takes the conference. If there is none, the browser is
    /// asked to offer again.
    fn give_up_on(&mut self, now: Instant, pending: &Pending) {
        if self.fleet.pick(&mut self.secrets, Some(&pending.bridge)).is_some() {
            return self.move_conference(now, &pending.place.conference, Some(&pending.bridge));
        }
        let Purpose::Offer { connection, .. } = pending.purpose else { return };
        if self.connections.contains_key(&connection) {
            self.tell_assigned(&pending.place, connection, AssignReason::Moved);
        }
    }

    /// Nobody waits for the replies of this conference's bridge any more: it has another one, or none. Browsers are told
    /// that by other means, an HTTP request only here.
    pub(crate) fn drop_commands(&mut self, conference: &ConferenceId) {
        for pending in self.commands.take_conference(conference) {
            self.timers.cancel(pending.deadline, Timer::Command(pending.command.id));
            if let Some(http) = pending.purpose.http() {
                let message = "the bridge was lost".to_owned();
                self.push(Output::Answer(http, HttpAnswer::Refused(HttpRefusal::Unavailable, message)));
            }
        }
    }
}

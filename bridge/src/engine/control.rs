//! What signaling commands: hold this endpoint so, forget it, forget the conference. Each command says the whole wanted
//! state, so doing one twice changes nothing.
//!
//! Fencing: a command of an older epoch than one seen for its conference is refused; a newer one ends the older
//! incarnation first. Epochs of conferences that ended are remembered for a while, so that a command on its way back
//! from a broken link wakes no dead.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use wire::messages::ids::{ConferenceId, EndpointId, Epoch};
use wire::messages::link::{Command, CommandBody, Outcome, Refusal, Reply, SlotPin};
use wire::messages::media::{Candidate, EndpointParameters, SlotParameters, TransportParameters};

use super::bridge::{Bridge, Place};
use super::conference::Conference;
use super::endpoint::Endpoint;
use super::ice::{self, IceLite};
use super::parameters;
use super::ports::{ChannelTicket, Output, PartId};
use super::timers::Timer;

/// A command that is not carried out.
type Refused = (Refusal, String);

impl Bridge {
    /// Does what signaling wants; answered by `Output::Reply` with the command's id.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        self.handle_part_command(now, command, &[]);
    }

    /// Does what signaling wants with a conference of which `others` hold parts as well, or will.
    pub fn handle_part_command(&mut self, now: Instant, command: Command, others: &[PartId]) {
        let Command { id, conference, epoch, body } = command;
        let done = self.obey(now, (conference, others), epoch, body);
        let outcome = done.unwrap_or_else(|(error, message)| Outcome::Refused { error, message });
        self.fx.outputs.push_back(Output::Reply(Reply { id, outcome }));
    }

    fn obey(
        &mut self,
        now: Instant,
        (conference, others): (ConferenceId, &[PartId]),
        epoch: Epoch,
        body: CommandBody,
    ) -> Result<Outcome, Refused> {
        self.learn_epoch(now, &conference, epoch)?;
        match body {
            CommandBody::SetEndpoint { endpoint, parameters, pins } => {
                parameters::check(&endpoint, &parameters, &pins)
                    .map_err(|wrong| (Refusal::BadParameters, wrong.to_string()))?;
                self.ensure_capacity(&conference, &endpoint)?;
                let place = self.hold_conference(now, (conference, others), epoch);
                let held = self.hold_endpoint(now, (place, endpoint), parameters, pins);
                self.end_if_empty(now, place);
                held
            }
            CommandBody::RemoveEndpoint { endpoint } => {
                if let Some(place) = self.by_id.get(&conference).copied()
                    && let Some(endpoint) = self.conferences[place].place_of(&endpoint)
                {
                    self.remove_endpoint(now, Place { conference: place, endpoint });
                }
                Ok(Outcome::Done)
            }
            CommandBody::EndConference => {
                self.end_conference(now, &conference);
                Ok(Outcome::Done)
            }
            CommandBody::Unknown => {
                Err((Refusal::UnknownCommand, "this version does not know the command".to_owned()))
            }
        }
    }

    /// Another bridge or worker owns `conference` under `epoch`: stop serving every older one.
    pub fn end_stale(&mut self, now: Instant, conference: &ConferenceId, epoch: Epoch) {
        // An older epoch than ours is the other's mistake.
        let _ = self.learn_epoch(now, conference, epoch);
    }

    /// Notes the newest epoch and ends what it has overtaken; refuses what is older.
    fn learn_epoch(&mut self, now: Instant, conference: &ConferenceId, epoch: Epoch) -> Result<(), Refused> {
        let held = self.by_id.get(conference).map(|place| self.conferences[*place].epoch);
        let newest = held.max(self.epochs.newest(conference));
        if newest.is_some_and(|newest| epoch < newest) {
            return Err((Refusal::StaleEpoch, "a newer assignment of this conference is known".to_owned()));
        }
        if held.is_some_and(|held| held < epoch) {
            self.end_conference(now, conference);
        }
        self.epochs.note(now, conference, epoch);
        Ok(())
    }

    fn ensure_capacity(&self, conference: &ConferenceId, endpoint: &EndpointId) -> Result<(), Refused> {
        let conference = self.by_id.get(conference).map(|place| &self.conferences[*place]);
        let is_held = conference.is_some_and(|conference| conference.place_of(endpoint).is_some());
        if is_held || self.by_key.len() < self.settings.endpoints_max {
            return Ok(());
        }
        Err((Refusal::Full, format!("holds {} endpoints", self.settings.endpoints_max)))
    }

    /// The place of a conference, which begins with its first endpoint.
    fn hold_conference(
        &mut self,
        now: Instant,
        (id, others): (ConferenceId, &[PartId]),
        epoch: Epoch,
    ) -> usize {
        let place = self.by_id.get(&id).copied().unwrap_or_else(|| {
            let place = self.conferences.insert(Conference::new(now, id.clone(), epoch));
            self.by_id.insert(id, place);
            // Whoever began first has counted it.
            self.fx.counters.conferences_created += u64::from(others.is_empty());
            place
        });
        self.conferences[place].join_parts(place, others, &mut self.fx);
        place
    }

    /// Makes an endpoint what the command says: found so already, changed, replaced or new.
    fn hold_endpoint(
        &mut self,
        now: Instant,
        (place, id): (usize, EndpointId),
        parameters: EndpointParameters,
        pins: Vec<SlotPin>,
    ) -> Result<Outcome, Refused> {
        let found =
            self.conferences[place].place_of(&id).map(|endpoint| Place { conference: place, endpoint });
        let Some(found) = found else { return Ok(self.add_endpoint(now, (place, id), parameters, pins)) };
        let endpoint = &self.conferences[place].endpoints[found.endpoint];
        let before = &endpoint.parameters;
        if before.fingerprints != parameters.fingerprints {
            // Another certificate is another browser, or the same one after a reload: nothing of the old one is left.
            self.take_out(now, found);
            return Ok(self.add_endpoint(now, (place, id), parameters, pins));
        }
        if *before == parameters && endpoint.pins == pins {
            return Ok(self.transport(found));
        }
        if !endpoint.has_streams_for(&parameters.medias) {
            // One browser's own limit: `Full` would say that there is no place for anybody.
            return Err((Refusal::BadParameters, "too many m-lines have been slots".to_owned()));
        }
        if before.ice != parameters.ice {
            self.restart_ice(found, &parameters);
        }
        Ok(self.set_medias(now, found, parameters, pins))
    }

    /// Makes a new endpoint. Whatever it needs for life is fixed here: its key, its password, its reporter.
    fn add_endpoint(
        &mut self,
        now: Instant,
        (place, id): (usize, EndpointId),
        parameters: EndpointParameters,
        pins: Vec<SlotPin>,
    ) -> Outcome {
        let local = ice::credentials(&mut self.fx.random);
        let ufrag = local.ufrag.clone();
        let ice = IceLite::new(local, &parameters.ice, now);
        let without_medias = EndpointParameters { medias: Vec::new(), ..parameters.clone() };
        let endpoint = Endpoint::new(now, id, without_medias, ice, &mut self.fx);
        let key = endpoint.key;
        let conference = &mut self.conferences[place];
        let ticket = ChannelTicket {
            conference: conference.id.clone(),
            endpoint: endpoint.id.clone(),
            password: endpoint.password.clone(),
        };
        let found = Place { conference: place, endpoint: conference.endpoints.insert(endpoint) };
        conference.tell_size(&mut self.fx);
        self.by_key.insert(key, found);
        self.by_ufrag.insert(ufrag, found);
        self.fx.counters.endpoints_created += 1;
        self.fx.timers.set(key.0, Timer::Handshake, now + CONNECT_MAX);
        self.fx.outputs.push_back(Output::ChannelOpenable(key, ticket));
        self.set_medias(now, found, parameters, pins)
    }

    fn set_medias(
        &mut self,
        now: Instant,
        place: Place,
        parameters: EndpointParameters,
        pins: Vec<SlotPin>,
    ) -> Outcome {
        let conference = &mut self.conferences[place.conference];
        conference.set_medias(now, place.endpoint, (parameters, pins), &mut self.fx);
        self.transport(place)
    }

    /// RFC 8445, 9: new credentials on both sides. Media flows on the old path until the browser nominates one under
    /// the new ones.
    fn restart_ice(&mut self, place: Place, parameters: &EndpointParameters) {
        let local = ice::credentials(&mut self.fx.random);
        let endpoint = &mut self.conferences[place.conference].endpoints[place.endpoint];
        self.by_ufrag.insert(local.ufrag.clone(), place);
        if let Some(retired) = endpoint.ice.restart(local, &parameters.ice) {
            self.by_ufrag.remove(&retired);
        }
    }

    /// The bridge's half of the negotiation.
    fn transport(&self, place: Place) -> Outcome {
        let conference = &self.conferences[place.conference];
        let endpoint = &conference.endpoints[place.endpoint];
        let slots = endpoint.parameters.medias.iter().filter_map(|media| {
            let (_, slot) = endpoint.slots.iter().find(|(_, slot)| slot.mid == media.mid)?;
            let (ssrc, rtx_ssrc) = (slot.ssrc.0, slot.rtx_ssrc.map(|ssrc| ssrc.0));
            Some(SlotParameters { mid: slot.mid.clone(), ssrc, rtx_ssrc })
        });
        let candidates = self.settings.candidates.iter().enumerate().map(|(index, address)| {
            // RFC 8445, 5.1.2.1: type preference of a host candidate, then ours, then component 1.
            let priority = 126 << 24 | (0xffff - (index as u32).min(0xffff)) << 8 | 255;
            Candidate { priority, address: *address }
        });
        Outcome::Transport(TransportParameters {
            ice: endpoint.ice.local().clone(),
            fingerprint: self.settings.fingerprint.clone(),
            candidates: candidates.collect(),
            slots: slots.collect(),
            channel_path: format!(
                "/colibri-ws/{}/{}/{}?pwd={}",
                self.settings.bridge, conference.id, endpoint.id, endpoint.password
            ),
        })
    }
}

/// The newest epoch seen of conferences, held or not. Indexed by conference.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    /// Each with the instant at which it was noted first, or its conference ended.
    newest: HashMap<ConferenceId, (Epoch, Instant)>,
    /// In the order of those instants; an entry is void when its conference has a later one.
    noted: VecDeque<(Instant, ConferenceId)>,
}

impl Epochs {
    fn newest(&self, conference: &ConferenceId) -> Option<Epoch> {
        self.newest.get(conference).map(|(epoch, _)| *epoch)
    }

    fn note(&mut self, now: Instant, conference: &ConferenceId, epoch: Epoch) {
        if self.newest(conference) != Some(epoch) {
            self.renew(now, conference, epoch);
        }
    }

    /// From `now` on it is remembered for its full time: nothing holds it any more, or it was not known.
    pub(super) fn renew(&mut self, now: Instant, conference: &ConferenceId, epoch: Epoch) {
        self.newest.insert(conference.clone(), (epoch, now));
        self.noted.push_back((now, conference.clone()));
        while let Some((at, oldest)) = self.noted.front() {
            let is_old = now.saturating_duration_since(*at) > EPOCH_AGE_MAX;
            if !is_old && self.noted.len() <= EPOCHS_MAX {
                break;
            }
            if self.newest.get(oldest).is_some_and(|(_, noted)| noted == at) {
                self.newest.remove(oldest);
            }
            self.noted.pop_front();
        }
    }
}

/// A browser connects within seconds; after this it has given up.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(30);

/// A command is on its way for seconds; an hour outlives every broken link.
const EPOCH_AGE_MAX: Duration = Duration::from_secs(3_600);

/// About 100 bytes each.
const EPOCHS_MAX: usize = 10_000;

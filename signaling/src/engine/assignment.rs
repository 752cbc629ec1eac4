//! Which bridge carries which conference, and when that changes.
//!
//! ```text
//!             second participant          no bridge fit
//!   Waiting ───────────────────► Held ◄──────────────► Wanted / Stranded
//!      ▲                          │  ▲ │
//!      └── one alone for 20 s ────┘  └─┘ bridge lost: epoch + 1, everybody offers anew
//! ```
//!
//! Invariants: each assignment has a higher epoch than every one before it; a conference is in `wanting` exactly while
//! it needs a bridge and has none that works.

use std::time::{Duration, Instant};

use tracing::{info, warn};
use wire::messages::ids::{BridgeId, ConferenceId, EndpointId, Epoch};
use wire::messages::link::{Command, CommandBody};
use wire::messages::meeting::{AssignReason, ErrorId, Update};

use super::conference::{Assignment, Holder};
use super::focus::{Focus, Place};
use super::ports::{Assigned, ConnectionId, Output};
use super::timers::Timer;

/// Participants learn within 2 s that no bridge is fit; a bridge that is just connecting is waited for.
const UNAVAILABLE_AFTER: Duration = Duration::from_millis(1500);
/// What they are told.
pub(crate) const UNAVAILABLE: &str = "no bridge is available; the conference starts by itself when one is";
/// A bridge that calls an epoch stale knows a newer one from a life that this process does not remember.
const EPOCH_JUMP: u64 = 1 << 20;

impl Focus {
    /// After every change of membership: does the conference need a bridge, keep it, give it back, or end? Returns
    /// whether everybody in it has just been told where it stands.
    pub(crate) fn settle(&mut self, now: Instant, id: &ConferenceId) -> bool {
        let Some(conference) = self.conferences.get_mut(id) else { return true };
        if conference.is_empty() {
            self.end_conference(id);
            return true;
        }
        let endpoints = conference.endpoints();
        let needs_bridge = conference.needs_bridge();
        match &mut conference.assignment {
            Assignment::Waiting if needs_bridge => {
                self.assign(now, id, AssignReason::Started, None);
                true
            }
            Assignment::Held(holder) => {
                if needs_bridge {
                    holder.release = None;
                } else if holder.release.is_none() {
                    let at = now + self.settings.release_grace;
                    holder.release = Some(at);
                    self.timers.set(at, Timer::Release(id.clone()));
                }
                let bridge = holder.bridge.clone();
                self.fleet.note_size(now, &bridge, id, endpoints);
                false
            }
            Assignment::Wanted { .. } | Assignment::Stranded { .. } if !needs_bridge => {
                self.abandon_bridge(id);
                self.wait(id);
                true
            }
            _ => false,
        }
    }

    /// Gives the conference a bridge, or notes that it wants one.
    pub(crate) fn assign(
        &mut self,
        now: Instant,
        id: &ConferenceId,
        reason: AssignReason,
        except: Option<&BridgeId>,
    ) {
        let Some(bridge) = self.fleet.pick(&mut self.secrets, except) else { return self.want(now, id) };
        let Some(boot) = self.fleet.bridge(&bridge).map(|found| found.hello.boot.clone()) else { return };
        let Some(conference) = self.conferences.get_mut(id) else { return };
        conference.epoch = conference.epoch.next();
        let epoch = conference.epoch;
        conference.assignment = Assignment::Held(Holder { bridge: bridge.clone(), boot, release: None });
        for participant in conference.participants_mut() {
            participant.negotiation.restart(now);
        }
        let (endpoints, connected) = (conference.endpoints(), conference.connected());
        self.wanting.remove(id);
        self.fleet.note_size(now, &bridge, id, endpoints);
        self.counters.assignments += 1;
        info!(conference = self.secrets.log_id(id.as_str()), %bridge, epoch = epoch.0, ?reason, "assigned");
        self.push_assigned(id, connected, reason);
    }

    /// Says which assignment holds to one browser of its conference.
    pub(crate) fn tell_assigned(&mut self, place: &Place, connection: ConnectionId, reason: AssignReason) {
        self.push_assigned(&place.conference, vec![(connection, place.who.clone())], reason);
    }

    fn push_assigned(
        &mut self,
        id: &ConferenceId,
        to: Vec<(ConnectionId, EndpointId)>,
        reason: AssignReason,
    ) {
        let Some(conference) = self.conferences.get(id) else { return };
        let Some(holder) = conference.holder().filter(|_| !to.is_empty()) else { return };
        let assigned = Assigned { bridge: holder.bridge.clone(), reason, epoch: conference.epoch };
        self.push(Output::Assign(to, assigned));
    }

    /// No bridge is fit now.
    fn want(&mut self, now: Instant, id: &ConferenceId) {
        let Some(conference) = self.conferences.get_mut(id) else { return };
        let wanted = match &conference.assignment {
            Assignment::Waiting => Assignment::Wanted { is_told: false },
            Assignment::Held(holder) => Assignment::Stranded { holder: holder.clone(), is_told: false },
            Assignment::Wanted { .. } | Assignment::Stranded { .. } => return,
        };
        conference.assignment = wanted;
        self.wanting.insert(id.clone());
        self.timers.set(now + UNAVAILABLE_AFTER, Timer::Unavailable(id.clone()));
    }

    /// The conference still has no bridge: its participants are told, once.
    pub(crate) fn unavailable_due(&mut self, id: &ConferenceId) {
        let Some(conference) = self.conferences.get_mut(id) else { return };
        let (Assignment::Wanted { is_told } | Assignment::Stranded { is_told, .. }) =
            &mut conference.assignment
        else {
            return;
        };
        if std::mem::replace(is_told, true) {
            return;
        }
        self.counters.unavailable += 1;
        self.send_all(id, Update::Error { id: ErrorId::Unavailable, message: UNAVAILABLE.to_owned() });
    }

    /// A bridge became fit: conferences that want one get it.
    pub(crate) fn serve_wanting(&mut self, now: Instant) {
        for id in self.wanting.clone() {
            match self.conferences.get(&id).map(|conference| &conference.assignment) {
                Some(Assignment::Stranded { .. }) => self.move_conference(now, &id, None),
                Some(Assignment::Wanted { .. }) => self.assign(now, &id, AssignReason::Started, None),
                _ => {}
            }
        }
    }

    /// The bridge of this conference is lost or does not answer: another one, or the conference is stranded.
    pub(crate) fn move_conference(&mut self, now: Instant, id: &ConferenceId, except: Option<&BridgeId>) {
        if self.fleet.pick(&mut self.secrets, except).is_none() {
            return self.want(now, id);
        }
        self.abandon_bridge(id);
        // WHIP and WHEP have no way to hear of a new bridge: such clients notice that media ends, and POST again.
        let conference = self.conferences.get(id);
        let http: Vec<Place> = conference.map_or_else(Vec::new, |conference| {
            let by_http = conference.participants().filter(|participant| participant.http().is_some());
            by_http.map(|participant| Place { conference: id.clone(), who: participant.id.clone() }).collect()
        });
        for place in &http {
            self.take_out(now, place);
        }
        let Some(conference) = self.conferences.get(id) else { return };
        if conference.is_empty() {
            return self.end_conference(id);
        }
        if !conference.needs_bridge() {
            return self.wait(id);
        }
        self.counters.participants_moved += u64::from(conference.endpoints());
        self.assign(now, id, AssignReason::Moved, except);
    }

    /// Takes the conference from its bridge, which may still be serving it: it is told so, now or when it is heard of
    /// again.
    fn abandon_bridge(&mut self, id: &ConferenceId) {
        let Some(conference) = self.conferences.get_mut(id) else { return };
        let (Assignment::Held(holder) | Assignment::Stranded { holder, .. }) = &conference.assignment else {
            return;
        };
        let holder = holder.clone();
        conference.assignment = Assignment::Waiting;
        // The endpoints end with the conference: removing each by a command would say it twice.
        for participant in conference.participants_mut() {
            participant.negotiation.told = None;
        }
        let epoch = conference.epoch;
        self.fleet.note_released(&holder.bridge, id);
        self.drop_commands(id);
        match self.fleet.bridge_mut(&holder.bridge) {
            Some(bridge) if bridge.hello.boot != holder.boot => {}
            Some(bridge) if bridge.is_reachable() => {
                let link = bridge.link;
                self.end_on(link, id, epoch);
            }
            Some(bridge) => bridge.fences.push(id.clone()),
            None => {}
        }
    }

    /// Tells a bridge to forget a conference, under an epoch at least as new as any it knows.
    pub(crate) fn end_on(&mut self, link: super::ports::LinkId, id: &ConferenceId, epoch: Epoch) {
        let number = self.commands.fresh_id();
        let command = Command { id: number, conference: id.clone(), epoch, body: CommandBody::EndConference };
        self.push(Output::Command(link, command));
    }

    /// A bridge that is heard again may still serve what was moved away from it meanwhile.
    pub(crate) fn fence(&mut self, bridge: &BridgeId) {
        let Some(found) = self.fleet.bridge_mut(bridge) else { return };
        let link = found.link;
        for id in std::mem::take(&mut found.fences) {
            let conference = self.conferences.get(&id);
            if conference.and_then(|it| it.holder()).is_some_and(|holder| holder.bridge == *bridge) {
                continue;
            }
            let epoch = conference.map_or(self.epoch_floor, |it| it.epoch);
            self.end_on(link, &id, epoch);
        }
    }

    /// A lost bridge is back as the process it was: what it still carries continues as if nothing had been, so nobody
    /// is told anything.
    pub(crate) fn continue_stranded(&mut self, now: Instant, bridge: &BridgeId, id: &ConferenceId) {
        let Some(found) = self.fleet.bridge(bridge) else { return };
        let Some(conference) = self.conferences.get_mut(id) else { return };
        let Assignment::Stranded { holder, .. } = &conference.assignment else { return };
        if holder.bridge != *bridge || holder.boot != found.hello.boot {
            return;
        }
        conference.assignment = Assignment::Held(holder.clone());
        let endpoints = conference.endpoints();
        self.wanting.remove(id);
        self.fleet.note_size(now, bridge, id, endpoints);
        self.settle(now, id);
    }

    /// The grace of a conference with one participant is over.
    pub(crate) fn release_due(&mut self, now: Instant, id: &ConferenceId) {
        let Some(conference) = self.conferences.get(id) else { return };
        let is_due =
            conference.holder().and_then(|holder| holder.release).is_some_and(|release| release <= now);
        if is_due {
            self.counters.releases += 1;
            self.abandon_bridge(id);
            self.wait(id);
        }
    }

    /// Back to one participant, who waits without a bridge.
    fn wait(&mut self, id: &ConferenceId) {
        let Some(conference) = self.conferences.get_mut(id) else { return };
        conference.assignment = Assignment::Waiting;
        for participant in conference.participants_mut() {
            participant.negotiation.answered = None;
            participant.negotiation.reconnect = None;
        }
        self.wanting.remove(id);
        self.send_all(id, Update::Waiting);
    }

    /// Nobody is left.
    fn end_conference(&mut self, id: &ConferenceId) {
        self.abandon_bridge(id);
        self.wanting.remove(id);
        let Some(conference) = self.conferences.remove(id) else { return };
        debug_assert!(conference.is_empty(), "only a conference without anybody ends");
        self.epoch_floor = self.epoch_floor.max(conference.epoch);
    }

    /// The bridge knows a newer epoch of this conference than we do: ours jumps above it.
    pub(crate) fn jump_epoch(&mut self, now: Instant, id: &ConferenceId) {
        let Some(conference) = self.conferences.get_mut(id) else { return };
        warn!(conference = self.secrets.log_id(id.as_str()), epoch = conference.epoch.0, "stale epoch");
        conference.epoch = Epoch(conference.epoch.0.saturating_add(EPOCH_JUMP));
        self.counters.epoch_rejects += 1;
        self.move_conference(now, id, None);
    }
}

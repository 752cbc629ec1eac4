//! What bridges say over their links, and what their silence says.

use std::time::Instant;

use tracing::{info, warn};
use wire::messages::ids::{BridgeId, ConferenceId, Epoch};
use wire::messages::link::{EndpointEvent, Hello, LiveConference, Load, Notice};
use wire::messages::meeting::AssignReason;

use super::fleet::News;
use super::focus::{Focus, Place};
use super::participant::Attachment;
use super::ports::{LinkId, Output};
use super::timers::Timer;

/// A page reads an epoch as a double, which counts no further. Ours are milliseconds since 1970 and stay far below.
const EPOCH_MAX: Epoch = Epoch(1 << 53);

impl Focus {
    /// A bridge introduces itself.
    pub(crate) fn hello(&mut self, now: Instant, link: LinkId, mut hello: Hello) {
        let live = std::mem::take(&mut hello.conferences);
        let bridge = hello.bridge.clone();
        let welcome = match self.fleet.handle_hello(now, link, hello) {
            Ok(welcome) => welcome,
            Err(fault) => {
                warn!(%bridge, ?fault, "bridge refused");
                self.counters.links_refused += 1;
                return self.push(Output::CloseLink(link, fault));
            }
        };
        info!(%bridge, carrying = live.len(), "bridge connected");
        if let Some(older) = welcome.replaced {
            self.push(Output::CloseLink(older, super::ports::LinkFault::Replaced));
        }
        self.timers.set(now + self.settings.bridge_silence, Timer::Silence(link));
        for conference in &live {
            self.take_stock(now, link, &bridge, conference);
        }
        for conference in welcome.displaced {
            self.move_conference(now, &conference, None);
        }
    }

    /// A bridge carries this, it says: continued if it is the process that was given it, ended if another one has the
    /// conference by now. A conference nobody here knows is left to its browsers' consent; only its epoch is noted. An
    /// epoch newer than ours voids what the holder carries: the conference is assigned above it.
    fn take_stock(&mut self, now: Instant, link: LinkId, bridge: &BridgeId, live: &LiveConference) {
        if live.epoch > EPOCH_MAX {
            return warn!(%bridge, epoch = live.epoch.0, "absurd epoch ignored");
        }
        let Some(conference) = self.conferences.get_mut(&live.conference) else {
            self.epoch_floor = self.epoch_floor.max(live.epoch);
            return;
        };
        if conference.epoch == live.epoch {
            self.continue_stranded(now, bridge, &live.conference);
        }
        let Some(conference) = self.conferences.get_mut(&live.conference) else { return };
        if conference.holder().is_some_and(|holder| holder.bridge == *bridge) {
            return;
        }
        let is_overtaken = conference.holder().is_some() && conference.epoch < live.epoch;
        conference.epoch = conference.epoch.max(live.epoch);
        let epoch = conference.epoch;
        self.end_on(link, &live.conference, epoch);
        if is_overtaken {
            self.move_conference(now, &live.conference, None);
        }
    }

    /// Something came over a link. Returns whether it has said hello before.
    pub(crate) fn sign_of_life(&mut self, now: Instant, link: LinkId) -> bool {
        match self.fleet.handle_sign_of_life(now, link) {
            None => return false,
            Some(None) => {}
            Some(Some(back)) => {
                info!(bridge = %back.bridge, "bridge heard again");
                self.fence(&back.bridge);
                for conference in &back.held {
                    self.continue_stranded(now, &back.bridge, conference);
                }
                self.serve_wanting(now);
            }
        }
        true
    }

    /// Once a second.
    pub(crate) fn load(&mut self, now: Instant, link: LinkId, load: Load) {
        if self.fleet.handle_load(now, link, load) == News::Fit {
            self.serve_wanting(now);
        }
    }

    /// A bridge's link broke: the bridge is lost.
    pub fn handle_link_closed(&mut self, now: Instant, link: LinkId) {
        let Some((bridge, held)) = self.fleet.handle_link_closed(link) else { return };
        warn!(%bridge, conferences = held.len(), "bridge lost: link closed");
        self.lose(now, &bridge, &held);
    }

    /// A bridge may have been silent for too long.
    pub(crate) fn silence_due(&mut self, now: Instant, link: LinkId) {
        // A link that was closed or replaced meanwhile has no bridge, and its timer ends here.
        let Some(bridge) = self.fleet.by_link(link).map(|bridge| bridge.hello.bridge.clone()) else { return };
        let verdict = self.fleet.judge_silence(now, &bridge);
        self.timers.set(verdict.again, Timer::Silence(link));
        if let Some(held) = verdict.lost {
            warn!(%bridge, conferences = held.len(), "bridge lost: silent");
            self.lose(now, &bridge, &held);
        }
    }

    fn lose(&mut self, now: Instant, bridge: &BridgeId, held: &[ConferenceId]) {
        self.counters.bridges_lost += 1;
        for conference in held {
            self.move_conference(now, conference, Some(bridge));
        }
    }

    /// What happened to an endpoint. Of an older assignment, or of an endpoint that is being set anew: not of interest.
    pub(crate) fn notice(&mut self, now: Instant, link: LinkId, notice: &Notice) {
        let place = Place { conference: notice.conference.clone(), who: notice.endpoint.clone() };
        let Some(bridge) = self.fleet.by_link(link).map(|bridge| bridge.hello.bridge.clone()) else { return };
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let is_holder = conference.holder().is_some_and(|holder| holder.bridge == bridge);
        if !is_holder || conference.epoch != notice.epoch {
            return;
        }
        let Some(participant) = conference.participant_mut(&place.who) else { return };
        if notice.event == EndpointEvent::Connected {
            participant.negotiation.note_connected();
            self.counters.endpoints_connected += 1;
            return self.log(&place, "media connected");
        }
        if self.commands.is_waiting_for(&place.who) {
            return;
        }
        let has_hung_up = notice.event == EndpointEvent::Closed;
        match &participant.attachment {
            Attachment::Http(_) => {
                participant.negotiation.told = None;
                self.remove(now, &place);
            }
            Attachment::Connected(_) => {
                let at = participant.negotiation.note_lost(now, has_hung_up);
                self.timers.set(at, Timer::Reconnect(place.conference.clone(), place.who.clone()));
            }
            Attachment::Away(_) => {
                participant.negotiation.note_lost(now, has_hung_up);
                participant.negotiation.reconnect = None;
                if has_hung_up {
                    self.note_page_closed(now, &place);
                }
            }
        }
        if !has_hung_up {
            self.counters.endpoints_failed += 1;
        }
        self.log(&place, "media lost");
        // The first invitation is due at once.
        self.reconnect_due(now, &place);
    }

    /// Invites a browser whose endpoint was lost to connect again: under the same epoch, and `moved` says that what it
    /// has is void.
    pub(crate) fn reconnect_due(&mut self, now: Instant, place: &Place) {
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let is_held = conference.holder().is_some();
        let Some(participant) = conference.participant_mut(&place.who) else { return };
        if !is_held || participant.negotiation.reconnect.is_none_or(|at| at > now) {
            return;
        }
        participant.negotiation.reconnect = None;
        let Some(connection) = participant.connection() else { return };
        self.counters.restarts_requested += 1;
        self.tell_assigned(place, connection, AssignReason::Moved);
    }
}

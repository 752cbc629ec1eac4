//! One worker's engine: every input enters here and is led to the conference it concerns.
//!
//! Invariants: an endpoint is in `by_key` as long as it lives, in `by_ufrag` under each ufrag of ours that a check may
//! name, in `by_path` under each path that ICE has authenticated and not given up. Whoever takes an endpoint out takes it
//! out of all of them; a `Place` is never kept beyond that.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use slab::Slab;
use wire::datagram::{DatagramKind, classify};
use wire::messages::ids::ConferenceId;
use wire::messages::link::{EndpointEvent, Notice};
use wire::rtp::RtpView;
use wire::stun;

use super::cascade::PartBody;
use super::conference::Conference;
use super::control::Epochs;
use super::drop_reason::DropReason;
use super::effects::Effects;
use super::endpoint::Phase;
use super::ice::{CheckAnswer, CheckOutcome};
use super::ports::{
    ChannelEvent, EndpointKey, EngineSettings, HandshakeCommand, HandshakeReport, Output, Path,
};
use super::send_ring::SendRing;
use super::timers::Timer;

/// One worker's engine.
pub struct Bridge {
    pub(super) settings: EngineSettings,
    pub(super) conferences: Slab<Conference>,
    /// Conferences held now, by id.
    pub(super) by_id: HashMap<ConferenceId, usize>,
    /// Endpoints held now, by the key that the shell and the timers know.
    pub(super) by_key: HashMap<EndpointKey, Place>,
    /// Endpoints by our own ufrag: one each, two during an ICE restart.
    pub(super) by_ufrag: HashMap<String, Place>,
    /// Endpoints by authenticated 5-tuple. The one look-up of a media packet.
    /// Invariant: each valid path of an endpoint's ICE maps to that endpoint.
    by_path: HashMap<Path, Place>,
    pub(super) epochs: Epochs,
    pub(super) fx: Effects,
}

/// Where an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub conference: usize,
    pub endpoint: usize,
}

impl Bridge {
    /// An engine without conferences.
    pub fn new(settings: EngineSettings, now: Instant) -> Self {
        let fx = Effects::new(&settings, now);
        Self {
            settings,
            conferences: Slab::new(),
            by_id: HashMap::default(),
            by_key: HashMap::default(),
            by_ufrag: HashMap::default(),
            by_path: HashMap::default(),
            epochs: Epochs::default(),
            fx,
        }
    }

    /// Takes one received datagram. It is decrypted elsewhere and stays as it was.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, datagram: &mut [u8]) {
        let path = unmapped(path);
        match classify(datagram) {
            DatagramKind::Rtp => self.handle_rtp(now, path, datagram),
            DatagramKind::Rtcp => self.handle_rtcp(now, path, datagram),
            DatagramKind::Stun => self.handle_stun(now, path, datagram),
            DatagramKind::Dtls => self.handle_dtls(now, path, datagram),
            DatagramKind::Turn | DatagramKind::Unknown => self.fx.drop(DropReason::NotClassified),
        }
    }

    /// The hot path: one look-up by path, then the conference has the packet.
    fn handle_rtp(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        let Some(place) = self.by_path.get(&path).copied() else {
            return self.fx.drop(DropReason::UnknownSource);
        };
        let Ok(view) = RtpView::parse_protected(datagram) else {
            return self.fx.drop(DropReason::RtpMalformed);
        };
        let conference = &mut self.conferences[place.conference];
        if conference.handle_rtp(now, place.endpoint, &view, &mut self.fx) {
            self.note_sign_of_life(now, place, path);
        }
    }

    fn handle_rtcp(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        let Some(place) = self.by_path.get(&path).copied() else {
            return self.fx.drop(DropReason::UnknownSource);
        };
        let conference = &mut self.conferences[place.conference];
        if conference.handle_rtcp(now, place.endpoint, datagram, &mut self.fx) {
            self.note_sign_of_life(now, place, path);
        }
    }

    /// A packet on `path` was authentic: only that moves media to a new path (HOSTILE U13, U15).
    fn note_sign_of_life(&mut self, now: Instant, place: Place, path: Path) {
        let endpoint = &mut self.conferences[place.conference].endpoints[place.endpoint];
        if let Some(selected) = endpoint.ice.handle_authenticated_packet(now, path) {
            endpoint.down.path = Some(selected);
        }
    }

    /// RFC 8445, 7.3: a check names one of our ufrags, or it gets no answer.
    fn handle_stun(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        let Ok(message) = stun::Message::parse(datagram) else {
            return self.fx.drop(DropReason::StunMalformed);
        };
        if message.class() != stun::Class::Request {
            return self.fx.drop(DropReason::StunNotARequest);
        }
        let local = message.username().and_then(|username| username.split_once(':')).map(|(local, _)| local);
        let Some(place) = local.and_then(|local| self.by_ufrag.get(local)).copied() else {
            return self.fx.drop(DropReason::UnknownUfrag);
        };
        if self.is_taken(now, path, place) {
            return self.fx.drop(DropReason::PathTaken);
        }
        let endpoint = &mut self.conferences[place.conference].endpoints[place.endpoint];
        match endpoint.ice.handle_check(now, path, &message) {
            CheckOutcome::Answered(answer) => self.take_answer(place, path, &answer),
            CheckOutcome::Dropped(reason) => self.fx.drop(reason),
        }
    }

    /// Another endpoint was heard on this very path just now. Whoever forges a sender's address must not take its packets from it.
    fn is_taken(&self, now: Instant, path: Path, place: Place) -> bool {
        let Some(other) = self.by_path.get(&path).filter(|other| **other != place) else { return false };
        let endpoint = &self.conferences[other.conference].endpoints[other.endpoint];
        endpoint.ice.heard_at(path).is_some_and(|heard_at| now < heard_at + PATH_KEPT)
    }

    /// Sends a check's answer, and takes over what the check has changed.
    fn take_answer(&mut self, place: Place, path: Path, answer: &CheckAnswer) {
        if !self.fx.ring.push(path, &answer.reply) {
            self.fx.drop(DropReason::SendRingFull);
        }
        if let Some(evicted) = answer.evicted {
            self.unmap_path(place, evicted);
        }
        if let Some(retired) = &answer.retired_ufrag {
            self.by_ufrag.remove(retired);
            self.fx.counters.ice_restarts += 1;
        }
        if answer.is_new_path
            && let Some(before) = self.by_path.insert(path, place).filter(|before| *before != place)
        {
            // Whoever was silent here for so long has left this path; it may live on another, or come back to this one.
            let endpoint = &mut self.conferences[before.conference].endpoints[before.endpoint];
            endpoint.ice.forget_path(path);
            endpoint.down.path = endpoint.down.path.filter(|selected| *selected != path);
        }
        let endpoint = &mut self.conferences[place.conference].endpoints[place.endpoint];
        if let Some(selected) = answer.selected {
            endpoint.down.path = Some(selected);
        }
        if endpoint.phase == Phase::Waiting && endpoint.ice.is_validated(path) {
            endpoint.phase = Phase::Handshaking;
            self.fx.counters.ice_succeeded += 1;
            let start = HandshakeCommand::Start(endpoint.parameters.fingerprints.clone());
            self.fx.outputs.push_back(Output::Handshake(endpoint.key, start));
        }
    }

    /// Takes a path out of the index, unless it is another endpoint's.
    fn unmap_path(&mut self, place: Place, path: Path) {
        if self.by_path.get(&path) == Some(&place) {
            self.by_path.remove(&path);
        }
    }

    /// Only what comes on a path that ICE has authenticated gets near a handshake (HOSTILE U22).
    fn handle_dtls(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        let Some(place) = self.by_path.get(&path).copied() else {
            return self.fx.drop(DropReason::UnknownSource);
        };
        let endpoint = &mut self.conferences[place.conference].endpoints[place.endpoint];
        if !endpoint.handshake_allowance.take(now, 1) {
            return self.fx.drop(DropReason::DtlsUnexpected);
        }
        let command = HandshakeCommand::Datagram(datagram.to_vec());
        self.fx.outputs.push_back(Output::Handshake(endpoint.key, command));
    }

    /// Takes what the DTLS thread says about an endpoint.
    pub fn handle_handshake(&mut self, now: Instant, endpoint: EndpointKey, report: HandshakeReport) {
        let Some(place) = self.by_key.get(&endpoint).copied() else { return };
        let found = &mut self.conferences[place.conference].endpoints[place.endpoint];
        match report {
            HandshakeReport::Transmit(datagram) => {
                // Before a path is nominated, the handshake begins on the one that is valid.
                if let Some(path) = found.down.path.or_else(|| found.ice.paths().next())
                    && !self.fx.ring.push(path, &datagram)
                {
                    self.fx.drop(DropReason::SendRingFull);
                }
            }
            HandshakeReport::Connected { profile, keys } => {
                found.set_keys(profile, &keys);
                self.fx.timers.cancel(endpoint.0, Timer::Handshake);
                self.fx.timers.set(endpoint.0, Timer::Consent, found.ice.consent_deadline());
                self.notify(place, EndpointEvent::Connected);
                let conference = &mut self.conferences[place.conference];
                conference.begin_showing(now, place.endpoint, &mut self.fx);
            }
            HandshakeReport::Failed => {
                self.fx.counters.dtls_failed += 1;
                self.give_up(now, place, EndpointEvent::HandshakeFailed);
            }
            HandshakeReport::Closed => self.give_up(now, place, EndpointEvent::Closed),
        }
    }

    /// Takes what an endpoint's channel says.
    pub fn handle_channel(&mut self, now: Instant, endpoint: EndpointKey, event: ChannelEvent) {
        let Some(place) = self.by_key.get(&endpoint).copied() else { return };
        self.conferences[place.conference].handle_channel(now, place.endpoint, event, &mut self.fx);
    }

    /// Does what is due. Call it at `next_timeout`; calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((key, timer)) = self.fx.timers.pop_due(now) {
            let Some(place) = self.by_key.get(&EndpointKey(key)).copied() else { continue };
            let conference = &mut self.conferences[place.conference];
            let endpoint = &mut conference.endpoints[place.endpoint];
            endpoint.disarm(timer);
            match timer {
                Timer::Nack => conference.send_nacks(now, place.endpoint, &mut self.fx),
                Timer::TransportFeedback => {
                    endpoint.send_transport_feedback(now, &conference.sources, &mut self.fx);
                }
                Timer::Report => conference.send_reports(now, place.endpoint, &mut self.fx),
                Timer::Consent if !endpoint.ice.is_silent(now) => {
                    let deadline = endpoint.ice.consent_deadline();
                    self.fx.timers.set(key, Timer::Consent, deadline);
                }
                Timer::Consent => {
                    self.fx.counters.consents_lost += 1;
                    self.give_up(now, place, EndpointEvent::ConsentLost);
                }
                Timer::Handshake => {
                    let has_path = endpoint.phase != Phase::Waiting;
                    self.fx.counters.dtls_failed += u64::from(has_path);
                    self.fx.counters.ice_failed += u64::from(!has_path);
                    self.give_up(now, place, EndpointEvent::ConnectTimeout);
                }
            }
        }
    }

    /// The next instant at which something is due. A peek.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.fx.timers.next()
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.fx.outputs.pop_front()
    }

    /// Datagrams to send; drain and clear it after every `handle_*`.
    pub fn send_ring(&mut self) -> &mut SendRing {
        &mut self.fx.ring
    }

    /// Tells signaling what happened to an endpoint.
    fn notify(&mut self, place: Place, event: EndpointEvent) {
        let conference = &self.conferences[place.conference];
        let notice = Notice {
            conference: conference.id.clone(),
            epoch: conference.epoch,
            endpoint: conference.endpoints[place.endpoint].id.clone(),
            event,
        };
        self.fx.outputs.push_back(Output::Notice(notice));
    }

    /// Says why, then forgets the endpoint: in this order, because the notice names it.
    fn give_up(&mut self, now: Instant, place: Place, event: EndpointEvent) {
        self.notify(place, event);
        self.remove_endpoint(now, place);
    }

    /// Forgets an endpoint, and with the last one its conference.
    pub(super) fn remove_endpoint(&mut self, now: Instant, place: Place) {
        self.take_out(now, place);
        self.end_if_empty(now, place.conference);
    }

    /// Forgets an endpoint wherever it is known.
    pub(super) fn take_out(&mut self, now: Instant, place: Place) {
        let conference = &mut self.conferences[place.conference];
        let Some(endpoint) = conference.remove_endpoint(now, place.endpoint, &mut self.fx) else { return };
        self.by_key.remove(&endpoint.key);
        for ufrag in endpoint.ice.local_ufrags() {
            self.by_ufrag.remove(ufrag);
        }
        for path in endpoint.ice.paths() {
            self.unmap_path(place, path);
        }
        if endpoint.phase != Phase::Waiting {
            self.fx.outputs.push_back(Output::Handshake(endpoint.key, HandshakeCommand::Stop));
        }
        self.fx.outputs.push_back(Output::EndpointGone(endpoint.key));
    }

    /// A conference lives as long as its endpoints. Its epoch is remembered elsewhere.
    pub(super) fn end_if_empty(&mut self, now: Instant, place: usize) {
        let Some(conference) =
            self.conferences.get(place).filter(|conference| conference.endpoints.is_empty())
        else {
            return;
        };
        let is_last = conference.is_last_part();
        conference.leave_parts(PartBody::Bye, &mut self.fx);
        if is_last {
            self.count_completed(now, place);
        }
        self.forget_conference(now, place);
    }

    fn count_completed(&mut self, now: Instant, place: usize) {
        let lasted = now.saturating_duration_since(self.conferences[place].created);
        self.fx.counters.conferences_completed += 1;
        self.fx.counters.conference_seconds += lasted.as_secs();
    }

    fn forget_conference(&mut self, now: Instant, place: usize) {
        let conference = self.conferences.remove(place);
        self.epochs.renew(now, &conference.id, conference.epoch);
        self.by_id.remove(&conference.id);
    }

    /// Forgets a conference and everybody in it, without notices: signaling wanted it so.
    pub(super) fn end_conference(&mut self, now: Instant, id: &ConferenceId) {
        let Some(place) = self.by_id.get(id).copied() else { return };
        let endpoints: Vec<usize> =
            self.conferences[place].endpoints.iter().map(|(endpoint, _)| endpoint).collect();
        for endpoint in endpoints {
            self.take_out(now, Place { conference: place, endpoint });
        }
        // All parts are told to end at once: the one that stands for them counts.
        if self.conferences[place].end_parts(&mut self.fx) {
            self.count_completed(now, place);
        }
        self.forget_conference(now, place);
    }
}

/// The same path, an IPv4 address written as one.
fn unmapped(path: Path) -> Path {
    let remote = SocketAddr::new(path.remote.ip().to_canonical(), path.remote.port());
    let local: IpAddr = path.local.to_canonical();
    Path { remote, local }
}

/// RFC 7675, 5.1: a browser checks its path every 4 to 6 s. One not heard there for two checks has left it.
const PATH_KEPT: Duration = Duration::from_secs(12);

//! One light caller: a browser's transport and its manners, with counted packets where codecs would be.
//!
//! ```text
//! handle_datagram ─► STUN: ice ── connected ─► dtls ── keys ─► Protection
//!                    SRTP ─► Protection::open ─► Viewer        (arrival ─► ArrivalRecorder)
//!                    SRTCP ─► Protection::open ─► NACK, PLI, FIR ─► Publisher ─► Outgoing ─► Workspace.transmits
//! handle_timeout ──► ice, dtls, Publisher (media), Viewer (reports, requests), ArrivalRecorder (feedback), sender reports
//! ```
//!
//! Invariants: media is sent and opened only under keys of a certificate whose fingerprint the answer named; nothing that
//! is not authentic changes what is counted as media, but that a datagram with an index that came before counts as doubled
//! without being opened; nothing is sent after the hang-up or once consent has expired.

mod outgoing;
mod protection;
mod reports;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::datagram::{DatagramKind, classify};
use wire::messages::media::Fingerprint;
use wire::rtcp::ArrivalRecorder;
use wire::rtp::extensions::TransportSequence;
use wire::rtp::{RtpView, Ssrc};
use wire::srtp::SrtpError;

use self::outgoing::Outgoing;
use self::protection::Protection;
use super::counts::Counts;
use super::dtls::{Dtls, DtlsEvent, DtlsRole};
pub use super::dtls::{Identity, IdentityError};
use super::ice::{Draws, Ice, IceEvent};
use super::ports::{AnswerFacts, BadAnswer, CallerPlan, Note, Workspace};
use super::receive::Viewer;
use super::results::Results;
use super::sdp::{Description, read_answer, write_offer};
use super::send::Publisher;

/// One light caller.
pub struct Caller {
    plan: CallerPlan,
    identity: Arc<Identity>,
    /// The last instant it was told: results are taken and goodbyes said as of then.
    now: Instant,
    stage: Stage,
    ice: Ice,
    dtls: Dtls,
    /// Until the handshake begins.
    server: Option<(DtlsRole, Vec<Fingerprint>)>,
    protection: Option<Box<Protection>>,
    publisher: Publisher,
    outgoing: Outgoing,
    viewer: Viewer,
    opening: Opening,
    /// Of packets in slots, as the answer says.
    mid_id: Option<u8>,
    transport_cc_id: Option<u8>,
    arrivals: ArrivalRecorder,
    /// The stream heard last, for the feedback on the whole transport.
    heard: Ssrc,
    next_report: Option<Instant>,
    counts: Counts,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The answer is awaited.
    Offering,
    /// There is one.
    Answered,
    /// It has hung up, or its path has expired.
    Over,
}

/// Which packets are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    All,
    /// A caller that the scenario wants only counted: all until it has been joined for [`OPENED_FIRST`].
    Until(Option<Instant>),
    None,
}

impl Caller {
    /// A caller that has said nothing. `plan.receive` names both counts of slots; none counts as no slot.
    pub fn new(now: Instant, plan: CallerPlan, identity: Arc<Identity>) -> Self {
        let mut draws = Draws(plan.seed ^ u64::from(plan.number).rotate_left(32));
        let share = (draws.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let opening = if share < plan.receive.opened { Opening::All } else { Opening::Until(None) };
        Self {
            now,
            stage: Stage::Offering,
            ice: Ice::new(now, draws.next()),
            dtls: Dtls::new(Arc::clone(&identity)),
            server: None,
            protection: None,
            publisher: Publisher::new(&plan),
            outgoing: Outgoing::default(),
            viewer: Viewer::new(&plan),
            opening,
            mid_id: None,
            transport_cc_id: None,
            arrivals: ArrivalRecorder::new(now),
            heard: Ssrc(0),
            next_report: None,
            counts: Counts::default(),
            plan,
            identity,
        }
    }

    /// The offer, whole: no candidates follow it, because the server learns the path from its checks.
    pub fn offer(&self) -> String {
        write_offer(&self.description())
    }

    fn description(&self) -> Description<'_> {
        Description {
            number: self.plan.number,
            cname: self.publisher.cname(),
            ice: &self.ice.own,
            fingerprint: self.identity.fingerprint(),
            tracks: self.publisher.tracks().collect(),
            audio_slots: self.plan.receive.audio.unwrap_or(0),
            video_slots: self.plan.receive.video.unwrap_or(0),
        }
    }

    /// What the server answered, once. Checks begin with the next timeout.
    ///
    /// # Errors
    /// What is not SDP, what contradicts the offer, and a server that takes less than is sent; the caller is as before.
    pub fn handle_answer(&mut self, now: Instant, sdp: &str) -> Result<AnswerFacts, BadAnswer> {
        self.now = now;
        if self.stage != Stage::Offering {
            return Err(BadAnswer("there is an answer already".to_owned()));
        }
        let answer = read_answer(&self.description(), sdp)?;
        self.stage = Stage::Answered;
        // Invariant: an answer that was read names a candidate.
        if let Some(first) = answer.candidates.first() {
            self.ice.start(now, &answer.ice, *first);
        }
        self.server = Some((answer.role, answer.fingerprints));
        self.outgoing = Outgoing::new(self.publisher.tracks().zip(answer.tracks));
        self.viewer.take_slots(&answer.slots);
        (self.mid_id, self.transport_cc_id) = (answer.mid_id, answer.transport_cc_id);
        Ok(AnswerFacts { candidates: answer.candidates })
    }

    /// The shell sends to this candidate from now on; the first one until then.
    pub fn follow_candidate(&mut self, address: SocketAddr) {
        self.ice.follow(address);
    }

    /// Takes one datagram of the server's.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8], workspace: &mut Workspace) {
        self.now = now;
        if self.stage != Stage::Answered {
            return;
        }
        match classify(datagram) {
            DatagramKind::Rtp => self.handle_rtp(now, datagram, workspace),
            DatagramKind::Rtcp => self.handle_rtcp(now, datagram, workspace),
            DatagramKind::Stun => self.handle_stun(now, datagram, workspace),
            DatagramKind::Dtls => {
                self.start_dtls(now, workspace);
                let event = self.dtls.handle_datagram(now, datagram, &mut workspace.transmits);
                self.handle_dtls_event(now, event, workspace);
            }
            // The TURN client of the shell takes what is its own before it comes here.
            DatagramKind::Turn | DatagramKind::Unknown => {}
        }
    }

    fn handle_stun(&mut self, now: Instant, datagram: &[u8], workspace: &mut Workspace) {
        let event = self.ice.handle_datagram(now, datagram, &mut workspace.transmits);
        if self.ice.was_heard_at(now) {
            self.viewer.handle_sign_of_life(now);
            if let Some(round_trip) = self.ice.round_trip() {
                self.viewer.handle_round_trip(round_trip);
            }
        }
        if event == Some(IceEvent::Connected) {
            workspace.notes.push(Note::IceConnected);
            self.start_dtls(now, workspace);
        }
    }

    fn start_dtls(&mut self, now: Instant, workspace: &mut Workspace) {
        let Some((role, expected)) = self.server.take() else { return };
        let event = self.dtls.start(now, (role, expected), &mut workspace.transmits);
        self.handle_dtls_event(now, event, workspace);
    }

    fn handle_dtls_event(&mut self, now: Instant, event: Option<DtlsEvent>, workspace: &mut Workspace) {
        match event {
            Some(DtlsEvent::Connected(profile, keys)) => {
                self.protection = Some(Box::new(Protection::new(profile, &keys)));
                self.publisher.start(now);
                let phase = Draws(self.plan.seed).next() % 1_000;
                self.next_report = Some(now + Duration::from_millis(phase));
                if self.opening == Opening::Until(None) {
                    self.opening = Opening::Until(Some(now + OPENED_FIRST));
                }
                workspace.notes.push(Note::DtlsConnected);
            }
            Some(DtlsEvent::Failed(reason)) => workspace.notes.push(Note::DtlsFailed(reason)),
            None => {}
        }
    }

    fn handle_rtp(&mut self, now: Instant, datagram: &[u8], workspace: &mut Workspace) {
        if self.opening == Opening::None {
            self.count_unopened(now, datagram);
        } else if self.open_rtp(now, datagram, workspace).is_none() {
            self.counts.packets_strange += 1;
        }
    }

    /// None: it claims to be media and is not.
    fn open_rtp(&mut self, now: Instant, datagram: &[u8], workspace: &mut Workspace) -> Option<()> {
        let protection = self.protection.as_ref()?;
        let header = RtpView::parse_protected(datagram).ok()?;
        let key = self.viewer.stream(&header, self.mid_id)?;
        let plain = room(&mut workspace.plain, datagram.len());
        let header_len = header.header_len();
        let length = match protection.open_rtp(self.viewer.window(key), datagram, header_len, plain) {
            Ok(length) => length,
            Err(SrtpError::Replayed) => {
                self.viewer.handle_replayed(now, key, datagram.len());
                return Some(());
            }
            Err(_) => return None,
        };
        let packet = RtpView::parse(plain.get(..header_len + length)?).ok()?;
        self.note_arrival(now, &packet);
        self.viewer.handle_packet(now, key, (&packet, datagram.len()), &mut workspace.notes);
        Some(())
    }

    /// The server still has to learn what arrived, or it would send less.
    fn count_unopened(&mut self, now: Instant, datagram: &[u8]) {
        let Ok(header) = RtpView::parse_protected(datagram) else {
            self.counts.packets_strange += 1;
            return;
        };
        self.counts.packets_not_opened += 1;
        self.note_arrival(now, &header);
    }

    fn note_arrival(&mut self, now: Instant, packet: &RtpView<'_>) {
        let value = self.transport_cc_id.and_then(|id| packet.extension(id));
        if let Some(TransportSequence(sequence)) = value.and_then(TransportSequence::parse) {
            self.heard = packet.ssrc();
            self.arrivals.handle_packet(now, sequence);
        }
    }

    /// Does everything due.
    pub fn handle_timeout(&mut self, now: Instant, workspace: &mut Workspace) {
        self.now = now;
        if self.stage != Stage::Answered {
            return;
        }
        if self.ice.is_expired(now) {
            self.stage = Stage::Over;
            return;
        }
        if self.ice.handle_timeout(now, &mut workspace.transmits) == Some(IceEvent::Lost) {
            workspace.notes.push(Note::PathLost);
        }
        let event = self.dtls.handle_timeout(now, &mut workspace.transmits);
        self.handle_dtls_event(now, event, workspace);
        if let Opening::Until(Some(at)) = self.opening
            && at <= now
        {
            self.opening = Opening::None;
            self.viewer.take_slots(&[]);
        }
        self.send_media(now, workspace);
        self.send_reports(now, workspace);
    }

    fn send_media(&mut self, now: Instant, workspace: &mut Workspace) {
        let Self { protection: Some(protection), publisher, outgoing, counts, .. } = self else { return };
        if is_due(publisher.next_timeout(), now) {
            publisher.handle_timeout(now, &mut |packet| {
                outgoing.send(&packet, protection, &mut workspace.transmits, counts);
            });
        }
    }

    /// When [`Self::handle_timeout`] has something to do. Cheap: a peek at seven instants.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.stage != Stage::Answered {
            return None;
        }
        let mut first = earlier(self.ice.next_timeout(), self.dtls.next_timeout());
        if self.protection.is_some() {
            first = earlier(first, self.publisher.next_timeout());
            first = earlier(first, self.viewer.next_timeout());
            first = earlier(first, self.arrivals.next_timeout());
            first = earlier(first, self.next_report);
        }
        match self.opening {
            Opening::Until(at) => earlier(first, at),
            Opening::All | Opening::None => first,
        }
    }

    /// Adds what was counted since the last call, and forgets it.
    pub fn take_results(&mut self, results: &mut Results) {
        results.counts += std::mem::take(&mut self.counts);
        self.publisher.take_counts(&mut results.counts);
        self.viewer.take_results(self.now, results);
    }

    /// Ends as a browser ends a connection: with DTLS' close_notify, if there are keys. Nothing happens afterwards.
    pub fn hang_up(&mut self, workspace: &mut Workspace) {
        if self.stage == Stage::Answered {
            self.dtls.close(self.now, &mut workspace.transmits);
        }
        self.stage = Stage::Over;
    }
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { plan, stage, protection, .. } = self;
        let has_keys = protection.is_some();
        f.debug_struct("Caller")
            .field("number", &plan.number)
            .field("stage", stage)
            .field("has_keys", &has_keys)
            .finish()
    }
}

fn is_due(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| at <= now)
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Room for `length` bytes; grows once, to what no datagram of a path with an ordinary MTU exceeds.
fn room(plain: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if plain.len() < length {
        plain.resize(length.max(PLAIN_BYTES), 0);
    }
    plain
}

const PLAIN_BYTES: usize = 2048;

/// A counted caller opens everything for so long, so that its join is measured like everybody's.
const OPENED_FIRST: Duration = Duration::from_secs(5);

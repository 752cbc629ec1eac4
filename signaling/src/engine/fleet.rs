//! The bridges: who is there, how busy each is, which one gets the next conference.
//!
//! A bridge is **lost** when its link breaks or when it was silent for a second. A lost bridge's conferences move, with
//! one exception: when most bridges fall silent together, the fault is more likely ours than theirs, and nothing moves.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use wire::messages::ids::{BridgeId, ConferenceId};
use wire::messages::link::{Hello, Load, MEDIA_ADDRESSES_MAX};

use super::ports::{BridgeView, LinkFault, LinkId};
use super::secrets::Secrets;

/// What an endpoint adds to a bridge's stress until this fleet has shown it: a hundred endpoints fill a bridge.
const COST_DEFAULT: f64 = 0.01;
/// A measured cost outside these bounds is noise (an idle bridge) or a lie.
const COST_BOUNDS: (f64, f64) = (0.000_5, 0.1);
/// With fewer endpoints, a bridge's stress is mostly its idle load.
const COST_ENDPOINTS_MIN: u32 = 10;
/// Weight of the newest measurement of the cost.
const COST_WEIGHT: f64 = 0.1;
/// An endpoint assigned later than this before a report cannot be in its stress yet: its media has not started.
const SETTLING: Duration = Duration::from_secs(2);
/// Stress the same within this is the same: reports are rounded and a second old.
const NEARLY: f64 = 0.05;
/// Above this corrected stress a bridge is no longer preferred for its region or version.
const OVERLOADED: f64 = 0.8;
/// What a bridge cannot mean: not a number, negative, or beyond ten times full.
const STRESS_MAX: f64 = 10.0;
/// Part of the silence that is already suspicious: more than two heart-beats missed.
const OVERDUE: f64 = 0.6;
/// After this time others that are heard prove that our own link is well: suspects are lost after all.
const SUSPECT_TIME: Duration = Duration::from_secs(10);
/// Unanswered commands in a row after which a bridge is not given more.
const TIMEOUTS_MAX: u8 = 2;
/// After this time a bridge that did not answer is tried again: it may have been stuck for a moment only.
const TIMEOUTS_FORGOTTEN: Duration = Duration::from_secs(30);
/// Assignments closer together than this are remembered as one, so that a storm costs no memory.
const RECENT_STEP: Duration = Duration::from_millis(100);

/// One bridge that is connected.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) link: LinkId,
    pub(crate) hello: Hello,
    load: Option<Load>,
    heard: Instant,
    silence: Silence,
    /// What was assigned lately: when, and how many endpoints.
    recent: Vec<(Instant, u32)>,
    /// What it carries by our word: conference → endpoints.
    held: HashMap<ConferenceId, u32>,
    held_endpoints: u32,
    /// Conferences that were taken from it while it was silent; it may still serve them.
    pub(crate) fences: Vec<ConferenceId>,
    /// Commands in a row that it has not answered, and when the last of them was due.
    timeouts: u8,
    unanswered: Instant,
    /// It refused an endpoint for want of room; holds until its next report.
    is_full: bool,
}

/// What its silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// None.
    Heard,
    /// Most bridges are silent: perhaps it is us.
    Suspected(Instant),
    /// It is lost.
    Lost,
}

/// What came of a `hello`.
#[derive(Debug, Default)]
pub(crate) struct Welcome {
    /// An older link of the same process, to be closed.
    pub(crate) replaced: Option<LinkId>,
    /// What the same id carried before it restarted, to be assigned anew.
    pub(crate) displaced: Vec<ConferenceId>,
}

/// A silent bridge that is heard again.
#[derive(Debug)]
pub(crate) struct Back {
    pub(crate) bridge: BridgeId,
    /// What nobody else could take meanwhile.
    pub(crate) held: Vec<ConferenceId>,
}

/// What silence means.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The bridge is lost from now on, with this.
    pub(crate) lost: Option<Vec<ConferenceId>>,
    /// When to look again.
    pub(crate) again: Instant,
}

/// What a load report told about a bridge's fitness.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    Same,
    /// It can be given conferences now and could not before.
    Fit,
}

/// All bridges, by id and by link.
#[derive(Debug)]
pub(crate) struct Fleet {
    bridges: BTreeMap<BridgeId, Bridge>,
    links: HashMap<LinkId, BridgeId>,
    cost: f64,
    silence_max: Duration,
    version: String,
    region: Option<String>,
}

impl Fleet {
    /// No bridges yet. Of those to come, `version` and `region` are preferred.
    pub(crate) fn new(silence_max: Duration, version: String, region: Option<String>) -> Self {
        let (bridges, links) = (BTreeMap::new(), HashMap::new());
        Self { bridges, links, cost: COST_DEFAULT, silence_max, version, region }
    }

    /// A bridge introduces itself.
    pub(crate) fn handle_hello(
        &mut self,
        now: Instant,
        link: LinkId,
        hello: Hello,
    ) -> Result<Welcome, LinkFault> {
        if self.links.contains_key(&link) {
            return Err(LinkFault::SecondHello);
        }
        // A channel is dialled without TLS: the bridge is on the same network.
        if !hello.channel.starts_with("http://") {
            return Err(LinkFault::BadChannel);
        }
        // Relays open what is named here: a few addresses of hosts, and nothing that stands for many.
        if hello.media.len() > MEDIA_ADDRESSES_MAX || !hello.media.iter().all(is_of_one_host) {
            return Err(LinkFault::BadMedia);
        }
        let mut welcome = Welcome::default();
        let mut held = HashMap::new();
        if let Some(before) = self.bridges.remove(&hello.bridge) {
            let is_same_process = before.hello.boot == hello.boot;
            // An id that is in use by a living process: the newcomer is a stranger or a wrong setting.
            if !is_same_process && self.is_heard(&before, now) {
                self.bridges.insert(hello.bridge.clone(), before);
                return Err(LinkFault::IdInUse);
            }
            self.links.remove(&before.link);
            welcome.replaced = Some(before.link);
            if is_same_process {
                held = before.held;
            } else {
                welcome.displaced = before.held();
            }
        }
        self.links.insert(link, hello.bridge.clone());
        let bridge = Bridge::new(now, link, hello, held);
        self.bridges.insert(bridge.hello.bridge.clone(), bridge);
        Ok(welcome)
    }

    /// Anything came over `link`. `None`: the link has not said hello. `Some(Some(_))`: its bridge was silent before.
    pub(crate) fn handle_sign_of_life(&mut self, now: Instant, link: LinkId) -> Option<Option<Back>> {
        let bridge = self.bridges.get_mut(self.links.get(&link)?)?;
        bridge.heard = now;
        if std::mem::replace(&mut bridge.silence, Silence::Heard) == Silence::Heard {
            return Some(None);
        }
        Some(Some(Back { bridge: bridge.hello.bridge.clone(), held: bridge.held() }))
    }

    /// A load report. Numbers that cannot be true count as overload.
    pub(crate) fn handle_load(&mut self, now: Instant, link: LinkId, load: Load) -> News {
        let Some(bridge) = self.links.get(&link).and_then(|id| self.bridges.get_mut(id)) else {
            return News::Same;
        };
        let was_fit = bridge.is_fit();
        let stress = if (0.0..=STRESS_MAX).contains(&load.stress) { load.stress } else { STRESS_MAX };
        bridge.load = Some(Load { stress, ..load });
        bridge.is_full = false;
        if now.saturating_duration_since(bridge.unanswered) >= TIMEOUTS_FORGOTTEN {
            bridge.timeouts = 0;
        }
        bridge.recent.retain(|(at, _)| now.saturating_duration_since(*at) < SETTLING);
        if load.endpoints >= COST_ENDPOINTS_MIN && stress < STRESS_MAX {
            let measured = (stress / f64::from(load.endpoints)).clamp(COST_BOUNDS.0, COST_BOUNDS.1);
            self.cost += COST_WEIGHT * (measured - self.cost);
        }
        if !was_fit && bridge.is_fit() { News::Fit } else { News::Same }
    }

    /// The link broke: its bridge is lost at once. Returns the bridge as it was.
    pub(crate) fn handle_link_closed(&mut self, link: LinkId) -> Option<(BridgeId, Vec<ConferenceId>)> {
        let id = self.links.remove(&link)?;
        let bridge = self.bridges.remove(&id)?;
        Some((id, bridge.held()))
    }

    /// Judges a bridge's silence. Alone, it is lost after a second; with most of the others, only when time and those
    /// that are heard have proven that it is not our own link.
    pub(crate) fn judge_silence(&mut self, now: Instant, id: &BridgeId) -> Verdict {
        let silence_max = self.silence_max;
        let is_overdue =
            |other: &Bridge| now.saturating_duration_since(other.heard) >= silence_max.mul_f64(OVERDUE);
        let silent = self.bridges.values().filter(|other| is_overdue(other)).count();
        let (total, is_most) = (self.bridges.len(), silent > 1 && silent * 2 > self.bridges.len());
        let again = now + silence_max;
        let Some(bridge) = self.bridges.get_mut(id) else { return Verdict { lost: None, again } };
        let due = bridge.heard + silence_max;
        if now < due {
            return Verdict { lost: None, again: due };
        }
        let is_lost = match bridge.silence {
            Silence::Lost => false,
            Silence::Heard => !is_most,
            Silence::Suspected(since) => {
                !is_most || (silent < total && now.saturating_duration_since(since) >= SUSPECT_TIME)
            }
        };
        if is_lost {
            bridge.silence = Silence::Lost;
        } else if bridge.silence == Silence::Heard {
            bridge.silence = Silence::Suspected(now);
        }
        let lost = is_lost.then(|| bridge.held());
        Verdict { lost, again }
    }

    /// We ourselves stood still until `now`: nobody's silence up to here says anything.
    pub(crate) fn forgive_silence(&mut self, now: Instant) {
        for bridge in self.bridges.values_mut().filter(|bridge| bridge.silence == Silence::Heard) {
            bridge.heard = now;
        }
    }

    /// The bridge for the next conference: of our version and region where such are not overloaded, then the least
    /// loaded. Among near-equals two are drawn and the one with fewer endpoints wins, so that a burst does not fall on
    /// one bridge while its report is on its way.
    pub(crate) fn pick(&self, secrets: &mut Secrets, except: Option<&BridgeId>) -> Option<BridgeId> {
        let mut fit: Vec<&Bridge> = self
            .bridges
            .values()
            .filter(|bridge| bridge.is_fit() && Some(&bridge.hello.bridge) != except)
            .collect();
        self.prefer(&mut fit, |bridge| bridge.hello.version == self.version);
        self.prefer(&mut fit, |bridge| self.region.is_some() && bridge.hello.region == self.region);
        let least = fit.iter().map(|bridge| bridge.corrected_stress(self.cost)).reduce(f64::min)?;
        fit.retain(|bridge| bridge.corrected_stress(self.cost) <= least + NEARLY);
        let one = fit.swap_remove(secrets.below(fit.len()));
        if fit.is_empty() {
            return Some(one.hello.bridge.clone());
        }
        let two = fit[secrets.below(fit.len())];
        let key = |bridge: &Bridge| (bridge.held_endpoints, bridge.held.len());
        let chosen = if key(two) < key(one) { two } else { one };
        Some(chosen.hello.bridge.clone())
    }

    /// Keeps those that `wanted` names, if one of them can take more.
    fn prefer(&self, fit: &mut Vec<&Bridge>, wanted: impl Fn(&Bridge) -> bool) {
        if fit.iter().any(|bridge| wanted(bridge) && bridge.corrected_stress(self.cost) < OVERLOADED) {
            fit.retain(|bridge| wanted(bridge));
        }
    }

    /// `id` carries `conference` with this many endpoints from now on.
    pub(crate) fn note_size(
        &mut self,
        now: Instant,
        id: &BridgeId,
        conference: &ConferenceId,
        endpoints: u32,
    ) {
        let Some(bridge) = self.bridges.get_mut(id) else { return };
        let before = bridge.held.insert(conference.clone(), endpoints).unwrap_or(0);
        bridge.held_endpoints = bridge.held_endpoints - before + endpoints;
        let added = endpoints.saturating_sub(before);
        match bridge.recent.last_mut() {
            _ if added == 0 => {}
            Some((at, count)) if now.saturating_duration_since(*at) < RECENT_STEP => *count += added,
            _ => bridge.recent.push((now, added)),
        }
    }

    /// `id` does not carry `conference` any more.
    pub(crate) fn note_released(&mut self, id: &BridgeId, conference: &ConferenceId) {
        let Some(bridge) = self.bridges.get_mut(id) else { return };
        bridge.held_endpoints -= bridge.held.remove(conference).unwrap_or(0);
    }

    /// `id` refused for want of room.
    pub(crate) fn note_full(&mut self, id: &BridgeId) {
        if let Some(bridge) = self.bridges.get_mut(id) {
            bridge.is_full = true;
        }
    }

    /// `id` has answered a command.
    pub(crate) fn note_answered(&mut self, id: &BridgeId) {
        if let Some(bridge) = self.bridges.get_mut(id) {
            bridge.timeouts = 0;
        }
    }

    /// `id` has not answered a command in time.
    pub(crate) fn note_unanswered(&mut self, now: Instant, id: &BridgeId) {
        if let Some(bridge) = self.bridges.get_mut(id) {
            bridge.timeouts = bridge.timeouts.saturating_add(1);
            bridge.unanswered = now;
        }
    }

    /// The bridge behind a link.
    pub(crate) fn by_link(&self, link: LinkId) -> Option<&Bridge> {
        self.bridges.get(self.links.get(&link)?)
    }

    /// A connected bridge, silent or not.
    pub(crate) fn bridge(&self, id: &BridgeId) -> Option<&Bridge> {
        self.bridges.get(id)
    }

    /// The same, to change.
    pub(crate) fn bridge_mut(&mut self, id: &BridgeId) -> Option<&mut Bridge> {
        self.bridges.get_mut(id)
    }

    /// Bridges that can be given conferences.
    pub(crate) fn fit(&self) -> usize {
        self.bridges.values().filter(|bridge| bridge.is_fit()).count()
    }

    /// Everything for operators, by id.
    pub(crate) fn views(&self) -> Vec<BridgeView> {
        self.bridges.values().map(|bridge| bridge.view(self.cost)).collect()
    }

    fn is_heard(&self, bridge: &Bridge, now: Instant) -> bool {
        now.saturating_duration_since(bridge.heard) < self.silence_max
    }
}

impl Bridge {
    fn new(now: Instant, link: LinkId, hello: Hello, held: HashMap<ConferenceId, u32>) -> Self {
        Self {
            link,
            hello,
            load: None,
            heard: now,
            silence: Silence::Heard,
            recent: Vec::new(),
            held_endpoints: held.values().sum(),
            held,
            fences: Vec::new(),
            timeouts: 0,
            unanswered: now,
            is_full: false,
        }
    }

    /// Can it be given a conference? Not before its first report: it may be draining.
    fn is_fit(&self) -> bool {
        let Some(load) = self.load else { return false };
        self.silence == Silence::Heard
            && !load.draining
            && !self.is_full
            && self.timeouts < TIMEOUTS_MAX
            && load.endpoints.max(self.held_endpoints) < self.hello.endpoints_max
    }

    /// Is it connected and heard? Then commands for what it carries reach it.
    pub(crate) fn is_reachable(&self) -> bool {
        self.silence != Silence::Lost
    }

    /// What it carries, in a fixed order.
    fn held(&self) -> Vec<ConferenceId> {
        let mut held: Vec<ConferenceId> = self.held.keys().cloned().collect();
        held.sort();
        held
    }

    fn corrected_stress(&self, cost: f64) -> f64 {
        let recent: u32 = self.recent.iter().map(|(_, endpoints)| endpoints).sum();
        self.load.map_or(0.0, |load| load.stress) + cost * f64::from(recent)
    }

    fn view(&self, cost: f64) -> BridgeView {
        let load = self.load.unwrap_or_default();
        let state = match (self.silence, self.load) {
            (Silence::Lost | Silence::Suspected(_), _) => "silent",
            (_, None) => "starting",
            (_, Some(load)) if load.draining => "draining",
            _ => "operational",
        };
        BridgeView {
            id: self.hello.bridge.to_string(),
            region: self.hello.region.clone(),
            version: self.hello.version.clone(),
            stress: load.stress,
            corrected_stress: self.corrected_stress(cost),
            state,
            conferences: load.conferences,
            endpoints: load.endpoints,
            media: self.hello.media.clone(),
        }
    }
}

/// Can packets to this address arrive at one host, whatever IPv6 makes of it?
fn is_of_one_host(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

//! Ranges: what is a valid type and still cannot be run.

use super::{
    Camera, Entry, Group, Kind, Link, MediaPath, PerConference, Scenario, Screen, Thresholds, Voice,
};

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its key, such as `groups[1].voice.speaks`.
    pub key: String,
    /// Why, one line.
    pub reason: String,
}

impl Scenario {
    /// Whether it can be run.
    ///
    /// # Errors
    /// The first value that is out of its range.
    pub fn check(&self) -> Result<(), Refusal> {
        range("conferences", f64::from(self.conferences), 1.0, CONFERENCES_MAX)?;
        range("duration_s", self.duration_s, 1.0, DAY_S)?;
        range("warm_up_s", self.warm_up_s, 0.0, DAY_S)?;
        joins_per_s("joins_per_s", self.joins_per_s)?;
        range("join_timeout_s", self.join_timeout_s, 1.0, JOIN_TIMEOUT_S_MAX)?;
        self.check_target()?;
        require(!self.groups.is_empty(), "groups", "at least one group of callers is needed")?;
        require(self.groups.len() <= GROUPS_MAX, "groups", &format!("at most {GROUPS_MAX}"))?;
        for (index, group) in self.groups.iter().enumerate() {
            group.check(&format!("groups[{index}]"), self)?;
        }
        require(self.callers() <= CALLERS_MAX, "groups", &format!("more than {CALLERS_MAX} callers"))?;
        if let Some(churn) = &self.churn {
            range("churn.per_minute_percent", churn.per_minute_percent, 0.0, CHURN_PERCENT_MAX)?;
            range("churn.pause_s", churn.pause_s, 0.0, DAY_S)?;
        }
        for (index, hook) in self.hooks.iter().enumerate() {
            range(&format!("hooks[{index}].at_s"), hook.at_s, 0.0, self.duration_s)?;
            require(!hook.command.trim().is_empty(), &format!("hooks[{index}].command"), "is empty")?;
        }
        self.thresholds.check()
    }

    fn check_target(&self) -> Result<(), Refusal> {
        let target = &self.target;
        require(is_http(&target.url), "target.url", "must begin with http:// or https://")?;
        for (index, url) in target.stats.iter().enumerate() {
            require(is_http(url), &format!("target.stats[{index}]"), "must begin with http:// or https://")?;
        }
        if target.entry == Entry::WhipWhep {
            for (key, path) in [("target.whip", &target.whip), ("target.whep", &target.whep)] {
                let leads_somewhere = path.starts_with('/') || is_http(path);
                require(leads_somewhere, key, "must begin with /, http:// or https://")?;
            }
        }
        if let Some(turn) = &target.turn {
            require(turn.address.contains(':'), "target.turn.address", "must be host:port")?;
            let has_long_term = !turn.username.is_empty() && !turn.password.is_empty();
            let says_how = has_long_term == turn.secret.is_empty();
            require(says_how, "target.turn", "needs either username and password, or secret")?;
        }
        if let Some(poll) = &target.poll {
            require(is_http(&poll.url), "target.poll.url", "must begin with http:// or https://")?;
            range("target.poll.interval_s", poll.interval_s, 0.05, DAY_S)?;
            range("target.poll.callers", f64::from(poll.callers), 1.0, f64::from(CALLERS_MAX))?;
        }
        Ok(())
    }
}

impl Group {
    fn check(&self, key: &str, scenario: &Scenario) -> Result<(), Refusal> {
        let at = |field: &str| format!("{key}.{field}");
        require(!self.name.trim().is_empty(), &at("name"), "is empty")?;
        let is_twin = |other: &Self| other.name == self.name && !std::ptr::eq(other, self);
        require(!scenario.groups.iter().any(is_twin), &at("name"), "another group has this name")?;
        if let PerConference::Each(each) = &self.per_conference {
            require(!each.is_empty(), &at("per_conference"), "is an empty list")?;
        }
        range(&at("join_after_s"), self.join_after_s, 0.0, DAY_S)?;
        if let Some(rate) = self.joins_per_s {
            joins_per_s(&at("joins_per_s"), rate)?;
        }
        range(&at("chat_per_minute"), self.chat_per_minute, 0.0, CHAT_PER_MINUTE_MAX)?;
        range(&at("receive.opened"), self.receive.opened, 0.0, 1.0)?;
        for (field, slots) in [("receive.audio", self.receive.audio), ("receive.video", self.receive.video)] {
            require(
                slots.is_none_or(|slots| slots <= SLOTS_MAX),
                &at(field),
                &format!("at most {SLOTS_MAX}"),
            )?;
        }
        if let Some(voice) = &self.voice {
            voice.check(&at("voice"))?;
        }
        if let Some(camera) = &self.camera {
            camera.check(&at("camera"))?;
        }
        if let Some(screen) = &self.screen {
            screen.check(&at("screen"))?;
        }
        if let Some(link) = &self.link {
            link.check(&at("link"))?;
        }
        self.check_kind(key)?;
        let knows_relay = scenario.target.turn.is_some() || scenario.target.entry == Entry::Meeting;
        let can_go = self.path == MediaPath::Direct || knows_relay;
        require(can_go, &at("path"), "a relay is needed: set target.turn")
    }

    /// Full callers go where the `webrtc` crate goes.
    fn check_kind(&self, key: &str) -> Result<(), Refusal> {
        if self.kind == Kind::Light {
            return Ok(());
        }
        let is_plain = self.link.as_ref().is_none_or(|link| *link == Link::default());
        require(is_plain, &format!("{key}.link"), "full callers have none: use kind = \"light\"")?;
        let is_udp = matches!(self.path, MediaPath::Direct | MediaPath::RelayUdp);
        let path = format!("{key}.path");
        require(is_udp, &path, "full callers speak to relays over UDP only: use kind = \"light\"")
    }
}

impl Voice {
    fn check(&self, key: &str) -> Result<(), Refusal> {
        range(&format!("{key}.rate_kbps"), f64::from(self.rate_kbps), 6.0, 510.0)?;
        let is_opus = [10, 20, 40, 60].contains(&self.packet_ms);
        require(is_opus, &format!("{key}.packet_ms"), "must be 10, 20, 40 or 60")?;
        range(&format!("{key}.speaks"), self.speaks, 0.0, 1.0)
    }
}

impl Camera {
    fn check(&self, key: &str) -> Result<(), Refusal> {
        let count = self.layers.len();
        require((1..=3).contains(&count), &format!("{key}.layers"), "needs one to three layers")?;
        for (index, layer) in self.layers.iter().enumerate() {
            let at = |field: &str| format!("{key}.layers[{index}].{field}");
            range(&at("height"), f64::from(layer.height), 16.0, 4320.0)?;
            range(&at("rate_kbps"), f64::from(layer.rate_kbps), 10.0, 50_000.0)?;
            range(&at("frames_per_s"), layer.frames_per_s, 1.0, 120.0)?;
            let is_larger = index == 0 || self.layers[index - 1].height < layer.height;
            require(is_larger, &at("height"), "layers go from the smallest to the largest")?;
        }
        range(&format!("{key}.key_frame_interval_s"), self.key_frame_interval_s, 0.0, DAY_S)?;
        range(&format!("{key}.key_frame_size"), self.key_frame_size, 1.0, 100.0)?;
        range(&format!("{key}.size_jitter"), self.size_jitter, 0.0, 1.0)
    }
}

impl Screen {
    fn check(&self, key: &str) -> Result<(), Refusal> {
        range(&format!("{key}.page_bytes"), f64::from(self.page_bytes), 1_000.0, 5_000_000.0)?;
        range(&format!("{key}.page_interval_s"), self.page_interval_s, 0.1, DAY_S)?;
        range(&format!("{key}.frames_per_s"), self.frames_per_s, 0.1, 60.0)?;
        range(&format!("{key}.change_bytes"), f64::from(self.change_bytes), 50.0, 1_000_000.0)
    }
}

impl Link {
    fn check(&self, key: &str) -> Result<(), Refusal> {
        for (field, share) in [("loss", self.loss), ("reorder", self.reorder), ("duplicate", self.duplicate)]
        {
            range(&format!("{key}.{field}"), share, 0.0, 1.0)?;
        }
        range(&format!("{key}.loss_burst"), self.loss_burst, 0.0, 1_000.0)?;
        for (field, ms) in
            [("delay_ms", self.delay_ms), ("jitter_ms", self.jitter_ms), ("queue_ms", self.queue_ms)]
        {
            range(&format!("{key}.{field}"), ms, 0.0, LINK_MS_MAX)?;
        }
        let has_room = self.rate_kbps == 0 || self.queue_ms > 0.0;
        let key = format!("{key}.queue_ms");
        require(
            has_room,
            &key,
            "a link with a rate needs a queue: without one, every burst is lost but its first datagram",
        )
    }
}

impl Thresholds {
    fn check(&self) -> Result<(), Refusal> {
        let shares = [
            ("failed_joins_max", self.failed_joins_max),
            ("loss_max", self.loss_max),
            ("frozen_max", self.frozen_max),
            ("busy_max", self.busy_max),
        ];
        let times = [("join_p95_ms_max", self.join_p95_ms_max), ("delay_p99_ms_max", self.delay_p99_ms_max)];
        for (key, share) in shares {
            range(&format!("thresholds.{key}"), share.unwrap_or(0.0), 0.0, 1.0)?;
        }
        for (key, time) in times {
            range(&format!("thresholds.{key}"), time.unwrap_or(0.0), 0.0, DAY_S * 1_000.0)?;
        }
        Ok(())
    }
}

fn is_http(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
}

fn require(holds: bool, key: &str, reason: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal { key: key.to_owned(), reason: reason.to_owned() }) }
}

/// Also refuses what is no number.
fn range(key: &str, value: f64, least: f64, most: f64) -> Result<(), Refusal> {
    let reason = format!("must be between {least} and {most}, is {value}");
    require((least..=most).contains(&value), key, &reason)
}

/// All at once, or at a rate that lets somebody come today.
fn joins_per_s(key: &str, rate: f64) -> Result<(), Refusal> {
    if rate == 0.0 { Ok(()) } else { range(key, rate, RATE_MIN, RATE_MAX) }
}

/// A longer run is a monitoring job.
const DAY_S: f64 = 86_400.0;
/// Waits are recorded up to ten minutes.
const JOIN_TIMEOUT_S_MAX: f64 = 600.0;
/// More joins a second than any signaling answers.
const RATE_MAX: f64 = 100_000.0;
/// One in a quarter of an hour; a thousandth of a join is a typing error.
const RATE_MIN: f64 = 0.001;
/// Ports of one address are what one machine's callers share; more callers take more machines.
const CALLERS_MAX: u32 = 60_000;
/// A conference has at least one caller.
const CONFERENCES_MAX: f64 = CALLERS_MAX as f64;
/// A report has a line for each.
const GROUPS_MAX: usize = 32;
/// Everybody, once a second.
const CHURN_PERCENT_MAX: f64 = 6_000.0;
/// Ten a second: nobody types faster.
const CHAT_PER_MINUTE_MAX: f64 = 600.0;
/// More m-lines than any server answers.
const SLOTS_MAX: usize = 100;
/// Ten seconds: a link so slow is a dead one to a browser.
const LINK_MS_MAX: f64 = 10_000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Hook, TurnServer};

    fn refused(change: impl FnOnce(&mut Scenario)) -> Option<String> {
        let mut scenario = Scenario {
            groups: vec![Group {
                voice: Some(Voice::default()),
                camera: Some(Camera::default()),
                screen: Some(Screen::default()),
                ..Group::default()
            }],
            ..Scenario::default()
        };
        change(&mut scenario);
        scenario.check().err().map(|refusal| refusal.key)
    }

    #[test]
    fn defaults_can_be_run() {
        assert_eq!(refused(|_| {}), None);
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let group = |change: fn(&mut Group)| refused(|scenario| change(&mut scenario.groups[0]));
        assert_eq!(refused(|scenario| scenario.duration_s = f64::NAN).unwrap(), "duration_s");
        assert_eq!(refused(|scenario| scenario.groups.clear()).unwrap(), "groups");
        assert_eq!(refused(|scenario| scenario.conferences = 60_001).unwrap(), "conferences");
        assert_eq!(refused(|scenario| scenario.target.url = "localhost".to_owned()).unwrap(), "target.url");
        assert_eq!(
            group(|group| group.voice.as_mut().unwrap().packet_ms = 25).unwrap(),
            "groups[0].voice.packet_ms"
        );
        assert_eq!(
            group(|group| group.camera.as_mut().unwrap().layers.clear()).unwrap(),
            "groups[0].camera.layers"
        );
        let upside_down = group(|group| group.camera.as_mut().unwrap().layers.reverse());
        assert_eq!(upside_down.unwrap(), "groups[0].camera.layers[1].height");
        let twins = refused(|scenario| scenario.groups.push(scenario.groups[0].clone()));
        assert_eq!(twins.unwrap(), "groups[0].name");
    }

    #[test]
    fn a_hook_lies_within_what_is_measured() {
        let late = Hook { at_s: 21.0, command: "true".to_owned() };
        assert_eq!(refused(|scenario| scenario.hooks.push(late)).unwrap(), "hooks[0].at_s");
    }

    #[test]
    fn a_link_with_a_rate_needs_a_queue() {
        let link = |rate_kbps, queue_ms| {
            let link = Link { rate_kbps, queue_ms, ..Link::default() };
            refused(|scenario| scenario.groups[0].link = Some(link))
        };
        assert_eq!(link(3_000, 0.0).unwrap(), "groups[0].link.queue_ms");
        assert_eq!((link(3_000, 200.0), link(0, 0.0)), (None, None));
    }

    #[test]
    fn full_callers_are_refused_where_their_library_does_not_go() {
        let full = |link: Option<Link>, path| {
            refused(|scenario| {
                let group = &mut scenario.groups[0];
                (group.kind, group.link, group.path) = (Kind::Full, link, path);
            })
        };
        let slow = Link { delay_ms: 20.0, ..Link::default() };
        assert_eq!(full(Some(slow), MediaPath::Direct).unwrap(), "groups[0].link");
        for path in [MediaPath::RelayTcp, MediaPath::RelayTls] {
            assert_eq!(full(None, path).unwrap(), "groups[0].path");
        }
        assert_eq!(
            (full(None, MediaPath::RelayUdp), full(Some(Link::default()), MediaPath::Direct)),
            (None, None)
        );
    }

    #[test]
    fn a_rate_at_which_nobody_comes_before_tomorrow_is_refused() {
        for rate in [1e-30, 1e-4, f64::NAN, -1.0] {
            assert_eq!(refused(|scenario| scenario.joins_per_s = rate).unwrap(), "joins_per_s", "{rate}");
            let own = refused(|scenario| scenario.groups[0].joins_per_s = Some(rate));
            assert_eq!(own.unwrap(), "groups[0].joins_per_s", "{rate}");
        }
        assert_eq!(refused(|scenario| scenario.joins_per_s = 0.0), None, "all at once");
    }

    #[test]
    fn whip_and_whep_may_be_paths_or_whole_urls() {
        let whip = |path: &str| {
            refused(|scenario| {
                scenario.target.entry = Entry::WhipWhep;
                scenario.target.whip = path.to_owned();
            })
        };
        assert_eq!((whip("/live/{conference}"), whip("https://in.example/{conference}")), (None, None));
        assert_eq!(whip("live").unwrap(), "target.whip");
    }

    #[test]
    fn a_relay_needs_one_kind_of_credentials() {
        let both = TurnServer {
            address: "127.0.0.1:3478".to_owned(),
            username: "u".to_owned(),
            password: "p".to_owned(),
            secret: "s".to_owned(),
            ..TurnServer::default()
        };
        let neither = TurnServer { address: "127.0.0.1:3478".to_owned(), ..TurnServer::default() };
        for turn in [both, neither] {
            assert_eq!(refused(|scenario| scenario.target.turn = Some(turn)).unwrap(), "target.turn");
        }
    }

    #[test]
    fn more_callers_than_a_machine_has_ports_are_refused() {
        let crowd = |scenario: &mut Scenario| {
            scenario.conferences = 1_000;
            scenario.groups[0].per_conference = PerConference::Same(100);
        };
        assert_eq!(refused(crowd).unwrap(), "groups");
    }
}

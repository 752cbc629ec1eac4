//! The course of one run: callers join, media warms up, a part is measured, everybody leaves, numbers settle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::callers::{Callers, awaits_pictures};
use super::company::Company;
use super::hooks::Hooks;
use super::meter::Meter;
use super::progress::{Phase, Progress};
use super::schedule::Arrival;
use super::servers::Servers;
use super::tally::{Sample, Tally};
use crate::control::{Control, Standing};
use crate::outcome::{End, Second, Span};
use crate::scenario::{Entry, Scenario};

/// A run that goes on.
pub(super) struct Conduct<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) control: Arc<Control>,
    pub(super) start: Instant,
    pub(super) callers: Callers,
    pub(super) servers: Servers,
    pub(super) tally: Tally,
    pub(super) meter: Meter,
    /// For light callers' media.
    pub(super) threads: usize,
    pub(super) progress: Progress,
    pub(super) hooks: Hooks,
    pub(super) company: Company,
    pub(super) stop: Option<watch::Receiver<bool>>,
    pub(super) sampled: Instant,
    /// Reasons of failed joins that a person has read.
    pub(super) told: BTreeSet<String>,
    pub(super) hopes: Hopes,
    /// Since when nobody was up, or nobody received anything.
    pub(super) silent_since: Option<Instant>,
    /// The servers went away while callers were there.
    pub(super) is_target_gone: bool,
}

/// What silence is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hopes {
    /// Somebody comes at all.
    has_callers: bool,
    /// Somebody is sent pictures. Voices may be silent, and who only sends hears nothing anyway.
    has_pictures: bool,
}

impl Hopes {
    pub(super) fn new(scenario: &Scenario, arrivals: &[Arrival]) -> Self {
        let has_media = scenario.target.entry != Entry::Signaling;
        let has_pictures = arrivals.iter().any(|arrival| awaits_pictures(scenario, *arrival));
        Self { has_callers: !arrivals.is_empty(), has_pictures: has_media && has_pictures }
    }
}

/// What ends a stretch of the run before its time.
enum Turn {
    /// It need not go on: everybody is in.
    Settled,
    /// The run is over.
    Ended(End),
}

impl Conduct<'_> {
    /// From the first join to the last instant that counts; how it ended, and which part was measured.
    pub(super) async fn course(&mut self, arrivals: &[Arrival]) -> (End, Span) {
        self.callers.enter(arrivals, self.start);
        if let Some(end) = self.gather(arrivals).await {
            return (end, Span::default());
        }
        self.measure_all().await
    }

    /// Callers join and media gets going. An end, when the run is over before it was measured.
    async fn gather(&mut self, arrivals: &[Arrival]) -> Option<End> {
        let last = arrivals.last().map_or(Duration::ZERO, |arrival| arrival.at);
        let patience = Duration::from_secs_f64(self.scenario.join_timeout_s) + JOIN_ROOM;
        let everybody = arrivals.len() as u64;
        let joined = self.pass(Phase::Joining, self.start + last + patience, Some(everybody)).await;
        if let Some(Turn::Ended(end)) = joined {
            return Some(end);
        }
        let standing = self.callers.standing();
        // Waiting alone is no failure, but nothing can be measured when all do.
        if everybody > 0 && standing.up == 0 {
            let why = self.nobody_is_up(&standing).await;
            return Some(self.failed(why));
        }
        self.company.settled();
        if let Err(end) = self.wait_for_company().await {
            return Some(end);
        }
        let warm = Instant::now() + Duration::from_secs_f64(self.scenario.warm_up_s);
        match self.pass(Phase::WarmingUp, warm, None).await {
            Some(Turn::Ended(end)) => Some(end),
            Some(Turn::Settled) | None => None,
        }
    }

    /// Other machines of the run may still have callers on their way.
    async fn wait_for_company(&mut self) -> Result<(), End> {
        let give_up = Instant::now() + COMPANY_PATIENCE;
        while !self.company.may_measure() && Instant::now() < give_up {
            let next = Instant::now() + SECOND;
            if let Some(Turn::Ended(end)) = self.pass(Phase::Joining, next, None).await {
                return Err(end);
            }
        }
        Ok(())
    }

    /// The measured part, with its hooks.
    async fn measure_all(&mut self) -> (End, Span) {
        self.callers.measure();
        let begin = self.sampled;
        let from_s = self.seconds(begin);
        let end = begin + Duration::from_secs_f64(self.scenario.duration_s);
        let mut hooks = self.scenario.hooks.clone();
        hooks.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
        let phase = Phase::Measuring(from_s, self.scenario.duration_s);
        for hook in &hooks {
            let at = (begin + Duration::from_secs_f64(hook.at_s)).min(end);
            if let Some(Turn::Ended(over)) = self.pass(phase, at, None).await {
                return (over, Span { from_s, to_s: self.seconds(self.sampled) });
            }
            if let Err(line) = self.hooks.start(hook) {
                self.progress.tell(&line);
            }
        }
        let over = self.pass(phase, end, None).await;
        let span = Span { from_s, to_s: self.seconds(self.sampled) };
        match over {
            Some(Turn::Ended(over)) => (over, span),
            Some(Turn::Settled) | None => (self.ended_in_time().await, span),
        }
    }

    /// Everybody leaves; afterwards servers' numbers are read until they stand still.
    pub(super) async fn part(&mut self) {
        self.company.leaving();
        self.callers.leave(LEAVE_PATIENCE).await;
        self.hooks.stop().await;
        self.sample(Phase::Leaving).await;
        self.servers.settle().await;
        self.progress.finish();
    }

    /// Samples each second until `end`. With `everybody`, only until so many callers have got in or have failed to.
    async fn pass(&mut self, phase: Phase, end: Instant, everybody: Option<u64>) -> Option<Turn> {
        loop {
            let next = (self.sampled + SECOND).min(end);
            if self.stopped_before(next).await {
                self.sample(phase).await;
                return Some(Turn::Ended(End::Interrupted { at_s: self.seconds(self.sampled) }));
            }
            self.sample(phase).await;
            if let Some(why) = self.is_lost(phase).await {
                return Some(Turn::Ended(self.failed(why)));
            }
            let standing = self.callers.standing();
            if everybody.is_some_and(|all| standing.begun >= all && standing.joining == 0) {
                return Some(Turn::Settled);
            }
            if self.sampled >= end {
                return None;
            }
        }
    }

    /// Waits for `next`; true when somebody ends the run before.
    async fn stopped_before(&mut self, next: Instant) -> bool {
        let Some(stop) = &mut self.stop else {
            sleep_until(next).await;
            return false;
        };
        let stopped = async {
            if stop.wait_for(|is_stopped| *is_stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! { () = sleep_until(next) => false, () = stopped => true }
    }

    async fn sample(&mut self, phase: Phase) {
        let (groups, load) = self.callers.sample().await;
        let now = Instant::now();
        self.sampled = now;
        let standing = self.callers.standing();
        let is_measured = matches!(phase, Phase::Measuring(..));
        let mut second = Second {
            at_s: self.seconds(now),
            callers_up: standing.up,
            callers_joining: standing.joining,
            joins_failed: standing.failed,
            server_busy: self.servers.busy(),
            ..Second::default()
        };
        self.meter.take(now.into_std(), &load, &mut second, is_measured);
        let second = self.tally.take(&Sample { groups, second, is_measured });
        let phase = match phase {
            Phase::Measuring(from_s, of_s) => Phase::Measuring(second.at_s - from_s, of_s),
            other => other,
        };
        self.company.sampled(second);
        self.progress.show(phase, &self.company.with_others(second));
        for failure in self.hooks.failures() {
            self.progress.tell(&failure);
        }
        // Servers close what callers leave: that explains nothing.
        if phase == Phase::Leaving {
            return;
        }
        for (reason, line) in self.callers.explanations() {
            if self.told.insert(reason) {
                self.progress.tell(&line);
            }
        }
    }

    /// Why it makes no sense to go on, if so.
    async fn is_lost(&mut self, phase: Phase) -> Option<String> {
        let standing = self.callers.standing();
        if self.callers.are_gone() && standing.begun > 0 && standing.up == 0 {
            return Some(self.nobody_is_up(&standing).await);
        }
        let has_begun = matches!(phase, Phase::Measuring(..) | Phase::WarmingUp);
        if !has_begun || !self.is_silent() {
            self.silent_since = None;
            return None;
        }
        let since = *self.silent_since.get_or_insert(self.sampled);
        if self.sampled.saturating_duration_since(since) < SILENT_MAX {
            return None;
        }
        if let Some(why) = self.target_is_gone().await {
            return Some(why);
        }
        // Asked again after as long.
        self.silent_since = None;
        let what = match (standing.up, self.hopes.has_pictures) {
            (0, _) => "no caller is up",
            (_, true) => "no caller receives anything",
            (_, false) => return None,
        };
        let why = self.callers.explanation().map_or_else(String::new, |line| format!("; {line}"));
        let (url, seconds) = (&self.scenario.target.url, SILENT_MAX.as_secs());
        Some(format!("{what} for {seconds} s, though {url} can be reached{why}"))
    }

    /// Why there is nobody left to measure with.
    async fn nobody_is_up(&mut self, standing: &Standing) -> String {
        if let Some(why) = self.target_is_gone().await {
            return why;
        }
        let what = if standing.succeeded == 0 { "nobody could join" } else { "everybody was lost" };
        let waiting = || format!("{} callers wait, and none has media", standing.joining);
        format!("{what}: {}", self.callers.explanation().unwrap_or_else(waiting))
    }

    /// The scenario's time is over. A server that died in the last seconds of it has not carried the run to its end.
    async fn ended_in_time(&mut self) -> End {
        let why = if self.is_silent() { self.target_is_gone().await } else { None };
        why.map_or(End::Complete, |why| self.failed(why))
    }

    /// Nobody is up, or nothing came to anybody in the last second, which may be as it should be.
    fn is_silent(&self) -> bool {
        let has_media = self.scenario.target.entry != Entry::Signaling;
        let is_dark = has_media && self.tally.last_received() == Some(0);
        self.hopes.has_callers && (is_dark || self.callers.standing().up == 0)
    }

    /// Asks the target itself whether it is still there; one line if it is not.
    async fn target_is_gone(&mut self) -> Option<String> {
        let why = reach(&self.control).await.err()?;
        self.is_target_gone = true;
        Some(format!("{} is gone: {why}", self.scenario.target.url))
    }

    fn failed(&self, why: String) -> End {
        End::Failed { at_s: self.seconds(self.sampled), why }
    }

    fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.start).as_secs_f64()
    }
}

/// Opens one connection to the target, so that one that is not there is said at once.
pub(super) async fn reach(control: &Control) -> Result<(), String> {
    match timeout(REACH_PATIENCE, control.reach()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(failure.line),
        Err(_) => Err(format!("no connection within {} s", REACH_PATIENCE.as_secs())),
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Callers give up by themselves after the scenario's time; this is for the last of them to say so.
const JOIN_ROOM: Duration = Duration::from_secs(1);
/// A target further away than this carries no meeting.
const REACH_PATIENCE: Duration = Duration::from_secs(5);
/// Longer than any machine of the run lets its callers join, which is ten minutes; the leader ends the wait, not we.
const COMPANY_PATIENCE: Duration = Duration::from_secs(1_200);
/// Longer than a move to another bridge takes, shorter than a person watches a dead run.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// A page that closes does not wait for its server.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::schedule::{Share, schedule};
    use crate::scenario::{Camera, Group, PerConference, Voice};

    fn hopes(scenario: &Scenario) -> Hopes {
        Hopes::new(scenario, &schedule(scenario, Share::default()))
    }

    fn meeting(group: Group) -> Scenario {
        Scenario {
            groups: vec![Group { per_conference: PerConference::Same(2), ..group }],
            ..Scenario::default()
        }
    }

    #[test]
    fn darkness_is_the_end_only_where_somebody_is_sent_pictures() {
        let with_pictures = meeting(Group { camera: Some(Camera::default()), ..Group::default() });
        assert_eq!(hopes(&with_pictures), Hopes { has_callers: true, has_pictures: true });
        let voices = meeting(Group { voice: Some(Voice::default()), ..Group::default() });
        let mut published = with_pictures.clone();
        published.target.entry = Entry::WhipWhep;
        let mut without_media = with_pictures;
        without_media.target.entry = Entry::Signaling;
        for scenario in [voices, published, without_media] {
            assert_eq!(hopes(&scenario), Hopes { has_callers: true, has_pictures: false });
        }
    }

    #[test]
    fn a_share_without_conferences_waits_for_nobody() {
        let scenario = meeting(Group { camera: Some(Camera::default()), ..Group::default() });
        let none = Hopes::new(&scenario, &schedule(&scenario, Share { index: 1, of: 2 }));
        assert_eq!(none, Hopes { has_callers: false, has_pictures: false });
    }
}

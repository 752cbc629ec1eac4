//! All callers of this process: one task each, from its arrival to its leaving, and whoever follows it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::schedule::{Arrival, Stays, caller_seed};
use crate::control::{Control, Ledger, NoMedia, Seat, Standing, attend, poll};
use crate::crew::{CrewLoad, CrewSettings, Crews, PathPlan};
use crate::engine::ports::CallerPlan;
use crate::engine::results::Results;
use crate::engine::stamp::Clock;
use crate::full::FullCallers;
use crate::outcome::Joins;
use crate::phone::Phone;
use crate::scenario::{Entry, Group, Kind, Scenario};

/// Everybody, and what carries their media.
pub(crate) struct Callers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    stage: watch::Sender<Stage>,
}

/// How far the run is, for callers that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Everybody who comes, stays.
    Gathering,
    /// Those who come and go begin to.
    Measuring,
    /// Everybody leaves.
    Leaving,
}

struct Shared {
    scenario: Scenario,
    control: Arc<Control>,
    /// Locked for as long as a phone takes to make, or a sample.
    crews: Mutex<Crews>,
    full: FullCallers,
    ledgers: Vec<Ledger>,
    /// Marks this process' stamps.
    clock: Clock,
    /// Conferences of two runs must not meet.
    run: String,
}

impl Callers {
    /// Nobody has come yet. `clock` is this process' own, and names this run's conferences.
    ///
    /// # Errors
    /// One line when the system gives no threads.
    pub(crate) fn new(
        scenario: &Scenario,
        control: Arc<Control>,
        threads: usize,
        clock: Clock,
    ) -> Result<Self, String> {
        let crews =
            Crews::start(CrewSettings { threads }).map_err(|error| format!("media threads: {error}"))?;
        let shared = Shared {
            control,
            crews: Mutex::new(crews),
            full: FullCallers::new(),
            ledgers: scenario.groups.iter().map(|_| Ledger::default()).collect(),
            clock,
            run: format!("loadtest-{:08x}", clock.number),
            scenario: scenario.clone(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            tasks: JoinSet::new(),
            stage: watch::Sender::new(Stage::Gathering),
        })
    }

    /// Lets everybody come at their time after `start`.
    pub(crate) fn enter(&mut self, arrivals: &[Arrival], start: Instant) {
        for arrival in arrivals {
            let life =
                Life { shared: Arc::clone(&self.shared), arrival: *arrival, stage: self.stage.subscribe() };
            self.tasks.spawn(life.run(start));
        }
        if self.shared.scenario.target.poll.is_some() {
            let leave = reached(self.stage.subscribe(), Stage::Leaving);
            self.tasks.spawn(poll(Arc::clone(&self.shared.control), leave));
        }
    }

    /// From now on callers come and go, if the scenario says so.
    pub(crate) fn measure(&self) {
        self.stage.send_replace(Stage::Measuring);
    }

    /// Everybody leaves, as page closings do; who has not after the patience is cut off.
    pub(crate) async fn leave(&mut self, patience: Duration) {
        self.stage.send_replace(Stage::Leaving);
        let everybody = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(patience, everybody).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    /// Whether every task has come to its end.
    pub(crate) fn are_gone(&mut self) -> bool {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.is_empty()
    }

    /// How all groups stand.
    pub(crate) fn standing(&self) -> Standing {
        let mut all = Standing::default();
        for ledger in &self.shared.ledgers {
            let group = ledger.standing();
            all.begun += group.begun;
            all.succeeded += group.succeeded;
            all.failed += group.failed;
            all.up += group.up;
            all.joining += group.joining;
            all.lost += group.lost;
        }
        all
    }

    /// Joins by group, in the scenario's order.
    pub(crate) fn joins(&self) -> Vec<Joins> {
        self.shared.ledgers.iter().map(Ledger::joins).collect()
    }

    /// Why callers failed or were lost: the most frequent reason of a failed join, else any reason, with its line.
    pub(crate) fn explanation(&self) -> Option<String> {
        let mut joins = Joins::default();
        self.joins().iter().for_each(|group| joins.add(group));
        let most = joins.failed.iter().max_by_key(|(_, count)| **count).map(|(reason, _)| reason.clone());
        let mut lines = self.explanations().into_iter();
        lines.find(|(reason, _)| most.as_ref().is_none_or(|most| most == reason)).map(|(_, line)| line)
    }

    /// A line for each reason of a failed join or a lost caller, by reason.
    pub(crate) fn explanations(&self) -> BTreeMap<String, String> {
        self.shared.ledgers.iter().flat_map(Ledger::explanations).collect()
    }

    /// What was measured since the last time.
    pub(crate) async fn sample(&self) -> (Vec<(usize, Results)>, CrewLoad) {
        let shared = Arc::clone(&self.shared);
        let taken = tokio::task::spawn_blocking(move || {
            let sample = shared.crews.lock().unwrap_or_else(PoisonError::into_inner).sample();
            let mut groups = sample.groups;
            groups.extend(shared.full.sample());
            (groups, sample.load)
        });
        // The task ends unless the runtime does.
        taken.await.unwrap_or_default()
    }
}

/// One caller's place, filled by one after the other when callers come and go.
struct Life {
    shared: Arc<Shared>,
    arrival: Arrival,
    stage: watch::Receiver<Stage>,
}

impl Life {
    async fn run(mut self, start: Instant) {
        tokio::select! {
            () = sleep_until(start + self.arrival.at) => {}
            () = reached(self.stage.clone(), Stage::Leaving) => return,
        }
        let seed = caller_seed(self.shared.scenario.seed, self.arrival.number);
        let churn = self.shared.scenario.churn.clone().unwrap_or_default();
        let mut stays = Stays::new(&churn, seed);
        let pause = Duration::from_secs_f64(churn.pause_s);
        for generation in 0.. {
            let stay = stays.as_mut().map(Stays::draw);
            let has_stayed = Box::pin(self.attend(generation, stay)).await;
            // Who was thrown out is not followed: that is no churn.
            if !has_stayed || stays.is_none() || *self.stage.borrow_and_update() == Stage::Leaving {
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = reached(self.stage.clone(), Stage::Leaving) => return,
            }
        }
    }

    /// One caller from its first step to its last. True when it left because it wanted to.
    async fn attend(&self, generation: u32, stay: Option<Duration>) -> bool {
        let (has_left, left) = watch::channel(false);
        let stage = self.stage.clone();
        let leave = async move {
            let goes = async {
                let Some(stay) = stay else { return std::future::pending().await };
                reached(stage.clone(), Stage::Measuring).await;
                sleep(stay).await;
            };
            tokio::select! { () = goes => {}, () = reached(stage.clone(), Stage::Leaving) => {} }
            has_left.send_replace(true);
        };
        let (shared, seat) = (&self.shared, self.seat(generation));
        let (control, ledger) = (Arc::clone(&shared.control), shared.ledgers[self.arrival.group].clone());
        if shared.scenario.target.entry == Entry::Signaling {
            attend(control, seat, NoMedia, ledger, leave).await;
        } else {
            let phone = self.phone(generation);
            attend(control, seat, phone, ledger, leave).await;
        }
        *left.borrow()
    }

    fn group(&self) -> &Group {
        &self.shared.scenario.groups[self.arrival.group]
    }

    /// Numbers of those who follow begin where those of the first end.
    fn number(&self, generation: u32) -> u32 {
        let callers = self.shared.scenario.callers();
        self.arrival.number.wrapping_add(generation.wrapping_mul(callers))
    }

    fn seat(&self, generation: u32) -> Seat {
        let (group, number) = (self.group(), self.number(generation));
        Seat {
            conference: format!("{}-{}", self.shared.run, self.arrival.conference),
            name: format!("{} {number}", group.name),
            group: self.arrival.group,
            seed: caller_seed(self.shared.scenario.seed, number),
            entry: self.shared.scenario.target.entry,
            sends: !group.only_watches(),
            awaits_media: awaits_media(&self.shared.scenario, self.arrival),
            receive: group.receive.clone(),
            path: group.path,
            channel: group.channel,
            chat_per_minute: group.chat_per_minute,
        }
    }

    fn phone(&self, generation: u32) -> Phone {
        let (shared, group, number) = (&self.shared, self.group(), self.number(generation));
        let plan = CallerPlan {
            number,
            seed: caller_seed(shared.scenario.seed, number),
            clock: shared.clock,
            voice: group.voice.clone(),
            camera: group.camera.clone(),
            screen: group.screen.clone(),
            receive: group.receive.clone(),
        };
        let target = &shared.scenario.target;
        let path = PathPlan {
            path: group.path,
            turn: target.turn.clone(),
            link: group.link.clone(),
            ca: target.ca_file.clone(),
        };
        match group.kind {
            Kind::Light => {
                let crews = shared.crews.lock().unwrap_or_else(PoisonError::into_inner);
                Phone::Light(crews.phone(plan, path, self.arrival.group))
            }
            Kind::Full => Phone::Full(shared.full.phone(plan, path, self.arrival.group)),
        }
    }
}

/// Somebody else in the conference sends something, soon, that this caller takes in.
fn awaits_media(scenario: &Scenario, arrival: Arrival) -> bool {
    awaits_pictures(scenario, arrival) || awaits_speech(scenario, arrival)
}

/// Somebody else in the conference sends pictures that this caller takes in.
pub(super) fn awaits_pictures(scenario: &Scenario, arrival: Arrival) -> bool {
    let has_picture = |group: &Group| group.camera.is_some() || group.screen.is_some();
    let is_shown = others(scenario, arrival).any(|(group, others)| others > 0 && has_picture(group));
    is_shown && scenario.groups[arrival.group].receive.video != Some(0) && takes_in(scenario, arrival)
}

fn awaits_speech(scenario: &Scenario, arrival: Arrival) -> bool {
    let speaks = |group: &Group| group.voice.as_ref().map_or(0.0, |voice| voice.speaks);
    let speech: f64 =
        others(scenario, arrival).map(|(group, others)| f64::from(others) * speaks(group)).sum();
    let is_heard = scenario.groups[arrival.group].receive.audio != Some(0);
    speech >= SPEECH_MIN && is_heard && takes_in(scenario, arrival)
}

/// Each group, with how many of it this caller meets in its conference.
fn others(scenario: &Scenario, arrival: Arrival) -> impl Iterator<Item = (&Group, u32)> {
    scenario.groups.iter().enumerate().map(move |(index, group)| {
        let callers = group.per_conference.in_conference(arrival.conference);
        (group, callers.saturating_sub(u32::from(index == arrival.group)))
    })
}

/// By HTTP a caller either publishes or views.
fn takes_in(scenario: &Scenario, arrival: Arrival) -> bool {
    let is_one_way = matches!(scenario.target.entry, Entry::WhipWhep | Entry::Janus);
    !is_one_way || scenario.groups[arrival.group].only_watches()
}

/// Done once the run is so far.
async fn reached(mut stage: watch::Receiver<Stage>, wanted: Stage) {
    // A run that was dropped has ended, too.
    let _ = stage.wait_for(|stage| *stage >= wanted).await;
}

/// Where less is spoken than this on average, nobody may say a word in all the time that a join may take.
const SPEECH_MIN: f64 = 0.3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Camera, PerConference, Receive, Voice};

    fn arrival(group: usize) -> Arrival {
        Arrival { at: Duration::ZERO, number: 0, group, conference: 0 }
    }

    fn one_to_many() -> Scenario {
        let sender = Group { camera: Some(Camera::default()), ..Group::default() };
        let viewers = Group { per_conference: PerConference::Same(9), ..Group::default() };
        Scenario { groups: vec![sender, viewers], ..Scenario::default() }
    }

    #[test]
    fn a_viewer_waits_for_media_and_the_only_sender_does_not() {
        let scenario = one_to_many();
        assert!(!awaits_media(&scenario, arrival(0)));
        assert!(awaits_media(&scenario, arrival(1)));
    }

    #[test]
    fn who_publishes_by_http_waits_for_nobody_and_its_viewers_do() {
        let mut scenario = one_to_many();
        scenario.groups[0].per_conference = PerConference::Same(2);
        assert!(awaits_media(&scenario, arrival(0)), "in a meeting everybody sees everybody");
        for entry in [Entry::WhipWhep, Entry::Janus] {
            scenario.target.entry = entry;
            assert!(!awaits_media(&scenario, arrival(0)), "{entry:?}");
            assert!(awaits_media(&scenario, arrival(1)), "{entry:?}");
        }
    }

    #[test]
    fn who_takes_no_video_waits_for_voices_only() {
        let mut scenario = one_to_many();
        scenario.groups[1].receive = Receive { video: Some(0), ..Receive::default() };
        assert!(!awaits_media(&scenario, arrival(1)));
        scenario.groups[0].voice = Some(Voice::default());
        assert!(awaits_media(&scenario, arrival(1)));
    }

    #[test]
    fn nobody_waits_for_those_who_hardly_speak() {
        let mut scenario = one_to_many();
        scenario.groups[0].camera = None;
        scenario.groups[0].voice = Some(Voice { speaks: 0.05, ..Voice::default() });
        assert!(!awaits_media(&scenario, arrival(1)));
    }
}

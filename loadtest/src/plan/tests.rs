//! Plans against a model of a server: no socket, no time.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::engine::counts::Counts;
use crate::outcome::{Delays, Distribution, End, Joins};
use crate::report::samples::{hostile, sample, well_formed};
use crate::scenario::{Camera, Group, Voice};

/// A bridge of one core: delay grows as its queue does, loss begins where it is full.
struct Model {
    /// Callers at which the core is full.
    full_at: f64,
    /// Readings vary by about this share.
    noise: f64,
    random: StdRng,
    /// Callers from which on loadtest itself is the limit.
    tool_full_at: f64,
    /// Runs after which the server is gone.
    dies_after: usize,
    /// The run that ctrl-c cuts short.
    interrupted: usize,
    /// Readings of these runs are bad luck.
    unlucky: Vec<usize>,
    /// Readings of these are good luck.
    lucky: Vec<usize>,
    /// What outcomes are made from.
    plain: Outcome,
    runs: Vec<Scenario>,
    pauses: Vec<Duration>,
}

/// What the model charges: seconds for a burst, a packet, a byte, a join, a second.
const COSTS: [f64; 5] = [4e-6, 2e-6, 1.5e-9, 4e-3, 0.01];

impl Model {
    fn new(full_at: f64, noise: f64, seed: u64) -> Self {
        Self {
            full_at,
            noise,
            random: StdRng::seed_from_u64(seed),
            tool_full_at: f64::INFINITY,
            dies_after: usize::MAX,
            interrupted: usize::MAX,
            unlucky: Vec::new(),
            lucky: Vec::new(),
            plain: Outcome { groups: Vec::new(), series: Vec::new(), ..sample() },
            runs: Vec::new(),
            pauses: Vec::new(),
        }
    }

    fn varied(&mut self, value: f64) -> f64 {
        value * (1.0 + self.noise * (self.random.random::<f64>() * 2.0 - 1.0))
    }

    /// Callers at which `delay_p99_ms` reaches a limit: 2 ms / (1 − load).
    fn knee(&self, delay_p99_ms: f64) -> f64 {
        self.full_at * (1.0 - 2.0 / delay_p99_ms)
    }

    fn fill(&mut self, outcome: &mut Outcome, scenario: &Scenario) {
        let callers = f64::from(scenario.callers());
        let has_pictures = scenario.groups.iter().any(|group| group.camera.is_some());
        let load = if has_pictures { callers / self.full_at } else { callers / self.full_at / 6.0 };
        let delay_ms = match self.runs.len() {
            run if self.unlucky.contains(&run) => 1_000.0,
            run if self.lucky.contains(&run) => 2.0,
            _ if load < 1.0 => 2.0 / (1.0 - load),
            _ => 2_000.0,
        };
        let has_voices = scenario.groups.iter().any(|group| group.voice.is_some());
        let voices = if has_voices { callers * 20.0 * 50.0 } else { 0.0 };
        let frames = if has_pictures { callers * 20.0 * 30.0 } else { 0.0 };
        // Without voices it is a run of pictures of one packet.
        let pictures = if has_voices { 8.0 * frames } else { frames };
        let packets = voices + pictures;
        let bytes = voices * 120.0 + pictures * 1_000.0;
        let delay_us = self.varied(delay_ms) * 1e3;
        outcome.delays = Delays {
            audio: many(voices / THINNED, delay_us),
            video: many(pictures / THINNED, delay_us),
            ..Delays::default()
        };
        let lost = if load > 1.0 { packets * (1.0 - 1.0 / load) } else { 0.0 };
        outcome.counts = Counts {
            packets_received: (packets - lost) as u64,
            packets_lost: lost as u64,
            bytes_received: (bytes * (1.0 - lost / packets)) as u64,
            frames_complete: (frames / THINNED) as u64,
            watched_us: 1,
            ..Counts::default()
        };
        let churned = scenario.churn.as_ref().map_or(0.0, |churn| callers * churn.per_minute_percent / 300.0);
        let begun = callers + churned;
        outcome.joins =
            Joins { begun: begun as u64, succeeded: begun as u64, total: only(80_000.0), ..Joins::default() };
        let terms = [voices + frames, packets, bytes, churned, 20.0];
        let cost = terms.iter().zip(COSTS).map(|(term, cost)| term * cost).sum();
        let server = &mut outcome.servers[0];
        (server.packets_sent, server.bytes_sent) = (packets as u64, bytes as u64);
        server.memory_mib_max = server.memory_mib_before + callers * 0.25;
        server.processor_s = Some(self.varied(cost));
        server.busy_mean = self.varied(load).min(1.0);
        if callers >= self.tool_full_at {
            outcome.tool.limits = vec!["its media thread was 99 % busy".to_owned()];
        }
    }
}

/// One value, so often.
fn many(count: f64, value: f64) -> Distribution {
    let mut distribution = Distribution::default();
    (0..count as u64).for_each(|_| distribution.take(value as u64));
    distribution
}

/// One packet in so many has its delay recorded, and one picture in as many is counted: enough for the shares.
const THINNED: f64 = 200.0;

/// One value.
fn only(value: f64) -> Distribution {
    let mut distribution = Distribution::default();
    distribution.take(value as u64);
    distribution
}

impl Runner for Model {
    fn run(&mut self, scenario: &Scenario) -> Outcome {
        let mut outcome = Outcome { scenario: scenario.clone(), ..self.plain.clone() };
        self.fill(&mut outcome, scenario);
        if self.runs.len() >= self.dies_after {
            outcome.end = End::Failed { at_s: 1.0, why: "connection refused".to_owned() };
        }
        if self.runs.len() == self.interrupted {
            outcome.end = End::Interrupted { at_s: 1.0 };
        }
        self.runs.push(scenario.clone());
        outcome
    }

    fn settle(&mut self, pause: Duration) {
        self.pauses.push(pause);
    }
}

/// Meetings of four.
fn meetings() -> Scenario {
    let group = Group {
        per_conference: PerConference::Same(4),
        voice: Some(Voice::default()),
        camera: Some(Camera::default()),
        ..Group::default()
    };
    Scenario { name: "meetings".to_owned(), groups: vec![group], ..Scenario::default() }
}

fn slo() -> Slo {
    Slo { delay_p99_ms: Some(20.0), loss: Some(0.001), ..Slo::default() }
}

fn plan_of(model: &mut Model) -> Plan {
    plan(&meetings(), &slo(), &PlanOptions::default(), model).unwrap()
}

#[test]
fn the_knee_of_a_noisy_server_is_found_within_five_percent() {
    for (seed, full_at) in [(1, 400.0), (2, 1_000.0), (3, 3_333.0), (4, 12_000.0)] {
        let mut model = Model::new(full_at, 0.1, seed);
        let plan = plan_of(&mut model);
        let Ending::Knee { holds, breaks } = plan.ending else { panic!("{:?}", plan.ending) };
        let (found, wanted) = (f64::from(holds) * 4.0, model.knee(20.0));
        // Noise of 10 % in the delay moves this knee by less than 1 %.
        assert!(
            (found - wanted).abs() <= 0.05 * wanted,
            "{found} callers instead of {wanted}, full at {full_at}"
        );
        assert!(breaks - holds <= (holds / 40).max(1), "{holds} to {breaks}");
        assert!(model.runs.len() < 50, "{} runs", model.runs.len());
    }
}

#[test]
fn three_plans_of_one_server_name_knees_within_ten_percent() {
    let knees: Vec<f64> =
        (10..13).map(|seed| f64::from(plan_of(&mut Model::new(800.0, 0.3, seed)).ending.holds())).collect();
    let (least, most) =
        (knees.iter().copied().fold(f64::INFINITY, f64::min), knees.iter().copied().fold(0.0, f64::max));
    assert!(most <= 1.1 * least, "{knees:?}");
}

#[test]
fn one_unlucky_run_moves_no_knee() {
    let plain = plan_of(&mut Model::new(800.0, 0.0, 1)).ending;
    for unlucky in 0..20 {
        let mut model = Model::new(800.0, 0.0, 1);
        model.unlucky = vec![unlucky];
        assert_eq!(plan_of(&mut model).ending, plain, "run {unlucky} was unlucky");
    }
}

#[test]
fn one_lucky_run_of_the_staircase_names_no_knee() {
    let knee = Ending::Knee { holds: 22, breaks: 23 };
    assert_eq!(plan_of(&mut Model::new(100.0, 0.0, 1)).ending, knee);
    // The staircase meets the level just above the knee first, and is lucky there.
    let options = PlanOptions { first_level: 23, ..PlanOptions::default() };
    let mut model = Model::new(100.0, 0.0, 1);
    model.lucky = vec![0];
    let plan = plan(&meetings(), &slo(), &options, &mut model).unwrap();
    assert_eq!(plan.ending, knee, "{:?}", plan.levels);
}

#[test]
fn both_sides_of_a_knee_are_run_three_times_with_three_seeds_and_a_pause_before_each() {
    let mut model = Model::new(400.0, 0.1, 5);
    let plan = plan_of(&mut model);
    let Ending::Knee { holds, breaks } = plan.ending else { panic!("{:?}", plan.ending) };
    for level in [holds, breaks] {
        let runs = plan.runs.iter().filter(|run| run.kind == RunKind::Level && run.level == level);
        let mut seeds: Vec<u64> = runs.map(|run| run.seed).collect();
        seeds.dedup();
        assert_eq!(seeds.len(), 3, "level {level}");
    }
    assert_eq!(model.pauses, vec![Duration::from_secs(3); model.runs.len() - 1]);
}

#[test]
fn where_loadtest_was_the_limit_there_is_a_lower_bound_and_no_knee() {
    let mut model = Model::new(800.0, 0.0, 1);
    model.tool_full_at = 300.0;
    let plan = plan_of(&mut model);
    let Ending::ToolLimited { holds, breaks, limits } = &plan.ending else { panic!("{:?}", plan.ending) };
    assert!(*holds >= 64 && breaks > holds && limits.len() == 1, "{:?}", plan.ending);
    let text = plan.table();
    assert!(
        text.contains("No knee can be named") && text.contains("loadtest itself was the limit"),
        "{text}"
    );
    assert!(text.contains(&format!("At least level {holds} ")), "{text}");
}

#[test]
fn a_limit_of_loadtest_above_the_knee_does_not_hide_it() {
    let mut model = Model::new(300.0, 0.0, 1);
    // The staircase breaks at 128 conferences, where loadtest is full too; the knee is at 67.
    model.tool_full_at = 400.0;
    assert!(matches!(plan_of(&mut model).ending, Ending::Knee { holds: 65..=68, .. }));
}

#[test]
fn a_server_that_never_breaks_has_a_lower_bound() {
    let mut model = Model::new(1e9, 0.0, 1);
    let plan = plan_of(&mut model);
    assert_eq!(plan.ending, Ending::NeverBroke { holds: 5_000 }, "20,000 callers");
    assert!(plan.table().contains("The SLO never broke"));
}

#[test]
fn a_server_that_carries_nothing_breaks_at_once() {
    let mut model = Model::new(2.0, 0.0, 1);
    let options = PlanOptions { first_level: 16, ..PlanOptions::default() };
    let plan = plan(&meetings(), &slo(), &options, &mut model).unwrap();
    assert_eq!(plan.ending, Ending::BreaksAtOnce { breaks: 1 });
    assert!((plan.capacity.is_none(), plan.fleets.is_empty()) == (true, true));
    assert!(plan.table().contains("Even the smallest level, 1, breaks"));
}

#[test]
fn a_first_level_above_the_knee_is_descended_from() {
    let mut model = Model::new(100.0, 0.0, 1);
    let options = PlanOptions { first_level: 1_000, ..PlanOptions::default() };
    let plan = plan(&meetings(), &slo(), &options, &mut model).unwrap();
    assert_eq!(plan.ending, Ending::Knee { holds: 22, breaks: 23 });
}

#[test]
fn a_server_that_cannot_be_reached_is_one_line() {
    let mut model = Model::new(400.0, 0.0, 1);
    model.dies_after = 0;
    let error = plan(&meetings(), &slo(), &PlanOptions::default(), &mut model).unwrap_err();
    assert_eq!(error.to_string(), "the first run failed: connection refused");
}

#[test]
fn a_server_that_dies_ends_the_plan_with_what_was_seen() {
    let mut model = Model::new(400.0, 0.0, 1);
    model.dies_after = 5;
    let plan = plan_of(&mut model);
    assert_eq!(plan.ending, Ending::Failed { holds: 16, why: "connection refused".to_owned() });
    assert_eq!(model.runs.len(), 7, "the level that failed, and the one below that had held");
}

#[test]
fn ctrl_c_ends_the_plan_with_what_was_seen() {
    let mut model = Model::new(400.0, 0.0, 1);
    model.interrupted = 4;
    let plan = plan_of(&mut model);
    assert_eq!((plan.ending, model.runs.len()), (Ending::Interrupted { holds: 8 }, 5));
}

#[test]
fn one_group_grows_where_that_is_asked_for() {
    let speaker = Group {
        name: "speaker".into(),
        voice: Some(Voice::default()),
        camera: Some(Camera::default()),
        ..Group::default()
    };
    let audience =
        Group { name: "audience".into(), per_conference: PerConference::Same(10), ..Group::default() };
    let webinar = Scenario { groups: vec![speaker, audience], ..Scenario::default() };
    let mut model = Model::new(500.0, 0.0, 1);
    let options = PlanOptions { scale: Scale::Group("audience".to_owned()), ..PlanOptions::default() };
    let plan = plan(&webinar, &slo(), &options, &mut model).unwrap();
    let wanted = model.knee(20.0) - 1.0;
    assert!((f64::from(plan.ending.holds()) - wanted).abs() <= 0.05 * wanted, "{:?}", plan.ending);
    assert_eq!(model.runs[0].callers(), 2, "one speaker, one who listens");
    assert!(plan.table().contains("a level is the number of audience in each conference"));
}

#[test]
fn a_group_that_is_not_there_or_has_many_sizes_is_one_line() {
    let refusal = |scenario: &Scenario, name: &str| {
        let options = PlanOptions { scale: Scale::Group(name.to_owned()), ..PlanOptions::default() };
        plan(scenario, &slo(), &options, &mut Model::new(1.0, 0.0, 1)).unwrap_err().to_string()
    };
    assert_eq!(refusal(&meetings(), "nobody"), "the scenario has no group \"nobody\"; it has \"callers\"");
    let mut uneven = meetings();
    uneven.groups[0].per_conference = PerConference::Each(vec![1, 2]);
    assert!(refusal(&uneven, "callers").contains("another size in each conference"));
    let mut twice = meetings();
    twice.groups.push(twice.groups[0].clone());
    assert!(refusal(&twice, "callers").contains("2 groups named"));
}

#[test]
fn the_cost_model_finds_what_the_server_charges_and_predicts_runs_it_has_not_seen() {
    let cost = plan_of(&mut Model::new(800.0, 0.02, 9)).cost.unwrap();
    assert!(cost.error_max < 0.1, "{cost:?}");
    assert!(cost.checks.len() >= 4 && cost.fitted_runs > cost.checks.len(), "{cost:?}");
    let near = |found: f64, wanted: f64, share: f64| (found - wanted).abs() <= share * wanted;
    let exact = plan_of(&mut Model::new(800.0, 0.0, 9)).cost.unwrap();
    assert!(exact.error_max < 1e-3, "{exact:?}");
    assert!(
        near(exact.burst_us, COSTS[0] * 1e6, 0.02) && near(exact.packet_us, COSTS[1] * 1e6, 0.02),
        "{exact:?}"
    );
    assert!(
        near(exact.byte_ns, COSTS[2] * 1e9, 0.02) && near(exact.join_ms.unwrap(), COSTS[3] * 1e3, 0.02),
        "{exact:?}"
    );
    assert!(near(exact.second_ms, COSTS[4] * 1e3, 0.05), "{exact:?}");
}

#[test]
fn without_processor_times_there_is_no_model_and_a_line_that_says_why() {
    let mut plan = plan_of(&mut Model::new(800.0, 0.0, 9));
    plan.runs.iter_mut().for_each(|run| run.processor_s = None);
    (plan.cost, plan.cost_missing) = (None, cost::fit(&plan.runs).err());
    assert!(plan.table().contains("No cost model: no server told its processor time"), "{}", plan.table());
    plan.runs.truncate(3);
    plan.runs.iter_mut().for_each(|run| run.processor_s = Some(1.0));
    assert!(cost::fit(&plan.runs).unwrap_err().contains("too few"));
}

#[test]
fn a_fleet_has_one_bridge_to_spare_and_relays_only_where_somebody_takes_one() {
    let mut model = Model::new(400.0, 0.0, 1);
    let mut options = PlanOptions { participants: vec![10_000], ..PlanOptions::default() };
    let direct = plan(&meetings(), &slo(), &options, &mut model).unwrap();
    let capacity = direct.capacity.clone().unwrap();
    let full = capacity.participants;
    assert_eq!(
        (capacity.bridges, capacity.bridge_cores, capacity.participants_per_core),
        (1, 1, full as f64)
    );
    let bridges: Vec<u64> = fleet::fleets(&capacity, &[0, 1, full, full + 1, 10 * full])
        .iter()
        .map(|fleet| fleet.bridges)
        .collect();
    assert_eq!(bridges, [1, 2, 2, 3, 11]);
    assert!(direct.fleets.iter().all(|fleet| fleet.relays == 0));
    assert!((capacity.memory_kib.unwrap() - 256.0).abs() < 1.0, "{capacity:?}");
    let mut behind = meetings();
    behind.groups[0].path = crate::scenario::MediaPath::RelayTcp;
    options.bridge_cores = Some(4);
    let relayed = plan(&behind, &slo(), &options, &mut Model::new(400.0, 0.0, 1)).unwrap();
    assert_eq!(relayed.fleets[0].relays, 10_000_u64.div_ceil(full) + 1);
    assert_eq!(relayed.capacity.unwrap().participants_per_core, full as f64 / 4.0);
}

#[test]
fn what_broke_and_what_ran_out_is_said() {
    let text = plan_of(&mut Model::new(800.0, 0.0, 1)).table();
    assert!(text.contains("delay p99, ms: ") && text.contains(" where 20 is asked for."), "{text}");
    assert!(text.contains("The busiest server worker had no time left: 9"), "{text}");
    let careful = Slo { busy: Some(0.4), ..Slo::default() };
    let plan = plan(&meetings(), &careful, &PlanOptions::default(), &mut Model::new(800.0, 0.0, 1)).unwrap();
    let text = plan.table();
    assert!(
        text.contains("passed the limit that was set for it, at 41 %") && !text.contains("something else"),
        "{text}"
    );
    assert!(text.contains("bridge core (1, as many as were used, rounded up)"), "{text}");
}

#[test]
fn a_plan_survives_its_json_and_its_page_is_well_formed_whatever_the_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan_of(&mut Model::new(400.0, 0.1, 3));
    plan.write_json(&folder.path().join("plan.json")).unwrap();
    let text = std::fs::read_to_string(folder.path().join("plan.json")).unwrap();
    let read: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (read.table(), read.ending, read.runs.len()),
        (plan.table(), plan.ending.clone(), plan.runs.len())
    );
    let attack = hostile();
    plan.scenario = attack.scenario;
    plan.version = attack.version;
    plan.started = attack.started;
    plan.scale = Scale::Group(plan.scenario.name.clone());
    plan.saturation.push(plan.scenario.name.clone());
    plan.ending = Ending::Failed { holds: 3, why: plan.scenario.name.clone() };
    let page = plan.html();
    well_formed(&page);
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert_eq!(page.matches("<svg role=\"img\"").count(), 2);
    assert!(!plan.table().chars().any(|character| character.is_control() && character != '\n'));
    plan.write_html(&folder.path().join("plan.html")).unwrap();
}

#[test]
fn secrets_of_the_target_are_not_kept() {
    let mut scenario = meetings();
    scenario.target.token = Some("secret-token".to_owned());
    scenario.target.turn =
        Some(crate::scenario::TurnServer { secret: "secret-turn".into(), ..Default::default() });
    let plan = plan(&scenario, &slo(), &PlanOptions::default(), &mut Model::new(400.0, 0.0, 1)).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert!(!text.contains("secret-"), "{text}");
}

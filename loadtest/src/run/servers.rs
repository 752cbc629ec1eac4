//! What servers say of themselves, read once a second from before the first join until everybody has left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::control::{ServerReader, ServerSample};
use crate::outcome::{Agreement, ServerOutcome, Span};

/// All servers of a run.
pub(crate) struct Servers {
    diaries: Arc<Mutex<Vec<Diary>>>,
    reading: JoinHandle<()>,
}

/// Everything one server has said, with the instant at which it was asked.
#[derive(Debug, Clone, Default)]
struct Diary {
    url: String,
    told: Vec<(Instant, ServerSample)>,
    failures: u64,
}

impl Servers {
    /// Asks once, so that there is a "before", and then each second.
    pub(crate) async fn watch(mut reader: ServerReader, urls: &[String]) -> Self {
        let diaries: Vec<_> = urls.iter().map(|url| Diary { url: url.clone(), ..Diary::default() }).collect();
        let diaries = Arc::new(Mutex::new(diaries));
        note(&diaries, &mut reader).await;
        let reading = tokio::spawn({
            let diaries = Arc::clone(&diaries);
            async move {
                let mut ticks = interval(SECOND);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks.tick().await;
                loop {
                    ticks.tick().await;
                    note(&diaries, &mut reader).await;
                }
            }
        });
        Self { diaries, reading }
    }

    /// The busiest worker of any server, as last said.
    pub(crate) fn busy(&self) -> f64 {
        let diaries = lock(&self.diaries);
        let latest = diaries.iter().filter_map(|diary| diary.told.last());
        latest.map(|(_, sample)| sample.busy).fold(0.0, f64::max)
    }

    /// Waits until servers' numbers, which are up to two seconds old, know that everybody has left.
    pub(crate) async fn settle(&self) {
        let left = Instant::now();
        while left.elapsed() < SETTLE_PATIENCE {
            let is_settled =
                lock(&self.diaries).iter().all(|diary| diary.stands_still_since(left + STATS_AGE_MAX));
            if is_settled {
                return;
            }
            sleep(SETTLE_STEP).await;
        }
    }

    /// What each has said of the measured part, and whether all of them counted as callers did. Instants of `measured`
    /// are seconds after `start`.
    pub(crate) fn finish(
        self,
        start: Instant,
        measured: Span,
        received: u64,
    ) -> (Vec<ServerOutcome>, Option<Agreement>) {
        let diaries = lock(&self.diaries).clone();
        let outcomes = diaries.iter().map(|diary| diary.outcome(start, measured)).collect();
        (outcomes, agreement(&diaries, received))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Diary {
    /// Nothing more was sent from `since` on, as far as it tells. One that does not answer has nothing to wait for.
    fn stands_still_since(&self, since: Instant) -> bool {
        let [.., (_, before), (at, last)] = self.told.as_slice() else { return true };
        let is_gone = self.told.len() as u64 + self.failures > 1 && at.elapsed() > 2 * SECOND;
        let is_silent = last.packets_sent == 0;
        is_silent || is_gone || (*at >= since && before.packets_sent == last.packets_sent)
    }

    fn outcome(&self, start: Instant, measured: Span) -> ServerOutcome {
        let mut outcome = ServerOutcome {
            url: self.url.clone(),
            answers: self.told.len() as u64,
            failures: self.failures,
            memory_mib_before: self
                .told
                .first()
                .and_then(|(_, sample)| sample.memory_mib)
                .unwrap_or_default(),
            ..ServerOutcome::default()
        };
        let memory = self.told.iter().filter_map(|(_, sample)| sample.memory_mib);
        outcome.memory_mib_max = memory.fold(0.0, f64::max);
        let (from, to) = (at(start, measured.from_s), at(start, measured.to_s));
        let within = || self.told.iter().filter(|(at, _)| (from..=to).contains(at)).map(|(_, sample)| sample);
        outcome.busy_max = within().map(|sample| sample.busy).fold(0.0, f64::max);
        let count = within().count().max(1);
        outcome.busy_mean = within().map(|sample| sample.busy).sum::<f64>() / count as f64;
        let part: Vec<_> = self.told.iter().filter(|(at, _)| (from..=to).contains(at)).collect();
        if let [first, .., last] = part.as_slice() {
            // One that fell silent has told of the time until then only.
            let end = if to.saturating_duration_since(last.0) > LOST_AFTER { last.0 } else { to };
            outcome.take_growth(&part, end.saturating_duration_since(from).as_secs_f64());
            outcome.forwarding_latency_us = last.1.forwarding_latency_us;
            outcome.dropped = grown_reasons(&first.1.dropped, &last.1.dropped);
        }
        outcome
    }
}

impl ServerOutcome {
    /// Counters over a time of this length, by how fast they grew from answer to answer.
    fn take_growth(&mut self, told: &[&(Instant, ServerSample)], seconds: f64) {
        let grown = |count: fn(&ServerSample) -> u64| {
            (growth_per_s(told, |sample| count(sample) as f64) * seconds).round() as u64
        };
        self.packets_sent = grown(|sample| sample.packets_sent);
        self.packets_received = grown(|sample| sample.packets_received);
        self.bytes_sent = grown(|sample| sample.bytes_sent);
        let tells_time = told.iter().all(|(_, sample)| sample.processor_s.is_some());
        let time = |sample: &ServerSample| sample.processor_s.unwrap_or_default();
        self.processor_s = tells_time.then(|| growth_per_s(told, time) * seconds);
    }
}

/// The slope of the line that fits best (least squares). A server's numbers are up to two seconds old, now more and now
/// less; between the first and the last answer that is an error of seconds, over all answers it cancels.
fn growth_per_s(told: &[&(Instant, ServerSample)], count: impl Fn(&ServerSample) -> f64) -> f64 {
    let Some((start, first)) = told.first() else { return 0.0 };
    // From the first answer on: totals of weeks would leave no digits for seconds.
    let points: Vec<_> = told
        .iter()
        .map(|(at, sample)| {
            (at.saturating_duration_since(*start).as_secs_f64(), count(sample) - count(first))
        })
        .collect();
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / points.len() as f64;
    let (mean_s, mean_count) = (mean(|point| point.0), mean(|point| point.1));
    let (mut together, mut spread) = (0.0, 0.0);
    for (seconds, count) in points {
        together += (seconds - mean_s) * (count - mean_count);
        spread += (seconds - mean_s).powi(2);
    }
    if spread > 0.0 { (together / spread).max(0.0) } else { 0.0 }
}

fn grown_reasons(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after.iter().map(|(reason, count)| {
        let before = before.get(reason).copied().unwrap_or_default();
        (reason.clone(), count.saturating_sub(before))
    });
    grown.filter(|(_, count)| *count > 0).collect()
}

/// Totals of the whole run. None where no server tells them, or one was started anew or lost in the middle.
fn agreement(diaries: &[Diary], received: u64) -> Option<Agreement> {
    let mut sent: u64 = 0;
    for diary in diaries {
        let (Some((_, first)), Some((last_at, last))) = (diary.told.first(), diary.told.last()) else {
            continue;
        };
        let is_lost = last_at.elapsed() > LOST_AFTER;
        let shrinks = diary.told.windows(2).any(|pair| pair[1].1.packets_sent < pair[0].1.packets_sent);
        if shrinks || (is_lost && last.packets_sent > 0) {
            return None;
        }
        // Nothing that a server says may end the run.
        sent = sent.saturating_add(last.packets_sent - first.packets_sent);
    }
    (sent > 0).then(|| Agreement::new(sent, received))
}

impl Agreement {
    /// Of two totals.
    pub(crate) fn new(sent_by_servers: u64, received_by_callers: u64) -> Self {
        let missing = sent_by_servers as f64 - received_by_callers as f64;
        Self { sent_by_servers, received_by_callers, difference: missing / (sent_by_servers as f64).max(1.0) }
    }
}

async fn note(diaries: &Mutex<Vec<Diary>>, reader: &mut ServerReader) {
    let samples = reader.sample().await;
    let now = Instant::now();
    for (diary, sample) in lock(diaries).iter_mut().zip(samples) {
        if sample.failure.is_some() {
            diary.failures += 1;
        } else {
            diary.told.push((now, sample));
        }
    }
}

fn lock(diaries: &Mutex<Vec<Diary>>) -> MutexGuard<'_, Vec<Diary>> {
    // A diary is whole whatever a panic elsewhere has left.
    diaries.lock().unwrap_or_else(PoisonError::into_inner)
}

fn at(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds.max(0.0))
}

const SECOND: Duration = Duration::from_secs(1);
/// Workers are asked once a second, and what they said is shown once a second.
const STATS_AGE_MAX: Duration = Duration::from_millis(2_500);
/// Some servers carry on for a while for callers that were cut off.
const SETTLE_PATIENCE: Duration = Duration::from_secs(10);
const SETTLE_STEP: Duration = Duration::from_millis(100);
/// A server that has not answered for so long at the end was lost.
const LOST_AFTER: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(packets_sent: u64, busy: f64) -> ServerSample {
        ServerSample {
            packets_sent,
            busy,
            processor_s: Some(packets_sent as f64 / 1_000.0),
            memory_mib: Some(10.0 + packets_sent as f64),
            dropped: BTreeMap::from([("late".to_owned(), packets_sent / 100)]),
            ..ServerSample::default()
        }
    }

    /// One answer a second, 300 ms after the full one, 1,000 packets each.
    fn diary(start: Instant) -> Diary {
        let told = (0..10_u64).map(|second| {
            let at = start + Duration::from_millis(second * 1_000 + 300);
            (at, sample(second * 1_000, if second == 5 { 0.9 } else { 0.4 }))
        });
        Diary { url: "u".to_owned(), told: told.collect(), failures: 0 }
    }

    #[tokio::test]
    async fn counters_are_brought_to_the_length_of_the_measured_part() {
        let start = Instant::now();
        let outcome = diary(start).outcome(start, Span { from_s: 2.0, to_s: 8.5 });
        assert_eq!((outcome.packets_sent, outcome.busy_max, outcome.answers), (6_500, 0.9, 10));
        assert!((outcome.processor_s.unwrap() - 6.5).abs() < 0.001);
        assert_eq!((outcome.memory_mib_before, outcome.memory_mib_max), (10.0, 9_010.0));
        assert_eq!(outcome.dropped["late"], 60);
        assert!((0.4..0.6).contains(&outcome.busy_mean), "{}", outcome.busy_mean);
    }

    #[tokio::test]
    async fn numbers_that_are_now_older_and_now_younger_give_the_rate_all_the_same() {
        let start = Instant::now();
        let told = (0..20_u64).map(|second| {
            // Refreshed once a second by the server; asked just before or just after that.
            let age = [0, 1, 1, 0, 1, 0][second as usize % 6];
            (start + Duration::from_secs(second), sample((second + 5 - age) * 1_000, 0.4))
        });
        let diary = Diary { told: told.collect(), ..Diary::default() };
        let sent = diary.outcome(start, Span { from_s: 0.0, to_s: 20.0 }).packets_sent;
        assert!((19_600..=20_400).contains(&sent), "{sent}");
    }

    #[tokio::test]
    async fn a_server_that_fell_silent_counts_for_as_long_as_it_spoke() {
        let start = Instant::now();
        let outcome = diary(start).outcome(start, Span { from_s: 0.3, to_s: 30.0 });
        assert_eq!(outcome.packets_sent, 9_000);
    }

    #[tokio::test]
    async fn a_server_that_said_nothing_has_an_outcome_that_says_so() {
        let diary = Diary { url: "u".to_owned(), told: Vec::new(), failures: 7 };
        let outcome = diary.outcome(Instant::now(), Span { from_s: 1.0, to_s: 2.0 });
        assert_eq!((outcome.failures, outcome.answers, outcome.packets_sent), (7, 0, 0));
        assert!(diary.stands_still_since(Instant::now()));
        assert_eq!(agreement(&[diary], 5), None);
    }

    #[tokio::test]
    async fn totals_of_all_servers_are_held_against_what_callers_received() {
        let (start, silent) = (Instant::now(), Diary::default());
        let found = agreement(&[diary(start), silent, diary(start)], 17_820).unwrap();
        assert_eq!((found.sent_by_servers, found.received_by_callers), (18_000, 17_820));
        assert!((found.difference - 0.01).abs() < 1e-9);
    }

    #[tokio::test]
    async fn totals_that_no_server_can_have_sent_agree_with_nobody_and_break_nothing() {
        let start = Instant::now();
        let mut boasting = diary(start);
        boasting.told.push((
            start + Duration::from_secs(11),
            ServerSample { packets_sent: u64::MAX, ..sample(0, 0.0) },
        ));
        let found = agreement(&[boasting.clone(), boasting], 9_000).unwrap();
        assert!(found.difference > 0.99, "{found:?}");
    }

    #[tokio::test]
    async fn a_server_that_was_started_anew_agrees_with_nobody() {
        let start = Instant::now();
        let mut restarted = diary(start);
        restarted.told.push((start + Duration::from_secs(11), sample(10, 0.0)));
        assert_eq!(agreement(&[restarted], 9_000), None);
    }

    #[tokio::test]
    async fn numbers_that_still_grow_are_waited_for() {
        let start = Instant::now();
        let mut diary = diary(start);
        let left = start + Duration::from_secs(9);
        assert!(!diary.stands_still_since(left));
        diary.told.push((start + Duration::from_secs(12), sample(9_000, 0.0)));
        assert!(diary.stands_still_since(left));
    }
}

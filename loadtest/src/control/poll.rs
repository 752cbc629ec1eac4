//! The baseline: callers that ask each interval instead of being told.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::failure::Failure;
use super::{Control, duration, http};
use crate::scenario::Poll;

/// Polls as the scenario says until `leave` is done; at once done if it says nothing. What was found is in
/// [`Control::signaling`].
pub async fn poll(control: Arc<Control>, leave: impl Future<Output = ()> + Send) {
    let Some(plan) = control.target.poll.clone() else { return };
    let (interval, start) = (duration(plan.interval_s).max(INTERVAL_MIN), Instant::now());
    control.tally.begin_polling(u64::from(plan.callers), interval.as_secs_f64());
    let mut callers = JoinSet::new();
    for number in 0..plan.callers {
        // Evenly over the interval: a page of polling clients is not in step either.
        let first = start + interval.mul_f64(f64::from(number) / f64::from(plan.callers));
        callers.spawn(ask_on(Arc::clone(&control), plan.clone(), interval, first));
    }
    leave.await;
    callers.shutdown().await;
}

async fn ask_on(control: Arc<Control>, plan: Poll, interval: Duration, first: Instant) {
    let mut due = first;
    loop {
        sleep_until(due.into()).await;
        let asked = Instant::now();
        let answer = match timeout(ANSWER_TIME_MAX, ask(&control, &plan)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::passing("http_timeout", format!("GET {}: no answer in time", plan.url))),
        };
        let wait_min = answer.as_ref().err().map_or(Duration::ZERO, |failure| failure.wait_min);
        control.tally.note_poll(asked.elapsed(), answer);
        // A question that took longer than the interval is followed by the next one at once, not by all that were missed.
        due = (due + interval).max(Instant::now() + wait_min);
    }
}

async fn ask(control: &Control, plan: &Poll) -> Result<usize, Failure> {
    let what = format!("GET {}", plan.url);
    let mut request = control.http.get(&plan.url);
    // The token is the target's, and for nobody else to see.
    let is_target = Url::parse(&plan.url).is_ok_and(|url| url.origin() == control.origin.origin());
    if let Some(token) = control.target.token.as_ref().filter(|_| is_target) {
        request = request.bearer_auth(token);
    }
    Ok(http::get(request, &what).await?.len())
}

/// Faster is a flood, not a baseline.
const INTERVAL_MIN: Duration = Duration::from_millis(50);
/// Clients that poll give up at some time, too.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

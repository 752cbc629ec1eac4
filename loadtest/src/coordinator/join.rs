//! A machine that joins another's run.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use wire::settings::Secret;

use super::lead::share_of;
use super::machines::Line;
use super::protocol::{KEY_HEADER, Order, Report, limits, receive, send, version};
use super::{CoordinatorError, told_to_stop};
use crate::outcome::{End, Outcome};
use crate::run::{Company, Ran, RunOptions, Share, Word, run_in_company};
use crate::scenario::Scenario;

/// Carries a share of the run that is led at `leader` (`host:port`), and hands in what was found; it is also returned.
///
/// # Errors
/// The leader cannot be reached, refuses, or is gone before the run has begun.
pub async fn join(leader: &str, options: &RunOptions, key: &Secret) -> Result<Outcome, CoordinatorError> {
    let error = |why: String| CoordinatorError(format!("{leader}: {why}"));
    let mut line = open(leader, key).await.map_err(error)?;
    let _ = send(&mut line, &Report::Hello { version: version() }).await;
    let (scenario, share) = match receive(&mut line, WELCOME_PATIENCE).await {
        Some(Order::Welcome { scenario, index, of }) => (scenario, Share { index, of }),
        Some(Order::Refused { why }) => return Err(error(format!("refused: {why}"))),
        _ => return Err(error("no leader that has room for this machine".to_owned())),
    };
    // Whoever answers at that address may be anybody: its commands are not run here.
    let scenario = share_of(&scenario);
    scenario.check().map_err(|refusal| error(format!("{}: {}", refusal.key, refusal.reason)))?;
    eprintln!("machine {} of {}: waiting for the others", share.index, share.of.saturating_sub(1));
    tokio::select! {
        () = begin(&mut line) => {}
        () = told_to_stop(options.stop.clone()) => return Err(error("ended before the run had begun".to_owned())),
        () = sleep(BEGIN_PATIENCE) => return Err(error("the run does not begin".to_owned())),
    }
    take_part(line, &scenario, options, share).await.map_err(error)
}

async fn open(leader: &str, key: &Secret) -> Result<Line, String> {
    let connecting = timeout(CONNECT_PATIENCE, TcpStream::connect(leader)).await;
    let stream =
        connecting.map_err(|_| "no connection in time".to_owned())?.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let request = format!("ws://{leader}/").into_client_request().map_err(|error| error.to_string());
    let mut request = request?;
    let key = HeaderValue::from_str(key.expose()).map_err(|_| "the key is no header".to_owned())?;
    request.headers_mut().insert(KEY_HEADER, key);
    let opening = client_async_with_config(request, stream, Some(limits()));
    match timeout(CONNECT_PATIENCE, opening).await {
        Ok(Ok((line, _))) => Ok(line),
        Ok(Err(Error::Http(response))) if response.status() == StatusCode::UNAUTHORIZED => {
            Err("the key is not the leader's (loadtest.coordinator_key)".to_owned())
        }
        Ok(Err(error)) => Err(format!("no leader of a run: {error}")),
        Err(_) => Err("no leader of a run: it does not answer".to_owned()),
    }
}

/// Done when the run begins, or the leader is gone, which the run will find out.
async fn begin(line: &mut Line) {
    loop {
        match receive(line, BEGIN_PATIENCE).await {
            Some(Order::Begin { in_ms }) => return sleep(Duration::from_millis(in_ms)).await,
            Some(Order::Stop) | None => return,
            Some(_) => {}
        }
    }
}

/// This machine's share, from the first join to its report.
async fn take_part(
    line: Line,
    scenario: &Scenario,
    options: &RunOptions,
    share: Share,
) -> Result<Outcome, String> {
    let (word, mut words) = mpsc::unbounded_channel();
    let (measure, may_measure) = watch::channel(false);
    let (stop, is_stopped) = watch::channel(false);
    let company = Company { share, processes: 1, word: Some(word), measure: Some(may_measure), others: None };
    let own_options = RunOptions { stop: Some(is_stopped), ..options.clone() };
    let (mut out, mut from) = line.split();
    let mut running = Box::pin(run_in_company(scenario, &own_options, company));
    let mut is_led = true;
    let ran = loop {
        tokio::select! {
            ran = &mut running => break ran,
            Some(word) = words.recv() => if let Some(report) = told(word) {
                is_led &= send(&mut out, &report).await;
            },
            order = receive::<Order, _>(&mut from, BEGIN_PATIENCE), if is_led => match order {
                Some(Order::Measure) => { measure.send_replace(true); }
                Some(Order::Stop) => { stop.send_replace(true); }
                Some(_) => {}
                None => is_led = false,
            },
            () = told_to_stop(options.stop.clone()), if !*stop.borrow() => { stop.send_replace(true); }
        }
        if !is_led {
            stop.send_replace(true);
        }
    };
    let Ran { mut outcome, datagrams_received } = ran;
    let done = Report::Done { outcome: Box::new(outcome.clone()), datagrams_received };
    if !is_led || !send(&mut out, &done).await {
        let at_s = outcome.series.last().map_or(0.0, |second| second.at_s);
        outcome.end = End::Failed { at_s, why: "the leader of the run is gone".to_owned() };
    }
    let _ = timeout(CONNECT_PATIENCE, out.close()).await;
    Ok(outcome)
}

/// What the leader is told of it.
fn told(word: Word) -> Option<Report> {
    match word {
        Word::Settled => Some(Report::Settled),
        Word::Second(second) => Some(Report::Second { second }),
        Word::Leaving => None,
    }
}

/// A leader further away than this leads nobody.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The leader greets at once.
const WELCOME_PATIENCE: Duration = Duration::from_secs(20);
/// Somebody walks from machine to machine, or comes back tomorrow.
const BEGIN_PATIENCE: Duration = Duration::from_secs(86_400);

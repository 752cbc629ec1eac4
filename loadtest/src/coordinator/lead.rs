//! The leader: waits for the others, starts everybody at once, adds up what they found.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use wire::settings::Secret;

use super::machines::{Line, Machines};
use super::merge::merge;
use super::protocol::{KEY_HEADER, Order, Report, limits, receive, send, version};
use super::{CoordinatorError, Lead, told_to_stop};
use crate::outcome::{End, Outcome};
use crate::run::{Company, Ran, RunOptions, Share, judged, run_in_company};
use crate::scenario::{Scenario, Thresholds};

/// Runs the scenario together with `lead.machines - 1` others, and judges the whole.
///
/// # Errors
/// The address cannot be listened on, or the run was ended before everybody had come.
pub async fn lead(
    scenario: &Scenario,
    options: &RunOptions,
    lead: &Lead,
) -> Result<Outcome, CoordinatorError> {
    let listener = TcpListener::bind(lead.listen)
        .await
        .map_err(|error| CoordinatorError(format!("--coordinator {}: {error}", lead.listen)))?;
    lead_on(listener, scenario, options, lead).await
}

/// As [`lead`], where somebody listens already.
pub(super) async fn lead_on(
    listener: TcpListener,
    scenario: &Scenario,
    options: &RunOptions,
    lead: &Lead,
) -> Result<Outcome, CoordinatorError> {
    let lines = tokio::select! {
        lines = gather(listener, scenario, lead) => lines,
        () = told_to_stop(options.stop.clone()) => {
            return Err(CoordinatorError("ended before every machine had come".to_owned()));
        }
    };
    let mut machines = Machines::new(lines);
    machines.tell(&Order::Begin { in_ms: BEGIN_IN.as_millis() as u64 });
    sleep(BEGIN_IN).await;
    let (word, mut words) = mpsc::unbounded_channel();
    let company = Company {
        share: Share { index: 0, of: lead.machines },
        processes: 1,
        word: Some(word),
        measure: Some(machines.measure()),
        others: Some(machines.others()),
    };
    let mut running = Box::pin(run_in_company(scenario, options, company));
    let Ran { outcome, datagrams_received } = loop {
        tokio::select! {
            ran = &mut running => break ran,
            Some(word) = words.recv() => machines.hear(&word),
            () = machines.next() => {}
        }
    };
    if outcome.end != End::Complete {
        machines.tell(&Order::Stop);
    }
    machines.collect(COLLECT_PATIENCE).await;
    Ok(judged(merge(outcome, datagrams_received, &machines.into_parts()), scenario))
}

/// Waits for the others and gives each its place.
async fn gather(listener: TcpListener, scenario: &Scenario, lead: &Lead) -> Vec<(SocketAddr, Line)> {
    let (greeted, mut guests) = mpsc::channel(GUESTS_MAX);
    let key = lead.key.clone();
    // Whoever is slow, or nobody of ours, keeps nobody else waiting.
    let door = async move {
        loop {
            let Ok((stream, address)) = listener.accept().await else {
                // Out of files, for a moment.
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (greeted, key) = (greeted.clone(), key.clone());
            tokio::spawn(async move {
                if let Ok(Some(line)) = timeout(GREETING_PATIENCE, greet(stream, &key)).await {
                    let _ = greeted.send((address, line)).await;
                }
            });
        }
    };
    let wanted = lead.machines.saturating_sub(1);
    eprintln!("waiting for {wanted} more machines on {}", lead.listen);
    let seating = async {
        let mut seated = Vec::new();
        while (seated.len() as u32) < wanted {
            let Some((address, mut line)) = guests.recv().await else { break };
            let index = seated.len() as u32 + 1;
            let scenario = Box::new(share_of(scenario));
            if send(&mut line, &Order::Welcome { scenario, index, of: lead.machines }).await {
                eprintln!("machine {index} of {wanted} is here: {}", address.ip());
                seated.push((address, line));
            }
        }
        seated
    };
    tokio::select! { lines = seating => lines, () = door => Vec::new() }
}

/// Checks the key before anything is read, and the version before anything is said.
async fn greet(stream: TcpStream, key: &Secret) -> Option<Line> {
    stream.set_nodelay(true).ok()?;
    #[expect(clippy::result_large_err, reason = "the library's callback has this type")]
    let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let shown = request.headers().get(KEY_HEADER).map_or(&[][..], |value| value.as_bytes());
        if key.matches(shown) {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(Some("the key is not the leader's\n".to_owned()));
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        Err(refusal)
    };
    let mut line = accept_hdr_async_with_config(stream, check, Some(limits())).await.ok()?;
    let Some(Report::Hello { version: theirs }) = receive(&mut line, GREETING_PATIENCE).await else {
        return None;
    };
    if theirs != version() {
        let why = format!("this machine has loadtest {theirs}, the leader has {}", version());
        let _ = send(&mut line, &Order::Refused { why }).await;
        return None;
    }
    Some(line)
}

/// What another machine is to run: hooks, servers' numbers, polling and the verdict are the leader's.
pub(super) fn share_of(scenario: &Scenario) -> Scenario {
    let mut share = scenario.clone();
    share.hooks.clear();
    share.target.stats.clear();
    share.target.poll = None;
    share.thresholds = Thresholds::default();
    share
}

/// The order reaches everybody before it is due.
const BEGIN_IN: Duration = Duration::from_secs(1);
/// A machine that has begun to talk finishes soon.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);
/// Guests that have been greeted and not been seated.
const GUESTS_MAX: usize = 16;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Others' callers leave and hand in while ours already have.
const COLLECT_PATIENCE: Duration = Duration::from_secs(60);

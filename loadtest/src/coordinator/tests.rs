//! Machines of one run, over loopback. Their target is not there, so that every part of the run ends at once: what is
//! tested is who comes, who is refused, who vanishes and what is added up.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::SinkExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{accept_async, client_async};
use wire::settings::Secret;

use super::lead::lead_on;
use super::machines::Line;
use super::protocol::{KEY_HEADER, Order, Report, receive, send, version};
use super::{CoordinatorError, Lead, join};
use crate::outcome::{End, Outcome};
use crate::run::RunOptions;
use crate::scenario::{Group, Hook, PerConference, Scenario};

const KEY: &str = "a key of more than thirty-two bytes for tests";
const PATIENCE: Duration = Duration::from_secs(30);

/// Nine callers in three conferences, at an address where nobody listens.
async fn scenario() -> Scenario {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut scenario = Scenario { conferences: 3, ..Scenario::default() };
    scenario.groups = vec![Group { per_conference: PerConference::Same(3), ..Group::default() }];
    scenario.target.url = format!("http://{closed}");
    scenario.target.stats.clear();
    scenario
}

/// A leader of `machines`, itself among them, and where it listens.
async fn leader(
    machines: u32,
    options: RunOptions,
) -> (SocketAddr, tokio::task::JoinHandle<Result<Outcome, CoordinatorError>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    let (scenario, key) = (scenario().await, Secret::from(KEY.to_owned()));
    let leading =
        tokio::spawn(
            async move { lead_on(listener, &scenario, &options, &Lead { listen, machines, key }).await },
        );
    (listen, leading)
}

/// A machine that is driven by hand.
async fn machine(leader: SocketAddr) -> Line {
    let mut request = format!("ws://{leader}/").into_client_request().unwrap();
    request.headers_mut().insert(KEY_HEADER, KEY.parse().unwrap());
    client_async(request, TcpStream::connect(leader).await.unwrap()).await.unwrap().0
}

async fn order(line: &mut Line) -> Option<Order> {
    receive(line, PATIENCE).await
}

#[tokio::test]
async fn callers_of_all_machines_are_one_run() {
    let (address, leading) = leader(3, RunOptions::default()).await;
    let key = Secret::from(KEY.to_owned());
    let address = address.to_string();
    let options = RunOptions::default();
    let (one, other) = tokio::join!(join(&address, &options, &key), join(&address, &options, &key));
    let outcome = leading.await.unwrap().unwrap();
    let callers = |outcome: &Outcome| outcome.groups[0].callers;
    assert_eq!((callers(&one.unwrap()), callers(&other.unwrap()), callers(&outcome)), (3, 3, 9));
    assert_eq!(outcome.machine.processes, 3);
    let End::Failed { why, .. } = &outcome.end else { panic!("{:?}", outcome.end) };
    assert!(why.contains("cannot be reached"), "{why}");
    let failed = outcome.tool.limits.iter().filter(|limit| limit.contains("cannot be reached")).count();
    assert_eq!(failed, 2, "{:?}", outcome.tool.limits);
}

#[tokio::test]
async fn a_key_that_is_not_the_leaders_is_refused() {
    let (address, leading) = leader(2, RunOptions::default()).await;
    let key = Secret::from("another key of more than thirty-two bytes".to_owned());
    let error = join(&address.to_string(), &RunOptions::default(), &key).await.unwrap_err();
    assert!(error.to_string().contains("the key is not the leader's"), "{error}");
    leading.abort();
}

#[tokio::test]
async fn a_machine_of_another_version_is_told_why_it_cannot_take_part() {
    let (address, leading) = leader(2, RunOptions::default()).await;
    let mut line = machine(address).await;
    assert!(send(&mut line, &Report::Hello { version: "0.0.1/0".to_owned() }).await);
    let Some(Order::Refused { why }) = order(&mut line).await else { panic!("welcome?") };
    assert!(why.contains("0.0.1/0") && why.contains(&version()), "{why}");
    leading.abort();
}

#[tokio::test]
async fn a_machine_that_vanishes_is_named_and_the_run_goes_on() {
    let (address, leading) = leader(2, RunOptions::default()).await;
    let mut line = machine(address).await;
    assert!(send(&mut line, &Report::Hello { version: version() }).await);
    let Some(Order::Welcome { scenario, index: 1, of: 2 }) = order(&mut line).await else { panic!() };
    assert!(scenario.target.stats.is_empty() && scenario.hooks.is_empty());
    assert!(matches!(order(&mut line).await, Some(Order::Begin { .. })));
    drop(line);
    let outcome = leading.await.unwrap().unwrap();
    assert_eq!((outcome.machine.processes, outcome.groups[0].callers), (1, 6));
    let limit = outcome.tool.limits.iter().find(|limit| limit.contains("vanished"));
    assert!(limit.is_some_and(|limit| limit.contains("machine 1 (127.0.0.1)")), "{:?}", outcome.tool.limits);
    assert!(outcome.agreement.is_none());
}

#[tokio::test]
async fn a_machine_runs_no_commands_that_come_over_the_wire() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut armed = scenario().await;
    armed.hooks.push(Hook { at_s: 0.0, command: "true".to_owned() });
    let leading = tokio::spawn(async move {
        let mut line = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        let hello: Option<Report> = receive(&mut line, PATIENCE).await;
        assert!(matches!(hello, Some(Report::Hello { .. })));
        let welcome = Order::Welcome { scenario: Box::new(armed), index: 1, of: 2 };
        assert!(send(&mut line, &welcome).await && send(&mut line, &Order::Begin { in_ms: 0 }).await);
        while receive::<Report, _>(&mut line, PATIENCE).await.is_some() {}
    });
    let outcome = join(&address, &RunOptions::default(), &Secret::from(KEY.to_owned())).await.unwrap();
    assert!(outcome.scenario.hooks.is_empty() && outcome.groups[0].callers == 3, "{:?}", outcome.scenario);
    leading.await.unwrap();
}

#[tokio::test]
async fn more_machines_than_conferences_are_one_line() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let lead = |machines| Lead { listen, machines, key: Secret::from(KEY.to_owned()) };
    let scenario = scenario().await;
    assert_eq!(lead(3).check(&scenario), Ok(()));
    let error = lead(4).check(&scenario).unwrap_err().to_string();
    assert!(error.starts_with("--machines 4 are more") && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn what_no_machine_says_is_as_good_as_silence() {
    let (address, leading) = leader(2, RunOptions::default()).await;
    for text in ["", "{}", "{\"type\":\"welcome\"}", "[1,2", "\u{0}"] {
        let mut line = machine(address).await;
        line.send(Message::text(text)).await.unwrap();
        assert!(order(&mut line).await.is_none(), "{text}");
    }
    let mut line = machine(address).await;
    assert!(send(&mut line, &Report::Hello { version: version() }).await);
    assert!(matches!(order(&mut line).await, Some(Order::Welcome { .. })), "others can still come");
    leading.abort();
}

#[tokio::test]
async fn a_leader_can_be_told_to_wait_no_longer() {
    let (stop, stopped) = watch::channel(false);
    let (_, leading) = leader(2, RunOptions { stop: Some(stopped), ..RunOptions::default() }).await;
    stop.send_replace(true);
    let error = leading.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("before every machine had come"), "{error}");
}

#[tokio::test]
async fn a_leader_that_is_not_there_is_one_line() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let key = Secret::from(KEY.to_owned());
    let error = join(&closed, &RunOptions::default(), &key).await.unwrap_err().to_string();
    assert!(error.starts_with(&closed) && error.contains("refused") && !error.contains('\n'), "{error}");
}

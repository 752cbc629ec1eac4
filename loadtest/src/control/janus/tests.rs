//! A Janus with a script: what is asked of it, in which order, and what its refusals become.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;

use super::*;

/// What it was asked and what it will say next.
#[derive(Default)]
struct Script {
    /// `janus` of each request, or `request` of a message's body.
    asked: Vec<String>,
    /// Publishers of the room, growing.
    publishers: VecDeque<Value>,
    /// What `event` tells.
    events: VecDeque<Value>,
    /// The description that answers the next message with one, or asks for one.
    description: Value,
    /// The plugin's error for each message.
    error: Option<&'static str>,
}

type Shared = Arc<Mutex<Script>>;

async fn started(script: Script) -> (Shared, Url) {
    let shared = Arc::new(Mutex::new(script));
    let router = Router::new()
        .route("/janus", post(request))
        .route("/janus/1", get(event).post(request))
        .route("/janus/1/{handle}", post(message))
        .with_state(Arc::clone(&shared));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}/janus", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    (shared, url.parse().unwrap())
}

async fn request(State(script): State<Shared>, Json(body): Json<Value>) -> Json<Value> {
    let kind = body["janus"].as_str().unwrap().to_owned();
    let id = if kind == "create" { 1 } else { 2 };
    script.lock().unwrap().asked.push(kind);
    Json(json!({"janus": "success", "transaction": body["transaction"], "data": {"id": id}}))
}

async fn event(State(script): State<Shared>) -> Json<Value> {
    let next = script.lock().unwrap().events.pop_front();
    Json(next.unwrap_or_else(|| json!({"janus": "keepalive"})))
}

async fn message(
    State(script): State<Shared>,
    Path(handle): Path<u32>,
    Json(body): Json<Value>,
) -> Json<Value> {
    assert_eq!(handle, 2);
    let mut script = script.lock().unwrap();
    let (asked, transaction) = (body["body"]["request"].as_str().unwrap(), &body["transaction"]);
    script.asked.push(asked.to_owned());
    let reply = |data: Value| json!({"plugin": "janus.plugin.videoroom", "data": data});
    let data = match script.error {
        Some(error) if asked != "create" => reply(json!({"error_code": 1, "error": error})),
        // Whoever comes second finds the room there.
        _ if asked == "create" => reply(json!({"error_code": 427, "error": "Room 7 already exists"})),
        _ => {
            let publishers = script.publishers.pop_front().unwrap_or_else(|| json!([]));
            reply(json!({"participants": publishers}))
        }
    };
    if matches!(asked, "create" | "listparticipants") {
        return Json(json!({"janus": "success", "transaction": transaction, "plugindata": data}));
    }
    // Others' events come in between.
    script.events.push_back(json!({"janus": "webrtcup", "session_id": 1}));
    script
        .events
        .push_back(json!({"janus": "event", "transaction": "another", "plugindata": reply(json!({}))}));
    let description = script.description.clone();
    script.events.push_back(
        json!({"janus": "event", "transaction": transaction, "plugindata": data, "jsep": description}),
    );
    Json(json!({"janus": "ack", "transaction": transaction}))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test]
async fn a_publisher_gets_its_answer_in_a_room_that_may_exist_already() {
    let description = json!({"type": "answer", "sdp": "an answer"});
    let (script, url) = started(Script { description, ..Script::default() }).await;
    let mut janus = Janus::open(Client::new(), &url).await.unwrap();
    assert_eq!(janus.publish("demo", "an offer", soon()).await.unwrap(), "an answer");
    script.lock().unwrap().events.push_back(json!({"janus": "hangup"}));
    assert_eq!(janus.ending().await.unwrap(), Ending::HangUp);
    janus.close().await;
    assert_eq!(script.lock().unwrap().asked, ["create", "attach", "create", "joinandconfigure", "destroy"]);
}

#[tokio::test]
async fn a_viewer_waits_for_a_publisher_and_gets_the_offer() {
    let publishers =
        [json!([]), json!([{"id": 4, "publisher": false}]), json!([{"id": 5, "publisher": true}])];
    let description = json!({"type": "offer", "sdp": "an offer"});
    let script = Script { publishers: publishers.into(), description, ..Script::default() };
    let (script, url) = started(script).await;
    let mut janus = Janus::open(Client::new(), &url).await.unwrap();
    assert_eq!(janus.subscribe("demo", 1, soon()).await.unwrap(), "an offer");
    let expected = ["create", "attach", "listparticipants", "listparticipants", "listparticipants", "join"];
    assert_eq!(script.lock().unwrap().asked, expected);
}

#[tokio::test]
async fn a_room_where_nobody_publishes_and_a_refusal_are_one_line_each() {
    let (script, url) = started(Script::default()).await;
    let mut janus = Janus::open(Client::new(), &url).await.unwrap();
    assert_eq!(janus.subscribe("demo", 1, Instant::now()).await.unwrap_err().reason, "no_media");
    script.lock().unwrap().error = Some("Maximum number of publishers (6) already reached");
    let refused = janus.publish("demo", "an offer", soon()).await.unwrap_err();
    assert_eq!(&*refused.reason, "janus_refused");
    assert_eq!(refused.line, "Janus refuses: Maximum number of publishers (6) already reached");
    script.lock().unwrap().error = None;
    let strange = janus.publish("demo", "an offer", soon()).await.unwrap_err();
    assert_eq!(strange.line, "Janus sends no answer");
}

#[tokio::test]
async fn a_server_that_is_no_janus_or_is_not_there_is_said_in_one_line() {
    let (_, url) = started(Script::default()).await;
    let elsewhere = url.join("/nothing").unwrap();
    assert_eq!(&*Janus::open(Client::new(), &elsewhere).await.err().unwrap().reason, "not_found");
    let nowhere = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let closed = format!("http://{}/janus", nowhere.local_addr().unwrap()).parse().unwrap();
    drop(nowhere);
    let unreachable = Janus::open(Client::new(), &closed).await.err().unwrap();
    assert!(unreachable.reason == "unreachable" && !unreachable.line.contains('\n'), "{unreachable:?}");
}

#[test]
fn a_refusal_is_one_line_with_janus_own_words() {
    let answer =
        json!({"janus": "event", "plugindata": {"data": {"error_code": 428, "error": "No such feed (5)"}}});
    let failure = plugin_data(&answer).unwrap_err();
    assert_eq!(
        (&*failure.reason, failure.line.as_str()),
        ("janus_refused", "Janus refuses: No such feed (5)")
    );
    for strange in [json!({}), json!([]), json!({"data": {"id": "x"}}), json!(null)] {
        assert_eq!(number(&strange).unwrap_err().reason, "janus_strange", "{strange}");
    }
}

#[test]
fn a_description_of_the_wrong_kind_is_none() {
    let event = json!({"jsep": {"type": "offer", "sdp": "v=0"}});
    assert_eq!(description(&event, "offer").unwrap(), "v=0");
    assert!(description(&event, "answer").is_err() && description(&json!({}), "offer").is_err());
}

#[test]
fn a_room_has_the_same_number_everywhere_and_it_fits_json() {
    assert_eq!(room("demo"), room("demo"));
    assert_ne!(room("demo"), room("demo2"));
    assert!((1..1 << 53).contains(&room("")));
}

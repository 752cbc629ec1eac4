//! A Janus videoroom by its HTTP interface, so that the same callers measure another SFU.
//!
//! ```text
//!   POST /janus            create ──► session        publisher: joinandconfigure with the caller's offer ──► answer
//!   POST …/session         attach ──► handle         viewer:    join ──► Janus' offer;  start with the answer to it
//!   GET  …/session?maxev=1 events, one at a time; asking for the next keeps the session alive
//! ```
//!
//! A group that sends publishes and one that does not subscribes, as with WHIP and WHEP. Janus must be an ICE-lite agent
//! (see [`exchange`]). Conferences are rooms whose number is made from the name.
//!
//! Knows nothing about media; what goes wrong on Janus' side is one [`Failure`].

mod exchange;
#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use self::exchange::Answers;
use super::failure::Failure;
use super::http::accepted;

/// One caller's session with Janus.
pub(super) struct Janus {
    http: Client,
    /// `…/janus/<session>`.
    session: String,
    /// `…/janus/<session>/<handle>` of the videoroom plugin.
    handle: String,
    transactions: u64,
}

/// What Janus says without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The PeerConnection is over.
    HangUp,
    /// The session is.
    Session,
}

impl Janus {
    /// A session and a handle in it. `base`: Janus' own URL, such as `http://10.0.0.1:8088/janus`.
    ///
    /// # Errors
    /// No Janus there, or one that refuses.
    pub(super) async fn open(http: Client, base: &Url) -> Result<Self, Failure> {
        let base = base.as_str().trim_end_matches('/').to_owned();
        let mut janus = Self { http, session: base.clone(), handle: base, transactions: 0 };
        let session = number(&janus.post(&janus.session.clone(), json!({"janus": "create"})).await?)?;
        janus.session = format!("{}/{session}", janus.session);
        let plugin = json!({"janus": "attach", "plugin": "janus.plugin.videoroom"});
        let handle = number(&janus.post(&janus.session.clone(), plugin).await?)?;
        janus.handle = format!("{}/{handle}", janus.session);
        Ok(janus)
    }

    /// Publishes by the caller's offer, in a room that is made if need be. Gives Janus' answer.
    ///
    /// # Errors
    /// What Janus says; silence until `deadline`.
    pub(super) async fn publish(
        &mut self,
        conference: &str,
        offer: &str,
        deadline: Instant,
    ) -> Result<String, Failure> {
        let room = room(conference);
        let create = json!({
            "request": "create", "room": room, "publishers": PUBLISHERS_MAX, "bitrate": 0,
            "audiocodec": "opus", "videocodec": "vp8", "transport_wide_cc_ext": true,
        });
        match self.ask(create).await {
            Err(failure) if failure.line.contains(ROOM_EXISTS) => {}
            other => drop(other?),
        }
        let join = json!({"request": "joinandconfigure", "ptype": "publisher", "room": room});
        let event = self.send(join, Some(("offer", offer)), deadline).await?;
        description(&event, "answer")
    }

    /// Subscribes to whoever publishes in the room, as soon as somebody does: `feeds` at most. Gives Janus' offer.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub(super) async fn subscribe(
        &mut self,
        conference: &str,
        feeds: usize,
        deadline: Instant,
    ) -> Result<String, Failure> {
        let room = room(conference);
        let streams = loop {
            let streams = self.publishers(room).await?;
            if !streams.is_empty() {
                break streams;
            }
            if Instant::now() + PUBLISHERS_INTERVAL > deadline {
                return Err(Failure::passing("no_media", "nobody publishes in the Janus room"));
            }
            sleep(PUBLISHERS_INTERVAL).await;
        };
        let streams: Vec<Value> =
            streams.into_iter().take(feeds.max(1)).map(|feed| json!({"feed": feed})).collect();
        let join = json!({"request": "join", "ptype": "subscriber", "room": room, "streams": streams});
        let event = self.send(join, None, deadline).await?;
        description(&event, "offer")
    }

    /// The way from Janus' offer to a caller that only offers: gives what the caller takes as its answer.
    ///
    /// # Errors
    /// Descriptions that do not fit, and what Janus says of its own.
    pub(super) async fn start(
        &mut self,
        own: &str,
        janus: &str,
        deadline: Instant,
    ) -> Result<String, Failure> {
        let Answers { for_caller, for_janus } = exchange::answers(own, janus)?;
        self.send(json!({"request": "start"}), Some(("answer", &for_janus)), deadline).await?;
        Ok(for_caller)
    }

    /// Waits for the end of the call, and keeps the session alive by waiting.
    ///
    /// # Errors
    /// Janus is gone.
    pub(super) async fn ending(&mut self) -> Result<Ending, Failure> {
        loop {
            match self.event().await?["janus"].as_str() {
                Some("hangup") => return Ok(Ending::HangUp),
                Some("timeout" | "detached") => return Ok(Ending::Session),
                _ => {}
            }
        }
    }

    /// Leaves. Janus may be gone by now.
    pub(super) async fn close(mut self) {
        let session = self.session.clone();
        let _ = self.post(&session, json!({"janus": "destroy"})).await;
    }

    /// Ids of the room's publishers; none while there is no room.
    async fn publishers(&mut self, room: u64) -> Result<Vec<u64>, Failure> {
        let data = match self.ask(json!({"request": "listparticipants", "room": room})).await {
            Err(failure) if failure.line.contains(NO_ROOM) => return Ok(Vec::new()),
            other => other?,
        };
        let list = data["participants"].as_array().map(Vec::as_slice).unwrap_or_default();
        let publishing = list.iter().filter(|each| each["publisher"] == true);
        Ok(publishing.filter_map(|each| each["id"].as_u64()).collect())
    }

    /// A request that the plugin answers at once. Gives its data.
    async fn ask(&mut self, body: Value) -> Result<Value, Failure> {
        let handle = self.handle.clone();
        let answer = self.post(&handle, json!({"janus": "message", "body": body})).await?;
        plugin_data(&answer)
    }

    /// A request that is answered by an event. Gives the event.
    async fn send(
        &mut self,
        body: Value,
        description: Option<(&str, &str)>,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let mut message = json!({"janus": "message", "body": body});
        if let Some((kind, sdp)) = description {
            message["jsep"] = json!({"type": kind, "sdp": sdp});
        }
        let handle = self.handle.clone();
        let acknowledged = self.post(&handle, message).await?;
        let transaction = acknowledged["transaction"].clone();
        let wait = async {
            loop {
                let event = self.event().await?;
                if event["janus"] == "event" && event["transaction"] == transaction {
                    plugin_data(&event)?;
                    return Ok(event);
                }
            }
        };
        timeout_at(deadline, wait).await.unwrap_or_else(|_| {
            Err(Failure::passing("no_answer", "Janus did not answer the request in time"))
        })
    }

    async fn post(&mut self, url: &str, mut message: Value) -> Result<Value, Failure> {
        self.transactions += 1;
        message["transaction"] = self.transactions.to_string().into();
        let sent = self.http.post(url).timeout(ANSWER_TIME_MAX).json(&message).send().await;
        read(sent).await
    }

    /// The next event, or that there was none for half a minute.
    async fn event(&self) -> Result<Value, Failure> {
        let url = format!("{}?maxev=1", self.session);
        read(self.http.get(url).timeout(EVENT_TIME_MAX).send().await).await
    }
}

/// An answer's JSON, unless it says that something failed.
async fn read(sent: Result<reqwest::Response, reqwest::Error>) -> Result<Value, Failure> {
    let response = sent.map_err(|error| Failure::of_http(&error, WHAT))?;
    let body = accepted(response, WHAT).await?;
    let answer: Value = serde_json::from_slice(&body).map_err(|_| {
        Failure::lasting("janus_strange", "what answers is not Janus: its answer is not JSON")
    })?;
    // One event comes bare or in a list of one, by version.
    let answer = answer.get(0).cloned().unwrap_or(answer);
    if answer["janus"] == "error" {
        return Err(refusal(&answer["error"]["reason"]));
    }
    Ok(answer)
}

/// The videoroom's part of an answer or event.
fn plugin_data(answer: &Value) -> Result<Value, Failure> {
    let data = &answer["plugindata"]["data"];
    if data.get("error").is_some() {
        return Err(refusal(&data["error"]));
    }
    Ok(data.clone())
}

fn refusal(reason: &Value) -> Failure {
    let reason = reason.as_str().unwrap_or("it does not say why");
    Failure::lasting("janus_refused", format!("Janus refuses: {reason}"))
}

/// The id that `create` and `attach` give.
fn number(answer: &Value) -> Result<u64, Failure> {
    let id = answer["data"]["id"].as_u64();
    id.ok_or_else(|| Failure::lasting("janus_strange", "what answers is not Janus: it gives no id"))
}

fn description(event: &Value, kind: &str) -> Result<String, Failure> {
    let jsep = &event["jsep"];
    let sdp = jsep["sdp"].as_str().filter(|_| jsep["type"] == kind);
    sdp.map(str::to_owned).ok_or_else(|| Failure::lasting("janus_strange", format!("Janus sends no {kind}")))
}

/// Rooms have numbers. The same name makes the same number on every machine of a run.
fn room(conference: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    conference.hash(&mut hasher);
    // JSON numbers are exact up to 2^53.
    (hasher.finish() >> 12).max(1)
}

/// In lines for persons.
const WHAT: &str = "Janus";
/// Janus answers requests at once and leaves what takes time to events.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Janus lets a question for events wait for 30 s.
const EVENT_TIME_MAX: Duration = Duration::from_secs(40);
/// A viewer that is early asks again.
const PUBLISHERS_INTERVAL: Duration = Duration::from_millis(250);
/// More than any scenario's senders.
const PUBLISHERS_MAX: u32 = 1_000;
/// Janus' words for its errors 427 and 426, which are no failures here.
const ROOM_EXISTS: &str = "already exists";
const NO_ROOM: &str = "No such room";

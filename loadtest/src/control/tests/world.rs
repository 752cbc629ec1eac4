//! What the tests share: a phone that is none, servers with a script, and a caller between them.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use wire::messages::meeting::{SUBPROTOCOL, SlotCounts};

use super::super::*;
use crate::engine::ports::Note;
use crate::scenario::{MediaPath, Receive, Scenario, TurnServer};

/// Longer than anything that works takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A handset that offers a text and finds media as soon as it is answered.
pub(super) struct FakePhone {
    /// Slots of each offer, in order.
    pub(super) offers: mpsc::UnboundedSender<SlotCounts>,
    notes: VecDeque<Note>,
    /// Notes that the test sends later.
    pub(super) later: mpsc::UnboundedReceiver<Note>,
    is_connected: bool,
}

impl Handset for FakePhone {
    async fn offer(&mut self, slots: SlotCounts, _: Option<TurnServer>) -> Result<String, Failure> {
        self.offers.send(slots).unwrap();
        Ok("an offer".to_owned())
    }

    async fn answer(&mut self, sdp: &str) -> Result<(), Failure> {
        if sdp != "an answer" {
            return Err(Failure::passing("bad_answer", "not what was expected"));
        }
        self.is_connected = true;
        self.notes.extend([Note::IceConnected, Note::DtlsConnected, Note::FirstPacket, Note::FirstPicture]);
        Ok(())
    }

    async fn note(&mut self) -> Option<(Instant, Note)> {
        if let Some(note) = self.notes.pop_front() {
            return Some((Instant::now(), note));
        }
        match self.later.recv().await {
            Some(note) => Some((Instant::now(), note)),
            None => std::future::pending().await,
        }
    }

    async fn hang_up(&mut self) {
        self.is_connected = false;
        self.notes.clear();
    }
}

/// A caller at work.
pub(super) struct Caller {
    pub(super) ledger: Ledger,
    pub(super) offers: mpsc::UnboundedReceiver<SlotCounts>,
    pub(super) notes: mpsc::UnboundedSender<Note>,
    leave: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Caller {
    pub(super) fn start(control: &Arc<Control>, seat: Seat) -> Self {
        let (offered, offers) = mpsc::unbounded_channel();
        let (notes, later) = mpsc::unbounded_channel();
        let phone = FakePhone { offers: offered, notes: VecDeque::new(), later, is_connected: false };
        let ledger = Ledger::default();
        let (leave, left) = oneshot::channel();
        let life = attend(Arc::clone(control), seat, phone, ledger.clone(), async {
            let _ = left.await;
        });
        Self { ledger, offers, notes, leave: Some(leave), task: tokio::spawn(life) }
    }

    /// Leaves and waits for the end.
    pub(super) async fn leave(mut self) -> Ledger {
        let _ = self.leave.take().unwrap().send(());
        self.end().await
    }

    /// Waits until it ends by itself.
    pub(super) async fn end(self) -> Ledger {
        // The sender lives until here: a caller that is not told to leave does not.
        tokio::time::timeout(PATIENCE, self.task).await.expect("the caller ends").unwrap();
        drop(self.leave);
        self.ledger
    }

    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Standing) -> bool) {
        until(what, || is_so(&self.ledger.standing())).await;
    }

    /// Offers, is answered, and has media.
    pub(super) async fn connect(&mut self, line: &mut End) {
        self.offered().await;
        line.answer().await;
        self.until("media", |standing| standing.up == 1).await;
    }

    /// The slots of the next offer.
    pub(super) async fn offered(&mut self) -> SlotCounts {
        soon("an offer", self.offers.recv()).await.unwrap()
    }
}

/// A seat of somebody who is shown what others send.
pub(super) fn seat(entry: Entry) -> Seat {
    Seat {
        conference: "a conference/with marks?".to_owned(),
        name: "Ada".to_owned(),
        group: 0,
        seed: 1,
        entry,
        sends: false,
        awaits_media: true,
        receive: Receive::default(),
        path: MediaPath::Direct,
        channel: true,
        chat_per_minute: 0.0,
    }
}

/// Control of a scenario with this target and patience.
pub(super) fn control(url: &str, join_timeout_s: f64, change: impl FnOnce(&mut Scenario)) -> Arc<Control> {
    let mut scenario = Scenario { join_timeout_s, ..Scenario::default() };
    scenario.target.url = url.to_owned();
    change(&mut scenario);
    Arc::new(Control::new(&scenario).unwrap())
}

/// A server of these routes on a free port; it ends with the test's runtime.
pub(super) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A port on which nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Waits for what others do.
pub(super) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.unwrap_or_else(|_| panic!("{what} does not come"))
}

/// Looks again and again, since real sockets are between.
pub(super) async fn until(what: &str, is_so: impl Fn() -> bool) {
    soon(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A signaling that is told what to say; both of its sockets as seen from the server.
pub(super) struct Signaling {
    pub(super) address: SocketAddr,
    lines: mpsc::UnboundedReceiver<(String, WebSocket)>,
}

/// One end of a caller's socket.
pub(super) struct End {
    socket: WebSocket,
    /// Path and query that were asked for.
    pub(super) place: String,
}

impl Signaling {
    pub(super) async fn start() -> Self {
        let (accepted, lines) = mpsc::unbounded_channel();
        let open = |accepted: mpsc::UnboundedSender<(String, WebSocket)>| {
            move |uri: axum::http::Uri, upgrade: WebSocketUpgrade| async move {
                let place = uri.to_string();
                upgrade.protocols([SUBPROTOCOL]).on_upgrade(async move |socket| {
                    let _ = accepted.send((place, socket));
                })
            }
        };
        let router = Router::new()
            .route("/ws", get(open(accepted.clone())))
            .route("/colibri-ws/x", get(open(accepted)));
        Self { address: serve(router).await, lines }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next socket that a caller opens.
    pub(super) async fn accept(&mut self) -> End {
        let (place, socket) = soon("a socket", self.lines.recv()).await.unwrap();
        End { socket, place }
    }

    /// Takes the next caller in and has it make an offer.
    pub(super) async fn take_in(&mut self, present: usize) -> End {
        let mut end = self.accept().await;
        assert_eq!(end.hear().await["type"], "join");
        end.say(&joined()).await;
        end.say(&state(present)).await;
        end.say(&json!({"type": "assigned", "ice_servers": [], "reason": "started", "epoch": 1})).await;
        end
    }
}

impl End {
    pub(super) async fn hear(&mut self) -> Value {
        loop {
            match soon("a message", self.socket.recv()).await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?} instead of a message"),
            }
        }
    }

    pub(super) async fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Answers an offer.
    pub(super) async fn answer(&mut self) {
        let offer = self.hear().await;
        assert_eq!((&offer["type"], &offer["sdp"]), (&json!("offer"), &json!("an offer")));
        let (rev, url) = (&offer["rev"], "/colibri-ws/x?pwd=p");
        self.say(&json!({"type": "answer", "sdp": "an answer", "rev": rev, "channel_url": url})).await;
    }

    /// Waits until the caller has gone; says what it said before.
    pub(super) async fn gone(mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(Ok(message)) = soon("the end", self.socket.recv()).await {
            if let Message::Text(text) = message {
                said.push(text.to_string());
            }
        }
        said
    }
}

pub(super) fn joined() -> Value {
    json!({
        "type": "joined", "participant": "0a1b2c3d", "resume": "secret", "conference": "x",
        "limits": {"message_bytes_max": 65536, "chat_bytes_max": 2048, "name_graphemes_max": 64, "participants_max": 500},
        "slots": {"audio": 3, "video": 9},
    })
}

pub(super) fn state(present: usize) -> Value {
    let participants: Vec<Value> = (0..present).map(|number| participant(number, false)).collect();
    json!({"type": "state", "seq": 1, "snapshot": {"participants": participants}})
}

pub(super) fn participant(number: usize, hand: bool) -> Value {
    let id = format!("{number:08x}");
    json!({"id": id, "name": "n", "muted_audio": false, "muted_video": false, "screen": false, "hand": hand})
}

/// What a server has seen, in order.
pub(super) type Seen = Arc<Mutex<Vec<String>>>;

//! Runs the engine: one task that owns the [`Focus`], takes inputs from all sockets in turn, and hands outputs out.
//!
//! ```text
//!   connections ─┐                       ┌─► outbox of each connection (bounded; full = that connection ends)
//!   links ───────┼─► bounded queue ─► Focus ─► queue of each link (bounded; full = that link ends)
//!   HTTP, REST ──┘                       └─► one-shot answers
//! ```
//! A full input queue makes sockets wait, which slows their senders down and nobody else. A full output queue ends the
//! one socket that does not read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};
use wire::messages::ids::{BridgeId, EndpointId};
use wire::messages::link::{Command, FromBridge};
use wire::messages::meeting::{ByeReason, Request, Update};

use crate::engine::Focus;
use crate::engine::ports::{
    Assigned, ConferenceName, ConnectionId, FocusSettings, HttpAnswer, HttpId, HttpRequest, LinkFault,
    LinkId, Output,
};
use crate::outbox::{Close, Outbox};
use crate::relays::Relays;

/// Inputs that wait for the engine; each is handled in microseconds.
const INPUTS_MAX: usize = 4096;
/// Inputs between two looks at the clock.
const INPUTS_AT_ONCE: usize = 64;
/// Commands that wait for one link: a storm of 500 joins, twice.
const COMMANDS_MAX: usize = 1024;

/// The way to the engine, for every socket.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    inputs: mpsc::Sender<Input>,
    last_id: Arc<AtomicU64>,
}

/// What a link's socket is given to write. It ends when the queue ends, for the reason in `fault`.
#[derive(Debug)]
pub(crate) struct LinkQueue {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) fault: oneshot::Receiver<LinkFault>,
}

/// Looks at the engine from outside; for operators.
type Look = Box<dyn FnOnce(&Focus, Instant) + Send>;

enum Input {
    ConnectionOpened(ConnectionId, ConferenceName, Outbox),
    Browser(ConnectionId, Request),
    ConnectionClosed(ConnectionId),
    LinkOpened(LinkId, LinkSender),
    Bridge(LinkId, FromBridge),
    LinkClosed(LinkId),
    Http(HttpId, HttpRequest, oneshot::Sender<HttpAnswer>),
    Look(Look),
}

#[derive(Debug)]
struct LinkSender {
    commands: mpsc::Sender<Command>,
    fault: oneshot::Sender<LinkFault>,
}

impl Hub {
    /// Starts the engine's task. It ends when `stop` changes, after everybody was told.
    pub(crate) fn start(
        settings: FocusSettings,
        relays: Option<Arc<Relays>>,
        stop: watch::Receiver<bool>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let runner = Runner {
            focus: Focus::new(settings),
            relays,
            connections: HashMap::new(),
            links: HashMap::new(),
            requests: HashMap::new(),
        };
        let task = tokio::spawn(runner.run(receiver, stop));
        (Self { inputs, last_id: Arc::default() }, task)
    }

    /// A browser opened its socket. `None`: the server is stopping.
    pub(crate) async fn open_connection(&self, name: ConferenceName, outbox: Outbox) -> Option<ConnectionId> {
        let id = ConnectionId(self.fresh_id());
        self.inputs.send(Input::ConnectionOpened(id, name, outbox)).await.ok()?;
        Some(id)
    }

    /// A browser's request.
    pub(crate) async fn browser(&self, id: ConnectionId, request: Request) {
        // An engine that is gone has said bye to everybody.
        let _ = self.inputs.send(Input::Browser(id, request)).await;
    }

    /// A browser's socket is gone.
    pub(crate) async fn close_connection(&self, id: ConnectionId) {
        let _ = self.inputs.send(Input::ConnectionClosed(id)).await;
    }

    /// A bridge opened its link.
    pub(crate) async fn open_link(&self) -> Option<(LinkId, LinkQueue)> {
        let id = LinkId(self.fresh_id());
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (fault, faulted) = oneshot::channel();
        self.inputs.send(Input::LinkOpened(id, LinkSender { commands, fault })).await.ok()?;
        Some((id, LinkQueue { commands: receiver, fault: faulted }))
    }

    /// A bridge's message.
    pub(crate) async fn bridge(&self, id: LinkId, message: FromBridge) {
        let _ = self.inputs.send(Input::Bridge(id, message)).await;
    }

    /// A bridge's link is gone.
    pub(crate) async fn close_link(&self, id: LinkId) {
        let _ = self.inputs.send(Input::LinkClosed(id)).await;
    }

    /// Carries out a WHIP or WHEP request. `None`: the server is stopping.
    pub(crate) async fn http(&self, request: HttpRequest) -> Option<HttpAnswer> {
        let (answer, answered) = oneshot::channel();
        let id = HttpId(self.fresh_id());
        self.inputs.send(Input::Http(id, request, answer)).await.ok()?;
        answered.await.ok()
    }

    /// Base URL of a bridge's channels.
    pub(crate) async fn channel_of(&self, bridge: BridgeId) -> Option<String> {
        self.look(move |focus, _| focus.channel_of(&bridge).map(str::to_owned)).await.flatten()
    }

    /// What `look` sees of the engine. `None`: the server is stopping.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Focus, Instant) -> T + Send + 'static,
    ) -> Option<T> {
        let (seen, answered) = oneshot::channel();
        let look = Box::new(move |focus: &Focus, now| {
            let _ = seen.send(look(focus, now));
        });
        self.inputs.send(Input::Look(look)).await.ok()?;
        answered.await.ok()
    }

    fn fresh_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// The engine and the ways out of it.
struct Runner {
    focus: Focus,
    /// None: `assigned` names no relay.
    relays: Option<Arc<Relays>>,
    /// By connection.
    connections: HashMap<ConnectionId, Outbox>,
    /// By link.
    links: HashMap<LinkId, LinkSender>,
    /// By request.
    requests: HashMap<HttpId, oneshot::Sender<HttpAnswer>>,
}

impl Runner {
    async fn run(mut self, mut inputs: mpsc::Receiver<Input>, mut stop: watch::Receiver<bool>) {
        loop {
            let deadline = self.focus.next_timeout();
            let input = tokio::select! {
                biased;
                _ = stop.changed() => break,
                input = inputs.recv() => input,
                () = until(deadline) => None,
            };
            // The runtime's clock, so that a test can hold it.
            let now = tokio::time::Instant::now().into_std();
            if let Some(input) = input {
                self.handle(now, input);
                for _ in 1..INPUTS_AT_ONCE {
                    let Ok(input) = inputs.try_recv() else { break };
                    self.handle(now, input);
                }
            }
            if self.focus.next_timeout().is_some_and(|due| due <= now) {
                self.focus.handle_timeout(now);
            }
            self.hand_out(now);
        }
        self.focus.handle_shutdown();
        self.hand_out(tokio::time::Instant::now().into_std());
    }

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::ConnectionOpened(id, name, outbox) => {
                self.connections.insert(id, outbox);
                self.focus.handle_connection_opened(now, id, name);
            }
            Input::Browser(id, request) => self.focus.handle_browser(now, id, request),
            Input::ConnectionClosed(id) => {
                self.connections.remove(&id);
                self.focus.handle_connection_closed(now, id);
            }
            Input::LinkOpened(id, sender) => {
                self.links.insert(id, sender);
                self.focus.handle_link_opened(now, id);
            }
            Input::Bridge(id, message) if self.links.contains_key(&id) => {
                self.focus.handle_bridge(now, id, message);
            }
            // What a link says after we closed it is said to nobody.
            Input::Bridge(..) => {}
            Input::LinkClosed(id) => {
                self.links.remove(&id);
                self.focus.handle_link_closed(now, id);
            }
            Input::Http(id, request, answer) => {
                self.requests.insert(id, answer);
                self.focus.handle_http(now, id, request);
            }
            Input::Look(look) => look(&self.focus, now),
        }
        self.hand_out(now);
    }

    fn hand_out(&mut self, now: Instant) {
        while let Some(output) = self.focus.poll_output() {
            match output {
                Output::Send(id, update) => self.send(now, &[id], &update),
                Output::SendAll(ids, update) => self.send(now, &ids, &update),
                Output::Assign(browsers, assigned) => self.assign(now, &browsers, &assigned),
                Output::Close(id, reason) => {
                    if let Some(outbox) = self.connections.remove(&id) {
                        outbox.close(close_of(reason));
                    }
                }
                Output::Command(id, command) => self.command(now, id, command),
                Output::CloseLink(id, fault) => {
                    if let Some(link) = self.links.remove(&id) {
                        let _ = link.fault.send(fault);
                    }
                    self.focus.handle_link_closed(now, id);
                }
                Output::Answer(id, answer) => {
                    if let Some(request) = self.requests.remove(&id) {
                        // A client that hung up meanwhile is noticed by the bridge, which never hears from it.
                        let _ = request.send(answer);
                    }
                }
            }
        }
    }

    /// Everybody's `assigned` is its own where there are relays: credentials of one are never written to another.
    fn assign(&mut self, now: Instant, browsers: &[(ConnectionId, EndpointId)], assigned: &Assigned) {
        let Assigned { bridge, reason, epoch } = assigned;
        let update = |ice_servers| Update::Assigned { ice_servers, reason: *reason, epoch: *epoch };
        let Some(relays) = self.relays.clone() else {
            let ids: Vec<ConnectionId> = browsers.iter().map(|(id, _)| *id).collect();
            return self.send(now, &ids, &update(Vec::new()));
        };
        for (id, who) in browsers {
            self.send(now, &[*id], &update(relays.ice_servers(who, bridge)));
        }
    }

    /// Writes an update as text once, whoever and however many it is for.
    fn send(&mut self, now: Instant, ids: &[ConnectionId], update: &Update) {
        // Invariant: the message types have no map with keys that are not text, the only thing JSON cannot write.
        let Ok(text) = serde_json::to_string(update) else { return };
        let text = axum::extract::ws::Utf8Bytes::from(text);
        for id in ids {
            let Some(outbox) = self.connections.get_mut(id) else { continue };
            if outbox.push(text.clone()) {
                continue;
            }
            info!("a connection reads too slowly and is closed");
            if let Some(outbox) = self.connections.remove(id) {
                outbox.close(Close::Overload);
            }
            self.focus.handle_connection_closed(now, *id);
        }
    }

    fn command(&mut self, now: Instant, id: LinkId, command: Command) {
        let Some(link) = self.links.get(&id) else { return };
        if link.commands.try_send(command).is_ok() {
            return;
        }
        warn!("a bridge does not read its commands; its link is closed");
        self.links.remove(&id);
        self.focus.handle_link_closed(now, id);
    }
}

fn close_of(reason: ByeReason) -> Close {
    match reason {
        ByeReason::Left | ByeReason::Replaced => Close::Normal,
        ByeReason::JoinTimeout => Close::Policy,
        ByeReason::Overload => Close::Overload,
        ByeReason::Shutdown => Close::Shutdown,
    }
}

/// Sleeps until `deadline`, for ever without one.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

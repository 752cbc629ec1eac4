//! The control plane: between signaling, the workers and the channels. Runs on tokio, never touches media.
//!
//! ```text
//! link ── Command ──▶ route (placements) ──▶ workers' queues ─▶ engine
//!      ◀─ Reply ───── pending, by id ◀────── pump ◀──────────── engine's outputs
//! channel socket ◀─── channels ◀────────────┘
//! ```
//!
//! Invariants: no lock is held across an await; a command is answered exactly once, while its link lives; a worker's
//! outputs are handled in its order, so that a ticket is known before the reply that names it.

pub(crate) mod channels;
mod log_ids;
mod placements;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use wire::messages::ids::BridgeId;
use wire::messages::link::{
    Command, CommandBody, FromBridge, LiveConference, Load, Notice, Outcome, Refusal, Reply,
};

use self::channels::{ChannelCounts, ChannelReceiver, Channels, Generation, Owner};
use self::log_ids::LogIds;
pub(crate) use self::placements::PlacementLimits;
use self::placements::{Answered, Placements, Route};
use crate::engine::ports::{ChannelEvent, Output, PartId};
use crate::handshakes::Handshakes;
use crate::stats::{BridgeStats, Sampler};
use crate::worker::{FromWorker, Worker, WorkerCommand};

/// Shared by every task of the control plane.
pub(crate) struct Control {
    /// Our name in channel paths.
    pub(crate) bridge: BridgeId,
    pub(crate) workers: Vec<Worker>,
    pub(crate) handshakes: Handshakes,
    state: Mutex<State>,
    channels: Mutex<Channels>,
    sampler: Mutex<Sampler>,
    is_draining: AtomicBool,
    pub(crate) shell_counts: ShellCounts,
    log_ids: LogIds,
    /// One state tree at a time, so that asking for many cannot hold up media.
    debugging: tokio::sync::Mutex<()>,
}

/// What the control plane itself counts, since the start.
#[derive(Debug, Default)]
pub(crate) struct ShellCounts {
    /// Channels refused for a wrong path, name or password.
    pub(crate) channels_refused: AtomicU64,
    /// Commands refused before any worker saw them, for their epoch.
    pub(crate) stale_commands: AtomicU64,
    /// Link messages that could not be read.
    pub(crate) link_messages_unreadable: AtomicU64,
}

struct State {
    placements: Placements,
    /// Routed commands without an answer, by the id the worker knows them under.
    pending: HashMap<u64, Pending>,
    next_id: u64,
    /// By link; none while it is down.
    links: Vec<Option<LinkUp>>,
    connections: u64,
}

/// One connection of one link. The next connection of the same link is another: ids of commands begin anew with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connection {
    link: usize,
    number: u64,
}

struct LinkUp {
    connection: Connection,
    outgoing: mpsc::Sender<FromBridge>,
}

struct Pending {
    connection: Connection,
    /// The id signaling chose.
    id: u64,
    /// What it was about.
    about: Answered,
    /// Workers that have not answered.
    left: usize,
}

/// An admitted channel socket: queue it reads from, and what it says when it ends.
pub(crate) struct OpenChannel {
    pub(crate) owner: Owner,
    pub(crate) receiver: ChannelReceiver,
    generation: Generation,
}

impl Control {
    pub(crate) fn new(
        bridge: BridgeId,
        workers: Vec<Worker>,
        handshakes: Handshakes,
        limits: PlacementLimits,
        links: usize,
    ) -> Self {
        let state = State {
            placements: Placements::new(workers.len(), limits),
            pending: HashMap::new(),
            next_id: 0,
            links: (0..links).map(|_| None).collect(),
            connections: 0,
        };
        Self {
            bridge,
            workers,
            handshakes,
            state: Mutex::new(state),
            channels: Mutex::default(),
            sampler: Mutex::new(Sampler::new(Instant::now())),
            is_draining: AtomicBool::new(false),
            shell_counts: ShellCounts::default(),
            log_ids: LogIds::default(),
            debugging: tokio::sync::Mutex::new(()),
        }
    }

    /// Handles what workers say, until one of them fails; gives its reason.
    pub(crate) async fn pump(&self, mut from_workers: mpsc::Receiver<FromWorker>) -> String {
        while let Some(message) = from_workers.recv().await {
            match message {
                FromWorker::Output(worker, output) => self.handle_output(worker, output),
                FromWorker::Failed(why) => return why,
            }
        }
        "every worker is gone".to_owned()
    }

    /// Takes a command: answers it at once or hands it to its workers. Waits while one has enough to do.
    pub(crate) async fn command(&self, connection: Connection, mut command: Command) {
        let route = {
            let mut state = self.state();
            let route = state.placements.route(Instant::now(), &command);
            if let Route::Workers { workers, .. } = &route {
                command.id = state.expect_answers(connection, &command, workers.len());
            }
            route
        };
        let outcome = match route {
            Route::Workers { workers, parts, stale } => {
                for worker in stale {
                    let over = WorkerCommand::EndStale(command.conference.clone(), command.epoch);
                    self.workers[worker].command(over).await;
                }
                return self.hand_out(&workers, &parts, command).await;
            }
            Route::Done => Outcome::Done,
            Route::Refused(error, message) => {
                if error == Refusal::StaleEpoch {
                    self.shell_counts.stale_commands.fetch_add(1, Ordering::Relaxed);
                }
                Outcome::Refused { error, message: message.to_owned() }
            }
        };
        self.tell(connection, FromBridge::Reply(Reply { id: command.id, outcome }));
    }

    async fn hand_out(&self, workers: &[usize], parts: &[usize], command: Command) {
        for worker in workers {
            let others = parts.iter().filter(|part| *part != worker);
            // Invariant: there are no more workers than a part's number can say.
            let others = others.map(|part| PartId(*part as u16)).collect();
            let command = command.clone();
            self.workers[*worker].command(WorkerCommand::Link { command, others }).await;
        }
    }

    /// Sends `message` over one connection; nothing happens when it is gone.
    pub(crate) fn tell(&self, connection: Connection, message: FromBridge) {
        self.state().tell(connection, message);
    }

    /// A link is up: gives what it is to say first, and from where the rest comes.
    pub(crate) fn link_up(
        &self,
        link: usize,
    ) -> (Connection, Vec<LiveConference>, mpsc::Receiver<FromBridge>) {
        let (outgoing, receiver) = mpsc::channel(LINK_MESSAGES_MAX);
        let mut state = self.state();
        state.connections += 1;
        let connection = Connection { link, number: state.connections };
        state.links[link] = Some(LinkUp { connection, outgoing });
        (connection, state.placements.live(), receiver)
    }

    /// A link is down: nobody waits for its answers any more.
    pub(crate) fn link_down(&self, link: usize) {
        self.state().links[link] = None;
    }

    /// Links that are up.
    pub(crate) fn links_up(&self) -> usize {
        self.state().links.iter().flatten().count()
    }

    /// Whose channel this path and password open.
    pub(crate) fn admit(&self, conference: &str, endpoint: &str, password: &str) -> Option<Owner> {
        self.channels().admit(conference, endpoint, password)
    }

    /// Makes a socket the endpoint's channel. None when the endpoint has gone meanwhile.
    pub(crate) async fn open_channel(&self, owner: Owner) -> Option<OpenChannel> {
        // Room first: then attaching and telling the engine are one step, and two sockets of one endpoint cannot cross.
        let permit = self.workers[owner.0].reserve_channel_event().await?;
        let mut channels = self.channels();
        let (generation, receiver) = channels.attach(owner)?;
        permit.send(owner.1, ChannelEvent::Opened);
        Some(OpenChannel { owner, receiver, generation })
    }

    /// Hands a browser's text to its engine; waits while the worker has enough to do.
    pub(crate) async fn channel_text(&self, owner: Owner, text: String) {
        let Some(permit) = self.workers[owner.0].reserve_channel_event().await else { return };
        permit.send(owner.1, ChannelEvent::Text(text));
    }

    /// The socket is gone.
    pub(crate) async fn close_channel(&self, channel: OpenChannel) {
        let Some(permit) = self.workers[channel.owner.0].reserve_channel_event().await else { return };
        if self.channels().detach(channel.owner, channel.generation) {
            permit.send(channel.owner.1, ChannelEvent::Closed);
        }
    }

    /// Channels open now, and those closed since the start.
    pub(crate) fn channel_counts(&self) -> ChannelCounts {
        self.channels().counts()
    }

    /// Takes the second's sample of every worker; called once a second.
    pub(crate) fn sample(&self, now: Instant) {
        let snapshots: Vec<_> = self.workers.iter().map(Worker::snapshot).collect();
        self.sampler().take(now, &snapshots);
        self.state().placements.sweep(now);
    }

    /// What the last sample said.
    pub(crate) fn stats(&self) -> BridgeStats {
        self.sampler().stats()
    }

    /// What signaling chooses by.
    pub(crate) fn load(&self) -> Load {
        let stats = self.stats();
        Load {
            stress: stats.stress,
            conferences: u32::try_from(stats.totals.conferences).unwrap_or(u32::MAX),
            endpoints: u32::try_from(stats.totals.endpoints).unwrap_or(u32::MAX),
            packets_per_s: stats.rates.packets_received_per_s + stats.rates.packets_sent_per_s,
            draining: self.is_draining(),
        }
    }

    /// Whether every worker has gone round lately.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.workers.iter().all(|worker| worker.silent_for(now) < SILENCE_MAX)
    }

    /// Whether signaling is asked to choose other bridges.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Asks signaling to choose other bridges from now on, or no longer.
    pub(crate) fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Relaxed);
    }

    /// The state trees of all workers, by index.
    pub(crate) async fn debug(&self) -> Vec<Value> {
        let _one_at_a_time = self.debugging.lock().await;
        let mut trees = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (answer, answered) = oneshot::channel();
            worker.command(WorkerCommand::Debug(answer)).await;
            trees.push(answered.await.unwrap_or(Value::Null));
        }
        trees
    }

    fn handle_output(&self, worker: usize, output: Output) {
        match output {
            Output::Reply(reply) => self.state().answer(worker, reply),
            Output::Notice(notice) => {
                let (conference, endpoint) = self.log_ids.of(&notice.conference, &notice.endpoint);
                tracing::info!(%conference, %endpoint, event = ?notice.event, "endpoint");
                self.state().tell_all(&notice);
            }
            Output::Channel(endpoint, command) => self.channels().send((worker, endpoint), command),
            Output::ChannelOpenable(endpoint, ticket) => {
                let (conference, id) = self.log_ids.of(&ticket.conference, &ticket.endpoint);
                tracing::info!(%conference, endpoint = %id, worker, "endpoint added");
                self.state().placements.endpoint_added(worker, &ticket.conference, &ticket.endpoint);
                self.channels().add((worker, endpoint), ticket);
            }
            Output::EndpointGone(endpoint) => {
                let Some((conference, id)) = self.channels().remove((worker, endpoint)) else { return };
                self.state().placements.endpoint_gone(Instant::now(), worker, (&conference, &id));
                let (conference, id) = self.log_ids.of(&conference, &id);
                tracing::info!(%conference, endpoint = %id, worker, "endpoint gone");
            }
            // Invariant: the worker sends these to the DTLS thread and to other workers.
            Output::Handshake(..) | Output::Part(..) => {}
        }
    }

    // A panic under one of these locks has already been logged; the tables are whole between any two lines.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sampler(&self) -> MutexGuard<'_, Sampler> {
        self.sampler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes whom a routed command is to be answered to; the id under which its workers know it.
    fn expect_answers(&mut self, connection: Connection, command: &Command, left: usize) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let endpoint = match &command.body {
            CommandBody::SetEndpoint { endpoint, .. } | CommandBody::RemoveEndpoint { endpoint } => {
                Some(endpoint.clone())
            }
            CommandBody::EndConference | CommandBody::Unknown => None,
        };
        let about = Answered { conference: command.conference.clone(), epoch: command.epoch, endpoint };
        self.pending.insert(id, Pending { connection, id: command.id, about, left });
        id
    }

    fn answer(&mut self, worker: usize, reply: Reply) {
        let Some(pending) = self.pending.get_mut(&reply.id) else { return };
        self.placements.answered(Instant::now(), worker, &pending.about);
        pending.left -= 1;
        if pending.left > 0 {
            // The end of a conference, which no worker refuses: the last one's answer is everybody's.
            return;
        }
        let Some(pending) = self.pending.remove(&reply.id) else { return };
        self.tell(pending.connection, FromBridge::Reply(Reply { id: pending.id, outcome: reply.outcome }));
    }

    fn tell(&mut self, connection: Connection, message: FromBridge) {
        let Some(link) = self.links.get_mut(connection.link) else { return };
        let Some(up) = link.as_ref().filter(|up| up.connection == connection) else { return };
        if up.outgoing.try_send(message).is_err() {
            // Signaling reads too slowly to be served: it learns the state anew when the link dials again.
            *link = None;
        }
    }

    fn tell_all(&mut self, notice: &Notice) {
        let connections: Vec<Connection> = self.links.iter().flatten().map(|up| up.connection).collect();
        for connection in connections {
            self.tell(connection, FromBridge::Notice(notice.clone()));
        }
    }
}

/// Twice what signaling allows a bridge to be silent: past this, it is told nothing any more.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Answers and notices of a join storm, while the socket is busy.
const LINK_MESSAGES_MAX: usize = 4096;

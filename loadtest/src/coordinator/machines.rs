//! The leader's view of the other machines: one task for each line, one book of how far each has come.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;

use super::merge::Part;
use super::protocol::{Order, Report, receive, send};
use crate::outcome::{Outcome, Second};
use crate::run::{Word, together};

pub(super) type Line = WebSocketStream<TcpStream>;

/// All other machines of a run.
pub(super) struct Machines {
    all: Vec<Machine>,
    events: mpsc::UnboundedReceiver<(usize, Event)>,
    /// This machine's own callers are in.
    is_settled: bool,
    measure: watch::Sender<bool>,
    others: watch::Sender<Second>,
}

struct Machine {
    name: String,
    orders: mpsc::UnboundedSender<Order>,
    is_settled: bool,
    last: Second,
    state: State,
}

enum State {
    Running,
    Done(Box<Outcome>, u64),
    Gone(String),
}

enum Event {
    Said(Report),
    Gone,
}

impl Machines {
    /// Machines that were welcomed, in the order of their places.
    pub(super) fn new(lines: Vec<(SocketAddr, Line)>) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let take = |(index, (address, line)): (usize, (SocketAddr, Line))| {
            let (orders, given) = mpsc::unbounded_channel();
            tokio::spawn(serve(index, line, given, sender.clone()));
            let name = format!("{} ({})", index + 1, address.ip());
            Machine { name, orders, is_settled: false, last: Second::default(), state: State::Running }
        };
        let all = lines.into_iter().enumerate().map(take).collect();
        Self {
            all,
            events,
            is_settled: false,
            measure: watch::Sender::new(false),
            others: watch::Sender::new(Second::default()),
        }
    }

    /// True once everybody's callers are in.
    pub(super) fn measure(&self) -> watch::Receiver<bool> {
        self.measure.subscribe()
    }

    /// The last second of all of them together.
    pub(super) fn others(&self) -> watch::Receiver<Second> {
        self.others.subscribe()
    }

    /// Tells all that are still there.
    pub(super) fn tell(&self, order: &Order) {
        for machine in self.all.iter().filter(|machine| matches!(machine.state, State::Running)) {
            // Its task sees the end of the line and says so.
            let _ = machine.orders.send(order.clone());
        }
    }

    /// This machine's own word.
    pub(super) fn hear(&mut self, word: &Word) {
        if *word == Word::Settled {
            self.is_settled = true;
            self.begin_to_measure();
        }
    }

    /// Waits for the next word of any other machine. Can be given up waiting for.
    pub(super) async fn next(&mut self) {
        let Some((index, event)) = self.events.recv().await else {
            return std::future::pending().await;
        };
        let machine = &mut self.all[index];
        match event {
            Event::Said(Report::Second { second }) => machine.last = *second,
            Event::Said(Report::Settled) => machine.is_settled = true,
            Event::Said(Report::Done { outcome, datagrams_received }) => {
                machine.state = State::Done(outcome, datagrams_received);
                machine.last = Second::default();
            }
            Event::Said(Report::Hello { .. }) => {}
            Event::Gone => machine.vanish(),
        }
        let others = self.all.iter().fold(Second::default(), |sum, machine| together(&sum, &machine.last));
        self.others.send_replace(others);
        self.begin_to_measure();
    }

    /// Waits until everybody has handed in, or is gone.
    pub(super) async fn collect(&mut self, patience: Duration) {
        let everybody = async {
            while self.all.iter().any(|machine| matches!(machine.state, State::Running)) {
                self.next().await;
            }
        };
        let _ = tokio::time::timeout(patience, everybody).await;
    }

    /// What each has found.
    pub(super) fn into_parts(self) -> Vec<Part> {
        let part = |machine: Machine| match machine.state {
            State::Done(outcome, received) => {
                Part { name: machine.name, found: Some((outcome, received)), why: String::new() }
            }
            State::Gone(why) => Part { name: machine.name, found: None, why },
            State::Running => {
                Part { name: machine.name, found: None, why: "it did not hand in in time".to_owned() }
            }
        };
        self.all.into_iter().map(part).collect()
    }

    fn begin_to_measure(&mut self) {
        let is_in = |machine: &Machine| machine.is_settled || !matches!(machine.state, State::Running);
        if self.is_settled && !*self.measure.borrow() && self.all.iter().all(is_in) {
            self.measure.send_replace(true);
            self.tell(&Order::Measure);
        }
    }
}

impl Machine {
    fn vanish(&mut self) {
        if !matches!(self.state, State::Running) {
            return;
        }
        let why = format!("it vanished after {:.0} s", self.last.at_s);
        eprintln!("machine {}: {why}; the run goes on without it", self.name);
        self.last = Second::default();
        self.state = State::Gone(why);
    }
}

/// One machine's line, both ways, until either end lets go.
async fn serve(
    index: usize,
    line: Line,
    mut orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::UnboundedSender<(usize, Event)>,
) {
    let (mut out, mut from) = line.split();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return };
                if !send(&mut out, &order).await {
                    break;
                }
            }
            report = receive::<Report, _>(&mut from, SILENCE_MAX) => {
                let Some(report) = report else { break };
                if events.send((index, Event::Said(report))).is_err() {
                    return;
                }
            }
        }
    }
    let _ = events.send((index, Event::Gone));
}

/// A machine says something each second, and is silent only while its callers leave.
const SILENCE_MAX: Duration = Duration::from_secs(60);

//! What a worker has for other threads, in order, without ever waiting for them.

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::engine::ports::{ChannelCommand, EndpointKey, HandshakeCommand, Output};
use crate::handshakes::{Handshakes, Lane, Refused};
use crate::worker::FromWorker;

/// The worker's side of the queues to the control plane and to the DTLS thread.
pub(crate) struct Outbox {
    index: usize,
    control: mpsc::Sender<FromWorker>,
    /// Not yet taken by the control plane, oldest first.
    waiting: VecDeque<Output>,
    handshakes: Handshakes,
    /// Each endpoint's share of the DTLS thread, by endpoint; from its `Start` to its `Stop`.
    lanes: HashMap<EndpointKey, Lane>,
    /// Begins and ends of handshakes not yet taken by the DTLS thread. Datagrams do not wait.
    waiting_handshakes: VecDeque<(EndpointKey, HandshakeCommand)>,
    /// Handshake datagrams for which there was no room.
    pub(crate) handshakes_refused: u64,
    /// Channel messages for which there was no room.
    pub(crate) channel_messages_dropped: u64,
}

impl Outbox {
    pub(crate) fn new(index: usize, control: mpsc::Sender<FromWorker>, handshakes: Handshakes) -> Self {
        Self {
            index,
            control,
            waiting: VecDeque::new(),
            handshakes,
            lanes: HashMap::new(),
            waiting_handshakes: VecDeque::new(),
            handshakes_refused: 0,
            channel_messages_dropped: 0,
        }
    }

    /// Takes what the engine wants done.
    pub(crate) fn push(&mut self, output: Output) {
        match output {
            Output::Handshake(endpoint, command) => self.push_handshake(endpoint, command),
            Output::EndpointGone(endpoint) => {
                self.push_handshake(endpoint, HandshakeCommand::Stop);
                self.push_control(Output::EndpointGone(endpoint));
            }
            output => self.push_control(output),
        }
    }

    /// Tries again what found no room before.
    pub(crate) fn flush(&mut self) {
        while let Some(output) = self.waiting.pop_front() {
            if let Some(output) = self.offer(output) {
                self.waiting.push_front(output);
                break;
            }
        }
        while let Some((endpoint, command)) = self.waiting_handshakes.pop_front() {
            if let Some(command) = self.offer_handshake(endpoint, command) {
                self.waiting_handshakes.push_front((endpoint, command));
                break;
            }
        }
    }

    /// Whether something waits for room elsewhere.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.waiting_handshakes.is_empty()
    }

    fn push_control(&mut self, output: Output) {
        // Order is kept: nothing overtakes what already waits.
        let refused = if self.waiting.is_empty() { self.offer(output) } else { Some(output) };
        let Some(output) = refused else { return };
        // Everything else is bounded by the number of endpoints and of commands in flight.
        let is_message = matches!(output, Output::Channel(_, ChannelCommand::Send(_)));
        if is_message && self.waiting.len() >= WAITING_MAX {
            self.channel_messages_dropped += 1;
            return;
        }
        self.waiting.push_back(output);
    }

    /// Gives the output back when there is no room.
    fn offer(&self, output: Output) -> Option<Output> {
        match self.control.try_send(FromWorker::Output(self.index, output)) {
            Err(TrySendError::Full(FromWorker::Output(_, output))) => Some(output),
            // Taken; or nobody is left to take it, because the process ends.
            _ => None,
        }
    }

    fn push_handshake(&mut self, endpoint: EndpointKey, command: HandshakeCommand) {
        let is_datagram = matches!(command, HandshakeCommand::Datagram(_));
        if !self.waiting_handshakes.is_empty() {
            match command {
                HandshakeCommand::Datagram(_) => self.handshakes_refused += 1,
                command => self.waiting_handshakes.push_back((endpoint, command)),
            }
            return;
        }
        let Some(command) = self.offer_handshake(endpoint, command) else { return };
        if is_datagram {
            self.handshakes_refused += 1;
            return;
        }
        self.waiting_handshakes.push_back((endpoint, command));
    }

    /// Gives the command back when there is no room.
    fn offer_handshake(
        &mut self,
        endpoint: EndpointKey,
        command: HandshakeCommand,
    ) -> Option<HandshakeCommand> {
        let lane = match &command {
            HandshakeCommand::Start(_) => self.lanes.entry(endpoint).or_default().clone(),
            // Not begun, or ended: nobody is there to hear it.
            _ => self.lanes.get(&endpoint)?.clone(),
        };
        let is_stop = matches!(command, HandshakeCommand::Stop);
        match self.handshakes.offer((self.index, endpoint), command, &lane) {
            Err(Refused(command)) => Some(command),
            Ok(()) => {
                if is_stop {
                    self.lanes.remove(&endpoint);
                }
                None
            }
        }
    }
}

/// About ten seconds of a large conference's channel messages. A control plane so late is no longer one.
const WAITING_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use wire::messages::link::{Outcome, Reply};

    use super::*;

    fn outbox(control_max: usize, handshakes_max: usize) -> (Outbox, mpsc::Receiver<FromWorker>, Handshakes) {
        let (control, received) = mpsc::channel(control_max);
        let handshakes = Handshakes::unattended(handshakes_max);
        (Outbox::new(0, control, handshakes.clone()), received, handshakes)
    }

    fn reply(id: u64) -> Output {
        Output::Reply(Reply { id, outcome: Outcome::Done })
    }

    fn received_ids(received: &mut mpsc::Receiver<FromWorker>) -> Vec<u64> {
        std::iter::from_fn(|| received.try_recv().ok())
            .map(|message| match message {
                FromWorker::Output(0, Output::Reply(reply)) => reply.id,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_late_control_plane_gets_everything_in_order() {
        let (mut outbox, mut received, _) = outbox(2, 1);
        (0..5).for_each(|id| outbox.push(reply(id)));
        assert!(outbox.is_waiting());
        assert_eq!(received_ids(&mut received), [0, 1]);
        // Something new must not overtake what waits.
        outbox.push(reply(5));
        outbox.flush();
        assert_eq!(received_ids(&mut received), [2, 3]);
        outbox.flush();
        assert_eq!(received_ids(&mut received), [4, 5]);
        outbox.flush();
        assert!(!outbox.is_waiting());
    }

    #[test]
    fn channel_messages_are_dropped_before_memory_grows_without_end() {
        let (mut outbox, _received, _) = outbox(1, 1);
        for _ in 0..WAITING_MAX + 3 {
            outbox.push(Output::Channel(EndpointKey(1), ChannelCommand::Send(String::new())));
        }
        // One was taken, WAITING_MAX wait.
        assert_eq!(outbox.channel_messages_dropped, 2);
        outbox.push(reply(1));
        assert_eq!(outbox.waiting.len(), WAITING_MAX + 1);
    }

    #[test]
    fn one_endpoint_cannot_fill_the_dtls_thread() {
        let (mut outbox, _received, handshakes) = outbox(1, 1000);
        let (flood, other) = (EndpointKey(1), EndpointKey(2));
        for endpoint in [flood, other] {
            outbox.push(Output::Handshake(endpoint, HandshakeCommand::Start(Vec::new())));
        }
        for _ in 0..500 {
            outbox.push(Output::Handshake(flood, HandshakeCommand::Datagram(Vec::new())));
        }
        let taken = handshakes.depth() - 2;
        assert!(taken < 100, "{taken}");
        assert_eq!(outbox.handshakes_refused, 500 - taken as u64);
        outbox.push(Output::Handshake(other, HandshakeCommand::Datagram(Vec::new())));
        assert_eq!(handshakes.depth(), taken + 3);
    }

    #[test]
    fn a_handshake_that_never_began_takes_no_datagrams() {
        let (mut outbox, _received, handshakes) = outbox(1, 10);
        outbox.push(Output::Handshake(EndpointKey(1), HandshakeCommand::Datagram(Vec::new())));
        assert_eq!(handshakes.depth(), 0);
    }

    #[test]
    fn begin_and_end_wait_for_a_full_dtls_thread_and_the_end_of_an_endpoint_is_the_end_of_its_handshake() {
        let (mut outbox, _received, handshakes) = outbox(10, 1);
        outbox.push(Output::Handshake(EndpointKey(1), HandshakeCommand::Start(Vec::new())));
        outbox.push(Output::Handshake(EndpointKey(2), HandshakeCommand::Start(Vec::new())));
        outbox.push(Output::EndpointGone(EndpointKey(1)));
        assert!(outbox.is_waiting());
        assert_eq!(handshakes.take_unattended(), [(EndpointKey(1), "start")]);
        outbox.flush();
        assert_eq!(handshakes.take_unattended(), [(EndpointKey(2), "start")]);
        outbox.flush();
        assert_eq!(handshakes.take_unattended(), [(EndpointKey(1), "stop")]);
        assert!(!outbox.is_waiting());
        assert_eq!(outbox.lanes.len(), 1);
    }
}

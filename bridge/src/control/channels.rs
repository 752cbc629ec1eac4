//! Who may open a channel, and the open ones. A plain table; the caller locks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::HashMap;
use tokio::sync::{mpsc, watch};
use wire::messages::ids::{ConferenceId, EndpointId};

use crate::engine::ports::{ChannelCommand, ChannelTicket, EndpointKey};

/// An endpoint of this process: the worker's index and the endpoint on that worker.
pub(crate) type Owner = (usize, EndpointKey);

/// Tickets and open channels.
#[derive(Default)]
pub(crate) struct Channels {
    /// By what a channel's path says.
    holders: HashMap<(ConferenceId, EndpointId), Holder>,
    /// By what a worker says.
    names: HashMap<Owner, (ConferenceId, EndpointId)>,
    generation: u64,
    /// Sockets attached now.
    open: usize,
    /// Sockets closed because the browser did not read, since the start.
    overflowed: u64,
    /// Sockets closed because the browser wrote too much, since the start.
    over_rate: u64,
}

struct Holder {
    owner: Owner,
    password: String,
    socket: Option<(Generation, ChannelSender)>,
}

/// Channels now and since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChannelCounts {
    /// Open now.
    pub(crate) open: usize,
    /// Closed because the browser did not read.
    pub(crate) overflowed: u64,
    /// Closed because the browser wrote too much.
    pub(crate) over_rate: u64,
}

/// Tells one socket of an endpoint from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

/// The end of a channel's send queue that the control plane holds.
pub(crate) struct ChannelSender {
    messages: mpsc::Sender<String>,
    queued_bytes: Arc<AtomicUsize>,
    close: watch::Sender<Option<CloseReason>>,
}

/// The end that the socket's task holds.
pub(crate) struct ChannelReceiver {
    pub(crate) messages: mpsc::Receiver<String>,
    queued_bytes: Arc<AtomicUsize>,
    pub(crate) close: watch::Receiver<Option<CloseReason>>,
}

/// Why we close a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The browser opened another.
    Replaced,
    /// The endpoint is gone.
    EndpointGone,
    /// The browser reads too slowly.
    Overload,
    /// The browser writes too much.
    OverRate,
}

impl Channels {
    /// A new endpoint: whoever shows its ticket may open its channel.
    pub(crate) fn add(&mut self, owner: Owner, ticket: ChannelTicket) {
        let name = (ticket.conference, ticket.endpoint);
        self.names.insert(owner, name.clone());
        let holder = Holder { owner, password: ticket.password, socket: None };
        if let Some(before) = self.holders.insert(name, holder) {
            self.names.remove(&before.owner);
            self.close(before, CloseReason::EndpointGone);
        }
    }

    /// The endpoint is gone: closes its channel and gives its names back.
    pub(crate) fn remove(&mut self, owner: Owner) -> Option<(ConferenceId, EndpointId)> {
        let name = self.names.remove(&owner)?;
        // Invariant: `names` only holds owners that `holders` has.
        if let Some(holder) = self.holders.remove(&name) {
            self.close(holder, CloseReason::EndpointGone);
        }
        Some(name)
    }

    /// Whose channel this path and password open. An unknown name takes the same time as a wrong password.
    pub(crate) fn admit(&self, conference: &str, endpoint: &str, password: &str) -> Option<Owner> {
        let conference = ConferenceId::parse(conference);
        let endpoint = EndpointId::parse(endpoint);
        let name = conference.ok().zip(endpoint.ok());
        let holder = name.and_then(|name| self.holders.get(&name));
        let expected = holder.map_or(NOBODYS_PASSWORD, |holder| &holder.password);
        let is_right = is_equal(expected.as_bytes(), password.as_bytes());
        holder.filter(|_| is_right).map(|holder| holder.owner)
    }

    /// Makes a socket the endpoint's channel; an older one is told that it was replaced. None when the endpoint has gone.
    pub(crate) fn attach(&mut self, owner: Owner) -> Option<(Generation, ChannelReceiver)> {
        let holder = self.holders.get_mut(self.names.get(&owner)?)?;
        self.generation += 1;
        let generation = Generation(self.generation);
        let (sender, receiver) = queue();
        match holder.socket.replace((generation, sender)) {
            Some((_, before)) => before.close(CloseReason::Replaced),
            None => self.open += 1,
        }
        Some((generation, receiver))
    }

    /// The socket is gone. True when it was the endpoint's current one, whose end the engine has to know.
    pub(crate) fn detach(&mut self, owner: Owner, generation: Generation) -> bool {
        let holder = self.names.get(&owner).and_then(|name| self.holders.get_mut(name));
        let Some(holder) = holder else { return false };
        if holder.socket.as_ref().is_none_or(|(current, _)| *current != generation) {
            return false;
        }
        holder.socket = None;
        self.open -= 1;
        true
    }

    /// Does what the engine wants done with a channel; nothing when it is not open.
    pub(crate) fn send(&mut self, owner: Owner, command: ChannelCommand) {
        let holder = self.names.get(&owner).and_then(|name| self.holders.get(name));
        let Some((_, socket)) = holder.and_then(|holder| holder.socket.as_ref()) else { return };
        match command {
            ChannelCommand::Close => socket.close(CloseReason::EndpointGone),
            ChannelCommand::CloseOverRate => {
                socket.close(CloseReason::OverRate);
                self.over_rate += 1;
            }
            ChannelCommand::Send(text) => {
                if !socket.push(text) {
                    self.overflowed += 1;
                }
            }
        }
    }

    /// Channels open now, and those closed since the start.
    pub(crate) fn counts(&self) -> ChannelCounts {
        ChannelCounts { open: self.open, overflowed: self.overflowed, over_rate: self.over_rate }
    }

    fn close(&mut self, holder: Holder, reason: CloseReason) {
        if let Some((_, socket)) = holder.socket {
            socket.close(reason);
            self.open -= 1;
        }
    }
}

impl ChannelSender {
    /// Queues a message. False for the one that made the queue overflow, which closes the channel.
    fn push(&self, text: String) -> bool {
        let length = text.len();
        let queued = self.queued_bytes.fetch_add(length, Ordering::Relaxed);
        if queued + length <= QUEUE_BYTES_MAX && self.messages.try_send(text).is_ok() {
            return true;
        }
        self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
        let is_first = self.close.borrow().is_none();
        self.close(CloseReason::Overload);
        !is_first
    }

    fn close(&self, reason: CloseReason) {
        // The first reason is the one the browser hears.
        self.close.send_if_modified(|current| {
            let is_first = current.is_none();
            current.get_or_insert(reason);
            is_first
        });
    }
}

impl ChannelReceiver {
    /// A message of the queue has been written to the socket.
    pub(crate) fn written(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn queue() -> (ChannelSender, ChannelReceiver) {
    let (sender, messages) = mpsc::channel(QUEUE_MESSAGES_MAX);
    let (close, closed) = watch::channel(None);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let receiver = ChannelReceiver { messages, queued_bytes: Arc::clone(&queued_bytes), close: closed };
    (ChannelSender { messages: sender, queued_bytes, close }, receiver)
}

/// In a time that depends on the lengths alone.
fn is_equal(expected: &[u8], given: &[u8]) -> bool {
    let pairs = expected.iter().zip(given);
    let difference = pairs.fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    expected.len() == given.len() && difference == 0
}

/// As long as a real one, and never right: no ticket's password has such characters.
const NOBODYS_PASSWORD: &str = "........................";

/// A second of a lively large conference.
const QUEUE_MESSAGES_MAX: usize = 256;

/// 5,000 browsers that do not read may not cost more than 1.3 GB before each is let go.
const QUEUE_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = (0, EndpointKey(7));

    fn ticket() -> ChannelTicket {
        ChannelTicket {
            conference: ConferenceId::parse("a".repeat(26)).unwrap(),
            endpoint: EndpointId::parse("0a1b2c3d").unwrap(),
            password: "PasswordOf24Characters00".to_owned(),
        }
    }

    fn with_ticket() -> Channels {
        let mut channels = Channels::default();
        channels.add(OWNER, ticket());
        channels
    }

    #[test]
    fn only_the_whole_ticket_opens_a_channel() {
        let channels = with_ticket();
        let (conference, password) = ("a".repeat(26), ticket().password);
        assert_eq!(channels.admit(&conference, "0a1b2c3d", &password), Some(OWNER));
        for (conference, endpoint, password) in [
            (&"b".repeat(26), "0a1b2c3d", &*password),
            (&conference, "0a1b2c3e", &*password),
            (&conference, "0a1b2c3d", &password[1..]),
            (&conference, "0a1b2c3d", ""),
            (&"b".repeat(26), "0a1b2c3d", NOBODYS_PASSWORD),
            (&"../..".to_owned(), "%00", &*password),
        ] {
            assert_eq!(channels.admit(conference, endpoint, password), None);
        }
    }

    #[test]
    fn a_newer_socket_replaces_the_older_whose_end_then_means_nothing() {
        let mut channels = with_ticket();
        let (first, first_end) = channels.attach(OWNER).unwrap();
        let (second, second_end) = channels.attach(OWNER).unwrap();
        assert_eq!(*first_end.close.borrow(), Some(CloseReason::Replaced));
        assert_eq!(*second_end.close.borrow(), None);
        assert!(!channels.detach(OWNER, first));
        assert_eq!(channels.counts().open, 1);
        assert!(channels.detach(OWNER, second));
        assert!(!channels.detach(OWNER, second));
        assert_eq!(channels.counts().open, 0);
    }

    #[test]
    fn an_endpoint_that_goes_takes_its_channel_and_its_ticket_along() {
        let mut channels = with_ticket();
        let (generation, end) = channels.attach(OWNER).unwrap();
        assert!(channels.remove(OWNER).is_some());
        assert_eq!(*end.close.borrow(), Some(CloseReason::EndpointGone));
        assert!(!channels.detach(OWNER, generation));
        assert_eq!(channels.counts().open, 0);
        assert_eq!(channels.admit(&"a".repeat(26), "0a1b2c3d", &ticket().password), None);
        assert!(channels.attach(OWNER).is_none());
        assert!(channels.remove(OWNER).is_none());
    }

    #[test]
    fn the_late_end_of_an_endpoint_does_not_touch_its_successor() {
        let mut channels = with_ticket();
        let successor = (1, EndpointKey(7));
        channels.add(successor, ticket());
        assert!(channels.remove(OWNER).is_none());
        assert_eq!(channels.admit(&"a".repeat(26), "0a1b2c3d", &ticket().password), Some(successor));
    }

    #[test]
    fn a_browser_that_does_not_read_is_let_go_by_number_and_by_bytes() {
        for (length, fit) in [(1, QUEUE_MESSAGES_MAX), (64 * 1024, 4)] {
            let mut channels = with_ticket();
            let (_, mut end) = channels.attach(OWNER).unwrap();
            for _ in 0..fit {
                channels.send(OWNER, ChannelCommand::Send("x".repeat(length)));
            }
            assert_eq!(*end.close.borrow(), None);
            channels.send(OWNER, ChannelCommand::Send("x".repeat(length)));
            channels.send(OWNER, ChannelCommand::Send("x".repeat(length)));
            assert_eq!(*end.close.borrow(), Some(CloseReason::Overload));
            assert_eq!(channels.counts().overflowed, 1);
            let text = end.messages.try_recv().unwrap();
            end.written(text.len());
        }
    }

    #[test]
    fn a_reader_makes_room() {
        let mut channels = with_ticket();
        let (_, mut end) = channels.attach(OWNER).unwrap();
        for _ in 0..3 * QUEUE_MESSAGES_MAX {
            channels.send(OWNER, ChannelCommand::Send("x".repeat(1000)));
            let text = end.messages.try_recv().unwrap();
            end.written(text.len());
        }
        assert_eq!(*end.close.borrow(), None);
    }
}

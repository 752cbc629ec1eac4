//! Full callers: PeerConnections of the `webrtc` crate on the same scenario as light ones.
//!
//! ```text
//!                       ┌ Publisher ─► sender ─► local tracks ─┐
//!  FullPhone ─► Books ──┤                                      ├─ PeerConnection (ICE, DTLS, SRTP, RTCP: the crate's)
//!                       └ Viewer ◄──── Tap ◄───────────────────┘
//! ```
//!
//! They exist to keep light callers honest: ICE, DTLS, SRTP, NACK, RTX, transport-cc and reports are another project's,
//! while media and its measure are the same [`Publisher`](crate::engine::send::Publisher) and
//! [`Viewer`](crate::engine::receive::Viewer). About a hundred fit on a processor.
//!
//! What differs from a light caller, because the crate has it so: packets are asked for each 100 ms, not at once; a repair
//! carries no transport-wide number, no mid and no repaired-rid; TURN is spoken over UDP alone; media goes over IPv4. The
//! crate asks for no key frames by itself: the viewer's requests are sent through its chain of interceptors.
//!
//! Invariants: a packet is counted after SRTP has authenticated it; nobody holds the books across an await.
//!
//! Knows nothing about conferences or the server.

mod answer;
mod books;
mod connection;
mod sender;
mod tap;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use webrtc::peer_connection::RTCSessionDescription;

use self::answer::Answer;
use self::books::SharedBooks;
use self::connection::Connection;
use self::sender::Lane;
use crate::crew::{PathPlan, credentials};
use crate::engine::ports::{BadAnswer, CallerPlan, Note};
use crate::engine::results::Results;
use crate::engine::send::Track;
use crate::phone::{PhoneError, SlotCounts};
use crate::scenario::{Link, MediaPath, TurnServer};

/// All full callers of this process, as far as their results go.
#[derive(Clone, Default)]
pub struct FullCallers {
    /// Group and books of each connection that has something to tell.
    roll: Arc<Mutex<Vec<(usize, SharedBooks)>>>,
}

impl FullCallers {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A phone for one caller. `group` is the index under which its results are summed.
    pub fn phone(&self, plan: CallerPlan, path: PathPlan, group: usize) -> FullPhone {
        FullPhone { callers: self.clone(), plan, path, group, call: None }
    }

    /// Takes what was measured since the last sample, by group, ascending; groups without a caller are left out.
    pub fn sample(&self) -> Vec<(usize, Results)> {
        let mut groups: Vec<(usize, Results)> = Vec::new();
        let now = Instant::now();
        self.roll().retain(|(group, books)| {
            let at = groups.binary_search_by_key(group, |(index, _)| *index).unwrap_or_else(|at| {
                groups.insert(at, (*group, Results::default()));
                at
            });
            let mut books = books.open();
            books.take_results(now, &mut groups[at].1);
            !books.is_closed()
        });
        groups
    }

    fn roll(&self) -> std::sync::MutexGuard<'_, Vec<(usize, SharedBooks)>> {
        // A list of counters is whole whatever a panic elsewhere has left.
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The media of one full caller; the methods are those of [`crate::phone::Phone`]. Dropped, it hangs up.
pub struct FullPhone {
    callers: FullCallers,
    plan: CallerPlan,
    path: PathPlan,
    group: usize,
    call: Option<Call>,
}

/// From an offer to its end.
struct Call {
    connection: Connection,
    tracks: Vec<Track>,
    books: SharedBooks,
    notes: UnboundedReceiver<(Instant, Note)>,
    /// Sends media; none before the answer.
    sender: Option<JoinHandle<()>>,
}

impl FullPhone {
    /// A new connection with these slots and its offer; the one before is hung up.
    ///
    /// # Errors
    /// A path or link that full callers do not have, and what the crate says of sockets and relays.
    pub async fn offer(&mut self, slots: SlotCounts, turn: Option<TurnServer>) -> Result<String, PhoneError> {
        self.hang_up().await;
        let relay = self.relay(turn)?;
        let plan = &mut self.plan;
        plan.receive.audio = Some(slots.audio);
        plan.receive.video = Some(slots.video);
        let (sender, notes) = unbounded_channel();
        let books = SharedBooks::new(plan, sender);
        let tracks: Vec<Track> = books.open().know_own_streams();
        let opened = Connection::open(&books, &tracks, slots, relay.as_ref()).await;
        let mut connection = opened.map_err(|error| PhoneError::Library(error.to_string()))?;
        let offer = connection.offer().await.map_err(|error| PhoneError::Library(error.to_string()))?;
        if relay.is_some() && !offer.contains(" typ relay") {
            let _ = connection.peer.close().await;
            return Err(PhoneError::Relay("it refuses, or has given no address within 3 s".to_owned()));
        }
        self.callers.roll().push((self.group, books.clone()));
        self.call = Some(Call { connection, tracks, books, notes, sender: None });
        Ok(offer)
    }

    /// The server's answer. Checks start at once.
    ///
    /// # Errors
    /// An answer that cannot be used; none or a second one for the same offer.
    pub async fn answer(&mut self, sdp: &str) -> Result<(), PhoneError> {
        let call = self.call.as_mut().filter(|call| call.sender.is_none()).ok_or(PhoneError::NoOffer)?;
        let answer = Answer::read(sdp, call.tracks.len())?;
        call.books.open().take_slots(&answer.slots, answer.mid_id);
        let description = RTCSessionDescription::answer(answer.spelled_out);
        let description = description.map_err(|error| BadAnswer(error.to_string()))?;
        let taken = call.connection.peer.set_remote_description(description).await;
        taken.map_err(|error| BadAnswer(error.to_string()))?;
        let locals = call.connection.tracks.iter().cloned();
        let lanes = locals.zip(call.tracks.iter().cloned()).zip(answer.tracks);
        let lanes = lanes.map(|((local, track), format)| Lane { local, track, format }).collect();
        let is_connected = call.connection.is_connected.clone();
        call.sender = Some(tokio::spawn(sender::send(call.books.clone(), lanes, is_connected)));
        Ok(())
    }

    /// The current connection's next note; none without a connection. Can be given up waiting for without losing one.
    pub async fn note(&mut self) -> Option<(Instant, Note)> {
        self.call.as_mut()?.notes.recv().await
    }

    /// Ends the connection, with DTLS close_notify. Without one, nothing.
    pub async fn hang_up(&mut self) {
        let Some(call) = self.call.take() else { return };
        // What the crate cannot close is dropped all the same.
        let _ = call.connection.peer.close().await;
    }

    /// The relay that the path needs, checked against what the crate can do.
    fn relay(&self, named: Option<TurnServer>) -> Result<Option<TurnServer>, PhoneError> {
        if self.path.link.as_ref().is_some_and(|link| *link != Link::default()) {
            return Err(PhoneError::Library(
                "a full caller's link cannot be impaired: use kind = \"light\"".to_owned(),
            ));
        }
        match self.path.path {
            MediaPath::Direct => Ok(None),
            MediaPath::RelayUdp => {
                let relay = self.path.turn.clone().or(named).ok_or(PhoneError::NoRelay)?;
                let own = credentials(&relay, self.plan.number)?;
                Ok(Some(TurnServer { username: own.username, password: own.password, ..relay }))
            }
            MediaPath::RelayTcp | MediaPath::RelayTls => Err(PhoneError::Library(
                "a full caller speaks TURN over UDP only: use kind = \"light\"".to_owned(),
            )),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            sender.abort();
        }
        self.books.open().close();
    }
}

//! What control needs to know of a caller, and of whatever carries its media.

use std::future::Future;
use std::time::Instant;

use wire::messages::meeting::SlotCounts;

use super::failure::Failure;
use crate::engine::ports::Note;
use crate::phone::{self, Phone, PhoneError};
use crate::scenario::{Entry, MediaPath, Receive, TurnServer};

/// One caller's place in the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Seat {
    /// The conference's name.
    pub conference: String,
    /// Shown to the others.
    pub name: String,
    /// Index of its group in the scenario.
    pub group: usize,
    /// Unique in the run; its random waits and chat are drawn from it.
    pub seed: u64,
    /// How it gets in.
    pub entry: Entry,
    /// It publishes something: by WHIP, if the entry is HTTP.
    pub sends: bool,
    /// Somebody else in its conference sends something that it takes in: its join is done with the first packet. If not,
    /// its join is done with the keys.
    pub awaits_media: bool,
    /// What it takes in.
    pub receive: Receive,
    /// What carries its media.
    pub path: MediaPath,
    /// Opens the channel, as the page does.
    pub channel: bool,
    /// Chat lines a minute.
    pub chat_per_minute: f64,
}

impl Seat {
    /// Receive positions to offer, where the server says `told`.
    pub(crate) fn slots(&self, told: SlotCounts) -> SlotCounts {
        SlotCounts {
            audio: self.receive.audio.unwrap_or(told.audio).min(SLOTS_MAX),
            video: self.receive.video.unwrap_or(told.video).min(SLOTS_MAX),
        }
    }
}

/// A server may name any number; more m-lines than these are no browser's.
const SLOTS_MAX: usize = 256;

/// Whatever carries one caller's media. `note` may be given up waiting for without losing one.
pub trait Handset: Send {
    /// A whole offer of a new connection, which takes the place of the one before. `turn` is the relay that signaling named.
    fn offer(
        &mut self,
        slots: SlotCounts,
        turn: Option<TurnServer>,
    ) -> impl Future<Output = Result<String, Failure>> + Send;

    /// The answer to the latest offer.
    fn answer(&mut self, sdp: &str) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What became true of the current connection, and when. None: nothing will, until the next offer.
    fn note(&mut self) -> impl Future<Output = Option<(Instant, Note)>> + Send;

    /// Ends the current connection as a browser does.
    fn hang_up(&mut self) -> impl Future<Output = ()> + Send;
}

/// The handset of callers without media.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMedia;

impl Handset for NoMedia {
    async fn offer(&mut self, _: SlotCounts, _: Option<TurnServer>) -> Result<String, Failure> {
        Err(Failure::lasting("no_media", "this caller has no media"))
    }

    async fn answer(&mut self, _: &str) -> Result<(), Failure> {
        Err(Failure::lasting("no_media", "this caller has no media"))
    }

    async fn note(&mut self) -> Option<(Instant, Note)> {
        None
    }

    async fn hang_up(&mut self) {}
}

impl Handset for Phone {
    async fn offer(&mut self, slots: SlotCounts, turn: Option<TurnServer>) -> Result<String, Failure> {
        let slots = phone::SlotCounts { audio: slots.audio, video: slots.video };
        // Boxed: a full caller's offer is large, and no caller should carry that for its whole life.
        Box::pin(Self::offer(self, slots, turn)).await.map_err(|error| failure_of(&error))
    }

    async fn answer(&mut self, sdp: &str) -> Result<(), Failure> {
        Box::pin(Self::answer(self, sdp)).await.map_err(|error| failure_of(&error))
    }

    async fn note(&mut self) -> Option<(Instant, Note)> {
        Self::note(self).await
    }

    async fn hang_up(&mut self) {
        Self::hang_up(self).await;
    }
}

/// This machine's faults stay; the servers' may pass.
fn failure_of(error: &PhoneError) -> Failure {
    let (reason, is_final) = match error {
        PhoneError::BadAnswer(_) => ("bad_answer", false),
        PhoneError::Unreachable(_) => ("no_route_to_bridge", false),
        PhoneError::Relay(_) => ("relay", false),
        PhoneError::NoRelay => ("no_relay", true),
        PhoneError::TooManySockets => ("too_many_open_files", true),
        PhoneError::Socket(_) => ("socket", false),
        PhoneError::NoOffer => ("no_offer", false),
        PhoneError::CrewEnded => ("crew_ended", true),
        PhoneError::Library(_) => ("library", false),
    };
    let failure = Failure::passing(reason, error.to_string());
    Failure { is_final, ..failure }
}

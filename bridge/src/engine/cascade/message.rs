//! What the parts of a conference tell each other besides packets. Nothing of it is lost, and what one part says to
//! another arrives in the order it was said.

use std::time::Instant;

use serde_json::{Map, Value};
use wire::messages::channel::EndpointMessage;
use wire::messages::ids::{ConferenceId, EndpointId, Epoch};
use wire::messages::media::{Media, VideoType};

use crate::engine::reports::{BridgeClock, SenderClock, StreamClock};
use crate::engine::source::SourceId;

/// From one part of a conference to another. The shell carries it unread.
#[derive(Debug)]
pub struct PartMessage {
    pub(crate) conference: ConferenceId,
    pub(crate) epoch: Epoch,
    pub(crate) body: PartBody,
}

impl PartMessage {
    /// Something that one browser says to others, which may be dropped where there is no room for it. Everything else
    /// keeps the parts in step.
    pub fn is_talk(&self) -> bool {
        matches!(self.body, PartBody::Say(_) | PartBody::Stats { .. })
    }

    /// A message that says so many endpoints, for tests of what carries it.
    #[cfg(test)]
    pub(crate) fn sample(endpoints: usize) -> Self {
        let conference = ConferenceId::parse("a".repeat(26)).unwrap();
        Self { conference, epoch: Epoch(1), body: PartBody::Endpoints(endpoints) }
    }

    /// What `sample` said.
    #[cfg(test)]
    pub(crate) fn sampled(&self) -> Option<usize> {
        match self.body {
            PartBody::Endpoints(endpoints) => Some(endpoints),
            _ => None,
        }
    }

    /// Something that a browser says.
    #[cfg(test)]
    pub(crate) fn talk() -> Self {
        let message = EndpointMessage { to: String::new(), from: String::new(), rest: Map::new() };
        Self { body: PartBody::Say(message), ..Self::sample(0) }
    }
}

/// What is said.
#[derive(Debug, Clone)]
pub(crate) enum PartBody {
    /// A part begins: whoever hears it answers with its state.
    Hello(Life),
    /// All that a part holds; what was said before and is not in it is over.
    State {
        /// Since when it lives.
        life: Life,
        /// How many endpoints it has.
        endpoints: usize,
        /// What they publish.
        sources: Vec<SourceState>,
    },
    /// This life of the part has ended.
    Bye(Life),
    /// It has ended because the whole conference does, which it has counted.
    Over(Life),
    /// So many endpoints it has now.
    Endpoints(usize),
    /// A source is new, or is something else than before.
    Source(SourceState),
    /// A source has ended.
    SourceGone(SourceId),
    /// Somebody here is shown your source: its packets are wanted.
    Shown(SourceId),
    /// Nobody here is shown your source any more.
    NotShown(SourceId),
    /// Somebody here has lost the picture of your source.
    PictureLost(SourceId),
    /// Somebody here still waits for a picture of your source.
    PictureAwaited(SourceId),
    /// How a source's time runs.
    Clocks(Clocks),
    /// Who is loud and who speaks, from the part that ranks the voices.
    Ranking(Ranking),
    /// A browser's message to one endpoint or to all.
    Say(EndpointMessage),
    /// A browser's statistics, for who is shown its picture.
    Stats {
        /// Whose.
        from: EndpointId,
        /// As they are passed on.
        stats: Map<String, Value>,
    },
}

/// One life of a part: on the same worker a conference may end and begin again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    /// Never the same twice on one worker.
    pub incarnation: u64,
    /// When this life began.
    pub born: Instant,
    /// When the conference began, as far as the part knows.
    pub began: Instant,
}

/// A source as other parts must know it.
#[derive(Debug, Clone)]
pub(crate) struct SourceState {
    /// Its name among all parts.
    pub id: SourceId,
    /// Since when it is published.
    pub began: Instant,
    /// Whose it is.
    pub owner: EndpointId,
    /// Its m-line.
    pub media: Media,
    /// What it shows now.
    pub video_type: VideoType,
}

/// All that reports about a source's packets need.
#[derive(Debug, Clone)]
pub(crate) struct Clocks {
    /// Which source.
    pub source: SourceId,
    /// Its owner's clock against the sending part's.
    pub sender: SenderClock,
    /// The sending part's clock.
    pub bridge: BridgeClock,
    /// Each layer's, lowest first.
    pub streams: Vec<StreamClock>,
}

/// What the part that ranks the voices has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranking {
    /// Loudest first.
    pub loudest: Vec<SourceId>,
    /// Who speaks, or spoke last.
    pub dominant: Option<SourceId>,
    /// Who was dominant before, latest first.
    pub previous: Vec<SourceId>,
}

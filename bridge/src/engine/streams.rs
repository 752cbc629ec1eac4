//! Which stream of an endpoint is what. Asked for every packet, so it is a small array and no hash.

use wire::srtp::ReplayWindow;

/// What a stream carries. Sources are named by their place in the conference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// A layer's media.
    Media {
        /// Place in the conference's sources.
        source: usize,
        /// Which layer.
        layer: u8,
    },
    /// A layer's retransmissions (RFC 4588).
    Retransmissions {
        /// Place in the conference's sources.
        source: usize,
        /// Which layer.
        layer: u8,
    },
    /// Something that was published once. Kept for its replay window: captured packets of it stay worthless.
    Ended,
}

impl Binding {
    /// The source it belongs to.
    pub(crate) fn source(self) -> Option<usize> {
        match self {
            Self::Media { source, .. } | Self::Retransmissions { source, .. } => Some(source),
            Self::Ended => None,
        }
    }
}

/// The streams of one endpoint.
#[derive(Default)]
pub(crate) struct StreamTable {
    /// SSRC of each stream, in the order of `streams`. Apart, so that a look-up touches one or two cache lines.
    ssrcs: Vec<u32>,
    streams: Vec<Stream>,
    /// SSRCs of the browser's description, heard or not.
    announced: Vec<(u32, Binding)>,
}

struct Stream {
    window: ReplayWindow,
    binding: Binding,
}

impl StreamTable {
    /// The place of a stream heard before.
    pub(crate) fn position(&self, ssrc: u32) -> Option<usize> {
        self.ssrcs.iter().position(|each| *each == ssrc)
    }

    /// What the stream carries, and its replay window.
    pub(crate) fn stream(&mut self, position: usize) -> (Binding, &mut ReplayWindow) {
        let stream = &mut self.streams[position];
        (stream.binding, &mut stream.window)
    }

    /// What a stream heard before carries.
    pub(crate) fn binding(&self, ssrc: u32) -> Option<Binding> {
        self.position(ssrc).map(|position| self.streams[position].binding)
    }

    /// What the browser's description says about `ssrc`.
    pub(crate) fn announced(&self, ssrc: u32) -> Option<Binding> {
        self.announced.iter().find(|(each, _)| *each == ssrc).map(|(_, binding)| *binding)
    }

    /// The stream is this endpoint's: heard, or announced.
    pub(crate) fn owns(&self, ssrc: u32) -> bool {
        self.announced(ssrc).is_some() || self.binding(ssrc).is_some()
    }

    /// Takes what the description says, in place of what the one before said.
    pub(crate) fn announce(&mut self, announced: Vec<(u32, Binding)>) {
        for (ssrc, binding) in &announced {
            // A stream that comes back under its old number is a new one to its source: its next packet begins it. Only
            // the replay window is kept.
            if let Some(position) = self.position(*ssrc)
                && self.streams[position].binding != *binding
            {
                self.streams[position].binding = Binding::Ended;
            }
        }
        self.announced = announced;
    }

    /// Takes up an authenticated stream.
    pub(crate) fn insert(&mut self, ssrc: u32, binding: Binding, window: ReplayWindow) {
        self.end(binding);
        if self.streams.len() == STREAMS_KEPT
            && let Some(oldest) = self.streams.iter().position(|stream| stream.binding == Binding::Ended)
        {
            self.ssrcs.remove(oldest);
            self.streams.remove(oldest);
        }
        self.ssrcs.push(ssrc);
        self.streams.push(Stream { window, binding });
    }

    /// Gives an ended stream its place back: the browser has gone back to an SSRC it used before.
    pub(crate) fn rebind(&mut self, position: usize, binding: Binding) {
        self.end(binding);
        self.streams[position].binding = binding;
    }

    /// Another stream has taken this one's place: a browser never sends two for one layer.
    fn end(&mut self, binding: Binding) {
        for stream in self.streams.iter_mut().filter(|stream| stream.binding == binding) {
            stream.binding = Binding::Ended;
        }
    }

    /// The source is gone: so are its streams, but not their windows.
    pub(crate) fn end_source(&mut self, source: usize) {
        self.announced.retain(|(_, binding)| binding.source() != Some(source));
        for stream in self.streams.iter_mut().filter(|stream| stream.binding.source() == Some(source)) {
            stream.binding = Binding::Ended;
        }
    }

    /// A DTLS association begins: under new keys no old packet can be replayed.
    pub(crate) fn forget_heard(&mut self) {
        self.ssrcs.clear();
        self.streams.clear();
    }
}

/// Three layers and their retransmissions for each of ten m-lines; a browser needs about nine.
pub(crate) const STREAMS_MAX: usize = 64;

/// Those, and as many that have ended. A browser makes a new stream each time a screen is shared anew.
const STREAMS_KEPT: usize = 2 * STREAMS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_has_one_stream_at_a_time() {
        let mut table = StreamTable::default();
        let binding = Binding::Media { source: 3, layer: 0 };
        table.insert(10, binding, ReplayWindow::new());
        table.insert(11, binding, ReplayWindow::new());
        assert_eq!((table.binding(10), table.binding(11)), (Some(Binding::Ended), Some(binding)));
    }

    #[test]
    fn of_ended_streams_the_oldest_makes_room_and_a_live_one_never() {
        let mut table = StreamTable::default();
        let live = Binding::Media { source: 1, layer: 0 };
        table.insert(7, live, ReplayWindow::new());
        (1_000..2_000).for_each(|ssrc| table.insert(ssrc, Binding::Ended, ReplayWindow::new()));
        assert_eq!((table.ssrcs.len(), table.streams.len()), (STREAMS_KEPT, STREAMS_KEPT));
        assert_eq!((table.binding(7), table.binding(1_000)), (Some(live), None));
        assert_eq!(table.binding(1_999), Some(Binding::Ended));
    }

    #[test]
    fn a_source_that_comes_back_under_its_old_numbers_begins_anew_and_one_that_stayed_goes_on() {
        let mut table = StreamTable::default();
        let binding = Binding::Media { source: 0, layer: 0 };
        table.announce(vec![(10, binding)]);
        table.insert(10, binding, ReplayWindow::new());
        table.end_source(0);
        assert_eq!((table.announced(10), table.binding(10)), (None, Some(Binding::Ended)));
        let again = Binding::Media { source: 5, layer: 0 };
        table.announce(vec![(10, again)]);
        assert_eq!((table.announced(10), table.binding(10)), (Some(again), Some(Binding::Ended)));
        table.rebind(0, again);
        table.announce(vec![(10, again)]);
        assert_eq!(table.binding(10), Some(again));
    }
}

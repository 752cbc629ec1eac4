//! One stream of a source: what came of it, what is missing, how its time runs.

use std::time::{Duration, Instant};

use wire::messages::media::CodecParameters;
use wire::rtcp::{NtpTime, ReportBlock};
use wire::rtp::{SequenceExtender, Ssrc};

use super::cache::{CacheSize, PacketCache};
use super::drop_reason::DropReason;
use super::nack::{Arrival, LossTracker};
use super::packet::Notes;
use super::reports::{ReceptionStats, StreamClock};

/// One stream of a source.
pub(crate) struct Layer {
    /// The stream's number, once it was heard.
    pub ssrc: Option<u32>,
    /// Counts the streams that were this layer.
    pub generation: u32,
    pub extender: SequenceExtender,
    pub cache: PacketCache<Notes>,
    pub losses: LossTracker,
    pub reception: Reception,
    pub clock: StreamClock,
    pub key_frames: KeyFrameRequests,
    /// When its last packet came.
    pub heard_at: Option<Instant>,
    /// When its last packet came that was not silent, or did not say.
    pub audible_at: Option<Instant>,
    /// Of its newest packet.
    pub newest_timestamp: Option<u32>,
}

impl Layer {
    /// A stream that nobody has heard yet, of a source with these codecs.
    pub(crate) fn new(codecs: &[CodecParameters], size: CacheSize) -> Self {
        // All codecs of an m-line kind tick alike: 48 kHz for audio, 90 kHz for video.
        let clock_rate_hz = codecs.first().map_or(90_000, |codec| codec.clock_rate_hz);
        Self {
            ssrc: None,
            generation: 0,
            extender: SequenceExtender::new(),
            cache: PacketCache::new(size),
            losses: LossTracker::default(),
            reception: Reception::new(clock_rate_hz),
            clock: StreamClock::new(clock_rate_hz),
            key_frames: KeyFrameRequests::default(),
            heard_at: None,
            audible_at: None,
            newest_timestamp: None,
        }
    }

    /// Notes a media packet that was opened into the cache. The error says why it must not be forwarded.
    pub(crate) fn note_media(
        &mut self,
        now: Instant,
        ext_seq: u64,
        timestamp: u32,
    ) -> Result<Arrival, DropReason> {
        self.extender.commit(ext_seq);
        self.heard_at = Some(now);
        self.reception.handle_packet(now, ext_seq, timestamp);
        let level = self.cache.packet(ext_seq).and_then(|cached| cached.meta.level_dbov());
        if level.is_none_or(|level| level < SILENT_DBOV) {
            self.audible_at = Some(now);
        }
        match self.losses.handle_packet(now, ext_seq) {
            // Once forwarded, or given up for a key frame: neither is to be forwarded now.
            Arrival::Late => Err(DropReason::Duplicate),
            arrival => Ok(arrival),
        }
    }
}

/// What came of a layer. Reports speak of the stream it is now; the totals of all that were it, so that they only grow.
pub(crate) struct Reception {
    stream: ReceptionStats,
    expected_before: u64,
    lost_before: u64,
}

impl Reception {
    fn new(clock_rate_hz: u32) -> Self {
        Self { stream: ReceptionStats::new(clock_rate_hz), expected_before: 0, lost_before: 0 }
    }

    /// Goes on with the totals of the stream before.
    pub(crate) fn continue_totals(&mut self, before: &Self) {
        (self.expected_before, self.lost_before) = (before.expected(), before.lost());
    }

    fn handle_packet(&mut self, now: Instant, ext_seq: u64, timestamp: u32) {
        self.stream.handle_packet(now, ext_seq, timestamp);
    }

    /// Notes a sender report of the stream.
    pub(crate) fn handle_sender_report(&mut self, now: Instant, ntp: NtpTime) {
        self.stream.handle_sender_report(now, ntp);
    }

    /// What to report of the stream; `None` before its first packet.
    pub(crate) fn report_block(&mut self, now: Instant, ssrc: Ssrc) -> Option<ReportBlock> {
        self.stream.report_block(now, ssrc)
    }

    /// How many packets should have arrived by now.
    pub(crate) fn expected(&self) -> u64 {
        self.expected_before + self.stream.expected()
    }

    /// How many of them did not.
    pub(crate) fn lost(&self) -> u64 {
        self.lost_before + self.stream.lost()
    }
}

/// When this layer's sender was last asked for a key frame.
#[derive(Debug, Default)]
pub(crate) struct KeyFrameRequests {
    sent_at: Option<Instant>,
}

impl KeyFrameRequests {
    /// Somebody has lost the picture. True when the sender is to be asked now; false when it was, just before
    /// (HOSTILE U47).
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        self.ask_after(now, REQUEST_PAUSE)
    }

    /// Somebody is still waiting for a picture. True when it is time to ask the sender again (HOSTILE U44).
    pub(crate) fn ask_again(&mut self, now: Instant) -> bool {
        self.ask_after(now, REPEAT_PAUSE)
    }

    fn ask_after(&mut self, now: Instant, pause: Duration) -> bool {
        let is_due = self.sent_at.is_none_or(|at| now.saturating_duration_since(at) >= pause);
        if is_due {
            self.sent_at = Some(now);
        }
        is_due
    }
}

/// RFC 6464, 3: digital silence, as of a muted microphone.
const SILENT_DBOV: u8 = 127;

/// A key frame takes a round trip to come: asking twice within one would only fetch two.
const REQUEST_PAUSE: Duration = Duration::from_millis(200);

/// A sender that does not answer must not be drowned in requests.
const REPEAT_PAUSE: Duration = Duration::from_millis(500);

//! What a viewer has counted since its last reading.

use wire::messages::media::MediaKind;

use super::delays::DelayLog;
use crate::engine::counts::Counts;
use crate::engine::results::Results;

/// Counts and delays of all slots.
#[derive(Debug)]
pub(super) struct Tally {
    /// [`crate::engine::stamp::Clock::number`] of this process.
    pub(super) clock: u32,
    pub(super) counts: Counts,
    /// Packets counted as lost that came after all; they are taken off as soon as losses are counted to take them off from.
    pub(super) forgiven: u64,
    /// A picture was shown.
    pub(super) has_picture: bool,
    pub(super) frame_delays: DelayLog,
    audio_delays: DelayLog,
    video_delays: DelayLog,
}

impl Tally {
    pub(super) fn new(clock: u32) -> Self {
        Self {
            clock,
            counts: Counts::default(),
            forgiven: 0,
            has_picture: false,
            frame_delays: DelayLog::default(),
            audio_delays: DelayLog::default(),
            video_delays: DelayLog::default(),
        }
    }

    pub(super) fn delays(&mut self, kind: MediaKind) -> &mut DelayLog {
        match kind {
            MediaKind::Audio => &mut self.audio_delays,
            MediaKind::Video => &mut self.video_delays,
        }
    }

    /// Adds all to `results`, and forgets it.
    pub(super) fn drain_into(&mut self, results: &mut Results) {
        let forgiven = self.forgiven.min(self.counts.packets_lost);
        self.counts.packets_lost -= forgiven;
        self.forgiven -= forgiven;
        results.counts += std::mem::take(&mut self.counts);
        self.audio_delays.drain_into(&mut results.delays.audio);
        self.video_delays.drain_into(&mut results.delays.video);
        self.frame_delays.drain_into(&mut results.delays.frames);
    }
}

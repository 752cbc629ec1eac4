//! What callers measured: sums and distributions that add up over callers, threads and seconds.

use super::counts::Counts;
use crate::outcome::{Delays, Distribution};

/// What some callers measured in some time. About 650 KiB, whatever it holds: one for each group of a thread and second,
/// never one for each caller.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// Sums.
    pub counts: Counts,
    /// One-way delays, microseconds.
    pub delays: Delays,
    /// Rate of each video slot that showed something, one value a second; kbit/s of its datagrams.
    pub video_slot_kbps: Distribution,
}

impl Results {
    /// Adds what others have measured.
    pub fn add(&mut self, other: &Self) {
        self.counts += other.counts;
        self.delays.add(&other.delays);
        self.video_slot_kbps.add(&other.video_slot_kbps);
    }

    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        self.counts = Counts::default();
        self.delays.audio.clear();
        self.delays.video.clear();
        self.delays.frames.clear();
        self.video_slot_kbps.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_and_can_be_forgotten() {
        let mut one = Results::default();
        one.counts.packets_received = 3;
        one.delays.audio.take(100);
        one.delays.video.take(200);
        one.delays.frames.take(300);
        one.video_slot_kbps.take(400);
        let mut sum = one.clone();
        sum.add(&one);
        let samples = |results: &Results| {
            let delays = &results.delays;
            [&delays.audio, &delays.video, &delays.frames, &results.video_slot_kbps].map(Distribution::count)
        };
        assert_eq!((sum.counts.packets_received, samples(&sum)), (6, [2; 4]));
        sum.clear();
        assert_eq!((sum.counts, samples(&sum)), (Counts::default(), [0; 4]));
    }
}

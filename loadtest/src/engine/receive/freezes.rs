//! How still a slot's picture stands, as WebRTC's statistics count it: a freeze is an interval between two shown pictures
//! of at least three times the average of the last thirty and at least 150 ms more than it.

use crate::engine::counts::Counts;

/// Where pictures come from: (source, stream). Another one has another interval.
pub(super) type Lane = (u32, u8);

/// One slot, watched.
#[derive(Debug)]
pub(super) struct Watch {
    /// When the newest picture was shown; none before the first, and while the slot is empty.
    shown_us: Option<u64>,
    /// Up to when time is counted as watched.
    counted_us: u64,
    /// What of the interval that runs is counted as frozen; 0: no freeze has begun.
    frozen_us: u64,
    lane: Lane,
    /// The last intervals, as a ring.
    intervals_us: [u32; INTERVALS],
    count: usize,
    sum_us: u64,
}

/// What is known of a slot beyond its pictures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signs {
    /// The slot's newest packet.
    pub(super) packet_us: u64,
    /// The newest sign that the server is there.
    pub(super) life_us: u64,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            shown_us: None,
            counted_us: 0,
            frozen_us: 0,
            lane: (0, 0),
            intervals_us: [0; INTERVALS],
            count: 0,
            sum_us: 0,
        }
    }

    /// A picture is shown.
    pub(super) fn handle_picture(&mut self, now_us: u64, lane: Lane, counts: &mut Counts) {
        if let Some(last) = self.shown_us.replace(now_us) {
            let interval_us = now_us.saturating_sub(last);
            self.count_to(now_us, interval_us, counts);
            if self.lane == lane {
                self.push(interval_us);
            }
        }
        if self.lane != lane {
            // A screen's five pictures a second are no freeze of the camera before it.
            (self.count, self.sum_us, self.lane) = (0, 0, lane);
        }
        (self.counted_us, self.frozen_us) = (now_us, 0);
    }

    /// Counts what can be told by now of the interval that runs. While packets come, a picture that fails to appear stands
    /// still. When none come, either the next picture will tell, or the server is gone and it stands still too, or the
    /// server has nothing more to show here: then the slot is empty, and nobody looks.
    pub(super) fn handle_time(&mut self, now_us: u64, signs: Signs, counts: &mut Counts) {
        let Some(last) = self.shown_us else { return };
        let silent_us = now_us.saturating_sub(signs.packet_us.max(last));
        if silent_us >= EMPTY_AFTER_US && signs.life_us >= signs.packet_us + LIFE_AFTER_US {
            (self.shown_us, self.frozen_us) = (None, 0);
            return;
        }
        if !(QUIET_US..EMPTY_AFTER_US).contains(&silent_us) {
            self.count_to(now_us, now_us.saturating_sub(last), counts);
        }
    }

    /// Counts the time up to now, of which `interval_us` without a new picture.
    fn count_to(&mut self, now_us: u64, interval_us: u64, counts: &mut Counts) {
        counts.watched_us += now_us.saturating_sub(self.counted_us);
        self.counted_us = self.counted_us.max(now_us);
        if !self.is_freeze(interval_us) {
            return;
        }
        counts.freezes += u64::from(self.frozen_us == 0);
        counts.frozen_us += interval_us.saturating_sub(self.frozen_us);
        self.frozen_us = self.frozen_us.max(interval_us);
    }

    /// The interval itself is among those averaged.
    fn is_freeze(&self, interval_us: u64) -> bool {
        let count = (self.count + 1).min(INTERVALS) as u64;
        if count < INTERVALS_MIN {
            return false;
        }
        let oldest = if self.count < INTERVALS { 0 } else { self.intervals_us[self.count % INTERVALS] };
        let average_us = (self.sum_us - u64::from(oldest) + interval_us) / count;
        interval_us >= (3 * average_us).max(average_us + INCREASE_US)
    }

    fn push(&mut self, interval_us: u64) {
        let place = self.count % INTERVALS;
        if self.count >= INTERVALS {
            self.sum_us -= u64::from(self.intervals_us[place]);
        }
        // An hour fits; a longer interval weighs as an hour.
        self.intervals_us[place] = interval_us.min(u64::from(u32::MAX)) as u32;
        self.sum_us += u64::from(self.intervals_us[place]);
        self.count += 1;
    }
}

/// WebRTC: the average is of this many intervals.
const INTERVALS: usize = 30;

/// WebRTC: with fewer, nothing is said.
const INTERVALS_MIN: u64 = 5;

/// WebRTC: the least by which an interval of a freeze is above the average.
const INCREASE_US: u64 = 150_000;

/// Without a packet for this long, a slot may be empty rather than frozen. No freeze is shorter.
const QUIET_US: u64 = 150_000;

/// WebRTC takes a stream without packets for this long to be inactive.
const EMPTY_AFTER_US: u64 = 5_000_000;

/// A sign of life this much younger than the last packet was not on its way together with it.
const LIFE_AFTER_US: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: Lane = (1, 1);
    const FRAME_US: u64 = 33_333;

    struct World {
        now_us: u64,
        signs: Signs,
        watch: Watch,
        counts: Counts,
    }

    impl World {
        fn new() -> Self {
            let signs = Signs { packet_us: 0, life_us: 0 };
            Self { now_us: 1_000_000, signs, watch: Watch::new(), counts: Counts::default() }
        }

        fn show(&mut self, wait_us: u64, lane: Lane) {
            self.now_us += wait_us;
            self.signs.packet_us = self.now_us;
            self.watch.handle_picture(self.now_us, lane, &mut self.counts);
        }

        fn show_some(&mut self, count: u64) {
            (0..count).for_each(|_| self.show(FRAME_US, CAMERA));
        }

        fn look(&mut self, wait_us: u64) {
            self.now_us += wait_us;
            self.watch.handle_time(self.now_us, self.signs, &mut self.counts);
        }

        fn found(&self) -> (u64, u64) {
            (self.counts.freezes, self.counts.frozen_us)
        }
    }

    #[test]
    fn a_steady_picture_is_watched_and_never_frozen() {
        let mut world = World::new();
        world.show_some(91);
        assert_eq!((world.found(), world.counts.watched_us), ((0, 0), 90 * FRAME_US));
    }

    #[test]
    fn an_interval_just_below_the_threshold_is_no_freeze_and_one_above_is() {
        let mut world = World::new();
        world.show_some(40);
        // With an average of 33 ms that grows by a thirtieth of the interval's excess.
        world.show(187_000, CAMERA);
        assert_eq!(world.found(), (0, 0));
        world.show_some(40);
        world.show(190_000, CAMERA);
        assert_eq!(world.found(), (1, 190_000));
    }

    #[test]
    fn the_first_four_intervals_say_nothing() {
        let mut world = World::new();
        world.show_some(4);
        world.show(2_000_000, CAMERA);
        assert_eq!(world.found(), (0, 0));
        assert_eq!(world.counts.watched_us, 3 * FRAME_US + 2_000_000);
    }

    #[test]
    fn a_slow_picture_is_no_freeze() {
        let mut world = World::new();
        (0..50).for_each(|_| world.show(200_000, CAMERA));
        assert_eq!(world.found(), (0, 0));
        world.show(650_000, CAMERA);
        assert_eq!(world.found(), (1, 650_000));
    }

    #[test]
    fn another_source_starts_anew_but_the_time_until_it_comes_counts() {
        let mut world = World::new();
        world.show_some(40);
        world.show(500_000, (2, 8));
        assert_eq!(world.found(), (1, 500_000));
        (0..50).for_each(|_| world.show(200_000, (2, 8)));
        assert_eq!(world.found(), (1, 500_000));
    }

    #[test]
    fn a_freeze_that_runs_is_counted_second_by_second_and_once() {
        let mut world = World::new();
        world.show_some(40);
        for _ in 0..3 {
            world.signs.packet_us = world.now_us + 1_000_000;
            world.look(1_000_000);
        }
        assert_eq!(world.found(), (1, 3_000_000));
        world.show(500_000, CAMERA);
        assert_eq!(world.found(), (1, 3_500_000));
        assert_eq!(world.counts.watched_us, 39 * FRAME_US + 3_500_000);
    }

    #[test]
    fn a_slot_that_the_server_has_emptied_is_not_frozen() {
        let mut world = World::new();
        world.show_some(40);
        let watched_us = world.counts.watched_us;
        for _ in 0..20 {
            world.signs.life_us = world.now_us;
            world.look(1_000_000);
        }
        assert_eq!((world.found(), world.counts.watched_us), ((0, 0), watched_us));
        world.show(1, (7, 1));
        world.show(FRAME_US, (7, 1));
        assert_eq!((world.found(), world.counts.watched_us), ((0, 0), watched_us + FRAME_US));
    }

    #[test]
    fn a_slot_of_a_server_that_is_gone_stands_still() {
        let mut world = World::new();
        world.show_some(40);
        (0..4).for_each(|_| world.look(1_000_000));
        assert_eq!(world.found(), (0, 0), "it may yet come to be empty");
        world.look(1_000_000);
        assert_eq!(world.found(), (1, 5_000_000));
        world.look(1_000_000);
        assert_eq!(world.found(), (1, 6_000_000));
    }

    #[test]
    fn a_pause_that_ends_within_five_seconds_is_a_freeze() {
        let mut world = World::new();
        world.show_some(40);
        (0..3).for_each(|_| world.look(1_000_000));
        world.show(0, CAMERA);
        assert_eq!(world.found(), (1, 3_000_000));
    }
}

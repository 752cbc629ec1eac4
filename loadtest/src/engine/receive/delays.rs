//! Delays between two readings of a viewer's results. A distribution of its own would cost each caller half a megabyte.

use crate::outcome::Distribution;

/// Delays of one kind, microseconds.
#[derive(Debug, Default)]
pub(super) struct DelayLog {
    values_us: Vec<u32>,
    /// One of so many is kept; grows when there are too many.
    stride: u32,
    skipped: u32,
}

impl DelayLog {
    /// Takes one delay.
    pub(super) fn take(&mut self, delay_us: u64) {
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        if self.values_us.len() == VALUES_MAX {
            self.thin_out();
        }
        self.values_us.push(delay_us.min(u64::from(u32::MAX)) as u32);
    }

    /// Half of them say as much.
    fn thin_out(&mut self) {
        let mut is_kept = false;
        self.values_us.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
        self.stride = self.stride.max(1) * 2;
    }

    /// Adds all to `distribution`, each for as many as it stands for, and forgets them.
    pub(super) fn drain_into(&mut self, distribution: &mut Distribution) {
        for delay_us in self.values_us.drain(..) {
            (0..self.stride.max(1)).for_each(|_| distribution.take(u64::from(delay_us)));
        }
        (self.stride, self.skipped) = (1, 0);
    }
}

/// Eight slots of 250 packets for a second; 8 KiB. With more, each value stands for two.
const VALUES_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_delays_are_kept_one_by_one() {
        let (mut log, mut distribution) = (DelayLog::default(), Distribution::default());
        (1..=1_000).for_each(|delay_us| log.take(delay_us));
        log.drain_into(&mut distribution);
        assert_eq!(
            (distribution.count(), distribution.quantile(0.5), distribution.max()),
            (1_000, 500, 1_000)
        );
        log.drain_into(&mut distribution);
        assert_eq!(distribution.count(), 1_000, "forgotten");
    }

    #[test]
    fn many_delays_are_thinned_out_and_keep_their_shape() {
        let (mut log, mut distribution) = (DelayLog::default(), Distribution::default());
        (0..100_000).for_each(|number| log.take(1_000 + number * 7_919 % 10_000));
        assert!(log.values_us.len() <= VALUES_MAX);
        log.drain_into(&mut distribution);
        assert!(distribution.count().abs_diff(100_000) < 100, "{}", distribution.count());
        for (share, value) in [(0.1, 2_000), (0.5, 6_000), (0.9, 10_000)] {
            assert!(
                distribution.quantile(share).abs_diff(value) < 300,
                "{share}: {}",
                distribution.quantile(share)
            );
        }
    }
}

//! Values by the second that a figure's noise is taken from.

use crate::outcome::{Outcome, Second};
use crate::report::measured;

/// What is read off each stretch of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    LossPercent,
    DelayP50Ms,
    DelayP99Ms,
    PacketsPerS,
    BusyPercent,
    /// Microseconds of the busiest worker for each packet that callers received.
    BusyPerPacket,
}

impl Measure {
    /// The value over some seconds that follow each other; shares are of their sums, not means of shares. None where
    /// nothing was there to measure.
    fn over(self, seconds: &[&Second]) -> Option<f64> {
        let sum = |value: fn(&Second) -> f64| seconds.iter().map(|second| value(second)).sum::<f64>();
        let mean = |value| Some(sum(value) / seconds.len() as f64);
        let received = sum(|second| second.packets_received as f64);
        match self {
            Self::LossPercent => {
                let lost = sum(|second| second.packets_lost as f64);
                (received + lost > 0.0).then(|| lost * 100.0 / (received + lost))
            }
            Self::DelayP50Ms => mean(|second| second.delay_p50_us as f64 / 1e3),
            Self::DelayP99Ms => mean(|second| second.delay_p99_us as f64 / 1e3),
            Self::PacketsPerS => mean(|second| second.packets_received as f64),
            Self::BusyPercent => mean(|second| second.server_busy * 100.0),
            Self::BusyPerPacket => {
                (received > 0.0).then(|| sum(|second| second.server_busy) * 1e6 / received)
            }
        }
    }

    /// One value for each of about [`BATCHES`] stretches of the measured part; seconds left over join the last.
    pub(crate) fn batches(self, outcome: &Outcome) -> Vec<f64> {
        let seconds: Vec<&Second> = measured(outcome).collect();
        let count = seconds.len().min(BATCHES);
        let edge = |batch: usize| seconds.len() * batch / count;
        (0..count).filter_map(|batch| self.over(&seconds[edge(batch)..edge(batch + 1)])).collect()
    }
}

/// Few enough that each holds seconds that have forgotten the ones before, enough to tell how much they vary.
const BATCHES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::sample;

    #[test]
    fn twenty_seconds_are_ten_batches_of_two() {
        let outcome = sample();
        let batches = Measure::PacketsPerS.batches(&outcome);
        assert_eq!(batches.len(), 10);
        let seconds: Vec<&Second> = measured(&outcome).collect();
        let second = |at: usize| seconds[at].packets_received as f64;
        assert!((batches[0] - f64::midpoint(second(0), second(1))).abs() < 1e-9, "{batches:?}");
        assert!((batches[9] - f64::midpoint(second(18), second(19))).abs() < 1e-9, "{batches:?}");
    }

    #[test]
    fn every_second_is_in_one_batch_whatever_their_number() {
        for to in 6..=25_u32 {
            let mut outcome = sample();
            outcome.measured.to_s = f64::from(to);
            outcome.series.iter_mut().for_each(|second| second.packets_received = 100);
            let batches = Measure::PacketsPerS.batches(&outcome);
            assert_eq!(batches, vec![100.0; (to as usize - 5).min(BATCHES)], "until {to} s");
        }
    }

    #[test]
    fn loss_of_a_batch_is_that_of_its_packets() {
        let mut outcome = sample();
        outcome.measured.to_s = 7.0;
        for second in &mut outcome.series {
            (second.packets_received, second.packets_lost) = (90, 10);
        }
        assert_eq!(Measure::LossPercent.batches(&outcome), [10.0, 10.0]);
        outcome.series.iter_mut().for_each(|second| (second.packets_received, second.packets_lost) = (0, 0));
        assert!(Measure::LossPercent.batches(&outcome).is_empty(), "nothing of nothing");
    }
}

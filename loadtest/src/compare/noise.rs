//! How much a figure varies within one run, and what that leaves of a difference between two.

use super::series::Measure;
use crate::outcome::Outcome;

/// Batch means of one figure in one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Noise {
    batches: f64,
    /// Of the batch means, unbiased.
    variance: f64,
}

impl Noise {
    /// None of fewer than two batches.
    pub(crate) fn of(measure: Measure, outcome: &Outcome) -> Option<Self> {
        Self::of_batches(&measure.batches(outcome))
    }

    fn of_batches(values: &[f64]) -> Option<Self> {
        if values.len() < 2 {
            return None;
        }
        let batches = values.len() as f64;
        let mean = values.iter().sum::<f64>() / batches;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (batches - 1.0);
        Some(Self { batches, variance })
    }

    /// By how much two such runs differ without a cause, at most, nineteen times of twenty.
    pub(crate) fn between(self, other: Self) -> f64 {
        let (mine, theirs) = (self.variance / self.batches, other.variance / other.batches);
        let squares = mine.powi(2) / (self.batches - 1.0) + theirs.powi(2) / (other.batches - 1.0);
        if squares == 0.0 {
            return 0.0;
        }
        // Welch and Satterthwaite: the variances are not the same, so neither are their weights.
        let freedom = (mine + theirs).powi(2) / squares;
        student_95(freedom) * (mine + theirs).sqrt()
    }
}

/// The two-sided 95 % quantile of Student's t; of the next smaller number of degrees of freedom in the table, which is the
/// more careful one.
fn student_95(freedom: f64) -> f64 {
    let index = STUDENT_95.partition_point(|(degrees, _)| *degrees <= freedom);
    STUDENT_95[index.saturating_sub(1)].1
}

/// Degrees of freedom, quantile.
const STUDENT_95: [(f64, f64); 23] = [
    (1.0, 12.706),
    (2.0, 4.303),
    (3.0, 3.182),
    (4.0, 2.776),
    (5.0, 2.571),
    (6.0, 2.447),
    (7.0, 2.365),
    (8.0, 2.306),
    (9.0, 2.262),
    (10.0, 2.228),
    (11.0, 2.201),
    (12.0, 2.179),
    (13.0, 2.160),
    (14.0, 2.145),
    (15.0, 2.131),
    (16.0, 2.120),
    (17.0, 2.110),
    (18.0, 2.101),
    (20.0, 2.086),
    (25.0, 2.060),
    (30.0, 2.042),
    (60.0, 2.000),
    (120.0, 1.980),
];

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn the_noise_of_a_textbook_pair_is_the_textbooks() {
        // Two samples of five with variance 2.5 each: standard error 1, eight degrees of freedom.
        let five = Noise::of_batches(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(five.variance, 2.5);
        assert!((five.between(five) - 2.306).abs() < 1e-9);
    }

    #[test]
    fn constant_runs_have_no_noise_and_too_short_ones_no_verdict() {
        let constant = Noise::of_batches(&[3.0; 10]).unwrap();
        assert_eq!(constant.between(constant), 0.0);
        assert_eq!((Noise::of_batches(&[]), Noise::of_batches(&[1.0])), (None, None));
    }

    #[test]
    fn same_runs_are_called_different_one_time_in_twenty() {
        let mut random = StdRng::seed_from_u64(7);
        let mut run = |mean: f64| -> (f64, Noise) {
            // Sums of twelve evens are as good as normal here.
            let values: Vec<f64> =
                (0..10).map(|_| mean + (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0).collect();
            (values.iter().sum::<f64>() / 10.0, Noise::of_batches(&values).unwrap())
        };
        let mut different = |shift: f64| {
            (0..2_000)
                .filter(|_| {
                    let ((mean_a, a), (mean_b, b)) = (run(50.0), run(50.0 + shift));
                    (mean_a - mean_b).abs() > a.between(b)
                })
                .count()
        };
        let falsely = different(0.0);
        assert!((60..=140).contains(&falsely), "{falsely} of 2,000");
        assert!(different(2.0) > 1_900, "a shift of two deviations is seen");
    }
}

//! What must hold at the level that a plan names: a small TOML file of maxima, and what runs are held against it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::report::figures::figures;

/// Maxima; those that are absent are not asked for. At least one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slo {
    /// One-way delay of media packets, 99th percentile, milliseconds.
    pub delay_p99_ms: Option<f64>,
    /// Packets that never came, share of those expected, 0.0 to 1.0.
    pub loss: Option<f64>,
    /// From the first step of joining to the first packet of media, 95th percentile, milliseconds.
    pub join_p95_ms: Option<f64>,
    /// Busiest worker of any server, mean over the measured part, 0.0 to 1.0.
    pub busy: Option<f64>,
    /// Share of watched time in which a picture stood still, 0.0 to 1.0.
    pub frozen: Option<f64>,
    /// Callers that failed to join, share of all, 0.0 to 1.0.
    pub failed_joins: Option<f64>,
}

/// Why a file is no SLO; one line that names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SloError(pub String);

/// One of the maxima, named as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// [`Slo::delay_p99_ms`].
    DelayP99Ms,
    /// [`Slo::loss`].
    Loss,
    /// [`Slo::join_p95_ms`].
    JoinP95Ms,
    /// [`Slo::busy`].
    Busy,
    /// [`Slo::frozen`].
    Frozen,
    /// [`Slo::failed_joins`].
    FailedJoins,
}

/// What a run found for each criterion; none where nothing was measured.
pub type Readings = BTreeMap<Criterion, Option<f64>>;

impl Criterion {
    /// All, in the order in which tables show them.
    pub const ALL: [Self; 6] =
        [Self::DelayP99Ms, Self::Loss, Self::JoinP95Ms, Self::Busy, Self::Frozen, Self::FailedJoins];

    /// For a heading, with its unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::DelayP99Ms => "delay p99, ms",
            Self::Loss => "lost, %",
            Self::JoinP95Ms => "join p95, ms",
            Self::Busy => "server busy, %",
            Self::Frozen => "frozen, %",
            Self::FailedJoins => "failed joins, %",
        }
    }

    /// In the unit of [`name`](Self::name).
    pub fn shown(self, value: f64) -> f64 {
        if self.is_share() { value * 100.0 } else { value }
    }

    fn is_share(self) -> bool {
        !matches!(self, Self::DelayP99Ms | Self::JoinP95Ms)
    }
}

impl Slo {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Unreadable, an unknown key, a value out of range, or nothing asked for; one line that names the file and the key.
    pub fn load(path: &Path) -> Result<Self, SloError> {
        let error = |why: String| SloError(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|failed| error(failed.to_string()))?;
        Self::parse(&text).map_err(|why| error(why.0))
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    /// As [`load`](Self::load), without the file's name.
    pub fn parse(text: &str) -> Result<Self, SloError> {
        let slo: Self = toml::from_str(text).map_err(|failed| {
            let line = failed.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            SloError(format!("line {line}: {}", failed.message().replace('\n', " ")))
        })?;
        slo.check()?;
        Ok(slo)
    }

    fn check(&self) -> Result<(), SloError> {
        if self.limits().next().is_none() {
            return Err(SloError(
                "asks for nothing; name at least one of delay_p99_ms, loss, join_p95_ms, busy, frozen, failed_joins"
                    .to_owned(),
            ));
        }
        for (criterion, limit) in self.limits() {
            let (allowed, words) = match criterion.is_share() {
                true => (0.0..=1.0, "a share from 0 to 1"),
                false => (0.0..=MS_MAX, "milliseconds from 0 to 600,000"),
            };
            if !allowed.contains(&limit) {
                return Err(SloError(format!("{}: {limit} is not {words}", key(criterion))));
            }
        }
        Ok(())
    }

    /// What is asked for of one criterion.
    pub fn limit(&self, criterion: Criterion) -> Option<f64> {
        match criterion {
            Criterion::DelayP99Ms => self.delay_p99_ms,
            Criterion::Loss => self.loss,
            Criterion::JoinP95Ms => self.join_p95_ms,
            Criterion::Busy => self.busy,
            Criterion::Frozen => self.frozen,
            Criterion::FailedJoins => self.failed_joins,
        }
    }

    /// Everything that is asked for.
    pub fn limits(&self) -> impl Iterator<Item = (Criterion, f64)> {
        Criterion::ALL.into_iter().filter_map(|criterion| Some((criterion, self.limit(criterion)?)))
    }

    /// What is asked for and not kept; what was not measured is not kept.
    pub fn broken(&self, readings: &Readings) -> Vec<Criterion> {
        let holds = |criterion, limit| {
            readings.get(&criterion).copied().flatten().is_some_and(|found| found <= limit)
        };
        self.limits()
            .filter(|&(criterion, limit)| !holds(criterion, limit))
            .map(|(criterion, _)| criterion)
            .collect()
    }
}

/// The criterion's key in the file.
pub(super) fn key(criterion: Criterion) -> String {
    // Invariant: a unit variant is a JSON string.
    serde_json::to_value(criterion).ok().and_then(|key| key.as_str().map(str::to_owned)).unwrap_or_default()
}

/// All six, whether asked for or not.
pub(super) fn readings(outcome: &Outcome) -> Readings {
    let found = figures(outcome);
    Readings::from([
        (Criterion::DelayP99Ms, found.delay_p99_ms),
        (Criterion::Loss, found.loss),
        (Criterion::JoinP95Ms, found.join_p95_ms),
        (Criterion::Busy, found.busy),
        (Criterion::Frozen, found.frozen),
        (Criterion::FailedJoins, found.failed_joins),
    ])
}

/// What a distribution holds at most.
const MS_MAX: f64 = 600_000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::sample;

    #[test]
    fn the_commented_example_is_accepted_and_asks_for_everything() {
        let slo = Slo::parse(include_str!("../../slo.toml")).unwrap();
        assert_eq!(slo.limits().count(), Criterion::ALL.len());
    }

    #[test]
    fn a_typo_or_a_value_out_of_range_is_one_line_that_names_it() {
        let refusal = |text: &str| Slo::parse(text).unwrap_err().0;
        assert!(
            refusal("loss = 0.1\nlos = 0.1").starts_with("line 2: unknown field `los`"),
            "{}",
            refusal("los = 1")
        );
        assert_eq!(refusal("loss = 5"), "loss: 5 is not a share from 0 to 1");
        assert_eq!(refusal("delay_p99_ms = -1"), "delay_p99_ms: -1 is not milliseconds from 0 to 600,000");
        assert_eq!(refusal("busy = nan"), "busy: NaN is not a share from 0 to 1");
        assert!(refusal("loss = \"few\"").starts_with("line 1: invalid type"));
        assert!(refusal("# nothing").starts_with("asks for nothing"));
        for text in ["loss = ", "[loss]", "\u{0}", "loss = 0.1\nloss = 0.2"] {
            assert!(!refusal(text).contains('\n'), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Slo::load(Path::new("/nowhere/slo.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/slo.toml: No such file"), "{error}");
    }

    #[test]
    fn what_was_not_measured_is_not_kept_and_what_is_not_asked_for_is_not_judged() {
        let slo = Slo { loss: Some(0.01), join_p95_ms: Some(1_000.0), ..Slo::default() };
        let mut found = readings(&sample());
        assert!(slo.broken(&found).is_empty(), "{found:?}");
        found.insert(Criterion::JoinP95Ms, None);
        found.insert(Criterion::Busy, Some(9.0));
        assert_eq!(slo.broken(&found), [Criterion::JoinP95Ms]);
        assert_eq!(slo.broken(&Readings::new()).len(), 2);
    }
}

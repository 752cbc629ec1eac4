//! What a browser wants to see, as far as it has said so over its channel.

use std::collections::BTreeMap;

use wire::messages::channel::ReceiverVideoConstraints;
use wire::messages::ids::SourceName;

/// One receiver's wishes. What it never spoke about is unlimited.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wishes {
    /// Videos at most; none: no limit.
    last_n: Option<usize>,
    /// Shown large: before everything else.
    on_stage: Vec<SourceName>,
    /// Come before the speakers.
    selected: Vec<SourceName>,
    /// Whether sources that are not named are wanted at all.
    is_default_never: bool,
    /// By source name: wanted or never.
    named: BTreeMap<String, bool>,
}

impl Wishes {
    /// Sets the limit alone; negative is none (HOSTILE C05).
    pub(crate) fn set_last_n(&mut self, last_n: i64) {
        self.last_n = usize::try_from(last_n).ok();
    }

    /// Takes what a message says; absent fields stay as they were.
    pub(crate) fn take(&mut self, constraints: ReceiverVideoConstraints) {
        if let Some(last_n) = constraints.last_n {
            self.set_last_n(last_n);
        }
        if let Some(mut selected) = constraints.selected_sources {
            selected.truncate(NAMES_MAX);
            self.selected = selected;
        }
        if let Some(mut on_stage) = constraints.on_stage_sources {
            on_stage.truncate(NAMES_MAX);
            self.on_stage = on_stage;
        }
        if let Some(default) = constraints.default_constraints {
            self.is_default_never = default.max_height == Some(0);
        }
        if let Some(named) = constraints.constraints {
            let wanted =
                named.into_iter().take(NAMES_MAX).map(|(name, each)| (name, each.max_height != Some(0)));
            self.named = wanted.collect();
        }
    }

    /// Videos at most.
    pub(crate) fn videos_max(&self) -> usize {
        self.last_n.unwrap_or(usize::MAX)
    }

    /// The browser wants to see this source at some size.
    pub(crate) fn wants(&self, source: &SourceName) -> bool {
        self.named.get(source.as_str()).copied().unwrap_or(!self.is_default_never)
    }

    /// The sources named to come first, in that order; some may not exist.
    pub(crate) fn first(&self) -> impl Iterator<Item = &SourceName> {
        self.on_stage.iter().chain(&self.selected)
    }
}

/// More tiles than any screen has. The rest of a longer list is left out (HOSTILE C05).
const NAMES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use wire::messages::channel::VideoConstraints;

    use super::*;

    fn name(text: &str) -> SourceName {
        SourceName::parse(text).unwrap()
    }

    #[test]
    fn what_was_not_said_is_unlimited() {
        let wishes = Wishes::default();
        assert_eq!((wishes.videos_max(), wishes.wants(&name("aaaaaaaa-v0"))), (usize::MAX, true));
    }

    #[test]
    fn absurd_limits_are_none_and_zero_is_never() {
        let mut wishes = Wishes::default();
        wishes.set_last_n(i64::MIN);
        assert_eq!(wishes.videos_max(), usize::MAX);
        let never = VideoConstraints { max_height: Some(0), max_frame_rate: None };
        let some = VideoConstraints { max_height: Some(-1), max_frame_rate: None };
        wishes.take(ReceiverVideoConstraints {
            last_n: Some(2),
            default_constraints: Some(never),
            constraints: Some([("aaaaaaaa-v0".to_owned(), some)].into()),
            ..ReceiverVideoConstraints::default()
        });
        assert_eq!(wishes.videos_max(), 2);
        assert!(wishes.wants(&name("aaaaaaaa-v0")));
        assert!(!wishes.wants(&name("bbbbbbbb-v0")));
    }

    #[test]
    fn an_absent_field_stays_as_it_was() {
        let mut wishes = Wishes::default();
        wishes.take(ReceiverVideoConstraints {
            on_stage_sources: Some(vec![name("aaaaaaaa-v1")]),
            selected_sources: Some(vec![name("bbbbbbbb-v0")]),
            ..ReceiverVideoConstraints::default()
        });
        wishes.take(ReceiverVideoConstraints { last_n: Some(-1), ..ReceiverVideoConstraints::default() });
        assert_eq!(
            wishes.first().map(SourceName::as_str).collect::<Vec<_>>(),
            ["aaaaaaaa-v1", "bbbbbbbb-v0"]
        );
    }
}

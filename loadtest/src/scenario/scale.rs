//! A scenario of another size: more conferences, or more callers in each. `plan` climbs with it.

use super::{CallersByGroup, Group, PerConference, Scenario};

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// This many conferences, each as it was.
    Conferences(u32),
    /// As many conferences, each with this many times the callers. Groups that only watch grow; where everybody sends,
    /// every group does: a webinar with twice the audience still has one speaker.
    Callers(f64),
}

impl Scenario {
    /// The same scenario in another size.
    #[must_use]
    pub fn scaled(&self, scale: Scale) -> Self {
        let mut scaled = self.clone();
        match scale {
            Scale::Conferences(conferences) => scaled.conferences = conferences,
            Scale::Callers(times) => {
                let has_audience = self.groups.iter().any(Group::only_watches);
                let grows = |group: &&mut Group| !has_audience || group.only_watches();
                scaled.groups.iter_mut().filter(grows).for_each(|group| group.per_conference.multiply(times));
            }
        }
        scaled
    }

    /// The same scenario without tokens, passwords and shared secrets, for reports.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        shown.target.token = None;
        if let Some(turn) = &mut shown.target.turn {
            turn.password.clear();
            turn.secret.clear();
        }
        shown
    }

    /// Callers of all conferences.
    pub fn callers(&self) -> u32 {
        self.callers_by_group().values().fold(0, |sum, callers| sum.saturating_add(*callers))
    }

    /// Callers of all conferences, by group; groups of one name together.
    pub fn callers_by_group(&self) -> CallersByGroup {
        let mut callers = CallersByGroup::new();
        for group in &self.groups {
            *callers.entry(group.name.clone()).or_default() += group.callers(self.conferences);
        }
        callers
    }
}

impl Group {
    /// Sends nothing.
    pub fn only_watches(&self) -> bool {
        self.voice.is_none() && self.camera.is_none() && self.screen.is_none()
    }

    /// Its callers over this many conferences.
    pub fn callers(&self, conferences: u32) -> u32 {
        let each = |conference| u64::from(self.per_conference.in_conference(conference));
        let sum = (0..conferences).map(each).sum::<u64>();
        u32::try_from(sum).unwrap_or(u32::MAX)
    }
}

impl PerConference {
    /// How many callers the conference with this index has; 0 of an empty list.
    pub fn in_conference(&self, conference: u32) -> u32 {
        match self {
            Self::Same(callers) => *callers,
            Self::Each(callers) if callers.is_empty() => 0,
            Self::Each(callers) => callers[conference as usize % callers.len()],
        }
    }

    /// Nobody stays nobody; anybody stays at least one.
    fn multiply(&mut self, times: f64) {
        let grown = |callers: u32| {
            if callers == 0 { 0 } else { ((f64::from(callers) * times).round() as u32).max(1) }
        };
        match self {
            Self::Same(callers) => *callers = grown(*callers),
            Self::Each(callers) => callers.iter_mut().for_each(|each| *each = grown(*each)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Voice;

    fn webinar() -> Scenario {
        let speaker = Group { name: "speaker".to_owned(), voice: Some(Voice::default()), ..Group::default() };
        let audience = Group {
            name: "audience".to_owned(),
            per_conference: PerConference::Each(vec![10, 0, 3]),
            ..Group::default()
        };
        Scenario { conferences: 4, groups: vec![speaker, audience], ..Scenario::default() }
    }

    #[test]
    fn callers_are_counted_over_conferences_that_differ() {
        let callers = webinar().callers_by_group();
        assert_eq!((callers["speaker"], callers["audience"]), (4, 10 + 3 + 10));
        assert_eq!(webinar().callers(), 27);
    }

    #[test]
    fn more_conferences_leave_each_as_it_was() {
        let scaled = webinar().scaled(Scale::Conferences(8));
        assert_eq!((scaled.conferences, &scaled.groups), (8, &webinar().groups));
    }

    #[test]
    fn an_audience_grows_and_its_speaker_does_not() {
        let scaled = webinar().scaled(Scale::Callers(2.5));
        assert_eq!(scaled.groups[0].per_conference, PerConference::Same(1));
        assert_eq!(scaled.groups[1].per_conference, PerConference::Each(vec![25, 0, 8]));
    }

    #[test]
    fn where_everybody_sends_everybody_grows_and_nobody_vanishes() {
        let mut meeting = webinar();
        meeting.groups[1].voice = Some(Voice::default());
        assert_eq!(meeting.scaled(Scale::Callers(3.0)).groups[0].per_conference, PerConference::Same(3));
        assert_eq!(
            meeting.scaled(Scale::Callers(0.01)).groups[1].per_conference,
            PerConference::Each(vec![1, 0, 1])
        );
    }
}

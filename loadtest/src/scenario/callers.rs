//! How many callers a scenario has, and who they are.

use super::{Group, PerConference, Scenario};

impl Scenario {
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
        self.groups.iter().fold(0, |sum, group| sum.saturating_add(group.callers(self.conferences)))
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{TurnServer, Voice};

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
        let webinar = webinar();
        let [speaker, audience] = &webinar.groups[..] else { unreachable!() };
        assert_eq!((speaker.callers(4), audience.callers(4)), (4, 10 + 3 + 10));
        assert_eq!(webinar.callers(), 27);
    }

    #[test]
    fn only_who_sends_nothing_only_watches() {
        assert!(!webinar().groups[0].only_watches());
        assert!(webinar().groups[1].only_watches());
    }

    #[test]
    fn reports_do_not_tell_secrets() {
        let mut scenario = webinar();
        scenario.target.token = Some("open sesame".to_owned());
        scenario.target.turn = Some(TurnServer {
            username: "anybody".to_owned(),
            password: "open sesame".to_owned(),
            secret: "open sesame".to_owned(),
            ..TurnServer::default()
        });
        let shown = toml::to_string(&scenario.without_secrets()).unwrap();
        assert!(!shown.contains("sesame") && shown.contains("anybody"), "{shown}");
    }
}

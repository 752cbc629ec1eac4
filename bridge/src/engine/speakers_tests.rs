//! The claims about who is loudest and who is dominant.

use proptest::prelude::*;

use super::*;

const LOUD: u8 = 25;
const QUIET: u8 = 45;
const SILENT: u8 = 127;

struct Conference {
    now: Instant,
    speakers: Speakers<u32>,
    /// Changes of (loudest, dominant).
    changes: (usize, usize),
}

impl Conference {
    fn new(places: usize) -> Self {
        Self { now: Instant::now(), speakers: Speakers::new(places), changes: (0, 0) }
    }

    /// Everybody named sends a packet each 20 ms at their level.
    fn run(&mut self, ms: u64, levels: &[(u32, u8)]) {
        for _ in 0..ms / 20 {
            self.now += Duration::from_millis(20);
            for &(source, level) in levels {
                let change = self.speakers.handle_level(self.now, source, level);
                self.changes.0 += usize::from(change.is_loudest_changed);
                self.changes.1 += usize::from(change.is_dominant_changed);
            }
        }
    }
}

#[test]
fn a_conference_that_fits_ranks_even_the_silent() {
    let mut conference = Conference::new(4);
    conference.run(20, &[(1, SILENT), (2, SILENT), (3, SILENT), (4, SILENT)]);
    assert_eq!(conference.speakers.loudest(4), [1, 2, 3, 4]);
    assert_eq!(conference.changes, (4, 0));
}

#[test]
fn a_first_word_takes_a_silent_place_within_100_ms() {
    let mut conference = Conference::new(2);
    conference.run(100, &[(1, LOUD), (2, SILENT), (3, SILENT)]);
    assert_eq!(conference.speakers.loudest(2), [1, 2]);
    conference.run(80, &[(1, LOUD), (2, SILENT), (3, QUIET)]);
    assert_eq!(conference.speakers.loudest(2), [1, 3]);
}

#[test]
fn a_speaker_is_displaced_only_by_a_clearly_and_lastingly_louder_one() {
    let mut conference = Conference::new(1);
    conference.run(500, &[(1, QUIET)]);
    conference.run(2_000, &[(1, QUIET), (2, QUIET - 4)]);
    assert_eq!(conference.speakers.loudest(1), [1], "4 dB louder is not clearly louder");
    conference.run(200, &[(1, QUIET), (2, LOUD)]);
    assert_eq!(conference.speakers.loudest(1), [1], "200 ms are not lasting");
    conference.run(300, &[(1, QUIET), (2, LOUD)]);
    assert_eq!(conference.speakers.loudest(1), [2]);
}

#[test]
fn ten_equal_talkers_do_not_take_turns() {
    let mut conference = Conference::new(3);
    let talkers: Vec<_> = (0..10).map(|source| (source, LOUD + (source % 5) as u8)).collect();
    conference.run(1_000, &talkers);
    let settled = conference.changes;
    conference.run(10_000, &talkers);
    assert_eq!(conference.changes, settled);
}

#[test]
fn the_louder_of_the_ranked_comes_first() {
    let mut conference = Conference::new(3);
    conference.run(1_000, &[(1, SILENT), (2, QUIET), (3, LOUD)]);
    assert_eq!(conference.speakers.loudest(2), [3, 2]);
}

#[test]
fn a_source_that_stops_sending_fades_and_loses_its_place() {
    let mut conference = Conference::new(1);
    conference.run(500, &[(1, LOUD)]);
    conference.run(1_000, &[(2, QUIET)]);
    assert_eq!(conference.speakers.loudest(1), [2]);
}

#[test]
fn a_cough_makes_nobody_dominant() {
    let mut conference = Conference::new(4);
    conference.run(2_000, &[(1, QUIET), (2, SILENT)]);
    assert_eq!(conference.speakers.dominant(), Some(1));
    conference.run(300, &[(1, QUIET), (2, LOUD)]);
    conference.run(2_000, &[(1, QUIET), (2, SILENT)]);
    assert_eq!((conference.speakers.dominant(), conference.changes.1), (Some(1), 1));
}

#[test]
fn whoever_talks_into_a_silence_becomes_dominant_within_a_second() {
    let mut conference = Conference::new(4);
    conference.run(2_000, &[(1, LOUD), (2, SILENT)]);
    conference.run(1_000, &[(1, SILENT), (2, QUIET)]);
    assert_eq!(conference.speakers.dominant(), Some(2));
    assert_eq!(conference.speakers.previous(), [1]);
}

#[test]
fn at_most_ten_previous_speakers_are_kept_latest_first() {
    let mut conference = Conference::new(4);
    for source in 0..13 {
        conference.run(3_000, &[(source, LOUD)]);
    }
    conference.run(3_000, &[(5, LOUD)]);
    assert_eq!(conference.speakers.dominant(), Some(5));
    assert_eq!(conference.speakers.previous(), [12, 11, 10, 9, 8, 7, 6, 4, 3, 2]);
}

#[test]
fn two_seconds_without_speech_are_silence() {
    let mut conference = Conference::new(4);
    assert!(conference.speakers.is_silence(conference.now));
    conference.run(1_000, &[(1, LOUD)]);
    assert!(!conference.speakers.is_silence(conference.now));
    conference.run(3_500, &[(1, SILENT)]);
    assert!(conference.speakers.is_silence(conference.now));
    assert_eq!(conference.speakers.dominant(), Some(1), "who spoke last stays dominant");
}

#[test]
fn a_source_that_is_gone_is_nowhere_and_its_place_is_free() {
    let mut conference = Conference::new(2);
    conference.run(1_000, &[(1, LOUD), (2, QUIET), (3, SILENT)]);
    let change = conference.speakers.remove(1);
    assert_eq!(change, SpeakerChange { is_loudest_changed: true, is_dominant_changed: true });
    assert_eq!((conference.speakers.dominant(), conference.speakers.loudest(2)), (None, [2].as_slice()));
    conference.run(20, &[(3, SILENT)]);
    assert_eq!(conference.speakers.loudest(2), [2, 3]);
    assert_eq!(conference.speakers.remove(9), SpeakerChange::default());
}

proptest! {
    #[test]
    fn ranking_is_bounded_unique_and_only_of_live_sources(
        steps in prop::collection::vec((0_u32..12, any::<u8>(), 0_u64..300, 0_u8..20), 0..400),
    ) {
        let mut conference = Conference::new(3);
        let mut live = std::collections::BTreeSet::new();
        for (source, level, wait, action) in steps {
            conference.now += Duration::from_millis(wait);
            let before = (conference.speakers.ranking.clone(), conference.speakers.dominant());
            let change = if action == 0 {
                live.remove(&source);
                conference.speakers.remove(source)
            } else {
                live.insert(source);
                conference.speakers.handle_level(conference.now, source, level)
            };
            let ranked = conference.speakers.loudest(usize::MAX).to_vec();
            prop_assert_eq!(change.is_loudest_changed, before.0 != ranked);
            prop_assert_eq!(change.is_dominant_changed, before.1 != conference.speakers.dominant());
            let unique: std::collections::BTreeSet<_> = ranked.iter().copied().collect();
            prop_assert_eq!(unique.len(), ranked.len());
            prop_assert!(ranked.len() <= 3 && unique.is_subset(&live));
            prop_assert!(conference.speakers.dominant().is_none_or(|dominant| live.contains(&dominant)));
        }
    }
}

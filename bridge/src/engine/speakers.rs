//! Who speaks in a conference: the loudest few, whose audio is forwarded, and the dominant one, whom the page shows
//! large. Everything is decided when a packet's level arrives (RFC 6464), in time that does not grow with the sources
//! that are silent.
//!
//! Invariants: `ranking` holds each source at most once and at most `places` of them; while it has room every source
//! that is heard gets into it, silent or not, so that in a small conference nobody's audio ever changes its slot. A
//! place goes to a louder source at once when its holder is silent, and after `CONTEST` when its holder speaks.

use std::time::{Duration, Instant};

/// Loudness of every source of one conference, named by `K`.
#[derive(Debug)]
pub(crate) struct Speakers<K> {
    /// Sorted by key.
    speakers: Vec<Speaker<K>>,
    /// The loudest, loudest first; neighbours change places only by a clear margin.
    ranking: Vec<K>,
    places: usize,
    dominant: Option<K>,
    /// Dominant before, latest first.
    previous: Vec<K>,
    spoke_at: Option<Instant>,
}

#[derive(Debug)]
struct Speaker<K> {
    key: K,
    /// Smoothed, dB above silence: 0 to 127.
    loudness: f32,
    heard_at: Instant,
    /// Since when it is clearly louder than the one whose place it would take.
    contends_since: Option<Instant>,
    /// Since when it is clearly louder than the dominant one.
    dominates_since: Option<Instant>,
}

/// What one level changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SpeakerChange {
    /// `loudest` answers differently.
    pub(crate) is_loudest_changed: bool,
    /// `dominant` answers differently.
    pub(crate) is_dominant_changed: bool,
}

impl<K: Copy + Ord> Speakers<K> {
    /// Nobody speaks. `places` is how many sources are ranked: one more than the audio slots of a receiver, because
    /// nobody hears themselves.
    pub(crate) fn new(places: usize) -> Self {
        let (speakers, ranking, previous) = (Vec::new(), Vec::new(), Vec::new());
        Self { speakers, ranking, places, dominant: None, previous, spoke_at: None }
    }

    /// Takes the level of one packet of `source`, in dB below full scale: 0 is loudest, 127 silent.
    pub(crate) fn handle_level(&mut self, now: Instant, source: K, level_dbov: u8) -> SpeakerChange {
        let index = match self.index(source) {
            Ok(index) => index,
            Err(index) => {
                self.speakers.insert(index, Speaker::new(source, now));
                index
            }
        };
        let loudness = self.speakers[index].handle_level(now, level_dbov);
        if loudness >= SPEECH_DB {
            self.spoke_at = Some(now);
        }
        SpeakerChange {
            is_loudest_changed: self.contend_for_place(now, index),
            is_dominant_changed: self.contend_for_dominance(now, index),
        }
    }

    /// The source is gone.
    pub(crate) fn remove(&mut self, source: K) -> SpeakerChange {
        if let Ok(index) = self.index(source) {
            self.speakers.remove(index);
        }
        let ranked = self.ranking.len();
        self.ranking.retain(|&key| key != source);
        self.previous.retain(|&key| key != source);
        let is_dominant_changed = self.dominant == Some(source);
        if is_dominant_changed {
            self.dominant = None;
        }
        SpeakerChange { is_loudest_changed: self.ranking.len() < ranked, is_dominant_changed }
    }

    /// Takes over what another has found, who hears all of them.
    pub(crate) fn adopt(&mut self, loudest: Vec<K>, dominant: Option<K>, previous: Vec<K>) {
        (self.ranking, self.dominant, self.previous) = (loudest, dominant, previous);
        self.ranking.truncate(self.places);
        self.previous.truncate(PREVIOUS_MAX);
    }

    /// Notes whether somebody speaks, without comparing anybody.
    pub(crate) fn note_speech(&mut self, now: Instant, level_dbov: u8) {
        if f32::from(SILENT_DBOV.saturating_sub(level_dbov)) >= SPEECH_DB {
            self.spoke_at = Some(now);
        }
    }

    /// At most `count` of the ranked sources, loudest first.
    pub(crate) fn loudest(&self, count: usize) -> &[K] {
        &self.ranking[..count.min(self.ranking.len())]
    }

    /// Who speaks, or who spoke last.
    pub(crate) fn dominant(&self) -> Option<K> {
        self.dominant
    }

    /// Who was dominant before, latest first; at most `PREVIOUS_MAX`.
    pub(crate) fn previous(&self) -> &[K] {
        &self.previous
    }

    /// Nobody has spoken for a while.
    pub(crate) fn is_silence(&self, now: Instant) -> bool {
        self.spoke_at.is_none_or(|at| now.saturating_duration_since(at) >= SILENCE)
    }

    /// Moves the speaker at `index` into the ranking, or up in it.
    fn contend_for_place(&mut self, now: Instant, index: usize) -> bool {
        let source = self.speakers[index].key;
        let place = match self.ranking.iter().position(|&key| key == source) {
            Some(place) => place,
            None if self.ranking.len() < self.places => {
                self.ranking.push(source);
                return true;
            }
            None => self.ranking.len(),
        };
        if self.speakers[index].loudness < SPEECH_DB {
            self.speakers[index].contends_since = None;
            return false;
        }
        // A ranked source contends with the one before it, another one with the quietest that is ranked.
        let rival = if place < self.ranking.len() { place.checked_sub(1) } else { self.quietest(now) };
        let Some(rival) = rival else { return false };
        let rival_loudness = self.loudness_of(self.ranking[rival], now);
        let speaker = &mut self.speakers[index];
        if speaker.loudness < rival_loudness + MARGIN_DB {
            speaker.contends_since = None;
            return false;
        }
        let since = *speaker.contends_since.get_or_insert(now);
        if rival_loudness >= SPEECH_DB && now.saturating_duration_since(since) < CONTEST {
            return false;
        }
        speaker.contends_since = None;
        if place < self.ranking.len() {
            self.ranking.swap(place, rival);
        } else {
            // The newcomer takes the last place and moves up with its next packets.
            self.ranking.remove(rival);
            self.ranking.push(source);
        }
        true
    }

    /// Makes the speaker at `index` dominant if it has been clearly louder for long enough.
    fn contend_for_dominance(&mut self, now: Instant, index: usize) -> bool {
        let source = self.speakers[index].key;
        if self.dominant == Some(source) {
            return false;
        }
        let to_beat = self.dominant.map_or(0.0, |dominant| self.loudness_of(dominant, now) + MARGIN_DB);
        let speaker = &mut self.speakers[index];
        if speaker.loudness < SPEECH_DB || speaker.loudness < to_beat {
            speaker.dominates_since = None;
            return false;
        }
        let since = *speaker.dominates_since.get_or_insert(now);
        if now.saturating_duration_since(since) < DOMINANCE {
            return false;
        }
        speaker.dominates_since = None;
        self.previous.retain(|&key| key != source);
        if let Some(before) = self.dominant.replace(source) {
            self.previous.insert(0, before);
            self.previous.truncate(PREVIOUS_MAX);
        }
        true
    }

    /// The place in the ranking of the least loud source; the last one of equals.
    fn quietest(&self, now: Instant) -> Option<usize> {
        let loudness = self.ranking.iter().map(|&key| self.loudness_of(key, now));
        let quietest =
            loudness.enumerate().min_by(|(a, one), (b, other)| one.total_cmp(other).then(b.cmp(a)));
        quietest.map(|(place, _)| place)
    }

    fn loudness_of(&self, source: K, now: Instant) -> f32 {
        self.index(source).map_or(0.0, |index| self.speakers[index].loudness_at(now))
    }

    fn index(&self, source: K) -> Result<usize, usize> {
        self.speakers.binary_search_by_key(&source, |speaker| speaker.key)
    }
}

impl<K> Speaker<K> {
    fn new(key: K, now: Instant) -> Self {
        Self { key, loudness: 0.0, heard_at: now, contends_since: None, dominates_since: None }
    }

    /// Follows the level: quickly up, so that a first syllable is heard, and slowly down, so that a pause for breath
    /// costs nothing.
    fn handle_level(&mut self, now: Instant, level_dbov: u8) -> f32 {
        let before = self.loudness_at(now);
        let target = f32::from(SILENT_DBOV - level_dbov.min(SILENT_DBOV));
        let elapsed =
            now.saturating_duration_since(self.heard_at).clamp(PACKET_MIN, PACKET_MAX).as_secs_f32();
        let time = if target > before { RISE } else { FALL };
        self.loudness = before + (target - before) * elapsed / (elapsed + time.as_secs_f32());
        self.heard_at = now;
        self.loudness
    }

    /// The loudness now: a source that stops sending (DTX, mute) fades.
    fn loudness_at(&self, now: Instant) -> f32 {
        let quiet = now.saturating_duration_since(self.heard_at).saturating_sub(PACKET_MAX);
        (self.loudness - quiet.as_secs_f32() * FADE_DB_PER_S).max(0.0)
    }
}

/// RFC 6464, 3: digital silence.
const SILENT_DBOV: u8 = 127;

/// −55 dBov: rooms and fans stay below it, quiet talkers above.
const SPEECH_DB: f32 = 72.0;

/// Less is not heard as louder.
const MARGIN_DB: f32 = 6.0;

/// Two sources that speak at once do not change places more often than this.
const CONTEST: Duration = Duration::from_millis(300);

/// Longer than a cough or an "mm-hm", shorter than a sentence.
const DOMINANCE: Duration = Duration::from_millis(450);

/// Between sentences it is not yet silent.
const SILENCE: Duration = Duration::from_secs(2);

/// Two packets of 20 ms lift a talker above `SPEECH_DB`.
const RISE: Duration = Duration::from_millis(20);

/// The pause between two words.
const FALL: Duration = Duration::from_millis(250);

/// Opus packets carry 10 to 120 ms. Shorter intervals are bursts, longer ones pauses.
const PACKET_MIN: Duration = Duration::from_millis(5);
const PACKET_MAX: Duration = Duration::from_millis(120);

/// From loud speech to silence within a second.
const FADE_DB_PER_S: f32 = 100.0;

/// As many as the channel's message may name.
const PREVIOUS_MAX: usize = 10;

#[cfg(test)]
#[path = "speakers_tests.rs"]
mod tests;

//! What a model browser is shown in one slot, and whether a decoder would be happy with it.

use std::collections::BTreeMap;
use std::time::Instant;

use wire::rtp::SequenceExtender;

use super::media::Tag;

/// A packet of a slot.
#[derive(Debug, Clone)]
pub struct Shown {
    pub at: Instant,
    pub timestamp: u32,
    pub marker: bool,
    pub picture_id: Option<u16>,
    pub tag: Tag,
    /// Came over RTX.
    pub is_repaired: bool,
    /// Header extension elements, as they came.
    pub elements: Vec<(u8, Vec<u8>)>,
}

/// One slot as its receiver sees it.
#[derive(Debug, Default)]
pub struct SlotView {
    pub mid: String,
    pub is_video: bool,
    pub packets: BTreeMap<u64, Shown>,
    pub extender: SequenceExtender,
    /// Missing and asked for, with when it was asked last and how often.
    pub asked: BTreeMap<u64, (Instant, u32)>,
    pub duplicates: u64,
    /// Sender reports: when, NTP time, RTP timestamp.
    pub reports: Vec<(Instant, u64, u32)>,
}

impl SlotView {
    /// Takes a packet in; false when it was there already.
    pub fn take(&mut self, ext_seq: u64, shown: Shown) -> bool {
        self.asked.remove(&ext_seq);
        if self.packets.contains_key(&ext_seq) {
            self.duplicates += 1;
            return false;
        }
        self.packets.insert(ext_seq, shown);
        true
    }

    /// Sequence numbers that are missing among those seen.
    pub fn missing(&self) -> Vec<u64> {
        let (Some((first, _)), Some((last, _))) =
            (self.packets.first_key_value(), self.packets.last_key_value())
        else {
            return Vec::new();
        };
        (*first..=*last).filter(|ext_seq| !self.packets.contains_key(ext_seq)).collect()
    }

    /// The sources shown, in order, each once per run.
    pub fn sources(&self) -> Vec<String> {
        let mut sources: Vec<String> = self.packets.values().map(|shown| shown.tag.source.clone()).collect();
        sources.dedup();
        sources
    }

    /// Decodes what can be decoded: frames of `source` whose packets are all there and whose predecessors since a key
    /// frame are, too.
    pub fn frames_of(&self, source: &str) -> usize {
        self.frames().into_iter().filter(|(tag, _)| tag.source == source).count()
    }

    /// Every decodable frame with its picture id, in order.
    pub fn frames(&self) -> Vec<(Tag, Shown)> {
        let mut frames = Vec::new();
        let mut last: Option<Tag> = None;
        let mut expected = self.packets.keys().next().copied();
        let mut parts = 0;
        for (ext_seq, shown) in &self.packets {
            if expected != Some(*ext_seq) {
                // Something is missing: nothing can be decoded until the next key frame.
                (last, parts) = (None, 0);
            }
            expected = Some(ext_seq + 1);
            let tag = &shown.tag;
            parts = if tag.part.0 == 0 { 1 } else { parts + 1 };
            if !shown.marker && self.is_video || parts != tag.part.1 {
                continue;
            }
            let continues = last.as_ref().is_some_and(|last| {
                last.source == tag.source && last.layer == tag.layer && last.frame + 1 == tag.frame
            });
            if tag.is_key || continues {
                last = Some(tag.clone());
                frames.push((tag.clone(), shown.clone()));
            }
        }
        frames
    }

    /// Panics unless the slot is one continuous stream: no gap in its numbers, no step back in time, picture ids that
    /// count frames, a key frame wherever another source or layer begins.
    pub fn assert_continuous(&self) {
        assert_eq!(self.missing(), [0; 0], "gaps in slot {}", self.mid);
        let packets: Vec<&Shown> = self.packets.values().collect();
        for pair in packets.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            let step = after.timestamp.wrapping_sub(before.timestamp) as i32;
            assert!((0..5 * 90_000).contains(&step), "timestamp steps by {step} in slot {}", self.mid);
            let is_same_frame = before.tag.frame == after.tag.frame && before.tag.source == after.tag.source;
            let is_same_stream = before.tag.source == after.tag.source && before.tag.layer == after.tag.layer;
            assert_eq!(step == 0, is_same_frame && is_same_stream, "{before:?} {after:?}");
            if let (Some(before_id), Some(after_id)) = (before.picture_id, after.picture_id) {
                let step = after_id.wrapping_sub(before_id) & 0x7fff;
                assert_eq!(step, u16::from(!(is_same_frame && is_same_stream)), "{before:?} {after:?}");
            }
            if self.is_video && !is_same_stream {
                assert!(
                    after.tag.is_key && after.tag.part.0 == 0,
                    "{} begins in the middle",
                    after.tag.source
                );
            }
        }
    }
}

//! VP8 as far as servers look into it: the payload descriptor (RFC 7741, 4.2) and the frame header (RFC 6386, 9.1). The
//! picture behind them is filling, with the stamp at its start.

use super::super::stamp::Stamp;

/// What stands in front of one packet's stamp.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Counts frames; 15 bits of it are sent, eight as the base layer's number: every frame is of the base layer.
    pub(super) picture_id: u32,
    /// First packet of its frame.
    pub(super) is_first: bool,
    /// Of a key frame.
    pub(super) is_key: bool,
    /// Pixels.
    pub(super) height: u16,
}

impl Head {
    /// Appends descriptor and, in a first packet, frame header.
    pub(super) fn write(self, payload: &mut Vec<u8>) {
        let [_, _, high, low] = self.picture_id.to_be_bytes();
        let first = if self.is_first { EXTENDED | STARTS_PARTITION } else { EXTENDED };
        payload.extend_from_slice(&[first, EXTENSIONS, LONG_PICTURE_ID | high, low, low, TEMPORAL_LAYER_0]);
        if !self.is_first {
            return;
        }
        let predicted = if self.is_key { 0 } else { PREDICTED };
        payload.extend_from_slice(&[SHOWN | predicted, 0, 0]);
        if self.is_key {
            // Sixteen to nine, in the 14 bits of each side.
            let width = (u32::from(self.height) * 16 / 9).min(0x3fff) as u16;
            payload.extend_from_slice(&START_CODE);
            payload.extend_from_slice(&width.to_le_bytes());
            payload.extend_from_slice(&self.height.min(0x3fff).to_le_bytes());
        } else {
            // As long as a key frame's, so that a reader finds the stamp without asking.
            payload.extend_from_slice(&[0; FRAME_HEADER_BYTES - 3]);
        }
    }
}

/// The stamp of a VP8 payload. None: descriptor cut short, or no stamp behind it.
pub(in super::super) fn stamp(payload: &[u8]) -> Option<Stamp> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & EXTENDED != 0 {
        let extensions = *payload.get(1)?;
        at = 2;
        if extensions & HAS_PICTURE_ID != 0 {
            // A server may shorten it to seven bits.
            at += if payload.get(at)? & LONG_PICTURE_ID != 0 { 2 } else { 1 };
        }
        at += usize::from(extensions & HAS_TL0_INDEX != 0);
        at += usize::from(extensions & HAS_LAYER_OR_KEY_INDEX != 0);
    }
    if first & (STARTS_PARTITION | PARTITION) == STARTS_PARTITION {
        at += FRAME_HEADER_BYTES;
    }
    Stamp::parse(payload.get(at..)?)
}

/// The most that stands in front of a stamp.
pub(super) const HEAD_BYTES_MAX: usize = 6 + FRAME_HEADER_BYTES;

/// Tag, start code and both sides of a key frame.
const FRAME_HEADER_BYTES: usize = 10;

/// X: extensions follow.
const EXTENDED: u8 = 0x80;
/// S: start of a partition.
const STARTS_PARTITION: u8 = 0x10;
/// PID: which partition.
const PARTITION: u8 = 0x07;
const HAS_PICTURE_ID: u8 = 0x80;
const HAS_TL0_INDEX: u8 = 0x40;
const HAS_LAYER_OR_KEY_INDEX: u8 = 0x30;
/// Picture id, base layer's number, and T: as Chromium sends it.
const EXTENSIONS: u8 = HAS_PICTURE_ID | HAS_TL0_INDEX | 0x20;
/// M: the picture id has 15 bits.
const LONG_PICTURE_ID: u8 = 0x80;
const TEMPORAL_LAYER_0: u8 = 0;
/// P, inverse key frame flag (RFC 6386, 9.1).
const PREDICTED: u8 = 0x01;
const SHOWN: u8 = 0x10;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp = Stamp {
        clock: 1,
        source: 2,
        stream: 3,
        is_key: true,
        packet: 4,
        frame: 5,
        part: 0,
        parts: 1,
        sent_us: 6,
    };

    #[test]
    fn a_key_frame_tells_itself_and_its_size() {
        let mut payload = Vec::new();
        Head { picture_id: 0x1_8123, is_first: true, is_key: true, height: 720 }.write(&mut payload);
        assert_eq!(payload[..6], [0x90, 0xe0, 0x81, 0x23, 0x23, 0x00]);
        assert_eq!(payload[6] & PREDICTED, 0);
        assert_eq!(payload[9..], [0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02], "1280 by 720");
    }

    #[test]
    fn only_a_first_packet_has_a_frame_header() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let head = Head { picture_id: 7, is_first: true, is_key: false, height: 180 };
        head.write(&mut first);
        Head { is_first: false, ..head }.write(&mut second);
        assert_eq!((first.len(), second.len()), (HEAD_BYTES_MAX, 6));
        assert_eq!((first[6] & PREDICTED, second[0] & STARTS_PARTITION), (PREDICTED, 0));
    }

    #[test]
    fn the_stamp_is_found_behind_any_descriptor() {
        for descriptor in [
            &[0x00][..],
            &[0x80, 0x00],
            &[0x80, 0x80, 0x07],
            &[0x80, 0x80, 0x87, 0x07],
            &[0x80, 0xf0, 0x87, 0x07, 0x01, 0x02],
            &[0x11],
        ] {
            let payload = [descriptor, &STAMP.to_bytes()].concat();
            assert_eq!(stamp(&payload), Some(STAMP), "{descriptor:x?}");
        }
        let payload = [&[0x10][..], &[0; FRAME_HEADER_BYTES], &STAMP.to_bytes()].concat();
        assert_eq!(stamp(&payload), Some(STAMP), "behind the frame header");
    }

    proptest! {
        #[test]
        fn no_payload_makes_the_reader_panic(payload in prop::collection::vec(any::<u8>(), 0..70)) {
            stamp(&payload);
        }
    }
}

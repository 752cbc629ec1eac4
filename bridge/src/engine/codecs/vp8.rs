//! VP8 (RFC 7741): the payload descriptor, key frames, and the numbers in the descriptor that must stay continuous in a
//! slot while sources, layers and frames come and go.
//!
//! ```text
//! X R N S R PID   always            I L T K ....   if X       M picture id (7 or 15 bits)   if I
//! tl0 index       if L              TID Y KEYIDX   if T or K
//! ```

/// A payload descriptor (4.2), copied out of its packet. Small enough to be kept with each cached packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Descriptor {
    bytes: [u8; DESCRIPTOR_BYTES_MAX],
    length: u8,
    /// Where the number lies in `bytes`; zero when the descriptor has none.
    picture_id_at: u8,
    tl0_at: u8,
    layer_at: u8,
}

/// The numbers of one forwarded frame as a receiver sees them. Kept with what was sent, so that a retransmission is
/// numbered as the first transmission was, whatever the slot shows by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    /// 15 bits, one more for each frame.
    pub(crate) picture_id: u16,
    /// One more for each frame of the base temporal layer.
    pub(crate) tl0_index: u8,
    /// 5 bits, one more for each key frame.
    pub(crate) key_index: u8,
}

impl Descriptor {
    /// Reads the descriptor in front of a VP8 payload. `None` when it is cut short or nothing follows it.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        let mut this = Self::default();
        let mut at = 1_usize;
        if payload.first()? & EXTENDED != 0 {
            let extensions = *payload.get(1)?;
            at = 2;
            if extensions & HAS_PICTURE_ID != 0 {
                this.picture_id_at = at as u8;
                at += if payload.get(at)? & LONG_PICTURE_ID != 0 { 2 } else { 1 };
            }
            if extensions & HAS_TL0_INDEX != 0 {
                this.tl0_at = at as u8;
                at += 1;
            }
            if extensions & HAS_LAYER_OR_KEY_INDEX != 0 {
                this.layer_at = at as u8;
                at += 1;
            }
        }
        if at >= payload.len() {
            return None;
        }
        this.bytes[..at].copy_from_slice(&payload[..at]);
        this.length = at as u8;
        Some(this)
    }

    /// The descriptor as it goes on the wire; the VP8 data follows it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// Its length, 1 to 6 bytes.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Whether its packet is the first of a frame: the start of partition 0.
    pub(crate) fn starts_frame(&self) -> bool {
        self.bytes[0] & (STARTS_PARTITION | PARTITION) == STARTS_PARTITION
    }

    /// The frame's number, of 7 or 15 bits.
    pub(crate) fn picture_id(&self) -> Option<u16> {
        let at = self.at(self.picture_id_at)?;
        Some(match self.picture_id_mask() {
            SHORT_PICTURE_IDS => u16::from(self.bytes[at] & 0x7f),
            mask => u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]) & mask,
        })
    }

    /// The number of the base-layer frame that this one builds on.
    pub(crate) fn tl0_index(&self) -> Option<u8> {
        self.at(self.tl0_at).map(|at| self.bytes[at])
    }

    /// The same descriptor with a receiver's numbers where it has its own. The length stays.
    pub(crate) fn renumbered(mut self, numbers: Numbers) -> Self {
        if let Some(at) = self.at(self.picture_id_at) {
            let [high, low] = numbers.picture_id.to_be_bytes();
            if self.picture_id_mask() == SHORT_PICTURE_IDS {
                self.bytes[at] = low & 0x7f;
            } else {
                self.bytes[at] = high | LONG_PICTURE_ID;
                self.bytes[at + 1] = low;
            }
        }
        if let Some(at) = self.at(self.tl0_at) {
            self.bytes[at] = numbers.tl0_index;
        }
        if let Some(at) = self.at(self.layer_at) {
            self.bytes[at] = self.bytes[at] & !KEY_INDEX | numbers.key_index & KEY_INDEX;
        }
        self
    }

    fn at(&self, offset: u8) -> Option<usize> {
        (offset != 0).then_some(usize::from(offset))
    }

    fn picture_id_mask(&self) -> u16 {
        let is_long = self.bytes[usize::from(self.picture_id_at)] & LONG_PICTURE_ID != 0;
        if is_long { LONG_PICTURE_IDS } else { SHORT_PICTURE_IDS }
    }

    fn key_index(&self) -> u8 {
        self.at(self.layer_at).map_or(0, |at| self.bytes[at] & KEY_INDEX)
    }
}

/// Whether the payload begins a key frame. The start code is asked for as well: an encrypted payload has none.
pub(crate) fn is_key_frame(payload: &[u8]) -> bool {
    resolution(payload).is_some()
}

/// Width and height in pixels, from the first packet of a key frame (RFC 6386, 9.1).
pub(crate) fn resolution(payload: &[u8]) -> Option<(u16, u16)> {
    let descriptor = Descriptor::parse(payload)?;
    let frame = &payload[descriptor.len()..];
    let (header, size) = frame.split_first_chunk::<6>()?;
    let (&[w0, w1, h0, h1], _) = size.split_first_chunk::<4>()?;
    if !descriptor.starts_frame() || header[0] & PREDICTED != 0 || header[3..] != START_CODE {
        return None;
    }
    // Two bits of scaling lie above the 14 of each side.
    Some((u16::from_le_bytes([w0, w1]) & 0x3fff, u16::from_le_bytes([h0, h1]) & 0x3fff))
}

/// Gives the frames of whatever a slot shows one continuous numbering. One for each slot.
///
/// A receiver takes a gap in picture ids for a lost frame and waits. So another stream goes on where the last one ended;
/// a gap that loss made is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rewriter {
    /// None until the first packet after a switch.
    stream: Option<Stream>,
    /// What the newest frame was sent as; none before the first one.
    last: Option<Numbers>,
}

/// The stream shown now. Frames are counted by their picture id, extended beyond its 15 bits.
#[derive(Debug, Clone, Copy)]
struct Stream {
    /// The frame it was joined at.
    first: u32,
    newest: u32,
    /// What is added to its numbers.
    shift: Numbers,
}

impl Rewriter {
    /// What comes next is another stream, or the same one after a pause.
    pub(crate) fn switch(&mut self) {
        self.stream = None;
    }

    /// The numbers under which the packet's frame is forwarded. `None` for a late packet of a frame before the switch.
    pub(crate) fn rewrite(&mut self, descriptor: &Descriptor) -> Option<Numbers> {
        let Some(mut stream) = self.stream else { return Some(self.begin(descriptor)) };
        // Without a picture id there is no telling which frame it is: it passes as one of the newest.
        let frame = stream.extend(descriptor).unwrap_or(stream.newest);
        if stream.newest.saturating_sub(frame) > LATE_FRAMES_MAX || frame > FRAMES_MAX {
            // The encoder began to count anew, or it jumps so much that our own count comes to its end.
            return Some(self.begin(descriptor));
        }
        if frame < stream.first {
            return None;
        }
        let numbers = stream.shifted(descriptor);
        if frame >= stream.newest {
            stream.newest = frame;
            self.last = Some(numbers);
        }
        self.stream = Some(stream);
        Some(numbers)
    }

    /// Joins the stream's first frame to what was sent last.
    fn begin(&mut self, descriptor: &Descriptor) -> Numbers {
        // A whole range lies below, so that frames before this one have a place to be recognised in.
        let first = FIRST_FRAME + u32::from(descriptor.picture_id().unwrap_or(0));
        let shift = self.last.map_or(Numbers::default(), |last| Numbers {
            picture_id: last.picture_id.wrapping_add(1).wrapping_sub(first as u16),
            tl0_index: last.tl0_index.wrapping_add(1).wrapping_sub(descriptor.tl0_index().unwrap_or(0)),
            key_index: last.key_index.wrapping_add(1).wrapping_sub(descriptor.key_index()),
        });
        let stream = Stream { first, newest: first, shift };
        self.stream = Some(stream);
        *self.last.insert(stream.shifted(descriptor))
    }
}

impl Stream {
    fn shifted(&self, descriptor: &Descriptor) -> Numbers {
        Numbers {
            picture_id: descriptor.picture_id().unwrap_or(0).wrapping_add(self.shift.picture_id)
                & LONG_PICTURE_IDS,
            tl0_index: descriptor.tl0_index().unwrap_or(0).wrapping_add(self.shift.tl0_index),
            key_index: descriptor.key_index().wrapping_add(self.shift.key_index) & KEY_INDEX,
        }
    }

    /// The picture id closest to the newest one that has these low bits.
    fn extend(&self, descriptor: &Descriptor) -> Option<u32> {
        let (id, mask) = (descriptor.picture_id()?, descriptor.picture_id_mask());
        let ahead = id.wrapping_sub(self.newest as u16) & mask;
        let behind = mask - ahead + 1;
        Some(if ahead <= mask / 2 { self.newest + u32::from(ahead) } else { self.newest - u32::from(behind) })
    }
}

/// One byte always, one of flags, two of picture id, one each of tl0 index and layer.
const DESCRIPTOR_BYTES_MAX: usize = 6;

/// A packet that arrives later than this many frames cannot be shown; the 7-bit ids wrap soon after.
const LATE_FRAMES_MAX: u32 = 60;

/// A multiple of the picture ids' range.
const FIRST_FRAME: u32 = 1 << 16;

/// Where counting begins anew: a year of 30 frames a second, or 65,000 hostile jumps of half the range.
const FRAMES_MAX: u32 = 1 << 30;

const EXTENDED: u8 = 0x80;
const STARTS_PARTITION: u8 = 0x10;
const PARTITION: u8 = 0x07;
const HAS_PICTURE_ID: u8 = 0x80;
const HAS_TL0_INDEX: u8 = 0x40;
const HAS_LAYER_OR_KEY_INDEX: u8 = 0x30;
const LONG_PICTURE_ID: u8 = 0x80;
const LONG_PICTURE_IDS: u16 = 0x7fff;
const SHORT_PICTURE_IDS: u16 = 0x007f;
const KEY_INDEX: u8 = 0x1f;
const PREDICTED: u8 = 0x01;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

#[cfg(test)]
#[path = "vp8_tests.rs"]
mod tests;

//! One opened packet as all receivers share it: its plaintext, and what was noted while it was looked at once.

use std::ops::Range;

use wire::messages::media::{Codec, Extension};
use wire::rtp::RtpView;
use wire::rtp::extensions::AudioLevel;

use super::codecs::{self, vp8};
use super::drop_reason::DropReason;
use super::extension_ids::ExtensionIds;

/// What is remembered beside a packet's bytes, as long as the cache holds them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Notes {
    payload: (u16, u16),
    dependency_descriptor: (u16, u16),
    /// Sampling instant on the sender's clock.
    pub timestamp: u32,
    /// Last packet of a frame, or first of a talk spurt.
    pub marker: bool,
    /// Place of its payload type among the source's codecs.
    pub codec: u8,
    /// A decoder can begin with the frame that this packet begins.
    pub is_key_frame: bool,
    /// The level's byte (RFC 6464).
    pub audio_level: Option<u8>,
    /// The orientation's byte.
    pub video_orientation: Option<u8>,
    /// The playout delay's bytes.
    pub playout_delay: Option<[u8; 3]>,
    /// The parsed descriptor of a VP8 packet.
    pub vp8: Option<vp8::Descriptor>,
}

impl Notes {
    /// Looks at an opened packet, once. `place` is that of its payload type among the source's codecs.
    pub(crate) fn of(packet: &[u8], ids: &ExtensionIds, place: u8, codec: Codec) -> Result<Self, DropReason> {
        let view = RtpView::parse(packet).map_err(|_| DropReason::RtpMalformed)?;
        let payload = view.payload();
        let start = view.header_len();
        let mut notes = Self {
            payload: (start as u16, (start + payload.len()) as u16),
            timestamp: view.timestamp(),
            marker: view.marker(),
            codec: place,
            ..Self::default()
        };
        notes.note_extensions(&view, ids);
        let dependency_descriptor = bytes_at(packet, notes.dependency_descriptor);
        notes.is_key_frame = codecs::is_key_frame(codec, payload, dependency_descriptor);
        if codec == Codec::Vp8 {
            notes.vp8 = vp8::Descriptor::parse(payload);
        }
        Ok(notes)
    }

    fn note_extensions(&mut self, view: &RtpView<'_>, ids: &ExtensionIds) {
        for (id, value) in view.extensions() {
            match ids.kind(id) {
                Some(Extension::AudioLevel) => {
                    self.audio_level = AudioLevel::parse(value).map(|level| level.to_bytes()[0]);
                }
                Some(Extension::VideoOrientation) => self.video_orientation = value.first().copied(),
                Some(Extension::PlayoutDelay) => self.playout_delay = value.try_into().ok(),
                Some(Extension::DependencyDescriptor) => {
                    // The value is a part of the packet, so the distance of their addresses is its place in it.
                    let start = value.as_ptr() as usize - view.packet().as_ptr() as usize;
                    self.dependency_descriptor = (start as u16, (start + value.len()) as u16);
                }
                _ => {}
            }
        }
    }

    /// How loud the packet is: 0 loudest, 127 silent.
    pub(crate) fn level_dbov(&self) -> Option<u8> {
        self.audio_level.map(|byte| byte & 0x7f)
    }
}

/// One packet for all receivers. Read-only: each of them writes a header of its own.
#[derive(Clone, Copy)]
pub(crate) struct SharedPacket<'a> {
    /// The whole plaintext packet.
    pub bytes: &'a [u8],
    /// What was noted about it.
    pub notes: Notes,
    /// Its sequence number beyond 16 bits.
    pub ext_seq: u64,
    /// Which of the source's layers it belongs to.
    pub layer: LayerRef,
    /// That layer is the one slots should show.
    pub is_wanted: bool,
}

/// One stream of a source. A browser that begins anew with another SSRC begins another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerRef {
    /// 0 is the lowest.
    pub index: u8,
    /// Counts the streams this layer has had.
    pub generation: u32,
}

impl<'a> SharedPacket<'a> {
    /// The payload without padding.
    pub(crate) fn payload(&self) -> &'a [u8] {
        let (start, end) = self.notes.payload;
        self.bytes.get(range(start, end)).unwrap_or_default()
    }

    /// The AV1 dependency descriptor's bytes, if the packet has one.
    pub(crate) fn dependency_descriptor(&self) -> Option<&'a [u8]> {
        bytes_at(self.bytes, self.notes.dependency_descriptor)
    }
}

fn bytes_at(packet: &[u8], (start, end): (u16, u16)) -> Option<&[u8]> {
    packet.get(range(start, end)).filter(|bytes| !bytes.is_empty())
}

fn range(start: u16, end: u16) -> Range<usize> {
    usize::from(start)..usize::from(end)
}

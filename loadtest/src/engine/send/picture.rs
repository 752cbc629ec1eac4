//! One stream of pictures: numbers, packets, key frames and retransmissions of one SSRC.

use std::time::{Duration, Instant};

use wire::rtp::Ssrc;

use super::history::{History, SentFrame};
use super::vp8::{HEAD_BYTES_MAX, Head};
use super::{Made, OutPacket, Outlet, Place, StreamClock, within};
use crate::engine::stamp::Stamp;

/// A stream of pictures.
#[derive(Debug)]
pub(super) struct PictureStream {
    pub(super) ssrc: Ssrc,
    pub(super) made: Made,
    place: Place,
    height: u16,
    clock: StreamClock,
    /// Of the next packet.
    index: u64,
    /// Of the next retransmission.
    rtx_index: u64,
    /// Of the next frame.
    frame: u32,
    picture_id_base: u32,
    owes_key_frame: bool,
    key_frame_at: Option<Instant>,
    history: History,
}

/// How a stream is told from others.
#[derive(Debug, Clone, Copy)]
pub(super) struct PictureIds {
    pub(super) ssrc: Ssrc,
    pub(super) place: Place,
    pub(super) height: u32,
}

impl PictureStream {
    /// A stream that has sent nothing and owes a key frame.
    pub(super) fn new(ids: PictureIds, random: &mut impl rand::Rng) -> Self {
        Self {
            ssrc: ids.ssrc,
            made: Made::default(),
            place: ids.place,
            height: ids.height.min(u32::from(u16::MAX)) as u16,
            clock: StreamClock::new(random.random(), PICTURE_CLOCK_HZ),
            // RFC 3711, 3.3.1: below 2^15 a receiver can tell the first packet from a rollover.
            index: u64::from(random.random::<u16>() & 0x7fff),
            rtx_index: u64::from(random.random::<u16>() & 0x7fff),
            frame: 0,
            picture_id_base: random.random::<u32>() & 0x7fff,
            owes_key_frame: true,
            key_frame_at: None,
            history: History::default(),
        }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.clock.start(now);
    }

    pub(super) fn timestamp(&self, at: Instant) -> u32 {
        self.clock.timestamp(at)
    }

    /// Whether the next frame, at `at`, has to be a key frame. `interval`: between those that nobody asked for.
    pub(super) fn is_key_frame_due(&self, at: Instant, interval: Option<Duration>) -> bool {
        let Some(last) = self.key_frame_at else { return true };
        let age = at.saturating_duration_since(last);
        self.owes_key_frame && age >= KEY_FRAME_PAUSE || interval.is_some_and(|interval| age >= interval)
    }

    pub(super) fn handle_key_frame_request(&mut self) {
        self.owes_key_frame = true;
    }

    /// When a key frame that is owed may be sent; none is owed: none.
    pub(super) fn key_frame_allowed_at(&self) -> Option<Instant> {
        self.key_frame_at.filter(|_| self.owes_key_frame).map(|at| at + KEY_FRAME_PAUSE)
    }

    /// Sends one picture of about `bytes` payload as a burst of equally large packets.
    pub(super) fn send_frame(&mut self, at: Instant, bytes: f64, is_key: bool, outlet: &mut Outlet<'_>) {
        let bytes = within(bytes, PART_BYTES_MIN as f64, (PARTS_MAX * PART_BYTES_MAX) as f64) as usize;
        let parts = bytes.div_ceil(PART_BYTES_MAX);
        let frame = SentFrame {
            first_index: self.index,
            timestamp: self.clock.timestamp(at),
            frame: self.frame,
            first_packet: self.made.packets,
            sent_us: outlet.clock.us(outlet.now),
            // Invariant: both fit, by the clamp above.
            bytes: bytes as u32,
            parts: parts as u16,
            is_key,
        };
        // A request that comes from now on is for another one.
        if is_key {
            self.owes_key_frame = false;
            self.key_frame_at = Some(at);
        }
        self.frame = self.frame.wrapping_add(1);
        self.index += u64::from(frame.parts);
        self.history.push(frame);
        outlet.counts.frames_sent += 1;
        outlet.counts.key_frames_sent += u64::from(is_key);
        for part in 0..frame.parts {
            outlet.payload.clear();
            self.write_part(&frame, part, outlet);
            self.made.packets = self.made.packets.wrapping_add(1);
            self.made.octets = self.made.octets.wrapping_add(outlet.payload.len() as u32);
            outlet.counts.packets_sent += 1;
            self.send(&frame, part, (false, frame.first_index + u64::from(part)), outlet);
        }
    }

    /// Sends again what went out as `sequence`, if that is still known (RFC 4588, 4: the original sequence number, then
    /// the original payload).
    pub(super) fn resend(&mut self, sequence: u16, outlet: &mut Outlet<'_>) {
        let now_us = outlet.clock.us(outlet.now);
        let Some((frame, part)) = self.history.take_for_resend(sequence, now_us) else { return };
        outlet.payload.clear();
        outlet.payload.extend_from_slice(&sequence.to_be_bytes());
        self.write_part(&frame, part, outlet);
        outlet.counts.retransmissions_sent += 1;
        self.send(&frame, part, (true, self.rtx_index), outlet);
        self.rtx_index += 1;
    }

    /// Appends the payload of one packet: always the same bytes for the same packet.
    fn write_part(&self, frame: &SentFrame, part: u16, outlet: &mut Outlet<'_>) {
        let start = outlet.payload.len();
        let head = Head {
            picture_id: self.picture_id_base.wrapping_add(frame.frame),
            is_first: part == 0,
            is_key: frame.is_key,
            height: self.height,
        };
        head.write(outlet.payload);
        let stamp = Stamp {
            clock: outlet.clock.number,
            source: outlet.source,
            stream: self.place.stamp,
            is_key: frame.is_key,
            packet: frame.first_packet.wrapping_add(u32::from(part)),
            frame: frame.frame,
            part,
            parts: frame.parts,
            sent_us: frame.sent_us,
        };
        outlet.payload.extend_from_slice(&stamp.to_bytes());
        outlet.payload.resize(start + part_bytes(frame, part), FILLING);
    }

    fn send(&self, frame: &SentFrame, part: u16, (is_rtx, index): (bool, u64), outlet: &mut Outlet<'_>) {
        (outlet.send)(OutPacket {
            track: self.place.track,
            stream: self.place.stream,
            is_rtx,
            index,
            timestamp: frame.timestamp,
            marker: part + 1 == frame.parts,
            audio_level: None,
            payload: outlet.payload,
        });
    }
}

/// Packets of one frame differ by a byte at most, as browsers' do: they travel well as one train.
fn part_bytes(frame: &SentFrame, part: u16) -> usize {
    let (bytes, parts) = (frame.bytes as usize, usize::from(frame.parts));
    let bytes = bytes / parts + usize::from(usize::from(part) < bytes % parts);
    bytes.max(PART_BYTES_MIN)
}

/// RFC 7741, 4.1.
pub(super) const PICTURE_CLOCK_HZ: u32 = 90_000;

/// With header, extensions and tag below 1,200 bytes, which every path carries.
const PART_BYTES_MAX: usize = 1_100;

/// What a first packet cannot do without.
const PART_BYTES_MIN: usize = HEAD_BYTES_MAX + Stamp::BYTES;

/// 2.2 MB: more than any encoder's picture of a screen; a burst beyond it would only test the kernel's buffers.
const PARTS_MAX: usize = 2_000;

/// Chromium's least time between two key frames that were asked for.
const KEY_FRAME_PAUSE: Duration = Duration::from_millis(300);

/// Any byte; not zero, so that no device on the way can compress it to nothing unnoticed.
const FILLING: u8 = 0xaa;

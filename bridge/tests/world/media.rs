//! What a model browser publishes: VP8 pictures and opus voices whose payloads say whose they are and which.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::rtp::{PayloadType, RtpHeader, Ssrc, write_header};
use wire::srtp::Sealer;

use super::ms;

/// What every payload carries behind its codec's own header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The source's name.
    pub source: String,
    /// The layer, from 0.
    pub layer: u8,
    /// Counts pictures or voice packets.
    pub frame: u32,
    pub is_key: bool,
    /// Which packet of the frame, of how many.
    pub part: (u8, u8),
}

impl Tag {
    const BYTES: usize = 11 + 1 + 4 + 1 + 2;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.source.as_bytes());
        out.push(self.layer);
        out.extend_from_slice(&self.frame.to_be_bytes());
        out.extend_from_slice(&[u8::from(self.is_key), self.part.0, self.part.1]);
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..Self::BYTES)?;
        Some(Self {
            source: std::str::from_utf8(&bytes[..11]).ok()?.to_owned(),
            layer: bytes[11],
            frame: u32::from_be_bytes(bytes[12..16].try_into().ok()?),
            is_key: bytes[16] != 0,
            part: (bytes[17], bytes[18]),
        })
    }
}

/// One sent stream with its retransmissions.
pub struct Stream {
    pub source: String,
    pub layer: u8,
    pub is_video: bool,
    pub ssrc: u32,
    pub rtx_ssrc: u32,
    pub payload_type: u8,
    pub rtx_payload_type: u8,
    pub clock_rate_hz: u32,
    /// The next packet's index: rollover counter and sequence number.
    pub next_index: u64,
    pub rtx_index: u64,
    pub timestamp_base: u32,
    pub frame: u32,
    pub picture_id: u16,
    pub tl0: u8,
    pub packets_per_frame: u8,
    /// A picture is asked for.
    pub owes_key_frame: bool,
    /// Never makes a picture because it is asked to.
    pub is_deaf: bool,
    /// A screen on which nothing moves: about one picture a second.
    pub is_still: bool,
    /// Sends nothing while it is off.
    pub is_on: bool,
    pub level_dbov: u8,
    pub next_at: Instant,
    /// Sent packets by sequence number: header elements' values do not matter for a resend.
    pub history: BTreeMap<u16, Sent>,
    /// Sequence numbers that never leave the browser: lost on purpose.
    pub swallowed: Vec<u16>,
    pub key_frame_requests: Vec<Instant>,
    pub nacked: Vec<u16>,
    pub answers_nacks: bool,
    pub packets_sent: u32,
}

#[derive(Clone)]
pub struct Sent {
    pub marker: bool,
    pub timestamp: u32,
    pub payload: Vec<u8>,
}

impl Stream {
    pub fn interval(&self) -> Duration {
        match self.is_video {
            true if self.is_still => ms(1_050),
            true => ms(40),
            false => ms(20),
        }
    }

    pub fn timestamp(&self, age: Duration) -> u32 {
        let ticks = age.as_micros() * u128::from(self.clock_rate_hz) / 1_000_000;
        self.timestamp_base.wrapping_add(ticks as u32)
    }

    /// The payloads of the next frame.
    pub fn next_frame(&mut self) -> Vec<Vec<u8>> {
        self.frame += 1;
        if !self.is_video {
            let mut payload = Vec::new();
            let tag =
                Tag { source: self.source.clone(), layer: 0, frame: self.frame, is_key: true, part: (0, 1) };
            tag.write(&mut payload);
            payload.resize(80, 0x55);
            return vec![payload];
        }
        let is_key = std::mem::take(&mut self.owes_key_frame) || self.frame == 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0 = self.tl0.wrapping_add(1);
        let count = self.packets_per_frame;
        (0..count).map(|part| self.vp8_payload(is_key, (part, count))).collect()
    }

    /// RFC 7741, 4.2: descriptor with 15-bit picture id and TL0PICIDX; 4.3 and RFC 6386, 9.1: frame header.
    fn vp8_payload(&self, is_key: bool, part: (u8, u8)) -> Vec<u8> {
        let [high, low] = self.picture_id.to_be_bytes();
        let start = if part.0 == 0 { 0x90 } else { 0x80 };
        let mut payload = vec![start, 0xc0, 0x80 | high, low, self.tl0];
        let header: [u8; 10] = if part.0 == 0 && is_key {
            [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00]
        } else {
            [0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        };
        payload.extend_from_slice(&header);
        let tag = Tag { source: self.source.clone(), layer: self.layer, frame: self.frame, is_key, part };
        tag.write(&mut payload);
        payload.resize(1_100, 0xaa);
        payload
    }

    /// Seals one packet of the stream and remembers it.
    pub fn seal(&mut self, sealer: &Sealer, sent: Sent, elements: &[(u8, &[u8])]) -> Option<Vec<u8>> {
        let index = self.next_index;
        self.next_index += 1;
        let sequence = index as u16;
        self.packets_sent += 1;
        let header = RtpHeader {
            marker: sent.marker,
            payload_type: PayloadType::new(self.payload_type).unwrap(),
            sequence,
            timestamp: sent.timestamp,
            ssrc: Ssrc(self.ssrc),
        };
        let datagram = seal_packet(sealer, index, &header, elements, &sent.payload);
        self.history.insert(sequence, sent);
        if self.swallowed.contains(&sequence) { None } else { Some(datagram) }
    }

    /// RFC 4588, 4.
    pub fn seal_again(
        &mut self,
        sealer: &Sealer,
        sequence: u16,
        elements: &[(u8, &[u8])],
    ) -> Option<Vec<u8>> {
        let sent = self.history.get(&sequence)?.clone();
        let index = self.rtx_index;
        self.rtx_index += 1;
        let header = RtpHeader {
            marker: sent.marker,
            payload_type: PayloadType::new(self.rtx_payload_type).unwrap(),
            sequence: index as u16,
            timestamp: sent.timestamp,
            ssrc: Ssrc(self.rtx_ssrc),
        };
        let payload = [&sequence.to_be_bytes()[..], &sent.payload].concat();
        Some(seal_packet(sealer, index, &header, elements, &payload))
    }
}

pub fn seal_packet(
    sealer: &Sealer,
    index: u64,
    header: &RtpHeader,
    elements: &[(u8, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut head = [0; 256];
    let head_len = write_header(&mut head, header, elements).unwrap();
    let mut out = vec![0; head_len + payload.len() + sealer.profile().rtp_overhead()];
    let length = sealer.seal_rtp(index, &head[..head_len], payload, &mut out).unwrap();
    out.truncate(length);
    out
}

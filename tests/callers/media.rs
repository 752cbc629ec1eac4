//! RTP and RTCP of one caller: what a publisher sends, what a viewer is shown, and the reports of both.

use std::time::{Duration, Instant};

use wire::rtcp::{self, NtpTime, Packet, ReceiverReport, SenderReport};
use wire::rtp::extensions::AudioLevel;
use wire::rtp::{PayloadType, RtpHeader, RtpView, Ssrc, write_header};
use wire::sdp::MediaType;
use wire::srtp::{Opener, ReplayWindow, Sealer, SessionKeys};

use super::dtls::PROFILE;
use super::sdp::{AUDIO_LEVEL_ID, Answer, PICTURE_PAYLOAD_TYPE, VOICE_PAYLOAD_TYPE, ssrcs};
use super::view::{Stream, write_tag};
use super::{REPORT_INTERVAL, Role};

/// Everything behind the keys.
pub(crate) struct Media {
    born: Instant,
    number: u32,
    keys: Option<(Sealer, Opener)>,
    /// Publisher: picture and voice. Viewer: none.
    sources: Vec<Source>,
    streams: Vec<Stream>,
    rtcp_window: ReplayWindow,
    rtcp_index: u32,
    next_report: Option<Instant>,
    strange_packets: u64,
    plain: Vec<u8>,
}

/// What a publisher has sent, for comparison with what viewers got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Packets of the picture; the last one's number.
    pub(crate) pictures: u32,
    /// Packets of the voice; the last one's number.
    pub(crate) voices: u32,
    /// Of the picture, pictures that need no other.
    pub(crate) key_frames: u32,
    /// Sequence numbers that the server missed.
    pub(crate) nacked: u32,
}

/// One published stream.
struct Source {
    is_picture: bool,
    ssrc: u32,
    /// Rollover counter and sequence number of the next packet.
    index: u64,
    timestamp: u32,
    /// Counts packets from 1: the tag of each.
    packets: u32,
    octets: u32,
    frames: u16,
    key_frames: u32,
    nacked: u32,
    owes_key_frame: bool,
    next_at: Option<Instant>,
}

impl Media {
    pub(crate) fn new(now: Instant, role: Role, number: u32) -> Self {
        let (voice, picture) = ssrcs(number);
        let sources = match role {
            Role::Publisher => vec![Source::new(true, picture), Source::new(false, voice)],
            Role::Viewer => Vec::new(),
        };
        Self {
            born: now,
            number,
            keys: None,
            sources,
            streams: Vec::new(),
            rtcp_window: ReplayWindow::new(),
            rtcp_index: 0,
            next_report: None,
            strange_packets: 0,
            plain: vec![0; DATAGRAM_BYTES_MAX],
        }
    }

    pub(crate) fn take_slots(&mut self, answer: &Answer) {
        let slots = answer.slots.iter();
        self.streams = slots.map(|(ssrc, kind)| Stream::new(*ssrc, *kind == MediaType::Video)).collect();
    }

    pub(crate) fn take_keys(&mut self, now: Instant, keys: &SessionKeys) {
        self.keys = Some((Sealer::new(PROFILE, &keys.send), Opener::new(PROFILE, &keys.receive)));
        self.next_report = Some(now);
        self.sources.iter_mut().for_each(|source| source.next_at = Some(now));
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.keys.is_some()
    }

    pub(crate) fn streams(&self) -> &[Stream] {
        &self.streams
    }

    pub(crate) fn sent(&self) -> Sent {
        let mut sent = Sent::default();
        for source in &self.sources {
            if source.is_picture {
                (sent.pictures, sent.key_frames) = (source.packets, source.key_frames);
            } else {
                sent.voices = source.packets;
            }
            sent.nacked += source.nacked;
        }
        sent
    }

    pub(crate) fn strange_packets(&self) -> u64 {
        self.strange_packets
    }

    pub(crate) fn handle_rtp(&mut self, datagram: &[u8]) {
        if self.open_rtp(datagram).is_none() {
            self.strange_packets += 1;
        }
    }

    fn open_rtp(&mut self, datagram: &[u8]) -> Option<()> {
        let (_, opener) = self.keys.as_ref()?;
        let view = RtpView::parse_protected(datagram).ok()?;
        let ssrc = view.ssrc().0;
        let stream = self.streams.iter_mut().find(|stream| stream.ssrc() == ssrc)?;
        let length = opener.open_rtp(stream.window(), datagram, view.header_len(), &mut self.plain).ok()?;
        let plain = RtpView::parse(&self.plain[..view.header_len() + length]).ok()?;
        stream.take(&plain)
    }

    pub(crate) fn handle_rtcp(&mut self, now: Instant, datagram: &[u8]) {
        let Some((_, opener)) = &self.keys else { return };
        let mut plain = Vec::new();
        // RFC 3711, 3.3.2: one index for all RTCP of one sender; the server's reports share one.
        if opener.open_rtcp(&mut self.rtcp_window, datagram, &mut plain).is_err() {
            self.strange_packets += 1;
            return;
        }
        for packet in rtcp::packets(&plain) {
            match packet {
                Ok(Packet::Pli(pli)) => self.owe_key_frame(pli.media),
                Ok(Packet::Fir(_)) => self.sources.iter_mut().for_each(|source| source.owes_key_frame = true),
                Ok(Packet::Nack(nack)) => {
                    let nacked = nack.sequences().count() as u32;
                    self.source(nack.media).into_iter().for_each(|source| source.nacked += nacked);
                }
                Ok(Packet::SenderReport(report)) => {
                    let streams = self.streams.iter_mut();
                    streams
                        .filter(|it| it.ssrc() == report.ssrc.0)
                        .for_each(|it| it.take_report(now, report.ntp));
                }
                Ok(_) => {}
                Err(_) => self.strange_packets += 1,
            }
        }
    }

    fn owe_key_frame(&mut self, ssrc: Ssrc) {
        self.source(ssrc).into_iter().for_each(|source| source.owes_key_frame = true);
    }

    fn source(&mut self, ssrc: Ssrc) -> Option<&mut Source> {
        self.sources.iter_mut().find(|source| source.ssrc == ssrc.0)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.sources.iter().map(|source| source.next_at).chain([self.next_report]).flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, transmits: &mut Vec<Vec<u8>>) {
        let Some((sealer, _)) = &self.keys else { return };
        for source in &mut self.sources {
            source.send_due(now, sealer, transmits);
        }
        if self.next_report.is_some_and(|at| at <= now) {
            self.next_report = Some(now + REPORT_INTERVAL);
            transmits.extend(self.report(now));
        }
    }

    /// A sender report of each source, or a receiver report on all streams.
    fn report(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (sealer, _) = self.keys.as_ref()?;
        let mut compound = Vec::new();
        for source in self.sources.iter().filter(|source| source.packets > 0) {
            source.write_report(now.saturating_duration_since(self.born), &mut compound);
        }
        if self.sources.is_empty() {
            let blocks: Vec<_> = self.streams.iter_mut().filter_map(|stream| stream.report(now)).collect();
            ReceiverReport { sender: Ssrc(ssrcs(self.number).0), reports: &blocks }.write(&mut compound);
        }
        if compound.is_empty() {
            return None;
        }
        self.rtcp_index += 1;
        let mut out = vec![0; compound.len() + PROFILE.rtcp_overhead()];
        sealer.seal_rtcp(self.rtcp_index, &compound, &mut out).ok()?;
        Some(out)
    }
}

impl Source {
    fn new(is_picture: bool, ssrc: u32) -> Self {
        Self {
            is_picture,
            ssrc,
            index: u64::from(ssrc % 1_000),
            timestamp: ssrc,
            packets: 0,
            octets: 0,
            frames: 0,
            key_frames: 0,
            nacked: 0,
            owes_key_frame: true,
            next_at: None,
        }
    }

    /// Everything up to `now`. A caller that was kept from its processor for long leaves out what it missed, as an
    /// encoder would.
    fn send_due(&mut self, now: Instant, sealer: &Sealer, transmits: &mut Vec<Vec<u8>>) {
        let interval = if self.is_picture { PICTURE_INTERVAL } else { VOICE_INTERVAL };
        while let Some(at) = self.next_at.filter(|at| *at <= now) {
            let at = if at + LATE_MAX < now { now } else { at };
            self.next_at = Some(at + interval);
            self.send_frame(sealer, transmits);
        }
    }

    fn send_frame(&mut self, sealer: &Sealer, transmits: &mut Vec<Vec<u8>>) {
        let is_key = self.is_picture && std::mem::take(&mut self.owes_key_frame);
        self.key_frames += u32::from(is_key);
        self.frames = self.frames.wrapping_add(1);
        let (count, ticks) = if self.is_picture { (PICTURE_PACKETS, 90 * 12) } else { (1, 48 * 20) };
        self.timestamp = self.timestamp.wrapping_add(ticks);
        for part in 0..count {
            self.packets += 1;
            let payload = if self.is_picture { self.picture(is_key, part) } else { self.voice() };
            transmits.push(self.seal(sealer, part + 1 == count, &payload));
        }
    }

    /// RFC 7741, 4.2: descriptor with a 15-bit picture id and TL0PICIDX; 4.3: the frame header, whose first bit is clear
    /// in a key frame.
    fn picture(&self, is_key: bool, part: usize) -> Vec<u8> {
        let [high, low] = (self.frames & 0x7fff).to_be_bytes();
        let starts = part == 0;
        let mut payload = vec![if starts { 0x90 } else { 0x80 }, 0xc0, 0x80 | high, low, low];
        let header: [u8; 10] = match starts && is_key {
            true => [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00],
            false => [0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        payload.extend_from_slice(&header);
        write_tag(&mut payload, self.packets, is_key);
        payload.resize(DATAGRAM_BYTES - RTP_HEADER_BYTES - PROFILE.rtp_overhead(), 0xaa);
        payload
    }

    fn voice(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(VOICE_BYTES);
        write_tag(&mut payload, self.packets, false);
        payload.resize(VOICE_BYTES, 0x55);
        payload
    }

    fn seal(&mut self, sealer: &Sealer, is_last: bool, payload: &[u8]) -> Vec<u8> {
        let number = if self.is_picture { PICTURE_PAYLOAD_TYPE } else { VOICE_PAYLOAD_TYPE };
        let header = RtpHeader {
            marker: self.is_picture && is_last,
            payload_type: PayloadType::new(number).unwrap(),
            sequence: self.index as u16,
            timestamp: self.timestamp,
            ssrc: Ssrc(self.ssrc),
        };
        let level = AudioLevel { voice: true, level_dbov: 20 }.to_bytes();
        let elements = [(AUDIO_LEVEL_ID, &level[..])];
        let elements = if self.is_picture { &[] } else { &elements[..] };
        let mut head = [0; 32];
        let head_len = write_header(&mut head, &header, elements).unwrap();
        let mut out = vec![0; head_len + payload.len() + PROFILE.rtp_overhead()];
        sealer.seal_rtp(self.index, &head[..head_len], payload, &mut out).unwrap();
        self.index += 1;
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        out
    }

    fn write_report(&self, age: Duration, compound: &mut Vec<u8>) {
        let report = SenderReport {
            ssrc: Ssrc(self.ssrc),
            ntp: NtpTime::from_unix(age + CLOCK_START),
            rtp_timestamp: self.timestamp,
            packets: self.packets,
            octets: self.octets,
            reports: &[],
        };
        report.write(compound);
    }
}

/// A UDP payload of the picture: below any path's MTU, as browsers send it.
const DATAGRAM_BYTES: usize = 1200;

/// Without extensions.
const RTP_HEADER_BYTES: usize = 12;

/// A frame of three packets every 12 ms: 250 packets a second, about 2.4 Mbit/s.
const PICTURE_PACKETS: usize = 3;
const PICTURE_INTERVAL: Duration = Duration::from_millis(12);

/// 50 packets a second of about 32 kbit/s.
const VOICE_INTERVAL: Duration = Duration::from_millis(20);
const VOICE_BYTES: usize = 80;

/// More than a crew's look around, less than what would arrive as a flood.
const LATE_MAX: Duration = Duration::from_millis(100);

/// No datagram of the server is larger.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Callers' clocks show some day; reports carry differences only.
const CLOCK_START: Duration = Duration::from_secs(1_000_000_000);

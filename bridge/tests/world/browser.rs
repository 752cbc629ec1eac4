//! A model browser: its checks, its keys, what it publishes. `description` says what it offers, `hearing` what it makes of
//! what comes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bridge::engine::ports::{EndpointKey, HandshakeCommand, Path};
use wire::messages::channel::FromBridge;
use wire::messages::ids::{EndpointId, SourceName};
use wire::messages::link::SlotPin;
use wire::messages::media::{Codec, IceCredentials, MediaKind, TransportParameters, VideoType};
use wire::rtcp::{Nack, NtpTime, Pli, ReceiverReport, ReportBlock, SenderReport};
use wire::rtp::Ssrc;
use wire::rtp::extensions::{AbsSendTime, AudioLevel, TransportSequence};
use wire::srtp::{Opener, Profile, ReplayWindow, Sealer, SessionKeys};
use wire::stun::{AttributeKind, Builder, Class, Message, Method, TransactionId};

use super::media::{Sent, Stream};
use super::receiver::SlotView;
use super::{BRIDGE_IP, Line, ms, secs};

/// One browser.
pub struct Browser {
    pub id: EndpointId,
    pub place: usize,
    /// The engine that its datagrams reach.
    pub part: usize,
    pub has_left: bool,
    pub born: Instant,
    pub key: Option<EndpointKey>,
    pub path: Path,
    pub line_up: Line,
    pub line_down: Line,
    pub ice: IceCredentials,
    pub fingerprint: String,
    pub pins: Vec<SlotPin>,
    /// A browser's own numbers for payload types and extensions: added to the usual ones.
    pub numbering: u8,
    pub streams: Vec<Stream>,
    pub announces_ssrcs: bool,
    /// Camera layers; more than one is simulcast.
    pub layers: usize,
    pub audio_slots: usize,
    pub video_slots: usize,
    pub has_rtx: bool,
    /// Writes the audio level into its packets.
    pub says_level: bool,
    pub video_codec: Codec,
    pub video_type: VideoType,
    /// By SSRC of the media stream.
    pub slots: BTreeMap<u32, SlotView>,
    pub rtx_of: BTreeMap<u32, u32>,
    pub told: Vec<FromBridge>,
    pub is_channel_closed: bool,
    /// Packets whose index had come before: sent twice, by the bridge or by the line.
    pub replayed: u64,
    pub handshake_commands: Vec<HandshakeCommand>,
    pub sends_checks: bool,
    pub asks_for_missing: bool,
    /// Transport-wide numbers that the bridge has told as received, and all it has spoken of.
    pub feedback_received: Vec<u16>,
    pub reports: Vec<ReportBlock>,
    pub transport_sequences: Vec<u16>,
    pub(super) remote: Option<IceCredentials>,
    pub(super) sealer: Option<Sealer>,
    pub(super) opener: Option<Opener>,
    pub(super) windows: BTreeMap<u32, ReplayWindow>,
    pub(super) rtcp_windows: BTreeMap<u32, ReplayWindow>,
    rtcp_index: u32,
    transactions: u32,
    transport_sequence: u16,
    next_check: Option<Instant>,
    next_report: Option<Instant>,
    is_connected: bool,
}

impl Browser {
    /// A browser that only watches: `digit` makes its name, address and numbers.
    pub fn watcher(number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        let remote = SocketAddr::from(([198, 51u8.wrapping_add(b), c, d], 40_000 + u16::from(a)));
        Self {
            id: EndpointId::parse(format!("{number:08x}")).unwrap(),
            place: 0,
            part: 0,
            has_left: false,
            born: Instant::now(),
            key: None,
            path: Path { remote, local: BRIDGE_IP },
            line_up: Line::GOOD,
            line_down: Line::GOOD,
            ice: IceCredentials {
                ufrag: format!("u{number:06}"),
                pwd: "browser-password-22-chars".to_owned(),
            },
            fingerprint: format!("FP:{number}"),
            pins: Vec::new(),
            numbering: (number % 3) as u8,
            streams: Vec::new(),
            announces_ssrcs: true,
            layers: 1,
            audio_slots: 3,
            video_slots: 4,
            has_rtx: true,
            says_level: true,
            video_codec: Codec::Vp8,
            video_type: VideoType::Camera,
            slots: BTreeMap::new(),
            rtx_of: BTreeMap::new(),
            told: Vec::new(),
            is_channel_closed: false,
            replayed: 0,
            handshake_commands: Vec::new(),
            sends_checks: true,
            asks_for_missing: true,
            feedback_received: Vec::new(),
            reports: Vec::new(),
            transport_sequences: Vec::new(),
            remote: None,
            sealer: None,
            opener: None,
            windows: BTreeMap::new(),
            rtcp_windows: BTreeMap::new(),
            rtcp_index: 0,
            transactions: number << 16,
            transport_sequence: 0,
            next_check: None,
            next_report: None,
            is_connected: false,
        }
    }

    /// A microphone and a camera.
    pub fn talker(number: u32) -> Self {
        Self::watcher(number).with_audio().with_video(1)
    }

    pub fn with_audio(mut self) -> Self {
        self.add_stream(false, 0);
        self
    }

    pub fn with_video(mut self, layers: usize) -> Self {
        self.layers = layers;
        for layer in 0..layers {
            self.add_stream(true, layer as u8);
        }
        self
    }

    /// Placed on another engine than the first.
    pub fn at(mut self, part: usize) -> Self {
        self.part = part;
        self
    }

    pub fn without_ssrcs(mut self) -> Self {
        self.announces_ssrcs = false;
        self
    }

    pub fn with_slots(mut self, audio: usize, video: usize) -> Self {
        (self.audio_slots, self.video_slots) = (audio, video);
        self
    }

    fn add_stream(&mut self, is_video: bool, layer: u8) {
        let number = u32::from_str_radix(self.id.as_str(), 16).unwrap();
        let ssrc = number * 100 + u32::from(is_video) * 10 + u32::from(layer) * 2 + 1;
        let kind = if is_video { MediaKind::Video } else { MediaKind::Audio };
        self.streams.push(Stream {
            source: SourceName::of(&self.id, kind, 0).to_string(),
            layer,
            is_video,
            ssrc,
            rtx_ssrc: ssrc + 1,
            payload_type: self.payload_type(if is_video { 96 } else { 111 }),
            rtx_payload_type: self.payload_type(100),
            clock_rate_hz: if is_video { 90_000 } else { 48_000 },
            next_index: u64::from(number) * 7_000 % 30_000 + 60_000 % 0x7fff,
            rtx_index: 5,
            timestamp_base: number.wrapping_mul(0x4321_1234).wrapping_add(u32::from(layer) << 20),
            frame: 0,
            picture_id: (number * 777 % 0x7fff) as u16,
            tl0: number as u8,
            packets_per_frame: 3,
            owes_key_frame: false,
            is_deaf: false,
            is_still: false,
            is_on: true,
            level_dbov: 30,
            next_at: self.born,
            history: BTreeMap::new(),
            swallowed: Vec::new(),
            key_frame_requests: Vec::new(),
            nacked: Vec::new(),
            answers_nacks: true,
            packets_sent: 0,
        });
    }

    pub(super) fn payload_type(&self, usual: u8) -> u8 {
        usual + self.numbering
    }

    pub(super) fn extension_id(&self, usual: u8) -> u8 {
        usual + self.numbering
    }

    pub fn source(&self, kind: MediaKind) -> String {
        SourceName::of(&self.id, kind, 0).to_string()
    }

    pub fn video(&self) -> String {
        self.source(MediaKind::Video)
    }

    pub fn audio(&self) -> String {
        self.source(MediaKind::Audio)
    }

    pub fn camera(&mut self) -> &mut Stream {
        self.streams.iter_mut().rfind(|stream| stream.is_video).expect("a camera")
    }

    pub fn layer(&mut self, layer: u8) -> &mut Stream {
        self.streams.iter_mut().find(|stream| stream.is_video && stream.layer == layer).expect("a layer")
    }

    pub fn microphone(&mut self) -> &mut Stream {
        self.streams.iter_mut().find(|stream| !stream.is_video).expect("a microphone")
    }

    /// What the answer says.
    pub fn take_transport(&mut self, transport: &TransportParameters) {
        self.remote = Some(transport.ice.clone());
        self.next_check = Some(self.next_check.unwrap_or(self.born));
        for slot in &transport.slots {
            let view = self.slots.entry(slot.ssrc).or_default();
            view.mid = slot.mid.to_string();
            view.is_video = slot.rtx_ssrc.is_some();
            if let Some(rtx) = slot.rtx_ssrc {
                self.rtx_of.insert(rtx, slot.ssrc);
            }
        }
    }

    pub fn take_keys(&mut self, profile: Profile, keys: &SessionKeys) {
        self.sealer = Some(Sealer::new(profile, &keys.send));
        self.opener = Some(Opener::new(profile, &keys.receive));
        self.is_connected = true;
    }

    pub fn sealer(&self) -> &Sealer {
        self.sealer.as_ref().expect("connected")
    }

    /// The view of the slot that shows `source` now.
    pub fn slot_showing(&self, source: &str) -> Option<&SlotView> {
        self.slots
            .values()
            .find(|slot| slot.packets.values().next_back().is_some_and(|last| last.tag.source == source))
    }

    /// Frames of `source` it could decode, or voice packets it heard.
    pub fn frames_of(&self, source: &str) -> usize {
        self.slots.values().map(|slot| slot.frames_of(source)).sum()
    }

    pub fn next_timeout(&self) -> Instant {
        let far = self.born + secs(1_000_000);
        let check = self.next_check.filter(|_| self.sends_checks).unwrap_or(far);
        if !self.is_connected {
            return check;
        }
        let streams =
            self.streams.iter().filter(|stream| stream.is_on).map(|stream| stream.next_at.max(self.born));
        let asked =
            self.slots.values().filter(|_| self.asks_for_missing).flat_map(|slot| slot.asked.values());
        let asked = asked.map(|(at, _)| *at + ms(60));
        let report = self.next_report.unwrap_or(self.born);
        streams.chain(asked).chain([check, report]).min().unwrap_or(far)
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if self.sends_checks && self.next_check.is_some_and(|at| at <= now) {
            out.extend(self.check(true));
            self.next_check = Some(now + if self.is_connected { ms(2_500) } else { ms(100) });
        }
        if !self.is_connected {
            return out;
        }
        for index in 0..self.streams.len() {
            while self.streams[index].is_on && self.streams[index].next_at.max(self.born) <= now {
                let at = self.streams[index].next_at.max(self.born);
                // A browser that has just connected does not send what it did not send before.
                let at = if at + secs(1) < now { now } else { at };
                self.streams[index].next_at = at + self.streams[index].interval();
                out.extend(self.send_frame(at, index));
            }
        }
        out.extend(self.ask_for_missing(now));
        if self.next_report.is_none_or(|at| at <= now) {
            self.next_report = Some(now + secs(1));
            out.extend(self.report(now));
        }
        out
    }

    /// A connectivity check (RFC 8445, 7.1).
    pub fn check(&mut self, nominates: bool) -> Option<Vec<u8>> {
        let remote = self.remote.as_ref()?;
        self.transactions += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.transactions.to_be_bytes());
        let username = format!("{}:{}", remote.ufrag, self.ice.ufrag);
        let mut builder = Builder::new(Class::Request, Method::BINDING, TransactionId(id))
            .attribute(AttributeKind::USERNAME, username.as_bytes())
            .attribute(AttributeKind::PRIORITY, &[110, 0, 0, 255])
            .attribute(AttributeKind::ICE_CONTROLLING, &[1; 8]);
        if nominates {
            builder = builder.attribute(AttributeKind::USE_CANDIDATE, &[]);
        }
        Some(builder.sign(remote.pwd.as_bytes()).fingerprint())
    }

    pub fn is_right_check(&self, datagram: &[u8]) -> bool {
        let Some(remote) = &self.remote else { return false };
        Message::parse(datagram).is_ok_and(|message| message.verify_integrity(remote.pwd.as_bytes()))
    }

    fn send_frame(&mut self, at: Instant, index: usize) -> Vec<Vec<u8>> {
        let age = at.saturating_duration_since(self.born);
        let payloads = self.streams[index].next_frame();
        let count = payloads.len();
        let mut datagrams = Vec::new();
        for (part, payload) in payloads.into_iter().enumerate() {
            let timestamp = self.streams[index].timestamp(age);
            let is_video = self.streams[index].is_video;
            let sent = Sent { marker: is_video && part + 1 == count, timestamp, payload };
            let elements = self.elements(index, at, false);
            let elements: Vec<(u8, &[u8])> =
                elements.iter().map(|(id, value)| (*id, value.as_slice())).collect();
            let Some(sealer) = &self.sealer else { continue };
            datagrams.extend(self.streams[index].seal(sealer, sent, &elements));
        }
        datagrams
    }

    /// The header extension elements of a stream's next packet.
    pub fn elements(&mut self, index: usize, at: Instant, is_repair: bool) -> Vec<(u8, Vec<u8>)> {
        let (is_video, layer, level_dbov) =
            (self.streams[index].is_video, self.streams[index].layer, self.streams[index].level_dbov);
        let number = TransportSequence(self.transport_sequence).to_bytes();
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        let send_time = AbsSendTime::from_duration(at.saturating_duration_since(self.born)).to_bytes();
        let mut elements = vec![
            (self.extension_id(1), if is_video { b"1".to_vec() } else { b"0".to_vec() }),
            (self.extension_id(2), send_time.to_vec()),
            (self.extension_id(3), number.to_vec()),
        ];
        if !is_video && self.says_level {
            let level = AudioLevel { voice: level_dbov < 60, level_dbov };
            elements.push((self.extension_id(4), level.to_bytes().to_vec()));
        }
        if self.layers > 1 && is_video {
            let rid = [b'q', b'h', b'f'][usize::from(layer)];
            elements.push((self.extension_id(if is_repair { 6 } else { 5 }), vec![rid]));
        }
        elements
    }

    fn ask_for_missing(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut compound = Vec::new();
        for (ssrc, slot) in self.slots.iter_mut().filter(|_| self.asks_for_missing) {
            let due = slot.asked.iter_mut().filter(|(_, (at, _))| *at + ms(60) <= now);
            let mut sequences = Vec::new();
            for (ext_seq, (at, tries)) in due {
                (*at, *tries) = (now, *tries + 1);
                sequences.push(*ext_seq as u16);
            }
            slot.asked.retain(|_, (_, tries)| *tries <= 10);
            Nack::write_sequences(&mut compound, Ssrc(1), Ssrc(*ssrc), &sequences);
        }
        self.seal_rtcp(&compound).into_iter().collect()
    }

    /// Sender reports on its own streams, on a clock of its own, and a receiver report on its slots.
    fn report(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut compound = Vec::new();
        let age = now.saturating_duration_since(self.born);
        for stream in self.streams.iter().filter(|stream| stream.packets_sent > 0) {
            SenderReport {
                ssrc: Ssrc(stream.ssrc),
                ntp: NtpTime::from_unix(age + Duration::from_secs(86_400 * (7 + self.place as u64))),
                rtp_timestamp: stream.timestamp(age),
                packets: stream.packets_sent,
                octets: 0,
                reports: &[],
            }
            .write(&mut compound);
        }
        let blocks: Vec<_> =
            self.slots.iter().filter_map(|(ssrc, slot)| report_block(now, *ssrc, slot)).collect();
        ReceiverReport { sender: Ssrc(1), reports: &blocks }.write(&mut compound);
        self.seal_rtcp(&compound)
    }

    pub fn pli(&mut self, slot: u32) -> Option<Vec<u8>> {
        let mut compound = Vec::new();
        Pli { sender: Ssrc(1), media: Ssrc(slot) }.write(&mut compound);
        self.seal_rtcp(&compound)
    }

    pub fn seal_rtcp(&mut self, compound: &[u8]) -> Option<Vec<u8>> {
        if compound.is_empty() {
            return None;
        }
        let sealer = self.sealer.as_ref()?;
        let mut out = vec![0; compound.len() + sealer.profile().rtcp_overhead()];
        self.rtcp_index += 1;
        sealer.seal_rtcp(self.rtcp_index, compound, &mut out).unwrap();
        Some(out)
    }
}

fn report_block(now: Instant, ssrc: u32, slot: &SlotView) -> Option<[u8; ReportBlock::BYTES]> {
    let (at, ntp, _) = slot.reports.last()?;
    let delay = now.saturating_duration_since(*at).as_micros() * 65_536 / 1_000_000;
    let (first, last) = (slot.packets.keys().next()?, slot.packets.keys().next_back()?);
    let lost = (last - first + 1) as usize - slot.packets.len();
    let block = ReportBlock {
        ssrc: Ssrc(ssrc),
        lost: lost as i32,
        highest_sequence: *last as u32,
        last_sr: NtpTime(*ntp).middle(),
        delay_since_last_sr: delay as u32,
        ..ReportBlock::default()
    };
    Some(block.to_bytes())
}

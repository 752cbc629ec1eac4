//! Everything one caller sends: a voice, a camera in layers, a screen, shaped as a browser's encoders shape them. What
//! browsers encode is filling here; how much of it, when, in which packets and with which headers is theirs.
//!
//! ```text
//! Publisher ─ Voice ────────────────────┐
//!           ─ Camera ─ PictureStream ×n ┼─ OutPacket ─▶ the caller: header, SRTP
//!           ─ Screen ─ PictureStream ───┘
//! ```
//! A publisher is deterministic: the same plan and the same instants give the same packets.

mod camera;
mod history;
mod picture;
mod screen;
#[cfg(test)]
mod tests;
mod voice;
mod vp8;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::messages::ids::Rid;
use wire::messages::media::MediaKind;
use wire::rtcp::{NtpTime, SenderReport, SourceDescription};
use wire::rtp::Ssrc;
use wire::rtp::extensions::AudioLevel;

use super::counts::Counts;
use super::ports::CallerPlan;
use super::stamp::Clock;
use crate::scenario;
use camera::Camera;
use picture::{PictureIds, PictureStream};
use screen::Screen;
use voice::Voice;
pub(super) use voice::stamp as voice_stamp;
pub(super) use vp8::stamp as picture_stamp;

/// What one caller sends.
#[derive(Debug)]
pub struct Publisher {
    number: u32,
    clock: Clock,
    tracks: Vec<Track>,
    voice: Option<Voice>,
    camera: Option<Camera>,
    screen: Option<Screen>,
    cname: String,
    random: StdRng,
    counts: Counts,
    payload: Vec<u8>,
}

/// One m-line that sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Audio or video.
    pub kind: MediaKind,
    /// What it shows.
    pub content: Content,
    /// One; of a simulcast camera one for each layer, smallest first.
    pub streams: Vec<StreamIds>,
}

/// What a track shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Opus.
    Voice,
    /// VP8 of a camera.
    Camera,
    /// VP8 of a screen.
    Screen,
}

/// One stream and its retransmissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamIds {
    /// The layer's name; none without simulcast.
    pub rid: Option<Rid>,
    /// The stream.
    pub ssrc: Ssrc,
    /// Its retransmissions (RFC 4588); none for a voice.
    pub rtx_ssrc: Option<Ssrc>,
}

/// A packet to be sent.
#[derive(Debug, Clone, Copy)]
pub struct OutPacket<'a> {
    /// Place in [`Publisher::tracks`].
    pub track: usize,
    /// Place in [`Track::streams`].
    pub stream: usize,
    /// It goes to the retransmission stream.
    pub is_rtx: bool,
    /// Rollover counter and sequence number of its stream: the SRTP index.
    pub index: u64,
    /// On the stream's clock: 48 kHz of a voice, 90 kHz of a picture.
    pub timestamp: u32,
    /// Last packet of a picture, first of a talk spurt.
    pub marker: bool,
    /// For the header extension (RFC 6464); of a voice only.
    pub audio_level: Option<AudioLevel>,
    /// The payload; of a retransmission with its original sequence number in front.
    pub payload: &'a [u8],
}

impl Publisher {
    /// What `plan` sends; nothing is due before [`Self::start`].
    pub fn new(plan: &CallerPlan) -> Self {
        let mut random = StdRng::seed_from_u64(plan.seed);
        let mut tracks = Vec::new();
        let voice = plan.voice.as_ref().map(|voice| {
            let ids = StreamIds { rid: None, ssrc: stream_ssrc(plan.number, VOICE_SSRC), rtx_ssrc: None };
            let place = Place { track: tracks.len(), stream: 0, stamp: 0 };
            let made = Voice::new(voice, (ids.ssrc, place), &mut random);
            tracks.push(Track { kind: MediaKind::Audio, content: Content::Voice, streams: vec![ids] });
            made
        });
        let camera = plan.camera.as_ref().filter(|camera| !camera.layers.is_empty()).map(|camera| {
            let (track, streams) = camera_streams(plan.number, camera, tracks.len(), &mut random);
            tracks.push(track);
            Camera::new(camera, streams)
        });
        let screen = plan.screen.as_ref().map(|screen| {
            let (ids, place) =
                (picture_ids(plan.number, SCREEN_SSRC), Place { track: tracks.len(), stream: 0, stamp: 8 });
            let picture = PictureIds { ssrc: ids.ssrc, place, height: SCREEN_HEIGHT };
            tracks.push(Track { kind: MediaKind::Video, content: Content::Screen, streams: vec![ids] });
            Screen::new(screen, PictureStream::new(picture, &mut random))
        });
        Self {
            number: plan.number,
            clock: plan.clock,
            tracks,
            voice,
            camera,
            screen,
            cname: format!("{:016x}", random.random::<u64>()),
            random,
            counts: Counts::default(),
            payload: Vec::new(),
        }
    }

    /// All tracks, in the order of their m-lines: voice, camera, screen, as far as there are.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter()
    }

    /// The name that all streams share (RFC 3550, 6.5.1).
    pub fn cname(&self) -> &str {
        &self.cname
    }

    /// There are keys: media is due from now on. When exactly is drawn from the seed, so that callers spread.
    pub fn start(&mut self, now: Instant) {
        if let Some(voice) = &mut self.voice {
            voice.start(now, &mut self.random);
        }
        if let Some(camera) = &mut self.camera {
            camera.start(now, &mut self.random);
        }
        if let Some(screen) = &mut self.screen {
            screen.start(now, &mut self.random);
        }
    }

    /// When something is due. A peek.
    pub fn next_timeout(&self) -> Option<Instant> {
        let voice = self.voice.as_ref().and_then(Voice::next_timeout);
        let camera = self.camera.as_ref().and_then(Camera::next_timeout);
        let screen = self.screen.as_ref().and_then(Screen::next_timeout);
        [voice, camera, screen].into_iter().flatten().min()
    }

    /// Sends everything due: each picture is a burst of packets at its time. A caller that was kept from its processor for
    /// longer than 100 ms leaves out what it missed, as an encoder would.
    pub fn handle_timeout(&mut self, now: Instant, send: &mut dyn FnMut(OutPacket<'_>)) {
        let Self { number, clock, voice, camera, screen, random, counts, payload, .. } = self;
        let mut outlet = Outlet { now, clock: *clock, source: *number, random, counts, payload, send };
        if let Some(voice) = voice {
            voice.handle_timeout(&mut outlet);
        }
        if let Some(camera) = camera {
            camera.handle_timeout(&mut outlet);
        }
        if let Some(screen) = screen {
            screen.handle_timeout(&mut outlet);
        }
    }

    /// Sends again what the server misses of a stream of pictures (RFC 4585, 6.2.1; RFC 4588): what is still known, and not
    /// twice within 20 ms.
    pub fn handle_nack(
        &mut self,
        now: Instant,
        ssrc: Ssrc,
        sequences: impl Iterator<Item = u16>,
        send: &mut dyn FnMut(OutPacket<'_>),
    ) {
        let Self { number, clock, camera, screen, random, counts, payload, .. } = self;
        let mut outlet = Outlet { now, clock: *clock, source: *number, random, counts, payload, send };
        let cameras = camera.iter_mut().flat_map(Camera::streams_mut);
        let mut streams = cameras.chain(screen.iter_mut().map(Screen::stream_mut));
        let mut stream = streams.find(|stream| stream.ssrc == ssrc);
        for sequence in sequences {
            outlet.counts.nacks_received += 1;
            if let Some(stream) = &mut stream {
                stream.resend(sequence, &mut outlet);
            }
        }
    }

    /// PLI (RFC 4585, 6.3.1) or FIR (RFC 5104, 4.3.1): the next frame of that stream is a key frame, at most one each 300 ms.
    pub fn handle_key_frame_request(&mut self, now: Instant, ssrc: Ssrc) {
        self.counts.key_frame_requests_received += 1;
        let mut layers = self.camera.iter_mut().flat_map(Camera::streams_mut);
        if let Some(layer) = layers.find(|layer| layer.ssrc == ssrc) {
            return layer.handle_key_frame_request();
        }
        if let Some(screen) = self.screen.as_mut().filter(|screen| screen.stream().ssrc == ssrc) {
            screen.handle_key_frame_request(now);
        }
    }

    /// Appends a sender report of each stream that has sent (RFC 3550, 6.4.1), and one name for all of them.
    pub fn write_sender_reports(&mut self, now: Instant, compound: &mut Vec<u8>) {
        let ntp = NtpTime::from_unix(WALL_CLOCK_START + Duration::from_micros(self.clock.us(now)));
        let voices = self.voice.iter().map(|voice| (voice.ssrc, voice.timestamp(now), voice.made));
        let layers = self.camera.iter().flat_map(Camera::streams);
        let pictures = layers.chain(self.screen.iter().map(Screen::stream));
        let pictures = pictures.map(|stream| (stream.ssrc, stream.timestamp(now), stream.made));
        let mut named = None;
        for (ssrc, rtp_timestamp, made) in voices.chain(pictures).filter(|(_, _, made)| made.packets > 0) {
            let Made { packets, octets } = made;
            SenderReport { ssrc, ntp, rtp_timestamp, packets, octets, reports: &[] }.write(compound);
            named = named.or(Some(ssrc));
        }
        if let Some(ssrc) = named {
            SourceDescription::write_cname(compound, ssrc, &self.cname);
        }
    }

    /// Adds what was counted since the last call, and forgets it. Bytes are not among it: only the caller knows its headers.
    pub fn take_counts(&mut self, counts: &mut Counts) {
        *counts += std::mem::take(&mut self.counts);
    }
}

/// The SSRC under which a caller reports what it receives; none of its streams has it.
pub fn reporter_ssrc(number: u32) -> Ssrc {
    stream_ssrc(number, REPORTER_SSRC)
}

/// What a source needs to get a packet out.
struct Outlet<'a> {
    now: Instant,
    clock: Clock,
    source: u32,
    random: &'a mut StdRng,
    counts: &'a mut Counts,
    payload: &'a mut Vec<u8>,
    send: &'a mut dyn FnMut(OutPacket<'_>),
}

/// Where a stream belongs.
#[derive(Debug, Clone, Copy)]
struct Place {
    track: usize,
    stream: usize,
    /// [`super::stamp::Stamp::stream`].
    stamp: u8,
}

/// What a sender report tells of a stream.
#[derive(Debug, Clone, Copy, Default)]
struct Made {
    packets: u32,
    octets: u32,
}

/// A stream's clock: it starts anywhere and runs with the time.
#[derive(Debug, Clone, Copy)]
struct StreamClock {
    base: u32,
    hz: u32,
    started: Option<Instant>,
}

impl StreamClock {
    fn new(base: u32, hz: u32) -> Self {
        Self { base, hz, started: None }
    }

    fn start(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// Modulo 2^32, as RTP's timestamps are.
    fn timestamp(&self, at: Instant) -> u32 {
        let elapsed = self.started.map_or(Duration::ZERO, |started| at.saturating_duration_since(started));
        let ticks = elapsed.as_micros() * u128::from(self.hz) / 1_000_000;
        self.base.wrapping_add(ticks as u32)
    }
}

/// The camera's m-line and its streams.
fn camera_streams(
    number: u32,
    plan: &scenario::Camera,
    track: usize,
    random: &mut StdRng,
) -> (Track, Vec<PictureStream>) {
    let layers = &plan.layers[..plan.layers.len().min(LAYERS_MAX)];
    let (mut ids, mut streams) = (Vec::new(), Vec::new());
    for (stream, layer) in layers.iter().enumerate() {
        let mut each = picture_ids(number, CAMERA_SSRCS + 2 * stream as u32);
        each.rid = RIDS.get(stream).filter(|_| layers.len() > 1).and_then(|rid| Rid::parse(*rid).ok());
        let place = Place { track, stream, stamp: 1 + stream as u8 };
        streams.push(PictureStream::new(PictureIds { ssrc: each.ssrc, place, height: layer.height }, random));
        ids.push(each);
    }
    (Track { kind: MediaKind::Video, content: Content::Camera, streams: ids }, streams)
}

fn picture_ids(number: u32, which: u32) -> StreamIds {
    let rtx_ssrc = Some(stream_ssrc(number, which + 1));
    StreamIds { rid: None, ssrc: stream_ssrc(number, which), rtx_ssrc }
}

/// SSRC number `which` of a caller: looks random, and no two callers of a run have the same.
fn stream_ssrc(number: u32, which: u32) -> Ssrc {
    // Each step can be undone, so different numbers stay different.
    let mut mixed = number.wrapping_mul(SSRCS_A_CALLER).wrapping_add(which);
    for factor in [0x7feb_352d_u32, 0x846c_a68b] {
        mixed = (mixed ^ mixed >> 16).wrapping_mul(factor);
    }
    Ssrc(mixed ^ mixed >> 16)
}

/// When to take a picture that was due at `at`: now, if it is too late to make up for it.
fn caught_up(at: Instant, now: Instant) -> Instant {
    if at + LATE_MAX < now { now } else { at }
}

/// Between two frames; no camera is faster than 240 a second, and none is slower than one a minute.
fn interval_of(frames_per_s: f64) -> Duration {
    Duration::from_secs_f64(1.0 / within(frames_per_s, 1.0 / 60.0, 240.0))
}

/// `value` or the nearest bound; what is no number is the lower one.
fn within(value: f64, low: f64, high: f64) -> f64 {
    if value.is_nan() { low } else { value.clamp(low, high) }
}

/// Seconds of a scenario, where 0 means never; nothing waits longer than a day.
fn wait_of(seconds: f64) -> Option<Duration> {
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(86_400.0)))
}

/// A random time with this mean; long ones are cut at ten times the mean, which one in 22,000 is.
fn exponential(mean: Duration, random: &mut impl Rng) -> Duration {
    let share: f64 = random.random();
    mean.mul_f64((-(1.0 - share).ln()).clamp(0.0, 10.0))
}

/// Names of layers, smallest first. More than four nobody encodes.
const RIDS: [&str; LAYERS_MAX] = ["q", "h", "f", "u"];
const LAYERS_MAX: usize = 4;

/// Which of a caller's SSRCs is whose; a picture's retransmissions have the next number.
const SSRCS_A_CALLER: u32 = 16;
const VOICE_SSRC: u32 = 0;
const CAMERA_SSRCS: u32 = 1;
const SCREEN_SSRC: u32 = 9;
const REPORTER_SSRC: u32 = 11;

/// Full HD.
const SCREEN_HEIGHT: u32 = 1_080;

/// More than a thread's look around, less than what would arrive as a flood.
const LATE_MAX: Duration = Duration::from_millis(100);

/// Callers' clocks show some day; reports carry differences only.
const WALL_CLOCK_START: Duration = Duration::from_secs(1_000_000_000);

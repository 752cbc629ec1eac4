//! A voice: talk spurts and pauses of random length, opus packets with levels, and next to nothing while silent.

use std::time::{Duration, Instant};

use rand::Rng;
use wire::rtp::Ssrc;
use wire::rtp::extensions::AudioLevel;

use super::{Made, OutPacket, Outlet, Place, StreamClock, caught_up, exponential, within};
use crate::engine::stamp::Stamp;
use crate::scenario;

/// A voice.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) ssrc: Ssrc,
    pub(super) made: Made,
    place: Place,
    clock: StreamClock,
    index: u64,
    interval: Duration,
    bytes: usize,
    table_of_contents: u8,
    /// Share of time, 0.0 to 1.0.
    speaks: f64,
    is_dtx: bool,
    is_speaking: bool,
    /// The next packet is the first of a spurt.
    begins_spurt: bool,
    /// Packets until it starts or stops to speak; none: it never does.
    remaining: Option<u64>,
    next_at: Option<Instant>,
    /// Packets of time between the one sent last and the next.
    step: u64,
}

impl Voice {
    pub(super) fn new(plan: &scenario::Voice, (ssrc, place): (Ssrc, Place), random: &mut impl Rng) -> Self {
        let packet_ms = plan.packet_ms.clamp(PACKET_MS_MIN, PACKET_MS_MAX);
        let bytes = plan.rate_kbps as usize * packet_ms as usize / 8;
        Self {
            ssrc,
            made: Made::default(),
            place,
            clock: StreamClock::new(random.random(), VOICE_CLOCK_HZ),
            index: u64::from(random.random::<u16>() & 0x7fff),
            interval: Duration::from_millis(u64::from(packet_ms)),
            bytes: bytes.clamp(1 + Stamp::BYTES, PAYLOAD_BYTES_MAX),
            table_of_contents: table_of_contents(packet_ms),
            speaks: within(plan.speaks, 0.0, 1.0),
            is_dtx: plan.dtx,
            is_speaking: false,
            begins_spurt: false,
            remaining: None,
            next_at: None,
            step: 1,
        }
    }

    pub(super) fn start(&mut self, now: Instant, random: &mut impl Rng) {
        self.clock.start(now);
        self.next_at = Some(now + self.interval.mul_f64(random.random()));
        self.is_speaking = random.random_bool(self.speaks);
        self.begins_spurt = self.is_speaking;
        self.remaining = self.stretch(random);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.next_at
    }

    pub(super) fn timestamp(&self, at: Instant) -> u32 {
        self.clock.timestamp(at)
    }

    pub(super) fn handle_timeout(&mut self, outlet: &mut Outlet<'_>) {
        while let Some(at) = self.next_at.filter(|at| *at <= outlet.now) {
            let at = caught_up(at, outlet.now);
            self.turn(outlet.random);
            self.send_packet(at, outlet);
            self.step = self.next_step();
            self.next_at = Some(at + self.interval.saturating_mul(self.step as u32));
        }
    }

    /// Starts or stops to speak when it is time.
    fn turn(&mut self, random: &mut impl Rng) {
        let Some(remaining) = &mut self.remaining else { return };
        *remaining = remaining.saturating_sub(self.step);
        if *remaining == 0 {
            self.is_speaking = !self.is_speaking;
            self.begins_spurt = self.is_speaking;
            self.remaining = self.stretch(random);
        }
    }

    /// How many packets long the spurt or pause that begins now is.
    fn stretch(&self, random: &mut impl Rng) -> Option<u64> {
        if self.speaks == 0.0 || self.speaks == 1.0 {
            return None;
        }
        // Spurts and pauses are exponential, so that their means alone make the share of time.
        let mean = match self.is_speaking {
            true => SPURT,
            false => SPURT.mul_f64(((1.0 - self.speaks) / self.speaks).min(PAUSE_SPURTS_MAX)),
        };
        let packets = exponential(mean, random).as_nanos() / self.interval.as_nanos();
        Some(packets.max(1) as u64)
    }

    /// Packets of time until the next packet: one, or with DTX many, but not beyond the next spurt's begin.
    fn next_step(&self) -> u64 {
        if self.is_speaking || !self.is_dtx {
            return 1;
        }
        let silent = (DTX_INTERVAL.as_nanos() / self.interval.as_nanos()).max(1) as u64;
        self.remaining.map_or(silent, |remaining| remaining.clamp(1, silent))
    }

    fn send_packet(&mut self, at: Instant, outlet: &mut Outlet<'_>) {
        let stamp = Stamp {
            clock: outlet.clock.number,
            source: outlet.source,
            stream: self.place.stamp,
            is_key: false,
            packet: self.made.packets,
            frame: self.made.packets,
            part: 0,
            parts: 1,
            sent_us: outlet.clock.us(outlet.now),
        };
        outlet.payload.clear();
        outlet.payload.push(self.table_of_contents);
        outlet.payload.extend_from_slice(&stamp.to_bytes());
        // While silent a packet is as small as its stamp allows; opus itself would need a byte or two.
        if self.is_speaking || !self.is_dtx {
            outlet.payload.resize(self.bytes, FILLING);
        }
        self.made.packets = self.made.packets.wrapping_add(1);
        self.made.octets = self.made.octets.wrapping_add(outlet.payload.len() as u32);
        outlet.counts.packets_sent += 1;
        let level_dbov =
            outlet.random.random_range(if self.is_speaking { SPEECH_DBOV } else { SILENCE_DBOV });
        (outlet.send)(OutPacket {
            track: self.place.track,
            stream: self.place.stream,
            is_rtx: false,
            index: self.index,
            timestamp: self.clock.timestamp(at),
            // RFC 3551, 4.1: the first packet behind a silence.
            marker: std::mem::take(&mut self.begins_spurt),
            audio_level: Some(AudioLevel { voice: self.is_speaking, level_dbov }),
            payload: outlet.payload,
        });
        self.index += 1;
    }
}

/// The stamp of an opus payload.
pub(in super::super) fn stamp(payload: &[u8]) -> Option<Stamp> {
    Stamp::parse(payload.get(1..)?)
}

/// RFC 6716, 3.1: configuration by the packet's length, mono, one frame.
fn table_of_contents(packet_ms: u32) -> u8 {
    let configuration = match packet_ms {
        0..=10 => 14,
        11..=20 => 15,
        21..=40 => 10,
        _ => 11,
    };
    configuration << 3
}

/// RFC 7587, 4.1: always.
pub(super) const VOICE_CLOCK_HZ: u32 = 48_000;

/// Opus' packets of one frame.
const PACKET_MS_MIN: u32 = 10;
const PACKET_MS_MAX: u32 = 60;

/// 128 kbit/s for 60 ms; also below every path's MTU.
const PAYLOAD_BYTES_MAX: usize = 960;

/// RFC 7587, 3.1.3: one packet each 400 ms while nobody speaks.
const DTX_INTERVAL: Duration = Duration::from_millis(400);

/// Mean length of a talk spurt.
const SPURT: Duration = Duration::from_secs(2);

/// Whoever speaks a thousandth of the time is silent for half an hour; more is nobody's meeting.
const PAUSE_SPURTS_MAX: f64 = 1_000.0;

/// Below full scale, as RFC 6464 counts: speech near a microphone, and a quiet room.
const SPEECH_DBOV: std::ops::RangeInclusive<u8> = 18..=36;
const SILENCE_DBOV: std::ops::RangeInclusive<u8> = 78..=96;

/// Any byte.
const FILLING: u8 = 0x55;

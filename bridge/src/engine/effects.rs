//! Everything an input may bring about besides changing its conference: datagrams, outputs, timers, counts. One for each
//! worker, lent to whoever handles the input.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wire::rtp::Ssrc;
use wire::rtp::extensions::AbsSendTime;

use super::cascade::{Crossings, ShadowPlace};
use super::drop_reason::DropReason;
use super::ports::{ChannelCommand, EndpointKey, EngineSettings, Output, PartId};
use super::reports::BridgeClock;
use super::send_ring::SendRing;
use super::source::SourceId;
use super::stats::Counters;
use super::timers::TimerQueue;

/// Where an engine's effects gather.
pub(crate) struct Effects {
    /// Datagrams to send.
    pub ring: SendRing,
    /// Everything else for the shell.
    pub outputs: VecDeque<Output>,
    /// When to wake whom.
    pub timers: TimerQueue,
    /// What was done.
    pub counters: Counters,
    /// Passwords and first numbers of streams.
    pub random: StdRng,
    /// The NTP timeline of our reports.
    pub clock: BridgeClock,
    /// Buffers that are only used within one call; kept so that none allocates.
    pub scratch: Scratch,
    /// Packets for other parts of their conferences.
    pub crossings: Crossings,
    /// Sources of which something did not get across: another key frame has to. Few, and none while workers keep up.
    pub crossings_lost: Vec<SourceId>,
    /// Shadow sources by their names: the one look-up of a packet from another part.
    pub shadows: HashMap<SourceId, ShadowPlace>,
    /// This worker.
    pub part: PartId,
    started: Instant,
    keys: u64,
    sources: u64,
    ssrcs: u32,
    ssrc_mask: u32,
}

/// Buffers of one call.
pub(crate) struct Scratch {
    /// A header in the making.
    pub header: Box<[u8; HEADER_BYTES_MAX]>,
    /// A payload whose descriptor differs from the shared one's.
    pub payload: Box<[u8; DATAGRAM_BYTES_MAX]>,
    /// An opened packet that has no cache (yet).
    pub opened: Box<[u8; DATAGRAM_BYTES_MAX]>,
    /// RTCP in the making.
    pub rtcp: Vec<u8>,
    /// RTCP received, opened.
    pub rtcp_received: Vec<u8>,
    /// Sequence numbers to ask for.
    pub sequences: Vec<u16>,
}

impl Effects {
    /// Nothing has happened yet.
    pub(crate) fn new(settings: &EngineSettings, now: Instant) -> Self {
        let mut random = StdRng::from_seed(settings.seed);
        Self {
            ring: SendRing::default(),
            outputs: VecDeque::new(),
            timers: TimerQueue::default(),
            counters: Counters::default(),
            clock: BridgeClock::new(now),
            scratch: Scratch {
                header: Box::new([0; HEADER_BYTES_MAX]),
                payload: Box::new([0; DATAGRAM_BYTES_MAX]),
                opened: Box::new([0; DATAGRAM_BYTES_MAX]),
                rtcp: Vec::with_capacity(DATAGRAM_BYTES_MAX),
                rtcp_received: Vec::with_capacity(DATAGRAM_BYTES_MAX),
                sequences: Vec::with_capacity(DATAGRAM_BYTES_MAX),
            },
            crossings: Crossings::default(),
            crossings_lost: Vec::new(),
            shadows: HashMap::default(),
            part: settings.part,
            started: now,
            keys: 0,
            sources: 0,
            ssrcs: 0,
            ssrc_mask: random.random(),
            random,
        }
    }

    /// Counts a packet that stopped.
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.counters.dropped.count(reason);
    }

    /// A packet of this source has not got across. Of a voice only the packet is missing; it is always a key frame.
    pub(crate) fn note_crossing_lost(&mut self, source: SourceId) {
        self.drop(DropReason::CascadeFull);
        if !self.crossings_lost.contains(&source) {
            self.crossings_lost.push(source);
        }
    }

    /// Queues one text frame for a channel.
    pub(crate) fn send_channel(&mut self, endpoint: EndpointKey, text: String) {
        self.counters.channel_messages_sent += 1;
        self.outputs.push_back(Output::Channel(endpoint, ChannelCommand::Send(text)));
    }

    /// So many characters of `[A-Za-z0-9]`, each with almost 6 bits of the worker's randomness.
    pub(crate) fn random_text(&mut self, characters: usize) -> String {
        (&mut self.random).sample_iter(Alphanumeric).take(characters).map(char::from).collect()
    }

    /// A key for an endpoint or conference: timers know both by it.
    pub(crate) fn next_key(&mut self) -> u64 {
        self.keys += 1;
        self.keys
    }

    /// A name for a source, which no other worker gives.
    pub(crate) fn next_source(&mut self) -> SourceId {
        self.sources += 1;
        SourceId(self.sources << u16::BITS | u64::from(self.part.0))
    }

    /// A stream number that this worker has never used: an odd factor visits all 2^32 before it repeats one.
    pub(crate) fn next_ssrc(&mut self) -> Ssrc {
        self.ssrcs = self.ssrcs.wrapping_add(1);
        Ssrc(self.ssrcs.wrapping_mul(SSRC_STRIDE) ^ self.ssrc_mask)
    }

    /// `now` as packets carry it.
    pub(crate) fn send_time(&self, now: Instant) -> AbsSendTime {
        AbsSendTime::from_duration(now.saturating_duration_since(self.started))
    }

    /// How long the engine has run.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

/// Twelve fixed bytes and every extension in its largest form.
const HEADER_BYTES_MAX: usize = 384;

/// More than an Ethernet frame carries, with what RTX and SRTP add.
const DATAGRAM_BYTES_MAX: usize = 2_048;

/// 2^32 divided by the golden ratio: neighbours lie far apart.
const SSRC_STRIDE: u32 = 0x9e37_79b1;

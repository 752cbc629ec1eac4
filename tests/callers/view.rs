//! One stream as its viewer gets it: is it whole, and is it continuous?

use std::time::Instant;

use wire::rtcp::{NtpTime, ReportBlock};
use wire::rtp::{RtpView, SequenceExtender, Ssrc};
use wire::srtp::ReplayWindow;

/// Counts of one slot's stream.
pub(crate) struct Stream {
    ssrc: u32,
    is_picture: bool,
    window: ReplayWindow,
    extender: SequenceExtender,
    first: Option<First>,
    last_tag: u32,
    report: Option<(Instant, NtpTime)>,
    counts: Counts,
}

/// How a stream began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct First {
    sequence: u64,
    tag: u32,
    is_key: bool,
}

/// What became of a stream's packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Packets that were authentic and carried a tag.
    pub(crate) packets: u64,
    /// Tags that were passed over and did not come later.
    pub(crate) missing: i64,
    /// Tags that came after a later one.
    pub(crate) late: u64,
    /// Sequence numbers whose step was not the tags' step: a gap or a repetition that the server has made.
    pub(crate) broken: u64,
}

impl Stream {
    pub(crate) fn new(ssrc: u32, is_picture: bool) -> Self {
        Self {
            ssrc,
            is_picture,
            window: ReplayWindow::new(),
            extender: SequenceExtender::new(),
            first: None,
            last_tag: 0,
            report: None,
            counts: Counts::default(),
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub(crate) fn is_picture(&self) -> bool {
        self.is_picture
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The tag of the first packet, and whether it began a key frame.
    pub(crate) fn first(&self) -> Option<(u32, bool)> {
        self.first.map(|first| (first.tag, first.is_key))
    }

    /// The largest tag seen.
    pub(crate) fn last_tag(&self) -> u32 {
        self.last_tag
    }

    pub(crate) fn window(&mut self) -> &mut ReplayWindow {
        &mut self.window
    }

    /// One authentic packet. `None`: it carries no tag.
    pub(crate) fn take(&mut self, packet: &RtpView<'_>) -> Option<()> {
        let offset = if self.is_picture { PICTURE_TAG_OFFSET } else { 0 };
        let (tag, is_key) = read_tag(packet.payload().get(offset..)?)?;
        let sequence = self.extender.extend(packet.sequence());
        self.counts.packets += 1;
        let Some(first) = self.first else {
            self.first = Some(First { sequence, tag, is_key });
            self.last_tag = tag;
            return Some(());
        };
        if sequence.wrapping_sub(first.sequence) != u64::from(tag.wrapping_sub(first.tag)) {
            self.counts.broken += 1;
        }
        if tag > self.last_tag {
            self.counts.missing += i64::from(tag - self.last_tag - 1);
            self.last_tag = tag;
        } else {
            self.counts.missing -= 1;
            self.counts.late += 1;
        }
        Some(())
    }

    pub(crate) fn take_report(&mut self, now: Instant, ntp: NtpTime) {
        self.report = Some((now, ntp));
    }

    /// RFC 3550, 6.4.1; `None` before the first packet.
    pub(crate) fn report(&mut self, now: Instant) -> Option<[u8; ReportBlock::BYTES]> {
        let highest = self.extender.highest()?;
        let (last_sr, delay) = self.report.map_or((0, 0), |(at, ntp)| {
            let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (ntp.middle(), delay as u32)
        });
        let block = ReportBlock {
            ssrc: Ssrc(self.ssrc),
            lost: self.counts.missing as i32,
            highest_sequence: highest as u32,
            last_sr,
            delay_since_last_sr: delay,
            ..ReportBlock::default()
        };
        Some(block.to_bytes())
    }
}

/// Writes what tells a packet from its stream's others.
pub(crate) fn write_tag(payload: &mut Vec<u8>, number: u32, is_key: bool) {
    payload.extend_from_slice(&MAGIC);
    payload.extend_from_slice(&number.to_be_bytes());
    payload.push(u8::from(is_key));
}

fn read_tag(payload: &[u8]) -> Option<(u32, bool)> {
    let rest = payload.strip_prefix(&MAGIC)?;
    let (number, rest) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), *rest.first()? != 0))
}

/// A payload that was cut, shifted or mixed up does not show it.
const MAGIC: [u8; 4] = *b"tag:";

/// Behind VP8's descriptor of 5 bytes and frame header of 10; both keep their length on the way.
const PICTURE_TAG_OFFSET: usize = 15;

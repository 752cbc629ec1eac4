//! One receive position of an endpoint, the down side: it takes or drops a source's packets, writes its own header in
//! front of the shared payload and seals both into the send ring.
//!
//! Invariants: an SRTP index is used once, so that no nonce ever covers two packets; a slot without RTX repeats a packet
//! only byte for byte, and therefore never writes extensions that depend on the moment. Towards the receiver the slot is
//! one stream that never ends, whatever it shows.

use std::time::Instant;

use wire::messages::ids::{Mid, SourceName};
use wire::messages::media::{CodecParameters, Extension, Media, MediaKind};
use wire::rtcp::ReportBlock;
use wire::rtp::{PayloadType, RtpHeader, Ssrc, write_header};

use super::codecs::vp8;
use super::continuity::{Continuity, OutPosition};
use super::downlink::Downlink;
use super::drop_reason::DropReason;
use super::effects::Effects;
use super::extension_ids::{ElementList, ExtensionIds};
use super::formats::{self, Format, Mapped, Mapping};
use super::packet::{LayerRef, SharedPacket};
use super::reports::SendStats;
use super::sent::SentPackets;
use super::source::{Source, SourceRef};

/// A receive position.
pub(crate) struct Slot {
    pub mid: Mid,
    pub kind: MediaKind,
    /// Its media stream.
    pub ssrc: Ssrc,
    /// Its retransmissions; none for audio.
    pub rtx_ssrc: Option<Ssrc>,
    /// The one source it may show, if it is bound to one.
    pub pin: Option<SourceName>,
    /// What it shows.
    pub filling: Option<Filling>,
    /// It shows something else than the receiver was told last, perhaps because a source has ended.
    pub is_untold: bool,
    /// What was sent, for reports.
    pub sent: SendStats,
    /// The receiver's last word on loss, in 256ths.
    pub fraction_lost: u8,
    /// Highest number and losses of the receiver's report before.
    reported: Option<(u32, i32)>,
    /// Place of its m-line in the description.
    pub line: usize,
    codecs: Vec<CodecParameters>,
    formats: Vec<Format>,
    ids: ExtensionIds,
    continuity: Continuity,
    vp8: vp8::Rewriter,
    history: SentPackets,
    rtx_ext_seq: u64,
    /// Nothing before this may be sent again: it was sent under other numbers.
    resend_from: u64,
    /// Bytes of retransmissions the receiver may still ask for.
    resend_allowance: usize,
}

/// What a slot shows.
pub(crate) struct Filling {
    /// Which source.
    pub source: SourceRef,
    /// The layer whose packets are shown; none while it waits for one to begin with.
    pub shown: Option<LayerRef>,
    mapping: Mapping,
    clock_rate_hz: u32,
}

/// What a slot needs to get a packet out.
pub(crate) struct Outlet<'a> {
    /// The time.
    pub now: Instant,
    /// The receiver's keys and address.
    pub down: &'a mut Downlink,
    /// Ring, buffers, counters.
    pub fx: &'a mut Effects,
}

/// A packet on its way out.
struct Outgoing<'a> {
    packet: &'a SharedPacket<'a>,
    mapped: Mapped,
    position: OutPosition,
    marker: bool,
    numbers: vp8::Numbers,
}

impl Slot {
    /// An empty slot for one m-line, with streams nobody else has.
    pub(crate) fn new(
        media: &Media,
        (ssrc, rtx_ssrc): (Ssrc, Option<Ssrc>),
        random: &mut impl rand::Rng,
    ) -> Self {
        Self {
            mid: media.mid.clone(),
            kind: media.kind,
            ssrc,
            rtx_ssrc,
            pin: None,
            filling: None,
            is_untold: false,
            sent: SendStats::default(),
            fraction_lost: 0,
            reported: None,
            line: 0,
            codecs: media.codecs.clone(),
            formats: formats::formats(&media.codecs),
            ids: ExtensionIds::of(&media.extensions),
            continuity: Continuity::new(random.random(), random.random()),
            vp8: vp8::Rewriter::default(),
            history: SentPackets::default(),
            rtx_ext_seq: u64::from(random.random::<u16>() & 0x7fff),
            resend_from: 0,
            resend_allowance: RESEND_BYTES_FIRST,
        }
    }

    /// Takes over what a new description says about the m-line.
    pub(crate) fn renew(&mut self, media: &Media) {
        self.codecs.clone_from(&media.codecs);
        self.formats = formats::formats(&media.codecs);
        self.ids = ExtensionIds::of(&media.extensions);
        self.resend_from = self.continuity.highest() + 1;
    }

    /// Shows `source`, at place `place`, from its next fitting packet on.
    pub(crate) fn fill(&mut self, place: usize, source: &Source) {
        let mapping = formats::map(&source.formats, &self.formats, &self.codecs);
        let clock_rate_hz = source.codecs.first().map_or(VIDEO_CLOCK_HZ, |codec| codec.clock_rate_hz);
        if self.kind == MediaKind::Video {
            self.history.prepare();
        }
        self.is_untold = true;
        self.filling =
            Some(Filling { source: SourceRef { id: source.id, place }, shown: None, mapping, clock_rate_hz });
    }

    /// Finds the payload types anew, after either side has changed them.
    pub(crate) fn remap(&mut self, source: &Source) {
        let Some(filling) = &mut self.filling else { return };
        let mapping = formats::map(&source.formats, &self.formats, &self.codecs);
        if mapping != filling.mapping {
            filling.mapping = mapping;
            // Older packets were noted by their place in the old list: they would go out under another codec's number.
            self.resend_from = self.continuity.highest() + 1;
        }
    }

    /// Shows nothing. The receiver's stream only pauses.
    pub(crate) fn clear(&mut self) {
        self.is_untold |= self.filling.is_some();
        self.filling = None;
    }

    /// Some codec of `source` can be shown here.
    pub(crate) fn can_show(&self, source: &Source) -> bool {
        self.kind == source.kind && formats::share(&source.formats, &self.formats)
    }

    /// Takes or drops one packet of the source it shows; the bytes sent.
    pub(crate) fn forward(
        &mut self,
        packet: &SharedPacket<'_>,
        outlet: &mut Outlet<'_>,
    ) -> Result<usize, DropReason> {
        let Some(filling) = &mut self.filling else { return Err(DropReason::NoSlot) };
        if !outlet.down.is_ready() {
            return Err(DropReason::ReceiverNotReady);
        }
        let mapped = filling.mapping.get(usize::from(packet.notes.codec)).copied().flatten();
        let Some(mapped) = mapped else { return Err(DropReason::CodecMismatch) };
        if filling.shown != Some(packet.layer) || self.continuity.is_leap(packet.ext_seq) {
            may_begin(self.kind, packet)?;
            filling.shown = Some(packet.layer);
            self.continuity.begin(outlet.now, packet.ext_seq, packet.notes.timestamp, filling.clock_rate_hz);
            self.vp8.switch();
        }
        let position = self.continuity.position(packet.ext_seq, packet.notes.timestamp);
        let Some(position) = position else { return Err(DropReason::BeforeSwitch) };
        let numbers = match &packet.notes.vp8 {
            Some(descriptor) => self.vp8.rewrite(descriptor).ok_or(DropReason::BeforeSwitch)?,
            None => vp8::Numbers::default(),
        };
        let outgoing = Outgoing { packet, mapped, position, marker: self.marker(packet, position), numbers };
        let bytes = self.seal_media(&outgoing, outlet)?;
        self.continuity.note_sent(outlet.now, position);
        self.history.note(position.ext_seq, numbers);
        self.sent.handle_sent(packet.payload().len());
        self.resend_allowance = (self.resend_allowance + bytes / RESEND_SHARE).min(RESEND_BYTES_MAX);
        Ok(bytes)
    }

    /// Sends a packet again that the receiver knows as `sequence`; the bytes sent (RFC 4585, 6.2.1; RFC 4588).
    pub(crate) fn resend(
        &mut self,
        sequence: u16,
        source: &Source,
        outlet: &mut Outlet<'_>,
    ) -> Result<usize, DropReason> {
        let Some(filling) = &self.filling else { return Err(DropReason::NoSlot) };
        let Some(layer) = filling.shown.filter(|shown| source.layer_ref(shown.index) == *shown) else {
            return Err(DropReason::NotInCache);
        };
        let ext_seq = self.continuity.source_of(sequence).ok_or(DropReason::NotInCache)?;
        let packet = source.packet(layer.index, ext_seq).ok_or(DropReason::NotInCache)?;
        let position = self.continuity.position(ext_seq, packet.notes.timestamp);
        let position = position.filter(|position| position.ext_seq >= self.resend_from);
        let Some(position) = position else { return Err(DropReason::NotInCache) };
        let Some(sent) = self.history.packet(outlet.now, position.ext_seq) else {
            // Never sent, because it overtook the key frame's first packet: it is sent now, for the first time.
            let is_unsent = self.history.covers(position.ext_seq, self.continuity.highest());
            return if is_unsent { self.forward(&packet, outlet) } else { Err(DropReason::NotInCache) };
        };
        // The first time it is believed: whoever misses a packet has got a later one. A repair is given its time.
        if sent.repaired.is_some_and(|age| age < outlet.down.resend_pause) {
            return Err(DropReason::AlreadyOnItsWay);
        }
        let mapped = filling.mapping.get(usize::from(packet.notes.codec)).copied().flatten();
        let Some(mapped) = mapped else { return Err(DropReason::CodecMismatch) };
        if self.resend_allowance < packet.bytes.len() {
            return Err(DropReason::RetransmissionLimit);
        }
        let marker = self.marker(&packet, position);
        let outgoing = Outgoing { packet: &packet, mapped, position, marker, numbers: sent.numbers };
        let bytes = match (mapped.rtx_payload_type.and_then(PayloadType::new), self.rtx_ssrc) {
            (Some(payload_type), Some(ssrc)) => self.seal_rtx(&outgoing, (payload_type, ssrc), outlet)?,
            _ => self.seal_media(&outgoing, outlet)?,
        };
        self.history.note_repaired(outlet.now, position.ext_seq);
        self.resend_allowance = self.resend_allowance.saturating_sub(bytes);
        Ok(bytes)
    }

    /// The last packet of a frame; the first one of a voice the receiver has not heard just before.
    fn marker(&self, packet: &SharedPacket<'_>, position: OutPosition) -> bool {
        packet.notes.marker || (self.kind == MediaKind::Audio && self.continuity.is_first(position))
    }

    fn seal_media(&self, outgoing: &Outgoing<'_>, outlet: &mut Outlet<'_>) -> Result<usize, DropReason> {
        let payload_type = PayloadType::new(outgoing.mapped.payload_type).ok_or(DropReason::CodecMismatch)?;
        let header = RtpHeader {
            marker: outgoing.marker,
            payload_type,
            sequence: outgoing.position.ext_seq as u16,
            timestamp: outgoing.position.timestamp,
            ssrc: self.ssrc,
        };
        let is_repeatable = self.rtx_ssrc.is_some() && outgoing.mapped.rtx_payload_type.is_none();
        let header_len = self.write_header(&header, outgoing.packet, is_repeatable, outlet)?;
        let Outlet { down, fx, .. } = outlet;
        let shared = outgoing.packet.payload();
        let renumbered = outgoing.packet.notes.vp8.map(|descriptor| descriptor.renumbered(outgoing.numbers));
        let payload = match &renumbered {
            // Until the slot changes what it shows, its numbers are the source's: nothing to copy.
            Some(descriptor) if !shared.starts_with(descriptor.as_bytes()) => {
                let copy = fx.scratch.payload.get_mut(..shared.len()).ok_or(DropReason::TooLarge)?;
                copy.copy_from_slice(shared);
                copy[..descriptor.len()].copy_from_slice(descriptor.as_bytes());
                &*copy
            }
            _ => shared,
        };
        down.seal_rtp(outgoing.position.ext_seq, &fx.scratch.header[..header_len], payload, &mut fx.ring)
    }

    /// RFC 4588, 4: the original sequence number, then the original payload, under a stream of its own.
    fn seal_rtx(
        &mut self,
        outgoing: &Outgoing<'_>,
        (payload_type, ssrc): (PayloadType, Ssrc),
        outlet: &mut Outlet<'_>,
    ) -> Result<usize, DropReason> {
        self.rtx_ext_seq += 1;
        let header = RtpHeader {
            marker: outgoing.marker,
            payload_type,
            sequence: self.rtx_ext_seq as u16,
            timestamp: outgoing.position.timestamp,
            ssrc,
        };
        let header_len = self.write_header(&header, outgoing.packet, false, outlet)?;
        let Outlet { down, fx, .. } = outlet;
        let shared = outgoing.packet.payload();
        let copy = fx.scratch.payload.get_mut(..2 + shared.len()).ok_or(DropReason::TooLarge)?;
        copy[..2].copy_from_slice(&(outgoing.position.ext_seq as u16).to_be_bytes());
        copy[2..].copy_from_slice(shared);
        if let Some(descriptor) = &outgoing.packet.notes.vp8 {
            let descriptor = descriptor.renumbered(outgoing.numbers);
            copy[2..2 + descriptor.len()].copy_from_slice(descriptor.as_bytes());
        }
        down.seal_rtp(self.rtx_ext_seq, &fx.scratch.header[..header_len], copy, &mut fx.ring)
    }

    /// Writes the header with the receiver's extension numbers. RID is never among them: the slot is one stream.
    fn write_header(
        &self,
        header: &RtpHeader,
        packet: &SharedPacket<'_>,
        is_repeatable: bool,
        outlet: &mut Outlet<'_>,
    ) -> Result<usize, DropReason> {
        let notes = &packet.notes;
        let level = notes.audio_level.map(|byte| [byte]);
        let orientation = notes.video_orientation.map(|byte| [byte]);
        let send_time = outlet.fx.send_time(outlet.now).to_bytes();
        let mut elements = ElementList::new(&self.ids);
        elements.push(Extension::Mid, Some(self.mid.as_str().as_bytes()));
        elements.push(Extension::AudioLevel, level.as_ref().map(<[u8; 1]>::as_slice));
        elements.push(Extension::VideoOrientation, orientation.as_ref().map(<[u8; 1]>::as_slice));
        elements.push(Extension::PlayoutDelay, notes.playout_delay.as_ref().map(<[u8; 3]>::as_slice));
        elements.push(Extension::DependencyDescriptor, packet.dependency_descriptor());
        let sequence;
        if !is_repeatable {
            elements.push(Extension::AbsSendTime, Some(&send_time));
            if self.ids.id(Extension::TransportCc).is_some() {
                sequence = outlet.down.next_transport_sequence().to_bytes();
                elements.push(Extension::TransportCc, Some(&sequence));
            }
        }
        write_header(&mut outlet.fx.scratch.header[..], header, elements.as_slice())
            .map_err(|_| DropReason::RtpMalformed)
    }

    /// Takes the receiver's report on the media stream: how many packets it newly covers, and how many of them were lost.
    pub(crate) fn note_report(&mut self, block: &ReportBlock) -> (u64, u64) {
        self.fraction_lost = block.fraction_lost;
        let Some((highest, lost)) = self.reported.replace((block.highest_sequence, block.lost)) else {
            return (0, 0);
        };
        // A report that goes backwards, or leaps, is a wrong one: it is not counted.
        let newly = u64::from(block.highest_sequence.wrapping_sub(highest));
        if newly > REPORTED_MAX {
            return (0, 0);
        }
        let lost = u64::try_from(i64::from(block.lost) - i64::from(lost)).unwrap_or(0);
        (newly, lost.min(newly))
    }

    /// The slot's timestamp at an instant of our timeline at which the shown source's stands at `timestamp`.
    pub(crate) fn timestamp_of(&self, timestamp: u32) -> u32 {
        timestamp.wrapping_add(self.continuity.timestamp_offset())
    }

    /// The newest packet's timestamp and when it was sent.
    pub(crate) fn newest(&self) -> Option<(u32, Instant)> {
        self.continuity.sent_at().map(|at| (self.continuity.newest_timestamp(), at))
    }

    /// How fast the shown source ticks.
    pub(crate) fn clock_rate_hz(&self) -> u32 {
        self.filling.as_ref().map_or(VIDEO_CLOCK_HZ, |filling| filling.clock_rate_hz)
    }
}

/// The packet may be the first of what the slot shows from now on.
fn may_begin(kind: MediaKind, packet: &SharedPacket<'_>) -> Result<(), DropReason> {
    if !packet.is_wanted {
        return Err(DropReason::LayerNotWanted);
    }
    if kind == MediaKind::Video && !packet.notes.is_key_frame {
        return Err(DropReason::NotAKeyFrame);
    }
    Ok(())
}

/// RFC 6184, 7741, 9628: every video codec here ticks so.
const VIDEO_CLOCK_HZ: u32 = 90_000;

/// Retransmissions may take a quarter of what the slot sends: 20 % of loss, and the loss among its repairs.
const RESEND_SHARE: usize = 4;

/// A whole key frame may be asked for again before the share has added up.
const RESEND_BYTES_FIRST: usize = 32 * 1024;

/// A report covers a second or two; no slot sends so many packets in a minute.
const REPORTED_MAX: u64 = 100_000;

/// Saved up, and no more: half a second of a 1 Mbit/s picture.
const RESEND_BYTES_MAX: usize = 64 * 1024;

//! The way from one browser: its keys, its streams, and what is noted of each packet before it is shared.

use std::time::Instant;

use slab::Slab;
use wire::messages::media::Extension;
use wire::rtcp::ArrivalRecorder;
use wire::rtp::RtpView;
use wire::rtp::extensions::{TransportSequence, parse_text};
use wire::srtp::{Opener, ReplayWindow, SrtpError};

use super::drop_reason::DropReason;
use super::effects::Scratch;
use super::extension_ids::ExtensionIds;
use super::nack::Arrival;
use super::packet::Notes;
use super::rate::TokenBucket;
use super::reports::SenderClock;
use super::rtx::receive_retransmission;
use super::source::{Carried, Source};
use super::streams::{Binding, STREAMS_MAX, StreamTable};

/// One browser's sending side.
pub(crate) struct Uplink {
    /// None until the handshake is done.
    pub opener: Option<Opener>,
    pub streams: StreamTable,
    /// Places of its sources in the conference.
    pub sources: Vec<usize>,
    /// The header extensions' numbers: one set for all m-lines, as BUNDLE demands (RFC 9143, 9.1).
    pub ids: ExtensionIds,
    /// When packets arrived, for the browser's congestion control.
    pub arrivals: ArrivalRecorder,
    /// The browser's NTP clock against ours.
    pub clock: SenderClock,
    /// Windows of the browser's RTCP senders, by SSRC. Few: a browser has one or two for each m-line.
    rtcp_windows: Vec<(u32, ReplayWindow)>,
    allowance: TokenBucket,
    /// Apart from the media's: a byte of RTCP costs far more work than one of media.
    rtcp_allowance: TokenBucket,
    /// Streams it may still begin: each costs a cache.
    beginnings: TokenBucket,
}

/// A media packet that is now in its layer's cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived {
    /// Place of its source in the conference.
    pub source: usize,
    /// Its layer.
    pub layer: u8,
    /// Its number.
    pub ext_seq: u64,
    /// Its sampling instant, on the sender's clock.
    pub timestamp: u32,
    /// What its arrival meant.
    pub arrival: Arrival,
}

/// The first packet of a stream, opened aside.
pub(crate) struct FirstPacket {
    length: usize,
    window: ReplayWindow,
    binding: Option<Binding>,
}

impl Uplink {
    /// A browser that has sent nothing.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            opener: None,
            streams: StreamTable::default(),
            sources: Vec::new(),
            ids: ExtensionIds::default(),
            arrivals: ArrivalRecorder::new(now),
            clock: SenderClock::default(),
            rtcp_windows: Vec::new(),
            allowance: TokenBucket::new(now, BYTES_PER_SECOND, BYTES_BURST),
            rtcp_allowance: TokenBucket::new(now, RTCP_BYTES_PER_SECOND, RTCP_BYTES_BURST),
            beginnings: TokenBucket::new(now, BEGINNINGS_PER_SECOND, STREAMS_MAX as u32),
        }
    }

    /// Takes up the keys of an association. Under new keys no old packet can be replayed.
    pub(crate) fn set_opener(&mut self, opener: Opener) {
        self.opener = Some(opener);
        self.streams.forget_heard();
        self.rtcp_windows.clear();
    }

    /// Opens a packet of a stream heard before, at `position` among the streams, into its layer's cache.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        (view, position): (&RtpView<'_>, usize),
        sources: &mut Slab<Source>,
        scratch: &mut Scratch,
    ) -> Result<Arrived, DropReason> {
        self.admit(now, view)?;
        let Self { opener, streams, ids, arrivals, .. } = self;
        let opener = opener.as_ref().ok_or(DropReason::NoKeys)?;
        let (binding, window) = streams.stream(position);
        match binding {
            Binding::Media { source, layer } => {
                let arrived = open_media(now, (view, opener, window, ids), (source, layer), sources)?;
                note_transport(now, view, ids, arrivals);
                Ok(arrived)
            }
            Binding::Retransmissions { source, layer } => {
                let length = open_aside(opener, window, view, scratch)?;
                note_transport(now, view, ids, arrivals);
                receive_retransmission(now, &scratch.opened[..length], ids, (source, layer), sources)
            }
            Binding::Ended => {
                let length = open_aside(opener, window, view, scratch)?;
                note_transport(now, view, ids, arrivals);
                let plain = &scratch.opened[..length];
                let binding = self.identify(plain, sources).ok_or(DropReason::UnknownSsrc)?;
                self.ensure_beginning(now)?;
                self.streams.rebind(position, binding);
                self.begin(now, plain, binding, sources)
            }
        }
    }

    /// Opens the first packet of a stream aside. Nothing is kept of it yet; `take_up` does that.
    pub(crate) fn open_first(
        &mut self,
        now: Instant,
        view: &RtpView<'_>,
        sources: &Slab<Source>,
        scratch: &mut Scratch,
    ) -> Result<FirstPacket, DropReason> {
        self.admit(now, view)?;
        let opener = self.opener.as_ref().ok_or(DropReason::NoKeys)?;
        let mut window = ReplayWindow::new();
        let length = open_aside(opener, &mut window, view, scratch)?;
        note_transport(now, view, &self.ids, &mut self.arrivals);
        let binding = self.identify(&scratch.opened[..length], sources);
        Ok(FirstPacket { length, window, binding })
    }

    /// Takes up the stream of a packet that `open_first` has just opened, if it belongs to a source announced here.
    pub(crate) fn take_up(
        &mut self,
        now: Instant,
        first: FirstPacket,
        sources: &mut Slab<Source>,
        scratch: &Scratch,
    ) -> Result<Arrived, DropReason> {
        let binding = first.binding.ok_or(DropReason::UnknownSsrc)?;
        let plain = &scratch.opened[..first.length];
        let view = RtpView::parse(plain).map_err(|_| DropReason::RtpMalformed)?;
        self.ensure_beginning(now)?;
        self.streams.insert(view.ssrc().0, binding, first.window);
        self.begin(now, plain, binding, sources)
    }

    /// Opens an RTCP datagram into `out`.
    pub(crate) fn open_rtcp(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), DropReason> {
        let opener = self.opener.as_ref().ok_or(DropReason::NoKeys)?;
        let Some(&[a, b, c, d]) = datagram.get(4..8) else { return Err(DropReason::RtcpMalformed) };
        if !self.rtcp_allowance.take(now, datagram.len()) {
            return Err(DropReason::OverRate);
        }
        let ssrc = u32::from_be_bytes([a, b, c, d]);
        if let Some((_, window)) = self.rtcp_windows.iter_mut().find(|(each, _)| *each == ssrc) {
            return opener.open_rtcp(window, datagram, out).map_err(reason);
        }
        let mut window = ReplayWindow::new();
        opener.open_rtcp(&mut window, datagram, out).map_err(reason)?;
        if self.rtcp_windows.len() == RTCP_SENDERS_MAX {
            return Err(DropReason::UnknownSsrc);
        }
        self.rtcp_windows.push((ssrc, window));
        Ok(())
    }

    /// No browser begins so many streams (HOSTILE U35).
    fn ensure_beginning(&mut self, now: Instant) -> Result<(), DropReason> {
        if self.beginnings.take(now, 1) { Ok(()) } else { Err(DropReason::UnknownSsrc) }
    }

    fn admit(&mut self, now: Instant, view: &RtpView<'_>) -> Result<(), DropReason> {
        if self.opener.is_none() {
            return Err(DropReason::NoKeys);
        }
        if self.allowance.take(now, view.packet().len()) { Ok(()) } else { Err(DropReason::OverRate) }
    }

    /// What a stream not heard before is: as announced, or as its own MID and RID say (RFC 9143, 9.2; RFC 8852).
    fn identify(&self, plain: &[u8], sources: &Slab<Source>) -> Option<Binding> {
        let view = RtpView::parse(plain).ok()?;
        if let Some(binding) = self.streams.announced(view.ssrc().0) {
            return Some(binding);
        }
        let text = |extension| self.ids.id(extension).and_then(|id| view.extension(id)).and_then(parse_text);
        let mid = text(Extension::Mid)?;
        let own = self.sources.iter().filter_map(|place| Some((*place, sources.get(*place)?)));
        let (source, found) = own.into_iter().find(|(_, source)| source.mid.as_str() == mid)?;
        match found.carried(view.payload_type().number()) {
            Carried::Media(_) => {
                Some(Binding::Media { source, layer: found.layer_of(text(Extension::Rid))? })
            }
            Carried::Retransmission(_) => {
                let rid = text(Extension::RepairedRid).or_else(|| text(Extension::Rid));
                Some(Binding::Retransmissions { source, layer: found.layer_of(rid)? })
            }
            Carried::Nothing => None,
        }
    }

    /// Puts the first packet of a stream, already opened, where later ones are opened to.
    fn begin(
        &self,
        now: Instant,
        plain: &[u8],
        binding: Binding,
        sources: &mut Slab<Source>,
    ) -> Result<Arrived, DropReason> {
        match binding {
            Binding::Media { source: place, layer } => {
                let source = sources.get_mut(place).ok_or(DropReason::UnknownSsrc)?;
                let view = RtpView::parse(plain).map_err(|_| DropReason::RtpMalformed)?;
                source.begin_stream(layer, view.ssrc().0);
                keep(now, &view, &self.ids, (place, layer), source)
            }
            Binding::Retransmissions { source, layer } => {
                receive_retransmission(now, plain, &self.ids, (source, layer), sources)
            }
            Binding::Ended => Err(DropReason::UnknownSsrc),
        }
    }
}

/// The packet's walk on the way up: opened once, into the place where it stays.
fn open_media(
    now: Instant,
    (view, opener, window, ids): (&RtpView<'_>, &Opener, &mut ReplayWindow, &ExtensionIds),
    (place, index): (usize, u8),
    sources: &mut Slab<Source>,
) -> Result<Arrived, DropReason> {
    let source = sources.get_mut(place).ok_or(DropReason::UnknownSsrc)?;
    let Carried::Media(codec_place) = source.carried(view.payload_type().number()) else {
        return Err(DropReason::UnknownPayloadType);
    };
    let codec = source.codecs[usize::from(codec_place)].codec;
    let layer = &mut source.layers[usize::from(index)];
    let ext_seq = layer.extender.guess(view.sequence());
    let datagram = view.packet();
    layer.cache.write(ext_seq, datagram.len(), |out| {
        let payload_len = opener.open_rtp(window, datagram, view.header_len(), out).map_err(reason)?;
        let length = view.header_len() + payload_len;
        Notes::of(&out[..length], ids, codec_place, codec).map(|notes| (length, notes))
    })?;
    let timestamp = view.timestamp();
    let arrival = layer.note_media(now, ext_seq, timestamp)?;
    Ok(Arrived { source: place, layer: index, ext_seq, timestamp, arrival })
}

/// Opens a packet that has no place in a cache, or not yet; its plain length.
fn open_aside(
    opener: &Opener,
    window: &mut ReplayWindow,
    view: &RtpView<'_>,
    scratch: &mut Scratch,
) -> Result<usize, DropReason> {
    if view.packet().len() > scratch.opened.len() {
        return Err(DropReason::TooLarge);
    }
    let header_len = view.header_len();
    let payload_len =
        opener.open_rtp(window, view.packet(), header_len, &mut scratch.opened[..]).map_err(reason)?;
    Ok(header_len + payload_len)
}

/// Copies an opened packet into its layer's cache.
fn keep(
    now: Instant,
    view: &RtpView<'_>,
    ids: &ExtensionIds,
    (place, index): (usize, u8),
    source: &mut Source,
) -> Result<Arrived, DropReason> {
    let Carried::Media(codec_place) = source.carried(view.payload_type().number()) else {
        return Err(DropReason::UnknownPayloadType);
    };
    let codec = source.codecs[usize::from(codec_place)].codec;
    let layer = &mut source.layers[usize::from(index)];
    let ext_seq = layer.extender.guess(view.sequence());
    let plain = view.packet();
    layer.cache.write(ext_seq, plain.len(), |out| {
        out.copy_from_slice(plain);
        Notes::of(out, ids, codec_place, codec).map(|notes| (plain.len(), notes))
    })?;
    let timestamp = view.timestamp();
    let arrival = layer.note_media(now, ext_seq, timestamp)?;
    Ok(Arrived { source: place, layer: index, ext_seq, timestamp, arrival })
}

fn note_transport(now: Instant, view: &RtpView<'_>, ids: &ExtensionIds, arrivals: &mut ArrivalRecorder) {
    let value = ids.id(Extension::TransportCc).and_then(|id| view.extension(id));
    if let Some(number) = value.and_then(TransportSequence::parse) {
        arrivals.handle_packet(now, number.0);
    }
}

fn reason(error: SrtpError) -> DropReason {
    match error {
        SrtpError::Replayed => DropReason::SrtpReplayed,
        SrtpError::TooOld => DropReason::SrtpTooOld,
        SrtpError::TooShort => DropReason::RtpMalformed,
        SrtpError::NoSpace => DropReason::TooLarge,
        SrtpError::BadTag | SrtpError::Unencrypted | SrtpError::Exhausted => DropReason::SrtpBadTag,
    }
}

/// 25 Mbit/s: three simulcast layers of a camera and a screen in motion, twice.
const BYTES_PER_SECOND: u32 = 25_000_000 / 8;

/// One second of that at once: a browser that was held up may catch up.
const BYTES_BURST: u32 = BYTES_PER_SECOND;

/// 1 Mbit/s: ten times the feedback on twenty pictures. Four bytes of it may ask for seventeen packets, so a flood must
/// end long before the media's bound.
const RTCP_BYTES_PER_SECOND: u32 = 1_000_000 / 8;

/// Half a second of that at once, as after a line that was held up.
const RTCP_BYTES_BURST: u32 = 64 * 1024;

/// Above what anybody can click.
const BEGINNINGS_PER_SECOND: u32 = 1;

/// A browser sends RTCP under the SSRC of each of its streams.
const RTCP_SENDERS_MAX: usize = 128;

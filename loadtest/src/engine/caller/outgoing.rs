//! The way out: what a publisher has made gets the header that the answer agreed to, and is sealed.

use wire::messages::ids::Rid;
use wire::rtcp::FirEntry;
use wire::rtp::extensions::TransportSequence;
use wire::rtp::{RtpHeader, Ssrc, write_header};

use super::protection::Protection;
use crate::engine::counts::Counts;
use crate::engine::ports::Transmits;
use crate::engine::sdp::TrackAgreement;
use crate::engine::send::{OutPacket, Track};

/// Everything on the way out of one caller.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// In m-line order, as the publisher's.
    tracks: Vec<OutTrack>,
    /// Of the next packet with a transport-wide number.
    transport_sequence: u16,
}

#[derive(Debug)]
struct OutTrack {
    agreement: TrackAgreement,
    streams: Vec<OutStream>,
}

/// One layer.
#[derive(Debug)]
struct OutStream {
    rid: Option<Rid>,
    media: OutSsrc,
    rtx: Option<OutSsrc>,
    /// Of the last FIR (RFC 5104, 4.3.1.1).
    last_command: Option<u8>,
}

#[derive(Debug)]
struct OutSsrc {
    ssrc: Ssrc,
    /// The server has reported on it: it knows whose stream it is, and names are left out as browsers leave them out.
    is_known: bool,
}

impl Outgoing {
    /// The tracks with what was agreed about each.
    pub(super) fn new<'a>(tracks: impl Iterator<Item = (&'a Track, TrackAgreement)>) -> Self {
        let tracks = tracks.map(|(track, agreement)| {
            let streams = track.streams.iter().map(|stream| OutStream {
                rid: stream.rid.clone(),
                media: OutSsrc::new(stream.ssrc),
                rtx: stream.rtx_ssrc.map(OutSsrc::new),
                last_command: None,
            });
            OutTrack { agreement, streams: streams.collect() }
        });
        Self { tracks: tracks.collect(), transport_sequence: 0 }
    }

    /// Seals one packet and counts its bytes; the publisher has counted the packet. What was not agreed (retransmissions,
    /// with a server that has none) is left out.
    pub(super) fn send(
        &mut self,
        packet: &OutPacket<'_>,
        protection: &Protection,
        transmits: &mut Transmits,
        counts: &mut Counts,
    ) {
        let mut header = [0; HEADER_BYTES_MAX];
        let Some(header_len) = self.write_header(packet, &mut header) else { return };
        let header = (packet.index, &header[..header_len]);
        let length = protection.seal_rtp(header, packet.payload, transmits).unwrap_or(0);
        if !packet.is_rtx {
            counts.bytes_sent += length as u64;
        }
    }

    fn write_header(&mut self, packet: &OutPacket<'_>, out: &mut [u8]) -> Option<usize> {
        let OutTrack { agreement, streams } = self.tracks.get(packet.track)?;
        let stream = streams.get(packet.stream)?;
        let (own, payload_type, rid_id) = match packet.is_rtx {
            true => (stream.rtx.as_ref()?, agreement.rtx_payload_type?, agreement.repaired_rid_id),
            false => (&stream.media, agreement.payload_type, agreement.rid_id),
        };
        let level = packet.audio_level.map(|level| level.to_bytes());
        let sequence = TransportSequence(self.transport_sequence).to_bytes();
        let rid = stream.rid.as_ref().map(|rid| rid.as_str().as_bytes());
        let named = |id: Option<u8>| id.filter(|_| !own.is_known);
        let elements = [
            element(agreement.audio_level_id, level.as_ref().map(|it| &it[..])),
            element(agreement.transport_cc_id, Some(&sequence)),
            element(named(agreement.mid_id), Some(agreement.mid.as_bytes())),
            element(named(rid_id), rid),
        ];
        let mut used = [(0, &[][..]); 4];
        let mut count = 0;
        for element in elements.into_iter().flatten() {
            used[count] = element;
            count += 1;
        }
        let header = RtpHeader {
            marker: packet.marker,
            payload_type,
            sequence: packet.index as u16,
            timestamp: packet.timestamp,
            ssrc: own.ssrc,
        };
        let length = write_header(out, &header, &used[..count]).ok()?;
        if agreement.transport_cc_id.is_some() {
            self.transport_sequence = self.transport_sequence.wrapping_add(1);
        }
        Some(length)
    }

    /// What is missed of this stream can be sent again.
    pub(super) fn repairs(&self, media: Ssrc) -> bool {
        let mut tracks = self.tracks.iter().filter(|track| track.agreement.rtx_payload_type.is_some());
        tracks.any(|track| track.streams.iter().any(|own| own.media.ssrc == media && own.rtx.is_some()))
    }

    /// The server has reported on this stream.
    pub(super) fn acknowledge(&mut self, ssrc: Ssrc) {
        let streams = self.tracks.iter_mut().flat_map(|track| &mut track.streams);
        let own = streams.flat_map(|stream| std::iter::once(&mut stream.media).chain(&mut stream.rtx));
        own.filter(|own| own.ssrc == ssrc).for_each(|own| own.is_known = true);
    }

    /// RFC 5104, 4.3.1.2: a FIR with the number of the one before is that one, come again.
    pub(super) fn is_new_command(&mut self, entry: FirEntry) -> bool {
        let mut streams = self.tracks.iter_mut().flat_map(|track| &mut track.streams);
        let stream = streams.find(|stream| stream.media.ssrc == entry.media);
        stream.is_some_and(|stream| stream.last_command.replace(entry.command) != Some(entry.command))
    }
}

impl OutSsrc {
    fn new(ssrc: Ssrc) -> Self {
        Self { ssrc, is_known: false }
    }
}

/// An element whose extension was agreed and whose value is there.
fn element(id: Option<u8>, value: Option<&[u8]>) -> Option<(u8, &[u8])> {
    Some((id?, value?))
}

/// 12, 4 and elements of at most 2, 3, 4 and 17 bytes, padded.
const HEADER_BYTES_MAX: usize = 48;

//! Retransmissions from a browser (RFC 4588): unwrapped and put back into their stream.

use std::time::Instant;

use slab::Slab;
use wire::rtp::{HeaderMut, PayloadType, RtpView, Ssrc};

use super::drop_reason::DropReason;
use super::extension_ids::ExtensionIds;
use super::nack::Arrival;
use super::packet::Notes;
use super::source::{Carried, Source};
use super::uplink::Arrived;

/// RFC 4588, 4: a retransmission is the original packet with its sequence number in front of the payload. It is put back
/// into its stream if it is missing there, and then it is forwarded like any other; browsers also send copies of what
/// arrived long ago, only to probe their line.
pub(crate) fn receive_retransmission(
    now: Instant,
    plain: &[u8],
    ids: &ExtensionIds,
    (place, index): (usize, u8),
    sources: &mut Slab<Source>,
) -> Result<Arrived, DropReason> {
    let view = RtpView::parse(plain).map_err(|_| DropReason::RtpMalformed)?;
    let source = sources.get_mut(place).ok_or(DropReason::UnknownSsrc)?;
    let Carried::Retransmission(codec_place) = source.carried(view.payload_type().number()) else {
        return Err(DropReason::UnknownPayloadType);
    };
    let codec = &source.codecs[usize::from(codec_place)];
    let payload_type = PayloadType::new(codec.payload_type).ok_or(DropReason::UnknownPayloadType)?;
    let layer = &mut source.layers[usize::from(index)];
    let (Some(ssrc), Some(newest), Some((original, payload))) =
        (layer.ssrc, layer.extender.highest(), view.payload().split_first_chunk::<2>())
    else {
        return Err(DropReason::RtxUnusable);
    };
    let sequence = u16::from_be_bytes(*original);
    let ext_seq = layer.extender.guess(sequence);
    if ext_seq > newest
        || payload.is_empty()
        || layer.losses.handle_packet(now, ext_seq) != Arrival::Recovered
    {
        return Err(DropReason::RtxUnusable);
    }
    let (header, timestamp) = (view.header(), view.timestamp());
    layer.cache.write(ext_seq, header.len() + payload.len(), |out| {
        out[..header.len()].copy_from_slice(header);
        out[header.len()..].copy_from_slice(payload);
        // The padding belonged to the retransmission.
        out[0] &= !PADDING_BIT;
        let mut writer = HeaderMut::new(out).map_err(|_| DropReason::RtpMalformed)?;
        writer.set_payload_type(payload_type);
        writer.set_sequence(sequence);
        writer.set_ssrc(Ssrc(ssrc));
        Notes::of(out, ids, codec_place, codec.codec).map(|notes| (out.len(), notes))
    })?;
    Ok(Arrived { source: place, layer: index, ext_seq, timestamp, arrival: Arrival::Recovered })
}

/// RFC 3550, 5.1.
const PADDING_BIT: u8 = 0x20;

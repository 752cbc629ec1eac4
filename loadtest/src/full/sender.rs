//! Puts a publisher's packets on the tracks of a connection, each when it is due.

use std::sync::Arc;
use std::time::Instant;

use rtc::rtp;
use tokio::sync::watch;
use webrtc::media_stream::track_local::TrackLocal as _;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use super::answer::Format;
use super::books::SharedBooks;
use crate::engine::send::{OutPacket, Track};

/// One track as it is sent.
pub(super) struct Lane {
    pub(super) local: Arc<TrackLocalStaticRTP>,
    pub(super) track: Track,
    /// None: the server does not want it.
    pub(super) format: Option<Format>,
}

/// Waits for keys, then sends until it is aborted. Repairs are not sent here: the crate's own answer to requests.
pub(super) async fn send(books: SharedBooks, lanes: Vec<Lane>, mut is_connected: watch::Receiver<bool>) {
    if is_connected.wait_for(|is_connected| *is_connected).await.is_err() {
        return;
    }
    let mut due: Vec<(usize, rtp::Packet)> = Vec::new();
    loop {
        let Some(next) = books.open().publisher.next_timeout() else { return };
        tokio::time::sleep_until(next.into()).await;
        books.open().due(Instant::now(), &mut |packet| {
            let Some(lane) = lanes.get(packet.track) else { return };
            if let Some(written) = lane.write(&packet) {
                due.push((packet.track, written));
            }
        });
        for (track, packet) in due.drain(..) {
            // A connection that has closed takes nothing more; whoever waits for its notes knows already.
            let _ = lanes[track].local.write_rtp(packet).await;
        }
    }
}

impl Lane {
    fn write(&self, packet: &OutPacket<'_>) -> Option<rtp::Packet> {
        let format = self.format.as_ref()?;
        let stream = self.track.streams.get(packet.stream)?;
        if packet.is_rtx {
            return None;
        }
        let mut header = rtp::header::Header {
            version: 2,
            marker: packet.marker,
            payload_type: format.payload_type,
            // The low half of the index is what travels (RFC 3711, 3.3.1).
            sequence_number: (packet.index & 0xffff) as u16,
            timestamp: packet.timestamp,
            ssrc: stream.ssrc.0,
            ..rtp::header::Header::default()
        };
        let mut extend = |id: Option<u8>, value: Vec<u8>| {
            // Invariant: ids are 1 to 14 and values at most 16 bytes, which one-byte headers hold (RFC 8285, 4.2).
            let _ = id.map(|id| header.set_extension(id, value.into()));
        };
        if let Some(level) = packet.audio_level {
            extend(format.audio_level_id, level.to_bytes().to_vec());
        }
        if let Some(rid) = &stream.rid {
            extend(format.mid_id, format.mid.clone().into_bytes());
            extend(format.rid_id, rid.to_string().into_bytes());
        }
        Some(rtp::Packet { header, payload: packet.payload.to_vec().into() })
    }
}

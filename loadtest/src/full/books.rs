//! What one full caller sends, is shown and counts: the same publisher and viewer as a light caller's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::rtp;
use rtc::shared::marshal::{Marshal as _, MarshalSize as _};
use tokio::sync::mpsc::UnboundedSender;
use wire::rtcp::{NtpTime, Packet};
use wire::rtp::{RtpView, Ssrc};

use crate::engine::counts::Counts;
use crate::engine::ports::{CallerPlan, Note};
use crate::engine::receive::{SlotIds, Viewer};
use crate::engine::results::Results;
use crate::engine::send::{OutPacket, Publisher, Track};

/// One caller's books, open to its connection, its sender and whoever samples. Nobody holds them across an await.
#[derive(Clone)]
pub(crate) struct SharedBooks(Arc<Mutex<Books>>);

impl SharedBooks {
    pub(crate) fn new(plan: &CallerPlan, notes: UnboundedSender<(Instant, Note)>) -> Self {
        Self(Arc::new(Mutex::new(Books {
            viewer: Viewer::new(plan),
            publisher: Publisher::new(plan),
            notes,
            counts: Counts::default(),
            rtx_ssrcs: Vec::new(),
            repairs: Vec::new(),
            mid_id: None,
            is_reachable: false,
            requests: Vec::new(),
            found: Vec::new(),
            is_closed: false,
        })))
    }

    /// The books, for a moment.
    pub(crate) fn open(&self) -> MutexGuard<'_, Books> {
        // Counters are whole after every line: what a panic elsewhere left is still true.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`SharedBooks`].
pub(crate) struct Books {
    pub(crate) viewer: Viewer,
    pub(crate) publisher: Publisher,
    notes: UnboundedSender<(Instant, Note)>,
    /// What the connection did, beside what viewer and publisher count themselves.
    counts: Counts,
    /// Own streams that carry repairs: one for each layer.
    rtx_ssrcs: Vec<u32>,
    /// The server's streams of repairs, as far as its answer names them.
    repairs: Vec<Repair>,
    /// Id of the mid extension, if negotiated.
    mid_id: Option<u8>,
    /// The crate's checks are answered.
    is_reachable: bool,
    /// Room for what the viewer writes.
    requests: Vec<u8>,
    /// Room for what the viewer finds.
    found: Vec<Note>,
    is_closed: bool,
}

impl Books {
    /// The streams that the server will send, and the mid extension's id.
    pub(crate) fn take_slots(&mut self, slots: &[SlotIds], mid_id: Option<u8>) {
        let named = slots.iter().filter_map(|slot| {
            let (own, media) = (slot.rtx_ssrc?.0, slot.ssrc?.0);
            Some(Repair { own, media, payload_type: slot.payload_type })
        });
        self.repairs = named.collect();
        self.viewer.take_slots(slots);
        self.mid_id = mid_id;
    }

    /// Whether the crate's checks are answered.
    pub(crate) fn set_reachable(&mut self, is_reachable: bool) {
        self.is_reachable = is_reachable;
    }

    /// Says something to whoever waits for notes.
    pub(crate) fn note(&mut self, now: Instant, note: Note) {
        // Nobody may listen any more: the caller has hung up.
        let _ = self.notes.send((now, note));
    }

    /// An authentic packet as it came.
    pub(crate) fn handle_rtp(&mut self, now: Instant, packet: &rtp::Packet) {
        let Ok(bytes) = packet.marshal() else { return };
        let Ok(view) = RtpView::parse(&bytes) else { return };
        let Some(key) = self.viewer.stream(&view, self.mid_id) else {
            self.counts.packets_strange += 1;
            return;
        };
        self.viewer.handle_packet(now, key, (&view, bytes.len() + TAG_BYTES), &mut self.found);
        for note in std::mem::take(&mut self.found) {
            self.note(now, note);
        }
    }

    /// RFC 4588, 4: a repair becomes the packet that it repeats. What repeats nothing, or is no repair, stays as it is.
    pub(crate) fn unwrap_repair(&self, packet: &mut rtp::Packet) {
        let Some(repair) = self.repairs.iter().find(|repair| repair.own == packet.header.ssrc) else {
            return;
        };
        let Some(sequence) = packet.payload.first_chunk() else { return };
        packet.header.sequence_number = u16::from_be_bytes(*sequence);
        packet.header.ssrc = repair.media;
        packet.header.payload_type = repair.payload_type;
        packet.payload = packet.payload.slice(2..);
    }

    /// What the server says of our streams and of its own.
    pub(crate) fn handle_rtcp(&mut self, now: Instant, compound: &[Box<dyn rtcp::Packet>]) {
        for packet in compound.iter().map(|packet| packet.as_any()) {
            if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                self.counts.nacks_received += sequences(nack);
            } else if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
                self.publisher.handle_key_frame_request(now, Ssrc(pli.media_ssrc));
            } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
                for entry in &fir.fir {
                    self.publisher.handle_key_frame_request(now, Ssrc(entry.ssrc));
                }
            } else if let Some(report) = packet.downcast_ref::<SenderReport>() {
                self.viewer.handle_sender_report(now, Ssrc(report.ssrc), NtpTime(report.ntp_time));
            }
        }
    }

    /// A packet on its way out.
    pub(crate) fn note_sent_rtp(&mut self, packet: &rtp::Packet) {
        if self.rtx_ssrcs.contains(&packet.header.ssrc) {
            self.counts.retransmissions_sent += 1;
            return;
        }
        self.counts.packets_sent += 1;
        self.counts.bytes_sent += (packet.marshal_size() + TAG_BYTES) as u64;
    }

    /// Requests and feedback on their way out. Requests for key frames are counted where they are made.
    pub(crate) fn note_sent_rtcp(&mut self, compound: &[Box<dyn rtcp::Packet>]) {
        for packet in compound.iter().map(|packet| packet.as_any()) {
            if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                self.counts.nacks_sent += sequences(nack);
            } else if packet.is::<TransportLayerCc>() {
                self.counts.feedback_sent += 1;
            }
        }
    }

    /// When [`Self::key_frame_requests`] has something to do.
    pub(crate) fn next_request(&self) -> Option<Instant> {
        self.viewer.next_timeout()
    }

    /// What the viewer is due to ask for and the crate does not: key frames. Its reports and requests for packets stay
    /// unsent, because the crate's interceptors write their own.
    pub(crate) fn key_frame_requests(&mut self, now: Instant) -> Vec<Box<dyn rtcp::Packet>> {
        self.requests.clear();
        if self.is_reachable {
            self.viewer.handle_sign_of_life(now);
        }
        if self.viewer.next_timeout().is_some_and(|at| at <= now) {
            self.viewer.handle_timeout(now, &mut self.requests);
        }
        let packets = wire::rtcp::packets(&self.requests).flatten();
        packets.filter_map(|packet| key_frame_request(&packet)).collect()
    }

    /// Everything due to be sent, as the tracks take it.
    pub(crate) fn due(&mut self, now: Instant, send: &mut dyn FnMut(OutPacket<'_>)) {
        self.publisher.handle_timeout(now, send);
    }

    /// The tracks to be sent; their repairs are told from media by SSRC from now on.
    pub(crate) fn know_own_streams(&mut self) -> Vec<Track> {
        let tracks: Vec<Track> = self.publisher.tracks().cloned().collect();
        let streams = tracks.iter().flat_map(|track| &track.streams);
        self.rtx_ssrcs = streams.filter_map(|stream| stream.rtx_ssrc).map(|ssrc| ssrc.0).collect();
        tracks
    }

    /// Adds what was counted since the last call, and forgets it.
    pub(crate) fn take_results(&mut self, now: Instant, results: &mut Results) {
        let before = results.counts;
        self.viewer.take_results(now, results);
        self.publisher.take_counts(&mut results.counts);
        // Viewer and publisher count what they would have sent; what the crate sent in their place is counted here.
        let counted = &mut results.counts;
        counted.nacks_sent = before.nacks_sent;
        counted.nacks_received = before.nacks_received;
        counted.feedback_sent = before.feedback_sent;
        counted.packets_sent = before.packets_sent;
        counted.bytes_sent = before.bytes_sent;
        counted.retransmissions_sent = before.retransmissions_sent;
        results.counts += std::mem::take(&mut self.counts);
    }

    /// Nothing will be counted any more.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether the crate's checks are answered.
    pub(crate) fn is_reachable(&self) -> bool {
        self.is_reachable
    }

    /// See [`Self::close`].
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

/// A stream of repairs, and what it repairs.
#[derive(Debug, Clone, Copy)]
struct Repair {
    own: u32,
    media: u32,
    payload_type: u8,
}

fn key_frame_request(packet: &Packet<'_>) -> Option<Box<dyn rtcp::Packet>> {
    let Packet::Pli(pli) = packet else { return None };
    Some(Box::new(PictureLossIndication { sender_ssrc: pli.sender.0, media_ssrc: pli.media.0 }))
}

/// How many sequence numbers a request names (RFC 4585, 6.2.1).
fn sequences(nack: &TransportLayerNack) -> u64 {
    nack.nacks.iter().map(|pair| 1 + u64::from(pair.lost_packets.count_ones())).sum()
}

/// AEAD_AES_128_GCM's tag (RFC 7714, 12.2), which every browser and SFU prefers; the crate does not tell which profile was
/// agreed on. AES_CM_128_HMAC_SHA1_80 has 6 bytes less.
const TAG_BYTES: usize = 16;

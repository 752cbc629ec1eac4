//! What one worker has done and holds, as plain numbers. The shell adds workers up and knows the names they get.

use super::drop_reason::DropCounters;

/// Counters since the start; only ever grow.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// RTP packets that arrived intact from endpoints.
    pub packets_received: u64,
    /// Their bytes, as datagrams.
    pub bytes_received: u64,
    /// RTP packets sealed for endpoints, retransmissions among them.
    pub packets_sent: u64,
    /// Their bytes, as datagrams.
    pub bytes_sent: u64,
    /// Media packets that should have arrived, by their sequence numbers.
    pub packets_expected: u64,
    /// Of those, never seen (RFC 3550, A.3), as of each stream's last report.
    pub packets_lost: u64,
    /// Packets sent that receivers' reports cover.
    pub packets_reported: u64,
    /// Of those, reported lost.
    pub packets_reported_lost: u64,
    /// First packets of key frames received.
    pub key_frames_received: u64,
    /// PLIs sent to senders.
    pub key_frame_requests_sent: u64,
    /// Requests of receivers that were merged into one sent shortly before.
    pub key_frame_requests_merged: u64,
    /// Sequence numbers asked for upstream.
    pub nacks_sent: u64,
    /// Sequence numbers receivers asked us for.
    pub nacks_received: u64,
    /// Packets sent again.
    pub retransmissions_sent: u64,
    /// Lost packets that came back over RTX.
    pub packets_recovered: u64,
    /// Times the forwarded simulcast layer of a source changed.
    pub layer_changes: u64,
    /// Milliseconds of received video, summed over streams.
    pub video_stream_ms: u64,
    /// Conferences begun.
    pub conferences_created: u64,
    /// Conferences ended.
    pub conferences_completed: u64,
    /// Seconds lived by conferences that ended.
    pub conference_seconds: u64,
    /// Endpoints ever created.
    pub endpoints_created: u64,
    /// Endpoints whose ICE authenticated a path.
    pub ice_succeeded: u64,
    /// Endpoints removed because no check ever arrived.
    pub ice_failed: u64,
    /// Later ICE restarts that found a path.
    pub ice_restarts: u64,
    /// Endpoints removed because DTLS failed or never finished.
    pub dtls_failed: u64,
    /// Endpoints removed because they fell silent.
    pub consents_lost: u64,
    /// Changes of the dominant speaker.
    pub dominant_speaker_changes: u64,
    /// Channel messages from browsers.
    pub channel_messages_received: u64,
    /// Of those, dropped: too fast, not JSON, of no known class, or about somebody else's source.
    pub channel_messages_refused: u64,
    /// Channel messages to browsers.
    pub channel_messages_sent: u64,
    /// Transport-wide feedback that could not be used.
    pub feedback_unmatched: u64,
    /// Everything that stopped, by reason.
    pub dropped: DropCounters,
}

/// A worker's counters, and what it holds now.
#[derive(Debug, Clone, Default)]
pub struct EngineStats {
    /// Since the start.
    pub counters: Counters,
    /// Conferences now.
    pub conferences: u64,
    /// Conferences of 0, 1, 2, … 20 and of more than 20 endpoints.
    pub conference_sizes: [u64; 22],
    /// Endpoints of the largest.
    pub largest_conference: u64,
    /// Conferences in which nobody sends.
    pub inactive_conferences: u64,
    /// Endpoints now, connected or not.
    pub endpoints: u64,
    /// Endpoints with keys.
    pub endpoints_connected: u64,
    /// Endpoints in conferences in which somebody sends.
    pub active_endpoints: u64,
    /// Endpoints in conferences in which nobody sends.
    pub inactive_endpoints: u64,
    /// Endpoints that publish nothing.
    pub receive_only_endpoints: u64,
    /// Endpoints whose audio, other than silence, arrived within the last seconds.
    pub endpoints_sending_audio: u64,
    /// Endpoints whose video arrived within the last seconds.
    pub endpoints_sending_video: u64,
    /// Endpoints that report more than 10 % of what we send as lost.
    pub endpoints_with_high_outgoing_loss: u64,
    /// Connected for a while and still without a channel.
    pub endpoints_without_channel: u64,
    /// Sum over endpoints of the round-trip time, milliseconds.
    pub rtt_ms_sum: f64,
    /// Endpoints in that sum.
    pub rtt_endpoints: u64,
}

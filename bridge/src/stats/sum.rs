//! One bridge out of several workers. Every field is named, so that a new counter cannot be forgotten here.

use crate::engine::stats::{Counters, EngineStats};

/// Adds one worker's numbers to the bridge's.
pub(super) fn add_engine(total: &mut EngineStats, worker: &EngineStats) {
    let EngineStats {
        counters,
        conferences,
        conference_sizes,
        largest_conference,
        inactive_conferences,
        endpoints,
        endpoints_connected,
        active_endpoints,
        inactive_endpoints,
        receive_only_endpoints,
        endpoints_sending_audio,
        endpoints_sending_video,
        endpoints_with_high_outgoing_loss,
        endpoints_without_channel,
        rtt_ms_sum,
        rtt_endpoints,
    } = worker;
    add_counters(&mut total.counters, counters);
    total.conferences += conferences;
    for (sum, count) in total.conference_sizes.iter_mut().zip(conference_sizes) {
        *sum += count;
    }
    total.largest_conference = total.largest_conference.max(*largest_conference);
    total.inactive_conferences += inactive_conferences;
    total.endpoints += endpoints;
    total.endpoints_connected += endpoints_connected;
    total.active_endpoints += active_endpoints;
    total.inactive_endpoints += inactive_endpoints;
    total.receive_only_endpoints += receive_only_endpoints;
    total.endpoints_sending_audio += endpoints_sending_audio;
    total.endpoints_sending_video += endpoints_sending_video;
    total.endpoints_with_high_outgoing_loss += endpoints_with_high_outgoing_loss;
    total.endpoints_without_channel += endpoints_without_channel;
    total.rtt_ms_sum += rtt_ms_sum;
    total.rtt_endpoints += rtt_endpoints;
}

/// Adds the named counters of one worker, and fails to compile when one is not named.
macro_rules! add_fields {
    ($total:ident, $worker:ident: $($field:ident),+ $(,)?) => {
        let Counters { $($field,)+ dropped } = $worker;
        $($total.$field += $field;)+
        $total.dropped.add(dropped);
    };
}

fn add_counters(total: &mut Counters, worker: &Counters) {
    add_fields!(total, worker:
        packets_received, bytes_received, packets_sent, bytes_sent,
        packets_expected, packets_lost, packets_reported, packets_reported_lost,
        key_frames_received, key_frame_requests_sent, key_frame_requests_merged,
        nacks_sent, nacks_received, retransmissions_sent, packets_recovered,
        layer_changes, video_stream_ms,
        conferences_created, conferences_completed, conference_seconds,
        endpoints_created, ice_succeeded, ice_failed, ice_restarts, dtls_failed, consents_lost,
        dominant_speaker_changes, channel_messages_received, channel_messages_refused, channel_messages_sent, feedback_unmatched,
    );
}

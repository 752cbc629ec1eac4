//! What callers count. Sums only, so that seconds, callers, threads and machines add up.

use serde::{Deserialize, Serialize};

/// Sums over some callers and some time. RTP packets are counted once they are authenticated, unless said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// RTP packets sent, retransmissions not among them.
    pub packets_sent: u64,
    /// Bytes of their datagrams.
    pub bytes_sent: u64,
    /// Packets sent again over RTX because the server asked.
    pub retransmissions_sent: u64,
    /// Pictures sent, each layer its own.
    pub frames_sent: u64,
    /// Of these, key frames.
    pub key_frames_sent: u64,
    /// Sequence numbers that the server asked for again.
    pub nacks_received: u64,
    /// Key frames that the server asked for.
    pub key_frame_requests_received: u64,

    /// RTP packets received, retransmissions among them.
    pub packets_received: u64,
    /// Bytes of their datagrams.
    pub bytes_received: u64,
    /// RTP datagrams that were counted without being opened, because the scenario opens a share only.
    pub packets_not_opened: u64,
    /// Of those received, what came again over RTX and filled a gap.
    pub packets_recovered: u64,
    /// Packets that never came: gaps in sequence numbers that stayed for a second.
    pub packets_lost: u64,
    /// Packets that came after a later one.
    pub packets_late: u64,
    /// Of those received, what had come before; a datagram whose SRTP index had come is not opened.
    pub packets_duplicate: u64,
    /// Datagrams that claim to be media and are not authentic, or belong to no slot.
    pub packets_strange: u64,
    /// Payloads whose stamp cannot be read: not from a caller of this run.
    pub packets_unstamped: u64,
    /// Sequence numbers asked for again.
    pub nacks_sent: u64,
    /// Key frames asked for.
    pub key_frame_requests_sent: u64,
    /// transport-cc feedback packets sent.
    pub feedback_sent: u64,

    /// Pictures received whole.
    pub frames_complete: u64,
    /// Of these, key frames.
    pub key_frames_complete: u64,
    /// Pictures that stayed incomplete for a second, or that nothing complete precedes.
    pub frames_broken: u64,
    /// Times a picture stood still: longer than 150 ms and three times its usual interval (as WebRTC's statistics count).
    pub freezes: u64,
    /// How long, microseconds.
    pub frozen_us: u64,
    /// Time in which a video slot showed something, frozen or not, microseconds.
    pub watched_us: u64,
}

macro_rules! add_fields {
    ($mine:expr, $theirs:expr, $($field:ident)+) => { $( $mine.$field += $theirs.$field; )+ };
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        add_fields!(self, other, packets_sent bytes_sent retransmissions_sent frames_sent key_frames_sent
            nacks_received key_frame_requests_received packets_received bytes_received packets_not_opened
            packets_recovered packets_lost packets_late packets_duplicate packets_strange packets_unstamped
            nacks_sent key_frame_requests_sent feedback_sent frames_complete key_frames_complete frames_broken
            freezes frozen_us watched_us);
    }
}

impl Counts {
    /// Packets that never came, as a share of those that should have; 0 of nothing.
    pub fn loss(&self) -> f64 {
        let received = self.packets_received.saturating_sub(self.packets_duplicate);
        share(self.packets_lost, received + self.packets_lost)
    }

    /// Share of the watched time in which a picture stood still; 0 of nothing.
    pub fn frozen(&self) -> f64 {
        share(self.frozen_us, self.watched_us)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_added() {
        let json = serde_json::to_value(Counts::default()).unwrap();
        let ones: serde_json::Map<_, _> =
            json.as_object().unwrap().keys().map(|key| (key.clone(), 1.into())).collect();
        let ones: Counts = serde_json::from_value(ones.into()).unwrap();
        let mut sum = ones;
        sum += ones;
        let sum = serde_json::to_value(sum).unwrap();
        assert!(sum.as_object().unwrap().values().all(|value| value == 2), "{sum}");
    }
}
